//! What was asked for is done, refused or told: limits, notices, copies, mount points.

use std::time::Duration;

use hostel_tests::Bed;

#[test]
fn files_and_directories_are_not_mounted_on_each_other() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for (bind, says) in
        [("/etc/hostname:/mnt", "a file cannot be mounted on a directory"), ("/etc:/etc/passwd", "a directory cannot be mounted on a file")]
    {
        bed.nspawn(&tree, [&format!("--bind-ro={bind}"), "true"]).run().exits(1).says(says);
    }
}

#[test]
fn a_command_that_reboots_is_not_run_again() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let outcome = bed.hostel(["run", "--tree"]).arg(tree.path()).args(["--", "sh", "-c", "echo once; reboot -f"]).run().exits(133);
    assert_eq!(outcome.text().lines().filter(|l| l.contains("once")).count(), 1, "{}", outcome.describe());
}

/// What is not as asked is said also by a machine in the background, and with --quiet.
#[test]
fn notices_are_heard() {
    let Some(bed) = Bed::start() else { return };
    let (tree, name) = (bed.busybox(), bed.name());
    bed.hostel(["run", "-d", "--slice=some", "--name", &name, "--tree"])
        .arg(tree.path())
        .args(["--", "sleep", "60"])
        .run()
        .exits(0)
        .says("--slice=some");
    bed.hostel(["stop", "--force", &name]).run().exits(0);
    bed.nspawn(&tree, ["--system-call-filter=no_such_call", "true"]).run().exits(0).says("no_such_call");
}

/// What a throw-away copy is made of may be written to meanwhile.
#[test]
fn a_copy_of_a_tree_in_use() {
    let Some(bed) = Bed::start() else { return };
    let (tree, name) = (bed.busybox(), bed.name());
    let mut first = bed.nspawn(&tree, ["-M", &name, "--pipe", "sh", "-c", "echo up; read x"]).open_input().start();
    first.expect("up");
    let other = bed.name();
    let outcome =
        bed.nspawn(&tree, ["-x", "-M", &other, "sh", "-c", "echo mine >/etc/mark; cat /etc/mark"]).run().exits(0).prints("mine").says(&name);
    assert!(!tree.path().join("etc/mark").exists(), "{}", outcome.describe());
    first.close_input();
    let end = first.finish(Duration::from_secs(10));
    assert!(!end.timed_out, "{}", end.describe());
}

#[test]
fn limits_are_shown() {
    let Some(bed) = Bed::start() else { return };
    let (tree, name) = (bed.busybox(), bed.name());
    let limits = ["--memory", "100M", "--pids", "50", "--cpus", "0.5"];
    bed.hostel(["plan", "run"])
        .args(limits)
        .arg("--tree")
        .arg(tree.path())
        .args(["--", "true"])
        .run()
        .exits(0)
        .prints_with("memory_max.value=104857600")
        .prints_with("tasks_max.value=50")
        .prints_with("cpu_quota=500000")
        .prints_with("capabilities: cap_");
    bed.hostel(["run", "-d", "--name", &name]).args(limits).arg("--tree").arg(tree.path()).args(["--", "sleep", "60"]).run().exits(0);
    bed.hostel(["status", &name]).run().exits(0).prints_with("of 100.0M").prints_with("of 50").prints_with("at most 0.50 of a processor");
    let json = bed.hostel(["inspect", &name]).run().exits(0).json();
    assert_eq!(json["stats"]["memory_limit_bytes"], 104_857_600, "{json}");
    bed.hostel(["stop", "--force", &name]).run().exits(0);
}

/// What enters a machine is held by its limits, whatever the one who sends it in may have.
#[test]
fn limits_hold_for_what_enters() {
    let Some(bed) = Bed::start() else { return };
    let (tree, name) = (bed.busybox(), bed.name());
    let line = ["run", "-d", "--rlimit=NOFILE=100:200", "--name", &name, "--tree"];
    bed.hostel(line).arg(tree.path()).args(["--", "sleep", "60"]).run().exits(0);
    let show = "ulimit -Sn; ulimit -Hn; ulimit -Sc";
    bed.hostel(["exec", &name, "sh", "-c", show]).through_shell("ulimit -n 150; exec \"$@\"").run().exits(0).prints("100\n150\n0");
    bed.hostel(["exec", &name, "sh", "-c", show]).run().exits(0).prints("100\n200\n0");
    bed.hostel(["stop", "--force", &name]).run().exits(0);
}
