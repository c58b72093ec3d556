//! The lock on a tree: one writer or many readers, shared with systemd-nspawn and machinectl.
//!
//! They take a second lock beside the tree (`.#NAME.lck`); this one, by inode, is the one that all names of a tree share.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hostel_spec::MachineName;
pub use hostel_sys::tree::Lock;
use rustix::fs::{FileType, Mode, OFlags};

use crate::error::On;
use crate::lockfile::{LockFile, Taken};
use crate::{Cause, Result};

/// Where systemd-nspawn keeps the locks of trees, by inode.
pub const DIRECTORY: &str = "/run/systemd/nspawn/locks";

/// Where the machines of who runs this keep theirs: those of a user, who may not write there, have a place of their own.
pub fn directory() -> &'static Path {
    static OF_THIS_PROCESS: OnceLock<PathBuf> = OnceLock::new();
    OF_THIS_PROCESS.get_or_init(|| std::env::var_os(OWN).map_or_else(|| DIRECTORY.into(), PathBuf::from))
}

/// Variable that names a directory of locks other than [`DIRECTORY`].
pub const OWN: &str = "HOSTEL_LOCK_DIR";

/// A held lock on a tree, given up when dropped. Processes that inherit the descriptor keep the lock alive.
#[derive(Debug)]
pub struct TreeLock(LockFile);

impl TreeLock {
    pub(crate) fn of(file: LockFile) -> Self {
        TreeLock(file)
    }
}

impl AsFd for TreeLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The lock file of `tree` below `directory`: `inode-DEV:INO`, both decimal, DEV as stat(2) gives it; of a block device
/// `block-MAJOR:MINOR`.
pub fn path(directory: &Path, tree: BorrowedFd<'_>) -> std::result::Result<PathBuf, Cause> {
    let stat = rustix::fs::fstat(tree)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice {
        return Ok(directory.join(format!("block-{}:{}", rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))));
    }
    Ok(directory.join(format!("inode-{}:{}", stat.st_dev, stat.st_ino)))
}

/// Locks `tree` without waiting, below `directory` (see [`DIRECTORY`]). `name` is the tree's name in messages;
/// `machine` is who locks it, so that another can be told.
pub fn take(directory: &Path, tree: BorrowedFd<'_>, name: &Path, lock: Lock, machine: &MachineName) -> Result<TreeLock> {
    let path = path(directory, tree).on("lock tree", name)?;
    match LockFile::take(&path, lock, 0o700)? {
        Taken::Yes(file) => {
            file.note(&format!("{} {}\n", machine.as_str(), rustix::process::getpid().as_raw_nonzero()));
            Ok(TreeLock(file))
        }
        Taken::Busy(file) => Err(Cause::Busy { holder: holder(&file) }.on("lock tree", name)),
    }
}

/// Who holds `tree`'s lock alone, so writes to it: `Some(None)` when nobody knows. Takes and makes nothing.
pub fn writer(directory: &Path, tree: BorrowedFd<'_>) -> Option<Option<(String, i32)>> {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path(directory, tree).ok()?, flags, Mode::empty()).ok()?;
    // Given up with the descriptor.
    let free = hostel_sys::tree::try_lock(file.as_fd(), Lock::Shared).ok()?;
    (!free).then(|| holder(&file))
}

/// Who holds the lock: what the file says, if that process really has it open (the note outlives a killed holder).
pub(crate) fn holder(lock: &OwnedFd) -> Option<(String, i32)> {
    let mut room = [0u8; 128];
    let n = rustix::io::pread(lock, &mut room, 0).ok()?;
    let (name, pid) = std::str::from_utf8(&room[..n]).ok()?.trim_end().split_once(' ')?;
    let name = MachineName::new(name).ok()?;
    let pid: i32 = pid.parse().ok().filter(|pid| *pid > 0)?;
    let wanted = rustix::fs::fstat(lock).ok()?;
    let has_it_open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .flatten()
        .any(|entry| rustix::fs::stat(entry.path()).is_ok_and(|s| s.st_dev == wanted.st_dev && s.st_ino == wanted.st_ino));
    has_it_open.then(|| (name.as_str().to_owned(), pid))
}

#[cfg(test)]
mod tests;
