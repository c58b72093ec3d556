//! Taking back what a dead supervisor left: its journal, last record first.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use hostel_spec::MachineName;
use hostel_sys::clone::pidfd_send_signal;

use super::identity::boot_id;
use super::remove::remove_tree;
use super::undo::{Journal, Undo};
use crate::network::{firewall, forwarding, wire};
use crate::program;
use crate::supervisor::netns;

const SIGKILL: i32 = 9;
/// How long killed processes and their cgroups are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was taken back and what not.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Records taken back or found gone.
    pub undone: usize,
    /// `verb object: cause` of each that could not be.
    pub failures: Vec<String>,
    /// Lines of the journal that could not be read.
    pub damaged: usize,
}

/// Takes back everything in `journal`. `state` is the registry's directory, `name` the machine the journal is of.
pub(crate) fn take_back(journal: &Journal, state: &Path, name: &MachineName) -> Report {
    let mut report = Report { damaged: journal.damaged, ..Report::default() };
    let this_boot = match &journal.boot {
        Some(id) => boot_id().is_ok_and(|now| now == *id),
        // Without a first line the records cannot be told from those of an older boot; identities still can.
        None => true,
    };
    let mut programs = Vec::new();
    for record in journal.records.iter().rev() {
        if record.ends_with_boot() && !this_boot {
            report.undone += 1;
            continue;
        }
        if let Undo::Program { words, .. } = record {
            // What came of it is in its log: a program that fails keeps nothing back.
            if !programs.contains(&words) {
                programs.push(words);
                let _ = program::take_back(record);
            }
            report.undone += 1;
            continue;
        }
        match execute(record, state) {
            Ok(()) => report.undone += 1,
            Err(failure) => report.failures.push(failure),
        }
    }
    if journal.damaged > 0 && this_boot {
        for path in conventional_cgroups(name) {
            if let Err(error) = remove_cgroup(&path) {
                report.failures.push(format!("remove cgroup {}: {error}", path.display()));
            }
        }
    }
    report
}

/// Takes back one record; an error is the sentence to tell.
pub fn execute(record: &Undo, state: &Path) -> Result<(), String> {
    record.check(state).map_err(|refused| refused.to_string())?;
    let done = match record {
        Undo::Boot { .. } => Ok(()),
        Undo::Leader { process } => match process.open() {
            Ok(Some(pidfd)) => kill_and_wait(pidfd.as_fd()),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        },
        Undo::Cgroup { path } => remove_cgroup(Path::new(path.as_os_str())),
        Undo::EmptyCgroup { path } => crate::cgroup::leave(Path::new(path.as_os_str())).map_err(|e| io::Error::other(e.to_string())),
        Undo::Directory { path } => remove_directory(Path::new(path.as_os_str())),
        Undo::Work { path } => remove_work(Path::new(path.as_os_str())),
        Undo::File { path } => remove_file(Path::new(path.as_os_str()), state),
        Undo::Mount { path } => detach(Path::new(path.as_os_str())),
        Undo::Mapping { name } => hostel_sys::mapper::remove(name),
        Undo::Link { name, alias } => wire::delete_link(name, alias),
        Undo::Interface { host, inside, mac } => wire::rename_back(host, inside, *mac),
        Undo::Zone { zone } => wire::remove_zone(zone, state, None),
        Undo::Address { link, address } => wire::remove_address(link, *address),
        Undo::NetworkName { name, namespace } => netns::forget(name, *namespace),
        Undo::Program { .. } => program::take_back(record),
        Undo::Firewall { machine } => firewall::take_back(machine),
        Undo::Forwarding { path, link } => forwarding::release(Path::new(path.as_os_str()), link),
    };
    done.map_err(|error| format!("{}: {}", record.describe(), crate::error::io_text(&error)))
}

/// Whether there may still be something to take back. What cannot be told is.
pub(crate) fn is_pending(record: &Undo) -> bool {
    let exists = |path: &hostel_spec::OsText| !matches!(rustix::fs::lstat(path.as_os_str()), Err(Errno::NOENT));
    match record {
        Undo::Boot { .. } => false,
        Undo::Leader { process } => !matches!(process.open(), Ok(None)),
        // A relative path is below a hierarchy that is not mounted here.
        Undo::Cgroup { path } => !Path::new(path.as_os_str()).is_absolute() || exists(path),
        Undo::Directory { path } | Undo::Work { path } | Undo::File { path } | Undo::EmptyCgroup { path } => exists(path),
        Undo::Forwarding { path, .. } => exists(path),
        Undo::NetworkName { .. } | Undo::Program { .. } => true,
        Undo::Mount { .. } | Undo::Mapping { .. } | Undo::Link { .. } => true,
        Undo::Interface { .. } | Undo::Zone { .. } | Undo::Address { .. } | Undo::Firewall { .. } => true,
    }
}

fn kill_and_wait(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    match pidfd_send_signal(pidfd, SIGKILL) {
        Err(e) if Errno::from_io_error(&e) == Some(Errno::SRCH) => return Ok(()),
        other => other?,
    }
    wait_for_end(pidfd, PATIENCE)?.then_some(()).ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))
}

/// Waits until a process has ended; `false` after `limit`.
pub(crate) fn wait_for_end(pidfd: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
    Ok(!wait_for_any(&[pidfd], limit)?.is_empty())
}

/// Waits until one of these processes has ended (or a pipe has something); which of them, by their place; none: the time is over.
pub(crate) fn wait_for_any(pidfds: &[BorrowedFd<'_>], limit: Duration) -> io::Result<Vec<usize>> {
    let deadline = Instant::now() + limit;
    let mut polled: Vec<PollFd<'_>> = pidfds.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) => return Ok((0..polled.len()).filter(|at| !polled[*at].revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Opens the directory a path is in, and its last part. `None`: that directory is missing.
fn parent_of(path: &Path) -> io::Result<Option<(OwnedFd, CString)>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(io::Error::from(io::ErrorKind::InvalidInput)) };
    match rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some((fd, c_string(name.as_bytes())?))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match parent_of(path)? {
        Some((parent, name)) => remove_made(parent.as_fd(), &name),
        None => Ok(()),
    }
}

/// What lies behind a link now is not what was made there.
fn remove_work(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(io::Error::from(io::ErrorKind::InvalidInput)) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(rustix::fs::CWD, parent, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS) {
        Ok(parent) => remove_made(parent.as_fd(), &c_string(name.as_bytes())?),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a directory that was made there; a link or a file in its place is not that.
fn remove_made(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match remove_tree(parent, name) {
        Err(Errno::LOOP | Errno::NOTDIR) if !is_directory(parent, name)? => Ok(()),
        other => Ok(other?),
    }
}

fn is_directory(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn remove_file(path: &Path, state: &Path) -> io::Result<()> {
    let opened = match path.strip_prefix(state) {
        // Below the state directory no link is followed: nobody but us should have made one.
        Ok(relative) => {
            let (Some(dir), Some(name)) = (relative.parent(), relative.file_name()) else { return Err(io::Error::from(io::ErrorKind::InvalidInput)) };
            let top = rustix::fs::open(state, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            match openat2(&top, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Ok(fd) => Some((fd, c_string(name.as_bytes())?)),
                Err(Errno::NOENT) => None,
                Err(error) => return Err(error.into()),
            }
        }
        Err(_) => parent_of(path)?,
    };
    let Some((parent, name)) = opened else { return Ok(()) };
    match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn detach(path: &Path) -> io::Result<()> {
    let path = c_string(path.as_os_str().as_bytes())?;
    // Several may lie over one another; an end is put to it because each round takes one away.
    for _ in 0..256 {
        match hostel_sys::mount::detach(&path) {
            Ok(()) => {}
            // EINVAL: nothing is mounted there.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::NOENT)) => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::from(io::ErrorKind::ResourceBusy))
}

/// Kills all that is in a cgroup and removes it, with all below it. That it is missing is success.
pub(crate) fn remove_cgroup(path: &Path) -> io::Result<()> {
    crate::cgroup::remove_paths(&[path.to_owned()]).map_err(|e| io::Error::other(e.to_string()))
}

/// Where the cgroups of machine `name` would be, for when the journal that says so is damaged.
fn conventional_cgroups(name: &MachineName) -> Vec<PathBuf> {
    let Ok(mounts) = std::fs::read("/proc/self/mountinfo") else { return Vec::new() };
    let mut out = Vec::new();
    for line in mounts.split(|b| *b == b'\n') {
        let line = String::from_utf8_lossy(line);
        let Some((left, right)) = line.split_once(" - ") else { continue };
        if !right.starts_with("cgroup ") && !right.starts_with("cgroup2 ") {
            continue;
        }
        let Some(point) = left.split(' ').nth(4) else { continue };
        let path = Path::new(point).join("hostel").join(name.as_str());
        if path.is_dir() {
            out.push(path);
        }
    }
    out
}
