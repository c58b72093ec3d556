//! The console log: what a machine wrote to its console, bounded in size, readable while it grows.
//!
//! Two files in the state directory: `console.log`, appended to, and `console.log.1`, the one before. Each holds at
//! most half of the limit. Writing never fails towards the machine: what cannot be written is counted.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{self, Errno};

const CURRENT: &str = "console.log";
const ROTATED: &str = "console.log.1";
/// Limit of both files together when nothing else is said: 64 MiB.
pub const DEFAULT_LIMIT: u64 = 64 << 20;
const SMALLEST_HALF: u64 = 16 << 10;

/// The writing side.
#[derive(Debug)]
pub struct Log {
    dir: OwnedFd,
    file: OwnedFd,
    size: u64,
    half: u64,
    lost: u64,
    copy: Option<OwnedFd>,
    /// How much was copied.
    copied: u64,
}

/// What stands in the copy instead of the rest.
const FULL: &[u8] = b"\nhostel: this log is full (64 MiB): what follows is in `hostel logs` only\n";

impl Log {
    /// Opens or creates the log in `dir`, mode 0600; goes on at its end. `limit` is in bytes, for both files together;
    /// less than 32 KiB counts as 32 KiB.
    pub fn open(dir: BorrowedFd<'_>, limit: u64) -> io::Result<Log> {
        let dir = rustix::io::fcntl_dupfd_cloexec(dir, 3)?;
        let file = open_for_append(dir.as_fd(), OFlags::empty())?;
        let size = regular_size(file.as_fd())?;
        Ok(Log { dir, file, size, half: (limit / 2).max(SMALLEST_HALF), lost: 0, copy: None, copied: 0 })
    }

    /// What is appended goes to this file, too, as far as it takes it, until it has [`DEFAULT_LIMIT`] bytes.
    pub fn copy_to(&mut self, file: Option<OwnedFd>) {
        self.copied = file.as_ref().and_then(|file| regular_size(file.as_fd()).ok()).unwrap_or(0);
        self.copy = file;
    }

    fn copy(&mut self, bytes: &[u8]) {
        let Some(copy) = &self.copy else { return };
        let room = DEFAULT_LIMIT.saturating_sub(self.copied).min(bytes.len() as u64) as usize;
        let _ = io::retry_on_intr(|| rustix::io::write(copy, &bytes[..room]));
        self.copied += room as u64;
        if room < bytes.len() {
            let _ = io::retry_on_intr(|| rustix::io::write(copy, FULL));
            self.copy = None;
        }
    }

    /// Appends, in pieces when the size limit falls inside.
    pub fn append(&mut self, mut bytes: &[u8]) {
        self.copy(bytes);
        while !bytes.is_empty() {
            if self.size >= self.half && self.rotate().is_err() {
                self.lost += bytes.len() as u64;
                return;
            }
            let room = (self.half - self.size).min(bytes.len() as u64) as usize;
            match io::retry_on_intr(|| rustix::io::write(&self.file, &bytes[..room])) {
                Ok(n) if n > 0 => {
                    self.size += n as u64;
                    bytes = &bytes[n..];
                }
                _ => {
                    self.lost += bytes.len() as u64;
                    return;
                }
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        rustix::fs::renameat(&self.dir, CURRENT, &self.dir, ROTATED)?;
        self.file = open_for_append(self.dir.as_fd(), OFlags::EXCL)?;
        self.size = 0;
        Ok(())
    }

    /// Bytes that could not be written (disk full).
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// A reader of the last `bytes` bytes.
    pub fn tail(&self, bytes: u64) -> io::Result<LogReader> {
        LogReader::open(self.dir.as_fd(), Some(bytes))
    }
}

fn open_for_append(dir: BorrowedFd<'_>, extra: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | extra;
    rustix::fs::openat(dir, CURRENT, flags, Mode::RUSR | Mode::WUSR)
}

fn regular_size(file: BorrowedFd<'_>) -> io::Result<u64> {
    let stat = rustix::fs::fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(stat.st_size.max(0) as u64)
}

/// The reading side, also for other processes; follows rotation.
#[derive(Debug)]
pub struct LogReader {
    dir: OwnedFd,
    file: OwnedFd,
    at: u64,
}

impl LogReader {
    /// Starts `last` bytes before the end, or at the beginning of what is kept.
    pub fn open(dir: BorrowedFd<'_>, last: Option<u64>) -> io::Result<LogReader> {
        let dir = rustix::io::fcntl_dupfd_cloexec(dir, 3)?;
        let current = open_for_reading(dir.as_fd(), CURRENT)?;
        let size = regular_size(current.as_fd())?;
        if let Some(skip) = last.and_then(|last| size.checked_sub(last)) {
            return Ok(LogReader { dir, file: current, at: skip });
        }
        let Ok(rotated) = open_for_reading(dir.as_fd(), ROTATED) else {
            return Ok(LogReader { dir, file: current, at: 0 });
        };
        let wanted = last.map_or(u64::MAX, |last| last - size);
        let at = regular_size(rotated.as_fd())?.saturating_sub(wanted);
        Ok(LogReader { dir, file: rotated, at })
    }

    /// Reads on; 0 is the end of the log for now.
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.read_here(buf)?;
            if n > 0 || buf.is_empty() {
                return Ok(n);
            }
            let next = match open_for_reading(self.dir.as_fd(), CURRENT) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(0), // between rename and create, or the machine is gone
                Err(e) => return Err(e),
            };
            if same_file(self.file.as_fd(), next.as_fd())? {
                return Ok(0);
            }
            // Rotated meanwhile: what was appended before the rename and after our read comes first.
            let n = self.read_here(buf)?;
            if n > 0 {
                return Ok(n);
            }
            self.file = next;
            self.at = 0;
        }
    }

    fn read_here(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = io::retry_on_intr(|| rustix::io::pread(&self.file, &mut *buf, self.at))?;
        self.at += n as u64;
        Ok(n)
    }
}

fn open_for_reading(dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty())
}

fn same_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> io::Result<bool> {
    let (a, b) = (rustix::fs::fstat(a)?, rustix::fs::fstat(b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}
