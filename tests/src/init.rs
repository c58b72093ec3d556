//! Trees whose PID 1 is hostel's own init, for tests that ask from inside.

use std::time::Duration;

use crate::{Bed, Invocation, Tree};

/// Programs of the tree that are this test's hostel.
const OURS: [&str; 3] = ["/usr/sbin/init", "/usr/bin/systemctl", "/usr/bin/journalctl"];

/// Puts these units into a tree; `check.service`, which the default target wants, runs the script, whose output is `/result`, and
/// ends the machine.
pub fn prepare(tree: &Tree, units: &[(&str, &str)], script: &str) {
    for (name, text) in units {
        tree.write(&format!("/etc/systemd/system/{name}"), text);
    }
    tree.write(
        "/etc/systemd/system/check.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh /check\nStandardOutput=file:/result\nStandardError=inherit\n",
    );
    tree.write("/etc/systemd/system/default.target", "[Unit]\nWants=check.service\nAfter=basic.target\nRequires=basic.target\n");
    tree.write("/check", format!("{script}\nsystemctl --no-block exit 0\n"));
    // what the bind mounts go over
    for path in OURS {
        tree.remove(path).write(path, "");
    }
}

/// A busybox tree, so prepared.
pub fn plant(bed: &Bed, units: &[(&str, &str)], script: &str) -> Tree {
    let tree = bed.busybox();
    prepare(&tree, units, script);
    tree
}

/// Binds this test's hostel over the tree's programs.
pub fn bound(bed: &Bed) -> [String; 3] {
    let program = bed.hostel(["x"]).program();
    let program = program.to_string_lossy();
    OURS.map(|path| format!("--bind-ro={program}:{path}"))
}

/// Boots such a tree; `words` go to its init.
pub fn boot(bed: &Bed, tree: &Tree, words: &[&str]) -> Invocation {
    bed.nspawn(tree, ["-b", "--console=pipe"]).args(bound(bed)).arg("--").args(words).limit(Duration::from_secs(60))
}

/// Boots a busybox tree with these units and gives what the script printed.
pub fn result(bed: &Bed, units: &[(&str, &str)], script: &str) -> String {
    let tree = plant(bed, units, script);
    result_of(boot(bed, &tree, &[]), &tree)
}

/// As [`result`], in a network of its own.
pub fn result_alone(bed: &Bed, units: &[(&str, &str)], script: &str) -> String {
    let tree = plant(bed, units, script);
    let machine = bed.nspawn(&tree, ["-b", "--console=pipe", "--private-network"]).args(bound(bed));
    result_of(machine.limit(Duration::from_secs(60)), &tree)
}

/// Runs a machine to its end and gives what its script printed.
pub fn result_of(machine: Invocation, tree: &Tree) -> String {
    let outcome = machine.run().exits(0);
    let text = std::fs::read_to_string(tree.at("/result")).unwrap_or_default();
    println!("{}\n--- result\n{text}", outcome.describe());
    text
}

/// Waits inside until a command says something.
pub const WAIT: &str =
    "wait_for() { n=0; until eval \"$1\" >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 400 ] && echo \"gave up: $1\" && break; sleep 0.02; done; }\n";
