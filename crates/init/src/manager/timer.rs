//! Timer units: when they start their unit, and when next.
//!
//! ```text
//!  dead ─► waiting ─► running: its unit was started ─► waiting …   when nothing is left to wait for ─► elapsed, or dead
//! ```
//! Nothing ticks: the loop sleeps until the earliest moment of all. Moments of the calendar are waited for by one timerfd that
//! also tells when somebody sets the clock.

mod clock;
mod life;

use std::time::{Duration, Instant, SystemTime};

use hostel_unit::{Calendar, Span, UnitName};

pub use clock::{Clock, Zones};

use super::state::{Active, Outcome};
use crate::load::Unit;
use crate::value::Value;

const SECTION: &str = "Timer";

/// From which moment a span counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Base {
    Active,
    Boot,
    Startup,
    UnitActive,
    UnitInactive,
}

impl Base {
    const ALL: [(Base, &'static str); 5] = [
        (Base::Active, "OnActiveSec"),
        (Base::Boot, "OnBootSec"),
        (Base::Startup, "OnStartupSec"),
        (Base::UnitActive, "OnUnitActiveSec"),
        (Base::UnitInactive, "OnUnitInactiveSec"),
    ];
}

/// What it waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// A span after something.
    After(Base, Duration),
    /// Moments of the calendar.
    At(Calendar),
}

/// What a timer is to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it waits for.
    pub wishes: Vec<Wish>,
    /// What it starts.
    pub unit: Option<UnitName>,
    /// AccuracySec=
    pub accuracy: Duration,
    /// RandomizedDelaySec=
    pub delay: Duration,
    /// FixedRandomDelay=
    pub fixed_delay: bool,
    /// Persistent=
    pub persistent: bool,
    /// OnClockChange=
    pub on_clock: bool,
    /// OnTimezoneChange=
    pub on_zone: bool,
    /// RemainAfterElapse=
    pub remain: bool,
}

impl Config {
    /// Reads the settings of a loaded timer.
    pub fn of(unit: &Unit) -> Config {
        let s = &unit.settings;
        let span = |key: &str, default| match s.last(SECTION, key) {
            Some(Value::Span(Span::Micros(micros))) => Duration::from_micros(*micros),
            Some(Value::Span(Span::Infinity)) => Duration::MAX,
            _ => default,
        };
        let wish = |setting: &crate::load::Setting| match (&setting.value, Base::ALL.iter().find(|(_, key)| *key == setting.key)) {
            (Value::Calendar(calendar), _) => Some(Wish::At((**calendar).clone())),
            (Value::Span(Span::Micros(micros)), Some((base, _))) => Some(Wish::After(*base, Duration::from_micros(*micros))),
            _ => None,
        };
        Config {
            wishes: s.iter().filter(|s| s.section == SECTION).filter_map(wish).collect(),
            unit: s.units(SECTION, "Unit").last().map(|(name, _)| name.clone()).or_else(|| unit.name.with_kind(hostel_unit::Kind::Service).ok()),
            accuracy: span("AccuracySec", Duration::from_secs(60)),
            delay: span("RandomizedDelaySec", Duration::ZERO),
            fixed_delay: s.bool(SECTION, "FixedRandomDelay", false),
            persistent: s.bool(SECTION, "Persistent", false),
            on_clock: s.bool(SECTION, "OnClockChange", false),
            on_zone: s.bool(SECTION, "OnTimezoneChange", false),
            remain: s.bool(SECTION, "RemainAfterElapse", true),
        }
    }
}

/// Where a timer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Dead,
    Waiting,
    Running,
    Elapsed,
    Failed,
}

impl State {
    /// As SubState.
    pub fn word(self) -> &'static str {
        match self {
            State::Dead => "dead",
            State::Waiting => "waiting",
            State::Running => "running",
            State::Elapsed => "elapsed",
            State::Failed => "failed",
        }
    }

    /// What that is for others.
    pub fn active(self) -> Active {
        match self {
            State::Dead => Active::Inactive,
            State::Failed => Active::Failed,
            _ => Active::Active,
        }
    }
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// That of the calendar.
    pub real: SystemTime,
    /// That which goes on evenly; `None` of what was before this start.
    pub even: Option<Instant>,
}

impl Moment {
    /// This one.
    pub fn now() -> Moment {
        Moment { real: SystemTime::now(), even: Some(Instant::now()) }
    }
}

/// What a timer looks at to know its next moment.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Now.
    pub now: Moment,
    /// When this manager began; a machine's boot.
    pub began: Moment,
    /// When the timer was started.
    pub started: Option<Moment>,
    /// When its unit was started last, and when it ended.
    pub unit: (Option<Instant>, Option<Instant>),
    /// It is looked at because the clock was set.
    pub clock_was_set: bool,
}

/// One timer.
#[derive(Debug)]
pub struct Timer {
    /// What it is to be.
    pub config: Config,
    /// Where it is.
    pub state: State,
    /// Why it ended.
    pub result: Outcome,
    /// When it was started.
    pub started: Option<Moment>,
    /// When it started its unit last.
    pub last: Option<Moment>,
    /// Of each wish whether it has been met for good.
    pub(super) done: Vec<bool>,
    /// The next moment of a span.
    pub next_even: Option<Instant>,
    /// The next moment of the calendar.
    pub next_real: Option<SystemTime>,
}

impl Timer {
    /// One that was never started.
    pub fn new(unit: &Unit) -> Timer {
        let config = Config::of(unit);
        let done = vec![false; config.wishes.len()];
        Timer { config, state: State::Dead, result: Outcome::Success, started: None, last: None, done, next_even: None, next_real: None }
    }

    /// Other settings; what has elapsed counts as not.
    pub fn change(&mut self, config: Config) {
        self.done = vec![false; config.wishes.len()];
        self.config = config;
    }

    /// Spans that counted from a start count again.
    fn renew(&mut self, which: impl Fn(Base) -> bool) {
        for (wish, done) in self.config.wishes.iter().zip(&mut self.done) {
            if matches!(wish, Wish::After(base, _) if which(*base)) {
                *done = false;
            }
        }
    }

    /// Finds the next moments; false: there is nothing left to wait for.
    pub fn look(&mut self, view: &View, zones: &mut Zones, delay: Duration) -> bool {
        let (mut even, mut real): (Option<Instant>, Option<SystemTime>) = (None, None);
        let now_even = view.now.even;
        for (wish, done) in self.config.wishes.iter().zip(&mut self.done).filter(|(_, done)| !**done) {
            match wish {
                Wish::At(calendar) => {
                    // one that was started, here or before this boot, counts from there; if that was long ago, it is late
                    let (from, rebase) = match (self.last, view.started) {
                        (Some(last), _) => (last.real, last.even.is_none()),
                        (None, Some(started)) => (started.real, false),
                        (None, None) => (view.now.real, true),
                    };
                    let from = if view.clock_was_set { from.min(view.now.real) } else { from };
                    let Some(next) = clock::next(calendar, from, zones) else { continue };
                    let next = if rebase { next.max(view.began.real) } else { next };
                    real = Some(real.map_or(next, |found| found.min(next)));
                }
                Wish::After(base, span) => {
                    let from = match base {
                        Base::Active => view.started.and_then(|s| s.even).or(now_even),
                        // in a machine the host's boot is nobody's
                        Base::Boot | Base::Startup => view.began.even,
                        Base::UnitActive => view.unit.0.max(self.last.and_then(|l| l.even)),
                        Base::UnitInactive => view.unit.1.max(self.last.and_then(|l| l.even)),
                    };
                    let Some(next) = from.and_then(|from| from.checked_add(*span)) else { continue };
                    let once = matches!(base, Base::Active | Base::Boot | Base::Startup);
                    if once && self.last.is_some_and(|last| last.even.is_some()) && now_even.is_some_and(|now| next < now) && !view.clock_was_set {
                        *done = true;
                        continue;
                    }
                    even = Some(even.map_or(next, |found| found.min(next)));
                }
            }
        }
        self.next_even = even.and_then(|at| at.max(now_even.unwrap_or(at)).checked_add(delay));
        self.next_real = real.and_then(|at| at.checked_add(delay));
        self.next_even.is_some() || self.next_real.is_some() || self.config.on_clock || self.config.on_zone
    }
}

#[cfg(test)]
mod tests;
