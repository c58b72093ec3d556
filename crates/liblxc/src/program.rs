//! Where hostel is, which is executed to start containers.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// From the directory of this library: of an installation, of a distribution's, of a build.
const BESIDE: [&str; 4] = ["../bin/hostel", "../../bin/hostel", "../sbin/hostel", "hostel"];

/// `$HOSTEL_BIN`, beside this library, or in `PATH`.
pub(crate) fn hostel() -> Option<PathBuf> {
    let is = |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    // SAFETY: a number; not 0: we have more rights than who set the environment.
    let trusted = unsafe { libc::getauxval(libc::AT_SECURE) } == 0;
    let named = trusted.then(|| std::env::var_os("HOSTEL_BIN")).flatten().map(PathBuf::from);
    let own: Option<PathBuf> = library().and_then(|library| library.parent().map(Into::into));
    let beside = own.into_iter().flat_map(|own| BESIDE.map(|name| own.join(name)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).map(|directory| directory.join("hostel"));
    named.into_iter().chain(beside).chain(found).find(is)
}

/// The file that this library was loaded from.
fn library() -> Option<PathBuf> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: an address within this library, and a place for the answer.
    let found = unsafe { libc::dladdr(library as *const libc::c_void, info.as_mut_ptr()) };
    // SAFETY: zeroed, then filled.
    let name = unsafe { info.assume_init() }.dli_fname;
    if found == 0 || name.is_null() {
        return None;
    }
    // SAFETY: the loader's own string.
    std::fs::canonicalize(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())).ok()
}
