//! Records of the log store: fields of one entry, after each other, with a checksum.
//!
//! ```text
//!  file    MAGIC(8)  MACHINE-ID(16)  SERIES(16)  HOSTNAME(64, zeros after it)   record record …
//!  record  length(4)  crc32(4)  payload
//!  payload realtime(8)  monotonic(8)  sequence(8)  boot id(16)   field field …
//!  field   name: a number of NAMES(1), or 0 length(1) name   length(4) value
//! ```
//! All numbers have their least significant byte first; times are microseconds. A record that is cut off, or whose checksum is
//! wrong, ends its file for readers: nothing was written after it.

/// First bytes of a file.
pub const MAGIC: &[u8; 8] = b"HOSTLOG1";
/// Bytes of a file before its first record.
pub const HEADER: usize = 104;
/// Longest payload, in bytes.
pub const RECORD_MAX: usize = 512 << 10;
/// Most fields of an entry.
pub const FIELDS_MAX: usize = 256;
/// Bytes of a payload before its fields.
const FIXED: usize = 40;

/// Names that are written as a number, counted from 1. New ones go to the end: files of older versions stay readable.
#[rustfmt::skip]
pub const NAMES: [&str; 32] = [
    "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "SYSLOG_PID", "SYSLOG_TIMESTAMP", "_PID", "_UID", "_GID", "_COMM",
    "_EXE", "_CMDLINE", "_SYSTEMD_UNIT", "_SYSTEMD_SLICE", "_SYSTEMD_CGROUP", "_SYSTEMD_INVOCATION_ID", "_TRANSPORT", "_STREAM_ID",
    "UNIT", "INVOCATION_ID", "MESSAGE_ID", "JOB_TYPE", "JOB_RESULT", "JOB_ID", "CODE_FILE", "CODE_LINE", "CODE_FUNC", "ERRNO",
    "UNIT_RESULT", "_LINE_BREAK", "SYSLOG_RAW", "_SOURCE_REALTIME_TIMESTAMP",
];

const CRC: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u32;
        let mut k = 0;
        while k < 8 {
            c = if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
            k += 1;
        }
        table[i] = c;
        i += 1;
    }
    table
};

/// CRC-32 as of zlib.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |c, byte| CRC[((c ^ u32::from(*byte)) & 0xff) as usize] ^ (c >> 8))
}

/// What is the same in all records of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// /etc/machine-id; zeros: unknown.
    pub machine: [u8; 16],
    /// Sequence numbers count within this.
    pub series: [u8; 16],
    /// Name of the machine.
    pub host: String,
}

impl Header {
    /// As bytes, [`HEADER`] of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.machine);
        out.extend_from_slice(&self.series);
        out.extend(self.host.bytes().take(64));
        out.resize(HEADER, 0);
        out
    }

    /// The beginning of a file; `None`: it is none of ours.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        let rest = bytes.get(..HEADER)?.strip_prefix(MAGIC.as_slice())?;
        let (machine, rest) = rest.split_first_chunk::<16>()?;
        let (series, host) = rest.split_first_chunk::<16>()?;
        let end = host.iter().position(|b| *b == 0).unwrap_or(host.len());
        Some(Header { machine: *machine, series: *series, host: String::from_utf8_lossy(&host[..end]).into_owned() })
    }
}

/// When an entry was made, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Microseconds since 1970.
    pub realtime: u64,
    /// Microseconds since the boot.
    pub monotonic: u64,
    /// Counts up within a series.
    pub sequence: u64,
    /// Of the kernel's boot.
    pub boot: [u8; 16],
}

/// A field: its name, and its value, which may be anything.
pub type Field<'a> = (&'a str, &'a [u8]);

/// Appends a record. Fields that do not fit are left out; how many is returned.
pub fn encode(out: &mut Vec<u8>, stamp: &Stamp, fields: &[Field<'_>]) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    for number in [stamp.realtime, stamp.monotonic, stamp.sequence] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&stamp.boot);
    let mut left = 0;
    for (at, (name, value)) in fields.iter().enumerate() {
        let needed = name.len() + 6 + value.len();
        if at >= FIELDS_MAX || name.is_empty() || name.len() > 255 || out.len() - start + needed > RECORD_MAX {
            left += 1;
            continue;
        }
        match NAMES.iter().position(|known| known == name) {
            Some(number) => out.push(number as u8 + 1),
            None => {
                out.push(0);
                out.push(name.len() as u8);
                out.extend_from_slice(name.as_bytes());
            }
        }
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(value);
    }
    let payload = out.get(start + 8..).unwrap_or_default();
    let (length, crc) = (payload.len() as u32, crc32(payload));
    if let Some(head) = out.get_mut(start..start + 8) {
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&crc.to_le_bytes());
    }
    left
}

/// One entry, as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When.
    pub stamp: Stamp,
    /// Its checksum, which tells entries of one moment apart.
    pub crc: u32,
    /// In the order in which they were written.
    pub fields: Vec<Field<'a>>,
}

impl Entry<'_> {
    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// Where a record ends, if it is whole.
pub fn whole(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
    let crc = u32::from_le_bytes(*bytes.get(4..)?.first_chunk::<4>()?);
    if !(FIXED..=RECORD_MAX).contains(&length) {
        return None;
    }
    (crc32(bytes.get(8..8 + length)?) == crc).then_some(8 + length)
}

/// Reads a record that is [`whole`]; anything may be in it.
pub fn decode(bytes: &[u8]) -> Option<Entry<'_>> {
    let length = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
    let crc = u32::from_le_bytes(*bytes.get(4..)?.first_chunk::<4>()?);
    let mut rest = bytes.get(8..8usize.checked_add(length)?)?;
    let mut number = || -> Option<u64> {
        let (n, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        Some(u64::from_le_bytes(*n))
    };
    let (realtime, monotonic, sequence) = (number()?, number()?, number()?);
    let (boot, after) = rest.split_first_chunk::<16>()?;
    rest = after;
    let mut fields = Vec::with_capacity(16);
    while let Some((code, after)) = rest.split_first() {
        let name;
        (name, rest) = match *code {
            0 => {
                let (length, after) = after.split_first()?;
                (std::str::from_utf8(after.get(..usize::from(*length))?).ok()?, after.get(usize::from(*length)..)?)
            }
            known => (*NAMES.get(usize::from(known) - 1)?, after),
        };
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        fields.push((name, after.get(..length)?));
        rest = after.get(length..)?;
    }
    Some(Entry { stamp: Stamp { realtime, monotonic, sequence, boot: *boot }, crc, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let stamp = Stamp { realtime: 1, monotonic: 2, sequence: 3, boot: [7; 16] };
        let fields: [Field<'_>; 4] = [("MESSAGE", b"hello"), ("OWN_FIELD", b"\0\xff\n"), ("MESSAGE", b""), ("PRIORITY", b"6")];
        let mut bytes = vec![1, 2, 3];
        assert_eq!(encode(&mut bytes, &stamp, &fields), 0);
        let bytes = &bytes[3..];
        assert_eq!(whole(bytes), Some(bytes.len()));
        let found = decode(bytes).unwrap();
        assert_eq!((found.stamp, found.fields.as_slice()), (stamp, fields.as_slice()));
        // cut off anywhere, or with any bit changed, it is none
        assert!((0..bytes.len()).all(|end| whole(&bytes[..end]).is_none()));
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 0x10;
            assert!(whole(&bad).is_none(), "{at}");
            let _ = decode(&bad);
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_is_too_large_is_left_out() {
        let big = vec![b'x'; RECORD_MAX];
        let mut bytes = Vec::new();
        assert_eq!(encode(&mut bytes, &Stamp::default(), &[("A", &big), ("B", b"b"), ("", b"c")]), 2);
        assert_eq!(decode(&bytes).unwrap().fields, [("B", b"b".as_slice())]);
        let many = vec![("A", b"a".as_slice()); FIELDS_MAX + 3];
        assert_eq!(encode(&mut Vec::new(), &Stamp::default(), &many), 3);
    }

    #[test]
    fn headers() {
        let header = Header { machine: [1; 16], series: [2; 16], host: "h".repeat(64) };
        assert_eq!(Header::decode(&header.encode()), Some(header.clone()));
        assert_eq!(header.encode().len(), HEADER);
        assert!(Header::decode(&header.encode()[1..]).is_none() && Header::decode(b"").is_none());
    }
}
