//! Units in memory: what was loaded, how they are, and what belongs to them.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use hostel_unit::{Kind, UnitName};

use super::config::{Config, Degraded, Step, Type, degraded};
use super::context::Context;
use super::log::Pipe;
use super::members::Marks;
use super::mount::MountUnit;
use super::path::PathUnit;
use super::resources::{self, Limit};
use super::service::Service;
use super::socket::{Connection, Socket};
use super::state::{Active, Outcome, State};
use super::timer::Timer;
use super::{builtin, condition};
use crate::load::{Setting, Unit};

/// When a unit entered and left its states.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moments {
    /// The last change of any kind.
    pub changed: Option<SystemTime>,
    /// It was up from here.
    pub active_enter: Option<SystemTime>,
    /// It was up until here.
    pub active_exit: Option<SystemTime>,
    /// It was down from here.
    pub inactive_enter: Option<SystemTime>,
    /// It was down until here.
    pub inactive_exit: Option<SystemTime>,
    /// Its conditions were looked at.
    pub condition: Option<SystemTime>,
    /// It was down from here, by the clock that goes on evenly.
    pub inactive_enter_even: Option<Instant>,
    /// It was down until here, by that clock.
    pub inactive_exit_even: Option<Instant>,
}

/// A unit that is not a service.
#[derive(Debug)]
pub enum Plain {
    /// Up or not, nothing else: targets, slices.
    Point(bool),
    /// Up while something is mounted there.
    Mount(Box<MountUnit>),
    /// It was started, and with it what it would mount at the first look.
    Automount(bool),
    /// Up while there is such a node.
    Device,
    /// It listens.
    Socket(Box<Socket>),
    /// It waits for a moment.
    Timer(Box<Timer>),
    /// It waits for a file.
    Path(Box<PathUnit>),
    /// Of a kind that is not built.
    Unsupported,
}

/// What is not the life of the service itself.
#[derive(Debug)]
pub struct Rest {
    /// As loaded.
    pub unit: Rc<Unit>,
    /// Its number among the poller's.
    pub number: u32,
    /// User, streams and the like; services only.
    pub context: Option<Box<Context>>,
    /// Limits of its group.
    pub limits: Vec<Limit>,
    /// What it asks in vain.
    pub degraded: Vec<Degraded>,
    /// Why it is not run, and counts as up.
    pub passed_over: Option<&'static str>,
    /// A life has begun, and no process of it yet.
    pub renewed: bool,
    /// How many of its processes the kernel has killed for want of memory, if somebody looks.
    pub oom_kills: Option<u64>,
    /// How its processes are known.
    pub marks: Marks,
    /// Its output.
    pub pipe: Option<Pipe>,
    /// Why the last start could not do something.
    pub complaint: String,
    /// How its conditions were the last time.
    pub condition: Option<(bool, Option<String>)>,
    /// When it did what.
    pub moments: Moments,
    /// When its files were read.
    pub loaded: SystemTime,
    /// The connection that it serves.
    pub connection: Option<Connection>,
    /// Descriptors that it has put into the store, with their names, and whether one leaves it when nobody is at its other end.
    pub stored: Vec<(String, OwnedFd, bool)>,
}

/// One unit.
#[derive(Debug)]
pub struct Live {
    /// The life of a service.
    pub service: Option<Box<Service>>,
    /// Of another kind: what it is.
    pub plain: Plain,
    /// Everything else; apart, as maps of units have room for more than there are.
    pub rest: Box<Rest>,
    /// The state that others were told of last.
    pub announced: Active,
    /// Whether it was about to be started again then.
    pub announced_again: bool,
    /// Its job.
    pub job: Option<u32>,
}

impl Live {
    /// A unit that was loaded now.
    pub fn new(unit: Rc<Unit>, number: u32) -> Live {
        let passed_over = builtin::passed_over(unit.name.as_str());
        let is_service = unit.name.kind() == Kind::Service && unit.is_loaded() && passed_over.is_none();
        let mut complaints = Vec::new();
        let mut found = if passed_over.is_some() { Vec::new() } else { degraded(&unit) };
        let unjudged = |setting| Degraded { setting, file: String::new(), line: 0, why: "it cannot be judged here and counts as met" };
        found.extend(condition::unknown(&unit).map(unjudged));
        if is_service {
            found.extend(super::reach::out_of_reach(&unit));
        }
        let plain = match unit.name.kind() {
            _ if passed_over.is_some() => Plain::Point(false),
            Kind::Target | Kind::Slice | Kind::Scope => Plain::Point(unit.name.as_str() == "-.slice" || unit.name.as_str() == "init.scope"),
            Kind::Mount => Plain::Mount(Box::new(MountUnit::new(&unit))),
            Kind::Automount if unit.is_loaded() => Plain::Automount(false),
            Kind::Device => Plain::Device,
            Kind::Service => Plain::Point(false),
            Kind::Socket if unit.is_loaded() => Plain::Socket(Box::new(Socket::new(&unit))),
            Kind::Timer if unit.is_loaded() => Plain::Timer(Box::new(Timer::new(&unit))),
            Kind::Path if unit.is_loaded() => Plain::Path(Box::new(PathUnit::new(&unit))),
            _ => Plain::Unsupported,
        };
        let mounts = matches!(&plain, Plain::Mount(mount) if !mount.config.what.is_empty() && mount.config.needs_program());
        let has_commands = is_service || mounts || matches!(&plain, Plain::Socket(socket) if socket.config.has_commands());
        let context = has_commands.then(|| Box::new(Context::of(&unit, &mut |text| complaints.push(text))));
        let marks = Marks { unit: unit.name.to_string(), ..Marks::default() };
        let service = is_service.then(|| Box::new(Service::new(Config::of(&unit))));
        let section = unit.name.kind().section().unwrap_or_default();
        let has_group = is_service || unit.name.kind() == Kind::Slice;
        let asks = has_group && unit.settings.iter().any(|s| s.section == section && resources::is_limit(s.key));
        let limits = if asks { resources::limits(&unit, section, resources::Whole::here(), &mut |text| complaints.push(text)) } else { Vec::new() };
        let rest = Box::new(Rest {
            number,
            context,
            limits,
            degraded: found,
            passed_over,
            renewed: false,
            oom_kills: None,
            marks,
            pipe: None,
            complaint: complaints.join("; "),
            condition: None,
            moments: Moments::default(),
            loaded: SystemTime::now(),
            connection: None,
            stored: Vec::new(),
            unit,
        });
        let mut live = Live { service, plain, rest, announced: Active::Inactive, announced_again: false, job: None };
        live.announced = live.active();
        live
    }

    /// A target that was reached before there was this manager.
    pub(super) fn reached_before(&mut self) {
        self.plain = Plain::Point(true);
        self.announced = self.active();
    }

    /// Whether it can be told to read its configuration again.
    pub fn can_reload(&self) -> bool {
        matches!(&self.plain, Plain::Mount(mount) if !mount.config.what.is_empty())
            || self.service.as_ref().is_some_and(|s| !s.config.commands(Step::Reload).is_empty() || s.config.kind == Type::NotifyReload)
    }

    /// Its name.
    pub fn name(&self) -> &UnitName {
        &self.rest.unit.name
    }

    /// How it is now.
    pub fn active(&self) -> Active {
        match (&self.service, &self.plain) {
            (Some(service), _) => service.active(),
            (None, Plain::Point(true)) => Active::Active,
            (None, Plain::Mount(mount)) => mount.state.active(),
            (None, Plain::Automount(true)) => Active::Active,
            (None, Plain::Device) if self.has_node() => Active::Active,
            (None, Plain::Socket(socket)) => socket.state.active(),
            (None, Plain::Timer(timer)) => timer.state.active(),
            (None, Plain::Path(path)) => path.state.active(),
            _ => Active::Inactive,
        }
    }

    fn has_node(&self) -> bool {
        hostel_unit::unescape_path(self.name().stem()).is_ok_and(|path| std::path::Path::new(&path).exists())
    }

    /// The word for that.
    pub fn sub(&self) -> &'static str {
        match (&self.service, &self.plain) {
            (Some(service), _) => service.state.word(),
            (None, Plain::Mount(mount)) => mount.state.word(),
            (None, Plain::Automount(true)) => "running",
            (None, Plain::Device) if self.active().is_up() => "plugged",
            (None, Plain::Point(true)) => "active",
            (None, Plain::Socket(socket)) => socket.state.word(),
            (None, Plain::Timer(timer)) => timer.state.word(),
            (None, Plain::Path(path)) => path.state.word(),
            _ => "dead",
        }
    }

    /// Whether it waits to be started again.
    pub fn is_between(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.state == State::AutoRestart)
    }

    /// Whether others do not hear of its being down before it is started again.
    pub fn restarts_directly(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.config.restart_direct)
    }

    /// Why it ended.
    pub fn result(&self) -> Outcome {
        match (&self.service, &self.plain) {
            (Some(service), _) => service.result,
            (None, Plain::Socket(socket)) => socket.result,
            (None, Plain::Timer(timer)) => timer.result,
            (None, Plain::Path(path)) => path.result,
            (None, Plain::Mount(mount)) => mount.result,
            _ => Outcome::Success,
        }
    }

    /// Forgets a failure.
    pub fn reset_failed(&mut self) {
        use super::{path, socket, timer};
        match (&mut self.service, &mut self.plain) {
            (Some(service), _) => service.reset_failed(),
            (None, Plain::Socket(unit)) => {
                unit.limit.forget();
                unit.result = Outcome::Success;
                if unit.state == socket::State::Failed {
                    unit.state = socket::State::Dead;
                }
            }
            (None, Plain::Timer(unit)) => {
                unit.result = Outcome::Success;
                if unit.state == timer::State::Failed {
                    unit.state = timer::State::Dead;
                }
            }
            (None, Plain::Path(unit)) => {
                unit.limit.forget();
                unit.result = Outcome::Success;
                if unit.state == path::State::Failed {
                    unit.state = path::State::Dead;
                }
            }
            (None, Plain::Mount(unit)) => unit.reset_failed(),
            _ => {}
        }
    }

    /// When something of it is due, timers aside.
    pub fn due(&self) -> Option<Instant> {
        match (&self.service, &self.plain) {
            (Some(service), _) => service.due(),
            (None, Plain::Socket(socket)) => socket.deadline,
            (None, Plain::Mount(mount)) => mount.deadline,
            _ => None,
        }
    }

    /// Whether it may be dropped from memory.
    pub fn is_idle(&self) -> bool {
        self.job.is_none() && self.active() == Active::Inactive
    }

    /// Other settings of the same name in a newly read file take the place of the old ones; what runs goes on.
    pub fn reload(&mut self, unit: Rc<Unit>) {
        if !unit.is_loaded() && !self.active().is_down() {
            return;
        }
        let fresh = Live::new(unit, self.rest.number);
        match (&mut self.service, fresh.service) {
            (Some(old), Some(new)) => old.config = new.config,
            (old, new) if self.announced.is_down() => *old = new,
            (None, None) => {}
            _ => return,
        }
        match (&mut self.plain, fresh.plain) {
            (Plain::Timer(old), Plain::Timer(new)) => old.change(new.config),
            (Plain::Mount(old), Plain::Mount(new)) => old.config = new.config,
            (old, new) if self.service.is_none() && self.announced.is_down() => *old = new,
            // what is open stays as it is
            _ => {}
        }
        let marks = std::mem::take(&mut self.rest.marks);
        let (pipe, moments, condition) = (self.rest.pipe.take(), self.rest.moments, self.rest.condition.take());
        let complaint = std::mem::take(&mut self.rest.complaint);
        let connection = self.rest.connection.take();
        let stored = std::mem::take(&mut self.rest.stored);
        let oom_kills = self.rest.oom_kills;
        *self.rest = Rest { oom_kills, stored, marks, pipe, moments, condition, complaint, connection, ..*fresh.rest };
    }

    /// The last setting of a key, as written.
    pub fn setting(&self, section: &str, key: &str) -> Option<&Setting> {
        self.rest.unit.settings.of(section, key).next_back()
    }
}
