//! Time spans: `90`, `1min 30s`, `2.5h`, `infinity` (systemd.time(7)).

use crate::SyntaxError;

/// A length of time in microseconds, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// This many microseconds.
    Micros(u64),
    /// Never ends.
    Infinity,
}

/// What a number without a unit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// Microseconds.
    Micros,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

impl TimeUnit {
    const fn micros(self) -> u64 {
        match self {
            TimeUnit::Micros => 1,
            TimeUnit::Millis => 1_000,
            TimeUnit::Seconds => SECOND,
        }
    }
}

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// A month is 30.44 days and a year 365.25 days: systemd.time(7).
const MONTH: u64 = 2_629_800 * SECOND;
const YEAR: u64 = 31_557_600 * SECOND;

/// Every spelling of a unit with its length in microseconds.
const UNITS: [(&str, u64); 29] = [
    ("seconds", SECOND),
    ("second", SECOND),
    ("sec", SECOND),
    ("s", SECOND),
    ("minutes", MINUTE),
    ("minute", MINUTE),
    ("min", MINUTE),
    ("m", MINUTE),
    ("months", MONTH),
    ("month", MONTH),
    ("M", MONTH),
    ("msec", 1_000),
    ("ms", 1_000),
    ("hours", HOUR),
    ("hour", HOUR),
    ("hr", HOUR),
    ("h", HOUR),
    ("days", DAY),
    ("day", DAY),
    ("d", DAY),
    ("weeks", 7 * DAY),
    ("week", 7 * DAY),
    ("w", 7 * DAY),
    ("years", YEAR),
    ("year", YEAR),
    ("y", YEAR),
    ("usec", 1),
    ("us", 1),
    ("µs", 1),
];

/// Parses a time span; numbers without a unit count `default`. Parts add up in any order, fractions are allowed.
pub fn time_span(text: &str, default: TimeUnit) -> Result<Span, SyntaxError> {
    let refuse = |why| SyntaxError::new("time span", text, why);
    let mut rest = text.trim_matches(|c: char| c.is_ascii_whitespace());
    if rest == "infinity" {
        return Ok(Span::Infinity);
    }
    if rest.is_empty() {
        return Err(refuse("it is empty"));
    }
    let mut total = 0u64;
    while !rest.is_empty() {
        if rest.starts_with('-') {
            return Err(refuse("it must not be negative"));
        }
        let number_end = rest.bytes().position(|b| !b.is_ascii_digit() && b != b'.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(refuse("a number is missing"));
        }
        let after = after.trim_start();
        let unit_end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let weight = match unit {
            "" => default.micros(),
            // U+03BC, the Greek letter, is written as often as U+00B5, the micro sign
            "μs" => 1,
            _ => UNITS.iter().find(|(n, _)| *n == unit).map(|(_, w)| *w).ok_or_else(|| refuse("the unit is unknown"))?,
        };
        let part = scaled(whole, fraction, weight).ok_or_else(|| refuse("it is too long"))?;
        total = total.checked_add(part).ok_or_else(|| refuse("it is too long"))?;
        rest = after.trim_start();
    }
    if total == u64::MAX {
        return Err(refuse("it is too long"));
    }
    Ok(Span::Micros(total))
}

fn scaled(whole: &str, fraction: &str, weight: u64) -> Option<u64> {
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut value = whole.checked_mul(weight)?;
    let mut unit = weight;
    for b in fraction.bytes() {
        unit /= 10;
        value = value.checked_add(u64::from(b - b'0') * unit)?;
    }
    Some(value)
}

/// Writes a time span as systemd does: `1min 30s`, `100ms`, `2min 3.5s`; steps below `accuracy` microseconds are left out.
/// Zero is `0`.
pub fn show_span(micros: u64, accuracy: u64) -> String {
    const STEPS: [(&str, u64); 9] =
        [("y", YEAR), ("month", MONTH), ("w", 7 * DAY), ("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", SECOND), ("ms", 1_000), ("us", 1)];
    let accuracy = accuracy.max(1);
    let mut parts: Vec<String> = Vec::new();
    let mut left = micros;
    for (name, weight) in STEPS {
        if left == 0 || left < accuracy && !parts.is_empty() {
            break;
        }
        if left < weight {
            continue;
        }
        let (whole, rest) = (left / weight, left % weight);
        // below a minute the rest is a fraction of this step, as far as the accuracy goes
        if left < MINUTE && rest > 0 {
            let digits = weight.ilog10().saturating_sub(accuracy.ilog10());
            if digits > 0 {
                let shown = rest / 10u64.pow(weight.ilog10() - digits);
                parts.push(format!("{whole}.{shown:0width$}{name}", width = digits as usize));
                break;
            }
        }
        parts.push(format!("{whole}{name}"));
        left = rest;
    }
    if parts.is_empty() { "0".to_owned() } else { parts.join(" ") }
}
