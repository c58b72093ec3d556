//! The machine's 128-bit identity.

use serde::{Deserialize, Serialize};

use crate::ValueError;

/// A machine id: 128 bits, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineUuid([u8; 16]);

impl MachineUuid {
    /// Takes the raw bytes; `None` if they are all zero.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Makes a random (version 4) id out of 16 random bytes.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// Parses 32 hexadecimal digits, plain or dashed 8-4-4-4-12.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let refuse = |why: &str| Err(ValueError::new("UUID", text, why));
        let bytes = text.as_bytes();
        let dashed = bytes.len() == 36;
        if !dashed && bytes.len() != 32 {
            return refuse("it takes 32 hexadecimal digits, with or without dashes");
        }
        let mut out = [0u8; 16];
        let mut digits = 0;
        for (i, &b) in bytes.iter().enumerate() {
            if dashed && matches!(i, 8 | 13 | 18 | 23) {
                if b != b'-' {
                    return refuse("a dash is missing");
                }
                continue;
            }
            let Some(v) = (b as char).to_digit(16) else { return refuse("it has a character that is no hexadecimal digit") };
            out[digits / 2] |= (v as u8) << (4 * (1 - digits % 2));
            digits += 1;
        }
        Self::from_bytes(out).map_or_else(|| refuse("it must not be zero"), Ok)
    }

    /// The raw bytes.
    pub fn bytes(&self) -> [u8; 16] {
        self.0
    }

    /// 32 lower-case hexadecimal digits.
    pub fn plain(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// 8-4-4-4-12 form.
    pub fn dashed(&self) -> String {
        let p = self.plain();
        format!("{}-{}-{}-{}-{}", &p[..8], &p[8..12], &p[12..16], &p[16..20], &p[20..])
    }
}

impl TryFrom<String> for MachineUuid {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::parse(&text)
    }
}
impl From<MachineUuid> for String {
    fn from(id: MachineUuid) -> String {
        id.plain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let id = MachineUuid::parse("0123456789abcdef0123456789ABCDEF").unwrap();
        assert_eq!(id.dashed(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(MachineUuid::parse(&id.dashed()).unwrap(), id);
        for bad in ["", "0", &"0".repeat(32), &"g".repeat(32), "01234567-89ab-cdef-0123_456789abcdef"] {
            assert!(MachineUuid::parse(bad).is_err(), "{bad}");
        }
    }
}
