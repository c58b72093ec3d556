//! What the user wrote, in order, before anything is made of it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use hostel_unit::quote;

use crate::error::UsageError;
use crate::options::OptionRow;

/// Where an entry was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Argument number, counted from 1 as a shell's `$1`.
    Argv(usize),
}

/// One option as written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which option.
    pub row: &'static OptionRow,
    /// Its value; `None` = written without one, `Some("")` = written with an empty one.
    pub value: Option<String>,
    /// Where.
    pub origin: Origin,
}

/// A command line after the getopt fold: options in order, then the payload's words.
#[derive(Debug, Clone, Default)]
pub struct Doc {
    /// Options in the order given.
    pub entries: Vec<Entry>,
    /// Everything after the options: the payload's program and arguments.
    pub payload: Vec<OsString>,
    /// Where folding stopped. What stands before it counts first, as in a program that acts option by option:
    /// `--help --nonsense` shows the help.
    pub stopped: Option<UsageError>,
}

impl Doc {
    /// One line per entry, for people and for tests (`--dump-doc`).
    pub fn dump(&self) -> String {
        let mut out = String::new();
        for entry in &self.entries {
            let Origin::Argv(at) = entry.origin;
            let name = entry.row.name();
            let name = name.trim_end_matches('=');
            // writing to a String cannot fail
            let _ = match &entry.value {
                Some(value) => writeln!(out, "argv[{at}] {name} = {}", quote(value)),
                None => writeln!(out, "argv[{at}] {name}"),
            };
        }
        for (i, word) in self.payload.iter().enumerate() {
            let _ = writeln!(out, "payload[{i}] {}", shown(word));
        }
        if let Some(error) = &self.stopped {
            let _ = writeln!(out, "stopped: {error}");
        }
        out
    }
}

/// An argument on one line; bytes that are no UTF-8 become U+FFFD.
fn shown(word: &OsStr) -> String {
    quote(&word.to_string_lossy())
}
