//! Lock files that systemd-nspawn and machinectl take too: an OFD lock on a file that is unlinked when it is given up.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_sys::tree::{Lock, try_lock};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::{Cause, Result};

/// A held lock file; dropping it gives it up, in the process that took it only.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: OwnedFd,
    path: PathBuf,
    owner: rustix::process::Pid,
}

/// The outcome of [`LockFile::take`].
pub(crate) enum Taken {
    Yes(LockFile),
    /// Another holds it; the file, to see who.
    Busy(OwnedFd),
}

impl LockFile {
    /// Takes the lock `path` without waiting. Its directory is made (0700, or as `directory_mode` says) when missing.
    pub(crate) fn take(path: &Path, lock: Lock, directory_mode: u32) -> Result<Taken> {
        let fail = |e: Errno| Cause::Os(e).on("open lock", path);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let file = match rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)) {
                Err(Errno::NOENT) => {
                    make_lock_directory(path, directory_mode).map_err(fail)?;
                    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
                }
                other => other,
            }
            .map_err(fail)?;
            if !try_lock(file.as_fd(), lock).map_err(|e| Cause::from(e).on("take lock", path))? {
                return Ok(Taken::Busy(file));
            }
            // The holder before us may have unlinked it between our open and our lock: then nobody else sees our lock.
            if rustix::fs::fstat(&file).map_err(fail)?.st_nlink > 0 {
                return Ok(Taken::Yes(LockFile { file, path: path.to_owned(), owner: rustix::process::getpid() }));
            }
        }
    }

    /// Writes who holds it, for whom finds it busy.
    pub(crate) fn note(&self, text: &str) {
        // Only a help to people; the lock itself is what counts.
        let _ = rustix::fs::ftruncate(&self.file, 0);
        let _ = rustix::io::pwrite(&self.file, text.as_bytes(), 0);
    }
}

fn make_lock_directory(path: &Path, mode: u32) -> std::result::Result<(), Errno> {
    let Some(dir) = path.parent() else { return Err(Errno::INVAL) };
    let mut missing = vec![];
    for above in dir.ancestors() {
        match rustix::fs::mkdir(above, Mode::from_raw_mode(if above == dir { mode } else { 0o755 })) {
            Ok(()) | Err(Errno::EXIST) => break,
            Err(Errno::NOENT) => missing.push(above),
            Err(e) => return Err(e),
        }
    }
    while let Some(above) = missing.pop() {
        match rustix::fs::mkdir(above, Mode::from_raw_mode(if above == dir { mode } else { 0o755 })) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // A forked child that unwinds must not unlink what its parent still holds. And who shares the lock leaves the
        // file to the last holder.
        if rustix::process::getpid() == self.owner && try_lock(self.file.as_fd(), Lock::Exclusive).unwrap_or(false) {
            let _ = rustix::fs::unlinkat(CWD, &self.path, AtFlags::empty());
        }
    }
}
