//! The end that reads a tree.

use std::ffi::{CStr, CString, OsStr};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_sys::tree::openat2;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::{ATTRIBUTE_MAX, DATA, DATA_END, DEPTH, DIRECTORY, END, FIFO, FILE, LINK, Meta, NAME_MAX, PIECE, UNSIZED_MAX, UP, cut};
use crate::error::On;
use crate::{Cause, Error, Result, inroot, walk};

/// What is sent.
#[derive(Debug)]
pub enum Source {
    /// The entry of this name, itself and not what it links to.
    Entry(OwnedFd, CString),
    /// This directory.
    Directory(OwnedFd),
}

impl Source {
    /// What `path` inside `root` leads to. `follow`: through a link in its last place, too.
    pub fn find(root: BorrowedFd<'_>, path: &Path, follow: bool) -> std::result::Result<Self, Cause> {
        let found = |path: &Path| match inroot::parent(root, path) {
            Ok((dir, name)) => Ok((dir, CString::new(name.as_bytes()).map_err(|_| Cause::Os(Errno::INVAL))?)),
            Err(e) => Err(e),
        };
        match found(path) {
            Ok((dir, name)) => {
                let kind = FileType::from_raw_mode(rustix::fs::statat(&dir, &*name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
                if kind == FileType::Symlink && follow {
                    return Self::followed(root, path);
                }
                Ok(Source::Entry(dir, name))
            }
            // `/`, `..`: a directory, if anything.
            Err(Cause::Why(_)) => Ok(Source::Directory(inroot::directory(root, path)?)),
            Err(e) => Err(e),
        }
    }

    /// The object behind a link, by the path that the links lead along.
    fn followed(root: BorrowedFd<'_>, path: &Path) -> std::result::Result<Self, Cause> {
        if let Ok(dir) = inroot::directory(root, path) {
            return Ok(Source::Directory(dir));
        }
        let mut path = path.to_path_buf();
        for _ in 0..40 {
            match inroot::read_link(root, &path)? {
                None => {
                    let (dir, name) = inroot::parent(root, &path)?;
                    return Ok(Source::Entry(dir, CString::new(name.as_bytes()).map_err(|_| Cause::Os(Errno::INVAL))?));
                }
                Some(target) => {
                    let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                    path = path.parent().unwrap_or(Path::new("/")).join(target);
                }
            }
        }
        Err(Cause::Os(Errno::LOOP))
    }

    /// What `path` of the host leads to. `follow` as for [`Source::find`].
    pub fn open(path: &Path, follow: bool) -> std::result::Result<Self, Cause> {
        if let (Some(name), false) = (path.file_name(), follow && path.is_symlink()) {
            let above = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let dir = rustix::fs::open(above, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let name = CString::new(name.as_bytes()).map_err(|_| Cause::Os(Errno::INVAL))?;
            rustix::fs::statat(&dir, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
            return Ok(Source::Entry(dir, name));
        }
        match rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOTDIR) => Self::open(&std::fs::canonicalize(path).map_err(Cause::from)?, false),
            other => Ok(Source::Directory(other?)),
        }
    }
}

/// Writes what `source` is, and all in it, to `out`. `name` is for messages. Returns how many entries were left out.
pub fn send(source: &Source, name: &Path, out: &mut dyn Write) -> Result<u64> {
    let mut sender = Sender { out, path: name.to_path_buf(), depth: 0, left_out: 0, buffer: Vec::new() };
    match source {
        Source::Directory(dir) => {
            let dir = walk::readable(dir.as_fd()).on("read directory", name)?;
            sender.directory(&dir, c"")?;
        }
        Source::Entry(dir, entry) => {
            let stat = rustix::fs::statat(dir, &**entry, AtFlags::SYMLINK_NOFOLLOW).on("read", name)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if !matches!(kind, FileType::Directory | FileType::RegularFile | FileType::Symlink | FileType::Fifo) {
                return Err(Cause::Why("it is a device or a socket").on("copy", name));
            }
            sender.entry(dir.as_fd(), entry, kind, c"")?;
        }
    }
    let left_out = sender.left_out;
    sender.raw(&[END]).and_then(|()| sender.raw(&left_out.to_le_bytes())).and_then(|()| sender.out.flush().map_err(|e| cut(&e))).on("copy", name)?;
    Ok(left_out)
}

struct Sender<'a> {
    out: &'a mut dyn Write,
    /// Where we are, for messages.
    path: PathBuf,
    depth: usize,
    left_out: u64,
    buffer: Vec<u8>,
}

impl Sender<'_> {
    /// One entry of `dir`, told to the receiver under the name `told`.
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, kind: FileType, told: &CStr) -> Result<()> {
        match kind {
            FileType::Directory => match walk::subdirectory(dir, name) {
                Ok(sub) => self.directory(&sub, told),
                // Something is mounted there: the copy gets an empty directory. As the first object it was asked for.
                Err(Errno::XDEV) if told.is_empty() => {
                    let sub = openat2(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty(), NO_LINKS);
                    let sub = sub.on("read directory", &self.path)?;
                    self.directory(&sub, told)
                }
                Err(Errno::XDEV) => self.empty_directory(dir, name, told),
                Err(e) => Err(Cause::Os(e).on("read directory", &self.path)),
            },
            FileType::RegularFile => self.file(dir, name, told),
            FileType::Symlink => self.link(dir, name, told).on("read link", &self.path),
            FileType::Fifo => self.fifo(dir, name, told).on("read", &self.path),
            _ => {
                self.left_out += 1;
                Ok(())
            }
        }
    }

    fn directory(&mut self, dir: &OwnedFd, told: &CStr) -> Result<()> {
        if self.depth == DEPTH {
            return Err(Cause::Why("it is nested too deep").on("read directory", &self.path));
        }
        let head = |this: &mut Self| {
            let stat = rustix::fs::fstat(dir)?;
            this.head(DIRECTORY, told, &stat)?;
            this.attributes(dir.as_fd())
        };
        head(self).on("read directory", &self.path)?;
        self.depth += 1;
        let mut failed = None;
        let listed = walk::entries(dir.as_fd(), |name, kind| -> std::result::Result<(), Errno> {
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            let done = self.entry(dir.as_fd(), name, kind, name);
            self.path.pop();
            match done {
                // Removed since the directory was read.
                Err(Error { cause: Cause::Os(Errno::NOENT), .. }) => Ok(()),
                Ok(()) => Ok(()),
                Err(error) => {
                    failed = Some(error);
                    Err(Errno::CANCELED)
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        listed.on("read directory", &self.path)?;
        self.depth -= 1;
        self.raw(&[UP]).on("copy", &self.path)
    }

    fn empty_directory(&mut self, dir: BorrowedFd<'_>, name: &CStr, told: &CStr) -> Result<()> {
        let tell = |this: &mut Self| {
            let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            this.head(DIRECTORY, told, &stat)?;
            this.raw(&0u32.to_le_bytes())?;
            this.raw(&[UP])
        };
        tell(self).on("copy", &self.path)
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr, told: &CStr) -> Result<()> {
        let opened = || -> std::result::Result<(OwnedFd, Stat), Cause> {
            // Not waiting for the other end of a FIFO that somebody puts here now.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = openat2(dir, name, flags, Mode::empty(), NO_LINKS)?;
            let stat = rustix::fs::fstat(&file)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Ok((file, stat)),
                _ => Err(Cause::Why("it changed its type while it was copied")),
            }
        };
        let (file, stat) = opened().on("open", &self.path)?;
        let send = |this: &mut Self| {
            this.head(FILE, told, &stat)?;
            this.attributes(file.as_fd())?;
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            this.raw(&size.to_le_bytes())?;
            let end = if size == 0 { this.unsized_contents(file.as_fd()) } else { this.contents(file.as_fd(), size) }?;
            this.raw(&[DATA_END])?;
            this.raw(&end.to_le_bytes())
        };
        send(self).on("read", &self.path)
    }

    /// Its data without its holes, up to the size it had: a file that goes on growing is not followed. Returns where it ends:
    /// one that was cut short meanwhile, or that says a page and has a word (sysfs), earlier than it said.
    fn contents(&mut self, file: BorrowedFd<'_>, size: u64) -> std::result::Result<u64, Cause> {
        let mut at = 0;
        while at < size {
            let (start, end) = match rustix::fs::seek(file, SeekFrom::Data(at)) {
                Ok(start) => (start, rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size)),
                Err(Errno::NXIO) => return Ok(size),
                // A file system that knows no holes.
                Err(_) => (at, size),
            };
            at = start;
            while at < end {
                match self.piece(file, at, end)? {
                    0 => return Ok(at),
                    n => at += n,
                }
            }
        }
        Ok(size)
    }

    /// All there is in a file that says it is empty, as those of /proc do that are made when they are read.
    fn unsized_contents(&mut self, file: BorrowedFd<'_>) -> std::result::Result<u64, Cause> {
        let mut at = 0;
        while at < UNSIZED_MAX {
            match self.piece(file, at, UNSIZED_MAX)? {
                0 => return Ok(at),
                n => at += n,
            }
        }
        // One that was empty and is being written is cut somewhere in any case.
        if rustix::fs::fstat(file)?.st_size > 0 { Ok(at) } else { Err(Cause::Why("it does not say how large it is, and has no end")) }
    }

    /// Sends what can be read at once between `at` and `end`; returns how much that was.
    fn piece(&mut self, file: BorrowedFd<'_>, at: u64, end: u64) -> std::result::Result<u64, Cause> {
        self.buffer.resize(PIECE, 0);
        let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let n = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut self.buffer[..wanted], at))?;
        if n > 0 {
            self.raw(&[DATA])?;
            self.raw(&at.to_le_bytes())?;
            self.raw(&(n as u32).to_le_bytes())?;
            self.out.write_all(&self.buffer[..n]).map_err(|e| cut(&e))?;
        }
        Ok(n as u64)
    }

    fn link(&mut self, dir: BorrowedFd<'_>, name: &CStr, told: &CStr) -> std::result::Result<(), Cause> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
        self.head(LINK, told, &stat)?;
        self.bytes(target.to_bytes())
    }

    fn fifo(&mut self, dir: BorrowedFd<'_>, name: &CStr, told: &CStr) -> std::result::Result<(), Cause> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.head(FIFO, told, &stat)
    }

    fn head(&mut self, tag: u8, name: &CStr, stat: &Stat) -> std::result::Result<(), Cause> {
        let name = name.to_bytes();
        if name.len() > NAME_MAX {
            return Err(Cause::Os(Errno::NAMETOOLONG));
        }
        self.raw(&[tag])?;
        self.bytes(name)?;
        let meta = Meta::of(stat);
        self.raw(&meta.mode.to_le_bytes())?;
        self.raw(&meta.uid.to_le_bytes())?;
        self.raw(&meta.gid.to_le_bytes())?;
        self.raw(&meta.seconds.to_le_bytes())?;
        self.raw(&meta.nanoseconds.to_le_bytes())
    }

    /// The attributes in the `user.` namespace: the others are about the system they come from.
    fn attributes(&mut self, file: BorrowedFd<'_>) -> std::result::Result<(), Cause> {
        let mut list = vec![0u8; ATTRIBUTE_MAX];
        let length = rustix::fs::flistxattr(file, &mut list[..]).unwrap_or(0);
        let mut found = Vec::new();
        for name in list[..length].split_inclusive(|b| *b == 0).filter(|n| n.starts_with(b"user.")) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
            let mut value = vec![0u8; ATTRIBUTE_MAX];
            if let Ok(length) = rustix::fs::fgetxattr(file, name, &mut value[..]) {
                value.truncate(length);
                found.push((name.to_bytes(), value));
            }
        }
        self.raw(&(found.len() as u32).to_le_bytes())?;
        for (name, value) in found {
            self.bytes(name)?;
            self.bytes(&value)?;
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> std::result::Result<(), Cause> {
        self.raw(&(bytes.len() as u32).to_le_bytes())?;
        self.raw(bytes)
    }

    fn raw(&mut self, bytes: &[u8]) -> std::result::Result<(), Cause> {
        self.out.write_all(bytes).map_err(|e| cut(&e))
    }
}

const NO_LINKS: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
