//! A directory that lasts as long as one run: a copy of a tree, a layer over it, something to bind.
//!
//! Whoever owns the directory it is made in can rename it and put a link, or another directory, in its place. So it is
//! made, used, emptied and removed by descriptor; its path is for the journal of who may be killed, and for messages.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_spec::MachineName;
use hostel_sys::tree::openat2;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::copy::{self, Options};
use crate::error::On;
use crate::{Cause, Result, partial, remove, walk};

/// Where one will be made. Nothing is there yet, so that its path can be recorded first.
#[derive(Debug)]
pub struct Place {
    parent: OwnedFd,
    name: CString,
    path: PathBuf,
}

/// One that was made. As long as it is open, [`crate::sweep`] leaves it alone.
#[derive(Debug)]
pub struct Throwaway {
    place: Place,
    dir: OwnedFd,
}

impl Place {
    /// Beside `tree` (`name` in messages), or in it when it is a mount point: on the same file system a copy can share its
    /// blocks.
    pub fn beside(tree: BorrowedFd<'_>, name: &Path, machine: &MachineName) -> Result<Self> {
        let find = || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
            let parent = match openat2(tree, c"..", flags, Mode::empty(), resolve) {
                Err(Errno::XDEV) => walk::readable(tree)?,
                other => other?,
            };
            Self::named(parent, partial::fresh_name(&format!("{}-{}", partial::EPHEMERAL, machine.as_str()))?)
        };
        find().on("place copy of tree", name)
    }

    /// In `directory`, links followed, with a name that no sweep looks for.
    pub fn temporary(directory: &Path) -> Result<Self> {
        let find = || {
            let parent = rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let name = format!(".#hostel-{:016x}", hostel_sys::tree::random_u64()?);
            Self::named(parent, CString::new(name).map_err(|_| Cause::Os(Errno::INVAL))?)
        };
        find().on("place temporary directory in", directory)
    }

    fn named(parent: OwnedFd, name: CString) -> std::result::Result<Self, Cause> {
        let path = remove::real_path(parent.as_fd())?.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        Ok(Self { parent, name, path })
    }

    /// Its absolute path, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an empty directory there, with exactly these permissions.
    pub fn make(self, mode: Mode) -> Result<Throwaway> {
        let make = || {
            let dir = partial::make_named(self.parent.as_fd(), &self.name)?.ok_or(Cause::Os(Errno::NOENT))?;
            rustix::fs::fchmod(&dir, mode)?;
            Ok::<_, Cause>(dir)
        };
        let dir = make().on("make directory", &self.path)?;
        Ok(Throwaway { place: self, dir })
    }

    /// Copies the tree `source` (`name` in messages) there.
    pub fn copy(self, source: BorrowedFd<'_>, name: &Path, options: &Options<'_>) -> Result<Throwaway> {
        let copied = copy::copy_into(source, name, (self.parent.as_fd(), &self.name, &self.path), options)?;
        Ok(Throwaway { place: self, dir: copied.dir })
    }
}

impl Throwaway {
    /// The directory, readable.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Where it was made.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Removes it with all in it, wherever it is now. What somebody else put in its place stays: it is not ours.
    pub fn remove(self) -> Result<()> {
        let Self { place: Place { parent, name, path }, dir } = self;
        let is_there = || partial::is_named(parent.as_fd(), &name, dir.as_fd());
        let remove = || {
            remove::refuse_mounts_below(dir.as_fd())?;
            if !is_there()? {
                return remove::empty_all(dir.as_fd());
            }
            match remove::delete(parent.as_fd(), &name, rustix::io::fcntl_dupfd_cloexec(&dir, 3)?) {
                Err(_) if !is_there()? => remove::empty_all(dir.as_fd()),
                other => other,
            }
        };
        remove().on("remove directory", &path)
    }
}

#[cfg(test)]
mod tests;
