//! Sockets between the command line and a supervisor, and sd_notify.

pub mod control;
pub mod notify;

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io;
use rustix::net::SocketAddrUnix;

/// The address of socket `name` in `dir`. It goes through `/proc/self/fd`, because a socket address holds 107 bytes
/// and a state directory's path may be longer; and a directory held by descriptor cannot be swapped.
fn address_in(dir: BorrowedFd<'_>, name: &str) -> io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}
