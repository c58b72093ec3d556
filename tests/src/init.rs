//! Trees whose PID 1 is hostel's own init, for tests that ask from inside.

use std::time::Duration;

use crate::{Bed, Invocation, Tree};

/// A busybox tree with these units; `check.service` runs the script, whose output is `/result`, and ends the machine.
pub fn plant(bed: &Bed, units: &[(&str, &str)], script: &str) -> Tree {
    let tree = bed.busybox();
    for (name, text) in units {
        tree.write(&format!("/etc/systemd/system/{name}"), text);
    }
    tree.write(
        "/etc/systemd/system/check.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh /check\nStandardOutput=file:/result\nStandardError=inherit\n",
    );
    tree.write("/check", format!("{script}\nsystemctl --no-block exit 0\n"));
    // what the bind mounts go over
    for path in ["/usr/sbin/init", "/usr/bin/systemctl"] {
        tree.remove(path).write(path, "");
    }
    tree
}

/// Binds this test's hostel over the tree's init and systemctl.
pub fn bound(bed: &Bed) -> [String; 2] {
    let program = bed.hostel(["x"]).program();
    let program = program.to_string_lossy();
    ["/usr/sbin/init", "/usr/bin/systemctl"].map(|path| format!("--bind-ro={program}:{path}"))
}

/// Boots `check.service` in a machine with a network of its own and gives what it printed.
pub fn result(bed: &Bed, units: &[(&str, &str)], script: &str) -> String {
    let tree = plant(bed, units, script);
    tree.write("/etc/systemd/system/default.target", "[Unit]\nWants=check.service\nAfter=basic.target\nRequires=basic.target\n");
    let boot: Invocation = bed.nspawn(&tree, ["-b", "--console=pipe", "--private-network"]);
    let outcome = boot.args(bound(bed)).limit(Duration::from_secs(60)).run().exits(0);
    let text = std::fs::read_to_string(tree.at("/result")).unwrap_or_default();
    println!("{}\n--- result\n{text}", outcome.describe());
    text
}

/// Waits inside until a command says something.
pub const WAIT: &str =
    "wait_for() { n=0; until eval \"$1\" >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 400 ] && echo \"gave up: $1\" && break; sleep 0.02; done; }\n";
