//! Paths inside a tree, resolved by descriptor so that nothing in the tree can lead outside of it.
//!
//! Every function takes the tree's root as a descriptor and a path that is meant inside it, absolute or not. Links are
//! followed as a process with that root would follow them, except where a name says otherwise; /proc's magic links never.
//! Used by the payload between clone and exec as well: no allocation but where a result needs one.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_sys::tree::{IN_ROOT, openat2, random_u64, read_regular};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::Cause;

type Result<T> = std::result::Result<T, Cause>;

/// Most bytes read of any file of an untrusted tree.
pub const READ_LIMIT: usize = 1 << 20;

/// How many dangling links [`make_directories`] follows, and how often it starts again when others rename below its feet.
const RETRIES: u32 = 40;

/// Opens `path` inside `root`.
///
/// Add `NOFOLLOW` to refuse a link as last component (with `PATH`: to get the link itself). Opening what is not known to
/// be a regular file or directory needs `PATH`, or `NONBLOCK` and the wish to open devices.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    Ok(openat2(root, here(path), flags, Mode::empty(), IN_ROOT)?)
}

/// Opens `path` below `root`, refusing every link on the way (ELOOP) and every `..` that leads out of it (EXDEV).
pub fn open_beneath_no_symlinks(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let bytes = path.as_os_str().as_bytes();
    let start = bytes.iter().position(|b| *b != b'/').unwrap_or(bytes.len());
    let path = Path::new(OsStr::from_bytes(&bytes[start..]));
    Ok(openat2(root, here(path), flags, Mode::empty(), resolve)?)
}

/// Opens the directory `path` inside `root` as a place for `*at` calls and mounts (O_PATH).
pub fn directory(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Status of `path` inside `root`, links followed.
pub fn stat(root: BorrowedFd<'_>, path: &Path) -> Result<Stat> {
    let file = open(root, path, OFlags::PATH)?;
    Ok(rustix::fs::fstat(file)?)
}

/// Whether `path` leads to something inside `root`.
pub fn exists(root: BorrowedFd<'_>, path: &Path) -> Result<bool> {
    match open(root, path, OFlags::PATH) {
        Ok(_) => Ok(true),
        Err(Cause::Os(Errno::NOENT | Errno::NOTDIR)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Opens the directory that holds the last component of `path` (O_PATH), and returns that component.
///
/// Paths whose last component is no name (`/`, `..`) are refused.
pub fn parent<'a>(root: BorrowedFd<'_>, path: &'a Path) -> Result<(OwnedFd, &'a OsStr)> {
    let (above, name) = split(path)?;
    Ok((directory(root, above)?, name))
}

/// The directory part and the last component. `a/b/` counts as `a/b`, as for mkdir(2).
fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    let start = bytes[..end].iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
    let name = &bytes[start..end];
    if name.is_empty() || name == b"." || name == b".." {
        return Err(Cause::Why("its last component is no name"));
    }
    Ok((Path::new(OsStr::from_bytes(&bytes[..start])), OsStr::from_bytes(name)))
}

/// openat2(2) knows no empty path.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Makes the directory `path` inside `root` and all that lead to it, with permissions `mode` less the umask; returns it (O_PATH).
///
/// Directories that exist are left as they are. A link that dangles is followed: its target is made, inside `root`.
pub fn make_directories(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> Result<OwnedFd> {
    match directory(root, path) {
        Err(Cause::Os(Errno::NOENT)) => {}
        found => return found,
    }
    let mut path: std::borrow::Cow<'_, Path> = path.into();
    let mut at = 0;
    let mut dir = directory(root, Path::new("/"))?;
    let mut retries = 0;
    // `dir` is what the first `at` bytes of `path` lead to, resolved from `root` each time: a link may be absolute.
    loop {
        let bytes = path.as_os_str().as_bytes();
        let Some(start) = bytes[at..].iter().position(|b| *b != b'/').map(|i| at + i) else { return Ok(dir) };
        let end = bytes[start..].iter().position(|b| *b == b'/').map_or(bytes.len(), |i| start + i);
        let component = Path::new(OsStr::from_bytes(&bytes[start..end]));
        let prefix = Path::new(OsStr::from_bytes(&bytes[..end]));
        match directory(root, prefix) {
            Ok(found) => {
                (dir, at) = (found, end);
                continue;
            }
            Err(Cause::Os(Errno::NOENT)) => {}
            Err(e) => return Err(e),
        }
        match rustix::fs::mkdirat(&dir, component, mode) {
            Ok(()) => {
                // By its plain name, so that whoever replaces it by a link now gets an error, not our trust.
                dir = open_beneath_no_symlinks(dir.as_fd(), component, OFlags::PATH | OFlags::DIRECTORY)?;
                at = end;
                continue;
            }
            Err(Errno::EXIST) => match rustix::fs::readlinkat(&dir, component, Vec::new()) {
                Ok(target) => {
                    path = follow(&bytes[..start], target.as_bytes(), &bytes[end..]).into();
                    at = 0;
                    dir = directory(root, Path::new("/"))?;
                }
                // Made by somebody else in between, or renamed away again: look again.
                Err(Errno::INVAL | Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            },
            // The parent vanished below our feet.
            Err(Errno::NOENT) => {
                at = 0;
                dir = directory(root, Path::new("/"))?;
            }
            Err(e) => return Err(e.into()),
        }
        retries += 1;
        if retries > RETRIES {
            return Err(Cause::Os(Errno::LOOP));
        }
    }
}

/// `before`/`target``after`, or `target``after` for an absolute target; the result is resolved from the root again.
fn follow(before: &[u8], target: &[u8], after: &[u8]) -> PathBuf {
    let mut path = if target.starts_with(b"/") { Vec::new() } else { before.to_vec() };
    path.extend_from_slice(target);
    path.extend_from_slice(after);
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(path))
}

/// Makes sure that something that is no directory exists at `path` inside `root`, to mount a file on; returns it (O_PATH).
///
/// What exists is left as it is, whatever it is; else an empty file and the directories that lead to it are made.
pub fn make_file(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> Result<OwnedFd> {
    match open(root, path, OFlags::PATH) {
        Err(Cause::Os(Errno::NOENT)) => {}
        found => return found,
    }
    let (above, name) = split(path)?;
    let dir = make_directories(root, above, Mode::from_raw_mode(0o755))?;
    match create(dir.as_fd(), name, mode) {
        // Reopened: a write descriptor would make a later remount of the tree read-only fail.
        Ok(_) => open_beneath_no_symlinks(dir.as_fd(), Path::new(name), OFlags::PATH),
        Err(Errno::EXIST) => match open(root, path, OFlags::PATH) {
            Err(Cause::Os(Errno::NOENT)) => Err(Cause::Why("a dangling symbolic link is in its place")),
            found => found,
        },
        Err(e) => Err(e.into()),
    }
}

fn create(dir: BorrowedFd<'_>, name: impl rustix::path::Arg, mode: Mode) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, name, OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC, mode)
}

/// Reads the regular file `path` inside `root`, at most [`READ_LIMIT`] bytes; never waits, never opens a device.
pub fn read(root: BorrowedFd<'_>, path: &Path) -> Result<Vec<u8>> {
    Ok(read_regular(root, path, READ_LIMIT)?)
}

/// Whether a write has reached the disk when the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Yes: survives a power cut. Costs milliseconds.
    Yes,
    /// When the kernel likes.
    No,
}

/// Replaces `path` inside `root` by a regular file with these bytes and exactly this mode, all or nothing.
///
/// A link at `path` is replaced, not followed. The directory must exist.
pub fn replace(root: BorrowedFd<'_>, path: &Path, bytes: &[u8], mode: Mode, durable: Durable) -> Result<()> {
    let (dir, name) = parent(root, path)?;
    let temporary = temporary_name()?;
    let file = create(dir.as_fd(), &*temporary, Mode::from_raw_mode(0o600))?;
    let written = fill(file.as_fd(), bytes, mode, durable).and_then(|()| rustix::fs::renameat(&dir, &*temporary, &dir, name));
    if let Err(e) = written {
        // Best effort: the first error is the one to tell.
        let _ = rustix::fs::unlinkat(&dir, &*temporary, AtFlags::empty());
        return Err(e.into());
    }
    if durable == Durable::Yes {
        sync_directory(dir.as_fd())?;
    }
    Ok(())
}

fn fill(file: BorrowedFd<'_>, mut bytes: &[u8], mode: Mode, durable: Durable) -> std::result::Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    rustix::fs::fchmod(file, mode)?;
    if durable == Durable::Yes { rustix::fs::fsync(file) } else { Ok(()) }
}

/// Writes a directory's entries to disk; `dir` may be O_PATH.
pub(crate) fn sync_directory(dir: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let readable = rustix::fs::openat(dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fsync(readable)
}

fn temporary_name() -> Result<CString> {
    // Hexadecimal digits have no NUL.
    CString::new(format!(".#hostel-{:016x}", random_u64()?)).map_err(|_| Cause::Os(Errno::INVAL))
}

/// Makes the link `path` → `target` inside `root`, replacing a file or link that is there. The directory must exist.
pub fn replace_with_symlink(root: BorrowedFd<'_>, path: &Path, target: &Path) -> Result<()> {
    let (dir, name) = parent(root, path)?;
    match rustix::fs::symlinkat(target, &dir, name) {
        Err(Errno::EXIST) => {}
        done => return Ok(done?),
    }
    let temporary = temporary_name()?;
    rustix::fs::symlinkat(target, &dir, &*temporary)?;
    rustix::fs::renameat(&dir, &*temporary, &dir, name).map_err(|e| {
        let _ = rustix::fs::unlinkat(&dir, &*temporary, AtFlags::empty());
        e.into()
    })
}

/// The target of the link `path` inside `root`; `None` when it is no link.
pub fn read_link(root: BorrowedFd<'_>, path: &Path) -> Result<Option<CString>> {
    let (dir, name) = parent(root, path)?;
    match rustix::fs::readlinkat(&dir, name, Vec::new()) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::INVAL) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Removes `path` inside `root`, itself and not what it links to; no directory. That it is missing is success.
pub fn unlink(root: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let (dir, name) = match parent(root, path) {
        Err(Cause::Os(Errno::NOENT)) => return Ok(()),
        found => found?,
    };
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests;
