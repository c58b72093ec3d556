//! Copying one file's contents, attributes and times.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use hostel_sys::tree::xattr;
use rustix::fs::{Gid, SeekFrom, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::Cause;

/// What the two file systems turned out to be able to do.
pub(crate) struct Means {
    /// FICLONE is worth a try.
    pub(crate) reflink: AtomicBool,
    /// FICLONE worked at least once.
    pub(crate) reflinked: AtomicBool,
    /// copy_file_range(2) is worth a try.
    range: AtomicBool,
}

impl Means {
    pub(crate) fn new() -> Self {
        Self { reflink: AtomicBool::new(true), reflinked: AtomicBool::new(false), range: AtomicBool::new(true) }
    }
}

/// Below this a read and a write are cheaper than copy_file_range(2), which goes through a pipe where it cannot share blocks.
const SMALL: u64 = 128 << 10;

/// Copies `size` bytes of contents; `blocks` (of 512 bytes) tells whether there are holes.
pub(crate) fn contents(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat, means: &Means, buffer: &mut Vec<u8>) -> Result<(), Errno> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0 {
        return Ok(());
    }
    if means.reflink.load(Ordering::Relaxed) {
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => {
                means.reflinked.store(true, Ordering::Relaxed);
                return Ok(());
            }
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => return Err(e),
            // Not these two files (inline data, NOCOW): others may do.
            Err(Errno::INVAL) => {}
            Err(_) => means.reflink.store(false, Ordering::Relaxed),
        }
    }
    if (stat.st_blocks as u64).saturating_mul(512) >= size {
        return range(from, to, 0, size, means, buffer);
    }
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => return range(from, to, at, size, means, buffer),
            Err(e) => return Err(e),
        };
        let hole = rustix::fs::seek(from, SeekFrom::Hole(data))?.min(size);
        range(from, to, data, hole, means, buffer)?;
        at = hole.max(at + 1);
    }
    rustix::fs::ftruncate(to, size)
}

/// Copies the bytes from `at` to before `end`; a file that got shorter meanwhile ends the copy.
fn range(from: BorrowedFd<'_>, to: BorrowedFd<'_>, mut at: u64, end: u64, means: &Means, buffer: &mut Vec<u8>) -> Result<(), Errno> {
    while at < end {
        if end - at > SMALL && means.range.load(Ordering::Relaxed) {
            let (mut read, mut write) = (at, at);
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
            match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut write), wanted) {
                Ok(0) => {} // Some file systems say so for data they cannot hand over: read it.
                Ok(n) => {
                    at += n as u64;
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => return Err(e),
                Err(_) => means.range.store(false, Ordering::Relaxed),
            }
        }
        buffer.resize(SMALL as usize, 0);
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let n = match rustix::io::pread(from, &mut buffer[..wanted], at) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e),
        };
        let mut written = 0;
        while written < n {
            match rustix::io::pwrite(to, &buffer[written..n], at + written as u64) {
                Ok(0) => return Err(Errno::IO),
                Ok(w) => written += w,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        at += n as u64;
    }
    Ok(())
}

/// The ids of a file, as the chown calls want them. `None`: the kernel could not say (an unmapped id), leave it.
pub(crate) fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    let uid = (stat.st_uid != u32::MAX).then(|| Uid::from_raw(stat.st_uid));
    let gid = (stat.st_gid != u32::MAX).then(|| Gid::from_raw(stat.st_gid));
    (uid, gid)
}

/// Access and change time of a file.
pub fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

/// Room for attribute names and values, used again for each file.
#[derive(Default)]
pub(crate) struct Room {
    names: Vec<u8>,
    value: Vec<u8>,
}

/// Copies all extended attributes from `from`/`name` to `to`/`name` (empty name: the descriptors themselves).
///
/// An attribute the target's file system has no room for is an error when leaving it out would change who may do what
/// (`security.capability`, ACLs), else it is left out.
pub(crate) fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, room: &mut Room) -> Result<(), Cause> {
    match xattr::list(from, name, &mut room.names) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => return Ok(()),
        Err(e) => return Err(e.into()),
    }
    if room.names.is_empty() {
        return Ok(());
    }
    for attribute in room.names.split_inclusive(|b| *b == 0) {
        let Ok(attribute) = CStr::from_bytes_with_nul(attribute) else { continue };
        match xattr::get(from, name, attribute, &mut room.value) {
            Ok(()) => {}
            // Removed meanwhile, or listed but not for reading.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NODATA | Errno::OPNOTSUPP)) => continue,
            Err(e) => return Err(e.into()),
        }
        match xattr::set(to, name, attribute, &room.value) {
            Ok(()) => {}
            Err(e) if Errno::from_io_error(&e) == Some(Errno::OPNOTSUPP) && !decides_access(attribute) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn decides_access(attribute: &CStr) -> bool {
    attribute == c"security.capability" || attribute.to_bytes().starts_with(b"system.posix_acl_")
}

/// Takes away the ACLs a new directory got from the directory it was made in.
pub(crate) fn drop_inherited_acls(dir: BorrowedFd<'_>) -> Result<(), Cause> {
    let acls: [CString; 2] = [c"system.posix_acl_access".into(), c"system.posix_acl_default".into()];
    for acl in &acls {
        match xattr::remove(dir, c"", acl) {
            Ok(()) => {}
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NODATA | Errno::OPNOTSUPP)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
