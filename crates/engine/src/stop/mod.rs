//! Stopping any init cleanly: find out which it is, ask it in its own way, ask again until it is dead.
//!
//! Requests get lost while an init boots, and asking twice harms none of them (measured), so the question is repeated with
//! growing pauses, by the next best means after three rounds. Who is asked is looked up anew each time: PID 1 may have
//! executed another program since.

mod fingerprint;
mod foreign;
mod methods;
#[cfg(test)]
mod tests;
pub(crate) mod visitor;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use hostel_image::inroot;
use hostel_process::r#become::Program;
use hostel_spec::{CapName, CapSet, OsText, ProcessSpec};
use hostel_sys::clone;
use hostel_sys::seccomp::Insn;
use rustix::fs::{FileType, OFlags};

use crate::cgroup::MachineCgroup;
use crate::enter::{self, Entered, Entry, Leader, Placement, Selection, Streams};
use crate::error::{Context, Error, Result};
use crate::registry::ProcessId;
use crate::supervisor::run::{Goal, Next, StopPolicy, pause_after};

pub use fingerprint::{Evidence, InitKind};
pub use foreign::{Order, Stopped, stop};
pub use methods::{Method, choose, methods, runlevel_request};

/// How long PID 1 may be the only process left after a request before that is taken for its inability to power off:
/// when it lacks CAP_SYS_BOOT, and when it has it (some sleep before their last step, or sync a slow disk).
const ALONE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(6)];

/// What a command in the machine may take.
const RUN_LIMIT: Duration = Duration::from_secs(10);

/// Where commands are searched, besides the usual places: s6 keeps its own elsewhere.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/command:/run/s6/basedir/bin";

/// How commands run in the machine: as everything else that enters it.
#[derive(Debug, Clone, Copy)]
pub struct Confinement<'a> {
    /// Bounding set.
    pub bounding: CapSet,
    /// System call filter; `None`: not known, and where the machine has one, no command is run in it.
    pub filter: Option<&'a [Insn]>,
    /// `$container`.
    pub container: &'a str,
}

/// Asks the init of one machine.
#[derive(Debug)]
pub struct InitPolicy<'a> {
    leader: Leader,
    cgroup: Option<&'a MachineCgroup>,
    confinement: Confinement<'a>,
    /// Commands running in the machine and when they were started, to be reaped.
    running: Vec<(Entered, Instant)>,
    alone_since: Option<Instant>,
    /// What was asked last, and of which program.
    asked: Option<(Method, String)>,
    booted: bool,
}

impl<'a> InitPolicy<'a> {
    /// For the machine of `leader`; `booted`: its PID 1 was started as an init.
    pub fn new(leader: Leader, cgroup: Option<&'a MachineCgroup>, confinement: Confinement<'a>, booted: bool) -> Self {
        Self { leader, cgroup, confinement, running: Vec::new(), alone_since: None, asked: None, booted }
    }

    /// PID 1.
    pub fn leader(&self) -> &Leader {
        &self.leader
    }

    /// One that hangs is killed, and reaped as any other.
    fn kill_slow_commands(&self) {
        for (entered, _) in self.running.iter().filter(|(_, since)| since.elapsed() > RUN_LIMIT) {
            let _ = clone::pidfd_send_signal(entered.pidfd.as_fd(), 9);
        }
    }

    /// Whether nothing but PID 1 has been left for a while: it has ended everything and cannot end itself.
    ///
    /// Not for plain programs: a database that is PID 1 is always alone, and may be writing its last pages.
    fn halted(&mut self, evidence: &Evidence) -> bool {
        let alone = self.asked.is_some() && evidence.kind().is_system() && self.is_alone();
        if !alone {
            self.alone_since = None;
            return false;
        }
        let can_end = CapSet(evidence.facts.effective).has(CapName::SYS_BOOT);
        self.alone_since.get_or_insert_with(Instant::now).elapsed() >= ALONE[usize::from(can_end)]
    }

    fn is_alone(&self) -> bool {
        match self.cgroup {
            Some(cgroup) => cgroup.procs().is_ok_and(|p| p.len() == 1),
            // Whatever loses its parent in a pid namespace becomes a child of its PID 1.
            None => self.leader.children().is_ok_and(|c| c.is_empty()),
        }
    }

    /// A program may take a second signal for an order to hurry; an init takes it for the same request (measured).
    fn is_repetition(&self, kind: InitKind, evidence: &Evidence, method: &Method) -> bool {
        let once = match kind {
            InitKind::Generic => !self.booted,
            // They pass it on to a program.
            InitKind::Stub => *method == Method::Signal(15),
            _ => false,
        };
        once && self.asked.as_ref().is_some_and(|(last, program)| last == method && *program == evidence.program)
    }

    fn use_method(&mut self, method: &Method) {
        match method {
            // What cannot be delivered now is tried again in the next round.
            Method::Signal(signal) => {
                let _ = self.leader.signal(*signal);
            }
            Method::Kill => {
                let _ = self.leader.signal(9);
            }
            Method::Runlevel(level) => {
                let request = runlevel_request(*level);
                let _ = self.leader.root().map(|root| write_fifo(root, "run/initctl", &request) || write_fifo(root, "dev/initctl", &request));
            }
            Method::Line(path, line) => {
                let _ = self.leader.root().map(|root| write_fifo(root, path, format!("{line}\n").as_bytes()));
            }
            Method::Run(words) => self.run_inside(words),
        }
    }

    fn run_inside(&mut self, words: &[&str]) {
        if let Ok(entered) = self.start(words) {
            self.running.push((entered, Instant::now()));
        }
    }

    /// What may look into us does not get to see us.
    fn start(&self, words: &[&str]) -> Result<Entered> {
        let argv: Vec<OsText> = words.iter().map(|w| OsText::from(*w)).collect();
        let mut env = enter::environment(None, Some(self.confinement.container));
        env.push(PATH.into());
        let filter = self.confinement.filter.unwrap_or_default();
        let unfiltered = self.confinement.filter.is_some();
        if self.leader.shares("user")? {
            return visitor::send(&visitor::Order {
                supervisor: std::process::id() as i32,
                leader: ProcessId::of(self.leader.pid())
                    .context("look at", "PID 1")?
                    .ok_or_else(|| Error::new("look at", "PID 1", "it has ended"))?,
                cgroups: self.cgroup.map(MachineCgroup::paths).unwrap_or_default(),
                bounding: self.confinement.bounding,
                filter: filter.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect(),
                unfiltered,
                env,
                argv,
            });
        }
        let process = ProcessSpec { argv, ..ProcessSpec::default() };
        let placement = match self.cgroup {
            Some(cgroup) => Placement::of(cgroup).ok(),
            None => Placement::beside(&self.leader).ok(),
        };
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty()).context("open", "/dev/null")?;
        let entry = Entry {
            selection: Selection::default(),
            placement: placement.as_ref(),
            process: &process,
            program: Program::Command,
            env: &env,
            bounding: Some(self.confinement.bounding),
            known: None,
            filter,
            unfiltered,
            streams: Streams::Given([null.as_fd(); 3]),
        };
        enter::enter(&self.leader, &entry).map_err(|e| Error::new("enter", "machine", e))
    }
}

impl StopPolicy for InitPolicy<'_> {
    fn request(&mut self, goal: Goal, round: u32) -> Next {
        self.kill_slow_commands();
        let evidence = Evidence { booted: self.booted, ..Evidence::of(&self.leader) };
        let kind = evidence.kind();
        if goal == Goal::PowerOff && self.halted(&evidence) {
            return Next::Halted;
        }
        let methods = methods(kind, goal, &evidence);
        // None: it is ending the machine by itself; it is looked at again all the same.
        let Some(method) = choose(&methods, round) else { return Next::AskAgain(pause_after(round)) };
        if !self.is_repetition(kind, &evidence, method) {
            self.use_method(method);
        }
        self.asked = Some((method.clone(), evidence.program));
        if *method == Method::Kill { Next::Wait } else { Next::AskAgain(pause_after(round)) }
    }

    fn commands(&self) -> Vec<BorrowedFd<'_>> {
        self.running.iter().map(|(entered, _)| entered.pidfd.as_fd()).collect()
    }

    fn reap(&mut self) {
        self.running.retain(|(entered, _)| matches!(clone::wait_pidfd(entered.pidfd.as_fd(), clone::WAIT_EXITED | clone::WAIT_NOHANG), Ok(None)));
    }
}

/// Writes into a FIFO of the tree, if that is one and somebody reads it. The guest may have planted anything there:
/// the path is resolved in its root, nothing else than a FIFO is opened for writing, and the write never waits.
fn write_fifo(root: BorrowedFd<'_>, path: &str, bytes: &[u8]) -> bool {
    let is_fifo = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Fifo);
    let Ok(found) = inroot::open(root, Path::new(path), OFlags::PATH | OFlags::NOFOLLOW) else { return false };
    if !is_fifo(found.as_fd()) {
        return false;
    }
    let Ok(fifo) = inroot::open(root, Path::new(path), OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY) else { return false };
    // It could have been exchanged between the two.
    is_fifo(fifo.as_fd()) && rustix::io::write(&fifo, bytes).is_ok_and(|n| n == bytes.len())
}
