//! Names for what is not, or no longer, a tree: copies being made, trees being deleted, throw-away copies.
//!
//! Such a directory begins with a dot and is held by a flock(2) on itself while somebody works on it. What a killed
//! process leaves behind is found by its name, seen free by its lock, and swept.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hostel_sys::tree::random_u64;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::On;
use crate::{Cause, Result, walk};

/// Start of every name of ours.
pub(crate) const PREFIX: &[u8] = b".#hostel-";
/// A copy being made.
pub(crate) const PARTIAL: &str = "partial";
/// A tree being deleted.
pub(crate) const TRASH: &str = "trash";
/// A throw-away copy that a machine runs on.
pub(crate) const EPHEMERAL: &str = "ephemeral";

/// A tree or a disk image being imported: a directory or a file.
pub(crate) const IMPORT: &str = "import";

/// `.#hostel-KIND-RANDOM`.
pub(crate) fn fresh_name(kind: &str) -> std::result::Result<CString, Cause> {
    // `kind` has no NUL: it is one of ours or one with a machine's name.
    CString::new(format!(".#hostel-{kind}-{:016x}", random_u64()?)).map_err(|_| Cause::Os(Errno::INVAL))
}

/// Whether a directory entry is one that [`sweep`] may remove. Of files only disk images being imported are.
fn is_sweepable(name: &CStr, kind: FileType) -> bool {
    let kinds: &[&str] = match kind {
        FileType::Directory => &[PARTIAL, TRASH, EPHEMERAL, IMPORT],
        FileType::RegularFile => &[IMPORT],
        _ => return false,
    };
    let Some(rest) = name.to_bytes().strip_prefix(PREFIX) else { return false };
    kinds.iter().any(|kind| rest.strip_prefix(kind.as_bytes()).is_some_and(|rest| rest.starts_with(b"-")))
}

/// Takes the lock of directory `dir`, which is `parent`/`name`. `None`: another holds it, or it went away meanwhile.
///
/// File systems without flock(2) on directories count as locked for the sweeper and as free for the maker.
pub(crate) fn hold(parent: BorrowedFd<'_>, name: &CStr, dir: BorrowedFd<'_>) -> std::result::Result<Option<()>, Errno> {
    match rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Ok(None),
        Err(e) => return Err(e),
    }
    // A sweeper may have renamed or removed it between our open and our lock.
    Ok(is_named(parent, name, dir)?.then_some(()))
}

/// Whether `parent`/`name` is `dir`.
pub(crate) fn is_named(parent: BorrowedFd<'_>, name: &CStr, dir: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    let held = rustix::fs::fstat(dir)?;
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes a new empty directory of a `kind` in `parent`, for root alone, and holds it.
pub(crate) fn make(parent: BorrowedFd<'_>, kind: &str) -> std::result::Result<(CString, OwnedFd), Cause> {
    for _ in 0..16 {
        let name = fresh_name(kind)?;
        if let Some(dir) = make_named(parent, &name)? {
            return Ok((name, dir));
        }
    }
    Err(Cause::Os(Errno::AGAIN))
}

/// Makes the new directory `parent`/`name` for root alone, and holds it. `None`: a sweeper was quicker.
///
/// Whoever may write in `parent` can exchange it before it is opened: then this is an error.
pub(crate) fn make_named(parent: BorrowedFd<'_>, name: &CStr) -> std::result::Result<Option<OwnedFd>, Cause> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
    let made = match take(parent, name) {
        Ok(Some(dir)) if is_fresh(dir.as_fd())? => return Ok(Some(dir)),
        Ok(None) => return Ok(None),
        Ok(Some(_)) | Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => Cause::Why("somebody put something else in its place"),
        Err(e) => e.into(),
    };
    let _ = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
    Err(made)
}

/// Whether a directory is ours and empty, as one that was just made is.
pub(crate) fn is_fresh(dir: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    let mut empty = true;
    walk::entries(dir, |_, _| -> std::result::Result<(), Errno> {
        empty = false;
        Ok(())
    })?;
    // For the next who reads it.
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
    Ok(empty && rustix::fs::fstat(dir)?.st_uid == rustix::process::geteuid().as_raw())
}

/// Opens and holds `parent`/`name`, for whoever just made it.
pub(crate) fn take(parent: BorrowedFd<'_>, name: &CStr) -> std::result::Result<Option<OwnedFd>, Errno> {
    let dir = match walk::subdirectory(parent, name) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    match hold(parent, name, dir.as_fd()) {
        Ok(held) => Ok(held.map(|()| dir)),
        // No flock(2) here: nobody else can hold it either, and the sweeper leaves it alone.
        Err(Errno::BADF | Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Some(dir)),
        Err(e) => Err(e),
    }
}

/// Removes what killed processes left in `directory`: half copies, half-deleted trees, throw-away copies. Returns how many.
///
/// What is still worked on, or cannot be removed, is left.
pub fn sweep(directory: &Path) -> Result<usize> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(directory, flags, Mode::empty()).on("sweep directory", directory)?;
    sweep_in(parent.as_fd()).on("sweep directory", directory)
}

/// [`sweep`] by descriptor (readable, at its start).
pub(crate) fn sweep_in(parent: BorrowedFd<'_>) -> std::result::Result<usize, Cause> {
    let mut found = Vec::new();
    walk::entries(parent, |name, kind| -> std::result::Result<(), Errno> {
        if is_sweepable(name, kind) {
            found.push(name.to_owned());
        }
        Ok(())
    })?;
    let mut swept = 0;
    for name in found {
        swept += usize::from(sweep_one(parent, &name).unwrap_or(false));
    }
    Ok(swept)
}

/// Removes one of them; `false` when somebody works on it, or it is gone.
pub(crate) fn sweep_one(parent: BorrowedFd<'_>, name: &CStr) -> std::result::Result<bool, Cause> {
    match walk::subdirectory(parent, name) {
        Ok(dir) => {
            if hold(parent, name, dir.as_fd())?.is_none() {
                return Ok(false);
            }
            crate::remove::delete(parent, name, dir).map(|()| true)
        }
        Err(Errno::NOTDIR) => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
            if hold(parent, name, file.as_fd())?.is_none() {
                return Ok(false);
            }
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            Ok(true)
        }
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Makes a new empty file for a disk image in `parent`, for root alone, and holds it.
pub(crate) fn make_file(parent: BorrowedFd<'_>, kind: &str) -> std::result::Result<(CString, OwnedFd), Cause> {
    for _ in 0..16 {
        let name = fresh_name(kind)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, &*name, flags, Mode::from_raw_mode(0o600))?;
        match hold(parent, &name, file.as_fd()) {
            Ok(Some(())) | Err(Errno::BADF | Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok((name, file)),
            // A sweeper was quicker.
            Ok(None) => {}
            Err(e) => {
                let _ = rustix::fs::unlinkat(parent, &*name, AtFlags::empty());
                return Err(e.into());
            }
        }
    }
    Err(Cause::Os(Errno::AGAIN))
}

/// Makes a new empty tree in `parent` and holds it: a subvolume where there can be one, so that it can be snapshotted later.
pub(crate) fn make_tree(parent: BorrowedFd<'_>, kind: &str) -> std::result::Result<(CString, OwnedFd), Cause> {
    use hostel_sys::tree::btrfs;
    if rustix::fs::fstatfs(parent).is_ok_and(|s| s.f_type == btrfs::MAGIC) {
        let name = fresh_name(kind)?;
        if btrfs::subvolume::create(parent, &name).is_ok()
            && let Some(dir) = take(parent, &name)?
        {
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o700))?;
            return Ok((name, dir));
        }
    }
    make(parent, kind)
}
