//! What is handed over, as lines of words; moments as microseconds.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Lines being written, and descriptors that go with them.
#[derive(Debug, Default)]
pub struct Saved<'a> {
    /// The lines.
    pub text: String,
    /// What is named in them.
    pub descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Saved<'a> {
    /// A line of words.
    pub fn line(&mut self, words: &[&str]) {
        for (number, word) in words.iter().enumerate() {
            if number > 0 {
                self.text.push('\t');
            }
            for c in word.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '\t' => self.text.push_str("\\t"),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
        }
        self.text.push('\n');
    }

    /// Keeps a descriptor open; its number.
    pub fn fd(&mut self, fd: BorrowedFd<'a>) -> String {
        self.descriptors.push(fd);
        fd.as_raw_fd().to_string()
    }
}

/// The words of a line.
pub fn words(line: &str) -> Vec<String> {
    let word = |text: &str| {
        let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
        while let Some(c) = chars.next() {
            match (c, if c == '\\' { chars.next() } else { None }) {
                (_, Some('t')) => out.push('\t'),
                (_, Some('n')) => out.push('\n'),
                (_, Some(other)) => out.push(other),
                (c, None) => out.push(c),
            }
        }
        out
    };
    line.split('\t').map(word).collect()
}

/// Microseconds from now, which may be negative.
pub(super) fn from_now(at: Option<Instant>) -> String {
    let now = Instant::now();
    at.map_or_else(String::new, |at| match at.checked_duration_since(now) {
        Some(ahead) => ahead.as_micros().to_string(),
        None => format!("-{}", now.saturating_duration_since(at).as_micros()),
    })
}

pub(super) fn to_instant(text: &str) -> Option<Instant> {
    match text.strip_prefix('-') {
        Some(past) => Instant::now().checked_sub(Duration::from_micros(past.parse().ok()?)),
        None => Instant::now().checked_add(Duration::from_micros(text.parse().ok()?)),
    }
}

pub(super) fn real(at: Option<SystemTime>) -> String {
    at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or_else(String::new, |d| d.as_micros().to_string())
}

pub(super) fn to_real(text: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_micros(text.parse().ok()?))
}

pub(super) fn span(limit: Option<Duration>) -> String {
    limit.map_or_else(String::new, |limit| limit.as_micros().to_string())
}

/// A word of a line; nothing where there is none.
pub(super) fn at(line: &[String], place: usize) -> &str {
    line.get(place).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        let mut out = Saved::default();
        let said = ["unit", "a\tb", "with\ttab and\nline \\", "", "\u{e9}"];
        out.line(&said);
        assert_eq!(out.text.lines().count(), 1);
        assert_eq!(words(out.text.trim_end_matches('\n')), said);
        let soon = Instant::now() + Duration::from_secs(5);
        let again = to_instant(&from_now(Some(soon))).unwrap();
        assert!(again.max(soon) - again.min(soon) < Duration::from_millis(50));
        let past = Instant::now() - Duration::from_secs(1);
        assert!(from_now(Some(past)).starts_with('-') && to_instant(&from_now(Some(past))).unwrap() < Instant::now());
        assert_eq!((from_now(None).as_str(), to_instant("")), ("", None));
    }
}
