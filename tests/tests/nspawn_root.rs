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
    bed.nspawn(&tree, ["--pivot-root=/deploy", "--volatile=yes", "true"]).run().exits(1).says("/deploy");
    for users in ["--private-users=no", "-U"] {
        // Nothing of what is written stays, neither in the new root nor in the old one.
        let write = ["sh", "-c", "cat /marker /sysroot/marker; echo >/here && echo >/sysroot/here && echo written"];
        let words = [users, "--pivot-root=/deploy:/sysroot", "--volatile=overlay"];
        bed.nspawn(&tree, words.into_iter().chain(write)).run().exits(0).prints("newoldwritten");
        let write = ["sh", "-c", "cat /marker; echo >/var/here && echo var; touch /here /sysroot/here 2>/dev/null || echo read-only"];
        let words = [users, "--pivot-root=/deploy:/sysroot", "--volatile=state"];
        bed.nspawn(&tree, words.into_iter().chain(write)).run().exits(0).prints("newvar\nread-only");
    }
    assert!(["/here", "/deploy/here", "/deploy/var/here"].iter().all(|path| !tree.at(path).exists()));
    std::os::unix::fs::symlink("/etc", tree.at("/out")).expect("link");
    bed.nspawn(&tree, ["--pivot-root=/out", "true"]).run().exits(1);
}

#[test]
fn a_directory_of_the_host_becomes_the_root_of_a_throw_away_machine() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/marker", "new");
    let pivot = format!("--pivot-root={}", tree.path().display());
    let words = ["nspawn", "-q", "--register=no", "--keep-unit", "-x", "-D", "/", &pivot, "sh", "-c", "cat /marker; touch /here && echo written"];
    bed.hostel(words).run().exits(0).prints("newwritten");
    assert!(!tree.at("/here").exists());
}

#[test]
fn the_newest_of_a_versioned_directory() {
    let Some(bed) = Bed::start() else { return };
    let top = bed.fresh("versions").join("os.v");
    std::fs::create_dir_all(&top).expect("mkdir");
    let run = |at: &std::path::Path| {
        let words = ["nspawn", "-q", "--register=no", "--keep-unit", "--read-only", "-D", at.to_str().expect("path"), "sh", "-c", "cat /v; hostname"];
        bed.hostel(words).run()
    };
    run(&top).exits(1).says("no version");
    for version in ["9", "10", "11_s390x", "12+0-3"] {
        let tree = bed.busybox();
        tree.write("/v", version);
        std::os::unix::fs::symlink(tree.path(), top.join(format!("os_{version}"))).expect("link");
    }
    for path in [top.clone(), top.join(""), top.join("os___")] {
        run(&path).exits(0).prints("10os_10");
    }
    // Its settings are those of the name that the machine has.
    std::fs::write(top.join("os_10.nspawn"), "[Exec]\nHostname=set\n").expect("write");
    let words = ["nspawn", "-q", "--register=no", "--keep-unit", "--read-only", "-D", top.to_str().expect("path"), "hostname"];
    bed.hostel(words).run().exits(0).prints("set");
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
