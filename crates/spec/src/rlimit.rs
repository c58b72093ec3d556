//! Resource limits of the payload (setrlimit(2)).

use serde::{Deserialize, Serialize};

use crate::ValueError;

/// Which limit; the discriminant is the kernel's `RLIMIT_*` number (x86-64, aarch64).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[repr(u8)]
#[allow(missing_docs)] // the names are the documentation: getrlimit(2)
pub enum RlimitName {
    Cpu = 0,
    Fsize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    Rss = 5,
    Nproc = 6,
    Nofile = 7,
    Memlock = 8,
    As = 9,
    Locks = 10,
    Sigpending = 11,
    Msgqueue = 12,
    Nice = 13,
    Rtprio = 14,
    Rttime = 15,
}

impl RlimitName {
    /// All limits in kernel order with their names.
    pub const ALL: [(RlimitName, &'static str); 16] = [
        (RlimitName::Cpu, "CPU"),
        (RlimitName::Fsize, "FSIZE"),
        (RlimitName::Data, "DATA"),
        (RlimitName::Stack, "STACK"),
        (RlimitName::Core, "CORE"),
        (RlimitName::Rss, "RSS"),
        (RlimitName::Nproc, "NPROC"),
        (RlimitName::Nofile, "NOFILE"),
        (RlimitName::Memlock, "MEMLOCK"),
        (RlimitName::As, "AS"),
        (RlimitName::Locks, "LOCKS"),
        (RlimitName::Sigpending, "SIGPENDING"),
        (RlimitName::Msgqueue, "MSGQUEUE"),
        (RlimitName::Nice, "NICE"),
        (RlimitName::Rtprio, "RTPRIO"),
        (RlimitName::Rttime, "RTTIME"),
    ];
    /// Parses `NOFILE` or `RLIMIT_NOFILE`, any case.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("RLIMIT_").unwrap_or(&upper);
        Self::ALL
            .iter()
            .find(|(_, n)| *n == bare)
            .map(|(l, _)| *l)
            .ok_or_else(|| ValueError::new("resource limit", text, "there is no limit of this name"))
    }
    /// `NOFILE`
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// One value of a limit; `None` is infinity.
pub type RlimitValue = Option<u64>;

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Which.
    pub name: RlimitName,
    /// Soft value, in the limit's own unit.
    pub soft: RlimitValue,
    /// Hard value.
    pub hard: RlimitValue,
}
