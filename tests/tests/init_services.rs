//! Unit files run by hostel's own init: as PID 1 of a machine that has nothing else, asked from inside by its systemctl.

use std::time::Duration;

use hostel_tests::Bed;
use hostel_tests::init::{WAIT, boot, bound, plant, result};

fn lines<'t>(text: &'t str, begin: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.strip_prefix(begin)).collect()
}

#[test]
fn exit_of_the_init_is_the_machines() {
    let Some(bed) = Bed::start() else { return };
    let tree = plant(&bed, &[("seven.service", "[Service]\nType=oneshot\nExecStart=/usr/bin/systemctl --no-block exit 7\n")], "");
    tree.write("/etc/systemd/system/default.target", "[Unit]\nWants=seven.service\n");
    boot(&bed, &tree, &[]).run().exits(7);
}

#[test]
fn named_units_end_the_machine_with_their_status() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("five.service", "[Service]\nExecStart=/bin/sh -c 'echo from five; exit 5'\n"),
        ("well.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ("needs.service", "[Unit]\nRequires=no.service\nAfter=no.service\n[Service]\nExecStart=/bin/true\n"),
        ("no.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
    ];
    let tree = plant(&bed, &units, "");
    boot(&bed, &tree, &["five"]).run().exits(5).prints_with("from five");
    boot(&bed, &tree, &["well.service"]).run().exits(0);
    // below another init, too
    bed.nspawn(&tree, ["--console=pipe", "--as-pid2"]).args(bound(&bed)).args(["/usr/sbin/init", "five"]).run().exits(5).prints_with("from five");
    // of several the first that failed
    boot(&bed, &tree, &["well", "five"]).run().exits(5);
    boot(&bed, &tree, &["needs"]).run().exits(1);
    boot(&bed, &tree, &["nope"]).run().exits(1).says("Unit nope.service not found");
}

#[test]
fn what_ignores_sigterm_is_killed_in_time() {
    let Some(bed) = Bed::start() else { return };
    let deaf = "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'\nTimeoutStopSec=1\n";
    let text = result(
        &bed,
        &[("deaf.service", deaf)],
        "systemctl start deaf; sleep 0.2; systemctl is-active deaf; cut -d' ' -f1 /proc/uptime; systemctl stop deaf; cut -d' ' -f1 /proc/uptime\n\
         systemctl show -p Result,SubState,ExecMainCode,ExecMainStatus deaf; systemctl is-failed deaf",
    );
    let times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert!((0.9..4.0).contains(&(times[1] - times[0])), "{text}");
    for line in ["active", "Result=timeout", "SubState=failed", "ExecMainCode=2", "ExecMainStatus=9", "failed"] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
}

#[test]
fn forking_daemons_are_their_pid_files_if_these_tell_the_truth() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("d.service", "[Service]\nType=forking\nPIDFile=/run/d.pid\nExecStart=/bin/sh -c 'setsid sleep 1000 & echo $! > /run/d.pid'\n"),
        ("guess.service", "[Service]\nType=forking\nExecStart=/bin/sh -c 'setsid sleep 1001 &'\n"),
        ("late.service", "[Service]\nType=forking\nPIDFile=/run/late.pid\nExecStart=/bin/sh -c '(sleep 0.3; echo $$$$ > /dev/null; sleep 1002 & echo $! > /run/late.pid; wait) &'\n"),
        // PID 1 and a process of another unit are none of its own
        ("liar.service", "[Service]\nType=forking\nPIDFile=/run/liar.pid\nTimeoutStartSec=1\nExecStart=/bin/sh -c 'cp /run/d.pid /run/liar.pid; sleep 1003 &'\n"),
        ("one.service", "[Service]\nType=forking\nPIDFile=/run/one.pid\nTimeoutStartSec=1\nExecStart=/bin/sh -c 'echo 1 > /run/one.pid; sleep 1004 &'\n"),
    ];
    let text = result(
        &bed,
        &units,
        "systemctl start d guess late; echo rc=$?\n\
         for u in d guess late; do p=$(systemctl show -p MainPID --value $u); echo $u: $(tr '\\0' ' ' < /proc/$p/cmdline); done\n\
         echo same: $(cat /run/d.pid) $(systemctl show -p MainPID --value d)\n\
         systemctl start liar 2>/dev/null; echo liar rc=$?; systemctl show -p Result liar; systemctl start one 2>/dev/null; echo one rc=$?\n\
         ps | grep -v grep | grep -c 'sleep 100[34]'; systemctl is-active d\n\
         kill -9 $(cat /run/d.pid); n=0; while [ $n -lt 100 ] && systemctl is-active -q d; do n=$((n+1)); sleep 0.02; done\n\
         systemctl show -p ActiveState,Result d; systemctl stop guess late; ps | grep -v grep | grep -c 'sleep 100[012]'",
    );
    assert!(text.contains("rc=0\n"), "{text}");
    for line in ["d: sleep 1000 ", "guess: sleep 1001 ", "late: sleep 1002 "] {
        assert!(text.contains(line.trim_end()), "{line}: {text}");
    }
    let same: Vec<&str> = lines(&text, "same: ")[0].split(' ').collect();
    assert!(same.len() == 2 && same[0] == same[1], "{text}");
    assert!(text.contains("liar rc=1") && text.contains("Result=timeout") && text.contains("one rc=1"), "{text}");
    // what the liars left was ended, d was not touched, and its end was noticed
    assert!(text.contains("\n0\nactive\n") && text.contains("ActiveState=failed\n") && text.contains("Result=signal\n"), "{text}");
    assert!(text.ends_with("0\n"), "{text}");
}

#[test]
fn restarts_and_their_limit() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("loop.service", "[Service]\nExecStart=/bin/sh -c 'echo x >> /count; exit 1'\nRestart=always\nRestartSec=10ms\n"),
        ("back.service", "[Service]\nExecStart=/bin/sleep 1000\nRestart=on-failure\nRestartSec=50ms\n"),
        ("never.service", "[Service]\nExecStart=/bin/sh -c 'sleep 0.1; exit 9'\nRestart=always\nRestartSec=10ms\nRestartPreventExitStatus=9\n"),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}systemctl start loop; wait_for 'systemctl show -p Result loop | grep -q start-limit'; systemctl show -p Result,ActiveState,NRestarts loop; echo count $(wc -l < /count)\n\
             systemctl start loop 2>/dev/null; echo again rc=$?; systemctl reset-failed loop; systemctl is-failed loop\n\
             systemctl start back; a=$(systemctl show -p MainPID --value back); systemctl kill -s KILL back; wait_for '[ $(systemctl show -p NRestarts --value back) = 1 ] && systemctl is-active -q back'\n\
             b=$(systemctl show -p MainPID --value back); [ $a != $b ] && echo another; systemctl stop back; systemctl show -p ActiveState,SubState back\n\
             systemctl start never; wait_for 'systemctl is-failed -q never'; systemctl show -p ExecMainStatus,NRestarts never"
        ),
    );
    assert!(text.contains("Result=start-limit-hit") && text.contains("count 5\n") && text.contains("NRestarts=5"), "{text}");
    assert!(text.contains("again rc=1\ninactive\n"), "{text}");
    assert!(text.contains("another\nActiveState=inactive\nSubState=dead\n"), "{text}");
    assert!(text.contains("NRestarts=0\nExecMainStatus=9\n"), "{text}");
}

#[test]
fn orphans_are_reaped_and_ended_with_their_unit() {
    let Some(bed) = Bed::start() else { return };
    let text = result(
        &bed,
        &[(
            "o.service",
            "[Service]\nExecStart=/bin/sh -c 'for i in 1 2 3 4 5; do (setsid sleep 0.1 &) ; done; (setsid sleep 1005 &); exec sleep 1006'\n",
        )],
        &format!(
            "{WAIT}systemctl start o; wait_for 'ps | grep -v grep | grep -q \"sleep 1006\"'; wait_for '! ps | grep -v grep | grep -q \"sleep 0.1\"'; echo zombies $(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ')\n\
             systemctl status o | grep -c 'sleep 100[56]'; systemctl stop o; ps | grep -v grep | grep -c 'sleep 100[56]'"
        ),
    );
    assert!(text.contains("zombies 0\n2\n0\n"), "{text}");
}

#[test]
fn dependencies_failures_and_bonds() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("bad.service", "[Unit]\nOnFailure=alarm.service\n[Service]\nType=oneshot\nExecStart=/bin/false\n"),
        ("alarm.service", "[Service]\nType=oneshot\nExecStart=/bin/touch /alarm\n"),
        ("needs.service", "[Unit]\nRequires=bad.service\nAfter=bad.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("wants.service", "[Unit]\nWants=bad.service\nAfter=bad.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("base.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        ("bound.service", "[Unit]\nBindsTo=base.service\nAfter=base.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("part.service", "[Unit]\nPartOf=base.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("rival.service", "[Unit]\nConflicts=base.service\nAfter=base.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("skip.service", "[Unit]\nConditionPathExists=/nope\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("assert.service", "[Unit]\nAssertPathExists=/nope\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("x.socket", "[Socket]\nListenStream=/run/x\n"),
        ("x.service", "[Service]\nExecStart=/bin/true\n"),
        ("dyn.service", "[Service]\nExecStart=/bin/true\nRootImage=/x.raw\n"),
        ("exec.service", "[Service]\nType=exec\nExecStart=/no/such/program\n"),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}systemctl start needs; echo needs rc=$?; systemctl is-active needs; wait_for 'test -e /alarm'; ls /alarm\n\
             systemctl start wants; echo wants rc=$?; systemctl is-active wants\n\
             systemctl start bound part; systemctl kill -s KILL base; wait_for 'systemctl show -p ActiveState bound | grep -q =inactive'; systemctl show -p ActiveState --value bound part\n\
             systemctl start bound part; p=$(systemctl show -p MainPID --value part); systemctl restart base; systemctl is-active bound part; [ $p != $(systemctl show -p MainPID --value part) ] && echo part anew\n\
             systemctl start rival; systemctl is-active rival base bound\n\
             systemctl start skip; echo skip rc=$?; systemctl is-active skip; systemctl start assert; echo assert rc=$?\n\
             systemctl start x.socket; echo socket rc=$?; systemctl start dyn; echo dyn rc=$?; systemctl why dyn; systemctl start exec; echo exec rc=$?; systemctl show -p ExecMainStatus exec; systemctl why exec\n\
             systemctl reload base; echo reload rc=$?; systemctl start nope; echo nope rc=$?; systemctl stop nope; echo stop rc=$?; systemctl is-active nope; echo $?"
        ),
    );
    for expected in [
        "A dependency job for needs.service failed. See 'journalctl -xe' for details.\nneeds rc=1\ninactive\n/alarm\n",
        "wants rc=0\nactive\n",
        "inactive\n\nactive\n",
        "active\nactive\npart anew\n",
        "active\ninactive\ninactive\n",
        "skip rc=0\ninactive\nAssertion failed on job for assert.service.\nassert rc=1\n",
        "socket rc=0\n",
        "dyn rc=1\n",
        "it said: RootImage= is not implemented yet",
        "exec rc=1\nExecMainStatus=203\n",
        "execute /no/such/program: No such file or directory",
        "reload rc=3\n",
        "Failed to start nope.service: Unit nope.service not found.\nnope rc=5\nFailed to stop nope.service: Unit nope.service not loaded.\nstop rc=5\ninactive\n3\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
}

#[test]
fn words_of_services() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("n.service", "[Service]\nType=notify\nExecStart=/probe notify STATUS=warming then sleep 1 then notify READY=1 then sleep\n"),
        // a stranger's word does not count: its helper is not the main process
        ("s.service", "[Service]\nType=notify\nTimeoutStartSec=700ms\nExecStart=/bin/sh -c '/probe notify READY=1 then sleep 2; sleep 1000'\n"),
        ("all.service", "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c '/probe notify READY=1 then sleep 2; exec sleep 1000'\n"),
        ("w.service", "[Service]\nType=notify\nWatchdogSec=300ms\nNotifyAccess=all\nExecStart=/bin/sh -c '/probe notify READY=1 then sleep 1; exec sleep 1000'\n"),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}systemctl start --no-block n; wait_for 'systemctl show -p StatusText n | grep -q warming'; systemctl show -p StatusText,ActiveState n\n\
             wait_for 'systemctl is-active n'; systemctl is-active n\n\
             systemctl start s 2>/dev/null; echo s rc=$?; systemctl show -p Result s; systemctl start all; echo all rc=$?\n\
             systemctl start w; wait_for 'systemctl is-failed w'; systemctl show -p Result w"
        ),
    );
    assert!(text.contains("StatusText=warming\nActiveState=activating\n") || text.contains("ActiveState=activating\nStatusText=warming\n"), "{text}");
    assert!(text.contains("\nactive\ns rc=1\nResult=timeout\nall rc=0\n"), "{text}");
    assert!(text.ends_with("Result=watchdog\n"), "{text}");
}

#[test]
fn how_processes_are() {
    let Some(bed) = Bed::start() else { return };
    let unit = "[Unit]\nDescription=How it is\n[Service]\nType=oneshot\nRemainAfterExit=yes\nUser=alice\nGroup=nobody\nSupplementaryGroups=daemon\nUMask=0027\nNice=5\nLimitNOFILE=123:456\n\
        WorkingDirectory=/srv\nRuntimeDirectory=how how/sub\nRuntimeDirectoryMode=0750\nStateDirectory=how\nEnvironment=\"A=a b\" B=2\nEnvironmentFile=-/nope\nEnvironmentFile=/etc/how\nOOMScoreAdjust=10\n\
        NoNewPrivileges=yes\nStandardOutput=append:/how\nStandardError=inherit\nPAMName=login\n\
        ExecStartPre=+/bin/sh -c 'echo pre $(id -u)'\n\
        ExecStart=/bin/sh -c 'id -u; id -g; id -G; umask; cut -d\" \" -f19 /proc/self/stat; ulimit -Sn; ulimit -Hn; pwd; env | sort; grep -E \"NoNewPrivs|SigIgn\" /proc/self/status; cat /proc/self/oom_score_adj; echo arg $0 $1 $2' ${A} $A\n";
    let tree_units = [("how.service", unit)];
    let tree = plant(
        &bed,
        &tree_units,
        "systemctl start how; echo rc=$?; ls -ld /run/how /run/how/sub /var/lib/how; systemctl status how; systemctl stop how; ls -d /run/how /var/lib/how; cat /proc/1/comm; ls -d /run/systemd/system",
    );
    tree.write("/etc/group", "root:x:0:\ndaemon:x:1:\nalice:x:1000:\nnobody:x:65534:\n");
    tree.write("/etc/how", "# c\nC='three' \nB=over\n").write("/how", "");
    tree.write("/etc/systemd/system/default.target", "[Unit]\nWants=check.service\n");
    let _ = std::process::Command::new("chmod").arg("666").arg(tree.at("/how")).status();
    let outcome = boot(&bed, &tree, &[]).run().exits(0);
    let (how, text) = (std::fs::read_to_string(tree.at("/how")).unwrap(), std::fs::read_to_string(tree.at("/result")).unwrap());
    println!("{}\n{how}\n{text}", outcome.describe());
    for line in [
        "pre 0",
        "1000",
        "65534",
        "0027",
        "5",
        "123",
        "456",
        "/srv",
        "A=a b",
        "B=over",
        "C=three",
        "USER=alice",
        "LOGNAME=alice",
        "HOME=/home/alice",
        "SHELL=/bin/sh",
        "RUNTIME_DIRECTORY=/run/how:/run/how/sub",
        "STATE_DIRECTORY=/var/lib/how",
        "NoNewPrivs:\t1",
        "10",
        "arg a b a b",
    ] {
        assert!(how.lines().any(|l| l == line), "{line}: {how}");
    }
    // broken pipes are errors, no signals
    assert!(how.lines().any(|l| l.starts_with("SigIgn:") && l.ends_with("1000")), "{how}");
    assert!(how.lines().any(|l| l.starts_with("65534 ") && l.contains(" 1")), "{how}");
    assert!(text.contains("rc=0\n") && text.contains("drwxr-x---") && text.contains("alice"), "{text}");
    assert!(text.contains("* how.service - How it is\n") && text.contains("Active: active (exited) since "), "{text}");
    assert!(text.contains("Degraded: PAMName=login (/etc/systemd/system/how.service:"), "{text}");
    assert!(!text.contains("\n/run/how\n") && text.contains("\n/var/lib/how\ninit\n/run/systemd/system\n"), "{text}");
}

#[test]
fn without_groups_and_without_root() {
    let Some(bed) = Bed::start() else { return };
    let units = [
        ("o.service", "[Service]\nExecStart=/bin/sh -c '(setsid sleep 1005 &) ; exec sleep 1006'\n"),
        ("root.service", "[Service]\nType=oneshot\nExecStart=/bin/true\nUser=root\n"),
    ];
    let tree = plant(&bed, &units, "");
    tree.write("/srv/check", format!("{WAIT}id -u; systemctl start o; echo rc=$?; wait_for 'systemctl status o | grep -q 1005'; systemctl why o; systemctl status o | grep -c 'sleep 100[56]'; systemctl stop o; ps | grep -v grep | grep -c 'sleep 100[56]'; systemctl start root; echo rc=$?; systemctl show -p ExecMainStatus root\n"));
    tree.write("/etc/systemd/system/check.service", "[Service]\nType=oneshot\nExecStart=/bin/sh /srv/check\n");
    let outcome =
        bed.nspawn(&tree, ["--console=pipe", "-u", "alice"]).args(bound(&bed)).args(["/usr/sbin/init", "check"]).limit(Duration::from_secs(30)).run();
    let text: String =
        outcome.text().lines().filter_map(|l| l.strip_prefix("check[").and_then(|l| l.split_once("]: "))).map(|(_, l)| format!("{l}\n")).collect();
    println!("{}", outcome.describe());
    assert!(text.starts_with("1000\nrc=0\n"), "{text}");
    assert!(text.contains("its processes are told by session and ancestry") && text.contains("\n2\n0\n"), "{text}");
    assert!(text.contains("ExecMainStatus=217\n"), "{text}");
    outcome.exits(0);
}

#[test]
fn files_that_change() {
    let Some(bed) = Bed::start() else { return };
    let text = result(
        &bed,
        &[
            ("c.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"),
            ("i.service", "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"),
        ],
        "systemctl start c; p=$(systemctl show -p MainPID --value c)\n\
         printf '[Unit]\\nDescription=Other\\n[Service]\\nType=exec\\nExecStart=/bin/sleep 1001\\n' > /etc/systemd/system/c.service; systemctl daemon-reload; echo rc=$?\n\
         systemctl show -p Description c; [ $p = $(systemctl show -p MainPID --value c) ] && echo the same; systemctl restart c; ps | grep -v grep | grep -c 'sleep 1001'\n\
         printf '[Service]\\nExecStart=/bin/sleep 1002\\n' > /etc/systemd/system/late.service; systemctl start late; echo late rc=$?\n\
         systemctl enable -q --now i; echo now rc=$?; systemctl is-active i; systemctl show -p Wants multi-user.target; systemctl disable -q --now i; systemctl is-active i\n\
         systemctl set-environment X=y; systemctl show-environment | grep ^X=; SYSTEMD_OFFLINE=1 systemctl stop c; echo offline rc=$?; systemctl is-active c\n\
         systemctl isolate late.service; echo isolate rc=$?; systemctl list-units --plain --no-legend 'c*' 'late*'; systemctl mount-image c /x; echo image rc=$?",
    );
    for expected in [
        "rc=0\nDescription=Other\nthe same\n1\nlate rc=0\nnow rc=0\nactive\n",
        "Wants=i.service\ninactive\nX=y\n",
        "ignoring command 'stop'\noffline rc=0\nactive\n",
        "isolate rc=4\n",
        "c.service     loaded active     running Other\n",
        "Verb 'mount-image' is not implemented yet.\nimage rc=1\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
}

/// Between events the init does nothing; a flood of output is served, cut off at a bound, and nobody waits for it.
#[test]
fn idle_and_flooded() {
    let Some(bed) = Bed::start() else { return };
    let text = result(
        &bed,
        &[
            ("flood.service", "[Service]\nExecStart=/usr/bin/yes a line that is written without end\n"),
            ("s.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        ],
        "systemctl start s; sleep 0.3; a=$(grep voluntary_ctxt /proc/1/status | head -1); sleep 1.2; b=$(grep voluntary_ctxt /proc/1/status | head -1); [ \"$a\" = \"$b\" ] && echo idle\n\
         systemctl start flood; sleep 0.5; cut -d' ' -f1 /proc/uptime; systemctl is-active flood s; cut -d' ' -f1 /proc/uptime; systemctl stop flood; systemctl is-active flood\n\
         [ $(du -k /run/log/hostel | cut -f1) -lt 66000 ] && echo small; systemctl status -n 20000 flood | grep 'without end' | tail -1",
    );
    assert!(text.contains("idle\n") && text.contains("active\nactive\n") && text.contains("inactive\nsmall\n"), "{text}");
    let times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(times[1] - times[0] < 1.0, "{text}");
    assert!(text.trim_end().ends_with("]: a line that is written without end"), "{text}");
}

#[test]
fn signals_and_strangers() {
    let Some(bed) = Bed::start() else { return };
    let tree = plant(
        &bed,
        &[
            ("s.service", "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/touch /stopped\n"),
            // one that is not root may look, and do nothing
            (
                "alice.service",
                "[Service]\nType=oneshot\nUser=alice\nExecStart=-/bin/sh -c 'systemctl is-active s; systemctl stop s; systemctl is-active s'\nStandardOutput=file:/alice\n",
            ),
        ],
        "",
    );
    tree.write("/etc/systemd/system/default.target", "[Unit]\nWants=s.service alice.service\nAfter=s.service alice.service\n");
    tree.write("/etc/systemd/system/alice.service.d/x.conf", "[Unit]\nAfter=s.service\n").write("/alice", "");
    let _ = std::process::Command::new("chmod").arg("666").arg(tree.at("/alice")).status();
    for signal in [37, 15] {
        tree.remove("/stopped").write("/alice", "");
        let running = boot(&bed, &tree, &[]).start();
        let leader = hostel_tests::leader_below(running.pid());
        let up =
            hostel_tests::eventually(Duration::from_secs(10), || std::fs::read_to_string(tree.at("/alice")).is_ok_and(|t| t.lines().count() >= 3));
        assert!(up, "{}", running.stdout());
        std::process::Command::new("kill").arg(format!("-{signal}")).arg(leader.to_string()).status().unwrap();
        running.finish(Duration::from_secs(15)).exits(0).within(Duration::from_secs(10));
        assert!(tree.at("/stopped").exists());
    }
    let text = std::fs::read_to_string(tree.at("/alice")).unwrap();
    assert!(text.starts_with("active\n") && text.contains("Access denied") && text.ends_with("active\n"), "{text}");
}

/// Units that fork without end, strangers and liars at the notify socket, files without end or in circles: the manager answers the others
/// at once, stays small, and nothing of it is left.
#[test]
fn units_that_do_harm() {
    let Some(bed) = Bed::start() else { return };
    let units = [
        ("s.service", "[Service]\nExecStart=/bin/sleep 1001\n"),
        // its shell ends when it may have no more children, and is started again at once
        (
            "bomb.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nUser=alice\nLimitNPROC=40\nTasksMax=60\nRestart=always\nRestartSec=10ms\n\
             ExecStart=/bin/sh -c 'while :; do (sleep 1000 &); done'\n",
        ),
        ("victim.service", "[Service]\nType=notify\nExecStart=/bin/sleep 1002\n"),
        (
            "liar.service",
            "[Service]\nType=exec\nNotifyAccess=all\nExecStart=/bin/sh -c '/probe notify-badly; for pid in 1 $(cat /victim); do /probe notify MAINPID=$pid; done; \
             touch /lied; exec sleep 1003'\n",
        ),
        ("a.service", "[Unit]\nRequires=b.service\nAfter=b.service\n[Service]\nExecStart=/bin/true\n"),
        ("b.service", "[Unit]\nRequires=a.service\nAfter=a.service\n[Service]\nExecStart=/bin/true\n"),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}exec 2>&1; now() {{ cut -d' ' -f1 /proc/uptime; }}; count() {{ ps | grep -v grep | grep -c \"sleep 1000\"; }}\n\
             systemctl start bomb; wait_for '[ $(count) -ge 20 ]'; now; systemctl start s; systemctl is-active s; now\n\
             [ $(count) -le 60 ] && echo few; systemctl stop bomb; echo left $(count)\n\
             systemctl start --no-block victim; wait_for 'systemctl show -p MainPID --value victim | grep -v ^0'; systemctl show -p MainPID --value victim > /victim\n\
             export NOTIFY_SOCKET=/run/systemd/notify; for n in 1 2 3; do /probe notify-badly; done; /probe notify 'READY=1\\nMAINPID=1'; /probe notify MAINPID=$(cat /victim)\n\
             systemctl is-active victim; systemctl start liar; wait_for 'test -e /lied'; tr '\\0' ' ' < /proc/$(systemctl show -p MainPID --value liar)/cmdline; echo\n\
             yes Environment=A=1 | head -c 10485760 > /etc/systemd/system/huge.service; ln -s loop.service /etc/systemd/system/loop.service\n\
             systemctl daemon-reload; for u in huge loop a; do systemctl start $u; echo $u rc=$?; done\n\
             systemctl is-active s; now; echo size $(sed -n 's/^VmHWM:[^0-9]*//p' /proc/1/status)"
        ),
    );
    let times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(times.len() == 3 && times[1] - times[0] < 2.0, "{text}");
    for expected in ["active\n", "few\nleft 0\n", "\nactivating\nsleep 1003 \n", "huge rc=1\n", "loop rc=5\n", "order is cyclic", "a rc=1\nactive\n"]
    {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    let size: u64 = text.lines().find_map(|line| line.strip_prefix("size ")?.split(' ').next()?.parse().ok()).expect("a size");
    assert!(size < 12_000, "{text}");
}

/// `hostel boot TREE --init=hostel`: nothing of ours is in the tree, and it runs in a user namespace as any machine.
#[test]
fn a_tree_is_booted_by_our_init() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    tree.write(
        "/etc/systemd/system/up.service",
        "[Service]\nExecStart=/bin/sh -c 'echo it is up; exec sleep 1000'\nStateDirectory=up\nLogNamespace=x\n",
    );
    tree.write("/etc/systemd/system/multi-user.target.wants/up.service", "").remove("/etc/systemd/system/multi-user.target.wants/up.service");
    std::os::unix::fs::symlink("../up.service", tree.at("/etc/systemd/system/multi-user.target.wants/up.service")).unwrap();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--wait", "--name", &name, "--init=hostel"]).run().exits(0);
    let ctl = |words: &[&str]| bed.hostel(["exec", &name, "--", "/run/hostel-init/hostel", "ctl"]).args(words).run();
    ctl(&["is-active", "up"]).exits(0).prints_with("active");
    ctl(&["is-system-running"]).exits(0).prints_with("running");
    ctl(&["status", "up"]).exits(0).prints_with("it is up");
    ctl(&["start", "nope"]).exits(5);
    // --wait: until they have ended, and whether one of them failed
    ctl(&["is-system-running", "--wait"]).exits(0);
    for (status, expected) in [("0", 0), ("3", 1)] {
        tree.write("/etc/systemd/system/brief.service", format!("[Service]\nExecStart=/bin/sh -c 'sleep 0.4; touch /brief; exit {status}'\n"));
        ctl(&["daemon-reload"]).exits(0);
        ctl(&["start", "--wait", "brief"]).exits(expected);
        assert!(tree.at("/brief").exists(), "it has ended");
        tree.remove("/brief");
    }
    ctl(&["start", "--wait", "--no-block", "up"]).exits(1).says("may not be combined");
    let all = bed.hostel(["ps", "--json"]).run().exits(0).json();
    assert!(all.as_array().unwrap().iter().any(|m| m["name"] == name.as_str() && m["init"] == "hostel"), "{all}");
    // the same from the host
    let from_host = |words: &[&str]| bed.hostel(["ctl", "-M", &name]).args(words).run();
    from_host(&["why", "up"]).exits(0).prints_with("up.service: active (running)").prints_with("LogNamespace=x");
    from_host(&["is-active", "nope"]).exits(3).prints_with("inactive");
    bed.hostel(["ctl", "-M", &bed.name(), "status"]).run().exits(1).says("Failed to connect to machine");
    // the binary is the host's, and stays as it is
    bed.hostel(["exec", &name, "--", "sh", "-c", "echo x > /run/hostel-init/hostel"]).run().fails();
    bed.hostel(["stop", &name]).run().exits(0).within(Duration::from_secs(8));
    assert!(!tree.at("/run/hostel-init/hostel").exists() && tree.at("/usr/sbin/init").is_symlink());
    for (words, why) in [(&["--init=systemd"][..], "it takes `hostel`"), (&["--init=hostel", "--privileged-users=host"], "user namespace")] {
        let outcome = bed.hostel(["boot"]).arg(tree.path()).args(words).run().fails();
        assert!(outcome.errors().contains(why) || outcome.errors().contains("own program"), "{}", outcome.describe());
    }
}

/// A Debian tree with its own unit files: the default target is reached, what is not run here is passed over by name.
#[test]
fn debian_is_booted_by_our_init() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("debian") else { return };
    let name = bed.name();
    tree.write(
        "/etc/systemd/system/own.service",
        "[Service]\nType=notify\nExecStart=/bin/sh -c 'systemd-notify --ready; exec sleep 1000'\nNotifyAccess=all\n",
    );
    let program = bed.hostel(["x"]).program();
    let running = bed
        .nspawn(&tree, ["--console=pipe", "-M", &name])
        .arg(format!("--bind-ro={}:/opt/hostel", program.to_string_lossy()))
        .args(["/opt/hostel", "init"])
        .limit(Duration::from_secs(60))
        .start();
    let leader = hostel_tests::leader_below(running.pid());
    let ctl = |words: &[&str]| bed.hostel(["exec", &name, "--", "/opt/hostel", "ctl"]).args(words).run();
    assert!(
        hostel_tests::eventually(Duration::from_secs(30), || ctl(&["is-active", "-q", "multi-user.target"]).code == Some(0)),
        "{}",
        running.stdout()
    );
    println!("{}", ctl(&["list-units", "--all"]).describe());
    ctl(&["is-active", "multi-user.target", "basic.target", "sysinit.target"]).exits(0).prints_with("active\nactive\nactive");
    ctl(&["start", "own"]).exits(0);
    // of Type=dbus: its start ends when somebody owns the name on the tree's bus, and it ends when nobody does
    ctl(&["start", "systemd-hostnamed"]).exits(0).within(Duration::from_secs(20));
    ctl(&["show", "-p", "Type,SubState", "systemd-hostnamed"]).exits(0).prints_with("SubState=running");
    ctl(&["why", "systemd-hostnamed"]).exits(0).prints_without("BusName=");
    bed.hostel(["exec", &name, "--", "busctl", "status", "org.freedesktop.hostname1"]).run().exits(0).prints_with("PID=");
    ctl(&["why", "systemd-journald"]).exits(0).prints_with("it is not run: this manager keeps the output of units itself");
    // users may log in while the system is up
    let inside = |script: &str| bed.hostel(["exec", &name, "--", "sh", "-c", script]).run();
    inside("test ! -e /run/nologin && systemctl stop systemd-user-sessions && test -e /run/nologin").exits(0);
    inside("systemctl status | grep -A200 CGroup:").exits(0).prints_with("own.service").prints_with("sleep 1000").prints_with("/opt/hostel init");
    std::process::Command::new("kill").args(["-37", &leader.to_string()]).status().unwrap();
    running.finish(Duration::from_secs(30)).exits(0);
}

/// What installing servers with apt showed (`scripts/servers.sh`): powers that a user namespace does not give, a unit that was asked for before
/// it came, under a name that is an alias since; systemctl's other names. And what the manager tells of the start.
#[test]
fn what_servers_of_debian_need() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    tree.write("/etc/systemd/system/up.service", "[Service]\nExecStart=/bin/sleep 1000\nOOMScoreAdjust=-900\nNice=-5\n");
    tree.write("/etc/systemd/system/default.target", "[Unit]\nWants=up.service late.service\nAfter=up.service\n");
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--wait", "--name", &name, "--init=hostel"]).run().exits(0);
    let ctl = |words: &[&str]| bed.hostel(["exec", &name, "--", "/run/hostel-init/hostel", "ctl"]).args(words).run();
    ctl(&["is-active", "up"]).exits(0).prints_with("active");
    ctl(&["why", "up"]).exits(0).prints_with("OOMScoreAdjust=-900").prints_with("Nice=-5");
    tree.write("/etc/systemd/system/real.service", "[Service]\nExecStart=/bin/sleep 1000\n");
    std::os::unix::fs::symlink("real.service", tree.at("/etc/systemd/system/late.service")).unwrap();
    ctl(&["daemon-reload"]).exits(0);
    ctl(&["start", "real"]).exits(0).within(Duration::from_secs(10));
    ctl(&["is-active", "late"]).exits(0).prints_with("active");
    let script = "ln -s /run/hostel-init/hostel /tmp/runlevel; /tmp/runlevel; ln -s /run/hostel-init/hostel /tmp/shutdown; /tmp/shutdown +5 && /tmp/shutdown -c; \
                  /tmp/shutdown frob; ln -s /run/hostel-init/hostel /tmp/telinit; /tmp/telinit u";
    bed.hostel(["exec", &name, "--", "sh", "-c", script]).run().exits(0).prints_with("unknown").says("Shutdown scheduled for ").says("it is no time");
    for (words, expected) in [
        (&["analyze"][..], "Startup finished in "),
        (&["analyze", "time", "--json"], "\"userspace_usec\""),
        (&["analyze", "critical-chain"], "default.target @"),
        (&["analyze", "critical-chain"], "└─up.service @"),
        (&["analyze", "blame"], ""),
        (&["analyze", "plot"], "up.service"),
        (&["analyze", "dot", "up.service"], "\"default.target\"->\"up.service\" [color=\"green\"];"),
        (&["analyze", "unit-paths"], "/etc/systemd/system\n"),
        (&["analyze", "timespan", "90"], "   Human: 1min 30s\n"),
    ] {
        ctl(words).exits(0).prints_with(expected);
    }
    ctl(&["poweroff", "--when=+1h"]).exits(0).says("Shutdown scheduled for ");
    ctl(&["reboot", "--when=show"]).exits(0).says("Shutdown scheduled for ");
    ctl(&["poweroff", "--when=cancel"]).exits(0);
    ctl(&["poweroff", "--when=show"]).exits(0).says("No scheduled shutdown.");
    ctl(&["poweroff", "--when=-1h"]).exits(1).says("in the past");
    ctl(&["stop", "up", "--when=+1h"]).exits(1).says("--when= is for poweroff");
    ctl(&["analyze", "security"]).exits(1).says("not implemented yet");
    ctl(&["--json", "status"]).exits(1).says("--json is for");
    for words in [
        &["list-units", "--json"][..],
        &["list-unit-files", "--json"],
        &["list-dependencies", "--json"],
        &["show", "--json", "up"],
        &["why", "--json", "up"],
    ] {
        let text = ctl(words).exits(0).text();
        let found: hostel_tests::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{words:?}: {e}: {text}"));
        assert!(found.as_array().is_some_and(|list| !list.is_empty()) && text.contains("up.service"), "{words:?}: {text}");
    }
    bed.hostel(["stop", &name]).run().exits(0).within(Duration::from_secs(8));
}
