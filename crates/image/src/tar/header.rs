//! The 512-byte header of a tar archive: V7, ustar (POSIX.1-1988), GNU.

use super::Fault;

/// Size of a header, and what contents are rounded up to.
pub const BLOCK: usize = 512;

/// What a header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A regular file.
    Regular,
    /// A further name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A FIFO.
    Fifo,
    /// A file with holes, in GNU's old form.
    OldSparse,
    /// The next entry's name (GNU).
    LongName,
    /// The next entry's link target (GNU).
    LongLink,
    /// Records for the next entry (POSIX.1-2001).
    Records,
    /// Records for all entries that follow.
    GlobalRecords,
    /// A volume's label: nothing that is unpacked.
    Label,
}

/// One header, decoded; the name is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What it announces.
    pub kind: Type,
    /// Name, as bytes.
    pub name: Vec<u8>,
    /// Link target.
    pub link: Vec<u8>,
    /// Permissions, 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Bytes of contents that follow.
    pub size: u64,
    /// Seconds after 1970.
    pub mtime: i64,
    /// Device number.
    pub device: (u32, u32),
    /// Segments and real size of an [`Type::OldSparse`], and whether more segments follow in a block of their own.
    pub sparse: Option<(Vec<(u64, u64)>, u64, bool)>,
}

/// Decodes a header; `None` for a block of zeros, two of which end an archive.
pub fn parse(block: &[u8; BLOCK]) -> Result<Option<Header>, Fault> {
    if block.iter().all(|b| *b == 0) {
        return Ok(None);
    }
    if !sum_is_right(block) {
        return Err(Fault::Why("its header is damaged, or it is no tar archive"));
    }
    let gnu = &block[257..265] == b"ustar  \0";
    let posix = &block[257..263] == b"ustar\0";
    let mut name = text(&block[..100]).to_vec();
    if posix && block[345] != 0 {
        let mut whole = text(&block[345..500]).to_vec();
        whole.push(b'/');
        whole.extend_from_slice(&name);
        name = whole;
    }
    let kind = kind(block[156], &name)?;
    let number = |at: usize, length: usize| unsigned(&block[at..at + length]);
    let device = if matches!(kind, Type::Character | Type::Block) {
        let part = |at: usize| number(at, 8).and_then(|n| u32::try_from(n).map_err(|_| Fault::Why("a device number is out of range")));
        (part(329)?, part(337)?)
    } else {
        (0, 0)
    };
    let sparse = if kind == Type::OldSparse {
        if !gnu {
            return Err(Fault::Why("it has a sparse file in an unknown form"));
        }
        Some((segments(&block[386..482])?, number(483, 12)?, block[482] != 0))
    } else {
        None
    };
    Ok(Some(Header {
        kind,
        name,
        link: text(&block[157..257]).to_vec(),
        mode: (number(100, 8)? & 0o7777) as u32,
        uid: number(108, 8)?,
        gid: number(116, 8)?,
        size: number(124, 12)?,
        mtime: signed(&block[136..148])?,
        device,
        sparse,
    }))
}

fn kind(flag: u8, name: &[u8]) -> Result<Type, Fault> {
    Ok(match flag {
        // Before POSIX a directory was a file whose name ends with a slash.
        b'0' | 0 if name.ends_with(b"/") => Type::Directory,
        b'0' | 0 | b'7' => Type::Regular,
        b'1' => Type::HardLink,
        b'2' => Type::Symlink,
        b'3' => Type::Character,
        b'4' => Type::Block,
        b'5' => Type::Directory,
        b'6' => Type::Fifo,
        b'S' => Type::OldSparse,
        b'L' => Type::LongName,
        b'K' => Type::LongLink,
        b'x' => Type::Records,
        b'g' => Type::GlobalRecords,
        b'V' => Type::Label,
        b'M' => return Err(Fault::Why("it goes on from another volume")),
        b'D' | b'N' => return Err(Fault::Why("it is an incremental backup")),
        _ => return Err(Fault::Why("it has an entry of an unknown type")),
    })
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|b| *b == 0).unwrap_or(field.len())]
}

/// The sum of all bytes, its own field counted as blanks; some old programs summed signed bytes.
fn sum_is_right(block: &[u8; BLOCK]) -> bool {
    let bytes = || block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { b' ' } else { *b });
    let Ok(said) = unsigned(&block[148..156]) else { return false };
    let plain: u64 = bytes().map(u64::from).sum();
    let signed: i64 = bytes().map(|b| i64::from(b as i8)).sum();
    said == plain || i64::try_from(said) == Ok(signed)
}

/// Octal digits among blanks and NULs, or with the first bit set a binary number.
fn unsigned(field: &[u8]) -> Result<u64, Fault> {
    u64::try_from(signed(field)?).map_err(|_| Fault::Why("it has a negative number where none can be"))
}

fn signed(field: &[u8]) -> Result<i64, Fault> {
    const BAD: Fault = Fault::Why("it has a number that is none");
    const LARGE: Fault = Fault::Why("it has a number that is too large");
    if field[0] & 0x80 != 0 {
        // Two's complement without the first bit, big-endian.
        let negative = field[0] & 0x40 != 0;
        let mut value: i64 = if negative { -1 } else { 0 };
        for (i, byte) in field.iter().enumerate() {
            let byte = if i == 0 { if negative { *byte } else { byte & 0x7f } } else { *byte };
            if value.leading_zeros().max(value.leading_ones()) <= 8 {
                return Err(LARGE);
            }
            value = value << 8 | i64::from(byte);
        }
        return Ok(value);
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|b| matches!(b, b' ' | 0)).unwrap_or(digits.len());
    if digits[end..].iter().any(|b| !matches!(b, b' ' | 0)) {
        return Err(BAD);
    }
    digits[..end].iter().try_fold(0i64, |n, b| match b {
        b'0'..=b'7' if n >> 60 == 0 => Ok(n << 3 | i64::from(b - b'0')),
        b'0'..=b'7' => Err(LARGE),
        _ => Err(BAD),
    })
}

/// Segments of a file with holes: (offset, length), each 12 bytes; the first empty one ends them.
fn segments(field: &[u8]) -> Result<Vec<(u64, u64)>, Fault> {
    let mut out = Vec::new();
    for pair in field.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        out.push((unsigned(&pair[..12])?, unsigned(&pair[12..])?));
    }
    Ok(out)
}

/// More segments of an [`Type::OldSparse`], and whether still more follow.
pub fn more_segments(block: &[u8; BLOCK]) -> Result<(Vec<(u64, u64)>, bool), Fault> {
    Ok((segments(&block[..504])?, block[504] != 0))
}
