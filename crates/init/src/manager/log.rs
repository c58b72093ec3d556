//! Where what units write goes: to the console with their name before it, and to a bounded file of each unit.
//!
//! One pipe per unit, which outlives its processes. The narrow seam to a log store: [`Log::line`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec};

/// Where the files are.
pub const DIRECTORY: &str = "/run/log/hostel";
/// Longest line; longer ones are cut into several.
const LINE_MAX: usize = 2048;
/// When a unit's file is this long it becomes `UNIT.log.1`, and the one before that goes.
const FILE_MAX: u64 = 256 << 10;
/// Bytes read of one unit before others have their turn.
const TURN: usize = 64 << 10;

/// A unit's pipe.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Pipe {
    /// A fresh one; reading never blocks, writing does, as a full terminal would.
    pub fn new() -> std::io::Result<Pipe> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        Ok(Pipe { read, write, rest: Vec::new() })
    }

    /// The end that is given to processes.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// Reads what is there, in whole lines; with `all` the unfinished last one, too.
    pub fn lines(&mut self, all: bool) -> Vec<String> {
        let mut found = Vec::new();
        let mut buffer = [0u8; 4096];
        let mut taken = 0;
        while taken < TURN {
            let Ok(n) = rustix::io::read(&self.read, &mut buffer) else { break };
            if n == 0 {
                break;
            }
            taken += n;
            for byte in buffer.get(..n).unwrap_or_default() {
                if *byte == b'\n' || self.rest.len() >= LINE_MAX {
                    found.push(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned());
                }
                if *byte != b'\n' {
                    self.rest.push(*byte);
                }
            }
        }
        if all && !self.rest.is_empty() {
            found.push(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned());
        }
        found
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Log {
    /// Whether there is a place for files.
    keeps: bool,
    /// What the console could not take.
    dropped: u64,
    files: BTreeMap<String, (File, u64)>,
}

impl Log {
    /// Makes the directory, if it can be made.
    pub fn open() -> Log {
        Log { keeps: std::fs::create_dir_all(DIRECTORY).is_ok(), ..Log::default() }
    }

    /// One line of a unit. Never blocks, and never fails: what cannot be written is counted.
    pub fn line(&mut self, unit: &str, identifier: &str, pid: Option<i32>, text: &str) {
        let who = pid.map_or_else(|| identifier.to_owned(), |pid| format!("{identifier}[{pid}]"));
        self.console(&format!("{who}: {text}\n"));
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
        self.keep(unit, format!("{micros} {who}: {text}\n").as_bytes());
    }

    /// A line of the manager itself, about a unit or not.
    pub fn own(&mut self, unit: Option<&str>, text: &str) {
        match unit {
            Some(unit) => self.line(unit, "init", None, &format!("{unit}: {text}")),
            None => self.console(&format!("init: {text}\n")),
        }
    }

    fn keep(&mut self, unit: &str, bytes: &[u8]) {
        if !self.keeps {
            return;
        }
        let path = format!("{DIRECTORY}/{unit}.log");
        if self.files.get(unit).is_some_and(|(_, length)| *length >= FILE_MAX) {
            self.files.remove(unit);
            let _ = std::fs::rename(&path, format!("{path}.1"));
        }
        // descriptors are bounded, whatever units there are
        if self.files.len() > 256 {
            self.files.clear();
        }
        if !self.files.contains_key(unit)
            && let Ok(file) = File::options().append(true).create(true).open(&path)
        {
            let length = file.metadata().map_or(0, |m| m.len());
            self.files.insert(unit.to_owned(), (file, length));
        }
        if let Some((file, length)) = self.files.get_mut(unit) {
            match file.write_all(bytes) {
                Ok(()) => *length += bytes.len() as u64,
                Err(_) => self.dropped += 1,
            }
        }
    }

    /// A line to the console, if it takes one now.
    pub fn console(&mut self, text: &str) {
        let out = rustix::stdio::stdout();
        let mut ready = [PollFd::new(&out, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let takes = rustix::event::poll(&mut ready, Some(&now)).is_ok_and(|n| n > 0) && ready[0].revents().contains(PollFlags::OUT);
        if !takes || rustix::io::write(out, tame(text).as_bytes()).is_err() {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0 {
            let lost = std::mem::take(&mut self.dropped);
            let _ =
                rustix::io::write(rustix::stdio::stdout(), format!("init: {lost} lines were dropped: the console or its disk was full\n").as_bytes());
        }
    }
}

/// Without what would make a terminal do something.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// The last lines that were kept of a unit, the oldest first: microseconds since 1970, and the line.
pub fn last_lines(unit: &str, count: usize) -> Vec<(u64, String)> {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for end in [".1", ""] {
        let bytes = std::fs::read(format!("{DIRECTORY}/{unit}.log{end}")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        lines.extend(text.lines().filter_map(|line| line.split_once(' ')).filter_map(|(at, line)| Some((at.parse().ok()?, line.to_owned()))));
    }
    let skip = lines.len().saturating_sub(count);
    lines.split_off(skip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_give_lines() {
        let mut pipe = Pipe::new().unwrap();
        rustix::io::write(pipe.writer(), b"one\ntw").unwrap();
        assert_eq!(pipe.lines(false), ["one"]);
        rustix::io::write(pipe.writer(), b"o\n\nthree").unwrap();
        assert_eq!(pipe.lines(false), ["two", ""]);
        assert_eq!(pipe.lines(true), ["three"]);
        rustix::io::write(pipe.writer(), &[b'x'; LINE_MAX + 5]).unwrap();
        let found = pipe.lines(true);
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [LINE_MAX, 5]);
        assert_eq!(tame("a\x1b[1m\tb\n"), "a\u{fffd}[1m\tb\n");
    }
}
