//! What can go wrong with a cgroup, and what to do about it.

use std::path::{Path, PathBuf};

use hostel_spec::Hint;
use rustix::io::Errno;

use crate::error::{Error, io_text};

/// Why a cgroup operation failed. Nothing of the machine is left behind unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A system call failed.
    #[error("{verb} {}: {}", path.display(), text(*cause))]
    Sys {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        cause: Errno,
    },
    /// The kernel refused the value of an option.
    #[error("set {option} ({value:?} to {}): {}", path.display(), text(*cause))]
    Refused {
        /// The option, as in the specification: `MemoryMax=`.
        option: &'static str,
        /// The value as the kernel got it.
        value: String,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: Errno,
    },
    /// The option cannot be had on this host, whatever its value.
    #[error("set {option}: {why}")]
    Unsupported {
        /// The option, as in the specification.
        option: &'static str,
        /// What is missing.
        why: String,
    },
    /// The option's value makes no sense.
    #[error("set {option}: {why}")]
    Invalid {
        /// The option, as in the specification.
        option: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Another machine of that name still has processes.
    #[error("create cgroup {}: it exists and is in use", .0.display())]
    Busy(PathBuf),
    /// No machine of that name has a cgroup.
    #[error("open cgroup {}: no such machine runs", .0.display())]
    Missing(PathBuf),
    /// No cgroup file system can be used.
    #[error("find a cgroup2 file system: {}", text(*.0))]
    NoCgroup(Errno),
    /// Something did not happen in time.
    #[error("{verb} {}: not done after {millis} ms", path.display())]
    Timeout {
        /// What was waited for.
        verb: &'static str,
        /// On what. It still exists.
        path: PathBuf,
        /// How long was waited.
        millis: u64,
    },
    /// A recorded path that is not one of ours: nothing was touched.
    #[error("remove {}: {why}", path.display())]
    NotOurs {
        /// The path as recorded.
        path: PathBuf,
        /// Why it is refused.
        why: &'static str,
    },
}

fn text(cause: Errno) -> String {
    io_text(&cause.into())
}

impl From<CgroupError> for Error {
    fn from(error: CgroupError) -> Self {
        let whole = error.to_string();
        let (what, cause) = whole.split_once(": ").unwrap_or((whole.as_str(), ""));
        let verb = match &error {
            CgroupError::Sys { verb, .. } | CgroupError::Timeout { verb, .. } => verb,
            CgroupError::Refused { .. } | CgroupError::Unsupported { .. } | CgroupError::Invalid { .. } => "set",
            CgroupError::Busy(_) => "create",
            CgroupError::Missing(_) => "open",
            CgroupError::NoCgroup(_) => "find",
            CgroupError::NotOurs { .. } => "remove",
        };
        let mut out = Self::new(verb, what.strip_prefix(verb).unwrap_or(what).trim_start(), cause);
        out.hint = error.hint().map(Hint::from);
        out
    }
}

impl CgroupError {
    pub(crate) fn sys(verb: &'static str, path: &Path) -> impl FnOnce(Errno) -> CgroupError {
        move |cause| CgroupError::Sys { verb, path: path.to_owned(), cause }
    }

    /// What the user may do about it, if there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            CgroupError::Unsupported { .. } => Some("leave the option out, or mount the controller (see `hostel doctor`)"),
            CgroupError::Busy(_) => Some("choose another name, or run `hostel clean` if its supervisor was killed"),
            CgroupError::Sys { cause: Errno::ACCESS | Errno::PERM | Errno::ROFS, .. } => {
                Some("the cgroup tree is not ours to write: run as root, or in a delegated unit (systemd-run --user -p Delegate=yes)")
            }
            CgroupError::Sys { verb: "enable controllers in", cause: Errno::BUSY, .. } => {
                Some("processes live in that cgroup itself (a container's root?): move them into a sub-cgroup, or set no limits")
            }
            CgroupError::NoCgroup(_) => Some("mount one: mount -t cgroup2 none /sys/fs/cgroup"),
            CgroupError::Timeout { .. } => Some("a process in it cannot die (state D): look at /proc/PID/stack"),
            _ => None,
        }
    }
}
