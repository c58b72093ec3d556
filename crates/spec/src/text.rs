//! Text from the operating system: any bytes but NUL.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a field of fstab(5) or of /proc/PID/mountinfo means: `\040` and its like are the byte of that octal number.
pub fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let digits = tail.first_chunk::<3>().filter(|d| *first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        let code = digits.and_then(|d| u8::try_from(d.iter().fold(0, |n, b| n * 8 + u32::from(b - b'0'))).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    out
}

/// An argument or environment entry: bytes without NUL, usually UTF-8.
///
/// Serialised as a string when it is UTF-8, else as a list of byte values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OsText(pub OsString);

impl OsText {
    /// The text as an `OsStr`.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
    /// The text with undecodable bytes replaced, for display.
    pub fn to_string_lossy(&self) -> std::borrow::Cow<'_, str> {
        self.0.to_string_lossy()
    }
}

impl fmt::Debug for OsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for OsText {
    fn from(s: &str) -> Self {
        Self(s.into())
    }
}
impl From<String> for OsText {
    fn from(s: String) -> Self {
        Self(s.into())
    }
}
impl From<OsString> for OsText {
    fn from(s: OsString) -> Self {
        Self(s)
    }
}
impl From<&OsStr> for OsText {
    fn from(s: &OsStr) -> Self {
        Self(s.into())
    }
}
impl AsRef<OsStr> for OsText {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl Serialize for OsText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(text) = self.0.to_str() {
            return serializer.serialize_str(text);
        }
        let bytes = self.as_bytes();
        let mut seq = serializer.serialize_seq(Some(bytes.len()))?;
        for byte in bytes {
            seq.serialize_element(byte)?;
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for OsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = OsText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of byte values")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<OsText, E> {
                Ok(OsText(v.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OsText, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element::<u8>()? {
                    bytes.push(byte);
                }
                Ok(OsText(OsString::from_vec(bytes)))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::unescape_octal;

    #[test]
    fn octal_escapes() {
        for (field, want) in [
            (r"/a\040b\134", r"/a b\"),
            (r"/a\040b\134c\011", "/a b\\c\t"),
            (r"\9", r"\9"),
            (r"\04", r"\04"),
            (r"\777", r"\777"),
            (r"\+12", r"\+12"),
            (r"\040", " "),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(unescape_octal(field.as_bytes())).as_deref(), Ok(want), "{field}");
        }
    }
}
