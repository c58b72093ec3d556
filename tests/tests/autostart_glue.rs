//! Inits of hosts call `hostel autostart` when they start and when they end, by the files that `hostel autostart --install` puts there.
//! A machine plays the host; the program in it writes down what it is told.

use std::time::Duration;

use hostel_tests::{Bed, Tree, binary, eventually};

const LONG: Duration = Duration::from_secs(40);

/// Installs the files for `init` in a tree whose hostel writes down what it is told.
#[track_caller]
fn installed(bed: &Bed, tree: &Tree, init: &str) {
    tree.write("/usr/bin/hostel", "#!/bin/sh\necho \"$*\" >>/var/calls\n").executable("/usr/bin/hostel");
    let script = bed.hostel(["autostart", &format!("--install={init}")]).run().exits(0).text();
    tree.write("/root/install", script.replace(&binary("hostel", "HOSTEL_BIN").display().to_string(), "/usr/bin/hostel"));
    hostel_tests::Invocation::new("chroot").arg(tree.path()).args(["sh", "-e", "/root/install"]).run().exits(0);
}

#[track_caller]
fn is_called(kind: &str, init: &str) {
    let Some(bed) = Bed::start() else { return };
    if std::env::var_os("HOSTEL_QUICK").is_some() {
        return println!("skipped: HOSTEL_QUICK is set, and this takes a Debian tree");
    }
    let Some(tree) = bed.tree_on_own_file_system(kind) else { return };
    installed(&bed, &tree, init);
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).limit(LONG).run().exits(0);
    let calls = || std::fs::read_to_string(tree.at("/var/calls")).unwrap_or_default();
    assert!(eventually(LONG, || calls() == "autostart start\n"), "{}{}", calls(), bed.hostel(["logs", &name]).run().describe());
    // an init stops what it knows to have started
    let is_up = || bed.hostel(["exec", &name, "test", "-e", "/run/hostel-test-up"]).run().code == Some(0);
    assert!(eventually(LONG, is_up), "{}", bed.hostel(["logs", &name]).run().describe());
    bed.hostel(["stop", &name]).limit(LONG * 3).run().exits(0);
    assert_eq!(calls(), "autostart start\nautostart stop\n", "{kind}");
}

#[test]
fn sysvinit() {
    is_called("sysvinit", "sysvinit");
}

#[test]
fn openrc() {
    is_called("openrc", "openrc");
}

#[test]
fn runit() {
    is_called("runit", "runit");
}

/// s6-rc is in no Debian: its scripts are run by the interpreter that it runs them by.
#[test]
fn s6() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree_on_own_file_system("s6") else { return };
    installed(&bed, &tree, "s6");
    for script in ["up", "down"] {
        let file = format!("/etc/s6-rc/source/hostel-autostart/{script}");
        hostel_tests::Invocation::new("chroot").arg(tree.path()).args(["execlineb", "-P", &file]).run().exits(0);
    }
    assert_eq!(std::fs::read_to_string(tree.at("/var/calls")).expect("read"), "autostart start\nautostart stop\n");
}
