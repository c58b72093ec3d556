//! Sockets between the command line and a supervisor, sd_notify, and D-Bus as a peer speaks it.

pub mod control;
pub mod dbus;
pub mod notify;

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

/// A path to `name` in `dir` that fits a socket address. It goes through `/proc/self/fd`, because an address holds 107
/// bytes and a state directory's path may be longer; and a directory held by descriptor cannot be swapped.
fn path_in(dir: BorrowedFd<'_>, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}
