//! Services whose units ask for a sandbox, seen from inside by the probe; hostel's init is PID 1.

use hostel_tests::init::{self, plant, result_of};
use hostel_tests::{Bed, Tree};

/// Boots a busybox tree in which every unit writes what it sees to a file; gives the tree after the machine's end.
fn boot(bed: &Bed, units: &[(&str, &str)], prepare: impl FnOnce(&Tree)) -> (Tree, String) {
    let mut script = String::new();
    for (name, _) in units {
        script.push_str(&format!("systemctl start {name} 2>&1; systemctl show -p Result,ExecMainStatus {name} | sed 's/^/{name} /'\n"));
    }
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    script.push_str(&format!("for u in {}; do systemctl show -p X-Degraded $u | sed \"s/^/$u /\"; done", names.join(" ")));
    let tree = plant(bed, units, &script);
    for path in ["/out", "/home/u", "/var/tmp", "/srv/a", "/srv/b"] {
        std::fs::create_dir_all(tree.at(path)).unwrap();
    }
    prepare(&tree);
    let text = result_of(init::boot(bed, &tree, &[]), &tree);
    (tree, text)
}

fn unit(keys: &str, script: &str) -> String {
    format!(
        "[Service]\nType=oneshot\nReadWritePaths=-/out\n{keys}\nExecStart=/bin/sh -c '{script}'\nStandardOutput=truncate:/out/%p\nStandardError=inherit\n"
    )
}

fn out(tree: &Tree, name: &str) -> String {
    let text = std::fs::read_to_string(tree.at(&format!("/out/{name}"))).unwrap_or_default();
    println!("--- {name}\n{text}");
    text
}

#[test]
fn files_are_as_the_unit_says() {
    let Some(bed) = Bed::start() else { return };
    let try_write = "for d in / /usr /etc /srv/a /srv/b /home/u /run /dev/shm; do touch $d/x-%p 2>/dev/null && echo w $d || echo r $d; done";
    let strict = unit(
        "ProtectSystem=strict\nReadWritePaths=/srv/a\nProtectHome=yes\nStateDirectory=st",
        &format!("{try_write}; touch /var/lib/st/x && echo state; ls /home | wc -l"),
    );
    let full = unit("ProtectSystem=full", try_write);
    let tmp = unit("PrivateTmp=yes", "ls -A /tmp /var/tmp; touch /tmp/mine && echo made; stat -c %%a /tmp");
    let dev = unit("PrivateDevices=yes", "ls /dev; echo x > /dev/null && echo null; head -c1 /dev/zero | wc -c");
    let bind = unit(
        "BindReadOnlyPaths=/srv/a:/new/place\nTemporaryFileSystem=/var\nInaccessiblePaths=/srv/b",
        "ls /new/place; touch /new/place/y || echo ro; ls -A /var | wc -l; ls -ld /srv/b | cut -c1-10",
    );
    let missing = unit("ReadOnlyPaths=/nowhere", "echo ran");
    let root = "[Service]\nType=oneshot\nRootDirectory=/other\nExecStart=/bin/busybox sh -c 'busybox ls / > /saw'\n";
    let all = "[Service]\nType=oneshot\nProtectSystem=strict\nExecStart=+/bin/sh -c 'touch /etc/with-all-powers'\n";
    let units = [
        ("strict.service", strict.as_str()),
        ("full.service", &full),
        ("tmp.service", &tmp),
        ("dev.service", &dev),
        ("bind.service", &bind),
        ("missing.service", &missing),
        ("root.service", root),
        ("all.service", all),
    ];
    let (tree, text) = boot(&bed, &units, |tree| {
        tree.write("/srv/a/file", "").write("/home/u/file", "");
        std::fs::create_dir_all(tree.at("/other/bin")).unwrap();
        std::fs::copy(tree.at("/bin/busybox"), tree.at("/other/bin/busybox")).unwrap();
    });
    let strict = out(&tree, "strict");
    for line in ["r /", "r /usr", "r /etc", "w /srv/a", "r /srv/b", "r /home/u", "r /run", "w /dev/shm", "state", "0"] {
        assert!(strict.lines().any(|l| l == line), "{line}: {strict}");
    }
    let full = out(&tree, "full");
    for line in ["w /", "r /usr", "r /etc", "w /srv/b", "w /home/u"] {
        assert!(full.lines().any(|l| l == line), "{line}: {full}");
    }
    assert_eq!(out(&tree, "tmp").lines().collect::<Vec<_>>().split_last().map(|(last, _)| *last), Some("1777"));
    assert!(!tree.at("/tmp/mine").exists(), "it is the service's own");
    let dev = out(&tree, "dev");
    assert!(dev.lines().any(|l| l == "null") && !dev.lines().any(|l| l == "console") && dev.ends_with("null\n1\n"), "{dev}");
    let bind = out(&tree, "bind");
    assert!(bind.starts_with("file\n") && bind.contains("ro\n0\n") && bind.ends_with("d---------\n"), "{bind}");
    assert!(text.contains("missing.service ExecMainStatus=226"), "{text}");
    assert_eq!(out(&tree, "missing"), "");
    assert_eq!(std::fs::read_to_string(tree.at("/other/saw")).unwrap(), "bin\nsaw\n");
    assert!(tree.at("/etc/with-all-powers").exists());
}

#[test]
fn calls_namespaces_and_the_rest() {
    let Some(bed) = Bed::start() else { return };
    let status = "grep -E \"^(Seccomp|NoNewPrivs|CapBnd):\" /proc/self/status";
    let filter = unit(
        "SystemCallFilter=~@mount\nSystemCallErrorNumber=EPERM\nRestrictNamespaces=yes",
        &format!("{status}; mount -t tmpfs none /srv/b 2>&1; unshare -n true 2>&1"),
    );
    let allow = unit(
        "SystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM\nUser=1",
        &format!("{status}; id -u; mount -t tmpfs none /srv/b && echo mounted; echo fine"),
    );
    let kill = "[Service]\nType=oneshot\nSystemCallFilter=~uname\nExecStart=/bin/uname\n";
    let caps = unit("ProtectClock=yes\nProtectKernelModules=yes\nCapabilityBoundingSet=CAP_CHOWN CAP_SYS_TIME CAP_SYS_MODULE", status);
    let net = unit(
        "PrivateNetwork=yes\nPrivateIPC=yes",
        "ls /sys/class/net; ip link 2>/dev/null | grep -c UP; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc",
    );
    let plain = unit("", "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc");
    let users = unit("PrivateUsers=yes\nUser=7", "cat /proc/self/uid_map | tr -s \" \"; id -u");
    let cred = unit("SetCredential=word:hello\nUser=9", "cat $CREDENTIALS_DIRECTORY/word; stat -c %%a:%%u $CREDENTIALS_DIRECTORY/word");
    let own = unit(
        "IOSchedulingClass=idle\nCPUSchedulingPolicy=idle\nTimerSlackNSec=123456\nMemoryMax=64M\nPAMName=x",
        "ionice -p $$$$; cut -d\" \" -f41 /proc/self/stat; cat /proc/$$$$/timerslack_ns",
    );
    let units = [
        ("filter.service", filter.as_str()),
        ("allow.service", &allow),
        ("kill.service", kill),
        ("caps.service", &caps),
        ("net.service", &net),
        ("plain.service", &plain),
        ("users.service", &users),
        ("cred.service", &cred),
        ("own.service", &own),
    ];
    let (tree, text) = boot(&bed, &units, |_| {});
    let filter = out(&tree, "filter");
    assert!(filter.contains("Seccomp:\t2") && filter.contains("NoNewPrivs:\t0"), "{filter}");
    assert_eq!(filter.matches("not permitted").count() + filter.matches("ermission denied").count(), 2, "{filter}");
    let allow = out(&tree, "allow");
    assert!(allow.contains("NoNewPrivs:\t1") && allow.ends_with("1\nfine\n") || allow.contains("\nfine") && !allow.contains("mounted"), "{allow}");
    assert!(text.contains("kill.service ExecMainStatus=31"), "{text}");
    assert!(out(&tree, "caps").contains("CapBnd:\t0000000000000001"));
    let (net, plain) = (out(&tree, "net"), out(&tree, "plain"));
    assert!(plain.lines().count() == 2 && plain.lines().all(|line| !net.contains(line)), "{net} {plain}");
    let users = out(&tree, "users");
    assert!(users.contains("0 0 1") && users.contains("7 7 1") && users.ends_with("7\n"), "{users}");
    assert_eq!(out(&tree, "cred"), "hello400:9\n");
    assert!(!tree.at("/run/credentials/cred.service").exists());
    let own = out(&tree, "own");
    assert!(own.contains("idle\n") && own.contains("\n5\n") || own.contains("123456"), "{own}");
    let degraded = text.lines().find(|line| line.starts_with("own.service X-Degraded=")).unwrap_or_default();
    assert!(degraded.contains("PAMName=x") && !degraded.contains("IOScheduling"), "{text}");
}

/// Programs of a unit's group, which the host's root may load.
#[test]
fn devices_and_packets_are_filtered() {
    let Some(bed) = Bed::start() else { return };
    let see = "for d in null zero; do head -c0 /dev/$d 2>/dev/null && echo $d; done; ping -c1 -W1 127.0.0.1 >/dev/null 2>&1 && echo one; ping -c1 -W1 127.0.0.2 >/dev/null 2>&1 && echo two; true";
    let kinds = [
        ("plain.service", ""),
        ("strict.service", "DevicePolicy=strict\nDeviceAllow=/dev/null rw\n"),
        ("listed.service", "DeviceAllow=/dev/full r\nIPAddressDeny=any\nIPAddressAllow=127.0.0.2\n"),
        ("private.service", "PrivateDevices=yes\nIPAddressDeny=127.0.0.0/8\n"),
    ];
    let texts = kinds.map(|(name, keys)| (name, unit(keys, see)));
    let units = [0, 1, 2, 3].map(|at: usize| (texts[at].0, texts[at].1.as_str()));
    let starts = "for u in plain strict listed private; do systemctl start $u || echo bad $u; systemctl why $u | grep -i degraded; done\n\
                  systemctl start lasting; systemctl set-property --runtime lasting DevicePolicy=strict; touch /run/go; wait_for 'test -e /run/gone'; cat /run/gone\n\
                  systemctl set-property --runtime lasting DevicePolicy=; touch /run/on; wait_for 'test -e /run/back'; cat /run/back";
    let lasting = "[Service]\nExecStart=/bin/sh -c 'until test -e /run/go; do sleep 0.02; done; head -c0 /dev/zero || echo none > /run/gone; \
         until test -e /run/on; do sleep 0.02; done; head -c0 /dev/zero && echo zero > /run/back; sleep 1000'\n";
    let all: Vec<(&str, &str)> = units.into_iter().chain([("lasting.service", lasting)]).collect();
    let tree = plant(&bed, &all, &format!("{}{starts}", init::WAIT));
    std::fs::create_dir_all(tree.at("/out")).unwrap();
    let machine = bed.nspawn(&tree, ["-b", "--console=pipe", "--private-network", "--capability=CAP_BPF"]).args(init::bound(&bed));
    assert_eq!(result_of(machine, &tree), "none\nzero\n", "nothing is degraded");
    for (name, expected) in
        [("plain", "null\nzero\none\ntwo\n"), ("strict", "null\none\ntwo\n"), ("listed", "null\nzero\ntwo\n"), ("private", "null\nzero\n")]
    {
        assert_eq!(out(&tree, name), expected, "{name}");
    }
    // without the right to load any it is told, and the service runs
    let tree = plant(&bed, &all, "systemctl start listed strict; systemctl why listed strict | grep -c 'it has no effect: no program'");
    std::fs::create_dir_all(tree.at("/out")).unwrap();
    assert_eq!(result_of(init::boot(&bed, &tree, &[]), &tree), "5\n");
}
