//! Limits on the whole machine (its cgroup) and the devices it may use.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A limit: a number, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// No limit.
    Infinity,
    /// This many (bytes, tasks).
    Value(u64),
    /// A share of what the host has, in hundredths of a percent (10000 = all).
    Permyriad(u32),
}

/// CPU time per wall time, in microseconds of CPU per second (1_000_000 = one whole CPU).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuQuota(pub u64);

/// Access letters of a device rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceAccess {
    /// `r`
    pub read: bool,
    /// `w`
    pub write: bool,
    /// `m`
    pub mknod: bool,
}

/// Which devices a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceSelector {
    /// The device node at this host path.
    Path(PathBuf),
    /// All character devices of a driver named in /proc/devices, such as `char-pts`; `*` = all.
    CharGroup(String),
    /// The same for block devices.
    BlockGroup(String),
    /// Devices by number; `None` = every.
    Number {
        /// Block devices, else character devices.
        block: bool,
        /// Major number.
        major: Option<u32>,
        /// Minor number.
        minor: Option<u32>,
    },
}

/// One allowed device or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Which.
    pub devices: DeviceSelector,
    /// How.
    pub access: DeviceAccess,
}

impl DeviceRule {
    /// `/dev/fuse rw`, `char-pts`: a node or group, and `rwm` when no access is said; or what is wrong.
    pub fn parse(text: &str) -> Result<DeviceRule, &'static str> {
        let (what, letters) = text.trim().split_once([' ', '\t']).map_or((text.trim(), "rwm"), |(w, l)| (w, l.trim()));
        let group = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        let devices = if let Some(name) = what.strip_prefix("char-").filter(group) {
            DeviceSelector::CharGroup(name.to_owned())
        } else if let Some(name) = what.strip_prefix("block-").filter(group) {
            DeviceSelector::BlockGroup(name.to_owned())
        } else if what.starts_with("/dev/") && what.len() > 5 && !what.split('/').any(|part| part == "..") {
            DeviceSelector::Path(PathBuf::from(what))
        } else {
            return Err("it is neither a path below /dev, nor char-GROUP, nor block-GROUP");
        };
        let has = |letter| letters.contains(letter);
        if letters.is_empty() || !letters.bytes().all(|letter| b"rwm".contains(&letter)) {
            return Err("access is made of the letters r, w and m");
        }
        Ok(DeviceRule { devices, access: DeviceAccess { read: has('r'), write: has('w'), mknod: has('m') } })
    }
}

/// What devices may be used besides the rules (systemd's `DevicePolicy=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DevicePolicy {
    /// null zero full random urandom tty ptmx pts (and tun, fuse when present), and the rules. hostel's default.
    #[default]
    Closed,
    /// Only the rules.
    Strict,
    /// Everything when there is no rule, else as `closed`.
    Auto,
}

/// A limit as a file of the machine's group and what to write to it: of several the first that the kernel has. None: that version
/// of cgroups knows no such limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupFile {
    /// Who asks for it, for messages.
    pub key: &'static str,
    /// Its controller, as v2 calls it.
    pub controller: &'static str,
    /// On cgroup v1: files and texts.
    pub v1: Vec<(String, String)>,
    /// On cgroup v2.
    pub v2: Vec<(String, String)>,
}

impl DevicePolicy {
    /// `auto`, `closed` or `strict`.
    pub fn parse(text: &str) -> Option<DevicePolicy> {
        match text {
            "auto" => Some(DevicePolicy::Auto),
            "closed" => Some(DevicePolicy::Closed),
            "strict" => Some(DevicePolicy::Strict),
            _ => None,
        }
    }
}

/// Limits of a machine. `None` = not set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// `MemoryMax=`: bytes.
    pub memory_max: Option<Limit>,
    /// `MemoryHigh=`: bytes (v2 only).
    pub memory_high: Option<Limit>,
    /// `MemoryLow=`: bytes (v2 only).
    pub memory_low: Option<Limit>,
    /// `MemoryMin=`: bytes (v2 only).
    pub memory_min: Option<Limit>,
    /// `MemorySwapMax=`: bytes.
    pub memory_swap_max: Option<Limit>,
    /// `TasksMax=`: processes and threads.
    pub tasks_max: Option<Limit>,
    /// Nobody asked for this `tasks_max`: a host without a controller for it goes without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tasks_max_is_default: bool,
    /// `CPUQuota=`.
    pub cpu_quota: Option<CpuQuota>,
    /// `CPUQuotaPeriodSec=` in microseconds; default 100 ms.
    pub cpu_period_us: Option<u64>,
    /// `CPUWeight=`: 1…10000.
    pub cpu_weight: Option<u64>,
    /// `AllowedCPUs=`: CPU numbers.
    pub allowed_cpus: Option<Vec<u32>>,
    /// `IOWeight=`: 1…10000.
    pub io_weight: Option<u64>,
    /// The most per second of a device: `rbps`, `wbps` (bytes), `riops` or `wiops` (requests), and `MAJOR:MINOR NUMBER`, in order
    /// (`linux.resources.blockIO.throttle…Device` of OCI).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub io_max: Vec<(String, String)>,
    /// Files of the machine's v2 group and what to write to them, in order (`linux.resources.unified` of OCI).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unified: Vec<(String, String)>,
    /// Groups of every controller, limited or not: others look at them, and set their limits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_controllers: bool,
    /// What only an OCI bundle asks for, in order.
    #[serde(default, skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<GroupFile>,
    /// `DevicePolicy=`.
    pub device_policy: DevicePolicy,
    /// `DeviceAllow=` in order.
    pub devices: Vec<DeviceRule>,
}
