//! The tree whose unit files are meant: its root as a descriptor, and how its paths are shown.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hostel_spec::Arrange as _;
use hostel_sys::tree::{IN_ROOT, ReadError, openat2, random_u64, read_listed, read_regular};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Longest unit file that is read, in bytes; systemd's longest line alone may be 1 MiB.
pub const FILE_MAX: usize = 4 << 20;

/// Most entries of one directory that are looked at.
const ENTRIES_MAX: usize = 100_000;

/// A tree.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    prefix: String,
}

/// What a name in a directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, with what it says.
    Link(String),
    /// Something else: a device, a socket.
    Other,
}

/// Why a file could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{verb} {path}: {cause}")]
pub struct RootError {
    /// What was tried.
    pub verb: &'static str,
    /// On which path of the tree.
    pub path: String,
    /// Why it did not work.
    pub cause: Cause,
}

/// The cause in a [`RootError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// A system call failed.
    #[error("{}", std::io::Error::from(*.0).to_string().split(" (os error").next().unwrap_or_default())]
    Os(Errno),
    /// It is no regular file.
    #[error("it is no regular file")]
    NotRegular,
    /// It is longer than [`FILE_MAX`].
    #[error("it is too large")]
    TooLarge,
}

impl RootError {
    fn new(verb: &'static str, path: &str, errno: Errno) -> RootError {
        RootError { verb, path: path.to_owned(), cause: Cause::Os(errno) }
    }

    /// The errno, when it was a system call.
    pub fn errno(&self) -> Option<Errno> {
        if let Cause::Os(errno) = self.cause { Some(errno) } else { None }
    }
}

type Result<T> = std::result::Result<T, RootError>;

impl Root {
    /// The tree at `path` on the host; shown paths begin with it.
    pub fn open(path: &Path) -> Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| RootError::new("open", &path.to_string_lossy(), e))?;
        let prefix = path.to_string_lossy().trim_end_matches('/').to_owned();
        Ok(Root { fd, prefix })
    }

    /// The host itself.
    pub fn host() -> Result<Root> {
        Root::open(Path::new("/"))
    }

    /// Whether this is the host's own root.
    pub fn is_host(&self) -> bool {
        self.prefix.is_empty()
    }

    /// A path of the tree as people see it.
    pub fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn open_at(&self, path: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        openat2(self.fd.as_fd(), Path::new(path), flags, Mode::empty(), IN_ROOT)
    }

    /// Opens a regular file for reading, links followed inside the tree.
    pub fn open_file(&self, path: &str) -> Result<OwnedFd> {
        let fail = |e| RootError::new("open", path, e);
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map_err(fail)?;
        let stat = rustix::fs::fstat(&file).map_err(fail)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(RootError { verb: "open", path: path.to_owned(), cause: Cause::NotRegular });
        }
        Ok(file)
    }

    /// Opens a directory, links followed inside the tree.
    pub fn open_directory(&self, path: &str) -> Result<OwnedFd> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|e| RootError::new("open", path, e))
    }

    /// Reads a regular file, links followed inside the tree.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        read_regular(self.fd.as_fd(), Path::new(path), FILE_MAX).map_err(|e| unread(path, e))
    }

    /// The same of one that a listing of its directory has said is a regular file.
    pub(crate) fn read_listed(&self, path: &str) -> Result<Vec<u8>> {
        read_listed(self.fd.as_fd(), Path::new(path), FILE_MAX).map_err(|e| unread(path, e))
    }

    /// Names of a directory with what they are, sorted; `None` when there is no such directory. Names that are not UTF-8 are left out.
    pub fn list(&self, path: &str) -> Result<Option<Vec<(String, Entry)>>> {
        self.list_other(path, &mut None)
    }

    /// The same, of a directory that is none of those seen before: of one that is another path's, too, there are no names.
    pub(crate) fn list_other(&self, path: &str, seen: &mut Option<Vec<(u64, u64)>>) -> Result<Option<Vec<(String, Entry)>>> {
        let fail = |e| RootError::new("list", path, e);
        let directory = match self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.map_err(fail)?,
        };
        if let Some(seen) = seen {
            let stat = rustix::fs::fstat(&directory).map_err(fail)?;
            if seen.contains(&(stat.st_dev, stat.st_ino)) {
                return Ok(None);
            }
            seen.push((stat.st_dev, stat.st_ino));
        }
        let mut directory = Dir::new(directory).map_err(fail)?;
        let mut found = Vec::new();
        for _ in 0..ENTRIES_MAX {
            let Some(entry) = directory.read() else { break };
            let entry = entry.map_err(fail)?;
            let directory = directory.fd().map_err(fail)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            let what = match kind {
                FileType::RegularFile => Entry::File,
                FileType::Directory => Entry::Directory,
                FileType::Symlink => match rustix::fs::readlinkat(directory, name, Vec::new()) {
                    Ok(target) => Entry::Link(target.to_string_lossy().into_owned()),
                    Err(_) => continue,
                },
                _ => Entry::Other,
            };
            found.push((name.to_owned(), what));
        }
        found.arrange_by(|a, b| a.0.cmp(&b.0));
        Ok(Some(found))
    }

    /// What the last component of `path` is, links before it followed; `None` when it is not there.
    pub fn entry(&self, path: &str) -> Option<Entry> {
        let (parent, name) = self.parent(path).ok()?;
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Entry::File,
            FileType::Directory => Entry::Directory,
            FileType::Symlink => Entry::Link(rustix::fs::readlinkat(&parent, name, Vec::new()).ok()?.to_string_lossy().into_owned()),
            _ => Entry::Other,
        })
    }

    /// Whether `path` leads to something.
    pub fn exists(&self, path: &str) -> bool {
        self.open_at(path, OFlags::PATH).is_ok()
    }

    /// Whether `path` leads to an empty file or to the null device: so a unit is masked.
    pub fn is_null_or_empty(&self, path: &str) -> bool {
        let Ok(file) = self.open_at(path, OFlags::PATH) else { return false };
        let Ok(stat) = rustix::fs::fstat(file) else { return false };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => stat.st_size == 0,
            FileType::CharacterDevice => stat.st_rdev == rustix::fs::makedev(1, 3),
            _ => false,
        }
    }

    fn parent<'p>(&self, path: &'p str) -> std::result::Result<(OwnedFd, &'p str), Errno> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() || name == "." || name == ".." {
            return Err(Errno::INVAL);
        }
        let above = if above.is_empty() { "/" } else { above };
        Ok((self.open_at(above, OFlags::PATH | OFlags::DIRECTORY)?, name))
    }

    /// Makes the directory and those above it. Links on the way are followed inside the tree, where they lead to directories.
    pub fn make_directories(&self, path: &str) -> Result<()> {
        let fail = |e| RootError::new("make directory", path, e);
        let mut at = 0;
        while let Some(more) = path[at..].strip_prefix('/').filter(|rest| !rest.is_empty()) {
            let end = at + 1 + more.find('/').unwrap_or(more.len());
            let part = &path[..end];
            at = end;
            match self.open_at(part, OFlags::PATH | OFlags::DIRECTORY) {
                Ok(_) => continue,
                Err(Errno::NOENT) => {}
                Err(e) => return Err(fail(e)),
            }
            let (parent, name) = self.parent(part).map_err(fail)?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(fail(e)),
            }
        }
        Ok(())
    }

    /// Makes the link `path`; with `replace` in the place of a link or file that is there, in one rename.
    pub fn link(&self, path: &str, target: &str, replace: bool) -> Result<()> {
        let fail = |e| RootError::new("make link", path, e);
        let (parent, name) = self.parent(path).map_err(fail)?;
        match rustix::fs::symlinkat(target, &parent, name) {
            Err(Errno::EXIST) if replace => {}
            other => return other.map_err(fail),
        }
        let temporary = temporary_name().map_err(fail)?;
        rustix::fs::symlinkat(target, &parent, &*temporary).map_err(fail)?;
        rustix::fs::renameat(&parent, &*temporary, &parent, name).map_err(|e| {
            // the first error is the one to tell
            let _ = rustix::fs::unlinkat(&parent, &*temporary, AtFlags::empty());
            fail(e)
        })
    }

    /// Writes a file as a whole, in one rename.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let fail = |e| RootError::new("write", path, e);
        let (parent, name) = self.parent(path).map_err(fail)?;
        let temporary = temporary_name().map_err(fail)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&parent, &*temporary, flags, Mode::from_raw_mode(0o644)).map_err(fail)?;
        let mut rest = bytes;
        let written = loop {
            if rest.is_empty() {
                break rustix::fs::renameat(&parent, &*temporary, &parent, name);
            }
            match rustix::io::retry_on_intr(|| rustix::io::write(&file, rest)) {
                Ok(n) => rest = &rest[n..],
                Err(e) => break Err(e),
            }
        };
        written.map_err(|e| {
            let _ = rustix::fs::unlinkat(&parent, &*temporary, AtFlags::empty());
            fail(e)
        })
    }

    /// Removes a file or link, itself and not what it leads to.
    pub fn unlink(&self, path: &str) -> Result<()> {
        let (parent, name) = self.parent(path).map_err(|e| RootError::new("remove", path, e))?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(|e| RootError::new("remove", path, e))
    }

    /// Removes a directory if it is empty; whether it was.
    pub fn remove_directory(&self, path: &str) -> Result<bool> {
        let (parent, name) = self.parent(path).map_err(|e| RootError::new("remove", path, e))?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(e) => Err(RootError::new("remove", path, e)),
        }
    }

    /// Where `path` leads inside the tree, every link followed, as far as it exists; the rest is kept as written. Pure names, no I/O on the result.
    pub fn chase(&self, path: &str) -> String {
        let mut done: Vec<String> = Vec::new();
        let mut todo: Vec<String> = path.split('/').rev().filter(|p| !p.is_empty() && *p != ".").map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            let here = format!("/{}", done.iter().chain([&part]).cloned().collect::<Vec<_>>().join("/"));
            match self.link_at(&here) {
                Some(target) if links < 40 => {
                    links += 1;
                    if target.starts_with('/') {
                        done.clear();
                    }
                    todo.extend(target.split('/').rev().filter(|p| !p.is_empty() && *p != ".").map(str::to_owned));
                }
                _ => done.push(part),
            }
        }
        format!("/{}", done.join("/"))
    }

    /// The target of `path` when it is a link; no link on the way to it is followed.
    fn link_at(&self, path: &str) -> Option<String> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(self.fd.as_fd(), Path::new(path.trim_start_matches('/')), flags, Mode::empty(), resolve).ok()?;
        let target = rustix::fs::readlinkat(&file, "", Vec::new()).ok()?;
        Some(OsStr::from_bytes(target.as_bytes()).to_string_lossy().into_owned())
    }
}

fn unread(path: &str, error: ReadError) -> RootError {
    let cause = match error {
        ReadError::Os(errno) => Cause::Os(errno),
        ReadError::NotRegular => Cause::NotRegular,
        ReadError::TooLarge => Cause::TooLarge,
    };
    RootError { verb: "read", path: path.to_owned(), cause }
}

fn temporary_name() -> std::result::Result<String, Errno> {
    random_u64().map(|n| format!(".#hostel-{n:016x}")).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}
