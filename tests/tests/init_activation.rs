//! Sockets, timers and paths that start services, run by hostel's own init as PID 1 of a machine.

use hostel_tests::Bed;
use hostel_tests::init::{WAIT, result_alone as result};

fn expect(text: &str, all: &[&str]) {
    for expected in all {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
}

#[test]
fn sockets_hand_over_what_comes() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("fd.socket", "[Socket]\nListenFIFO=/run/d/f\nListenDatagram=/run/g\nFileDescriptorName=both\nSocketMode=0600\nDirectoryMode=0700\nRemoveOnStop=yes\nSymlinks=/run/link\n\
            SocketUser=alice\nExecStartPre=/bin/touch /pre\nExecStopPost=/bin/touch /post\n"),
        ("two.socket", "[Socket]\nListenFIFO=/run/two\nService=fd.service\n"),
        ("fd.service", "[Unit]\nRequires=fd.socket\n[Service]\nSockets=fd.socket two.socket\n\
            ExecStart=/bin/sh -c 'echo fds $$LISTEN_FDS $$LISTEN_FDNAMES >> /fds; [ $$LISTEN_PID = $$$$ ] && echo mine >> /fds; read line <&3; echo \"read $$line\" >> /fds; exec sleep 1000'\n"),
        ("one.socket", "[Socket]\nListenFIFO=/run/one\nTriggerLimitBurst=3\n"),
        // it ends without having read: again and again
        ("one.service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ("limit.socket", "[Socket]\nListenFIFO=/run/limit\n"),
        ("limit.service", "[Unit]\nStartLimitBurst=2\n[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ("bad.socket", "[Socket]\nListenStream=no.where:80\n"),
        ("bad.service", "[Service]\nExecStart=/bin/true\n"),
        ("busy.socket", "[Socket]\nListenFIFO=/run/busy\n"),
        ("busy.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        ("pre.socket", "[Socket]\nListenFIFO=/run/pre\nExecStartPre=/bin/false\n"),
        ("pre.service", "[Service]\nExecStart=/bin/true\n"),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}systemctl start fd.socket two.socket; echo rc=$?; ls /pre; ls -ld /run/d /run/d/f /run/g /run/link\n\
             systemctl list-sockets --show-types --no-legend 'fd*' 'two*'; systemctl is-active fd.socket fd.service; systemctl show -p SubState,Listen,Triggers fd.socket; systemctl show -p TriggeredBy fd\n\
             echo hello > /run/d/f; wait_for 'grep read /fds'; cat /fds; systemctl show -p SubState --value fd.socket two.socket\n\
             a=$(stat -c %i /run/d/f); systemctl restart fd; echo again > /run/d/f; wait_for 'grep again /fds'; [ $a = $(stat -c %i /run/d/f) ] && echo kept; systemctl stop fd\n\
             systemctl show -p SubState --value fd.socket; NOTIFY_SOCKET=/run/g /probe notify x; wait_for 'systemctl is-active fd'; systemctl is-active fd; systemctl stop fd.socket fd; echo stop rc=$?; ls /post /run/d/f /run/link 2>&1\n\
             systemctl start one.socket; echo x > /run/one; wait_for 'systemctl is-failed one.socket'; systemctl show -p Result one.socket; systemctl why one.socket\n\
             systemctl start limit.socket; echo x > /run/limit; wait_for 'systemctl is-failed limit.socket'; systemctl show -p Result limit.socket; systemctl reset-failed limit.socket limit; systemctl is-active limit.socket\n\
             systemctl start bad.socket; echo bad rc=$?; systemctl why bad.socket; systemctl start busy; systemctl start busy.socket; echo busy rc=$?; systemctl start pre.socket; echo pre rc=$?; systemctl show -p Result pre.socket; ls /run/pre 2>&1"
        ),
    );
    expect(
        &text,
        &[
            "rc=0\n/pre\n",
            "/run/d/f FIFO     fd.socket  fd.service\n",
            "/run/g   Datagram fd.socket  fd.service\n",
            "/run/two FIFO     two.socket fd.service\n",
            "active\ninactive\n",
            "Listen=/run/d/f (FIFO)\nListen=/run/g (Datagram)\nTriggers=fd.service\nSubState=listening\nTriggeredBy=fd.socket two.socket\n",
            "fds 3 both:both:two.socket\nmine\nread hello\nrunning\n\nrunning\n",
            "kept\nlistening\nnotified\nactive\nstop rc=0\n",
            "/post",
            "Result=trigger-limit-hit\n",
            "Trigger limit hit",
            "Result=service-start-limit-hit\ninactive\n",
            "bad rc=1\n",
            "no.where",
            "busy rc=1\n",
            "pre rc=1\nResult=exit-code\n",
        ],
    );
    assert!(text.contains("drwx------") && text.contains("prw-------") && text.contains("srw-------") && text.contains("alice"), "{text}");
    for gone in ["/run/d/f: No such", "/run/link: No such", "/run/pre: No such"] {
        assert!(text.contains(gone), "{gone}: {text}");
    }
}

#[test]
fn connections_have_services_of_their_own() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("echo.socket", "[Socket]\nListenStream=127.0.0.1:7001\nAccept=yes\nMaxConnections=2\nNoDelay=yes\nKeepAlive=yes\n"),
        ("echo@.service", "[Service]\nExecStart=/bin/sh -c 'echo from $$REMOTE_ADDR as $$LISTEN_FDS $$LISTEN_FDNAMES; exec cat'\nStandardInput=socket\n"),
        ("any.socket", "[Socket]\nListenStream=7002\n"),
        // one that takes its connections itself, by inetd's old way
        ("any.service", "[Service]\nExecStart=/bin/sh -c 'echo it has $$LISTEN_FDS; exec sleep 1000'\nStandardOutput=file:/any\nNonBlocking=yes\n"),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}systemctl start echo.socket any.socket; echo rc=$?\n\
             echo hello | nc 127.0.0.1 7001; wait_for '[ $(systemctl show -p NConnections --value echo.socket) = 0 ]'; systemctl show -p NAccepted,NConnections echo.socket\n\
             (sleep 30 | nc 127.0.0.1 7001 > /one) & (sleep 30 | nc 127.0.0.1 7001 > /two) & wait_for '[ $(systemctl show -p NConnections --value echo.socket) = 2 ]'\n\
             systemctl list-units --plain --no-legend 'echo@*' | wc -l; echo more 2>/dev/null | nc 127.0.0.1 7001; systemctl show -p NConnections,NRefused echo.socket\n\
             systemctl stop 'echo.socket'; systemctl is-active echo.socket; systemctl list-units --plain --no-legend 'echo@*' | grep -c running; killall sleep nc\n\
             wait_for '[ $(systemctl list-units --plain --no-legend \"echo@*\" | wc -l) = 0 ]'; systemctl list-units --plain --no-legend 'echo@*' | wc -l\n\
             (sleep 1 | nc 127.0.0.1 7002) & wait_for 'grep has /any'; cat /any; systemctl is-active any.service"
        ),
    );
    expect(
        &text,
        &[
            "rc=0\nfrom 127.0.0.1 as 1 connection\nhello\nNConnections=0\nNAccepted=1\n",
            "\n2\nNConnections=2\nNRefused=1\ninactive\n2\n",
            "\n0\nit has 1\nactive\n",
        ],
    );
}

#[test]
fn timers_start_what_is_due() {
    let Some(bed) = Bed::start() else { return };
    const ONE: &str = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /%p'\n";
    #[rustfmt::skip]
    let units = [
        ("a.timer", "[Timer]\nOnActiveSec=300ms\nAccuracySec=1ms\n"), ("a.service", ONE),
        ("b.timer", "[Timer]\nOnActiveSec=50ms\nOnUnitInactiveSec=100ms\nAccuracySec=1ms\n"), ("b.service", ONE),
        ("c.timer", "[Timer]\nOnCalendar=*-*-* *:*:0/1\nPersistent=yes\nAccuracySec=1ms\n"), ("c.service", ONE),
        // missed while the machine was off
        ("p.timer", "[Timer]\nOnCalendar=daily\nPersistent=yes\n"), ("p.service", ONE),
        ("q.timer", "[Timer]\nOnCalendar=daily\n"), ("q.service", ONE),
        ("once.timer", "[Timer]\nOnActiveSec=50ms\nAccuracySec=1ms\nRemainAfterElapse=no\nUnit=other.service\n"), ("other.service", ONE),
        ("far.timer", "[Timer]\nOnCalendar=2030-01-01 00:00:00 UTC\nOnClockChange=yes\nWakeSystem=yes\n"), ("far.service", ONE),
        ("bad.timer", "[Timer]\nUnit=a.service\n"),
        ("masked.timer", "[Timer]\nOnActiveSec=1ms\nAccuracySec=1us\n"), ("masked.service", ""),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}mkdir -p /var/lib/systemd/timers; touch -d '2020-01-01 00:00' /var/lib/systemd/timers/stamp-p.timer\n\
             systemctl start a.timer b.timer c.timer p.timer q.timer once.timer far.timer; echo rc=$?; ls /a 2>&1; systemctl show -p SubState a.timer\n\
             wait_for 'ls /a'; wait_for '[ $(wc -l < /b) -ge 3 ]'; wait_for '[ $(wc -l < /c) -ge 2 ]'; wait_for 'ls /p'; wait_for '! systemctl is-active once.timer'; sleep 0.3\n\
             echo a $(wc -l < /a) p $(wc -l < /p) other $(wc -l < /other); ls /q 2>&1; systemctl show -p SubState --value a.timer; systemctl is-active once.timer p.timer\n\
             find /var/lib/systemd/timers -name stamp-p.timer -mmin -5; ls /var/lib/systemd/timers/stamp-c.timer\n\
             systemctl stop b.timer c.timer; systemctl list-timers far.timer; systemctl list-timers --all --no-legend once.timer; systemctl why far.timer; systemctl show -p NextElapseUSecRealtime far.timer\n\
             systemctl start bad.timer; echo bad rc=$?; systemctl start masked.timer; echo masked rc=$?\n\
             sleep 0.3; a=$(grep voluntary_ctxt /proc/1/status | head -1); sleep 1.2; b=$(grep voluntary_ctxt /proc/1/status | head -1); [ \"$a\" = \"$b\" ] && echo idle\n\
             systemctl list-timers --no-legend | head -1 | grep -c far; ls /far 2>&1; systemctl stop far.timer; systemctl is-active far.timer; n=$(wc -l < /b); sleep 0.3; [ $n = $(wc -l < /b) ] && echo stopped"
        ),
    );
    expect(
        &text,
        &[
            "rc=0\nls: /a: No such file or directory\nSubState=waiting\n",
            "a 1 p 1 other 1\nls: /q: No such file or directory\nelapsed\ninactive\nactive\n",
            "/var/lib/systemd/timers/stamp-p.timer\n/var/lib/systemd/timers/stamp-c.timer\n",
            "NEXT                        LEFT",
            "Tue 2030-01-01 00:00:00 UTC ",
            " left n/a  n/a    far.timer far.service\n\n1 timers listed.\nPass --all to see loaded but inactive timers, too.\n",
            "WakeSystem=yes",
            "NextElapseUSecRealtime=Tue 2030-01-01 00:00:00 UTC\n",
            "bad rc=1\n",
            "idle\n",
            "ls: /far: No such file or directory\ninactive\nstopped\n",
        ],
    );
}

#[test]
fn paths_start_what_looks_after_them() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("deep.path", "[Path]\nPathExists=/run/q/w/e\n"),
        ("deep.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'rm -r /run/q; echo x >> /deep'\n"),
        ("chg.path", "[Path]\nPathChanged=/srv/c\n"), ("chg.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /chg'\n"),
        ("mod.path", "[Path]\nPathModified=/srv/m\nUnit=modified.service\n"), ("modified.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /mod'\n"),
        ("glob.path", "[Path]\nPathExistsGlob=/run/g/*.job\n"), ("glob.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'rm /run/g/*.job; echo x >> /glob'\n"),
        ("full.path", "[Path]\nDirectoryNotEmpty=/run/d/sub\nMakeDirectory=yes\nDirectoryMode=0700\n"),
        ("full.service", "[Service]\nExecStart=/bin/sh -c 'rm /run/d/sub/*; echo x >> /full; sleep 0.3'\n"),
        // it does not take away what it was started for
        ("stay.path", "[Path]\nPathExists=/run/stay\n"), ("stay.service", "[Unit]\nStartLimitBurst=3\n[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ("many.path", "[Path]\nPathExists=/run/stay\nTriggerLimitBurst=4\n"), ("many.service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/true\n"),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}mkdir -p /srv /run/g; touch /srv/m; systemctl start deep.path chg.path mod.path glob.path full.path; echo rc=$?; ls -ld /run/d/sub; systemctl show -p SubState --value deep.path full.path\n\
             systemctl list-paths --no-legend 'deep*' 'mod*' 'full*'\n\
             sleep 0.2; a=$(grep voluntary_ctxt /proc/1/status | head -1); sleep 0.5; b=$(grep voluntary_ctxt /proc/1/status | head -1); [ \"$a\" = \"$b\" ] && echo idle\n\
             mkdir -p /run/q; mkdir /run/q/w; touch /run/q/w/other; ls /deep 2>&1; touch /run/q/w/e; wait_for 'ls /deep'; wait_for 'systemctl show -p SubState deep.path | grep waiting'\n\
             mkdir -p /run/q/w/e; wait_for '[ $(wc -l < /deep) = 2 ]'; echo deep $(wc -l < /deep)\n\
             echo 1 > /srv/c; wait_for 'ls /chg'; wait_for 'systemctl show -p SubState chg.path | grep waiting'; n=$(wc -l < /chg); echo 2 >> /srv/c; wait_for '[ $(wc -l < /chg) -gt $n ]'; echo changed\n\
             echo 1 >> /srv/m; wait_for 'ls /mod'; echo modified; touch /run/g/x.txt; sleep 0.1; ls /glob 2>&1; touch /run/g/x.job; wait_for 'ls /glob'; echo glob\n\
             touch /run/d/sub/1; wait_for 'ls /full'; touch /run/d/sub/2; wait_for '[ $(wc -l < /full) = 2 ]'; echo full $(wc -l < /full)\n\
             touch /run/stay; systemctl start stay.path; wait_for 'systemctl is-failed stay.path'; systemctl show -p Result stay.path; systemctl start many.path; wait_for 'systemctl is-failed many.path'; systemctl show -p Result many.path\n\
             systemctl stop deep.path; mkdir -p /run/q/w/e; sleep 0.2; wc -l < /deep; systemctl is-active deep.path"
        ),
    );
    expect(
        &text,
        &[
            "rc=0\ndrwx------",
            "waiting\n",
            "/run/d/sub DirectoryNotEmpty full.path full.service\n",
            "/run/q/w/e PathExists        deep.path deep.service\n",
            "/srv/m     PathModified      mod.path  modified.service\n",
            "idle\nls: /deep: No such file or directory\ndeep 2\nchanged\nmodified\nls: /glob: No such file or directory\nglob\nfull 2\n",
            "Result=unit-start-limit-hit\nResult=trigger-limit-hit\n",
            "\n2\ninactive\n",
        ],
    );
}

#[test]
fn what_follows_an_end() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("need.service", "[Unit]\nStopWhenUnneeded=yes\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("user.service", "[Unit]\nRequires=need.service\nAfter=need.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("slow.service", "[Unit]\nJobTimeoutSec=300ms\n[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n"),
        ("abort.service", "[Service]\nType=notify\nTimeoutStartSec=200ms\nTimeoutStartFailureMode=abort\nExecStart=/bin/sleep 1000\n"),
        ("any.service", "[Service]\nExitType=cgroup\nExecStart=/bin/sh -c 'setsid sleep 1000 & exit 0'\n"),
        ("kill.service", "[Service]\nRestartKillSignal=SIGUSR1\nExecStart=/bin/sh -c 'trap \"echo usr1 >> /kill; exit 0\" USR1; trap \"echo term >> /kill; exit 0\" TERM; while :; do sleep 0.05; done'\n"),
        ("steps.service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=10ms\nRestartSteps=2\nRestartMaxDelaySec=1000s\nExecStart=/bin/false\n"),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}systemctl start user; systemctl is-active need; systemctl stop user; wait_for '! systemctl is-active need'; systemctl is-active need\n\
             systemctl start need; wait_for '! systemctl is-active need'; systemctl is-active need\n\
             systemctl start slow; echo slow rc=$?; systemctl is-active slow; systemctl stop slow; systemctl start abort; echo abort rc=$?; systemctl show -p Result,ExecMainStatus abort\n\
             systemctl start any; sleep 0.2; systemctl is-active any; killall sleep; wait_for '! systemctl is-active any'; systemctl is-active any\n\
             systemctl start kill; sleep 0.2; systemctl restart kill; sleep 0.2; systemctl stop kill; cat /kill\n\
             systemctl start steps; wait_for '[ $(systemctl show -p NRestarts --value steps) = 3 ]'; sleep 0.2; systemctl show -p NRestarts,SubState steps; systemctl stop steps"
        ),
    );
    expect(
        &text,
        &[
            "active\ninactive\ninactive\nJob for slow.service timed out.\nslow rc=1\nactivating\n",
            "because a timeout was exceeded.\n",
            "abort rc=1\n",
            "Result=timeout\nExecMainStatus=6\n",
            "active\ninactive\nusr1\nterm\n",
            "NRestarts=3\nSubState=auto-restart\n",
        ],
    );
}

#[test]
fn the_machine_ends_with_a_unit() {
    use hostel_tests::init::{bound, plant};
    let Some(bed) = Bed::start() else { return };
    for (text, status) in [
        ("[Unit]\nSuccessAction=exit\nSuccessActionExitStatus=7\n[Service]\nType=oneshot\nExecStart=/bin/true\n", 7),
        ("[Unit]\nFailureAction=exit\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit 9'\n", 9),
        ("[Unit]\nFailureAction=poweroff-force\n[Service]\nExecStart=/bin/false\n", 0),
        (
            "[Unit]\nStartLimitBurst=1\nStartLimitAction=exit-force\nFailureActionExitStatus=5\n[Service]\nRestart=always\nRestartSec=1ms\nExecStart=/bin/true\n",
            5,
        ),
    ] {
        let tree = plant(&bed, &[("end.service", text)], "");
        tree.write("/etc/systemd/system/default.target", "[Unit]\nWants=end.service\n");
        bed.nspawn(&tree, ["-b", "--console=pipe"]).args(bound(&bed)).limit(std::time::Duration::from_secs(30)).run().exits(status);
    }
}

/// As rsyslog: its socket names it by an alias, and it is started by its own name.
#[test]
fn a_socket_may_name_its_service_by_an_alias() {
    let Some(bed) = Bed::start() else { return };
    let text = result(
        &bed,
        &[
            (
                "real.service",
                "[Unit]\nRequires=nick.socket\n[Service]\nExecStart=/bin/sh -c 'echo fds $$LISTEN_FDS > /fds; exec sleep 1000'\n[Install]\nAlias=nick.service\n",
            ),
            ("nick.socket", "[Socket]\nListenFIFO=/run/nick\n"),
        ],
        &format!("{WAIT}systemctl -q enable real; systemctl start real; wait_for 'grep fds /fds'; cat /fds; systemctl show -p Triggers nick.socket"),
    );
    expect(&text, &["fds 1\n", "Triggers=real.service\n"]);
}
