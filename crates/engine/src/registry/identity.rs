//! Which process is meant: a pid that survives being written down.
//!
//! A number alone is reused; number + start time + boot id is not. Read from the *host's* /proc, never a machine's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::str::SplitAsciiWhitespace;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use hostel_sys::clone::{pidfd_open, pidfd_send_signal};

/// A process of this boot: its pid in the host's pid namespace, and when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process number, > 0.
    pub pid: i32,
    /// Clock ticks after boot (field 22 of /proc/PID/stat).
    pub start: u64,
}

/// What is used of /proc/PID/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z`, …
    pub state: u8,
    /// Parent.
    pub parent: i32,
    /// Clock ticks after boot.
    pub start: u64,
}

impl Stat {
    /// The fields of the file's text (proc_pid_stat(5)) from the third on: the name before may hold anything, parentheses and line ends too.
    pub fn fields(text: &[u8]) -> Option<SplitAsciiWhitespace<'_>> {
        let after = text.iter().rposition(|b| *b == b')')? + 2;
        Some(std::str::from_utf8(text.get(after..)?).ok()?.split_ascii_whitespace())
    }

    /// Parses the file's text.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = Self::fields(text)?;
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        // state is field 3 and the parent 4; the start time is field 22.
        let start = fields.nth(17)?.parse().ok()?;
        Some(Self { state, parent, start })
    }

    /// Reads it for `pid`; `None` when there is no such process.
    pub fn read(pid: i32) -> io::Result<Option<Self>> {
        let mut buffer = [0u8; 1024];
        match read_small(&format!("/proc/{pid}/stat"), &mut buffer) {
            Ok(text) => Self::parse(text).map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)),
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The first bytes of a file of /proc or /sys, as many as fit into `buffer`: with one record, as here, one read gives them.
pub(crate) fn read_small<'b>(path: &str, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        match rustix::io::read(&file, &mut *buffer) {
            Ok(length) => return Ok(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

impl ProcessId {
    /// The identity of the process that has `pid` now; `None` when there is none.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        if pid <= 0 {
            return Ok(None);
        }
        Ok(Stat::read(pid)?.map(|stat| Self { pid, start: stat.start }))
    }

    /// This process.
    pub fn current() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self::of(pid)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Opens the process if it still is the one meant and has not ended; a zombie has.
    pub fn open(self) -> io::Result<Option<OwnedFd>> {
        if self.pid <= 0 {
            return Ok(None);
        }
        let pidfd = match pidfd_open(self.pid) {
            Ok(fd) => fd,
            // EINVAL: the number belongs to a thread that is no process.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::SRCH | Errno::INVAL)) => return Ok(None),
            Err(e) => return Err(e),
        };
        match Stat::read(self.pid)? {
            Some(stat) if stat.start == self.start && !matches!(stat.state, b'Z' | b'X') => {}
            _ => return Ok(None),
        }
        // If it still exists now, the number cannot have changed hands while its stat was read.
        match pidfd_send_signal(pidfd.as_fd(), 0) {
            Ok(()) => Ok(Some(pidfd)),
            Err(e) if Errno::from_io_error(&e) == Some(Errno::SRCH) => Ok(None),
            // Another user's process is a process.
            Err(e) if Errno::from_io_error(&e) == Some(Errno::PERM) => Ok(Some(pidfd)),
            Err(e) => Err(e),
        }
    }

    /// Whether it runs.
    pub fn is_alive(self) -> bool {
        self.open().is_ok_and(|fd| fd.is_some())
    }
}

/// The id of this boot: 36 characters.
pub fn boot_id() -> io::Result<String> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id.clone());
    }
    let mut buffer = [0u8; 64];
    let text = read_small("/proc/sys/kernel/random/boot_id", &mut buffer)?;
    Ok(ID.get_or_init(|| String::from_utf8_lossy(text).trim().to_owned()).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let tail = "S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3";
        let want = Some(Stat { state: b'S', parent: 7, start: 98765 });
        for name in ["sh", "a b", "a) S 1 (", ")", "", "x\n)"] {
            assert_eq!(Stat::parse(format!("12 ({name}) {tail}").as_bytes()), want, "{name:?}");
        }
        for bad in ["", "12", "12 (sh", "12 (sh)", "12 (sh) ", "12 (sh) S", "12 (sh) S x", "12 (sh) S 7 1 1"] {
            assert_eq!(Stat::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_process_is_itself_and_no_other() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { start: me.start + 1, ..me }.is_alive());
        for pid in [0, -1, i32::MIN, i32::MAX] {
            assert!(!ProcessId { pid, start: 0 }.is_alive(), "{pid}");
        }
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = child.id() as i32;
        let id = ProcessId::of(pid).unwrap().unwrap();
        // A zombie has ended.
        while Stat::read(pid).unwrap().unwrap().state != b'Z' {
            std::thread::yield_now();
        }
        assert!(!id.is_alive());
        child.wait().unwrap();
        assert!(!id.is_alive());
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
