//! How a machine ends, as systemd-nspawn(1) reports it: exit statuses, signals, reboot, `--as-pid2`.

use std::time::Duration;

use hostel_tests::{Bed, Invocation, Signal};

#[test]
fn status_of_pid_1_is_ours_but_133_is_1() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for (status, ours) in
        [(0, 0), (1, 1), (7, 7), (42, 42), (126, 126), (127, 127), (128, 128), (132, 132), (133, 1), (134, 134), (137, 137), (254, 254), (255, 255)]
    {
        bed.nspawn(&tree, ["/probe", "exit", &status.to_string()]).run().exits(ours);
    }
}

#[test]
fn reboot_of_pid_1_is_133_and_power_off_is_0() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(&tree, ["/probe", "reboot"]).run().exits(133);
    bed.nspawn(&tree, ["/probe", "poweroff"]).run().exits(0);
    bed.nspawn(&tree, ["/probe", "halt"]).run().exits(0);
}

#[test]
fn pid_1_cannot_kill_itself_and_its_own_status_counts() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    // the kernel ignores signals without a handler that PID 1 sends to itself
    bed.nspawn(&tree, ["/probe", "kill", "KILL", "1", "then", "kill", "TERM", "then", "exit", "9"]).run().exits(9);
}

#[test]
fn pid_1_killed_from_outside_is_1() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let running = bed.nspawn(&tree, ["/probe", "say", "up", "then", "ignore"]).start();
    running.expect("up").expect("ready");
    hostel_tests::kill(hostel_tests::leader_below(running.pid()), Signal::KILL);
    running.finish(Duration::from_secs(5)).exits(1);
}

#[test]
fn exec_failure_is_1_not_127() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/not-executable", "text").write("/bad-interpreter", "#!/no/such/interpreter\n").executable("/bad-interpreter");
    for program in ["/no/such/program", "no-such-program", "/not-executable", "/etc", "/bad-interpreter"] {
        let outcome = bed.nspawn(&tree, [program]).run().exits(1);
        assert!(outcome.errors().contains(program) || outcome.text().contains(program), "{}", outcome.describe());
    }
}

#[test]
fn program_is_searched_in_the_payloads_path() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(&tree, ["echo", "found"]).run().exits(0).prints("found");
    tree.write("/opt/only-here", "#!/bin/sh\necho here\n").executable("/opt/only-here");
    bed.nspawn(&tree, ["only-here"]).run().exits(1);
    bed.nspawn(&tree, ["--setenv=PATH=/opt:/usr/bin", "only-here"]).run().exits(0).prints("here");
}

#[test]
fn options_after_the_first_word_belong_to_the_payload() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(&tree, ["echo", "-D", "--boot", "--", "-x"]).run().exits(0).prints("-D --boot -- -x");
    bed.nspawn(&tree, ["--", "echo", "-q"]).run().exits(0).prints("-q");
}

#[test]
fn sigterm_without_kill_signal_kills_at_once_with_1() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for signal in [Signal::TERM, Signal::INT] {
        let running = bed.nspawn(&tree, ["/probe", "catch"]).start();
        running.expect("ready");
        running.signal(signal);
        let outcome = running.finish(Duration::from_secs(5)).exits(1).within(Duration::from_secs(4));
        assert!(!outcome.text().contains("caught"), "{}", outcome.describe());
    }
}

#[test]
fn kill_signal_is_sent_to_pid_1_whose_status_counts() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for (name, number) in [("SIGUSR1", 10), ("TERM", 15), ("SIGRTMIN+3", 37), ("RTMIN+4", 38), ("12", 12)] {
        let running = bed.nspawn(&tree, [&format!("--kill-signal={name}"), "/probe", "catch"]).start();
        running.expect("ready").signal(Signal::TERM);
        running.expect(&format!("caught {number}"));
        // the second one kills
        running.signal(Signal::TERM);
        running.finish(Duration::from_secs(5)).exits(1);
    }
    let running = bed.nspawn(&tree, ["--kill-signal=TERM", "/bin/sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done"]).start();
    running.expect("ready").signal(Signal::TERM);
    running.finish(Duration::from_secs(5)).exits(7);
}

#[test]
fn as_pid2_runs_below_a_stub() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let view = bed.nspawn(&tree, ["-a", "/probe", "json"]).run().exits(0).view();
    assert_eq!((view.number("/pid"), view.number("/ppid")), (2, 1));
    assert!(view.strings("/env").iter().any(|e| e.starts_with("container=")), "{:?}", view["env"]);
    for (status, ours) in [(0, 0), (1, 1), (42, 42), (255, 255)] {
        bed.nspawn(&tree, ["-a", "/probe", "exit", &status.to_string()]).run().exits(ours);
    }
}

#[test]
fn stub_reaps_orphans() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(&tree, ["-a", "/probe", "orphan"]).run().exits(0).prints("orphan reaped");
}

#[test]
fn stub_reports_a_payload_killed_by_a_signal_as_255() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for signal in ["KILL", "TERM", "SEGV"] {
        bed.nspawn(&tree, ["-a", "/probe", "kill", signal]).run().exits(255);
    }
}

#[test]
fn stub_hides_its_command_line_and_environment() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let view = bed.nspawn(&tree, ["-a", "--setenv=PASSWORD=secret", "/probe", "json"]).run().exits(0).view();
    assert_eq!(view.env("PASSWORD").as_deref(), Some("secret"));
    let stub = view.strings("/pid1/env");
    assert!(stub.iter().all(|e| e.starts_with("container")), "the stub's environment: {stub:?}");
    assert!(!view["pid1"]["argv"].to_string().contains("secret"), "{:?}", view["pid1"]["argv"]);
}

#[test]
fn stub_has_nothing_of_the_host_in_its_memory() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let backwards = |text: &str| text.chars().rev().collect::<String>();
    let secret = backwards("this must not reach a machine");
    // What is in its arguments: the tree's path, the machine's name.
    let place = backwards(bed.id());
    for needle in [&secret, &place] {
        let line = ["/probe", "scan", "self", needle, "then", "scan", "1", needle];
        let seen = "scan self: read found yes\nscan 1: read found no";
        bed.nspawn(&tree, ["-a"]).args(line).run().exits(0).prints(seen);
        bed.nspawn(&tree, ["-a", "-U"]).args(line).run().exits(0).prints(seen);
        bed.hostel(["run", "--tree"]).arg(tree.path()).arg("--").args(line).run().exits(0).prints(seen);
    }
}

#[test]
fn stub_program_cannot_be_written() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let script = "cat /proc/1/comm; tr '\\0' ' ' </proc/1/cmdline; echo; tr '\\0' '\\n' </proc/1/environ; ls -1 /proc/1/fd";
    let outcome = bed.nspawn(&tree, ["-a", "sh", "-c", script]).run().exits(0);
    let text = outcome.text();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines.iter().filter(|l| **l == "(sd-stubinit)").count(), 2, "{}", outcome.describe());
    assert!(lines.iter().any(|l| l.starts_with("container=")) && lines.iter().any(|l| l.starts_with("container_uuid=")), "{}", outcome.describe());
    assert_eq!(lines.iter().filter(|l| l.parse::<u32>().is_ok()).count(), 4, "0, 1, 2 and its signals: {}", outcome.describe());
    // While it runs, "text file busy" protects it anyway; but a machine can wait. The mount is in no namespace: nobody may change it.
    let seen = "/proc/1/exe is read-only: yes\nmount_setattr /proc/1/exe: EINVAL\nopen_tree /proc/1/exe: EINVAL";
    bed.nspawn(&tree, ["-a", "/probe", "thaw", "/proc/1/exe"]).run().exits(0).prints(seen);
}

#[test]
fn stub_runs_under_a_filter_without_execveat() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(&tree, ["-a", "--system-call-filter=~execveat", "/probe", "say", "ran"]).run().exits(0).prints("ran");
}

#[test]
fn stub_runs_though_the_hosts_program_is_gone_or_private() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let copy = bed.dir().join("own-hostel");
    for options in [&["-a"][..], &["-a", "-U"]] {
        for script in ["exec 9<\"$0\"; rm \"$0\"; exec /proc/self/fd/9 \"$@\"", "chmod 700 \"$0\"; exec \"$0\" \"$@\""] {
            std::fs::copy(bed.hostel([""]).program(), &copy).expect("copy");
            let ran = Invocation::new("/bin/sh")
                .args(["-c", script])
                .arg(&copy)
                .args(["nspawn", "-q", "--register=no", "--keep-unit", "-D"])
                .arg(tree.path());
            ran.args(options).args(["/probe", "say", "ran"]).env("HOSTEL_RUNTIME_DIR", bed.runtime_dir()).run().exits(0).prints("ran");
        }
    }
}

#[test]
fn stub_turns_signals_into_reboot_and_power_off() {
    // systemd-nspawn says 133 when the signal it passes on makes the stub reboot; here who asked for the end gets it:
    // a stop answered with a reboot is a stop. A reboot that nobody asked us for is 133.
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for (kill_signal, status) in [("SIGINT", 0), ("SIGRTMIN+5", 0), ("SIGRTMIN+3", 0), ("SIGRTMIN+4", 0)] {
        let running = bed
            .nspawn(
                &tree,
                ["-a", &format!("--kill-signal={kill_signal}"), "/bin/sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done"],
            )
            .start();
        running.expect("ready").signal(Signal::TERM);
        running.finish(Duration::from_secs(10)).exits(status);
    }
    bed.nspawn(&tree, ["-a", "sh", "-c", "kill -INT 1; sleep 10"]).run().exits(133);
    bed.nspawn(&tree, ["-a", "sh", "-c", "kill -39 1; sleep 10"]).run().exits(133);
    bed.nspawn(&tree, ["-a", "sh", "-c", "kill -38 1; sleep 10"]).run().exits(0);
}

#[test]
fn stub_is_refused_with_boot() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(&tree, ["-a", "-b"]).run().exits(1).fails();
}

#[test]
fn everything_dies_with_pid_1() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(&tree, ["/bin/sh", "-c", "setsid sleep 99 & setsid sh -c 'trap \"\" TERM HUP; sleep 99' & exit 4"]).run().exits(4);
    bed.assert_clean();
}

#[test]
fn a_closed_output_does_not_hang() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let outcome = bed
        .nspawn(&tree, ["/probe", "flood", "10000000"])
        .through_shell("\"$@\" | head -c 1000 >/dev/null; exit ${PIPESTATUS:-0}")
        .limit(Duration::from_secs(10))
        .run();
    assert!(!outcome.timed_out, "{}", outcome.describe());
}

#[test]
fn ten_megabytes_arrive_whole() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for mode in ["pipe", "read-only"] {
        let outcome = bed.nspawn(&tree, [&format!("--console={mode}"), "/probe", "flood", "10000000"]).run().exits(0);
        assert_eq!(outcome.text().len(), 10_000_000, "--console={mode}");
    }
}
