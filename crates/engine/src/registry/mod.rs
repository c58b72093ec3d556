//! Which machines run: one directory each below `/run/hostel/machines`, whose lock its supervisor holds.
//!
//! ```text
//! /run/hostel/            0755, ours, no link
//!   machines/
//!     NAME/
//!       lock              held (fcntl OFD) by the supervisor for the machine's life; its pid as text
//!       state.json        what the machine says of itself, replaced by rename; readable by all
//!       undo              what to take back should the supervisor be killed (see [`undo`])
//!       filter            the system call filter that processes entering later get
//!       control, console.log, …
//! ```
//! A machine lives while its lock is held by a living supervisor: never because of a bare pid. The directory's owner
//! and mode are checked, and no link is followed at or below it. There is no fsync: what lives on a tmpfs ends with the boot,
//! and a state file of another boot says so itself.

mod claim;
pub mod identity;
mod machine;
pub mod recover;
mod remove;
pub mod state;
#[cfg(test)]
mod tests;
pub mod undo;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_spec::Arrange as _;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Uid;

use hostel_spec::{Hint, MachineName};

pub use claim::Claim;
pub use identity::{ProcessId, boot_id};
pub use machine::{Liveness, Machine};
pub use recover::Report;
pub(crate) use remove::remove_tree as remove_in;
pub use state::{Desired, MachineState, Origin, Phase, StateError};
pub use undo::Undo;

/// Where root's running machines are.
pub(crate) const DEFAULT_ROOT: &str = "/run/hostel";

fn set(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Where running machines are registered: `$HOSTEL_RUNTIME_DIR`, else a user's own place if there is one, else /run/hostel.
pub fn runtime_dir() -> PathBuf {
    set("HOSTEL_RUNTIME_DIR").or_else(|| user_dir().filter(|dir| dir.exists())).unwrap_or_else(|| DEFAULT_ROOT.into())
}

/// Where those of a user are who is not root: `$XDG_RUNTIME_DIR/hostel`, made when the first is started.
pub fn user_dir() -> Option<PathBuf> {
    set("XDG_RUNTIME_DIR").filter(|_| !rustix::process::geteuid().is_root()).map(|dir| dir.join("hostel"))
}

/// Why a directory that others may change is refused.
const OTHERS_WRITE: &str = "other users may write to it";

const LOCK: &std::ffi::CStr = c"lock";
const STATE: &std::ffi::CStr = c"state.json";
const STATE_NEW: &std::ffi::CStr = c".#hostel-state";
const UNDO: &std::ffi::CStr = c"undo";
const UNDO_NEW: &std::ffi::CStr = c".#hostel-undo";
const FILTER: &std::ffi::CStr = c"filter";

/// Why the registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The machine runs, or is being started or stopped by somebody else.
    #[error("start machine {name}: it is already running{}", owner(*pid))]
    Busy {
        /// Its name.
        name: MachineName,
        /// The process that holds its lock, when it has said so.
        pid: Option<i32>,
    },
    /// No such machine runs.
    #[error("find machine {name}: it does not run")]
    NotRunning {
        /// Its name.
        name: MachineName,
    },
    /// A directory is not ours alone.
    #[error("use {}: {why}", path.display())]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A dead machine's remains could not all be removed.
    #[error("clean up machine {name}: {}", failures.join("; "))]
    Remains {
        /// Its name.
        name: MachineName,
        /// A sentence for each.
        failures: Vec<String>,
    },
    /// The system refused.
    #[error("{verb} {}: {}", path.display(), crate::error::io_text(cause))]
    Io {
        /// What was done.
        verb: &'static str,
        /// To what.
        path: PathBuf,
        /// Cause.
        cause: io::Error,
    },
}

fn owner(pid: Option<i32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (supervisor is process {pid})"))
}

const NOT_ROOT: &str = "machines are root's: run it with sudo, or set HOSTEL_RUNTIME_DIR to a directory of your own";

impl From<RegistryError> for crate::error::Error {
    fn from(error: RegistryError) -> Self {
        let whole = error.to_string();
        let (what, cause) = whole.split_once(": ").unwrap_or((whole.as_str(), ""));
        let (verb, hint): (&'static str, Option<Hint>) = match &error {
            RegistryError::Busy { name, .. } => ("start", Some(format!("`hostel stop {name}` ends it, `hostel status {name}` shows it").into())),
            RegistryError::NotRunning { .. } => ("find", Some("`hostel ps` lists the machines that run".into())),
            RegistryError::Unsafe { .. } if !rustix::process::geteuid().is_root() => ("use", Some(NOT_ROOT.into())),
            RegistryError::Unsafe { path, why: OTHERS_WRITE } => {
                ("use", Some(format!("`chmod go-w {}`, or set HOSTEL_RUNTIME_DIR to a directory of your own", path.display()).into()))
            }
            RegistryError::Unsafe { .. } => ("use", Some("remove it, or set HOSTEL_RUNTIME_DIR to a directory of your own".into())),
            RegistryError::Remains { .. } => ("clean up", Some("`hostel clean` tries again".into())),
            RegistryError::Io { verb, cause, .. } => {
                let denied = cause.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root();
                (verb, denied.then(|| NOT_ROOT.into()))
            }
        };
        let object = what.strip_prefix(verb).unwrap_or(what).trim_start();
        let mut out = Self::new(verb, object, cause);
        out.hint = hint;
        out.busy = matches!(error, RegistryError::Busy { .. });
        out
    }
}

/// Shorthand.
pub type Result<T> = std::result::Result<T, RegistryError>;

/// The directory of running machines.
#[derive(Debug)]
pub struct Registry {
    root: PathBuf,
    machines: OwnedFd,
    /// Whose it is: ours, or root's, which others may read.
    owner: Uid,
}

/// What [`Registry::clean`] did for one name.
#[derive(Debug)]
pub struct Cleaned {
    /// The dead machine.
    pub name: MachineName,
    /// What was taken back.
    pub report: Report,
}

impl Registry {
    /// Opens the registry at `root` (see [`runtime_dir`]) and makes it when it is missing.
    ///
    /// Refused: a link in place of `root` or of `machines`, a directory of another user's, one that others may write to.
    pub fn open(root: &Path) -> Result<Self> {
        let owner = rustix::process::geteuid();
        let top = match open_directory(rustix::fs::CWD, root, root, owner) {
            Err(RegistryError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                make_directories(root)?;
                open_directory(rustix::fs::CWD, root, root, owner)?
            }
            other => other?,
        };
        let path = root.join("machines");
        let machines = match open_directory(top.as_fd(), Path::new("machines"), &path, owner) {
            Err(RegistryError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                match rustix::fs::mkdirat(&top, "machines", Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(failed("make directory", &path, error)),
                }
                open_directory(top.as_fd(), Path::new("machines"), &path, owner)?
            }
            other => other?,
        };
        Ok(Self { root: root.to_path_buf(), machines, owner })
    }

    /// Opens root's registry to look at it as somebody else; see [`Registry::open`].
    pub fn open_to_read(root: &Path) -> Result<Self> {
        let owner = Uid::ROOT;
        let top = open_directory(rustix::fs::CWD, root, root, owner)?;
        let machines = open_directory(top.as_fd(), Path::new("machines"), &root.join("machines"), owner)?;
        Ok(Self { root: root.to_path_buf(), machines, owner })
    }

    /// Whether it is another's: locks cannot be looked at.
    fn is_anothers(&self) -> bool {
        self.owner != rustix::process::geteuid()
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of machine `name`, for messages and for tools; it may not exist.
    pub fn path_of(&self, name: &MachineName) -> PathBuf {
        self.root.join("machines").join(name.as_str())
    }

    /// Takes `name` for a machine of ours: afterwards its directory exists and is locked by this process, and what a
    /// dead machine of that name had left is gone.
    pub fn claim(&self, name: &MachineName) -> Result<Claim> {
        claim::take(self, name, claim::Make::Yes).and_then(|claim| claim.ok_or_else(|| RegistryError::NotRunning { name: name.clone() }))
    }

    /// The machine of that name, dead or alive.
    pub fn load(&self, name: &MachineName) -> Result<Machine> {
        Machine::open(self, name)?.ok_or_else(|| RegistryError::NotRunning { name: name.clone() })
    }

    /// The same for those who only want to reach its leader: whether its supervisor still lives is not looked at, its lock is.
    pub fn load_to_enter(&self, name: &MachineName) -> Result<Machine> {
        Machine::open_unchecked(self, name)?.ok_or_else(|| RegistryError::NotRunning { name: name.clone() })
    }

    /// Every machine with a directory, by name. A damaged one is listed as such and hides no other.
    pub fn list(&self) -> Result<Vec<Machine>> {
        let mut out = Vec::new();
        for name in self.names()? {
            // Gone between the listing and the look: not an error.
            match Machine::open(self, &name) {
                Ok(machine) => out.extend(machine),
                Err(error) => out.push(Machine::unreadable(name, error.to_string())),
            }
        }
        Ok(out)
    }

    /// Removes what dead machines left. Living ones, and those being started, are not touched.
    pub fn clean(&self) -> Result<Vec<Cleaned>> {
        let mut out = Vec::new();
        for name in self.names()? {
            match claim::take(self, &name, claim::Make::No) {
                Ok(Some(claim)) => {
                    let report = claim.recovered().cloned().unwrap_or_default();
                    claim.release()?;
                    out.push(Cleaned { name, report });
                }
                Ok(None) | Err(RegistryError::Busy { .. }) => {}
                Err(RegistryError::Remains { name, failures }) => out.push(Cleaned { name, report: Report { failures, ..Report::default() } }),
                Err(other) => out.push(Cleaned { name, report: Report { failures: vec![other.to_string()], ..Report::default() } }),
            }
        }
        Ok(out)
    }

    fn names(&self) -> Result<Vec<MachineName>> {
        let path = self.root.join("machines");
        let failed = |error| failed("list", &path, error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.machines, ".", flags, Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // What has no machine's name was not made by us; it is left alone.
            if let Some(name) = entry.file_name().to_str().ok().and_then(|n| MachineName::new(n).ok()) {
                names.push(name);
            }
        }
        names.arrange();
        Ok(names)
    }
}

fn failed(verb: &'static str, path: &Path, error: impl Into<io::Error>) -> RegistryError {
    RegistryError::Io { verb, path: path.to_path_buf(), cause: error.into() }
}

/// Opens a directory, not through a link, and checks that it is `owner`'s alone.
fn open_directory(at: BorrowedFd<'_>, path: impl rustix::path::Arg, shown: &Path, owner: Uid) -> Result<OwnedFd> {
    let refuse = |why| Err(RegistryError::Unsafe { path: shown.to_path_buf(), why });
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(at, path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::LOOP) => return refuse("it is a symbolic link"),
        Err(Errno::NOTDIR) => return refuse("it is not a directory"),
        Err(error) => return Err(failed("open", shown, error)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|e| failed("look at", shown, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return refuse("it is not a directory");
    }
    if stat.st_uid != owner.as_raw() {
        return refuse("it belongs to another user");
    }
    if stat.st_mode & 0o022 != 0 {
        return refuse(OTHERS_WRITE);
    }
    Ok(fd)
}

fn make_directories(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|e| failed("make directory", path, e))
}
