//! This program executed anew in its own place, with all that the manager holds: see `manager/handover.rs`.

use std::ffi::{CString, OsString};
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use hostel_sys::{clone, proc};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::FdFlags;

use crate::journal::sockets::Sockets;
use crate::manager::Manager;

/// The number of the descriptor of what was saved.
const VARIABLE: &str = "HOSTEL_INIT_STATE";

/// What was saved by the program that was here before. Called before anything else takes descriptors.
pub(super) fn inherited() -> Option<String> {
    let number = std::env::var(VARIABLE).ok()?.parse().ok()?;
    let file = proc::take_inherited(number).ok()?;
    io::read_to_string(std::fs::File::from(file)).ok()
}

/// Whether a variable is of this and for nobody else.
pub(super) fn is_ours(name: &str) -> bool {
    name == VARIABLE
}

/// The descriptor of a number that was saved.
pub(super) fn take(number: i32) -> Option<OwnedFd> {
    proc::take_inherited(number).ok()
}

/// Executes the program anew. Returns only why it could not: then everything is as it was.
pub(super) fn execute(manager: &mut Manager, extra: &[(&str, BorrowedFd<'_>)], journal: Option<&Sockets>, named: &[String]) -> io::Error {
    manager.finish_lines();
    let Some(mut saved) = manager.save() else { return io::Error::other("something has begun meanwhile") };
    for (name, fd) in extra {
        let fd = saved.fd(*fd);
        saved.line(&[name, &fd]);
    }
    if let Some(journal) = journal {
        journal.save(&mut saved);
    }
    for name in named {
        saved.line(&["named", name]);
    }
    let keep = |fd: BorrowedFd<'_>, yes: bool| rustix::io::fcntl_setfd(fd, if yes { FdFlags::empty() } else { FdFlags::CLOEXEC });
    let memory = match file(&saved.text) {
        Ok(memory) => memory,
        Err(e) => return e,
    };
    let held = || saved.descriptors.iter().copied().chain(std::iter::once(memory.as_fd()));
    let failed = held().find_map(|fd| keep(fd, true).err());
    let error = failed.map_or_else(|| program(memory.as_raw_fd()), io::Error::from);
    for fd in held() {
        let _ = keep(fd, false);
    }
    error
}

fn file(text: &str) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(rustix::fs::memfd_create(c"hostel-init", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

/// The program at the path that this one was started from, which may be a newer one; or this very one, if nothing is there.
fn program(state: i32) -> io::Error {
    let link = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let open = |path: &std::path::Path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let found = match open(&link).or_else(|_| open(std::path::Path::new("/proc/self/exe"))) {
        Ok(found) => found,
        Err(e) => return e.into(),
    };
    let words = |list: Vec<OsString>| list.into_iter().filter_map(|word| CString::new(word.as_bytes()).ok()).collect::<Vec<_>>();
    let argv = words(std::env::args_os().collect());
    let variables = std::env::vars_os().filter(|(name, _)| name != VARIABLE).map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    let environment = words(variables.chain(std::iter::once(OsString::from(format!("{VARIABLE}={state}")))).collect());
    let pointers = |list: &[CString]| list.iter().map(|word| word.as_ptr()).chain(std::iter::once(std::ptr::null())).collect::<Vec<_>>();
    clone::execve_fd(found.as_fd(), &pointers(&argv), &pointers(&environment))
}
