//! How much room an image takes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_sys::tree::openat2;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::On;
use crate::{Result, walk};

/// Opens a directory of the host for reading.
pub(super) fn open(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Bytes on disk of everything in the directory `path`, files with several names once; mounts are not entered.
///
/// Takes as long as looking at each file: for one image, not for lists.
pub fn of_tree(path: &Path) -> Result<u64> {
    const VERB: &str = "measure tree";
    let top = open(path).on(VERB, path)?;
    let mut seen = HashSet::new();
    let mut blocks = rustix::fs::fstat(&top).on(VERB, path)?.st_blocks as u64;
    // By path, not by descriptor: a tree chooses its shape, not how many descriptors we need.
    let mut todo = vec![PathBuf::from(".")];
    while let Some(place) = todo.pop() {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let dir = match openat2(top.as_fd(), &*place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), resolve) {
            // A mount, changed meanwhile, or deeper than a path can say.
            Err(Errno::XDEV | Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NAMETOOLONG) => continue,
            other => other.on(VERB, path)?,
        };
        walk::entries(dir.as_fd(), |name, _| -> std::result::Result<(), Errno> {
            let stat = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(()),
                other => other?,
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if is_directory {
                todo.push(place.join(OsStr::from_bytes(name.to_bytes())));
            }
            if is_directory || stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
                blocks = blocks.saturating_add(stat.st_blocks as u64);
            }
            Ok(())
        })
        .on(VERB, path)?;
    }
    Ok(blocks.saturating_mul(512))
}

/// The size of a block device; `None` when it cannot be opened.
pub(super) fn of_device(path: &Path) -> Option<u64> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    std::fs::File::from(file).seek(SeekFrom::End(0)).ok()
}
