//! Mounts that hold against a machine that is root over its own mount namespace.
//!
//! What the payload mounts in a namespace of its own user namespace belongs to it: its root could unmount a mask, make the
//! read-only writable, look below a tmpfs. The kernel locks mounts, each to the one below it and with its flags, when a
//! namespace is copied into one of *another* user namespace (mount_namespaces(7)). So the finished namespace takes a way
//! through the host's:
//!
//! ```text
//!  payload (machine's users)        supervisor             helper, in the supervisor's memory
//!    all mounted, pivoted
//!    one byte ─────────────────────►
//!                                     vfork ─────────────►  joins the payload's mount namespace
//!                                                           copies it (host's users: all is locked)
//!                                                           joins the machine's user namespace
//!                                                           copies it again (machine's own, still locked)
//!    joins that  ◄──── descriptor ── ◄───────────────────   opens it, ends
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_sys::{clone, proc};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::parcel;
use crate::error::{Context, Result};
use crate::inside;

/// Waits until the payload has mounted all, and gives it the locked copy. A payload that is gone is no error: its report says why.
pub(super) fn serve(go: BorrowedFd<'_>, payload: BorrowedFd<'_>, users: BorrowedFd<'_>) -> Result<()> {
    match rustix::io::retry_on_intr(|| rustix::io::read(go, &mut [0u8; 1])) {
        Ok(1) => {}
        _ => return Ok(()),
    }
    let made = match locked_copy(payload, users) {
        Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(()),
        other => other.context("lock", "mounts of the machine")?,
    };
    parcel::send_descriptors(go, &[made.locked.as_fd()]).context("send", "locked mounts to the payload")?;
    // Only now, while the payload goes on: a mount namespace that ends makes whoever let go of it wait for all processors.
    drop(made.between);
    drop(made.first);
    Ok(())
}

/// Mount namespaces of one machine.
struct Made {
    /// What the payload mounted.
    first: OwnedFd,
    /// Its copy, the host's.
    between: OwnedFd,
    /// The copy of that, the machine's.
    locked: OwnedFd,
}

fn locked_copy(payload: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<Made> {
    // Ours: the payload's has no entry of the helper, which is in our pid namespace.
    let proc = rustix::fs::open(c"/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    inside::helped(0, &mut || copy_twice(payload, users, proc.as_fd()))
}

fn copy_twice(payload: BorrowedFd<'_>, users: BorrowedFd<'_>, proc: BorrowedFd<'_>) -> io::Result<Made> {
    let own = || rustix::fs::openat(proc, c"self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    clone::setns_pidfd(payload, clone::NEWNS)?;
    let first = own()?;
    proc::unshare_mounts()?;
    let between = own()?;
    proc::join_namespace(users, clone::NEWUSER as i32)?;
    proc::unshare_mounts()?;
    Ok(Made { first, between, locked: own()? })
}

/// In the payload: moves into the locked copy of its mount namespace, to its root. `None`: the supervisor is gone.
///
/// What it opened before lies in the old one and leads nowhere any more.
pub(super) fn enter(go: BorrowedFd<'_>) -> io::Result<Option<()>> {
    rustix::io::write(go, b"l")?;
    let Some(fds) = parcel::receive_descriptors(go)? else { return Ok(None) };
    let locked = parcel::next(&mut fds.into_iter())?;
    proc::join_namespace(locked.as_fd(), clone::NEWNS as i32)?;
    Ok(Some(()))
}

/// The same terminal as `old`, found below the /dev/pts that the caller sees: ttyname(3) looks for its path.
pub(super) fn reopen_terminal(old: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let seen = rustix::fs::fstat(old)?;
    let path = format!("/dev/pts/{}", rustix::fs::minor(seen.st_rdev));
    // Looked at first: opening another file could wait for ever, and a flag against links would show in the payload's descriptors.
    let now = rustix::fs::lstat(&path)?;
    if (now.st_dev, now.st_ino) != (seen.st_dev, seen.st_ino) {
        return Err(io::Error::other("another file is there"));
    }
    Ok(rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?)
}
