//! Entering a running machine: one setns(2), one vfork, one execve.
//!
//! ```text
//!  caller (stays where it is)
//!    │ clone3(VM|VFORK|FILES, into the machine's cgroup)
//!    ▼
//!  middle        joins v1 cgroups, setns(leader, all at once), root = leader's root,
//!    │           takes a pty out of the machine's own devpts: its descriptors appear in the caller's table
//!    │ clone3(VM|VFORK|PARENT): a child of the *caller*, in the machine's pid namespace
//!    ▼
//!  entered       own session, standard streams, every other descriptor closed, become(ProcessSpec) → execve
//! ```
//! The caller's namespaces, directory and credentials never change, so this may be called by a supervisor, by a
//! command line, and from a program with threads.
//!
//! What the machine can do about it: it sees `entered` from its birth. That process cannot be traced (its memory is that
//! of the caller, which is made undumpable first; the machine's user namespace has no say over it). A machine in the
//! host's own user namespace *with* CAP_SYS_PTRACE could, so there `entered` gets a copy of the memory instead, drops
//! its capabilities before it is born, and the program that enters should have been started by [`shield::shield`]:
//! its file cannot be written through /proc/PID/exe.

pub mod leader;
pub mod relay;
pub mod shield;
mod spawn;
#[cfg(test)]
pub(crate) mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use hostel_process::r#become::Program;
use hostel_process::pty::WindowSize;
use hostel_spec::{CapSet, OsText, ProcessSpec};
use hostel_sys::clone;
use hostel_sys::seccomp::Insn;

use crate::cgroup::MachineCgroup;
use crate::error::{Context, Error, Result};
use crate::registry::MachineState;

pub use leader::{Facts, Leader};
pub use spawn::{Cause, EnterError};

/// Which of the leader's namespaces are entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // one word per namespace
pub struct Selection {
    pub mount: bool,
    pub net: bool,
    pub pid: bool,
    pub uts: bool,
    pub ipc: bool,
    pub cgroup: bool,
    pub user: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self { mount: true, net: true, pid: true, uts: true, ipc: true, cgroup: true, user: true }
    }
}

impl Selection {
    /// The bits for setns(2). The caller's own user namespace cannot be entered once more and must be left out.
    fn flags(self, own_user_namespace: bool) -> u64 {
        let all = [
            (self.mount, clone::NEWNS),
            (self.net, clone::NEWNET),
            (self.pid, clone::NEWPID),
            (self.uts, clone::NEWUTS),
            (self.ipc, clone::NEWIPC),
            (self.cgroup, clone::NEWCGROUP),
            (self.user && !own_user_namespace, clone::NEWUSER),
        ];
        all.into_iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag).sum()
    }
}

/// Standard streams of the process.
#[derive(Debug, Clone, Copy, Default)]
pub enum Streams<'a> {
    /// The caller's own, as they are. A caller on a terminal gives that terminal into the machine's hands: see
    /// [`relay::Plumbing`], which does not.
    #[default]
    Inherit,
    /// These three.
    Given([BorrowedFd<'a>; 3]),
    /// All three a pty from the machine's own devpts, which is the controlling terminal.
    Terminal(Option<WindowSize>),
}

/// The machine's cgroups, for a process that is to be held by its limits.
#[derive(Debug, Default)]
pub struct Placement {
    /// cgroup2 directory the process is born in.
    pub v2: Option<OwnedFd>,
    /// v1 directories it is moved into (the process that enters has one thread).
    pub v1: Vec<OwnedFd>,
}

impl Placement {
    /// The place for entered processes of one of our machines.
    pub fn of(cgroup: &MachineCgroup) -> Result<Self> {
        let v2 = cgroup.exec_dir().map_err(|e| Error::new("enter", "cgroup", e))?;
        let v1 = cgroup.v1_dirs().map(|dir| dir.try_clone_to_owned()).collect::<std::io::Result<_>>().context("open", "v1 cgroups")?;
        Ok(Self { v2: Some(v2), v1 })
    }

    /// Beside the leader of a machine that others made: its cgroups as they are mounted here, as far as they are.
    pub fn beside(leader: &Leader) -> Result<Self> {
        let path = format!("/proc/{}/cgroup", leader.pid());
        Self::at(&std::fs::read_to_string(&path).context("read", path)?)
    }

    /// The cgroups that a text of /proc/PID/cgroup names.
    pub fn at(own: &str) -> Result<Self> {
        const MOUNTS: &str = "/proc/self/mountinfo";
        let mounts = std::fs::read_to_string(MOUNTS).context("read", MOUNTS)?;
        let mut place = Self::default();
        for (v2, path) in spawn::cgroup_paths(own, &mounts) {
            let Ok(fd) = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else { continue };
            if v2 { place.v2 = Some(fd) } else { place.v1.push(fd) }
        }
        Ok(place)
    }
}

/// What a machine's state says of its leader, so that /proc need not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// No exec gains privileges.
    pub no_new_privileges: bool,
    /// Its user, as our user namespace numbers it.
    pub uid: u32,
}

impl Known {
    /// As one of our machines has it written down; `None`: it was started by a hostel that wrote less.
    pub fn of(state: &MachineState) -> Option<Self> {
        Some(Self { no_new_privileges: state.no_new_privileges?, uid: state.ids.map_or(0, |ids| ids.base) })
    }
}

/// What is to run, and as what.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Namespaces.
    pub selection: Selection,
    /// cgroups; `None`: those of the caller.
    pub placement: Option<&'a Placement>,
    /// Program, user, directory, environment, limits.
    pub process: &'a ProcessSpec,
    /// What kind of program: usually [`Program::Command`].
    pub program: Program,
    /// Environment before the process' own; see [`environment`].
    pub env: &'a [OsText],
    /// The bounding set; `None`: the leader's.
    pub bounding: Option<CapSet>,
    /// What is known of the leader; `None`: the kernel is asked.
    pub known: Option<Known>,
    /// The machine's system call filter; empty: none.
    pub filter: &'a [Insn],
    /// Goes in without a filter also where the leader has one: otherwise that is refused. The kernel tells a process' filter
    /// only to who stops and traces it, so of a machine that others made it is not known.
    pub unfiltered: bool,
    /// Standard streams.
    pub streams: Streams<'a>,
}

/// A process inside.
#[derive(Debug)]
pub struct Entered {
    /// Its number in the caller's pid namespace.
    pub pid: i32,
    /// Its descriptor; it is the caller's child.
    pub pidfd: OwnedFd,
    /// Our end of its terminal ([`Streams::Terminal`]), non-blocking.
    pub terminal: Option<OwnedFd>,
}

impl Entered {
    /// Waits for its end.
    pub fn wait(&self) -> Result<clone::WaitStatus> {
        let status = clone::wait_pidfd(self.pidfd.as_fd(), clone::WAIT_EXITED).context("wait for", format!("process {}", self.pid))?;
        status.ok_or_else(|| Error::new("wait for", format!("process {}", self.pid), "it did not end"))
    }
}

/// The environment a process in a machine begins with: PATH, TERM, `container`, and nothing of the caller's.
///
/// HOME, USER, LOGNAME come from the machine's user database later.
pub fn environment(term: Option<&OsText>, container: Option<&str>) -> Vec<OsText> {
    let mut out = vec![OsText::from(format!("PATH={}", hostel_process::r#become::DEFAULT_PATH))];
    let term = term.map_or("linux".into(), |t| t.to_string_lossy());
    out.push(OsText::from(format!("TERM={term}")));
    if let Some(container) = container {
        out.push(OsText::from(format!("container={container}")));
    }
    out
}

/// Starts a process in the machine whose PID 1 is `leader`.
///
/// When this returns the program has been executed, or the error says why not: there is no third state.
pub fn enter(leader: &Leader, entry: &Entry<'_>) -> std::result::Result<Entered, EnterError> {
    spawn::enter(leader, entry, false)
}

/// The same with the calling process itself in place of the middle one: a quarter faster, but it *stays* in the machine's
/// namespaces, root and directory, also after an error. For a process of one thread that then only waits.
///
/// With v1 cgroups to join it is [`enter`] all the same: the caller would be limited, frozen and killed with the machine.
pub fn enter_for_good(leader: &Leader, entry: &Entry<'_>) -> std::result::Result<Entered, EnterError> {
    let may = entry.placement.is_none_or(|p| p.v1.is_empty()) && clone::is_single_threaded().unwrap_or(false);
    spawn::enter(leader, entry, may)
}
