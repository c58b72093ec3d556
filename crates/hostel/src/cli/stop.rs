//! `hostel stop`: end a machine cleanly, whatever its init, and return when it has really ended.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hostel_engine::enter::Leader;
use hostel_engine::error::{Context, Error};
use hostel_engine::registry::MachineState;
use hostel_engine::stop::{self, Confinement, Order, Stopped};
use hostel_ipc::control::{CallError, Connection, Ended, Event, MAX_PACKET, Received, Request, Stop};
use hostel_spec::{MachineName, Signal};
use hostel_sys::clone;
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::look;
use super::{Failure, Outcome, Verb};
use crate::{foreign, machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "stop",
    args: "NAME... [-t SECONDS] [--no-kill]",
    about: "end machines cleanly, whatever their init, and wait until they have ended",
    options: &[
        ("-t, --timeout SECONDS", "how long its init may take before it is killed (90, or STOP_TIMEOUT of its conf)"),
        ("--no-kill", "do not kill it after that time: status 5 if it still runs"),
        ("--force", "kill it now"),
        ("--strict", "status 3 if it does not run (otherwise 0)"),
        ("-v, --verbose", "say how long it took"),
    ],
    examples: &[
        ("hostel stop debian", "status 0: ended cleanly; 4: it had to be killed"),
        ("hostel stop debian -t 10 --no-kill", "for a service manager that kills by itself"),
    ],
    run,
};

/// Exit status: it did not run, and that was to be told.
const NOT_RUNNING: u8 = 3;
/// Exit status: it had to be killed.
const KILLED: u8 = 4;
/// Exit status: it still runs.
const STILL_RUNNING: u8 = 5;
/// What a supervisor may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// What an init may take.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);
const SIGKILL: i32 = 9;
/// What the supervisor may take beyond that to kill and to take everything away.
const GRACE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct How {
    timeout: Option<Duration>,
    kill: bool,
    force: bool,
    strict: bool,
    verbose: bool,
}

impl How {
    /// The caller's word, or the machine's.
    fn timeout(&self, machine: Option<&MachineState>) -> Duration {
        self.timeout.or_else(|| machine?.stop_timeout.map(Duration::from_micros)).unwrap_or(DEFAULT_TIMEOUT)
    }
}

fn parse(args: &[OsString]) -> Result<Option<(Vec<MachineName>, How)>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut names = Vec::new();
    let mut how = How { timeout: None, kill: true, force: false, strict: false, verbose: false };
    while let Some(arg) = words.next()? {
        match arg {
            Short('t') | Long("timeout") => how.timeout = Some(super::wait::seconds(&words.value()?.string()?)?),
            Long("no-kill") => how.kill = false,
            Long("force") => how.force = true,
            Long("strict") => how.strict = true,
            Short('v') | Long("verbose") => how.verbose = true,
            Short('h') | Long("help") => return Ok(None),
            Value(word) => {
                let word = word.string()?;
                names.push(MachineName::new(word).map_err(|e| Failure::Usage(e.to_string()))?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if names.is_empty() {
        return Err(Failure::Usage("which machine? give its name".into()));
    }
    Ok(Some((names, how)))
}

fn run(args: &[OsString]) -> Outcome {
    let Some((names, how)) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let mut worst = 0;
    // All are asked first, then all are waited for: they end side by side.
    let (mut pending, mut foreign) = (Vec::new(), Vec::new());
    for name in names {
        match ask(&name, how)? {
            Some((connection, timeout)) => {
                pending.push(Pending { name, connection, timeout, since: Instant::now(), answered: false, ended: None, killed: None });
            }
            None => match foreign::find(&name) {
                Some((leader, _)) => foreign.push((name, leader)),
                None => {
                    output::tell(format_args!("hostel: machine {name} does not run"));
                    worst = worst.max(if how.strict { NOT_RUNNING } else { 0 });
                }
            },
        }
    }
    let (status, hung) = wait(pending, how)?;
    worst = worst.max(status);
    for name in hung {
        worst = worst.max(without_supervisor(&name, how)?);
    }
    for (name, leader) in foreign {
        worst = worst.max(stop_foreign(&name, leader, how)?);
    }
    Ok(worst)
}

/// A machine that others run: its init is asked as its kind wants to be asked.
fn stop_foreign(name: &MachineName, leader: Leader, how: How) -> Outcome {
    let since = Instant::now();
    let order = Order { timeout: if how.force { Duration::ZERO } else { how.timeout(None) }, signal: None, kill: how.kill };
    let stopped = stop::stop(leader, None, None, &order)?;
    match stopped {
        Stopped::StillRuns => output::tell(format_args!("hostel: machine {name} still runs after {} s", since.elapsed().as_secs())),
        Stopped::Killed if !how.force => output::tell(format_args!("hostel: machine {name} did not end by itself and was killed")),
        _ if how.verbose => output::tell(format_args!("hostel: machine {name} ended after {:.1} s", since.elapsed().as_secs_f64())),
        _ => {}
    }
    Ok(if stopped == Stopped::Killed && how.force { 0 } else { stopped.exit_code(how.strict) })
}

/// Asks the supervisor; how long that may take. `None`: the machine does not run.
fn ask(name: &MachineName, how: How) -> Result<Option<(Connection, Duration)>, Failure> {
    let registry = machine::open_registry()?;
    let found = match registry.load(name) {
        Ok(found) if found.liveness != hostel_engine::registry::Liveness::Dead => found,
        Ok(_) | Err(hostel_engine::registry::RegistryError::NotRunning { .. }) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let connection = match look::connect(&found, look::PATIENCE) {
        Ok(connection) => connection,
        Err(CallError::Closed) => return Ok(None),
        Err(error) => {
            let hint = format!("its supervisor does not answer: `hostel kill {name} -s KILL --whom supervisor` ends both");
            return Err(Error::new("stop", format!("machine {name}"), error).hint(hint).into());
        }
    };
    // Without killing, the supervisor asks on and on; it is our waiting that ends.
    let timeout = how.timeout(found.known());
    let asked = if how.kill { timeout } else { Duration::from_secs(365 * 86400) };
    let request = Request::Stop(Stop { timeout_ms: Some(asked.as_millis() as u64), force: how.force });
    match connection.post(&request) {
        Ok(()) | Err(CallError::Closed) => Ok(Some((connection, timeout))),
        Err(error) => Err(Error::new("stop", format!("machine {name}"), error).into()),
    }
}

/// A machine that was asked for its end.
struct Pending {
    name: MachineName,
    connection: Connection,
    timeout: Duration,
    since: Instant,
    /// It answers at once, whatever the machine does; one that does not hangs.
    answered: bool,
    ended: Option<Ended>,
    /// When we killed its PID 1, because its supervisor did not in time.
    killed: Option<Instant>,
}

/// What came of one.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its supervisor closed the connection: everything is taken away.
    Gone,
    /// Its time is over.
    StillRuns,
    /// Its supervisor hangs.
    Hung,
}

/// Waits for the end of all, whichever comes first: of PID 1, and then of the supervisor, which closes the connection when
/// everything is taken away. Returns the worst status, and those whose supervisor hangs.
fn wait(mut pending: Vec<Pending>, how: How) -> Result<(u8, Vec<MachineName>), Failure> {
    let (mut worst, mut hung) = (0, Vec::new());
    while !pending.is_empty() {
        let mut left = Vec::new();
        for mut machine in pending {
            match machine.look(how)? {
                None => left.push(machine),
                Some(End::Gone) => worst = worst.max(machine.gone(how)),
                Some(End::StillRuns) => {
                    output::tell(format_args!("hostel: machine {} still runs after {} s", machine.name, machine.since.elapsed().as_secs()));
                    worst = worst.max(STILL_RUNNING);
                }
                Some(End::Hung) => hung.push(machine.name),
            }
        }
        pending = left;
        wait_for_news(&pending, how).context("wait for", "machines")?;
    }
    Ok((worst, hung))
}

/// Until one of them says something, or the time of one is over.
fn wait_for_news(pending: &[Pending], how: How) -> std::result::Result<(), Errno> {
    let Some(next) = pending.iter().map(|machine| machine.deadline(how)).min() else { return Ok(()) };
    let limit = next.saturating_duration_since(Instant::now());
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    let mut polled: Vec<PollFd<'_>> = pending.iter().map(|machine| PollFd::new(&machine.connection, PollFlags::IN)).collect();
    match rustix::event::poll(&mut polled, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

impl Pending {
    fn deadline(&self, how: How) -> Instant {
        let limit = if how.kill { self.timeout + GRACE } else { self.timeout };
        match self.killed {
            Some(at) => at + GRACE,
            None => self.since + if self.answered { limit } else { ANSWER },
        }
    }

    /// Takes what its supervisor has said so far; `None`: it is still waited for.
    fn look(&mut self, how: How) -> Result<Option<End>, Failure> {
        let mut buffer = [0u8; MAX_PACKET];
        loop {
            match self.connection.receive(&mut buffer, Some(Instant::now())) {
                Ok(Received::Event(Event::Ended(ended))) => self.ended = Some(ended),
                Ok(Received::Event(Event::Ready)) => {}
                Ok(Received::Closed) | Err(CallError::Closed) => return Ok(Some(End::Gone)),
                Ok(Received::Refused(remote)) => return Err(Error::new("stop", format!("machine {}", self.name), remote).into()),
                Ok(Received::Reply(_) | Received::Data { .. }) => self.answered = true,
                Err(CallError::TimedOut(_)) if Instant::now() < self.deadline(how) => return Ok(None),
                Err(CallError::TimedOut(_)) if !self.answered => return Ok(Some(End::Hung)),
                Err(CallError::TimedOut(_)) if how.kill && self.killed.is_none() => self.kill(),
                Err(CallError::TimedOut(_)) => return Ok(Some(End::StillRuns)),
                Err(error) => return Err(Error::new("stop", format!("machine {}", self.name), error).into()),
            }
        }
    }

    /// Its supervisor was to do this, and hangs. Nothing of the machine is looked at, which may be what it hangs on.
    fn kill(&mut self) {
        self.killed = Some(Instant::now());
        let leader = machine::open_registry().ok().and_then(|registry| registry.load(&self.name).ok()).and_then(|m| m.known()?.leader);
        if let Some(pidfd) = leader.and_then(|leader| leader.open().ok().flatten()) {
            let _ = clone::pidfd_send_signal(pidfd.as_fd(), SIGKILL);
        }
    }

    /// It has ended, now: the status, and what there is to say.
    fn gone(&self, how: How) -> u8 {
        let killed = (self.ended.is_some_and(|e| e.killed) || self.killed.is_some()) && !how.force;
        if killed {
            output::tell(format_args!("hostel: machine {} did not end by itself and was killed", self.name));
        } else if how.verbose {
            // A command that hears no request is ended by a signal: that is its way to end, but no end of its own.
            let how =
                match self.ended.and_then(|e| e.status).filter(|status| *status > 128).and_then(|status| Signal::from_raw(i32::from(status) - 128)) {
                    Some(signal) => format!("was killed ({})", signal.name()),
                    None => "ended".to_owned(),
                };
            output::tell(format_args!("hostel: machine {} {how} after {:.1} s", self.name, self.since.elapsed().as_secs_f64()));
        }
        if killed { KILLED } else { 0 }
    }
}

/// Does what the supervisor should do: asks the machine's init, waits, kills.
fn without_supervisor(name: &MachineName, how: How) -> Outcome {
    output::tell(format_args!("hostel: the supervisor of machine {name} does not answer; its init is asked directly"));
    let found = look::running(&machine::open_registry()?, name)?;
    let state = look::state(&found)?;
    let object = || format!("machine {name}");
    let leader = match state.leader {
        Some(leader) => leader.open().context("open", object())?.map(|pidfd| Leader::from_parts(leader.pid, pidfd)),
        None => None,
    };
    let group = look::cgroup(state).and_then(Result::ok);
    let filter = found.filter().context("read", format!("system call filter of {name}"))?;
    let filter = Some(filter.as_slice()).filter(|f| !f.is_empty());
    let stopped = match leader {
        None => Stopped::Before,
        Some(leader) => {
            if let Some(group) = &group {
                // One that is paused answers nobody.
                let _ = group.thaw(Duration::from_secs(1));
            }
            let confinement =
                Confinement { bounding: state.bounding.unwrap_or_default(), filter, container: state.container.as_deref().unwrap_or("hostel") };
            let order = Order {
                timeout: if how.force { Duration::ZERO } else { how.timeout(Some(state)) },
                signal: state.kill_signal,
                kill: how.kill || how.force,
            };
            stop::stop(leader, group.as_ref(), Some(confinement), &order)?
        }
    };
    output::tell(format_args!(
        "hint: its supervisor (process {}) is still there: `hostel kill {name} -s KILL --whom supervisor`, then `hostel clean`",
        state.supervisor.pid
    ));
    Ok(if stopped == Stopped::Killed && how.force { 0 } else { stopped.exit_code(how.strict) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn arguments() {
        let (names, how) = parse(&words("a b -t 2.5 --no-kill")).unwrap().unwrap();
        assert_eq!((names.len(), how.timeout, how.kill), (2, Some(Duration::from_millis(2500)), false));
        for bad in ["", "-t x a", "-t -1 a", "a/b", "--what a", "-t nan a"] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }
}
