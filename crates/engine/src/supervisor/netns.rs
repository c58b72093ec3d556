//! A machine's network by name: a mount of its namespace in /run/netns, as ip-netns(8) makes and finds them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_sys::mount::{self, Attributes, Propagation};
use hostel_sys::{clone, proc};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::launch::record;
use crate::error::{Context, Error, Result, io_text};
use crate::registry::{Claim, Undo};

const DIRECTORY: &CStr = c"/run/netns";

/// `f_type` of what namespaces are.
const NAMESPACES: u64 = 0x6e73_6673;

/// Names the network of the process `pid`, and returns its inode. `host`: the host's mount namespace, when we are in another.
pub(super) fn name(name: &str, pid: i32, host: Option<BorrowedFd<'_>>, claim: &mut Claim) -> Result<u64> {
    let object = format!("network name /run/netns/{name}");
    let place = c_string(format!("/run/netns/{name}"));
    if rustix::fs::lstat(&place).is_ok() {
        return Err(Error::new("make", object, "somebody has a network of that name").hint(format!("ip netns delete {name}")));
    }
    let namespace = rustix::fs::open(format!("/proc/{pid}/ns/net"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context("open", "network")?;
    let inode = rustix::fs::fstat(&namespace).context("look at", "network")?.st_ino;
    record(claim, Undo::NetworkName { name: name.to_owned(), namespace: inode })?;
    // By this process' number: in the host's mount namespace /proc is that of the host.
    let path = c_string(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&namespace)));
    within(host, || {
        shared_directory()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(&place, flags, Mode::empty())?;
        let bound = mount::clone_tree(CWD, &path, false)?;
        mount::attach(bound.as_fd(), CWD, &place)
    })
    .map_err(|e| Error::new("make", object, io_text(&e)))?;
    Ok(inode)
}

/// Takes the name away; that there is none is success, and that it is another network's by now.
pub(crate) fn forget(name: &str, namespace: u64) -> io::Result<()> {
    let place = c_string(format!("/run/netns/{name}"));
    let named = || rustix::fs::statfs(&place).is_ok_and(|s| s.f_type as u64 == NAMESPACES);
    if namespace != 0 && named() && rustix::fs::stat(&place)?.st_ino != namespace {
        return Ok(());
    }
    match mount::detach(&place) {
        Err(e) if !matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::NOENT)) => return Err(e),
        _ => {}
    }
    match rustix::fs::unlink(&place) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Does something in the host's mount namespace, and comes back.
pub(super) fn within<T>(host: Option<BorrowedFd<'_>>, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(host) = host else { return work() };
    let own: OwnedFd = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    proc::join_namespace(host, clone::NEWNS as i32)?;
    let done = work();
    proc::join_namespace(own.as_fd(), clone::NEWNS as i32)?;
    done
}

/// What is mounted in it is to be seen by everybody: it is a shared mount of its own, as ip-netns(8) makes it.
fn shared_directory() -> io::Result<()> {
    match rustix::fs::mkdir(DIRECTORY, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    let share = || mount::change(CWD, DIRECTORY, false, Attributes::NONE, Attributes::NONE, Propagation::Shared, None);
    match share() {
        Err(e) if Errno::from_io_error(&e) == Some(Errno::INVAL) => {
            let own = mount::clone_tree(CWD, DIRECTORY, true)?;
            mount::attach(own.as_fd(), CWD, DIRECTORY)?;
            share()
        }
        other => other,
    }
}

fn c_string(text: String) -> CString {
    CString::new(text).unwrap_or_default()
}
