//! The GUID Partition Table: header and entries with their checksums, the copy at the end when the first is damaged.
//!
//! Nothing in it is believed before its checksum is right, and no number in it decides how much memory is taken.

use std::io::{Read, Seek};

use hostel_spec::Arrange as _;

use super::guid::Guid;
use super::mbr;
use super::probe::{le32, le64, read_at};
use crate::Cause;

/// "no-auto": not to be found by itself.
pub const NO_AUTO: u64 = 1 << 63;
/// "read-only".
pub const READ_ONLY: u64 = 1 << 60;
/// "grow-file-system".
pub const GROWFS: u64 = 1 << 59;

/// The most that is read as entries: 8192 of the usual size.
const TABLE_MAX: u64 = 1 << 20;
/// Logical block sizes an image may be made for.
const SECTORS: [u64; 4] = [512, 4096, 2048, 1024];

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// As Linux counts them, from 1.
    pub number: u32,
    /// What it is for.
    pub kind: Guid,
    /// Its own id.
    pub id: Guid,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// Attribute bits.
    pub flags: u64,
    /// Its label.
    pub label: String,
}

/// A whole table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Logical block size it counts in.
    pub sector: u64,
    /// The disk's id.
    pub id: Guid,
    /// Partitions in the order of the table.
    pub partitions: Vec<Partition>,
    /// Why the copy at the end was used instead of the table at the beginning.
    pub backup: Option<String>,
}

struct Header {
    id: Guid,
    first: u64,
    last: u64,
    entries: u64,
    count: u64,
    entry_size: u64,
    crc: u32,
}

/// CRC-32 as in IEEE 802.3.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0u32, |crc, b| crc >> 8 ^ TABLE[((crc ^ u32::from(*b)) & 0xff) as usize])
}

/// The table of a disk of `size` bytes. `None`: the first sector does not say that there is one.
pub fn read<R: Read + Seek>(reader: &mut R, size: u64) -> Result<Option<Table>, Cause> {
    let mut first = [0u8; 512];
    if !read_at(reader, 0, &mut first)? || !mbr::parse(&first).is_some_and(|e| e.iter().any(|e| e.kind == mbr::PROTECTIVE)) {
        return Ok(None);
    }
    let mut reason = "it has a protective MBR, but no GUID partition table".to_owned();
    for sector in SECTORS {
        match table(reader, sector, 1, size)? {
            Ok(table) => return Ok(Some(table)),
            Err(Some(why)) => reason = format!("its GUID partition table is damaged: {why}"),
            Err(None) => {}
        }
    }
    for sector in SECTORS {
        let last = (size / sector).saturating_sub(1);
        if let Ok(table) = table(reader, sector, last, size)? {
            return Ok(Some(Table { backup: Some(reason), ..table }));
        }
    }
    Err(Cause::Said(format!("{reason}, and so is its copy at the end")))
}

/// The table whose header is at block `lba`. Inner error: what is wrong with it; `None`: nothing is there.
fn table<R: Read + Seek>(reader: &mut R, sector: u64, lba: u64, size: u64) -> Result<Result<Table, Option<String>>, Cause> {
    let blocks = size / sector;
    let mut block = vec![0u8; sector as usize];
    if lba == 0 || lba >= blocks || !read_at(reader, lba * sector, &mut block)? || !block.starts_with(b"EFI PART") {
        return Ok(Err(None));
    }
    let header = match header(&mut block, lba, sector, blocks) {
        Ok(header) => header,
        Err(why) => return Ok(Err(Some(why))),
    };
    let length = (header.count * header.entry_size) as usize;
    let mut raw = vec![0u8; length];
    if !read_at(reader, header.entries * sector, &mut raw)? {
        return Ok(Err(Some("the entries are beyond the end of the disk".into())));
    }
    if crc32(&raw) != header.crc {
        return Ok(Err(Some("the checksum of the entries is wrong".into())));
    }
    Ok(entries(&raw, &header, sector).map_err(Some).map(|partitions| Table { sector, id: header.id, partitions, backup: None }))
}

fn guid(bytes: &[u8], at: usize) -> Guid {
    let mut raw = [0u8; 16];
    if let Some(from) = bytes.get(at..at + 16) {
        raw.copy_from_slice(from);
    }
    Guid::from_disk(raw)
}

fn header(block: &mut [u8], lba: u64, sector: u64, blocks: u64) -> Result<Header, String> {
    let length = u64::from(le32(block, 12));
    if !(92..=sector).contains(&length) {
        return Err(format!("its header claims {length} bytes"));
    }
    let crc = le32(block, 16);
    block[16..20].fill(0);
    if crc32(&block[..length as usize]) != crc {
        return Err("the checksum of the header is wrong".into());
    }
    if le64(block, 24) != lba {
        return Err("the header is not where it says it is".into());
    }
    let header = Header {
        id: guid(block, 56),
        first: le64(block, 40),
        last: le64(block, 48),
        entries: le64(block, 72),
        count: u64::from(le32(block, 80)),
        entry_size: u64::from(le32(block, 84)),
        crc: le32(block, 88),
    };
    if header.last >= blocks || header.first > header.last {
        return Err(format!("it is for a disk of more than {} blocks, this one has {blocks}", header.last));
    }
    if header.entry_size < 128 || header.entry_size > 4096 || !header.entry_size.is_power_of_two() {
        return Err(format!("its entries claim {} bytes each", header.entry_size));
    }
    if header.count == 0 || header.count.saturating_mul(header.entry_size) > TABLE_MAX {
        return Err(format!("it claims {} entries of {} bytes", header.count, header.entry_size));
    }
    let end = header.entries.checked_add((header.count * header.entry_size).div_ceil(sector));
    if header.entries < 2 || end.is_none_or(|end| end > blocks) {
        return Err("the entries are beyond the end of the disk".into());
    }
    Ok(header)
}

fn entries(raw: &[u8], header: &Header, sector: u64) -> Result<Vec<Partition>, String> {
    let mut out: Vec<Partition> = Vec::new();
    for (number, entry) in (1u32..).zip(raw.chunks_exact(header.entry_size as usize)) {
        let kind = guid(entry, 0);
        if kind == Guid::NIL {
            continue;
        }
        let (first, last) = (le64(entry, 32), le64(entry, 40));
        if last < first || first < header.first || last > header.last {
            return Err(format!("partition {number} goes beyond the end of the disk"));
        }
        let units: Vec<u16> = entry[56..128].chunks_exact(2).map(|u| u16::from_le_bytes([u[0], u[1]])).take_while(|u| *u != 0).collect();
        out.push(Partition {
            number,
            kind,
            id: guid(entry, 16),
            // Below the disk's end, which is a number of bytes: no overflow.
            start: first * sector,
            size: (last - first + 1) * sector,
            flags: le64(entry, 48),
            label: String::from_utf16_lossy(&units),
        });
    }
    let mut order: Vec<&Partition> = out.iter().collect();
    order.arrange_by_key(|p| p.start);
    match order.windows(2).find(|w| w[0].start + w[0].size > w[1].start) {
        Some([a, b]) => Err(format!("partitions {} and {} overlap", a.number, b.number)),
        _ => Ok(out),
    }
}
