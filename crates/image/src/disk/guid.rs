//! GUIDs as partition tables have them: the first three groups little-endian.

use std::fmt;

/// A GUID, bytes in the order it is written in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// All zero: an unused entry.
    pub const NIL: Guid = Guid([0; 16]);

    /// From the bytes of a partition table.
    pub fn from_disk(b: [u8; 16]) -> Guid {
        Guid([b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]])
    }
    /// The bytes of a partition table.
    pub fn to_disk(self) -> [u8; 16] {
        // The permutation is its own inverse.
        Guid::from_disk(self.0).0
    }
    /// From its text, at build time.
    pub(crate) const fn of(text: &str) -> Guid {
        let text = text.as_bytes();
        assert!(text.len() == 36);
        let mut out = [0u8; 16];
        let (mut at, mut to) = (0, 0);
        while at < 36 {
            if text[at] == b'-' {
                at += 1;
                continue;
            }
            out[to] = digit(text[at]) << 4 | digit(text[at + 1]);
            at += 2;
            to += 1;
        }
        Guid(out)
    }
}

const fn digit(c: u8) -> u8 {
    match c {
        b'0'..=b'9' => c - b'0',
        b'a'..=b'f' => c - b'a' + 10,
        _ => panic!("no digit of a GUID"),
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_endian() {
        let guid = Guid::of("0fc63daf-8483-4772-8e79-3d69d8477de4");
        assert_eq!(guid.to_disk()[..8], [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47]);
        assert_eq!(Guid::from_disk(guid.to_disk()), guid);
        assert_eq!(guid.to_string(), "0fc63daf-8483-4772-8e79-3d69d8477de4");
    }
}
