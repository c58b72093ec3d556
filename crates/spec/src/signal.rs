//! Signals by name and by raw number.

use serde::{Deserialize, Serialize};

use crate::ValueError;

/// A signal, as the kernel numbers it on x86-64 and aarch64 (1…64).
///
/// Real-time signals count from glibc's `SIGRTMIN` = 34, whatever libc this binary is linked with:
/// musl's own `SIGRTMIN` is 35, and guests are nearly always glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT",
    "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

impl Signal {
    /// `SIGHUP`
    pub const HUP: Signal = Signal(1);
    /// `SIGINT`
    pub const INT: Signal = Signal(2);
    /// `SIGQUIT`
    pub const QUIT: Signal = Signal(3);
    /// `SIGKILL`
    pub const KILL: Signal = Signal(9);
    /// `SIGUSR1`
    pub const USR1: Signal = Signal(10);
    /// `SIGUSR2`
    pub const USR2: Signal = Signal(12);
    /// `SIGTERM`
    pub const TERM: Signal = Signal(15);
    /// `SIGCONT`
    pub const CONT: Signal = Signal(18);
    /// `SIGPWR`
    pub const PWR: Signal = Signal(30);
    /// First real-time signal of glibc.
    pub const RTMIN_GLIBC: u8 = 34;

    /// glibc's `SIGRTMIN+n`.
    pub const fn rtmin_plus(n: u8) -> Signal {
        Signal(Self::RTMIN_GLIBC + n)
    }
    /// From a raw number 1…64.
    pub fn from_raw(n: i32) -> Option<Signal> {
        (1..=64).contains(&n).then_some(Signal(n as u8))
    }
    /// The raw number.
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }

    /// Parses `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, `RTMAX-1`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let refuse = || ValueError::new("signal", text, "there is no signal of this name or number");
        if let Ok(n) = text.parse::<i32>() {
            return Self::from_raw(n).ok_or_else(refuse);
        }
        let name = text.strip_prefix("SIG").unwrap_or(text);
        if let Some(i) = NAMES.iter().position(|n| *n == name) {
            return Ok(Signal(i as u8 + 1));
        }
        let alias = match name {
            "POLL" => Some(29),
            "IOT" => Some(6),
            "CLD" => Some(17),
            "RTMIN" => Some(34),
            "RTMAX" => Some(64),
            _ => None,
        };
        if let Some(n) = alias {
            return Ok(Signal(n));
        }
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<i32>().ok()).flatten();
        let raw = if let Some(n) = name.strip_prefix("RTMIN+").and_then(digits) {
            34i32.checked_add(n)
        } else if let Some(n) = name.strip_prefix("RTMAX-").and_then(digits) {
            64i32.checked_sub(n).filter(|n| *n >= 34)
        } else {
            None
        };
        raw.and_then(Self::from_raw).ok_or_else(refuse)
    }

    /// `SIGTERM`, `SIGRTMIN+3`.
    pub fn name(self) -> String {
        match self.0 {
            n @ 1..=31 => format!("SIG{}", NAMES[n as usize - 1]),
            34 => "SIGRTMIN".into(),
            n if n > 34 => format!("SIGRTMIN+{}", n - 34),
            n => n.to_string(),
        }
    }
    /// Every signal with a name: 1…31 and the real-time ones.
    pub fn all() -> impl Iterator<Item = Signal> {
        (1..=31).chain(34..=64).map(Signal)
    }
}

impl TryFrom<String> for Signal {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::parse(&text)
    }
}
impl From<Signal> for String {
    fn from(signal: Signal) -> String {
        signal.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for s in Signal::all() {
            assert_eq!(Signal::parse(&s.name()).unwrap(), s);
        }
        assert_eq!(Signal::parse("RTMIN+3").unwrap().raw(), 37);
        for bad in ["", "0", "65", "-1", "NOPE", "RTMIN+31", "RTMIN+-1", "RTMAX-31", "sigterm"] {
            assert!(Signal::parse(bad).is_err(), "{bad}");
        }
    }
}
