//! A copy by btrfs snapshot, subvolumes below the tree included.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hostel_sys::tree::btrfs;
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use crate::{Cause, inroot, partial, walk};

/// Snapshots `source` to a new dot name in `parent` and holds it. `None` when that cannot be done here: copy instead.
pub(crate) fn snapshot(source: BorrowedFd<'_>, parent: BorrowedFd<'_>) -> Result<Option<(CString, OwnedFd)>, Cause> {
    if !btrfs::is_subvolume(source)? {
        return Ok(None);
    }
    for _ in 0..16 {
        let name = partial::fresh_name(partial::PARTIAL)?;
        match btrfs::snapshot(parent, &name, source, false) {
            Ok(()) => {}
            Err(e) => match Errno::from_io_error(&e) {
                Some(Errno::NOSPC | Errno::DQUOT) => return Err(e.into()),
                // Another file system, not ours to snapshot, no such ioctl.
                _ => return Ok(None),
            },
        }
        let Some(dir) = partial::take(parent, &name)? else { continue };
        return match below(source, dir.as_fd()) {
            Ok(()) => Ok(Some((name, dir))),
            Err(e) => {
                let _ = crate::remove::delete(parent, &name, dir);
                Err(e)
            }
        };
    }
    Ok(None)
}

/// In a snapshot the subvolumes below are empty directories: puts snapshots of them there.
fn below(source: BorrowedFd<'_>, copy: BorrowedFd<'_>) -> Result<(), Cause> {
    for child in btrfs::children(source)? {
        let path = Path::new(OsStr::from_bytes(child.to_bytes()));
        let (above, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        if name.as_bytes().starts_with(partial::PREFIX) {
            continue;
        }
        let name = CString::new(name.as_bytes()).map_err(|_| Cause::Os(Errno::INVAL))?;
        let from = match subvolume(source, above, &name) {
            // Removed meanwhile.
            Err(Cause::Os(Errno::NOENT)) => continue,
            other => other?.1,
        };
        let into = walk::readable(inroot::open_beneath_no_symlinks(copy, above, OFlags::PATH)?.as_fd())?;
        match rustix::fs::unlinkat(&into, &*name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        btrfs::snapshot(into.as_fd(), &name, from.as_fd(), false)?;
        let made = walk::subdirectory(into.as_fd(), &name)?;
        below(from.as_fd(), made.as_fd())?;
    }
    Ok(())
}

fn subvolume(top: BorrowedFd<'_>, above: &Path, name: &CStr) -> Result<(OwnedFd, OwnedFd), Cause> {
    let above = inroot::open_beneath_no_symlinks(top, above, OFlags::PATH)?;
    let dir = walk::subdirectory(above.as_fd(), name)?;
    Ok((above, dir))
}
