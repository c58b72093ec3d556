//! `--link-journal=`, in a mount namespace with a /var/log of its own: the host's journals are not touched.

use hostel_tests::{Bed, Invocation, Outcome};

const ID: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";

/// Runs it where /var/log is empty but for the journals of a host that has them, then shows what is there.
fn run(invocation: Invocation, before: &str) -> Outcome {
    let after = "find /var/log/journal/ -mindepth 1 | sort | sed s,^,host:,; readlink /var/log/journal/* | sed s,^,link:,; exit $s";
    let script = format!(
        "exec unshare -m sh -c 'mount -t tmpfs none /var/log && mkdir /var/log/journal && {before} && {{ \"$@\"; s=$?; {after}; }}' sh \"$@\""
    );
    invocation.through_shell(&script).run()
}

fn write(mode: &str) -> [String; 4] {
    let script =
        format!("mkdir -p /var/log/journal/{ID} && echo entry > /var/log/journal/{ID}/x.journal && busybox stat -c '%u %n' /var/log/journal/{ID}");
    [mode.to_string(), "sh".into(), "-c".into(), script]
}

#[test]
fn host_guest_and_none() {
    let Some(bed) = Bed::start() else { return };
    let make = |mode: &str, before: &str, users: &str| {
        let tree = bed.busybox();
        let outcome = run(bed.nspawn(&tree, [format!("--uuid={ID}"), users.to_string()].into_iter().chain(write(mode))), before);
        (outcome, tree)
    };
    for users in ["--private-users=no", "-U"] {
        for mode in ["--link-journal=host", "--link-journal=try-host"] {
            let (outcome, tree) = make(mode, "true", users);
            outcome.exits(0).prints(&format!("0 /var/log/journal/{ID}\nhost:/var/log/journal/{ID}\nhost:/var/log/journal/{ID}/x.journal"));
            assert!(!tree.at(&format!("/var/log/journal/{ID}/x.journal")).exists(), "{mode}: the journal is on the host");
        }
        for mode in ["--link-journal=guest", "--link-journal=try-guest", "-j"] {
            let (outcome, tree) = make(mode, "true", users);
            let linked = format!("link:{}/var/log/journal/{ID}", tree.path().display());
            outcome.exits(0).prints(&format!("0 /var/log/journal/{ID}\nhost:/var/log/journal/{ID}\n{linked}"));
            assert!(tree.at(&format!("/var/log/journal/{ID}/x.journal")).exists(), "{mode}");
        }
        for mode in ["--link-journal=no", "--link-journal=auto", "-q"] {
            let (outcome, _) = make(mode, "true", users);
            outcome.exits(0).prints(&format!("0 /var/log/journal/{ID}"));
        }
        let (outcome, _) = make("-q", &format!("mkdir /var/log/journal/{ID}"), users);
        outcome.exits(0).prints_with("x.journal");
    }
}

#[test]
fn what_cannot_be_linked() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let line = |mode: &str| bed.nspawn(&tree, [&format!("--uuid={ID}"), mode, "true"]);
    let full = format!("mkdir -p /var/log/journal/{ID}/x");
    run(line("--link-journal=guest"), &full).exits(1).says("Directory not empty").prints_with(&format!("host:/var/log/journal/{ID}/x"));
    run(line("--link-journal=try-guest"), &full).exits(0).prints_with(&format!("host:/var/log/journal/{ID}/x"));
    let file = format!("touch /var/log/journal/{ID}");
    run(line("--link-journal=host"), &file).exits(1).says("neither a link nor a directory");
    run(line("--link-journal=guest"), "rmdir /var/log/journal").exits(1).says("the host has no /var/log/journal");
    run(line("--link-journal=try-host"), "rmdir /var/log/journal").exits(0);
    let mounted = format!("mkdir /var/log/journal/{ID} && mount -t tmpfs none /var/log/journal/{ID}");
    run(line("--link-journal=host"), &mounted).exits(1).says("is a mount point");
    let own = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    if own.trim().len() == 32 {
        let line = |mode: &str| bed.nspawn(&tree, [&format!("--uuid={}", own.trim()), mode, "true"]);
        run(line("--link-journal=host"), "true").exits(1).says("same id");
        run(line("--link-journal=try-host"), "true").exits(0).prints("");
    }
}

#[test]
fn what_was_there_before() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let line = |mode: &str| bed.nspawn(&tree, [&format!("--uuid={ID}"), mode, "ls", "/var/log/journal"]);
    // Another tree's journal, as a copy with the same id has: whoever reads it here does not lose it.
    let linked = format!("mkdir /var/log/other && ln -s /var/log/other /var/log/journal/{ID}");
    let stays = format!("host:/var/log/journal/{ID}\nlink:/var/log/other");
    for mode in ["-j", "--link-journal=try-host", "--link-journal=auto"] {
        run(line(mode), &linked).prints_with(&stays).says("leads to /var/log/other");
    }
    let own = format!("link:{}/var/log/journal/{ID}", tree.path().display());
    run(line("--link-journal=guest"), &linked).exits(0).prints_with(&own);
    // One that leads nowhere is in nobody's way, and `auto` has no part in it.
    let nowhere = format!("ln -s /var/log/other /var/log/journal/{ID}");
    run(line("-j"), &nowhere).exits(0).prints_with(&own);
    run(line("--link-journal=auto"), &nowhere).prints_with(&stays);
    // Its own, of a life with another mode.
    let own = format!("ln -s {}/var/log/journal/{ID} /var/log/journal/{ID}", tree.path().display());
    tree.write(&format!("/var/log/journal/{ID}/old.journal"), "x");
    run(line("--link-journal=try-host"), &own).exits(0).prints(&format!("{ID}\nhost:/var/log/journal/{ID}")).says("is not empty");
    run(line("--link-journal=auto"), &own).exits(0).prints_without("not empty");
}

#[test]
fn a_throw_away_machine_leaves_no_journal() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    for mode in ["--link-journal=try-host", "--link-journal=try-guest"] {
        run(bed.nspawn(&tree, [&format!("--uuid={ID}"), "-x", "-M", &name, mode, "true"]), "true").exits(0).prints("");
    }
}
