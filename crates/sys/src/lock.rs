//! Asking about open-file-description locks without taking them (fcntl(2), F_OFD_GETLK; Linux 3.15).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether somebody else holds a lock on `file` (through another open file description) that keeps us from an exclusive one.
///
/// Unlike trying to take it, asking never makes a concurrent taker fail.
pub fn is_locked(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: all-zero is a valid `flock`.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as _;
    range.l_whence = libc::SEEK_SET as _;
    // SAFETY: `range` is a valid `flock` that outlives the call; l_pid is 0 as OFD locks require.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, std::ptr::from_mut(&mut range)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::from(range.l_type) != libc::F_UNLCK)
}
