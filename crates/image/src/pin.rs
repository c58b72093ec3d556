//! A pin keeps a guest from making the host's file system read-only when it shuts down.
//!
//! `mount -o remount,ro /` inside a machine whose root is a directory of the host changes the host's superblock. The
//! kernel refuses it (EBUSY) as long as a file is open for writing, so one nameless file is kept open for the machine's life.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_sys::mount::{Attributes, Propagation, change, clone_tree};
use hostel_sys::tree::{openat2, random_u64};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::Cause;

/// Opens a nameless file for writing on the file system of `tree` (may be O_PATH); keep it open while the machine runs.
///
/// `None`: the file system is read-only already, there is nothing to protect.
pub fn pin(tree: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Cause> {
    match open(tree) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::ROFS) => pin_behind_read_only_mount(tree),
        Err(Errno::PERM) => pin_near(tree),
        Err(e) => Err(e.into()),
    }
}

fn open(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(0o600);
    match rustix::fs::openat(dir, c".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode) {
        // File systems without O_TMPFILE (overlay before 6.3, fuse, nfs) say one of these.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => open_unlinked(dir),
        other => other,
    }
}

fn open_unlinked(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let random = random_u64().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let name = format!(".#hostel-pin-{random:016x}");
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, &*name, flags, Mode::from_raw_mode(0o600))?;
    rustix::fs::unlinkat(dir, &*name, AtFlags::empty())?;
    Ok(file)
}

/// A read-only *mount* of a writable file system does not protect it: go around by a writable clone that nobody else sees.
fn pin_behind_read_only_mount(tree: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Cause> {
    let clone = clone_tree(tree, c"", false)?;
    change(clone.as_fd(), c"", false, Attributes::NONE, Attributes::RDONLY, Propagation::Keep, None)?;
    match open(clone.as_fd()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::ROFS) if is_read_only(clone.as_fd())? => Ok(None),
        Err(Errno::PERM) => pin_near(tree),
        // A subvolume that is read-only; where nothing else of the file system is to be seen, it is that for all we can tell.
        Err(Errno::ROFS) => Ok(pin_near(tree).unwrap_or(None)),
        Err(e) => Err(e.into()),
    }
}

fn is_read_only(mount: BorrowedFd<'_>) -> Result<bool, Errno> {
    rustix::fs::fstatvfs(mount).map(|v| v.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// What is marked read-only takes no file; a directory beside or in it that is on the same mount is on the same file system.
fn pin_near(tree: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Cause> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for place in [c"..", c"usr", c"var", c"etc"] {
        let Ok(near) = openat2(tree, place, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), resolve) else { continue };
        let clone = clone_tree(near.as_fd(), c"", false)?;
        change(clone.as_fd(), c"", false, Attributes::NONE, Attributes::RDONLY, Propagation::Keep, None)?;
        if let Ok(file) = open(clone.as_fd()) {
            return Ok(Some(file));
        }
    }
    Err(Cause::Why("it is marked read-only, and so is what is beside it"))
}

#[cfg(test)]
mod tests;
