//! Running from a file that nobody can write: what a machine sees of our own program.
//!
//! Through `/proc/PID/exe` a privileged machine can open the program of a process in its pid namespace, keep that
//! descriptor, and write to the file once nobody runs it (CVE-2019-5736). Executed out of a read-only mount of its own the
//! same file can be opened for writing through no descriptor that came from the process.

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, statvfs};

use hostel_sys::clone::execve_fd;
use hostel_sys::mount::{Attributes, Propagation, change, clone_tree};
use hostel_sys::proc::execve;

use crate::error::{Context, Error, Result, io_text};

/// Whether this program runs from a read-only mount.
pub fn is_shielded() -> bool {
    statvfs("/proc/self/exe").is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// This program's file (`O_PATH`) on a read-only mount that is in no mount namespace. Nothing is copied. What is executed by
/// this descriptor runs shielded.
///
/// A *detached* mount would not do: whoever reaches it, and be it through /proc/PID/exe, may change its attributes
/// (mount_setattr(2) asks only that it is in the caller's namespace or in none at all). Closing its descriptor unmounts it,
/// while the one that is returned keeps it alive: from then on nobody can change, clone or attach it.
pub fn own_program() -> Result<OwnedFd> {
    let detached = match clone_tree(CWD, c"/proc/self/exe", false) {
        Ok(mount) => mount,
        // We run from such a mount already.
        Err(_) if is_shielded() => return reopen("/proc/self/exe"),
        Err(error) => return Err(error).context("clone", "mount of this program"),
    };
    change(detached.as_fd(), c"", false, Attributes::RDONLY.or(Attributes::NOSUID), Attributes::NONE, Propagation::Private, None)
        .context("make read-only", "mount of this program")?;
    reopen(&format!("/proc/self/fd/{}", detached.as_raw_fd()))
}

fn reopen(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).context("open", "this program")
}

/// The same for a process that is not root of the host: when others may not execute the file, a sealed copy of it.
pub(crate) fn own_program_for_others() -> Result<OwnedFd> {
    const OTHERS: u32 = 0o001;
    let program = own_program()?;
    if rustix::fs::fstat(&program).context("read", "mode of this program")?.st_mode & OTHERS != 0 {
        return Ok(program);
    }
    let copy = rustix::fs::memfd_create("hostel", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).context("make", "file in memory")?;
    let mut file = File::from(copy);
    File::open("/proc/self/exe").and_then(|mut own| std::io::copy(&mut own, &mut file)).context("copy", "this program")?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals).context("seal", "copy of this program")?;
    // A file that is open for writing cannot be executed.
    reopen(&format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Executes this same program anew, with these arguments and environment, from a read-only mount of its own file; returns
/// at once if it runs from one already. Costs one exec. To be called before anything else was done.
pub fn shield(argv: &[OsString], env: &[(OsString, OsString)]) -> Result<()> {
    if is_shielded() {
        return Ok(());
    }
    let program = own_program()?;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Error::new("pass on", "arguments", "a NUL byte in one"));
    let argv = argv.iter().map(|a| text(a.as_bytes())).collect::<Result<Vec<_>>>()?;
    let env = env.iter().map(|(k, v)| text(&[k.as_bytes(), b"=", v.as_bytes()].concat())).collect::<Result<Vec<_>>>()?;
    let error = execute(program.as_fd(), &argv, &env);
    Err(Error::new("execute", "this program from a read-only mount", io_text(&error)))
}

/// Executes the file itself; returns only on failure.
pub(crate) fn execute<S: AsRef<CStr>>(program: BorrowedFd<'_>, argv: &[S], env: &[S]) -> std::io::Error {
    let list = |of: &[S]| of.iter().map(|s| s.as_ref().as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv, env) = (list(argv), list(env));
    let error = execve_fd(program, &argv, &env);
    // A system call filter may allow execve(2) alone.
    if let Ok(path) = CString::new(format!("/proc/self/fd/{}", program.as_raw_fd())) {
        execve(&path, &argv, &env);
    }
    error
}
