//! Records of a pax header (POSIX.1-2001): `LENGTH KEY=VALUE\n`, with GNU's and star's keys.

use super::Fault;

/// What the records of one entry say; `None`: nothing about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Name.
    pub path: Option<Vec<u8>>,
    /// Link target.
    pub link: Option<Vec<u8>>,
    /// Bytes of contents that follow.
    pub size: Option<u64>,
    /// Owner.
    pub uid: Option<u64>,
    /// Group.
    pub gid: Option<u64>,
    /// Modification: seconds, nanoseconds.
    pub mtime: Option<(i64, u32)>,
    /// Extended attributes.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Access control lists as text: of the file, of what will be made in it.
    pub acl: (Option<Vec<u8>>, Option<Vec<u8>>),
    /// A file with holes.
    pub sparse: Sparse,
}

/// The keys of GNU's sparse files, of all three versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Version, from 1.0 on.
    pub version: Option<(u64, u64)>,
    /// Name of the file: the entry's own is for programs that do not know.
    pub name: Option<Vec<u8>>,
    /// Size with the holes.
    pub real_size: Option<u64>,
    /// (offset, length), versions 0.0 and 0.1.
    pub map: Vec<(u64, u64)>,
    /// An offset whose length is still to come.
    offset: Option<u64>,
}

const BAD: Fault = Fault::Why("it has records that cannot be read");
const NUMBER: Fault = Fault::Why("it has a record with a number that is none");
/// A map may have so many segments; it is in memory.
pub const SEGMENTS: usize = 1 << 20;

/// Reads the records of one entry.
pub fn parse(mut text: &[u8]) -> Result<Records, Fault> {
    let mut records = Records::default();
    while !text.is_empty() {
        let (key, value, rest) = record(text)?;
        records.take(key, value)?;
        text = rest;
    }
    Ok(records)
}

/// Looks through records that are meant for all entries: those that would change what is unpacked are refused, because
/// programs disagree on them.
pub fn check_global(mut text: &[u8]) -> Result<(), Fault> {
    while !text.is_empty() {
        let (key, _, rest) = record(text)?;
        let changes = [&b"path"[..], b"linkpath", b"size", b"uid", b"gid"].contains(&key)
            || [&b"SCHILY."[..], b"GNU.sparse", b"LIBARCHIVE."].iter().any(|start| key.starts_with(start));
        if changes {
            return Err(Fault::Why("it has records about all entries that would change their contents"));
        }
        text = rest;
    }
    Ok(())
}

/// One record: its key, its value, what follows.
fn record(text: &[u8]) -> Result<(&[u8], &[u8], &[u8]), Fault> {
    let blank = text.iter().take(21).position(|b| *b == b' ').ok_or(BAD)?;
    let length = usize::try_from(decimal(&text[..blank])?).map_err(|_| BAD)?;
    let record = text.get(blank + 1..length).ok_or(BAD)?;
    let Some((b'\n', record)) = record.split_last() else { return Err(BAD) };
    let equals = record.iter().position(|b| *b == b'=').filter(|at| *at > 0).ok_or(BAD)?;
    Ok((&record[..equals], &record[equals + 1..], &text[length..]))
}

impl Records {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"SCHILY.acl.access" => self.acl.0 = Some(value.to_vec()),
            b"SCHILY.acl.default" => self.acl.1 = Some(value.to_vec()),
            _ => {
                if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.push((name(attribute)?, value.to_vec()));
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.take(key, value)?;
                }
                // Others are about what we do not keep (times of access, comments, names of owners) and harm nobody.
            }
        }
        Ok(())
    }
}

impl Sparse {
    /// Whether any of its keys was there.
    pub fn is_there(&self) -> bool {
        *self != Sparse::default()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"major" => self.version = Some((decimal(value)?, self.version.map_or(0, |v| v.1))),
            b"minor" => self.version = Some((self.version.map_or(0, |v| v.0), decimal(value)?)),
            b"name" => self.name = Some(name(value)?),
            b"size" | b"realsize" => self.real_size = Some(decimal(value)?),
            b"offset" => self.offset = Some(decimal(value)?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(BAD)?;
                self.push(offset, decimal(value)?)?;
            }
            b"map" => {
                let mut numbers = value.split(|b| *b == b',');
                while let Some(offset) = numbers.next() {
                    self.push(decimal(offset)?, decimal(numbers.next().ok_or(BAD)?)?)?;
                }
            }
            // How many segments there are shows itself.
            b"numblocks" => {}
            _ => return Err(Fault::Why("it has a sparse file in an unknown form")),
        }
        Ok(())
    }

    fn push(&mut self, offset: u64, length: u64) -> Result<(), Fault> {
        if self.map.len() >= SEGMENTS {
            return Err(Fault::Why("it has a sparse file of too many pieces"));
        }
        self.map.push((offset, length));
        Ok(())
    }
}

/// A name: not empty, no NUL in it.
fn name(value: &[u8]) -> Result<Vec<u8>, Fault> {
    if value.is_empty() || value.contains(&0) { Err(Fault::Why("it has a record with a name that is none")) } else { Ok(value.to_vec()) }
}

/// Decimal digits and nothing else.
pub fn decimal(value: &[u8]) -> Result<u64, Fault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(NUMBER);
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(NUMBER)
}

/// Seconds with a fraction, maybe negative.
fn time(value: &[u8]) -> Result<(i64, u32), Fault> {
    let (negative, digits) = value.strip_prefix(b"-").map_or((false, value), |rest| (true, rest));
    let point = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
    let seconds = i64::try_from(decimal(&digits[..point])?).map_err(|_| NUMBER)?;
    let fraction = digits.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(NUMBER);
    }
    let nanoseconds = (0..9).fold(0u32, |n, i| n * 10 + fraction.get(i).map_or(0, |b| u32::from(b - b'0')));
    Ok(match (negative, nanoseconds) {
        (false, n) => (seconds, n),
        (true, 0) => (-seconds, 0),
        // A time is counted up from the second below.
        (true, n) => (-seconds - 1, 1_000_000_000 - n),
    })
}
