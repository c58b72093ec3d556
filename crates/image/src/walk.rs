//! Walking a tree in several threads by descriptors: a stack of directories still to do, and reading one directory.
//!
//! A directory on the stack is opened when its turn comes. The last one found is done first, so that the number of open
//! directories stays near the depth of the tree, however many files it has; a tree that is very deep is done from the top
//! meanwhile. An image chooses its shape, not how many descriptors we need.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use hostel_sys::tree::openat2;
use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

/// Threads to use when the caller does not say: the work is bound by the file system's locks, more do not help.
pub(crate) const THREADS: usize = 2;

/// With more directories open than this, the oldest job is done first: it may be what keeps a directory far above open.
const CROWD: usize = 150;

/// Counts the directories that a walk has open.
#[derive(Default)]
pub(crate) struct OpenDirectories(AtomicUsize);

impl OpenDirectories {
    /// Counts one more, until what is returned is dropped.
    pub(crate) fn count(&self) -> Counted<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self)
    }
}

/// One open directory.
pub(crate) struct Counted<'a>(&'a OpenDirectories);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Jobs still to do.
pub(crate) struct Queue<J, E> {
    state: Mutex<State<J, E>>,
    changed: Condvar,
}

struct State<J, E> {
    jobs: VecDeque<J>,
    working: usize,
    failed: Option<E>,
}

impl<J, E> Queue<J, E> {
    fn lock(&self) -> MutexGuard<'_, State<J, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, to be done next.
    pub(crate) fn push(&self, job: J) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Adds a job, to be done when all others are.
    pub(crate) fn push_last(&self, job: J) {
        self.lock().jobs.push_front(job);
        self.changed.notify_one();
    }
}

/// Does `first` and all jobs that jobs push, in `threads` threads, the caller's among them. The first failure stops all.
pub(crate) fn run<J: Send, E: Send>(
    threads: usize,
    open: &OpenDirectories,
    first: J,
    work: impl Fn(J, &Queue<J, E>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let queue = Queue { state: Mutex::new(State { jobs: VecDeque::from([first]), working: 0, failed: None }), changed: Condvar::new() };
    let worker = || {
        let mut state = queue.lock();
        loop {
            if state.failed.is_some() {
                return;
            }
            let next = if open.0.load(Ordering::Relaxed) > CROWD { state.jobs.pop_front() } else { state.jobs.pop_back() };
            let Some(job) = next else {
                if state.working == 0 {
                    queue.changed.notify_all();
                    return;
                }
                state = queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.working += 1;
            drop(state);
            let result = work(job, &queue);
            state = queue.lock();
            state.working -= 1;
            if let Err(e) = result {
                state.failed.get_or_insert(e);
                queue.changed.notify_all();
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Without more threads the caller's own does all of it.
            let _ = std::thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    match queue.state.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

/// Opens the subdirectory `name` for reading: ELOOP or ENOTDIR when it is a link, EXDEV when something is mounted there.
pub(crate) fn subdirectory(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    openat2(dir, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV)
}

/// Opens the directory `dir` (maybe O_PATH) again for reading.
pub(crate) fn readable(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Calls `each` with the name and type of every entry of `dir` but `.` and `..`.
pub(crate) fn entries<E: From<Errno>>(dir: BorrowedFd<'_>, mut each: impl FnMut(&CStr, FileType) -> Result<(), E>) -> Result<(), E> {
    let mut buffer = Vec::with_capacity(16384);
    let mut reader = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = reader.next() {
        let entry = match entry {
            // getdents(2) of a directory that another process has removed meanwhile: it has nothing any more.
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(E::from)?,
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            match rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => kind = FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e.into()),
            }
        }
        each(name, kind)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
