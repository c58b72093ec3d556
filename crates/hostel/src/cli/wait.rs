//! `hostel wait`: return when a machine is up, or when it has ended, and then with its exit status.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use hostel_engine::error::{Error, Result};
use hostel_engine::registry::identity::Stat;
use hostel_ipc::control::{CallError, Connection, Ended, Event, MAX_PACKET, Received, Request, Status};
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use super::{Failure, Outcome, Verb, look};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "wait",
    args: "NAME [--ready] [-t SECONDS]",
    about: "wait until a machine has ended, and end with its exit status; or until it is up",
    options: &[
        ("--ended", "until it has ended for good, reboots included (default)"),
        ("--ready", "until it says READY=1, as systemd does when it has booted: status 0; ended before: 125"),
        ("-t, --timeout SECONDS", "no longer than this, then status 125 (without limit; for --ready 90)"),
    ],
    examples: &[
        ("hostel run -d --name job -- make; hostel wait job", "status 2 if make had it; the machine must still run when it is called"),
        ("hostel boot debian -d; hostel wait debian --ready", "as `hostel boot debian -d --wait`"),
    ],
    run,
};

/// What a machine may take to be up.
pub(super) const READY_LIMIT: Duration = Duration::from_secs(90);
/// Inits that never say READY=1.
const SILENT_INITS: [&str; 8] = ["busybox", "dinit", "finit", "openrc-init", "runit", "s6", "shepherd", "sysvinit"];
/// Those of them that run scripts first, one after the other, and wait for each.
const SCRIPTED_INITS: [&str; 3] = ["busybox", "openrc-init", "sysvinit"];
/// What these scripts are called.
const SCRIPTS: [&str; 8] = ["1", "rc", "rcS", "rc.boot", "rc.init", "openrc", "openrc-run", "startpar"];
/// What is there when they are over.
const LATER: [&str; 6] = ["agetty", "getty", "login", "mingetty", "runsvdir", "sulogin"];
/// How often is looked: OpenRC may be through within a tenth of a second. And how long no script is seen when there is nobody to log in at.
const LOOK: Duration = Duration::from_millis(20);
const QUIET: Duration = Duration::from_secs(1);
/// What its supervisor may take to remove what it made.
const TAKE_AWAY: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    name: MachineName,
    ready: bool,
    timeout: Option<Duration>,
}

/// `None`: the help was asked for.
fn parse(args: &[OsString]) -> std::result::Result<Option<Asked>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut name, mut what, mut timeout) = (None, None, None);
    while let Some(arg) = words.next()? {
        match arg {
            Long(long @ ("ready" | "ended")) => {
                let ready = long == "ready";
                if what.replace(ready).is_some_and(|other| other != ready) {
                    return Err(Failure::Usage("combine --ready and --ended: wait for one of them".into()));
                }
            }
            Short('t') | Long("timeout") => timeout = Some(seconds(&words.value()?.string()?)?),
            Short('h') | Long("help") => return Ok(None),
            Value(word) => look::one(&mut name, &word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(Asked { name: look::required(name)?, ready: what.unwrap_or(false), timeout }))
}

/// A time as typed: seconds, also with a fraction.
pub(super) fn seconds(text: &str) -> std::result::Result<Duration, Failure> {
    let number = text.parse::<f64>().ok().filter(|s| s.is_finite() && (0.0..=1e6).contains(s));
    number.map(Duration::from_secs_f64).ok_or_else(|| Failure::Usage(format!("parse --timeout={text}: it takes a number of seconds")))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(asked) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let news = News::of(&asked.name)?;
    if asked.ready {
        news.until_ready(asked.timeout.unwrap_or(READY_LIMIT))?;
        return Ok(0);
    }
    Ok(news.until_ended(asked.timeout)?)
}

/// Waits until the machine `name`, which was just started, is up; unless `promised`, only if its init ever says so.
pub(super) fn until_up(name: &MachineName, promised: bool) -> Result<()> {
    if let (false, Some(init)) = (promised, silent_init(name)) {
        output::tell(format_args!("notice: {init} does not say when it is up: machine {name} has been started"));
        return Ok(());
    }
    match News::of(name) {
        Ok(news) => news.until_ready(READY_LIMIT),
        Err(_) if !super::start::runs(name).unwrap_or(true) => Err(ended_early(name, None)),
        Err(error) => Err(error),
    }
}

/// Waits until the machine `name`, which was just started, says that it is up; returns what else it says.
pub(super) fn until_said(name: &MachineName, limit: Duration) -> Result<Option<String>> {
    match News::of(name) {
        Ok(news) => news.until_ready(limit)?,
        Err(_) if !super::start::runs(name).unwrap_or(true) => return Err(ended_early(name, None)),
        Err(error) => return Err(error),
    }
    let status = look::running(&machine::open_registry()?, name).ok().and_then(|found| look::ask(&found).ok());
    Ok(status.map(|status| status.status_text))
}

/// Waits until the init of the machine `name`, which was just started, is up: it says so, or has run its scripts and begun with what comes
/// after them. `false`: not within [`READY_LIMIT`]. An init that shows neither counts as up, which is told.
pub(super) fn until_init(name: &MachineName) -> Result<bool> {
    let news = match News::of(name) {
        Err(_) if !super::start::runs(name).unwrap_or(true) => return Err(ended_early(name, None)),
        other => other?,
    };
    let registry = machine::open_registry()?;
    let found = look::running(&registry, name)?;
    let state = look::state(&found)?;
    let (Some(leader), false) = (state.leader, state.init.as_deref() == Some("systemd")) else { return news.until(READY_LIMIT, None) };
    let scripted = state.init.as_deref().is_some_and(|init| SCRIPTED_INITS.contains(&init));
    let (mut quiet, mut scripts, mut guessed) = (Instant::now(), false, false);
    let mut is_up = || match stage(leader.pid) {
        Stage::Scripts => {
            (quiet, scripts) = (Instant::now(), true);
            false
        }
        Stage::Later => true,
        Stage::Unknown => {
            let over = quiet.elapsed() >= QUIET;
            guessed = over && !scripts && !(scripted && has_waited(leader.pid));
            over
        }
    };
    let up = news.until(READY_LIMIT, Some(&mut is_up))?;
    if guessed {
        output::tell(format_args!("notice: its init does not say when it is up: machine {name} has been started"));
    }
    Ok(up)
}

/// How far an init is, by its children.
enum Stage {
    Scripts,
    Later,
    Unknown,
}

fn stage(init: i32) -> Stage {
    let names = |pid: &str| -> Vec<(String, String)> {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let name = |child: &str| std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default().trim_end().to_owned();
        children.split_whitespace().map(|child| (child.to_owned(), name(child))).collect()
    };
    let mut all = names(&init.to_string());
    // sysvinit waits for its scripts in a process between.
    let between: Vec<_> = all.iter().filter(|(_, name)| name == "init").flat_map(|(child, _)| names(child)).collect();
    all.extend(between);
    let has = |known: &[&str]| all.iter().any(|(_, name)| known.contains(&name.as_str()));
    match (has(&SCRIPTS), has(&LATER)) {
        (true, _) => Stage::Scripts,
        (false, true) => Stage::Later,
        (false, false) => Stage::Unknown,
    }
}

/// Whether a process has waited for a child that did something: what page faults its children had is told in its own figures.
fn has_waited(pid: i32) -> bool {
    let text = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Field 11, cminflt.
    Stat::fields(&text).and_then(|mut fields| fields.nth(11 - 3)).is_some_and(|faults| faults != "0")
}

/// The init of a machine, if it is a known one that does not speak sd_notify(3).
fn silent_init(name: &MachineName) -> Option<String> {
    let found = look::running(&machine::open_registry().ok()?, name).ok()?;
    let init = found.known()?.init.clone()?;
    SILENT_INITS.contains(&init.as_str()).then_some(init)
}

fn ended_early(name: &MachineName, ended: Option<Ended>) -> Error {
    let status = ended.and_then(|e| e.status).map_or_else(String::new, |status| format!(" with status {status}"));
    Error::new("wait for", format!("machine {name}"), format!("it ended{status} before it was ready"))
        .hint(format!("`hostel logs {name}` shows what it wrote to its console"))
}

/// A machine that is listened to.
struct News {
    name: MachineName,
    connection: Connection,
    /// It was ready when the listening began.
    ready: bool,
}

impl News {
    fn of(name: &MachineName) -> Result<News> {
        let found = look::running(&machine::open_registry()?, name)?;
        look::state(&found)?;
        let mut connection = look::connect(&found, look::PATIENCE).map_err(|e| failed(name, e))?;
        let status: Status = connection.call(&Request::Listen).map_err(|e| failed(name, e))?;
        Ok(News { name: name.clone(), connection, ready: status.ready })
    }

    fn until_ready(&self, limit: Duration) -> Result<()> {
        if self.until(limit, None)? {
            return Ok(());
        }
        let error = Error::new("wait for", format!("machine {}", self.name), format!("it has not said READY=1 for {limit:.0?}"));
        Err(error.hint("it goes on running; inits other than systemd may never say it"))
    }

    /// Until it says so, or `is_up`, which is asked now and then, does. `false`: not within `limit`.
    fn until(&self, limit: Duration, mut is_up: Option<&mut dyn FnMut() -> bool>) -> Result<bool> {
        if self.ready {
            return Ok(true);
        }
        let deadline = Instant::now() + limit;
        loop {
            if is_up.as_mut().is_some_and(|is_up| is_up()) {
                return Ok(true);
            }
            let next = if is_up.is_some() { deadline.min(Instant::now() + LOOK) } else { deadline };
            match self.next(Some(next)) {
                Ok(Some(Event::Ready)) => return Ok(true),
                // It is up when it is up again.
                Ok(Some(Event::Ended(ended))) if ended.reboots => {}
                Ok(Some(Event::Ended(ended))) => {
                    // Its name is free when its supervisor has gone: who starts it again at once must not find it there.
                    let gone = Instant::now() + TAKE_AWAY;
                    while matches!(self.next(Some(gone)), Ok(Some(_))) {}
                    return Err(ended_early(&self.name, Some(ended)));
                }
                Ok(None) => return Err(ended_early(&self.name, None)),
                Err(CallError::TimedOut(_)) if Instant::now() < deadline => {}
                Err(CallError::TimedOut(_)) => return Ok(false),
                Err(other) => return Err(failed(&self.name, other)),
            }
        }
    }

    /// Its exit status, when everything it had is taken away.
    fn until_ended(&self, limit: Option<Duration>) -> Result<u8> {
        let mut deadline = limit.map(|limit| Instant::now() + limit);
        let mut status = None;
        loop {
            match self.next(deadline) {
                Ok(Some(Event::Ended(ended))) if !ended.reboots => {
                    status = ended.status;
                    deadline = Some(Instant::now() + TAKE_AWAY);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(CallError::TimedOut(_)) if status.is_some() => return Ok(status.unwrap_or_default()),
                Ok(None) => return Err(Error::new("wait for", format!("machine {}", self.name), "its supervisor ended without a word")),
                Err(CallError::TimedOut(_)) => {
                    return Err(Error::new("wait for", format!("machine {}", self.name), "it still runs after that time"));
                }
                Err(other) => return Err(failed(&self.name, other)),
            }
        }
    }

    /// What happens next; `None`: its supervisor has ended.
    fn next(&self, deadline: Option<Instant>) -> std::result::Result<Option<Event>, CallError> {
        let mut buffer = [0u8; MAX_PACKET];
        loop {
            match self.connection.receive(&mut buffer, deadline) {
                Ok(Received::Event(event)) => return Ok(Some(event)),
                Ok(Received::Closed) | Err(CallError::Closed) => return Ok(None),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn failed(name: &MachineName, why: CallError) -> Error {
    Error::new("wait for", format!("machine {name}"), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |line: &str| parse(&line.split_whitespace().map(Into::into).collect::<Vec<OsString>>());
        let web = || MachineName::new("web").unwrap();
        assert_eq!(parse("web").unwrap(), Some(Asked { name: web(), ready: false, timeout: None }));
        assert_eq!(parse("--ready -t 0.5 web").unwrap(), Some(Asked { name: web(), ready: true, timeout: Some(Duration::from_millis(500)) }));
        assert_eq!(parse("web --help").unwrap(), None);
        for bad in ["", "a b", "web --ready --ended", "web -t x", "web -t -1", "web --nonsense", "a/b"] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
