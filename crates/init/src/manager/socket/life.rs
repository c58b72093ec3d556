//! Starts and stops socket units.

use std::os::fd::AsFd;
use std::time::Instant;

use hostel_process::event::Interest;
use hostel_sys::clone::WaitStatus;
use hostel_unit::UnitName;

use super::{Port, Socket, State, Step, open};
use crate::manager::Manager;
use crate::manager::config::{NotifyAccess, Step as Which};
use crate::manager::exits::{Clean, outcome};
use crate::manager::live::{Live, Plain};
use crate::manager::service::{Hands, Order, Role};
use crate::manager::state::Outcome;
use crate::manager::world::{Token, World};
use crate::transaction::{JobMode, JobType};

impl Manager {
    pub(in crate::manager) fn socket(&mut self, name: &UnitName) -> Option<&mut Socket> {
        if let Plain::Socket(socket) = &mut self.units.get_mut(name)?.plain { Some(socket) } else { None }
    }

    /// Changes a socket unit's state, to be told to others.
    pub(super) fn set_socket(&mut self, name: &UnitName, state: State) {
        if let Some(socket) = self.socket(name) {
            socket.state = state;
        }
        self.changed.push_back(name.clone());
    }

    /// Begins a start; false: it cannot be, and its complaint says why.
    pub(in crate::manager) fn start_socket(&mut self, name: &UnitName) -> bool {
        let Some(socket) = self.socket(name) else { return false };
        let (service, fault) = (socket.config.service.clone(), socket.config.faults.first().cloned());
        socket.result = Outcome::Success;
        let busy = |live: &Live| !live.active().is_down() && !live.is_between();
        let taken = service.filter(|service| self.unit(service).is_some_and(busy));
        let why = fault.or_else(|| taken.map(|service| format!("Socket service {service} already active, refusing.")));
        if let Some(why) = why {
            self.complain(name, Some(why));
            self.fail_socket(name, Outcome::Resources);
            return false;
        }
        self.socket_commands(name, Step::StartPre, State::StartPre);
        true
    }

    fn fail_socket(&mut self, name: &UnitName, result: Outcome) {
        if let Some(socket) = self.socket(name) {
            socket.result = result;
        }
        self.set_socket(name, State::Failed);
    }

    /// Enters the state of a list of commands; an empty one is passed at once.
    fn socket_commands(&mut self, name: &UnitName, step: Step, state: State) {
        self.set_socket(name, state);
        if let Some(socket) = self.socket(name) {
            socket.deadline = socket.config.timeout.and_then(|limit| Instant::now().checked_add(limit));
        }
        self.socket_command(name, step, 0);
    }

    fn socket_command(&mut self, name: &UnitName, step: Step, index: usize) {
        let Some(live) = self.units.get_mut(name) else { return };
        let Plain::Socket(socket) = &mut live.plain else { return };
        let Some(command) = socket.config.commands(step).get(index) else {
            socket.control = None;
            socket.deadline = None;
            return self.socket_step_done(name, step);
        };
        let mut world = World { rest: &mut live.rest, shared: &mut self.shared, access: NotifyAccess::None };
        if world.rest.marks.invocation.is_empty() {
            world.renew();
        }
        let which = if matches!(step, Step::StopPre | Step::StopPost) { Which::StopPost } else { Which::StartPre };
        let order =
            Order { role: Role::Control, step: which, command, confirm: false, main: None, result: socket.result, ended: None, watchdog: None };
        match world.spawn(&order) {
            Ok(pid) => socket.control = Some((pid, step, index)),
            Err(why) => {
                world.tell(&format!("Failed to run '{}' task: {why}", step.key()));
                self.socket_step_failed(name, step, Outcome::Resources);
            }
        }
    }

    /// A command of a socket unit ended.
    pub(in crate::manager) fn socket_command_ended(&mut self, name: &UnitName, pid: i32, end: WaitStatus) {
        let Some(socket) = self.socket(name) else { return };
        let Some((_, step, index)) = socket.control.take_if(|(own, _, _)| *own == pid) else { return };
        let ignored = socket.config.commands(step).get(index).is_some_and(|command| command.ignore_failure);
        let timed_out = socket.result == Outcome::Timeout;
        match outcome(end, Clean::Command, &[]) {
            found if found != Outcome::Success && (!ignored || timed_out) => self.socket_step_failed(name, step, found),
            _ => self.socket_command(name, step, index + 1),
        }
    }

    fn socket_step_done(&mut self, name: &UnitName, step: Step) {
        match step {
            Step::StartPre => match self.open_ports(name) {
                Ok(()) => self.socket_commands(name, Step::StartPost, State::StartPost),
                Err(why) => {
                    self.complain(name, Some(why));
                    self.socket_step_failed(name, step, Outcome::Resources);
                }
            },
            Step::StartPost => self.listen(name),
            Step::StopPre => {
                self.close_ports(name);
                self.socket_commands(name, Step::StopPost, State::StopPost);
            }
            Step::StopPost => {
                let failed = self.socket(name).is_some_and(|socket| socket.result != Outcome::Success);
                self.set_socket(name, if failed { State::Failed } else { State::Dead });
            }
        }
    }

    fn socket_step_failed(&mut self, name: &UnitName, step: Step, found: Outcome) {
        if let Some(socket) = self.socket(name) {
            if socket.result == Outcome::Success {
                socket.result = found;
            }
            socket.control = None;
            socket.deadline = None;
        }
        match step {
            // what was opened is closed, and what ends it is run
            Step::StartPre | Step::StopPre => {
                self.close_ports(name);
                self.socket_commands(name, Step::StopPost, State::StopPost);
            }
            Step::StartPost => self.socket_commands(name, Step::StopPre, State::StopPre),
            Step::StopPost => self.set_socket(name, State::Failed),
        }
    }

    /// A command has lasted too long.
    pub(in crate::manager) fn socket_late(&mut self, name: &UnitName) {
        let Some(socket) = self.socket(name) else { return };
        socket.deadline = None;
        socket.result = Outcome::Timeout;
        let pid = socket.control.map(|(pid, _, _)| pid);
        let state = socket.state.word();
        self.shared.log.own(Some(name.as_str()), &format!("{state} operation timed out. Killing."));
        if let (Some(pid), Some(live)) = (pid, self.units.get_mut(name)) {
            let mut world = World { rest: &mut live.rest, shared: &mut self.shared, access: NotifyAccess::None };
            world.signal(pid, 9);
            world.signal_others(&[pid], 9);
        }
    }

    /// Opens everything, or nothing.
    fn open_ports(&mut self, name: &UnitName) -> Result<(), String> {
        if self.shared.ports.iter().any(|port| port.socket == *name) {
            return Ok(());
        }
        let Some(live) = self.units.get(name) else { return Ok(()) };
        let Plain::Socket(socket) = &live.plain else { return Ok(()) };
        let config = &socket.config;
        let owner = open::Owner::of(config)?;
        let mut ports = Vec::new();
        for (at, (way, address)) in config.listens.iter().enumerate() {
            let fd = open::open(config, *way, address, owner)?;
            ports.push(Port {
                socket: name.clone(),
                service: config.service.clone(),
                name: config.name.clone().unwrap_or_else(|| name.to_string()),
                fd,
                way: *way,
                number: (live.rest.number, u32::try_from(at).unwrap_or(u32::MAX)),
                to_commands: config.pass_to_commands,
            });
        }
        let faults = open::links(config);
        self.shared.ports.extend(ports);
        for fault in faults {
            self.shared.log.own(Some(name.as_str()), &fault);
        }
        Ok(())
    }

    fn close_ports(&mut self, name: &UnitName) {
        self.watch_ports(name, false);
        let before = self.shared.ports.len();
        self.shared.ports.retain(|port| port.socket != *name);
        if self.shared.ports.len() != before
            && let Some(Plain::Socket(socket)) = self.units.get(name).map(|live| &live.plain)
        {
            open::remove(&socket.config);
        }
    }

    /// Waits for what comes, or does not any more.
    pub(in crate::manager) fn watch_ports(&mut self, name: &UnitName, yes: bool) {
        let shared = &mut self.shared;
        for port in shared.ports.iter().filter(|port| port.socket == *name) {
            let token = Token::Port(port.number.0, port.number.1);
            if !yes {
                shared.poller.forget(token, &port.fd);
            } else if let Err(e) = shared.poller.want(token, &port.fd, Interest::READ) {
                shared.log.own(Some(name.as_str()), &format!("watch a socket: {e}"));
            }
        }
    }

    /// Listens, for the first time or again.
    pub(super) fn listen(&mut self, name: &UnitName) {
        let Some(socket) = self.socket(name) else { return };
        if socket.config.flush && socket.state == State::Running {
            for port in self.shared.ports.iter().filter(|port| port.socket == *name) {
                open::flush(port.fd.as_fd(), port.way);
            }
        }
        self.watch_ports(name, true);
        self.set_socket(name, State::Listening);
    }

    /// Stops listening; what was begun by it goes on.
    pub(in crate::manager) fn stop_socket(&mut self, name: &UnitName, result: Outcome) {
        let Some(socket) = self.socket(name) else { return };
        if socket.result == Outcome::Success {
            socket.result = result;
        }
        match socket.state {
            State::Dead | State::Failed | State::StopPre | State::StopPost => {}
            State::StartPre | State::StartPost => {
                let (control, step) = (socket.control.take(), socket.state);
                if let (Some((pid, _, _)), Some(live)) = (control, self.units.get_mut(name)) {
                    let mut world = World { rest: &mut live.rest, shared: &mut self.shared, access: NotifyAccess::None };
                    world.signal(pid, 15);
                    world.signal_others(&[pid], 15);
                }
                if step == State::StartPre {
                    self.socket_commands(name, Step::StopPost, State::StopPost);
                } else {
                    self.socket_commands(name, Step::StopPre, State::StopPre);
                }
            }
            State::Listening | State::Running => {
                self.watch_ports(name, false);
                self.socket_commands(name, Step::StopPre, State::StopPre);
            }
        }
    }

    /// Something came for a socket unit.
    pub(in crate::manager) fn port_ready(&mut self, number: u32, index: u32) {
        let Some(name) = self.units.values().find(|live| live.rest.number == number).map(|live| live.name().clone()) else { return };
        let stopping = self.end.is_some() || self.has_job(&name, JobType::Stop);
        let Some(socket) = self.socket(&name).filter(|socket| socket.state == State::Listening) else { return };
        if stopping {
            // nobody will take it any more
            self.shared.ports.iter().filter(|port| port.number == (number, index)).for_each(|port| open::flush(port.fd.as_fd(), port.way));
            return;
        }
        if !socket.limit.allows(Instant::now()) {
            self.complain(&name, Some("Trigger limit hit, refusing further activation.".to_owned()));
            return self.stop_socket(&name, Outcome::TriggerLimitHit);
        }
        match socket.config.service.clone() {
            None => self.accept(&name, index),
            Some(service) => self.hand_over(&name, &service),
        }
    }

    /// Starts the service that has what came.
    fn hand_over(&mut self, name: &UnitName, service: &UnitName) {
        self.watch_ports(name, false);
        let own = self.graph.own(service).clone();
        let coming = self.units.get(&own).is_some_and(|live| !live.active().is_down() && !live.is_between()) || self.has_job(&own, JobType::Start);
        self.set_socket(name, State::Running);
        if coming {
            return;
        }
        if let Err(fault) = self.enqueue(service, JobType::Start, JobMode::Replace) {
            self.complain(name, Some(format!("Failed to queue service startup job: {fault}")));
            self.stop_socket(name, Outcome::Resources);
        }
    }

    /// The service of a socket unit is not as it was.
    pub(in crate::manager) fn socket_told(&mut self, name: &UnitName, service: &UnitName) {
        let Some(other) = self.units.get(service) else { return };
        let (down, again, has_job, result) = (other.active().is_down(), other.is_between(), other.job.is_some(), other.result());
        let Some(socket) = self.socket(name) else { return };
        if !matches!(socket.state, State::Listening | State::Running) || socket.config.accept {
            return;
        }
        if result == Outcome::StartLimitHit && down {
            return self.stop_socket(name, Outcome::ServiceStartLimitHit);
        }
        let state = socket.state;
        if (down || again) && state == State::Running && !has_job {
            self.listen(name);
        } else if !down && !again && state == State::Listening {
            self.watch_ports(name, false);
            self.set_socket(name, State::Running);
        }
    }
}
