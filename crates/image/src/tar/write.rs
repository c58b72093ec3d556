//! Writing a tree as an archive: POSIX.1-2001 with GNU's keys for holes and star's for extended attributes, as GNU tar
//! writes and reads it.
//!
//! Numeric owners only: what a number is called is the tree's own business. Sockets are left out, mounts not entered.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_spec::Arrange as _;
use hostel_sys::tree::{openat2, xattr};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::header::BLOCK;
use crate::error::On;
use crate::{Cause, Result, partial, walk};

const BUFFER: usize = 256 << 10;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Entries.
    pub entries: u64,
    /// Bytes of contents, without holes.
    pub bytes: u64,
    /// Sockets and what is mounted in the tree.
    pub left_out: u64,
}

/// Writes the tree `top` (readable; `name` in messages) to `output`, without compressing. `tick` is told the bytes of
/// contents done and may stop it.
pub fn write(
    top: BorrowedFd<'_>,
    name: &Path,
    output: &mut dyn Write,
    tick: &mut dyn FnMut(u64) -> std::result::Result<(), Cause>,
) -> Result<Written> {
    let mut writer = Writer { top, output, tick, linked: HashMap::new(), written: Written::default(), buffer: vec![0; BUFFER] };
    let mut todo = vec![PathBuf::new()];
    // By path: a tree chooses its shape, not how many descriptors we need.
    while let Some(path) = todo.pop() {
        let mut below = writer.directory(&path).map_err(|e| e.on("export", &name.join(&path)))?;
        below.arrange();
        let mut directories = Vec::new();
        for (entry, is_directory) in below {
            let path = path.join(OsStr::from_bytes(entry.to_bytes()));
            if is_directory {
                directories.push(path);
            } else {
                writer.leaf(&path).map_err(|e| e.on("export", &name.join(&path)))?;
            }
        }
        todo.extend(directories.into_iter().rev());
    }
    writer.output.write_all(&[0; 2 * BLOCK]).and_then(|()| writer.output.flush()).on("export", name)?;
    Ok(writer.written)
}

struct Writer<'a> {
    top: BorrowedFd<'a>,
    output: &'a mut dyn Write,
    tick: &'a mut dyn FnMut(u64) -> std::result::Result<(), Cause>,
    /// First name of a file with several.
    linked: HashMap<(u64, u64), PathBuf>,
    written: Written,
    buffer: Vec<u8>,
}

type Outcome<T> = std::result::Result<T, Cause>;

impl Writer<'_> {
    fn open(&self, path: &Path, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        openat2(self.top, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV)
    }

    /// Writes a directory's own entry and returns what is in it.
    fn directory(&mut self, path: &Path) -> Outcome<Vec<(CString, bool)>> {
        let dir = match self.open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            // Something is mounted there: its mount point is not to be seen, only what lies over it.
            Err(Errno::XDEV) => {
                self.written.left_out += 1;
                return Ok(Vec::new());
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !path.as_os_str().is_empty() => return Ok(Vec::new()),
            other => other?,
        };
        let stat = rustix::fs::fstat(&dir)?;
        let mut head = Head::new(path, &stat, b'5');
        head.name.push(b'/');
        head.attributes(dir.as_fd(), c"")?;
        self.head(&head)?;
        let top = path.as_os_str().is_empty();
        let mut below = Vec::new();
        walk::entries(dir.as_fd(), |name, kind| -> std::result::Result<(), Errno> {
            if !(top && name.to_bytes().starts_with(partial::PREFIX)) {
                below.push((name.to_owned(), kind == FileType::Directory));
            }
            Ok(())
        })?;
        Ok(below)
    }

    /// Anything but a directory.
    fn leaf(&mut self, path: &Path) -> Outcome<()> {
        let (above, last) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let last = CString::new(last.as_bytes()).map_err(|_| Cause::Os(Errno::INVAL))?;
        let dir = match self.open(above, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            other => other?,
        };
        let stat = match rustix::fs::statat(&dir, &*last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::Socket | FileType::Directory | FileType::Unknown) {
            self.written.left_out += 1;
            return Ok(());
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&(stat.st_dev, stat.st_ino)) {
                let mut head = Head::new(path, &stat, b'1');
                head.link = name_of(first);
                return self.head(&head);
            }
            self.linked.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        if kind == FileType::RegularFile {
            return self.file(path, dir.as_fd(), &last);
        }
        let flag = match kind {
            FileType::Symlink => b'2',
            FileType::CharacterDevice => b'3',
            FileType::BlockDevice => b'4',
            _ => b'6',
        };
        let mut head = Head::new(path, &stat, flag);
        if kind == FileType::Symlink {
            head.link = rustix::fs::readlinkat(&dir, &*last, Vec::new())?.into_bytes();
        }
        head.attributes(dir.as_fd(), &last)?;
        self.head(&head)
    }

    fn file(&mut self, path: &Path, dir: BorrowedFd<'_>, name: &CStr) -> Outcome<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let file = match openat2(dir, name, flags, Mode::empty(), resolve) {
            Err(Errno::XDEV) => {
                self.written.left_out += 1;
                return Ok(());
            }
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Cause::Why("it changed its type while it was exported"));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut head = Head::new(path, &stat, b'0');
        head.attributes(file.as_fd(), c"")?;
        let pieces = pieces(file.as_fd(), &stat, size)?;
        if pieces == [(0, size)] || size == 0 {
            head.size = size;
            self.head(&head)?;
            return self.contents(file.as_fd(), &[(0, size)], size);
        }
        let mut map = format!("{}\n", pieces.len()).into_bytes();
        pieces.iter().for_each(|(at, length)| map.extend_from_slice(format!("{at}\n{length}\n").as_bytes()));
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        head.size = map.len() as u64 + pieces.iter().map(|p| p.1).sum::<u64>();
        head.sparse(size);
        self.head(&head)?;
        self.output.write_all(&map)?;
        self.contents(file.as_fd(), &pieces, head.size)
    }

    /// Writes pieces of a file and fills up `size` to whole blocks. A file that gets shorter is filled up with zeros.
    fn contents(&mut self, file: BorrowedFd<'_>, pieces: &[(u64, u64)], size: u64) -> Outcome<()> {
        for (start, length) in pieces {
            let (mut at, end) = (*start, start + length);
            while at < end {
                let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(BUFFER);
                let n = match rustix::io::pread(file, &mut self.buffer[..wanted], at) {
                    Ok(0) => {
                        self.buffer[..wanted].fill(0);
                        wanted
                    }
                    Ok(n) => n,
                    Err(Errno::INTR) => continue,
                    Err(e) => return Err(e.into()),
                };
                self.output.write_all(&self.buffer[..n])?;
                at += n as u64;
                self.written.bytes += n as u64;
                (self.tick)(self.written.bytes)?;
            }
        }
        let filling = (size.next_multiple_of(BLOCK as u64) - size) as usize;
        Ok(self.output.write_all(&[0; BLOCK][..filling])?)
    }

    fn head(&mut self, head: &Head) -> Outcome<()> {
        self.written.entries += 1;
        (self.tick)(self.written.bytes)?;
        Ok(self.output.write_all(&head.encode())?)
    }
}

/// Where a file has data.
fn pieces(file: BorrowedFd<'_>, stat: &Stat, size: u64) -> Outcome<Vec<(u64, u64)>> {
    if (stat.st_blocks as u64).saturating_mul(512) >= size {
        return Ok(vec![(0, size)]);
    }
    let mut out = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => return Ok(vec![(0, size)]),
            Err(e) => return Err(e.into()),
        };
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data))?.min(size);
        if hole <= data {
            break;
        }
        out.push((data, hole - data));
        at = hole;
    }
    // GNU tar's last piece says where the file ends.
    if out.last().is_none_or(|(at, length)| at + length < size) {
        out.push((size, 0));
    }
    Ok(out)
}

/// `./PATH`, as GNU tar names what is in `.`.
fn name_of(path: &Path) -> Vec<u8> {
    [b"./", path.as_os_str().as_bytes()].concat()
}

/// One header and its records.
struct Head {
    name: Vec<u8>,
    link: Vec<u8>,
    flag: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: i64,
    device: (u32, u32),
    records: Vec<u8>,
}

impl Head {
    fn new(path: &Path, stat: &Stat, flag: u8) -> Head {
        let has_device = matches!(flag, b'3' | b'4');
        let mut head = Head {
            name: if path.as_os_str().is_empty() { b".".to_vec() } else { name_of(path) },
            link: Vec::new(),
            flag,
            mode: stat.st_mode & 0o7777,
            uid: u64::from(stat.st_uid),
            gid: u64::from(stat.st_gid),
            size: 0,
            mtime: stat.st_mtime,
            device: if has_device { (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) } else { (0, 0) },
            records: Vec::new(),
        };
        let nanoseconds = stat.st_mtime_nsec;
        if nanoseconds != 0 || head.mtime < 0 || head.mtime >= 1 << 33 {
            let time = match head.mtime {
                s if s < 0 && nanoseconds > 0 => format!("-{}.{:09}", -(s + 1), 1_000_000_000 - nanoseconds),
                s => format!("{s}.{nanoseconds:09}"),
            };
            head.record(b"mtime", time.as_bytes());
        }
        head
    }

    /// `LENGTH KEY=VALUE\n`, whose length counts its own digits.
    fn record(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.records.extend_from_slice(format!("{length} ").as_bytes());
        self.records.extend_from_slice(key);
        self.records.push(b'=');
        self.records.extend_from_slice(value);
        self.records.push(b'\n');
    }

    /// The extended attributes of `dir`/`name` that an import takes, but for labels.
    fn attributes(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Outcome<()> {
        let (mut names, mut value) = (Vec::new(), Vec::new());
        match xattr::list(dir, name, &mut names) {
            Ok(()) => {}
            Err(e) if Errno::from_io_error(&e) == Some(Errno::OPNOTSUPP) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        for attribute in names.split_inclusive(|b| *b == 0).filter_map(|n| CStr::from_bytes_with_nul(n).ok()) {
            let wanted = attribute.to_bytes();
            // A key ends at the first equals sign.
            if wanted.contains(&b'=')
                || !(wanted.starts_with(b"user.") || wanted == b"security.capability" || wanted.starts_with(b"system.posix_acl_"))
            {
                continue;
            }
            match xattr::get(dir, name, attribute, &mut value) {
                Ok(()) => self.record(&[b"SCHILY.xattr.", wanted].concat(), &value),
                Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NODATA | Errno::OPNOTSUPP)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Version 1.0 of GNU's sparse files; the map begins the contents.
    fn sparse(&mut self, real: u64) {
        let name = self.name.clone();
        self.record(b"GNU.sparse.major", b"1");
        self.record(b"GNU.sparse.minor", b"0");
        self.record(b"GNU.sparse.name", &name);
        self.record(b"GNU.sparse.realsize", real.to_string().as_bytes());
        // What programs see that do not know.
        self.name = [b"./GNUSparseFile.0/", name.rsplit(|b| *b == b'/').next().unwrap_or_default()].concat();
    }

    fn encode(&self) -> Vec<u8> {
        let mut whole = Head { records: self.records.clone(), name: self.name.clone(), link: self.link.clone(), ..*self };
        if self.name.len() > 100 {
            whole.record(b"path", &self.name);
        }
        if self.link.len() > 100 {
            whole.record(b"linkpath", &self.link);
        }
        for (key, value, limit) in [("size", self.size, 1 << 33), ("uid", self.uid, 1 << 21), ("gid", self.gid, 1 << 21)] {
            if value >= limit {
                whole.record(key.as_bytes(), value.to_string().as_bytes());
            }
        }
        let mut out = Vec::new();
        if !whole.records.is_empty() {
            let about = Head {
                name: b"./PaxHeaders/entry".to_vec(),
                link: Vec::new(),
                flag: b'x',
                mode: 0o644,
                uid: 0,
                gid: 0,
                size: whole.records.len() as u64,
                mtime: 0,
                device: (0, 0),
                records: Vec::new(),
            };
            out.extend_from_slice(&about.block());
            out.extend_from_slice(&whole.records);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.extend_from_slice(&whole.block());
        out
    }

    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0u8; BLOCK];
        let mut text = |at: usize, room: usize, bytes: &[u8]| {
            let n = bytes.len().min(room);
            block[at..at + n].copy_from_slice(&bytes[..n]);
        };
        // What does not fit is in the records; here is what is left of it.
        let octal = |value: u64, digits: usize| format!("{:0digits$o}", value & ((1u64 << (3 * digits)) - 1));
        text(0, 100, &self.name);
        text(100, 8, octal(u64::from(self.mode), 7).as_bytes());
        text(108, 8, octal(if self.uid < 1 << 21 { self.uid } else { 0 }, 7).as_bytes());
        text(116, 8, octal(if self.gid < 1 << 21 { self.gid } else { 0 }, 7).as_bytes());
        text(124, 12, octal(if self.size < 1 << 33 { self.size } else { 0 }, 11).as_bytes());
        text(136, 12, octal(u64::try_from(self.mtime).unwrap_or(0), 11).as_bytes());
        text(148, 8, b"        ");
        text(156, 1, &[self.flag]);
        text(157, 100, &self.link);
        text(257, 8, b"ustar\x0000");
        text(329, 8, octal(u64::from(self.device.0), 7).as_bytes());
        text(337, 8, octal(u64::from(self.device.1), 7).as_bytes());
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}
