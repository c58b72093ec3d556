//! One subvolume: make it, its number, its read-only flag, its quota (linux/btrfs.h, linux/btrfs_tree.h).

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use super::{SUBVOL_GETFLAGS, SUBVOL_RDONLY, SUBVOL_SETFLAGS, VolArgs, ioctl, put_name};

pub(super) const SUBVOL_CREATE: u64 = 0x5000_940e;
pub(super) const INO_LOOKUP: u64 = 0xd000_9412;
pub(super) const TREE_SEARCH: u64 = 0xd000_9411;
pub(super) const QGROUP_LIMIT: u64 = 0x8030_942b;

const QUOTA_TREE: u64 = 8;
const QGROUP_INFO_KEY: u32 = 242;
const QGROUP_LIMIT_KEY: u32 = 244;
/// `max_rfer` is meant.
const LIMIT_REFERENCED: u64 = 1;

#[repr(C)]
pub(super) struct InoLookup {
    treeid: u64,
    objectid: u64,
    name: [u8; 4080],
}

#[repr(C)]
pub(super) struct Search {
    tree: u64,
    objectid: [u64; 2],
    offset: [u64; 2],
    transid: [u64; 2],
    kind: [u32; 2],
    items: u32,
    unused: u32,
    more: [u64; 4],
    answer: [u8; 3992],
}

#[repr(C)]
pub(super) struct QgroupLimit {
    group: u64,
    flags: u64,
    referenced: u64,
    exclusive: u64,
    reserved: [u64; 2],
}

/// What the quota of a subvolume says; `None`: not limited, or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Bytes it refers to, shared ones included.
    pub usage: Option<u64>,
    /// Bytes that nothing else refers to.
    pub usage_exclusive: Option<u64>,
    /// Limit of the first.
    pub limit: Option<u64>,
    /// Limit of the second.
    pub limit_exclusive: Option<u64>,
}

/// Makes the empty subvolume `parent`/`name` (0755 less the umask).
pub fn create(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut args = VolArgs { fd: 0, name: [0; 4088] };
    put_name(&mut args.name, name)?;
    ioctl(parent, SUBVOL_CREATE, &mut args)
}

/// Whether it is read-only.
pub fn is_read_only(subvolume: BorrowedFd<'_>) -> io::Result<bool> {
    let mut flags = 0u64;
    ioctl(subvolume, SUBVOL_GETFLAGS, &mut flags)?;
    Ok(flags & SUBVOL_RDONLY != 0)
}

/// Makes it read-only, or no longer.
pub fn set_read_only(subvolume: BorrowedFd<'_>, yes: bool) -> io::Result<()> {
    let mut flags = 0u64;
    ioctl(subvolume, SUBVOL_GETFLAGS, &mut flags)?;
    let wanted = if yes { flags | SUBVOL_RDONLY } else { flags & !SUBVOL_RDONLY };
    if wanted == flags { Ok(()) } else { ioctl(subvolume, SUBVOL_SETFLAGS, &mut { wanted }) }
}

/// Its number, which is that of its own quota group too.
pub fn id(subvolume: BorrowedFd<'_>) -> io::Result<u64> {
    // With treeid 0 the kernel says which tree the descriptor is of.
    let mut args = InoLookup { treeid: 0, objectid: super::TOP_INODE, name: [0; 4080] };
    ioctl(subvolume, INO_LOOKUP, &mut args)?;
    Ok(args.treeid)
}

/// Its quota; needs CAP_SYS_ADMIN. All `None` where quotas are off.
pub fn quota(subvolume: BorrowedFd<'_>) -> io::Result<Quota> {
    let group = id(subvolume)?;
    let mut quota = Quota::default();
    for kind in [QGROUP_INFO_KEY, QGROUP_LIMIT_KEY] {
        let mut args = Search {
            tree: QUOTA_TREE,
            objectid: [0, 0],
            offset: [group, group],
            transid: [0, u64::MAX],
            kind: [kind, kind],
            items: 1,
            unused: 0,
            more: [0; 4],
            answer: [0; 3992],
        };
        match ioctl(subvolume, TREE_SEARCH, &mut args) {
            Ok(()) => {}
            // There is no such tree: quotas are off.
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(quota),
            Err(e) => return Err(e),
        }
        // A header of 32 bytes (transid, objectid, offset, type, length), then the item: little-endian words.
        let word = |n: usize| args.answer.get(32 + n * 8..40 + n * 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        match (args.items, kind) {
            (0, _) => {}
            (_, QGROUP_INFO_KEY) => (quota.usage, quota.usage_exclusive) = (word(1), word(3)),
            _ => (quota.limit, quota.limit_exclusive) = (word(1).filter(|n| *n != 0), word(2).filter(|n| *n != 0)),
        }
    }
    Ok(quota)
}

/// Limits the bytes it refers to, `None`: no limit. ENOTCONN or ENOENT where quotas are off.
pub fn set_limit(subvolume: BorrowedFd<'_>, bytes: Option<u64>) -> io::Result<()> {
    // Group 0 is the subvolume's own. The largest number takes a limit away.
    let mut args = QgroupLimit { group: 0, flags: LIMIT_REFERENCED, referenced: bytes.unwrap_or(u64::MAX), exclusive: 0, reserved: [0; 2] };
    ioctl(subvolume, QGROUP_LIMIT, &mut args)
}
