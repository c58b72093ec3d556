//! Units that start others: sockets, timers and paths hear of what they start, and are started and stopped themselves.

use hostel_process::event::Interest;
use hostel_unit::UnitName;

use super::Manager;
use super::live::Plain;
use super::path::{Spot, Watch, Wish};
use super::state::{JobResult, Outcome};
use super::world::Token;
use crate::depend::Relation;
use crate::transaction::JobType;

impl Manager {
    /// Whether a unit has a job of this kind.
    pub(super) fn has_job(&self, name: &UnitName, kind: JobType) -> bool {
        self.units.get(name).and_then(|live| live.job).and_then(|id| self.jobs.get(&id)).is_some_and(|job| job.kind == kind)
    }

    /// Drops a unit that nobody will ask for again.
    pub(super) fn drop_unit(&mut self, name: &UnitName) {
        if self.units.get(name).is_none_or(|live| live.job.is_some() || !live.active().is_down()) {
            return;
        }
        self.let_go(name);
        self.graph.remove(name);
    }

    /// A unit may be another than before, or its job is over: those that start it look.
    pub(super) fn tell_triggers(&mut self, name: &UnitName) {
        let by: Vec<UnitName> = self.graph.from(name, Relation::Triggers).cloned().collect();
        for other in by {
            match self.units.get(&other).map(|live| &live.plain) {
                Some(Plain::Socket(_)) => self.socket_told(&other, name),
                Some(Plain::Timer(_)) => self.timer_told(&other, name),
                Some(Plain::Path(_)) => self.path_told(&other, name),
                _ => {}
            }
        }
        self.connection_over(name);
    }

    /// Begins the start job of such a unit.
    pub(super) fn begin_trigger(&mut self, id: u32, unit: &UnitName) {
        let Some(live) = self.units.get_mut(unit) else { return };
        live.rest.complaint.clear();
        match live.plain {
            Plain::Socket(_) => drop(self.start_socket(unit)),
            Plain::Timer(_) => self.start_timer(unit),
            _ => self.start_path(unit),
        }
        self.settle_changes();
        // one that had failed, and has again, has not changed
        let fallen = self.units.get(unit).filter(|live| live.job == Some(id) && live.active().is_down());
        if let Some(result) = fallen.map(super::live::Live::result) {
            self.finish(id, if result == Outcome::Success { JobResult::Done } else { JobResult::Failed });
        }
    }

    /// Begins its stop.
    pub(super) fn end_trigger(&mut self, unit: &UnitName) {
        match self.units.get(unit).map(|live| (&live.plain, live.active().is_down())) {
            Some((Plain::Socket(_), _)) => self.stop_socket(unit, Outcome::Success),
            Some((Plain::Timer(_), false)) => self.stop_timer(unit, Outcome::Success),
            Some((Plain::Path(_), false)) => self.stop_path(unit, Outcome::Success),
            _ => {}
        }
    }

    /// Watches the link that says the local time zone while a timer cares.
    pub(super) fn watch_zone(&mut self) {
        match (self.needs_zone(), self.zone_watch.is_some()) {
            (true, false) => {
                let spot = Spot { wish: Wish::Changed, path: "/etc/localtime".to_owned(), was_there: true };
                // without it zones are read once
                self.zone_watch = Watch::new(&[spot]).ok();
                if let Some(watch) = &self.zone_watch {
                    let _ = self.shared.poller.want(Token::Zone, watch, Interest::READ);
                }
            }
            (false, true) => self.unwatch_zone(),
            _ => {}
        }
    }

    fn unwatch_zone(&mut self) {
        if let Some(watch) = self.zone_watch.take() {
            self.shared.poller.forget(Token::Zone, &watch);
        }
    }

    /// Something happened on the way to it.
    pub(super) fn zone_woke(&mut self) {
        let spot = Spot { wish: Wish::Changed, path: "/etc/localtime".to_owned(), was_there: true };
        let Some(news) = self.zone_watch.as_ref().map(|watch| watch.news(std::slice::from_ref(&spot))) else { return };
        if news.changed || news.moved {
            // set anew with the next look: it may be another file now
            self.unwatch_zone();
            self.zone_changed();
        }
    }
}
