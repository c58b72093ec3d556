//! Configurations in a table: what they become, and what is refused with which words.

use std::path::Path;

use hostel_spec::{
    BundleSource, CapName, CapSet, ConsoleMode, CpuQuota, DeviceSelector, FilterAction, Limit, MachineSpec, MountPropagation, NetworkMode,
    SyscallFilter, TreeSource, UserNamespace,
};
use serde_json::{Value, json};

use super::compile;

fn small() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh", "-c", "true"], "cwd": "/", "env": ["A=b"]},
        "hostname": "h",
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}]}
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut config = small();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[key] = value;
    config
}

fn compiled(config: &Value) -> MachineSpec {
    compile(config.to_string().as_bytes(), Path::new("/srv/bundle")).unwrap_or_else(|e| panic!("{config}: {e}"))
}

fn refused(config: &Value) -> String {
    match compile(config.to_string().as_bytes(), Path::new("/srv/bundle")) {
        Ok(_) => panic!("not refused: {config}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_small_bundle() {
    let spec = compiled(&small());
    assert_eq!(spec.root.tree, TreeSource::Directory("/srv/bundle/rootfs".into()));
    assert_eq!(spec.identity.name.as_ref().map(|n| n.as_str()), Some("bundle"));
    assert_eq!(spec.network.mode, NetworkMode::Private);
    assert_eq!((spec.namespaces.pid, spec.namespaces.ipc, spec.namespaces.uts), (true, true, true));
    assert_eq!(spec.console, ConsoleMode::Pipe);
    assert_eq!(spec.security.bounding, CapSet::EMPTY, "no capabilities are given");
    assert_eq!(spec.security.syscalls, SyscallFilter::Nspawn(Vec::new()));
    assert!(!spec.process.no_new_privileges);
    let said = serde_json::to_string(&spec).unwrap();
    let read_back = serde_json::from_str::<MachineSpec>(&said).map(|_| ()).unwrap_err().to_string();
    assert!(read_back.contains("OCI bundle"), "{read_back}");
}

#[test]
fn versions() {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0-rc.3", "1.2.1+build", "1.9.99"] {
        compiled(&with("/ociVersion", version.into()));
    }
    for version in ["", "1", "1.0", "0.9.0", "2.0.0", "1.0.x", "10.0.0", "1.0.0.0", " 1.0.0"] {
        assert!(refused(&with("/ociVersion", version.into())).contains("ociVersion"), "{version}");
    }
}

#[test]
fn unknown_keys_are_passed_over() {
    compiled(&with("/some.vendor", json!({"x": [1, 2]})));
    compiled(&with("/linux/newKey", json!(true)));
    compiled(&with("/process/user", json!({"uid": 1, "gid": 2, "shoeSize": 43})));
}

#[test]
fn refusals_name_their_key() {
    let wide: Vec<Value> = (0..400).map(|i| json!({"containerID": i * 2, "hostID": i * 2, "size": 1})).collect();
    for (pointer, value, said) in [
        ("/root", Value::Null, "config.json: root: it is missing"),
        ("/root/path", json!(""), "root.path"),
        ("/process", Value::Null, "config.json: process: it is missing"),
        ("/process/args", json!([]), "process.args"),
        ("/process/cwd", json!("relative"), "process.cwd"),
        ("/process/env", json!(["NOVALUE"]), "process.env"),
        ("/process/env", json!(["=x"]), "process.env"),
        ("/process/terminal", json!(true), "process.terminal"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ("/process/capabilities", json!({"effective": ["CAP_KILL"]}), "process.capabilities.effective: cap_kill is not permitted"),
        ("/process/capabilities", json!({"bounding": ["KILL"]}), "process.capabilities.bounding"),
        ("/process/capabilities", json!({"bounding": ["CAP_MAGIC"]}), "process.capabilities.bounding"),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}]), "process.rlimits"),
        ("/process/rlimits", json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]), "process.rlimits"),
        ("/process/rlimits", json!([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]), "twice"),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_X"}), "process.ioPriority.class"),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8}), "process.ioPriority.priority"),
        ("/process/scheduler", json!({"policy": "SCHED_ISO"}), "process.scheduler.policy"),
        ("/process/scheduler", json!({"policy": "SCHED_FIFO"}), "process.scheduler.priority"),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "runtime": 5}), "SCHED_DEADLINE"),
        ("/process/user", json!({"uid": 4_294_967_295u32, "gid": 0}), "process.user"),
        ("/process/user", json!({"uid": 0, "gid": 0, "umask": 512}), "process.user.umask"),
        ("/process/user", json!({"uid": -1, "gid": 0}), "config.json: process.user.uid: it is no whole number"),
        ("/process/user", json!({"uid": 4_294_967_296u64, "gid": 0}), "config.json: process.user.uid: it is no whole number"),
        ("/process/user", json!([]), "config.json: process.user: it is no object"),
        ("/process/args", json!("sh -c true"), "config.json: process.args: it is no list"),
        ("/process/args", json!(["sh", 7]), "config.json: process.args[1]: it is no text"),
        ("/process/cwd", Value::Null, "config.json: process.cwd: it is no text"),
        ("/process/terminal", json!("yes"), "config.json: process.terminal: it is no true or false"),
        ("/process/oomScoreAdj", json!(1.5), "config.json: process.oomScoreAdj: it is no whole number"),
        ("/process/rlimits", json!([{"type": "RLIMIT_CPU", "soft": 18_446_744_073_709_551_616f64, "hard": 1}]), "process.rlimits[0].soft"),
        ("/root", json!("rootfs"), "config.json: root: it is no object"),
        ("/root", json!({"path": ["rootfs"]}), "config.json: root.path: it is no text"),
        ("/mounts", json!({"destination": "/x"}), "config.json: mounts: it is no list"),
        ("/mounts", json!([null]), "config.json: mounts[0]: it is no object"),
        ("/annotations", json!({"a\nb": 1}), "config.json: annotations.a\\nb: it is no text"),
        ("/hooks", json!({"poststop": [{"path": "/x", "timeout": "1"}]}), "config.json: hooks.poststop[0].timeout: it is no whole number"),
        ("/hostname", json!("not a name!"), "hostname"),
        ("/linux/namespaces", json!([{"type": "pid"}]), "no mount namespace"),
        ("/linux/namespaces", json!([{"type": "mount"}]), "hostname"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "mount"}]), "there are two"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "soul"}]), "none of the kernel's"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "net"}]), "none of the kernel's"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid", "path": "x"}]), "not absolute"),
        ("/linux/namespaces", json!([{"type": "mount", "path": "/x"}]), "linux.namespaces[0].path: a machine has a root of its own"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, {"type": "user"}]), "linux.uidMappings"),
        ("/linux/uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 1}]), "no new user namespace"),
        ("/linux/uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 0}]), "empty"),
        ("/linux/uidMappings", json!([{"containerID": 1, "hostID": 1, "size": 4_294_967_295u32}]), "beyond the last id"),
        ("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 2}, {"containerID": 1, "hostID": 9, "size": 1}]), "overlap"),
        ("/linux/uidMappings", wide.into(), "at most 340"),
        ("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}), "no new time namespace"),
        ("/linux/timeOffsets", json!({"wall": {"secs": 1}}), "none of monotonic, boottime"),
        ("/linux/intelRdt", json!({"closID": "x"}), "config.json: linux.intelRdt: not implemented yet"),
        ("/linux/netDevices", json!({"a/b": {}}), "linux.netDevices: \"a/b\" is no interface name"),
        ("/linux/netDevices", json!({"a": {"name": "b"}, "b": {}}), "linux.netDevices: two are to be called"),
        ("/linux/cgroupsPath", json!("/a/../b"), "config.json: linux.cgroupsPath"),
        ("/linux/cgroupsPath", json!("/"), "config.json: linux.cgroupsPath"),
        ("/linux/cgroupsPath", json!("/a/hostel/b"), "config.json: linux.cgroupsPath"),
        ("/linux/cgroupsPath", json!("a.service:b:c"), "is no slice:prefix:name"),
        ("/linux/cgroupsPath", json!("a.slice:b:"), "is no slice:prefix:name"),
        ("/linux/cgroupsPath", json!("a--b.slice:b:c"), "is no slice:prefix:name"),
        ("/linux/personality", json!({"domain": "SVR4"}), "linux.personality.domain"),
        ("/linux/rootfsPropagation", json!("rslaves"), "linux.rootfsPropagation"),
        ("/linux/maskedPaths", json!(["proc/kcore"]), "linux.maskedPaths"),
        ("/linux/sysctl", json!({"vm.swappiness": "1"}), "it would change the host"),
        ("/linux/sysctl", json!({"kernel.hostname": "x"}), "hostname"),
        ("/linux/sysctl", json!({"net/../vm/swappiness": "1"}), "no name of a kernel parameter"),
        ("/linux/sysctl", json!({"net..x": "1"}), "no name of a kernel parameter"),
        ("/windows", json!({}), "config.json: windows"),
        ("/vm", json!({}), "config.json: vm"),
        ("/zos", json!({}), "config.json: zos"),
        ("/solaris", json!({}), "config.json: solaris"),
        ("/hooks", json!({"prestart": [{"path": "rel"}]}), "hooks.prestart[0].path"),
        ("/hooks", json!({"poststop": [{"path": "/x", "timeout": 0}]}), "hooks.poststop[0].timeout"),
        ("/hooks", json!({"poststop": [{"path": "/x", "timeout": -5}]}), "hooks.poststop[0].timeout"),
        ("/mounts", json!([{"destination": "", "type": "proc"}]), "mounts[0].destination"),
        ("/mounts", json!([{"destination": "/x", "type": "ext4", "source": "/dev/sda"}]), "mounts[0].type"),
        ("/mounts", json!([{"destination": "/x"}]), "mounts[0].type"),
        ("/mounts", json!([{"destination": "/x", "type": "bind"}]), "mounts[0].source"),
        ("/mounts", json!([{"destination": "/x", "source": "/y", "options": ["bind", "size=3"]}]), "no option of a bind mount"),
        ("/mounts", json!([{"destination": "/x", "source": "/y", "options": ["bind", "remount"]}]), "remount: not implemented yet"),
        ("/mounts", json!([{"destination": "/x", "source": "/y", "options": ["bind", "idmap"]}]), "a user namespace"),
        ("/mounts", json!([{"destination": "/x", "type": "mqueue", "options": ["tmpcopyup"]}]), "tmpcopyup is for a tmpfs"),
        ("/mounts", json!([{"destination": "/x", "type": "overlay", "options": ["lowerdir=a:/b"]}]), "not absolute"),
        ("/mounts", json!([{"destination": "/x", "type": "cgroup", "options": ["memory"]}]), "not implemented yet"),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "x"}]), "linux.devices[0].type"),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "c"}]), "linux.devices[0].major"),
        ("/linux/devices", json!([{"path": "dev/x", "type": "p"}]), "linux.devices[0].path"),
        ("/linux/devices", json!([{"path": "/", "type": "p"}]), "linux.devices[0].path"),
        ("/linux/resources", json!({"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}), "linux.resources.hugepageLimits.pageSize"),
        ("/linux/resources", json!({"hugepageLimits": [{"pageSize": "../MB", "limit": 1}]}), "linux.resources.hugepageLimits.pageSize"),
        ("/linux/resources", json!({"rdma": {"x\ny": {"hcaHandles": 1}}}), "linux.resources.rdma"),
        ("/linux/resources", json!({"network": {"priorities": [{"name": "a b", "priority": 1}]}}), "linux.resources.network.priorities"),
        ("/linux/resources", json!({"memory": {"swappiness": 101}}), "linux.resources.memory.swappiness"),
        ("/linux/resources", json!({"memory": {"swap": 5}}), "linux.resources.memory.swap"),
        ("/linux/resources", json!({"memory": {"limit": 9, "swap": 5}}), "linux.resources.memory.swap"),
        ("/linux/resources", json!({"memory": {"limit": -2}}), "linux.resources.memory.limit"),
        ("/linux/resources", json!({"memory": {"kernel": 1}}), "linux.resources.memory.kernel: not implemented yet"),
        ("/linux/resources", json!({"cpu": {"idle": 2}}), "linux.resources.cpu.idle"),
        ("/linux/resources", json!({"cpu": {"mems": "x"}}), "linux.resources.cpu.mems"),
        ("/linux/resources", json!({"cpu": {"cpus": "x"}}), "linux.resources.cpu.cpus"),
        ("/linux/resources", json!({"blockIO": {"weight": 5}}), "linux.resources.blockIO.weight"),
        ("/linux/resources", json!({"blockIO": {"throttleReadIOPSDevice": [{"major": 1, "minor": 2, "rate": -3}]}}), "throttleReadIOPSDevice"),
        ("/linux/resources", json!({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rat": 3}]}}), "throttleReadBpsDevice[0].rate"),
        ("/linux/resources", json!({"blockIO": {"throttleWriteBpsDevice": [{"minor": 0, "rate": 3}]}}), "throttleWriteBpsDevice[0].major"),
        ("/linux/resources", json!({"blockIO": {"weightDevice": [{"major": 1, "minor": 2, "weight": 1}]}}), "weightDevice.weight"),
        ("/linux/resources", json!({"blockIO": {"weightDevice": [{"minor": 2, "weight": 10}]}}), "major or minor is missing"),
        ("/linux/resources", json!({"blockIO": {"leafWeight": 10}}), "no such weight since 5.0"),
        ("/linux/resources", json!({"unified": {"../x": "1"}}), "no file of a cgroup"),
        ("/linux/resources", json!({"unified": {"cgroup.procs": "1"}}), "unified"),
        ("/linux/resources", json!({"devices": [{"allow": true, "access": "x"}]}), "linux.resources.devices[0].access"),
        (
            "/linux/resources",
            json!({"devices": [{"allow": true}, {"allow": false, "type": "c", "major": 8, "access": "r"}]}),
            "devices[1]: not implemented yet",
        ),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY: not implemented yet"),
        ("/linux/seccomp", json!({"defaultAction": "ALLOW"}), "no action"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}), "errnoRet"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}), "4095"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}), "listenerPath: not implemented yet"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"]}), "no architecture"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ALLOW"}]}), "names"),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}),
            "args.index",
        ),
    ] {
        let said_so = refused(&with(pointer, value.clone()));
        assert!(said_so.contains(said), "{pointer} {value}: {said_so}");
        assert!(!said_so.contains('\n'), "{said_so}");
    }
}

#[test]
fn hostile_texts() {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = format!("{{\"x\":\"{}\"}}", "a".repeat(5 << 20));
    for text in ["", "null", "[]", "{", "{}", "{\"ociVersion\":1}", "\u{0}", &deep, &huge, "{\"ociVersion\":\"1.0.0\",\"ociVersion\":\"1.0.0\"}"] {
        let error = compile(text.as_bytes(), Path::new("/b")).unwrap_err().to_string();
        assert!(error.len() < 500 && !error.contains('\n'), "{error}");
    }
    assert!(compile(b"\xff\xfe{}", Path::new("/b")).is_err());
    let nul = small().to_string().replace("A=b", "A=\\u0000");
    assert!(compile(nul.as_bytes(), Path::new("/b")).unwrap_err().to_string().contains("NUL"));
    let spelled = small().to_string().replace("A=b", "A=\\\\u0000");
    assert!(compile(spelled.as_bytes(), Path::new("/b")).is_ok(), "a backslash and five letters are no NUL");
}

#[test]
fn mount_options() {
    let mount = |value: Value| compiled(&with("/mounts", json!([value]))).bundle.unwrap().mounts.remove(0);
    let made =
        mount(json!({"destination": "/a/../b//c", "type": "tmpfs", "source": "t", "options": ["ro", "rw", "nosuid", "noatime", "size=1m", "huge"]}));
    assert_eq!(made.target, Path::new("/a/../b/c"), "what `..` means is found out in the root");
    assert_eq!((made.attributes.set, made.attributes.clear & 1), (0x2 | 0x10, 1));
    assert_eq!(
        made.source,
        BundleSource::Fresh {
            file_system: "tmpfs".into(),
            source: "t".into(),
            options: vec![("size".into(), "1m".into()), ("huge".into(), String::new())],
            copy_up: false,
        }
    );
    let bound = mount(json!({"destination": "rel", "source": "sub", "options": ["rbind", "ro", "rnoexec", "rshared", "strictatime"]}));
    assert_eq!(bound.target, Path::new("/rel"));
    assert_eq!(bound.source, BundleSource::Bind { path: "/srv/bundle/sub".into(), recursive: true, map: None });
    assert_eq!((bound.attributes.set, bound.recursive_attributes.set), (0x1 | 0x20, 0x8));
    assert_eq!(bound.propagation, Some((MountPropagation::Shared, true)));
    let relative = mount(json!({"destination": "/x", "type": "bind", "source": "/y", "options": ["noatime", "relatime"]}));
    assert_eq!((relative.attributes.set, relative.attributes.clear), (0, 0x70));
    let pts = mount(json!({"destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "gid=5"]}));
    assert!(matches!(pts.source, BundleSource::Fresh { options, .. } if options == [("gid".to_owned(), "5".to_owned())]));
}

#[test]
fn resources_become_limits() {
    let of = |value: Value| compiled(&with("/linux/resources", value)).resources;
    let r = of(json!({
        "memory": {"limit": 1000, "swap": 1500, "reservation": 10},
        "cpu": {"shares": 512, "quota": 50_000, "period": 200_000, "cpus": "0-1"},
        "pids": {"limit": 9}, "blockIO": {"weight": 500}, "unified": {"memory.high": "7"}
    }));
    assert_eq!((r.memory_max, r.memory_swap_max), (Some(Limit::Value(1000)), Some(Limit::Value(500))));
    let entry = |file: &str, text: &str| vec![(file.to_owned(), text.to_owned())];
    assert_eq!((&r.more[0].v1, &r.more[0].v2), (&entry("memory.soft_limit_in_bytes", "10"), &entry("memory.low", "10")));
    assert_eq!(r.more.len(), 1);
    assert_eq!((r.cpu_weight, r.cpu_quota, r.cpu_period_us), (Some(50), Some(CpuQuota(250_000)), Some(200_000)));
    assert_eq!((r.allowed_cpus, r.tasks_max, r.io_weight), (Some(vec![0, 1]), Some(Limit::Value(9)), Some(100)));
    assert_eq!(r.unified, [("memory.high".to_owned(), "7".to_owned())]);
    let r = of(json!({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"shares": 0, "quota": -1}}));
    assert_eq!((r.memory_max, r.memory_swap_max, r.tasks_max), (Some(Limit::Infinity), Some(Limit::Infinity), Some(Limit::Infinity)));
    assert_eq!((r.cpu_weight, r.cpu_quota), (None, None));
    let r = of(json!({"blockIO": {
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}, {"major": 8, "minor": 1, "rate": 0}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 7}]
    }}));
    assert_eq!(r.io_max, [("rbps".to_owned(), "8:0 1000".to_owned()), ("wiops".to_owned(), "8:16 7".to_owned())]);
    // Empty parts say nothing.
    of(json!({"hugepageLimits": [], "rdma": {}, "network": null, "blockIO": {"weightDevice": []}}));
}

#[test]
fn limits_that_are_files() {
    let of = |value: Value| {
        let line = |tries: &[(String, String)]| tries.iter().map(|(file, text)| format!("{file}={text}")).collect::<Vec<_>>().join("|");
        let more = compiled(&with("/linux/resources", value)).resources.more;
        more.iter().map(|f| format!("{} {} {}", f.controller, line(&f.v1), line(&f.v2))).collect::<Vec<_>>()
    };
    assert_eq!(
        of(json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]})),
        ["hugetlb hugetlb.2MB.limit_in_bytes=4194304 hugetlb.2MB.max=4194304"]
    );
    assert_eq!(
        of(json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}, "x": {}}})),
        ["rdma rdma.max=mlx5_1 hca_handle=3 hca_object=10 rdma.max=mlx5_1 hca_handle=3 hca_object=10"]
    );
    assert_eq!(
        of(json!({"network": {"classID": 1_048_577, "priorities": [{"name": "eth0", "priority": 5}]}})),
        ["net_cls net_cls.classid=1048577 ", "net_prio net_prio.ifpriomap=eth0 5 "]
    );
    assert_eq!(
        of(json!({"memory": {"swappiness": 7, "disableOOMKiller": true, "kernelTCP": 9}})),
        ["memory memory.kmem.tcp.limit_in_bytes=9 ", "memory memory.swappiness=7 ", "memory memory.oom_control=1 "]
    );
    assert_eq!(
        of(json!({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 2000, "burst": 30, "idle": 1, "mems": "0-1"}})),
        [
            "cpu cpu.rt_period_us=2000 ",
            "cpu cpu.rt_runtime_us=1000 ",
            "cpu cpu.cfs_burst_us=30 cpu.max.burst=30",
            "cpu cpu.idle=1 cpu.idle=1",
            "cpuset cpuset.mems=0-1 cpuset.mems=0-1"
        ]
    );
    assert_eq!(
        of(json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 501, "leafWeight": 0}]}})),
        ["io blkio.weight_device=8:0 501|blkio.bfq.weight_device=8:0 101 io.weight=8:0 101|io.bfq.weight=8:0 101"]
    );
    assert!(of(json!({"memory": {"swappiness": 18_446_744_073_709_551_615u64}, "cpu": {"idle": 0, "burst": 0}})).is_empty());
}

#[test]
fn where_the_cgroup_is() {
    for (given, path) in [
        ("/a/b", "/a/b"),
        ("docker/0f3a", "docker/0f3a"),
        ("/a//b/./c/", "/a/b/c"),
        ("machine.slice:libpod:0f3a", "/machine.slice/libpod-0f3a.scope"),
        ("user-1000.slice::x", "/user.slice/user-1000.slice/x.scope"),
        (":runc:x", "/system.slice/runc-x.scope"),
        ("-.slice:cri:pod.slice", "/pod.slice"),
        ("a:b", "a:b"),
    ] {
        let bundle = compiled(&with("/linux/cgroupsPath", given.into())).bundle.unwrap();
        assert_eq!(bundle.cgroups_path.as_deref(), Some(Path::new(path)), "{given}");
    }
    assert_eq!(compiled(&with("/linux/cgroupsPath", "".into())).bundle.unwrap().cgroups_path, None);
}

#[test]
fn device_rules_in_order() {
    let of = |rules: Value| {
        let spec = compiled(&with("/linux/resources", json!({"devices": rules})));
        let text = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let line = |rule: &hostel_spec::DeviceRule| {
            let DeviceSelector::Number { block, major, minor } = &rule.devices else { panic!("{rule:?}") };
            let access: String =
                [(rule.access.read, 'r'), (rule.access.write, 'w'), (rule.access.mknod, 'm')].iter().filter(|(on, _)| *on).map(|(_, c)| c).collect();
            format!("{} {}:{} {access}", if *block { 'b' } else { 'c' }, text(*major), text(*minor))
        };
        spec.resources.devices.iter().map(line).collect::<Vec<_>>()
    };
    let defaults = of(json!([]));
    assert_eq!(defaults[..3], ["c *:* m", "b *:* m", "c 1:3 rwm"]);
    let has = |rules: Value, line: &str| of(rules).iter().any(|l| l == line);
    assert!(has(json!([{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]), "c 10:229 rw"));
    assert!(!has(json!([{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}, {"allow": false}]), "c 10:229 rw"));
    assert!(has(
        json!([{"allow": true, "type": "b", "major": 8, "minor": -1}, {"allow": false, "type": "b", "major": 8, "access": "w"}]),
        "b 8:* rm"
    ));
    // What every container may use it may use whatever is denied, as with runc.
    assert!(has(json!([{"allow": false, "type": "c", "major": 1, "minor": 3}]), "c 1:3 rwm"));
}

#[test]
fn process_sets_and_joined_namespaces() {
    let spec = compiled(&with(
        "/process/capabilities",
        json!({"permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL", "CAP_CHOWN"]}),
    ));
    assert_eq!(spec.process.ambient, CapSet::of(&[CapName::KILL]), "only what is inheritable can be ambient");
    let spec = compiled(&with(
        "/linux/namespaces",
        json!([{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/run/netns/a"}, {"type": "cgroup"}]),
    ));
    assert_eq!(spec.network.mode, NetworkMode::Host, "nothing new");
    let bundle = spec.bundle.unwrap();
    assert_eq!(bundle.join.len(), 1);
    assert_eq!((bundle.join[0].kind.name(), bundle.join[0].path.as_path()), ("net", Path::new("/run/netns/a")));
    let joined = compiled(&with("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, {"type": "user", "path": "/run/userns/a"}])));
    let bundle = joined.bundle.unwrap();
    assert!(bundle.joins(hostel_spec::NamespaceKind::User) && bundle.uids.is_empty() && joined.namespaces.user == UserNamespace::Host);
    let devices = compiled(&with("/linux/netDevices", json!({"eth0": {}, "eth1": {"name": "lan"}}))).network.interfaces;
    assert_eq!(devices.iter().map(|d| format!("{}:{}", d.host, d.inside)).collect::<Vec<_>>(), ["eth0:eth0", "eth1:lan"]);
    let mut config = with("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, {"type": "user"}]));
    config["linux"]["uidMappings"] = json!([{"containerID": 5, "hostID": 1, "size": 2}, {"containerID": 0, "hostID": 70000, "size": 5}]);
    config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 70000, "size": 5}]);
    let spec = compiled(&config);
    assert!(matches!(spec.namespaces.user, UserNamespace::Range(r) if r.base == 70000));
    assert_eq!(spec.bundle.unwrap().uids.len(), 2);
}

#[test]
fn sysctl_names_both_ways() {
    let of = |name: &str| compiled(&with("/linux/sysctl", json!({name: "1"}))).bundle.unwrap().sysctl[0].0.clone();
    assert_eq!(of("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
    assert_eq!(of("net/ipv4/conf/eth0.1/rp_filter"), "net/ipv4/conf/eth0.1/rp_filter");
    assert_eq!(of("net.ipv4.conf.eth0/1.rp_filter"), "net/ipv4/conf/eth0.1/rp_filter");
}

#[test]
fn seccomp_rules() {
    let spec = compiled(&with(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"], "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2_114_060_288u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}),
    ));
    assert!(spec.process.exact.as_ref().unwrap().log_calls);
    let SyscallFilter::Profile(profile) = spec.security.syscalls else { panic!("no profile") };
    assert_eq!(profile.default, FilterAction::Errno(38));
    assert_eq!((profile.rules[0].tests[0].mask, profile.rules[0].tests[0].value), (2_114_060_288, 0));
}
