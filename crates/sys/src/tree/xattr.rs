//! Extended attributes of a directory's entries, links not followed.
//!
//! Linux 6.13 has system calls for it; before that the same is reached through /proc/self/fd.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::check;

const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;
const SYS_REMOVEXATTRAT: libc::c_long = 466;
const AT_SYMLINK_NOFOLLOW: libc::c_uint = 0x100;
const AT_EMPTY_PATH: libc::c_uint = 0x1000;
const FLAGS: libc::c_uint = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;

static OLD_KERNEL: AtomicBool = AtomicBool::new(false);

#[repr(C, align(8))]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

fn is_old(result: &io::Result<libc::c_long>) -> bool {
    let old = matches!(result, Err(e) if e.raw_os_error() == Some(libc::ENOSYS));
    if old {
        OLD_KERNEL.store(true, Ordering::Relaxed);
    }
    old
}

/// The entry as a path through /proc/self/fd. An empty name is `dir` itself, whose magic link has to be followed.
fn proc_path(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}", dir.as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
    }
    CString::new(path).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Calls `call` with room for the answer, growing it until it fits (an attribute may grow meanwhile).
fn sized(buffer: &mut Vec<u8>, call: impl Fn(*mut u8, usize) -> io::Result<libc::c_long>) -> io::Result<()> {
    buffer.resize(buffer.capacity().max(256), 0);
    loop {
        match call(buffer.as_mut_ptr(), buffer.len()) {
            Ok(n) => {
                buffer.truncate(n as usize);
                return Ok(());
            }
            // The kernel's own limit for a list or a value is 64 KiB.
            Err(e) if e.raw_os_error() == Some(libc::ERANGE) && buffer.len() < 65536 => {
                let more = buffer.len() * 4;
                buffer.resize(more, 0);
            }
            Err(e) => {
                buffer.clear();
                return Err(e);
            }
        }
    }
}

/// Lists the attribute names of `dir`/`name` (empty name: `dir` itself) into `buffer`, each ended by a NUL.
pub fn list(dir: BorrowedFd<'_>, name: &CStr, buffer: &mut Vec<u8>) -> io::Result<()> {
    sized(buffer, |room, size| {
        if !OLD_KERNEL.load(Ordering::Relaxed) {
            // SAFETY: `name` is NUL-terminated, `room` is writable for `size` bytes.
            let result = check(unsafe { libc::syscall(SYS_LISTXATTRAT, dir.as_raw_fd(), name.as_ptr(), FLAGS, room, size) });
            if !is_old(&result) {
                return result;
            }
        }
        let path = proc_path(dir, name)?;
        let list = if name.is_empty() { libc::listxattr } else { libc::llistxattr };
        // SAFETY: as above.
        check(unsafe { list(path.as_ptr(), room.cast(), size) } as libc::c_long)
    })
}

/// Reads one attribute into `buffer`.
pub fn get(dir: BorrowedFd<'_>, name: &CStr, attribute: &CStr, buffer: &mut Vec<u8>) -> io::Result<()> {
    sized(buffer, |room, size| {
        if !OLD_KERNEL.load(Ordering::Relaxed) {
            let args = XattrArgs { value: room as u64, size: size as u32, flags: 0 };
            // SAFETY: both strings are NUL-terminated; `args` names `size` writable bytes and is passed with its own size.
            let result = check(unsafe {
                libc::syscall(SYS_GETXATTRAT, dir.as_raw_fd(), name.as_ptr(), FLAGS, attribute.as_ptr(), &args, size_of::<XattrArgs>())
            });
            if !is_old(&result) {
                return result;
            }
        }
        let path = proc_path(dir, name)?;
        let get = if name.is_empty() { libc::getxattr } else { libc::lgetxattr };
        // SAFETY: as above.
        check(unsafe { get(path.as_ptr(), attribute.as_ptr(), room.cast(), size) } as libc::c_long)
    })
}

/// Sets one attribute.
pub fn set(dir: BorrowedFd<'_>, name: &CStr, attribute: &CStr, value: &[u8]) -> io::Result<()> {
    if !OLD_KERNEL.load(Ordering::Relaxed) {
        let args = XattrArgs { value: value.as_ptr() as u64, size: value.len() as u32, flags: 0 };
        // SAFETY: both strings are NUL-terminated; `args` names readable bytes and is passed with its own size.
        let result =
            check(unsafe { libc::syscall(SYS_SETXATTRAT, dir.as_raw_fd(), name.as_ptr(), FLAGS, attribute.as_ptr(), &args, size_of::<XattrArgs>()) });
        if !is_old(&result) {
            return result.map(drop);
        }
    }
    let path = proc_path(dir, name)?;
    let set = if name.is_empty() { libc::setxattr } else { libc::lsetxattr };
    // SAFETY: both strings are NUL-terminated; `value` is readable for its length.
    check(libc::c_long::from(unsafe { set(path.as_ptr(), attribute.as_ptr(), value.as_ptr().cast(), value.len(), 0) })).map(drop)
}

/// Removes one attribute.
pub fn remove(dir: BorrowedFd<'_>, name: &CStr, attribute: &CStr) -> io::Result<()> {
    if !OLD_KERNEL.load(Ordering::Relaxed) {
        // SAFETY: both strings are NUL-terminated.
        let result = check(unsafe { libc::syscall(SYS_REMOVEXATTRAT, dir.as_raw_fd(), name.as_ptr(), FLAGS, attribute.as_ptr()) });
        if !is_old(&result) {
            return result.map(drop);
        }
    }
    let path = proc_path(dir, name)?;
    let remove = if name.is_empty() { libc::removexattr } else { libc::lremovexattr };
    // SAFETY: as above.
    check(libc::c_long::from(unsafe { remove(path.as_ptr(), attribute.as_ptr()) })).map(drop)
}
