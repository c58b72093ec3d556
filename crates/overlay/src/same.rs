//! Whether an upper entry is what the lower one of its name is.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_image::Cause;
use hostel_sys::tree::{openat2, xattr};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::change::Differs;
use crate::layer::{kind_of, target};
use crate::mark;

/// Bytes compared at a time.
const CHUNK: usize = 64 << 10;

/// One entry of a directory.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) name: &'a CStr,
    pub(crate) stat: &'a Stat,
    /// Attributes are overlayfs' where they have its names.
    pub(crate) upper: bool,
}

/// In what two entries of one kind differ; times do not count.
pub(crate) fn differs(new: Place<'_>, old: Place<'_>) -> Result<Differs, Cause> {
    Ok(Differs {
        mode: new.stat.st_mode & 0o7777 != old.stat.st_mode & 0o7777,
        owner: (new.stat.st_uid, new.stat.st_gid) != (old.stat.st_uid, old.stat.st_gid),
        attributes: attributes(new)? != attributes(old)?,
        content: !same_content(new, old)?,
        links: false,
    })
}

fn same_content(new: Place<'_>, old: Place<'_>) -> Result<bool, Cause> {
    match kind_of(new.stat) {
        FileType::RegularFile => Ok(new.stat.st_size == old.stat.st_size && same_bytes(&regular(new)?, &regular(old)?)?),
        FileType::Symlink => Ok(target(new.dir, new.name)? == target(old.dir, old.name)?),
        FileType::BlockDevice | FileType::CharacterDevice => Ok(new.stat.st_rdev == old.stat.st_rdev),
        _ => Ok(true),
    }
}

/// Opens a regular file that was looked at before; never a device, never waiting.
pub(crate) fn regular(place: Place<'_>) -> Result<OwnedFd, Cause> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat2(place.dir, place.name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)?;
    let stat = rustix::fs::fstat(&file)?;
    if (stat.st_dev, stat.st_ino) != (place.stat.st_dev, place.stat.st_ino) || kind_of(&stat) != FileType::RegularFile {
        return Err(Cause::Why("it was exchanged while it was looked at"));
    }
    Ok(file)
}

fn same_bytes(one: &OwnedFd, other: &OwnedFd) -> Result<bool, Errno> {
    let (mut left, mut right) = (vec![0u8; CHUNK], vec![0u8; CHUNK]);
    let mut at = 0;
    loop {
        let (n, m) = (fill(one.as_fd(), &mut left, at)?, fill(other.as_fd(), &mut right, at)?);
        if left[..n] != right[..m] {
            return Ok(false);
        }
        if n < CHUNK {
            return Ok(true);
        }
        at += n as u64;
    }
}

/// Reads until `room` is full or the file ends.
pub(crate) fn fill(file: BorrowedFd<'_>, room: &mut [u8], at: u64) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < room.len() {
        match rustix::io::pread(file, &mut room[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// The extended attributes of an entry, as the machine sees them.
pub(crate) fn attributes(place: Place<'_>) -> Result<BTreeMap<CString, Vec<u8>>, Cause> {
    let mut out = BTreeMap::new();
    let mut listed = Vec::new();
    match xattr::list(place.dir, place.name, &mut listed) {
        Ok(()) => {}
        Err(e) if Errno::from_io_error(&e) == Some(Errno::OPNOTSUPP) => return Ok(out),
        Err(e) => return Err(e.into()),
    }
    for name in listed.split_inclusive(|b| *b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let seen = if place.upper { mark::seen_as(name) } else { Some(name.to_owned()) };
        let Some(seen) = seen else { continue };
        let mut value = Vec::new();
        match xattr::get(place.dir, place.name, name, &mut value) {
            Ok(()) => drop(out.insert(seen, value)),
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NODATA | Errno::OPNOTSUPP)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(out)
}
