//! Limits of the machine's cgroup, and the devices it has and may use.

use std::collections::BTreeMap;

use hostel_spec::{CpuQuota, DeviceAccess, DeviceNode, DevicePolicy, DeviceRule, DeviceSelector, GroupFile, Limit, NodeKind, Resources};

use crate::config::{self, Linux, says};
use crate::error::{Error, Result, not_yet, value};
use crate::{inside, quoted, refuse};

/// Most device rules: each is a few instructions of a program the kernel has to take.
const RULES_MAX: usize = 512;

pub(crate) fn compile(linux: &Linux) -> Result<Resources> {
    let given = linux.resources.clone().unwrap_or_default();
    let mut out = Resources { device_policy: DevicePolicy::Strict, devices: device_rules(given.devices.as_deref())?, ..Resources::default() };
    given.memory.as_ref().map_or(Ok(()), |m| memory(m, &mut out))?;
    given.cpu.as_ref().map_or(Ok(()), |c| cpu(c, &mut out))?;
    if let Some(limit) = given.pids.as_ref().and_then(|p| p.limit) {
        // 0 and below: without limit, as runc has it.
        out.tasks_max = Some(u64::try_from(limit).ok().filter(|l| *l > 0).map_or(Limit::Infinity, Limit::Value));
    }
    given.block_io.as_ref().map_or(Ok(()), |b| block_io(b, &mut out))?;
    hugepages(given.hugepage_limits.as_deref().unwrap_or_default(), &mut out)?;
    given.network.as_ref().map_or(Ok(()), |n| network(n, &mut out))?;
    for (device, limits) in given.rdma.iter().flatten() {
        rdma(device, limits, &mut out)?;
    }
    out.unified = unified(given.unified.iter().flatten())?;
    Ok(out)
}

/// A limit that is a file, the same text for both versions of cgroups; an empty name: that version has none.
fn file(out: &mut Resources, key: &'static str, controller: &'static str, v1: &str, v2: &str, text: String) {
    let one = |name: &str| if name.is_empty() { Vec::new() } else { vec![(name.to_owned(), text.clone())] };
    out.more.push(GroupFile { key, controller, v1: one(v1), v2: one(v2) });
}

fn hugepages(given: &[config::HugepageLimit], out: &mut Resources) -> Result<()> {
    const KEY: &str = "linux.resources.hugepageLimits";
    for limit in given {
        let size = limit.page_size.as_str();
        let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
        if !number.is_some_and(|n| (1..=6).contains(&n.len()) && !n.starts_with('0') && n.bytes().all(|b| b.is_ascii_digit())) {
            return Err(value(format!("{KEY}.pageSize"), format!("{} is no size such as 2MB", quoted(size))));
        }
        let name = |what| format!("hugetlb.{size}.{what}");
        file(out, KEY, "hugetlb", &name("limit_in_bytes"), &name("max"), limit.limit.to_string());
    }
    Ok(())
}

/// Classes and priorities of packets: v2 has programs for that instead.
fn network(given: &config::NetworkLimits, out: &mut Resources) -> Result<()> {
    if let Some(id) = given.class_id {
        file(out, "linux.resources.network.classID", "net_cls", "net_cls.classid", "", id.to_string());
    }
    for priority in given.priorities.iter().flatten() {
        const KEY: &str = "linux.resources.network.priorities";
        if !hostel_spec::is_interface_name(&priority.name) {
            return Err(value(KEY, format!("{} is no interface name", quoted(&priority.name))));
        }
        file(out, KEY, "net_prio", "net_prio.ifpriomap", "", format!("{} {}", priority.name, priority.priority));
    }
    Ok(())
}

fn rdma(device: &str, limits: &BTreeMap<String, u32>, out: &mut Resources) -> Result<()> {
    const KEY: &str = "linux.resources.rdma";
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if device.is_empty() || device.len() > 63 || !device.chars().all(plain) {
        return Err(value(KEY, format!("{} is no device", quoted(device))));
    }
    let mut text = device.to_owned();
    for (key, name) in [("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")] {
        if let Some(number) = limits.get(key) {
            text.push_str(&format!(" {name}={number}"));
        }
    }
    if text.len() > device.len() {
        file(out, KEY, "rdma", "rdma.max", "rdma.max", text);
    }
    Ok(())
}

fn bytes(key: &str, number: i64) -> Result<Limit> {
    match number {
        -1 => Ok(Limit::Infinity),
        n => u64::try_from(n).map(Limit::Value).map_err(|_| value(key, format!("{n} is no number of bytes"))),
    }
}

fn memory(m: &config::Memory, out: &mut Resources) -> Result<()> {
    const KEY: &str = "linux.resources.memory";
    refuse(format!("{KEY}.kernel"), says(&m.kernel), "the kernel has no such limit any more")?;
    if let Some(limit) = m.kernel_tcp.filter(|l| *l > 0) {
        file(out, "linux.resources.memory.kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes", "", limit.to_string());
    }
    match m.swappiness {
        None => {}
        Some(number @ 0..=100) => file(out, "linux.resources.memory.swappiness", "memory", "memory.swappiness", "", number.to_string()),
        // "not set" as some write it.
        Some(u64::MAX) => {}
        Some(_) => return Err(value(format!("{KEY}.swappiness"), "it is none of 0 to 100")),
    }
    if m.disable_oom_killer == Some(true) {
        file(out, "linux.resources.memory.disableOOMKiller", "memory", "memory.oom_control", "", "1".to_owned());
    }
    if m.use_hierarchy == Some(false) {
        return Err(value(format!("{KEY}.useHierarchy"), "the kernel always accounts hierarchically"));
    }
    // Looks whether a running machine uses more than it is to have: a new one uses nothing.
    let _ = m.check_before_update;
    // 0 is "not set" for every runtime (Docker writes it).
    let limit = m.limit.filter(|l| *l != 0).map(|l| bytes(&format!("{KEY}.limit"), l)).transpose()?;
    out.memory_max = limit;
    if let Some(bytes) = m.reservation.filter(|r| *r > 0) {
        file(out, "linux.resources.memory.reservation", "memory", "memory.soft_limit_in_bytes", "memory.low", bytes.to_string());
    }
    // Memory and swap together; the kernel's v2 limit is of swap alone.
    out.memory_swap_max = match (m.swap.filter(|s| *s != 0).map(|s| bytes(&format!("{KEY}.swap"), s)).transpose()?, limit) {
        (None, _) => None,
        (Some(Limit::Infinity), _) => Some(Limit::Infinity),
        (Some(Limit::Value(both)), Some(Limit::Value(memory))) => match both.checked_sub(memory) {
            Some(swap) => Some(Limit::Value(swap)),
            None => return Err(value(format!("{KEY}.swap"), "it is memory and swap together, and less than limit")),
        },
        (Some(_), _) => return Err(value(format!("{KEY}.swap"), "it is memory and swap together: limit has to be given as well")),
    };
    Ok(())
}

fn cpu(c: &config::Cpu, out: &mut Resources) -> Result<()> {
    const KEY: &str = "linux.resources.cpu";
    // The period first: the time is a part of it.
    if let Some(period) = c.realtime_period.filter(|p| *p != 0) {
        file(out, "linux.resources.cpu.realtimePeriod", "cpu", "cpu.rt_period_us", "", period.to_string());
    }
    if let Some(runtime) = c.realtime_runtime.filter(|r| *r != 0) {
        file(out, "linux.resources.cpu.realtimeRuntime", "cpu", "cpu.rt_runtime_us", "", runtime.to_string());
    }
    if let Some(burst) = c.burst.filter(|b| *b != 0) {
        file(out, "linux.resources.cpu.burst", "cpu", "cpu.cfs_burst_us", "cpu.max.burst", burst.to_string());
    }
    match c.idle {
        None | Some(0) => {}
        Some(1) => file(out, "linux.resources.cpu.idle", "cpu", "cpu.idle", "cpu.idle", "1".to_owned()),
        Some(_) => return Err(value(format!("{KEY}.idle"), "it is none of 0, 1")),
    }
    if let Some(text) = c.mems.as_deref().filter(|m| !m.is_empty()) {
        hostel_unit::cpu_list(text).map_err(|e| value(format!("{KEY}.mems"), e.why))?;
        file(out, "linux.resources.cpu.mems", "cpuset", "cpuset.mems", "cpuset.mems", text.to_owned());
    }
    if let Some(shares) = c.shares.filter(|s| *s != 0) {
        // The defaults of both are set equal: 1024 shares = weight 100.
        out.cpu_weight = Some((shares.saturating_mul(100) / 1024).clamp(1, 10_000));
    }
    let period = c.period.filter(|p| *p != 0);
    if let Some(quota) = c.quota.and_then(|q| u64::try_from(q).ok()).filter(|q| *q != 0) {
        let period = period.unwrap_or(100_000);
        let per_second = u128::from(quota) * 1_000_000 / u128::from(period);
        out.cpu_quota = Some(CpuQuota(u64::try_from(per_second).map_err(|_| value(format!("{KEY}.quota"), "it is too large"))?));
    }
    out.cpu_period_us = period;
    if let Some(text) = c.cpus.as_deref().filter(|t| !t.is_empty()) {
        out.allowed_cpus = Some(hostel_unit::cpu_list(text).map_err(|e| value(format!("{KEY}.cpus"), e.why))?);
    }
    Ok(())
}

fn block_io(b: &config::BlockIo, out: &mut Resources) -> Result<()> {
    const KEY: &str = "linux.resources.blockIO";
    for (key, name, given) in [
        ("rbps", "throttleReadBpsDevice", &b.throttle_read_bps_device),
        ("wbps", "throttleWriteBpsDevice", &b.throttle_write_bps_device),
        ("riops", "throttleReadIOPSDevice", &b.throttle_read_iops_device),
        ("wiops", "throttleWriteIOPSDevice", &b.throttle_write_iops_device),
    ] {
        for (index, limit) in given.iter().flatten().enumerate() {
            let missing = |part: &str| value(format!("{KEY}.{name}[{index}].{part}"), "it is missing");
            let (major, minor) = (limit.major.ok_or_else(|| missing("major"))?, limit.minor.ok_or_else(|| missing("minor"))?);
            let rate = limit.rate.ok_or_else(|| missing("rate"))?;
            // 0: without limit, as runc has it.
            if rate > 0 {
                out.io_max.push((key.to_owned(), format!("{major}:{minor} {rate}")));
            }
        }
    }
    let leaf = |given: &config::Given| says(given).is_some_and(|v| v.as_u64() != Some(0));
    let devices = b.weight_device.as_deref().unwrap_or_default();
    if leaf(&b.leaf_weight) || devices.iter().any(|d| leaf(&d.leaf_weight)) {
        return Err(value(format!("{KEY}.leafWeight"), "the kernel has no such weight since 5.0"));
    }
    devices.iter().try_for_each(|device| weight_device(device, out))?;
    match b.weight {
        None | Some(0) => {}
        // blkio's default of 500 is the 100 of v2.
        Some(weight @ 10..=1000) => out.io_weight = Some(u64::from(weight).div_ceil(5)),
        Some(_) => return Err(value(format!("{KEY}.weight"), "it is none of 10 to 1000")),
    }
    Ok(())
}

/// The scheduler BFQ has files of its own, with weights from 1 to 1000.
fn weight_device(device: &config::Throttle, out: &mut Resources) -> Result<()> {
    const KEY: &str = "linux.resources.blockIO.weightDevice";
    let (Some(major), Some(minor)) = (device.major, device.minor) else { return Err(value(KEY, "major or minor is missing")) };
    match device.weight {
        None | Some(0) => {}
        Some(weight @ 10..=1000) => {
            let of = |weight: u64| format!("{major}:{minor} {weight}");
            let entry = |file: &str, weight| (file.to_owned(), of(weight));
            // As for the weight of all devices: the defaults set equal.
            let plain = weight.div_ceil(5);
            out.more.push(GroupFile {
                key: KEY,
                controller: "io",
                v1: vec![entry("blkio.weight_device", weight), entry("blkio.bfq.weight_device", plain)],
                v2: vec![entry("io.weight", plain), entry("io.bfq.weight", plain)],
            });
        }
        Some(_) => return Err(value(format!("{KEY}.weight"), "it is none of 10 to 1000")),
    }
    Ok(())
}

fn unified<'a>(given: impl Iterator<Item = (&'a String, &'a String)>) -> Result<Vec<(String, String)>> {
    const CONTROLLERS: [&str; 7] = ["memory", "pids", "cpu", "cpuset", "io", "hugetlb", "rdma"];
    given
        .map(|(file, text)| {
            let key = || format!("linux.resources.unified.{}", quoted(file));
            let plain = file.len() < 64 && file.bytes().all(|b| b.is_ascii_alphabetic() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
            let (controller, name) = file.split_once('.').unwrap_or((file, ""));
            if !plain || name.is_empty() || name.contains("..") {
                return Err(value(key(), "it is no file of a cgroup"));
            }
            if !CONTROLLERS.contains(&controller) {
                return Err(not_yet(key(), "its controller is none of memory, pids, cpu, cpuset, io, hugetlb, rdma"));
            }
            Ok((file.clone(), text.clone()))
        })
        .collect()
}

/// A device that some rule allowed: kind, numbers, how.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Allowed {
    block: bool,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

const READ: u8 = 1;
const WRITE: u8 = 2;
const MKNOD: u8 = 4;
const ALL: u8 = READ | WRITE | MKNOD;

/// What every container may use (the list of runc and crun), whatever the rules say: its own six, terminals, tun; and make any node.
const ALWAYS: [(u32, Option<u32>); 9] =
    [(1, Some(3)), (1, Some(5)), (1, Some(7)), (1, Some(8)), (1, Some(9)), (5, Some(0)), (5, Some(2)), (136, None), (10, Some(200))];

/// The rules, later ones winning, as what is allowed in the end. Without a rule nothing else is.
fn device_rules(given: Option<&[config::DeviceRule]>) -> Result<Vec<DeviceRule>> {
    let given = given.unwrap_or_default();
    if given.len() > RULES_MAX {
        return Err(value("linux.resources.devices", "there are more than 512"));
    }
    let mut list: Vec<Allowed> = Vec::new();
    for (at, rule) in given.iter().enumerate() {
        let key = format!("linux.resources.devices[{at}]");
        for one in selected(&key, rule)? {
            if rule.allow { allow(&mut list, one) } else { deny(&key, &mut list, one)? }
        }
    }
    for block in [false, true] {
        allow(&mut list, Allowed { block, major: None, minor: None, access: MKNOD });
    }
    for (major, minor) in ALWAYS {
        allow(&mut list, Allowed { block: false, major: Some(major), minor, access: ALL });
    }
    Ok(list.into_iter().map(Allowed::rule).collect())
}

impl Allowed {
    fn rule(self) -> DeviceRule {
        DeviceRule {
            devices: DeviceSelector::Number { block: self.block, major: self.major, minor: self.minor },
            access: DeviceAccess { read: self.access & READ != 0, write: self.access & WRITE != 0, mknod: self.access & MKNOD != 0 },
        }
    }
    fn same(&self, other: &Self) -> bool {
        (self.block, self.major, self.minor) == (other.block, other.major, other.minor)
    }
    /// Everything `other` is about is something this is about.
    fn covers(&self, other: &Self) -> bool {
        let part = |mine: Option<u32>, theirs: Option<u32>| mine.is_none() || mine == theirs;
        self.block == other.block && part(self.major, other.major) && part(self.minor, other.minor)
    }
}

fn allow(list: &mut Vec<Allowed>, one: Allowed) {
    match list.iter_mut().find(|a| a.same(&one)) {
        Some(old) => old.access |= one.access,
        None => list.push(one),
    }
}

fn deny(key: &str, list: &mut Vec<Allowed>, one: Allowed) -> Result<()> {
    for old in list.iter_mut().filter(|old| old.access & one.access != 0) {
        if one.covers(old) {
            old.access &= !one.access;
        } else if old.covers(&one) {
            return Err(not_yet(key, "it takes one device out of many that an earlier rule allows; name those that are to be allowed"));
        }
    }
    list.retain(|a| a.access != 0);
    Ok(())
}

fn selected(key: &str, rule: &config::DeviceRule) -> Result<Vec<Allowed>> {
    let number = |name: &str, given: Option<i64>| match given {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n).map(Some).map_err(|_| value(format!("{key}.{name}"), format!("{n} is no device number"))),
    };
    let (major, minor) = (number("major", rule.major)?, number("minor", rule.minor)?);
    let kinds: &[bool] = match rule.kind.as_deref().unwrap_or("a") {
        "a" | "" => &[false, true],
        "c" => &[false],
        "b" => &[true],
        other => return Err(value(format!("{key}.type"), format!("{} is none of a, b, c", quoted(other)))),
    };
    let access = match rule.access.as_deref() {
        // Nothing said: everything, which is how the rule that denies all is often written.
        None | Some("") => ALL,
        Some(text) => text.chars().try_fold(0, |bits, c| {
            let bit = match c {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return Err(value(format!("{key}.access"), format!("{} is none of r, w, m", quoted(text)))),
            };
            Ok::<u8, Error>(bits | bit)
        })?,
    };
    Ok(kinds.iter().map(|block| Allowed { block: *block, major, minor, access }).collect())
}

/// `linux.devices`
pub(crate) fn devices(linux: &Linux) -> Result<Vec<DeviceNode>> {
    let given = linux.devices.as_deref().unwrap_or_default();
    if given.len() > RULES_MAX {
        return Err(value("linux.devices", "there are more than 512"));
    }
    given.iter().enumerate().map(|(at, device)| node(&format!("linux.devices[{at}]"), device)).collect()
}

fn node(key: &str, device: &config::Device) -> Result<DeviceNode> {
    let kind = match device.kind.as_str() {
        "c" | "u" => NodeKind::Char,
        "b" => NodeKind::Block,
        "p" => NodeKind::Fifo,
        other => return Err(value(format!("{key}.type"), format!("{} is none of c, b, u, p", quoted(other)))),
    };
    let number = |name: &str, given: Option<i64>| match (given, kind) {
        (_, NodeKind::Fifo) => Ok(0),
        (Some(n), _) => u32::try_from(n).map_err(|_| value(format!("{key}.{name}"), format!("{n} is no device number"))),
        (None, _) => Err(value(format!("{key}.{name}"), "it is missing")),
    };
    let mode = device.file_mode.unwrap_or(0o666);
    if mode & !0o17_7777 != 0 {
        return Err(value(format!("{key}.fileMode"), "it is no file mode"));
    }
    let path = inside(&format!("{key}.path"), &device.path)?;
    if path.file_name().is_none() {
        return Err(value(format!("{key}.path"), "its last part is no name"));
    }
    Ok(DeviceNode {
        path,
        kind,
        major: number("major", device.major)?,
        minor: number("minor", device.minor)?,
        mode: mode & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}
