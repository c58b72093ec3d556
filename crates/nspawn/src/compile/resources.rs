//! `--property=`, `--memory=`, `--cpus=`, `--pids=`: limits of the machine's cgroup (systemd.resource-control(5)).

use hostel_spec::{Arrange as _, CpuQuota, DevicePolicy, DeviceRule, Limit};
use hostel_unit::{Span, TimeUnit, boolean, cpu_list, percent_unbounded, permyriad, size, time_span, unsigned};

use super::Draft;
use crate::error::UsageError;
use crate::options::{OptionId, OptionRow};

/// Properties `--property=` takes, for the hint that follows an unknown one.
pub(crate) const KNOWN_PROPERTIES: [&str; 13] = [
    "MemoryMax",
    "MemoryHigh",
    "MemoryLow",
    "MemoryMin",
    "MemorySwapMax",
    "TasksMax",
    "CPUQuota",
    "CPUQuotaPeriodSec",
    "CPUWeight",
    "AllowedCPUs",
    "IOWeight",
    "DeviceAllow",
    "DevicePolicy",
];

/// The period's bounds in the kernel: 1 ms to 1 s.
const PERIOD_US: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;

/// What a limit of zero means: systemd takes it for the protections and for swap, not where it would kill the machine.
#[derive(Clone, Copy, PartialEq)]
enum Zero {
    Allowed,
    Refused,
}

impl Draft<'_> {
    pub(super) fn property(&mut self, row: &OptionRow, assignment: &str) -> Result<(), UsageError> {
        let refuse = |why: &str| UsageError::value(row, assignment, why);
        let Some((name, value)) = assignment.split_once('=') else { return Err(refuse("it has no '=' between name and value")) };
        self.assign(name, value).map_err(|trouble| match trouble {
            Trouble::Value(why) => refuse(why),
            Trouble::Unknown(why) => UsageError::Property { name: format!("{name}="), why },
        })
    }

    fn assign(&mut self, name: &str, value: &str) -> Result<(), Trouble> {
        let r = &mut self.spec.resources;
        match name {
            "MemoryMax" => r.memory_max = memory(value, Zero::Refused)?,
            "MemoryHigh" => r.memory_high = memory(value, Zero::Refused)?,
            "MemoryLow" => r.memory_low = memory(value, Zero::Allowed)?,
            "MemoryMin" => r.memory_min = memory(value, Zero::Allowed)?,
            "MemorySwapMax" => r.memory_swap_max = memory(value, Zero::Allowed)?,
            "MemoryLimit" => {
                r.memory_max = memory(value, Zero::Refused)?;
                self.notice("--property=MemoryLimit= is the old name of MemoryMax=".to_owned());
            }
            "TasksMax" => r.tasks_max = Some(tasks(value)?),
            "CPUQuota" => r.cpu_quota = quota(value)?,
            "CPUQuotaPeriodSec" => r.cpu_period_us = period(value)?,
            "CPUWeight" => r.cpu_weight = weight(value)?,
            "CPUShares" => {
                r.cpu_weight = shares(value)?;
                self.notice("--property=CPUShares= is the old name of CPUWeight=, a hundredth of it per 1024".to_owned());
            }
            "AllowedCPUs" => r.allowed_cpus = allowed(r.allowed_cpus.take(), value)?,
            "IOWeight" => r.io_weight = weight(value)?,
            "DevicePolicy" => r.device_policy = DevicePolicy::parse(value).ok_or(Trouble::Value("it is none of auto, closed, strict"))?,
            "DeviceAllow" if value.is_empty() => r.devices.clear(),
            "DeviceAllow" => r.devices.push(DeviceRule::parse(value).map_err(Trouble::Value)?),
            // a cgroup accounts for what its controllers see: asking for that is asking for what is so
            "CPUAccounting" | "MemoryAccounting" | "TasksAccounting" | "IOAccounting" | "BlockIOAccounting" => {
                boolean(value).map_err(|e| Trouble::Value(e.why))?;
            }
            "Description" => self.notice("--property=Description= has no effect: there is no unit to describe".to_owned()),
            "" => return Err(Trouble::Value("the name is empty")),
            _ => return Err(Trouble::Unknown("there is no such limit in hostel")),
        }
        Ok(())
    }

    pub(super) fn limit(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let refuse = |trouble| match trouble {
            Trouble::Value(why) | Trouble::Unknown(why) => UsageError::value(row, value, why),
        };
        let r = &mut self.spec.resources;
        match row.id {
            OptionId::Memory => r.memory_max = memory(value, Zero::Refused).map_err(refuse)?,
            OptionId::Cpus => r.cpu_quota = cpus(value).map_err(refuse)?,
            _ => r.tasks_max = Some(tasks(value).map_err(refuse)?),
        }
        Ok(())
    }
}

enum Trouble {
    Value(&'static str),
    Unknown(&'static str),
}

impl From<hostel_unit::SyntaxError> for Trouble {
    fn from(e: hostel_unit::SyntaxError) -> Self {
        Trouble::Value(e.why)
    }
}

/// Bytes, a share of the host's memory, or none (empty or `infinity`).
fn memory(text: &str, zero: Zero) -> Result<Option<Limit>, Trouble> {
    let limit = match text {
        "" | "infinity" => Limit::Infinity,
        _ if text.ends_with(['%', '‰', '‱']) => Limit::Permyriad(permyriad(text)?),
        _ => Limit::Value(size(text)?),
    };
    if zero == Zero::Refused && matches!(limit, Limit::Value(0) | Limit::Permyriad(0)) {
        return Err(Trouble::Value("nothing runs without memory"));
    }
    Ok(Some(limit))
}

fn tasks(text: &str) -> Result<Limit, Trouble> {
    let limit = match text {
        "" | "infinity" => Limit::Infinity,
        _ if text.ends_with(['%', '‰', '‱']) => Limit::Permyriad(permyriad(text)?),
        _ => Limit::Value(unsigned(text)?),
    };
    match limit {
        Limit::Value(0) | Limit::Permyriad(0) => Err(Trouble::Value("nothing runs without a process")),
        _ => Ok(limit),
    }
}

/// `150%` of one CPU; empty takes an earlier one back.
fn quota(text: &str) -> Result<Option<CpuQuota>, Trouble> {
    if text.is_empty() || text == "infinity" {
        return Ok(None);
    }
    match percent_unbounded(text)? {
        0 => Err(Trouble::Value("nothing runs without CPU time")),
        permyriad => Ok(Some(CpuQuota(u64::from(permyriad) * 100))),
    }
}

/// `1.5` CPUs.
fn cpus(text: &str) -> Result<Option<CpuQuota>, Trouble> {
    const BAD: Trouble = Trouble::Value("it is no number of CPUs such as 2 or 1.5");
    if text == "infinity" {
        return Ok(None);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return Err(BAD);
    }
    // at most six digits each side of a microsecond
    let micros = format!("{fraction:0<6}").parse::<u64>().map_err(|_| BAD)?;
    let total = whole.parse::<u64>().ok().filter(|n| *n <= 8192).ok_or(BAD)? * 1_000_000 + micros;
    if total < 1_000 {
        return Err(Trouble::Value("it is less than a thousandth of a CPU"));
    }
    Ok(Some(CpuQuota(total)))
}

fn period(text: &str) -> Result<Option<u64>, Trouble> {
    if text.is_empty() {
        return Ok(None);
    }
    match time_span(text, TimeUnit::Seconds)? {
        Span::Micros(us) if PERIOD_US.contains(&us) => Ok(Some(us)),
        _ => Err(Trouble::Value("it is not between 1ms and 1s")),
    }
}

fn weight(text: &str) -> Result<Option<u64>, Trouble> {
    if text.is_empty() {
        return Ok(None);
    }
    if text == "idle" {
        return Err(Trouble::Value("idle is not implemented yet"));
    }
    match unsigned(text)? {
        n @ 1..=10_000 => Ok(Some(n)),
        _ => Err(Trouble::Value("it is not between 1 and 10000")),
    }
}

/// cgroup v1 shares, 1024 of which are a weight of 100.
fn shares(text: &str) -> Result<Option<u64>, Trouble> {
    if text.is_empty() {
        return Ok(None);
    }
    match unsigned(text)? {
        n @ 2..=262_144 => Ok(Some((n * 100 / 1024).clamp(1, 10_000))),
        _ => Err(Trouble::Value("it is not between 2 and 262144")),
    }
}

/// Several assignments add up; an empty one starts over.
fn allowed(before: Option<Vec<u32>>, text: &str) -> Result<Option<Vec<u32>>, Trouble> {
    let mut cpus = cpu_list(text)?;
    if cpus.is_empty() {
        return Ok(None);
    }
    cpus.extend(before.unwrap_or_default());
    cpus.arrange();
    cpus.dedup();
    Ok(Some(cpus))
}

/// A slice's name, with its suffix.
pub(super) fn slice(row: &OptionRow, value: &str) -> Result<String, UsageError> {
    let name = value.strip_suffix(".slice").unwrap_or(value);
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    if name.is_empty() || value.len() > 249 || !name.bytes().all(good) {
        return Err(UsageError::value(row, value, "it is no name of a slice"));
    }
    Ok(format!("{name}.slice"))
}
