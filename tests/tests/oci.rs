//! OCI bundles: what config.json asks for, seen from inside; the order of hooks; what is refused; the same on crun.

use std::process::Command;

use hostel_tests::bundle::{Bundle, script};
use hostel_tests::{Bed, Value};
use serde_json::json;

#[test]
fn status_output_environment_and_directory() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed)
        .sh("echo $FOO; pwd; hostname; env | sort | tr '\\n' ' '; exit 7")
        .set("/process/env/-", json!("FOO=bar"))
        .set("/process/cwd", json!("/usr"));
    let out = bundle.run(&bed, []).run().exits(7);
    let text = out.text();
    assert!(text.starts_with("bar\n/usr\ninside\n"), "{text}");
    for lacking in ["container", "USER=", "LOGNAME", "NOTIFY", "HOSTEL"] {
        assert!(!text.contains(lacking), "{lacking} in {text}");
    }
    assert!(text.contains("HOME=/root"), "{text}");
}

#[test]
fn command_line_wins_over_the_bundle() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed).set("/process/env/-", json!("FOO=bundle")).sh("exit 9");
    let args = ["--setenv=FOO=line", "--hostname=other", "--chdir=/etc", "--uid=1000", "/bin/sh", "-c", "echo $FOO $(hostname) $(pwd) $(id -u)"];
    bundle.run(&bed, args).run().exits(0).prints("line other /etc 1000");
    for option in ["--boot", "--private-users=pick", "--volatile", "--network-veth", "--system-call-filter=@mount", "--ephemeral"] {
        bundle.run(&bed, [option]).run().exits(1).says("combine --oci-bundle=");
    }
}

#[test]
fn ids_and_capabilities_are_those_given() {
    let Some(bed) = Bed::start() else { return };
    let one = json!(["CAP_NET_RAW", "CAP_CHOWN"]);
    let bundle = Bundle::new(&bed)
        .set("/process/user", json!({"uid": 1234, "gid": 4321, "additionalGids": [7, 99], "umask": 63}))
        .set("/process/capabilities", json!({"bounding": ["CAP_NET_RAW", "CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"], "permitted": one, "inheritable": one, "ambient": ["CAP_CHOWN"]}));
    let view = bundle.view(&bed);
    assert_eq!((view.number("/uid/0"), view.number("/gid/0")), (1234, 4321));
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(view.caps("bnd"), set(&["net_raw", "chown", "kill"]));
    assert_eq!(view.caps("inh"), set(&["net_raw", "chown"]));
    assert_eq!(view.caps("amb"), set(&["chown"]));
    // Of a user other than root, an exec leaves the ambient ones.
    assert_eq!(view.caps("eff"), set(&["chown"]));
    let shell = Bundle::new(&bed)
        .set("/process/user", json!({"uid": 1234, "gid": 4321, "additionalGids": [7, 99], "umask": 63}))
        .sh("id -G; umask; grep -E 'NoNewPrivs|CapEff' /proc/self/status | tr -d '\\t'");
    shell.run(&bed, []).run().exits(0).prints("4321 7 99\n0077\nCapEff:0000000000000000\nNoNewPrivs:1");
    let root = Bundle::new(&bed).view(&bed);
    assert_eq!(root.caps("eff"), set(&["chown", "kill", "net_bind_service", "setuid", "setgid", "mknod"]));
}

#[test]
fn mounts_have_their_options_and_order() {
    let Some(bed) = Bed::start() else { return };
    let shared = bed.fresh("shared");
    std::fs::write(shared.join("file"), "from the host\n").expect("write");
    let source = shared.display().to_string();
    let bundle = Bundle::new(&bed)
        .set("/mounts/-", json!({"destination": "/made/deep", "type": "bind", "source": source, "options": ["rbind", "ro", "nosuid", "noexec"]}))
        .set("/mounts/-", json!({"destination": "/made/file", "source": shared.join("file").display().to_string(), "options": ["bind"]}))
        .set("/mounts/-", json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=0700", "noatime"]}))
        .set("/mounts/-", json!({"destination": "/scratch/in", "type": "tmpfs", "source": "inner", "options": ["ro"]}));
    let view = bundle.view(&bed);
    for (target, kind, option) in [
        ("/proc", "proc", "noexec"),
        ("/dev", "tmpfs", "nosuid"),
        ("/dev/pts", "devpts", "gid=5"),
        ("/dev/mqueue", "mqueue", "nodev"),
        ("/sys", "sysfs", "ro"),
        ("/sys/fs/cgroup", "cgroup2", "ro"),
        ("/scratch", "tmpfs", "noatime"),
        ("/scratch", "tmpfs", "mode=700"),
        ("/scratch/in", "tmpfs", "ro"),
    ] {
        assert_eq!(view.mount_type(target), kind, "{target}");
        assert!(view.mount_has(target, option), "{target} {option}: {:?}", view.mount(target));
    }
    for option in ["ro", "nosuid", "noexec"] {
        assert!(view.mount_has("/made/deep", option), "{:?}", view.mount("/made/deep"));
    }
    assert!(view.mount("/made/file").is_some());
    assert!(view.mount("/run").is_none(), "nothing but what the bundle asks for");
    assert!(view.extra_fds().is_empty(), "{:?}", view.extra_fds());
}

#[test]
fn masked_and_read_only_paths() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed)
        .sh("wc -c </proc/keys; ls /sys/firmware | wc -l; echo x >/proc/sys/vm/swappiness || echo refused; stat -c %t:%T /proc/keys");
    bundle.run(&bed, []).run().exits(0).prints_with("0\n0\nrefused\n1:3");
}

#[test]
fn read_only_root() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed).set("/root/readonly", json!(true)).sh("touch /x || echo refused; touch /dev/x && echo device");
    bundle.run(&bed, []).run().exits(0).prints_with("refused\ndevice");
    assert!(!bundle.at("x").exists());
}

#[test]
fn hooks_run_in_their_order_and_places() {
    let Some(bed) = Bed::start() else { return };
    let dir = bed.fresh("hooks");
    let log = dir.join("log");
    let bundle = Bundle::new(&bed).sh("echo program >>/log/log");
    let say = |name: &str| {
        let text = format!(
            "s=$(cat); p=$(echo \"$s\" | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); st=$(echo \"$s\" | sed 's/.*\"status\":\"\\([a-z]*\\).*/\\1/'); \
             in=no; [ -e /probe ] && in=yes; echo \"{name} $1 $X $st inside=$in ns=$(readlink /proc/self/ns/uts)\" >>${{LOG}}; [ \"$st\" = stopped ] || [ -n \"$p\" ]"
        );
        script(&dir.join(name), &text)
    };
    let log_path = log.display().to_string();
    let hook = |path: &str, log: &str| json!([{"path": path, "args": ["hook", "arg"], "env": ["X=y", format!("LOG={log}"), "PATH=/usr/bin:/bin"], "timeout": 10}]);
    // The machine's own, with the log bound into it.
    std::fs::copy(say("startContainer"), bundle.at("/hook")).expect("copy");
    let bundle =
        bundle.set("/mounts/-", json!({"destination": "/log", "type": "bind", "source": dir.display().to_string(), "options": ["bind"]})).set(
            "/hooks",
            json!({
                "prestart": hook(&say("prestart"), &log_path),
                "createRuntime": hook(&say("createRuntime"), &log_path),
                "createContainer": hook(&say("createContainer"), &log_path),
                "startContainer": hook("/hook", "/log/log"),
                "poststart": hook(&say("poststart"), &log_path),
                "poststop": hook(&say("poststop"), &log_path),
            }),
        );
    bundle.run(&bed, []).run().exits(0);
    let text = std::fs::read_to_string(&log).expect("read log");
    let host = std::fs::read_link("/proc/self/ns/uts").expect("readlink").display().to_string();
    let lines: Vec<&str> = text.lines().collect();
    let words = |line: &str| line.split(" ns=").next().unwrap_or_default().to_owned();
    let on_host = |line: &str| line.ends_with(&host);
    let find = |name: &str| lines.iter().position(|l| l.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
    for (name, status, inside, at_host) in [
        ("prestart", "creating", "no", true),
        ("createRuntime", "creating", "no", true),
        ("createContainer", "creating", "no", false),
        ("startContainer", "created", "yes", false),
        ("poststart", "running", "no", true),
        ("poststop", "stopped", "no", true),
    ] {
        let line = lines[find(name)];
        assert_eq!(words(line), format!("{name} arg y {status} inside={inside}"), "{text}");
        assert_eq!(on_host(line), at_host, "{line} on {host}");
    }
    let order = ["prestart", "createRuntime", "createContainer", "startContainer", "program", "poststop"].map(find);
    assert!(order.is_sorted(), "{text}");
    assert!(find("poststart") > find("startContainer") && find("poststart") < find("poststop"), "{text}");
}

#[test]
fn a_hook_that_fails_stops_the_start() {
    let Some(bed) = Bed::start() else { return };
    let dir = bed.fresh("hooks");
    let fail = script(&dir.join("fail"), "exit 3");
    let hang = script(&dir.join("hang"), "sleep 100");
    let stopped = dir.join("stopped");
    let stop = script(&dir.join("stop"), &format!("echo gone >{}", stopped.display()));
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let _ = std::fs::remove_file(&stopped);
        let mut hooks = json!({"poststop": [{"path": stop, "env": ["PATH=/bin"]}]});
        hooks[kind] = json!([{"path": fail}]);
        let bundle = Bundle::new(&bed).set("/hooks", hooks).sh("echo ran");
        bundle.run(&bed, []).run().exits(1).says("it exited with status 3").prints("");
        assert!(stopped.exists(), "{kind}: poststop hooks run all the same");
    }
    let bundle = Bundle::new(&bed).set("/hooks", json!({"createRuntime": [{"path": hang, "timeout": 1, "env": ["PATH=/bin"]}]})).sh("echo ran");
    bundle.run(&bed, []).run().exits(1).says("longer than 1 s").prints("");
    let _ = std::fs::remove_file(&stopped);
    let hooks = json!({"startContainer": [{"path": "/bin/false"}], "poststop": [{"path": stop, "env": ["PATH=/bin"]}]});
    let bundle = Bundle::new(&bed).set("/hooks", hooks).sh("echo ran");
    bundle.run(&bed, []).run().exits(1).says("startContainer hook /bin/false").prints("");
    assert!(stopped.exists(), "startContainer: poststop hooks run all the same");
    let bundle = Bundle::new(&bed).set("/hooks", json!({"createContainer": [{"path": "/no/such/hook"}]})).sh("echo ran");
    bundle.run(&bed, []).run().exits(1).says("No such file").prints("");
    // After the start they only warn.
    let bundle = Bundle::new(&bed).set("/hooks", json!({"poststart": [{"path": fail}], "poststop": [{"path": fail}]})).sh("echo ran");
    bundle.run(&bed, []).run().exits(0).says("poststart hook").says("poststop hook").prints("ran");
}

#[test]
fn sysctl_domainname_rlimits_and_priorities() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed)
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel/shm_rmid_forced": "1", "kernel.msgmax": "4242"}))
        .set("/domainname", json!("nis.example"))
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]))
        .set("/process/oomScoreAdj", json!(321))
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}))
        .set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}))
        .sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced /proc/sys/kernel/msgmax /proc/sys/kernel/domainname; ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj; ionice -p 1; cut -d' ' -f19,41 /proc/1/stat");
    bundle.run(&bed, []).run().exits(0).prints("1\n1\n4242\nnis.example\n100\n200\n321\nidle\n5 3");
    let bundle = Bundle::new(&bed).set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 1u64 << 40, "hard": 1u64 << 40}]));
    bundle.run(&bed, []).run().exits(1).says("set limit NOFILE");
}

#[test]
fn devices_are_made_and_restricted() {
    let Some(bed) = Bed::start() else { return };
    let device = json!({"path": "/dev/made", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 5, "gid": 6});
    let bundle = Bundle::new(&bed)
        .set("/linux/devices", json!([device, {"path": "/dev/sub/pipe", "type": "p", "fileMode": 0o600}]))
        .sh("stat -c '%t:%T %a %u:%g' /dev/made; stat -c '%F %a' /dev/sub/pipe; ls /dev | tr '\\n' ' '; \
             echo; echo x >/dev/null && echo null; mknod /dev/mem2 c 1 1 && head -c1 /dev/mem2 >/dev/null || echo refused; readlink /dev/fd; readlink /dev/ptmx");
    let out = bundle.run(&bed, []).run().exits(0);
    let text = out.text();
    assert!(text.starts_with("1:5 640 5:6\nfifo 600\n"), "{text}");
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert!(text.lines().nth(2).unwrap_or_default().split(' ').any(|n| n == name), "{name}: {text}");
    }
    assert!(text.contains("\nnull\n") && text.contains("refused") && text.ends_with("/proc/self/fd\npts/ptmx\n"), "{text}");
    let allowed = Bundle::new(&bed)
        .set("/linux/resources/devices", json!([{"allow": false}, {"allow": true, "type": "c", "major": 10, "minor": 237, "access": "rw"}]))
        .sh("mknod /dev/k c 10 237; mknod /dev/p c 1 1; dd if=/dev/k of=/dev/null bs=1 count=0 2>/dev/null && echo loop-control; dd if=/dev/p bs=1 count=0 2>/dev/null || echo mem refused");
    allowed.run(&bed, []).run().exits(0).prints("loop-control\nmem refused");
}

#[test]
fn seccomp_profiles() {
    let Some(bed) = Bed::start() else { return };
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["chroot", "no_such_call"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 3, "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]},
            {"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"}
        ]
    });
    for no_new_privileges in [true, false] {
        let bundle = Bundle::new(&bed)
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .sh("mkdir /tmp/x; chroot / true; trap 'echo usr2' USR2; kill -USR1 $$; kill -USR2 $$; grep Seccomp: /proc/self/status | tr -d '\\t'; (hostname other); echo $?");
        let out = bundle.run(&bed, []).run().exits(0).prints("usr2\nSeccomp:2\n159");
        out.says("No space left").says("No such process");
    }
}

#[test]
fn user_namespace_with_several_ranges() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed)
        .namespaces(&["pid", "network", "ipc", "uts", "mount", "cgroup", "user"])
        .set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 700_000, "size": 1000}, {"containerID": 1000, "hostID": 900_000, "size": 64536}]))
        .set("/linux/gidMappings", json!([{"containerID": 0, "hostID": 700_000, "size": 65536}]))
        .set("/linux/devices", json!([{"path": "/dev/made", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 1001, "gid": 6}]))
        .sh("cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; id -u; echo >/dev/null && echo null; stat -c '%u %t:%T' /dev/null; stat -c '%u:%g %a %t:%T' /dev/made; su -s /bin/sh nobody -c 'id -u' 2>/dev/null; touch /dev/shm/x && stat -c %u /dev/shm/x");
    let chown = Command::new("chown").args(["-R", "700000:700000"]).arg(bundle.at("")).status().expect("chown");
    assert!(chown.success());
    let out = bundle.run(&bed, []).run().exits(0);
    let text = out.text();
    assert!(text.starts_with(" 0 700000 1000\n 1000 900000 64536\n 0 700000 65536\n0\nnull\n0 1:3\n1001:6 640 1:5\n"), "{text}");
    assert!(text.ends_with("\n0\n"), "{text}");
}

#[test]
fn propagation_of_the_root_and_of_mounts() {
    let Some(bed) = Bed::start() else { return };
    let data = bed.fresh("data").display().to_string();
    // Fields of mountinfo between the options and the dash (proc_pid_mountinfo(5)).
    let script = "for p in / /in; do awk -v p=$p '$5 == p {l = \"\"; for (i = 7; $i != \"-\"; i++) {sub(/:.*/, \"\", $i); l = l \" \" $i}} END {print p l}' /proc/self/mountinfo; done";
    for own_users in [false, true] {
        for (root, mount, seen) in [
            ("private", "rprivate", "/\n/in"),
            ("shared", "private", "/ shared\n/in"),
            ("unbindable", "rprivate", "/ unbindable\n/in"),
            ("private", "rshared", "/\n/in shared"),
            ("rprivate", "unbindable", "/\n/in unbindable"),
        ] {
            let bundle = Bundle::new(&bed)
                .set("/linux/rootfsPropagation", json!(root))
                .set("/mounts/-", json!({"destination": "/in", "type": "bind", "source": data, "options": ["rbind", mount]}))
                .sh(script);
            let bundle = if own_users { bundle.own_users() } else { bundle };
            let text = bundle.run(&bed, []).run().exits(0).text();
            // What is a slave besides, the host decides.
            assert_eq!(text.trim_end().replace(" master", ""), seen, "own users {own_users}, root {root}, mount {mount}");
        }
    }
}

#[test]
fn namespaces_are_shared_joined_or_new() {
    let Some(bed) = Bed::start() else { return };
    // Of this thread: the bed has a network of its own.
    let own = |kind: &str| std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).expect("readlink").display().to_string();
    let script = "for n in pid net ipc uts mnt cgroup time; do readlink /proc/self/ns/$n; done";
    let mut bundle = Bundle::new(&bed).namespaces(&["mount"]).sh(script);
    if let Some(map) = bundle.config.as_object_mut() {
        map.remove("hostname");
    }
    // Without a pid namespace of its own, /proc is the host's.
    let text = bundle.run(&bed, []).run().exits(0).text();
    let shared: Vec<&str> = text.lines().collect();
    for (at, kind) in ["pid", "net", "ipc", "uts"].iter().enumerate() {
        assert_eq!(shared[at], own(kind), "{kind} is the host's");
    }
    assert_ne!(shared[4], own("mnt"));
    assert_ne!(shared[5], own("cgroup"), "a cgroup namespace every machine has");
    let text =
        Bundle::new(&bed).namespaces(&["pid", "network", "ipc", "uts", "mount", "cgroup", "time"]).sh(script).run(&bed, []).run().exits(0).text();
    for (line, kind) in text.lines().zip(["pid", "net", "ipc", "uts", "mnt", "cgroup", "time"]) {
        assert_ne!(line, own(kind), "{kind} is new");
    }
    // Somebody else's, kept by a process.
    let mut holder = Command::new("unshare").args(["-n", "-u", "-i", "sleep", "60"]).spawn().expect("unshare");
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", holder.id());
    let ready = hostel_tests::eventually(std::time::Duration::from_secs(5), || {
        std::fs::read_link(path("net")).is_ok_and(|l| l.display().to_string() != own("net"))
            && std::fs::read_to_string(format!("/proc/{}/comm", holder.id())).is_ok_and(|c| c == "sleep\n")
    });
    assert!(ready);
    let theirs: Vec<String> = ["net", "uts", "ipc"].iter().map(|k| std::fs::read_link(path(k)).expect("readlink").display().to_string()).collect();
    let namespaces = json!([{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": path("net")}, {"type": "uts", "path": path("uts")}, {"type": "ipc", "path": path("ipc")}]);
    let mut joined = Bundle::new(&bed).set("/linux/namespaces", namespaces).sh("for n in net uts ipc; do readlink /proc/self/ns/$n; done");
    if let Some(map) = joined.config.as_object_mut() {
        map.remove("hostname");
    }
    let out = joined.run(&bed, []).run();
    let wrong = json!([{"type": "mount"}, {"type": "ipc", "path": path("net")}]);
    let mut refused = Bundle::new(&bed).set("/linux/namespaces", wrong);
    if let Some(map) = refused.config.as_object_mut() {
        map.remove("hostname");
    }
    let refused = refused.run(&bed, []).run();
    let _ = holder.kill();
    let _ = holder.wait();
    out.exits(0).prints(&theirs.join("\n"));
    refused.exits(1).says("it is a namespace of another kind");
}

#[test]
fn time_namespace_has_its_offsets() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed)
        .namespaces(&["pid", "ipc", "uts", "mount", "time"])
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}}))
        .sh("cut -d. -f1 /proc/uptime");
    let out = bundle.run(&bed, []).run().exits(0);
    let up: u64 = out.text().trim().parse().expect("seconds");
    assert!(up > 1_000_000, "{up}");
}

#[test]
fn limits_of_the_cgroup() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed).set("/linux/resources/pids", json!({"limit": 5})).set("/linux/resources/memory", json!({"limit": 67_108_864}));
    let bundle = bundle.sh("for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait");
    let out = bundle.run(&bed, []).run();
    assert!(out.errors().contains("fork"), "{}", out.describe());
    let unified = Bundle::new(&bed).set("/linux/resources/unified", json!({"memory.high": "60000000"}));
    let out = unified.run(&bed, []).run();
    // Either it is in force, or the host has the controller on v1 and that is said.
    assert!(out.code == Some(0) || out.errors().contains("memory controller on cgroup v1"), "{}", out.describe());
}

#[test]
fn a_throttled_device() {
    let Some(bed) = Bed::start() else { return };
    let disks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let Some(disk) = disks.filter_map(|d| std::fs::read_to_string(d.path().join("dev")).ok()).next() else {
        return println!("skipped: no block device here");
    };
    let (major, minor) = disk.trim().split_once(':').expect("numbers");
    let number = |text: &str| text.parse::<u32>().expect("number");
    let limit = json!({"throttleWriteBpsDevice": [{"major": number(major), "minor": number(minor), "rate": 7_340_032}]});
    let bundle = Bundle::new(&bed).set("/linux/resources/blockIO", limit).sh("echo ready; sleep 30");
    let running = bundle.run(&bed, []).start();
    running.expect("ready");
    // Where the host has the controller, v1 or v2.
    let found = std::process::Command::new("grep")
        .args(["-rls", "7340032", "/sys/fs/cgroup", "--include=io.max", "--include=blkio.throttle.write_bps_device"])
        .output();
    let found = String::from_utf8(found.expect("run grep").stdout).expect("paths");
    running.signal(hostel_tests::Signal::TERM);
    running.finish(std::time::Duration::from_secs(10));
    assert!(found.contains("/hostel/"), "{found:?}");
}

#[test]
fn terminal() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed)
        .set("/process/terminal", json!(true))
        .set("/process/consoleSize", json!({"height": 33, "width": 99}))
        .sh("tty; stty size; stat -c %t /dev/console; [ -t 0 ] && echo terminal");
    let out = bundle.run(&bed, []).run().exits(0);
    let text = out.text().replace('\r', "");
    assert!(text.contains("/dev/pts/0\n33 99\n88\nterminal") || text.contains("/dev/console\n33 99\n88\nterminal"), "{text:?}");
}

#[test]
fn mounts_of_the_host_travel_into_a_slave() {
    let Some(bed) = Bed::start() else { return };
    let shared = bed.fresh("shared").display().to_string();
    for (option, seen, own_users) in [("rslave", "seen", false), ("rslave", "seen", true), ("rprivate", "nothing", false)] {
        let bundle = Bundle::new(&bed)
            .set("/mounts/-", json!({"destination": "/in", "type": "bind", "source": shared, "options": ["rbind", option]}))
            .sh("touch /in/started; for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /in/mounted ] && break; sleep 0.2; done; ls /in/sub; [ -e /in/sub/seen ] || echo nothing");
        let bundle = if own_users { bundle.own_users() } else { bundle };
        // In a mount namespace of this one command, whose mounts go with it.
        let host = format!(
            "mount -t tmpfs t {shared} && mkdir {shared}/sub && mount --make-shared {shared} && \
             {{ (while ! [ -e {shared}/started ]; do sleep 0.05; done; mount -t tmpfs u {shared}/sub; touch {shared}/sub/seen {shared}/mounted) & }} && exec \"$@\""
        );
        let script = format!("exec unshare -m --propagation=private sh -c '{host}' sh \"$@\"");
        bundle.run(&bed, []).through_shell(&script).run().exits(0).prints(seen);
    }
}

#[test]
fn id_mapped_bind() {
    let Some(bed) = Bed::start() else { return };
    let place = bed.own_file_system(8);
    std::fs::write(place.join("file"), "x").expect("write");
    let maps = json!([{"containerID": 0, "hostID": 4242, "size": 1}]);
    let bundle = Bundle::new(&bed)
        .set("/mounts/-", json!({"destination": "/mapped", "type": "bind", "source": place.display().to_string(), "options": ["bind"], "uidMappings": maps, "gidMappings": maps}))
        .sh("stat -c %u:%g /mapped/file");
    bundle.run(&bed, []).run().exits(0).prints("4242:4242");
}

#[test]
fn what_is_not_built_is_refused_by_its_key() {
    let Some(bed) = Bed::start() else { return };
    let cases = [
        ("/ociVersion", json!("2.0.0"), "config.json: ociVersion"),
        ("/linux/cgroupsPath", json!("/x/../y"), "config.json: linux.cgroupsPath"),
        ("/linux/intelRdt", json!({"closID": "x"}), "config.json: linux.intelRdt: not implemented yet"),
        ("/linux/sysctl", json!({"vm.swappiness": "1"}), "it would change the host"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "SCMP_ACT_NOTIFY: not implemented yet"),
        ("/windows", json!({}), "config.json: windows"),
        ("/process/apparmorProfile", json!("docker-default"), "AppArmor"),
    ];
    for (pointer, value, said) in cases {
        let bundle = Bundle::new(&bed).set(pointer, value).sh("echo ran");
        bundle.run(&bed, []).run().exits(1).says(said).prints("");
    }
    let missing = bed.fresh("empty");
    bed.hostel(["nspawn"]).arg(format!("--oci-bundle={}", missing.display())).run().exits(1).says("config.json: No such file");
}

/// What `runc spec` and `crun spec` write runs as it is, but for the terminal.
#[test]
fn what_other_runtimes_write_as_a_template_runs() {
    let Some(bed) = Bed::start() else { return };
    let bundle = Bundle::new(&bed);
    for (runtime, options) in [("runc", &[][..]), ("crun", &[][..]), ("runc", &["--rootless"][..])] {
        let _ = std::fs::remove_file(bundle.path.join("config.json"));
        let made = Command::new(runtime).arg("spec").args(options).current_dir(&bundle.path).output();
        if !made.is_ok_and(|o| o.status.success()) {
            println!("skipped: no {runtime}");
            continue;
        }
        let text = std::fs::read(bundle.path.join("config.json")).expect("read config.json");
        let config: Value = serde_json::from_slice(&text).expect("JSON");
        let theirs = Bundle { path: bundle.path.clone(), config }
            .set("/process/terminal", json!(false))
            .set("/process/args", json!(["/bin/sh", "-c", "echo $(id -u) $(hostname); cat /proc/1/comm; ls /sys >/dev/null && echo sys"]));
        let name = theirs.config["hostname"].as_str().unwrap_or("runc").to_owned();
        let out = theirs.run(&bed, []).run().exits(0);
        assert_eq!(out.text(), format!("0 {name}\nsh\nsys\n"), "{runtime} {options:?}");
    }
}

/// What other runtimes show of the same bundle has to be the same.
#[test]
fn the_same_as_crun_and_runc() {
    let Some(bed) = Bed::start() else { return };
    // Masks, links and nodes by name; of mounts, where and what.
    let script = "id; umask; pwd; hostname; env | sort; grep -E '^(Cap|NoNewPrivs|Groups)' /proc/self/status; \
                  ls -l /dev | awk '{print $1,$3,$4,$5,$6,$NF}' | grep -v total | sort; \
                  awk '{print $5,$9}' /proc/self/mountinfo | sort; ulimit -n; cat /proc/self/oom_score_adj; ls /proc/self/fd | wc -l; \
                  for f in /proc/keys /sys/firmware; do stat -c '%n %F %t:%T' $f; done; touch /proc/sys/x 2>&1; \
                  cat /proc/sys/kernel/shm_rmid_forced; mkdir /tmp/x 2>&1; kill -USR1 $$ 2>&1; grep Seccomp: /proc/self/status";
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 3, "args": [{"index": 1, "value": 8, "op": "SCMP_CMP_GT"}]}
        ]
    });
    let mut bundle = Bundle::new(&bed)
        .set("/process/user", json!({"uid": 11, "gid": 22, "additionalGids": [33], "umask": 7}))
        .set("/process/oomScoreAdj", json!(100))
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]))
        .set("/linux/sysctl", json!({"kernel.shm_rmid_forced": "1"}))
        .set("/linux/seccomp", profile)
        // Without one, each runtime has its own idea of a home.
        .set("/process/env/-", json!("HOME=/home"))
        .set("/process/cwd", json!("/usr"))
        .sh(script);
    // What it shows depends on the cgroup the runtime chooses.
    if let Some(mounts) = bundle.config.pointer_mut("/mounts").and_then(Value::as_array_mut) {
        mounts.retain(|m| m["type"] != "cgroup");
    }
    let ours = bundle.run(&bed, []).run().exits(0).text();
    for runtime in ["crun", "runc"] {
        if !Command::new(runtime).arg("--version").output().is_ok_and(|o| o.status.success()) {
            println!("skipped: no {runtime}");
            continue;
        }
        let root = bed.fresh(runtime);
        // crun 1.8 takes no hybrid cgroups: in a mount namespace of its own it is shown v2.
        let manager = if runtime == "crun" { "--cgroup-manager=disabled" } else { "--log-format=text" };
        let line = format!(
            "mount -t cgroup2 none /sys/fs/cgroup && exec {runtime} --root {} {manager} run --bundle {} {}",
            root.display(),
            bundle.path.display(),
            bed.name()
        );
        let theirs = Command::new("unshare").args(["-m", "--propagation=private", "sh", "-c", &line]).output().expect("run unshare");
        let text = String::from_utf8_lossy(&theirs.stdout).into_owned();
        assert!(theirs.status.success(), "{runtime}: {} {text}", String::from_utf8_lossy(&theirs.stderr));
        // crun gives the user the null device that it makes its standard input; runc masks by the tree's own null device (its
        // CVE-2025-31133) and links no /dev/core.
        let theirs_alone = |line: &&str| line.ends_with(" null") || line.ends_with("/proc/kcore") || line.starts_with("/proc/keys ");
        let compared = |text: &str| text.lines().filter(|l| !theirs_alone(l)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(compared(&ours), compared(&text), "{runtime}");
    }
}
