//! System call filter as asked for: names and groups, not programs.

use serde::{Deserialize, Serialize};

/// One `--system-call-filter=` value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyscallRule {
    /// Allow (else deny, `~`).
    pub allow: bool,
    /// System call names, or groups such as `@mount`.
    pub names: Vec<String>,
}

/// Which base policy, and what is added to or taken from it; a denial wins over an allowance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyscallFilter {
    /// systemd-nspawn's default allow list with changes.
    Nspawn(Vec<SyscallRule>),
    /// hostel's stricter machine policy (spec/security.md 4) with changes.
    Machine(Vec<SyscallRule>),
    /// No filter at all.
    #[default]
    Off,
}
