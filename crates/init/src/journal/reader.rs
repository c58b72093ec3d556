//! The log store as its readers see it: files of some directories of a tree, in the order of their entries.

use std::os::fd::OwnedFd;

use hostel_spec::Arrange as _;

use super::record::{self, Entry, HEADER, Header};
use super::store::number_of;
use crate::root::{Root, RootError};

/// One file of a store.
#[derive(Debug)]
pub struct StoreFile {
    /// Its path in the tree.
    pub path: String,
    number: u32,
    /// Bytes it takes.
    pub length: u64,
    /// Realtime of its first entry, in microseconds; 0 when it has none.
    first: u64,
}

impl StoreFile {
    /// Realtime of its first entry, in microseconds; 0 when it has none.
    pub fn first_entry(&self) -> u64 {
        self.first
    }
}

/// A file that was read.
#[derive(Debug)]
pub struct Loaded {
    /// What is the same in all its entries.
    pub header: Header,
    bytes: Vec<u8>,
    offsets: Vec<u32>,
    /// Bytes up to the end of the last whole record.
    end: usize,
}

impl Loaded {
    /// Finds the records; `None`: it is no file of a store.
    pub fn parse(bytes: Vec<u8>) -> Option<Loaded> {
        let header = Header::decode(&bytes)?;
        let mut loaded = Loaded { header, bytes, offsets: Vec::new(), end: HEADER };
        loaded.scan();
        Some(loaded)
    }

    fn scan(&mut self) {
        while let Some(length) = self.bytes.get(self.end..).and_then(record::whole) {
            self.offsets.push(self.end as u32);
            self.end += length;
        }
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.offsets.len()
    }

    /// Whether nothing stands behind the last entry.
    pub fn is_whole(&self) -> bool {
        self.end == self.bytes.len()
    }

    /// One of them.
    pub fn entry(&self, at: usize) -> Option<Entry<'_>> {
        record::decode(self.bytes.get(*self.offsets.get(at)? as usize..)?)
    }
}

/// An entry with what its file says of it.
#[derive(Debug)]
pub struct Found<'f> {
    /// Itself.
    pub entry: Entry<'f>,
    /// Its file's.
    pub header: &'f Header,
}

impl Found<'_> {
    /// The first value of a field, those that follow from elsewhere too.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.entry.get(name)
    }

    /// Where it is, in words that find it again: as systemd's, with numbers of our own.
    pub fn cursor(&self) -> String {
        let stamp = self.entry.stamp;
        format!(
            "s={};i={:x};b={};m={:x};t={:x};x={:x}",
            hex(&self.header.series),
            stamp.sequence,
            hex(&stamp.boot),
            stamp.monotonic,
            stamp.realtime,
            self.entry.crc
        )
    }
}

/// 32 digits.
pub fn hex(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    series: u128,
    sequence: u64,
    realtime: u64,
}

impl Cursor {
    /// Reads what [`Found::cursor`] writes.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (mut series, mut sequence, mut realtime) = (None, None, None);
        for part in text.trim().split(';') {
            let (key, value) = part.split_once('=')?;
            match key {
                "s" => series = u128::from_str_radix(value, 16).ok(),
                "i" => sequence = u64::from_str_radix(value, 16).ok(),
                "t" => realtime = u64::from_str_radix(value, 16).ok(),
                "b" | "m" | "x" => {}
                _ => return None,
            }
        }
        Some(Cursor { series: series?, sequence: sequence?, realtime: realtime? })
    }

    /// Whether an entry is before this place, or at it.
    pub fn compare(&self, found: &Found<'_>) -> std::cmp::Ordering {
        let stamp = found.entry.stamp;
        if u128::from_be_bytes(found.header.series) == self.series {
            stamp.sequence.cmp(&self.sequence)
        } else {
            // never equal: it is another entry
            stamp.realtime.cmp(&self.realtime).then(std::cmp::Ordering::Less)
        }
    }
}

/// What reads.
#[derive(Debug)]
pub struct Reader<'r> {
    root: &'r Root,
    directories: Vec<String>,
    /// The oldest first.
    pub files: Vec<StoreFile>,
}

impl<'r> Reader<'r> {
    /// Looks which files there are. Directories that are missing have none.
    pub fn open(root: &'r Root, directories: &[String]) -> Result<Reader<'r>, RootError> {
        let mut reader = Reader { root, directories: directories.to_vec(), files: Vec::new() };
        reader.look()?;
        Ok(reader)
    }

    /// Looks again.
    fn look(&mut self) -> Result<(), RootError> {
        self.files.clear();
        for directory in &self.directories {
            for (name, _) in self.root.list(directory)?.unwrap_or_default() {
                let Some(number) = number_of(&name) else { continue };
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                // one that went meanwhile
                let Ok(file) = self.root.open_file(&path) else { continue };
                let length = rustix::fs::fstat(&file).map_or(0, |s| s.st_size as u64);
                self.files.push(StoreFile { path, number, length, first: first_time(&file) });
            }
        }
        self.files.arrange_by_key(|file| (file.first, file.number));
        Ok(())
    }

    /// Reads one of the files; `None`: it is gone, or none of ours.
    pub fn load(&self, file: &StoreFile) -> Result<Option<Loaded>, RootError> {
        match self.root.read(&file.path) {
            Ok(bytes) => Ok(Loaded::parse(bytes)),
            Err(e) if e.errno() == Some(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Every entry, the oldest first, until `each` says false.
    pub fn forward(&mut self, each: &mut dyn FnMut(&Found<'_>) -> bool) -> Result<(), RootError> {
        self.walk(false, each)
    }

    /// Every entry, the newest first, until `each` says false.
    pub fn backward(&mut self, each: &mut dyn FnMut(&Found<'_>) -> bool) -> Result<(), RootError> {
        self.walk(true, each)
    }

    fn walk(&mut self, reverse: bool, each: &mut dyn FnMut(&Found<'_>) -> bool) -> Result<(), RootError> {
        for at in 0..self.files.len() {
            let at = if reverse { self.files.len() - 1 - at } else { at };
            let Some(file) = self.files.get(at) else { continue };
            let Some(loaded) = self.load(file)? else { continue };
            for n in 0..loaded.count() {
                let n = if reverse { loaded.count() - 1 - n } else { n };
                let Some(entry) = loaded.entry(n) else { continue };
                if !each(&Found { entry, header: &loaded.header }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Removes the oldest file.
    pub fn remove_oldest(&mut self) -> Result<(), RootError> {
        let Some(file) = self.files.first() else { return Ok(()) };
        self.root.unlink(&file.path)?;
        self.files.remove(0);
        Ok(())
    }

    /// A descriptor that is readable when files change; `None`: there is no directory yet, or the kernel has no more of them.
    pub fn watch(&self) -> Option<OwnedFd> {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        use std::os::fd::AsRawFd;
        let changes = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let mut any = false;
        for path in &self.directories {
            let Ok(directory) = self.root.open_directory(path) else { continue };
            let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::DELETE;
            any |= add_watch(&changes, format!("/proc/self/fd/{}", directory.as_raw_fd()), flags).is_ok();
        }
        any.then_some(changes)
    }

    /// Begins to follow: what is written from now on is given by [`Tail::more`].
    pub fn tail(&self) -> Result<Tail, RootError> {
        let Some(file) = self.files.last() else { return Ok(Tail { path: String::new(), loaded: None, given: 0 }) };
        let loaded = self.load(file)?;
        let given = loaded.as_ref().map_or(0, Loaded::count);
        Ok(Tail { path: file.path.clone(), loaded, given })
    }
}

/// The end of a log, as far as it was seen.
#[derive(Debug)]
pub struct Tail {
    path: String,
    loaded: Option<Loaded>,
    given: usize,
}

impl Tail {
    /// Gives entries that are new since the last time.
    pub fn more(&mut self, reader: &mut Reader<'_>, each: &mut dyn FnMut(&Found<'_>)) -> Result<(), RootError> {
        self.grow(reader, each)?;
        reader.look()?;
        let after: Vec<usize> = match reader.files.iter().position(|file| file.path == self.path) {
            Some(at) => (at + 1..reader.files.len()).collect(),
            None => (0..reader.files.len()).collect(),
        };
        for at in after {
            let Some(file) = reader.files.get(at) else { continue };
            *self = Tail { path: file.path.clone(), loaded: reader.load(file)?, given: 0 };
            self.give(each);
        }
        Ok(())
    }

    fn grow(&mut self, reader: &Reader<'_>, each: &mut dyn FnMut(&Found<'_>)) -> Result<(), RootError> {
        let Ok(file) = reader.root.open_file(&self.path) else { return Ok(()) };
        match &mut self.loaded {
            Some(loaded) => {
                let mut buffer = vec![0u8; 64 << 10];
                // what stood behind the last whole record is read again
                loaded.bytes.truncate(loaded.end);
                while let Ok(n) = rustix::io::pread(&file, &mut buffer, loaded.bytes.len() as u64) {
                    if n == 0 {
                        break;
                    }
                    loaded.bytes.extend_from_slice(buffer.get(..n).unwrap_or_default());
                }
                loaded.scan();
            }
            None => {
                if let Some(file) = reader.files.iter().find(|file| file.path == self.path) {
                    self.loaded = reader.load(file)?;
                }
            }
        }
        self.give(each);
        Ok(())
    }

    fn give(&mut self, each: &mut dyn FnMut(&Found<'_>)) {
        let Some(loaded) = &self.loaded else { return };
        for at in self.given..loaded.count() {
            if let Some(entry) = loaded.entry(at) {
                each(&Found { entry, header: &loaded.header });
            }
        }
        self.given = loaded.count();
    }
}

/// Realtime of the first record, whole or not; 0: there is none.
fn first_time(file: &OwnedFd) -> u64 {
    let mut bytes = [0u8; 16];
    match rustix::io::pread(file, &mut bytes, HEADER as u64) {
        Ok(16) => u64::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]]),
        _ => 0,
    }
}

/// Directories of the tree that may have a store, the persistent one last.
pub fn usual_directories() -> Vec<String> {
    let own = crate::control::directories().into_iter().map(|directory| format!("{directory}/journal"));
    [super::VOLATILE.to_owned()].into_iter().chain(own).chain([super::PERSISTENT.to_owned()]).collect()
}

/// Journal files of systemd's own below /var/log/journal and /run/log/journal: the first, and how many there are.
pub fn foreign(root: &Root) -> Option<(String, usize)> {
    let mut found: Vec<String> = Vec::new();
    for top in ["/var/log/journal", "/run/log/journal"] {
        for (name, _) in root.list(top).ok().flatten().unwrap_or_default() {
            let directory = format!("{top}/{name}");
            let inside = root.list(&directory).ok().flatten().unwrap_or_default();
            found.extend(inside.iter().filter(|(file, _)| file.ends_with(".journal")).map(|(file, _)| format!("{directory}/{file}")));
        }
    }
    let count = found.len();
    found.into_iter().next().map(|first| (root.shown(&first), count))
}
