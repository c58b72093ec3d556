//! Showing a file or directory of the host in a running machine.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hostel_image::{Cause, inroot};
use hostel_sys::mount::{self, Attributes, Propagation};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::lock;
use crate::enter::Leader;
use crate::error::{Context, Error, Result, io_text};

/// What is shown where, and how.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// Path on the host. Links are the user's and are followed.
    pub source: &'a Path,
    /// Path in the machine, resolved there.
    pub target: &'a Path,
    /// Not to be written to.
    pub read_only: bool,
    /// Make the target if it is missing.
    pub make: bool,
    /// In a machine with ids of its own: file owner N of the host is N inside. Otherwise everything is nobody's.
    pub map_ids: bool,
}

/// Mounts it. It stays until the machine ends or its root unmounts it.
pub fn bind(leader: &Leader, bind: &Bind<'_>) -> Result<()> {
    let shown = bind.source.display().to_string();
    let source = rustix::fs::open(bind.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).context("open", &shown)?;
    let directory = FileType::from_raw_mode(rustix::fs::fstat(&source).context("look at", &shown)?.st_mode) == FileType::Directory;
    let tree = detached(leader, bind, source.as_fd(), &shown)?;
    super::run(leader, |root| attach(root, bind, directory, tree.as_fd()))
}

/// The source as a mount without a place, as the machine is to get it.
fn detached(leader: &Leader, bind: &Bind<'_>, source: BorrowedFd<'_>, shown: &str) -> Result<OwnedFd> {
    let tree = mount::clone_tree(source, c"", true).context("clone", format!("mount of {shown}"))?;
    // What the host mounts or unmounts later below the source is not for the machine.
    let set = if bind.read_only { Attributes::RDONLY } else { Attributes::NONE };
    mount::change(tree.as_fd(), c"", true, set, Attributes::NONE, Propagation::Private, None).context("change", format!("mount of {shown}"))?;
    if leader.shares("user")? {
        return Ok(tree);
    }
    if bind.map_ids {
        let path = format!("/proc/{}/ns/user", leader.pid());
        let users = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context("open", path.clone())?;
        let opened = rustix::fs::fstat(&users).context("look at", path)?;
        if leader.namespace("user")? != (opened.st_dev, opened.st_ino) {
            return Err(Error::new("map", format!("ids of {shown}"), "the machine has ended, or is changing its user namespace"));
        }
        // A submount that cannot be mapped shows its files as nobody's.
        let map = |recursive| mount::change(tree.as_fd(), c"", recursive, Attributes::NONE, Attributes::NONE, Propagation::Keep, Some(users.as_fd()));
        map(true).or_else(|_| map(false)).map_err(|e| {
            let error = Error::new("map", format!("ids of {shown}"), io_text(&e));
            error.hint("its file system does not support idmapped mounts; --no-idmap shows it with everything owned by nobody")
        })?;
    }
    lock(tree.as_fd())
}

/// In the machine.
fn attach(root: BorrowedFd<'_>, bind: &Bind<'_>, directory: bool, tree: BorrowedFd<'_>) -> Result<()> {
    let shown = || bind.target.display().to_string();
    let failed = |verb, cause: Cause| {
        let error = Error::new(verb, format!("{} in the machine", shown()), &cause);
        if cause == Cause::Os(Errno::NOENT) { error.hint("--mkdir makes it") } else { error }
    };
    let place = match (bind.make, directory) {
        (true, true) => inroot::make_directories(root, bind.target, Mode::from_raw_mode(0o755)).map_err(|e| failed("make", e))?,
        (true, false) => inroot::make_file(root, bind.target, Mode::from_raw_mode(0o644)).map_err(|e| failed("make", e))?,
        (false, _) => inroot::open(root, bind.target, OFlags::PATH).map_err(|e| failed("open", e))?,
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&place).context("look at", shown())?.st_mode);
    if (kind == FileType::Directory) != directory {
        let cause = if directory { "it is no directory, the source is" } else { "it is a directory, the source is none" };
        return Err(Error::new("mount on", format!("{} in the machine", shown()), cause));
    }
    mount::attach(tree, place.as_fd(), c"").context("mount on", format!("{} in the machine", shown()))
}
