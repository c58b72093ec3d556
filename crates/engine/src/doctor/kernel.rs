//! Kernel: version, namespaces, filters, cgroups.

use std::io;
use std::path::Path;

use hostel_sys::bpf;
use hostel_sys::clone::{NEWCGROUP, NEWIPC, NEWNET, NEWNS, NEWPID, NEWTIME, NEWUSER, NEWUTS};

use super::probe::in_child;
use super::{Finding, State};
use crate::cgroup::{Controller, Kind, Layout, V2};

/// Features by the version that brought them, and what goes without.
const FEATURES: [((u32, u32), &str); 8] = [
    ((5, 2), "detached mounts and the cgroup2 freezer"),
    ((5, 3), "clone3 and pidfds to wait for"),
    ((5, 6), "openat2"),
    ((5, 7), "clone into a cgroup"),
    ((5, 9), "close_range"),
    ((5, 12), "idmapped mounts"),
    ((5, 14), "cgroup.kill"),
    ((5, 19), "overlays over idmapped mounts"),
];
/// Older kernels have not what every start needs.
const OLDEST: (u32, u32) = (5, 12);

/// `6.1.0-13-amd64` as (6, 1).
pub(super) fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What a kernel of this version lacks.
pub(super) fn lacks(version: (u32, u32)) -> Vec<&'static str> {
    FEATURES.iter().filter(|(since, _)| version < *since).map(|(_, name)| *name).collect()
}

pub(super) fn version() -> Finding {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    kernel_finding(&release)
}

pub(super) fn kernel_finding(release: &str) -> Finding {
    let Some(version) = parse_release(release) else {
        return Finding::new("kernel", State::Limited, release, "its version is not understood; the other rows tell").needed();
    };
    let missing = lacks(version);
    let state = if missing.is_empty() {
        State::Ok
    } else if version < OLDEST {
        State::Missing
    } else {
        State::Limited
    };
    let means = if missing.is_empty() { "has everything hostel uses".into() } else { format!("too old for: {}", missing.join(", ")) };
    Finding::new("kernel", state, release, means).advise(format!("Linux {}.{} or newer runs machines, 5.19 everything", OLDEST.0, OLDEST.1)).needed()
}

pub(super) fn namespaces() -> Vec<Finding> {
    let kinds = [
        ("mnt", NEWNS, true, "a root file tree of its own"),
        ("pid", NEWPID, true, "a PID 1 of its own"),
        ("uts", NEWUTS, true, "a host name of its own"),
        ("ipc", NEWIPC, true, "its own System V and POSIX queues"),
        ("cgroup", NEWCGROUP, true, "sees only its own cgroups"),
        ("net", NEWNET, false, "--private-network, --network-veth, --net"),
        ("user", NEWUSER, false, "root inside is nobody outside: the default of `hostel run` and `hostel boot`"),
        ("time", NEWTIME, false, "clocks of its own; not used yet"),
    ];
    let probe = |(kind, flag, needed, means): (&str, u64, bool, &str)| {
        let name = format!("namespace {kind}");
        if !Path::new("/proc/self/ns").join(kind).exists() {
            let advice = format!("a kernel with CONFIG_{}_NS", if kind == "mnt" { "NAMESPACES".into() } else { kind.to_uppercase() });
            let finding = Finding::new(name, State::Missing, "not in this kernel", means).advise(advice);
            return if needed { finding.needed() } else { finding };
        }
        let finding = Finding::of(name, in_child(flag, || Ok(())), means);
        let finding = finding.advise("run hostel as root, outside of sandboxes that forbid it");
        if needed { finding.needed() } else { finding }
    };
    kinds.into_iter().map(probe).collect()
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

pub(super) fn user_namespace_limits() -> Vec<Finding> {
    let sysctls = Sysctls {
        most: number("/proc/sys/user/max_user_namespaces"),
        unprivileged: number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
    };
    vec![sysctls.finding()]
}

/// What limits user namespaces; `None`: this kernel has no such switch.
pub(super) struct Sysctls {
    pub(super) most: Option<u64>,
    pub(super) unprivileged: Option<u64>,
    pub(super) apparmor: Option<u64>,
}

impl Sysctls {
    pub(super) fn finding(&self) -> Finding {
        let name = "user namespaces allowed";
        let Some(most) = self.most else { return Finding::new(name, State::Missing, "no limit is known", "the kernel has none") };
        if most == 0 {
            return Finding::new(name, State::Missing, "0", "no user namespace can be made").advise("sysctl user.max_user_namespaces=15000");
        }
        let found = format!("{most}");
        if self.unprivileged == Some(0) {
            return Finding::new(name, State::Limited, format!("{found}, for root only"), "machines without root cannot be started")
                .advise("sysctl kernel.unprivileged_userns_clone=1");
        }
        if self.apparmor == Some(1) {
            return Finding::new(
                name,
                State::Limited,
                format!("{found}, AppArmor restricts unprivileged ones"),
                "machines without root cannot be started",
            )
            .advise("sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for hostel");
        }
        Finding::new(name, State::Ok, found, "how many there may be; each machine takes one, and those inside take of it too")
    }
}

pub(super) fn filters() -> Vec<Finding> {
    let seccomp = if hostel_sys::seccomp::available() { Ok(()) } else { Err(io::Error::other("not in this kernel")) };
    let allow_all = [bpf::Insn::set(bpf::Reg::R0, 1), bpf::Insn::exit()];
    let devices = bpf::load_program(bpf::Hook::Device, &allow_all, "hostel_doctor").map(drop);
    vec![
        Finding::of("seccomp", seccomp, "the system call filter every machine gets").advise("a kernel with CONFIG_SECCOMP_FILTER").needed(),
        Finding::of("device filter", devices, "which devices a machine may open (BPF on its cgroup)")
            .advise("a kernel with CONFIG_CGROUP_BPF, and CAP_BPF; a v1 devices controller does as well"),
    ]
}

pub(super) fn cgroups() -> Vec<Finding> {
    match Layout::detect() {
        Ok(layout) => {
            let offered = match &layout.v2 {
                V2::Mounted(base) => std::fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default(),
                V2::Private => String::new(),
            };
            vec![layout_finding(&layout), controllers_finding(&layout, &offered)]
        }
        Err(e) => vec![
            Finding::new("cgroups", State::Missing, e.to_string(), "every machine has one")
                .advise("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
                .needed(),
        ],
    }
}

pub(super) fn layout_finding(layout: &Layout) -> Finding {
    let at = match &layout.v2 {
        V2::Mounted(base) => format!("machines are below {}/hostel", base.display().to_string().trim_end_matches('/')),
        V2::Private => "cgroup2 is not mounted, hostel mounts it for itself".into(),
    };
    let advice = "boot with systemd.unified_cgroup_hierarchy=1 (the default since systemd 243), or mount cgroup2 alone";
    let (state, found) = match layout.kind() {
        Kind::V2 => (State::Ok, "v2"),
        Kind::Hybrid => (State::Limited, "hybrid: v1 controllers, cgroup2 beside them"),
        Kind::V1 => (State::Limited, "v1"),
    };
    let means = if state == State::Ok {
        at
    } else {
        format!("{at}; no MemoryHigh=, MemoryLow=, MemoryMin=; systemd 258 and newer inside get a pure v2 view")
    };
    Finding::new("cgroups", state, found, means).advise(advice).needed()
}

pub(super) fn controllers_finding(layout: &Layout, offered: &str) -> Finding {
    let wanted = [
        (Controller::Memory, "--memory"),
        (Controller::Pids, "--pids"),
        (Controller::Cpu, "--cpus"),
        (Controller::Cpuset, "AllowedCPUs="),
        (Controller::Io, "IOWeight="),
    ];
    let has = |c: Controller| layout.v1_of(c).is_some() || offered.split_ascii_whitespace().any(|w| w == c.v2_name());
    let (there, absent): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(c, _)| has(*c));
    let names = |list: &[(Controller, &str)]| list.iter().map(|(c, _)| c.v2_name()).collect::<Vec<_>>().join(" ");
    if absent.is_empty() {
        return Finding::new("cgroup controllers", State::Ok, names(&there), "limits for memory, tasks, CPU and I/O");
    }
    let state = if there.is_empty() { State::Missing } else { State::Limited };
    let found = if there.is_empty() { format!("none of {}", names(&absent)) } else { format!("{}; not {}", names(&there), names(&absent)) };
    let options: Vec<&str> = absent.iter().map(|(_, option)| *option).collect();
    Finding::new("cgroup controllers", state, found, format!("refused: {}", options.join(", "))).advise(
        "enable them in cgroup.subtree_control above hostel's base (systemd: Delegate=yes), or cgroup_enable=memory on the kernel command line",
    )
}
