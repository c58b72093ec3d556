//! What a change of a unit's state means for its job and for others.

use std::time::{Instant, SystemTime};

use hostel_unit::UnitName;

use super::state::{Active, JobResult, Outcome};
use super::{End, Manager};
use crate::depend::Relation;
use crate::transaction::{JobMode, JobType};

impl Manager {
    /// Looks at every unit that may have changed, until nothing changes any more.
    pub(super) fn settle_changes(&mut self) {
        while let Some(name) = self.changed.pop_front() {
            self.settle(&name);
            self.tell_triggers(&name);
        }
    }

    fn settle(&mut self, name: &UnitName) {
        if let Some(news) = &mut self.news {
            news.change(name);
        }
        let Some(live) = self.units.get_mut(name) else { return };
        let (old, new) = (live.announced, live.active());
        let (was_between, between) = (live.announced_again, live.is_between());
        live.announced = new;
        live.announced_again = between;
        // a service that waits to be started again is down for its job, and for nobody else
        let fell = between && !was_between && !live.restarts_directly();
        if old == new && !fell {
            return self.stopped(name);
        }
        note(&mut live.rest.moments, old, new);
        if new.is_down() {
            // what was kept back comes before the last word
            self.shared.log.settle(&live.rest.marks.unit);
            self.shared.dynamic.release(&live.rest.marks.unit);
            let (restart, stop) = live.service.as_ref().map_or((false, false), |service| service.config.store_outlives);
            let returns = live.job.and_then(|id| self.jobs.get(&id)).is_some_and(|job| job.kind != JobType::Stop);
            if !(stop || restart && returns) {
                live.rest.stored.clear();
            }
        }
        let result = live.result();
        let (degrading, job) = (live.rest.unit.name.clone(), live.job);
        let expected = self.settle_job(name, new, fell, result, job);
        if !expected {
            self.unexpected(&degrading, old, new, fell);
        }
        if new == Active::Failed && old != Active::Failed {
            self.shared.log.own(Some(name.as_str()), &format!("Failed with result '{}'.", result.word()));
            self.trigger(name, Relation::OnFailure);
        } else if new == Active::Inactive && !old.is_down() && result == Outcome::Success && !expected {
            self.trigger(name, Relation::OnSuccess);
        }
        if new.is_down() && !old.is_down() || new == Active::Failed && old != Active::Failed {
            self.act_upon(name, new, result);
        }
        if new.is_down() && self.end.is_none() {
            self.uphold(name);
        }
        self.look_for_unneeded(name, new);
        self.run_again = true;
        if new == Active::Inactive && self.end.is_none() {
            self.forget(name);
        }
    }

    /// What is down, and of no use to what is up, systemd has not in memory any more: its next start is the first, and how it was is not known.
    fn forget(&mut self, name: &UnitName) {
        if self.units.get(name).is_none_or(|live| self.is_kept(live)) {
            return;
        }
        if let Some(live) = self.units.get_mut(name) {
            live.rest.moments = super::live::Moments::default();
            if let Some(service) = &mut live.service {
                service.forget();
            }
        }
    }

    /// What the change means for the unit's job; whether it was what the job is about.
    fn settle_job(&mut self, name: &UnitName, new: Active, fell: bool, result: Outcome, job: Option<u32>) -> bool {
        let Some(job) = job.and_then(|id| self.jobs.get(&id)).filter(|job| job.running) else { return false };
        let (id, kind) = (job.id, job.kind);
        match kind {
            JobType::Start | JobType::VerifyActive if new.is_up() => self.finish(id, JobResult::Done),
            JobType::Start | JobType::VerifyActive if fell || new.is_down() => {
                let failed = new == Active::Failed || fell && result != Outcome::Success;
                self.finish(id, if failed { JobResult::Failed } else { JobResult::Done });
                return new != Active::Failed && !fell;
            }
            JobType::Start | JobType::VerifyActive => return new == Active::Activating,
            JobType::Stop | JobType::Restart => self.stopped(name),
            JobType::Reload if new == Active::Active => {
                let failed = self.units.get(name).and_then(|l| l.service.as_ref()).is_some_and(|s| s.reload_result != Outcome::Success);
                self.finish(id, if failed { JobResult::Failed } else { JobResult::Done });
            }
            JobType::Reload if new != Active::Reloading => {
                self.finish(id, JobResult::Failed);
                return false;
            }
            _ => {}
        }
        true
    }

    /// A unit went down by itself: those bound to it follow.
    fn unexpected(&mut self, name: &UnitName, old: Active, new: Active, fell: bool) {
        let was = matches!(old, Active::Active | Active::Reloading | Active::Activating);
        if !was || !(fell || new.is_down() || new == Active::Deactivating) {
            return;
        }
        let bound: Vec<UnitName> = self.graph.from(name, Relation::BindsTo).chain(self.graph.to(name, Relation::PropagatesStopTo)).cloned().collect();
        for other in bound {
            let up = self.units.get(&other).is_some_and(|live| !live.active().is_down());
            if up && let Err(fault) = self.enqueue(&other, JobType::Stop, JobMode::Replace) {
                self.shared.log.own(Some(other.as_str()), &format!("Failed to stop what is bound to {name}: {fault}"));
            }
        }
    }

    /// A unit that others uphold is started again, as often as its start limit allows.
    fn uphold(&mut self, name: &UnitName) {
        let upheld = self.graph.from(name, Relation::Upholds).any(|by| self.units.get(by).is_some_and(|live| live.active().is_up()));
        if upheld && self.units.get(name).is_some_and(|live| live.job.is_none() && live.result() != Outcome::StartLimitHit) {
            // it cannot be started: the next change will ask again
            let _ = self.enqueue(name, JobType::Start, JobMode::Fail);
        }
    }

    /// Services whose time has come: limits, watchdogs, starts that were put off.
    pub(super) fn elapse(&mut self) {
        let now = Instant::now();
        let due: Vec<UnitName> = self.units.values().filter(|live| live.due().is_some_and(|at| at <= now)).map(|l| l.name().clone()).collect();
        if let Some((end, _)) = self.planned.take_if(|(_, at)| *at <= SystemTime::now()) {
            self.shut_down(end);
        }
        self.timers_elapse();
        self.jobs_elapse(now);
        for name in due {
            if self.socket(&name).is_some() {
                self.socket_late(&name);
                continue;
            }
            if self.mount(&name).is_some() {
                self.mount_late(&name);
                continue;
            }
            let between = self.units.get(&name).is_some_and(super::live::Live::is_between);
            if between {
                self.with(&name, |service, _| {
                    service.deadline = None;
                    service.by_itself = true;
                });
                if self.end.is_none() {
                    self.shared.log.own(Some(name.as_str()), "Scheduled restart job.");
                    if let Err(fault) = self.enqueue(&name, JobType::Restart, JobMode::Replace) {
                        self.shared.log.own(Some(name.as_str()), &format!("Failed to schedule restart job: {fault}"));
                        self.with(&name, |service, world| service.stop(world));
                    }
                }
            } else {
                self.with(&name, |service, world| service.elapsed(world));
            }
        }
    }

    /// Stops everything; what comes after is `end`.
    pub fn shut_down(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(end);
        let waiting: Vec<u32> = self.jobs.keys().copied().collect();
        for id in waiting {
            self.finish(id, JobResult::Canceled);
        }
        // what others mounted is theirs, and devices are nobody's
        let is_others = |live: &super::live::Live| match &live.plain {
            super::live::Plain::Mount(mount) => !mount.is_ours,
            super::live::Plain::Device => true,
            _ => false,
        };
        let up: Vec<UnitName> =
            self.units.values().filter(|live| !live.active().is_down() && !is_others(live)).map(|live| live.name().clone()).collect();
        // a transaction for each would come to the same, after a look at all the others
        for name in up {
            self.add_job(&name, JobType::Stop, false);
        }
        self.run_again = true;
    }

    /// Whether nothing is left to wait for before the end.
    pub fn is_quiet(&self) -> bool {
        self.jobs.is_empty()
    }
}

fn note(moments: &mut super::live::Moments, old: Active, new: Active) {
    let now = Some(SystemTime::now());
    moments.changed = now;
    if new.is_up() && !old.is_up() {
        moments.active_enter = now;
    }
    if !new.is_up() && old.is_up() {
        moments.active_exit = now;
    }
    if new.is_down() && !old.is_down() {
        moments.inactive_enter = now;
        moments.inactive_enter_even = Some(Instant::now());
    }
    if !new.is_down() && old.is_down() {
        moments.inactive_exit = now;
        moments.inactive_exit_even = Some(Instant::now());
    }
}
