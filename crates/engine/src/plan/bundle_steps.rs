//! Steps that only a machine of an OCI bundle has, in the same three places as all others.

use std::fmt;
use std::path::PathBuf;

use hostel_spec::{BundleMount, BundleSource, DeviceNode, IdMap, MountIds, MountPropagation, TimeOffsets};

use super::steps::{Slot, Source};

/// A mount of something that exists, with attributes and propagation of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// What.
    pub source: Source,
    /// With submounts.
    pub recursive: bool,
    /// Attributes set and cleared, of it alone.
    pub attributes: hostel_spec::AttributeChange,
    /// Attributes set and cleared, of it and all below.
    pub recursive_attributes: hostel_spec::AttributeChange,
    /// Propagation, and whether of all below, too.
    pub propagation: (MountPropagation, bool),
}

/// Of the supervisor, before the payload exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleHost {
    /// Opens the namespaces that are joined, each of the kind it is said to be.
    OpenNamespaces,
    /// Opens a pty in this devpts.
    OpenConsole(Slot),
    /// Gives nodes of this mount their owners: name there, path in the machine, user and group in the machine.
    OwnNodes(Slot, Vec<(String, PathBuf, u32, u32)>),
}

/// Of the supervisor, while the payload waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleBond {
    /// Its user namespace is the one that it joined.
    Users,
    /// Writes the id maps.
    MapIds {
        /// uids.
        uids: Vec<IdMap>,
        /// gids.
        gids: Vec<IdMap>,
    },
    /// Gives a bind mount its id map.
    MapMount {
        /// Its mount.
        slot: Slot,
        /// The map.
        ids: MountIds,
        /// Where it will be, for messages.
        target: PathBuf,
    },
}

/// Of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleStep {
    /// Puts the tree at its own place in the payload's mount namespace, and stands in it.
    Root(Slot),
    /// A cgroup namespace.
    CgroupNamespace,
    /// A time namespace with these offsets.
    Time(TimeOffsets),
    /// Mounts a new file system.
    Mount(BundleMount),
    /// Makes nodes; those of a machine with users of its own are in this mount, by their number in the list.
    Devices(Vec<DeviceNode>, Option<Slot>),
    /// Makes the links in /dev that programs expect, those that are missing.
    DeviceLinks,
    /// The terminal as /dev/console.
    Console(Slot),
    /// Terminals 1 to so many of this devpts as /dev/ttyN, or in a directory below /dev.
    Terminals(Slot, u32, Option<String>),
    /// Waits until the supervisor has run the hooks of the host.
    RuntimeHooks,
    /// Runs the hooks of the machine's namespaces.
    CreateContainerHooks,
    /// Sets kernel parameters.
    Sysctl(Vec<(String, String)>),
    /// Covers paths that exist.
    Mask(Vec<PathBuf>),
    /// Makes paths that exist read-only.
    ReadOnly(Vec<PathBuf>),
    /// How mount events travel, of mounts in the machine's root: path, which, and whether of all below, too.
    Propagation(Vec<(PathBuf, MountPropagation, bool)>),
    /// NIS domain name.
    Domainname(String),
    /// Labels of security modules that the program gets.
    Labels {
        /// AppArmor.
        apparmor: Option<String>,
        /// SELinux.
        selinux: Option<String>,
    },
}

/// Mount attributes as words.
pub(super) fn words(change: &hostel_spec::AttributeChange) -> String {
    const NAMES: [(u64, &str); 8] = [
        (0x1, "ro"),
        (0x2, "nosuid"),
        (0x4, "nodev"),
        (0x8, "noexec"),
        (0x10, "noatime"),
        (0x20, "strictatime"),
        (0x80, "nodiratime"),
        (0x20_0000, "nosymfollow"),
    ];
    NAMES.iter().filter(|(bit, _)| change.set & bit != 0).map(|(_, name)| format!(" {name}")).collect()
}

fn propagation(p: MountPropagation) -> &'static str {
    match p {
        MountPropagation::Private => "private",
        MountPropagation::Slave => "slave",
        MountPropagation::Shared => "shared",
        MountPropagation::Unbindable => "unbindable",
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bind of {}{}{}", self.source, if self.recursive { " with submounts" } else { "" }, words(&self.attributes))?;
        if self.recursive_attributes != hostel_spec::AttributeChange::default() {
            write!(f, ", with all below{}", words(&self.recursive_attributes))?;
        }
        write!(f, ", {}", propagation(self.propagation.0))
    }
}

impl fmt::Display for BundleHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BundleHost::OpenNamespaces => f.write_str("open the namespaces to join"),
            BundleHost::OpenConsole(pts) => write!(f, "open console pty in mount {}", pts.0),
            BundleHost::OwnNodes(slot, _) => write!(f, "owners of nodes in mount {}", slot.0),
        }
    }
}

fn map(list: &[IdMap]) -> String {
    list.iter().map(|m| format!(" {}:{}:{}", m.inside, m.host, m.count)).collect()
}

impl fmt::Display for BundleBond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BundleBond::Users => f.write_str("ids are those of the joined user namespace"),
            BundleBond::MapIds { uids, gids } => write!(f, "write the id maps: users{}, groups{}", map(uids), map(gids)),
            BundleBond::MapMount { slot, ids, .. } if ids.uids.is_empty() => write!(f, "map ids of mount {} as the machine's", slot.0),
            BundleBond::MapMount { slot, ids, .. } => {
                write!(f, "map ids of mount {}: users{}, groups{}", slot.0, map(&ids.uids), map(&ids.gids))
            }
        }
    }
}

fn paths(list: &[PathBuf]) -> String {
    list.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for BundleStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BundleStep::Root(slot) => write!(f, "root = mount {}", slot.0),
            BundleStep::CgroupNamespace => f.write_str("cgroup namespace"),
            BundleStep::Time(offsets) => write!(f, "time namespace ({offsets:?})"),
            BundleStep::Mount(mount) => match &mount.source {
                BundleSource::Fresh { file_system, options, copy_up, .. } => {
                    let copied = if *copy_up { ", with what is there" } else { "" };
                    write!(f, "mount {file_system} on {}{copied}{}", mount.target.display(), words(&mount.attributes))?;
                    options.iter().try_for_each(|(k, v)| if v.is_empty() { write!(f, " {k}") } else { write!(f, " {k}={v}") })
                }
                BundleSource::Bind { path, .. } => write!(f, "bind {} on {}", path.display(), mount.target.display()),
            },
            BundleStep::Devices(nodes, _) => {
                f.write_str("nodes")?;
                nodes.iter().try_for_each(|n| write!(f, " {}", n.path.display()))
            }
            BundleStep::DeviceLinks => f.write_str("links /dev/fd, stdin, stdout, stderr, ptmx"),
            BundleStep::Console(_) => f.write_str("terminal on /dev/console"),
            BundleStep::Terminals(_, count, _) => write!(f, "terminals on /dev/tty1 to /dev/tty{count}"),
            BundleStep::RuntimeHooks => f.write_str("wait for the hooks on the host"),
            BundleStep::CreateContainerHooks => f.write_str("run createContainer hooks"),
            BundleStep::Sysctl(list) => {
                f.write_str("kernel parameters")?;
                list.iter().try_for_each(|(name, value)| write!(f, " {name}={value:?}"))
            }
            BundleStep::Mask(list) => write!(f, "masked: {}", paths(list)),
            BundleStep::ReadOnly(list) => write!(f, "read-only: {}", paths(list)),
            BundleStep::Propagation(list) => {
                f.write_str("propagation:")?;
                list.iter().try_for_each(|(path, p, all)| write!(f, " {} {}{}", path.display(), if *all { "r" } else { "" }, propagation(*p)))
            }
            BundleStep::Domainname(name) => write!(f, "domain name {name}"),
            BundleStep::Labels { .. } => f.write_str("label of the program"),
        }
    }
}
