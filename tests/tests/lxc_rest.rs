//! The tools of LXC beside the originals: what each says of the same containers, and what one does with those of the other.
//!
//! Containers are started by the original: the supervisors whose sockets are asked are its own.

use std::path::PathBuf;
use std::time::Duration;

use hostel_tests::lxc::Lxcpath;
use hostel_tests::{Bed, Invocation, Outcome, eventually, has};

/// An lxcpath with a configuration to begin with; `None`: LXC is not installed, which is said.
fn containers(bed: &Bed) -> Option<Lxcpath<'_>> {
    if !has("lxc-start") || !has("busybox") {
        println!("skipped: no lxc-start and busybox here");
        return None;
    }
    let all = Lxcpath::new(bed);
    std::fs::write(all.path().join("empty.conf"), "lxc.net.0.type = empty\nlxc.group = web\nlxc.start.auto = 1\nlxc.start.delay = 3\n")
        .expect("write");
    Some(all)
}

/// The settings of a container, without what is different for each.
fn settings(all: &Lxcpath<'_>, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(all.path().join(name).join("config")).expect("read");
    text.lines().filter(|line| line.starts_with("lxc.")).map(|line| line.replace(name, "NAME").replace('"', "")).collect()
}

#[test]
fn containers_that_run() {
    let Some(bed) = Bed::start() else { return };
    let Some(all) = containers(&bed) else { return };
    let (name, config) = (bed.name(), all.path().join("empty.conf").display().to_string());
    all.ours(&format!("create -n {name} -f {config} -t busybox")).run().exits(0);
    all.stock(&format!("start -n {name}")).run().exits(0);
    for line in [
        "ls",
        "ls -1",
        "ls -f",
        "ls -f -F NAME,STATE,PID,AUTOSTART,GROUPS,INTERFACE,IPV4,IPV6,UNPRIVILEGED",
        "ls --active -1",
        "ls --stopped -1",
        "ls -g web -1",
        "ls -g web,x",
        "ls --filter ^nobody",
        "info",
        "info -n nobody",
        "autostart -L",
        "autostart -L -a",
        "autostart -L -a -k",
        "wait -n nobody -s STOPPED -t 0",
        "stop -n nobody",
        "unfreeze -n nobody",
        "checkpoint -n nobody",
    ] {
        all.same(line);
    }
    for line in [
        "info -n @ -s -p",
        "info -n @ -sH",
        "info -n @ -c lxc.uts.name -c lxc.bogus",
        "info -n @ -c lxc.cap.drop -H",
        "info -n @ -i",
        "wait -n @ -s FROZEN|RUNNING -t 0",
        "wait -n @ -s STOPPED -t 1",
        "wait -n @ -s SLEEPING",
        "cgroup -n @ pids.max",
        "cgroup -n @ memory.bogus",
        "device -n @",
        "destroy -n @",
        "copy -n @ -N other",
    ] {
        all.same(&line.replace('@', &name));
    }
    for word in ["-l", "lxc.lxcpath", "lxc.bogus", "lxc.cgroup.use"] {
        let stock = Invocation::new("lxc-config").args([word]).run();
        bed.hostel(["lxc", "config", word]).run().exits(stock.code.unwrap_or(-1)).prints(&stock.text());
    }
    let state = |all: &Lxcpath<'_>| all.stock(&format!("info -n {name} -sH")).run().text();
    all.ours(&format!("freeze -n {name}")).run().exits(0);
    assert_eq!(state(&all), "FROZEN\n");
    all.ours(&format!("unfreeze -n {name}")).run().exits(0);
    assert_eq!(state(&all), "RUNNING\n");
    all.ours(&format!("cgroup -n {name} pids.max 99")).run().exits(0);
    all.same(&format!("cgroup -n {name} pids.max")).prints("99\n\n");

    let root = PathBuf::from(format!("/proc/{}/root", all.stock(&format!("info -n {name} -pH")).run().text().trim()));
    all.ours(&format!("device -n {name} -- add /dev/full /dev/some/full")).run().exits(0);
    assert!(root.join("dev/some/full").exists());
    all.ours(&format!("device -n {name} -- del /dev/full /dev/some/full")).run().exits(0);
    assert!(!root.join("dev/some/full").exists());

    let watch = all.ours(&format!("wait -n {name} -s STOPPED")).start();
    all.ours(&format!("stop -n {name} -t 10")).run().exits(0);
    watch.finish(Duration::from_secs(5)).exits(0);
    assert!(eventually(Duration::from_secs(5), || all.stock("ls --active -1").run().text().is_empty()));
    all.ours(&format!("stop -n {name}")).run().exits(2);
    all.ours(&format!("destroy -n {name}")).run().exits(0);
    all.same("ls -1").prints("");
}

#[test]
fn containers_at_rest() {
    let Some(bed) = Bed::start() else { return };
    let Some(all) = containers(&bed) else { return };
    let config = all.path().join("empty.conf").display().to_string();
    let [stock, ours] = [bed.name(), bed.name()];
    all.stock(&format!("create -n {stock} -f {config} -t busybox")).run().exits(0);
    all.ours(&format!("create -n {ours} -f {config} -t busybox")).run().exits(0);
    let mut made = [settings(&all, &stock), settings(&all, &ours)];
    made.iter_mut().for_each(|lines| lines.sort());
    assert_eq!(made[0], made[1]);

    // snapshotting copies, which need no rsync: files and settings
    all.stock(&format!("copy -n {stock} -N {stock}o -s")).run().exits(0);
    all.ours(&format!("copy -n {stock} -N {ours}o -s")).run().exits(0);
    assert_eq!(settings(&all, &format!("{stock}o")), settings(&all, &format!("{ours}o")));
    let place = all.path().display();
    assert_eq!(
        std::fs::read_to_string(all.path().join(&stock).join("lxc_snapshots")).expect("read"),
        format!("{place}\n{stock}o\n{place}\n{ours}o\n")
    );
    all.same(&format!("destroy -n {stock}"));
    // each runs, snapshots and removes what the other made
    all.stock(&format!("start -n {ours}o")).run().exits(0);
    all.ours(&format!("stop -k -n {ours}o")).run().exits(0);
    all.ours(&format!("snapshot -n {stock}o")).run().exits(0);
    all.stock(&format!("snapshot -n {stock}o")).run().exits(0);
    all.same(&format!("snapshot -n {stock}o -L"));
    all.same(&format!("snapshot -n {stock}o -d snap9"));
    all.same(&format!("destroy -n {stock}o"));
    all.stock(&format!("snapshot -n {stock}o -d snap0")).run().exits(0);
    all.ours(&format!("snapshot -n {stock}o -r snap1")).run().exits(0);
    all.ours(&format!("destroy -s -n {stock}o")).run().exits(0);
    all.stock(&format!("destroy -n {ours}o")).run().exits(0);
    assert!(!all.path().join(&stock).join("lxc_snapshots").exists());

    all.ours(&format!("copy -n {stock} -N {stock}c")).run().exits(0);
    let same =
        Invocation::new("diff").arg("-r").args(["rootfs"].map(|d| all.path().join(&stock).join(d))).arg(all.path().join(format!("{stock}c/rootfs")));
    same.run().exits(0);
    all.ours(&format!("copy -n {stock}c -N {stock}r -R")).run().exits(0);
    all.same("ls -1").prints(&format!("{stock}\n{stock}r\n{ours}\n"));
    all.same(&format!("snapshot -n {stock}r -r snap0 -N none")).prints("");
    for name in [format!("{stock}r"), stock, ours] {
        all.ours(&format!("destroy -n {name}")).run().exits(0);
    }
    all.same("ls -1").prints("");
    assert_eq!(std::fs::read_dir(all.path()).expect("list").count(), 1, "the configuration is left");
}

/// `hostel LINE`, killed at its nth system call of these.
fn killed(all: &Lxcpath<'_>, line: &str, calls: &str, n: usize) -> Outcome {
    let script = format!("exec strace -f -qq -o /dev/null -e trace={calls} -e inject={calls}:signal=KILL:when={n} \"$@\"");
    all.ours(line).through_shell(&script).run()
}

#[test]
fn what_is_killed_is_no_container() {
    let Some(bed) = Bed::start() else { return };
    let Some(all) = containers(&bed) else { return };
    if !has("strace") {
        println!("skipped: no strace here");
        return;
    }
    let config = all.path().join("empty.conf").display().to_string();
    let (one, two) = (bed.name(), bed.name());
    let create = format!("create -n {one} -f {config} -t busybox");
    let copy = format!("copy -n {one} -N {two}");
    let snapshot = format!("snapshot -n {one}");
    let destroy = format!("destroy -n {two}");
    let whole =
        |name: &str| settings(&all, name).iter().any(|line| line == "lxc.uts.name = NAME") && all.path().join(name).join("rootfs/sbin/init").exists();
    let mut kills = 0;
    for (line, calls, times) in [
        (&create, "symlink,symlinkat,rename,renameat,unlink", &[1, 40, 300][..]),
        (&copy, "symlinkat,renameat,renameat2,unlink", &[1, 30, 120]),
        (&snapshot, "symlinkat,renameat,renameat2,unlink", &[1, 60]),
        (&destroy, "unlink,unlinkat,rmdir,renameat2", &[1, 2, 40, 200]),
    ] {
        let name = if line == &create { &one } else { &two };
        for n in times {
            kills += usize::from(killed(&all, line, calls, *n).code != Some(0));
            let names = all.ours("ls -1").run().exits(0).text();
            for listed in names.lines() {
                assert!(whole(listed), "{listed} is half-made after {line}, killed at {calls} {n}");
            }
            for snapshot in all.ours(&format!("snapshot -n {one} -L")).run().text().lines().filter(|line| line.starts_with("snap")) {
                let place = all.path().join(&one).join("snaps").join(snapshot.split(' ').next().unwrap_or(""));
                assert!(place.join("rootfs/sbin/init").exists() && place.join("ts").exists(), "{snapshot} is half-made, killed at {n}");
            }
            std::thread::sleep(Duration::from_millis(120));
            // done again it is whole, or gone
            if line == &destroy {
                all.ours(line).run();
                assert!(!all.path().join(&two).exists(), "killed at {n}");
                all.ours(&copy).run().exits(0);
            } else if line != &snapshot {
                all.ours(&format!("destroy -n {name}")).run();
            }
        }
        if line != &destroy {
            all.ours(line).run().exits(0);
        }
        if line == &snapshot {
            all.ours(&format!("snapshot -n {one} -L")).run().prints_with("snap0");
            all.ours(&format!("snapshot -n {one} -d ALL")).run().exits(0);
        }
    }
    assert!(kills >= 8, "{kills}");
    for name in [&one, &two] {
        all.ours(&format!("destroy -n {name}")).run().exits(0);
    }
}

/// What stands for ZFS and LVM, where a kernel has neither: directories and files, and a line of a log for each call.
const FAKES: [(&str, &str); 5] = [
    (
        "zfs",
        "for last; do [ \"$last\" = \"$1\" ] || { before=$now; now=$last; }; done\ncase $1 in\ncreate) mkdir -p \"$F/pool/tank\"; mkdir \"$F/pool/$now\" ;;\n\
         snapshot) cp -a \"$F/pool/${now%@*}\" \"$F/pool/$now\" ;;\nclone) cp -a \"$F/pool/$before\" \"$F/pool/$now\"; echo \"$before\" >\"$F/${now##*/}\" ;;\n\
         list) [ -d \"$F/pool/$now\" ] || { echo \"cannot open '$now': dataset does not exist\" >&2; exit 1; } ;;\nget) cat \"$F/${now##*/}\" 2>/dev/null || echo - ;;\ndestroy) for s in \"$F/pool/$now\"@*; do [ ! -e \"$s\" ] || { echo \"filesystem has children\" >&2; exit 1; }; done; rm -r \"$F/pool/$now\" ;;\nesac",
    ),
    ("mount", "exec /usr/bin/mount --bind \"$F/pool/$5\" \"$6\""),
    (
        "lvcreate",
        "while [ $# -gt 1 ]; do case $1 in -n) n=$2; shift ;; -L) size=${2%b}; shift ;; -s) s=1 ;; esac; shift; done\n\
         if [ -n \"$s\" ]; then cp \"$1\" \"${1%/*}/$n\"; else mkdir -p \"/dev/$1\"; truncate -s \"$size\" \"/dev/$1/$n\"; fi",
    ),
    ("lvs", "exit 5"),
    ("lvremove", "rm \"$2\"; rmdir \"${2%/*}\" 2>/dev/null || :"),
];

#[test]
fn volumes_are_made_by_their_programs() {
    let Some(bed) = Bed::start() else { return };
    let Some(all) = containers(&bed) else { return };
    let (one, two, fakes) = (bed.name(), bed.name(), bed.fresh("fakes"));
    for (name, body) in FAKES {
        let text = format!("#!/bin/sh\nF={}\necho \"{name} $*\" >>\"$F/log\"\n{body}\n", fakes.display());
        std::fs::write(fakes.join(name), text).expect("write");
        std::fs::set_permissions(fakes.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    }
    let path = format!("{}:{}", fakes.display(), std::env::var("PATH").expect("PATH"));
    let ours = |line: &str| all.ours(line).env("PATH", &path).run();
    let log = || std::fs::read_to_string(fakes.join("log")).expect("log");
    let config = all.path().join("empty.conf").display().to_string();
    let runs = |name: &str| {
        ours(&format!("start -n {name}")).exits(0);
        ours(&format!("attach -n {name} -- cat /etc/inittab")).exits(0).prints_with("sysinit");
        ours(&format!("stop -k -n {name}")).exits(0);
    };
    let create = |words: &str| ours(&format!("create -n {one} -f {config} {words}"));
    all.ours(&format!("create -n {one} -f {config} -t busybox -B zfs"))
        .env("PATH", "/nonexistent")
        .run()
        .exits(1)
        .says("run zfs: it is not installed");
    create("-t /bin/false -B zfs --zfsroot tank").exits(1).says("run template");
    assert!(log().contains(&format!("canmount=noauto tank/{one}\n")) && !fakes.join("pool/tank").join(&one).exists(), "{}", log());

    // Somebody else's of that name is not touched.
    let dataset = fakes.join("pool/tank").join(&one);
    std::fs::create_dir(&dataset).expect("make");
    create("-t busybox -B zfs --zfsroot tank").exits(1).says("there is one of that name");
    std::fs::remove_dir(&dataset).expect("it is still there");
    create("-t busybox -B zfs --zfsroot tank").exits(0);
    // One that cannot be removed stays what it is.
    let foreign = fakes.join("pool/tank").join(format!("{one}@daily"));
    std::fs::create_dir(&foreign).expect("make");
    ours(&format!("destroy -n {one}")).exits(1).says("has children");
    std::fs::remove_dir(&foreign).expect("remove");
    ours(&format!("copy -R -n {one} -N {two}")).exits(0);
    ours(&format!("copy -R -n {two} -N {one}")).exits(0);
    assert!(settings(&all, &one).contains(&"lxc.rootfs.path = zfs:tank/NAME".to_owned()));
    runs(&one);
    ours(&format!("copy -n {one} -N {two} -s")).exits(0);
    assert!(log().contains(&format!("zfs snapshot tank/{one}@{two}\n")), "{}", log());
    runs(&two);
    ours(&format!("snapshot -n {one}")).exits(0);
    ours(&format!("destroy -s -n {one}")).exits(1).says("it has clones");
    ours(&format!("destroy -n {two}")).exits(0);
    assert!(log().ends_with(&format!("zfs destroy tank/{two}\nzfs destroy tank/{one}@{two}\n")), "{}", log());
    ours(&format!("destroy -s -n {one}")).exits(0);
    assert_eq!(std::fs::read_dir(fakes.join("pool/tank")).expect("list").count(), 0, "{}", log());

    let group = format!("hostel-test-{one}");
    create(&format!("-t busybox -B lvm --vgname {group} --fssize 24M")).exits(0);
    assert!(log().contains(&format!("lvcreate -y -n {one} -L 25165824b {group}\n")), "{}", log());
    runs(&one);
    ours(&format!("copy -n {one} -N {two} -s")).exits(0);
    runs(&two);
    ours(&format!("snapshot -n {one}")).exits(1).says("LVM keeps none");
    ours(&format!("destroy -n {one}")).exits(1).says("it has clones");
    for name in [two, one] {
        ours(&format!("destroy -n {name}")).exits(0);
    }
    assert!(!PathBuf::from("/dev").join(&group).exists());
}

/// Namespaces without a container, as the originals make them; statuses are the command's.
#[test]
fn commands_in_namespaces() {
    let Some(bed) = Bed::start() else { return };
    let ours = |tool: &str, words: &[&str]| bed.hostel(["lxc", tool]).args(words).limit(Duration::from_secs(10)).run();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("host name");
    let script = "hostname; echo $$ $(cat /proc/1/comm); ip -o link | wc -l; touch /dev/shm/of-its-own; exit 7";
    ours("unshare", &["-s", "MOUNT|PID|UTSNAME|NETWORK|IPC", "-M", "-H", "other", "--", "sh", "-c", script]).exits(7).prints("other\n1 sh\n1\n");
    assert!(!std::path::Path::new("/dev/shm/of-its-own").exists());
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").expect("host name"), host);
    let link = format!("u{}", bed.name());
    Invocation::new("ip").args(["link", "add", &link, "type", "dummy"]).run();
    if std::path::Path::new("/sys/class/net").join(&link).exists() {
        let inside = ["-s", "NETWORK|MOUNT", "-i", &link, "--", "ip", "-o", "link", "show", &link];
        ours("unshare", &inside).exits(0).prints_with("BROADCAST");
        Invocation::new("ip").args(["link", "del", &link]).run();
    }
    let users = ["sh", "-c", "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; exit 3"];
    let mut runs = vec![ours("usernsexec", &[&["-m", "u:0:100000:10", "-m", "g:0:200000:7", "--"], &users[..]].concat())];
    let words = ["-s", "USER", "-u", "33", "--", "sh", "-c", "id -u; cat /proc/self/uid_map"];
    let mapped = ours("unshare", &words).exits(0);
    // With newuidmap LXC asks that, which knows nothing of root's ids.
    if has("lxc-usernsexec") && !has("newuidmap") {
        runs.push(Invocation::new("lxc-usernsexec").args(["-m", "u:0:100000:10", "-m", "g:0:200000:7", "--"]).args(users).run());
    }
    if has("lxc-unshare") {
        assert_eq!(mapped.text(), Invocation::new("lxc-unshare").args(words).run().text());
    }
    for run in runs {
        run.exits(3).prints("0\n0\n         0     100000         10\n         0     200000          7\n");
    }
    for (tool, words, why) in [
        ("unshare", &["-s", "IPC"][..], "none is given"),
        ("unshare", &["true"], "no namespaces"),
        ("unshare", &["-s", "BOGUS", "true"], "no such kind"),
        ("unshare", &["-s", "IPC", "-H", "x", "true"], "wants UTSNAME"),
        ("unshare", &["-s", "NETWORK", "-i", "nosuch0", "true"], "move interface nosuch0"),
        ("unshare", &["-s", "IPC", "/nonexistent"], "run /nonexistent"),
        ("usernsexec", &["-m", "u:0:1:1", "true"], "id 0 is mapped"),
        ("usernsexec", &["-m", "x:0:1:1", "true"], "u:INSIDE:HOST:COUNT"),
    ] {
        ours(tool, words).exits(1).says(why);
    }
}

/// A user with further ids, made up in a mount namespace of its own.
#[test]
fn a_user_without_root_has_containers() {
    let Some(bed) = Bed::start() else { return };
    if !has("newuidmap") || !has("setpriv") || !has("busybox") || !std::path::Path::new("/etc/subuid").exists() {
        println!("skipped: no newuidmap (Debian: uidmap), setpriv and busybox here");
        return;
    }
    let home = bed.fresh("home");
    let config = "lxc.net.0.type = empty\nlxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
    std::fs::write(home.join("c.conf"), config).expect("write");
    // The program where that user reaches it, too.
    std::fs::copy(hostel_tests::binary("hostel", "HOSTEL_BIN"), home.join("hostel")).expect("copy");
    std::fs::create_dir(home.join("run")).expect("mkdir");
    for path in [&home, &home.join("run")] {
        std::os::unix::fs::chown(path, Some(1234), Some(1234)).expect("chown");
    }
    let script = "set -e; cd \"$1\"; { cat /etc/passwd; echo ann:x:1234:1234::$1:/bin/sh; } >p; echo ann:100000:65536 >s\n\
        mount --bind p /etc/passwd; mount --bind s /etc/subuid; mount --bind s /etc/subgid\n\
        exec setpriv --reuid 1234 --regid 1234 --clear-groups env HOME=\"$1\" XDG_RUNTIME_DIR=\"$1/run\" sh -c 'l() { ./hostel lxc \"$@\"; }\n\
        l create -n c -f c.conf -t busybox; l copy -n c -N d; l snapshot -n c; l ls -1\n\
        l start -n c; l info -n c -sH; l attach -n c -- stat -c %u /etc /dev/null; l freeze -n c || echo no freezer; l stop -k -n c\n\
        l execute -n d -- sh -c \"exit 5\"; echo $?; l start -n c -s lxc.cgroup2.pids.max=4 || echo no group\n\
        stat -c %u .local/share/lxc/c/config .local/share/lxc/c/rootfs/etc .local/share/lxc/d/rootfs/etc .local/share/lxc/c/snaps/snap0/rootfs/etc\n\
        l destroy -n d; l destroy -s -n c; ls .local/share/lxc; l usernsexec -- id -u'";
    let run = Invocation::new("unshare").args(["-m", "sh", "-c", script, "sh"]).arg(&home).limit(Duration::from_secs(30)).run();
    run.exits(0).prints("c\nd\nRUNNING\n0\n65534\nno freezer\n5\nno group\n1234\n100000\n100000\n100000\n0\n").says("has no cgroup of its own");
}

#[test]
fn who_else_listens_is_not_believed() {
    let Some(bed) = Bed::start() else { return };
    if !has("setpriv") || !has("python3") {
        println!("skipped: no setpriv and python3 here");
        return;
    }
    let path = bed.fresh("lxc");
    let server = "import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.bind('\\0'+sys.argv[1]+'/c/command')\ns.listen()\nprint('up',flush=True)\ntime.sleep(60)";
    let address = path.display().to_string();
    let invocation = Invocation::new("setpriv").args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "python3", "-c", server, &address]);
    let nobody = invocation.dir("/").start();
    nobody.expect("up");
    let ask = |line: &[&str]| bed.hostel(["lxc", "cgroup", "-P"]).arg(&path).args(line).run();
    ask(&["-n", "c", "memory.limit_in_bytes", "1"]).exits(1).says("user 65534 listens in its place");
    nobody.signal(hostel_tests::Signal::KILL);
    nobody.finish(Duration::from_secs(5));
}
