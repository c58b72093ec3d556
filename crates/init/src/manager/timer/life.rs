//! Starts timers, and what they start.

use std::time::{Duration, Instant, SystemTime};

use hostel_process::event::Interest;
use hostel_unit::UnitName;

use super::{Base, Clock, Moment, State, Timer, View};
use crate::manager::Manager;
use crate::manager::live::Plain;
use crate::manager::state::Outcome;
use crate::manager::world::Token;
use crate::transaction::{JobMode, JobType};

const STAMPS: &str = "/var/lib/systemd/timers";

fn stamp(name: &UnitName) -> String {
    format!("{STAMPS}/stamp-{name}")
}

fn touch_stamp(name: &UnitName) -> Result<(), String> {
    let path = stamp(name);
    let failed = |e: std::io::Error| format!("write {path}: {e}");
    std::fs::create_dir_all(STAMPS).map_err(failed)?;
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    file.set_modified(SystemTime::now()).map_err(failed)
}

impl Manager {
    pub(in crate::manager) fn timer(&mut self, name: &UnitName) -> Option<&mut Timer> {
        if let Plain::Timer(timer) = &mut self.units.get_mut(name)?.plain { Some(timer) } else { None }
    }

    fn set_timer(&mut self, name: &UnitName, state: State) {
        if let Some(timer) = self.timer(name) {
            timer.state = state;
        }
        self.changed.push_back(name.clone());
    }

    /// Begins a start.
    pub(in crate::manager) fn start_timer(&mut self, name: &UnitName) {
        let Some(timer) = self.timer(name) else { return };
        timer.result = Outcome::Success;
        timer.started = Some(Moment::now());
        timer.renew(|base| matches!(base, Base::Active));
        if timer.config.persistent {
            match std::fs::metadata(stamp(name)).and_then(|m| m.modified()) {
                // what was done since this boot is known better
                Ok(when) if timer.last.is_none_or(|last| last.even.is_none()) => {
                    timer.last = Some(Moment { real: when.min(SystemTime::now()), even: None });
                }
                Ok(_) => {}
                // it counts from now on
                Err(_) => self.complain(name, touch_stamp(name).err()),
            }
        }
        self.timer_waits(name, false);
    }

    /// Stops waiting.
    pub(in crate::manager) fn stop_timer(&mut self, name: &UnitName, result: Outcome) {
        if let Some(timer) = self.timer(name) {
            timer.result = result;
            (timer.next_even, timer.next_real) = (None, None);
            let state = if result == Outcome::Success { State::Dead } else { State::Failed };
            self.set_timer(name, state);
        }
    }

    /// Looks when it is due next.
    fn timer_waits(&mut self, name: &UnitName, clock_was_set: bool) {
        let began = self.began;
        let Some(timer) = self.timer(name) else { return };
        let (unit, most, fixed) = (timer.config.unit.clone(), timer.config.delay, timer.config.fixed_delay);
        let moments = unit.and_then(|unit| self.unit(&unit)).map(|live| live.rest.moments);
        let unit = moments.map_or((None, None), |m| (m.inactive_exit_even, m.inactive_enter_even));
        let mut zones = std::mem::take(&mut self.zones);
        if let Some(timer) = self.timer(name) {
            let view = View { now: Moment::now(), began, started: timer.started, unit, clock_was_set };
            let waits = timer.look(&view, &mut zones, delay(name, most, fixed));
            match (waits, timer.config.remain) {
                (true, _) => self.set_timer(name, State::Waiting),
                (false, true) => self.set_timer(name, State::Elapsed),
                (false, false) => self.stop_timer(name, Outcome::Success),
            }
        }
        self.zones = zones;
    }

    /// Its moment has come.
    fn timer_runs(&mut self, name: &UnitName) {
        if self.end.is_some() || self.has_job(name, JobType::Stop) {
            return;
        }
        let Some(timer) = self.timer(name) else { return };
        timer.last = Some(Moment::now());
        let (unit, persistent) = (timer.config.unit.clone(), timer.config.persistent);
        self.set_timer(name, State::Running);
        let found = unit.ok_or_else(|| "it starts no unit".to_owned()).and_then(|unit| {
            self.enqueue(&unit, JobType::Start, JobMode::Replace).map_err(|fault| format!("Failed to queue unit startup job: {fault}"))
        });
        if let Err(why) = found {
            self.complain(name, Some(why));
            return self.stop_timer(name, Outcome::Resources);
        }
        if persistent {
            self.complain(name, touch_stamp(name).err());
        }
    }

    /// The unit of a timer is not as it was.
    pub(in crate::manager) fn timer_told(&mut self, name: &UnitName, unit: &UnitName) {
        let Some(other) = self.units.get(unit) else { return };
        let (down, has_job) = (other.active().is_down(), other.job.is_some());
        let limit_hit = down && other.result() == Outcome::StartLimitHit;
        let Some(timer) = self.timer(name) else { return };
        timer.renew(|base| matches!(base, Base::UnitActive | Base::UnitInactive));
        match timer.state {
            State::Waiting | State::Elapsed | State::Running if limit_hit => self.stop_timer(name, Outcome::StartLimitHit),
            State::Waiting | State::Elapsed => self.timer_waits(name, false),
            State::Running if down && !has_job => self.timer_waits(name, false),
            _ => {}
        }
    }

    fn timers(&self) -> impl Iterator<Item = (&UnitName, &Timer)> {
        self.units.values().filter_map(|live| if let Plain::Timer(timer) = &live.plain { Some((live.name(), &**timer)) } else { None })
    }

    fn timers_that(&self, wait: impl Fn(&Timer) -> bool) -> Vec<UnitName> {
        self.timers().filter(|(_, timer)| wait(timer)).map(|(name, _)| name.clone()).collect()
    }

    /// Starts what is due.
    pub(in crate::manager) fn timers_elapse(&mut self) {
        let (even, real) = (Instant::now(), SystemTime::now());
        let is_due = |timer: &Timer| {
            timer.state == State::Waiting && (timer.next_even.is_some_and(|at| at <= even) || timer.next_real.is_some_and(|at| at <= real))
        };
        for name in self.timers_that(is_due) {
            self.timer_runs(&name);
        }
    }

    /// When the first span of all timers is over. Several within their AccuracySec= come at once: at whole seconds.
    pub(in crate::manager) fn timers_due(&self) -> Option<Instant> {
        let began = self.began.even?;
        let at = |timer: &Timer| {
            let next = timer.next_even.filter(|_| timer.state == State::Waiting)?;
            began.checked_add(coalesced(next.saturating_duration_since(began), timer.config.accuracy))
        };
        self.timers().filter_map(|(_, timer)| at(timer)).min()
    }

    /// The clock of the calendar wakes at the first moment of all timers; when none waits for one there is no such clock.
    pub(in crate::manager) fn set_clock(&mut self) {
        let mut needed = false;
        let mut first: Option<SystemTime> = None;
        for (_, timer) in self.timers().filter(|(_, timer)| timer.state == State::Waiting) {
            needed |= timer.next_real.is_some() || timer.config.on_clock;
            let since = timer.next_real.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
            let at = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(coalesced(since, timer.config.accuracy)));
            first = first.into_iter().chain(at).min();
        }
        let clock = self.clock.take();
        if !needed {
            if let Some(clock) = clock {
                self.shared.poller.forget(Token::Clock, &clock);
            }
            return;
        }
        let set = |mut clock: Clock| clock.set(first).map(|()| clock);
        match clock.map_or_else(Clock::new, Ok).and_then(set) {
            Ok(clock) => {
                if let Err(e) = self.shared.poller.want(Token::Clock, &clock, Interest::READ) {
                    self.tell(&format!("watch the clock: {e}"));
                }
                self.clock = Some(clock);
            }
            Err(e) => self.tell(&format!("set the clock of timers: {e}")),
        }
    }

    /// The calendar's clock woke.
    pub(in crate::manager) fn clock_woke(&mut self) {
        if !self.clock.as_mut().is_some_and(Clock::take) {
            return;
        }
        let now = SystemTime::now();
        for name in self.timers_that(|timer| timer.state == State::Waiting) {
            let Some(timer) = self.timer(&name) else { continue };
            // what was in the future may come again
            if let Some(last) = timer.last.as_mut().filter(|last| last.real > now) {
                last.real = now;
            }
            let on_clock = timer.config.on_clock;
            if on_clock { self.timer_runs(&name) } else { self.timer_waits(&name, true) }
        }
    }

    /// Another time zone is the local one, or may be.
    pub(in crate::manager) fn zone_changed(&mut self) {
        self.zones.forget();
        for name in self.timers_that(|timer| timer.state == State::Waiting) {
            let on_zone = self.timer(&name).is_some_and(|timer| timer.config.on_zone);
            if on_zone { self.timer_runs(&name) } else { self.timer_waits(&name, true) }
        }
    }

    /// Whether a timer wants to know of another time zone.
    pub(in crate::manager) fn needs_zone(&self) -> bool {
        self.timers().any(|(_, timer)| timer.state == State::Waiting && (timer.config.on_zone || timer.next_real.is_some()))
    }

    /// Timers whose settings were read again look anew.
    pub(in crate::manager) fn timers_again(&mut self) {
        for name in self.timers_that(|timer| matches!(timer.state, State::Waiting | State::Elapsed)) {
            self.timer_waits(&name, false);
        }
    }
}

/// The moment at which all that may wait so long come together.
fn coalesced(next: Duration, accuracy: Duration) -> Duration {
    let step: u64 = match accuracy.as_millis() {
        0..250 => return next,
        250..1000 => 250_000_000,
        _ => 1_000_000_000,
    };
    let nanos = u64::try_from(next.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos.div_ceil(step).saturating_mul(step))
}

/// RandomizedDelaySec=, the same every time with FixedRandomDelay=.
fn delay(name: &UnitName, most: Duration, fixed: bool) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    if most == 0 {
        return Duration::ZERO;
    }
    let number = if fixed {
        // the same for this timer on this machine, another on others: FNV-1a
        let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        id.bytes().chain(name.as_str().bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    } else {
        hostel_sys::tree::random_u64().unwrap_or(0)
    };
    Duration::from_micros(number % most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coalescing_and_delays() {
        let ms = Duration::from_millis;
        assert_eq!(coalesced(ms(1234), ms(60_000)), ms(2000));
        assert_eq!(coalesced(ms(2000), ms(60_000)), ms(2000));
        assert_eq!(coalesced(ms(1234), ms(300)), ms(1250));
        assert_eq!(coalesced(ms(1234), ms(1)), ms(1234));
        let name = UnitName::parse("a.timer").unwrap();
        assert_eq!(delay(&name, Duration::ZERO, false), Duration::ZERO);
        assert_eq!(delay(&name, ms(1000), true), delay(&name, ms(1000), true));
        assert!((0..100).all(|_| delay(&name, ms(10), false) < ms(10)));
    }
}
