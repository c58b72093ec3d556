//! The overlay-boot dialect: a subhost's conf file, of 2022 or of 1.6, becomes a MachineSpec. Pure: nothing is read, run or evaluated.
//!
//! ```text
//!  text ── Lines::parse ──► variables as written, warnings with their lines
//!            set()   ◄───── what the `!commands` among them print; whoever calls us runs those, once
//!          Conf::of  ─────► typed and checked: every mistake is told before anything is touched
//!          Conf::spec ────► MachineSpec
//! ```

#![forbid(unsafe_code)]

mod cables;
mod compile;
mod conf;
mod lines;
mod start;
#[cfg(test)]
mod tests;
pub mod variables;

pub use compile::Assembly;
pub use conf::{Conf, Lower, Net, RunSize, Share, Upper};
pub use lines::{Lines, Warning};
pub use start::Start;

use std::fmt;

/// A conf file that is refused: where, which variable, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Line, from 1; 0: it is about no line.
    pub line: usize,
    /// The variable.
    pub variable: &'static str,
    /// The cause.
    pub why: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.variable, self.why),
            line => write!(f, "line {line}: {}: {}", self.variable, self.why),
        }
    }
}

impl std::error::Error for Error {}

/// The last part of a conf file's path without `.conf`: the machine's name when nothing else is said.
pub fn name_of(file: &std::path::Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.strip_suffix(".conf").map(str::to_owned).unwrap_or(name)
}
