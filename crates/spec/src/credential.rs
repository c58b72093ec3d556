//! Credentials: small secrets a machine finds in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), "Credentials").

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One credential, or a directory of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its name; of a directory, the beginning of their names (`ID_FILE`).
    pub id: String,
    /// What is in it.
    pub source: CredentialSource,
}

/// Where the content comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialSource {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file, an AF_UNIX stream socket that is read to its end, or a directory of files.
    Path(PathBuf),
    /// A file of this name in the first of these directories that has one.
    Stored {
        /// Name of the file.
        name: String,
        /// Absolute directories, in the order they are searched.
        directories: Vec<PathBuf>,
    },
}

/// Contents are secrets: they are counted, not shown.
impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Path(path) => write!(f, "Path({path:?})"),
            Self::Stored { name, directories } => write!(f, "Stored({name:?} in {directories:?})"),
        }
    }
}

impl Credential {
    /// Longest content, in bytes (systemd's own bound).
    pub const MAX: usize = 1 << 20;
    /// Most bytes of all credentials of a machine.
    pub const TOTAL_MAX: usize = 16 << 20;

    /// Whether `name` can be a credential's: a file name of printable ASCII without `:`, at most 255 bytes.
    pub fn is_name(name: &str) -> bool {
        let letters = name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b':' && b != b'/');
        letters && !name.is_empty() && name != "." && name != ".." && name.len() <= 255
    }
}

#[cfg(test)]
mod tests {
    use super::Credential;

    #[test]
    fn names() {
        for good in ["a", "tls.cert", "a b", "..x", &"x".repeat(255)] {
            assert!(Credential::is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "ä", "a\nb", "a\0b", &"x".repeat(256)] {
            assert!(!Credential::is_name(bad), "{bad:?}");
        }
    }
}
