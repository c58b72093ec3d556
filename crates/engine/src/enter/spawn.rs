//! The two processes of an entry; see the drawing in [`super`].

use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::DumpableBehavior;

use hostel_process::r#become::{self, Failure, Process};
use hostel_process::pty::Pty;
use hostel_process::userdb;
use hostel_spec::{CapName, CapSet, ProcessSpec, UserSelector};
use hostel_sys::clone::{self, CloneArgs, Fork};
use hostel_sys::{caps, proc};

use super::{Entered, Entry, Facts, Known, Leader, Streams};
use crate::cgroup::V1Door;
use crate::error::{Error, io_text};

/// Why nothing was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There is no such program in the machine: 127.
    NotFound,
    /// It cannot be executed: 126.
    NotExecutable,
    /// Everything else: 125.
    Other,
}

/// A process that could not be started in a machine.
#[derive(Debug)]
pub struct EnterError {
    /// What was done, such as `execute`.
    pub verb: String,
    /// To what.
    pub object: String,
    /// Why not.
    pub why: String,
    /// Whose fault, for the exit status.
    pub cause: Cause,
}

impl EnterError {
    fn new(verb: &str, object: impl Into<String>, error: &io::Error) -> Self {
        Self { verb: verb.into(), object: object.into(), why: io_text(error), cause: Cause::Other }
    }

    /// Exit status a shell would use: 127, 126, or 125.
    pub fn exit_code(&self) -> u8 {
        match self.cause {
            Cause::NotFound => 127,
            Cause::NotExecutable => 126,
            Cause::Other => 125,
        }
    }
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.verb, self.object, self.why)
    }
}
impl std::error::Error for EnterError {}

impl From<Failure> for EnterError {
    fn from(failure: Failure) -> Self {
        let cause = match failure.cause.raw_os_error().map(Errno::from_raw_os_error) {
            _ if failure.verb != "execute" => Cause::Other,
            Some(Errno::NOENT | Errno::NOTDIR) => Cause::NotFound,
            None if failure.cause.kind() == io::ErrorKind::NotFound => Cause::NotFound,
            _ => Cause::NotExecutable,
        };
        Self { verb: failure.verb.into(), object: failure.object, why: io_text(&failure.cause), cause }
    }
}
impl From<Error> for EnterError {
    fn from(error: Error) -> Self {
        Self { verb: error.verb.into(), object: error.object, why: error.cause, cause: Cause::Other }
    }
}

type Outcome<T> = Result<T, EnterError>;

trait Context<T> {
    fn when(self, verb: &str, object: &str) -> Outcome<T>;
}
impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn when(self, verb: &str, object: &str) -> Outcome<T> {
        self.map_err(|e| EnterError::new(verb, object, &e.into()))
    }
}

/// What both processes know. The middle one writes its results here: the memory is the caller's.
struct Work<'a> {
    entry: &'a Entry<'a>,
    process: ProcessSpec,
    pidfd: BorrowedFd<'a>,
    root: Option<BorrowedFd<'a>>,
    flags: u64,
    bounding: CapSet,
    /// The entered process gets a copy of the memory, because the machine could trace it.
    separate: bool,
    /// There is no middle process: the caller itself goes in.
    here: bool,
    /// Closed by the exec; a process with memory of its own says there why there was none.
    report: Option<OwnedFd>,
    slave: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    made: Option<(i32, OwnedFd)>,
    /// The machine's user namespace turned out to be our own, which cannot be entered.
    wrong_users: bool,
    failure: Option<EnterError>,
}

pub(super) fn enter(leader: &Leader, entry: &Entry<'_>, here: bool) -> Outcome<Entered> {
    // /proc is read only for what nobody has written down.
    let unsure = entry.filter.is_empty() && !entry.unfiltered;
    let facts = if unsure || entry.bounding.is_none() || entry.known.is_none() { Some(leader.facts()?) } else { None };
    let filtered = facts.as_ref().is_some_and(|f| f.filtered);
    // Unless what holds it holds us, too: whoever made us both may have filtered everything.
    if filtered && unsure && !Facts::own()?.filtered {
        let why = "its processes are held by a system call filter that is not known, and what enters would not be";
        return Err(EnterError::new("enter", "machine", &io::Error::other(why)));
    }
    let facts = facts.unwrap_or_default();
    let bounding = entry.bounding.unwrap_or(CapSet(facts.bounding));
    let known = entry.known.unwrap_or(Known { no_new_privileges: facts.no_new_privileges, uid: facts.uid });
    // A leader of another user is in another user namespace; should that be wrong, the kernel says so before anything is done.
    let guessed = entry.selection.user && known.uid != rustix::process::geteuid().as_raw();
    if guessed && let Some(entered) = attempt(leader, entry, here, (bounding, known), false)? {
        return Ok(entered);
    }
    let shared = leader.shares("user")?;
    attempt(leader, entry, here, (bounding, known), shared)?
        .ok_or_else(|| EnterError::new("join", "user namespace of the machine", &Errno::INVAL.into()))
}

/// Enters a machine that shares our user namespace, or does not; `None`: it is the other way round.
fn attempt(leader: &Leader, entry: &Entry<'_>, here: bool, (bounding, known): (CapSet, Known), shared_users: bool) -> Outcome<Option<Entered>> {
    let separate = shared_users && entry.selection.pid && bounding.has(CapName::SYS_PTRACE);
    if separate && !clone::is_single_threaded().when("count", "threads of this process")? {
        let why = io::Error::other("a machine that may trace host processes cannot be entered by a process with several threads");
        return Err(EnterError::new("enter", "machine", &why));
    }
    let mut process = entry.process.clone();
    process.no_new_privileges |= known.no_new_privileges;
    let mut work = Work {
        entry,
        process,
        pidfd: leader.pidfd(),
        root: if entry.selection.mount && leader.is_foreign() { Some(leader.root()?) } else { None },
        flags: entry.selection.flags(shared_users),
        bounding,
        separate,
        here,
        report: None,
        slave: None,
        terminal: None,
        made: None,
        wrong_users: false,
        failure: None,
    };
    let guard = Undumpable::begin()?;
    let result = run_middle(&mut work, guard.restores);
    drop(guard);
    match result {
        Err(_) if work.wrong_users => Ok(None),
        Err(error) => Err(error),
        Ok((pid, pidfd)) => Ok(Some(Entered { pid, pidfd, terminal: work.terminal })),
    }
}

/// Nobody may look into this process while it is seen in a machine. Threads that enter at the same time share that.
struct Undumpable {
    /// Whether the process may be dumpable again afterwards. Who enters often is better off undumpable for good.
    restores: bool,
}

/// How many are at it, and whether the last one makes the process dumpable again.
static UNDUMPABLE: Mutex<(u32, bool)> = Mutex::new((0, false));

impl Undumpable {
    fn begin() -> Outcome<Self> {
        let mut entering = UNDUMPABLE.lock().unwrap_or_else(PoisonError::into_inner);
        if entering.0 == 0 {
            entering.1 = rustix::process::dumpable_behavior().when("read", "dumpability")? == DumpableBehavior::Dumpable;
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).when("change", "dumpability")?;
        }
        entering.0 += 1;
        Ok(Self { restores: entering.1 })
    }
}

impl Drop for Undumpable {
    fn drop(&mut self) {
        let mut entering = UNDUMPABLE.lock().unwrap_or_else(PoisonError::into_inner);
        entering.0 -= 1;
        if entering.0 == 0 && entering.1 {
            // Fails for no process that could be made undumpable.
            let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
        }
    }
}

fn run_middle(work: &mut Work<'_>, restores: bool) -> Outcome<(i32, OwnedFd)> {
    let mut report = None;
    // The kernel lets a vfork's parent go on a moment *before* the child has its own memory; the end of this pipe comes
    // after that. Until then our memory is to be seen in the machine.
    if work.separate || restores {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).when("make", "pipe")?;
        work.report = Some(write);
        report = Some(read);
    }
    if work.here {
        if let Err(error) = work.middle() {
            work.failure = Some(error);
        }
        return finish(work, report, None);
    }
    let cgroup = work.cgroup();
    // No exit signal: nobody but us is to notice this process.
    let args = CloneArgs { flags: clone::FILES, cgroup, exit_signal: 0 };
    let (_, middle) = clone::vfork_exec(&args, &mut || match work.middle() {
        Ok(()) => 0,
        Err(error) => {
            work.failure = Some(error);
            1
        }
    })
    .when("clone", "process to enter the machine")?;
    let status = clone::wait_pidfd(middle.as_fd(), clone::WAIT_EXITED).when("wait for", "process that enters the machine")?;
    finish(work, report, status)
}

/// What came of it, once the entered process has executed its program or failed to.
fn finish(work: &mut Work<'_>, report: Option<OwnedFd>, status: Option<clone::WaitStatus>) -> Outcome<(i32, OwnedFd)> {
    work.slave = None;
    work.report = None;
    if let Some(read) = report {
        work.failure = work.failure.take().or(read_report(read)?);
    }
    match (work.made.take(), work.failure.take()) {
        (Some(made), None) => Ok(made),
        (made, failure) => {
            if let Some((_, pidfd)) = made {
                let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED);
            }
            let killed = || EnterError::new("enter", "machine", &io::Error::other(format!("the process that enters ended early ({status:?})")));
            Err(failure.unwrap_or_else(killed))
        }
    }
}

impl<'a> Work<'a> {
    fn cgroup(&self) -> Option<BorrowedFd<'a>> {
        self.entry.placement.and_then(|p| p.v2.as_ref()).map(OwnedFd::as_fd)
    }

    /// The middle process, in the caller's memory and with its descriptors; or the caller itself.
    fn middle(&mut self) -> Outcome<()> {
        for dir in self.entry.placement.iter().flat_map(|p| &p.v1) {
            V1Door::open(dir.as_fd()).and_then(|door| door.enter()).when("join", "v1 cgroup of the machine")?;
        }
        // The machine's own /proc could lead this anywhere; and it is inherited.
        if let Some(score) = self.process.oom_score_adjust.take() {
            std::fs::write("/proc/self/oom_score_adj", score.to_string()).when("write", "/proc/self/oom_score_adj")?;
        }
        // Who is outside of a cgroup namespace's root may not put a child below it (nsdelegate): the child joins by itself.
        let now = if self.here { self.flags & !clone::NEWCGROUP } else { self.flags };
        let joined = clone::setns_pidfd(self.pidfd, now);
        self.wrong_users = now & clone::NEWUSER != 0 && matches!(&joined, Err(e) if Errno::from_io_error(e) == Some(Errno::INVAL));
        joined.when("join", "namespaces of the machine")?;
        if let Some(root) = self.root {
            // The leader's root, should it be another than that of its mount namespace, where we are now.
            rustix::process::fchdir(root).when("enter", "root of the machine")?;
            rustix::process::chroot(c".").when("enter", "root of the machine")?;
            rustix::process::chdir(c"/").when("enter", "root of the machine")?;
        }
        if self.separate {
            limit_capabilities(self.bounding).when("drop", "capabilities")?;
        }
        if let Streams::Terminal(size) = self.entry.streams {
            let pty = self.open_terminal()?;
            if let Some(size) = size {
                pty.set_size(size).map_err(|e| EnterError::new(e.verb, e.object, &e.cause.into()))?;
            }
            self.slave = Some(pty.slave);
            self.terminal = Some(pty.master);
        }
        self.spawn()
    }

    fn spawn(&mut self) -> Outcome<()> {
        let args = if self.here {
            CloneArgs { cgroup: self.cgroup(), ..CloneArgs::default() }
        } else {
            CloneArgs { flags: clone::PARENT, cgroup: None, exit_signal: 0 }
        };
        if !self.separate {
            let made = clone::vfork_exec(&args, &mut || {
                let failure = self.become_it();
                self.failure = Some(failure);
                127
            });
            self.made = Some(made.when("clone", "process in the machine")?);
            return Ok(());
        }
        match clone::clone3(&CloneArgs { flags: args.flags | clone::CLEAR_SIGHAND, ..args }).when("clone", "process in the machine")? {
            Fork::Child => {
                let failure = self.become_it();
                self.send_report(&failure);
                clone::exit_now(127)
            }
            Fork::Parent { pid, pidfd } => {
                self.made = Some((pid, pidfd));
                Ok(())
            }
        }
    }

    /// A pty out of the machine's devpts, which belongs to the user it is for.
    fn open_terminal(&self) -> Outcome<Pty> {
        if self.flags & clone::NEWUSER != 0 {
            // Who opens ptmx owns the slave, and an owner outside of the machine's ids could not be changed.
            // EPERM: setgroups is denied there, and so is having other groups.
            let _ = proc::set_ids(0, 0, &[]);
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).when("change", "dumpability")?;
        }
        let pty = Pty::inside().map_err(|e| EnterError::new(e.verb, e.object, &e.cause.into()))?;
        if let Some(selector) = self.process.user.as_ref().filter(|u| **u != UserSelector::Id(0)) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open(c"/", flags, Mode::empty()).when("open", "root of the machine")?;
            let user = userdb::lookup(&root, selector).map_err(|e| {
                let (verb, object, why) = e.parts();
                EnterError { verb: verb.into(), object, why, cause: Cause::Other }
            })?;
            rustix::fs::fchown(&pty.slave, Some(Uid::from_raw(user.uid)), None).when("give", "terminal to the user")?;
        }
        Ok(pty)
    }

    /// What stays open until the exec, which closes it.
    fn until_exec(&self) -> Vec<BorrowedFd<'_>> {
        self.report.iter().map(OwnedFd::as_fd).collect()
    }

    /// The process inside. Returns only the reason why it is not the program.
    fn become_it(&self) -> EnterError {
        match self.prepare() {
            Err(error) => error,
            Ok(()) => {
                let terminal = self.slave.is_some();
                let filter = Some(self.entry.filter).filter(|f| !f.is_empty());
                become_process(&self.process, self.entry, self.bounding, filter, terminal, &self.until_exec())
            }
        }
    }

    /// Standard streams in their places, nothing else open, nothing of the caller's session left.
    fn prepare(&self) -> Outcome<()> {
        if self.here && self.flags & clone::NEWCGROUP != 0 {
            clone::setns_pidfd(self.pidfd, clone::NEWCGROUP).when("join", "cgroup namespace of the machine")?;
        }
        const PLACE: (&str, &str) = ("place", "standard streams");
        let given = match self.entry.streams {
            Streams::Inherit => None,
            Streams::Given(fds) => Some(fds),
            Streams::Terminal(_) => self.slave.as_ref().map(|fd| [fd.as_fd(); 3]),
        };
        if let Some(given) = given {
            // First away from 0…2: one of them may be another's place.
            let copy = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 4).when(PLACE.0, PLACE.1);
            for (to, from) in [copy(given[0])?, copy(given[1])?, copy(given[2])?].iter().enumerate() {
                proc::place_stream(from.as_fd(), to as i32).when(PLACE.0, PLACE.1)?;
            }
        }
        // Closed, not only marked: the working directory that is entered before the exec may be /proc/self/fd/N.
        clone::close_from_but(3, &self.until_exec()).when("close", "descriptors")?;
        for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            let directory = rustix::fs::fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
            if directory {
                return Err(EnterError::new("pass on", "standard stream", &io::Error::other("it is a directory of the host")));
            }
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
        match proc::new_session_keyring() {
            // Kernels without keyrings have nothing to leave behind.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOSYS | Errno::OPNOTSUPP)) => Ok(()),
            other => other.when("leave", "session keyring"),
        }
    }
    /// Only a process with memory of its own has a pipe for this.
    fn send_report(&self, failure: &EnterError) {
        let Some(report) = &self.report else { return };
        let cause = failure.exit_code().to_string();
        let text = [&cause, &failure.verb, &failure.object, &failure.why].map(String::as_str).join("\0");
        // A caller that died needs no report.
        let _ = rustix::io::write(report, text.as_bytes());
    }
}

fn become_process(
    spec: &ProcessSpec,
    entry: &Entry<'_>,
    bounding: CapSet,
    filter: Option<&[hostel_sys::seccomp::Insn]>,
    terminal: bool,
    until_exec: &[BorrowedFd<'_>],
) -> EnterError {
    let process = Process {
        spec,
        program: entry.program,
        env: entry.env,
        bounding,
        filter,
        stdio: terminal.then(rustix::stdio::stdin),
        controlling: terminal,
        new_session: true,
        keep: 0,
        until_exec,
        clamp_limits: true,
        // Whoever waits for it, takes its status and passes signals on is this caller: without it, it would run on unseen.
        die_with_parent: true,
        // Who enters such a machine runs from a file that cannot be written (`shield`).
        no_magic_links: false,
        service: None,
    };
    r#become::run(&process).into()
}

/// Leaves the capabilities of the machine, and those that becoming its process takes.
fn limit_capabilities(bounding: CapSet) -> io::Result<()> {
    const NEEDED: CapSet =
        CapSet::of(&[CapName::SETUID, CapName::SETGID, CapName::SETPCAP, CapName::SYS_ADMIN, CapName::SYS_RESOURCE, CapName::CHOWN]);
    caps::limit_bounding(bounding.0)?;
    let (permitted, _, _) = caps::get()?;
    let kept = bounding.or(NEEDED).0 & permitted;
    caps::set(kept, kept, 0)
}

fn read_report(read: OwnedFd) -> Outcome<Option<EnterError>> {
    let mut text = Vec::new();
    std::fs::File::from(read).read_to_end(&mut text).when("read", "report of the process in the machine")?;
    if text.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&text);
    let mut parts = text.splitn(4, '\0').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let cause = match next().as_str() {
        "127" => Cause::NotFound,
        "126" => Cause::NotExecutable,
        _ => Cause::Other,
    };
    Ok(Some(EnterError { verb: next(), object: next(), why: next(), cause }))
}

/// The directories (is it v2?, path) of the cgroups in /proc/PID/cgroup, where those hierarchies are mounted.
pub(super) fn cgroup_paths(own: &str, mountinfo: &str) -> Vec<(bool, PathBuf)> {
    let mut out = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let v2 = id == "0" && controllers.is_empty();
        let mounted = mountinfo.lines().find_map(|m| mount_of(m, v2, controllers));
        let Some((root, point)) = mounted else { continue };
        // Outside of what is mounted here it cannot be reached.
        let Ok(below) = Path::new(path).strip_prefix(root) else { continue };
        if below.components().any(|c| c.as_os_str() == "..") {
            continue;
        }
        out.push((v2, Path::new(point).join(below)));
    }
    out
}

fn mount_of<'m>(line: &'m str, v2: bool, controllers: &str) -> Option<(&'m str, &'m str)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1)?);
    let fits = if v2 { kind == "cgroup2" } else { kind == "cgroup" && controllers.split(',').all(|c| options.split(',').any(|o| o == c)) };
    fits.then_some((root, point))
}
