//! Inits of hosts call `hostel autostart` when they start and when they end, by the files that `hostel autostart --install` puts there.
//! A machine plays the host; the program in it writes down what it is told.

use std::time::Duration;

use hostel_tests::{Bed, binary, eventually};

const LONG: Duration = Duration::from_secs(40);

#[track_caller]
fn is_called(kind: &str, init: &str) {
    let Some(bed) = Bed::start() else { return };
    if std::env::var_os("HOSTEL_QUICK").is_some() {
        return println!("skipped: HOSTEL_QUICK is set, and this takes a Debian tree");
    }
    let Some(tree) = bed.tree_on_own_file_system(kind) else { return };
    tree.write("/usr/bin/hostel", "#!/bin/sh\necho \"$*\" >>/var/calls\n").executable("/usr/bin/hostel");
    let script = bed.hostel(["autostart", &format!("--install={init}")]).run().exits(0).text();
    tree.write("/root/install", script.replace(&binary("hostel", "HOSTEL_BIN").display().to_string(), "/usr/bin/hostel"));
    hostel_tests::Invocation::new("chroot").arg(tree.path()).args(["sh", "-e", "/root/install"]).run().exits(0);
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
