//! In the child: mounts and other namespaces, before it becomes the program.

use std::ffi::CString;
use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_process::r#become::Failure;
use hostel_process::userdb::User;
use hostel_sys::mount::{self, Attributes, FsOption, Propagation};
use hostel_sys::{clone, netlink, proc, service, tree};
use rustix::fs::{FileType, Mode, OFlags};

use super::mounts::{Mounts, Step, Tmp, What, is_within, mounts};
use super::settings::Sandbox;
use super::{devices, place};
use crate::fstab::unescape;

const NAMESPACE: &str = "set up namespace";
const NETWORK: &str = "isolate network";

/// What cannot be opened by anybody without special powers.
const INACCESSIBLE: &str = "/run/systemd/inaccessible";

fn failed(object: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let object = object.into();
    move |e| Failure::new(NAMESPACE, object, e)
}

fn open_path(dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    Ok(tree::openat2(dir, path, OFlags::PATH, Mode::empty(), tree::IN_ROOT)?)
}

fn real_path(fd: &OwnedFd) -> io::Result<String> {
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
    let path = rustix::fs::readlink(link, Vec::new())?;
    path.into_string().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Network and IPC: joined, or made here.
pub(in super::super) fn network(of: &Sandbox, shared: Option<BorrowedFd<'_>>) -> Result<(), Failure> {
    let open = |path: &str, verb: &'static str| {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| Failure::new(verb, path, e))
    };
    if let Some(path) = &of.network_path {
        let fd = open(path, NETWORK)?;
        proc::join_namespace(fd.as_fd(), clone::NEWNET as i32).map_err(|e| Failure::new(NETWORK, path, e))?;
    } else if let (true, Some(fd)) = (of.network, shared) {
        proc::join_namespace(fd, clone::NEWNET as i32).map_err(|e| Failure::new(NETWORK, "of the unit", e))?;
    } else if of.network && place::here().network {
        service::unshare(clone::NEWNET).and_then(|()| netlink::loopback_up()).map_err(|e| Failure::new(NETWORK, "from others", e))?;
    }
    if let Some(path) = &of.ipc_path {
        let fd = open(path, NAMESPACE)?;
        proc::join_namespace(fd.as_fd(), clone::NEWIPC as i32).map_err(failed(path))?;
    } else if of.ipc && place::here().ipc {
        service::unshare(clone::NEWIPC).map_err(failed("of IPC"))?;
    }
    if of.hostname && place::here().hostname {
        service::unshare(clone::NEWUTS).map_err(failed("of the host name"))?;
    }
    Ok(())
}

/// Everything that has to do with files and users.
pub(in super::super) fn enter(of: &Sandbox, tmp: Tmp<'_>, user: &User) -> Result<(), Failure> {
    if of.needs_mounts() {
        let here = place::here();
        if here.mounts {
            files(of, tmp, here.processes)?;
        } else if of.insists_on_mounts() {
            return Err(failed("of mounts")(io::ErrorKind::PermissionDenied.into()));
        }
    }
    if of.users && place::here().users {
        users(user)?;
    }
    Ok(())
}

fn files(of: &Sandbox, tmp: Tmp<'_>, can_processes: bool) -> Result<(), Failure> {
    proc::unshare_mounts().map_err(failed("of mounts"))?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed("/")(e.into()))?;
    change(root.as_fd(), true, Attributes::NONE, Attributes::NONE, Propagation::Slave).map_err(failed("of mounts"))?;
    let table = std::fs::File::open("/proc/self/mountinfo").map_err(failed("of mounts"))?;
    let (root, prefix) = match &of.root {
        None => (root, String::new()),
        Some(place) => match other_root(root.as_fd(), &place.path) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound && place.optional => (root, String::new()),
            Err(e) => return Err(failed(&place.path)(e)),
        },
    };
    let resolve = |path: &str| {
        let real = real_path(&open_path(root.as_fd(), path).ok()?).ok()?;
        let below = real.strip_prefix(prefix.as_str()).unwrap_or(&real);
        Some(if below.is_empty() { "/".to_owned() } else { below.to_owned() })
    };
    let list = mounts(of, tmp, can_processes, &resolve).map_err(|missing| failed(missing.0)(io::ErrorKind::NotFound.into()))?;
    Work { root: root.as_fd(), prefix: &prefix, table }.run(&list)?;
    if !prefix.is_empty() {
        rustix::process::fchdir(&root).map_err(|e| failed(&prefix)(e.into()))?;
        mount::pivot_to_cwd().map_err(failed(&prefix))?;
    }
    let propagation = match of.propagation {
        Some("slave") => return Ok(()),
        Some("private") => Propagation::Private,
        _ => Propagation::Shared,
    };
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed("/")(e.into()))?;
    change(root.as_fd(), true, Attributes::NONE, Attributes::NONE, propagation).map_err(failed("of mounts"))
}

fn change(at: BorrowedFd<'_>, recursive: bool, set: Attributes, clear: Attributes, propagation: Propagation) -> io::Result<()> {
    mount::change(at, c"", recursive, set, clear, propagation, None)
}

/// Makes a directory a mount, to become the root, and gives it with its path.
fn other_root(root: BorrowedFd<'_>, path: &str) -> io::Result<(OwnedFd, String)> {
    let directory = open_path(root, path)?;
    let real = real_path(&directory)?;
    let copy = mount::clone_tree(directory.as_fd(), c"", true)?;
    mount::attach(copy.as_fd(), directory.as_fd(), c"")?;
    Ok((open_path(root, &real)?, real))
}

struct Work<'a> {
    root: BorrowedFd<'a>,
    /// Path of the root.
    prefix: &'a str,
    /// Mounts of this namespace, as they are when it is read.
    table: std::fs::File,
}

impl Work<'_> {
    fn run(&mut self, list: &Mounts) -> Result<(), Failure> {
        let is_hiding = list.steps.iter().any(|step| step.what == What::Inaccessible);
        let nothing = if is_hiding { Some(inaccessible().map_err(failed(INACCESSIBLE))?) } else { None };
        // before anything is covered
        let mut sources = Vec::with_capacity(list.steps.len());
        for step in &list.steps {
            sources.push(source(step)?);
        }
        let before = self.points().map_err(failed("of mounts"))?;
        // of these, what is still seen
        let mut seen = before.clone();
        for (step, source) in list.steps.iter().zip(&sources) {
            if matches!(&step.what, What::Bind { .. }) && source.is_none() {
                continue;
            }
            match self.step(step, source.as_ref(), nothing.as_ref(), &seen) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && step.optional => {}
                other => other.map_err(failed(&step.path))?,
            }
            if !matches!(step.what, What::ReadOnly | What::Writable | What::Untouched) {
                seen.retain(|point| point == &step.path || !is_within(point, &step.path));
            }
        }
        for (path, _) in &list.exec {
            self.make_point(path, &seen).map_err(failed(path))?;
        }
        self.close(list, &before)
    }

    /// Paths of all mounts below the root.
    fn points(&mut self) -> io::Result<Vec<String>> {
        io::Seek::rewind(&mut self.table)?;
        let mut text = String::new();
        self.table.read_to_string(&mut text)?;
        let paths = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
        let below = paths.filter(|path| is_within(path, if self.prefix.is_empty() { "/" } else { self.prefix }));
        Ok(below
            .map(|path| {
                let rest = path.get(self.prefix.len()..).unwrap_or_default();
                if rest.is_empty() { "/".to_owned() } else { rest.to_owned() }
            })
            .collect())
    }

    /// A path becomes a mount of its own, which can then be changed alone.
    fn make_point(&self, path: &str, before: &[String]) -> io::Result<()> {
        if path == "/" || before.iter().any(|point| point == path) {
            return Ok(());
        }
        let there = open_path(self.root, path)?;
        let copy = mount::clone_tree(there.as_fd(), c"", true)?;
        mount::attach(copy.as_fd(), there.as_fd(), c"")
    }

    fn step(&self, step: &Step, source: Option<&(OwnedFd, bool)>, nothing: Option<&[OwnedFd; 2]>, before: &[String]) -> io::Result<()> {
        match &step.what {
            What::ReadOnly | What::Writable | What::Untouched => self.make_point(&step.path, before),
            What::Inaccessible => {
                let there = open_path(self.root, &step.path)?;
                let is_directory = FileType::from_raw_mode(mount::look(there.as_fd(), c"")?.mode) == FileType::Directory;
                let [file, directory] = nothing.ok_or(io::ErrorKind::NotFound)?;
                let copy = mount::clone_tree(if is_directory { directory } else { file }.as_fd(), c"", false)?;
                mount::attach(copy.as_fd(), there.as_fd(), c"")
            }
            What::Bind { .. } => {
                let Some((copy, is_directory)) = source else { return Ok(()) };
                let there = self.target(&step.path, *is_directory)?;
                mount::attach(copy.as_fd(), there.as_fd(), c"")
            }
            What::Devices => {
                let there = self.target(&step.path, true)?;
                devices::mount(there.as_fd(), &|| open_path(self.root, &step.path))
            }
            What::Processes { hide, only } => {
                let hide = hide.map(|word| CString::new(word).unwrap_or_default());
                let mut options = Vec::new();
                options.extend(hide.as_deref().map(|word| FsOption::Text(c"hidepid", word)));
                if *only {
                    options.push(FsOption::Text(c"subset", c"pid"));
                }
                let set = Attributes::NOSUID.or(Attributes::NODEV).or(Attributes::NOEXEC);
                self.fresh(&step.path, mount::filesystem(c"proc", &options, set)?)
            }
            What::Empty(options) => self.fresh(&step.path, empty(options)?),
        }
    }

    fn fresh(&self, path: &str, tree: OwnedFd) -> io::Result<()> {
        let there = self.target(path, true)?;
        mount::attach(tree.as_fd(), there.as_fd(), c"")
    }

    /// What something is to be mounted on: made with the directories above, if it is not there.
    fn target(&self, path: &str, is_directory: bool) -> io::Result<OwnedFd> {
        if let Ok(there) = open_path(self.root, path) {
            return Ok(there);
        }
        let mut at = open_path(self.root, "/")?;
        let mut done = String::new();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        for (i, part) in parts.iter().enumerate() {
            let _ = write!(done, "/{part}");
            if let Ok(next) = open_path(self.root, &done) {
                at = next;
                continue;
            }
            let is_last = i + 1 == parts.len();
            if is_last && !is_directory {
                rustix::fs::mknodat(&at, *part, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)?;
            } else {
                rustix::fs::mkdirat(&at, *part, Mode::from_raw_mode(0o755))?;
            }
            at = open_path(self.root, &done)?;
        }
        Ok(at)
    }

    /// Now that all are there: every mount is made as the nearest of the list says. What was not to be written before stays so.
    fn close(&mut self, list: &Mounts, before: &[String]) -> Result<(), Failure> {
        let points = self.points().map_err(failed("of mounts"))?;
        let mut done: Vec<&str> = Vec::new();
        for point in &points {
            if done.contains(&point.as_str()) {
                continue;
            }
            done.push(point);
            let step = list.steps.iter().rev().find(|step| is_within(point, &step.path));
            let exec = list.exec.iter().rev().find(|(path, _)| is_within(point, path)).map(|(_, exec)| *exec);
            // a /dev of our own is read-only already, and not what is mounted in it
            let read_only = step.is_some_and(|step| step.read_only && step.what != What::Devices);
            let mut set = if read_only { Attributes::RDONLY } else { Attributes::NONE };
            let mut clear = Attributes::NONE;
            match exec {
                Some(false) => set = set.or(Attributes::NOEXEC),
                Some(true) => clear = Attributes::NOEXEC,
                None => {}
            }
            if set == Attributes::NONE && clear == Attributes::NONE {
                continue;
            }
            let result = open_path(self.root, point).and_then(|at| change(at.as_fd(), false, set, clear, Propagation::Keep));
            let is_asked = list.steps.iter().any(|step| step.path == *point) || list.exec.iter().any(|(path, _)| path == point);
            match result {
                // another mount covers it, or nobody may look there
                Err(_) if !is_asked && is_covered(point, &points, before) => {}
                Err(e) if !is_asked && e.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(failed(point))?,
            }
        }
        Ok(())
    }
}

/// Whether something was mounted above a mount, so that it cannot be reached any more.
fn is_covered(point: &str, points: &[String], before: &[String]) -> bool {
    points.iter().any(|above| above != point && is_within(point, above) && !before.contains(above))
        || points.iter().filter(|same| *same == point).count() > 1
        || points.iter().any(|above| above != point && is_within(point, above) && points.iter().filter(|b| *b == above).count() > 1)
}

/// A copy of what is to be bound, and whether it is a directory.
fn source(step: &Step) -> Result<Option<(OwnedFd, bool)>, Failure> {
    let What::Bind { source, optional, recursive } = &step.what else { return Ok(None) };
    let found = rustix::fs::open(source.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from).and_then(|there| {
        let is_directory = FileType::from_raw_mode(mount::look(there.as_fd(), c"")?.mode) == FileType::Directory;
        Ok((mount::clone_tree(there.as_fd(), c"", *recursive)?, is_directory))
    });
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if *optional && e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(source)(e)),
    }
}

fn empty(options: &str) -> io::Result<OwnedFd> {
    let context = mount::open_context(c"tmpfs")?;
    let mut set = Attributes::NODEV.or(Attributes::STRICTATIME);
    for word in options.split(',').filter(|word| !word.is_empty()) {
        let text = |text: &str| CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        match (word, word.split_once('=')) {
            ("nosuid", _) => set = set.or(Attributes::NOSUID),
            ("noexec", _) => set = set.or(Attributes::NOEXEC),
            ("nodev", _) => {}
            (_, Some((key, value))) => mount::configure(context.as_fd(), FsOption::Text(&text(key)?, &text(value)?))?,
            (flag, None) => mount::configure(context.as_fd(), FsOption::Flag(&text(flag)?))?,
        }
    }
    mount::create(context.as_fd(), set)
}

/// A file and a directory without permissions; made when they are first needed.
fn inaccessible() -> io::Result<[OwnedFd; 2]> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = |name: &str| rustix::fs::open(format!("{INACCESSIBLE}/{name}"), flags, Mode::empty());
    if let (Ok(file), Ok(directory)) = (open("reg"), open("dir")) {
        return Ok([file, directory]);
    }
    std::fs::create_dir_all(INACCESSIBLE)?;
    let there = rustix::fs::open(INACCESSIBLE, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for result in [rustix::fs::mknodat(&there, c"reg", FileType::RegularFile, Mode::empty(), 0), rustix::fs::mkdirat(&there, c"dir", Mode::empty())] {
        match result {
            Err(rustix::io::Errno::EXIST) | Ok(()) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok([open("reg")?, open("dir")?])
}

/// PrivateUsers=: root and the user stay who they are, all others are nobody. The maps are written by a child that stayed outside.
fn users(user: &User) -> Result<(), Failure> {
    let object = "of users";
    let map = |ids: &[u32]| {
        let mut seen: Vec<u32> = Vec::new();
        ids.iter().for_each(|id| {
            if !seen.contains(id) {
                seen.push(*id)
            }
        });
        seen.iter().map(|id| format!("{id} {id} 1\n")).collect::<String>()
    };
    let own = std::process::id();
    let (uids, gids) = (map(&[0, user.uid]), map(&[&[0, user.gid][..], &user.groups].concat()));
    let (ready, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(object)(e.into()))?;
    match clone::clone3(&clone::CloneArgs::default()).map_err(failed(object))? {
        clone::Fork::Child => {
            drop(go);
            let _ = rustix::io::read(&ready, &mut [0u8; 1]);
            let write = |file: &str, text: &str| std::fs::write(format!("/proc/{own}/{file}"), text);
            let done = write("uid_map", &uids).and_then(|()| write("gid_map", &gids));
            clone::exit_now(i32::from(done.is_err()))
        }
        clone::Fork::Parent { pidfd, .. } => {
            let moved = service::unshare(clone::NEWUSER);
            drop((ready, go));
            let end = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED).map_err(failed(object))?;
            moved.map_err(failed(object))?;
            match end {
                Some(clone::WaitStatus::Exited(0)) => Ok(()),
                _ => Err(failed(object)(io::Error::other("the map of ids was not taken"))),
            }
        }
    }
}
