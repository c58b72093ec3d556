//! The LXC dialect: a container's `config` file as keys that are set, got, cleared and listed, and as the text it was loaded from. Pure.
//!
//! ```text
//!  text ── Config::load ──► each line through the row of its key ──► values in the order they were set
//!             ▲                        │                                  get, keys, typed reading
//!   Files: what lxc.include names      └──► the lines as written  ──────► Config::text, what is saved
//! ```
//! Every key is one row of [`keys::ROWS`], of an interface [`keys::NET`]: its name, what a value may be, what is got when it is not
//! set. A value that a row refuses changes nothing. What liblxc 5.0.2 answers is recorded in `tests/stock.txt`; where this differs,
//! `tests.rs` says why.

#![forbid(unsafe_code)]

mod config;
mod file;
pub mod global;
pub mod keys;
pub mod legacy;
pub mod machine;
#[cfg(test)]
mod tests;
pub mod usernet;
mod values;
pub mod wire;

pub use config::Config;
pub use file::{Files, Loaded, setting};

use std::fmt;

/// A setting that is refused: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The key as it was written.
    pub key: String,
    /// The value as it was written; empty: it is about the key.
    pub value: String,
    /// The cause.
    pub why: &'static str,
}

impl Refused {
    pub(crate) fn key(key: &str, why: &'static str) -> Refused {
        Refused { key: key.to_owned(), value: String::new(), why }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.is_empty() {
            true => write!(f, "{}: {}", self.key, self.why),
            false => write!(f, "{} = {}: {}", self.key, self.value, self.why),
        }
    }
}

impl std::error::Error for Refused {}

/// A file that is refused: where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file; empty: the text was not from a file.
    pub file: String,
    /// Line, from 1; 0: the file as a whole.
    pub line: usize,
    /// The cause.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.why),
            line => write!(f, "{}:{line}: {}", self.file, self.why),
        }
    }
}

impl std::error::Error for Fault {}
