//! Disk images: what is in them and what of it makes a machine's tree, found out by reading alone.
//!
//! ```text
//!  bytes ──► layout ──────────────► choose ───────────────────────────────► parts
//!            bare, MBR, GPT         Discoverable Partitions, image policy,
//!            (probe, mbr, gpt)      root hash (types, version, verity)
//! ```
//!
//! Everything takes `Read + Seek`, so an image is a file, a block device, or a few bytes of a test. Nothing is mounted here.

mod choose;
pub mod gpt;
mod guid;
pub mod mbr;
pub mod probe;
mod resize;
pub mod types;
pub mod verity;
pub mod version;

use std::io::{Read, Seek};

pub use choose::{Chosen, Extent, Hashes, Part, Protection, Trust, check_file_system, choose};
pub use guid::Guid;
pub use probe::Content;
pub use resize::grow;

use crate::Cause;

/// How a disk is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Not at all: one file system, or LUKS.
    Bare(Content),
    /// By an MBR.
    Mbr(Vec<mbr::Entry>),
    /// By a GUID partition table.
    Gpt(gpt::Table),
}

/// Smallest image that is looked at.
const SMALLEST: u64 = 4096;

/// How the disk of `size` bytes is divided.
pub fn layout<R: Read + Seek>(reader: &mut R, size: u64) -> Result<Layout, Cause> {
    if size < SMALLEST {
        return Err(Cause::Why("it is too small for a disk image"));
    }
    let content = probe::probe(reader, 0, size)?;
    let gpt = gpt::read(reader, size)?;
    // A FAT's boot sector carries the mark of a partition table, and code where one would be.
    let mbr = if gpt.is_some() || content == Some(Content::Vfat) { None } else { mbr::read(reader, size)? };
    let both =
        |content: Content| Cause::Said(format!("it is {content} and has a partition table at the same time; wipefs(8) removes what is not meant"));
    match (content, gpt, mbr) {
        (Some(Content::Other(what, hint)), None, None) => Err(Cause::Said(format!("it is {what}; {hint}"))),
        // A boot image for CDs and USB sticks has both on purpose, but no system of ours in it.
        (Some(content), Some(_), _) | (Some(content), _, Some(_)) => Err(both(content)),
        (Some(content), None, None) => Ok(Layout::Bare(content)),
        (None, Some(table), _) => Ok(Layout::Gpt(table)),
        (None, None, Some(entries)) => Ok(Layout::Mbr(entries)),
        (None, None, None) => Err(Cause::Why("it has neither a file system nor a partition table that is known")),
    }
}

#[cfg(test)]
mod tests;
