//! The log store as its writer sees it: files that grow to a size, the oldest of which go.
//!
//! Entries are gathered and written in one piece per turn of the loop. A write that fails half-way is cut off again; on a full disk
//! the oldest file goes, and when that does not help entries are counted as dropped and the loop goes on. Nothing is synchronised:
//! what a crash of the kernel tears off, readers leave out by its checksum.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hostel_spec::Arrange as _;

use super::record::{self, Field, HEADER, Header, RECORD_MAX, Stamp};

/// End of the names of the files.
pub const SUFFIX: &str = ".hostlog";
/// All files together take at most this much, or a tenth of their file system.
const TOTAL_MAX: u64 = 64 << 20;
/// No fewer bytes than this, however small the file system.
const TOTAL_MIN: u64 = 512 << 10;
/// Longest file; readers take no longer ones.
const FILE_MAX: u64 = 3 << 20;
/// Entries that wait are written at the latest when they take so many bytes.
const WAITING_MAX: usize = 64 << 10;

/// The number in a file's name.
pub fn number_of(name: &str) -> Option<u32> {
    name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 8).and_then(|digits| digits.parse().ok())
}

/// The writer.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    header: Header,
    boot: [u8; 16],
    sequence: u64,
    /// Files there are, the oldest first, with their lengths; the last is written to when `file` is there.
    files: Vec<(u32, u64)>,
    file: Option<File>,
    /// Number of the next file.
    next: u32,
    waiting: Vec<u8>,
    /// Entries in `waiting`.
    count: u64,
    total_max: u64,
    file_max: u64,
    /// Entries that could not be written since they were last told of.
    pub dropped: u64,
}

impl Store {
    /// Uses `directory`, which is made if need be. Only files of its own are touched; the first is made with the first entry.
    pub fn open(directory: &Path, header: Header, boot: [u8; 16]) -> std::io::Result<Store> {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        let stat = rustix::fs::statvfs(directory)?;
        if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Err(rustix::io::Errno::ROFS.into());
        }
        rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)?;
        let total_max = (stat.f_blocks.saturating_mul(stat.f_frsize) / 10).clamp(TOTAL_MIN, TOTAL_MAX);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if let (Some(number), Ok(metadata)) = (entry.file_name().to_str().and_then(number_of), entry.metadata()) {
                files.push((number, metadata.len()));
            }
        }
        files.arrange();
        let next = files.last().map_or(1, |(number, _)| number.saturating_add(1));
        let mut store = Store {
            directory: directory.to_owned(),
            header,
            boot,
            sequence: 0,
            files,
            file: None,
            next,
            waiting: Vec::new(),
            count: 0,
            total_max,
            file_max: (total_max / 16).clamp(64 << 10, FILE_MAX),
            dropped: 0,
        };
        store.vacuum();
        Ok(store)
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes an entry; it is written by [`Store::flush`], or before when there are many.
    pub fn append(&mut self, fields: &[Field<'_>]) {
        self.sequence += 1;
        let stamp = Stamp { realtime: realtime(), monotonic: monotonic(), sequence: self.sequence, boot: self.boot };
        record::encode(&mut self.waiting, &stamp, fields);
        self.count += 1;
        if self.waiting.len() >= WAITING_MAX {
            self.flush();
        }
    }

    /// Writes what waits.
    pub fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.waiting);
        let count = std::mem::take(&mut self.count);
        // once more when room was made
        let written = self.write(&bytes).is_ok() || self.drop_oldest() && self.write(&bytes).is_ok();
        if !written {
            self.dropped += count;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.files.last().is_some_and(|(_, length)| length + bytes.len() as u64 > self.file_max) {
            self.file = None;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.begin_file()?,
        };
        let known = self.files.last().map_or(0, |(_, length)| *length);
        if let Err(e) = file.write_all(bytes) {
            // what stands there half is cut off; if that fails, too, nothing more is written behind it
            if file.set_len(known).is_ok() {
                self.file = Some(file);
            }
            return Err(e);
        }
        if let Some((_, length)) = self.files.last_mut() {
            *length += bytes.len() as u64;
        }
        self.file = Some(file);
        Ok(())
    }

    fn begin_file(&mut self) -> std::io::Result<File> {
        let number = self.next;
        let path = self.path(number);
        let mut file = File::options().append(true).create_new(true).mode(0o640).open(&path)?;
        if let Err(e) = file.write_all(&self.header.encode()) {
            let _ = std::fs::remove_file(&path);
            return Err(e);
        }
        self.next = number.saturating_add(1);
        self.files.push((number, HEADER as u64));
        self.vacuum();
        Ok(file)
    }

    /// The next entry goes to a new file.
    pub fn rotate(&mut self) {
        self.flush();
        self.file = None;
    }

    /// Removes the oldest files until there is room for one more.
    fn vacuum(&mut self) {
        // somebody else may have removed some
        while self.files.iter().map(|(_, length)| length).sum::<u64>() + self.file_max > self.total_max || self.files.len() > 256 {
            if !self.drop_oldest() {
                return;
            }
        }
    }

    /// Removes the oldest file, if it is not the one that is written.
    fn drop_oldest(&mut self) -> bool {
        if self.files.is_empty() || self.files.len() == 1 && self.file.is_some() {
            return false;
        }
        let (number, _) = self.files.remove(0);
        let _ = std::fs::remove_file(self.path(number));
        true
    }

    fn path(&self, number: u32) -> PathBuf {
        self.directory.join(format!("{number:08}{SUFFIX}"))
    }
}

/// Microseconds since 1970.
pub fn realtime() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}

/// Microseconds since the boot.
pub fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// The kernel's boot id; zeros when it is not told.
pub fn boot_id() -> [u8; 16] {
    id(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default())
}

/// An id of 32 digits, with or without dashes; zeros when it is none.
pub fn id(text: &str) -> [u8; 16] {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let number = if digits.len() == 32 { u128::from_str_radix(&digits, 16).unwrap_or(0) } else { 0 };
    number.to_be_bytes()
}

/// The header of files written from now on.
pub fn own_header() -> Header {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let machine = id(&std::fs::read_to_string("/etc/machine-id").unwrap_or_default());
    let half = || hostel_sys::tree::random_u64().unwrap_or(0).to_le_bytes();
    let mut series = [0; 16];
    series[..8].copy_from_slice(&half());
    series[8..].copy_from_slice(&half());
    Header { machine, series, host }
}

// a record always fits into a file
const _: () = assert!((RECORD_MAX + WAITING_MAX + HEADER) as u64 <= FILE_MAX);

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
