//! The steps of a plan: plain data that can be printed, run and undone.
//!
//! A step belongs to one of three places, in this order: the supervisor before the payload exists ([`HostStep`]), the
//! supervisor while the payload waits ([`BondStep`]), the payload itself ([`PayloadStep`]). Mounts that the supervisor makes
//! are *detached*: they have no path until the payload attaches them in its own mount namespace, so nothing is ever visible on the host.

use std::ffi::{CStr, CString};
use std::fmt;
use std::path::PathBuf;

use super::bundle_steps::{Bind, BundleBond, BundleHost, BundleStep};
use hostel_spec::{IdMapping, IdRange, PivotRoot};
use hostel_sys::mount::Attributes;

use crate::credentials::Loaded;
use crate::network::lease::AddressChoice;
use crate::network::wire::Wiring;

/// Number of a prepared mount; the payload inherits its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

/// Which host ids the machine gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdChoice {
    /// A free 64 Ki range, that of the tree's owner first.
    Pick {
        /// Owner of the tree.
        tree_owner: u32,
    },
    /// This one.
    Fixed(IdRange),
}

/// Where a bind or layer comes from, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path on the host.
    Path(PathBuf),
    /// The machine's tree, already opened.
    Tree,
    /// A path inside the tree, resolved in it.
    InTree(PathBuf),
    /// A fresh temporary directory (by its number in the plan).
    Temporary(usize),
    /// The layer of the kept machine at `dir`, or that of a file system below its root.
    Kept {
        /// Its directory.
        dir: PathBuf,
        /// Name of that layer.
        part: Option<String>,
    },
    /// The layer over the tree that is thrown away.
    Layer,
    /// The directory that both the upper layer and the work directory of [`hostel_spec::Layers`] are in.
    Upper(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Path(p) => write!(f, "{}", p.display()),
            Source::Tree => f.write_str("the tree"),
            Source::InTree(p) => write!(f, "{} of the tree", p.display()),
            Source::Temporary(n) => write!(f, "temporary directory {n}"),
            Source::Kept { dir, part: None } => write!(f, "{}", dir.display()),
            Source::Kept { dir, part: Some(part) } => write!(f, "{}", hostel_image::kept::part_path(dir, part).display()),
            Source::Layer => f.write_str("the throw-away layer"),
            Source::Upper(dir) => write!(f, "{}", dir.display()),
        }
    }
}

/// An inode to make in a fresh tmpfs. Paths are relative to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir(CString, u32),
    /// A regular file with content.
    File(CString, u32, Vec<u8>),
    /// A read-only file with a random id, another in each life of PID 1.
    BootId(CString),
    /// A symbolic link: (path, target).
    Link(CString, CString),
    /// A character device: (path, mode, major, minor).
    Char(CString, u32, u32, u32),
    /// A block device.
    Block(CString, u32, u32, u32),
    /// A FIFO.
    Fifo(CString, u32),
    /// A socket inode nobody listens on.
    Socket(CString, u32),
    /// A directory that hides what is in it in the layers below, by this attribute.
    Opaque(CString, u32, &'static CStr),
}

/// A mount made by the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    /// A clone of what is at `source`.
    Clone {
        /// What.
        source: Source,
        /// With submounts.
        recursive: bool,
        /// Attributes added, on all of it.
        attributes: Attributes,
    },
    /// A fresh tmpfs.
    Tmpfs {
        /// `key=value` options.
        options: Vec<(CString, CString)>,
        /// Attributes.
        attributes: Attributes,
        /// What is in it.
        nodes: Vec<Node>,
    },
    /// A small tmpfs that covers parts of file systems, those of them that are there; its directories have the modes and owners that they have there.
    Cover {
        /// The file systems, the lowest first.
        of: Vec<Slot>,
        /// Its ids will be mapped.
        mapped: bool,
        /// What is in it.
        nodes: Vec<Node>,
    },
    /// What an OCI bundle binds.
    Bind(Box<Bind>),
    /// A devpts as an OCI bundle wants it; ids are the machine's.
    Terminals {
        /// `key=value` options.
        options: Vec<(CString, CString)>,
        /// Attributes.
        attributes: Attributes,
    },
    /// A devpts instance of its own; slaves belong to the machine's group 5.
    Devpts {
        /// SELinux label.
        label: Option<CString>,
    },
    /// An overlay of host directories, in host ids.
    Overlay {
        /// Lowest first.
        lower: Vec<Source>,
        /// Upper layer; its work directory is made beside it and removed at the end.
        upper: Option<Source>,
    },
    /// Credentials on a file system in memory that is never swapped and cannot be written.
    Credentials {
        /// What is in it.
        files: Vec<Loaded>,
        /// Every user of the machine may read them, not only its root.
        readable: bool,
    },
    /// Not a mount to attach: the file of this program, for a process of the machine that nothing can be written through.
    OwnProgram,
    /// A part of the disk image.
    Part(usize),
    /// sysfs of the supervisor's network namespace.
    Sysfs {
        /// Attributes.
        attributes: Attributes,
    },
}

/// A step of the supervisor before the payload exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostStep {
    /// Of a machine of an OCI bundle.
    Bundle(BundleHost),
    /// Copies a missing tree from a template.
    CopyTemplate {
        /// From.
        from: PathBuf,
        /// To.
        to: PathBuf,
    },
    /// Copies the tree for an ephemeral machine.
    CopyTree {
        /// From.
        from: PathBuf,
    },
    /// Makes a throw-away layer beside the tree, for an ephemeral machine.
    MakeLayer {
        /// The tree.
        of: PathBuf,
    },
    /// Keeps others from running the tree meanwhile.
    LockTree {
        /// Others may read it too.
        shared: bool,
    },
    /// Keeps others from using a kept upper layer meanwhile.
    LockUpper(PathBuf),
    /// Opens the directory that has the layers of file systems below the root.
    OpenParts(PathBuf),
    /// Makes the kept upper layer of a file system below the root, when it is missing.
    KeptPart {
        /// The kept machine's directory.
        dir: PathBuf,
        /// What the layer is called there.
        name: String,
        /// The layer below it, whose mode and owner it gets.
        like: Slot,
    },
    /// Holds a write descriptor on the tree's file system, so that a guest's shutdown cannot make it read-only.
    PinFileSystem,
    /// Takes an id range and holds its lock.
    TakeIds(IdChoice),
    /// Gives the tree's files to the id range, on disk.
    ShiftTree,
    /// Makes a directory under /var/tmp, removed at the end.
    TemporaryDirectory(usize),
    /// Makes the host's directory of the machine's journal.
    JournalDirectory(PathBuf),
    /// Makes the host's link to the machine's journal, which stays.
    LinkJournal {
        /// Where.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
        /// That it cannot be made is no error.
        attempt: bool,
    },
    /// Asks the host's systemd for a scope.
    MakeScope {
        /// Its slice.
        slice: String,
        /// Somebody wants that slice and no other.
        demanded: bool,
    },
    /// Uses the unit that was delegated to the supervisor: its cgroup.
    KeepUnit(PathBuf),
    /// Makes the machine's cgroup.
    MakeCgroup,
    /// Makes a mount.
    Prepare(Slot, Prepared),
    /// Opens a pty out of the machine's own devpts; /dev/console leads to it.
    OpenConsole {
        /// The devpts.
        pts: Slot,
        /// The tmpfs of /dev.
        dev: Slot,
    },
    /// Opens the socket at which the payload may say that it is ready, and holds the machine's /proc/kmsg open.
    OpenNotify(Slot),
    /// Takes an address for the machine.
    TakeAddress(AddressChoice),
}

/// A step of the supervisor while the payload waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BondStep {
    /// Of a machine of an OCI bundle.
    Bundle(Box<BundleBond>),
    /// Writes uid_map and gid_map.
    MapIds,
    /// Gives the tree's mount the machine's id map; when its file system cannot, `chown` says whether files may be changed on disk instead.
    MapTree {
        /// The tree.
        slot: Slot,
        /// Fall back.
        chown: bool,
    },
    /// Gives a bind mount an id map.
    MapMount {
        /// Which.
        slot: Slot,
        /// How.
        mapping: IdMapping,
        /// Where it will be, for `owneridmap`.
        target: PathBuf,
    },
    /// Makes the root, an overlay with its upper layer on a tmpfs, with the host's rights, and puts it on top of the payload's "/".
    StackRoot {
        /// The lower layer.
        lower: Slot,
        /// Disk file systems of the host below it, each with an overlay of its own: clone, where.
        submounts: Vec<(Slot, PathBuf)>,
    },
    /// What the payload waits for first is done: lets it go on.
    Release,
    /// Tells systemd-machined.
    Register {
        /// Or the machine does not start.
        demanded: bool,
    },
    /// Makes the machine's links, in one send.
    Wire(Box<Wiring>),
    /// Gives the machine's network a name in /run/netns, for ip-netns(8).
    NameNetwork(String),
    /// The payload's OOM score: in a user namespace of its own it may not set it itself while we protect it from being looked into.
    OomScore(i32),
}

/// How the root file system comes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootAssembly {
    /// The prepared mount is the root.
    Mount(Slot),
    /// An overlay of prepared layers.
    Overlay {
        /// Lowest first.
        lower: Vec<Slot>,
        /// A prepared mount with `upper` and `work` in it; `None` = a fresh tmpfs.
        upper: Option<Slot>,
        /// Where in that mount they are, if not there.
        at: Option<Box<(PathBuf, PathBuf)>>,
    },
    /// What [`BondStep::StackRoot`] left on top of "/" is the root.
    Stacked,
}

/// What a resolver or time zone file becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    /// Written, unless it is a link.
    Copy(Vec<u8>),
    /// The same, below a line by which it is known again as ours.
    Marked(Vec<u8>),
    /// Written, whatever it was.
    Replace(Vec<u8>),
    /// Covered by a prepared mount.
    Bind(Slot),
    /// Written where the link leads, directories made on the way.
    Through(Vec<u8>),
    /// A link, when what it names exists in the tree; else covered by the mount, if there is one.
    Link(String, Option<Slot>),
    /// Removed.
    Delete,
}

/// How to react when the target of a mount is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make a directory.
    MakeDir,
    /// Make an empty file.
    MakeFile,
    /// Make what the source is.
    LikeSource,
    /// Leave it out.
    Skip,
    /// It is an error.
    Fail,
}

/// A step of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadStep {
    /// Of a machine of an OCI bundle.
    Bundle(Box<BundleStep>),
    /// Waits until the supervisor has done its bond steps.
    Wait,
    /// Cuts mount propagation to the host.
    Isolate,
    /// Puts the root together and stands in it.
    AssembleRoot(RootAssembly),
    /// Own overlay for a disk file system mounted below the host's `/`, or for a part of a disk image.
    OverlaySubmount {
        /// Its clone, and what covers parts of it.
        lower: Vec<Slot>,
        /// What is kept of it; otherwise a fresh tmpfs.
        upper: Option<Slot>,
        /// Size of that tmpfs, as for mount(8).
        size: Option<CString>,
        /// Where.
        target: PathBuf,
    },
    /// A directory of the root becomes the root.
    PivotTree {
        /// Which.
        pivot: PivotRoot,
        /// The old root, where it stays, cannot be written.
        read_only: bool,
    },
    /// Makes the directory of the machine's journal, if the tree takes one.
    JournalDirectory(PathBuf),
    /// Makes a base directory if it is missing; it must not be a link.
    BaseDirectory(&'static str, u32),
    /// Makes a link if there is nothing.
    BaseLink(&'static str, &'static str),
    /// Attaches /usr of a prepared tree, read-only, on /usr.
    AttachUsr(Slot),
    /// The whole root read-only.
    RootReadOnly,
    /// Attaches a prepared mount on an API directory, which must not be a link.
    AttachApi(Slot, &'static CStr),
    /// Attaches the second mount at a path of the first.
    AttachIn(Slot, Slot, &'static CStr),
    /// Attaches a tmpfs on /tmp, unless something is mounted there.
    AttachTmp(Slot),
    /// Attaches a prepared mount.
    Attach {
        /// Which.
        slot: Slot,
        /// Where in the machine.
        target: PathBuf,
        /// When the target is missing.
        missing: Missing,
        /// Read-only on top of the mount's own attributes.
        read_only: bool,
    },
    /// Binds a path of the tree elsewhere in it.
    BindInside {
        /// From.
        from: PathBuf,
        /// To.
        target: PathBuf,
        /// Read-only.
        read_only: bool,
        /// With submounts.
        recursive: bool,
    },
    /// Covers a path by a node of the same type with mode 000.
    Inaccessible(PathBuf),
    /// Mounts a fresh procfs.
    Proc,
    /// Mounts a fresh sysfs of the machine's own network; the slot is used when the kernel refuses that.
    Sysfs {
        /// The host's sysfs, read-only.
        fallback: Slot,
        /// Attributes.
        attributes: Attributes,
    },
    /// Makes a POSIX message queue file system.
    Mqueue,
    /// Attaches it on mqueue of a prepared mount.
    AttachMqueue(Slot),
    /// Enters a cgroup namespace and mounts cgroup2.
    Cgroup,
    /// Waits for what the supervisor prepares beside; by then the bond steps are done, too.
    Receive,
    /// Makes parts of /proc read-only.
    ProcReadOnly {
        /// Relative to /proc; missing ones are left out.
        paths: Vec<&'static CStr>,
        /// /proc/sys/net stays writable: the network is the machine's own.
        net_writable: bool,
    },
    /// Covers parts of /proc, and verifies that they are covered.
    ProcMask(Vec<&'static CStr>),
    /// Covers directories of /sys by an empty read-only directory.
    SysMask(Vec<&'static CStr>),
    /// Covers `/proc/sys/kernel/random/boot_id` and `/proc/kmsg` by files of /run/host.
    ProcOwn,
    /// /run/host (in this mount) read-only from here on.
    SealRunHost(Slot),
    /// Changes /etc/resolv.conf.
    ResolvConf(FileChange),
    /// Changes /etc/localtime.
    Timezone(FileChange),
    /// Runs a program of the host's that mounts more.
    PostMount,
    /// Becomes root of the mount namespace; the host's tree is gone.
    Pivot,
    /// Moves to a copy of the mount namespace in which root inside can undo no mount. What was opened before leads nowhere any more.
    LockMounts,
    /// Mounts made on the root are seen by what the payload unshares, as the Container Interface wants it.
    ShareMounts,
    /// Sets the host name.
    Hostname(String),
    /// Loopback up.
    Loopback,
    /// Waits until the supervisor serves the machine's network, and sets this interface up with the machine's address, if
    /// there is one.
    Network(Option<String>),
    /// /etc/resolv.conf names the supervisor as name server; a link there is left alone unless it is to be replaced.
    Resolver {
        /// Replace links, too: the tree's own file stays as it is below.
        replace: bool,
    },
    /// How many user namespaces may be nested.
    LimitNesting(u32),
    /// A fresh session keyring.
    Keyring,
}

/// Names for [`fmt::Display`]: what the plan prints.
impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |a: &Attributes| {
            let names =
                [(Attributes::RDONLY, " ro"), (Attributes::NOSUID, " nosuid"), (Attributes::NODEV, " nodev"), (Attributes::NOEXEC, " noexec")];
            names.iter().filter(|(bit, _)| a.0 & bit.0 != 0).map(|(_, n)| *n).collect::<String>()
        };
        match self {
            Prepared::Clone { source, recursive, attributes } => {
                write!(f, "clone of {source}{}{}", if *recursive { " with submounts" } else { "" }, words(attributes))
            }
            Prepared::Tmpfs { options, attributes, nodes } => {
                f.write_str("tmpfs")?;
                for (key, value) in options {
                    write!(f, " {}={}", key.to_string_lossy(), value.to_string_lossy())?;
                }
                write!(f, "{}", words(attributes))?;
                if !nodes.is_empty() {
                    write!(f, " with {} inodes", nodes.len())?;
                }
                Ok(())
            }
            Prepared::Cover { of, nodes, .. } => write!(f, "cover of mount {} with {} inodes at most", of[0].0, nodes.len()),
            Prepared::Part(index) => write!(f, "part {index} of the image"),
            Prepared::Bind(bind) => bind.fmt(f),
            Prepared::Terminals { .. } => f.write_str("devpts for the terminal"),
            Prepared::Devpts { .. } => f.write_str("devpts, own instance"),
            Prepared::Overlay { lower, upper } => {
                f.write_str("overlay of")?;
                for source in lower {
                    write!(f, " {source}")?;
                }
                match upper {
                    Some(upper) => write!(f, ", upper layer {upper}"),
                    None => f.write_str(", read-only"),
                }
            }
            Prepared::Credentials { files, readable } => {
                let names = files.iter().map(|file| file.id.to_string_lossy()).collect::<Vec<_>>().join(" ");
                write!(f, "ramfs ro with credentials {names}{}", if *readable { ", for every user" } else { "" })
            }
            Prepared::OwnProgram => f.write_str("hostel's own program, read-only, as stub init"),
            Prepared::Sysfs { attributes } => write!(f, "sysfs{}", words(attributes)),
        }
    }
}

impl fmt::Display for HostStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostStep::Bundle(step) => step.fmt(f),
            HostStep::CopyTemplate { from, to } => write!(f, "copy template {} to {}", from.display(), to.display()),
            HostStep::CopyTree { from } => write!(f, "copy {} for this run (snapshot, reflink or copy)", from.display()),
            HostStep::MakeLayer { of } => write!(f, "make a layer for this run, over {}", of.display()),
            HostStep::LockTree { shared } => write!(f, "lock the tree{}", if *shared { " (shared)" } else { "" }),
            HostStep::OpenParts(dir) => write!(f, "layers of file systems below the root are in {}", dir.display()),
            HostStep::LockUpper(dir) => write!(f, "lock the kept layer {}", dir.display()),
            HostStep::KeptPart { dir, name, like } => {
                write!(f, "make layer {name} of {} if it is missing, as the top of mount {}", dir.display(), like.0)
            }
            HostStep::PinFileSystem => f.write_str("pin the tree's file system writable"),
            HostStep::TakeIds(IdChoice::Pick { .. }) => f.write_str("pick a free range of 65536 ids"),
            HostStep::TakeIds(IdChoice::Fixed(r)) => write!(f, "use ids {}..{}", r.base, u64::from(r.base) + u64::from(r.count) - 1),
            HostStep::ShiftTree => f.write_str("give the tree's files to the id range, on disk"),
            HostStep::TemporaryDirectory(n) => write!(f, "make temporary directory {n} in /var/tmp"),
            HostStep::JournalDirectory(path) => write!(f, "make {}", path.display()),
            HostStep::LinkJournal { link, target, .. } => write!(f, "link {} -> {}", link.display(), target.display()),
            HostStep::MakeScope { slice, .. } => write!(f, "ask systemd for a scope in {slice}"),
            HostStep::KeepUnit(path) => write!(f, "use the unit we are in, {}", path.display()),
            HostStep::MakeCgroup => f.write_str("make the machine's cgroup with its limits and device policy"),
            HostStep::Prepare(slot, what) => write!(f, "prepare mount {}: {what}", slot.0),
            HostStep::OpenConsole { pts, .. } => write!(f, "open console pty in mount {}", pts.0),
            HostStep::TakeAddress(AddressChoice { zone: Some(zone), .. }) => write!(f, "take an address in zone {zone}"),
            HostStep::TakeAddress(_) => f.write_str("take an address"),
            HostStep::OpenNotify(slot) => write!(f, "open notify socket in mount {}", slot.0),
        }
    }
}

impl fmt::Display for BondStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BondStep::Bundle(step) => step.fmt(f),
            BondStep::MapIds => f.write_str("write the id maps"),
            BondStep::MapTree { slot, chown } => write!(f, "map ids of mount {}{}", slot.0, if *chown { ", else change them on disk" } else { "" }),
            BondStep::MapMount { slot, mapping, .. } => write!(f, "map ids of mount {} ({mapping:?})", slot.0),
            BondStep::StackRoot { lower, submounts } => {
                write!(f, "make root: overlay of mount {}", lower.0)?;
                for (lower, target) in submounts {
                    write!(f, ", of mount {} on {}", lower.0, target.display())?;
                }
                f.write_str("; upper layers on tmpfs, with the host's rights (Linux before 6.6)")
            }
            BondStep::Release => f.write_str("let it go on"),
            BondStep::Register { demanded } => write!(f, "tell systemd-machined{}", if *demanded { "" } else { ", if it is there" }),
            BondStep::NameNetwork(name) => write!(f, "name its network /run/netns/{name}"),
            BondStep::Wire(wiring) => write!(f, "{wiring}"),
            BondStep::OomScore(score) => write!(f, "OOM score {score}"),
        }
    }
}

impl fmt::Display for PayloadStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ro = |r: &bool| if *r { " read-only" } else { "" };
        match self {
            PayloadStep::Bundle(step) => step.fmt(f),
            PayloadStep::Wait => f.write_str("wait for the supervisor"),
            PayloadStep::Isolate => f.write_str("cut mount propagation"),
            PayloadStep::AssembleRoot(RootAssembly::Stacked) => f.write_str("root = the overlay that was made"),
            PayloadStep::AssembleRoot(RootAssembly::Mount(slot)) => write!(f, "root = mount {}", slot.0),
            PayloadStep::AssembleRoot(RootAssembly::Overlay { lower, upper, at }) => {
                f.write_str("root = overlay of")?;
                for slot in lower {
                    write!(f, " mount {}", slot.0)?;
                }
                match (upper, at) {
                    (Some(slot), Some(at)) => write!(f, ", upper layer {} in mount {}", at.0.display(), slot.0),
                    (Some(slot), None) => write!(f, ", upper layer in mount {}", slot.0),
                    (None, _) => f.write_str(", upper layer on a tmpfs"),
                }
            }
            PayloadStep::OverlaySubmount { lower, upper, size, target } => {
                f.write_str("overlay of")?;
                for slot in lower {
                    write!(f, " mount {}", slot.0)?;
                }
                write!(f, " on {}, upper layer ", target.display())?;
                match (upper, size) {
                    (Some(slot), _) => write!(f, "in mount {}", slot.0),
                    (None, Some(size)) => write!(f, "on a tmpfs of {}", size.to_string_lossy()),
                    (None, None) => f.write_str("on a tmpfs"),
                }
            }
            PayloadStep::PivotTree { pivot: PivotRoot { new, old }, read_only } => {
                write!(f, "root = {} of the root", new.display())?;
                old.as_ref().map_or(Ok(()), |old| write!(f, ", the old one on {}{}", old.display(), ro(read_only)))
            }
            PayloadStep::JournalDirectory(path) => write!(f, "directory {} (if missing)", path.display()),
            PayloadStep::BaseDirectory(path, mode) => write!(f, "directory /{path} (mode {mode:04o} if missing)"),
            PayloadStep::BaseLink(path, target) => write!(f, "link /{path} -> {target} (if missing)"),
            PayloadStep::AttachUsr(slot) => write!(f, "attach usr of mount {} on /usr read-only", slot.0),
            PayloadStep::RootReadOnly => f.write_str("root read-only"),
            PayloadStep::AttachApi(slot, target) => write!(f, "attach mount {} on /{}", slot.0, target.to_string_lossy()),
            PayloadStep::AttachIn(outer, inner, path) => write!(f, "attach mount {} on /{} of mount {}", inner.0, path.to_string_lossy(), outer.0),
            PayloadStep::AttachTmp(slot) => write!(f, "attach mount {} on /tmp", slot.0),
            PayloadStep::Attach { slot, target, read_only, .. } => write!(f, "attach mount {} on {}{}", slot.0, target.display(), ro(read_only)),
            PayloadStep::BindInside { from, target, read_only, .. } => write!(f, "bind {} on {}{}", from.display(), target.display(), ro(read_only)),
            PayloadStep::Inaccessible(target) => write!(f, "make {} inaccessible", target.display()),
            PayloadStep::Proc => f.write_str("mount /proc"),
            PayloadStep::Sysfs { .. } => f.write_str("mount /sys of the own network"),
            PayloadStep::Mqueue => f.write_str("make message queues"),
            PayloadStep::AttachMqueue(_) => f.write_str("attach them on /dev/mqueue"),
            PayloadStep::Cgroup => f.write_str("cgroup namespace, mount /sys/fs/cgroup"),
            PayloadStep::Receive => f.write_str("receive what the supervisor has prepared"),
            PayloadStep::ProcReadOnly { paths, net_writable } => {
                write!(f, "read-only in /proc: {}{}", names(paths), if *net_writable { " (but sys/net)" } else { "" })
            }
            PayloadStep::ProcMask(paths) => write!(f, "masked in /proc: {}", names(paths)),
            PayloadStep::SysMask(paths) => write!(f, "masked in /sys: {}", names(paths)),
            PayloadStep::ProcOwn => f.write_str("own boot_id and kmsg"),
            PayloadStep::SealRunHost(_) => f.write_str("/run/host read-only"),
            PayloadStep::ResolvConf(change) => write!(f, "/etc/resolv.conf: {}", change_word(change)),
            PayloadStep::Timezone(change) => write!(f, "/etc/localtime: {}", change_word(change)),
            PayloadStep::PostMount => f.write_str("run the program that mounts more"),
            PayloadStep::Pivot => f.write_str("pivot into the root, drop the host's"),
            PayloadStep::LockMounts => f.write_str("lock all mounts against root inside"),
            PayloadStep::ShareMounts => f.write_str("share mounts with what is unshared inside"),
            PayloadStep::Hostname(name) => write!(f, "host name {name}"),
            PayloadStep::Loopback => f.write_str("loopback up"),
            PayloadStep::Network(Some(link)) => write!(f, "wait for the network; {link} up with address and default route"),
            PayloadStep::Network(None) => f.write_str("wait for the network"),
            PayloadStep::Resolver { replace } => {
                write!(f, "/etc/resolv.conf: name server is the supervisor{}", if *replace { "" } else { ", unless it is a link" })
            }
            PayloadStep::LimitNesting(n) => write!(f, "at most {n} nested user namespaces"),
            PayloadStep::Keyring => f.write_str("fresh session keyring"),
        }
    }
}

fn names(paths: &[&CStr]) -> String {
    paths.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn change_word(change: &FileChange) -> String {
    match change {
        FileChange::Copy(_) | FileChange::Marked(_) => "copy the host's, unless it is a link".into(),
        FileChange::Through(_) => "copy the host's to where the link leads".into(),
        FileChange::Replace(_) => "replace by the host's".into(),
        FileChange::Bind(slot) => format!("bind mount {}", slot.0),
        FileChange::Link(target, None) => format!("link to {target}"),
        FileChange::Link(target, Some(slot)) => format!("link to {target}, or bind mount {}", slot.0),
        FileChange::Delete => "delete".into(),
    }
}
