//! System calls as they are: any failure ends the program.

use std::ffi::CStr;

pub(crate) const CLONE: u32 = 1;
pub(crate) const EMPTY: u32 = 0x1000;
pub(crate) const RECURSIVE: u32 = 0x8000;
pub(crate) const RDONLY: u64 = 1;
pub(crate) const NOSUID: u64 = 2;
pub(crate) const NODEV: u64 = 4;
pub(crate) const NOEXEC: u64 = 8;
pub(crate) const STRICTATIME: u64 = 0x20;
pub(crate) const IDMAP: u64 = 0x10_0000;

/// Says what failed, and ends.
#[cold]
pub(crate) fn die(what: &str) -> ! {
    let error = std::io::Error::last_os_error();
    let text = format!("hostel-floor: {what}: {error}\n");
    // SAFETY: a valid buffer; then no return.
    unsafe {
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::_exit(125)
    }
}

/// A system call whose failure is the end.
macro_rules! ok {
    ($what:literal, $nr:expr $(, $arg:expr)* $(,)?) => {{
        // SAFETY: every pointer among the arguments is to a live value of the kind the call wants; see the call's page.
        let ret = unsafe { libc::syscall($nr, $($arg),*) };
        if ret < 0 { $crate::kernel::die($what) }
        ret as i32
    }};
}
pub(crate) use ok;

/// A system call that may fail.
macro_rules! may {
    ($nr:expr $(, $arg:expr)* $(,)?) => {{
        // SAFETY: as in `ok`.
        unsafe { libc::syscall($nr, $($arg),*) as i32 }
    }};
}
pub(crate) use may;

pub(crate) fn close(fd: i32) {
    may!(libc::SYS_close, fd);
}

/// A new file system instance, detached.
pub(crate) fn filesystem(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> i32 {
    let null = std::ptr::null::<libc::c_char>();
    let context = ok!("fsopen", libc::SYS_fsopen, kind.as_ptr(), 1);
    for (key, value) in options {
        ok!("fsconfig", libc::SYS_fsconfig, context, 1, key.as_ptr(), value.as_ptr(), 0);
    }
    ok!("create file system", libc::SYS_fsconfig, context, 6, null, null, 0);
    let mount = ok!("fsmount", libc::SYS_fsmount, context, 1, attributes);
    close(context);
    mount
}

pub(crate) fn open_tree(dir: i32, path: &CStr, flags: u32) -> i32 {
    let empty = if path.is_empty() { EMPTY } else { 0 };
    ok!("open_tree", libc::SYS_open_tree, dir, path.as_ptr(), flags | empty | CLONE | libc::O_CLOEXEC as u32)
}

/// Attaches a detached mount at `dir`/`path`; an empty path is `dir` itself.
pub(crate) fn attach(mount: i32, dir: i32, path: &CStr) {
    let flags = 4 | if path.is_empty() { 0x40 } else { 0 };
    ok!("move_mount", libc::SYS_move_mount, mount, c"".as_ptr(), dir, path.as_ptr(), flags);
}

#[repr(C)]
struct Attr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

pub(crate) fn change(dir: i32, path: &CStr, flags: u32, set: u64, propagation: u64, userns: i32) {
    let attr = Attr { set, clear: 0, propagation, userns: userns as u64 };
    let empty = if path.is_empty() { EMPTY } else { 0 };
    ok!("mount_setattr", libc::SYS_mount_setattr, dir, path.as_ptr(), flags | empty, &raw const attr, 32);
}

pub(crate) fn open(dir: i32, path: &CStr, flags: i32) -> i32 {
    ok!("open", libc::SYS_openat, dir, path.as_ptr(), flags | libc::O_CLOEXEC, 0)
}

/// Writes a short file that exists.
pub(crate) fn write(dir: i32, path: &CStr, text: &[u8]) {
    let fd = open(dir, path, libc::O_WRONLY);
    ok!("write", libc::SYS_write, fd, text.as_ptr(), text.len());
    close(fd);
}

/// A number as a C string in `buffer`, between two texts.
pub(crate) fn join<'b>(buffer: &'b mut [u8; 96], before: &[u8], mut number: u32, after: &[u8]) -> &'b CStr {
    let mut digits = [0u8; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let mut end = 0;
    for part in [before, &digits[at..], after, b"\0"] {
        buffer[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    CStr::from_bytes_until_nul(buffer).unwrap_or(c"")
}
