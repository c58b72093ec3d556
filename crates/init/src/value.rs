//! Values of keys, by their shape.

use hostel_spec::Signal;
use hostel_unit::{Calendar, Span, TimeUnit, UnitName, WordRules, boolean, exit_status, permyriad, size, time_span, unsigned, words};

use crate::command::{self, Command};
use crate::keys::Shape;

/// A value that was understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// As written, specifiers replaced where this key takes them.
    Text(String),
    /// Words.
    Words(Vec<String>),
    /// yes or no.
    Bool(bool),
    /// A number.
    Number(i64),
    /// A time span.
    Span(Span),
    /// An amount of memory.
    Memory(Memory),
    /// A soft and a hard limit, as written; `None` is infinity.
    Rlimit(Box<(String, String)>),
    /// A signal.
    Signal(Signal),
    /// Permissions.
    FileMode(u32),
    /// Units.
    Units(Vec<UnitName>),
    /// Commands.
    Commands(Vec<Command>),
    /// A calendar expression.
    Calendar(Box<Calendar>),
    /// Exit statuses and signals.
    Statuses(Vec<Status>),
    /// A condition.
    Condition {
        /// `|`: one of several is enough.
        trigger: bool,
        /// `!`: it must not hold.
        negate: bool,
        /// Its parameter.
        parameter: String,
    },
}

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Bytes.
    Bytes(u64),
    /// Hundredths of a per cent of what there is.
    Share(u32),
    /// No limit.
    Infinity,
}

/// An exit status or a signal by which a service may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A status.
    Exit(u8),
    /// A signal.
    Signal(Signal),
}

type Checked = Result<Value, String>;

fn why(error: hostel_unit::SyntaxError) -> String {
    error.why.to_owned()
}

/// Understands a value that is not empty, specifiers replaced already. A list with some bad items keeps the good ones and
/// tells of the others by `complain`.
pub fn parse(shape: Shape, text: &str, complain: &mut dyn FnMut(String)) -> Checked {
    Ok(match shape {
        Shape::Text => Value::Text(text.to_owned()),
        Shape::Words | Shape::Environment => Value::Words(words(text, WordRules::UNIT).or_else(|_| words(text, WordRules::STRINGS)).map_err(why)?),
        Shape::Bool => Value::Bool(boolean(text).map_err(why)?),
        Shape::Number => Value::Number(number(text)?),
        Shape::Span => Value::Span(time_span(text, TimeUnit::Seconds).map_err(why)?),
        Shape::Memory => Value::Memory(memory(text)?),
        Shape::Rlimit => rlimit(text)?,
        Shape::Signal => Value::Signal(Signal::parse(text).map_err(|_| "it is no signal".to_owned())?),
        Shape::FileMode => Value::FileMode(file_mode(text)?),
        Shape::Units | Shape::Names => Value::Units(units(text, complain)?),
        Shape::Command => Value::Commands(command::parse(text)?),
        Shape::Calendar => Value::Calendar(Box::new(Calendar::parse(text).map_err(why)?)),
        Shape::Statuses => Value::Statuses(statuses(text, complain)?),
        Shape::Condition => condition(text),
        Shape::JobMode => word(text, JOB_MODES)?,
        Shape::ServiceType => word(text, &["simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle"])?,
        Shape::Restart => word(text, &["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"])?,
        Shape::KillMode => word(text, &["control-group", "process", "mixed", "none"])?,
        Shape::NotifyAccess => word(text, &["none", "main", "exec", "all"])?,
        Shape::Action => word(text, ACTIONS)?,
    })
}

const JOB_MODES: &[&str] = &[
    "fail",
    "lenient",
    "replace",
    "replace-irreversibly",
    "isolate",
    "flush",
    "ignore-dependencies",
    "ignore-requirements",
    "triggering",
    "restart-dependencies",
];
#[rustfmt::skip]
const ACTIONS: &[&str] = &["none", "reboot", "reboot-force", "reboot-immediate", "poweroff", "poweroff-force", "poweroff-immediate", "exit", "exit-force",
    "soft-reboot", "soft-reboot-force", "kexec", "kexec-force", "halt", "halt-force", "halt-immediate"];

fn word(text: &str, known: &[&str]) -> Checked {
    if known.contains(&text) { Ok(Value::Text(text.to_owned())) } else { Err(format!("it is none of {}", known.join(", "))) }
}

fn number(text: &str) -> Result<i64, String> {
    if text == "infinity" {
        return Ok(i64::MAX);
    }
    if let Some(negative) = text.strip_prefix('-') {
        return unsigned(negative).ok().and_then(|n| i64::try_from(n).ok()).map(|n| -n).ok_or_else(|| "it is no number".to_owned());
    }
    i64::try_from(unsigned(text).map_err(why)?).map_err(|_| "it is too large".to_owned())
}

fn memory(text: &str) -> Result<Memory, String> {
    match text {
        "infinity" => Ok(Memory::Infinity),
        _ if text.ends_with(['%', '‰', '‱']) => permyriad(text).map(Memory::Share).map_err(why),
        _ => size(text).map(Memory::Bytes).map_err(why),
    }
}

fn rlimit(text: &str) -> Checked {
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    for part in [soft, hard] {
        let fits = part == "infinity" || size(part).is_ok() || time_span(part, TimeUnit::Seconds).is_ok() || part.parse::<i32>().is_ok();
        if !fits {
            return Err("it is neither a number, a size, a time span nor infinity".to_owned());
        }
    }
    Ok(Value::Rlimit(Box::new((soft.to_owned(), hard.to_owned()))))
}

fn file_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777 && text.bytes().all(|b| b.is_ascii_digit()));
    mode.ok_or_else(|| "it is no octal mode up to 07777".to_owned())
}

fn units(text: &str, complain: &mut dyn FnMut(String)) -> Result<Vec<UnitName>, String> {
    let mut found = Vec::new();
    for word in words(text, WordRules::UNIT).or_else(|_| words(text, WordRules::STRINGS)).map_err(why)? {
        match UnitName::parse(&word) {
            Ok(name) => found.push(name),
            Err(e) => complain(format!("{word:?} is no name of a unit: {}", e.why)),
        }
    }
    Ok(found)
}

fn statuses(text: &str, complain: &mut dyn FnMut(String)) -> Result<Vec<Status>, String> {
    let mut found = Vec::new();
    for word in words(text, WordRules::UNIT).map_err(why)? {
        // names that are both: TERM would be a signal only
        match exit_status(&word).map(Status::Exit).or_else(|_| Signal::parse(&word).map(Status::Signal)) {
            Ok(status) => found.push(status),
            Err(_) => complain(format!("{word:?} is neither an exit status nor a signal")),
        }
    }
    Ok(found)
}

fn condition(text: &str) -> Value {
    let (trigger, rest) = text.strip_prefix('|').map_or((false, text), |rest| (true, rest.trim_start()));
    let (negate, rest) = rest.strip_prefix('!').map_or((false, rest), |rest| (true, rest.trim_start()));
    Value::Condition { trigger, negate, parameter: rest.to_owned() }
}
