//! Lock files that systemd-nspawn and machinectl take too: an OFD lock on a file that is unlinked when it is given up.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hostel_sys::tree::{Lock, try_lock};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::{Cause, Result, partial};

/// A held lock file; dropping it gives it up, in the process that took it only.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: OwnedFd,
    /// The directory, as it was when the lock was taken, and the name in it.
    directory: OwnedFd,
    name: CString,
    /// It is a file of our own, to write to and to remove.
    ours: bool,
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
    ///
    /// The directory may be another user's, who puts there what he likes: what is no file of one name is refused, and a file
    /// of his counts as a lock but is not written to.
    pub(crate) fn take(path: &Path, lock: Lock, directory_mode: u32) -> Result<Taken> {
        let fail = |e: Errno| Cause::Os(e).on("open lock", path);
        let name = path.file_name().and_then(|n| CString::new(n.as_bytes()).ok()).ok_or(Errno::INVAL).map_err(fail)?;
        let directory = open_directory(path, directory_mode).map_err(fail)?;
        // None of this waits, whatever is there.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let file = rustix::fs::openat(&directory, &*name, flags, Mode::from_raw_mode(0o600)).map_err(fail)?;
            let stat = rustix::fs::fstat(&file).map_err(fail)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
                return Err(Cause::Why("it is not a file with this name only, so it is something else's").on("open lock", path));
            }
            if !try_lock(file.as_fd(), lock).map_err(|e| Cause::from(e).on("take lock", path))? {
                return Ok(Taken::Busy(file));
            }
            // The holder before us may have unlinked it between our open and our lock: then nobody else sees our lock.
            if rustix::fs::fstat(&file).map_err(fail)?.st_nlink > 0 {
                let ours = stat.st_uid == rustix::process::geteuid().as_raw();
                return Ok(Taken::Yes(LockFile { file, directory, name, ours, owner: rustix::process::getpid() }));
            }
        }
    }

    /// Writes who holds it, for whom finds it busy.
    pub(crate) fn note(&self, text: &str) {
        // It may have got another name since it was opened.
        if !self.ours || !rustix::fs::fstat(&self.file).is_ok_and(|stat| stat.st_nlink == 1) {
            return;
        }
        // Only a help to people; the lock itself is what counts.
        let _ = rustix::fs::ftruncate(&self.file, 0);
        let _ = rustix::io::pwrite(&self.file, text.as_bytes(), 0);
    }
}

/// The directory that a lock is in, made when it is missing.
fn open_directory(path: &Path, mode: u32) -> std::result::Result<OwnedFd, Errno> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            make_lock_directory(path, mode)?;
            rustix::fs::open(directory, flags, Mode::empty())
        }
        other => other,
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
        let last = || {
            rustix::process::getpid() == self.owner
                && try_lock(self.file.as_fd(), Lock::Exclusive).unwrap_or(false)
                && partial::is_named(self.directory.as_fd(), &self.name, self.file.as_fd()) == Ok(true)
        };
        if self.ours && last() {
            let _ = rustix::fs::unlinkat(&self.directory, &*self.name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, chown, symlink};

    use super::*;
    use crate::walk::testing::{Scratch, is_root};

    fn take(path: &Path) -> Result<Taken> {
        LockFile::take(path, Lock::Exclusive, 0o700)
    }

    #[test]
    fn nothing_but_a_lock_of_ours_is_written_to_or_removed() {
        let scratch = Scratch::new("lockfile");
        let at = |name: &str| scratch.path().join(name);
        std::fs::write(at("precious"), "precious").unwrap();
        std::fs::hard_link(at("precious"), at("hard")).unwrap();
        symlink("precious", at("soft")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        for name in ["hard", "soft", "fifo", "dir"] {
            assert!(take(&at(name)).is_err(), "{name}");
            assert!(at(name).symlink_metadata().is_ok(), "{name}");
        }
        assert_eq!(std::fs::read_to_string(at("precious")).unwrap(), "precious");
        if is_root() {
            // It is a lock all the same: its owner may run something on the image.
            std::fs::write(at("theirs"), "their words").unwrap();
            chown(at("theirs"), Some(65534), None).unwrap();
            let Ok(Taken::Yes(held)) = take(&at("theirs")) else { panic!() };
            held.note("ours");
            assert!(matches!(take(&at("theirs")), Ok(Taken::Busy(_))));
            drop(held);
            assert_eq!(std::fs::read_to_string(at("theirs")).unwrap(), "their words");
        }
        let Ok(Taken::Yes(held)) = take(&at("new/lock")) else { panic!() };
        held.note("ours");
        assert_eq!((std::fs::read_to_string(at("new/lock")).unwrap(), at("new").metadata().unwrap().mode() & 0o777), ("ours".into(), 0o700));
        // Another's file, which has got its name, stays; so does one behind a link that has got the directory's.
        std::fs::rename(at("new"), at("old")).unwrap();
        std::fs::create_dir(at("new")).unwrap();
        std::fs::write(at("new/lock"), "another's").unwrap();
        drop(held);
        assert!(!at("old/lock").exists() && at("new/lock").exists());
        let Ok(Taken::Yes(held)) = take(&at("old/lock")) else { panic!() };
        std::fs::hard_link(at("old/lock"), at("got-a-second-name")).unwrap();
        held.note("ours");
        assert_eq!(std::fs::read(at("got-a-second-name")).unwrap(), b"");
    }
}
