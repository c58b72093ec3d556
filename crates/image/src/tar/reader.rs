//! An archive's entries, one after the other, with names, sizes and holes that agree.

use std::io::Read;

use hostel_spec::Gather as _;

use super::Fault;
use super::header::{self, BLOCK, Header, Type};
use super::pax::{self, Records, SEGMENTS};

/// Most bytes of a header that is about another entry: names, records with all extended attributes.
const META: u64 = 1 << 20;
/// A path the kernel takes in one piece.
const PATH: usize = 4095;
/// What comes after the end may be padding, but not for ever.
const PADDING: u64 = 64 << 20;
/// Sizes below this fit into the header itself: who says them elsewhere as well has to say the same.
const OCTAL_MAX: u64 = 1 << 33;

/// What is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, with contents.
    File,
    /// A further name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A FIFO.
    Fifo,
}

/// A piece of a file with holes: where it is in the file, and how long it is.
pub type Hole = (u64, u64);

/// What a file has besides its contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions, 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification: seconds, nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, ACLs among them.
    pub extended: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: no empty part, no `.`, no `..`, no slash at the start. Empty: the tree's top itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Target: of a hard link in the form of `path`, of a symbolic link as it is.
    pub link: Vec<u8>,
    /// Device number.
    pub device: (u32, u32),
    /// What it has besides contents.
    pub attributes: Attributes,
    /// Bytes of contents in the archive.
    pub stored: u64,
    /// For a file with holes: its real size, and the pieces that are stored.
    pub sparse: Option<(u64, Vec<Hole>)>,
    /// What of its attributes was left out on purpose.
    pub dropped: u64,
}

/// An archive being read.
pub struct Archive<R> {
    input: R,
    /// Bytes of contents not read yet, and of what fills up their last block.
    left: u64,
    padding: u64,
}

impl<R: Read> Archive<R> {
    /// Reads from `input`, which is not compressed.
    pub fn new(input: R) -> Self {
        Archive { input, left: 0, padding: 0 }
    }

    /// The next entry; `None` at the end mark. What was not read of the last one's contents is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Fault> {
        self.skip()?;
        let (mut records, mut long_name, mut long_link) = (None, None, None);
        loop {
            let Some(header) = self.header()? else {
                return if records.is_none() && long_name.is_none() && long_link.is_none() { Ok(None) } else { Err(CUT) };
            };
            match header.kind {
                Type::Records if records.is_none() => records = Some(pax::parse(&self.meta(&header)?)?),
                Type::LongName if long_name.is_none() => long_name = Some(self.long(&header)?),
                Type::LongLink if long_link.is_none() => long_link = Some(self.long(&header)?),
                Type::GlobalRecords => pax::check_global(&self.meta(&header)?)?,
                Type::Records | Type::LongName | Type::LongLink => return Err(Fault::Why("it has several headers of a kind for one entry")),
                Type::Label => {
                    self.contents_of(header.size);
                    self.skip()?;
                }
                _ => return self.entry(header, records.unwrap_or_default(), long_name, long_link).map(Some),
            }
        }
    }

    /// Contents of the current entry; 0 at their end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        loop {
            match self.input.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(CUT),
                Ok(n) => {
                    self.left -= n as u64;
                    return Ok(n);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn contents_of(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    fn skip(&mut self) -> Result<(), Fault> {
        let wanted = self.left.saturating_add(self.padding);
        let skipped = std::io::copy(&mut self.input.by_ref().take(wanted), &mut std::io::sink())?;
        (self.left, self.padding) = (0, 0);
        if skipped < wanted { Err(CUT) } else { Ok(()) }
    }

    fn block(&mut self) -> Result<[u8; BLOCK], Fault> {
        let mut block = [0u8; BLOCK];
        self.input.read_exact(&mut block)?;
        Ok(block)
    }

    /// The next header; `None` at the end mark, of which a second block of zeros and any padding is read too.
    fn header(&mut self) -> Result<Option<Header>, Fault> {
        let header = header::parse(&self.block()?)?;
        if let Some(header) = header {
            // A size that cannot be rounded up to blocks.
            return if header.size > u64::MAX >> 1 { Err(Fault::Why("it has a size that cannot be")) } else { Ok(Some(header)) };
        }
        // Reading on lets a decoder find a wrong checksum. An archive behind the archive is not looked for.
        let read = std::io::copy(&mut self.input.by_ref().take(PADDING), &mut std::io::sink())?;
        if read == PADDING { Err(Fault::Why("it does not end after its end mark")) } else { Ok(None) }
    }

    fn meta(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        if header.size > META {
            return Err(Fault::Why("it has a header that is too large"));
        }
        self.contents_of(header.size);
        let mut bytes = Vec::new();
        self.input.by_ref().take(header.size).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < header.size {
            return Err(CUT);
        }
        self.left = 0;
        self.skip()?;
        Ok(bytes)
    }

    /// A GNU long name: one string, ended by a NUL.
    fn long(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        let mut bytes = self.meta(header)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        if end == 0 || bytes[end..].iter().any(|b| *b != 0) {
            return Err(Fault::Why("it has a long name that is none"));
        }
        bytes.truncate(end);
        Ok(bytes)
    }

    fn entry(&mut self, header: Header, records: Records, long_name: Option<Vec<u8>>, long_link: Option<Vec<u8>>) -> Result<Entry, Fault> {
        let kind = kind(header.kind)?;
        let size = size(&header, &records)?;
        let Records { path, link, uid, gid, mtime, attributes, acl, sparse, .. } = records;
        if sparse.is_there() && header.kind != Type::Regular || header.sparse.is_some() && kind != Kind::File {
            return Err(Fault::Why("it has holes in what is no file"));
        }
        if size > 0 && kind != Kind::File {
            // Some programs would take what follows as contents, others as the next header.
            return Err(Fault::Why("it has contents of what can have none"));
        }
        let name = sparse.name.clone().or(path).or(long_name).unwrap_or(header.name);
        let link = link.or(long_link).unwrap_or(header.link);
        let (extended, dropped) = attributes_of(attributes, acl, kind)?;
        let id = |n: u64| u32::try_from(n).ok().filter(|n| *n != u32::MAX).ok_or(Fault::Why("it has an owner that cannot be"));
        self.contents_of(size);
        let pieces = match header.sparse {
            Some((map, real, more)) => Some((real, self.more_segments(map, more)?)),
            None if sparse.version.is_some_and(|v| v.0 >= 1) => {
                let real = sparse.real_size.ok_or(Fault::Why("it has a sparse file without its size"))?;
                Some((real, self.map_in_contents(sparse.version)?))
            }
            None if sparse.is_there() => Some((sparse.real_size.ok_or(Fault::Why("it has a sparse file without its size"))?, sparse.map)),
            None => None,
        };
        if let Some((real, map)) = &pieces {
            check_map(map, *real, self.left)?;
        }
        Ok(Entry {
            path: clean(&name)?,
            kind,
            link: match kind {
                Kind::HardLink => clean(&link)?,
                Kind::Symlink if link.is_empty() || link.len() > PATH => return Err(Fault::Why("it has a link to nothing")),
                Kind::Symlink => link,
                _ => Vec::new(),
            },
            device: header.device,
            attributes: Attributes {
                mode: header.mode,
                uid: id(uid.unwrap_or(header.uid))?,
                gid: id(gid.unwrap_or(header.gid))?,
                mtime: mtime.unwrap_or((header.mtime, 0)),
                extended,
            },
            stored: self.left,
            sparse: pieces,
            dropped,
        })
    }

    fn more_segments(&mut self, mut map: Vec<Hole>, mut more: bool) -> Result<Vec<Hole>, Fault> {
        while more {
            let (segments, still) = header::more_segments(&self.block()?)?;
            map.extend(segments);
            more = still;
            if map.len() > SEGMENTS {
                return Err(Fault::Why("it has a sparse file of too many pieces"));
            }
        }
        Ok(map)
    }

    /// Version 1.0 has its map at the start of the contents: decimal numbers on lines, filled up to a block.
    fn map_in_contents(&mut self, version: Option<(u64, u64)>) -> Result<Vec<Hole>, Fault> {
        if version != Some((1, 0)) {
            return Err(Fault::Why("it has a sparse file in an unknown form"));
        }
        let mut text: Vec<u8> = Vec::new();
        let mut at = 0;
        let mut number = |archive: &mut Self| -> Result<u64, Fault> {
            loop {
                if let Some(end) = text[at..].iter().take(21).position(|b| *b == b'\n') {
                    let value = pax::decimal(&text[at..at + end])?;
                    at += end + 1;
                    return Ok(value);
                }
                if text.len() - at > 21 || archive.left < BLOCK as u64 {
                    return Err(Fault::Why("it has a sparse file whose map cannot be read"));
                }
                text.extend_from_slice(&archive.block()?);
                archive.left -= BLOCK as u64;
            }
        };
        let count = number(self)?;
        if count > SEGMENTS as u64 {
            return Err(Fault::Why("it has a sparse file of too many pieces"));
        }
        (0..count).map(|_| Ok((number(self)?, number(self)?))).collect()
    }
}

const CUT: Fault = Fault::Why("it is cut off");

fn kind(kind: Type) -> Result<Kind, Fault> {
    Ok(match kind {
        Type::Regular | Type::OldSparse => Kind::File,
        Type::HardLink => Kind::HardLink,
        Type::Symlink => Kind::Symlink,
        Type::Directory => Kind::Directory,
        Type::Character => Kind::Character,
        Type::Block => Kind::Block,
        Type::Fifo => Kind::Fifo,
        _ => return Err(Fault::Why("it has an entry of an unknown type")),
    })
}

/// The size of an entry. Where header and records differ, programs differ in what they take for the next header, and an
/// archive could show one set of files to a scanner and another to us.
fn size(header: &Header, records: &Records) -> Result<u64, Fault> {
    let Some(said) = records.size else { return Ok(header.size) };
    let fits = said < OCTAL_MAX;
    if said == header.size || !fits && (header.size == 0 || header.size == said % OCTAL_MAX) {
        // Rounding up must not overflow.
        return if said > u64::MAX >> 1 { Err(Fault::Why("it has a size that cannot be")) } else { Ok(said) };
    }
    Err(Fault::Why("it says two different sizes of one entry"))
}

/// Pieces in order, none beyond the end, together as long as what is stored.
fn check_map(map: &[Hole], real: u64, stored: u64) -> Result<(), Fault> {
    let (mut end, mut sum) = (0u64, 0u64);
    for (offset, length) in map {
        if *offset < end {
            return Err(Fault::Why("it has a sparse file whose pieces overlap"));
        }
        end = offset.checked_add(*length).filter(|end| *end <= real).ok_or(Fault::Why("it has a sparse file with a piece beyond its end"))?;
        sum += length;
    }
    if sum == stored && real <= i64::MAX as u64 { Ok(()) } else { Err(Fault::Why("it has a sparse file whose sizes do not agree")) }
}

/// A name without what leads nowhere. `..` is refused: what it means depends on links. A slash at the start is taken off.
fn clean(name: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".") {
        if part == b".." {
            return Err(Fault::Why("it has a name with .. in it"));
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
    }
    if path.len() > PATH { Err(Fault::Why("it has a name that is too long")) } else { Ok(path) }
}

type Extended = Vec<(Vec<u8>, Vec<u8>)>;

/// The attributes that an image may bring along, and how many it may not: `trusted.*` would make an overlay see what is not
/// there, labels and signatures are this host's to give.
fn attributes_of(attributes: Extended, acl: (Option<Vec<u8>>, Option<Vec<u8>>), kind: Kind) -> Result<(Extended, u64), Fault> {
    let all = attributes.len() as u64;
    let allowed = |name: &[u8]| {
        name.starts_with(b"user.") || [&b"security.capability"[..], b"system.posix_acl_access", b"system.posix_acl_default"].contains(&name)
    };
    let mut kept: Extended = attributes.into_iter().filter(|(name, _)| allowed(name)).gather();
    let mut dropped = all - kept.len() as u64;
    if kind != Kind::Symlink && kind != Kind::HardLink {
        for (text, name) in [(acl.0, &b"system.posix_acl_access"[..]), (acl.1, b"system.posix_acl_default")] {
            let Some(text) = text.filter(|_| !kept.iter().any(|(n, _)| n == name)) else { continue };
            let (binary, unknown) = super::acl::binary(&text).ok_or(Fault::Why("it has an access control list that cannot be read"))?;
            dropped += unknown;
            kept.extend(binary.map(|b| (name.to_vec(), b)));
        }
    }
    Ok((kept, dropped))
}
