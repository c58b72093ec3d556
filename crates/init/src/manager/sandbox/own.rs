//! What a process sets of itself: scheduling, personality, keyring, secure bits and the like.

use hostel_process::r#become::Failure;
use hostel_sys::proc::{SchedulerAttributes, set_io_priority, set_scheduler};
use hostel_sys::service;
use hostel_unit::{Span, TimeUnit, WordRules, cpu_list, time_span, words};

use super::settings::SECTION;
use crate::load::Settings;

/// The values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Own {
    /// IOSchedulingClass= and IOSchedulingPriority=, as ioprio_set(2) takes them.
    pub io: Option<u16>,
    /// CPUSchedulingPolicy=, its priority, and whether children lose it.
    pub scheduler: Option<(u32, u32, bool)>,
    /// TimerSlackNSec=
    pub slack: Option<u64>,
    /// NUMAPolicy= and NUMAMask=
    pub memory: Option<(u32, Vec<u32>)>,
    /// Personality=
    pub personality: Option<u32>,
    /// SecureBits=
    pub secure: Option<u32>,
    /// CoredumpFilter=
    pub dump: Option<u32>,
    /// KeyringMode=: a session keyring of its own, and whether the user's is in it.
    pub keyring: Option<bool>,
}

/// Personality=, as personality(2) takes it.
pub(super) fn personality(s: &Settings) -> Option<u32> {
    match s.text(SECTION, "Personality")? {
        "x86-64" | "arm64" | "native" => Some(0),
        "x86" | "arm" => Some(8),
        _ => None,
    }
}

impl Own {
    /// Reads the settings.
    pub(super) fn of(s: &Settings, complain: &mut dyn FnMut(String)) -> Own {
        let mut bad = |key: &str, text: &str| complain(format!("{key}={text}: there is no such value, ignoring"));
        let mut read = |key: &str, parse: &dyn Fn(&str) -> Option<u64>| {
            let text = s.text(SECTION, key)?;
            let found = parse(text);
            if found.is_none() {
                bad(key, text);
            }
            found
        };
        let named = |names: &'static [&'static str]| {
            move |text: &str| {
                names.iter().position(|name| *name == text).map(|at| at as u64).or_else(|| text.parse().ok().filter(|n| *n < names.len() as u64))
            }
        };
        let class = read("IOSchedulingClass", &named(&["none", "realtime", "best-effort", "idle"]));
        let level = read("IOSchedulingPriority", &|text| text.parse().ok().filter(|n| *n < 8));
        let policy = read("CPUSchedulingPolicy", &named(&["other", "fifo", "rr", "batch", "-", "idle"])).map(|n| n as u32);
        let priority = read("CPUSchedulingPriority", &|text| text.parse().ok().filter(|n| (1..=99).contains(n))).map(|n| n as u32);
        let reset = s.bool(SECTION, "CPUSchedulingResetOnFork", false);
        let numa = read("NUMAPolicy", &named(&["default", "preferred", "bind", "interleave", "local"])).map(|n| n as u32);
        let nodes = s.text(SECTION, "NUMAMask").and_then(|text| if text == "all" { Some(Vec::new()) } else { cpu_list(text).ok() });
        Own {
            io: (class.is_some() || level.is_some()).then(|| {
                let class = class.unwrap_or(2);
                // of idle and none there is one level
                let level = if class == 1 || class == 2 { level.unwrap_or(4) } else { 0 };
                (class << 13 | level) as u16
            }),
            scheduler: (policy.is_some() || priority.is_some() || reset).then(|| {
                let policy = policy.unwrap_or(0);
                (policy, if policy == 1 || policy == 2 { priority.unwrap_or(1) } else { 0 }, reset)
            }),
            slack: read("TimerSlackNSec", &|text| match time_span(text, TimeUnit::Seconds) {
                // a bare number is of nanoseconds
                _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
                Ok(Span::Micros(micros)) => micros.checked_mul(1000),
                _ => None,
            }),
            memory: numa.map(|policy| (policy, nodes.unwrap_or_default())),
            personality: personality(s),
            secure: read("SecureBits", &|text| secure_bits(text).map(u64::from)).map(|n| n as u32),
            dump: read("CoredumpFilter", &|text| dump_filter(text).map(u64::from)).map(|n| n as u32),
            keyring: match s.text(SECTION, "KeyringMode") {
                Some("private") => Some(false),
                Some("shared") => Some(true),
                _ => None,
            },
        }
    }
}

fn secure_bits(text: &str) -> Option<u32> {
    let names = ["noroot", "noroot-locked", "no-setuid-fixup", "no-setuid-fixup-locked", "keep-caps", "keep-caps-locked"];
    words(text, WordRules::UNIT).ok()?.iter().try_fold(0, |all, word| Some(all | 1 << names.iter().position(|name| name == word)?))
}

/// Names of kinds of memory, or the bits in hexadecimal.
fn dump_filter(text: &str) -> Option<u32> {
    let names = ["private-anonymous", "shared-anonymous", "private-file-backed", "shared-file-backed", "elf-headers", "private-huge", "shared-huge"];
    let more = ["private-dax", "shared-dax"];
    words(text, WordRules::UNIT).ok()?.iter().try_fold(0, |all, word| {
        let bits = match word.as_str() {
            "all" => 0x1ff,
            "default" => 0x33,
            name => match names.iter().chain(&more).position(|known| *known == name) {
                Some(at) => 1 << at,
                None => u32::from_str_radix(name, 16).ok()?,
            },
        };
        Some(all | bits)
    })
}

/// In the child: sets them. Secure bits last, for what root may do before ends with them.
pub(in super::super) fn attributes(own: &Own) -> Result<(), Failure> {
    if let Some(link) = own.keyring {
        match service::new_keyring(link) {
            // keys are not of this place: `status` says so
            Err(e) if !super::place::here().keys => drop(e),
            other => other.map_err(|e| Failure::new("make keyring", "session", e))?,
        }
    }
    if let Some(filter) = own.dump {
        std::fs::write("/proc/self/coredump_filter", format!("{filter:#x}")).map_err(|e| Failure::new("limit", "core dumps", e))?;
    }
    if let Some((policy, priority, reset)) = own.scheduler {
        let wanted = SchedulerAttributes { policy, flags: u64::from(reset), nice: own_nice(), priority, runtime: 0, deadline: 0, period: 0 };
        set_scheduler(&wanted).map_err(|e| Failure::new("set scheduler", "of the CPU", e))?;
    }
    if let Some((policy, nodes)) = &own.memory {
        service::set_memory_policy(*policy, nodes).map_err(|e| Failure::new("set memory policy", "of NUMA nodes", e))?;
    }
    if let Some(io) = own.io {
        set_io_priority(io).map_err(|e| Failure::new("set priority", "of input and output", e))?;
    }
    if let Some(slack) = own.slack {
        service::set_timer_slack(slack).map_err(|e| Failure::new("set slack", "of timers", e))?;
    }
    if let Some(domain) = own.personality {
        service::set_personality(domain).map_err(|e| Failure::new("set personality", format!("{domain:#x}"), e))?;
    }
    if let Some(bits) = own.secure {
        service::set_secure_bits(bits).map_err(|e| Failure::new("set secure bits", format!("{bits:#x}"), e))?;
    }
    Ok(())
}

/// sched_setattr(2) sets it, too.
fn own_nice() -> i32 {
    rustix::process::getpriority_process(None).unwrap_or(0)
}
