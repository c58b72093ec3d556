//! Starts path units, and what they start.

use std::os::unix::fs::DirBuilderExt;
use std::time::Instant;

use hostel_process::event::Interest;
use hostel_unit::UnitName;

use super::{PathUnit, State, Watch};
use crate::manager::Manager;
use crate::manager::live::Plain;
use crate::manager::state::Outcome;
use crate::manager::world::Token;
use crate::transaction::{JobMode, JobType};

impl Manager {
    pub(in crate::manager) fn path_unit(&mut self, name: &UnitName) -> Option<&mut PathUnit> {
        if let Plain::Path(path) = &mut self.units.get_mut(name)?.plain { Some(path) } else { None }
    }

    fn set_path(&mut self, name: &UnitName, state: State) {
        if let Some(path) = self.path_unit(name) {
            path.state = state;
        }
        self.changed.push_back(name.clone());
    }

    /// Begins a start.
    pub(in crate::manager) fn start_path(&mut self, name: &UnitName) {
        let Some(path) = self.path_unit(name) else { return };
        path.result = Outcome::Success;
        if let Some(mode) = path.make {
            let mut faults = Vec::new();
            for spot in path.spots.iter().filter(|spot| !matches!(spot.wish, super::Wish::Exists | super::Wish::ExistsGlob)) {
                if let Err(e) = std::fs::DirBuilder::new().recursive(true).mode(mode).create(&spot.path) {
                    faults.push(format!("make directory {}: {e}", spot.path));
                }
            }
            faults.into_iter().for_each(|fault| self.complain(name, Some(fault)));
        }
        self.path_waits(name, true, false);
    }

    /// Stops looking.
    pub(in crate::manager) fn stop_path(&mut self, name: &UnitName, result: Outcome) {
        self.unwatch(name);
        if let Some(path) = self.path_unit(name) {
            path.result = result;
            let state = if result == Outcome::Success { State::Dead } else { State::Failed };
            self.set_path(name, state);
        }
    }

    fn unwatch(&mut self, name: &UnitName) {
        let Some(live) = self.units.get_mut(name) else { return };
        if let Plain::Path(path) = &mut live.plain
            && let Some(watch) = path.watch.take()
        {
            self.shared.poller.forget(Token::Watch(live.rest.number), &watch);
        }
    }

    /// Looks, and if there is nothing waits to be told.
    fn path_waits(&mut self, name: &UnitName, first: bool, after_unit: bool) {
        if self.path_is_met(name, first, after_unit) {
            return self.path_runs(name);
        }
        self.unwatch(name);
        let Some(live) = self.units.get_mut(name) else { return };
        let Plain::Path(path) = &mut live.plain else { return };
        let found = Watch::new(&path.spots).and_then(|watch| {
            self.shared.poller.want(Token::Watch(live.rest.number), &watch, Interest::READ)?;
            Ok(watch)
        });
        match found {
            Ok(watch) => path.watch = Some(watch),
            Err(e) => {
                self.complain(name, Some(format!("watch paths: {e}")));
                return self.stop_path(name, Outcome::Resources);
            }
        }
        // it may have come in between
        if self.path_is_met(name, false, after_unit) {
            return self.path_runs(name);
        }
        self.set_path(name, State::Waiting);
    }

    fn path_is_met(&mut self, name: &UnitName, first: bool, after_unit: bool) -> bool {
        // every spot is looked at: each has to know whether it was there
        self.path_unit(name).is_some_and(|path| path.spots.iter_mut().fold(false, |met, spot| spot.is_met(first, after_unit) | met))
    }

    fn path_runs(&mut self, name: &UnitName) {
        if self.end.is_some() || self.has_job(name, JobType::Stop) {
            return;
        }
        let Some(path) = self.path_unit(name) else { return };
        if !path.limit.allows(Instant::now()) {
            self.complain(name, Some("Trigger limit hit, refusing further activation.".to_owned()));
            return self.stop_path(name, Outcome::TriggerLimitHit);
        }
        let unit = path.unit.clone();
        self.unwatch(name);
        self.set_path(name, State::Running);
        let found = unit.ok_or_else(|| "it starts no unit".to_owned()).and_then(|unit| {
            self.enqueue(&unit, JobType::Start, JobMode::Replace).map_err(|fault| format!("Failed to queue unit startup job: {fault}"))
        });
        if let Err(why) = found {
            self.complain(name, Some(why));
            self.stop_path(name, Outcome::Resources);
        }
    }

    /// The kernel tells of a change.
    pub(in crate::manager) fn watch_woke(&mut self, number: u32) {
        let Some(name) = self.units.values().find(|live| live.rest.number == number).map(|live| live.name().clone()) else { return };
        let Some(path) = self.path_unit(&name).filter(|path| path.state == State::Waiting) else { return };
        let Some(news) = path.watch.as_ref().map(|watch| watch.news(&path.spots)) else { return };
        if news.changed {
            // what was seen now is no news later
            self.path_is_met(&name, true, false);
            self.path_runs(&name);
        } else if news.moved {
            self.path_waits(&name, false, false);
        } else if self.path_is_met(&name, false, false) {
            self.path_runs(&name);
        }
    }

    /// The unit of a path unit is not as it was.
    pub(in crate::manager) fn path_told(&mut self, name: &UnitName, unit: &UnitName) {
        let Some(other) = self.units.get(unit) else { return };
        let (down, has_job) = (other.active().is_down(), other.job.is_some());
        let limit_hit = down && other.result() == Outcome::StartLimitHit;
        match self.path_unit(name).map(|path| path.state) {
            Some(State::Waiting | State::Running) if limit_hit => self.stop_path(name, Outcome::UnitStartLimitHit),
            Some(State::Running) if down && !has_job => self.path_waits(name, false, true),
            _ => {}
        }
    }
}
