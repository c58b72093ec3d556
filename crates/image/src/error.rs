//! One error for the whole crate: verb, object, cause.

use std::path::{Path, PathBuf};

use hostel_sys::tree::ReadError;
use rustix::io::Errno;

/// What went wrong with which file or tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{verb} {}: {cause}", .object.display())]
pub struct Error {
    /// What was tried, with its noun: `open tree`, `lock tree`.
    pub verb: &'static str,
    /// What it was tried on.
    pub object: PathBuf,
    /// Why it failed.
    pub cause: Cause,
}

/// Result of the functions that name their object.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something failed; all a function can say that was given descriptors, not names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// A system call failed.
    #[error("{}", errno_text(*.0))]
    Os(Errno),
    /// A file that has to be a regular one is something else.
    #[error("it is not a regular file")]
    NotRegular,
    /// A file is larger than what is read of an untrusted tree.
    #[error("it is too large")]
    TooLarge,
    /// The file system is full, or the quota used up.
    #[error("no space left on the file system of {} ({} free, {} had been written)", .place.display(), size(*.free), size(*.written))]
    NoSpace {
        /// Directory on the full file system.
        place: PathBuf,
        /// Bytes free to an unprivileged writer when it happened.
        free: u64,
        /// Bytes written before it happened.
        written: u64,
    },
    /// Another process uses it.
    #[error("it is in use{}", holder_text(.holder))]
    Busy {
        /// Who: the machine's name and supervisor's pid, when that is known.
        holder: Option<(String, i32)>,
    },
    /// Nothing the kernel said.
    #[error("{0}")]
    Why(&'static str),
    /// The same, with figures in it.
    #[error("{0}")]
    Said(String),
}

impl Cause {
    /// Adds what was tried on what.
    pub fn on(self, verb: &'static str, object: &Path) -> Error {
        Error { verb, object: object.to_owned(), cause: self }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Cause::Os(errno)
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Self {
        Errno::from_io_error(&error).map_or_else(|| Cause::Said(error.to_string()), Cause::Os)
    }
}

impl From<ReadError> for Cause {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Os(errno) => Cause::Os(errno),
            ReadError::NotRegular => Cause::NotRegular,
            ReadError::TooLarge => Cause::TooLarge,
        }
    }
}

/// `?` with verb and object.
pub trait On<T> {
    /// Makes the error one of doing `verb` to `object`.
    fn on(self, verb: &'static str, object: &Path) -> Result<T>;
}

impl<T, E: Into<Cause>> On<T> for std::result::Result<T, E> {
    fn on(self, verb: &'static str, object: &Path) -> Result<T> {
        self.map_err(|e| e.into().on(verb, object))
    }
}

/// The system's text for an error number, without Rust's "(os error N)".
fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    match text.rfind(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn size(bytes: u64) -> String {
    if bytes >= 10 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

fn holder_text(holder: &Option<(String, i32)>) -> String {
    holder.as_ref().map(|(name, pid)| format!(" by machine {name} (supervisor {pid})")).unwrap_or_default()
}
