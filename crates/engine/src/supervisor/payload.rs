//! Runs the payload steps of a plan: the child, from its first instruction to execve.
//!
//! The host's file tree is still visible until `Pivot`; everything that is placed goes by descriptor into the new root,
//! which may be hostile: no path of it is ever joined to a host path.

mod bundle;
mod post_mount;

use std::ffi::CStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hostel_image::Cause;
use hostel_image::inroot;
use hostel_process::r#become::{self, Failure, Process, Program};
use hostel_spec::{Payload as Life, PivotRoot};
use hostel_sys::mount::{self, Attributes, FsOption, Propagation};
use hostel_sys::{clone, netlink, proc};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::launch::READY;
use super::prepare::Made;
use super::{mount_lock, overlay, parcel, reaper, stub};
use crate::cgroup::V1Door;
use crate::network::inside;
use crate::plan::Plan;
use crate::plan::steps::{FileChange, Missing, PayloadStep, RootAssembly, Slot};

pub(super) type Step = Result<(), Failure>;

/// The cause of a failed in-tree operation as an I/O error.
pub(super) fn io_of(cause: Cause) -> io::Error {
    match cause {
        Cause::Os(errno) => errno.into(),
        other => io::Error::other(other.to_string()),
    }
}

/// Why a mount cannot be put on `place`, if the one is a directory and the other is not.
fn unlike(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Option<io::Error> {
    let is_directory = |fd| rustix::fs::fstat(fd).map(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory).ok();
    match (is_directory(mount)?, is_directory(place)?) {
        (true, false) => Some(io::Error::other("a directory cannot be mounted on a file")),
        (false, true) => Some(io::Error::other("a file cannot be mounted on a directory")),
        _ => None,
    }
}

fn missing_in_tree(cause: &Cause) -> bool {
    matches!(cause, Cause::Os(Errno::NOENT))
}

/// What the payload inherits.
pub(super) struct Payload<'a> {
    pub(super) plan: &'a Plan,
    pub(super) made: &'a Made,
    /// Failures are written here; closed by the exec.
    pub(super) report: OwnedFd,
    /// One byte when the supervisor has done what the first steps need; then what it has prepared. Hung up when it is dead.
    pub(super) go: OwnedFd,
    received: &'a parcel::Parcel,
    console: Option<OwnedFd>,
    mqueue: Option<OwnedFd>,
    root: Option<OwnedFd>,
    run: Option<OwnedFd>,
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
    /// The mounts are locked; what they were copied from may still be there.
    unsettled: bool,
}

impl<'a> Payload<'a> {
    pub(super) fn new(plan: &'a Plan, made: &'a Made, report: OwnedFd, go: OwnedFd) -> Self {
        Self {
            plan,
            made,
            report,
            go,
            received: parcel::EMPTY,
            console: None,
            mqueue: None,
            root: None,
            run: None,
            proc: None,
            sys: None,
            unsettled: false,
        }
    }

    /// Does everything and becomes the program; never returns.
    pub(super) fn run(mut self, doors: &[V1Door]) -> ! {
        let placed = doors.iter().try_for_each(V1Door::enter).map_err(|e| Failure::new("place", "payload into v1 cgroups", e));
        let result = placed.and_then(|()| self.start()).and_then(|()| {
            let plan = self.plan;
            plan.payload.iter().try_for_each(|step| self.step(step))
        });
        let failure = match result {
            Err(failure) => failure,
            Ok(()) => self.execute(),
        };
        report(self.report.as_fd(), &failure);
        clone::exit_now(1)
    }

    /// The payload dies with its supervisor, also when that died before this line.
    fn start(&mut self) -> Step {
        proc::set_parent_death_signal(9).map_err(|e| Failure::new("tie", "payload to supervisor", e))?;
        let mut fds = [rustix::event::PollFd::new(&self.go, rustix::event::PollFlags::IN)];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, Some(&none)) {
            Ok(_) if fds[0].revents().contains(rustix::event::PollFlags::HUP) => clone::exit_now(1),
            _ => Ok(()),
        }
    }

    pub(super) fn root(&self) -> Result<BorrowedFd<'_>, Failure> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| Failure::new("use", "root", Errno::BADF))
    }

    pub(super) fn slot(&self, slot: Slot) -> Result<BorrowedFd<'a>, Failure> {
        self.received.slot(slot).map_or_else(|| self.made.slot(slot), Ok).map_err(|e| Failure::new("use", format!("mount {}", slot.0), e))
    }

    fn step(&mut self, step: &PayloadStep) -> Step {
        match step {
            PayloadStep::Bundle(step) => self.bundle_step(step),
            PayloadStep::Wait => self.wait(),
            PayloadStep::Keyring => keyring(),
            PayloadStep::Isolate => mount::change(rustix::fs::CWD, c"/", true, Attributes::NONE, Attributes::NONE, Propagation::Private, None)
                .map_err(|e| Failure::new("cut", "mount propagation", e)),
            PayloadStep::AssembleRoot(assembly) => self.assemble(assembly),
            PayloadStep::OverlaySubmount { lower, upper, size, target } => self.overlay_submount(lower, *upper, size.as_deref(), target),
            PayloadStep::PivotTree { pivot, read_only } => self.pivot_tree(pivot, *read_only),
            PayloadStep::JournalDirectory(path) => self.journal_directory(path),
            PayloadStep::BaseDirectory(path, mode) => self.base_directory(path, *mode),
            PayloadStep::BaseLink(path, target) => self.base_link(path, target),
            PayloadStep::AttachUsr(tree) => self.attach_usr(*tree),
            PayloadStep::RootReadOnly => mount::change(self.root()?, c"", false, Attributes::RDONLY, Attributes::NONE, Propagation::Keep, None)
                .map_err(|e| Failure::new("make", "root read-only", e)),
            PayloadStep::AttachApi(slot, target) => self.attach_api(self.slot(*slot)?, target),
            PayloadStep::AttachIn(outer, inner, path) => mount::attach(self.slot(*inner)?, self.slot(*outer)?, path)
                .map_err(|e| Failure::new("attach", format!("{} of mount {}", path.to_string_lossy(), outer.0), e)),
            PayloadStep::AttachTmp(slot) => self.attach_tmp(*slot),
            PayloadStep::Attach { slot, target, missing, read_only } => self.attach(*slot, target, *missing, *read_only),
            PayloadStep::BindInside { from, target, read_only, recursive } => self.bind_inside(from, target, *read_only, *recursive),
            PayloadStep::Inaccessible(target) => self.inaccessible(target),
            PayloadStep::Proc => self.mount_proc(),
            PayloadStep::Sysfs { fallback, attributes } => self.mount_sys(*fallback, *attributes),
            PayloadStep::Mqueue => self.make_mqueue(),
            PayloadStep::AttachMqueue(dev) => self.attach_mqueue(*dev),
            PayloadStep::Receive => self.receive(),
            PayloadStep::Cgroup => self.mount_cgroup(),
            PayloadStep::ProcReadOnly { paths, net_writable } => self.proc_read_only(paths, *net_writable),
            PayloadStep::ProcMask(paths) => self.mask(self.proc()?, "/proc", paths),
            PayloadStep::SysMask(paths) => self.mask(self.sys()?, "/sys", paths),
            PayloadStep::ProcOwn => self.proc_own(),
            PayloadStep::SealRunHost(run) => self.seal_run_host(*run),
            PayloadStep::ResolvConf(change) => self.change_file(c"resolv.conf", change),
            PayloadStep::Timezone(change) => self.change_file(c"localtime", change),
            PayloadStep::PostMount => self.post_mount(),
            PayloadStep::Pivot => self.pivot(),
            PayloadStep::LockMounts => self.lock_mounts(),
            // The Container Interface: mounts made on the root are seen by what the payload unshares.
            PayloadStep::ShareMounts => mount::change(rustix::fs::CWD, c"/", true, Attributes::NONE, Attributes::NONE, Propagation::Shared, None)
                .map_err(|e| Failure::new("share", "root mounts", e)),
            PayloadStep::Hostname(name) => proc::set_hostname(name.as_bytes()).map_err(|e| Failure::new("set", "host name", e)),
            PayloadStep::Loopback => netlink::loopback_up().map_err(|e| Failure::new("raise", "loopback interface", e)),
            PayloadStep::Network(link) => self.network(link.as_deref()),
            PayloadStep::Resolver { replace } => self.resolver(*replace),
            PayloadStep::LimitNesting(levels) => self.limit_nesting(*levels),
        }
    }

    fn wait(&mut self) -> Step {
        let mut byte = [0u8; 1];
        match rustix::io::read(&self.go, &mut byte) {
            Ok(1) => {}
            // Hung up: the supervisor gave up or died.
            _ => clone::exit_now(1),
        }
        if self.plan.user_namespace {
            proc::set_ids(0, 0, &[]).map_err(|e| Failure::new("become", "root of the user namespace", e))?;
            // Changing ids cleared it (prctl(2)).
            self.start()?;
        }
        Ok(())
    }

    /// The supervisor serves our network from here on.
    fn network(&self, link: Option<&str>) -> Step {
        let mut byte = [0u8; 1];
        match rustix::io::read(&self.go, &mut byte) {
            Ok(1) => {}
            _ => clone::exit_now(1),
        }
        match (link, &self.made.network.addressing) {
            (Some(link), Some(addressing)) => inside::configure(link, addressing).map_err(|e| Failure::new("set up", format!("interface {link}"), e)),
            _ => Ok(()),
        }
    }

    fn resolver(&self, replace: bool) -> Step {
        let Some(addressing) = &self.made.network.addressing else { return Ok(()) };
        let content = inside::resolv_conf(addressing);
        self.change_file(c"resolv.conf", &if replace { FileChange::Replace(content) } else { FileChange::Copy(content) })
    }

    fn assemble(&mut self, assembly: &RootAssembly) -> Step {
        let failed = |e: io::Error| Failure::new("attach", "root", e);
        let stack = |fd: BorrowedFd<'_>| mount::attach(fd, rustix::fs::CWD, c"/");
        let root = match assembly {
            RootAssembly::Mount(slot) => {
                stack(self.slot(*slot)?).map_err(failed)?;
                rustix::io::fcntl_dupfd_cloexec(self.slot(*slot)?, 3).map_err(|e| Failure::new("open", "root", e))?
            }
            RootAssembly::Overlay { lower, upper, at } => {
                let lower = lower.iter().map(|s| self.slot(*s)).collect::<Result<Vec<_>, _>>()?;
                let at = at.as_ref().map(|at| (at.0.as_path(), at.1.as_path()));
                let fd = self.overlay(&lower, upper.map(|s| self.slot(s)).transpose()?, None, at)?;
                stack(fd.as_fd()).map_err(failed)?;
                fd
            }
            RootAssembly::Stacked => overlay::stacked_root()?,
        };
        rustix::process::fchdir(&root).map_err(|e| Failure::new("enter", "root", e))?;
        self.root = Some(root);
        Ok(())
    }

    /// A directory of the root, with what is mounted below, becomes the root on top of it.
    fn pivot_tree(&mut self, pivot: &PivotRoot, read_only: bool) -> Step {
        let object = |path: &Path| format!("{} of the tree", path.display());
        let directory = |root: BorrowedFd<'_>, path: &Path| inroot::directory(root, path).map_err(|e| Failure::new("open", object(path), io_of(e)));
        let failed = |e: io::Error| Failure::new("make", format!("{} the root", object(&pivot.new)), e);
        let root = self.root()?;
        let place = directory(root, &pivot.new)?;
        let fd = mount::clone_tree(place.as_fd(), c"", true).map_err(failed)?;
        let old = match &pivot.old {
            Some(path) => Some((path, mount::clone_tree(root, c"", true).map_err(failed)?)),
            None => None,
        };
        // It takes the tree's place: of two on top of "/" only the upper one would be gone with the host's root.
        mount::detach(c"/").map_err(failed)?;
        mount::attach(fd.as_fd(), rustix::fs::CWD, c"/").map_err(failed)?;
        if let Some((path, clone)) = old {
            if read_only {
                mount::change(clone.as_fd(), c"", true, Attributes::RDONLY, Attributes::NONE, Propagation::Keep, None).map_err(failed)?;
            }
            mount::attach(clone.as_fd(), directory(fd.as_fd(), path)?.as_fd(), c"").map_err(failed)?;
        }
        rustix::process::fchdir(&fd).map_err(|e| Failure::new("enter", "root", e))?;
        self.root = Some(fd);
        Ok(())
    }

    fn journal_directory(&self, path: &Path) -> Step {
        match inroot::make_directories(self.root()?, path, Mode::from_raw_mode(0o755)) {
            // A tree that cannot be written keeps its journal to itself.
            Ok(_) | Err(Cause::Os(Errno::ROFS | Errno::ACCESS | Errno::PERM)) => Ok(()),
            Err(e) => Err(Failure::new("make", format!("{} in the tree", path.display()), io_of(e))),
        }
    }

    fn overlay(
        &self,
        lower: &[BorrowedFd<'_>],
        upper: Option<BorrowedFd<'_>>,
        size: Option<&CStr>,
        at: Option<(&Path, &Path)>,
    ) -> Result<OwnedFd, Failure> {
        let owner = if self.plan.user_namespace { overlay::Maker::UserNamespace } else { overlay::Maker::Host };
        overlay::make(lower, upper, size, at, owner)
    }

    fn overlay_submount(&self, lower: &[Slot], upper: Option<Slot>, size: Option<&CStr>, target: &Path) -> Step {
        let object = || format!("overlay on {}", target.display());
        let place =
            inroot::make_directories(self.root()?, target, Mode::from_raw_mode(0o755)).map_err(|e| Failure::new("open", object(), io_of(e)))?;
        let upper = upper.map(|slot| self.slot(slot)).transpose()?;
        let lower = lower.iter().map(|slot| self.slot(*slot)).collect::<Result<Vec<_>, Failure>>()?;
        let overlay = self.overlay(&lower, upper, size, None)?;
        mount::attach(overlay.as_fd(), place.as_fd(), c"").map_err(|e| Failure::new("attach", object(), e))
    }

    /// Opens an API directory of the tree: it must be a directory, reached through no link.
    fn api_directory(&self, path: &str) -> Result<OwnedFd, Failure> {
        Self::plain_directory(self.root()?, path)
    }

    fn plain_directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Failure> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(root, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve).map_err(|e| match e {
            Errno::LOOP => {
                Failure::new("use", format!("/{path} of the tree"), io::Error::other("it is a symbolic link; a machine needs a directory there"))
            }
            Errno::NOTDIR => Failure::new("use", format!("/{path} of the tree"), io::Error::other("it is no directory")),
            e => Failure::new("open", format!("/{path} of the tree"), e),
        })
    }

    fn base_directory(&self, path: &str, mode: u32) -> Step {
        match rustix::fs::mkdirat(self.root()?, path, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            // Attaching to it will say what is wrong, if anything needs it.
            Err(Errno::ROFS) => Ok(()),
            Err(e) => Err(Failure::new("make", format!("/{path} in the tree"), e)),
        }
    }

    fn base_link(&self, path: &str, target: &str) -> Step {
        let root = self.root()?;
        let present = |p: &str| rustix::fs::statat(root, p, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if present(path) || !present(target) {
            return Ok(());
        }
        match rustix::fs::symlinkat(target, root, path) {
            Ok(()) | Err(Errno::EXIST | Errno::ROFS) => Ok(()),
            Err(e) => Err(Failure::new("link", format!("/{path} in the tree"), e)),
        }
    }

    fn attach_usr(&self, tree: Slot) -> Step {
        let failed = |e: io::Error| Failure::new("attach", "/usr of the tree", e);
        // The tree must be in this namespace before a part of it can be cloned.
        let scratch = self.api_directory("usr")?;
        let tree = self.slot(tree)?;
        mount::attach(tree, scratch.as_fd(), c"").map_err(failed)?;
        // By descriptor: a link here would be followed from the host's root.
        let usr = Self::plain_directory(tree, "usr")?;
        let usr = mount::clone_tree(usr.as_fd(), c"", true).map_err(failed)?;
        mount::change(usr.as_fd(), c"", true, Attributes::RDONLY, Attributes::NONE, Propagation::Keep, None).map_err(failed)?;
        mount::detach(c"usr").map_err(failed)?;
        mount::attach(usr.as_fd(), scratch.as_fd(), c"").map_err(failed)
    }

    /// Attaches a mount on a top directory of the tree. One name has no links on the way, and the last is not followed.
    fn attach_on(&self, mount: BorrowedFd<'_>, name: &CStr) -> Step {
        let Err(e) = mount::attach(mount, self.root()?, name) else { return Ok(()) };
        let path = name.to_string_lossy();
        // The reason in words, if it is one of the tree's.
        self.api_directory(&path)?;
        Err(Failure::new("attach", format!("/{path}"), e))
    }

    fn attach_api(&mut self, slot: BorrowedFd<'_>, target: &'static CStr) -> Step {
        self.attach_on(slot, target)?;
        if target == c"sys" {
            self.sys = Some(rustix::io::fcntl_dupfd_cloexec(slot, 3).map_err(|e| Failure::new("open", "/sys", e))?);
        }
        Ok(())
    }

    fn attach_tmp(&self, slot: Slot) -> Step {
        let failed = |e: io::Error| Failure::new("attach", "/tmp", e);
        let root = self.root()?;
        let own = mount::mount_id(root, c"").map_err(failed)?;
        match mount::look(root, c"tmp") {
            // Something is mounted there already.
            Ok(seen) if seen.mount != own => return Ok(()),
            Ok(seen) if FileType::from_raw_mode(seen.mode) == FileType::Directory => return self.attach_on(self.slot(slot)?, c"tmp"),
            _ => {}
        }
        let place = match inroot::directory(root, Path::new("/tmp")) {
            Ok(place) => place,
            // No /tmp and no way to make one: as on the tree itself.
            Err(e) if missing_in_tree(&e) => return Ok(()),
            Err(e) => return Err(Failure::new("open", "/tmp of the tree", io_of(e))),
        };
        if mount::mount_id(place.as_fd(), c"").map_err(failed)? != own {
            return Ok(());
        }
        mount::attach(self.slot(slot)?, place.as_fd(), c"").map_err(failed)
    }

    /// Opens the target of a mount, making it when it is missing. `None`: left out.
    fn target(&self, target: &Path, missing: Missing, like: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Failure> {
        let root = self.root()?;
        match inroot::open(root, target, OFlags::PATH) {
            Ok(fd) => return Ok(Some(fd)),
            Err(e) if missing_in_tree(&e) && missing == Missing::Skip => return Ok(None),
            Err(e) if missing_in_tree(&e) && missing != Missing::Fail => {}
            Err(e) => return Err(Failure::new("open", format!("mount point {}", target.display()), io_of(e))),
        }
        let make = |e: Cause| Failure::new("make", format!("mount point {}", target.display()), io_of(e));
        let directory = match missing {
            Missing::MakeDir => true,
            Missing::MakeFile => false,
            _ => FileType::from_raw_mode(rustix::fs::fstat(like).map_err(|e| Failure::new("read", "source", e))?.st_mode) == FileType::Directory,
        };
        let made = if directory {
            inroot::make_directories(root, target, Mode::from_raw_mode(0o755))
        } else {
            inroot::make_file(root, target, Mode::from_raw_mode(0o644))
        };
        made.map(Some).map_err(make)
    }

    pub(super) fn attach(&self, slot: Slot, target: &Path, missing: Missing, read_only: bool) -> Step {
        let fd = self.slot(slot)?;
        let Some(place) = self.target(target, missing, fd)? else { return Ok(()) };
        let failed = |e: io::Error| Failure::new("attach", target.display().to_string(), e);
        mount::attach(fd, place.as_fd(), c"").map_err(|e| failed(unlike(fd, place.as_fd()).unwrap_or(e)))?;
        if read_only {
            mount::change(fd, c"", true, Attributes::RDONLY, Attributes::NONE, Propagation::Keep, None).map_err(failed)?;
        }
        Ok(())
    }

    fn bind_inside(&self, from: &Path, target: &Path, read_only: bool, recursive: bool) -> Step {
        let object = || format!("{} on {}", from.display(), target.display());
        let source =
            inroot::open(self.root()?, from, OFlags::PATH).map_err(|e| Failure::new("open", format!("{} in the tree", from.display()), io_of(e)))?;
        let fd = mount::clone_tree(source.as_fd(), c"", recursive).map_err(|e| Failure::new("bind", object(), e))?;
        if read_only {
            mount::change(fd.as_fd(), c"", recursive, Attributes::RDONLY, Attributes::NONE, Propagation::Keep, None)
                .map_err(|e| Failure::new("bind", object(), e))?;
        }
        let Some(place) = self.target(target, Missing::LikeSource, source.as_fd())? else { return Ok(()) };
        mount::attach(fd.as_fd(), place.as_fd(), c"").map_err(|e| Failure::new("bind", object(), unlike(fd.as_fd(), place.as_fd()).unwrap_or(e)))
    }

    /// The covering nodes of /run/host; it is read-only, so they are, too.
    fn run_host(&self) -> Result<BorrowedFd<'_>, Failure> {
        self.run.as_ref().map(AsFd::as_fd).ok_or_else(|| Failure::new("use", "/run/host", Errno::BADF))
    }

    /// Covers `dir`/`path` (empty: `dir` itself; the last component is not followed) by a node of its kind that nobody can open.
    fn cover(&self, dir: BorrowedFd<'_>, path: &CStr, kind: FileType, object: &dyn Fn() -> String) -> Step {
        let node = match kind {
            FileType::Directory => c"inaccessible/dir",
            FileType::Fifo => c"inaccessible/fifo",
            FileType::Socket => c"inaccessible/sock",
            FileType::CharacterDevice => c"inaccessible/chr",
            FileType::BlockDevice => c"inaccessible/blk",
            _ => c"inaccessible/reg",
        };
        let failed = |e: io::Error| Failure::new("cover", object(), e);
        let fd = mount::clone_tree(self.run_host()?, node, false).map_err(failed)?;
        mount::attach(fd.as_fd(), dir, path).map_err(failed)
    }

    fn inaccessible(&self, target: &Path) -> Step {
        let object = target.display().to_string();
        let place = inroot::open(self.root()?, target, OFlags::PATH).map_err(|e| Failure::new("make inaccessible", &object, io_of(e)))?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&place).map_err(|e| Failure::new("read", &object, e))?.st_mode);
        self.cover(place.as_fd(), c"", kind, &|| object.clone())
    }

    fn proc(&self) -> Result<BorrowedFd<'_>, Failure> {
        self.proc.as_ref().map(AsFd::as_fd).ok_or_else(|| Failure::new("use", "/proc", Errno::BADF))
    }
    fn sys(&self) -> Result<BorrowedFd<'_>, Failure> {
        self.sys.as_ref().map(AsFd::as_fd).ok_or_else(|| Failure::new("use", "/sys", Errno::BADF))
    }

    fn mount_proc(&mut self) -> Step {
        let attributes = Attributes::NOSUID.or(Attributes::NODEV).or(Attributes::NOEXEC);
        let fd = mount::filesystem(c"proc", &[FsOption::Text(c"source", c"proc")], attributes).map_err(|e| Failure::new("mount", "/proc", e))?;
        self.attach_on(fd.as_fd(), c"proc")?;
        self.proc = Some(fd);
        Ok(())
    }

    /// The kernel refuses a fresh sysfs in a user namespace when the host's has anything mounted on it; the host's
    /// (read-only) then takes its place.
    fn mount_sys(&mut self, fallback: Slot, attributes: Attributes) -> Step {
        // Read-only as a whole, not only here: root could mount it again elsewhere.
        let read_only = attributes.0 & Attributes::RDONLY.0 != 0;
        let options = [FsOption::Text(c"source", c"sysfs"), FsOption::Flag(c"ro")];
        match mount::filesystem(c"sysfs", &options[..if read_only { 2 } else { 1 }], attributes) {
            Ok(fd) => {
                self.attach_on(fd.as_fd(), c"sys")?;
                self.sys = Some(fd);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => self.attach_api(self.slot(fallback)?, c"sys"),
            Err(e) => Err(Failure::new("mount", "/sys", e)),
        }
    }

    fn make_mqueue(&mut self) -> Step {
        let failed = |e: io::Error| Failure::new("mount", "/dev/mqueue", e);
        let attributes = Attributes::NOSUID.or(Attributes::NODEV).or(Attributes::NOEXEC);
        match mount::filesystem(c"mqueue", &[FsOption::Text(c"source", c"mqueue")], attributes) {
            Ok(fd) => {
                self.mqueue = Some(fd);
                Ok(())
            }
            // A kernel without POSIX queues.
            Err(e) if e.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(()),
            // Shared IPC in an own user namespace: the host's queues are not ours to show.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && !self.plan.spec.namespaces.ipc => Ok(()),
            Err(e) => Err(failed(e)),
        }
    }

    fn attach_mqueue(&self, dev: Slot) -> Step {
        let Some(fd) = &self.mqueue else { return Ok(()) };
        mount::attach(fd.as_fd(), self.slot(dev)?, c"mqueue").map_err(|e| Failure::new("attach", "/dev/mqueue", e))
    }

    fn receive(&mut self) -> Step {
        match parcel::receive(self.go.as_fd(), self.plan) {
            // This process ends by an exec or at once: what it has is never dropped.
            Ok(Some(mut parcel)) => {
                self.console = parcel.console.take();
                self.received = Box::leak(Box::new(parcel));
            }
            // Hung up: the supervisor gave up or died.
            Ok(None) => clone::exit_now(1),
            Err(e) => return Err(Failure::new("receive", "prepared mounts", e)),
        }
        Ok(())
    }

    fn mount_cgroup(&self) -> Step {
        let failed = |e: io::Error| Failure::new("mount", "/sys/fs/cgroup", e);
        proc::unshare_cgroup().map_err(|e| Failure::new("make", "cgroup namespace", e))?;
        let attributes = Attributes::NOSUID.or(Attributes::NODEV).or(Attributes::NOEXEC);
        let fd = mount::filesystem(c"cgroup2", &[FsOption::Text(c"source", c"cgroup2")], attributes).map_err(failed)?;
        mount::attach(fd.as_fd(), self.sys()?, c"fs/cgroup").map_err(failed)
    }

    fn proc_read_only(&self, paths: &[&CStr], net_writable: bool) -> Step {
        let proc = self.proc()?;
        for path in paths {
            let failed = |e: io::Error| Failure::new("make", format!("/proc/{} read-only", path.to_string_lossy()), e);
            let fd = match mount::clone_tree(proc, path, true) {
                Ok(fd) => fd,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            let net = (net_writable && *path == c"sys").then(|| mount::clone_tree(proc, c"sys/net", false)).transpose().map_err(failed)?;
            mount::change(fd.as_fd(), c"", true, Attributes::RDONLY, Attributes::NONE, Propagation::Keep, None).map_err(failed)?;
            mount::attach(fd.as_fd(), proc, path).map_err(failed)?;
            if let Some(net) = net {
                mount::attach(net.as_fd(), proc, c"sys/net").map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Per user namespace: how many the machine's own may have below it.
    fn limit_nesting(&self, levels: u32) -> Step {
        let failed = |e: Errno| Failure::new("limit", "nested user namespaces", e);
        let file =
            rustix::fs::openat(self.proc()?, c"sys/user/max_user_namespaces", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        rustix::io::write(&file, levels.to_string().as_bytes()).map(drop).map_err(failed)
    }

    /// Covers files and directories of /proc and /sys (`base`, fresh or the host's: no path of theirs leads elsewhere).
    fn mask(&self, base: BorrowedFd<'_>, prefix: &str, paths: &[&CStr]) -> Step {
        let object = |path: &CStr| format!("{prefix}/{}", path.to_string_lossy());
        for path in paths {
            let seen = match mount::look(base, path) {
                Ok(seen) => seen,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Failure::new("look at", object(path), e)),
            };
            self.cover(base, path, FileType::from_raw_mode(seen.mode), &|| object(path))?;
            // Verified by its name, because a mask that is silently not there is how systemd-nspawn 252 shows kallsyms (its issue 40501).
            let now = mount::look(base, path).map_err(|e| Failure::new("verify", object(path), e))?;
            if now.mount == seen.mount {
                return Err(Failure::new("cover", object(path), io::Error::other("the mask is not in place")));
            }
        }
        Ok(())
    }

    fn proc_own(&self) -> Step {
        let (proc, run) = (self.proc()?, self.run_host()?);
        for (node, path) in [(c"proc-sys-kernel-random-boot-id", c"sys/kernel/random/boot_id"), (c"proc-kmsg", c"kmsg")] {
            let failed = |e: io::Error| Failure::new("cover", format!("/proc/{}", path.to_string_lossy()), e);
            let fd = mount::clone_tree(run, node, false).map_err(failed)?;
            match mount::attach(fd.as_fd(), proc, path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(())
    }

    fn seal_run_host(&mut self, run: Slot) -> Step {
        let failed = |e: io::Error| Failure::new("seal", "/run/host", e);
        let run = self.slot(run)?;
        let fd = mount::clone_tree(run, c"host", false).map_err(failed)?;
        mount::change(fd.as_fd(), c"", false, Attributes::RDONLY.or(Attributes::NOEXEC), Attributes::NONE, Propagation::Keep, None)
            .map_err(failed)?;
        mount::attach(fd.as_fd(), run, c"host").map_err(failed)?;
        self.run = Some(fd);
        Ok(())
    }

    fn pivot(&mut self) -> Step {
        rustix::process::fchdir(self.root()?).map_err(|e| Failure::new("enter", "root", e))?;
        mount::pivot_to_cwd().map_err(|e| Failure::new("make", "the tree the root", e))?;
        // "/.." would show what still lies over the root: nothing may.
        let id = |path: &CStr| mount::mount_id(rustix::fs::CWD, path).map_err(|e| Failure::new("verify", "root", e));
        if id(c"/")? != id(c"/..")? {
            return Err(Failure::new("drop", "the host's root", io::Error::other("it is still mounted")));
        }
        Ok(())
    }

    fn lock_mounts(&mut self) -> Step {
        let failed = |e: io::Error| Failure::new("lock", "mounts", e);
        (self.root, self.run, self.proc, self.sys, self.mqueue) = (None, None, None, None, None);
        match mount_lock::enter(self.go.as_fd()).map_err(failed)? {
            Some(()) => {}
            // Hung up: the supervisor gave up or died.
            None => clone::exit_now(1),
        }
        self.unsettled = true;
        let terminals = self.plan.terminals();
        self.console = self.console.as_ref().map(|old| mount_lock::reopen_terminal(old.as_fd(), terminals)).transpose().map_err(failed)?;
        Ok(())
    }

    fn execute(&mut self) -> Failure {
        if self.unsettled && !mount_lock::settled(self.go.as_fd()) {
            clone::exit_now(1);
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let hook_state = match self.start_state() {
            Ok(state) => state,
            Err(failure) => return failure,
        };
        let until_exec: Vec<_> = std::iter::once(self.report.as_fd()).chain(hook_state.as_ref().map(AsFd::as_fd)).collect();
        let process = Process {
            spec: self.plan.process(),
            program: self.plan.program,
            env: &self.plan.env,
            bounding: self.plan.bounding,
            filter: self.plan.filter.as_deref(),
            stdio: self.console.as_ref().map(AsFd::as_fd),
            // An init gives its console to a getty, which takes it as its own controlling terminal.
            controlling: self.console.is_some() && self.plan.program == Program::Command,
            // Also on pipes: the session of the one who started us, and its terminal, stay behind.
            new_session: true,
            keep: self.plan.listen_fds,
            until_exec: &until_exec,
            // A bundle's limits are what it asks for, or it does not run.
            clamp_limits: self.plan.spec.bundle.is_none(),
            die_with_parent: true,
            // With a user namespace our file belongs to nobody of the machine.
            no_magic_links: !self.plan.user_namespace,
            service: None,
        };
        if let Some(slot) = self.plan.stub {
            let program = match self.slot(slot) {
                Ok(program) => program,
                Err(failure) => return failure,
            };
            if self.plan.spec.payload == Life::Services {
                return reaper::run(&process, self.report.as_fd(), program);
            }
            return stub::run(&process, self.report.as_fd(), program, !self.plan.spec.lifecycle.nspawn_exit_status);
        }
        match r#become::confine(&process) {
            Ok(ready) => {
                if let Err(failure) = self.start_container_hooks(hook_state.as_ref()) {
                    return failure;
                }
                announce(self.report.as_fd());
                r#become::execute(&ready)
            }
            Err(failure) => failure,
        }
    }
}

/// A tmpfs with `upper` and `work` in it; the upper layer's root carries the mode of the merged root.
fn keyring() -> Step {
    match proc::new_session_keyring() {
        Ok(()) => Ok(()),
        // A kernel without keys has none to leak.
        Err(e) if e.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => Ok(()),
        Err(e) => Err(Failure::new("make", "session keyring", e)),
    }
}

/// Tells the supervisor that nothing is left to do but the exec. Who hangs up without this word did not come that far.
pub(super) fn announce(fd: BorrowedFd<'_>) {
    // EPIPE: the supervisor is dead, and so are we in a moment.
    let _ = rustix::io::write(fd, &[READY]);
}

/// Tells the supervisor what failed: `verb NUL object NUL cause`.
pub(super) fn report(fd: BorrowedFd<'_>, failure: &Failure) {
    let mut text = Vec::with_capacity(256);
    let _ = write!(text, "{}\0{}\0{}", failure.verb, failure.object, crate::error::io_text(&failure.cause));
    text.truncate(4096);
    let _ = rustix::io::write(fd, &text);
}
