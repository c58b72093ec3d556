//! A whole subtree of cgroups: its processes, their end, its removal.
//!
//! A guest may nest its groups a thousand deep or make a million of them. The walk holds one descriptor at a time,
//! goes down by name and up by `..` (a cgroup cannot be moved elsewhere), and does not recurse.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::error::CgroupError;
use super::files;

/// How long the processes of a machine may take to die.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a walk does when it leaves a cgroup.
enum Leave<'a> {
    Visit(&'a mut dyn FnMut(BorrowedFd<'_>)),
    Remove,
}

/// Goes through all cgroups below `top`, the deepest first, and with [`Leave::Visit`] `top` itself at the end.
/// What vanishes meanwhile is skipped.
fn walk(top: BorrowedFd<'_>, leave: &mut Leave<'_>) -> Result<(), Errno> {
    let mut here: OwnedFd = rustix::io::fcntl_dupfd_cloexec(top, 0)?;
    // What is still to do in each directory from the top down to here, and the name of each below the top.
    let mut left: Vec<Vec<CString>> = vec![files::children(top)?];
    let mut names: Vec<CString> = Vec::new();
    while let Some(todo) = left.last_mut() {
        if let Some(name) = todo.pop() {
            if let Ok(child) = files::open_below(here.as_fd(), &name) {
                left.push(files::children(child.as_fd()).unwrap_or_default());
                names.push(name);
                here = child;
            }
            continue;
        }
        left.pop();
        if let Leave::Visit(visit) = leave {
            visit(here.as_fd());
        }
        let Some(name) = names.pop() else { break };
        here = openat(here.as_fd(), "..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        if matches!(leave, Leave::Remove) {
            // In use: the caller sees that when it comes to the top.
            let _ = unlinkat(&here, name, AtFlags::REMOVEDIR);
        }
    }
    Ok(())
}

/// All processes of a subtree, as our own pid namespace numbers them.
pub(crate) fn procs(top: BorrowedFd<'_>) -> Result<Vec<Pid>, Errno> {
    let mut pids = Vec::new();
    let mut visit = |dir: BorrowedFd<'_>| {
        // EOPNOTSUPP: a threaded cgroup, whose processes are listed at the top of the threaded subtree.
        let text = files::read(dir, "cgroup.procs").unwrap_or_default();
        // Zero: a process that our pid namespace does not see.
        pids.extend(text.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw));
    };
    walk(top, &mut Leave::Visit(&mut visit))?;
    Ok(pids)
}

/// Sends SIGKILL to everything in a v2 subtree, also to what is being forked.
pub(crate) fn kill(top: BorrowedFd<'_>) -> Result<(), Errno> {
    match files::write(top, "cgroup.kill", "1") {
        Err(Errno::NOENT) => kill_one_by_one(top),
        done => done,
    }
}

/// Before Linux 5.14: the frozen neither fork nor end, so that no number can pass to a stranger meanwhile.
pub(crate) fn kill_one_by_one(top: BorrowedFd<'_>) -> Result<(), Errno> {
    let frozen = files::write(top, "cgroup.freeze", "1");
    let until = Instant::now() + PATIENCE;
    loop {
        let pids = procs(top)?;
        for pid in pids.iter().filter(|pid| !pid.is_init()) {
            let _ = kill_process(*pid, Signal::KILL);
        }
        if pids.is_empty() || Instant::now() > until {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // A later machine of that name must not be born frozen; where there is no such file there is nothing to thaw.
    frozen.and_then(|()| files::write(top, "cgroup.freeze", "0")).or(Ok(()))
}

/// Removes the cgroup `name` in `parent` with everything below it, after killing what is in it.
///
/// It is fine if it does not exist. `shown` is its path for messages.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &str, shown: &Path, patience: Duration) -> Result<(), CgroupError> {
    let rmdir = || unlinkat(parent, name, AtFlags::REMOVEDIR);
    let failed = || CgroupError::sys("remove cgroup", shown);
    match rmdir() {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        Err(errno) => return Err(failed()(errno)),
    }
    let name_c = CString::new(name).map_err(|_| failed()(Errno::INVAL))?;
    let dir = match files::open_below(parent, &name_c) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir.map_err(failed())?,
    };
    let events = openat(&dir, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
    let until = Instant::now() + patience;
    let mut pause = Duration::from_micros(200);
    loop {
        let populated = events.as_ref().is_none_or(|fd| files::read_open(fd.as_fd()).is_ok_and(|text| !text.contains("populated 0")));
        if populated {
            // Again every time: somebody may be moving processes in.
            kill(dir.as_fd()).map_err(CgroupError::sys("kill processes of cgroup", shown))?;
        }
        walk(dir.as_fd(), &mut Leave::Remove).map_err(failed())?;
        match rmdir() {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) if Instant::now() < until => wait(events.as_ref(), pause),
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                return Err(CgroupError::Timeout { verb: "remove cgroup", path: shown.to_owned(), millis: patience.as_millis() as u64 });
            }
            Err(errno) => return Err(failed()(errno)),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Waits until cgroup.events changes, at most `pause`.
pub(crate) fn wait(events: Option<&OwnedFd>, pause: Duration) {
    let Some(fd) = events else { return std::thread::sleep(pause) };
    let timeout = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
    // An interruption only makes the wait shorter.
    let _ = poll(&mut [PollFd::new(fd, PollFlags::PRI)], Some(&timeout));
}
