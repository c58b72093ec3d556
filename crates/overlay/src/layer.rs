//! One overlay of a machine: an upper directory over a lower one.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use hostel_image::{Cause, Result, inroot};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::On;

/// Seconds and nanoseconds.
pub(crate) type Time = (i64, i64);

/// An upper directory, the lower directory it lies over, and where both are in the machine.
#[derive(Debug)]
pub struct Layer {
    /// Absolute, in the machine: `/` or where a file system is mounted below it.
    pub at: PathBuf,
    upper: OwnedFd,
    lower: OwnedFd,
}

impl Layer {
    /// Opens the directories `upper` and `lower`. What is mounted below `lower` is not part of the layer.
    pub fn open(at: &Path, upper: &Path, lower: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let upper = rustix::fs::open(upper, flags, Mode::empty()).on("open layer", upper)?;
        let dir = hostel_image::open::directory(lower)?;
        let mount = hostel_sys::mount::clone_tree(dir.as_fd(), c"", false).on("open tree", lower)?;
        let lower = rustix::fs::openat(&mount, c".", flags, Mode::empty()).on("open tree", lower)?;
        Ok(Self { at: at.to_owned(), upper, lower })
    }

    /// A layer of which nothing but what is below is left: enough to take a commit back.
    pub fn only_lower(at: &Path, lower: &Path) -> Result<Self> {
        Self::open(at, lower, lower)
    }

    /// The upper directory.
    pub fn upper(&self) -> BorrowedFd<'_> {
        self.upper.as_fd()
    }

    /// The lower directory.
    pub fn lower(&self) -> BorrowedFd<'_> {
        self.lower.as_fd()
    }

    /// A path of this layer as the machine has it.
    pub fn shown(&self, inside: &Path) -> PathBuf {
        if inside.as_os_str().is_empty() { self.at.clone() } else { self.at.join(inside) }
    }
}

/// Opens the directory `path` below `top`, no link on the way; `None`: there is no directory.
pub(crate) fn directory(top: BorrowedFd<'_>, path: &Path) -> std::result::Result<Option<OwnedFd>, Cause> {
    match inroot::open_beneath_no_symlinks(top, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
        Ok(dir) => Ok(Some(dir)),
        Err(Cause::Os(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// What `dir`/`name` is, links not followed; `None`: nothing.
pub(crate) fn look(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<Option<Stat>, Cause> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// What `path` below `top` is, links not followed; `None`: nothing.
pub(crate) fn look_at(top: BorrowedFd<'_>, path: &Path) -> std::result::Result<Option<Stat>, Cause> {
    match parent(top, path)? {
        Some((dir, name)) => look(dir.as_fd(), &name),
        None => Ok(None),
    }
}

/// When it was last changed: no program can set that.
pub(crate) fn changed(stat: &Stat) -> Time {
    (stat.st_ctime as _, stat.st_ctime_nsec as _)
}

/// The names in a directory, in order.
pub(crate) fn names(dir: BorrowedFd<'_>) -> std::result::Result<BTreeSet<CString>, Cause> {
    let mut out = BTreeSet::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            out.insert(name.to_owned());
        }
    }
    Ok(out)
}

/// The directory that holds `path` below `top`, and its last component. `None`: there is no such directory.
pub(crate) fn parent(top: BorrowedFd<'_>, path: &Path) -> std::result::Result<Option<(OwnedFd, CString)>, Cause> {
    let name = path.file_name().ok_or(Cause::Why("its last component is no name"))?;
    let name = CString::new(name.as_bytes()).map_err(|_| Cause::Os(Errno::INVAL))?;
    Ok(directory(top, path.parent().unwrap_or(Path::new("")))?.map(|dir| (dir, name)))
}

/// `path`/`name`.
pub(crate) fn below(path: &Path, name: &CStr) -> PathBuf {
    path.join(OsStr::from_bytes(name.to_bytes()))
}

pub(crate) fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(crate) fn is_dir(stat: &Stat) -> bool {
    kind_of(stat) == FileType::Directory
}

/// The target of a link.
pub(crate) fn target(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<PathBuf, Cause> {
    let bytes = rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes();
    Ok(std::ffi::OsString::from_vec(bytes).into())
}
