//! Limits of the machine's cgroup, and the devices it has and may use.

use hostel_spec::{CpuQuota, DeviceAccess, DeviceNode, DevicePolicy, DeviceRule, DeviceSelector, Limit, NodeKind, Resources};

use crate::config::{self, Linux, says};
use crate::error::{Error, Result, not_yet, value};
use crate::{inside, quoted, refuse};

/// Most device rules: each is a few instructions of a program the kernel has to take.
const RULES_MAX: usize = 512;

pub(crate) fn compile(linux: &Linux) -> Result<Resources> {
    let given = linux.resources.clone().unwrap_or_default();
    refuse("linux.resources.hugepageLimits", says(&given.hugepage_limits), "")?;
    refuse("linux.resources.network", says(&given.network), "")?;
    refuse("linux.resources.rdma", says(&given.rdma), "")?;
    let mut out = Resources { device_policy: DevicePolicy::Strict, devices: device_rules(given.devices.as_deref())?, ..Resources::default() };
    given.memory.as_ref().map_or(Ok(()), |m| memory(m, &mut out))?;
    given.cpu.as_ref().map_or(Ok(()), |c| cpu(c, &mut out))?;
    if let Some(limit) = given.pids.as_ref().and_then(|p| p.limit) {
        // 0 and below: without limit, as runc has it.
        out.tasks_max = Some(u64::try_from(limit).ok().filter(|l| *l > 0).map_or(Limit::Infinity, Limit::Value));
    }
    given.block_io.as_ref().map_or(Ok(()), |b| block_io(b, &mut out))?;
    out.unified = unified(given.unified.iter().flatten())?;
    Ok(out)
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
    refuse(format!("{KEY}.kernelTCP"), says(&m.kernel_tcp), "")?;
    refuse(format!("{KEY}.swappiness"), says(&m.swappiness), "")?;
    refuse(format!("{KEY}.disableOOMKiller"), m.disable_oom_killer.filter(|d| *d), "")?;
    if m.use_hierarchy == Some(false) {
        return Err(value(format!("{KEY}.useHierarchy"), "the kernel always accounts hierarchically"));
    }
    // Looks whether a running machine uses more than it is to have: a new one uses nothing.
    let _ = m.check_before_update;
    // 0 is "not set" for every runtime (Docker writes it).
    let limit = m.limit.filter(|l| *l != 0).map(|l| bytes(&format!("{KEY}.limit"), l)).transpose()?;
    out.memory_max = limit;
    out.memory_low = m.reservation.filter(|r| *r > 0).map(|r| bytes(&format!("{KEY}.reservation"), r)).transpose()?;
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
    refuse(format!("{KEY}.burst"), says(&c.burst), "")?;
    refuse(format!("{KEY}.realtimeRuntime"), says(&c.realtime_runtime), "")?;
    refuse(format!("{KEY}.realtimePeriod"), says(&c.realtime_period), "")?;
    refuse(format!("{KEY}.idle"), c.idle.filter(|i| *i != 0), "")?;
    refuse(format!("{KEY}.mems"), c.mems.as_deref().filter(|m| !m.is_empty()), "")?;
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
    for (name, given) in [("leafWeight", &b.leaf_weight), ("weightDevice", &b.weight_device)] {
        refuse(format!("{KEY}.{name}"), says(given).filter(|v| *v != &serde_json::json!(0)), "")?;
    }
    match b.weight {
        None | Some(0) => {}
        // blkio's default of 500 is the 100 of v2.
        Some(weight @ 10..=1000) => out.io_weight = Some(u64::from(weight).div_ceil(5)),
        Some(_) => return Err(value(format!("{KEY}.weight"), "it is none of 10 to 1000")),
    }
    Ok(())
}

fn unified<'a>(given: impl Iterator<Item = (&'a String, &'a String)>) -> Result<Vec<(String, String)>> {
    const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuset", "io"];
    given
        .map(|(file, text)| {
            let key = || format!("linux.resources.unified.{}", quoted(file));
            let plain = file.len() < 64 && file.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
            let (controller, name) = file.split_once('.').unwrap_or((file, ""));
            if !plain || name.is_empty() || name.contains("..") {
                return Err(value(key(), "it is no file of a cgroup"));
            }
            if !CONTROLLERS.contains(&controller) {
                return Err(not_yet(key(), "its controller is none of memory, pids, cpu, cpuset, io"));
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
