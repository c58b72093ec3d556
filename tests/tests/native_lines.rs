//! Command lines that say two things at once, and waiting: until a machine is up, until it has ended, for each of several.

use std::time::Duration;

use hostel_tests::{Bed, eventually};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn contradictions_are_refused() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let path = tree.path().to_string_lossy().into_owned();
    let refused = |words: &[&str], both: [&str; 2]| {
        // `plan` reads the same line.
        for verb in [&[][..], &["plan"]] {
            let outcome = bed.hostel(verb).args(words).run().exits(2);
            assert!(both.iter().all(|option| outcome.errors().contains(option)), "{words:?}: {}", outcome.describe());
        }
    };
    let run = |words: &[&str], both| refused(&[&["run"], words, &["--", "true"]].concat(), both);
    for net in ["host", "private", "veth"] {
        let net = format!("--net={net}");
        run(&[&net, "--private-network"], ["--net=", "--private-network"]);
        run(&["-n", &net], ["--net=", "--network-veth"]);
        run(&[&net, "--network-zone=z"], ["--net=", "--network-zone="]);
    }
    run(&["--privileged-users=host", "-U"], ["--privileged-users=host", "-U"]);
    run(&["--private-users=pick", "--privileged-users=host"], ["--privileged-users=host", "--private-users"]);
    run(&["--tree", "/usr", "-D", &path], ["--tree", "--directory="]);
    run(&["--tree", "/usr", "-i", "bare.img"], ["--tree", "--image="]);
    run(&["--name", "a", "-M", "b"], ["--name a", "--machine=b"]);
    refused(&["boot", &path, "-D", "/usr"], ["boot", "--directory="]);
    refused(&["boot", &path, "--image", "bare.img"], ["boot", "--image="]);
    refused(&["boot", &path, "--tree", "/usr"], ["twice", "tree"]);
    // The same said twice is no contradiction, and what is said once counts.
    bed.hostel(["run", "--privileged-users=host", "--private-users=no", "--tree", &path, "--", "true"]).run().exits(0);
    let plan = bed.hostel(["plan", "run", "-M", "b", "--keep", "a", "--tree", &path, "--", "true"]).run().exits(0);
    plan.prints_with("machine b ");
}

#[test]
fn waiting_for_the_end_gives_the_status() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let path = tree.path().to_string_lossy().into_owned();
    let start = |script: &str| {
        let name = bed.name();
        bed.hostel(["run", "-d", "--name", &name, "--tree", &path, "--", "sh", "-c", script]).run().exits(0);
        name
    };
    let name = start("sleep 2; exit 7");
    bed.hostel(["wait", &name, "-t", "0.1"]).run().exits(125).says("still runs");
    let waiting = bed.hostel(["wait", &name]).start();
    bed.hostel(["wait", &name]).run().exits(7).says_nothing();
    waiting.finish(SOON).exits(7);
    bed.hostel(["ps"]).run().exits(0).prints_without(&name);
    let name = start("sleep 1; kill -9 $$");
    bed.hostel(["wait", &name]).run().exits(137);
    bed.hostel(["wait", &name]).run().exits(125).says(&name);
    bed.assert_clean();
}

#[test]
fn waiting_until_it_is_up() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let path = tree.path().to_string_lossy().into_owned();
    bed.hostel(["boot", &path, "--wait"]).run().exits(2).says("-d");
    // Ended before it was ready: that is a failure, and its status is told.
    let name = bed.name();
    let early = ["run", "-d", "--notify-ready=yes", "--name", &name, "--tree", &path, "--", "sh", "-c", "sleep 1; exit 5"];
    bed.hostel(early).run().exits(125).says("status 5 before it was ready").says("hostel logs");
    // Never ready: it goes on running.
    bed.hostel(["run", "-d", "--name", &name, "--tree", &path, "--", "sleep", "100"]).run().exits(0);
    bed.hostel(["wait", "--ready", "-t", "0.3", &name]).run().exits(125).says("READY=1");
    bed.hostel(["stop", "--force", &name]).run().exits(0);
    bed.assert_clean();
}

#[test]
fn a_booted_systemd_is_up_when_boot_returns() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree_on_own_file_system("debian") else { return };
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--wait", "--name", &name]).limit(Duration::from_secs(120)).run().exits(0);
    let state = bed.hostel(["exec", &name, "systemctl", "is-system-running"]).run();
    assert!(matches!(state.text().trim(), "running" | "degraded"), "{}", state.describe());
    bed.hostel(["wait", "--ready", &name]).run().exits(0);
    bed.hostel(["stop", &name]).limit(Duration::from_secs(60)).run().exits(0);
    bed.assert_clean();
}

#[test]
fn each_machine_is_told_its_own_time_to_stop() {
    let Some(bed) = Bed::start() else { return };
    let (slow, quick) = (bed.name(), bed.name());
    let tree = bed.busybox();
    for (name, time) in [(&slow, "4"), (&quick, "0")] {
        let script = format!("trap 'sleep {time}; exit 0' TERM; touch /run/up; while :; do sleep 0.1; done");
        bed.hostel(["run", "-d", "--kill-signal=TERM", "--name", name, "--tree"]).arg(tree.path()).args(["--", "sh", "-c", &script]).run().exits(0);
        assert!(eventually(SOON, || bed.hostel(["exec", name, "test", "-e", "/run/up"]).run().code == Some(0)));
    }
    let told = bed.hostel(["stop", "-v", &slow, &quick]).run().exits(0).errors();
    let seconds = |name: &str| -> f64 {
        let line = told.lines().find(|l| l.contains(name)).unwrap_or_else(|| panic!("{name} in {told}"));
        line.split_whitespace().rev().nth(1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    assert!(seconds(&slow) > 3.5 && seconds(&quick) < 3.5, "{told}");
    assert!(told.lines().next().is_some_and(|l| l.contains(&quick)), "told when it happens: {told}");
    bed.assert_clean();
}

#[test]
fn what_cannot_have_an_effect_is_refused_or_told() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let run = |words: &[&str]| bed.hostel(["run", "--tree"]).arg(tree.path()).args(words).args(["--", "/probe", "say", "ran"]).run();
    run(&["--nest=2", "--privileged-users=host"]).fails().says("--nest=");
    run(&["--nest=2"]).exits(0).prints("ran");
    let told = run(&["--property=DeviceAllow=/dev/no-such-device rw", "--property=DeviceAllow=char-no-such-driver r"]).exits(0).prints("ran");
    told.says("/dev/no-such-device has no effect").says("char-no-such-driver has no effect");
}

#[test]
fn help_is_for_people() {
    let Some(bed) = Bed::start() else { return };
    let help = bed.hostel(["--help"]).run().exits(0).says_nothing();
    for verb in [
        "run", "boot", "ps", "status", "inspect", "exec", "shell", "enter", "console", "logs", "stop", "kill", "pause", "resume", "rm", "spec",
        "plan", "doctor", "clean", "link", "nspawn",
    ] {
        assert!(help.text().contains(verb), "no {verb} in {}", help.text());
        if verb != "nspawn" {
            let one = bed.hostel([verb, "--help"]).run().exits(0);
            assert!(one.text().contains("example"), "{verb}: {}", one.text());
        }
    }
    bed.hostel(Vec::<String>::new()).run().exits(2);
    bed.hostel(["frobnicate"]).run().exits(2).says("frobnicate");
    bed.hostel(["--version"]).run().exits(0).prints_with("hostel");
    bed.hostel(["--help"]).through_shell("\"$@\" | true").run().exits(0).says_nothing();
}

#[test]
fn names_are_no_paths_in_any_verb() {
    let Some(bed) = Bed::start() else { return };
    let canary = hostel_tests::Trap::set(bed.dir().join("precious"));
    std::fs::create_dir_all(bed.runtime_dir().join("machines")).expect("mkdir");
    let long = "x".repeat(65);
    for name in
        ["../../precious", "..", ".", "/", "", "a/b", "-x", "a b", "a\nb", "%n%s", "$(id)", "ünï", long.as_str(), "../precious", "a..b", ".hidden"]
    {
        for verb in ["status", "inspect", "exec", "shell", "enter", "console", "logs", "stop", "kill", "pause", "resume", "rm"] {
            let outcome = bed.hostel([verb, name, "true"]).run().fails();
            assert!(!outcome.errors().contains("panicked"), "{verb} {name:?}: {}", outcome.describe());
        }
        bed.hostel(["run", "--name", name, "--", "true"]).run().fails();
        bed.hostel(["run", "--keep", name, "--", "true"]).run().fails();
        canary.assert_untouched(name);
    }
}
