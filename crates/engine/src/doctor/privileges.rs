//! Privileges: root, capabilities, resource limits that cannot be raised, sysctls that run out.

use hostel_spec::CapName;
use hostel_sys::{caps, proc};

use super::{Finding, State};

pub(super) fn findings() -> Vec<Finding> {
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok().and_then(|t| t.trim().parse().ok()).unwrap_or(40);
    let effective = caps::get().map_or(0, |(_, effective, _)| effective);
    let mut out = vec![root(rustix::process::geteuid().is_root()), capabilities(caps::bounding() & effective, last)];
    out.push(limits(effective >> CapName::SYS_RESOURCE.0 & 1 == 1, |resource| proc::get_rlimit(0, resource).ok().and_then(|(_, hard)| hard)));
    let number = |path: &str| std::fs::read_to_string(path).ok().and_then(|t| t.trim().parse().ok());
    out.extend(SCARCE.iter().filter_map(|row| Some(row.finding(number(&format!("/proc/sys/{}", row.sysctl.replace('.', "/")))?))));
    out
}

fn root(yes: bool) -> Finding {
    let (state, found) = if yes { (State::Ok, "yes") } else { (State::Missing, "no") };
    Finding::new("root", state, found, "machines are started by root").advise("sudo hostel …; machines without root come later").needed()
}

/// What the lack of a capability means, for those where that is not plain.
const CONSEQUENCES: [(CapName, &str); 6] = [
    (CapName::SYS_ADMIN, "no machine can be started"),
    (CapName::SYS_RESOURCE, "hard limits cannot be raised: what machines want more is cut down, with a warning"),
    (CapName::NET_ADMIN, "no cables, no private networks"),
    (CapName::MKNOD, "no device nodes"),
    (CapName::BPF, "no device filter on cgroup2"),
    (CapName::SYS_MODULE, "kernel modules have to be loaded by somebody else"),
];

/// `have`: capabilities we have and can pass on; `last`: number of the kernel's last one.
pub(super) fn capabilities(have: u64, last: u8) -> Finding {
    let missing: Vec<CapName> = (0..=last.min(62)).map(CapName).filter(|cap| have >> cap.0 & 1 == 0).collect();
    if missing.is_empty() {
        return Finding::new("capabilities", State::Ok, "all", "machines can be given any").needed();
    }
    let state = if missing.contains(&CapName::SYS_ADMIN) { State::Missing } else { State::Limited };
    let names: Vec<String> = missing.iter().map(|cap| cap.name()).collect();
    let found = if names.len() > 20 { format!("{} are missing", names.len()) } else { format!("all but {}", names.join(" ")) };
    let mut means: Vec<&str> = CONSEQUENCES.iter().filter(|(cap, _)| missing.contains(cap)).map(|(_, text)| *text).collect();
    if means.is_empty() {
        means.push("machines do not get them either");
    }
    Finding::new("capabilities", state, found, means.join("; "))
        .advise("start hostel where they have not been dropped (container, service, sandbox)")
        .needed()
}

/// Resource (kernel's number), its name, and how much guests commonly ask for.
const LIMITS: [(u32, &str, u64); 4] = [(7, "nofile", 1 << 19), (6, "nproc", 1 << 16), (8, "memlock", 8 << 20), (11, "sigpending", 1 << 14)];

/// `hard`: our own hard limit, `None` for infinity.
pub(super) fn limits(may_raise: bool, hard: impl Fn(u32) -> Option<u64>) -> Finding {
    let name = "resource limits";
    if may_raise {
        return Finding::new(name, State::Ok, "can be raised", "--rlimit takes any value");
    }
    let show = |(resource, name, _): &(u32, &str, u64)| format!("{name} {}", hard(*resource).map_or("infinity".into(), |n| n.to_string()));
    let found = format!("at most {}", LIMITS.iter().map(show).collect::<Vec<_>>().join(", "));
    let low: Vec<&str> = LIMITS.iter().filter(|(resource, _, usual)| hard(*resource).is_some_and(|n| n < *usual)).map(|(_, name, _)| *name).collect();
    let means = if low.is_empty() {
        "they cannot be raised above this (no CAP_SYS_RESOURCE), which is enough for most".into()
    } else {
        format!("they cannot be raised above this (no CAP_SYS_RESOURCE); less than guests usually ask for: {}", low.join(", "))
    };
    Finding::new(name, State::Limited, found, means).advise("raise them where hostel is started from (ulimit -H, LimitNOFILE=, docker --ulimit)")
}

/// A number that many machines together use up.
pub(super) struct Scarce {
    pub(super) sysctl: &'static str,
    /// Below this some dozen machines are too many.
    enough: u64,
    means: &'static str,
}

pub(super) const SCARCE: [Scarce; 3] = [
    Scarce {
        sysctl: "fs.inotify.max_user_instances",
        enough: 512,
        means: "each booted systemd takes some ten, counted together for machines without a user namespace",
    },
    Scarce { sysctl: "kernel.keys.maxkeys", enough: 1000, means: "session keyrings of root, counted together for machines without a user namespace" },
    Scarce { sysctl: "kernel.pid_max", enough: 65_536, means: "processes of the host and all machines together" },
];

impl Scarce {
    pub(super) fn finding(&self, value: u64) -> Finding {
        let state = if value < self.enough { State::Limited } else { State::Ok };
        let advice = format!("for more than a dozen machines: sysctl {}={}", self.sysctl, self.enough.max(1024));
        Finding::new(self.sysctl, state, value.to_string(), self.means).advise(advice)
    }
}
