//! Trying something in a child process with namespaces of its own: when it ends, so does all it made.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use hostel_sys::clone::{self, CloneArgs, Fork, NEWUSER, WaitStatus};
use hostel_sys::proc;
use rustix::fs::{Mode, OFlags};

use crate::registry::recover::wait_for_end;

const SIGKILL: i32 = 9;
/// No probe takes longer, unless the kernel hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Exit status of a child whose error has no number, or none that fits.
const UNKNOWN: i32 = 255;

/// Runs `body` in a child with new namespaces (`flags`: `hostel_sys::clone::NEW…`); its error is returned.
///
/// In a new user namespace the child is root, which is the caller outside.
pub(super) fn in_child(flags: u64, body: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    clone::assert_single_threaded()?;
    let outside = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match clone::clone3(&CloneArgs { flags, ..CloneArgs::default() })? {
        Fork::Child => clone::exit_now(status_of(child(flags, outside, body))),
        Fork::Parent { pidfd, .. } => finish(&pidfd),
    }
}

fn child(flags: u64, outside: (u32, u32), body: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    proc::set_parent_death_signal(SIGKILL)?;
    if flags & NEWUSER != 0 {
        map_self(outside)?;
    }
    body()
}

fn status_of(result: io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().filter(|n| (1..UNKNOWN).contains(n)).unwrap_or(UNKNOWN),
    }
}

fn finish(pidfd: &OwnedFd) -> io::Result<()> {
    if !wait_for_end(pidfd.as_fd(), PATIENCE)? {
        clone::pidfd_send_signal(pidfd.as_fd(), SIGKILL)?;
    }
    match clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED)? {
        Some(WaitStatus::Exited(0)) => Ok(()),
        Some(WaitStatus::Exited(n)) if n != UNKNOWN => Err(io::Error::from_raw_os_error(n)),
        _ => Err(io::Error::other("the probe failed")),
    }
}

/// Makes this process root of its new user namespace; that is allowed to anybody (user_namespaces(7)).
fn map_self((uid, gid): (u32, u32)) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// A user namespace in which 0…65535 are 65536 high ids, to map mounts with. No process is in it.
pub(super) fn id_map() -> io::Result<OwnedFd> {
    clone::assert_single_threaded()?;
    let (pid, pidfd) = match clone::clone3(&CloneArgs { flags: NEWUSER, ..CloneArgs::default() })? {
        Fork::Child => {
            if proc::set_parent_death_signal(SIGKILL).is_ok() {
                std::thread::sleep(PATIENCE);
            }
            clone::exit_now(0)
        }
        Fork::Parent { pid, pidfd } => (pid, pidfd),
    };
    let opened = ["uid_map", "gid_map"]
        .iter()
        .try_for_each(|file| std::fs::write(format!("/proc/{pid}/{file}"), "0 1000000000 65536"))
        .and_then(|()| Ok(rustix::fs::open(format!("/proc/{pid}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?));
    clone::pidfd_send_signal(pidfd.as_fd(), SIGKILL)?;
    clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED)?;
    opened
}
