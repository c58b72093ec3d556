//! What the payload sees by default: identity, environment, capabilities, mounts, devices, masks.

use std::collections::BTreeSet;

use hostel_tests::{Bed, View};

/// The view from inside with these options.
#[track_caller]
fn seen(bed: &Bed, options: &[&str]) -> View {
    let tree = bed.busybox();
    bed.nspawn(&tree, options).args(["/probe", "json"]).run().exits(0).view()
}

#[test]
fn pid_1_of_an_own_everything() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &[]);
    assert_eq!(view.number("/pid"), 1);
    assert_eq!(view["pids"], serde(r"[1]"));
    assert_eq!(view.number("/uid/0"), 0);
    assert_eq!(view.text("/cwd"), "/");
    assert_eq!(view.text("/umask"), "022");
    for kind in ["mnt", "pid", "uts", "ipc", "cgroup"] {
        assert_ne!(view["namespaces"][kind], host_namespace(kind), "{kind}");
    }
    assert_eq!(view["namespaces"]["net"], host_namespace("net"));
}

fn serde(text: &str) -> hostel_tests::Value {
    text.parse().expect("JSON")
}

fn host_namespace(kind: &str) -> hostel_tests::Value {
    let link = std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).expect("read namespace");
    serde(link.to_string_lossy().split(['[', ']']).nth(1).expect("a number"))
}

#[test]
fn host_name_is_the_machines_name() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    bed.nspawn(&tree, ["hostname"]).run().exits(0).prints(&tree.name());
    bed.nspawn(&tree, ["-M", &name, "hostname"]).run().exits(0).prints(&name);
    bed.nspawn(&tree, ["-M", &name, "--hostname=other.example", "hostname"]).run().exits(0).prints("other.example");
}

#[test]
fn environment_is_exactly_the_contract() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &[]);
    let names: BTreeSet<String> = view.strings("/env").iter().filter_map(|e| e.split('=').next().map(str::to_string)).collect();
    for required in ["PATH", "container", "HOME", "USER", "LOGNAME", "container_uuid", "NOTIFY_SOCKET", "TERM"] {
        assert!(names.contains(required), "no {required}: {names:?}");
    }
    let known = ["PATH", "container", "HOME", "USER", "LOGNAME", "container_uuid", "NOTIFY_SOCKET", "TERM", "COLORTERM", "NO_COLOR", "LANG"];
    for name in &names {
        assert!(known.contains(&name.as_str()) || name.starts_with("container_host_"), "{name} leaked in");
    }
    assert_eq!(view.env("container").as_deref(), Some("systemd-nspawn"));
    assert_eq!(view.env("HOME").as_deref(), Some("/root"));
    assert_eq!(view.env("USER").as_deref(), Some("root"));
    assert_eq!(view.env("LOGNAME").as_deref(), Some("root"));
    assert_eq!(view.env("NOTIFY_SOCKET").as_deref(), Some("/run/host/notify"));
    let uuid = view.env("container_uuid").unwrap_or_default();
    assert!(uuid.len() == 36 && uuid.matches('-').count() == 4, "{uuid}");
    assert!(!view["env"].to_string().contains("must not reach"), "the caller's environment leaked");
}

#[test]
fn setenv_sets_overrides_and_copies() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let run = bed.nspawn(
        &tree,
        ["-E", "A=1", "--setenv=B=two words", "-E", "A=2", "-E", "COPIED", "-E", "EMPTY=", "--setenv=HOME=/elsewhere", "/probe", "json"],
    );
    let view = run.env("COPIED", "from the caller").run().exits(0).view();
    for (name, value) in [("A", "2"), ("B", "two words"), ("COPIED", "from the caller"), ("EMPTY", ""), ("HOME", "/elsewhere")] {
        assert_eq!(view.env(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(view.strings("/env").iter().filter(|e| e.starts_with("A=")).count(), 1);
}

#[test]
fn default_capabilities() {
    let Some(bed) = Bed::start() else { return };
    // of the 26, this machine may lack some itself (CAP_SYS_RESOURCE): those are left out with a warning, not fatal
    let host: BTreeSet<String> = host_bounding();
    let default: BTreeSet<String> = "audit_control audit_write chown dac_override dac_read_search fowner fsetid ipc_owner kill lease linux_immutable mknod \
        net_bind_service net_broadcast net_raw setfcap setgid setpcap setuid sys_admin sys_boot sys_chroot sys_nice sys_ptrace sys_resource sys_tty_config"
        .split_whitespace()
        .map(str::to_string)
        .collect();
    let view = seen(&bed, &[]);
    let expected: BTreeSet<String> = default.intersection(&host).cloned().collect();
    for set in ["bnd", "prm", "eff"] {
        assert_eq!(view.caps(set), expected, "{set}");
    }
    assert!(view.caps("amb").is_empty());
    let view = seen(&bed, &["--private-network"]);
    assert!(view.caps("bnd").contains("net_admin"));
    let view =
        seen(&bed, &["--capability=CAP_SYS_TIME,cap_syslog", "--drop-capability=CAP_MKNOD", "--drop-capability=CAP_AUDIT_WRITE,CAP_SYS_CHROOT"]);
    let caps = view.caps("bnd");
    assert!(caps.contains("sys_time") && caps.contains("syslog"), "{caps:?}");
    for gone in ["mknod", "audit_write", "sys_chroot"] {
        assert!(!caps.contains(gone), "{gone} in {caps:?}");
    }
    let view = seen(&bed, &["--capability=all", "--drop-capability=CAP_SYS_MODULE"]);
    let all: BTreeSet<String> = host.into_iter().filter(|c| c != "sys_module").collect();
    assert_eq!(view.caps("bnd"), all);
}

fn host_bounding() -> BTreeSet<String> {
    let out = hostel_tests::Invocation::new(hostel_tests::probe()).arg("json").run().exits(0).view();
    out.caps("bnd")
}

#[test]
fn dropping_wins_and_ambient_is_raised() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &["--capability=CAP_SYS_TIME", "--drop-capability=CAP_SYS_TIME"]);
    assert!(!view.caps("bnd").contains("sys_time"));
    let view = seen(&bed, &["--ambient-capability=CAP_NET_RAW", "-ualice"]);
    assert_eq!(view.caps("amb"), ["net_raw".to_string()].into());
    assert_eq!(view.caps("eff"), ["net_raw".to_string()].into());
    let tree = bed.busybox();
    bed.nspawn(&tree, ["--ambient-capability=CAP_SYS_TIME", "/probe", "json"]).run().exits(1).fails();
    bed.nspawn(&tree, ["-b", "--ambient-capability=CAP_NET_RAW"]).run().exits(1).fails();
}

#[test]
fn no_new_privileges_only_on_request() {
    let Some(bed) = Bed::start() else { return };
    assert_eq!(seen(&bed, &[]).text("/no_new_privs"), "0");
    assert_eq!(seen(&bed, &["--no-new-privileges=yes"]).text("/no_new_privs"), "1");
    assert_eq!(seen(&bed, &["--no-new-privileges=no"]).text("/no_new_privs"), "0");
}

#[test]
fn a_filter_is_on() {
    let Some(bed) = Bed::start() else { return };
    assert_eq!(seen(&bed, &[]).text("/seccomp"), "2");
}

#[test]
fn api_mounts() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &[]);
    for (target, kind, options) in [
        ("/proc", "proc", &["nosuid", "nodev", "noexec"][..]),
        ("/proc/sys", "proc", &["ro"]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
        ("/dev", "tmpfs", &["nosuid"]),
        ("/dev/shm", "tmpfs", &["nosuid", "nodev"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/run", "tmpfs", &["nosuid", "nodev"]),
        ("/tmp", "tmpfs", &["nosuid", "nodev"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]),
    ] {
        assert_eq!(view.mount_type(target), kind, "type of {target}");
        for option in options {
            assert!(view.mount_has(target, option), "{target} is not {option}: {:?}", view.mount(target));
        }
    }
    assert!(view.mount("/").is_some_and(|m| m["shared"].is_string()), "the root is not shared: {:?}", view.mount("/"));
    for mount in view["mounts"].as_array().expect("mounts") {
        assert!(!mount["target"].as_str().unwrap_or("").contains("/var/tmp/hostel-tests"), "a host path is seen: {mount}");
    }
    assert_eq!(view["top"]["/tmp"]["mode"], "41777");
}

#[test]
fn an_own_network_gets_a_sysfs_of_its_own() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &["--private-network"]);
    assert_eq!(view.links(), ["lo"]);
    assert!(view["net"][0]["up"] == true && view["net"][0]["addresses"].to_string().contains("127.0.0.1/8"), "{}", view["net"]);
    assert_ne!(view["namespaces"]["net"], host_namespace("net"));
    assert_eq!(view.writing("/sys/class/net/lo/mtu"), "EROFS");
    // with a network of its own, its settings are its own
    assert_eq!(view.writing("/proc/sys/net/ipv4/ip_forward"), "ok");
    assert_eq!(seen(&bed, &[]).writing("/proc/sys/net/ipv4/ip_forward"), "EROFS");
}

#[test]
fn masks_and_read_only_paths() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &[]);
    for masked in ["/proc/kallsyms", "/proc/kcore", "/proc/keys", "/proc/timer_list"] {
        let reading = view.reading(masked);
        let seen = &view["readable"][masked];
        assert!(
            reading == "EACCES" || reading == "ENOENT" || reading == "ENXIO" || seen["empty"] == true || seen["type"] == "char",
            "{masked}: {reading} {seen}"
        );
    }
    assert_ne!(view.writing("/proc/sysrq-trigger"), "ok");
    for read_only in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/kernel/panic",
        "/proc/irq/default_smp_affinity",
        "/sys/power/state",
        "/sys/kernel/mm/ksm/run",
    ] {
        assert!(["EROFS", "EACCES", "ENOENT"].contains(&view.writing(read_only)), "{read_only}: {}", view.writing(read_only));
    }
    assert_eq!(view["readable"]["/proc/kmsg"]["type"], "fifo");
    // a boot id of its own, the same all the machine's life, not the host's
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("read");
    assert_ne!(view.text("/boot_id"), host.trim());
    assert_eq!(view.text("/boot_id").len(), 36);
}

#[test]
fn device_nodes() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &[]);
    for (node, device) in [("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")] {
        let path = format!("/dev/{node}");
        let entry = view.entry(&path).unwrap_or_else(|| panic!("no {path}"));
        assert_eq!((&entry["type"], &entry["device"], &entry["mode"]), (&"char".into(), &device.into(), &"666".into()), "{path}");
    }
    for (link, target) in
        [("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")]
    {
        assert_eq!(view.entry(&format!("/dev/{link}")).map(|e| &e["link"]), Some(&target.into()), "{link}");
    }
    assert_eq!(view["tty"]["console_is_char"], true, "{}", view["tty"]);
    let allowed = ["null", "zero", "full", "random", "urandom", "tty", "net/tun", "fuse", "console", "ptmx", "tty0"];
    for entry in view["dev"].as_array().expect("list") {
        let path = entry["path"].as_str().unwrap_or("").trim_start_matches("/dev/");
        if entry["type"] == "char" || entry["type"] == "block" {
            assert!(allowed.contains(&path) || path.starts_with("pts/"), "unexpected device {entry}");
        }
    }
}

#[test]
fn run_host() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &[]);
    let text = |path: &str| view.entry(path).and_then(|e| e["text"].as_str()).unwrap_or("").trim().to_string();
    assert_eq!(text("/run/host/container-manager"), "systemd-nspawn");
    assert_eq!(text("/run/host/container-uuid"), view.env("container_uuid").unwrap_or_default());
    let host = std::fs::read_to_string("/etc/os-release").expect("read");
    assert_eq!(text("/run/host/os-release"), host.trim());
    assert_eq!(view.entry("/run/host/notify").map(|e| &e["type"]), Some(&"socket".into()));
    for (name, kind) in [("reg", "file"), ("dir", "dir"), ("fifo", "fifo"), ("sock", "socket")] {
        let entry = view.entry(&format!("/run/host/inaccessible/{name}")).unwrap_or_else(|| panic!("no inaccessible/{name}"));
        assert_eq!((&entry["type"], &entry["mode"]), (&kind.into(), &"0".into()), "{name}");
    }
    for path in ["/run/host/os-release", "/run/host/container-manager"] {
        assert_eq!(view.writing(path), "EROFS", "{path}");
    }
}

#[test]
fn machine_id_is_passed_on_and_never_written() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let uuid_of = |args: &[&str]| bed.nspawn(&tree, args).args(["/probe", "json"]).run().exits(0).view().env("container_uuid").unwrap_or_default();
    let (first, second) = (uuid_of(&[]), uuid_of(&[]));
    assert_ne!(first, second, "random when the tree has none");
    let given = "5f5e6a3c-0d8e-4b0c-9d5c-3f1e2a7b8c9d";
    assert_eq!(uuid_of(&[&format!("--uuid={given}")]), given);
    assert!(!tree.at("/etc/machine-id").exists());
    tree.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    assert_eq!(uuid_of(&[]), "01234567-89ab-cdef-0123-456789abcdef");
    for odd in ["", "uninitialized\n"] {
        tree.write("/etc/machine-id", odd);
        assert_eq!(uuid_of(&[&format!("--uuid={given}")]), given, "machine-id {odd:?}");
    }
}

#[test]
fn user_directory_and_limits() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &["-u", "alice"]);
    assert_eq!((view.number("/uid/0"), view.number("/gid/0")), (1000, 1000));
    let groups: BTreeSet<i64> =
        view["groups"].as_array().expect("groups").iter().filter_map(hostel_tests::Value::as_i64).filter(|g| *g != 1000).collect();
    assert_eq!(groups, [29, 100].into());
    assert_eq!(
        (view.env("HOME").as_deref(), view.env("USER").as_deref(), view.env("LOGNAME").as_deref()),
        (Some("/home/alice"), Some("alice"), Some("alice"))
    );
    assert!(view.caps("eff").is_empty());
    let view = seen(&bed, &["--chdir=/home/alice"]);
    assert_eq!(view.text("/cwd"), "/home/alice");
    let view = seen(&bed, &["--rlimit=NOFILE=200:300", "--rlimit=CORE=0", "--rlimit=RLIMIT_NPROC=50", "--oom-score-adjust=500", "--cpu-affinity=0"]);
    assert_eq!(view["rlimits"]["nofile"], serde("[200,300]"));
    assert_eq!(view["rlimits"]["core"], serde("[0,0]"));
    assert_eq!(view["rlimits"]["nproc"], serde("[50,50]"));
    assert_eq!(view.text("/oom_score_adj"), "500");
    // Who is root of other users only may not write it of itself, as nobody may look into it.
    assert_eq!(seen(&bed, &["-U", "--oom-score-adjust=500"]).text("/oom_score_adj"), "500");
    assert_eq!(view["affinity"], serde("[0]"));
    let view = seen(&bed, &["--personality=x86"]);
    assert_eq!(view.number("/personality") & 0xff, 8);
    assert_eq!(seen(&bed, &["--personality=x86-64"]).number("/personality"), 0);
}

#[test]
fn a_user_by_number_and_one_that_is_not_there() {
    let Some(bed) = Bed::start() else { return };
    let view = seen(&bed, &["-u1000"]);
    assert_eq!((view.number("/uid/0"), view.number("/gid/0")), (1000, 1000));
    let tree = bed.busybox();
    bed.nspawn(&tree, ["-unosuchuser", "/probe", "json"]).run().exits(1).fails().says("nosuchuser");
}

#[test]
fn nothing_of_the_caller_leaks() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for mode in ["pipe", "read-only", "passive"] {
        let run = bed.nspawn(&tree, [&format!("--console={mode}"), "/probe", "json", "/seen.json"]);
        run.through_shell("umask 077; exec 7</etc 9</ 8</etc/shadow; trap '' USR1 PIPE; exec \"$@\"").run().exits(0);
        let text = std::fs::read_to_string(tree.at("/seen.json")).expect("the view");
        let view: hostel_tests::Value = text.parse().expect("JSON");
        let fds: Vec<i64> = view["fds"].as_array().expect("fds").iter().filter_map(|f| f["fd"].as_i64()).collect();
        assert_eq!(fds, [0, 1, 2], "--console={mode}: {}", view["fds"]);
        for fd in view["fds"].as_array().expect("fds") {
            assert_eq!(fd["directory"], false, "{fd}");
        }
        assert!(!text.contains("must not reach"), "--console={mode}: a secret of the environment is inside");
        assert_eq!(view["umask"], "022", "--console={mode}");
        assert_eq!(view["cwd"], "/");
        let ignored = u64::from_str_radix(view["signals"]["ignored"].as_str().expect("hex"), 16).expect("hex") & !(1 << 12 | 3 << 31); // the probe itself ignores SIGPIPE; 32 and 33 are the C library's
        let blocked = u64::from_str_radix(view["signals"]["blocked"].as_str().expect("hex"), 16).expect("hex");
        assert_eq!((ignored, blocked), (0, 0), "--console={mode}: signals ignored {ignored:x}, blocked {blocked:x}");
    }
}

#[test]
fn keyring_is_not_the_callers() {
    let Some(bed) = Bed::start() else { return };
    let host = hostel_tests::Invocation::new(hostel_tests::probe()).arg("json").run().exits(0).view();
    let inside = seen(&bed, &[]);
    assert_ne!(host["session_keyring"], inside["session_keyring"]);
}

#[test]
fn missing_directories_are_made() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.bare();
    let view = bed.nspawn(&tree, ["/probe", "json"]).run().exits(0).view();
    for dir in ["/proc", "/sys", "/dev", "/run", "/tmp", "/var", "/etc", "/root"] {
        assert!(view["top"][dir]["mode"].as_str().is_some_and(|m| m.starts_with('4')), "{dir}: {}", view["top"]);
    }
}
