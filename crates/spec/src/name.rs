//! Machine names and host names: one validator for every entry point.

use serde::{Deserialize, Serialize};

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use name {name:?}: {why}")]
pub struct NameError {
    /// The name as given, undecodable bytes replaced.
    pub name: String,
    /// Why it is refused.
    pub why: &'static str,
}

/// A machine's name: 1 to 64 ASCII letters, digits, `-`, `_`, `.`; starts with a letter or digit; no `..`, no trailing dot.
///
/// The same grammar is applied to names that come from the command line, from a state file or over a socket,
/// because names become path components.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineName(String);

impl MachineName {
    /// Longest name, in bytes (as systemd: HOST_NAME_MAX).
    pub const MAX: usize = 64;

    /// Checks `name` against the grammar.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let bytes = name.as_bytes();
        let refuse = |why| Err(NameError { name: name.clone(), why });
        if bytes.is_empty() {
            return refuse("it is empty");
        }
        if bytes.len() > Self::MAX {
            return refuse("it is longer than 64 characters");
        }
        if !bytes[0].is_ascii_alphanumeric() {
            return refuse("it must start with a letter or a digit");
        }
        if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return refuse("only letters, digits, '-', '_' and '.' are allowed");
        }
        if name.contains("..") || name.ends_with('.') {
            return refuse("it has an empty part between dots");
        }
        Ok(Self(name))
    }

    /// The name a tree's own name gives its machine: what a machine's name cannot have is dropped, as systemd-nspawn does.
    pub fn derive(text: &str) -> Result<Self, NameError> {
        let cleaned: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
        let cleaned = cleaned.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        Self::new(&cleaned[..cleaned.len().min(Self::MAX)])
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for MachineName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl TryFrom<String> for MachineName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}
impl From<MachineName> for String {
    fn from(name: MachineName) -> String {
        name.0
    }
}

/// A UTS host name: as a machine name, but a single trailing dot is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// Checks `name`; a trailing dot is dropped.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let mut name = name.into();
        if name.len() > 1 && name.ends_with('.') && !name.ends_with("..") {
            name.pop();
        }
        MachineName::new(name).map(|n| Self(n.0))
    }
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl TryFrom<String> for Hostname {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}
impl From<Hostname> for String {
    fn from(name: Hostname) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "debian-12", "A.b_c", "0", &"x".repeat(64)] {
            assert!(MachineName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "-a", ".a", "a..b", "a.", "a b", "a\0b", "ü", "$(id)", &"x".repeat(65), "_a", "a\n"] {
            assert!(MachineName::new(bad).is_err(), "{bad:?}");
        }
        for (tree, name) in [("debian", "debian"), (".hidden", "hidden"), ("my tree (1)", "mytree1"), ("a-", "a"), ("ünï-x", "n-x")] {
            assert_eq!(MachineName::derive(tree).unwrap().as_str(), name);
        }
        assert_eq!(MachineName::derive(&"y".repeat(70)).unwrap().as_str().len(), 64);
        for nothing in ["", "..", "äöü", "a..b"] {
            assert!(MachineName::derive(nothing).is_err(), "{nothing:?}");
        }
        assert_eq!(Hostname::new("a.b.").unwrap().as_str(), "a.b");
        assert!(Hostname::new("a..").is_err());
    }
}
