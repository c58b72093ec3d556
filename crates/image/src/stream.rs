//! A part of a tree as a stream of bytes, between two processes that see different trees with different rights.
//!
//! ```text
//!  sender (sees the source)                     receiver (sees the target)
//!    D name meta xattrs          a directory begins
//!    F name meta xattrs size     a file; its contents follow: d offset length bytes … e end
//!    L name meta target          a symbolic link
//!    P name meta                 a FIFO
//!    U                           the directory ends
//!    E left-out                  the end
//! ```
//! Copying into and out of a running machine works like this: the end that touches the machine runs in its namespaces as its
//! own root, so it can do nothing that the machine could not do itself, and ids are translated by the kernel. Both ends work
//! by descriptor: no link is followed on either side, whatever is moved about meanwhile. What is mounted in the source is
//! not entered. Devices and sockets are left out, hard links become files of their own. The first name is empty: what the
//! object is called at its target is the receiver's to say.
//!
//! The format is between two processes of one binary and may change at any time; the receiver checks it all the same.

mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::io;

use rustix::fs::Stat;
use rustix::io::Errno;

use crate::Cause;

pub use receive::{Received, Target, receive};
pub use send::{Source, send};

/// Directories within directories. Each level holds a descriptor open at both ends.
const DEPTH: usize = 400;
/// Longest name of a directory entry on Linux.
const NAME_MAX: usize = 255;
/// Longest target of a link.
const TARGET_MAX: usize = 4096;
/// Bytes moved at a time.
const PIECE: usize = 128 << 10;
/// Most bytes of a file that says it has none, as the files of /proc do.
const UNSIZED_MAX: u64 = 64 << 20;
/// An extended attribute's value and all names of a file have at most 64 KiB each (xattr(7)).
const ATTRIBUTE_MAX: usize = 64 << 10;

const DIRECTORY: u8 = b'D';
const FILE: u8 = b'F';
const LINK: u8 = b'L';
const FIFO: u8 = b'P';
const UP: u8 = b'U';
const END: u8 = b'E';
const DATA: u8 = b'd';
const DATA_END: u8 = b'e';

/// The other end went away: it knows why, and says so itself.
pub const CUT: Cause = Cause::Why("the other end stopped");

/// Owner, permissions and time of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Meta {
    mode: u32,
    uid: u32,
    gid: u32,
    seconds: i64,
    nanoseconds: u32,
}

impl Meta {
    fn of(stat: &Stat) -> Self {
        Self { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 }
    }
}

/// What a failed read or write of the stream itself means.
fn cut(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => CUT,
        _ => Errno::from_io_error(error).map_or(CUT, Cause::Os),
    }
}
