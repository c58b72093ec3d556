//! Copying what is in a tree, directory by directory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use hostel_sys::tree::openat2;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

use super::file::{self, Means, Room};
use super::{Counter, Method, Options};
use crate::walk::{self, Counted, OpenDirectories, Queue};
use crate::{Cause, Error, Result, partial};

/// A directory of the source, its copy, and where it is below the top.
struct Pair<'a> {
    from: OwnedFd,
    to: OwnedFd,
    path: PathBuf,
    _open: Counted<'a>,
}

/// A subdirectory whose copy has been made but not filled.
struct Job<'a> {
    above: Arc<Pair<'a>>,
    name: CString,
}

struct Context<'a> {
    name: &'a Path,
    /// Device and inode of the copy: it may be below the source.
    copy: (u64, u64),
    /// The copy's top, for hard links.
    top: BorrowedFd<'a>,
    open: &'a OpenDirectories,
    means: Means,
    counter: &'a Counter<'a>,
    /// First copy of a file with several names, by its inode.
    linked: Mutex<HashMap<(u64, u64), PathBuf>>,
}

thread_local! {
    static ROOM: RefCell<(Vec<u8>, Room)> = RefCell::default();
}

/// Copies the entries and the own attributes of `from` into the fresh directory `to`.
pub(crate) fn copy(from: BorrowedFd<'_>, name: &Path, to: BorrowedFd<'_>, options: &Options<'_>, counter: &Counter<'_>) -> Result<Method> {
    let fail = |e: Errno| Cause::Os(e).on("copy", name);
    let own = rustix::fs::fstat(to).map_err(fail)?;
    // A set-group-id bit or default ACL of the directory above would be handed down to every copied file.
    rustix::fs::fchown(
        to,
        Some(Uid::ROOT).filter(|_| rustix::process::geteuid().is_root()),
        Some(Gid::from_raw(rustix::process::getegid().as_raw())),
    )
    .map_err(fail)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(0o700)).map_err(fail)?;
    file::drop_inherited_acls(to).map_err(|e| e.on("copy", name))?;

    let open = OpenDirectories::default();
    let context = Context { name, open: &open, copy: (own.st_dev, own.st_ino), top: to, means: Means::new(), counter, linked: Mutex::default() };
    let top = Arc::new(Pair {
        from: walk::readable(from).map_err(fail)?,
        to: walk::readable(to).map_err(fail)?,
        path: PathBuf::new(),
        _open: open.count(),
    });
    let threads = if options.threads == 0 { walk::THREADS } else { options.threads };
    walk::run(threads, &open, None, |job: Option<Job<'_>>, queue: &Queue<Option<Job<'_>>, Error>| match job {
        None => context.fill(&top, queue),
        Some(job) => context.descend(job, queue),
    })?;
    // The top last: until here nobody but root can look into a half copy.
    context.finish(&top)?;
    Ok(if context.means.reflinked.load(Ordering::Relaxed) { Method::Reflink } else { Method::Bytes })
}

impl<'a> Context<'a> {
    fn fail(&self, dir: &Pair<'_>, name: &CStr) -> impl Fn(Cause) -> Error + use<> {
        let object = self.name.join(&dir.path).join(OsStr::from_bytes(name.to_bytes()));
        move |cause| cause.on("copy", &object)
    }

    fn descend(&self, job: Job<'a>, queue: &Queue<Option<Job<'a>>, Error>) -> Result<()> {
        let Job { above, name } = job;
        let open = || -> std::result::Result<Option<Pair<'a>>, Cause> {
            let from = match walk::subdirectory(above.from.as_fd(), &name) {
                // Something is mounted there, or it went away: the copy keeps an empty directory.
                Err(Errno::XDEV | Errno::NOENT) => return Ok(None),
                other => other?,
            };
            let to = walk::subdirectory(above.to.as_fd(), &name)?;
            Ok(Some(Pair { from, to, path: above.path.join(OsStr::from_bytes(name.to_bytes())), _open: self.open.count() }))
        };
        let Some(pair) = open().map_err(|e| self.fail(&above, &name)(e))? else { return Ok(()) };
        drop(above);
        let pair = Arc::new(pair);
        self.fill(&pair, queue)?;
        // Its entries are all made: what follows below does not touch its times.
        self.finish(&pair)
    }

    /// Copies the entries of a directory; subdirectories are made and queued.
    fn fill(&self, dir: &Arc<Pair<'a>>, queue: &Queue<Option<Job<'a>>, Error>) -> Result<()> {
        let top = dir.path.as_os_str().is_empty();
        let entry = |name: &CStr, kind: FileType| -> std::result::Result<(), Cause> {
            if kind == FileType::Directory {
                if top && name.to_bytes().starts_with(partial::PREFIX) || self.is_copy(dir, name)? {
                    return Ok(());
                }
                rustix::fs::mkdirat(&dir.to, name, Mode::from_raw_mode(0o700))?;
                queue.push(Some(Job { above: dir.clone(), name: name.to_owned() }));
            } else if kind == FileType::RegularFile {
                self.regular(dir, name)?;
            } else {
                self.special(dir, name)?;
            }
            self.counter.add_file();
            Ok(())
        };
        walk::entries(dir.from.as_fd(), |name, kind| match entry(name, kind) {
            // Removed since the directory was read.
            Err(Cause::Os(Errno::NOENT)) if gone(dir, name) => Ok(()),
            other => other.map_err(|e| Wrapped(self.fail(dir, name)(e))),
        })
        .map_err(|e| e.0)
        .map_err(|mut e| {
            if e.verb.is_empty() {
                (e.verb, e.object) = ("read directory", self.name.join(&dir.path));
            }
            e
        })
    }

    /// Whether a subdirectory of the source is the copy itself.
    fn is_copy(&self, dir: &Pair<'_>, name: &CStr) -> std::result::Result<bool, Errno> {
        let stat = rustix::fs::statat(&dir.from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((stat.st_dev, stat.st_ino) == self.copy)
    }

    fn finish(&self, dir: &Pair<'_>) -> Result<()> {
        let finish = || -> std::result::Result<(), Cause> {
            let stat = rustix::fs::fstat(&dir.from)?;
            let (uid, gid) = file::owner(&stat);
            rustix::fs::fchown(&dir.to, uid, gid)?;
            ROOM.with_borrow_mut(|(_, room)| file::attributes(dir.from.as_fd(), dir.to.as_fd(), c"", room))?;
            rustix::fs::fchmod(&dir.to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
            Ok(rustix::fs::futimens(&dir.to, &file::times(&stat))?)
        };
        finish().map_err(|e| self.fail(dir, c"")(e))
    }

    fn regular(&self, dir: &Pair<'_>, name: &CStr) -> std::result::Result<(), Cause> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let from = match openat2(dir.from.as_fd(), name, flags, Mode::empty(), resolve) {
            // A file mounted over a file: the copy gets an empty one to mount on again.
            Err(Errno::XDEV) => {
                self.create(dir, name)?;
                return Ok(());
            }
            other => other?,
        };
        let stat = rustix::fs::fstat(&from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Cause::Why("it changed its type while it was copied"));
        }
        let Some(to) = self.once(dir, name, &stat, || self.create(dir, name))? else { return Ok(()) };
        ROOM.with_borrow_mut(|(buffer, room)| -> std::result::Result<(), Cause> {
            file::contents(from.as_fd(), to.as_fd(), &stat, &self.means, buffer)?;
            let (uid, gid) = file::owner(&stat);
            rustix::fs::fchown(&to, uid, gid)?;
            // After chown(2), which takes capabilities away; chmod(2) last, for the same reason with set-user-id.
            file::attributes(from.as_fd(), to.as_fd(), c"", room)?;
            rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
            Ok(rustix::fs::futimens(&to, &file::times(&stat))?)
        })?;
        self.counter.add_bytes(u64::try_from(stat.st_size).unwrap_or(0));
        Ok(())
    }

    fn create(&self, dir: &Pair<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&dir.to, name, flags, Mode::from_raw_mode(0o600))
    }

    /// Makes a file, or when it is a further name of one that is made already, that link (`None`).
    fn once<T>(
        &self,
        dir: &Pair<'_>,
        name: &CStr,
        stat: &Stat,
        make: impl FnOnce() -> std::result::Result<T, Errno>,
    ) -> std::result::Result<Option<T>, Errno> {
        if stat.st_nlink < 2 {
            return make().map(Some);
        }
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        let inode = (stat.st_dev, stat.st_ino);
        if let Some(first) = linked.get(&inode) {
            match rustix::fs::linkat(self.top, first, &dir.to, name, AtFlags::empty()) {
                Ok(()) => return Ok(None),
                // Deeper than a path can say, or more links than this file system has: two files then.
                Err(Errno::NAMETOOLONG | Errno::MLINK) => return make().map(Some),
                Err(e) => return Err(e),
            }
        }
        // Under the lock, so that nobody links to what is not there yet; its contents may come later.
        let made = make()?;
        linked.insert(inode, dir.path.join(OsStr::from_bytes(name.to_bytes())));
        Ok(Some(made))
    }

    /// Links, devices, FIFOs, sockets.
    fn special(&self, dir: &Pair<'_>, name: &CStr) -> std::result::Result<(), Cause> {
        let stat = rustix::fs::statat(&dir.from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let made = match kind {
            FileType::Directory | FileType::RegularFile => return Err(Cause::Why("it changed its type while it was copied")),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&dir.from, name, Vec::new())?;
                self.once(dir, name, &stat, || rustix::fs::symlinkat(&*target, &dir.to, name))?
            }
            _ => self.once(dir, name, &stat, || rustix::fs::mknodat(&dir.to, name, kind, Mode::from_raw_mode(0o600), stat.st_rdev))?,
        };
        if made.is_none() {
            return Ok(());
        }
        let (uid, gid) = file::owner(&stat);
        rustix::fs::chownat(&dir.to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        ROOM.with_borrow_mut(|(_, room)| file::attributes(dir.from.as_fd(), dir.to.as_fd(), name, room))?;
        if kind != FileType::Symlink {
            rustix::fs::chmodat(&dir.to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
        }
        Ok(rustix::fs::utimensat(&dir.to, name, &file::times(&stat), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn gone(dir: &Pair<'_>, name: &CStr) -> bool {
    matches!(rustix::fs::statat(&dir.from, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}

/// An [`Error`] that reading a directory can fail with too; its object is filled in by the caller.
struct Wrapped(Error);

impl From<Errno> for Wrapped {
    fn from(errno: Errno) -> Self {
        Wrapped(Error { verb: "", object: PathBuf::new(), cause: Cause::Os(errno) })
    }
}
