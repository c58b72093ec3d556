//! What only an OCI bundle says of a machine: things its `config.json` has words for and no command line of ours has.
//!
//! Printed as JSON with its machine, and not read back: whoever starts a machine of a bundle reads the bundle.

use std::fmt;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserializer, Serialize};

/// Refuses what is of a bundle in the JSON of a machine: a deserializer that nobody needs is much code.
pub(crate) fn refuse<'de, D: Deserializer<'de>, T>(_given: D) -> Result<Option<T>, D::Error> {
    Err(D::Error::custom("a machine of an OCI bundle is not started from its spec"))
}

/// A machine whose file systems are those of a bundle, mount by mount, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Bundle {
    /// The bundle's directory on the host, absolute.
    pub path: PathBuf,
    /// `ociVersion`, for the state that hooks are told.
    pub version: String,
    /// `annotations`, for the same.
    pub annotations: Vec<(String, String)>,
    /// uid map of the machine's user namespace; empty: it has none of its own.
    pub uids: Vec<IdMap>,
    /// gid map.
    pub gids: Vec<IdMap>,
    /// Namespaces of somebody else's that are joined.
    pub join: Vec<JoinedNamespace>,
    /// `linux.cgroupsPath`: the cgroup that the machine's own is made in; if relative, below where hostel makes its own.
    pub cgroups_path: Option<PathBuf>,
    /// SELinux label of the files of new file systems.
    pub mount_label: Option<String>,
    /// Clocks of an own time namespace.
    pub time: Option<TimeOffsets>,
    /// Propagation of the root mount.
    pub root_propagation: MountPropagation,
    /// Mounts, in order.
    pub mounts: Vec<BundleMount>,
    /// Device nodes besides the six every machine has.
    pub devices: Vec<DeviceNode>,
    /// Covered, if they exist.
    pub masked: Vec<PathBuf>,
    /// Made read-only, if they exist.
    pub read_only: Vec<PathBuf>,
    /// Kernel parameters below /proc/sys: relative path, value.
    pub sysctl: Vec<(String, String)>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// AppArmor profile of the process.
    pub apparmor: Option<String>,
    /// SELinux label of the process.
    pub selinux: Option<String>,
    /// The ids of the root's files are mapped as the machine's are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub map_root: bool,
    /// It stays in the cgroup that its supervisor is in: a user's, who may make none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_group: bool,
    /// Terminals besides the console, `/dev/tty1` and so on: how many.
    #[serde(skip_serializing_if = "is_zero")]
    pub terminals: u32,
    /// Directory below /dev in which they, and the console, are; links lead to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminals_in: Option<String>,
    /// Where /proc/sys is read-only, what is below /proc/sys/net is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub network_sysctl: bool,
    /// Rows and columns of the terminal.
    pub console_size: Option<(u16, u16)>,
    /// Programs run on the way.
    pub hooks: Hooks,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Bundle {
    /// Whether a namespace of this kind is joined.
    pub fn joins(&self, kind: NamespaceKind) -> bool {
        self.join.iter().any(|joined| joined.kind == kind)
    }
}

/// Consecutive ids of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdMap {
    /// First id inside (of a mount: on disk).
    pub inside: u32,
    /// First id on the host (of a mount: as it appears).
    pub host: u32,
    /// How many.
    pub count: u32,
}

/// A line of uid_map or gid_map (user_namespaces(7)).
impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} {}", self.inside, self.host, self.count)
    }
}

/// The kinds of namespaces that can be joined; the discriminant is the kernel's `CLONE_NEW…` flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u32)]
#[allow(missing_docs)] // namespaces(7)
pub enum NamespaceKind {
    Time = 0x80,
    User = 0x1000_0000,
    Cgroup = 0x0200_0000,
    Uts = 0x0400_0000,
    Ipc = 0x0800_0000,
    Pid = 0x2000_0000,
    Net = 0x4000_0000,
}

impl NamespaceKind {
    /// The kernel's flag.
    pub fn flag(self) -> u32 {
        self as u32
    }
    /// Name as in /proc/PID/ns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Net => "net",
        }
    }
}

/// A namespace that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JoinedNamespace {
    /// What it must be.
    pub kind: NamespaceKind,
    /// A namespace file of the host.
    pub path: PathBuf,
}

/// Offsets of the clocks of a time namespace: (seconds, nanoseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TimeOffsets {
    /// CLOCK_MONOTONIC.
    pub monotonic: Option<(i64, u32)>,
    /// CLOCK_BOOTTIME.
    pub boottime: Option<(i64, u32)>,
}

/// How mount events travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // mount_namespaces(7)
pub enum MountPropagation {
    #[default]
    Private,
    Slave,
    Shared,
    Unbindable,
}

/// Attributes of a mount: bits of `MOUNT_ATTR_…` to set and to clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct AttributeChange {
    /// Set.
    pub set: u64,
    /// Cleared.
    pub clear: u64,
}

/// What a mount of a bundle is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum BundleSource {
    /// A path of the host.
    Bind {
        /// Absolute.
        path: PathBuf,
        /// With submounts.
        recursive: bool,
        /// Id map of the mount; `None`: none asked for.
        map: Option<MountIds>,
    },
    /// A new instance of a file system.
    Fresh {
        /// `proc`, `sysfs`, `tmpfs`, `devpts`, `mqueue`, `overlay` or `cgroup2`.
        file_system: String,
        /// What mountinfo shows as its source.
        source: String,
        /// Its own options; an empty value is a bare word.
        options: Vec<(String, String)>,
        /// What is in the directory it is mounted on is copied into it first.
        copy_up: bool,
    },
}

/// Id map of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MountIds {
    /// uids; empty (with `gids`): the machine's own map.
    pub uids: Vec<IdMap>,
    /// gids.
    pub gids: Vec<IdMap>,
    /// Of submounts, too.
    pub recursive: bool,
}

/// A mount of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleMount {
    /// Where, resolved inside the root.
    pub target: PathBuf,
    /// What.
    pub source: BundleSource,
    /// Attributes of the mount itself.
    pub attributes: AttributeChange,
    /// Attributes of it and all below.
    pub recursive_attributes: AttributeChange,
    /// Propagation, and whether of all below, too.
    pub propagation: Option<(MountPropagation, bool)>,
}

/// Types of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum NodeKind {
    Char,
    Block,
    Fifo,
}

/// A device node (or FIFO) to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceNode {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub kind: NodeKind,
    /// Device number; 0 for a FIFO.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// Permissions.
    pub mode: u32,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
}

/// A program run at some point of a machine's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// Absolute path.
    pub path: PathBuf,
    /// `argv`, the first word included; empty: the path alone.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// Seconds it may take.
    pub timeout: Option<u32>,
}

/// Hooks by their place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Hooks {
    /// On the host, as `create_runtime`, before them.
    pub prestart: Vec<Hook>,
    /// On the host, when the machine's mounts are made, before the root changes.
    pub create_runtime: Vec<Hook>,
    /// In the machine's namespaces, before the root changes; a program of the host.
    pub create_container: Vec<Hook>,
    /// In the machine, as its process, right before the program; a program of the machine.
    pub start_container: Vec<Hook>,
    /// On the host, when all is in its place, right before the program. They and `stop` are LXC's: they are told the pid by `LXC_PID`.
    pub start_host: Vec<Hook>,
    /// On the host, when the program runs.
    pub poststart: Vec<Hook>,
    /// On the host, when the program has ended and the machine's namespaces are still there: told by words KIND:PATH and `LXC_KIND_NS`.
    pub stop: Vec<Hook>,
    /// On the host, when all is gone.
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether the machine waits for hooks of the host before its root changes.
    pub fn wait_at_runtime(&self) -> bool {
        !(self.prestart.is_empty() && self.create_runtime.is_empty())
    }
    /// Whether it does before its program, so that they, and those of the end, find all namespaces.
    pub fn wait_before_program(&self) -> bool {
        !(self.start_host.is_empty() && self.stop.is_empty())
    }
}

/// A process whose ids and capabilities are given by number, whatever the machine's user database says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExactProcess {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask; `None`: 022.
    pub umask: Option<u32>,
    /// Effective capabilities.
    pub effective: crate::CapSet,
    /// Permitted ones.
    pub permitted: crate::CapSet,
    /// Inheritable ones.
    pub inheritable: crate::CapSet,
    /// ioprio_set(2): class and level in one number.
    pub io_priority: Option<u16>,
    /// sched_setattr(2).
    pub scheduler: Option<Scheduler>,
    /// What the system call filter does, other than to allow a call, is logged (SECCOMP_FILTER_FLAG_LOG).
    pub log_calls: bool,
}

/// Scheduling policy and its parameters, as sched_setattr(2) takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Scheduler {
    /// `SCHED_…`.
    pub policy: u32,
    /// `SCHED_FLAG_…`.
    pub flags: u64,
    /// For `other` and `batch`.
    pub nice: i32,
    /// For `fifo` and `rr`.
    pub priority: u32,
    /// For `deadline`, nanoseconds.
    pub runtime: u64,
    /// For `deadline`, nanoseconds.
    pub deadline: u64,
    /// For `deadline`, nanoseconds.
    pub period: u64,
}
