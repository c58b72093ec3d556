//! Units in memory: what was loaded, how they are, and what belongs to them.

use std::time::SystemTime;

use hostel_unit::{Kind, UnitName};

use super::config::{Config, Degraded, degraded};
use super::context::Context;
use super::log::Pipe;
use super::members::Marks;
use super::service::Service;
use super::state::{Active, Outcome, State};
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
}

/// A unit that is not a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// Up or not, nothing else: targets, slices.
    Point(bool),
    /// Up while something is mounted there.
    Mount,
    /// Of a kind that is not built.
    Unsupported,
}

/// What is not the life of the service itself.
#[derive(Debug)]
pub struct Rest {
    /// As loaded.
    pub unit: Unit,
    /// Its number among the poller's.
    pub number: u32,
    /// User, streams and the like; services only.
    pub context: Option<Context>,
    /// What it asks in vain.
    pub degraded: Vec<Degraded>,
    /// Why it is not run, and counts as up.
    pub passed_over: Option<&'static str>,
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
}

/// One unit.
#[derive(Debug)]
pub struct Live {
    /// The life of a service.
    pub service: Option<Box<Service>>,
    /// Of another kind: what it is.
    pub plain: Plain,
    /// Everything else.
    pub rest: Rest,
    /// The state that others were told of last.
    pub announced: Active,
    /// Whether it was about to be started again then.
    pub announced_again: bool,
    /// Its job.
    pub job: Option<u32>,
}

impl Live {
    /// A unit that was loaded now.
    pub fn new(unit: Unit, number: u32) -> Live {
        let passed_over = builtin::passed_over(unit.name.as_str());
        let is_service = unit.name.kind() == Kind::Service && unit.is_loaded() && passed_over.is_none();
        let mut complaints = Vec::new();
        let context = is_service.then(|| Context::of(&unit, &mut |text| complaints.push(text)));
        let mut found = if passed_over.is_some() { Vec::new() } else { degraded(&unit) };
        condition::check(&unit, &mut |text| {
            found.push(Degraded { setting: text, file: String::new(), line: 0, why: "it cannot be judged here and counts as met" });
        });
        if is_service {
            found.extend(super::reach::out_of_reach(&unit));
        }
        let plain = match unit.name.kind() {
            _ if passed_over.is_some() => Plain::Point(false),
            Kind::Target | Kind::Slice | Kind::Scope => Plain::Point(unit.name.as_str() == "-.slice" || unit.name.as_str() == "init.scope"),
            Kind::Mount => Plain::Mount,
            Kind::Service => Plain::Point(false),
            _ => Plain::Unsupported,
        };
        let marks = Marks { unit: unit.name.to_string(), ..Marks::default() };
        let service = is_service.then(|| Box::new(Service::new(Config::of(&unit))));
        let rest = Rest {
            number,
            context,
            degraded: found,
            passed_over,
            marks,
            pipe: None,
            complaint: complaints.join("; "),
            condition: None,
            moments: Moments::default(),
            unit,
        };
        let mut live = Live { service, plain, rest, announced: Active::Inactive, announced_again: false, job: None };
        live.announced = live.active();
        live
    }

    /// Its name.
    pub fn name(&self) -> &UnitName {
        &self.rest.unit.name
    }

    /// How it is now.
    pub fn active(&self) -> Active {
        match (&self.service, self.plain) {
            (Some(service), _) => service.active(),
            (None, Plain::Point(true)) => Active::Active,
            (None, Plain::Mount) if self.is_mounted() => Active::Active,
            _ => Active::Inactive,
        }
    }

    fn is_mounted(&self) -> bool {
        hostel_unit::unescape_path(self.name().stem()).is_ok_and(|path| condition::is_mount_point(&path))
    }

    /// The word for that.
    pub fn sub(&self) -> &'static str {
        match (&self.service, self.plain, self.active().is_up()) {
            (Some(service), _, _) => service.state.word(),
            (None, Plain::Mount, true) => "mounted",
            (None, Plain::Point(_), true) => "active",
            _ => "dead",
        }
    }

    /// Whether it waits to be started again.
    pub fn is_between(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.state == State::AutoRestart)
    }

    /// Why it ended.
    pub fn result(&self) -> Outcome {
        self.service.as_ref().map_or(Outcome::Success, |service| service.result)
    }

    /// Whether it may be dropped from memory.
    pub fn is_idle(&self) -> bool {
        self.job.is_none() && self.active() == Active::Inactive
    }

    /// Other settings of the same name in a newly read file take the place of the old ones; what runs goes on.
    pub fn reload(&mut self, unit: Unit) {
        if !unit.is_loaded() && !self.active().is_down() {
            return;
        }
        let fresh = Live::new(unit, self.rest.number);
        match (&mut self.service, fresh.service) {
            (Some(old), Some(new)) => old.config = new.config,
            (old, new) if self.announced.is_down() => *old = new,
            _ => return,
        }
        if self.service.is_none() && self.announced.is_down() {
            self.plain = fresh.plain;
        }
        let marks = std::mem::take(&mut self.rest.marks);
        let (pipe, moments, condition) = (self.rest.pipe.take(), self.rest.moments, self.rest.condition.take());
        let complaint = std::mem::take(&mut self.rest.complaint);
        self.rest = Rest { marks, pipe, moments, condition, complaint, ..fresh.rest };
    }

    /// The last setting of a key, as written.
    pub fn setting(&self, section: &str, key: &str) -> Option<&Setting> {
        self.rest.unit.settings.of(section, key).next_back()
    }
}
