//! Capabilities, system calls, limits.

use crate::scenario::{Look, Scenario};

pub(super) fn rows() -> Vec<Scenario> {
    let view = Scenario::view;
    let new = Scenario::new;
    let attempts = |name, options: &[&'static str]| {
        let mut scenario = Scenario::new(name, options);
        scenario.args.extend(["/probe", "attempts"]);
        scenario.look(Look::View)
    };
    vec![
        attempts("attempts", &[]),
        attempts("attempts-all-capabilities", &["--capability=all"]),
        attempts("attempts-private-network", &["--private-network"]),
        attempts("attempts-user", &["-u", "alice"]),
        attempts("attempts-no-mount", &["--system-call-filter=~@mount"]),
        attempts("attempts-deny-list", &["--system-call-filter=~unshare clone3 setns", "--system-call-filter=~ptrace"]),
        attempts("attempts-allow", &["--system-call-filter=bpf perf_event_open @keyring"]),
        attempts("attempts-deny-wins", &["--system-call-filter=mount", "--system-call-filter=~mount"]),
        new("filter-unknown-name", &["--system-call-filter=no_such_call", "/bin/true"]),
        new("filter-unknown-group", &["--system-call-filter=@no-such-group", "/bin/true"]),
        new("filter-chmod", &["--system-call-filter=~chmod fchmodat fchmod fchmodat2", "chmod", "700", "/etc/passwd"]),
        view("capability-add", &["--capability=CAP_NET_ADMIN"]),
        view("capability-add-list", &["--capability=cap_net_admin,CAP_SYSLOG", "--capability=CAP_IPC_LOCK"]),
        view("capability-all", &["--capability=all"]),
        view("capability-drop", &["--drop-capability=CAP_SYS_ADMIN,CAP_MKNOD"]),
        view("capability-drop-all", &["--drop-capability=all"]),
        view("capability-add-and-drop", &["--capability=CAP_NET_ADMIN", "--drop-capability=CAP_NET_ADMIN"]),
        view("capability-number", &["--capability=12"]),
        view("capability-user", &["--capability=CAP_NET_ADMIN", "-u", "alice"]),
        view("ambient", &["--ambient-capability=CAP_NET_RAW"]),
        view("ambient-user", &["--ambient-capability=CAP_NET_RAW,CAP_NET_BIND_SERVICE", "-u", "alice"]),
        view("ambient-as-pid2", &["-a", "--ambient-capability=CAP_NET_RAW", "-u", "alice"]),
        new("ambient-not-bounded", &["--ambient-capability=CAP_SYS_TIME", "/bin/true"]),
        new("ambient-boot", &["-b", "--ambient-capability=CAP_NET_RAW"]).before("cp $T/probe $T/usr/sbin/init; echo 'exit 3' >$T/etc/probe-init"),
        view("no-new-privileges", &["--no-new-privileges=yes"]),
        view("no-new-privileges-user", &["--no-new-privileges=1", "-u", "alice"]),
        view("no-new-privileges-no", &["--no-new-privileges=no"]),
        view("rlimit", &["--rlimit=RLIMIT_NOFILE=100"]),
        view("rlimit-pair", &["--rlimit=NOFILE=100:200", "--rlimit=CORE=infinity"]),
        view("rlimit-lower", &["--rlimit=nofile=100:200", "--rlimit=AS=4G:8G"]),
        view("rlimit-many", &["--rlimit=NPROC=500", "--rlimit=STACK=4M:8M", "--rlimit=NICE=+5", "--rlimit=RTPRIO=3", "--rlimit=CPU=1min"]),
        new("rlimit-unknown", &["--rlimit=NOTHING=1", "/bin/true"]),
        new("rlimit-backwards", &["--rlimit=NOFILE=200:100", "/bin/true"]),
        new("rlimit-no-value", &["--rlimit=NOFILE", "/bin/true"]),
        view("oom-score-adjust", &["--oom-score-adjust=321"]),
        view("oom-score-adjust-lower", &["--oom-score-adjust=-100"]),
        view("cpu-affinity", &["--cpu-affinity=0"]),
        view("cpu-affinity-list", &["--cpu-affinity=0,1"]),
        new("cpu-affinity-absent", &["--cpu-affinity=900", "/bin/true"]),
        view("personality-x86", &["--personality=x86"]),
        view("personality-x86-64", &["--personality=x86-64"]),
        view("share-ipc", &[]).env("SYSTEMD_NSPAWN_SHARE_NS_IPC", "1"),
        view("api-writable", &[]).env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1"),
        view("api-network-writable", &[]).env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network"),
        view("api-network-writable-own", &["--private-network"]).env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network"),
        view("tmp-of-tree", &[]).env("SYSTEMD_NSPAWN_TMPFS_TMP", "0"),
        view("container-service", &[]).env("SYSTEMD_NSPAWN_CONTAINER_SERVICE", "other-manager"),
        view("seccomp-off", &[]).env("SYSTEMD_SECCOMP", "0"),
        view("hybrid-host", &[]).env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "0"),
    ]
}
