//! Limits and shares of a unit's group (systemd.resource-control(5)), as files of cgroup2.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_unit::{Span, cpu_list, percent_unbounded, permyriad, show_cpus, unsigned};
use rustix::fs::{Mode, OFlags};

use crate::load::{Setting, Unit};
use crate::value::{Memory, Value};

/// Why a key has no effect where it cannot be written.
pub const NO_CONTROLLER: &str = "it has no effect: no cgroup2 controller for it may be used here";
/// Why a key has no effect at all.
pub const NO_GROUP: &str = "it has no effect: there are no groups of units here (cgroup2 is missing or read-only)";

/// One file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its key.
    pub key: &'static str,
    /// Name of the file; what is before the first dot is the controller.
    pub file: &'static str,
    /// What is written.
    pub text: String,
}

impl Limit {
    /// The device that it is about.
    fn device(&self) -> Option<&str> {
        self.text.split(' ').next()
    }

    fn controller(&self) -> &'static str {
        self.file.split('.').next().unwrap_or_default()
    }
}

/// What a percentage is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Bytes of memory.
    pub memory: u64,
    /// Most tasks of the system.
    pub tasks: u64,
}

impl Whole {
    /// As this system has it.
    pub fn here() -> Whole {
        let number = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        let memory = rustix::system::sysinfo();
        #[allow(clippy::useless_conversion)] // of 32 bits on some architectures
        let bytes = u64::from(memory.totalram).saturating_mul(u64::from(memory.mem_unit.max(1)));
        let tasks: u64 = number("/proc/sys/kernel/pid_max").unwrap_or(32768);
        Whole { memory: bytes, tasks: tasks.min(number("/proc/sys/kernel/threads-max").unwrap_or(tasks)) }
    }
}

/// Whether a key becomes a file.
pub fn is_limit(key: &str) -> bool {
    file_of(key).is_some()
}

fn file_of(key: &str) -> Option<&'static str> {
    Some(match key {
        "MemoryMin" => "memory.min",
        "MemoryLow" => "memory.low",
        "MemoryHigh" => "memory.high",
        "MemoryMax" => "memory.max",
        "MemorySwapMax" => "memory.swap.max",
        "MemoryZSwapMax" => "memory.zswap.max",
        "MemoryZSwapWriteback" => "memory.zswap.writeback",
        "CPUWeight" => "cpu.weight",
        "CPUQuota" => "cpu.max",
        "AllowedCPUs" => "cpuset.cpus",
        "AllowedMemoryNodes" => "cpuset.mems",
        "IOWeight" => "io.weight",
        "TasksMax" => "pids.max",
        "IODeviceWeight" => "io.weight",
        "IODeviceLatencyTargetSec" => "io.latency",
        "IOReadBandwidthMax" | "IOWriteBandwidthMax" | "IOReadIOPSMax" | "IOWriteIOPSMax" => "io.max",
        "OOMPolicy" => "memory.oom.group",
        _ => return None,
    })
}

/// The files of a unit's group; what is no value is told by `complain` and passed over.
pub fn limits(unit: &Unit, section: &str, whole: Whole, complain: &mut dyn FnMut(String)) -> Vec<Limit> {
    let mut found: Vec<Limit> = Vec::new();
    let period = match unit.settings.last(section, "CPUQuotaPeriodSec") {
        Some(Value::Span(Span::Micros(micros))) => (*micros).clamp(1000, 1_000_000),
        _ => 100_000,
    };
    for setting in unit.settings.iter().filter(|setting| setting.section == section) {
        let Some(file) = file_of(setting.key) else { continue };
        if setting.key == "OOMPolicy" && setting.text() != "kill" {
            // as it is without
            found.retain(|limit| limit.key != "OOMPolicy");
            continue;
        }
        match text_of(setting, whole, period) {
            Some((file_text, other)) => {
                // of several about devices each is about its own
                found.retain(|limit| limit.key != setting.key || setting.key.starts_with("IO") && limit.device() != file_text.split(' ').next());
                found.push(Limit { key: setting.key, file: other.unwrap_or(file), text: file_text });
            }
            None => complain(format!("{}={}: it is no value, ignoring", setting.key, hostel_unit::printable(setting.text()))),
        }
    }
    found
}

/// What is written, and the file if it is another one.
fn text_of(setting: &Setting, whole: Whole, period: u64) -> Option<(String, Option<&'static str>)> {
    let share = |of: u64, permyriad: u32| (u128::from(of) * u128::from(permyriad) / 10_000) as u64;
    let text = match &setting.value {
        Value::Memory(Memory::Infinity) => "max".to_owned(),
        Value::Memory(Memory::Bytes(bytes)) => bytes.to_string(),
        Value::Memory(Memory::Share(permyriad)) => share(whole.memory, *permyriad).to_string(),
        Value::Bool(value) => u8::from(*value).to_string(),
        Value::Text(text) => match setting.key {
            "CPUWeight" if text == "idle" => return Some(("1".to_owned(), Some("cpu.idle"))),
            "CPUWeight" => weight(text)?.to_string(),
            "IOWeight" => format!("default {}", weight(text)?),
            "CPUQuota" if text == "infinity" => format!("max {period}"),
            "CPUQuota" => format!("{} {period}", (u64::from(percent_unbounded(text).ok()?) * period / 10_000).max(1000)),
            "OOMPolicy" => u8::from(text == "kill").to_string(),
            key if key.starts_with("IO") => of_device(key, text)?,
            "TasksMax" if text == "infinity" => "max".to_owned(),
            "TasksMax" if text.ends_with('%') => share(whole.tasks, permyriad(text).ok()?).max(1).to_string(),
            "TasksMax" => unsigned(text).ok().filter(|n| *n > 0)?.to_string(),
            _ => show_cpus(&cpu_list(text).ok()?).replace(' ', ","),
        },
        _ => return None,
    };
    Some((text, None))
}

/// `DEVICE VALUE`: a device node, or a path on a file system of one, as the kernel numbers it.
fn of_device(key: &str, text: &str) -> Option<String> {
    let (path, value) = text.trim().rsplit_once(char::is_whitespace)?;
    let stat = rustix::fs::stat(path.trim().trim_matches('"')).ok()?;
    let device = if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::BlockDevice { stat.st_rdev } else { stat.st_dev };
    let name = match key {
        "IODeviceWeight" => return Some(format!("{}:{} {}", rustix::fs::major(device), rustix::fs::minor(device), weight(value)?)),
        "IOReadBandwidthMax" => "rbps",
        "IOWriteBandwidthMax" => "wbps",
        "IOReadIOPSMax" => "riops",
        "IOWriteIOPSMax" => "wiops",
        _ => "target",
    };
    let number = match hostel_unit::time_span(value, hostel_unit::TimeUnit::Seconds) {
        _ if value == "infinity" => "max".to_owned(),
        Ok(Span::Micros(micros)) if name == "target" => micros.to_string(),
        // per second, in thousands
        _ => si(value)?.to_string(),
    };
    Some(format!("{}:{} {name}={number}", rustix::fs::major(device), rustix::fs::minor(device)))
}

/// A number with K, M, G or T, each a thousand times the one before.
fn si(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    let power = ["", "K", "M", "G", "T"].iter().position(|known| *known == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(1000u64.pow(power as u32))
}

/// The path of a slice's group: `a-b.slice` is in `a.slice`.
pub fn slice_path(name: &str) -> String {
    let stem = name.trim_end_matches(".slice");
    if stem == "-" {
        return String::new();
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain(std::iter::once(stem.len()));
    ends.filter_map(|end| stem.get(..end)).map(|part| format!("{part}.slice")).collect::<Vec<_>>().join("/")
}

/// The path of the slice that a unit is in, by its settings or its name.
pub fn slice_of(unit: &Unit) -> String {
    let section = unit.name.kind().section().unwrap_or("Service");
    let given = unit.settings.units(section, "Slice").last().map(|(name, _)| slice_path(name.as_str()));
    given.unwrap_or_else(|| match unit.name.instance() {
        Some(_) => format!("system.slice/system-{}.slice", unit.name.prefix().replace('-', "\\x2d")),
        None => "system.slice".to_owned(),
    })
}

/// Gives controllers down to what is below a group, as far as there are any; `yes` is all of them.
pub fn delegate(text: &str, group: BorrowedFd<'_>, depth: usize) {
    let words: Vec<&str> = match hostel_unit::boolean(text) {
        Ok(_) => vec!["cpu", "cpuset", "io", "memory", "pids"],
        Err(_) => text.split_ascii_whitespace().collect(),
    };
    words.iter().for_each(|controller| give(group, depth, controller));
}

/// A controller is given from the manager's own directory down to where a group is.
pub(super) fn give(group: BorrowedFd<'_>, depth: usize, controller: &str) {
    for levels in (1..=depth).rev() {
        let above = vec![".."; levels].join("/");
        if let Ok(directory) = rustix::fs::openat(group, above, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            write(directory.as_fd(), "cgroup.subtree_control", &format!("+{controller}"));
        }
    }
}

fn weight(text: &str) -> Option<u64> {
    unsigned(text).ok().filter(|n| (1..=10_000).contains(n))
}

fn write(group: BorrowedFd<'_>, file: &str, text: &str) -> bool {
    let opened: Result<OwnedFd, _> = rustix::fs::openat(group, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    // one write is one value
    opened.is_ok_and(|fd| rustix::io::write(&fd, text.as_bytes()).is_ok())
}

/// Writes them; the keys that could not be. Controllers are given down to the group from the manager's own first.
/// The group is so deep below that.
pub fn apply(limits: &[Limit], group: BorrowedFd<'_>, depth: usize) -> Vec<&'static str> {
    let mut lost = Vec::new();
    for limit in limits {
        if !write(group, limit.file, &limit.text) {
            give(group, depth, limit.controller());
            if !write(group, limit.file, &limit.text) {
                lost.push(limit.key);
            }
        }
    }
    lost
}

/// What the kernel has in a file without a key, for keys that were there before and are not now; devices each by itself.
pub fn undone(before: &[Limit], now: &[Limit]) -> Vec<Limit> {
    let is_gone = |old: &&Limit| {
        // another file of the same key (cpu.idle) is one that is to be undone, too
        let same = |new: &Limit| new.file == old.file && (!old.key.starts_with("IO") || new.key == old.key && new.device() == old.device());
        !now.iter().any(same)
    };
    let text = |old: &Limit| {
        let device = old.device().unwrap_or_default();
        match old.key {
            "IODeviceWeight" => format!("{device} default"),
            "IODeviceLatencyTargetSec" => format!("{device} target=0"),
            "IOReadBandwidthMax" => format!("{device} rbps=max"),
            "IOWriteBandwidthMax" => format!("{device} wbps=max"),
            "IOReadIOPSMax" => format!("{device} riops=max"),
            "IOWriteIOPSMax" => format!("{device} wiops=max"),
            _ => match old.file {
                "memory.min" | "memory.low" | "memory.oom.group" | "cpu.idle" => "0".to_owned(),
                "memory.zswap.writeback" => "1".to_owned(),
                "cpu.weight" => "100".to_owned(),
                "io.weight" => "default 100".to_owned(),
                "cpu.max" => "max 100000".to_owned(),
                // an empty list is that of the group above
                "cpuset.cpus" | "cpuset.mems" => "\n".to_owned(),
                _ => "max".to_owned(),
            },
        }
    };
    before.iter().filter(is_gone).map(|old| Limit { key: old.key, file: old.file, text: text(old) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn files() {
        let tree = Tree::new("resources");
        tree.unit(
            "a.service",
            "[Service]\nExecStart=/bin/a\nMemoryMax=1G\nMemoryHigh=50%\nMemorySwapMax=infinity\nCPUWeight=30\nCPUQuota=150%\nAllowedCPUs=0-1 3\n\
             IOWeight=200\nTasksMax=33%\nMemoryLow=1K\nMemoryLow=2K\n",
        );
        let mut said = Vec::new();
        let found = limits(&tree.load("a.service"), "Service", Whole { memory: 1000, tasks: 3000 }, &mut |text| said.push(text));
        let text = |file: &str| found.iter().find(|limit| limit.file == file).map(|limit| limit.text.as_str());
        for (file, value) in [
            ("memory.max", "1073741824"),
            ("memory.high", "500"),
            ("memory.swap.max", "max"),
            ("memory.low", "2048"),
            ("cpu.weight", "30"),
            ("cpu.max", "150000 100000"),
            ("cpuset.cpus", "0-1,3"),
            ("io.weight", "default 200"),
            ("pids.max", "990"),
        ] {
            assert_eq!(text(file), Some(value), "{file}");
        }
        assert_eq!((found.len(), said.len()), (9, 0));
        tree.unit("b.service", "[Service]\nExecStart=/bin/a\nCPUWeight=0\nTasksMax=many\nCPUQuota=50%\nCPUQuotaPeriodSec=10ms\n");
        let found = limits(&tree.load("b.service"), "Service", Whole { memory: 1000, tasks: 3000 }, &mut |text| said.push(text));
        assert_eq!(found, [Limit { key: "CPUQuota", file: "cpu.max", text: "5000 10000".into() }]);
        assert_eq!(said.len(), 2);
        for (name, path) in
            [("a.slice", "a.slice"), ("a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice"), ("-.slice", ""), ("a\\x2db.slice", "a\\x2db.slice")]
        {
            assert_eq!(slice_path(name), path);
        }
        let slice = |name: &str, keys: &str| {
            tree.unit(name, &format!("[Service]\nExecStart=/bin/a\n{keys}\n"));
            slice_of(&tree.load(name))
        };
        assert_eq!(slice("c.service", "Slice=x-y.slice"), "x.slice/x-y.slice");
        assert_eq!((slice("d.service", "").as_str(), slice("e-f@1.service", "").as_str()), ("system.slice", "system.slice/system-e\\x2df.slice"));
        assert_eq!((si("10M"), si("5"), si("1Q"), si("99999999999999999999")), (Some(10_000_000), Some(5), None, None));
        let limit = |key, file, text: &str| Limit { key, file, text: text.to_owned() };
        let before = [
            limit("MemoryMax", "memory.max", "5"),
            limit("TasksMax", "pids.max", "5"),
            limit("IOReadIOPSMax", "io.max", "8:0 riops=5"),
            limit("IOWriteIOPSMax", "io.max", "8:0 wiops=5"),
        ];
        let gone = undone(&before, &[limit("TasksMax", "pids.max", "6"), limit("IOWriteIOPSMax", "io.max", "8:0 wiops=6")]);
        assert_eq!(gone, [limit("MemoryMax", "memory.max", "max"), limit("IOReadIOPSMax", "io.max", "8:0 riops=max")]);
        assert_eq!(undone(&before, &before), []);
        let device = of_device("IOReadBandwidthMax", "/ 2K").unwrap();
        assert!(device.ends_with(" rbps=2000") && device.contains(':'), "{device}");
    }
}
