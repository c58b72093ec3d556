//! Limits as the kernel wants them: which file of which controller gets which text, in which order (pure).
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,cpusets,blkio-controller,pids}.rst. The ratios
//! between v2 weights and v1 shares are the kernel's defaults set equal: weight 100 = 1024 shares = blkio weight 500.

use hostel_spec::Arrange as _;
use hostel_spec::{CpuQuota, GroupFile, Limit, Resources};

use super::error::CgroupError;
use super::layout::Controller;

/// One file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) option: &'static str,
    pub(crate) controller: Controller,
    pub(crate) file: &'static str,
    pub(crate) value: String,
    /// The file and text to use where `file` does not exist.
    pub(crate) instead: Option<(&'static str, String)>,
}

/// What the host has, for limits given as shares of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amounts {
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Bytes of swap.
    pub(crate) swap: u64,
    /// Process ids.
    pub(crate) tasks: u64,
}

impl Amounts {
    /// Asks the kernel (sysinfo(2), /proc/sys/kernel/pid_max).
    pub(crate) fn of_host() -> Amounts {
        let info = rustix::system::sysinfo();
        let unit = u64::from(info.mem_unit);
        let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse().ok());
        #[allow(clippy::unnecessary_cast)] // c_ulong
        Amounts { memory: info.totalram as u64 * unit, swap: info.totalswap as u64 * unit, tasks: pid_max.unwrap_or(32768) }
    }
}

/// Is there anything to be limited? `Infinity` is what a fresh cgroup has.
fn finite(limit: Option<Limit>) -> Option<Limit> {
    limit.filter(|limit| *limit != Limit::Infinity)
}

/// Whether a file of this controller is to be written on v2.
pub(crate) fn unified(resources: &Resources, controller: Controller) -> bool {
    resources.unified.iter().any(|(file, _)| file.split('.').next() == Some(controller.v2_name()))
}

/// The controllers these limits need.
pub(crate) fn controllers(resources: &Resources) -> Vec<Controller> {
    let r = resources;
    // A protection is 0 in a fresh cgroup, so its infinity has to be written.
    let memory = finite(r.memory_max).or(finite(r.memory_high)).or(finite(r.memory_swap_max)).or(r.memory_low).or(r.memory_min);
    let wanted = |controller: &Controller| match controller {
        Controller::Memory => memory.is_some(),
        Controller::Pids => finite(r.tasks_max).is_some(),
        Controller::Cpu => r.cpu_quota.is_some() || r.cpu_weight.is_some(),
        Controller::Cpuset => r.allowed_cpus.is_some(),
        Controller::Io => r.io_weight.is_some() || !r.io_max.is_empty(),
        _ => false,
    };
    Controller::all().filter(|c| wanted(c) || unified(r, *c) || more(r, *c).is_some()).collect()
}

/// The first limit of a bundle that needs `controller`.
fn more(resources: &Resources, controller: Controller) -> Option<&GroupFile> {
    resources.more.iter().find(|file| file.controller == controller.v2_name())
}

/// The option of the first limit that needs `controller`, for messages.
pub(crate) fn option_of(resources: &Resources, controller: Controller) -> &'static str {
    let r = resources;
    match controller {
        controller if unified(r, controller) => "unified",
        controller if more(r, controller).is_some() => more(r, controller).map_or("", |file| file.key),
        Controller::Memory if finite(r.memory_max).is_some() => "MemoryMax=",
        Controller::Memory if finite(r.memory_high).is_some() => "MemoryHigh=",
        Controller::Memory if finite(r.memory_swap_max).is_some() => "MemorySwapMax=",
        Controller::Memory if r.memory_low.is_some() => "MemoryLow=",
        Controller::Memory => "MemoryMin=",
        Controller::Pids => "TasksMax=",
        Controller::Cpu if r.cpu_quota.is_some() => "CPUQuota=",
        Controller::Cpu => "CPUWeight=",
        Controller::Cpuset => "AllowedCPUs=",
        Controller::Io if r.io_weight.is_none() => io_max_option(r.io_max.first().map_or("", |(key, _)| key)).0,
        Controller::Io => "IOWeight=",
        _ => "DevicePolicy=",
    }
}

/// Do any of these limits depend on what the host has?
pub(crate) fn relative(resources: &Resources) -> bool {
    let r = resources;
    let all = [r.memory_max, r.memory_high, r.memory_low, r.memory_min, r.memory_swap_max, r.tasks_max];
    all.iter().any(|limit| matches!(limit, Some(Limit::Permyriad(_))))
}

/// The files to write, in order. `on_v1` tells where a controller lives.
pub(crate) fn writes(r: &Resources, has: Amounts, on_v1: impl Fn(Controller) -> bool) -> Result<Vec<Write>, CgroupError> {
    let mut out = Writes(Vec::new());
    if on_v1(Controller::Memory) {
        memory_v1(r, has, &mut out)?;
    } else {
        memory_v2(r, has, &mut out)?;
    }
    if let Some(limit) = finite(r.tasks_max) {
        let tasks = amount("TasksMax=", limit, has.tasks)?.unwrap_or(u64::MAX);
        if tasks == 0 {
            return Err(invalid("TasksMax=", "a machine needs at least 1 task"));
        }
        out.push("TasksMax=", Controller::Pids, "pids.max", tasks.to_string());
    }
    cpu(r, on_v1(Controller::Cpu), &mut out)?;
    if let Some(cpus) = &r.allowed_cpus {
        if cpus.is_empty() {
            return Err(invalid("AllowedCPUs=", "no CPU is named"));
        }
        out.push("AllowedCPUs=", Controller::Cpuset, "cpuset.cpus", cpu_list(cpus));
    }
    if let Some(weight) = checked_weight("IOWeight=", r.io_weight)? {
        io(weight, on_v1(Controller::Io), &mut out);
    }
    for (key, text) in &r.io_max {
        let (option, v1) = io_max_option(key);
        match text.split_once(' ') {
            _ if on_v1(Controller::Io) => out.push(option, Controller::Io, v1, text.clone()),
            Some((device, number)) => out.push(option, Controller::Io, "io.max", format!("{device} {key}={number}")),
            None => return Err(invalid(option, "it names no device")),
        }
    }
    Ok(out.0)
}

struct Writes(Vec<Write>);

impl Writes {
    fn push(&mut self, option: &'static str, controller: Controller, file: &'static str, value: String) {
        self.0.push(Write { option, controller, file, value, instead: None });
    }
}

fn memory_v2(r: &Resources, has: Amounts, out: &mut Writes) -> Result<(), CgroupError> {
    let rows = [
        ("MemoryMin=", "memory.min", r.memory_min, has.memory),
        ("MemoryLow=", "memory.low", r.memory_low, has.memory),
        ("MemoryHigh=", "memory.high", finite(r.memory_high), has.memory),
        ("MemoryMax=", "memory.max", finite(r.memory_max), has.memory),
        ("MemorySwapMax=", "memory.swap.max", finite(r.memory_swap_max), has.swap),
    ];
    for (option, file, limit, whole) in rows {
        if let Some(limit) = limit {
            let text = amount(option, limit, whole)?.map_or("max".into(), |bytes| bytes.to_string());
            out.push(option, Controller::Memory, file, text);
        }
    }
    Ok(())
}

fn memory_v1(r: &Resources, has: Amounts, out: &mut Writes) -> Result<(), CgroupError> {
    let v2_only = [("MemoryHigh=", finite(r.memory_high)), ("MemoryLow=", r.memory_low), ("MemoryMin=", r.memory_min)];
    if let Some((option, _)) = v2_only.into_iter().find(|(_, limit)| limit.is_some()) {
        return Err(CgroupError::Unsupported {
            option,
            why: "this host has the memory controller on cgroup v1, which knows only MemoryMax= and MemorySwapMax=".into(),
        });
    }
    let memory = finite(r.memory_max).map(|limit| amount("MemoryMax=", limit, has.memory)).transpose()?.flatten();
    if let Some(bytes) = memory {
        out.push("MemoryMax=", Controller::Memory, "memory.limit_in_bytes", bytes.to_string());
    }
    let Some(swap) = finite(r.memory_swap_max) else { return Ok(()) };
    let (Some(memory), Some(swap)) = (memory, amount("MemorySwapMax=", swap, has.swap)?) else {
        return Err(CgroupError::Unsupported {
            option: "MemorySwapMax=",
            why: "cgroup v1 limits swap only together with memory: give MemoryMax= as well".into(),
        });
    };
    // The sum may never be less than its part: memory has to be written first.
    out.push("MemorySwapMax=", Controller::Memory, "memory.memsw.limit_in_bytes", memory.saturating_add(swap).to_string());
    Ok(())
}

fn cpu(r: &Resources, v1: bool, out: &mut Writes) -> Result<(), CgroupError> {
    if let Some(CpuQuota(quota)) = r.cpu_quota {
        let (quota, period) = quota_and_period(quota, r.cpu_period_us.unwrap_or(100_000))?;
        if v1 {
            out.push("CPUQuota=", Controller::Cpu, "cpu.cfs_period_us", period.to_string());
            out.push("CPUQuota=", Controller::Cpu, "cpu.cfs_quota_us", quota.to_string());
        } else {
            out.push("CPUQuota=", Controller::Cpu, "cpu.max", format!("{quota} {period}"));
        }
    }
    if let Some(weight) = checked_weight("CPUWeight=", r.cpu_weight)? {
        if v1 {
            let shares = (weight * 1024 / 100).clamp(2, 262_144);
            out.push("CPUWeight=", Controller::Cpu, "cpu.shares", shares.to_string());
        } else {
            out.push("CPUWeight=", Controller::Cpu, "cpu.weight", weight.to_string());
        }
    }
    Ok(())
}

/// The kernel takes periods of 1 ms to 1 s and quotas from 1 ms up: a small quota needs a longer period.
fn quota_and_period(per_second: u64, period: u64) -> Result<(u64, u64), CgroupError> {
    if per_second == 0 {
        return Err(invalid("CPUQuota=", "it must be more than 0"));
    }
    if !(1_000..=1_000_000).contains(&period) {
        return Err(invalid("CPUQuotaPeriodSec=", "it must be from 1 ms to 1 s"));
    }
    let scale = |period: u64| u128::from(per_second) * u128::from(period) / 1_000_000;
    let period = if scale(period) < 1_000 { 1_000_000_000u64.div_ceil(per_second).min(1_000_000) } else { period };
    Ok((u64::try_from(scale(period)).unwrap_or(u64::MAX).max(1_000), period))
}

fn io(weight: u64, v1: bool, out: &mut Writes) {
    // BFQ takes 1 to 1000 with the same default, 100: stretch what is above it.
    let bfq = if weight <= 100 { weight } else { 100 + (weight - 100) * 900 / 9_900 };
    let (file, value, instead) = if v1 {
        ("blkio.weight", (weight * 5).clamp(10, 1_000).to_string(), ("blkio.bfq.weight", bfq.to_string()))
    } else {
        ("io.weight", format!("default {weight}"), ("io.bfq.weight", bfq.to_string()))
    };
    out.0.push(Write { option: "IOWeight=", controller: Controller::Io, file, value, instead: Some(instead) });
}

/// systemd's name for a key of `io.max`, and the file of v1 that means the same.
fn io_max_option(key: &str) -> (&'static str, &'static str) {
    match key {
        "rbps" => ("IOReadBandwidthMax=", "blkio.throttle.read_bps_device"),
        "wbps" => ("IOWriteBandwidthMax=", "blkio.throttle.write_bps_device"),
        "riops" => ("IOReadIOPSMax=", "blkio.throttle.read_iops_device"),
        _ => ("IOWriteIOPSMax=", "blkio.throttle.write_iops_device"),
    }
}

/// In units of what is limited; `None`: without limit.
fn amount(option: &'static str, limit: Limit, whole: u64) -> Result<Option<u64>, CgroupError> {
    match limit {
        Limit::Infinity => Ok(None),
        Limit::Value(value) => Ok(Some(value)),
        Limit::Permyriad(share) if share <= 10_000 => Ok(Some(u64::try_from(u128::from(whole) * u128::from(share) / 10_000).unwrap_or(u64::MAX))),
        Limit::Permyriad(_) => Err(invalid(option, "it is more than 100 %")),
    }
}

fn checked_weight(option: &'static str, weight: Option<u64>) -> Result<Option<u64>, CgroupError> {
    match weight {
        Some(w) if !(1..=10_000).contains(&w) => Err(invalid(option, "it must be from 1 to 10000")),
        weight => Ok(weight),
    }
}

fn invalid(option: &'static str, why: &str) -> CgroupError {
    CgroupError::Invalid { option, why: why.into() }
}

/// `[3, 0, 1, 2, 7]` as `0-3,7`.
fn cpu_list(cpus: &[u32]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.arrange();
    sorted.dedup();
    let ranges = sorted.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let texts = ranges.map(|range| match range {
        [first, .., last] => format!("{first}-{last}"),
        one => one.iter().map(u32::to_string).collect(),
    });
    texts.collect::<Vec<_>>().join(",")
}
