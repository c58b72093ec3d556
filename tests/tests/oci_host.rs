//! OCI bundles and what they take of the host: a place among its cgroups, limits by every controller there is, its interfaces, a user
//! namespace that exists; and what is copied into a tmpfs.

use std::process::Command;

use hostel_tests::bundle::Bundle;
use hostel_tests::{Bed, eventually};
use serde_json::json;

const SOON: std::time::Duration = std::time::Duration::from_secs(10);

/// Where cgroups of the v2 hierarchy are.
fn v2() -> &'static str {
    let pure = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if pure { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/unified" }
}

#[test]
fn its_place_among_cgroups() {
    let Some(bed) = Bed::start() else { return };
    let own = format!("test{}", bed.name().replace('-', ""));
    let found = || {
        let out = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-path", &format!("*{own}*")]).output().expect("find");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    for (path, below) in [
        (format!("/{own}/a"), format!("{}/{own}/a", v2())),
        (format!("{own}/b"), format!("{}/{own}/b", v2())),
        (format!("{own}.slice:crio:x"), format!("{}/{own}.slice/crio-x.scope", v2())),
    ] {
        let bundle = Bundle::new(&bed).set("/linux/cgroupsPath", json!(path)).set("/linux/resources/pids", json!({"limit": 77}));
        let name = bed.name();
        let running = bundle.sh("cat /proc/self/cgroup; echo ready; sleep 30").run(&bed, [&format!("--machine={name}")]).start();
        running.expect("ready");
        let group = format!("{below}/hostel/{name}");
        let members = std::fs::read_to_string(format!("{group}/payload/cgroup.procs")).unwrap_or_else(|e| panic!("{group}: {e}"));
        let limit = Command::new("sh").args(["-c", &format!("cat $(find /sys/fs/cgroup -path '*{own}*/{name}/pids.max')")]).output();
        // An order to the machine finds its group by what was recorded.
        let paused = bed.hostel(["pause", &name]).run();
        running.signal(hostel_tests::Signal::TERM);
        running.finish(SOON);
        assert!(!members.is_empty());
        assert_eq!(String::from_utf8_lossy(&limit.expect("cat").stdout).trim(), "77");
        paused.exits(0);
        assert_eq!(found(), "", "all of it is gone again");
    }
    // A group of somebody else's stays, also with a killed supervisor.
    let theirs = format!("{}/{own}", v2());
    std::fs::create_dir(&theirs).expect("make a cgroup");
    let bundle = Bundle::new(&bed).set("/linux/cgroupsPath", json!(format!("/{own}/deep"))).sh("echo ready; sleep 30");
    let running = bundle.run(&bed, []).start();
    running.expect("ready");
    running.signal(hostel_tests::Signal::KILL);
    running.finish(SOON);
    bed.hostel(["clean"]).run().exits(0);
    let left = found();
    std::fs::remove_dir(&theirs).expect("remove the cgroup");
    assert_eq!(left.trim(), theirs);
    // Not there: a group that is a thread's, a slice beside.
    let bundle = Bundle::new(&bed).set("/linux/cgroupsPath", json!("/a"));
    bundle.run(&bed, ["--slice=x.slice"]).run().exits(1).says("linux.cgroupsPath");
}

#[test]
fn limits_of_rare_controllers() {
    let Some(bed) = Bed::start() else { return };
    let mut skipped = Vec::new();
    for (resources, v1, v2, value) in [
        (json!({"memory": {"swappiness": 7}}), "memory.swappiness", "", "7"),
        (json!({"memory": {"disableOOMKiller": true}}), "memory.oom_control", "", "oom_kill_disable 1"),
        (json!({"memory": {"limit": 99_999_744, "reservation": 8_192_000}}), "memory.soft_limit_in_bytes", "memory.low", "8192000"),
        (json!({"memory": {"kernelTCP": 8_192_000}}), "memory.kmem.tcp.limit_in_bytes", "", "8192000"),
        (json!({"cpu": {"quota": 50_000, "period": 100_000, "burst": 1234}}), "cpu.cfs_burst_us", "cpu.max.burst", "1234"),
        (json!({"cpu": {"idle": 1}}), "cpu.idle", "cpu.idle", "1"),
        (json!({"cpu": {"mems": "0", "cpus": "0"}}), "cpuset.mems", "cpuset.mems", "0"),
        (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]}), "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max", "4194304"),
        (json!({"network": {"classID": 1_048_577}}), "net_cls.classid", "", "1048577"),
        (json!({"network": {"priorities": [{"name": "lo", "priority": 3}]}}), "net_prio.ifpriomap", "", "lo 3"),
        (json!({"cpu": {"realtimePeriod": 500_000}}), "cpu.rt_period_us", "", "500000"),
    ] {
        let bundle = Bundle::new(&bed).set("/linux/resources", resources.clone()).sh("echo ready; sleep 30");
        let name = bed.name();
        let running = bundle.run(&bed, [&format!("--machine={name}")]).start();
        eventually(SOON, || running.stdout().contains("ready") || running.has_ended());
        let up = running.stdout().contains("ready");
        let find = format!("find /sys/fs/cgroup -path '*hostel/{name}/{v1}' -o -path '*hostel/{name}/{v2}' | xargs -r cat");
        let seen = Command::new("sh").args(["-c", &find]).output().expect("find").stdout;
        running.signal(hostel_tests::Signal::TERM);
        let out = running.finish(SOON);
        if up {
            assert!(String::from_utf8_lossy(&seen).contains(value), "{resources}: {}", String::from_utf8_lossy(&seen));
        } else {
            // Refused, and with a reason that is one.
            let why = ["controller is neither on cgroup v1 nor offered", "which has no such limit", "this kernel has no"];
            assert!(why.iter().any(|w| out.errors().contains(w)), "{resources}: {}", out.describe());
            skipped.push(resources.to_string());
        }
    }
    println!("not on this host: {skipped:?}");
    assert!(skipped.len() < 8, "{skipped:?}");
}

#[test]
fn what_is_there_is_copied_up() {
    let Some(bed) = Bed::start() else { return };
    let mount = |more: &[&str]| {
        let options = [&["tmpcopyup", "size=4m"], more].concat();
        json!({"destination": "/var/data", "type": "tmpfs", "source": "tmpfs", "options": options})
    };
    let make = r#"mkdir -p "$1"/sub; cd "$1"; chmod 1751 .; echo text >f; ln f hard; ln -s f soft; mkfifo sub/pipe; chown 7:8 f sub; chmod 4644 f; setfattr -n user.a -v b f"#;
    let look = "cd /var/data; stat -c '%n %a %u:%g %F %h' . f soft sub sub/pipe; cat hard; readlink soft; awk '$5 == \"/var/data\" {print $6}' /proc/self/mountinfo; touch x && echo writable";
    for own_users in [false, true] {
        let bundle = Bundle::new(&bed).set("/mounts/-", mount(&["nosuid"]));
        let bundle = if own_users { bundle.own_users() } else { bundle };
        let data = bundle.at("var/data");
        let made = Command::new("sh").args(["-ec", make, "sh"]).arg(&data).status().expect("sh");
        assert!(made.success());
        if own_users {
            let shifted = format!("cd {}; chown -h 700000:700000 . f soft sub/pipe; chown 700007:700008 f sub; chmod 4644 f", data.display());
            assert!(Command::new("sh").args(["-ec", &shifted]).status().expect("sh").success());
        }
        let running = bundle.sh(&format!("{look}; sleep 30")).run(&bed, []).start();
        running.expect("writable");
        let leader = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).expect("children");
        let attribute =
            Command::new("getfattr").args(["--only-values", "-n", "user.a", &format!("/proc/{}/root/var/data/f", leader.trim())]).output();
        running.signal(hostel_tests::Signal::TERM);
        let out = running.finish(SOON);
        assert_eq!(attribute.expect("getfattr").stdout, b"b", "{}", out.describe());
        let seen = ". 1751 0:0 directory 3\nf 4644 7:8 regular file 2\nsoft 777 0:0 symbolic link 1\nsub 755 7:8 directory 2\nsub/pipe 644 0:0 fifo 1\ntext\nf\n";
        assert!(out.text().starts_with(seen), "own users {own_users}: {}", out.text());
        assert!(out.text().contains("rw,nosuid") && out.text().contains("\nwritable"), "{}", out.text());
        assert!(!data.join("x").exists());
    }
    // Read-only, its own mode; a place that is not there; more than fits.
    let bundle =
        Bundle::new(&bed).set("/mounts/-", mount(&["ro", "mode=700"])).sh("stat -c %a /var/data; cat /var/data/f; touch /var/data/x || echo refused");
    let made = Command::new("sh").args(["-ec", make, "sh"]).arg(bundle.at("var/data")).status().expect("sh");
    assert!(made.success());
    bundle.run(&bed, []).run().exits(0).prints("700\ntext\nrefused");
    let bundle = Bundle::new(&bed).set("/mounts/-", mount(&[])).sh("ls -A /var/data | wc -l");
    bundle.run(&bed, []).run().exits(0).prints("0");
    let bundle = Bundle::new(&bed).set("/mounts/-", mount(&[]));
    std::fs::create_dir_all(bundle.at("var/data")).expect("make");
    std::fs::write(bundle.at("var/data/large"), vec![1u8; 5 << 20]).expect("write");
    bundle.run(&bed, []).run().exits(1).says("copy up /var/data/large: No space left");
}

#[test]
fn a_user_namespace_of_others() {
    let Some(bed) = Bed::start() else { return };
    // Kept by a process; its map has two ranges.
    let mut holder = Command::new("unshare").args(["-U", "-p", "-f", "--kill-child", "sleep", "60"]).spawn().expect("unshare");
    let first = || std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id())).unwrap_or_default().trim().to_owned();
    assert!(eventually(SOON, || std::fs::read_to_string(format!("/proc/{}/comm", first())).is_ok_and(|c| c == "sleep\n")));
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", first());
    let map = "0 700000 1000\n1000 900000 64536\n";
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{file}", holder.id()), map).expect("write map");
    }
    let theirs = std::fs::read_link(path("user")).expect("readlink").display().to_string();
    let with = |bundle: Bundle| {
        let joined = json!([{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}, {"type": "user", "path": path("user")}]);
        let mut bundle = bundle.own_users().set("/linux/namespaces", joined);
        for key in ["uidMappings", "gidMappings"] {
            bundle.config["linux"].as_object_mut().and_then(|linux| linux.remove(key));
        }
        bundle
    };
    let script = "readlink /proc/self/ns/user; tr -s ' ' </proc/self/uid_map; id -u; echo $$; echo >/dev/null && echo null; stat -c %u:%g /dev/pts/ptmx /proc/1/cmdline; touch /dev/shm/x && stat -c %u /dev/shm/x; umount /proc/kcore 2>/dev/null || echo locked; hostname";
    let out = with(Bundle::new(&bed)).sh(script).run(&bed, []).run();
    // In a terminal, whose owner is the machine's root; entered by others; its program is ended as that of every other.
    let name = bed.name();
    let running = with(Bundle::new(&bed)).sh("echo ready; sleep 30").run(&bed, [&format!("--machine={name}")]).start();
    running.expect("ready");
    let entered = bed.hostel(["exec", &name, "--", "/bin/sh", "-c", "readlink /proc/self/ns/user; id -u"]).run();
    running.signal(hostel_tests::Signal::TERM);
    running.finish(SOON);
    let terminal =
        with(Bundle::new(&bed)).set("/process/terminal", json!(true)).sh("stat -c %u /dev/console; [ -t 0 ] && echo terminal").run(&bed, []).run();
    let pid = json!([{"type": "mount"}, {"type": "ipc"}, {"type": "network"}, {"type": "cgroup"}, {"type": "user", "path": path("user")}, {"type": "pid", "path": path("pid")}, {"type": "uts"}]);
    let shared = with(Bundle::new(&bed))
        .set("/linux/namespaces", pid)
        .sh("[ $$ -gt 1 ] && echo not the first; readlink /proc/self/ns/user")
        .run(&bed, [])
        .run();
    let same = json!([{"containerID": 0, "hostID": 700_000, "size": 1000}]);
    let wrong = with(Bundle::new(&bed)).set("/linux/uidMappings", same).run(&bed, []).run();
    // Its child dies with it.
    let _ = holder.kill();
    let _ = holder.wait();
    let mut ours = Bundle::new(&bed).own_users().set("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, {"type": "user"}]));
    ours.config["linux"]["uidMappings"] = json!([]);
    ours.config["linux"]["gidMappings"] = json!([]);
    ours.config["linux"]["namespaces"][2]["path"] = json!("/proc/self/ns/user");
    ours.run(&bed, []).run().exits(1).says("we are in it");
    out.exits(0).prints(&format!("{theirs}\n 0 700000 1000\n 1000 900000 64536\n0\n1\nnull\n0:0\n0:0\n0\nlocked\ninside"));
    entered.exits(0).prints(&format!("{theirs}\n0"));
    assert_eq!(terminal.exits(0).text().replace('\r', ""), "0\nterminal\n");
    shared.exits(0).prints(&format!("not the first\n{theirs}"));
    wrong.exits(1).says("are not those that it has");
}

#[test]
fn interfaces_of_the_host_go_in_and_come_back() {
    let Some(bed) = Bed::start() else { return };
    let ip = |line: &str| assert!(Command::new("ip").args(line.split(' ')).status().expect("run ip").success(), "ip {line}");
    ip("link add oci0 mtu 1400 type veth peer name oci1");
    ip("link set oci1 up");
    ip("link set oci0 up");
    ip("addr add 10.98.7.6/24 dev oci0");
    ip("addr add fd98::6/64 dev oci0 nodad");
    let bundle = Bundle::new(&bed)
        .set("/linux/netDevices", json!({"oci0": {"name": "lan"}}))
        .sh("cat /sys/class/net/lan/mtu; ip addr show lan | grep -E 'UP|10.98|fd98' | sed 's/^ *//; s/[0-9]*: //' | cut -d' ' -f1-3");
    let out = bundle.run(&bed, []).run();
    let text = out.exits(0).text();
    assert!(text.starts_with("1400\n") && text.contains("UP") && text.contains("inet 10.98.7.6/24") && text.contains("inet6 fd98::6/64"), "{text}");
    let back = Command::new("ip").args(["link", "show", "oci0"]).status().expect("run ip");
    assert!(back.success(), "it is the host's again");
    ip("link delete oci0");
    let bundle = Bundle::new(&bed).set("/linux/netDevices", json!({"oci0": {}}));
    bundle.run(&bed, []).run().exits(1).says("find interface oci0");
}

#[test]
fn what_this_host_has_not_is_refused() {
    let Some(bed) = Bed::start() else { return };
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        let bundle = Bundle::new(&bed).set("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0"));
        bundle.run(&bed, []).run().exits(1).says("this host has no SELinux");
    }
    let logged = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]});
    let bundle = Bundle::new(&bed).set("/linux/seccomp", logged).sh("chroot / true; grep Seccomp: /proc/self/status | tr -d '\\t'");
    bundle.run(&bed, []).run().exits(0).prints("Seccomp:2").says("No space left");
}
