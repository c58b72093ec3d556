//! What programs log under hostel's own init, and what its journalctl says of it, asked from inside.

use std::time::Duration;

use hostel_tests::Bed;
use hostel_tests::init::{self, WAIT, boot, plant};

fn result(bed: &Bed, units: &[(&str, &str)], script: &str) -> String {
    init::result(bed, units, &format!("{WAIT}{script}"))
}

/// The part of a result after `== NAME`.
fn part<'t>(text: &'t str, name: &str) -> &'t str {
    let begin = format!("== {name}\n");
    let rest = &text[text.find(&begin).unwrap_or_else(|| panic!("no part {name} in {text}")) + begin.len()..];
    rest.split("== ").next().unwrap_or(rest)
}

#[test]
fn output_of_units() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("a.service", "[Unit]\nDescription=The A\n[Service]\nExecStart=/bin/sh -c 'echo \"<3>bad thing\"; echo plain; printf \"no end\"; exit 4'\nSyslogIdentifier=me\nLogExtraFields=COLOR=red\n"),
        ("lives.service", "[Service]\nExecStart=/bin/sh -c 'echo life; sleep 0.05; exit 1'\nRestart=on-failure\nRestartSec=20ms\n"),
        ("mute.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo not heard; echo \"<3>heard\"'\nLogLevelMax=err\n"),
        ("raw.service", "[Service]\nType=oneshot\nExecStart=/bin/echo <2>as it is\nSyslogLevelPrefix=no\nSyslogLevel=notice\nSyslogFacility=local1\n"),
        ("some.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'for i in 1 2 3 4 5 6 7 8; do echo line $$i; done'\nLogRateLimitIntervalSec=1h\nLogRateLimitBurst=3\n"),
        ("knows.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c '[ \"$$JOURNAL_STREAM\" = \"$(stat -Lc %%d:%%i /proc/self/fd/2)\" ] && echo it knows'\n"),
    ];
    let text = result(
        &bed,
        &units,
        "systemctl start a; wait_for 'systemctl is-failed a'; systemctl start lives; wait_for 'systemctl show -p Result lives | grep -q start-limit'\n\
         systemctl start mute raw some knows\n\
         echo == a; journalctl -u a -o cat; echo == error; journalctl -u a -p err -o cat; echo == me; journalctl -t me -n1 -o json --output-fields=MESSAGE,_SYSTEMD_UNIT,COLOR,_TRANSPORT,PRIORITY\n\
         echo == red; journalctl COLOR=red -o cat; echo == lives; journalctl -u lives -g '^life$' -o cat; journalctl -u lives -g 'Scheduled' -o cat | wc -l\n\
         echo == mute; journalctl _SYSTEMD_UNIT=mute.service -o cat; echo == raw; journalctl _SYSTEMD_UNIT=raw.service -o json\n\
         echo == some; journalctl -u some -o cat; echo == knows; journalctl -u knows -g 'it knows' -o cat; echo == status; systemctl status -n 4 a\n\
         echo == short; journalctl -u a -n1; echo == none; journalctl -u nope; echo rc=$?; echo == about; journalctl UNIT=a.service -o json | head -1\n\
         echo == bad; journalctl --since=nonsense; echo rc=$?; journalctl -p bad 2>&1; echo rc=$?; journalctl --header 2>&1; echo rc=$?\n\
         echo == boots; journalctl --list-boots | wc -l; journalctl -F _SYSTEMD_UNIT | grep -c service; journalctl -N | grep -c COLOR; journalctl --disk-usage; ls -l /run/log/hostel",
    );
    let a = part(&text, "a");
    assert_eq!(
        a.lines().collect::<Vec<_>>(),
        [
            "Starting a.service - The A...",
            "Started a.service - The A.",
            "bad thing",
            "plain",
            "no end",
            "a.service: Main process exited, code=exited, status=4/NOPERMISSION",
            "a.service: Failed with result 'exit-code'."
        ],
        "{a}"
    );
    assert_eq!(part(&text, "error"), "bad thing\n");
    let me = part(&text, "me");
    for field in [r#""MESSAGE":"no end""#, r#""_SYSTEMD_UNIT":"a.service""#, r#""COLOR":"red""#, r#""_TRANSPORT":"stdout""#, r#""PRIORITY":"6""#] {
        assert!(me.contains(field), "{field} in {me}");
    }
    assert_eq!(part(&text, "red").lines().count(), 3);
    assert_eq!(part(&text, "lives").trim(), "life\nlife\nlife\nlife\nlife\n5", "five lives and five restarts");
    assert_eq!(part(&text, "mute"), "heard\n");
    let raw = part(&text, "raw");
    assert!(
        raw.contains(r#""MESSAGE":"<2>as it is""#)
            && raw.contains(r#""PRIORITY":"5""#)
            && raw.contains(r#""SYSLOG_FACILITY":"17""#)
            && raw.contains(r#""SYSLOG_IDENTIFIER":"echo""#),
        "{raw}"
    );
    let some = part(&text, "some");
    assert!(some.contains("line 3\n") && !some.contains("line 4") && some.contains("Suppressed 5 messages from some.service\n"), "{some}");
    assert_eq!(part(&text, "knows"), "it knows\n");
    let status = part(&text, "status");
    assert!(
        status.contains("\n\n")
            && status.contains("me[")
            && status.contains("]: no end\n")
            && status.trim_end().ends_with("Failed with result 'exit-code'."),
        "{status}"
    );
    let short = part(&text, "short");
    assert!(short.contains(" init[1]: a.service: Failed with result"), "{short}");
    assert_eq!(part(&text, "none"), "-- No entries --\nrc=0\n");
    let about = part(&text, "about");
    assert!(
        about.contains("7d4958e842da4a758f6c1cdc7b36dcc5") && about.contains("\"INVOCATION_ID\":\"") && about.contains("\"_PID\":\"1\""),
        "{about}"
    );
    let bad = part(&text, "bad");
    assert_eq!(bad.matches("rc=1").count(), 3, "{bad}");
    assert!(bad.contains("Unknown log level bad") && bad.contains("--header is not supported"), "{bad}");
    assert!(part(&text, "boots").contains("-rw-r-----"), "{text}");
}

#[test]
fn sockets_of_journald() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("alice.service", "[Service]\nType=oneshot\nUser=alice\nExecStart=/bin/sh -c '(echo from alice; sleep 1) | logger -t tag -p mail.err'\n"),
        ("cat.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c '(printf \"cat\\n\\n30\\n1\\n0\\n0\\n0\\n<4>one line\\ntwo\"; sleep 0.2) | nc local:/run/systemd/journal/stdout'\n"),
    ];
    let text = result(
        &bed,
        &units,
        "systemctl start alice; readlink /dev/log; ls -l /run/systemd/journal\n\
         echo == alice; wait_for 'journalctl -t tag | grep -q alice'; journalctl -t tag -o export | tr '\\0' '@'; journalctl -t tag -o cat -u alice --facility=mail\n\
         logger -t stranger hello; wait_for 'journalctl -t stranger | grep -q hello'; echo == stranger; journalctl -t stranger",
    );
    let alice = part(&text, "alice");
    for field in [
        "MESSAGE=from alice\n",
        "PRIORITY=3\n",
        "SYSLOG_FACILITY=2\n",
        "_UID=1000\n",
        "_SYSTEMD_UNIT=alice.service\n",
        "_TRANSPORT=syslog\n",
        "_BOOT_ID=",
    ] {
        assert!(alice.contains(field), "{field} in {alice}");
    }
    assert!(alice.ends_with("\nfrom alice\n"), "{alice}");
    assert!(part(&text, "stranger").contains(": hello"), "{text}");
    assert!(text.starts_with("/run/systemd/journal/dev-log\n"), "{text}");
}

/// A service that logs without end and without a limit: the store stays small, others are served, and it can be stopped.
#[test]
fn a_flood_is_bounded() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("flood.service", "[Service]\nExecStart=/usr/bin/yes a line that is written without end\nLogRateLimitBurst=0\n"),
        ("limited.service", "[Service]\nExecStart=/usr/bin/yes a line that is written without end\n"),
        ("s.service", "[Service]\nExecStart=/bin/sh -c 'echo I am heard; exec sleep 1000'\n"),
    ];
    let text = result(
        &bed,
        &units,
        "systemctl start flood; sleep 1; cut -d' ' -f1 /proc/uptime; systemctl start s; systemctl is-active flood s; cut -d' ' -f1 /proc/uptime\n\
         wait_for 'journalctl -u s | grep -q heard'; echo == heard; journalctl -u s -g heard -o cat; systemctl stop flood; systemctl is-active flood\n\
         echo == small; du -k /run/log/hostel | cut -f1; grep VmHWM /proc/1/status; journalctl --verify 2>&1 | grep -c FAIL\n\
         systemctl start limited; sleep 0.5; systemctl stop limited; echo == limited; journalctl -u limited -o cat | tail -2; journalctl _SYSTEMD_UNIT=limited.service -o cat | wc -l\n\
         journalctl --vacuum-files=1; echo == vacuum; ls /run/log/hostel | wc -l; journalctl --rotate; echo rc=$?; logger after; wait_for 'journalctl -g after'; ls /run/log/hostel | wc -l",
    );
    let times: Vec<f64> = text.lines().filter(|l| l.contains('.')).filter_map(|line| line.parse().ok()).collect();
    assert!(times[1] - times[0] < 3.0, "{text}");
    assert!(text.contains("active\nactive\n"), "{text}");
    assert_eq!(part(&text, "heard"), "I am heard\ninactive\n");
    let small = part(&text, "small");
    let mut numbers = small.split_whitespace().filter_map(|w| w.parse::<u64>().ok());
    assert!(numbers.next().is_some_and(|kib| kib < 66_000), "{small}");
    assert!(numbers.next().is_some_and(|kib| kib < 8_000), "{small}");
    assert_eq!(numbers.next(), Some(0), "{small}");
    let limited = part(&text, "limited");
    assert!(limited.contains("Suppressed ") && limited.contains("\n10000\n"), "{limited}");
    assert_eq!(part(&text, "vacuum").lines().collect::<Vec<_>>(), ["1", "rc=0", "2"]);
}

/// What `docker logs` would show: JSON objects, or nothing.
#[test]
fn console_forms() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("five.service", "[Service]\nExecStart=/bin/sh -c 'echo from five; exit 5'\n"),
        ("loud.service", "[Service]\nExecStart=/bin/sh -c 'echo loud; exit 6'\nStandardOutput=journal+console\n"),
    ];
    let tree = plant(&bed, &units, "");
    let outcome = boot(&bed, &tree, &["--log=json", "five"]).run().exits(5);
    let text = outcome.text();
    let line = text.lines().find(|l| l.contains("from ")).unwrap_or_else(|| panic!("{}", outcome.describe()));
    let object: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(object["MESSAGE"], "from five");
    assert_eq!(object["_SYSTEMD_UNIT"], "five.service");
    assert!(text.lines().filter(|l| l.starts_with('{')).all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()));
    let outcome = boot(&bed, &tree, &["--log=none", "five"]).run().exits(5);
    assert!(!outcome.text().contains("five"), "{}", outcome.describe());
    boot(&bed, &tree, &["--log=none", "loud"]).run().exits(6).prints_with("]: loud");
    boot(&bed, &tree, &["--log=lines", "five"]).run().exits(5).prints_with("five[").prints_with("]: from five");
    boot(&bed, &tree, &["--log=x"]).run().exits(2).says("it is none of lines, json, none");
}

/// Debian's own programs that log, a log that outlives the machine, and the host's look at it.
#[test]
fn debian_logs() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("debian") else { return };
    let name = bed.name();
    std::fs::create_dir_all(tree.at("/var/log/journal")).unwrap();
    tree.write("/etc/systemd/system/own.service", "[Service]\nExecStart=/bin/sh -c 'echo it is up; systemd-cat -t piped -p warning sh -c \"echo by systemd-cat; sleep 1\"; (echo by logger; sleep 1) | logger -t lg; printf \"MESSAGE=by journald\\\\nOWN_FIELD=x y\\\\nPRIORITY=2\\\\n\" | logger --journald; exec sleep 1000'\n");
    let journal = |words: &[&str]| bed.hostel(["journalctl"]).args(words).run();
    for life in 1..=2 {
        let program = bed.hostel(["x"]).program();
        let running = bed
            .nspawn(&tree, ["--console=pipe", "-M", &name])
            .arg(format!("--bind-ro={}:/opt/hostel", program.to_string_lossy()))
            .args(["/opt/hostel", "init"])
            .limit(Duration::from_secs(60))
            .start();
        let leader = hostel_tests::leader_below(running.pid());
        let inside = |words: &[&str]| bed.hostel(["exec", &name, "--", "/opt/hostel"]).args(words).run();
        assert!(
            hostel_tests::eventually(Duration::from_secs(30), || inside(&["ctl", "is-active", "-q", "basic.target"]).code == Some(0)),
            "{}",
            running.stdout()
        );
        inside(&["ctl", "start", "own"]).exits(0);
        // from the host, of the machine that runs
        let of = |words: &[&str]| journal(&[&["-M", &name, "-u", "own", "-b"], words].concat());
        // who has ended when its entry is read has no unit any more: the others live for a while
        let all = ["it is up", "by systemd-cat", "by logger"];
        assert!(
            hostel_tests::eventually(Duration::from_secs(20), || {
                let text = of(&["-o", "cat"]).text();
                all.iter().all(|line| text.contains(line))
            }),
            "{}\n{}",
            of(&[]).describe(),
            running.stdout()
        );
        of(&["-t", "piped", "-o", "json"]).exits(0).prints_with("\"PRIORITY\":\"4\"").prints_with("\"_TRANSPORT\":\"stdout\"");
        let native = || journal(&["-M", &name, "-b", "OWN_FIELD=x y", "-o", "verbose"]);
        assert!(
            hostel_tests::eventually(Duration::from_secs(10), || native().text().contains("    MESSAGE=by journald\n")),
            "{}",
            native().describe()
        );
        native().exits(0).prints_with("    _TRANSPORT=journal\n").prints_with("    PRIORITY=2\n").prints_with("    _UID=0\n");
        of(&["-t", "lg", "-o", "with-unit"]).exits(0).prints_with("own.service[");
        inside(&["journalctl", "-u", "own", "-n", "1", "-o", "cat"]).exits(0);
        let _ = life;
        std::process::Command::new("kill").args(["-37", &leader.to_string()]).status().unwrap();
        running.finish(Duration::from_secs(30)).exits(0);
    }
    // of the tree at rest: both lives
    let root = format!("--root={}", tree.path().display());
    let boots = journal(&[&root, "--list-boots"]).exits(0);
    assert_eq!(boots.text().lines().count(), 3, "{}", boots.describe());
    assert_eq!(journal(&[&root, "-u", "own", "-g", "^it is up", "-o", "cat"]).exits(0).text().lines().count(), 2);
    assert_eq!(journal(&[&root, "-u", "own", "-g", "^it is up", "-o", "cat", "-b", "-1"]).exits(0).text().lines().count(), 1);
    // what real journalds keep is theirs
    let real = bed.busybox();
    real.write("/var/log/journal/0123456789abcdef0123456789abcdef/system.journal", "LPKSHHRH");
    let outcome = journal(&[&format!("--root={}", real.path().display())]).fails();
    assert!(outcome.errors().contains("files of systemd's journal"), "{}", outcome.describe());
}
