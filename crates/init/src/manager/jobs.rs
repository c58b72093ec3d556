//! Jobs: what is to be done to which unit, in which order, and how it went.

use hostel_unit::UnitName;

use super::live::Plain;
use super::state::{JobResult, State};
use super::{Manager, condition, config};
use crate::depend::Relation;
use crate::transaction::{Fault, JobMode, JobType, Transaction, transaction};

/// One job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number.
    pub id: u32,
    /// Of which unit.
    pub unit: UnitName,
    /// What.
    pub kind: JobType,
    /// It was begun, and its unit is on the way.
    pub running: bool,
    /// Its beginning was told: so is its end.
    pub told: bool,
    /// Nothing takes its place.
    pub irreversible: bool,
    /// When it has waited, or run, long enough.
    pub until: Option<std::time::Instant>,
    /// Of which unit's job it was found to wait for last, and whether its own is ordered before that one.
    pub(super) blocked: std::cell::RefCell<Option<(UnitName, bool)>>,
}

/// One that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its number.
    pub id: u32,
    /// Of which unit.
    pub unit: UnitName,
    /// How.
    pub result: JobResult,
}

/// Whether job `a` must wait for job `b`, of a unit that `a`'s is ordered before, or after.
pub(super) fn waits(a: JobType, b: JobType, a_before_b: bool) -> bool {
    let stops = |kind| matches!(kind, JobType::Stop | JobType::Restart);
    if a == JobType::Nop || b == JobType::Nop {
        return false;
    }
    // two units are stopped in the opposite order, and whatever starts waits for what stops, ordered either way
    if a_before_b { stops(b) } else { !stops(a) }
}

impl Manager {
    /// Makes the jobs of a request; the number of the one that was asked for.
    pub(super) fn enqueue(&mut self, unit: &UnitName, kind: JobType, mode: JobMode) -> Result<u32, Fault> {
        self.bring(std::slice::from_ref(unit));
        let names: Vec<(UnitName, bool, Option<(JobType, bool)>)> = self
            .units
            .values()
            .map(|live| {
                let job = live.job.and_then(|id| self.jobs.get(&id)).map(|job| (job.kind, job.irreversible));
                // what is on its way up is not started twice
                (live.name().clone(), live.active().is_up() || live.active() == super::state::Active::Activating && !live.is_between(), job)
            })
            .collect();
        for (name, active, job) in names {
            if let Some(node) = self.graph.node_mut(&name) {
                node.is_active = active;
                node.job = job;
            }
        }
        let own = self.graph.own(unit).clone();
        let found = transaction(&self.graph, &own, kind, mode)?;
        Ok(self.install(&own, kind, mode, found))
    }

    fn install(&mut self, anchor: &UnitName, kind: JobType, mode: JobMode, found: Transaction) -> u32 {
        for (unit, cycle) in &found.dropped {
            let list: Vec<&str> = cycle.iter().map(UnitName::as_str).collect();
            self.shared.log.own(Some(unit.as_str()), &format!("job left out: it breaks the ordering cycle {}", list.join(" -> ")));
        }
        for unit in &found.cancelled {
            if let Some(id) = self.units.get(unit).and_then(|live| live.job) {
                self.finish(id, JobResult::Canceled);
            }
        }
        let mut anchor_id = None;
        for job in found.jobs {
            let mut id = self.add_job(&job.unit, job.kind, mode == JobMode::ReplaceIrreversibly);
            if id == 0 {
                // whoever waits for it must not do so for ever
                id = self.next_id();
                self.finished.push(Finished { id, unit: job.unit.clone(), result: JobResult::Failed });
            }
            if job.unit == *anchor {
                anchor_id = Some(id);
            }
        }
        self.run_again = true;
        // what needs no job at all is done
        anchor_id.unwrap_or_else(|| {
            let id = self.next_id();
            self.finished.push(Finished { id, unit: anchor.clone(), result: JobResult::Done });
            let _ = kind;
            id
        })
    }

    pub(super) fn next_id(&mut self) -> u32 {
        let id = self.next_job;
        self.next_job = self.next_job.wrapping_add(1).max(1);
        id
    }

    /// Adds a job, or merges it into the unit's own.
    pub(super) fn add_job(&mut self, unit: &UnitName, kind: JobType, irreversible: bool) -> u32 {
        let Some(live) = self.units.get(unit) else { return 0 };
        let active = live.active().is_up();
        if let Some(old) = live.job.and_then(|id| self.jobs.get_mut(&id)) {
            if let Some(merged) = old.kind.merged(kind, active) {
                if merged != old.kind {
                    old.running = false;
                    old.kind = merged;
                }
                old.irreversible |= irreversible;
                return old.id;
            }
            let id = old.id;
            self.finish(id, JobResult::Canceled);
        }
        let id = self.next_id();
        let until = self.job_limit(unit, "JobTimeoutSec");
        self.jobs.insert(id, Job { id, unit: unit.clone(), kind, running: false, told: false, irreversible, until, blocked: Default::default() });
        if let Some(news) = &mut self.news {
            news.job(id, unit);
        }
        if let Some(live) = self.units.get_mut(unit) {
            live.job = Some(id);
        }
        id
    }

    /// Begins every job that waits for no other, until none is left that can begin.
    pub(super) fn run_jobs(&mut self) {
        while std::mem::take(&mut self.run_again) {
            let ready: Vec<u32> = self.jobs.values().filter(|job| !job.running && self.is_ready(job)).map(|job| job.id).collect();
            for id in ready {
                // an earlier one may have taken it away, or made it wait
                if self.jobs.get(&id).is_some_and(|job| !job.running && self.is_ready(job)) {
                    self.begin_job(id);
                    self.settle_changes();
                }
            }
        }
    }

    fn is_ready(&self, job: &Job) -> bool {
        let of = |unit: &UnitName| self.units.get(unit).and_then(|live| live.job).and_then(|id| self.jobs.get(&id));
        let blocks = |(unit, before): (&UnitName, bool)| of(unit).is_some_and(|other| waits(job.kind, other.kind, before));
        let mut blocked = job.blocked.borrow_mut();
        // most still wait for what they waited for when they were looked at last
        if blocked.as_ref().is_some_and(|(unit, before)| blocks((unit, *before))) {
            return false;
        }
        let later = self.graph.to(&job.unit, Relation::After).chain(self.graph.from(&job.unit, Relation::Before)).map(|unit| (unit, false));
        let earlier = self.graph.to(&job.unit, Relation::Before).chain(self.graph.from(&job.unit, Relation::After)).map(|unit| (unit, true));
        *blocked = later.chain(earlier).find(|other| blocks(*other)).map(|(unit, before)| (unit.clone(), before));
        blocked.is_none()
    }

    fn begin_job(&mut self, id: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.running = true;
        let (unit, kind) = (job.unit.clone(), job.kind);
        if let Some(limit) = self.job_limit(&unit, "JobRunningTimeoutSec")
            && let Some(job) = self.jobs.get_mut(&id)
        {
            job.until = Some(job.until.map_or(limit, |until| until.min(limit)));
        }
        match kind {
            JobType::Start => self.begin_start(id, &unit),
            JobType::Stop => self.begin_stop(id, &unit),
            JobType::Restart => self.begin_stop(id, &unit),
            JobType::VerifyActive => {
                let up = self.units.get(&unit).is_some_and(|live| live.active().is_up());
                self.finish(id, if up { JobResult::Done } else { JobResult::Failed });
            }
            JobType::Reload => {
                self.told(id, JobType::Reload, &unit);
                if self.mount(&unit).is_some() {
                    if !self.remount(&unit) {
                        self.finish(id, JobResult::Failed);
                    }
                    return;
                }
                match self.with(
                    &unit,
                    |service, world| if service.state == State::Running || service.state == State::Exited { service.reload(world) } else { false },
                ) {
                    Some(true) => {}
                    _ => self.finish(id, JobResult::Failed),
                }
            }
            JobType::Nop | JobType::TryRestart | JobType::TryReload | JobType::ReloadOrStart => self.finish(id, JobResult::Done),
        }
    }

    fn begin_start(&mut self, id: u32, unit: &UnitName) {
        let Some(live) = self.units.get_mut(unit) else { return self.finish(id, JobResult::Failed) };
        if live.active().is_up() {
            return self.finish(id, JobResult::Done);
        }
        if live.active() == super::state::Active::Activating && !live.is_between() {
            return;
        }
        if live.active() == super::state::Active::Deactivating {
            // it is begun again when the unit is down
            if let Some(job) = self.jobs.get_mut(&id) {
                job.running = false;
            }
            return;
        }
        if let Some(result) = self.look_at_conditions(unit) {
            return self.finish(id, result);
        }
        let Some(live) = self.units.get_mut(unit) else { return };
        if live.service.is_some() {
            if let Some(why) = config::refused(&live.rest.unit) {
                live.rest.complaint.clone_from(&why);
                self.shared.log.own(Some(unit.as_str()), &format!("Cannot start: {why}"));
                self.with(unit, |service, _| service.refuse());
                self.settle_changes();
                return self.finish(id, JobResult::Failed);
            }
            self.with(unit, |_, world| world.renew());
            self.told(id, JobType::Start, unit);
            self.with(unit, |service, world| service.start(world));
            self.settle_changes();
            return self.end_if_down(id, unit);
        }
        match &live.plain {
            Plain::Socket(_) | Plain::Timer(_) | Plain::Path(_) => {
                self.tell_end(id);
                self.begin_trigger(id, unit);
            }
            Plain::Point(_) => {
                if unit.kind() == hostel_unit::Kind::Target {
                    self.tell_end(id);
                }
                let Some(live) = self.units.get_mut(unit) else { return };
                live.plain = Plain::Point(true);
                let limits = unit.kind() == hostel_unit::Kind::Slice && !live.rest.limits.is_empty();
                self.changed.push_back(unit.clone());
                if limits {
                    self.limit_again(unit, &[]);
                }
            }
            Plain::Mount(_) => {
                self.told(id, JobType::Start, unit);
                self.start_mount(unit);
                self.settle_changes();
                self.end_if_down(id, unit);
            }
            Plain::Automount(_) => self.start_automount(unit),
            Plain::Device | Plain::Unsupported => {
                let why = match unit.kind() {
                    hostel_unit::Kind::Device => "there is no such device in this machine".to_owned(),
                    hostel_unit::Kind::Swap => "swap is the host's: a machine may not switch any on".to_owned(),
                    kind => format!("{} units are not run here", kind.suffix()),
                };
                live.rest.complaint.clone_from(&why);
                self.shared.log.own(Some(unit.as_str()), &format!("Cannot start: {why}"));
                self.finish(id, JobResult::Unsupported);
            }
        }
    }

    /// One that failed before, and again at once, has not changed: nobody else ends the job.
    fn end_if_down(&mut self, id: u32, unit: &UnitName) {
        let fallen = self.units.get(unit).filter(|live| live.job == Some(id) && (live.active().is_down() || live.is_between()));
        if let Some(result) = fallen.map(|live| live.result()) {
            let good = matches!(result, super::state::Outcome::Success | super::state::Outcome::ExecCondition);
            self.finish(id, if good { JobResult::Done } else { JobResult::Failed });
        }
    }

    /// The result of a job whose unit may not start now.
    fn look_at_conditions(&mut self, unit: &UnitName) -> Option<JobResult> {
        let live = self.units.get_mut(unit)?;
        let (verdict, which) = condition::check(&live.rest.unit);
        live.rest.moments.condition = Some(std::time::SystemTime::now());
        live.rest.condition = Some((verdict == condition::Verdict::Met, which.clone()));
        let which = which.unwrap_or_default();
        match verdict {
            condition::Verdict::Met => None,
            condition::Verdict::Skipped => {
                if live.is_between() {
                    self.with(unit, |service, world| service.stop(world));
                }
                let text = format!("{} was skipped because of an unmet condition check ({which}).", self.title(unit));
                self.announce(unit, JobType::Start, &text, 6, &[]);
                Some(JobResult::Done)
            }
            condition::Verdict::AssertFailed => {
                self.shared.log.own(Some(unit.as_str()), &format!("Starting requested but asserts failed: {which}"));
                Some(JobResult::Assert)
            }
        }
    }

    fn begin_stop(&mut self, id: u32, unit: &UnitName) {
        let Some(live) = self.units.get_mut(unit) else { return self.finish(id, JobResult::Done) };
        if matches!(live.plain, Plain::Device) {
            return self.finish(id, JobResult::Done);
        }
        if live.service.is_some() {
            if !live.active().is_down() && !live.is_between() {
                self.told(id, JobType::Stop, unit);
            }
            let restarts = self.has_job(unit, JobType::Restart);
            // what stands still hears nothing
            let _ = self.shared.members.freeze(unit.as_str(), false);
            self.with(unit, |service, world| {
                service.for_restart = restarts;
                service.stop(world);
            });
        } else if matches!(live.plain, Plain::Socket(_) | Plain::Timer(_) | Plain::Path(_)) {
            if !live.active().is_down() {
                self.tell_end(id);
            }
            self.end_trigger(unit);
        } else if matches!(live.plain, Plain::Point(_)) {
            live.plain = Plain::Point(false);
            self.changed.push_back(unit.clone());
            if unit.kind() == hostel_unit::Kind::Slice {
                self.shared.members.forget_slice(&super::resources::slice_path(unit.as_str()));
            }
        } else if matches!(live.plain, Plain::Automount(_)) {
            live.plain = Plain::Automount(false);
            self.changed.push_back(unit.clone());
        } else if matches!(live.plain, Plain::Mount(_)) {
            self.told(id, JobType::Stop, unit);
            self.stop_mount(unit);
            self.settle_changes();
        }
        self.stopped(unit);
    }

    /// Looks whether a job that stops a unit is over.
    pub(super) fn stopped(&mut self, unit: &UnitName) {
        let Some(live) = self.units.get(unit) else { return };
        if !live.active().is_down() {
            return;
        }
        let Some(job) = live.job.and_then(|id| self.jobs.get_mut(&id)).filter(|job| job.running) else { return };
        match job.kind {
            JobType::Stop => {
                let id = job.id;
                self.finish(id, JobResult::Done);
            }
            // the second half
            JobType::Restart => {
                if std::mem::take(&mut job.told) {
                    let stopped = job.clone();
                    self.announce_end(&stopped, JobResult::Done);
                }
                let Some(job) = self.units.get(unit).and_then(|live| live.job).and_then(|id| self.jobs.get_mut(&id)) else { return };
                job.kind = JobType::Start;
                job.running = false;
                self.run_again = true;
            }
            _ => {}
        }
    }

    /// Ends a job; those that cannot be without it end, too.
    pub(super) fn finish(&mut self, id: u32, result: JobResult) {
        let mut queue = vec![(id, result)];
        while let Some((id, result)) = queue.pop() {
            let Some(job) = self.jobs.remove(&id) else { continue };
            if job.told {
                self.announce_end(&job, result);
            }
            if let Some(live) = self.units.get_mut(&job.unit).filter(|live| live.job == Some(id)) {
                live.job = None;
            }
            self.run_again = true;
            // a job that came to nothing is news for what it was made by
            self.changed.push_back(job.unit.clone());
            let starts = matches!(job.kind, JobType::Start | JobType::VerifyActive | JobType::Restart);
            if starts && !matches!(result, JobResult::Done | JobResult::Canceled) {
                let by = [Relation::Requires, Relation::Requisite, Relation::BindsTo];
                let needing: Vec<UnitName> = by.iter().flat_map(|relation| self.graph.from(&job.unit, *relation)).cloned().collect();
                for name in needing {
                    let waiting = self.units.get(&name).and_then(|live| live.job).and_then(|id| self.jobs.get(&id));
                    if let Some(other) = waiting.filter(|other| matches!(other.kind, JobType::Start | JobType::VerifyActive) && !other.running) {
                        self.shared.log.own(Some(name.as_str()), &format!("Dependency failed: {}", job.unit));
                        queue.push((other.id, JobResult::Dependency));
                    }
                }
            }
            if result == JobResult::Dependency {
                self.trigger(&job.unit, Relation::OnFailure);
            }
            // nobody may be waiting for any of them: they do not pile up
            if self.finished.len() < 100_000 {
                self.finished.push(Finished { id, unit: job.unit, result });
            }
        }
    }

    /// Tells that a job was begun, once.
    fn told(&mut self, id: u32, kind: JobType, unit: &UnitName) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.told) {
            job.told = true;
            self.announce_begin(unit, kind);
        }
    }

    /// Nothing is told of the beginning of a job, as it is over in no time, but of its end.
    fn tell_end(&mut self, id: u32) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.told = true;
        }
    }

    /// Starts what a unit's end asks for.
    pub(super) fn trigger(&mut self, unit: &UnitName, relation: Relation) {
        let key = if relation == Relation::OnFailure { "OnFailureJobMode" } else { "OnSuccessJobMode" };
        let live = self.units.get(unit);
        let isolates = relation == Relation::OnFailure && live.is_some_and(|live| live.rest.unit.settings.bool("Unit", "OnFailureIsolate", false));
        let usual = if isolates { JobMode::Isolate } else { JobMode::Replace };
        let mode = live.and_then(|live| live.setting("Unit", key)).and_then(|s| JobMode::parse(s.text())).unwrap_or(usual);
        let names: Vec<UnitName> = self.graph.to(unit, relation).cloned().collect();
        for name in names {
            if self.end.is_some() {
                return;
            }
            if let Err(fault) = self.enqueue(&name, JobType::Start, mode) {
                self.shared.log.own(Some(unit.as_str()), &format!("Failed to enqueue {} job: {fault}", relation.key()));
            }
        }
    }
}
