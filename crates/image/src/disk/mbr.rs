//! The partition table of the first sector (MBR), with logical partitions.

use std::io::{Read, Seek};

use hostel_spec::Arrange as _;

use super::probe::{le32, read_at};
use crate::Cause;

/// Linux data.
pub const LINUX: u8 = 0x83;
/// Extended boot loader partition (Boot Loader Specification).
pub const XBOOTLDR: u8 = 0xea;
/// Covers a disk that has a GPT.
pub const PROTECTIVE: u8 = 0xee;
const SECTOR: u64 = 512;

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// As Linux counts them: 1 to 4, logical ones from 5.
    pub number: u32,
    /// Marked active.
    pub bootable: bool,
    /// Type.
    pub kind: u8,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
}

/// The used entries of a sector, numbered from 1; `None` when it is no partition table.
pub fn parse(sector: &[u8]) -> Option<Vec<Entry>> {
    if sector.len() < 512 || sector[510..512] != [0x55, 0xaa] {
        return None;
    }
    let mut entries = Vec::new();
    for (number, raw) in (1u32..).zip(sector[446..510].chunks_exact(16)) {
        // Code or text where the entries would be.
        if raw[0] & 0x7f != 0 {
            return None;
        }
        let (start, size) = (u64::from(le32(raw, 8)) * SECTOR, u64::from(le32(raw, 12)) * SECTOR);
        if raw[4] != 0 && size != 0 {
            entries.push(Entry { number, bootable: raw[0] == 0x80, kind: raw[4], start, size });
        }
    }
    Some(entries)
}

/// Most logical partitions that are followed.
const LOGICAL: u32 = 124;

/// The partitions of a disk of `size` bytes. `None`: there is no table in its first sector, or an empty one.
pub fn read<R: Read + Seek>(reader: &mut R, size: u64) -> Result<Option<Vec<Entry>>, Cause> {
    let mut sector = [0u8; 512];
    if !read_at(reader, 0, &mut sector)? {
        return Ok(None);
    }
    let Some(primary) = parse(&sector).filter(|e| !e.is_empty()) else { return Ok(None) };
    let is_extended = |e: &&Entry| matches!(e.kind, 0x05 | 0x0f | 0x85);
    let mut all: Vec<Entry> = primary.iter().filter(|e| !is_extended(e)).copied().collect();
    if let Some(extended) = primary.iter().find(is_extended) {
        logical(reader, extended, &mut all)?;
    }
    check(&all, size)?;
    Ok(Some(all))
}

/// Follows the chain in an extended partition; it may go forward only, so it ends.
fn logical<R: Read + Seek>(reader: &mut R, extended: &Entry, all: &mut Vec<Entry>) -> Result<(), Cause> {
    let mut at = extended.start;
    for number in 5..5 + LOGICAL {
        let mut sector = [0u8; 512];
        if !read_at(reader, at, &mut sector)? {
            return Ok(());
        }
        let Some(entries) = parse(&sector) else { return Ok(()) };
        if let Some(data) = entries.iter().find(|e| e.number == 1) {
            all.push(Entry { number, start: at + data.start, ..*data });
        }
        match entries.iter().find(|e| e.number == 2) {
            Some(next) if extended.start + next.start > at => at = extended.start + next.start,
            Some(_) => return Err(Cause::Why("its logical partitions lead back to where they came from")),
            None => return Ok(()),
        }
    }
    Ok(())
}

fn check(entries: &[Entry], size: u64) -> Result<(), Cause> {
    // The protective entry of a large disk covers what 32 bits can say, and an image may be cut.
    let mut real: Vec<&Entry> = entries.iter().filter(|e| e.kind != PROTECTIVE).collect();
    real.arrange_by_key(|e| e.start);
    if let Some(e) = real.iter().find(|e| e.start == 0 || e.start + e.size > size) {
        return Err(Cause::Said(format!("partition {} goes beyond the end of the disk", e.number)));
    }
    if let Some([a, b]) = real.windows(2).find(|w| w[0].start + w[0].size > w[1].start) {
        return Err(Cause::Said(format!("partitions {} and {} overlap", a.number, b.number)));
    }
    Ok(())
}
