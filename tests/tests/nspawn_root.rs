//! `--pivot-root=`, `--cleanup`, a tree without a lock.

use std::time::Duration;

use hostel_tests::{Bed, Signal};

#[test]
fn a_directory_of_the_tree_becomes_the_root() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/deploy/marker", "new").write("/marker", "old");
    std::fs::create_dir_all(tree.at("/deploy/sysroot")).expect("mkdir");
    for name in ["usr", "etc", "bin", "sbin", "lib"] {
        let status = std::process::Command::new("cp").arg("-a").arg(tree.at(name)).arg(tree.at("/deploy")).status();
        assert!(status.is_ok_and(|s| s.success()) || !tree.at(name).exists());
    }
    let look = ["sh", "-c", "cat /marker; cat /sysroot/marker /sysroot/deploy/marker 2>/dev/null; touch /here; ls -1d /proc/self /dev/null /.."];
    for users in ["--private-users=no", "-U"] {
        let run = |pivot: &str| bed.nspawn(&tree, [users, pivot].into_iter().chain(look)).run().exits(0).text();
        assert_eq!(run("--pivot-root=/deploy"), "new/..\n/dev/null\n/proc/self\n", "{users}");
        assert_eq!(run("--pivot-root=/deploy:/sysroot"), "newoldnew/..\n/dev/null\n/proc/self\n", "{users}");
        assert!(tree.at("/deploy/here").exists() && !tree.at("/here").exists());
        std::fs::remove_file(tree.at("/deploy/here")).expect("remove");
    }
    let touch = ["sh", "-c", "touch /a /sysroot/a /sysroot/deploy/a 2>/dev/null; ls /a /sysroot/a /sysroot/deploy/a 2>/dev/null"];
    bed.nspawn(&tree, ["--read-only", "--pivot-root=/deploy:/sysroot"].into_iter().chain(touch)).run().prints("");
    bed.nspawn(&tree, ["--pivot-root=/nowhere", "true"]).run().exits(1).says("/nowhere");
    bed.nspawn(&tree, ["--pivot-root=/deploy", "--volatile=overlay", "true"]).run().exits(1).says("/deploy");
    std::os::unix::fs::symlink("/etc", tree.at("/out")).expect("link");
    bed.nspawn(&tree, ["--pivot-root=/out", "true"]).run().exits(1);
}

#[test]
fn clean_up_after_a_killed_supervisor() {
    let Some(bed) = Bed::start() else { return };
    bed.leftovers_are_expected();
    let tree = bed.little();
    let running = bed.nspawn(&tree, ["/probe", "say", "up", "then", "sleep"]).start();
    running.expect("up");
    bed.nspawn(&tree, ["--cleanup"]).run().exits(1);
    assert!(!running.has_ended(), "a running machine is none to clean up");
    running.signal(Signal::KILL);
    running.finish(Duration::from_secs(10));
    assert!(bed.state_of(&tree.name()).join("undo").exists());
    bed.nspawn(&tree, ["--cleanup"]).run().exits(0);
    assert!(!bed.state_of(&tree.name()).exists(), "{:?}", bed.leftovers());
    bed.nspawn(&tree, ["--cleanup"]).run().exits(0);
    bed.nspawn(&tree, ["--cleanup", "-x"]).run().exits(1).says("--ephemeral");
    bed.assert_clean();
}

#[test]
fn a_tree_without_a_lock_is_shared() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let (one, two) = (bed.name(), bed.name());
    let first = bed.nspawn(&tree, ["-M", &one, "/probe", "say", "up", "then", "sleep"]).start();
    first.expect("up");
    bed.nspawn(&tree, ["-M", &two, "true"]).run().exits(1);
    bed.nspawn(&tree, ["-M", &two, "sh", "-c", "exit 7"]).env("SYSTEMD_NSPAWN_LOCK", "0").run().exits(7);
}
