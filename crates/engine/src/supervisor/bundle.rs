//! What the supervisor does for a machine of an OCI bundle: mounts with attributes of their own, id maps of several ranges,
//! namespaces of others.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_process::pty::Pty;
use hostel_spec::{Bundle, IdMap, IdRange, JoinedNamespace, MountIds, MountPropagation};
use hostel_sys::clone::{self, CloneArgs, Fork};
use hostel_sys::mount::{self, Attributes, FsOption, Propagation};
use hostel_sys::proc;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::pipe::{PipeFlags, pipe_with};

use super::launch;
use super::prepare::{Made, open_source};
use crate::error::{Context, Error, Result, io_text};
use crate::plan::Plan;
use crate::plan::bundle_steps::{Bind, BundleBond, BundleHost};
use crate::plan::steps::Slot;

pub(super) fn propagation(p: MountPropagation) -> Propagation {
    match p {
        MountPropagation::Private => Propagation::Private,
        MountPropagation::Slave => Propagation::Slave,
        MountPropagation::Shared => Propagation::Shared,
        MountPropagation::Unbindable => Propagation::Unbindable,
    }
}

/// A clone with the attributes and the propagation that are asked for.
pub(super) fn bind(bind: &Bind, made: &Made) -> Result<OwnedFd> {
    let failed = |e: std::io::Error| Error::new("", "", io_text(&e));
    let source = open_source(&bind.source, made)?;
    let fd = mount::clone_tree(source.as_fd(), c"", bind.recursive).map_err(failed)?;
    // The clone of a shared mount is its peer: private first, unless events are to travel.
    let (travel, all) = bind.propagation;
    let first = if travel == MountPropagation::Private || !all { Propagation::Private } else { propagation(travel) };
    let change = |recursive: bool, change: hostel_spec::AttributeChange, to: Propagation| {
        mount::change(fd.as_fd(), c"", recursive, Attributes(change.set), Attributes(change.clear), to, None).map_err(failed)
    };
    if all || travel == MountPropagation::Private {
        change(bind.recursive, bind.recursive_attributes, first)?;
        change(false, bind.attributes, Propagation::Keep)?;
    } else {
        change(false, bind.attributes, propagation(travel))?;
        if bind.recursive_attributes != Default::default() {
            change(bind.recursive, bind.recursive_attributes, Propagation::Keep)?;
        }
    }
    Ok(fd)
}

/// A devpts in which the supervisor opens the machine's terminal. Ids in options are the machine's.
pub(super) fn terminals(options: &[(CString, CString)], attributes: Attributes, plan: &Plan, made: &Made) -> Result<OwnedFd> {
    let all = maps(plan, made);
    let mapped = |key: &str, value: &str| -> Option<String> {
        let maps = all.map(|(uids, gids)| if key == "gid" { gids } else { uids }).filter(|m| !m.is_empty())?;
        let id: u32 = value.parse().ok()?;
        Some(host_id(maps, id)?.to_string())
    };
    let mut texts: Vec<(CString, CString)> = Vec::new();
    for (key, value) in options {
        let (name, text) = (key.to_string_lossy(), value.to_string_lossy());
        let own = matches!(&*name, "uid" | "gid").then(|| mapped(&name, &text)).flatten();
        texts.push((key.clone(), own.and_then(|t| CString::new(t).ok()).unwrap_or_else(|| value.clone())));
    }
    let mut list: Vec<FsOption<'_>> = texts.iter().map(|(k, v)| if v.is_empty() { FsOption::Flag(k) } else { FsOption::Text(k, v) }).collect();
    list.push(FsOption::Text(c"source", c"devpts"));
    mount::filesystem(c"devpts", &list, attributes).map_err(|e| Error::new("", "", io_text(&e)))
}

/// The machine's id maps.
fn maps<'a>(plan: &'a Plan, made: &'a Made) -> Option<(&'a Vec<IdMap>, &'a Vec<IdMap>)> {
    let own = || plan.spec.bundle.as_deref().map(|b| (&b.uids, &b.gids));
    made.maps.as_ref().map(|(uids, gids)| (uids, gids)).or_else(own)
}

fn own_nodes(slot: Slot, nodes: &[(String, PathBuf, u32, u32)], plan: &Plan, made: &Made) -> Result<()> {
    let dir = made.slot(slot).context("use", "nodes")?;
    for (name, path, uid, gid) in nodes {
        let object = || format!("node {}", path.display());
        let ids = maps(plan, made).and_then(|(uids, gids)| Some((host_id(uids, *uid)?, host_id(gids, *gid)?)));
        let (uid, gid) = ids.ok_or_else(|| Error::new("own", object(), "its user or group is none of the machine's"))?;
        rustix::fs::chownat(dir, name.as_str(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
            .context("own", object())?;
    }
    Ok(())
}

/// What `inside` is on the host.
pub(super) fn host_id(maps: &[IdMap], inside: u32) -> Option<u32> {
    maps.iter().find_map(|m| inside.checked_sub(m.inside).filter(|offset| *offset < m.count).map(|offset| m.host + offset))
}

pub(super) fn host_step(step: &BundleHost, plan: &Plan, made: &mut Made) -> Result<()> {
    match step {
        BundleHost::OpenNamespaces => {
            let joined = plan.spec.bundle.iter().flat_map(|b| &b.join).map(open_namespace).collect::<Result<Vec<_>>>()?;
            made.joined = joined;
            if let (Some(bundle), Some(users)) = (&plan.spec.bundle, joined_users(made)) {
                let maps = maps_of(users)?;
                made.ids = Some(check_maps(bundle, &maps)?);
                made.maps = Some(maps);
            }
        }
        BundleHost::OpenConsole(pts) => open_console(*pts, plan, made)?,
        BundleHost::OwnNodes(slot, nodes) => own_nodes(*slot, nodes, plan, made)?,
    }
    Ok(())
}

fn open_namespace(join: &JoinedNamespace) -> Result<(u32, OwnedFd)> {
    let object = || format!("{} namespace {}", join.kind.name(), join.path.display());
    let fd = rustix::fs::open(&join.path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
        .context("open", object())?;
    match proc::namespace_kind(fd.as_fd()) {
        Ok(kind) if kind == join.kind.flag() => Ok((kind, fd)),
        Ok(_) => Err(Error::new("join", object(), "it is a namespace of another kind")),
        Err(_) => Err(Error::new("join", object(), "it is no namespace")),
    }
}

/// The user namespace that is joined.
pub(super) fn joined_users(made: &Made) -> Option<BorrowedFd<'_>> {
    made.joined.iter().find(|(kind, _)| u64::from(*kind) == clone::NEWUSER).map(|(_, fd)| fd.as_fd())
}

const USERS: &str = "user namespace of the bundle";

/// The id maps of a user namespace, in ids of ours: a process in it is asked, for only of processes can they be read.
fn maps_of(users: BorrowedFd<'_>) -> Result<(Vec<IdMap>, Vec<IdMap>)> {
    let (hold_read, hold_write) = pipe_with(PipeFlags::CLOEXEC).context("make", "pipe")?;
    let (said_read, said_write) = pipe_with(PipeFlags::CLOEXEC).context("make", "pipe")?;
    match clone::clone3(&CloneArgs::default()).context("make", "process to look at a user namespace")? {
        Fork::Child => {
            drop((hold_write, said_read));
            let errno = proc::join_namespace(users, clone::NEWUSER as i32).err().and_then(|e| e.raw_os_error()).unwrap_or(0);
            let _ = rustix::io::write(&said_write, &errno.to_ne_bytes());
            let _ = rustix::io::read(&hold_read, &mut [0u8; 1]);
            clone::exit_now(0)
        }
        Fork::Parent { pid, pidfd } => {
            drop((hold_read, said_write));
            let mut errno = [0u8; 4];
            let maps = match rustix::io::retry_on_intr(|| rustix::io::read(&said_read, &mut errno)) {
                Ok(4) if errno == [0; 4] => read_map(pid, "uid_map").and_then(|uids| Ok((uids, read_map(pid, "gid_map")?))),
                // The kernel lets nobody join the one he is in.
                Ok(4) if i32::from_ne_bytes(errno) == rustix::io::Errno::INVAL.raw_os_error() => Err(Error::new("join", USERS, "we are in it")),
                Ok(4) => Err(Error::new("join", USERS, io_text(&std::io::Error::from_raw_os_error(i32::from_ne_bytes(errno))))),
                _ => Err(Error::new("join", USERS, "the process that looks at it ended early")),
            };
            drop(hold_write);
            let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED);
            maps
        }
    }
}

fn read_map(pid: i32, file: &str) -> Result<Vec<IdMap>> {
    let path = format!("/proc/{pid}/{file}");
    let text = std::fs::read_to_string(&path).context("read", path)?;
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map_while(|word| word.parse().ok());
        Some(IdMap { inside: numbers.next()?, host: numbers.next()?, count: numbers.next()? })
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Whether a machine can have these ids; the range of its root.
fn check_maps(bundle: &Bundle, (uids, gids): &(Vec<IdMap>, Vec<IdMap>)) -> Result<IdRange> {
    let same = |said: &[IdMap], is: &[IdMap]| said.is_empty() || (said.len() == is.len() && said.iter().all(|map| is.contains(map)));
    if !same(&bundle.uids, uids) || !same(&bundle.gids, gids) {
        return Err(Error::new("join", USERS, "linux.uidMappings and gidMappings are not those that it has; leave them out"));
    }
    let root = |maps: &[IdMap]| maps.iter().find(|m| m.inside == 0).copied();
    match (root(uids), root(gids)) {
        (Some(uid), Some(gid)) if uid.host == gid.host => Ok(IdRange { base: uid.host, count: uid.count }),
        (Some(_), Some(_)) => Err(Error::new("join", USERS, "its root's user and group are not of the same number on the host")),
        _ => Err(Error::new("join", USERS, "it has no id 0, and a machine is set up by its root")),
    }
}

/// Clones the payload out of a helper that goes into the user namespace, from which nobody comes back. It is our child all the same.
/// `child` is the payload and does not return; the helper has our memory and our descriptors, and we wait for it.
pub(super) fn clone_inside(made: &Made, args: &CloneArgs<'_>, child: &mut dyn FnMut() -> i32) -> std::io::Result<(i32, OwnedFd)> {
    let mut result = None;
    // Born in the payload's cgroup: inside, it might not be allowed to put somebody there.
    let helper = CloneArgs { flags: clone::FILES, cgroup: args.cgroup, exit_signal: 0 };
    let (_, pidfd) = clone::vfork_exec(&helper, &mut || {
        let inner = CloneArgs { flags: args.flags | clone::PARENT, cgroup: None, exit_signal: 0 };
        // What needs the rights that we have outside comes before.
        let joined = [clone::NEWPID, clone::NEWUSER].into_iter().try_for_each(|kind| {
            let found = made.joined.iter().find(|(k, _)| u64::from(*k) == kind);
            found.map_or(Ok(()), |(kind, fd)| proc::join_namespace(fd.as_fd(), *kind as i32))
        });
        result = Some(match joined.and_then(|()| clone::clone3(&inner)) {
            Ok(Fork::Child) => return child(),
            Ok(Fork::Parent { pid, pidfd }) => Ok((pid, pidfd)),
            Err(e) => Err(e),
        });
        0
    })?;
    clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED)?;
    result.unwrap_or_else(|| Err(std::io::Error::other("the process that makes it ended early")))
}

fn open_console(pts: Slot, plan: &Plan, made: &mut Made) -> Result<()> {
    let base = made.base();
    let failed = |e: hostel_process::pty::PtyError| Error::new("open", "console pty", e);
    let slot = made.slot(pts).context("use", "devpts")?;
    let pty = Pty::open(slot).map_err(failed)?;
    let devpts = rustix::io::fcntl_dupfd_cloexec(slot, 3).context("hold", "devpts")?;
    if base != 0 {
        for path in [c"", c"ptmx"] {
            rustix::fs::chownat(slot, path, Some(Uid::from_raw(base)), Some(Gid::from_raw(base)), AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)
                .context("own", "/dev/pts")?;
        }
        rustix::fs::fchown(&pty.slave, Some(Uid::from_raw(base)), None).context("own", "console pty")?;
    }
    if let Some(size) = plan.window {
        pty.set_size(size).map_err(failed)?;
    }
    let count = plan.spec.bundle.as_ref().map_or(0, |b| b.terminals);
    let terminals = (1..=count).map(|number| further(slot, number, base)).collect::<Result<_>>()?;
    (made.console, made.terminals, made.devpts) = (Some(pty), terminals, Some(devpts));
    Ok(())
}

/// A terminal besides the console, of this number in a devpts that nobody else has seen.
fn further(pts: BorrowedFd<'_>, number: u32, base: u32) -> Result<Pty> {
    let pty = Pty::open(pts).map_err(|e| Error::new("open", format!("terminal {number}"), e))?;
    if pty.number != number {
        return Err(Error::new("open", format!("terminal {number}"), format!("the kernel calls it {}", pty.number)));
    }
    if base != 0 {
        rustix::fs::fchown(&pty.slave, Some(Uid::from_raw(base)), None).context("own", format!("terminal {number}"))?;
    }
    // Whoever is given our end waits on it as on any terminal.
    rustix::io::ioctl_fionbio(&pty.master, false).context("open", format!("terminal {number}"))?;
    Ok(pty)
}

/// Runs a bond step; what comes back is the machine's user namespace, when its ids have been mapped.
pub(super) fn bond(step: &BundleBond, made: &Made, pid: i32, users: Option<BorrowedFd<'_>>) -> Result<Option<OwnedFd>> {
    match step {
        BundleBond::Users => joined_users(made).map(|fd| fd.try_clone_to_owned().context("hold", USERS)).transpose(),
        BundleBond::MapIds { uids, gids } => {
            write_maps(pid, uids, gids)?;
            launch::open_namespace(pid, "user").map(Some)
        }
        BundleBond::MapMount { slot, ids, target } => map_mount(made, *slot, ids, target, users).map(|()| None),
    }
}

fn write_maps(pid: i32, uids: &[IdMap], gids: &[IdMap]) -> Result<()> {
    for (file, maps) in [("uid_map", uids), ("gid_map", gids)] {
        let text: String = maps.iter().map(IdMap::to_string).collect();
        let path = format!("/proc/{pid}/{file}");
        // In one write: the kernel takes a map once.
        std::fs::write(&path, text).context("write", path)?;
    }
    Ok(())
}

fn map_mount(made: &Made, slot: Slot, ids: &MountIds, target: &Path, users: Option<BorrowedFd<'_>>) -> Result<()> {
    let fd = made.slot(slot).context("use", "bind mount")?;
    let own;
    let map = match users {
        _ if !ids.uids.is_empty() => {
            own = namespace_of(&ids.uids, &ids.gids)?;
            own.as_fd()
        }
        Some(users) => users,
        None => return Err(Error::new("map", format!("ids of the mount on {}", target.display()), "the machine has no user namespace")),
    };
    mount::change(fd, c"", ids.recursive, Attributes::NONE, Attributes::NONE, Propagation::Keep, Some(map)).map_err(|e| {
        Error::new("map", format!("ids of the mount on {}", target.display()), io_text(&e)).hint("its file system may not support idmapped mounts")
    })
}

/// A user namespace that exists only for its maps.
pub(super) fn namespace_of(uids: &[IdMap], gids: &[IdMap]) -> Result<OwnedFd> {
    let (hold_read, hold_write) = pipe_with(PipeFlags::CLOEXEC).context("make", "pipe")?;
    let args = CloneArgs { flags: clone::NEWUSER, ..CloneArgs::default() };
    match clone::clone3(&args).context("make", "user namespace for an id map")? {
        Fork::Child => {
            drop(hold_write);
            let _ = rustix::io::read(&hold_read, &mut [0u8; 1]);
            clone::exit_now(0)
        }
        Fork::Parent { pid, pidfd } => {
            let result = write_maps(pid, uids, gids).and_then(|()| launch::open_namespace(pid, "user"));
            drop(hold_write);
            let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED);
            result
        }
    }
}

/// While it exists, what this process clones is born in the namespaces of others; afterwards it is where it was.
pub(super) struct Visit {
    back: Vec<(u32, OwnedFd)>,
}

impl Visit {
    /// Joins them; the calling process has one thread.
    pub(super) fn begin(made: &Made) -> Result<Visit> {
        let mut visit = Visit { back: Vec::new() };
        let users = joined_users(made).is_some();
        for (kind, fd) in &made.joined {
            // Then the helper joins these (`clone_inside`).
            if users && matches!(u64::from(*kind), clone::NEWPID | clone::NEWUSER) {
                continue;
            }
            // Names of a kind and of what children get of it.
            let name = match *kind {
                0x80 => "time_for_children",
                0x0200_0000 => "cgroup",
                0x0400_0000 => "uts",
                0x0800_0000 => "ipc",
                0x2000_0000 => "pid_for_children",
                _ => "net",
            };
            let path = format!("/proc/self/ns/{name}");
            let own = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context("open", path)?;
            proc::join_namespace(fd.as_fd(), *kind as i32).context("join", format!("{name} namespace"))?;
            visit.back.push((*kind, own));
        }
        Ok(visit)
    }

    /// Goes back. An error: this process is no longer where it was, and must not go on.
    pub(super) fn end(self) -> Result<()> {
        self.back.iter().rev().try_for_each(|(kind, own)| proc::join_namespace(own.as_fd(), *kind as i32).context("leave", "a joined namespace"))
    }
}

/// Kinds of the namespaces a bundle joins, as flags: whoever enters the machine enters them, too.
pub(super) fn joined_flags(bundle: Option<&Bundle>) -> u64 {
    bundle.map_or(0, |b| b.join.iter().fold(0, |flags, j| flags | u64::from(j.kind.flag())))
}
