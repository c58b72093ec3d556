//! The machine itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    AddressFamilies, BindUsers, Bundle, CapSet, ConsoleMode, Credential, Hostname, ImageOptions, Layers, LinkJournal, MachineName, MachineUuid,
    Mount, Network, Ownership, PostMount, ProcessSpec, Resources, Signal, SyscallFilter, UserNamespace,
};

/// Where the root file tree comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreeSource {
    /// The running host's `/`, always below an overlay.
    Host,
    /// A directory.
    Directory(PathBuf),
    /// A tree of this name in /var/lib/machines and its like.
    Named(MachineName),
    /// A disk image: a file or a block device.
    Image(PathBuf),
}

/// Which parts of the tree are thrown away at the end (`--volatile=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Volatile {
    /// None.
    #[default]
    No,
    /// tmpfs as root, /usr of the tree read-only.
    Yes,
    /// The tree read-only, tmpfs on /var.
    State,
    /// An overlay over everything, upper layer on a tmpfs.
    Overlay,
}

/// Whether the machine runs on a throw-away copy (`--ephemeral`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ephemeral {
    /// On the tree itself.
    #[default]
    No,
    /// On a copy (btrfs snapshot, reflink, else plain copy) beside the tree, removed at the end.
    Copy,
    /// On an overlay whose upper layer is on a tmpfs.
    Overlay,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Where it comes from.
    pub tree: TreeSource,
    /// A missing tree is first copied from here (`--template=`).
    pub template: Option<PathBuf>,
    /// Cannot be written at all.
    pub read_only: bool,
    /// What is thrown away.
    pub volatile: Volatile,
    /// Throw-away copy.
    pub ephemeral: Ephemeral,
    /// Upper layer of an overlay root that is kept: a directory with `upper` and `work` in it.
    pub upper: Option<PathBuf>,
    /// The tree's own /tmp stays visible instead of a fresh tmpfs (`SYSTEMD_NSPAWN_TMPFS_TMP=0`).
    #[serde(default)]
    pub keep_tmp: bool,
    /// Boot a tree that has no os-release file (`SYSTEMD_NSPAWN_CHECK_OS_RELEASE=0`).
    #[serde(default)]
    pub skip_os_release_check: bool,
    /// The tree is used without a lock on it: somebody else sees to it (`SYSTEMD_NSPAWN_LOCK=0`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlocked: bool,
    /// Layers of an overlay root, each in a place of its own; nothing of `upper`, `ephemeral` and `volatile` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Layers>,
    /// Run when the root is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_mount: Option<Box<PostMount>>,
    /// Size of the tmpfs on /run, as for mount(8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_size: Option<String>,
    /// A directory of the tree that becomes `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pivot: Option<PivotRoot>,
    /// How a disk image is used, if it is one.
    #[serde(default)]
    pub image: ImageOptions,
}

/// A directory of the tree becomes the root (`--pivot-root=`), as OSTree deployments want it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PivotRoot {
    /// Absolute path in the tree.
    pub new: PathBuf,
    /// Where the whole tree is seen in the new root; `None`: nowhere.
    pub old: Option<PathBuf>,
}

/// What runs as PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// The process of the spec, as PID 1.
    #[default]
    Command,
    /// A stub init as PID 1, the process of the spec as PID 2 (`-a`).
    CommandAsPid2,
    /// The tree's init; the process' argv are its arguments (`-b`).
    Boot,
    /// Hostel's own PID 1, which starts the services that the process' argv names, and reaps. An empty word first: the second is a
    /// script for the tree's /bin/sh that is run instead.
    Services,
}

/// Name and ids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Name; `None` = derived from the tree's directory name.
    pub name: Option<MachineName>,
    /// UTS name; `None` = the machine's name.
    pub hostname: Option<Hostname>,
    /// Used when the tree has no machine id of its own.
    pub uuid: Option<MachineUuid>,
    /// What `$container` says; `None` = `systemd-nspawn` for that personality, `hostel` else.
    pub container: Option<String>,
}

/// Namespaces besides mount and cgroup, which are always own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// User namespace.
    pub user: UserNamespace,
    /// How files match the id range.
    pub ownership: Ownership,
    /// Own pid namespace.
    pub pid: bool,
    /// Own System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Own host name.
    pub uts: bool,
    /// How many levels of user namespaces the machine may make (its `user.max_user_namespaces`); `None` = unlimited.
    pub nested_user: Option<u32>,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self { user: UserNamespace::Host, ownership: Ownership::Auto, pid: true, ipc: true, uts: true, nested_user: None }
    }
}

/// What the payload may ask of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Bounding set. The engine adds CAP_NET_ADMIN with an own network and takes CAP_NET_BIND_SERVICE from a
    /// user namespace on the host's network when `adjust_net_caps` is set.
    pub bounding: CapSet,
    /// What of it was asked for by name (`--capability=`): it stays whatever else the set is made of.
    #[serde(default, skip_serializing_if = "CapSet::is_empty")]
    pub added: CapSet,
    /// See `bounding`.
    pub adjust_net_caps: bool,
    /// Never in the bounding set, whatever `bounding` and `adjust_net_caps` say (`--drop-capability=`).
    pub dropped: CapSet,
    /// System call filter.
    pub syscalls: SyscallFilter,
    /// `SYSTEMD_NSPAWN_API_VFS_WRITABLE`: /sys and /proc/sys writable, nothing masked.
    pub api_writable: bool,
    /// sync(2) and its like do nothing, and O_SYNC is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suppress_sync: bool,
    /// Which sockets may be made; `None` = whatever the filter lets through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_families: Option<AddressFamilies>,
    /// SELinux label of the file systems made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux_files: Option<String>,
}

/// What happens to /etc/resolv.conf (`--resolv-conf=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // spec/nspawn.md 1.13
pub enum ResolvConf {
    #[default]
    Off,
    CopyHost,
    CopyStatic,
    CopyUplink,
    CopyStub,
    ReplaceHost,
    ReplaceStatic,
    ReplaceUplink,
    ReplaceStub,
    BindHost,
    BindStatic,
    BindUplink,
    BindStub,
    Delete,
    Auto,
}

/// What happens to /etc/localtime (`--timezone=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // spec/nspawn.md 1.13
pub enum Timezone {
    #[default]
    Off,
    Copy,
    Bind,
    Symlink,
    Delete,
    Auto,
}

/// What of the host is brought into the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Integration {
    /// /etc/resolv.conf.
    pub resolv_conf: ResolvConf,
    /// /etc/localtime.
    pub timezone: Timezone,
    /// The machine's journal.
    #[serde(default, skip_serializing_if = "LinkJournal::is_no")]
    pub journal: LinkJournal,
}

/// How it ends, and who watches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Sent to PID 1 when the supervisor is told to stop; `None` = found out from the init when booting, SIGKILL else.
    pub kill_signal: Option<Signal>,
    /// A reboot ends the supervisor with status 133 instead of starting again (`--keep-unit`).
    pub reboot_is_133: bool,
    /// Say READY=1 on `$NOTIFY_SOCKET` when the payload does, not when it is started.
    pub notify_ready: bool,
    /// No talk on stderr about start and end.
    pub quiet: bool,
    /// Exit statuses as systemd-nspawn: 133 of the payload becomes 1, killed by a signal is 1.
    pub nspawn_exit_status: bool,
    /// Microseconds from the first request to end until it is killed, where nobody says anything else; `None`: 90 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<u64>,
}

/// The machine as the host's systemd sees it. Without effect where the host is run by something else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostUnit {
    /// Where its cgroup is.
    pub place: UnitPlace,
    /// Slice of its scope; `None`: machine.slice. With its suffix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// Whether systemd-machined is told.
    #[serde(default)]
    pub register: Register,
}

/// In which unit of the host's systemd a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitPlace {
    /// In none: a cgroup beside systemd's own.
    #[default]
    None,
    /// In a scope of its own, `machine-NAME.scope`.
    Scope,
    /// In the unit that the supervisor is in, if that is delegated to it (`--keep-unit`).
    Keep,
}

/// `--register=`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Register {
    /// Not.
    #[default]
    No,
    /// If that is possible.
    Auto,
    /// Or the machine does not start.
    Yes,
}

impl HostUnit {
    /// Nothing is told.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What has no effect on a host that no systemd runs.
    pub fn without_systemd(&self) -> Vec<String> {
        let register = self.register == Register::Yes;
        let register = register.then(|| "--register=yes has no effect: machines are listed by hostel, not by systemd-machined".to_owned());
        let slice = self.slice.as_ref().map(|slice| format!("--slice={slice} has no effect: the machine has a cgroup of its own"));
        register.into_iter().chain(slice).collect()
    }
}

/// What a machine should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Name and ids.
    pub identity: Identity,
    /// Root file system.
    pub root: Root,
    /// What PID 1 is.
    pub payload: Payload,
    /// Its process.
    pub process: ProcessSpec,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Network.
    pub network: Network,
    /// Privileges.
    pub security: Security,
    /// Mounts in order.
    pub mounts: Vec<Mount>,
    /// Limits.
    pub resources: Resources,
    /// Console.
    pub console: ConsoleMode,
    /// Host files brought in.
    pub integration: Integration,
    /// Users of the host that exist inside.
    #[serde(default, skip_serializing_if = "BindUsers::is_default")]
    pub bind_users: BindUsers,
    /// Secrets passed on, each name once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// End and watch.
    pub lifecycle: Lifecycle,
    /// What a systemd that runs the host is told.
    #[serde(default, skip_serializing_if = "HostUnit::is_default")]
    pub unit: HostUnit,
    /// Things accepted that will not be acted upon, said once at start.
    pub notices: Vec<String>,
    /// Its file systems, nodes and hooks are those of an OCI bundle.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::bundle::refuse")]
    pub bundle: Option<Box<Bundle>>,
}
