//! Makes the layer that covers parts of file systems: it hides what is in directories, and changes nothing else of them.

use std::ffi::CStr;
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

fn path(text: &CStr) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(text.to_bytes()))
}

/// A tmpfs with `nodes` over the file systems in `of`. What a merged directory shows of itself is the upper one's: mode and owner
/// are copied, or services could not write to directories of theirs. `mapped`: ids of `of` will be the machine's.
pub(super) fn make(of: &[Slot], mapped: bool, nodes: &[Node], made: &Made) -> Result<OwnedFd> {
    let below = of.iter().rev().map(|slot| made.slot(*slot)).collect::<std::result::Result<Vec<_>, _>>().context("use", "file system to cover")?;
    let find = |path: &Path| below.iter().find_map(|root| directory(*root, path).transpose()).transpose();
    let mut kept = Vec::new();
    for node in nodes {
        // A directory that only the cover has is no merged one, and the kernel would list what hides something in it.
        let (asked, is_needed) = match node {
            Node::Dir(dir, _) => {
                let fresh = |node: &Node| matches!(node, Node::File(file, ..) | Node::Link(file, _) if path(file).starts_with(path(dir)));
                (path(dir), nodes.iter().any(fresh))
            }
            Node::Opaque(dir, ..) => (path(dir), false),
            Node::Char(file, ..) => (path(file).parent().unwrap_or(Path::new("")), false),
            _ => (Path::new(""), true),
        };
        let there = find(asked).map_err(|e| Error::new("look at", format!("{} to cover it", asked.display()), e))?;
        if is_needed || there.is_some() {
            kept.push((node, asked, there));
        }
    }
    let nodes: Vec<Node> = kept.iter().map(|(node, ..)| (*node).clone()).collect();
    let fd = tmpfs(&[(c"mode".into(), c"0755".into()), (c"size".into(), c"1m".into())], Attributes::NONE, &nodes, made.base())?;
    let range = made.ids.filter(|_| mapped);
    let host = |id: u32| range.map_or(id, |range| range.base + if id < range.count { id } else { 0 });
    for (node, path, there) in kept {
        let (Node::Dir(..) | Node::Opaque(..), Some(like)) = (node, there) else { continue };
        let failed = |e: Errno| Error::new("cover", path.display().to_string(), e);
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
