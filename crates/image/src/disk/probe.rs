//! What a stretch of a disk holds, told by its superblock.
//!
//! Only fixed places are read, a few hundred bytes in all. Two answers at once are no answer: what one reader takes for
//! an ext4, another for a btrfs, is how an image passes one check and is used as something else.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};

use crate::Cause;

/// What was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// ext2, ext3 or ext4, all of which the ext4 driver mounts.
    Ext(u8),
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// EROFS.
    Erofs,
    /// squashfs 4.
    Squashfs,
    /// FAT12, FAT16 or FAT32.
    Vfat,
    /// Swap space.
    Swap,
    /// LUKS of this version.
    Luks(u8),
    /// The hash tree of dm-verity.
    Verity,
    /// Something known that cannot be the file system of a machine; what it is, and what to do about it.
    Other(&'static str, &'static str),
}

impl Content {
    /// The kernel's name of the file system driver; `None`: it is no file system that is mounted here.
    pub fn driver(self) -> Option<&'static std::ffi::CStr> {
        Some(match self {
            Content::Ext(_) => c"ext4",
            Content::Xfs => c"xfs",
            Content::Btrfs => c"btrfs",
            Content::Erofs => c"erofs",
            Content::Squashfs => c"squashfs",
            Content::Vfat => c"vfat",
            _ => return None,
        })
    }
    /// It can be written at all.
    pub fn is_writable(self) -> bool {
        !matches!(self, Content::Erofs | Content::Squashfs)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Ext(n) => write!(f, "ext{n}"),
            Content::Luks(n) => write!(f, "LUKS{n}"),
            Content::Xfs => f.write_str("xfs"),
            Content::Btrfs => f.write_str("btrfs"),
            Content::Erofs => f.write_str("erofs"),
            Content::Squashfs => f.write_str("squashfs"),
            Content::Vfat => f.write_str("vfat"),
            Content::Swap => f.write_str("swap space"),
            Content::Verity => f.write_str("dm-verity hashes"),
            Content::Other(what, _) => f.write_str(what),
        }
    }
}

/// Reads `room.len()` bytes at `offset`; `false`: the file ends before.
pub(crate) fn read_at<R: Read + Seek>(reader: &mut R, offset: u64, room: &mut [u8]) -> Result<bool, Cause> {
    reader.seek(SeekFrom::Start(offset))?;
    let mut filled = 0;
    while filled < room.len() {
        match reader.read(&mut room[filled..]) {
            Ok(0) => return Ok(false),
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(true)
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}
pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}
pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at)) | u64::from(le32(bytes, at + 4)) << 32
}

/// What is between `start` and `start + size`. `None`: nothing that is known.
pub fn probe<R: Read + Seek>(reader: &mut R, start: u64, size: u64) -> Result<Option<Content>, Cause> {
    let mut found = Vec::new();
    for (offset, length, look) in PLACES {
        if offset + *length as u64 > size {
            continue;
        }
        let mut room = [0u8; LONGEST];
        if read_at(reader, start.saturating_add(*offset), &mut room[..*length])? {
            found.extend(look(&room[..*length])?);
        }
    }
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => {
            let names: Vec<String> = found.iter().map(ToString::to_string).collect();
            Err(Cause::Said(format!("it is {} at the same time; wipefs(8) removes the one that is not meant", names.join(" and "))))
        }
    }
}

type Look = fn(&[u8]) -> Result<Option<Content>, Cause>;
const LONGEST: usize = 1024;

/// Where, how much, and what looks at it.
const PLACES: &[(u64, usize, Look)] = &[
    (0, 512, first_sector),
    (1024, 1024, second_kibibyte),
    (4096 - 10, 10, swap),
    (8192 - 10, 10, swap),
    (16384 - 10, 10, swap),
    (65536 - 10, 10, swap),
    (32768, 6, |b| Ok((&b[1..] == b"CD001").then_some(Content::Other("an ISO 9660 image", "take the system out of it with bsdtar")))),
    (65536, 72, |b| Ok((&b[64..] == b"_BHRfS_M").then_some(Content::Btrfs))),
];

fn first_sector(b: &[u8]) -> Result<Option<Content>, Cause> {
    const COMPRESSED: &str = "unpack it first";
    const CONVERT: &str = "make a raw image of it with `qemu-img convert -O raw`";
    let begins: &[(&[u8], Content)] = &[
        (b"XFSB", Content::Xfs),
        (b"verity\0\0", Content::Verity),
        (b"QFI\xfb", Content::Other("a qcow2 image", CONVERT)),
        (b"KDMV", Content::Other("a VMDK image", CONVERT)),
        (b"vhdxfile", Content::Other("a VHDX image", CONVERT)),
        (b"conectix", Content::Other("a VHD image", CONVERT)),
        (b"\x1f\x8b\x08", Content::Other("compressed by gzip", COMPRESSED)),
        (b"\xfd7zXZ\0", Content::Other("compressed by xz", COMPRESSED)),
        (b"\x28\xb5\x2f\xfd", Content::Other("compressed by zstd", COMPRESSED)),
        (b"BZh", Content::Other("compressed by bzip2", COMPRESSED)),
    ];
    if let Some((_, content)) = begins.iter().find(|(magic, _)| b.starts_with(magic)) {
        return Ok(Some(*content));
    }
    if b.starts_with(b"hsqs") {
        return match le16(b, 28) {
            4 => Ok(Some(Content::Squashfs)),
            n => Err(Cause::Said(format!("it is a squashfs of version {n}, which Linux does not read"))),
        };
    }
    if b.starts_with(b"LUKS\xba\xbe") {
        return match b[6..8] {
            [0, n @ (1 | 2)] => Ok(Some(Content::Luks(n))),
            _ => Err(Cause::Why("it is encrypted by a LUKS of an unknown version")),
        };
    }
    if &b[257..262] == b"ustar" {
        return Ok(Some(Content::Other("a tar archive", "unpack it into a directory and give that as the tree")));
    }
    Ok(is_fat(b).then_some(Content::Vfat))
}

/// A FAT has no magic worth the name: the boot sector's mark, the type in words, and a geometry that can be.
pub(crate) fn is_fat(b: &[u8]) -> bool {
    let named = &b[82..90] == b"FAT32   " || [&b"FAT12   "[..], b"FAT16   ", b"FAT     "].contains(&&b[54..62]);
    let (sector, cluster, reserved, fats) = (le16(b, 11), b[13], le16(b, 14), b[16]);
    named
        && b[510..512] == [0x55, 0xaa]
        && matches!(b[0], 0xeb | 0xe9)
        && matches!(sector, 512 | 1024 | 2048 | 4096)
        && cluster.is_power_of_two()
        && reserved > 0
        && matches!(fats, 1 | 2)
}

fn second_kibibyte(b: &[u8]) -> Result<Option<Content>, Cause> {
    if le32(b, 0) == 0xe0f5_e1e2 {
        return Ok(Some(Content::Erofs));
    }
    // Neither of them may be seen without the other's place being looked at: both are in this kibibyte.
    if le16(b, 0x38) == 0xef53 { ext(b).map(Some) } else { Ok(None) }
}

fn ext(b: &[u8]) -> Result<Content, Cause> {
    const COMPAT_JOURNAL: u32 = 0x4;
    const INCOMPAT_JOURNAL_DEVICE: u32 = 0x8;
    // What ext3 knows: FILETYPE, RECOVER, META_BG; and SPARSE_SUPER, LARGE_FILE.
    const EXT3_INCOMPAT: u32 = 0x2 | 0x4 | 0x10;
    const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;
    let (compat, incompat, ro_compat) = (le32(b, 0x5c), le32(b, 0x60), le32(b, 0x64));
    if incompat & INCOMPAT_JOURNAL_DEVICE != 0 {
        return Err(Cause::Why("it is the journal of an ext4 that is elsewhere"));
    }
    // The superblock may name any block device of the host as the place of the journal.
    if compat & COMPAT_JOURNAL != 0 && le32(b, 0xe0) == 0 {
        return Err(Cause::Why("it is an ext4 whose journal is on another device"));
    }
    if le32(b, 0x18) > 6 {
        return Err(Cause::Why("it is a damaged ext4: its block size cannot be"));
    }
    Ok(Content::Ext(if incompat & !EXT3_INCOMPAT != 0 || ro_compat & !EXT3_RO_COMPAT != 0 {
        4
    } else if compat & COMPAT_JOURNAL != 0 {
        3
    } else {
        2
    }))
}

fn swap(b: &[u8]) -> Result<Option<Content>, Cause> {
    Ok((b == b"SWAPSPACE2" || b == b"SWAP-SPACE").then_some(Content::Swap))
}
