//! Deleting a tree: renamed aside first, then emptied by descriptor, never following a link, never leaving its mount.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hostel_sys::tree::btrfs;
use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::On;
use crate::walk::{self, Queue};
use crate::{Cause, Result, inroot, partial};

/// Deeper directories are moved up to the top before they are emptied: an image chooses its depth, we our descriptors.
const DEPTH: u32 = 48;
/// How often a tree is gone through in which things are moved meanwhile.
const ROUNDS: u32 = 100;

/// Deletes the directory tree `path`, in one step for whoever looks at its name.
///
/// Refused when `path` is no directory, when it or something below it is a mount point of this mount namespace.
/// Subvolumes of btrfs below it are deleted too. If this is interrupted, [`crate::sweep`] finishes.
pub fn remove_tree(path: &Path) -> Result<()> {
    remove_tree_unless(path, |_, _, _| false)
}

/// [`remove_tree`] that asks `is_taken` as soon as the name is gone, before the long part, whether that is not to be done: for `parent`, the
/// name there for now, and the directory.
pub(crate) fn remove_tree_unless(path: &Path, is_taken: impl FnOnce(BorrowedFd<'_>, &CStr, BorrowedFd<'_>) -> bool) -> Result<()> {
    const VERB: &str = "remove tree";
    let (parent, name) = open_parent(path).on(VERB, path)?;
    let dir = match walk::subdirectory(parent.as_fd(), &name) {
        Err(Errno::XDEV) => Err(Cause::Why("it is a mount point")),
        Err(Errno::LOOP | Errno::NOTDIR) if is_link(parent.as_fd(), &name) => Err(Cause::Why("it is a symbolic link")),
        other => other.map_err(Cause::from),
    }
    .on(VERB, path)?;
    refuse_mounts_below(dir.as_fd()).on(VERB, path)?;
    let trash = move_aside(parent.as_fd(), &name).on(VERB, path)?;
    // Held if it can be, so that sweepers leave it to us. Who holds it else is the caller itself, for a throw-away copy of
    // its own, or a sweeper: two may well empty the same directory.
    let _held = partial::take(parent.as_fd(), &trash);
    if is_taken(parent.as_fd(), &trash, dir.as_fd()) {
        return Ok(());
    }
    delete(parent.as_fd(), &trash, dir).on(VERB, path)
}

/// The readable directory that holds `path`, and the last component, links in the directory part followed.
pub(crate) fn open_parent(path: &Path) -> std::result::Result<(OwnedFd, CString), Cause> {
    let name = path.file_name().ok_or(Cause::Why("its last component is no name"))?;
    let above = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(above, flags, Mode::empty())?;
    Ok((parent, CString::new(name.as_bytes()).map_err(|_| Cause::Os(Errno::INVAL))?))
}

fn is_link(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink)
}

fn move_aside(parent: BorrowedFd<'_>, name: &CStr) -> std::result::Result<CString, Cause> {
    let trash = partial::fresh_name(partial::TRASH)?;
    match rustix::fs::renameat_with(parent, name, parent, &*trash, RenameFlags::NOREPLACE) {
        Err(Errno::BUSY) => Err(Cause::Why("it is a mount point")),
        Err(Errno::INVAL) => Ok(rustix::fs::renameat(parent, name, parent, &*trash)?),
        other => Ok(other?),
    }?;
    Ok(trash)
}

/// Looks into the mount table before anything is touched; the walk itself would stop half-way.
pub(crate) fn refuse_mounts_below(dir: BorrowedFd<'_>) -> std::result::Result<(), Cause> {
    let path = real_path(dir)?;
    let table = std::fs::read("/proc/thread-self/mountinfo")?;
    let below = table.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4)).any(|point| {
        let point = hostel_spec::unescape_octal(point);
        point.strip_prefix(path.as_os_str().as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    });
    if below { Err(Cause::Why("something is mounted in it")) } else { Ok(()) }
}

/// Where a directory is now, without links.
pub(crate) fn real_path(dir: BorrowedFd<'_>) -> std::result::Result<PathBuf, Cause> {
    use std::os::fd::AsRawFd;
    Ok(std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()))?)
}

/// A directory being emptied. It is removed when `left`, itself and its subdirectories, is 0.
struct Dir {
    fd: OwnedFd,
    name: CString,
    above: Option<Arc<Dir>>,
    depth: u32,
    left: AtomicUsize,
}

/// A directory to open and empty.
struct Job {
    above: Arc<Dir>,
    name: CString,
}

/// Deletes the directory `dir`, which is `parent`/`name`, with everything in it. `parent` must be readable.
pub(crate) fn delete(parent: BorrowedFd<'_>, name: &CStr, dir: OwnedFd) -> std::result::Result<(), Cause> {
    if btrfs::is_subvolume(dir.as_fd()).unwrap_or(false) && delete_subvolume(parent, name, dir.as_fd()).is_ok() {
        return Ok(());
    }
    // Somebody who can write in the tree may move things while we go; what he moved out of sight is met in the next round.
    for _ in 0..ROUNDS {
        match walk::readable(dir.as_fd()).map_err(Cause::from).and_then(empty) {
            Ok(true) => break,
            Ok(false) => {}
            // Another one who empties it was quicker, also with one below it: that is looked at again.
            Err(Cause::Os(Errno::NOENT)) if gone(parent, name) => return Ok(()),
            Err(Cause::Os(Errno::NOENT)) => {}
            Err(e) => return Err(e),
        }
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Removes all that is in `dir`, whatever it is called now.
pub(crate) fn empty_all(dir: BorrowedFd<'_>) -> std::result::Result<(), Cause> {
    for _ in 0..ROUNDS {
        match walk::readable(dir).map_err(Cause::from).and_then(empty) {
            Ok(true) => return Ok(()),
            Ok(false) | Err(Cause::Os(Errno::NOENT)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn gone(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    matches!(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}

/// Removes all that is in `dir`; `false` when something was moved meanwhile and may still be there.
fn empty(dir: OwnedFd) -> std::result::Result<bool, Cause> {
    let top = Arc::new(Dir { fd: dir, name: CString::default(), above: None, depth: 0, left: AtomicUsize::new(1) });
    let context = Context { top: top.clone(), flattened: AtomicUsize::new(0), again: AtomicBool::new(false) };
    // Not counted: a directory stays open until all below it are gone; the depth is bounded instead.
    let open = walk::OpenDirectories::default();
    walk::run(walk::THREADS, &open, None, |job: Option<Job>, queue: &Queue<Option<Job>, Cause>| match job {
        None => context.empty(&top, queue),
        Some(job) => context.descend(job, queue),
    })?;
    Ok(!context.again.into_inner())
}

struct Context {
    top: Arc<Dir>,
    flattened: AtomicUsize,
    again: AtomicBool,
}

impl Context {
    fn descend(&self, job: Job, queue: &Queue<Option<Job>, Cause>) -> std::result::Result<(), Cause> {
        let Job { above, name } = job;
        let fd = match walk::subdirectory(above.fd.as_fd(), &name) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return self.finish(above),
            // Exchanged for something else meanwhile.
            Err(Errno::LOOP | Errno::NOTDIR) => {
                if !unlink(above.fd.as_fd(), &name)? {
                    self.again.store(true, Ordering::Relaxed);
                }
                return self.finish(above);
            }
            Err(Errno::XDEV) => return Err(Cause::Why("something is mounted in it")),
            Err(e) => return Err(e.into()),
        };
        if btrfs::is_subvolume(fd.as_fd()).unwrap_or(false) && delete_subvolume(above.fd.as_fd(), &name, fd.as_fd()).is_ok() {
            return self.finish(above);
        }
        if above.depth >= DEPTH {
            let number = self.flattened.fetch_add(1, Ordering::Relaxed);
            // A name that no entry of the top directory can still have by chance: it is ours alone.
            let flat =
                CString::new(format!(".#hostel-deep-{number}-{:016x}", hostel_sys::tree::random_u64()?)).map_err(|_| Cause::Os(Errno::INVAL))?;
            match rustix::fs::renameat(&above.fd, &*name, &self.top.fd, &*flat) {
                Ok(()) => {
                    self.top.left.fetch_add(1, Ordering::AcqRel);
                    self.finish(above)?;
                    // When all else is done, or the directories above it would stay open under those to come.
                    queue.push_last(Some(Job { above: self.top.clone(), name: flat }));
                    return Ok(());
                }
                Err(Errno::NOENT) => return self.finish(above),
                // Across a subvolume: it just stays deep.
                Err(_) => {}
            }
        }
        let depth = above.depth + 1;
        let dir = Arc::new(Dir { fd, name, above: Some(above), depth, left: AtomicUsize::new(1) });
        self.empty(&dir, queue)
    }

    fn empty(&self, dir: &Arc<Dir>, queue: &Queue<Option<Job>, Cause>) -> std::result::Result<(), Cause> {
        walk::entries(dir.fd.as_fd(), |name, kind| {
            if kind != FileType::Directory && unlink(dir.fd.as_fd(), name)? {
                return Ok(());
            }
            dir.left.fetch_add(1, Ordering::AcqRel);
            queue.push(Some(Job { above: dir.clone(), name: name.to_owned() }));
            Ok::<(), Cause>(())
        })?;
        self.finish(dir.clone())
    }

    /// One thing less below `dir`; removes it, and those above it, when that was the last. The top is left to [`delete`].
    fn finish(&self, mut dir: Arc<Dir>) -> std::result::Result<(), Cause> {
        while dir.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let Some(above) = dir.above.clone() else { return Ok(()) };
            match remove_entry(above.fd.as_fd(), &dir.name, AtFlags::REMOVEDIR) {
                // Another one has its name now, or something came into it.
                Err(Cause::Os(Errno::NOTDIR | Errno::NOTEMPTY)) => self.again.store(true, Ordering::Relaxed),
                other => other?,
            }
            dir = above;
        }
        Ok(())
    }
}

/// Unlinks what is no directory; `false` when it is one.
fn unlink(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<bool, Cause> {
    match remove_entry(dir, name, AtFlags::empty()) {
        Err(Cause::Os(Errno::ISDIR)) => Ok(false),
        other => other.map(|()| true),
    }
}

fn remove_entry(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> std::result::Result<(), Cause> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // chattr +i or +a, on the file or on its directory.
        Err(Errno::PERM) => {
            let _ = unprotect(dir);
            let kind = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|s| FileType::from_raw_mode(s.st_mode));
            let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
            // Nothing else can have such a flag, and opening it could have effects.
            if matches!(kind, Ok(FileType::RegularFile | FileType::Directory))
                && let Ok(file) = inroot::open_beneath_no_symlinks(dir, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
            {
                let _ = unprotect(file.as_fd());
            }
            match rustix::fs::unlinkat(dir, name, flags) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(e) => Err(e.into()),
            }
        }
        Err(e) => Err(e.into()),
    }
}

pub(crate) fn unprotect(file: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    // On a device the same ioctl number may mean anything.
    if !matches!(kind, FileType::Directory | FileType::RegularFile) {
        return Ok(());
    }
    let flags = rustix::fs::ioctl_getflags(file)?;
    let free = flags - (IFlags::IMMUTABLE | IFlags::APPEND);
    if free != flags { rustix::fs::ioctl_setflags(file, free) } else { Ok(()) }
}

/// Destroys the subvolume `parent`/`name`, those below it first. On failure the caller empties it as a directory.
fn delete_subvolume(parent: BorrowedFd<'_>, name: &CStr, dir: BorrowedFd<'_>) -> std::result::Result<(), Cause> {
    btrfs::set_writable(dir)?;
    for child in btrfs::children(dir)? {
        let path = Path::new(std::ffi::OsStr::from_bytes(child.to_bytes()));
        let (above, last) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let above = walk::readable(inroot::open_beneath_no_symlinks(dir, above, OFlags::PATH)?.as_fd())?;
        let last = CString::new(last.as_bytes()).map_err(|_| Cause::Os(Errno::INVAL))?;
        let below = walk::subdirectory(above.as_fd(), &last)?;
        delete_subvolume(above.as_fd(), &last, below.as_fd())?;
    }
    Ok(btrfs::destroy(parent, name)?)
}

#[cfg(test)]
mod tests;
