//! What a systemd that runs the host is told: peers, never needs. Without one nothing here runs, and no file is opened.
//!
//! ```text
//! look ─► Systemd (a fact of the host) ─► steps: MakeScope or KeepUnit ─► Unit ─► the base of the machine's cgroup
//!                                                Register ─► Registration, taken back when it is dropped
//! ```
//! Machines of the native verbs stay in a cgroup beside systemd's own: it leaves alone what it did not make, and asking it costs
//! more than all else of a start. Who calls systemd-nspawn expects its units.

mod machined;
mod scope;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_ipc::dbus::CallError;
use hostel_spec::{HostUnit, UnitPlace};
use hostel_sys::clone;
use rustix::io::Errno;

use crate::cgroup::{Layout, V2};
use crate::error::{Context, Result};

pub use machined::{Facts, Registration};
pub use scope::make as make_scope;

/// Where machines are if nobody says where.
pub const DEFAULT_SLICE: &str = "machine.slice";
/// It is there while systemd runs the host (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Where the v2 hierarchy is on a host that systemd runs.
const V2_MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// As sd-bus: how long an answer may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// systemd runs this host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Systemd {
    /// The cgroup of the unit we are in, if that is delegated and holds no other process.
    pub own_unit: Option<PathBuf>,
}

/// Whether systemd runs the host, and what a machine that is told to it has to know. One stat(2) where it does not; nothing
/// for a machine that is told to nobody.
pub fn look(wanted: &HostUnit) -> Option<Systemd> {
    if wanted.is_default() || rustix::fs::access(BOOTED, rustix::fs::Access::EXISTS).is_err() {
        return None;
    }
    Some(Systemd { own_unit: (wanted.place == UnitPlace::Keep).then(own_unit).flatten() })
}

fn own_unit() -> Option<PathBuf> {
    let group = cgroup_of("self")?;
    let base = V2_MOUNTS.iter().map(|mount| Path::new(mount).join(&group)).find(|path| path.is_dir())?;
    delegated(&base).then_some(base.clone()).or_else(|| {
        // An earlier machine, or systemd-nspawn, has put us there.
        let above = base.parent().filter(|_| base.ends_with(SUPERVISOR))?;
        delegated(above).then(|| above.to_owned())
    })
}

/// Where supervisors are in a unit: a group whose children have limits holds no process itself (cgroups(7)).
const SUPERVISOR: &str = "supervisor";

/// systemd marks what it leaves to others (cgroup delegation); a process of somebody else in it would be in the way.
fn delegated(group: &Path) -> bool {
    let mut value = [0u8; 8];
    let marked = rustix::fs::getxattr(group, c"trusted.delegate", &mut value).is_ok_and(|length| value[..length] == *b"1");
    let own = std::process::id().to_string();
    marked && std::fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|text| text.lines().all(|line| line == own))
}

/// The v2 group of a process, relative to the top of the hierarchy.
fn cgroup_of(process: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from(path))
}

/// The unit of the host's systemd that a machine's cgroup is made in.
#[derive(Debug)]
pub struct Unit {
    base: PathBuf,
    /// Keeps a scope from ending between two lives of a machine; that it ends says that somebody stops the scope.
    seat: Option<OwnedFd>,
}

impl Unit {
    /// The unit we are in: moves us out of the way, into a group of our own below it.
    pub fn keep(base: &Path) -> Result<Unit> {
        let object = || format!("supervisor into {}", base.display());
        let group = base.join(SUPERVISOR);
        make_directory(&group).context("put", object())?;
        std::fs::write(group.join("cgroup.procs"), "0").context("put", object())?;
        Ok(Unit { base: base.to_owned(), seat: None })
    }

    /// Where the machine's cgroup goes.
    pub fn layout(&self, of_host: &Layout) -> Layout {
        Layout { v2: V2::Mounted(self.base.clone()), v1: of_host.v1.clone() }
    }

    /// Readable when somebody stops the scope.
    pub fn stopped(&self) -> Option<BorrowedFd<'_>> {
        self.seat.as_ref().map(AsFd::as_fd)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if let Some(seat) = &self.seat {
            let _ = clone::pidfd_send_signal(seat.as_fd(), 9);
            let _ = clone::wait_pidfd(seat.as_fd(), clone::WAIT_EXITED);
        }
    }
}

fn make_directory(path: &Path) -> rustix::io::Result<()> {
    match rustix::fs::mkdir(path, rustix::fs::Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

/// Whether nobody was there to ask, or it is not installed.
fn is_absent(error: &CallError) -> bool {
    match error {
        CallError::Io(e) => matches!(e.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOENT | Errno::CONNREFUSED)),
        CallError::Refused { name, .. } => {
            let absent = ["ServiceUnknown", "NameHasNoOwner", "Spawn.ServiceNotFound"];
            name.strip_prefix("org.freedesktop.DBus.Error.").is_some_and(|name| absent.contains(&name))
                // systemd was asked to start it, and has no such unit.
                || name == "org.freedesktop.systemd1.NoSuchUnit"
        }
        CallError::Protocol(_) => false,
    }
}
