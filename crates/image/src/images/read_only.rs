//! Whether an image may be written, and changing that.
//!
//! A subvolume has a property for it; a directory gets the immutable flag (chattr(1)) on itself, as machinectl does, which
//! keeps its name and its own entries as they are; a disk image loses its write permissions.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use hostel_sys::tree::btrfs::subvolume;
use rustix::fs::{IFlags, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::Image;
use crate::error::On;
use crate::open::Kind;
use crate::{Cause, Result};

fn open(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether the image of this kind at `path` cannot be written as it is.
pub(super) fn is_read_only(path: &Path, kind: Kind) -> std::result::Result<bool, Cause> {
    let mounted = rustix::fs::statvfs(path)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    Ok(mounted
        || match kind {
            Kind::Subvolume => subvolume::is_read_only(open(path)?.as_fd()).unwrap_or(false),
            Kind::Directory | Kind::KeptOverlay => flags(open(path)?).is_ok_and(|f| f.contains(IFlags::IMMUTABLE)),
            Kind::DiskImage => rustix::fs::stat(path)?.st_mode & 0o222 == 0,
            Kind::BlockDevice => false,
        })
}

fn flags(file: OwnedFd) -> std::result::Result<IFlags, Errno> {
    rustix::fs::ioctl_getflags(file)
}

/// Marks `image` read-only, or writable again.
pub fn set_read_only(image: &Image, yes: bool) -> Result<()> {
    const VERB: &str = "mark image";
    let path = &image.path;
    if image.kind == Kind::BlockDevice {
        return Err(Cause::Why("it is a device; blockdev --setro marks it").on(VERB, path));
    }
    let file = open(path).on(VERB, path)?;
    match image.kind {
        Kind::Subvolume => subvolume::set_read_only(file.as_fd(), yes).on(VERB, path),
        Kind::DiskImage => {
            let mode = rustix::fs::fstat(&file).on(VERB, path)?.st_mode & 0o7777;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(if yes { mode & !0o222 } else { mode | 0o200 })).on(VERB, path)
        }
        _ => match set_immutable(&file, yes) {
            Err(Errno::OPNOTSUPP | Errno::NOTTY) if yes => Err(Cause::Why("its file system has no immutable flag").on(VERB, path)),
            Err(Errno::OPNOTSUPP | Errno::NOTTY) => Ok(()),
            other => other.on(VERB, path),
        },
    }
}

fn set_immutable(file: &OwnedFd, yes: bool) -> std::result::Result<(), Errno> {
    let old = rustix::fs::ioctl_getflags(file)?;
    let new = if yes { old | IFlags::IMMUTABLE } else { old - IFlags::IMMUTABLE };
    if old == new { Ok(()) } else { rustix::fs::ioctl_setflags(file, new) }
}

/// The immutable flag of a directory taken away for a moment, because it keeps the directory's own name; put back when dropped.
pub(super) struct Movable(Option<OwnedFd>);

impl Movable {
    pub(super) fn of(path: &Path) -> Movable {
        let file = open(path).ok().filter(|f| rustix::fs::ioctl_getflags(f).is_ok_and(|flags| flags.contains(IFlags::IMMUTABLE)));
        Movable(file.filter(|f| set_immutable(f, false).is_ok()))
    }
}

impl Drop for Movable {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // It could be taken away, so it can be put back.
            let _ = set_immutable(file, true);
        }
    }
}
