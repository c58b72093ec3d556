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
        ("plain.service", "[Service]\nType=oneshot\nUser=nobody\nStateDirectory=kept/deep\nExecStart=/bin/sh -c 'stat -c %%u:%%F /var/lib/kept/deep'\nStandardOutput=file:/run/%p\n"),
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
    has_lines(&text, &["one kept", "two wrote", "two other", "fixed 65534", "old", "../private/kept/deep", "65534:directory", "0 700 /var/lib/private"]);
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
        ("needs.service", "[Unit]\nRequiresMountsFor=/srv/m/deep\n[Service]\nExecStart=/bin/sh -c 'mountpoint /srv/m > /run/needs; exec sleep 1000'\n"),
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
             systemctl start srv-auto.automount; wait_for 'systemctl is-active -q srv-auto.mount'; systemctl is-active srv-auto.automount srv-auto.mount; systemctl why srv-auto.automount\n\
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
        "active\n/srv/m is a mount point\n750 /srv/m\ntmpfs rw,nosuid",
        "SubState=mounted\nWhere=/srv/m\nWhat=tmpfs\nstop rc=0\ninactive\ninactive\n0\n711 /srv/m\n",
        "bad rc=1\nfailed\nResult=exit-code\n",
        "mount /nowhere on /srv/bad: No such file or directory",
        "Read-only file system\ninactive\nactive\nreload rc=",
        "active\nactive\n",
        "it is mounted when it starts",
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
