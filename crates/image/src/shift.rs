//! Giving a tree to an id range by changing every file's owner, for where an idmapped mount cannot do it.
//!
//! An id keeps its lower 16 bits and gets the range's upper 16, so shifting again, further, or back to 0 all work. While the
//! walk goes on, the top directory has ids marked busy (0xFFFE0000, as systemd-nspawn does), so that an interrupted walk
//! is seen and done again. ACLs and the root id of file capabilities are shifted too; set-user-id bits and capabilities,
//! which chown(2) takes away, are put back.

mod attributes;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hostel_sys::tree::openat2;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

use crate::error::On;
use crate::walk::{self, Counted, OpenDirectories, Queue};
use crate::{Cause, Error, Result};
use attributes::Attributes;

/// Upper 16 bits of the top directory's ids during a walk.
pub const BUSY: u32 = 0xfffe_0000;
const UPPER: u32 = 0xffff_0000;

/// What [`shift`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shifted {
    /// The top directory belongs to the range, so nothing was looked at.
    Already,
    /// Files whose owner was changed.
    Changed(u64),
}

/// Gives the tree `tree` (maybe O_PATH; `name` in messages) to the 65 536 ids from `base`, in `threads` threads (0 = as is good).
///
/// Only the file system the tree is on is touched, not what is mounted in it; links are never followed. On an overlay
/// every file is copied up, which takes as long as copying the tree.
pub fn shift(tree: BorrowedFd<'_>, name: &Path, base: u32, threads: usize) -> Result<Shifted> {
    const VERB: &str = "shift owners of tree";
    if base & !UPPER != 0 || base >= BUSY {
        return Err(Cause::Why("the id range does not begin at a multiple of 65536, or is reserved").on(VERB, name));
    }
    let before = rustix::fs::fstat(tree).on(VERB, name)?;
    if before.st_uid & UPPER == base && before.st_gid & UPPER == base {
        return Ok(Shifted::Already);
    }
    let top = walk::readable(tree).on(VERB, name)?;
    rustix::fs::fchown(&top, Some(Uid::from_raw(BUSY | before.st_uid & !UPPER)), Some(Gid::from_raw(BUSY | before.st_gid & !UPPER)))
        .on(VERB, name)?;
    all(top, &before, name, base, threads)
}

/// The same for a tree that was just made, whose ids are below 65 536, and any `base` that is not. Nobody does it again.
pub fn give(tree: BorrowedFd<'_>, name: &Path, base: u32) -> Result<Shifted> {
    const VERB: &str = "give tree";
    if base & UPPER == 0 || base >= BUSY {
        return Err(Cause::Why("the id range begins below 65536, or is reserved").on(VERB, name));
    }
    let before = rustix::fs::fstat(tree).on(VERB, name)?;
    all(walk::readable(tree).on(VERB, name)?, &before, name, base, 0)
}

/// What the id of a file becomes; one in the range stays.
fn shifted(id: u32, base: u32) -> u32 {
    if id.wrapping_sub(base) <= !UPPER { id } else { base + (id & !UPPER) }
}

fn all(top: OwnedFd, before: &Stat, name: &Path, base: u32, threads: usize) -> Result<Shifted> {
    const VERB: &str = "shift owners of tree";
    let open = OpenDirectories::default();
    let context = Context { base, name, open: &open, changed: AtomicU64::new(1), several_names: Mutex::new(()) };
    let top = Arc::new(Dir { fd: top, path: PathBuf::new(), _open: open.count() });
    let threads = if threads == 0 { walk::THREADS } else { threads };
    walk::run(threads, &open, None, |job: Option<Job<'_>>, queue: &Queue<Option<Job<'_>>, Error>| match job {
        None => context.entries(&top, queue),
        Some(job) => context.descend(job, queue),
    })?;
    context.own(&top, before).map_err(|e| e.on(VERB, name))?;
    Ok(Shifted::Changed(context.changed.into_inner()))
}

struct Dir<'a> {
    fd: OwnedFd,
    path: PathBuf,
    _open: Counted<'a>,
}

struct Job<'a> {
    above: Arc<Dir<'a>>,
    name: CString,
}

struct Context<'a> {
    base: u32,
    name: &'a Path,
    open: &'a OpenDirectories,
    changed: AtomicU64,
    /// Held while a file that several directories may name is changed in several steps.
    several_names: Mutex<()>,
}

/// Where to open an entry that must not have been exchanged for a link or be a mount.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

impl<'a> Context<'a> {
    fn fail(&self, dir: &Dir<'_>, name: &CStr) -> impl FnOnce(Cause) -> Error + use<> {
        let object = self.name.join(&dir.path).join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        move |cause| cause.on("shift owner of", &object)
    }

    /// The new ids of a file, `None` when it has them.
    fn ids(&self, stat: &Stat) -> Option<(Option<Uid>, Option<Gid>)> {
        let (uid, gid) = (shifted(stat.st_uid, self.base), shifted(stat.st_gid, self.base));
        if (uid, gid) == (stat.st_uid, stat.st_gid) {
            return None;
        }
        self.changed.fetch_add(1, Ordering::Relaxed);
        Some((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
    }

    fn descend(&self, job: Job<'a>, queue: &Queue<Option<Job<'a>>, Error>) -> Result<()> {
        let Job { above, name } = job;
        let fd = match walk::subdirectory(above.fd.as_fd(), &name) {
            // Something is mounted there; or it went away.
            Err(Errno::XDEV | Errno::NOENT) => return Ok(()),
            Ok(fd) => fd,
            Err(e) => return Err(self.fail(&above, &name)(e.into())),
        };
        let dir = Arc::new(Dir { fd, path: above.path.join(std::ffi::OsStr::from_bytes(name.to_bytes())), _open: self.open.count() });
        drop(above);
        let own = rustix::fs::fstat(&dir.fd).map_err(Cause::from).and_then(|stat| self.own(&dir, &stat));
        own.map_err(|e| self.fail(&dir, c"")(e))?;
        self.entries(&dir, queue)
    }

    /// Changes a directory itself.
    fn own(&self, dir: &Dir<'_>, stat: &Stat) -> std::result::Result<(), Cause> {
        Attributes::list(dir.fd.as_fd(), c"")?.shift_acls(dir.fd.as_fd(), c"", self.base)?;
        if let Some((uid, gid)) = self.ids(stat) {
            rustix::fs::fchown(&dir.fd, uid, gid)?;
        }
        Ok(())
    }

    fn entries(&self, dir: &Arc<Dir<'a>>, queue: &Queue<Option<Job<'a>>, Error>) -> Result<()> {
        let mut failed = None;
        let read = walk::entries(dir.fd.as_fd(), |name, kind| -> std::result::Result<(), Errno> {
            if kind == FileType::Directory {
                queue.push(Some(Job { above: dir.clone(), name: name.to_owned() }));
                return Ok(());
            }
            match self.entry(dir.fd.as_fd(), name) {
                Ok(()) | Err(Cause::Os(Errno::NOENT)) => Ok(()),
                Err(e) => {
                    failed = Some(self.fail(dir, name)(e));
                    Err(Errno::CANCELED)
                }
            }
        });
        match (failed, read) {
            (Some(e), _) => Err(e),
            (None, Err(e)) => Err(self.fail(dir, c"")(e.into())),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Changes an entry that is no directory.
    fn entry(&self, dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<(), Cause> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink {
            if let Some((uid, gid)) = self.ids(&stat) {
                rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            return Ok(());
        }
        let attributes = Attributes::list(dir, name)?;
        if kind == FileType::RegularFile && (stat.st_mode & 0o6000 != 0 || attributes.needs_care()) {
            return self.careful(dir, name);
        }
        attributes.shift_acls(dir, name, self.base)?;
        if let Some((uid, gid)) = self.ids(&stat) {
            rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Changes a file with set-user-id bits or capabilities, which chown(2) clears.
    ///
    /// What they were is noted on the file first: if we are killed before they are back, the next walk finds the note.
    fn careful(&self, dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<(), Cause> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match openat2(dir, name, flags, Mode::empty(), RESOLVE) {
            Err(Errno::XDEV) => return Ok(()),
            other => other?,
        };
        // Another thread may meet the same file by another name between our steps.
        let _alone = self.several_names.lock().unwrap_or_else(PoisonError::into_inner);
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Cause::Why("it changed its type meanwhile"));
        }
        let attributes = Attributes::list(file.as_fd(), c"")?;
        attributes.shift_acls(file.as_fd(), c"", self.base)?;
        let ids = self.ids(&stat);
        let noted = attributes.note(file.as_fd())?;
        if ids.is_none() && noted.is_none() {
            return Ok(());
        }
        let keep = match noted {
            Some(noted) => noted,
            None => attributes.keep(file.as_fd(), stat.st_mode, self.base)?,
        };
        keep.write_note(file.as_fd())?;
        if let Some((uid, gid)) = ids {
            rustix::fs::fchown(&file, uid, gid)?;
        }
        keep.put_back(file.as_fd())
    }
}

#[cfg(test)]
mod tests;
