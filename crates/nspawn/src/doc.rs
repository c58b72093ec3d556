//! What the user wrote, in order, before anything is made of it.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use hostel_unit::quote;

use crate::error::UsageError;
use crate::options::OptionRow;

/// Where an entry was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Argument number, counted from 1 as a shell's `$1`.
    Argv(usize),
    /// A settings file.
    File {
        /// Where the file is, fit for a message.
        path: Arc<str>,
        /// Counted from 1.
        line: u32,
        /// The key as the file's section spells it, without its `=`.
        key: Arc<str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argv(at) => write!(f, "argv[{at}]"),
            Self::File { path, line, .. } => write!(f, "{path}:{line}"),
        }
    }
}

/// One option as written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which option.
    pub row: &'static OptionRow,
    /// Its value; `None` = written without one, `Some("")` = written with an empty one. A settings file says yes or no of an
    /// option that takes none on a command line.
    pub value: Option<String>,
    /// Where.
    pub origin: Origin,
}

impl Entry {
    /// One line for people: the option as on a command line, whoever wrote it.
    fn shown(&self) -> String {
        let name = self.row.name();
        let name = name.trim_end_matches('=');
        match &self.value {
            Some(value) => format!("{} {name} = {}", self.origin, quote(value)),
            None => format!("{} {name}", self.origin),
        }
    }
}

/// A command line after the getopt fold: options in order, then the payload's words. With settings files merged into it, theirs too.
#[derive(Debug, Clone, Default)]
pub struct Doc {
    /// Options in the order given.
    pub entries: Vec<Entry>,
    /// Everything after the options: the payload's program and arguments.
    pub payload: Vec<OsString>,
    /// The last settings file that wrote the payload; `None`: the command line did.
    pub payload_origin: Option<Origin>,
    /// What does not count, because the command line (or, with `--settings=override`, a settings file) has its group.
    pub overridden: Vec<Entry>,
    /// Where folding stopped. What stands before it counts first, as in a program that acts option by option:
    /// `--help --nonsense` shows the help.
    pub stopped: Option<UsageError>,
}

impl Doc {
    /// One line per entry, for people and for tests (`--dump-doc`).
    pub fn dump(&self) -> String {
        let mut out = String::new();
        // writing to a String cannot fail
        for entry in &self.entries {
            let _ = writeln!(out, "{}", entry.shown());
        }
        for entry in &self.overridden {
            let _ = writeln!(out, "overridden: {}", entry.shown());
        }
        for (i, word) in self.payload.iter().enumerate() {
            let _ = match &self.payload_origin {
                Some(origin) => writeln!(out, "{origin} payload[{i}] {}", shown(word)),
                None => writeln!(out, "payload[{i}] {}", shown(word)),
            };
        }
        if let Some(error) = &self.stopped {
            let _ = writeln!(out, "stopped: {error}");
        }
        out
    }

    /// What settings files say of this machine, in order: `(PATH:LINE, Key=value)`.
    pub fn settings(&self) -> Vec<(String, String)> {
        let entries = self.entries.iter().map(|e| (&e.origin, e.value.clone().unwrap_or_default()));
        let words = self.payload.iter().map(|word| shown(word)).collect::<Vec<_>>().join(" ");
        let payload = self.payload_origin.iter().map(|origin| (origin, words.clone()));
        let of_file = |(origin, value): (&Origin, String)| match origin {
            Origin::File { key, .. } => {
                // `LimitCORE=` became `--rlimit=CORE=`
                let limit = key.strip_prefix("Limit").and_then(|name| value.strip_prefix(name)?.strip_prefix('='));
                Some((origin.to_string(), format!("{key}={}", limit.unwrap_or(&value))))
            }
            Origin::Argv(_) => None,
        };
        entries.chain(payload).filter_map(of_file).collect()
    }
}

/// An argument on one line; bytes that are no UTF-8 become U+FFFD.
fn shown(word: &OsStr) -> String {
    quote(&word.to_string_lossy())
}
