//! The payload's process: directory, environment, user, signals, limits.

use std::ffi::OsString;
use std::path::PathBuf;

use hostel_spec::{Hint, OsText, Rlimit, RlimitName, RlimitValue, Signal, UserSelector};
use hostel_unit::{Span, TimeUnit, cpu_list, integer, size, time_span, unsigned};

use super::{Draft, lines, tree};
use crate::Action;
use crate::error::UsageError;
use crate::options::OptionRow;

/// Longest user name accepted, in bytes (as systemd: LOGIN_NAME_MAX - 1).
const USER_NAME_MAX: usize = 255;

impl Draft<'_> {
    pub(super) fn setenv(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let (name, given) = value.split_once('=').map_or((value, None), |(n, v)| (n, Some(v)));
        if !is_variable_name(name) {
            return Err(UsageError::value(row, value, "a variable's name is letters, digits and '_', and does not begin with a digit"));
        }
        let entry = match given {
            Some(_) => OsText::from(value),
            None => {
                // as the original: a variable the caller does not have is passed on empty
                let mut entry = OsString::from(name);
                entry.push("=");
                entry.push(self.env.get(name).unwrap_or_default());
                OsText::from(entry)
            }
        };
        self.spec.process.env.push(entry);
        Ok(())
    }

    pub(super) fn kill_signal(&mut self, row: &OptionRow, value: &str) -> Result<Option<Action>, UsageError> {
        if value == "help" {
            return Ok(Some(Action::Print(lines(Signal::all().map(|s| s.name().trim_start_matches("SIG").to_owned())))));
        }
        let signal = Signal::parse(value).map_err(|e| UsageError::value(row, value, e.why).with_hint(Hint::ListedBy("kill-signal".into())))?;
        self.spec.lifecycle.kill_signal = Some(signal);
        Ok(None)
    }

    pub(super) fn rlimit(&mut self, row: &OptionRow, value: &str) -> Result<Option<Action>, UsageError> {
        if value == "help" {
            return Ok(Some(Action::Print(lines(RlimitName::ALL.iter().map(|(_, name)| name)))));
        }
        let refuse = |why: &str| UsageError::value(row, value, why);
        let Some((name, limits)) = value.split_once('=') else { return Err(refuse("it has no '=' between name and limit")) };
        let name = RlimitName::parse(name).map_err(|e| refuse(&e.why).with_hint(Hint::ListedBy("rlimit".into())))?;
        let (soft, hard) = match limits.split_once(':') {
            Some((soft, hard)) => (rlimit_value(name, soft), rlimit_value(name, hard)),
            None => (rlimit_value(name, limits), rlimit_value(name, limits)),
        };
        let (soft, hard) = (soft.map_err(refuse)?, hard.map_err(refuse)?);
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(refuse("the soft limit is above the hard limit"));
        }
        self.spec.process.rlimits.retain(|limit| limit.name != name);
        self.spec.process.rlimits.push(Rlimit { name, soft, hard });
        Ok(None)
    }
}

/// One value of a limit in its own unit: bytes, seconds, microseconds, nice levels or a count.
fn rlimit_value(name: RlimitName, text: &str) -> Result<RlimitValue, &'static str> {
    use RlimitName as N;
    if text == "infinity" {
        return Ok(None);
    }
    let span = |unit| time_span(text, unit).map_err(|e| e.why);
    match name {
        N::Fsize | N::Data | N::Stack | N::Core | N::Rss | N::Memlock | N::As | N::Msgqueue => size(text).map(Some).map_err(|e| e.why),
        // RLIMIT_CPU counts whole seconds; a part of one must not become none
        N::Cpu => Ok(match span(TimeUnit::Seconds)? {
            Span::Micros(us) => Some(us.div_ceil(1_000_000)),
            Span::Infinity => None,
        }),
        N::Rttime => Ok(match span(TimeUnit::Micros)? {
            Span::Micros(us) => Some(us),
            Span::Infinity => None,
        }),
        N::Nice => nice(text).map(Some),
        N::Nproc | N::Nofile | N::Locks | N::Sigpending | N::Rtprio => unsigned(text).map(Some).map_err(|e| e.why),
    }
}

/// `+5` and `-5` are nice levels, which the kernel counts as 20 minus the level; a bare number is the kernel's.
fn nice(text: &str) -> Result<u64, &'static str> {
    if text.starts_with(['+', '-']) {
        return match integer(text).map_err(|e| e.why)? {
            level @ -20..=19 => Ok((20 - level) as u64),
            _ => Err("a nice level is between -20 and 19"),
        };
    }
    match unsigned(text).map_err(|e| e.why)? {
        n @ 0..=40 => Ok(n),
        _ => Err("it is above 40"),
    }
}

pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(super) fn working_directory(row: &OptionRow, value: &str) -> Result<PathBuf, UsageError> {
    let path = tree::inside(row, value, value)?;
    if ["/proc", "/sys", "/dev"].iter().any(|api| path.starts_with(api)) {
        return Err(UsageError::value(row, value, "it is below /proc, /sys or /dev"));
    }
    Ok(path)
}

pub(super) fn user(row: &OptionRow, value: Option<&str>) -> Result<UserSelector, UsageError> {
    let Some(text) = value else {
        return Err(UsageError::NotYet {
            what: "--user without a name".to_owned(),
            reason: "the user scope of systemd 261; to run as a user say --uid=NAME",
        });
    };
    let refuse = |why: &str| Err(UsageError::value(row, text, why));
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match id(text) {
            Some(id) => Ok(UserSelector::Id(id)),
            None => refuse("it is no uid"),
        };
    }
    if text.len() > USER_NAME_MAX {
        return refuse("it is longer than 255 bytes");
    }
    if text.starts_with('-') || text == "." || text == ".." || text.chars().any(|c| c == ':' || c == '/' || c.is_control()) {
        return refuse("it is no user name");
    }
    Ok(UserSelector::Name(text.to_owned()))
}

/// A uid or gid in plain decimal. 65535 and 4294967295 mean "no id" to the kernel.
pub(super) fn id(text: &str) -> Option<u32> {
    if !text.bytes().all(|b| b.is_ascii_digit()) || text.len() > 1 && text.starts_with('0') {
        return None;
    }
    text.parse::<u32>().ok().filter(|id| *id != 0xffff && *id != u32::MAX)
}

pub(super) fn oom_score(row: &OptionRow, value: &str) -> Result<i32, UsageError> {
    match integer(value) {
        Ok(n @ -1000..=1000) => Ok(n as i32),
        Ok(_) => Err(UsageError::value(row, value, "it is not between -1000 and 1000")),
        Err(e) => Err(UsageError::value(row, value, e.why)),
    }
}

/// `None` for an empty list, which takes an earlier one back.
pub(super) fn cpu_affinity(row: &OptionRow, value: &str) -> Result<Option<Vec<u32>>, UsageError> {
    let cpus = cpu_list(value).map_err(|e| UsageError::value(row, value, e.why))?;
    Ok((!cpus.is_empty()).then_some(cpus))
}

/// Whether the 32-bit partner of the machine's architecture is asked for.
pub(super) fn linux32(row: &OptionRow, value: &str) -> Result<bool, UsageError> {
    const NATIVE: (&str, &str) = if cfg!(target_arch = "aarch64") { ("arm64", "arm") } else { ("x86-64", "x86") };
    match value {
        v if v == NATIVE.0 => Ok(false),
        v if v == NATIVE.1 => Ok(true),
        _ => Err(UsageError::value(row, value, format!("this host runs {} and {}", NATIVE.0, NATIVE.1))),
    }
}
