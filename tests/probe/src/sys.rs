//! Small wrappers over libc: paths, errno names, a child to try something in.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The last error number.
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A C string; what follows a NUL is lost.
pub fn c(path: impl AsRef<Path>) -> CString {
    let bytes: Vec<u8> = path.as_ref().as_os_str().as_bytes().iter().copied().take_while(|b| *b != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

/// The name of an error number.
pub fn errno_name(n: i32) -> String {
    const NAMES: &[(i32, &str)] = &[
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::ESRCH, "ESRCH"),
        (libc::EINTR, "EINTR"),
        (libc::EIO, "EIO"),
        (libc::ENXIO, "ENXIO"),
        (libc::E2BIG, "E2BIG"),
        (libc::ENOEXEC, "ENOEXEC"),
        (libc::EBADF, "EBADF"),
        (libc::ECHILD, "ECHILD"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EACCES, "EACCES"),
        (libc::EFAULT, "EFAULT"),
        (libc::ENOTBLK, "ENOTBLK"),
        (libc::EBUSY, "EBUSY"),
        (libc::EEXIST, "EEXIST"),
        (libc::EXDEV, "EXDEV"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EISDIR, "EISDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENFILE, "ENFILE"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENOTTY, "ENOTTY"),
        (libc::EFBIG, "EFBIG"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::ESPIPE, "ESPIPE"),
        (libc::EROFS, "EROFS"),
        (libc::EMLINK, "EMLINK"),
        (libc::EPIPE, "EPIPE"),
        (libc::ERANGE, "ERANGE"),
        (libc::EDEADLK, "EDEADLK"),
        (libc::ENAMETOOLONG, "ENAMETOOLONG"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ENOTEMPTY, "ENOTEMPTY"),
        (libc::ELOOP, "ELOOP"),
        (libc::ENODATA, "ENODATA"),
        (libc::EOVERFLOW, "EOVERFLOW"),
        (libc::EUSERS, "EUSERS"),
        (libc::ENOTSOCK, "ENOTSOCK"),
        (libc::EPROTONOSUPPORT, "EPROTONOSUPPORT"),
        (libc::ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
        (libc::EADDRINUSE, "EADDRINUSE"),
        (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
        (libc::ENOBUFS, "ENOBUFS"),
        (libc::ETIMEDOUT, "ETIMEDOUT"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::ENOKEY, "ENOKEY"),
        (libc::EKEYREVOKED, "EKEYREVOKED"),
        (libc::EDQUOT, "EDQUOT"),
        (libc::ENOTNAM, "ENOTNAM"),
        (libc::EPROTO, "EPROTO"),
        (libc::ESTALE, "ESTALE"),
        (libc::EUCLEAN, "EUCLEAN"),
    ];
    NAMES.iter().find(|(e, _)| *e == n).map_or_else(|| n.to_string(), |(_, name)| (*name).to_string())
}

/// `Ok(value)` or the error number.
pub fn check(value: i64) -> Result<i64, i32> {
    if value == -1 { Err(errno()) } else { Ok(value) }
}

/// Opens and closes; never reads or writes, never creates, never becomes the controlling terminal.
pub fn can_open(path: impl AsRef<Path>, flags: i32) -> Result<(), i32> {
    let fd = unsafe { libc::open(c(path).as_ptr(), flags | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC) };
    check(i64::from(fd)).map(|fd| unsafe {
        libc::close(fd as i32);
    })
}

/// How a child ended that tried something.
pub enum Ended {
    /// It said 0 or an error number.
    Said(i32),
    /// It was killed by this signal.
    Killed(i32),
    /// No child could be made.
    NoFork(i32),
}

/// Runs `act` in a forked child with ten seconds to live; its error number (or 0) comes back over a pipe.
pub fn in_child(act: impl FnOnce() -> Result<(), i32>) -> Ended {
    let mut pipe = [0i32; 2];
    if unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Ended::NoFork(errno());
    }
    let pid = unsafe { libc::fork() };
    if pid == -1 {
        let e = errno();
        unsafe { (libc::close(pipe[0]), libc::close(pipe[1])) };
        return Ended::NoFork(e);
    }
    if pid == 0 {
        unsafe { libc::alarm(10) };
        let said: i32 = act().err().unwrap_or(0);
        unsafe {
            libc::write(pipe[1], (&raw const said).cast(), 4);
            libc::_exit(0)
        }
    }
    let mut said = -1i32;
    let mut status = 0;
    unsafe {
        libc::close(pipe[1]);
        libc::waitpid(pid, &raw mut status, libc::__WALL);
        let n = libc::read(pipe[0], (&raw mut said).cast(), 4);
        libc::close(pipe[0]);
        if n != 4 {
            said = -1;
        }
    }
    if libc::WIFSIGNALED(status) { Ended::Killed(libc::WTERMSIG(status)) } else { Ended::Said(said) }
}
