//! The harness itself: a check that cannot fail is no check.

use std::time::Duration;

use hostel_tests::{Bed, Invocation, Signal, Terminal, Trap};

#[test]
fn a_command_that_hangs_is_killed_and_said_to_have_timed_out() {
    let outcome = Invocation::new("/bin/sleep").arg("60").limit(Duration::from_millis(200)).run();
    assert!(outcome.timed_out && outcome.time < Duration::from_secs(5), "{}", outcome.describe());
}

#[test]
fn a_pipe_kept_open_by_somebody_else_is_seen() {
    let outcome = Invocation::new("/bin/sh").args(["-c", "sleep 2.5 & echo done"]).run().exits(0).prints("done");
    assert!(outcome.pipes_held);
}

#[test]
fn output_and_signals() {
    Invocation::new("/bin/cat").input("a\nb\n").run().exits(0).prints("a\nb").says_nothing();
    let running = Invocation::new("/bin/sh").args(["-c", "trap 'echo got; exit 7' TERM; echo up; while :; do sleep 0.05; done"]).start();
    running.expect("up").signal(Signal::TERM);
    running.finish(Duration::from_secs(5)).exits(7).prints_with("got");
}

#[test]
fn a_terminal_echoes_has_a_size_and_is_the_controlling_one() {
    let mut terminal = Terminal::start_sized(
        Invocation::new("/bin/sh")
            .args(["-c", "stty size; read x </dev/tty; echo \"<$x>\"; trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done"]),
        31,
        97,
    );
    terminal.expect("31 97");
    terminal.send("hello\r");
    terminal.expect("<hello>");
    terminal.expect("ready");
    terminal.resize(11, 22);
    terminal.expect("11 22");
    assert_eq!(terminal.wait(Duration::from_secs(5)), 3);
}

#[test]
fn a_trap_sees_writes_and_new_names_and_owners() {
    let Some(bed) = Bed::start() else { return };
    let trap = Trap::set(bed.dir().join("trap"));
    trap.assert_untouched("nothing happened");
    std::fs::write(trap.path().join("file"), "host data\n").expect("write");
    assert_eq!(trap.changes().len(), 1, "{:?}", trap.changes());
    std::fs::write(trap.path().join("new"), "").expect("write");
    assert!(trap.changes().iter().any(|c| c.contains("new: ")), "{:?}", trap.changes());
}

#[test]
fn leftovers_are_found() {
    let Some(bed) = Bed::start() else { return };
    bed.assert_clean();
    let group = std::path::Path::new("/sys/fs/cgroup/pids").join(bed.name());
    std::fs::create_dir(&group).expect("make a cgroup");
    let orphan = Invocation::new("/bin/sh").args(["-c", "sleep 77 >/dev/null 2>&1 &"]).run().exits(0);
    let mount = bed.fresh("mount");
    Invocation::new("mount").args(["-t", "tmpfs", "none"]).arg(&mount).run().exits(0);
    let network = std::path::Path::new("/run/netns").join(bed.name());
    std::fs::create_dir_all("/run/netns").and_then(|()| std::fs::write(&network, "")).expect("name a network");
    let left = bed.leftovers();
    drop(orphan);
    for what in ["cgroup /sys", "sleep 77", "mount /", "state /run/netns"] {
        assert!(left.iter().any(|l| l.contains(what)), "no {what}: {left:?}");
    }
    bed.leftovers_are_expected();
    drop(bed);
    assert!(!group.exists() && !mount.exists() && !network.exists());
}

#[test]
fn trees_are_copies() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/etc/os-release", "ID=changed\n");
    assert!(tree.at("/probe").exists() && tree.name().contains(bed.id()));
    let other = bed.busybox();
    assert!(std::fs::read_to_string(other.at("/usr/lib/os-release")).expect("read").contains("hostelbox"));
}
