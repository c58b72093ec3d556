//! Running from a file that nobody can write: a process that enters a machine shows it its own program.
//!
//! Through `/proc/PID/exe` a privileged machine can open the program of a process in its pid namespace, keep that
//! descriptor, and write to the file once nobody runs it (CVE-2019-5736). Executed out of a detached read-only mount the
//! same file can be opened for writing through no descriptor that came from the process.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, StatVfsMountFlags, statvfs};

use hostel_sys::clone::execve_fd;
use hostel_sys::mount::{Attributes, Propagation, change, clone_tree};

use crate::error::{Context, Error, Result, io_text};

/// Whether this program runs from a read-only mount.
pub fn is_shielded() -> bool {
    statvfs("/proc/self/exe").is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Executes this same program anew, with these arguments and environment, from a read-only mount of its own file; returns
/// at once if it runs from one already. Costs one exec. To be called before anything else was done.
pub fn shield(argv: &[OsString], env: &[(OsString, OsString)]) -> Result<()> {
    if is_shielded() {
        return Ok(());
    }
    let program = clone_tree(CWD, c"/proc/self/exe", false).context("clone", "mount of this program")?;
    change(program.as_fd(), c"", false, Attributes::RDONLY.or(Attributes::NOSUID), Attributes::NONE, Propagation::Private, None)
        .context("make read-only", "mount of this program")?;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Error::new("pass on", "arguments", "a NUL byte in one"));
    let argv = argv.iter().map(|a| text(a.as_bytes())).collect::<Result<Vec<_>>>()?;
    let env = env.iter().map(|(k, v)| text(&[k.as_bytes(), b"=", v.as_bytes()].concat())).collect::<Result<Vec<_>>>()?;
    let list = |of: &[CString]| of.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let error = execve_fd(program.as_fd(), &list(&argv), &list(&env));
    Err(Error::new("execute", "this program from a read-only mount", io_text(&error)))
}
