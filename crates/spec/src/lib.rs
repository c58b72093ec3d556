//! What a machine should be, as plain data: the waist between the dialects and the engine.
//!
//! Everything left of the plan speaks [`MachineSpec`]; nothing in this crate opens a file,
//! reads the environment or asks the kernel. "Auto" is allowed: the engine decides it when it plans.

mod bind_user;
mod bundle;
mod caps;
mod console;
mod credential;
mod families;
mod hint;
mod ids;
mod image;
mod journal;
mod layers;
mod machine;
mod mount;
mod name;
mod network;
mod process;
mod resources;
mod rlimit;
mod signal;
mod syscall_filter;
mod text;
mod uuid;

pub use bind_user::{BindUsers, BoundShell};
pub use bundle::{
    AttributeChange, Bundle, BundleMount, BundleSource, DeviceNode, ExactProcess, Hook, Hooks, IdMap, JoinedNamespace, MountIds, MountPropagation,
    NamespaceKind, NodeKind, Scheduler, TimeOffsets,
};
pub use caps::{CapName, CapSet};
pub use console::ConsoleMode;
pub use credential::{Credential, CredentialSource};
pub use families::AddressFamilies;
pub use hint::Hint;
pub use hostel_unit::{Arrange, Gather};
pub use ids::{IdRange, Ownership, UserNamespace};
pub use image::{Designator, FILE_SYSTEMS, ImageOptions, ImagePolicy, RootHash, RootHashSignature, Rule, Uses, base64};
pub use journal::LinkJournal;
pub use layers::{Layers, PostMount, UpperLayer};
pub use machine::{
    Ephemeral, HostUnit, Identity, Integration, Lifecycle, MachineSpec, Namespaces, Payload, PivotRoot, Register, ResolvConf, Root, Security,
    Timezone, TreeSource, UnitPlace, Volatile,
};
pub use mount::{BindOptions, IdMapping, Mount, MountSource};
pub use name::{Hostname, MachineName, NameError};
pub use network::{
    AddressPool, Cable, Gateway, HostEnd, InsideLink, LinkPair, Network, NetworkConfig, NetworkMode, PortForward, PortVlans, Transport, VethEnds,
    VethPair, is_alternative_name, is_interface_name, parse_mac,
};
pub use process::{ProcessSpec, UserSelector};
pub use resources::{CpuQuota, DeviceAccess, DevicePolicy, DeviceRule, DeviceSelector, GroupFile, Limit, Resources};
pub use rlimit::{Rlimit, RlimitName, RlimitValue};
pub use signal::Signal;
pub use syscall_filter::{ArgumentOperator, ArgumentTest, FilterAction, ProfileRule, SyscallFilter, SyscallProfile, SyscallRule};
pub use text::{OsText, unescape_octal};
pub use uuid::MachineUuid;

/// A value a person typed that is not what the option takes.
///
/// `what` names the kind of value, `value` is what was given, `why` is the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {what} {value:?}: {why}")]
pub struct ValueError {
    /// The kind of value, for example `signal` or `uid range`.
    pub what: &'static str,
    /// The text that was given.
    pub value: String,
    /// Why it is refused.
    pub why: String,
}

impl ValueError {
    /// Builds the error for `value`, which is not a `what` because of `why`.
    pub fn new(what: &'static str, value: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what, value: value.into(), why: why.into() }
    }
}
