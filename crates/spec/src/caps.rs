//! Capabilities by name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ValueError;

/// Names of capabilities 0…40, without `CAP_`, lower case (capabilities(7), Linux 6.18).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// One capability, by its kernel number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapName(pub u8);

macro_rules! caps {
    ($($name:ident = $n:literal),* $(,)?) => { impl CapName { $(#[doc = concat!("`CAP_", stringify!($name), "`")] pub const $name: CapName = CapName($n);)* } };
}
caps! {
    CHOWN = 0, DAC_OVERRIDE = 1, DAC_READ_SEARCH = 2, FOWNER = 3, FSETID = 4, KILL = 5, SETGID = 6, SETUID = 7, SETPCAP = 8,
    LINUX_IMMUTABLE = 9, NET_BIND_SERVICE = 10, NET_BROADCAST = 11, NET_ADMIN = 12, NET_RAW = 13, IPC_LOCK = 14, IPC_OWNER = 15,
    SYS_MODULE = 16, SYS_RAWIO = 17, SYS_CHROOT = 18, SYS_PTRACE = 19, SYS_PACCT = 20, SYS_ADMIN = 21, SYS_BOOT = 22, SYS_NICE = 23,
    SYS_RESOURCE = 24, SYS_TIME = 25, SYS_TTY_CONFIG = 26, MKNOD = 27, LEASE = 28, AUDIT_WRITE = 29, AUDIT_CONTROL = 30, SETFCAP = 31,
    MAC_OVERRIDE = 32, MAC_ADMIN = 33, SYSLOG = 34, WAKE_ALARM = 35, BLOCK_SUSPEND = 36, AUDIT_READ = 37, PERFMON = 38, BPF = 39,
    CHECKPOINT_RESTORE = 40,
}

impl CapName {
    /// Parses `CAP_SYS_ADMIN`, `sys_admin` or a number.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let lower = text.to_ascii_lowercase();
        let bare = lower.strip_prefix("cap_").unwrap_or(&lower);
        if let Some(i) = NAMES.iter().position(|n| *n == bare) {
            return Ok(Self(i as u8));
        }
        match text.parse::<u8>() {
            Ok(n) if n < 63 => Ok(Self(n)),
            _ => Err(ValueError::new("capability", text, "there is no capability of this name")),
        }
    }
    /// `cap_sys_admin`, or `cap_NN` for one this table does not know.
    pub fn name(self) -> String {
        NAMES.get(self.0 as usize).map_or_else(|| format!("cap_{}", self.0), |n| format!("cap_{n}"))
    }
    /// All known names in kernel order, `cap_…`.
    pub fn known() -> impl Iterator<Item = CapName> {
        (0..NAMES.len() as u8).map(CapName)
    }
}

/// A set of capabilities as the kernel's 64-bit mask.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct CapSet(pub u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: CapSet = CapSet(0);
    /// Every capability, also those of later kernels.
    pub const ALL: CapSet = CapSet(u64::MAX);

    /// The set of `caps`.
    pub const fn of(caps: &[CapName]) -> Self {
        let mut mask = 0;
        let mut i = 0;
        while i < caps.len() {
            mask |= 1 << caps[i].0;
            i += 1;
        }
        Self(mask)
    }
    /// Whether `cap` is in the set.
    pub const fn has(self, cap: CapName) -> bool {
        self.0 >> cap.0 & 1 == 1
    }
    /// Both sets together.
    pub const fn or(self, other: CapSet) -> Self {
        Self(self.0 | other.0)
    }
    /// This set without `other`.
    pub const fn without(self, other: CapSet) -> Self {
        Self(self.0 & !other.0)
    }
    /// What is in both sets.
    pub const fn and(self, other: CapSet) -> Self {
        Self(self.0 & other.0)
    }
    /// Whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }
    /// The known capabilities in the set, in kernel order.
    pub fn iter(self) -> impl Iterator<Item = CapName> {
        CapName::known().filter(move |c| self.has(*c))
    }

    /// What systemd-nspawn 262 leaves in the bounding set (26 capabilities; spec/nspawn.md 1.5).
    pub const NSPAWN: CapSet = CapSet::of(&[
        CapName::AUDIT_CONTROL,
        CapName::AUDIT_WRITE,
        CapName::CHOWN,
        CapName::DAC_OVERRIDE,
        CapName::DAC_READ_SEARCH,
        CapName::FOWNER,
        CapName::FSETID,
        CapName::IPC_OWNER,
        CapName::KILL,
        CapName::LEASE,
        CapName::LINUX_IMMUTABLE,
        CapName::MKNOD,
        CapName::NET_BIND_SERVICE,
        CapName::NET_BROADCAST,
        CapName::NET_RAW,
        CapName::SETFCAP,
        CapName::SETGID,
        CapName::SETPCAP,
        CapName::SETUID,
        CapName::SYS_ADMIN,
        CapName::SYS_BOOT,
        CapName::SYS_CHROOT,
        CapName::SYS_NICE,
        CapName::SYS_PTRACE,
        CapName::SYS_RESOURCE,
        CapName::SYS_TTY_CONFIG,
    ]);

    /// hostel's machine mode (24 capabilities, for use inside a user namespace; spec/security.md 4).
    pub const MACHINE: CapSet = CapSet::of(&[
        CapName::CHOWN,
        CapName::DAC_OVERRIDE,
        CapName::DAC_READ_SEARCH,
        CapName::FOWNER,
        CapName::FSETID,
        CapName::KILL,
        CapName::SETGID,
        CapName::SETUID,
        CapName::SETPCAP,
        CapName::LINUX_IMMUTABLE,
        CapName::NET_BIND_SERVICE,
        CapName::NET_BROADCAST,
        CapName::NET_ADMIN,
        CapName::NET_RAW,
        CapName::IPC_OWNER,
        CapName::SYS_CHROOT,
        CapName::SYS_PTRACE,
        CapName::SYS_ADMIN,
        CapName::SYS_BOOT,
        CapName::SYS_TTY_CONFIG,
        CapName::LEASE,
        CapName::AUDIT_WRITE,
        CapName::SETFCAP,
        CapName::MKNOD,
    ]);
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|c| c.name())).finish()
    }
}

impl Serialize for CapSet {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.0 == u64::MAX {
            return s.serialize_str("all");
        }
        s.collect_seq(self.iter().map(|c| c.name()))
    }
}
impl<'de> Deserialize<'de> for CapSet {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            List(Vec<String>),
        }
        match Form::deserialize(d)? {
            Form::Word(w) if w == "all" => Ok(Self::ALL),
            Form::Word(w) => Err(serde::de::Error::custom(format!("capability set {w:?}"))),
            Form::List(l) => {
                let mut set = Self::EMPTY;
                for name in l {
                    set.0 |= 1 << CapName::parse(&name).map_err(serde::de::Error::custom)?.0;
                }
                Ok(set)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sets() {
        assert_eq!(CapName::parse("CAP_SYS_ADMIN").unwrap(), CapName::SYS_ADMIN);
        assert_eq!(CapName::parse("sys_admin").unwrap().name(), "cap_sys_admin");
        assert!(CapName::parse("cap_nope").is_err());
        assert_eq!(CapSet::NSPAWN.iter().count(), 26);
        assert_eq!(CapSet::MACHINE.iter().count(), 24);
        assert_eq!(CapName::known().last().unwrap(), CapName::CHECKPOINT_RESTORE);
    }
}
