//! Stopping any init cleanly: find out which it is, ask it in its own way, ask again until it is dead.
//!
//! Requests get lost while an init boots, and asking twice harms none of them (measured), so the question is repeated with
//! growing pauses, by the next best means after three rounds. Who is asked is looked up anew each time: PID 1 may have
//! executed another program since.

mod fingerprint;
mod methods;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use hostel_image::inroot;
use hostel_process::r#become::Program;
use hostel_spec::{CapSet, OsText, ProcessSpec};
use hostel_sys::clone;
use hostel_sys::seccomp::Insn;
use rustix::fs::{FileType, OFlags};

use crate::cgroup::MachineCgroup;
use crate::enter::{self, Entered, Entry, Leader, Placement, Selection, Streams};
use crate::supervisor::run::{Goal, Next, StopPolicy, pause_after};

pub use fingerprint::{Evidence, InitKind};
pub use methods::{Method, choose, methods, runlevel_request};

/// How long PID 1 may be the only process left after a request before its end is taken for its inability to power off.
const ALONE: Duration = Duration::from_secs(1);

/// How commands run in the machine: as everything else that enters it.
#[derive(Debug, Clone, Copy)]
pub struct Confinement<'a> {
    /// Bounding set.
    pub bounding: CapSet,
    /// System call filter.
    pub filter: &'a [Insn],
    /// `$container`.
    pub container: &'a str,
}

/// Asks the init of one machine.
#[derive(Debug)]
pub struct InitPolicy<'a> {
    leader: Leader,
    cgroup: Option<&'a MachineCgroup>,
    confinement: Confinement<'a>,
    /// Commands running in the machine, to be reaped.
    running: Vec<Entered>,
    alone_since: Option<Instant>,
    asked: bool,
    booted: bool,
}

impl<'a> InitPolicy<'a> {
    /// For the machine of `leader`; `booted`: its PID 1 was started as an init.
    pub fn new(leader: Leader, cgroup: Option<&'a MachineCgroup>, confinement: Confinement<'a>, booted: bool) -> Self {
        Self { leader, cgroup, confinement, running: Vec::new(), alone_since: None, asked: false, booted }
    }

    fn reap(&mut self) {
        self.running.retain(|entered| !matches!(clone::wait_pidfd(entered.pidfd.as_fd(), clone::WAIT_EXITED | clone::WAIT_NOHANG), Ok(Some(_)) | Err(_)));
    }

    /// Whether nothing but PID 1 has been left for a while: it has ended everything and cannot end itself.
    fn halted(&mut self, kind: InitKind) -> bool {
        let alone = self.asked && kind.is_system() && self.cgroup.and_then(|c| c.procs().ok()).is_some_and(|p| p.len() == 1);
        if !alone {
            self.alone_since = None;
            return false;
        }
        self.alone_since.get_or_insert_with(Instant::now).elapsed() >= ALONE
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
        let process = ProcessSpec { argv: words.iter().map(|w| OsText::from(*w)).collect(), ..ProcessSpec::default() };
        let env = enter::environment(None, Some(self.confinement.container));
        let placement = self.cgroup.and_then(|c| Placement::of(c).ok());
        let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty()) else { return };
        let entry = Entry {
            selection: Selection::default(),
            placement: placement.as_ref(),
            process: &process,
            program: Program::Command,
            env: &env,
            bounding: Some(self.confinement.bounding),
            filter: self.confinement.filter,
            streams: Streams::Given([null.as_fd(), null.as_fd(), null.as_fd()]),
        };
        if let Ok(entered) = enter::enter(&self.leader, &entry) {
            self.running.push(entered);
        }
    }
}

impl StopPolicy for InitPolicy<'_> {
    fn request(&mut self, goal: Goal, round: u32) -> Next {
        self.reap();
        let evidence = Evidence { booted: self.booted, ..Evidence::of(&self.leader) };
        let kind = evidence.kind();
        if goal == Goal::PowerOff && self.halted(kind) {
            return Next::Halted;
        }
        let methods = methods(kind, goal, &evidence);
        let Some(method) = choose(&methods, round) else { return Next::Wait };
        self.use_method(method);
        self.asked = true;
        if *method == Method::Kill { Next::Wait } else { Next::AskAgain(pause_after(round)) }
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
