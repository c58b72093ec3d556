//! Files of sections with `Key=value` lines: unit files, `.nspawn` files, their drop-ins (systemd.syntax(7)).
//!
//! ```text
//!  bytes ──► lines ──► logical lines ──► sections
//!            (\n \r \0) (comments out,   (order kept, nothing merged,
//!                        \ joins)         every assignment with its line)
//! ```
//! What a key means, and that a later file or an empty value takes something back, is the reader's business.

use std::fmt;

use crate::printable;

mod lines;

/// Longest line accepted, continuations included, in bytes (as systemd).
pub const LINE_MAX: usize = 1 << 20;

/// White space around keys, values and lines.
const BLANK: &[char] = &[' ', '\t', '\n', '\r'];

/// One file as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct File {
    /// Its sections in order; a header that is repeated makes a section of its own.
    pub sections: Vec<Section>,
    /// Lines that say nothing, each to be warned about and skipped.
    pub faults: Vec<Fault>,
}

/// A header and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Without the brackets.
    pub name: String,
    /// Line of the header, counted from 1.
    pub line: u32,
    /// In order.
    pub assignments: Vec<Assignment>,
}

/// One `Key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What is before the first `=`.
    pub key: String,
    /// What is after it, white space around it removed; empty text usually takes earlier values back.
    pub value: String,
    /// The line on which it begins, counted from 1.
    pub line: u32,
}

/// A line that is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Why a whole file is refused: a file whose structure is unclear must not be half obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// Counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for FileError {}

impl File {
    /// Parses the bytes of a file.
    pub fn parse(bytes: &[u8]) -> Result<File, FileError> {
        let mut file = File::default();
        for logical in lines::logical(bytes) {
            let (line, bytes) = logical?;
            let text = std::str::from_utf8(&bytes).map_err(|_| FileError { line, why: "it is not UTF-8".to_owned() })?;
            file.take(line, text.trim_matches(BLANK))?;
        }
        Ok(file)
    }

    /// Every section of this name, in order.
    pub fn named<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f Section> {
        self.sections.iter().filter(move |section| section.name == name)
    }

    fn take(&mut self, line: u32, text: &str) -> Result<(), FileError> {
        if text.is_empty() {
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix('[') {
            let name = section_name(rest).map_err(|why| FileError { line, why: format!("the section header {} {why}", printable(text)) })?;
            self.sections.push(Section { name: name.to_owned(), line, assignments: Vec::new() });
            return Ok(());
        }
        let mut fault = |why| self.faults.push(Fault { line, why });
        let Some((key, value)) = text.split_once('=') else {
            fault("there is no '=' in it");
            return Ok(());
        };
        let key = key.trim_matches(BLANK);
        match self.sections.last_mut() {
            _ if key.is_empty() => fault("there is no key before the '='"),
            None => fault("it stands before the first section"),
            Some(section) => {
                section.assignments.push(Assignment { key: key.to_owned(), value: value.trim_matches(BLANK).to_owned(), line });
            }
        }
        Ok(())
    }
}

/// What stands between the brackets; `rest` is the line after the first one.
fn section_name(rest: &str) -> Result<&str, &'static str> {
    let name = rest.strip_suffix(']').ok_or("does not end in a bracket")?;
    if name.chars().any(|c| c.is_control() || matches!(c, '"' | '\'' | '\\')) {
        return Err("has a quote, a backslash or a control character in it");
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
