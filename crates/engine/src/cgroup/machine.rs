//! A machine's cgroup: `hostel/NAME` carries the limits and the device program, `hostel/NAME/payload` the machine.
//!
//! ```text
//! <base>/hostel/               controllers are enabled down to here when a limit needs them
//! <base>/hostel/.devices-1/    empty; keeps the loaded device program of the default policy (see `devices`)
//! <base>/hostel/NAME/          limits, device program, freezer, kill: nothing in it but its sub-groups
//! <base>/hostel/NAME/payload/  the machine is cloned into it; the root of its cgroup namespace; all below is the guest's
//! <base>/hostel/NAME/exec/     processes of `hostel exec`: v2 allows none beside the groups the guest makes in payload
//! ```
//! On v1 controllers a machine has `hostel/NAME` in the hierarchies its limits need, no others. To move another process, or a
//! whole one, there costs 6 to 18 ms on a cold kernel, as nobody may fork meanwhile; a process of one thread that moves itself by the
//! file `tasks` takes 25 µs ([`V1Door`]).

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_spec::MachineName;
use hostel_sys::clone;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, mkdirat, unlinkat};
use rustix::io::Errno;
use rustix::process::Pid;

use super::error::CgroupError;
use super::files::{self, Base, OURS};
use super::layout::{Controller, Layout};
use super::recovery;
use super::tree;

/// What hostel makes in a machine's v2 group.
pub(crate) const LEAVES: [&str; 2] = ["payload", "exec"];

/// How often [`MachineCgroup::signal`] looks: one that forks faster than it is signalled is no end of looking.
const SIGNAL_ROUNDS: usize = 16;

/// The cgroup of one machine, made or found.
#[derive(Debug)]
pub struct MachineCgroup {
    pub(crate) name: MachineName,
    pub(crate) base: Base,
    /// `<base>/hostel/NAME`, for messages and records.
    pub(crate) path: PathBuf,
    pub(crate) dir: OwnedFd,
    pub(crate) payload: OwnedFd,
    pub(crate) v1: Vec<V1Group>,
    pub(crate) absent: Vec<String>,
    pub(crate) restricted: bool,
}

/// The way into a v1 group for the process that takes it.
#[derive(Debug)]
pub struct V1Door(OwnedFd);

impl V1Door {
    /// Of this directory. Whoever opens it must be allowed to move processes there; who goes through it need not.
    pub fn open(group: BorrowedFd<'_>) -> Result<V1Door, Errno> {
        rustix::fs::openat(group, c"tasks", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map(V1Door)
    }

    /// Moves the calling thread into the group, so a process of one thread as a whole.
    pub fn enter(&self) -> Result<(), Errno> {
        rustix::io::write(&self.0, b"0").map(drop)
    }
}

/// The machine's directory in one v1 hierarchy.
#[derive(Debug)]
pub(crate) struct V1Group {
    /// Empty if it was opened from a record.
    pub(crate) controllers: Vec<Controller>,
    pub(crate) base: Base,
    pub(crate) path: PathBuf,
    pub(crate) dir: OwnedFd,
}

impl V1Group {
    /// Removes the directory, and `hostel` if it was the last in it: on v1 nothing is kept there.
    pub(crate) fn remove(self, name: &str) -> Result<(), CgroupError> {
        let removed = remove_below(&self.base, name, &self.path);
        let _ = self.base.rmdir(Path::new(OURS));
        removed
    }
}

impl MachineCgroup {
    /// Finds the cgroup of a running machine. Takes a complete layout ([`Layout::detect`]), to find its v1 groups too.
    pub fn open(layout: &Layout, name: &MachineName) -> Result<MachineCgroup, CgroupError> {
        let v1 = layout.v1.iter().map(|hierarchy| (Base::mounted(&hierarchy.base), hierarchy.controllers.clone()));
        MachineCgroup::open_at(Base::of(&layout.v2)?, name, v1)
    }

    /// Finds the cgroup of a running machine by its recorded paths ([`MachineCgroup::paths`] or
    /// [`super::planned_paths`]): needs no [`Layout`], so it takes 10 µs instead of 100.
    pub fn open_recorded(paths: &[PathBuf]) -> Result<MachineCgroup, CgroupError> {
        let nothing = || CgroupError::NotOurs { path: PathBuf::new(), why: "no path was recorded" };
        let (base, name) = recovery::split(paths.first().ok_or_else(nothing)?)?;
        let mut v1 = Vec::new();
        for path in paths {
            let (other, owner) = recovery::split(path)?;
            if owner == name && other != base {
                v1.push((Base::recorded(&other)?, Vec::new()));
            }
        }
        MachineCgroup::open_at(Base::recorded(&base)?, &name, v1.into_iter())
    }

    fn open_at(base: Base, name: &MachineName, v1: impl Iterator<Item = (Base, Vec<Controller>)>) -> Result<MachineCgroup, CgroupError> {
        let below = Path::new(OURS).join(name.as_str());
        let path = base.path.join(&below);
        let missing = |errno| match errno {
            Errno::NOENT => CgroupError::Missing(path.clone()),
            errno => CgroupError::sys("open cgroup", &path)(errno),
        };
        let dir = base.open(&below).map_err(missing)?;
        if !files::is_cgroup(dir.as_fd()) {
            return Err(CgroupError::NotOurs { path, why: "it is not in a cgroup file system" });
        }
        let payload = files::open_below(dir.as_fd(), c"payload").map_err(missing)?;
        let v1 = v1.filter_map(|(base, controllers)| {
            let dir = base.open(&below).ok()?;
            Some(V1Group { controllers, path: base.path.join(&below), base, dir })
        });
        let v1 = v1.collect();
        Ok(MachineCgroup { name: name.clone(), base, path, dir, payload, v1, absent: Vec::new(), restricted: false })
    }

    /// The v2 directory to clone the machine into (O_PATH): CLONE_INTO_CGROUP.
    pub fn payload_dir(&self) -> BorrowedFd<'_> {
        self.payload.as_fd()
    }

    /// The v2 directory of the machine itself (O_PATH), which holds no process.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The machine's v1 directories (O_PATH).
    pub(crate) fn v1_dirs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.v1.iter().map(|group| group.dir.as_fd())
    }

    /// The v2 directory for a process that joins the running machine (O_PATH), made at the first call.
    ///
    /// Limits, device policy, freezing and killing hold there as in the payload. [`MachineCgroup::v1_doors`] are also due.
    pub fn exec_dir(&self) -> Result<OwnedFd, CgroupError> {
        let path = self.path.join("exec");
        make_in(self.dir.as_fd(), "exec").map_err(CgroupError::sys("create cgroup", &path))?;
        files::open_below(self.dir.as_fd(), c"exec").map_err(CgroupError::sys("open cgroup", &path))
    }

    /// Does the machine have v1 groups, so that its processes must go through [`MachineCgroup::v1_doors`]?
    pub fn has_v1(&self) -> bool {
        !self.v1.is_empty()
    }

    /// The ways into the machine's v1 groups; none where there are no such groups.
    pub fn v1_doors(&self) -> Result<Vec<V1Door>, CgroupError> {
        let open = |group: &V1Group| V1Door::open(group.dir.as_fd()).map_err(CgroupError::sys("open tasks of", &group.path));
        self.v1.iter().map(open).collect()
    }

    /// Gives the payload's group to the root of the machine's user namespace (cgroups(7), "Delegation").
    pub fn delegate(&self, uid: Uid, gid: Gid) -> Result<(), CgroupError> {
        let shown = self.path.join("payload");
        let failed = || CgroupError::sys("delegate cgroup", &shown);
        chownat(&self.payload, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).map_err(failed())?;
        for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chownat(&self.payload, file, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed())?;
        }
        Ok(())
    }

    /// The machine's directory in each hierarchy, in the order of their creation; they hold all others.
    pub fn paths(&self) -> Vec<PathBuf> {
        [&self.path].into_iter().chain(self.v1.iter().map(|group| &group.path)).cloned().collect()
    }

    /// Device rules that name nothing on this host and so have no effect. Empty after [`MachineCgroup::open`].
    pub fn absent_devices(&self) -> &[String] {
        &self.absent
    }

    /// Was a device policy put in force by [`MachineCgroup::create`]?
    pub fn devices_restricted(&self) -> bool {
        self.restricted
    }

    /// All processes of the machine, also those in groups the guest made, as our pid namespace numbers them.
    pub fn procs(&self) -> Result<Vec<Pid>, CgroupError> {
        tree::procs(self.dir.as_fd()).map_err(CgroupError::sys("list processes of cgroup", &self.path))
    }

    /// Sends a signal to every process of the machine but `spared`. Looks again until it meets nobody new: who forks while he is
    /// being looked for leaves a child. SIGKILL goes to all at once instead, see [`MachineCgroup::kill`].
    pub fn signal(&self, signal: i32, spared: Option<i32>) -> Result<(), CgroupError> {
        let numbers =
            || Ok(self.procs()?.into_iter().map(|pid| pid.as_raw_nonzero().get()).filter(|pid| Some(*pid) != spared).collect::<HashSet<i32>>());
        let mut met: HashSet<i32> = HashSet::new();
        for _ in 0..SIGNAL_ROUNDS {
            let opened: Vec<_> = numbers()?.difference(&met).filter_map(|pid| Some((*pid, clone::pidfd_open(*pid).ok()?))).collect();
            if opened.is_empty() {
                break;
            }
            // Still a member after it was opened: the number has not changed hands.
            let still = numbers()?;
            for (pid, pidfd) in opened {
                met.insert(pid);
                if still.contains(&pid) {
                    // One that has just ended needs no signal.
                    let _ = clone::pidfd_send_signal(pidfd.as_fd(), signal);
                }
            }
        }
        Ok(())
    }

    /// Sends SIGKILL to all processes of the machine at once; does not wait.
    pub fn kill(&self) -> Result<(), CgroupError> {
        tree::kill(self.dir.as_fd()).map_err(CgroupError::sys("kill processes of cgroup", &self.path))
    }

    /// Kills what is left and removes all directories of the machine.
    pub fn remove(self) -> Result<(), CgroupError> {
        drop(self.payload);
        // The usual case: nobody is left, the guest made no groups, nobody came by `exec`.
        let quick = unlinkat(&self.dir, "payload", AtFlags::REMOVEDIR);
        let below = Path::new(OURS).join(self.name.as_str());
        let mut result = Ok(());
        if quick.is_err() || self.base.rmdir(&below).is_err() {
            result = remove_below(&self.base, self.name.as_str(), &self.path);
        }
        for group in self.v1 {
            result = result.and(group.remove(self.name.as_str()));
        }
        result
    }
}

/// Removes `hostel/NAME` in a hierarchy.
pub(crate) fn remove_below(base: &Base, name: &str, shown: &Path) -> Result<(), CgroupError> {
    match base.open(Path::new(OURS)) {
        Ok(ours) => tree::remove(ours.as_fd(), name, shown, tree::PATIENCE),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(CgroupError::sys("open cgroup", shown)(errno)),
    }
}

pub(crate) fn make_in(dir: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}
