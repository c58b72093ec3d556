//! Text from the operating system: any bytes but NUL.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
