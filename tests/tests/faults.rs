//! Faults: what is left when things die, fill up or are damaged at the wrong moment. Always: nothing, and the next start works.

use std::time::Duration;

use hostel_tests::{Bed, Invocation, Running, Signal, Tree, eventually};

const SOON: Duration = Duration::from_secs(15);

#[track_caller]
fn next_start_works(bed: &Bed, tree: &Tree, name: &str) {
    bed.nspawn(tree, ["-M", name, "/probe", "say", "again"]).run().exits(0).prints("again");
    bed.assert_clean();
}

#[test]
fn a_killed_supervisor_takes_the_payload_along() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for options in [&[][..], &["-U"], &["-a"], &["--private-network"], &["--network-veth"], &["-x"], &["--volatile=overlay"], &["--console=pipe"]] {
        let name = bed.name();
        let running = bed.nspawn(&tree, options).args(["-M", &name, "sh", "-c", "setsid sleep 1000 & echo up; exec sleep 1000"]).start();
        running.expect("up").signal(Signal::KILL);
        running.finish(SOON);
        let gone = eventually(Duration::from_secs(3), || !bed.leftovers().iter().any(|l| l.starts_with("process")));
        assert!(gone, "{options:?}: {:?}", bed.leftovers());
        bed.hostel(["clean"]).run().exits(0);
        bed.assert_clean();
        bed.nspawn(&tree, options).args(["-M", &name, "/probe", "say", "again"]).run().exits(0).prints("again");
    }
}

#[test]
fn the_next_start_needs_no_clean() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    for _ in 0..5 {
        let running = bed.nspawn(&tree, ["-M", &name, "-n", "-U", "/probe", "say", "up", "then", "sleep"]).start();
        running.expect("up").signal(Signal::KILL);
        running.finish(SOON);
    }
    next_start_works(&bed, &tree, &name);
}

/// Kills the supervisor at its Nth call of one system call, for many N, by strace's fault injection.
#[track_caller]
fn killed_at_every(call: &str, options: &[&str]) {
    let Some(bed) = Bed::start() else { return };
    if Invocation::new("strace").arg("-V").run().code != Some(0) {
        return println!("skipped: no strace");
    }
    // as few files as can be: what an ephemeral copy makes and removes one by one would hide all that comes after it
    let tree = bed.little();
    let name = bed.name();
    let (mut shots, mut ended) = (0, false);
    for n in 1..400 {
        let invocation = bed.nspawn(&tree, options).args(["-M", &name, "/probe", "say", "reached"]);
        let inject = format!("inject={call}:signal=KILL:when={n}");
        let outcome = invocation.through_shell(&format!("exec strace -f -qq -o /dev/null -e trace={call} -e {inject} \"$@\"")).limit(SOON).run();
        assert!(!outcome.timed_out, "{call} #{n}: hung: {}", outcome.describe());
        if outcome.code == Some(0) && outcome.text().contains("reached") {
            ended = true; // there were fewer calls than that
            break;
        }
        shots += 1;
        bed.hostel(["clean"]).run().exits(0);
        let left = || bed.leftovers();
        assert!(eventually(Duration::from_secs(3), || left().is_empty()), "{call} #{n} of {options:?} left {:?}", left());
        if n % 7 == 0 {
            next_start_works(&bed, &tree, &name);
        }
    }
    println!("{call} {options:?}: {shots} shots");
    assert!(shots > 0 && ended, "{call} {options:?}: {shots} shots did not cover a whole life");
    next_start_works(&bed, &tree, &name);
}

#[test]
fn killed_at_every_mkdirat() {
    killed_at_every("mkdir,mkdirat", &["-U"]);
}
#[test]
fn killed_at_every_clone() {
    killed_at_every("clone3,clone", &["-n"]);
}
#[test]
fn killed_at_every_sendmsg() {
    killed_at_every("sendmsg,sendto", &["-n", "-U"]);
}
#[test]
fn killed_at_every_openat() {
    killed_at_every("open,openat,openat2", &[]);
}
#[test]
fn killed_at_every_write() {
    killed_at_every("write,pwrite64,writev", &["-U", "-n"]);
}
#[test]
fn killed_at_every_mount_call() {
    killed_at_every("fsopen,fsmount,open_tree,move_mount,mount,mount_setattr", &["-U", "--volatile=overlay"]);
}
#[test]
fn killed_at_every_rename_and_unlink() {
    killed_at_every("rename,renameat,renameat2,unlink,unlinkat,rmdir", &["-x"]);
}
#[test]
fn killed_at_every_wait() {
    killed_at_every("epoll_wait,epoll_pwait,ppoll,poll,waitid,wait4", &["-n"]);
}

#[test]
fn a_payload_killed_before_its_exec_is_no_started_machine() {
    let Some(bed) = Bed::start() else { return };
    if Invocation::new("strace").arg("-V").run().code != Some(0) {
        return println!("skipped: no strace");
    }
    let tree = bed.little();
    let name = bed.name();
    // The payload alone changes its root; at that moment it has taken everything over from the supervisor.
    let killed = "exec strace -f -qq -o /dev/null -e trace=pivot_root -e inject=pivot_root:signal=KILL \"$@\"";
    for options in [&[][..], &["-a"], &["-U"]] {
        let line = bed.nspawn(&tree, options).args(["-M", &name, "/probe", "say", "reached"]);
        line.through_shell(killed).limit(SOON).run().exits(1).says("killed before it could execute");
    }
    tree.init_is_probe("sleep");
    let line = bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]);
    line.through_shell(killed).limit(SOON).run().exits(1).prints("").says("killed before it could execute");
    next_start_works(&bed, &tree, &name);
}

#[test]
fn a_machine_that_reboots_writes_no_more_and_more() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let name = bed.name();
    let lines = |reboots: u32| {
        tree.write("/n", "0\n");
        tree.remove("/usr/sbin/init");
        let script =
            format!("#!/bin/sh\nread n </n; echo $((n + 1)) >/n; [ $n -lt {reboots} ] && exec /probe reboot; exec /probe say up then sleep\n");
        tree.write("/usr/sbin/init", script).executable("/usr/sbin/init");
        let running = bed.hostel(["boot", "--network-veth", "--overlay=/usr/share::/mnt"]).arg(tree.path()).args(["--name", &name]).start();
        running.expect("up");
        let text = std::fs::read_to_string(bed.state_of(&name).join("undo")).expect("journal");
        bed.hostel(["stop", &name]).run().exits(0);
        running.finish(SOON);
        text.lines().count()
    };
    assert_eq!(lines(4), lines(1));
}

#[test]
fn a_machine_whose_supervisor_hangs_can_be_stopped() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    tree.init_is_probe("sleep");
    for (options, status) in [(&[][..], 0), (&["--force"], 0)] {
        let name = bed.name();
        let running = bed.hostel(["boot"]).arg(tree.path()).args(["--name", &name]).start();
        assert!(eventually(SOON, || bed.state_of(&name).join("state.json").exists()));
        let leader = hostel_tests::leader_below(running.pid());
        running.signal(Signal::STOP);
        let stopped = bed.hostel(["stop", &name]).args(options).limit(SOON).run().exits(status);
        assert!(stopped.errors().contains("does not answer"), "{}", stopped.describe());
        let state = std::fs::read_to_string(format!("/proc/{leader}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
        running.signal(Signal::CONT);
        running.finish(SOON);
        bed.assert_clean();
    }
}

#[test]
fn killed_at_fifty_moments() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    for n in 0..50u64 {
        let running = bed.nspawn(&tree, ["-M", &name, "-n", "-U", "-x", "/probe", "sleep", "1"]).start();
        std::thread::sleep(Duration::from_micros(n * n * 40));
        running.signal(Signal::KILL);
        running.finish(SOON);
        bed.hostel(["clean"]).run().exits(0);
        assert!(eventually(Duration::from_secs(3), || bed.leftovers().is_empty()), "after {} µs: {:?}", n * n * 40, bed.leftovers());
    }
    next_start_works(&bed, &tree, &name);
}

#[test]
fn pid_1_killed_is_137_natively() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let running = bed.hostel(["run", "--tree"]).arg(tree.path()).args(["--", "/probe", "say", "up", "then", "sleep"]).start();
    running.expect("up");
    hostel_tests::kill(hostel_tests::leader_below(running.pid()), Signal::KILL);
    running.finish(SOON).exits(137);
    bed.assert_clean();
}

#[test]
fn a_full_disk_leaves_no_half_copy() {
    let Some(bed) = Bed::start() else { return };
    let template = bed.busybox();
    std::fs::write(template.at("/var/big"), vec![7u8; 30 << 20]).expect("write");
    let disk = bed.own_file_system(16);
    let target = disk.join(bed.name());
    let run = || {
        bed.hostel(["nspawn", "-q", "--register=no", "--keep-unit", "-D"])
            .arg(&target)
            .arg(format!("--template={}", template.path().display()))
            .args(["/probe", "say", "ran"])
            .run()
    };
    let outcome = run().fails();
    assert!(outcome.errors().contains("space"), "{}", outcome.describe());
    assert!(!target.exists(), "half a tree under its final name");
    template.remove("/var/big");
    run().exits(0).prints("ran");
}

#[test]
fn an_ephemeral_copy_on_a_full_disk_is_refused_and_removed() {
    let Some(bed) = Bed::start() else { return };
    let disk = bed.own_file_system(24);
    let source = bed.busybox();
    let tree = disk.join(bed.name());
    Invocation::new("cp").arg("-a").args([source.path(), &tree]).run().exits(0);
    std::fs::write(tree.join("var/big"), vec![7u8; 12 << 20]).expect("write");
    let free = || {
        Invocation::new("df")
            .args(["--output=avail"])
            .arg(&disk)
            .run()
            .text()
            .lines()
            .last()
            .and_then(|l| l.trim().parse::<u64>().ok())
            .expect("a number")
    };
    Invocation::new("sync").arg("-f").arg(&disk).run().exits(0);
    let before = free();
    let outcome = bed.hostel(["nspawn", "-q", "--register=no", "--keep-unit", "-x", "-D"]).arg(&tree).args(["/probe", "say", "ran"]).run();
    if outcome.code != Some(0) {
        assert!(outcome.errors().contains("space"), "{}", outcome.describe());
    }
    assert!(eventually(Duration::from_secs(3), || free() >= before), "space before {before}, after {}", free());
}

#[test]
fn a_clone_killed_half_way_is_not_used() {
    let Some(bed) = Bed::start() else { return };
    let template = bed.busybox();
    for n in 0..40 {
        std::fs::write(template.at(&format!("/var/file-{n}")), vec![n as u8; 1 << 20]).expect("write");
    }
    for pause in [2, 5, 10, 20, 40, 80] {
        let target = bed.dir().join(bed.name());
        let line = || {
            bed.hostel(["nspawn", "-q", "--register=no", "--keep-unit", "-D"])
                .arg(&target)
                .arg(format!("--template={}", template.path().display()))
                .args(["sh", "-c", "ls /var | grep -c file-"])
        };
        let running = line().start();
        std::thread::sleep(Duration::from_millis(pause));
        running.signal(Signal::KILL);
        running.finish(SOON);
        let whole = line().run().exits(0);
        assert_eq!(whole.text().trim(), "40", "killed after {pause} ms");
    }
    let partial: Vec<_> =
        std::fs::read_dir(bed.dir()).expect("list").flatten().filter(|e| e.file_name().to_string_lossy().contains("partial")).collect();
    assert!(partial.is_empty(), "{partial:?}");
}

#[test]
fn a_corrupt_state_file_hurts_its_own_machine_only() {
    let Some(bed) = Bed::start() else { return };
    let (one, two) = (bed.busybox(), bed.busybox());
    let (bad, good) = (bed.name(), bed.name());
    let start = |tree: &Tree, name: &str| -> Running {
        let running = bed.nspawn(tree, ["-M", name, "/probe", "say", "up", "then", "sleep"]).start();
        running.expect("up");
        running
    };
    let kinds: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("half", b"{\"version\":1,\"na"),
        ("not JSON", b"hello"),
        ("wrong types", b"{\"version\":\"x\",\"name\":3}"),
        ("huge number", b"{\"version\":99999999999999999999}"),
        ("NULs", &[0u8; 100]),
    ];
    for (kind, bytes) in kinds {
        let (a, b) = (start(&one, &bad), start(&two, &good));
        std::fs::write(bed.state_of(&bad).join("state.json"), bytes).expect("damage");
        let list = bed.hostel(["ps", "--json"]).run().exits(0).json();
        let find = |name: &str| list.as_array().into_iter().flatten().find(|m| m["name"] == name).cloned();
        assert_eq!(find(&good).map(|m| m["state"].clone()), Some("running".into()), "{kind}: {list}");
        assert!(find(&bad).is_some(), "{kind}: the damaged machine is not listed: {list}");
        bed.hostel(["ps"]).run().exits(0);
        bed.hostel(["status", &bad]).run().ends();
        bed.hostel(["stop", &bad]).run().ends();
        bed.hostel(["kill", &bad]).run().ends();
        a.signal(Signal::KILL);
        a.finish(SOON);
        assert!(!b.has_ended(), "{kind}: the other machine died");
        b.signal(Signal::TERM);
        b.finish(SOON);
        bed.hostel(["clean"]).run().exits(0);
        assert!(eventually(Duration::from_secs(3), || bed.leftovers().is_empty()), "{kind}: {:?}", bed.leftovers());
    }
}

#[test]
fn damaged_undo_records_and_locks_do_not_stop_the_next_start() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    for file in ["undo", "state.json", "lock", "control", "filter"] {
        for bytes in [&b""[..], b"\xff\xfe garbage", b"{\"mount\":\"/\"}\n{\"cgroup\":\"/sys/fs/cgroup\"}\n"] {
            let running = bed.nspawn(&tree, ["-M", &name, "/probe", "say", "up", "then", "sleep"]).start();
            running.expect("up").signal(Signal::KILL);
            running.finish(SOON);
            let path = bed.state_of(&name).join(file);
            if path.exists() {
                let _ = std::fs::remove_file(&path);
                std::fs::write(&path, bytes).expect("damage");
            }
            bed.nspawn(&tree, ["-M", &name, "/probe", "say", "again"]).run().exits(0).prints("again");
            assert!(std::path::Path::new("/sys/fs/cgroup").exists());
        }
    }
}

#[test]
fn sixty_four_starts_at_once_have_one_winner() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    let all: Vec<Running> =
        (0..64).map(|_| bed.nspawn(&tree, ["-M", &name, "sh", "-c", "echo won; sleep 3"]).limit(Duration::from_secs(30)).start()).collect();
    let ended: Vec<_> = all.into_iter().map(|r| r.finish(Duration::from_secs(30))).collect();
    let won = ended.iter().filter(|o| o.text().contains("won")).count();
    assert_eq!(won, 1, "{won} winners");
    for loser in ended.iter().filter(|o| !o.text().contains("won")) {
        assert!(loser.code == Some(1) && loser.errors().contains(&name), "{}", loser.describe());
    }
    next_start_works(&bed, &tree, &name);
}

#[test]
fn sixty_four_different_machines_at_once() {
    let Some(bed) = Bed::start() else { return };
    let trees: Vec<Tree> = (0..8).map(|_| bed.busybox()).collect();
    let all: Vec<Running> = (0..64)
        .map(|n| {
            bed.nspawn(&trees[n % 8], ["--read-only", "-U", "--private-network", "-M", &bed.name(), "/probe", "say", &format!("machine-{n}")]).start()
        })
        .collect();
    for (n, running) in all.into_iter().enumerate() {
        running.finish(Duration::from_secs(60)).exits(0).prints(&format!("machine-{n}"));
    }
    bed.assert_clean();
}

#[test]
fn too_few_descriptors() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for limit in (3..48).chain([64, 100]) {
        let outcome =
            bed.nspawn(&tree, ["-n", "-U", "/probe", "say", "ran"]).through_shell(&format!("ulimit -n {limit}; exec \"$@\"")).limit(SOON).run();
        assert!(
            !outcome.timed_out && outcome.signal.is_none() && !outcome.errors().contains("panicked"),
            "ulimit -n {limit}: {}",
            outcome.describe()
        );
        assert!(outcome.code == Some(0) || !outcome.stderr.is_empty() || limit < 5, "ulimit -n {limit}: silent failure: {}", outcome.describe());
        assert!(eventually(Duration::from_secs(2), || bed.leftovers().is_empty()), "ulimit -n {limit}: {:?}", bed.leftovers());
    }
}

#[test]
fn a_fork_bomb_stays_in_its_machine() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let run =
        |options: &[&str]| bed.hostel(["run", "--tree"]).arg(tree.path()).args(options).args(["--", "/probe", "fork", "2000"]).run().exits(0).text();
    let text = run(&["--pids=60"]);
    let made: u64 = text.split_whitespace().nth(1).and_then(|w| w.parse().ok()).expect("a number");
    assert!(made < 60 && text.contains("EAGAIN"), "{text}");
    assert!(run(&[]).contains("forked 2000 all"));
    let text = bed.nspawn(&tree, ["--property=TasksMax=40", "/probe", "fork", "2000"]).run().exits(0).text();
    assert!(text.contains("EAGAIN"), "{text}");
}

#[test]
fn out_of_memory_kills_inside_and_says_so() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for option in ["--memory=64M", "--property=MemoryMax=64M"] {
        let outcome = bed.nspawn(&tree, [option, "/probe", "eat", "300"]).limit(SOON).run();
        assert!(!outcome.timed_out && !outcome.text().contains("ate") && outcome.code == Some(1), "{option}: {}", outcome.describe());
    }
    bed.hostel(["run", "--memory=64M", "--tree"]).arg(tree.path()).args(["--", "/probe", "eat", "300"]).run().exits(137);
    // a child that dies of it leaves PID 1 alive
    bed.nspawn(&tree, ["--memory=64M", "sh", "-c", "/probe eat 300; echo survived $?"]).run().exits(0).prints_with("survived 137");
    bed.nspawn(&tree, ["--memory=200M", "/probe", "eat", "100"]).run().exits(0).prints("ate 100");
}

#[test]
fn a_busy_loop_gets_its_share_only() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for option in ["--cpus=0.2", "--property=CPUQuota=20%"] {
        let outcome =
            bed.nspawn(&tree, [option, "sh", "-c", "timeout 2 sh -c 'while :; do :; done'; cat /proc/self/stat >/dev/null; times"]).run().ends();
        let seconds: f64 = outcome
            .text()
            .lines()
            .flat_map(|l| l.split_whitespace())
            .filter_map(|w| w.strip_suffix('s')?.split_once('m')?.1.parse::<f64>().ok())
            .sum();
        assert!(seconds < 0.9, "{option}: {seconds} s of CPU in 2 s: {}", outcome.text());
    }
}

#[test]
fn device_rules() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let verdict = |options: &[&str], what: &str| {
        hostel_tests::Attempts::of(&bed.nspawn(&tree, options).args(["/probe", "attempts"]).run().exits(0)).verdict(what).to_string()
    };
    for device in ["open_made_dev_mem", "open_made_dev_kmsg", "open_host_disk", "open_made_loop_control"] {
        assert_ne!(verdict(&[], device), "allowed", "{device}");
    }
    assert_eq!(verdict(&["--property=DeviceAllow=/dev/loop-control rwm"], "open_made_loop_control"), "allowed");
}

#[test]
fn a_reboot_loop_is_braked() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.init_is_probe("reboot");
    let outcome = bed.hostel(["boot"]).arg(tree.path()).limit(Duration::from_secs(30)).run();
    assert!(!outcome.timed_out && outcome.code != Some(0), "{}", outcome.describe());
    bed.assert_clean();
}

#[test]
fn an_init_that_ignores_everything_is_killed_at_the_deadline() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.init_is_probe("ignore");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).run().exits(0);
    let outcome = bed.hostel(["stop", "--timeout=2", &name]).run();
    assert!(!outcome.timed_out && outcome.time > Duration::from_millis(1800) && outcome.time < Duration::from_secs(10), "{}", outcome.describe());
    bed.assert_clean();
}

/// Root of a machine mounts what makes everyone wait who looks for a file in it, and whom no signal ends while he waits.
#[test]
fn nobody_waits_for_the_files_of_a_machine() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.init_is_probe("deaf then ignore");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).run().exits(0);
    let logs = || bed.hostel(["logs", &name]).run().exits(0).text();
    assert!(hostel_tests::eventually(SOON, || logs().contains("deaf")), "{}", logs());
    if logs().contains("not deaf") {
        println!("skipped: {}", logs());
        bed.hostel(["stop", "--force", &name]).run();
        return;
    }
    for verb in [&["ps"][..], &["status", &name], &["inspect", &name], &["machinectl", "list"]] {
        let outcome = bed.hostel(verb).limit(SOON).run().exits(0);
        assert!(outcome.time < Duration::from_secs(5), "{}", outcome.describe());
    }
    let outcome = bed.hostel(["stop", "--timeout=2", &name]).limit(Duration::from_secs(60)).run().exits(4);
    assert!(outcome.time < Duration::from_secs(15), "{}", outcome.describe());
    bed.assert_clean();
}

/// The request of some inits is a program of theirs, run in the machine: here it is one that nobody ever finds.
#[test]
fn nobody_waits_for_the_files_of_a_machine_that_is_asked_by_a_command() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.init_is_probe("deaf /usr/sbin then ignore");
    std::fs::rename(tree.at("/usr/sbin/init"), tree.at("/usr/sbin/runit")).expect("rename");
    std::os::unix::fs::symlink("runit", tree.at("/usr/sbin/init")).expect("link");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).run().exits(0);
    let logs = || bed.hostel(["logs", &name]).run().exits(0).text();
    assert!(hostel_tests::eventually(SOON, || logs().contains("deaf")), "{}", logs());
    if logs().contains("not deaf") {
        println!("skipped: {}", logs());
        bed.hostel(["stop", "--force", &name]).run();
        return;
    }
    bed.hostel(["ps"]).run().exits(0).prints_with("runit");
    let stopping = bed.hostel(["stop", "--timeout=4", &name]).limit(Duration::from_secs(60)).start();
    std::thread::sleep(Duration::from_secs(1));
    for verb in [&["ps"][..], &["status", &name]] {
        let outcome = bed.hostel(verb).limit(SOON).run().exits(0);
        assert!(outcome.time < Duration::from_secs(3), "{}", outcome.describe());
    }
    let outcome = stopping.finish(Duration::from_secs(30)).exits(4);
    assert!(outcome.time < Duration::from_secs(15), "{}", outcome.describe());
    bed.assert_clean();
}

/// A program on a file system that does not answer: no signal ends who executes it, but who waits for that ends.
#[test]
fn a_start_that_hangs_is_ended() {
    let Some(bed) = Bed::start() else { return };
    let (tree, name) = (bed.busybox(), bed.name());
    std::fs::create_dir(tree.at("/mnt/deaf")).expect("make");
    let (said, server) = (bed.dir().join("said"), bed.dir().join("server"));
    // The deaf place is in a mount namespace of this start's own.
    let script = format!(
        "exec unshare -m sh -c 'mount -t tmpfs none /tmp && mkdir /tmp/x && {{ {} deaf /tmp/x then sleep >{} 2>&1 & }} && echo $! >{} \
         && until grep -q deaf {1}; do sleep 0.1; done; exec \"$@\"' sh \"$@\"",
        tree.at("/probe").display(),
        said.display(),
        server.display(),
    );
    let line = ["-M", &name, "--bind=/tmp/x:/mnt/deaf", "--pipe", "/mnt/deaf/program"];
    let running = bed.nspawn(&tree, line).through_shell(&script).limit(Duration::from_secs(60)).start();
    let heard = || std::fs::read_to_string(&said).unwrap_or_default();
    assert!(hostel_tests::eventually(SOON, || heard().contains("deaf")), "{}", heard());
    std::thread::sleep(Duration::from_secs(2));
    let deaf = !heard().contains("not deaf");
    if deaf {
        assert!(!running.has_ended(), "it hangs: {}", running.stderr());
    } else {
        println!("skipped: {}", heard());
    }
    running.signal(Signal::TERM);
    let outcome = running.finish(Duration::from_secs(20));
    let pid: i32 = std::fs::read_to_string(&server).expect("a server").trim().parse().expect("a number");
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("a pid"), rustix::process::Signal::KILL);
    assert!(!outcome.timed_out, "{}", outcome.describe());
    assert!(hostel_tests::eventually(SOON, || {
        bed.clean();
        bed.leftovers().is_empty()
    }));
}

#[test]
fn the_tree_vanishes_and_proc_cannot_be_read() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let running = bed.nspawn(&tree, ["/probe", "say", "up", "then", "sleep"]).start();
    running.expect("up");
    let _ = std::fs::remove_dir_all(tree.path());
    running.signal(Signal::TERM);
    running.finish(SOON).ends();
    bed.assert_clean();
    let tree = bed.busybox();
    std::fs::set_permissions(tree.at("/proc"), std::os::unix::fs::PermissionsExt::from_mode(0o0)).expect("chmod");
    bed.nspawn(&tree, ["/probe", "say", "ran"]).run().exits(0).prints("ran");
}

#[test]
fn a_thousand_binds() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let binds: Vec<String> = (0..1000).map(|n| format!("--bind-ro=/etc/hostname:/mnt/f{n}")).collect();
    bed.nspawn(&tree, &binds).args(["sh", "-c", "ls /mnt | wc -l"]).run().exits(0).prints("1000").within(Duration::from_secs(10));
}

#[test]
fn more_read_only_binds_than_one_message_holds_with_ids_of_its_own() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let binds: Vec<String> = (0..300).map(|n| format!("--bind-ro=/etc/hostname:/mnt/f{n}")).collect();
    let script = "ls /mnt | wc -l; grep -c ' /mnt/f[0-9]* ro,' /proc/self/mountinfo; mount -o remount,bind,rw /mnt/f299 2>/dev/null || echo locked";
    bed.nspawn(&tree, ["-U"]).args(&binds).args(["sh", "-c", script]).run().exits(0).prints("300\n300\nlocked").within(Duration::from_secs(10));
}
