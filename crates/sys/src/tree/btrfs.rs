//! Subvolumes of btrfs: snapshot, destroy, list (linux/btrfs.h).
//!
//! A structure here is an ioctl argument of exactly 4096 bytes; requests carry that size.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

pub mod subvolume;

/// `f_type` of a btrfs (statfs(2)).
pub const MAGIC: i64 = 0x9123_683e;
/// Inode number of a subvolume's top directory.
pub const TOP_INODE: u64 = 256;

const RESIZE: u64 = 0x5000_9403;
const SNAP_CREATE_V2: u64 = 0x5000_9417;
const SNAP_DESTROY: u64 = 0x5000_940f;
const SUBVOL_GETFLAGS: u64 = 0x8008_9419;
const SUBVOL_SETFLAGS: u64 = 0x4008_941a;
const GET_SUBVOL_ROOTREF: u64 = 0xd000_943d;
const INO_LOOKUP_USER: u64 = 0xd000_943e;
const SUBVOL_RDONLY: u64 = 1 << 1;

#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; 4088],
}

#[repr(C)]
struct VolArgsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

#[repr(C)]
struct RootRefs {
    min_treeid: u64,
    refs: [[u64; 2]; 255],
    count: u8,
    align: [u8; 7],
}

#[repr(C)]
struct InoLookupUser {
    dirid: u64,
    treeid: u64,
    name: [u8; 256],
    path: [u8; 3824],
}

fn put_name(room: &mut [u8], name: &CStr) -> io::Result<()> {
    let bytes = name.to_bytes_with_nul();
    room.get_mut(..bytes.len()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?.copy_from_slice(bytes);
    Ok(())
}

fn ioctl<T>(fd: BorrowedFd<'_>, request: u64, argument: &mut T) -> io::Result<()> {
    // SAFETY: private to this module; every request above is paired by its caller with the structure whose size it carries.
    check(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, std::ptr::from_mut(argument)) })).map(drop)
}

/// Whether `dir` is the top directory of a subvolume.
pub fn is_subvolume(dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(dir)?.f_type as i64 == MAGIC && rustix::fs::fstat(dir)?.st_ino == TOP_INODE)
}

/// Makes `parent`/`name` a snapshot of the subvolume `source`. Both descriptors must not be O_PATH.
pub fn snapshot(parent: BorrowedFd<'_>, name: &CStr, source: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let flags = if read_only { SUBVOL_RDONLY } else { 0 };
    let mut args = VolArgsV2 { fd: i64::from(source.as_raw_fd()), transid: 0, flags, unused: [0; 4], name: [0; 4040] };
    put_name(&mut args.name, name)?;
    ioctl(parent, SNAP_CREATE_V2, &mut args)
}

/// Removes the subvolume `parent`/`name` with all its files. Subvolumes below it must be gone (ENOTEMPTY).
pub fn destroy(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut args = VolArgs { fd: 0, name: [0; 4088] };
    put_name(&mut args.name, name)?;
    ioctl(parent, SNAP_DESTROY, &mut args)
}

/// Changes the size of the file system's device: `max`, or a size (btrfs-filesystem(8)).
pub(crate) fn resize(dir: BorrowedFd<'_>, to: &CStr) -> io::Result<()> {
    let mut args = VolArgs { fd: 0, name: [0; 4088] };
    put_name(&mut args.name, to)?;
    ioctl(dir, RESIZE, &mut args)
}

/// Lets a read-only subvolume be written.
pub fn set_writable(subvolume: BorrowedFd<'_>) -> io::Result<()> {
    let mut flags = 0u64;
    ioctl(subvolume, SUBVOL_GETFLAGS, &mut flags)?;
    if flags & SUBVOL_RDONLY == 0 {
        return Ok(());
    }
    flags &= !SUBVOL_RDONLY;
    ioctl(subvolume, SUBVOL_SETFLAGS, &mut flags)
}

/// The subvolumes directly below `subvolume`, as paths relative to it (Linux 4.18).
pub fn children(subvolume: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut paths = Vec::new();
    let mut args = RootRefs { min_treeid: 0, refs: [[0; 2]; 255], count: 0, align: [0; 7] };
    loop {
        // EOVERFLOW: the answer is full and `min_treeid` says where to go on.
        let more = match ioctl(subvolume, GET_SUBVOL_ROOTREF, &mut args) {
            Ok(()) => false,
            Err(e) if e.raw_os_error() == Some(libc::EOVERFLOW) => true,
            Err(e) => return Err(e),
        };
        for [treeid, dirid] in args.refs.iter().take(usize::from(args.count)) {
            let mut lookup = InoLookupUser { dirid: *dirid, treeid: *treeid, name: [0; 256], path: [0; 3824] };
            match ioctl(subvolume, INO_LOOKUP_USER, &mut lookup) {
                Ok(()) => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => continue,
                Err(e) => return Err(e),
            }
            let text = |room: &[u8]| CStr::from_bytes_until_nul(room).map(|t| t.to_bytes().to_vec()).unwrap_or_default();
            let mut path = text(&lookup.path);
            path.extend_from_slice(&text(&lookup.name));
            // Neither part has a NUL: both were cut at it.
            if let Ok(path) = CString::new(path) {
                paths.push(path);
            }
        }
        if !more {
            return Ok(paths);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_size_their_requests_carry() {
        for (size, request) in [
            (size_of::<VolArgsV2>(), SNAP_CREATE_V2),
            (size_of::<VolArgs>(), SNAP_DESTROY),
            (size_of::<VolArgs>(), RESIZE),
            (size_of::<RootRefs>(), GET_SUBVOL_ROOTREF),
            (size_of::<VolArgs>(), subvolume::SUBVOL_CREATE),
            (size_of::<subvolume::InoLookup>(), subvolume::INO_LOOKUP),
            (size_of::<subvolume::Search>(), subvolume::TREE_SEARCH),
            (size_of::<subvolume::QgroupLimit>(), subvolume::QGROUP_LIMIT),
            (size_of::<InoLookupUser>(), INO_LOOKUP_USER),
            (size_of::<u64>(), SUBVOL_GETFLAGS),
        ] {
            assert_eq!(size as u64, (request >> 16) & 0x3fff, "{request:x}");
        }
    }
}
