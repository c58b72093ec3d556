//! tar archives: read without trust, unpacked into a tree, written from one.
//!
//! ```text
//! bytes ── header, pax ──► Entry ── unpack ──► files below a descriptor
//!          (pure)          (reader: sizes, names, holes agree, or it is refused)
//! ```

mod acl;
pub mod header;
mod layer;
pub mod pax;
mod reader;
#[cfg(test)]
mod tests;
mod unpack;
mod write;

use std::io;

pub(crate) use layer::unpack_layer;
pub use reader::{Archive, Attributes, Entry, Hole, Kind};
pub(crate) use unpack::is_system;
pub use unpack::{Report, unpack};
pub use write::{Written, write};

/// Why an archive is not read on.
#[derive(Debug)]
pub enum Fault {
    /// It says what cannot be, or what programs would read in different ways.
    Why(&'static str),
    /// Its bytes do not come.
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

impl From<Fault> for crate::Cause {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Why(why) => crate::Cause::Why(why),
            Fault::Io(e) => match rustix::io::Errno::from_io_error(&e) {
                Some(errno) => crate::Cause::Os(errno),
                None if e.kind() == io::ErrorKind::UnexpectedEof => crate::Cause::Why("it is cut off"),
                None => crate::Cause::Said(e.to_string()),
            },
        }
    }
}
