//! In the place of docker-systemctl-replacement: `systemctl` is what a container runs, and does what systemctl.py's users expect.

use std::time::Duration;

use hostel_tests::init::WAIT;
use hostel_tests::{Bed, Invocation, Tree};

/// What this test's hostel is called in the tree.
const NAMES: [&str; 3] = ["/usr/bin/systemctl", "/usr/bin/systemctl3.py", "/usr/bin/journalctl3.py"];

fn plant(bed: &Bed, units: &[(&str, &str)]) -> Tree {
    let tree = bed.busybox();
    for (name, text) in units {
        tree.write(&format!("/etc/systemd/system/{name}"), text);
    }
    for name in NAMES {
        tree.remove(name).write(name, "");
    }
    tree
}

/// Makes it what a container runs.
fn container(bed: &Bed, tree: &Tree, more: &[&str], words: &[&str]) -> Invocation {
    let program = bed.hostel(["x"]).program();
    let binds = NAMES.map(|name| format!("--bind-ro={}:{name}", program.to_string_lossy()));
    bed.nspawn(tree, ["--console=pipe", "-q"]).args(binds).args(more).args(words).limit(Duration::from_secs(40))
}

const WANTED: &str = "[Install]\nWantedBy=multi-user.target\n";

#[test]
fn systemctl_is_the_init_of_its_container() {
    let Some(bed) = Bed::start() else { return };
    let web = format!("[Service]\nExecStart=/bin/sh -c 'echo colour is $COLOUR; exec sleep 1000'\nRestart=always\n{WANTED}");
    let last = format!("[Unit]\nAfter=web.service\n[Service]\nType=oneshot\nExecStart=/bin/sh /check\n{WANTED}");
    let tree = plant(&bed, &[("web.service", &web), ("idle.service", "[Service]\nExecStart=/bin/sleep 1000\n"), ("last.service", &last)]);
    tree.write(
        "/check",
        format!("{WAIT}wait_for 'systemctl is-active web'; cat /proc/1/comm; systemctl is-active web idle; systemctl --no-block exit 9\n"),
    );
    container(&bed, &tree, &[], &["/usr/bin/systemctl", "enable", "-q", "web", "last"]).run().exits(0);
    // no verb, as PID 1; what the container was started with is the services'
    let outcome = container(&bed, &tree, &["--setenv=COLOUR=blue"], &["/usr/bin/systemctl"]).run().exits(9);
    for line in ["web[", "colour is blue", "]: active", "]: inactive", "]: init"] {
        assert!(outcome.text().contains(line), "{line} in {}", outcome.describe());
    }
    // what the tool's users write; nothing of it fails
    let words = ["/usr/bin/systemctl3.py", "-vv", "-c", "InitLoopSleep=1", "-e", "COLOUR=green", "init"];
    let outcome = container(&bed, &tree, &[], &words).run().exits(9).prints_with("colour is green");
    assert!(outcome.errors().contains("nothing is polled"), "{}", outcome.describe());
    // our own name for it passes what is asked for only
    let words = ["/usr/bin/systemctl", "init"];
    container(&bed, &tree, &["--setenv=COLOUR=red"], &words).run().exits(9).prints_with("colour is red");
}

#[test]
fn named_units_and_the_last_process_end_it() {
    let Some(bed) = Bed::start() else { return };
    let units = [
        ("five.service", "[Service]\nExecStart=/bin/sh -c 'sleep 0.2; echo five says $COLOUR; exit 5'\n".to_owned()),
        ("well.service", format!("[Service]\nExecStart=/bin/sh -c 'echo done; sleep 0.2'\n{WANTED}")),
        ("stays.service", format!("[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/bin/echo stopped\n{WANTED}")),
    ];
    let tree = plant(&bed, &units.each_ref().map(|(name, text)| (*name, text.as_str())));
    for words in [["/usr/bin/systemctl", "init", "five"], ["/usr/bin/systemctl3.py", "init", "five.service"], ["/usr/bin/systemctl", "start", "five"]]
    {
        container(&bed, &tree, &["--setenv=COLOUR=blue"], &words).run().exits(5).prints_with("five says blue");
    }
    container(&bed, &tree, &[], &["/usr/bin/systemctl", "init", "nope"]).run().exits(1).says("nope.service not found");
    container(&bed, &tree, &[], &["/usr/bin/systemctl", "-q", "enable", "well", "stays"]).run().exits(0);
    let began = std::time::Instant::now();
    container(&bed, &tree, &[], &["/usr/bin/systemctl3.py", "-0"]).run().exits(0).prints_with("done").prints_with("stopped");
    assert!(began.elapsed() < Duration::from_secs(10));
    // one that counts as active keeps it
    let kept = container(&bed, &tree, &[], &["/usr/bin/systemctl3.py", "-00", "init"]).start();
    kept.expect("done");
    std::thread::sleep(Duration::from_millis(800));
    assert!(!kept.has_ended());
    kept.signal(hostel_tests::Signal::TERM);
    kept.finish(Duration::from_secs(10));
}

#[test]
fn its_exit_statuses_and_own_verbs() {
    let Some(bed) = Bed::start() else { return };
    let check = "[Service]\nType=oneshot\nExecStart=/bin/sh /check\nStandardOutput=file:/result\nStandardError=inherit\n";
    let units = [
        ("check.service", check.to_owned()),
        (
            "up.service",
            format!(
                "[Service]\nExecStart=/bin/sleep 1000\nEnvironment=A=1 \"B=two words\"\nEnvironmentFile=/etc/up\nExecStartPost=/bin/echo logged\n{WANTED}"
            ),
        ),
        ("down.service", "[Service]\nExecStart=/bin/sleep 1001\n".to_owned()),
        ("bad.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit 3'\n".to_owned()),
    ];
    let tree = plant(&bed, &units.each_ref().map(|(name, text)| (*name, text.as_str())));
    tree.write("/etc/up", "B=of a file\n# no\nC='x y'\n");
    tree.write("/etc/systemd/system-preset/10-x.preset", "enable up.service\ndisable *\n");
    // the command, its status, what it prints
    #[rustfmt::skip]
    let table: &[(&str, u8, &str)] = &[
        ("start up", 0, ""),
        ("start", 0, ""),
        ("is-active up", 0, "active"),
        ("is-active up down nope", 3, "active inactive unknown"),
        ("is-active down", 3, "inactive"),
        ("is-failed up", 1, "active"),
        ("start bad", 1, ""),
        ("is-failed bad up", 0, "failed active"),
        ("start nope", 5, ""),
        ("stop nope", 5, ""),
        ("reload up", 0, ""),
        ("status nope", 4, ""),
        ("kill nope", 1, ""),
        ("cat nope", 1, ""),
        ("enable down", 1, ""),
        ("enable -q up", 0, ""),
        ("is-enabled up", 0, "enabled"),
        ("mask nope", 5, ""),
        ("unmask nope", 0, ""),
        ("set-default nowhere", 3, ""),
        ("get-preset up", 0, "enable"),
        ("get-preset down", 0, "disable"),
        ("environment up", 0, "A=1 B=of a file C=x y"),
        ("-e A=7 environment up", 0, "A=7 B=of a file C=x y"),
        ("environment nope", 1, ""),
        ("command up", 0, "/bin/sleep 1000"),
        ("default-services", 0, "up.service"),
        ("reap-zombies", 0, ""),
        ("frobnicate", 1, ""),
        ("__test", 1, ""),
        ("--frob", 2, ""),
        ("-e novalue start up", 2, ""),
        ("--no-legend list-units up.service --plain", 0, "up.service loaded active running up.service"),
        ("log up -n 50", 0, "*logged"),
        ("show --value -p MainPID down", 0, "0"),
        ("try-reload-or-restart down", 0, ""),
        ("stop up service", 0, ""),
    ];
    let commands: String = table.iter().map(|(words, ..)| format!("out=$(systemctl3.py {words} 2>/dev/null); echo \"rc $? \"$out\n")).collect();
    // the same by the option; the journal's other name; the usual words stay systemd's
    let more = "systemctl --compat=systemctl.py is-active up down >/dev/null; echo \"rc $?\"\nsystemctl start up; systemctl is-active up nope >/dev/null; echo \"rc $?\"\n\
                journalctl3.py -u up -n 30 --no-pager | grep -c logged\n";
    tree.write("/check", format!("{commands}{more}"));
    container(&bed, &tree, &[], &["/usr/bin/systemctl", "init", "check"]).run().exits(0);
    let text = std::fs::read_to_string(tree.at("/result")).expect("read /result");
    println!("{text}");
    let mut lines = text.lines();
    let mut wrong = String::new();
    for (words, status, printed) in table {
        let line = lines.next().unwrap_or_default();
        let right = match printed.strip_prefix('*') {
            Some(part) => line.starts_with(&format!("rc {status} ")) && line.contains(part),
            None => {
                line.trim_end() == format!("rc {status} {printed}").trim_end() || printed.is_empty() && line.starts_with(&format!("rc {status} "))
            }
        };
        if !right {
            wrong += &format!("{words}: wanted {status} {printed:?}, came {line:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(lines.collect::<Vec<_>>(), ["rc 3", "rc 0", "2"], "{text}");
}

/// `hostel init` passes what it is told to.
#[test]
fn variables_of_the_container() {
    let Some(bed) = Bed::start() else { return };
    let tree =
        plant(&bed, &[("say.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo \"A=$A B=$B N=$NOTIFY_SOCKET.\"'\nNotifyAccess=none\n")]);
    tree.write("/opt/init", "");
    let program = bed.hostel(["x"]).program();
    let bind = format!("--bind-ro={}:/opt/hostel", program.to_string_lossy());
    tree.write("/opt/hostel", "");
    let say = |option: &[&str]| {
        let words = [&["/opt/hostel", "init"], option, &["say"]].concat();
        container(&bed, &tree, &[&bind, "--setenv=A=1", "--setenv=B=2", "--notify-ready=no"], &words).run()
    };
    say(&[]).exits(0).prints_with("A= B= N=.");
    say(&["--pass-env"]).exits(0).prints_with("A=1 B=2 N=.");
    say(&["--pass-env=B,NONE"]).exits(0).prints_with("A= B=2 N=.");
    say(&["--pass-env="]).exits(2).says("names no variable");
}
