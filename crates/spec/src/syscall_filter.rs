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
    /// A profile that says what happens to each call (`linux.seccomp` of OCI).
    #[serde(skip_deserializing)]
    Profile(SyscallProfile),
    /// No filter at all.
    #[default]
    Off,
}

/// What happens to each call of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SyscallProfile {
    /// To calls that no rule is about.
    pub default: FilterAction,
    /// Architectures besides the native one whose programs may make calls, as libseccomp names them (`SCMP_ARCH_X86`).
    pub architectures: Vec<String>,
    /// Rules. Of those that fit a call the first with tests counts, then the first without.
    pub rules: Vec<ProfileRule>,
}

/// One rule of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileRule {
    /// Names of calls; those that no table has are left out.
    pub names: Vec<String>,
    /// What happens.
    pub action: FilterAction,
    /// All must hold.
    pub tests: Vec<ArgumentTest>,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterAction {
    /// It is made.
    Allow,
    /// It is made, and logged.
    Log,
    /// It fails with this errno.
    Errno(u16),
    /// A tracer is told, with this number.
    Trace(u16),
    /// SIGSYS, which can be caught.
    Trap,
    /// The thread dies.
    KillThread,
    /// The process dies.
    KillProcess,
}

/// How an argument is compared, as unsigned 64-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // seccomp_rule_add(3)
pub enum ArgumentOperator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// `argument & mask == value & mask`.
    MaskedEqual,
}

/// A test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ArgumentTest {
    /// Which, from 0 to 5.
    pub index: u8,
    /// How.
    pub operator: ArgumentOperator,
    /// With what.
    pub value: u64,
    /// Bits that count, for `MaskedEqual`.
    pub mask: u64,
}
