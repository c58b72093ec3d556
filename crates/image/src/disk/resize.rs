//! Growing a mounted file system to the size of its partition.

use std::os::fd::{AsFd, BorrowedFd};

use hostel_sys::block;
use rustix::fs::{Mode, OFlags};

use super::Content;
use crate::Cause;

/// Lets the file system mounted at `root` fill its device of `bytes`. What has that size already is left alone.
pub fn grow(root: BorrowedFd<'_>, content: Content, bytes: u64) -> Result<(), Cause> {
    let root = rustix::fs::openat(root, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match content {
        Content::Ext(_) => {
            let stat = rustix::fs::fstatfs(&root)?;
            let block = u64::try_from(stat.f_bsize).unwrap_or(0).max(1024);
            block::grow_ext4(root.as_fd(), bytes / block)?;
        }
        Content::Xfs => block::grow_xfs(root.as_fd(), bytes)?,
        Content::Btrfs => block::grow_btrfs(root.as_fd())?,
        _ => {}
    }
    Ok(())
}
