//! Units of hostel's own init beyond plain services: users that come and go, mounts, slices, and what outlives a manager.

use hostel_tests::Bed;
use hostel_tests::init::{WAIT, result};

fn has_lines(text: &str, wanted: &[&str]) {
    for line in wanted {
        assert!(text.lines().any(|found| found == *line), "{line:?} in\n{text}");
    }
}

#[test]
fn dynamic_users_are_there_while_the_service_runs() {
    let Some(bed) = Bed::start() else { return };
    let see = "id -u; id -g; echo state=$STATE_DIRECTORY user=$USER; touch $STATE_DIRECTORY/file && echo wrote; touch /etc/x || echo ro; \
               stat -c %%u:%%g:%%a $STATE_DIRECTORY/. ; grep NoNewPrivs /proc/self/status; ls /var/lib/private";
    let unit = |more: &str| {
        format!("[Service]\nType=oneshot\nDynamicUser=yes\n{more}ExecStart=/bin/sh -c '{see}'\nStandardOutput=file:/run/%p\nStandardError=inherit\n")
    };
    let (one, two) = (unit("StateDirectory=kept/deep\n"), unit("User=named\nStateDirectory=other\nRuntimeDirectory=rt\n"));
    let units = [
        ("one.service", one.as_str()),
        ("two.service", &two),
        ("fixed.service", "[Service]\nType=oneshot\nDynamicUser=yes\nUser=nobody\nExecStart=/bin/sh -c 'id -u'\nStandardOutput=file:/run/%p\n"),
        (
            "plain.service",
            "[Service]\nType=oneshot\nUser=nobody\nStateDirectory=kept/deep\nExecStart=/bin/sh -c 'stat -c %%u:%%F /var/lib/kept/deep'\nStandardOutput=file:/run/%p\n",
        ),
    ];
    let text = result(
        &bed,
        &units,
        "mkdir -p /var/lib/kept/deep /var/lib/private/secret; chmod 700 /var/lib/private; echo old > /var/lib/kept/deep/old\n\
         sed 's/^/passwd /' /etc/passwd | wc -l; for u in one one two fixed; do systemctl start $u; echo $u rc=$?; done; wc -l < /etc/passwd\n\
         sed 's/^/one /' /run/one; sed 's/^/two /' /run/two; sed 's/^/fixed /' /run/fixed; systemctl why one\n\
         stat -c '%u %a %n' /var/lib/private/kept/deep/file /var/lib/private; cat /var/lib/kept/deep/old; readlink /var/lib/kept/deep\n\
         systemctl start plain; cat /run/plain; cat /var/lib/kept/deep/old",
    );
    has_lines(&text, &["one rc=0", "two rc=0", "fixed rc=0", "one wrote", "one ro", "one state=/var/lib/kept/deep user=one", "one NoNewPrivs:\t1"]);
    has_lines(
        &text,
        &["one kept", "two wrote", "two other", "fixed 65534", "old", "../private/kept/deep", "65534:directory", "0 700 /var/lib/private"],
    );
    assert!(!text.contains("secret"), "it is hidden\n{text}");
    let uid = |unit: &str| text.lines().find_map(|line| line.strip_prefix(unit)?.trim().parse::<u32>().ok()).unwrap();
    assert!((61184..=65519).contains(&uid("one ")) && (61184..=65519).contains(&uid("two ")) && uid("one ") != uid("two "), "{text}");
    assert!(text.contains(&format!("{} 644 /var/lib/private/kept/deep/file", uid("one "))), "{text}");
}

#[test]
fn mounts_are_as_the_kernel_says() {
    let Some(bed) = Bed::start() else { return };
    let units = [
        ("srv-m.mount", "[Mount]\nWhat=tmpfs\nWhere=/srv/m\nType=tmpfs\nOptions=size=1m,mode=750,nosuid\nDirectoryMode=0711\n"),
        ("srv-bad.mount", "[Mount]\nWhat=/nowhere\nWhere=/srv/bad\nOptions=bind\n"),
        ("srv-ro.mount", "[Mount]\nWhat=/etc\nWhere=/srv/ro\nOptions=bind,ro\n"),
        ("srv-auto.automount", "[Automount]\nWhere=/srv/auto\n"),
        ("srv-auto.mount", "[Mount]\nWhat=tmpfs\nWhere=/srv/auto\nType=tmpfs\n"),
        ("dev-none.swap", "[Swap]\nWhat=/dev/none\n"),
        (
            "needs.service",
            "[Unit]\nRequiresMountsFor=/srv/m/deep\n[Service]\nExecStart=/bin/sh -c 'grep -c /srv/m /proc/mounts > /run/needs; exec sleep 1000'\n",
        ),
    ];
    let tree = hostel_tests::init::plant(
        &bed,
        &units,
        &format!(
            "{WAIT}systemctl start needs; wait_for 'test -s /run/needs'; systemctl is-active srv-m.mount; cat /run/needs; stat -c '%a %n' /srv/m; grep ' /srv/m ' /proc/mounts | cut -d' ' -f3,4\n\
             systemctl show -p SubState,Where,What srv-m.mount; systemctl stop srv-m.mount; echo stop rc=$?; systemctl is-active srv-m.mount needs; grep -c ' /srv/m ' /proc/mounts; stat -c '%a %n' /srv/m\n\
             systemctl start srv-bad.mount; echo bad rc=$?; systemctl is-failed srv-bad.mount; systemctl show -p Result srv-bad.mount; systemctl why srv-bad.mount\n\
             systemctl start srv-ro.mount; touch /srv/ro/x; umount /srv/ro; wait_for '! systemctl is-active -q srv-ro.mount'; systemctl is-active srv-ro.mount\n\
             mkdir -p /srv/x; mount -t tmpfs none /srv/ro; wait_for 'systemctl is-active -q srv-ro.mount'; systemctl is-active srv-ro.mount; systemctl reload srv-m.mount 2>/dev/null; echo reload rc=$?\n\
             systemctl start srv-auto.automount; wait_for 'systemctl is-active -q srv-auto.mount'; systemctl is-active srv-auto.automount srv-auto.mount; systemctl why srv-auto.automount; systemctl list-automounts --no-legend\n\
             systemctl start dev-none.swap; echo swap rc=$?; systemctl why dev-none.swap\n\
             systemctl is-active opt-t.mount local-fs.target; systemctl cat opt-t.mount | grep Options; journalctl | grep fstab; systemctl is-system-running\n\
             echo 'tmpfs /opt/later tmpfs defaults' >> /etc/fstab; systemctl daemon-reload; systemctl is-active opt-later.mount; systemctl start opt-later.mount; systemctl is-active opt-later.mount\n\
             cat /run/gen; systemctl cat made.service | grep Exec"
        ),
    );
    tree.write("/etc/fstab", "UUID=1-2 / ext4 defaults 0 1\n/dev/sdz9 /data ext4 defaults\n/swap none swap sw\ntmpfs /opt/t tmpfs size=2m,x-systemd.mount-timeout=9\nx /opt/nfs nfs defaults\n");
    let generator = "/usr/lib/systemd/system-generators/some-generator";
    tree.write(generator, "#!/bin/sh\necho $# $1 > /run/gen\necho \"[Service]\nExecStart=/bin/made\" > $1/made.service\n");
    tree.write("/usr/lib/systemd/system-generators/systemd-not-run", "#!/bin/sh\necho no > /run/gen\n");
    for path in [generator, "/usr/lib/systemd/system-generators/systemd-not-run"] {
        std::fs::set_permissions(tree.at(path), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let text = hostel_tests::init::result_of(hostel_tests::init::boot(&bed, &tree, &[]), &tree);
    for expected in [
        "active\n1\n750 /srv/m\ntmpfs rw,nosuid",
        "Where=/srv/m\nWhat=tmpfs\nSubState=mounted\nstop rc=0\ninactive\ninactive\n0\n711 /srv/m\n",
        "bad rc=1\nfailed\nResult=exit-code\n",
        "mount /nowhere on /srv/bad: No such file or directory",
        "Read-only file system\ninactive\nactive\nreload rc=",
        "active\nactive\n",
        "is mounted when it starts",
        "tmpfs /srv/auto yes - srv-auto.automount\n",
        "swap rc=1\n",
        "swap is the host's",
        "active\nactive\nOptions=size=2m,x-systemd.mount-timeout=9\n",
        "no device /dev/sdz9 in this machine",
        "swap on /swap is the host's",
        "inactive\nactive\n3 /run/systemd/generator\nExecStart=/bin/made\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
}

#[test]
fn slices_stores_and_what_else_is_done_to_units() {
    let Some(bed) = Bed::start() else { return };
    let units = [
        ("a-b.slice", "[Slice]\nMemoryMax=64M\nCPUWeight=30\n"),
        ("deep.service", "[Service]\nSlice=a-b.slice\nExecStart=/bin/sh -c 'cat /proc/self/cgroup; exec sleep 1000'\n"),
        ("t@.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        (
            "give.service",
            "[Service]\nDelegate=yes\nDelegateSubgroup=main\nUser=nobody\nExecStart=/bin/sh -c 'stat -c %%u /sys/fs/cgroup/system.slice/give.service/cgroup.procs > /tmp/give; mkdir /sys/fs/cgroup/system.slice/give.service/own && echo made >> /tmp/give; grep ^0: /proc/self/cgroup >> /tmp/give; exec sleep 1000'\n",
        ),
        (
            "store.service",
            "[Service]\nNotifyAccess=all\nFileDescriptorStoreMax=2\nOpenFile=/etc/hostname:host:read-only\nOpenFile=/no/such::graceful\n\
             ExecStart=/bin/sh -c 'echo n=$$LISTEN_FDS $$LISTEN_FDNAMES >> /run/store; cat /proc/self/fd/3 >> /run/store; /probe notify-store \"FDSTORE=1\\nFDNAME=memo\" \"kept \" then sleep 1; exec sleep 1000'\n",
        ),
        (
            "cred.service",
            "[Service]\nType=oneshot\nImportCredential=app.*\nLoadCredential=all:/etc/creds\nExecStart=/bin/sh -c 'cd $$CREDENTIALS_DIRECTORY; grep . *'\nStandardOutput=file:/run/cred\n",
        ),
        (
            "keep.service",
            "[Service]\nType=oneshot\nStateDirectory=kept\nCacheDirectory=cached\nExecStart=/bin/touch /var/lib/kept/x /var/cache/cached/x\n",
        ),
        ("tick.service", "[Service]\nExecStart=/bin/sh -c 'while :; do echo x >> /run/ticks; sleep 0.02; done'\n"),
    ];
    let text = result(
        &bed,
        &units,
        &format!(
            "{WAIT}mkdir -p /etc/creds /etc/credstore; echo one > /etc/creds/a; echo two > /etc/credstore/app.x; echo no > /etc/credstore/other; echo h > /etc/hostname\n\
             systemctl start deep t@1; systemctl show -p ControlGroup deep t@1 | sed 's/.*a.slice/a.slice/; s/.*system.slice/system.slice/'; systemctl is-active a.slice a-b.slice; systemctl why a-b.slice\n\
             wait_for 'journalctl -u deep -o json | grep -q a-b.slice'; journalctl -u deep -o json | grep -o '_SYSTEMD_SLICE\":\"a-b.slice' | head -1; systemctl status deep | grep -c 'sleep 1000'; systemctl stop deep; ps | grep -v grep | grep -c 'sleep 1000'\n\
             systemctl start give; wait_for 'grep -q 0: /tmp/give'; cat /tmp/give\n\
             systemctl start store; wait_for 'grep -q h /run/store'; sleep 0.3; systemctl restart store; wait_for '[ $(grep -c n= /run/store) = 2 ]'; sleep 0.3; cat /run/store; systemctl stop store; systemctl start store; wait_for '[ $(grep -c n= /run/store) = 3 ]'; sleep 0.3; sed -n 4p /run/store\n\
             systemctl start cred; cat /run/cred\n\
             systemctl start keep; systemctl clean keep; echo clean rc=$?; ls -d /var/lib/kept /var/cache/cached; systemctl clean --what=state keep; ls -d /var/lib/kept; systemctl start tick; systemctl clean tick; echo busy rc=$?\n\
             wait_for 'test -s /run/ticks'; systemctl freeze tick; echo freeze rc=$?; sleep 0.1; a=$(wc -l < /run/ticks); sleep 0.3; b=$(wc -l < /run/ticks); [ $a = $b ] && echo frozen; systemctl thaw tick; sleep 0.2; c=$(wc -l < /run/ticks); [ $c -gt $b ] && echo thawed\n\
             systemctl set-property tick CPUWeight=50 MemoryMax=32M; echo set rc=$?; cat /etc/systemd/system.control/tick.service.d/50-CPUWeight.conf; systemctl show -p MemoryMax tick; systemctl is-active tick\n\
             systemctl set-property --runtime tick CPUWeight=0; systemctl set-property tick ExecStart=/bin/x; echo bad rc=$?; systemctl set-property tick MemoryMax=much; echo much rc=$?; systemctl why tick"
        ),
    );
    for expected in [
        "a.slice/a-b.slice/deep.service\n\nsystem.slice/system-t",
        "system.slice/system-t.slice/t@1.service\nactive\nactive\n",
        "_SYSTEMD_SLICE\":\"a-b.slice\n1\n1\n",
        "65534\nmade\n0::",
        "give.service/main\n",
        "n=1 host\nh\nn=2 memo:host\nkept kept n=1 host\n",
        "all_a:one\napp.x:two\n",
        "has pending job.\nbusy rc=1\n",
        "freeze rc=0\nfrozen\nthawed\n",
        "set rc=0\n# Made by `set-property`.\n[Service]\nCPUWeight=50\n",
        "bad rc=1\n",
        "much rc=1\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    assert!(!text.contains("other:no"), "{text}");
}

#[test]
fn services_outlive_their_manager() {
    let Some(bed) = Bed::start() else { return };
    let units = [
        (
            "long.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sh -c 'while :; do echo tick; sleep 0.05; done'\nRestart=always\nRestartSec=50ms\nSlice=x-y.slice\n",
        ),
        (
            "note.service",
            "[Service]\nType=notify\nNotifyAccess=all\nFileDescriptorStoreMax=3\nExecStart=/bin/sh -c 'echo fds=$$LISTEN_FDS >> /run/note; /probe notify-store \"READY=1\\nSTATUS=all well\\nFDSTORE=1\" kept then sleep 1; exec sleep 1000'\n",
        ),
        ("echo.socket", "[Socket]\nListenFIFO=/run/echo\n"),
        ("echo.service", "[Service]\nExecStart=/bin/sh -c 'touch /run/echoed; exec sleep 1000'\n"),
        ("later.timer", "[Timer]\nOnActiveSec=4s\nAccuracySec=1ms\n"),
        ("later.service", "[Service]\nType=oneshot\nExecStart=/bin/touch /run/later\n"),
        ("look.path", "[Path]\nPathExists=/run/look\n"),
        ("look.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/touch /run/looked\n"),
        ("done.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nPrivateTmp=yes\nExecStart=/bin/true\n"),
        ("bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
        ("dyn.service", "[Service]\nDynamicUser=yes\nExecStart=/bin/sleep 1000\n"),
        ("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 1\n"),
        ("stream.service", "[Service]\nExecStart=/probe journal-stream st /run/go\n"),
    ];
    let state = "for u in long note dyn done bad echo.socket later.timer look.path x-y.slice; do systemctl show -p Id,ActiveState,SubState,MainPID,StatusText,Result,InvocationID,ControlGroup,NRestarts $u; done";
    let tree = hostel_tests::init::plant(
        &bed,
        &units,
        &format!(
            "{WAIT}systemctl start long note dyn done echo.socket later.timer look.path stream; wait_for 'journalctl -t st | grep -q first'; systemctl start bad 2>/dev/null; systemctl set-environment A=b\n\
             wait_for '! systemctl is-active check | grep -q activating'; {{ {state}; }} > /before; systemctl --no-block start slow; systemctl daemon-reexec; echo busy rc=$?; wait_for '! systemctl is-active slow | grep -q activating'\n\
             systemctl daemon-reexec; echo rc=$?; wait_for 'journalctl | grep -q Executed'; {{ {state}; }} > /after; diff /before /after && echo same; systemctl show-environment | grep ^A=\n\
             touch /run/go; wait_for 'journalctl -t st | grep -q second'; journalctl -t st -u stream -o cat; wait_for 'journalctl -t half | grep -q third'; journalctl -t half -o cat; systemctl stop stream; systemctl stop slow\n\
             n=$(journalctl -u long | grep -c tick); wait_for \"[ \\$(journalctl -u long | grep -c tick) -gt $((n+3)) ]\"; echo logs\n\
             p=$(systemctl show -p MainPID --value long); kill -9 $p; wait_for \"systemctl is-active -q long && [ \\$(systemctl show -p MainPID --value long) != $p ]\"; systemctl show -p NRestarts long\n\
             echo x > /run/echo & wait_for 'test -e /run/echoed'; systemctl is-active echo.service\n\
             touch /run/look; wait_for 'test -e /run/looked'; ls /run/looked; wait_for 'test -e /run/later'; ls /run/later\n\
             systemctl restart note; wait_for 'grep -q fds=1 /run/note'; cat /run/note; systemctl stop long dyn note; systemctl is-active long dyn note; ps | grep -v grep | grep -c tick\n\
             systemctl daemon-reexec; systemctl daemon-reexec; sleep 0.3; systemctl is-active done echo.socket; systemctl is-failed bad; ls -d /tmp/systemd-private-*done* | wc -l; systemctl stop done; ls -d /tmp/systemd-private-*done* 2>/dev/null | wc -l"
        ),
    );
    // its own start is no job that runs while it asks
    tree.write("/etc/systemd/system/check.service", "[Service]\nExecStart=/bin/sh /check\nStandardOutput=file:/result\nStandardError=inherit\n");
    let text = hostel_tests::init::result_of(hostel_tests::init::boot(&bed, &tree, &[]), &tree);
    for expected in [
        "Cannot execute the manager anew now: a job of slow.service runs.\nbusy rc=1\nrc=0\nsame\nA=b\nfirst\nsecond\nthird\nlogs\nNRestarts=1\nactive\n/run/looked\n/run/later\nfds=\nfds=1\n",
        "inactive\ninactive\ninactive\n0\nactive\nactive\nfailed\n1\n0\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}\n{}", std::fs::read_to_string(tree.at("/after")).unwrap_or_default());
    }
}

/// Ten services that run and a hundred units in memory.
#[test]
fn the_manager_is_small() {
    let Some(bed) = Bed::start() else { return };
    let service = |n: usize| {
        format!(
            "[Unit]\nDescription=Number {n}\nDocumentation=man:x(8)\nAfter=network.target\nWants=network.target\n[Service]\nExecStart=/bin/sleep 1000\nRestart=on-failure\nProtectHome=yes\nNoNewPrivileges=yes\nEnvironment=A=b\n[Install]\nWantedBy=multi-user.target\n"
        )
    };
    let names: Vec<String> = (0..100).map(|n| format!("s{n}.service")).collect();
    let texts: Vec<String> = (0..100).map(service).collect();
    let units: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    let text = result(
        &bed,
        &units,
        "systemctl start s0 s1 s2 s3 s4 s5 s6 s7 s8 s9; for n in $(seq 10 99); do echo s$n; done | xargs systemctl stop; systemctl list-units --all | grep -c 'loaded'; sleep 0.3; cat /proc/1/smaps_rollup",
    );
    println!("{text}");
    let of = |key: &str| -> u64 { text.lines().find_map(|line| line.strip_prefix(key)?.trim().trim_end_matches(" kB").parse().ok()).unwrap() };
    // what it has used of its program, which is much larger here than a release's, is let go of
    assert!(of("Pss_Anon:") < 1400 && of("Pss_File:") < 1000, "{text}");
}

/// A terminal that a unit takes as a getty does: as new, its own, told to `who`; the console is still the manager's afterwards. The end
/// comes by force, without a stop.
#[test]
fn a_terminal_is_a_services() {
    let Some(bed) = Bed::start() else { return };
    let see = "tty; cut -d\\\" \\\" -f7 /proc/self/stat; stty -a | grep -c -w echo; ulimit -Sn; ulimit -Hn; echo TERM=$$TERM";
    let tty = format!(
        "[Service]\nType=oneshot\nStandardInput=tty\nStandardOutput=tty\nTTYPath=/dev/console\nTTYReset=yes\nTTYVHangup=yes\nUtmpIdentifier=cons\n\
         ExecStart=/bin/sh -c \"echo on the terminal; ( {see} ) > /run/seen; grep -c console /run/utmp >> /run/seen\"\n"
    );
    let units = [
        ("tty.service", tty.as_str()),
        ("fails.service", "[Service]\nType=oneshot\nStandardInput=tty-fail\nTTYPath=/dev/none\nExecStart=/bin/true\n"),
        ("stays.service", "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/touch /stopped\n"),
        ("after.service", "[Service]\nType=oneshot\nExecStart=/bin/echo heard again\n"),
    ];
    let tree = hostel_tests::init::plant(
        &bed,
        &units,
        &format!(
            "{WAIT}touch /run/utmp /var/log/wtmp; setsid stty -F /dev/console raw -echo; systemctl start stays tty; echo rc=$?; cat /run/seen\n\
             wc -c < /run/utmp; od -An -tu1 -N1 /run/utmp; systemctl start after; systemctl start fails 2>/dev/null; systemctl show -p Result,ExecMainStatus fails\n\
             grep 'Max open files' /proc/1/limits | grep -c ' 1024 '; systemctl poweroff --force; sleep 10"
        ),
    );
    tree.write("/var/log/wtmp", "");
    let machine = bed.nspawn(&tree, ["-b"]).args(hostel_tests::init::bound(&bed));
    let mut terminal = hostel_tests::Terminal::start(machine.limit(std::time::Duration::from_secs(60)));
    terminal.expect("on the terminal");
    terminal.expect("heard again");
    assert_eq!(terminal.wait(std::time::Duration::from_secs(20)), 0);
    let text = std::fs::read_to_string(tree.at("/result")).unwrap();
    println!("{text}");
    let seen: Vec<&str> = text.lines().take(7).collect();
    assert!(
        matches!(seen[..], ["rc=0", _, terminal, "1", "1024", hard, term] if terminal != "0" && term.starts_with("TERM=")
        && hard.parse::<u32>().is_ok_and(|most| (1025..=524_288).contains(&most))),
        "{text}"
    );
    assert!(text.contains("\n1\n384\n   8\n"), "a record that began, and has ended: {text}");
    assert!(text.contains("ExecMainStatus=208\n") && text.ends_with("\n0\n"), "{text}");
    assert!(!tree.at("/stopped").exists(), "nothing was stopped");
}
