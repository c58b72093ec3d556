//! A machine as others see it: what its directory says, and whether that is true.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use hostel_spec::MachineName;
use hostel_sys::lock::is_locked;
use hostel_sys::seccomp::Insn;

use super::claim::{read_file, read_owner};
use super::{FILTER, LOCK, MachineState, Registry, RegistryError, Result, STATE, failed, open_directory};

/// What holds a machine's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// A living supervisor, the one its state file names.
    Alive,
    /// Somebody, but there is no state file yet, or none that can be read: it is being started, or damaged.
    Unknown,
    /// Nobody: its supervisor is dead; the next start or `hostel clean` clears it.
    Dead,
}

/// A machine's directory, looked at once.
#[derive(Debug)]
pub struct Machine {
    /// Its name.
    pub name: MachineName,
    /// What it says of itself; `None`: nothing yet; an error: the file is damaged, and why.
    pub state: std::result::Result<Option<MachineState>, String>,
    /// Whether it lives.
    pub liveness: Liveness,
    /// The process number in its lock file.
    pub owner: Option<i32>,
    dir: Option<OwnedFd>,
}

impl Machine {
    /// Looks at it; `None` when there is no such directory.
    pub(super) fn open(registry: &Registry, name: &MachineName) -> Result<Option<Self>> {
        let Some(mut machine) = Self::open_unchecked(registry, name)? else { return Ok(None) };
        let supervisor = machine.known().map(|state| state.supervisor).filter(|_| machine.liveness == Liveness::Unknown);
        if let Some(supervisor) = supervisor {
            // That it cannot be looked at (no descriptor is left) does not make it dead.
            let lives = supervisor.open().map_err(|e| failed("look at supervisor of", &registry.path_of(name), e))?.is_some();
            machine.liveness = match lives {
                true => Liveness::Alive,
                false if registry.is_anothers() => Liveness::Dead,
                false => Liveness::Unknown,
            };
        }
        Ok(Some(machine))
    }

    /// As [`Machine::open`], but that its supervisor lives is taken from its lock alone: never [`Liveness::Alive`].
    pub(super) fn open_unchecked(registry: &Registry, name: &MachineName) -> Result<Option<Self>> {
        let path = registry.path_of(name);
        let dir = match open_directory(registry.machines.as_fd(), name.as_str(), &path, registry.owner) {
            Ok(dir) => dir,
            Err(RegistryError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(other) => return Err(other),
        };
        let (locked, owner) = match look_at_lock(dir.as_fd()) {
            Ok(found) => found,
            // Its supervisor tells.
            Err(error) if registry.is_anothers() && error.kind() == std::io::ErrorKind::PermissionDenied => (true, None),
            Err(error) => return Err(failed("look at", &path.join("lock"), error)),
        };
        let state = match read_file(dir.as_fd(), STATE) {
            Ok(Some(text)) => MachineState::parse(&text, name).map(Some).map_err(|e| format!("read {}: {e}", path.join("state.json").display())),
            Ok(None) => Ok(None),
            Err(error) => return Err(failed("read", &path.join("state.json"), error)),
        };
        // A lock outlives its supervisor only in a descriptor that leaked; the lock is what a start would see.
        let liveness = if locked { Liveness::Unknown } else { Liveness::Dead };
        Ok(Some(Self { name: name.clone(), state, liveness, owner, dir: Some(dir) }))
    }

    /// One whose directory cannot be looked at.
    pub(super) fn unreadable(name: MachineName, why: String) -> Self {
        Self { name, state: Err(why), liveness: Liveness::Unknown, owner: None, dir: None }
    }

    /// Whether its supervisor lives.
    pub fn is_alive(&self) -> bool {
        self.liveness == Liveness::Alive
    }

    /// Whether its state file is there and says nothing.
    pub fn is_damaged(&self) -> bool {
        self.state.is_err()
    }

    /// What it says of itself, unless it is starting or damaged.
    pub fn known(&self) -> Option<&MachineState> {
        self.state.as_ref().ok()?.as_ref()
    }

    /// Its directory (`O_PATH`), `None` when that could not be opened.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.dir.as_ref().map(OwnedFd::as_fd)
    }

    /// The system call filter for processes that enter; empty when it has none. A file of the wrong length is an error.
    pub fn filter(&self) -> std::io::Result<Vec<Insn>> {
        let Some(dir) = &self.dir else { return Err(std::io::Error::from(std::io::ErrorKind::NotFound)) };
        let Some(bytes) = read_file(dir.as_fd(), FILTER)? else { return Ok(Vec::new()) };
        if bytes.len() % 8 != 0 || bytes.len() / 8 > hostel_sys::seccomp::MAX_INSNS || bytes.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the filter file is damaged"));
        }
        let insn = |b: &[u8]| Insn { code: u16::from_ne_bytes([b[0], b[1]]), jt: b[2], jf: b[3], k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]) };
        Ok(bytes.chunks_exact(8).map(insn).collect())
    }
}

fn look_at_lock(dir: BorrowedFd<'_>) -> std::result::Result<(bool, Option<i32>), std::io::Error> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = match rustix::fs::openat(dir, LOCK, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok((false, None)),
        Err(error) => return Err(error.into()),
    };
    let locked = is_locked(lock.as_fd())?;
    Ok((locked, read_owner(lock.as_fd())))
}
