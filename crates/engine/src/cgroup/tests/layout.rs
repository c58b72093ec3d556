//! Samples of real hosts: systemd on v2, systemd hybrid (cpu and cpuacct as one mount), this project's test machine
//! (apart), v1 only, containers with and without a cgroup namespace, Docker's view, overmounts.

use super::super::layout::{Controller, Kind, Layout, V2};

const V2_HOST: &str = "\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
23 22 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
30 23 0:27 / /sys/fs/pstore rw,nosuid shared:10 - pstore pstore rw
";

const SYSTEMD_HYBRID: &str = "\
25 24 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
26 25 0:23 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw
27 25 0:24 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
31 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
32 25 0:29 / /sys/fs/cgroup/memory rw,nosuid shared:16 - cgroup cgroup rw,memory
33 25 0:30 / /sys/fs/cgroup/blkio rw,nosuid shared:17 - cgroup cgroup rw,blkio
34 25 0:31 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid shared:18 - cgroup cgroup rw,net_cls,net_prio
35 25 0:32 / /sys/fs/cgroup/pids rw,nosuid shared:19 - cgroup cgroup rw,pids
36 25 0:33 / /sys/fs/cgroup/cpuset rw,nosuid shared:20 - cgroup cgroup rw,cpuset
";

const TEST_MACHINE: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

const V1_ONLY: &str = "\
26 17 0:22 / /cgroup rw - tmpfs none rw
27 26 0:23 / /cgroup/my\\040memory rw - cgroup none rw,memory
28 26 0:24 / /cgroup/all rw - cgroup none rw,pids,cpu,cpuset
";

/// A container: the group of its own, in a cgroup namespace or not, read-only or not.
fn v2_container(root: &str, options: &str) -> String {
    format!("500 490 0:26 {root} /sys/fs/cgroup {options},nosuid - cgroup2 cgroup {options}\n", options = options, root = root)
}

fn mounted(path: &str) -> V2 {
    V2::Mounted(path.into())
}

/// What it is, mountinfo, our own cgroup; the kind, where v2 is, where v1 is.
type Host<'a> = (&'a str, &'a str, &'a str, Kind, V2, &'a [(&'a str, &'a [Controller])]);

#[test]
fn kinds_and_places() {
    let v2_ro = v2_container("/docker/ab", "ro");
    let v2_ns = v2_container("/", "rw");
    let table: [Host<'_>; 7] = [
        ("v2", V2_HOST, "0::/user.slice/s.scope\n", Kind::V2, mounted("/sys/fs/cgroup"), &[]),
        (
            "systemd hybrid",
            SYSTEMD_HYBRID,
            "12:memory:/user.slice\n1:name=systemd:/user.slice\n0::/user.slice\n",
            Kind::Hybrid,
            mounted("/sys/fs/cgroup/unified"),
            &[
                ("/sys/fs/cgroup/cpu,cpuacct", &[Controller::Cpu, Controller::Cpuacct]),
                ("/sys/fs/cgroup/memory", &[Controller::Memory]),
                ("/sys/fs/cgroup/blkio", &[Controller::Io]),
                ("/sys/fs/cgroup/net_cls,net_prio", &[Controller::NetCls, Controller::NetPrio]),
                ("/sys/fs/cgroup/pids", &[Controller::Pids]),
                ("/sys/fs/cgroup/cpuset", &[Controller::Cpuset]),
            ],
        ),
        (
            "cpu and cpuacct apart",
            TEST_MACHINE,
            "4:memory:/process_api/x\n1:cpu:/\n0::/\n",
            Kind::Hybrid,
            mounted("/sys/fs/cgroup/unified"),
            &[
                ("/sys/fs/cgroup/cpu", &[Controller::Cpu]),
                ("/sys/fs/cgroup/cpuacct", &[Controller::Cpuacct]),
                ("/sys/fs/cgroup/memory", &[Controller::Memory]),
                ("/sys/fs/cgroup/devices", &[Controller::Devices]),
            ],
        ),
        (
            "v1 only, odd places, co-mounted",
            V1_ONLY,
            "",
            Kind::V1,
            V2::Private,
            &[("/cgroup/my memory", &[Controller::Memory]), ("/cgroup/all", &[Controller::Pids, Controller::Cpu, Controller::Cpuset])],
        ),
        ("nothing mounted", "22 1 259:2 / / rw - ext4 /dev/sda rw\n", "0::/\n", Kind::V1, V2::Private, &[]),
        ("container, read-only, own group below", &v2_ro, "0::/docker/ab/x\n", Kind::V2, mounted("/sys/fs/cgroup/x"), &[]),
        ("container, own namespace", &v2_ns, "0::/\n", Kind::V2, mounted("/sys/fs/cgroup"), &[]),
    ];
    for (what, mountinfo, own, kind, v2, v1) in table {
        let layout = Layout::parse(mountinfo, own);
        assert_eq!(layout.kind(), kind, "{what}");
        assert_eq!(layout.v2, v2, "{what}");
        let found: Vec<_> = layout.v1.iter().map(|h| (h.base.to_str().unwrap_or("?"), h.controllers.as_slice())).collect();
        assert_eq!(found, v1, "{what}");
    }
}

#[test]
fn controllers_are_looked_up_in_v1_only() {
    let layout = Layout::parse(TEST_MACHINE, "");
    assert!(layout.v1_of(Controller::Memory).is_some());
    assert!(layout.v1_of(Controller::Pids).is_none());
    assert!(Layout::parse(V2_HOST, "").v1_of(Controller::Memory).is_none());
}

#[test]
fn the_best_of_several_mounts_is_taken() {
    // A read-only bind first, then a bind of a part, then the real one in an odd place.
    let text = "\
10 1 0:26 / /ro ro - cgroup2 none rw
11 1 0:26 /part /part rw - cgroup2 none rw
12 1 0:26 / /odd rw - cgroup2 none rw
";
    assert_eq!(Layout::parse(text, "0::/part/x\n").v2, mounted("/odd"));
    let conventional = format!("{text}13 1 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n");
    assert_eq!(Layout::parse(&conventional, "0::/\n").v2, mounted("/sys/fs/cgroup"));
}

#[test]
fn hidden_mounts_do_not_count() {
    // Something else was mounted over it; and over the directory above it.
    let on_top = "10 1 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n11 10 0:50 / /sys/fs/cgroup rw - tmpfs none rw\n";
    assert_eq!(Layout::parse(on_top, "").v2, V2::Private);
    let above = "10 1 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n11 1 0:50 / /sys rw - tmpfs none rw\n";
    assert_eq!(Layout::parse(above, "").v2, V2::Private);
    // A root that was switched to later than its sub-mounts were made hides nothing.
    let late_root = "10 90 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n90 80 0:20 / /sys rw - sysfs none rw\n80 1 8:1 / / rw - ext4 none rw\n";
    assert_eq!(Layout::parse(late_root, "").v2, mounted("/sys/fs/cgroup"));
}

#[test]
fn nonsense_is_survived() {
    for text in ["", "\n\n", " - ", "a b c", "1 2 3 4 5 6 - cgroup2", "1 2 3 / /\\999\\04 rw - cgroup2 x rw", "1 2 3 / / rw - cgroup x"] {
        for own in ["", "0::", "0::/../../x", ":::", "0::/a\n4:memory"] {
            let _ = Layout::parse(text, own);
        }
    }
    // Outside of what our namespace shows: its root, even if it may not be written.
    assert_eq!(Layout::parse(&v2_container("/", "ro"), "0::/../other\n").v2, mounted("/sys/fs/cgroup"));
}
