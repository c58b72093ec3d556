//! Where failures are written, once a client asked for it (`lxc_log_init`).

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, PoisonError};

use crate::c::{Text, guard};

/// `struct lxc_log`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    name: Text<'a>,
    lxcpath: Text<'a>,
    file: Text<'a>,
    level: Text<'a>,
    prefix: Text<'a>,
    quiet: bool,
}

struct Log {
    prefix: String,
    file: Option<File>,
    quiet: bool,
}

static LOG: Mutex<Option<Log>> = Mutex::new(None);
/// Above errors, which are all there is to write.
const WORSE: [&str; 4] = ["CRIT", "ALERT", "EMERG", "FATAL"];

#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_log_init(log: Option<&Wanted<'_>>) -> c_int {
    guard(-1, || {
        let Some(log) = log else { return -1 };
        let path = log.file.filled().filter(|path| *path != "none");
        let file = match path.map(|path| OpenOptions::new().append(true).create(true).mode(0o640).open(path)).transpose() {
            Ok(file) => file,
            Err(e) => {
                crate::c::set_errno(e.raw_os_error().unwrap_or(0));
                return -1;
            }
        };
        let silent = log.level.get().is_some_and(|level| WORSE.contains(&level.to_ascii_uppercase().as_str()));
        let prefix = log.prefix.filled().or(log.name.filled()).unwrap_or("lxc").to_owned();
        let made = (!silent).then_some(Log { prefix, file, quiet: log.quiet });
        *LOG.lock().unwrap_or_else(PoisonError::into_inner) = made;
        0
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_log_close() {
    guard((), || *LOG.lock().unwrap_or_else(PoisonError::into_inner) = None);
}

/// One line of it.
pub(crate) fn write(name: &str, text: &str) {
    if let Some(log) = &mut *LOG.lock().unwrap_or_else(PoisonError::into_inner) {
        // A log that cannot be written is in nobody's way.
        if let Some(file) = &mut log.file {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let _ = writeln!(file, "{} {name} {}.{:03} ERROR    hostel - {text}", log.prefix, now.as_secs(), now.subsec_millis());
        }
        if !log.quiet {
            let _ = writeln!(std::io::stderr(), "{}: {name}: {text}", log.prefix);
        }
    }
}
