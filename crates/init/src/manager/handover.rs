//! `daemon-reexec`: what this manager knows becomes text, the descriptors that it holds stay open, and the same program, maybe a
//! newer one, takes all of it up again. Services do not notice.
//!
//! ```text
//!  save: lines of words in a file in memory; descriptors lose close-on-exec and are named by number
//!  exec: same pid, same children, same signals pending (pid1/again.rs)
//!  take up: units are loaded from files as at a boot, then each is what its line says
//! ```
//! Nothing may be half-way: with a job that runs, or a unit between two states, it is refused.

mod lines;
mod unit;

use std::os::fd::{AsFd, OwnedFd};

use hostel_process::event::Interest;
use hostel_unit::UnitName;

pub use lines::{Saved, words};
use lines::{at, from_now, real, to_instant, to_real};

use super::live::{Live, Plain};
use super::service::Role;
use super::socket::Port;
use super::state::State;
use super::world::{Process, Token};
use super::{Manager, path, socket, timer};

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
        self.shared.log.settle_all();
        self.close_log();
    }

    /// All of it; `None`: something has begun meanwhile.
    pub fn save(&self) -> Option<Saved<'_>> {
        if unsettled(self).is_some() {
            return None;
        }
        let mut out = Saved::default();
        let [entries, lines] = self.shared.log.untold().map(|count| count.to_string());
        let began = (real(Some(self.began.real)), from_now(self.began.even));
        out.line(&["manager", &self.next_job.to_string(), &began.0, &began.1, &real(self.settled), &entries, &lines]);
        if let Some((end, at)) = self.planned {
            out.line(&["planned", &real(Some(at)), &end.words().join(" ")]);
        }
        for (name, value) in self.shared.environment.iter() {
            out.line(&["environment", &format!("{name}={value}")]);
        }
        for (user, number, unit) in self.shared.dynamic.holders() {
            out.line(&["user", user, &number.to_string(), unit]);
        }
        for live in self.units.values() {
            unit::unit(&mut out, live);
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
                    self.shared.log.add_untold([5, 6].map(|place| at(line, place).parse().unwrap_or(0)));
                }
                "planned" => self.planned = super::End::of_words(&mut at(line, 2).split(' ')).ok().zip(to_real(at(line, 1))),
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
                        Some(live) => unit::take_line(live, line, &fd),
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
        let up: Vec<UnitName> =
            self.units.values().filter(|live| live.service.is_some() && !live.active().is_down()).map(|live| live.name().clone()).collect();
        for name in up {
            self.with(&name, |service, world| {
                service.watch_name_again(world);
                let (group, depth) = (world.shared.members.group(name.as_str()), world.shared.members.depth(name.as_str()));
                let _ = world.watch_memory(group.as_ref(), depth);
            });
        }
        listening.iter().for_each(|name| self.watch_ports(name, true));
        paths.iter().for_each(|name| self.start_path(name));
        self.timers_again();
        // whoever ended meanwhile
        self.reap();
    }
}
