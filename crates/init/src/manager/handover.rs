//! `daemon-reexec`: what this manager knows becomes text, the descriptors that it holds stay open, and the same program, maybe a
//! newer one, takes all of it up again. Services do not notice.
//!
//! ```text
//!  save: lines of words in a file in memory; descriptors lose close-on-exec and are named by number
//!  exec: same pid, same children, same signals pending (pid1/again.rs)
//!  take up: units are loaded from files as at a boot, then each is what its line says
//! ```
//! Nothing may be half-way: with a job that runs, or a unit between two states, it is refused.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hostel_process::event::Interest;
use hostel_unit::UnitName;

use super::live::{Live, Plain};
use super::service::{Role, Run};
use super::socket::{Connection, Port};
use super::state::{Outcome, State};
use super::world::{Process, Token};
use super::{Manager, mount, path, socket, timer};

/// Lines being written, and descriptors that go with them.
#[derive(Debug, Default)]
pub struct Saved<'a> {
    /// The lines.
    pub text: String,
    /// What is named in them.
    pub descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Saved<'a> {
    /// A line of words.
    pub fn line(&mut self, words: &[&str]) {
        for (number, word) in words.iter().enumerate() {
            if number > 0 {
                self.text.push('\t');
            }
            for c in word.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '\t' => self.text.push_str("\\t"),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
        }
        self.text.push('\n');
    }

    fn fd(&mut self, fd: BorrowedFd<'a>) -> String {
        self.descriptors.push(fd);
        fd.as_raw_fd().to_string()
    }
}

/// The words of a line.
pub fn words(line: &str) -> Vec<String> {
    let word = |text: &str| {
        let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
        while let Some(c) = chars.next() {
            match (c, if c == '\\' { chars.next() } else { None }) {
                (_, Some('t')) => out.push('\t'),
                (_, Some('n')) => out.push('\n'),
                (_, Some(other)) => out.push(other),
                (c, None) => out.push(c),
            }
        }
        out
    };
    line.split('\t').map(word).collect()
}

/// Microseconds from now, which may be negative.
fn from_now(at: Option<Instant>) -> String {
    let now = Instant::now();
    at.map_or_else(String::new, |at| match at.checked_duration_since(now) {
        Some(ahead) => ahead.as_micros().to_string(),
        None => format!("-{}", now.saturating_duration_since(at).as_micros()),
    })
}

fn to_instant(text: &str) -> Option<Instant> {
    match text.strip_prefix('-') {
        Some(past) => Instant::now().checked_sub(Duration::from_micros(past.parse().ok()?)),
        None => Instant::now().checked_add(Duration::from_micros(text.parse().ok()?)),
    }
}

fn real(at: Option<SystemTime>) -> String {
    at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or_else(String::new, |d| d.as_micros().to_string())
}

fn to_real(text: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_micros(text.parse().ok()?))
}

fn span(limit: Option<Duration>) -> String {
    limit.map_or_else(String::new, |limit| limit.as_micros().to_string())
}

/// Why there can be no handing over now.
fn unsettled(manager: &Manager) -> Option<String> {
    if let Some(job) = manager.jobs.values().next() {
        return Some(format!("a job of {} runs", job.unit));
    }
    let is_between = |live: &&Live| {
        let service = live.service.as_ref().is_some_and(|s| {
            s.control.is_some() || !matches!(s.state, State::Dead | State::Failed | State::Running | State::Exited | State::AutoRestart)
        });
        service
            || match &live.plain {
                Plain::Socket(socket) => socket.control.is_some(),
                Plain::Mount(mount) => mount.control.is_some(),
                _ => false,
            }
    };
    manager.units.values().find(is_between).map(|live| format!("{} is {}", live.name(), live.sub()))
}

impl Manager {
    /// Whether somebody has asked for it, and it can be done now.
    pub fn wants_handover(&self) -> bool {
        self.handover
    }

    /// It was tried.
    pub fn handover_done(&mut self) {
        self.handover = false;
    }

    /// Asks for it.
    pub(super) fn ask_handover(&mut self) -> Result<(), String> {
        if let Some(why) = unsettled(self).filter(|_| !self.is_beside) {
            return Err(format!("Cannot execute the manager anew now: {why}."));
        }
        if self.is_beside {
            return Err("Cannot execute this manager anew: it is there while it is needed only.".to_owned());
        }
        // one that could not be loaded afterwards would be nobody's
        let lost = |live: &&Live| live.rest.unit.is_loaded() && !live.active().is_down() && !self.read(live.name()).is_loaded();
        if let Some(live) = self.units.values().find(lost) {
            return Err(format!("Cannot execute the manager anew now: the file of {} is gone or bad, and its processes would be lost.", live.name()));
        }
        self.handover = true;
        Ok(())
    }

    /// What is written of partial lines goes to the log before the pipes change hands.
    pub fn finish_lines(&mut self) {
        let numbers: Vec<u32> = self.units.values().filter(|live| live.rest.pipe.is_some()).map(|live| live.rest.number).collect();
        numbers.into_iter().for_each(|number| self.output(number, true));
        self.close_log();
    }

    /// All of it; `None`: something has begun meanwhile.
    pub fn save(&self) -> Option<Saved<'_>> {
        if unsettled(self).is_some() {
            return None;
        }
        let mut out = Saved::default();
        out.line(&["manager", &self.next_job.to_string(), &real(Some(self.began.real)), &from_now(self.began.even), &real(self.settled)]);
        for (name, value) in self.shared.environment.iter() {
            out.line(&["environment", &format!("{name}={value}")]);
        }
        for (user, number, unit) in self.shared.dynamic.holders() {
            out.line(&["user", user, &number.to_string(), unit]);
        }
        for live in self.units.values() {
            unit(&mut out, live);
            if let Some(place) = self.shared.members.place_of(live.name().as_str()) {
                out.line(&["slice", place]);
            }
        }
        for (pid, process) in &self.shared.processes {
            let fd = out.fd(process.pidfd.as_fd());
            let role = if process.role == Role::Main { "main" } else { "control" };
            out.line(&["process", &pid.to_string(), process.unit.as_str(), role, &fd, if process.alien { "alien" } else { "" }]);
        }
        for port in &self.shared.ports {
            let fd = out.fd(port.fd.as_fd());
            out.line(&["port", port.socket.as_str(), &port.number.1.to_string(), &fd]);
        }
        for (name, runtime) in &self.shared.runtimes {
            let other = self.shared.runtimes.iter().find(|(_, other)| std::rc::Rc::ptr_eq(other, runtime)).map_or(name, |(first, _)| first);
            let network = runtime.network().map_or_else(String::new, |fd| out.fd(fd));
            let [tmp, var] = runtime.tmp().unwrap_or(["", ""]);
            out.line(&["runtime", name, if other == name { "" } else { other }, tmp, var, &network]);
        }
        Some(out)
    }

    /// Takes up what was saved. `take` gives the descriptor of a number.
    pub fn take_up(&mut self, text: &str, take: &dyn Fn(i32) -> Option<OwnedFd>) {
        let lines: Vec<Vec<String>> = text.lines().map(words).collect();
        let of_units = lines.iter().filter(|line| at(line, 0) == "unit");
        let names: Vec<UnitName> = of_units.filter_map(|line| UnitName::parse(at(line, 1)).ok()).collect();
        self.bring(&names);
        let mut current: Option<UnitName> = None;
        for line in &lines {
            let fd = |place: usize| at(line, place).parse().ok().and_then(take);
            match at(line, 0) {
                "manager" => {
                    self.next_job = at(line, 1).parse().unwrap_or(1);
                    self.began = timer::Moment { real: to_real(at(line, 2)).unwrap_or(self.began.real), even: to_instant(at(line, 3)) };
                    self.settled = to_real(at(line, 4));
                }
                "environment" => drop(self.shared.environment.assign(at(line, 1))),
                "user" => {
                    if let Ok(number) = at(line, 2).parse() {
                        let _ = self.shared.dynamic.hold(at(line, 1), at(line, 3), &[number], &|_| false);
                    }
                }
                "unit" => current = UnitName::parse(at(line, 1)).ok(),
                "process" => self.take_process(line, fd(4)),
                "port" => self.take_port(line, fd(3)),
                "runtime" => {
                    let made = match self.shared.runtimes.get(at(line, 2)) {
                        Some(other) => std::rc::Rc::clone(other),
                        None => std::rc::Rc::new(super::runtime::Runtime::again([at(line, 3), at(line, 4)], fd(5))),
                    };
                    self.shared.runtimes.insert(at(line, 1).to_owned(), made);
                }
                "slice" => {
                    if let Some(name) = &current {
                        self.shared.members.place(name.as_str(), at(line, 1));
                    }
                }
                _ => {
                    match current.as_ref().and_then(|name| self.units.get_mut(name)) {
                        Some(live) => take_line(live, line, &fd),
                        // of a unit that is none any more: what it had open is closed
                        None if matches!(at(line, 0), "pipe" | "stored" | "connection") => drop((fd(1), fd(2))),
                        None => {}
                    }
                }
            }
        }
        self.wake_up();
    }

    fn take_process(&mut self, line: &[String], pidfd: Option<OwnedFd>) {
        let (Ok(pid), Ok(unit), Some(pidfd)) = (at(line, 1).parse(), UnitName::parse(at(line, 2)), pidfd) else { return };
        let role = if at(line, 3) == "main" { Role::Main } else { Role::Control };
        let alien = at(line, 5) == "alien";
        if alien {
            let _ = self.shared.poller.want(Token::Alien(pid), &pidfd, Interest::READ);
        }
        self.shared.processes.insert(pid, Process { unit, role, pidfd, report: None, alien, confirm: false });
    }

    /// A socket is what the unit's settings say of it now; one that they do not say any more is closed.
    fn take_port(&mut self, line: &[String], fd: Option<OwnedFd>) {
        let (Ok(name), Ok(index), Some(fd)) = (UnitName::parse(at(line, 1)), at(line, 2).parse::<u32>(), fd) else { return };
        let Some(live) = self.units.get(&name) else { return };
        let Plain::Socket(socket) = &live.plain else { return };
        let Some((way, _)) = socket.config.listens.get(index as usize) else { return };
        self.shared.ports.push(Port {
            service: socket.config.service.clone(),
            name: socket.config.name.clone().unwrap_or_else(|| name.to_string()),
            fd,
            way: *way,
            number: (live.rest.number, index),
            to_commands: socket.config.pass_to_commands,
            socket: name,
        });
    }

    /// What waited waits again.
    fn wake_up(&mut self) {
        let mut listening = Vec::new();
        let mut paths = Vec::new();
        for live in self.units.values_mut() {
            live.announced = live.active();
            live.announced_again = live.is_between();
            match &live.plain {
                Plain::Socket(socket) if socket.state == socket::State::Listening => listening.push(live.rest.unit.name.clone()),
                Plain::Path(path) if path.state == path::State::Waiting => paths.push(live.rest.unit.name.clone()),
                _ => {}
            }
            if let Some(pipe) = &live.rest.pipe {
                let _ = self.shared.poller.want(Token::Output(live.rest.number), pipe.as_fd(), Interest::READ);
            }
        }
        listening.iter().for_each(|name| self.watch_ports(name, true));
        paths.iter().for_each(|name| self.start_path(name));
        self.timers_again();
        // whoever ended meanwhile
        self.reap();
    }
}

fn at(line: &[String], place: usize) -> &str {
    line.get(place).map_or("", String::as_str)
}

/// A unit's lines, if there is anything to say of it.
fn unit<'a>(out: &mut Saved<'a>, live: &'a Live) {
    let rest = &live.rest;
    let moments = &rest.moments;
    out.line(&["unit", live.name().as_str()]);
    if moments.changed.is_none() && live.active() == super::state::Active::Inactive {
        return;
    }
    let reals =
        [moments.changed, moments.active_enter, moments.active_exit, moments.inactive_enter, moments.inactive_exit, moments.condition].map(real);
    let evens = [moments.inactive_enter_even, moments.inactive_exit_even].map(from_now);
    out.line(&["moments", &reals[0], &reals[1], &reals[2], &reals[3], &reals[4], &reals[5], &evens[0], &evens[1]]);
    out.line(&["marks", &rest.marks.invocation, &rest.marks.sessions.iter().map(i32::to_string).collect::<Vec<_>>().join(","), &rest.complaint]);
    if let Some((met, which)) = &rest.condition {
        out.line(&["condition", if *met { "met" } else { "" }, which.as_deref().unwrap_or_default()]);
    }
    if let Some(pipe) = &rest.pipe {
        let (read, write) = (out.fd(pipe.as_fd()), out.fd(pipe.writer()));
        out.line(&["pipe", &read, &write]);
    }
    for (name, fd, polled) in &rest.stored {
        let fd = out.fd(fd.as_fd());
        out.line(&["stored", name, &fd, if *polled { "" } else { "unpolled" }]);
    }
    if let Some(connection) = &rest.connection {
        let fd = out.fd(connection.fd.as_fd());
        out.line(&["connection", connection.socket.as_str(), &fd, &connection.peer.map_or_else(String::new, |peer| peer.to_string())]);
    }
    if let Some(s) = &live.service {
        out.line(&[
            "service",
            s.state.word(),
            s.result.word(),
            &s.main.map_or_else(String::new, |pid| pid.to_string()),
            &s.errno.to_string(),
            &s.status_text,
        ]);
        let (burst, begin) = s.limit.save();
        out.line(&[
            "times",
            &from_now(s.deadline),
            &from_now(s.bite),
            &span(s.watchdog),
            &from_now(s.run_until),
            &s.restarts.to_string(),
            &burst.to_string(),
            &from_now(begin),
        ]);
        if let Some(run) = s.main_run {
            let (at, code, status) = run.ended.map_or((String::new(), 0, 0), |(at, end)| {
                let (code, status) = super::query::code(end);
                (real(Some(at)), code, status)
            });
            out.line(&["run", &run.pid.to_string(), &real(Some(run.began)), &at, &code.to_string(), &status.to_string()]);
        }
    }
    plain(out, live);
}

fn plain(out: &mut Saved<'_>, live: &Live) {
    match &live.plain {
        Plain::Point(true) => out.line(&["point"]),
        Plain::Automount(true) => out.line(&["automount"]),
        Plain::Mount(mount) => out.line(&["mount", if mount.is_ours { "ours" } else { "" }, mount.state.word(), mount.result.word()]),
        Plain::Path(path) => out.line(&["path", path.state.word(), path.result.word()]),
        Plain::Timer(timer) => {
            let last = timer.last.map_or((String::new(), String::new()), |last| (real(Some(last.real)), from_now(last.even)));
            let started = timer.started.map_or((String::new(), String::new()), |started| (real(Some(started.real)), from_now(started.even)));
            let done: String = timer.done.iter().map(|done| if *done { '1' } else { '0' }).collect();
            out.line(&["timer", timer.state.word(), timer.result.word(), &last.0, &last.1, &started.0, &started.1, &done]);
        }
        Plain::Socket(socket) => {
            let counts = [socket.accepted, socket.refused].map(|n| n.to_string());
            out.line(&["socket", socket.state.word(), socket.result.word(), &counts[0], &counts[1]]);
            for (unit, address) in &socket.connections {
                out.line(&["of-socket", unit.as_str(), &address.map_or_else(String::new, |address| address.to_string())]);
            }
        }
        _ => {}
    }
}

/// Takes one of a unit's lines. What the unit is not any more is passed over.
fn take_line(live: &mut Live, line: &[String], fd: &dyn Fn(usize) -> Option<OwnedFd>) {
    let word = |place: usize| at(line, place);
    match (word(0), &mut live.service, &mut live.plain) {
        ("moments", ..) => {
            let reals = [1, 2, 3, 4, 5, 6].map(|place| to_real(word(place)));
            let [changed, active_enter, active_exit, inactive_enter, inactive_exit, condition] = reals;
            let (inactive_enter_even, inactive_exit_even) = (to_instant(word(7)), to_instant(word(8)));
            live.rest.moments = super::live::Moments {
                changed,
                active_enter,
                active_exit,
                inactive_enter,
                inactive_exit,
                condition,
                inactive_enter_even,
                inactive_exit_even,
            };
        }
        ("marks", ..) => {
            live.rest.marks.invocation = word(1).to_owned();
            live.rest.marks.sessions = word(2).split(',').filter_map(|pid| pid.parse().ok()).collect();
            live.rest.complaint = word(3).to_owned();
        }
        ("condition", ..) => live.rest.condition = Some((word(1) == "met", Some(word(2).to_owned()).filter(|which| !which.is_empty()))),
        ("pipe", ..) => live.rest.pipe = fd(1).zip(fd(2)).map(|(read, write)| super::log::Pipe::again(read, write)),
        ("stored", ..) => live.rest.stored.extend(fd(2).map(|fd| (word(1).to_owned(), fd, word(3) != "unpolled"))),
        ("connection", ..) => {
            live.rest.connection = fd(2).zip(UnitName::parse(word(1)).ok()).map(|(fd, socket)| Connection { fd, socket, peer: word(3).parse().ok() });
        }
        ("service", Some(s), _) => {
            let states = [State::Dead, State::Failed, State::Running, State::Exited, State::AutoRestart];
            s.state = states.into_iter().find(|state| state.word() == word(1)).unwrap_or(State::Dead);
            s.result = outcome(word(2));
            s.main = word(3).parse().ok();
            s.errno = word(4).parse().unwrap_or(0);
            s.status_text = word(5).to_owned();
        }
        ("times", Some(s), _) => {
            (s.deadline, s.bite, s.run_until) = (to_instant(word(1)), to_instant(word(2)), to_instant(word(4)));
            s.watchdog = word(3).parse().ok().map(Duration::from_micros);
            s.restarts = word(5).parse().unwrap_or(0);
            s.limit.again(word(6).parse().unwrap_or(0), to_instant(word(7)));
        }
        ("run", Some(s), _) => {
            use hostel_sys::clone::WaitStatus;
            let status = word(5).parse().unwrap_or(0);
            let end = match word(4) {
                "1" => Some(WaitStatus::Exited(status)),
                "2" | "3" => Some(WaitStatus::Signaled { signal: status, core: word(4) == "3" }),
                _ => None,
            };
            let began = to_real(word(2)).unwrap_or(UNIX_EPOCH);
            s.main_run = word(1).parse().ok().map(|pid| Run { pid, began, ended: to_real(word(3)).zip(end) });
        }
        ("point", _, plain @ Plain::Point(_)) => *plain = Plain::Point(true),
        ("automount", _, plain @ Plain::Automount(_)) => *plain = Plain::Automount(true),
        ("mount", _, Plain::Mount(mount)) => {
            mount.is_ours = word(1) == "ours" && mount.state == mount::State::Mounted;
            mount.result = outcome(word(3));
            if word(2) == "failed" && mount.state == mount::State::Dead {
                mount.state = mount::State::Failed;
            }
        }
        ("path", _, Plain::Path(path)) => {
            use path::State::{Dead, Failed, Running, Waiting};
            path.state = [Dead, Failed, Running, Waiting].into_iter().find(|state| state.word() == word(1)).unwrap_or(Dead);
            path.result = outcome(word(2));
        }
        ("timer", _, Plain::Timer(timer)) => {
            use timer::State::{Dead, Elapsed, Failed, Running, Waiting};
            timer.state = [Dead, Failed, Running, Waiting, Elapsed].into_iter().find(|state| state.word() == word(1)).unwrap_or(Dead);
            timer.result = outcome(word(2));
            let moment = |first: usize| to_real(word(first)).map(|real| timer::Moment { real, even: to_instant(word(first + 1)) });
            (timer.last, timer.started) = (moment(3), moment(5));
            if word(7).len() == timer.done.len() {
                timer.done = word(7).chars().map(|c| c == '1').collect();
            }
        }
        ("socket", _, Plain::Socket(socket)) => {
            use socket::State::{Dead, Failed, Listening, Running};
            socket.state = [Dead, Failed, Listening, Running].into_iter().find(|state| state.word() == word(1)).unwrap_or(Dead);
            socket.result = outcome(word(2));
            (socket.accepted, socket.refused) = (word(3).parse().unwrap_or(0), word(4).parse().unwrap_or(0));
        }
        ("of-socket", _, Plain::Socket(socket)) => socket.connections.extend(UnitName::parse(word(1)).ok().map(|unit| (unit, word(2).parse().ok()))),
        _ => {}
    }
}

fn outcome(word: &str) -> Outcome {
    Outcome::ALL.into_iter().find(|outcome| outcome.word() == word).unwrap_or(Outcome::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        let mut out = Saved::default();
        let said = ["unit", "a\tb", "with\ttab and\nline \\", "", "\u{e9}"];
        out.line(&said);
        assert_eq!(out.text.lines().count(), 1);
        assert_eq!(words(out.text.trim_end_matches('\n')), said);
        let soon = Instant::now() + Duration::from_secs(5);
        let again = to_instant(&from_now(Some(soon))).unwrap();
        assert!(again.max(soon) - again.min(soon) < Duration::from_millis(50));
        let past = Instant::now() - Duration::from_secs(1);
        assert!(from_now(Some(past)).starts_with('-') && to_instant(&from_now(Some(past))).unwrap() < Instant::now());
        assert_eq!((from_now(None).as_str(), to_instant("")), ("", None));
        assert_eq!(outcome("core-dump"), Outcome::CoreDump);
    }
}
