//! Runs the host steps of a plan: everything the supervisor makes before the payload exists.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_image::Cause;
use hostel_image::inroot::Durable;
use hostel_image::throwaway::{Place, Throwaway};
use hostel_image::{copy, inroot, kept, locks, pin, shift, uids};
use hostel_process::pty::{Pty, WindowSize};
use hostel_spec::{Hint, IdMap, IdRange, MachineUuid};
use hostel_sys::mount::{self, Attributes, FsOption, Propagation};
use hostel_sys::tree;
use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Uid, makedev};
use rustix::io::Errno;

use crate::cgroup::{self, Layout, MachineCgroup};
use crate::credentials::Loaded;
use crate::enter::shield;
use crate::error::{Context, Error, Result, io_text};
use crate::network;
use crate::parts;
use crate::peers::{Registration, Unit};
use crate::plan::Plan;
use crate::plan::steps::{HostStep, IdChoice, Node, Prepared, Slot, Source};
use crate::registry::{Claim, Undo, remove_in};

use super::launch::record;
use super::{bundle, cover, groups, journal};

/// What the host steps made. Dropping it closes every detached mount and releases every lock.
#[derive(Debug, Default)]
pub struct Made {
    /// Prepared mounts by slot.
    pub slots: Vec<Option<OwnedFd>>,
    /// The tree that will run: the original, or its copy.
    pub tree_path: PathBuf,
    /// Its descriptor (O_PATH).
    pub tree: Option<OwnedFd>,
    /// Id range taken.
    pub ids: Option<IdRange>,
    /// Console pty.
    pub console: Option<Pty>,
    /// The terminals besides it; both ends, so that ours does not hang up while nobody has the other.
    pub(super) terminals: Vec<Pty>,
    /// The devpts that they are in.
    pub(super) devpts: Option<OwnedFd>,
    /// Namespaces that hooks of the end are told of: kind, descriptor.
    pub(super) namespaces: Vec<(&'static str, OwnedFd)>,
    /// Where the payload says that it is ready.
    pub notify: Option<OwnedFd>,
    /// Both ends of what is the machine's /proc/kmsg: who opens that (rsyslogd) would else wait for somebody who writes to it.
    kmsg: Option<OwnedFd>,
    run_pin: Option<OwnedFd>,
    /// The machine's cgroup.
    pub cgroup: Option<MachineCgroup>,
    /// The id maps of a user namespace that was joined: users, groups.
    pub maps: Option<(Vec<IdMap>, Vec<IdMap>)>,
    /// Groups above it that were not there.
    pub groups: Vec<PathBuf>,
    /// The host's mount namespace, when we are in one of our own.
    pub host_mounts: Option<OwnedFd>,
    /// The console's log is written here, too.
    pub(super) log: Option<OwnedFd>,
    /// Asked when a kept layer is locked.
    pub(super) layer_held: Option<fn(&Path) -> Result<()>>,
    /// What its network is called in /run/netns, and its inode.
    pub(super) network_name: Option<(String, u64)>,
    /// systemd-machined knows of this life.
    pub registration: Option<Registration>,
    /// The unit of the host's systemd that the cgroup is in.
    pub unit: Option<Unit>,
    /// Hooks may have run: those of the end have to, too.
    pub(super) hooked: bool,
    /// Namespaces that are joined: kind, descriptor.
    pub(super) joined: Vec<(u32, OwnedFd)>,
    /// What could not be done and stops no machine: to be told once it runs.
    pub(super) notices: Vec<String>,
    /// Its network.
    pub network: network::Made,
    /// The disk image the tree is in.
    pub(super) image: Option<super::image::OpenImage>,
    ids_lock: Option<uids::Claim>,
    tree_lock: Option<locks::TreeLock>,
    /// The kept layer, and the lock on it.
    upper: Option<(OwnedFd, locks::TreeLock)>,
    parts: Option<OwnedFd>,
    pin: Option<OwnedFd>,
    temporaries: Vec<Throwaway>,
    works: Vec<Work>,
    /// The copy of the tree, or the layer over it, that this run writes to.
    throwaway: Option<Throwaway>,
}

/// A work directory beside an upper layer, perhaps in a tree that the machine changes: held by its parent's descriptor.
#[derive(Debug)]
struct Work {
    parent: OwnedFd,
    name: CString,
    /// Held, or who cleans a directory of images would take it for a left-over.
    _held: OwnedFd,
}

impl Work {
    fn remove(&self) -> std::result::Result<(), Errno> {
        remove_in(self.parent.as_fd(), &self.name)
    }
}

impl Made {
    /// Nothing but the tree; `None`: it will be made from a template.
    pub fn with_tree(tree_path: PathBuf, tree: Option<OwnedFd>) -> Self {
        Self { tree_path, tree, ..Self::default() }
    }
    /// The prepared mount in `slot`.
    pub fn slot(&self, slot: Slot) -> io::Result<BorrowedFd<'_>> {
        self.slots.get(slot.0).and_then(Option::as_ref).map(AsFd::as_fd).ok_or_else(|| io::Error::from_raw_os_error(9))
    }
    /// Host id of the machine's root.
    pub fn base(&self) -> u32 {
        self.ids.map_or(0, |r| r.base)
    }
    /// The tree's descriptor.
    pub fn tree(&self) -> Result<BorrowedFd<'_>> {
        self.tree.as_ref().map(AsFd::as_fd).ok_or_else(|| Error::new("use", "tree", "it was not opened"))
    }
    /// The kept layer's descriptor.
    fn upper(&self) -> Result<BorrowedFd<'_>> {
        self.upper.as_ref().map(|(dir, _)| dir.as_fd()).ok_or_else(|| Error::new("use", "kept layer", "it was not opened"))
    }
    /// Where layers of file systems below the root are: beside the kept layer, unless said otherwise.
    fn parts(&self) -> Result<BorrowedFd<'_>> {
        self.parts.as_ref().map_or_else(|| self.upper(), |dir| Ok(dir.as_fd()))
    }
    fn forget_network_name(&mut self) -> io::Result<()> {
        let host = self.host_mounts.as_ref().map(AsFd::as_fd);
        self.network_name.take().map_or(Ok(()), |(name, namespace)| super::netns::within(host, || super::netns::forget(&name, namespace)))
    }
    /// Gives up what belongs to one life of PID 1; tree, copy, locks and ids stay for the next.
    pub fn next_life(&mut self) {
        self.slots.clear();
        self.console = None;
        self.terminals.clear();
        self.devpts = None;
        self.notify = None;
        self.kmsg = None;
        self.run_pin = None;
        self.cgroup = None;
        self.registration = None;
        let _ = self.forget_network_name();
        // What did not come back is in the journal.
        let _ = self.network.end_of_life();
        // What cannot be removed is in the journal.
        for work in self.works.drain(..) {
            let _ = work.remove();
        }
        for temporary in self.temporaries.drain(..) {
            let _ = temporary.remove();
        }
    }
    /// Removes what only this run needed: temporary directories, work directories, the copy of an ephemeral tree.
    /// Returns what could not be removed.
    pub fn remove_temporary(&mut self) -> Vec<Error> {
        let mut failed: Vec<Error> = self.groups.drain(..).rev().filter_map(|group| cgroup::leave(&group).err()).map(Error::from).collect();
        let unnamed = self.forget_network_name().err();
        failed.extend(self.network.take_down());
        failed.extend(unnamed.map(|e| Error::new("remove", "network name", io_text(&e))));
        // Locks inside the copy must be gone before it is.
        self.slots.clear();
        self.tree = None;
        self.pin = None;
        // A program that made the upper layer could not unmount it.
        self.upper = None;
        self.parts = None;
        for work in self.works.drain(..) {
            if let Err(e) = work.remove() {
                failed.push(Error::new("remove", format!("work directory {}", work.name.to_string_lossy()), e));
            }
        }
        failed.extend(self.temporaries.drain(..).chain(self.throwaway.take()).filter_map(|made| made.remove().err()).map(Error::from));
        failed
    }
}

/// Runs all host steps in order. What a former life left in `made` (tree, copy, locks, ids) is used again.
/// After a failure `made` holds what was made so far, and the claim's journal how to take it back.
pub(super) fn run(plan: &Plan, layout: &Layout, claim: &mut Claim, made: &mut Made) -> Result<()> {
    made.slots.resize_with(plan.slots, || None);
    plan.host.iter().try_for_each(|step| run_step(step, plan, layout, claim, made))
}

/// Runs the steps beside the payload's first ones.
pub(super) fn beside(plan: &Plan, layout: &Layout, claim: &mut Claim, made: &mut Made) -> Result<()> {
    plan.beside.iter().try_for_each(|step| run_step(step, plan, layout, claim, made))
}

fn run_step(step: &HostStep, plan: &Plan, layout: &Layout, claim: &mut Claim, made: &mut Made) -> Result<()> {
    match step {
        HostStep::Bundle(step) => bundle::host_step(step, plan, made)?,
        HostStep::CopyTemplate { from, to } => {
            let copied = copy::from_template(from, to, &copy::Options::default())?;
            made.tree = Some(match copied {
                // Opened again, it is not held as a copy that is being made is.
                Some(copied) => open_directory_in(copied.dir.as_fd(), c".").context("open", format!("tree {}", to.display()))?,
                None => open_tree_directory(to)?,
            });
        }
        HostStep::CopyTree { .. } | HostStep::MakeLayer { .. } if made.throwaway.is_some() => {}
        HostStep::MakeLayer { of } => layer_for_this_run(plan, of, claim, made)?,
        HostStep::CopyTree { from } => copy_for_this_run(plan, from, claim, made)?,
        HostStep::LockTree { .. } if made.tree_lock.is_some() => {}
        HostStep::LockTree { shared } => made.tree_lock = Some(lock_tree(plan, made, *shared)?),
        HostStep::LockUpper(_) if made.upper.is_some() => {}
        HostStep::LockUpper(dir) => {
            let layer = open_directory_in(rustix::fs::CWD, dir).context("open", format!("kept layer {}", dir.display()))?;
            let lock = take_lock(plan, layer.as_fd(), dir, locks::Lock::Exclusive)?;
            made.layer_held.map_or(Ok(()), |asked| asked(dir))?;
            made.upper = Some((layer, lock));
        }
        HostStep::OpenParts(dir) => {
            made.parts = Some(open_directory_in(rustix::fs::CWD, dir).context("open", format!("directory {}", dir.display()))?);
        }
        HostStep::KeptPart { dir, name, like } => {
            let like = made.slot(*like).context("use", "layer below")?;
            kept::make_part(made.parts()?, dir, name, like)?;
        }
        HostStep::PinFileSystem if made.pin.is_some() => {}
        HostStep::PinFileSystem => {
            let tree = made.tree()?;
            made.pin = pin::pin(tree).map_err(|e| Error::new("hold", format!("file system of {} writable", made.tree_path.display()), e))?;
        }
        HostStep::TakeIds(_) if made.ids.is_some() => {}
        HostStep::TakeIds(choice) => take_ids(*choice, plan, made)?,
        HostStep::ShiftTree => shift_tree(made)?,
        HostStep::TemporaryDirectory(_) => temporary_directory(claim, made)?,
        HostStep::TakeAddress(choice) => made.network.take_address(choice, claim)?,
        HostStep::JournalDirectory(path) => made.notices.extend(journal::on_host(path, made.tree.as_ref())?),
        HostStep::LinkJournal { link, target, attempt } => journal::link(link, target, *attempt)?,
        HostStep::MakeScope { .. } | HostStep::KeepUnit(_) if made.unit.is_some() => {}
        HostStep::MakeScope { slice, demanded } => groups::make_scope(plan, slice, *demanded, made)?,
        HostStep::KeepUnit(path) => made.unit = Some(Unit::keep(path)?),
        HostStep::MakeCgroup => {
            let elsewhere = match plan.spec.bundle.as_ref().and_then(|b| b.cgroups_path.as_deref()) {
                Some(path) => Some(groups::cgroup_path(path, plan, layout, claim, made)?),
                None => made.unit.as_ref().map(|unit| unit.layout(layout)),
            };
            groups::make_cgroup(plan, elsewhere.as_ref().unwrap_or(layout), claim, made)?;
        }
        HostStep::Prepare(slot, what) => {
            let fd =
                prepare(what, plan, claim, made).map_err(|e| if e.verb.is_empty() { Error::new("prepare", what.to_string(), e.cause) } else { e })?;
            made.slots[slot.0] = Some(fd);
        }
        HostStep::OpenConsole { pts, dev } => open_console(*pts, *dev, plan.window, made)?,
        HostStep::OpenNotify(slot) => {
            made.notify = Some(open_notify(*slot, made).context("open", "notify socket in /run/host")?);
            made.kmsg = Some(open_kmsg(*slot, made).context("open", "/run/host/proc-kmsg")?);
            // Covers in /proc and /sys are of this file system: an init that mounts one of them again, as it is, would make /run read-only.
            made.run_pin = pin::pin(made.slot(*slot).context("use", "/run")?).map_err(|e| Error::new("hold", "/run writable", e))?;
        }
    }
    Ok(())
}

/// Opens a tree's top directory; links in the path are followed, it is the host's.
fn open_tree_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).context("open", format!("tree {}", path.display()))
}

fn lock_tree(plan: &Plan, made: &Made, shared: bool) -> Result<locks::TreeLock> {
    let lock = if shared { locks::Lock::Shared } else { locks::Lock::Exclusive };
    take_lock(plan, made.tree()?, &plan.tree.path, lock)
}

fn take_lock(plan: &Plan, tree: BorrowedFd<'_>, name: &Path, lock: locks::Lock) -> Result<locks::TreeLock> {
    locks::take(locks::directory(), tree, name, lock, &plan.name).map_err(|e| match e.cause {
        Cause::Busy { .. } => Error::from(e).hint(Hint::TreeInUse),
        _ => e.into(),
    })
}

/// Opens a directory, not a link to one.
fn open_directory_in<P: rustix::path::Arg>(parent: BorrowedFd<'_>, path: P) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(parent, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Where what this run throws away goes; its path is in the journal before it is there.
fn throwaway_place(plan: &Plan, of: &Path, claim: &mut Claim, made: &Made) -> Result<Place> {
    let place = Place::beside(made.tree()?, of, &plan.name)?;
    record(claim, Undo::Work { path: place.path().as_os_str().into() })?;
    Ok(place)
}

fn copy_for_this_run(plan: &Plan, from: &Path, claim: &mut Claim, made: &mut Made) -> Result<()> {
    let place = throwaway_place(plan, from, claim, made)?;
    let options = copy::Options { durable: Durable::No, ..Default::default() };
    let copied = place.copy(made.tree()?, from, &options)?;
    made.tree_path = copied.path().to_path_buf();
    let tree = open_directory_in(copied.dir(), c".").context("open", format!("tree {}", made.tree_path.display()));
    made.throwaway = Some(copied);
    made.tree = Some(tree?);
    Ok(())
}

/// A directory with `upper` and `work` in it, on the tree's own file system; the upper layer's top is as the tree's.
fn layer_for_this_run(plan: &Plan, of: &Path, claim: &mut Claim, made: &mut Made) -> Result<()> {
    let layer = throwaway_place(plan, of, claim, made)?.make(Mode::from_raw_mode(0o700))?;
    let layer = made.throwaway.insert(layer);
    let tree = made.tree.as_ref().ok_or_else(|| Error::new("use", "tree", "it was not opened"))?;
    let fill = || {
        let stat = rustix::fs::fstat(tree)?;
        let dir = layer.dir();
        for name in [c"upper", c"work"] {
            rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700))?;
            rustix::fs::chownat(dir, name, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)), AtFlags::SYMLINK_NOFOLLOW)?;
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
        }
        Ok::<_, Errno>(())
    };
    fill().context("make", format!("layer over {}", of.display()))
}

fn take_ids(choice: IdChoice, plan: &Plan, made: &mut Made) -> Result<()> {
    match choice {
        IdChoice::Fixed(range) => made.ids = Some(range),
        IdChoice::Pick { tree_owner } => {
            let claim = uids::pick(&uids::Places::default(), tree_owner, &plan.name)?;
            made.ids = Some(claim.range);
            made.ids_lock = Some(claim);
        }
    }
    Ok(())
}

pub(super) fn shift_tree(made: &Made) -> Result<()> {
    let Some(range) = made.ids else { return Ok(()) };
    if let Some(image) = &made.image {
        return image.shift(range.base);
    }
    shift::shift(made.tree()?, &made.tree_path, range.base, 0)?;
    Ok(())
}

fn temporary_directory(claim: &mut Claim, made: &mut Made) -> Result<()> {
    let place = Place::temporary(Path::new("/var/tmp"))?;
    record(claim, Undo::Work { path: place.path().as_os_str().into() })?;
    let temporary = place.make(Mode::from_raw_mode(0o755))?;
    let base = made.base();
    let owned = if base == 0 { Ok(()) } else { rustix::fs::fchown(temporary.dir(), Some(Uid::from_raw(base)), Some(Gid::from_raw(base))) };
    let shown = temporary.path().display().to_string();
    made.temporaries.push(temporary);
    owned.context("own", shown)
}

/// 64 random bits for names.
pub fn random_u64() -> u64 {
    // getrandom never fails on the kernels we run on; without it the clock still makes distinct names.
    hostel_sys::tree::random_u64()
        .unwrap_or_else(|_| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64))
}

/// Failure without a verb: the caller names the mount.
fn plain(e: impl Into<io::Error>) -> Error {
    Error::new("", "", io_text(&e.into()))
}

fn prepare(what: &Prepared, plan: &Plan, claim: &mut Claim, made: &mut Made) -> Result<OwnedFd> {
    match what {
        Prepared::Clone { source, recursive, attributes } => clone(source, *recursive, *attributes, plan.tree.marked, made),
        Prepared::Tmpfs { options, attributes, nodes } => tmpfs(options, *attributes, nodes, made.base()),
        Prepared::Cover { of, mapped, nodes } => cover::make(of, *mapped, nodes, made),
        Prepared::Part(index) => part(*index, made),
        Prepared::Bind(bind) => bundle::bind(bind, made),
        Prepared::Terminals { options, attributes } => bundle::terminals(options, *attributes, plan, made),
        Prepared::Devpts { label } => devpts(made.base(), label.as_deref()).map_err(plain),
        Prepared::Sysfs { attributes } => mount::filesystem(c"sysfs", &[], *attributes).map_err(plain),
        Prepared::OwnProgram => {
            parts::demand("stub init")?;
            if made.ids.is_some() { shield::own_program_for_others() } else { shield::own_program() }
        }
        Prepared::Credentials { files, readable } => credentials(files, *readable, made.base()).map_err(plain),
        Prepared::Overlay { lower, upper } => overlay(lower, upper.as_ref(), claim, made),
    }
}

/// The file system, not only its mount, is read-only in the end, and it is the host's: root of a user namespace cannot change that.
fn credentials(files: &[Loaded], readable: bool, owner: u32) -> io::Result<OwnedFd> {
    let (directory, file) = if readable { (c"0555", 0o444) } else { (c"0500", 0o400) };
    let attributes = Attributes::NOSUID.or(Attributes::NODEV).or(Attributes::NOEXEC).or(Attributes::NOSYMFOLLOW);
    let context = mount::open_context(c"ramfs")?;
    mount::configure(context.as_fd(), FsOption::Text(c"source", c"ramfs"))?;
    mount::configure(context.as_fd(), FsOption::Text(c"mode", directory))?;
    let fd = mount::create(context.as_fd(), attributes)?;
    for Loaded { id, content } in files {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut target = std::fs::File::from(rustix::fs::openat(&fd, id, flags, Mode::from_raw_mode(file))?);
        io::Write::write_all(&mut target, content)?;
        if owner != 0 {
            own(fd.as_fd(), id, owner)?;
        }
    }
    if owner != 0 {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        rustix::fs::chownat(&fd, c"", Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)), flags)?;
    }
    mount::configure(context.as_fd(), FsOption::Flag(c"ro"))?;
    mount::reconfigure(context.as_fd())?;
    mount::change(fd.as_fd(), c"", false, Attributes::RDONLY, Attributes::NONE, Propagation::Private, None)?;
    Ok(fd)
}

fn part(index: usize, made: &mut Made) -> Result<OwnedFd> {
    let image = made.image.as_mut().ok_or_else(|| Error::new("use", "image", "it was not opened"))?;
    let mount = image.take_mount(index)?;
    if image.is_root(index) {
        made.tree = Some(rustix::io::fcntl_dupfd_cloexec(&mount, 3).context("open", "root of the image")?);
    }
    Ok(mount)
}

/// Opens what a source names, as O_PATH.
pub(super) fn open_source(source: &Source, made: &Made) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match source {
        Source::Path(path) => rustix::fs::open(path, flags, Mode::empty()).context("open", path.display().to_string()),
        Source::Tree => Ok(rustix::io::fcntl_dupfd_cloexec(made.tree()?, 3).context("open", "tree")?),
        Source::InTree(path) => inroot::open(made.tree()?, path, flags).map_err(|e| Error::new("open", format!("{} in the tree", path.display()), e)),
        Source::Kept { part: None, .. } => again(made.upper()?, source),
        Source::Kept { dir, part: Some(part) } => Ok(kept::open_part(made.parts()?, dir, part)?),
        Source::Upper(dir) => open_directory_in(rustix::fs::CWD, dir).context("open", format!("directory {}", dir.display())),
        Source::Layer => {
            let layer = made.throwaway.as_ref().ok_or_else(|| Error::new("use", "throw-away layer", "it was not made"))?;
            again(layer.dir(), source)
        }
        Source::Temporary(n) => {
            let temporary = made.temporaries.get(*n).ok_or_else(|| Error::new("use", "temporary directory", "it was not made"))?;
            again(temporary.dir(), source)
        }
    }
}

fn again(dir: BorrowedFd<'_>, source: &Source) -> Result<OwnedFd> {
    open_directory_in(dir, c".").context("open", source.to_string())
}

fn clone(source: &Source, recursive: bool, attributes: Attributes, marked: bool, made: &Made) -> Result<OwnedFd> {
    let opened;
    let from = match source {
        Source::Tree => made.tree()?,
        other => {
            opened = open_source(other, made)?;
            opened.as_fd()
        }
    };
    let fd = mount::clone_tree(from, c"", recursive).map_err(plain)?;
    // The clone of a shared mount is its peer: what the machine mounts in it would appear on the host.
    mount::change(fd.as_fd(), c"", recursive, attributes, Attributes::NONE, Propagation::Private, None).map_err(plain)?;
    if *source == Source::Tree && attributes.0 & Attributes::RDONLY.0 != 0 && !marked {
        // Mount points still have to be made; RootReadOnly closes it. Not in a tree that is marked read-only: that stays as it is.
        mount::change(fd.as_fd(), c"", false, Attributes::NONE, Attributes::RDONLY, Propagation::Keep, None).map_err(plain)?;
    }
    Ok(fd)
}

pub(super) fn tmpfs(options: &[(CString, CString)], attributes: Attributes, nodes: &[Node], owner: u32) -> Result<OwnedFd> {
    let owner_text = CString::new(owner.to_string()).unwrap_or_default();
    // Ids in options are the machine's.
    let shifted: Vec<(CString, CString)> = options.iter().map(|(key, value)| (key.clone(), shift_id(key, value, owner))).collect();
    let options = &shifted;
    let mut list: Vec<FsOption<'_>> = options.iter().map(|(k, v)| if v.is_empty() { FsOption::Flag(k) } else { FsOption::Text(k, v) }).collect();
    if owner != 0 {
        for key in [c"uid", c"gid"] {
            if !options.iter().any(|(k, _)| k.as_c_str() == key) {
                list.push(FsOption::Text(key, &owner_text));
            }
        }
    }
    list.push(FsOption::Text(c"source", c"tmpfs"));
    let fd = mount::filesystem(c"tmpfs", &list, attributes).map_err(plain)?;
    for node in nodes {
        make_node(fd.as_fd(), node, owner).map_err(plain)?;
    }
    Ok(fd)
}

/// The value of a `uid=` or `gid=` option in host ids.
fn shift_id(key: &CStr, value: &CStr, base: u32) -> CString {
    let id = value.to_str().ok().and_then(|v| v.parse::<u32>().ok()).filter(|_| key == c"uid" || key == c"gid");
    let shifted = id.and_then(|id| id.checked_add(base)).and_then(|id| CString::new(id.to_string()).ok());
    shifted.unwrap_or_else(|| value.into())
}

fn own<P: rustix::path::Arg>(dir: BorrowedFd<'_>, path: P, owner: u32) -> rustix::io::Result<()> {
    rustix::fs::chownat(dir, path, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)), AtFlags::SYMLINK_NOFOLLOW)
}

/// Makes one inode. The caller's umask is 0.
fn make_node(root: BorrowedFd<'_>, node: &Node, owner: u32) -> rustix::io::Result<()> {
    let special = |path: &CStr, kind: FileType, mode: u32, dev: u64| rustix::fs::mknodat(root, path, kind, Mode::from_raw_mode(mode), dev);
    let path: &CStr = match node {
        Node::Dir(path, mode) => {
            rustix::fs::mkdirat(root, path, Mode::from_raw_mode(*mode))?;
            path
        }
        Node::Opaque(path, mode, attribute) => {
            rustix::fs::mkdirat(root, path, Mode::from_raw_mode(*mode))?;
            let dir = rustix::fs::openat(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::fs::fsetxattr(&dir, *attribute, b"y", rustix::fs::XattrFlags::empty())?;
            path
        }
        Node::BootId(path) => {
            let mut random = [0u8; 16];
            random[..8].copy_from_slice(&random_u64().to_ne_bytes());
            random[8..].copy_from_slice(&random_u64().to_ne_bytes());
            return make_node(root, &Node::File(path.clone(), 0o444, MachineUuid::from_random(random).dashed().into_bytes()), owner);
        }
        Node::File(path, mode, content) => {
            let file = rustix::fs::openat(root, path, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(*mode))?;
            if !content.is_empty() {
                rustix::io::write(&file, content)?;
            }
            path
        }
        Node::Link(path, target) => {
            rustix::fs::symlinkat(target, root, path)?;
            path
        }
        Node::Char(path, mode, major, minor) => {
            special(path, FileType::CharacterDevice, *mode, makedev(*major, *minor))?;
            path
        }
        Node::Block(path, mode, major, minor) => {
            special(path, FileType::BlockDevice, *mode, makedev(*major, *minor))?;
            path
        }
        Node::Fifo(path, mode) => {
            special(path, FileType::Fifo, *mode, 0)?;
            path
        }
        Node::Socket(path, mode) => {
            special(path, FileType::Socket, *mode, 0)?;
            path
        }
    };
    if owner != 0 {
        own(root, path, owner)?;
    }
    Ok(())
}

fn devpts(base: u32, label: Option<&CStr>) -> io::Result<OwnedFd> {
    let gid = CString::new((base + 5).to_string()).unwrap_or_default();
    let mut options = vec![FsOption::Text(c"ptmxmode", c"0666"), FsOption::Text(c"mode", c"0620"), FsOption::Text(c"gid", &gid)];
    options.extend(label.map(|label| FsOption::Text(c"context", label)));
    mount::filesystem(c"devpts", &options, Attributes::NOSUID.or(Attributes::NOEXEC))
}

/// Overlays of host directories are made here, in host ids: a user namespace may not make one over layers it does not own.
fn overlay(lower: &[Source], upper: Option<&Source>, claim: &mut Claim, made: &mut Made) -> Result<OwnedFd> {
    let layers = lower.iter().map(|s| open_source(s, made)).collect::<Result<Vec<_>>>()?;
    let mut options: Vec<(CString, CString)> = Vec::new();
    let descriptor = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mut push = |key: &CStr, value: String| {
        if let Ok(value) = CString::new(value) {
            options.push((key.into(), value));
        }
    };
    // The kernel wants the topmost layer first.
    push(c"lowerdir", layers.iter().rev().map(descriptor).collect::<Vec<_>>().join(":"));
    let mut kept = Vec::new();
    if let Some(upper) = upper {
        let upper_fd = open_source(upper, made)?;
        let work_fd = work_directory(upper, upper_fd.as_fd(), claim, made)?;
        push(c"upperdir", descriptor(&upper_fd));
        push(c"workdir", descriptor(&work_fd));
        kept.extend([upper_fd, work_fd]);
    } else if layers.len() == 1 {
        // An overlay needs two lower layers or an upper one; one layer read-only is just that layer.
        let fd = mount::clone_tree(layers[0].as_fd(), c"", false).map_err(plain)?;
        mount::change(fd.as_fd(), c"", false, Attributes::RDONLY, Attributes::NONE, Propagation::Private, None).map_err(plain)?;
        return Ok(fd);
    }
    let list: Vec<FsOption<'_>> = options.iter().map(|(k, v)| FsOption::Text(k, v)).collect();
    let attributes = if upper.is_none() { Attributes::RDONLY } else { Attributes::NONE };
    create_overlay(&list, attributes).map_err(|cause| Error::new("", "", cause))
}

/// Makes the work directory of an upper layer: beside it, because the kernel wants both on one mount. By descriptor, as the
/// layer may be in a tree that others change meanwhile.
fn work_directory(upper: &Source, layer: BorrowedFd<'_>, claim: &mut Claim, made: &mut Made) -> Result<OwnedFd> {
    let refuse = |why: &str| Err(Error::new("use", format!("{upper} as upper layer"), why));
    if let Source::InTree(_) = upper {
        let identity = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|s| (s.st_dev, s.st_ino)).context("look at", format!("{upper}"));
        if identity(layer)? == identity(made.tree()?)? {
            // Beside it is outside of it.
            return refuse("it is the tree itself");
        }
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let parent = match tree::openat2(layer, c"..", flags, Mode::empty(), resolve) {
        Err(Errno::XDEV) => return refuse("it is a mount point, and its work directory has to be on the same mount: use a directory in it"),
        Err(Errno::NOTDIR) => return refuse("it is no directory"),
        opened => opened.context("open", format!("directory of {upper}"))?,
    };
    let name = format!(".#hostel-work-{:016x}", random_u64());
    let place = std::fs::read_link(format!("/proc/self/fd/{}", parent.as_raw_fd())).context("find", format!("{upper}"))?.join(&name);
    let shown = || place.display().to_string();
    record(claim, Undo::Work { path: place.clone().into_os_string().into() })?;
    let name = CString::new(name).unwrap_or_default();
    rustix::fs::mkdirat(&parent, &*name, Mode::from_raw_mode(0o755)).context("make", shown())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let opened = tree::openat2(parent.as_fd(), &*name, flags, Mode::empty(), resolve).context("open", shown());
    let work = opened.inspect_err(|_| {
        let _ = remove_in(parent.as_fd(), &name);
    })?;
    // File systems without locks have no sweepers either.
    let _ = rustix::fs::flock(&work, FlockOperation::NonBlockingLockExclusive);
    let held = rustix::io::fcntl_dupfd_cloexec(&work, 3).context("open", shown());
    made.works.push(Work { parent, name, _held: work });
    held
}

/// Creates an overlay and turns the kernel's own message into the cause.
pub(super) fn create_overlay(options: &[FsOption<'_>], attributes: Attributes) -> std::result::Result<OwnedFd, String> {
    let context = mount::open_context(c"overlay").map_err(|e| io_text(&e))?;
    let with_message = |e: io::Error| {
        let message = mount::context_message(context.as_fd());
        if message.is_empty() { io_text(&e) } else { format!("{} ({message})", io_text(&e)) }
    };
    for option in options {
        mount::configure(context.as_fd(), *option).map_err(with_message)?;
    }
    mount::create(context.as_fd(), attributes).map_err(with_message)
}

fn open_console(pts: Slot, dev: Slot, window: Option<WindowSize>, made: &mut Made) -> Result<()> {
    let base = made.base();
    let pty = Pty::open(made.slot(pts).context("use", "devpts")?).map_err(|e| Error::new("open", "console pty", e))?;
    if base != 0 {
        let slot = made.slot(pts).context("use", "devpts")?;
        for path in [c"", c"ptmx"] {
            rustix::fs::chownat(slot, path, Some(Uid::from_raw(base)), Some(Gid::from_raw(base)), AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)
                .context("own", "/dev/pts")?;
        }
        pty.set_owner(base, base + 5).map_err(|e| Error::new("own", "console pty", e))?;
    }
    if let Some(size) = window {
        pty.set_size(size).map_err(|e| Error::new("size", "console pty", e))?;
    }
    let target = format!("pts/{}", pty.number);
    let slot = made.slot(dev).context("use", "/dev")?;
    rustix::fs::symlinkat(target, slot, c"console").context("link", "/dev/console")?;
    if base != 0 {
        own(slot, c"console", base).context("own", "/dev/console")?;
    }
    made.console = Some(pty);
    Ok(())
}

fn open_kmsg(slot: Slot, made: &Made) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(made.slot(slot)?, c"host/proc-kmsg", flags, Mode::empty())?)
}

fn open_notify(slot: Slot, made: &Made) -> io::Result<OwnedFd> {
    let run = made.slot(slot)?;
    let path = format!("/proc/self/fd/{}/host/notify", run.as_raw_fd());
    let socket = hostel_ipc::notify::bind(Path::new(&path))?;
    rustix::fs::chmodat(run, c"host/notify", Mode::from_raw_mode(0o222), AtFlags::empty())?;
    if made.base() != 0 {
        own(run, c"host/notify", made.base())?;
    }
    Ok(socket)
}
