//! Makes the layer that covers parts of a file system: it hides what is in directories, and changes nothing else of them.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hostel_image::{Cause, inroot};
use hostel_sys::mount::Attributes;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::plan::steps::{Node, Slot};

use super::prepare::{Made, tmpfs};

/// A tmpfs with `nodes` over the file system in slot `of`. What a merged directory shows of itself is the upper one's: mode and owner
/// are copied, or services could not write to directories of theirs. `mapped`: ids of `of` will be the machine's.
pub(super) fn make(of: Slot, mapped: bool, nodes: &[Node], made: &Made) -> Result<OwnedFd> {
    let fd = tmpfs(&[(c"mode".into(), c"0755".into()), (c"size".into(), c"1m".into())], Attributes::NONE, nodes, made.base())?;
    let below = made.slot(of).context("use", "file system to cover")?;
    let range = made.ids.filter(|_| mapped);
    let host = |id: u32| range.map_or(id, |range| range.base + if id < range.count { id } else { 0 });
    for node in nodes {
        let (Node::Dir(path, _) | Node::Opaque(path, ..)) = node else { continue };
        let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
        let failed = |e: Errno| Error::new("cover", path.display().to_string(), e);
        let Some(like) = directory(below, path).map_err(|e| Error::new("look at", format!("{} to cover it", path.display()), e))? else { continue };
        let stat = rustix::fs::fstat(&like).map_err(failed)?;
        let (uid, gid) = (Uid::from_raw(host(stat.st_uid)), Gid::from_raw(host(stat.st_gid)));
        rustix::fs::chownat(&fd, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        rustix::fs::chmodat(&fd, path, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty()).map_err(failed)?;
    }
    Ok(fd)
}

fn directory(root: BorrowedFd<'_>, path: &Path) -> std::result::Result<Option<OwnedFd>, Cause> {
    match inroot::open(root, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC) {
        Ok(fd) => Ok(Some(fd)),
        Err(Cause::Os(Errno::NOENT | Errno::NOTDIR)) => Ok(None),
        Err(e) => Err(e),
    }
}
