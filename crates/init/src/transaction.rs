//! What a start, stop or restart of a unit means for all units that hang together with it: jobs, in their order.
//!
//! ```text
//!  anchor ──► gather ──► matter? ──► minimise ──► order, cycles ──► merge ──► redundant ──► Transaction
//!   (job)    (jobs that   (which may    (mode fail)   (break a cycle   (one job per
//!             it needs)    be dropped)                 where it may)    unit)
//! ```
//! Pure: a [`Graph`] in, jobs or a [`Fault`] out. The stages are systemd's.

mod gather;
mod kinds;
mod merge;
mod order;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use hostel_unit::{Gather as _, UnitName};

pub use kinds::{JobMode, JobType};

use crate::depend::Graph;
use crate::load::LoadState;

/// A job that a transaction has in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Of which unit.
    pub unit: UnitName,
    /// What it does.
    pub kind: JobType,
    /// Which job asked for it first; `None` for the anchor.
    pub because: Option<UnitName>,
    /// Units of this transaction whose jobs must be done before it begins.
    pub after: Vec<UnitName>,
}

/// Jobs in an order in which they may run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// What is to be done; jobs that do not wait for each other may run at the same time.
    pub jobs: Vec<Job>,
    /// Jobs that were left out so that a cycle is none: the unit, and the cycle it was in.
    pub dropped: Vec<(UnitName, Vec<UnitName>)>,
    /// Waiting jobs of other units that are cancelled (mode flush and isolate).
    pub cancelled: Vec<UnitName>,
}

/// Why there is no transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A unit is not there.
    #[error("Unit {0} not found.")]
    NotFound(UnitName),
    /// A unit is masked.
    #[error("Unit {0} is masked.")]
    Masked(UnitName),
    /// A unit cannot be used.
    #[error("Unit {0} has a bad unit file setting.")]
    BadSetting(UnitName),
    /// A unit's file cannot be read.
    #[error("Unit {0} failed to load: {1}")]
    Load(UnitName, String),
    /// RefuseManualStart= or RefuseManualStop=.
    #[error("Operation refused, unit {0} may be requested by dependency only (it is configured to refuse manual start/stop).")]
    Refused(UnitName),
    /// AllowIsolate= is missing.
    #[error("Operation refused, unit may not be isolated.")]
    NoIsolate(UnitName),
    /// The unit cannot do this.
    #[error("Job type {1} is not applicable for unit {0}.")]
    NotApplicable(UnitName, &'static str),
    /// Two jobs of one unit that both must be.
    #[error("Transaction contains conflicting jobs '{1}' and '{2}' for {0}. Probably contradicting requirement dependencies configured.")]
    Contradiction(UnitName, &'static str, &'static str),
    /// A cycle in which every job must be.
    #[error("Transaction order is cyclic. See system logs for details.")]
    Cyclic(Vec<UnitName>),
    /// A job waits that is in the way.
    #[error("Transaction for {anchor} is destructive ({unit} has '{waiting}' job queued, but '{wanted}' is included in transaction).")]
    Destructive {
        /// What was asked for.
        anchor: UnitName,
        /// The unit whose job is in the way.
        unit: UnitName,
        /// That job.
        waiting: &'static str,
        /// The one that would take its place.
        wanted: &'static str,
    },
    /// Mode lenient, and something runs that would be stopped.
    #[error("Transaction for {0} would stop {1}, which is running.")]
    WouldStop(UnitName, UnitName),
}

/// Makes the transaction of one job.
pub fn transaction(graph: &Graph, unit: &UnitName, kind: JobType, mode: JobMode) -> Result<Transaction, Fault> {
    let unit = graph.own(unit).clone();
    if let Some(node) = graph.node(&unit) {
        let starts = matches!(kind, JobType::Start | JobType::Restart | JobType::ReloadOrStart);
        let stops = matches!(kind, JobType::Stop | JobType::Restart);
        if starts && node.refuse_start || stops && node.refuse_stop {
            return Err(Fault::Refused(unit));
        }
        if mode == JobMode::Isolate && node.state == LoadState::Loaded && !node.allow_isolate {
            return Err(Fault::NoIsolate(unit));
        }
    }
    let mut draft = Draft::new(graph, mode);
    let anchor = draft.gather(&unit, kind)?;
    draft.settle_mode(&unit);
    draft.mark_what_matters(anchor);
    if mode == JobMode::Fail {
        draft.minimise(anchor);
    }
    draft.drop_redundant(anchor);
    let mut dropped = Vec::new();
    loop {
        draft.collect_garbage(anchor);
        match draft.cycle() {
            None => break,
            Some(cycle) => dropped.push((draft.break_cycle(&cycle)?, cycle)),
        }
    }
    draft.merge(anchor)?;
    draft.collect_garbage(anchor);
    draft.drop_redundant(anchor);
    draft.check_waiting(&unit)?;
    let jobs = draft.in_order();
    let cancelled = if matches!(mode, JobMode::Isolate | JobMode::Flush) { draft.cancelled() } else { Vec::new() };
    Ok(Transaction { jobs, dropped, cancelled })
}

/// Index of a job in [`Draft::jobs`].
type JobId = usize;

/// A job while the transaction is made.
#[derive(Debug, Clone)]
struct Drafted {
    unit: UnitName,
    kind: JobType,
    matters: bool,
    /// Jobs that asked for it.
    links: Vec<Link>,
}

/// Why a job is there.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// The job that asked; `None` for the anchor.
    by: Option<JobId>,
    /// That one cannot be without this.
    required: bool,
    /// By Conflicts=.
    conflicts: bool,
}

/// A transaction that is being made.
struct Draft<'g> {
    graph: &'g Graph,
    mode: JobMode,
    /// Deleted ones are `None`.
    jobs: Vec<Option<Drafted>>,
    of_unit: BTreeMap<UnitName, Vec<JobId>>,
}

impl<'g> Draft<'g> {
    fn new(graph: &'g Graph, mode: JobMode) -> Draft<'g> {
        Draft { graph, mode, jobs: Vec::new(), of_unit: BTreeMap::new() }
    }

    fn ids(&self) -> Vec<JobId> {
        (0..self.jobs.len()).filter(|id| self.jobs[*id].is_some()).collect()
    }

    fn job(&self, id: JobId) -> Option<&Drafted> {
        self.jobs.get(id).and_then(Option::as_ref)
    }

    fn is_active(&self, unit: &UnitName) -> bool {
        self.graph.node(unit).is_some_and(|node| node.is_active)
    }

    /// Deletes a job, and those that cannot be without it.
    fn delete(&mut self, id: JobId, with_dependents: bool) {
        let mut queue = vec![id];
        while let Some(id) = queue.pop() {
            let Some(gone) = self.jobs[id].take() else { continue };
            if let Some(list) = self.of_unit.get_mut(&gone.unit) {
                list.retain(|other| *other != id);
            }
            if with_dependents {
                queue.extend(gone.links.iter().filter(|link| link.required).filter_map(|link| link.by));
            }
            for job in self.jobs.iter_mut().flatten() {
                job.links.retain(|link| link.by != Some(id));
            }
        }
    }

    /// Jobs that the anchor cannot do without.
    fn mark_what_matters(&mut self, anchor: JobId) {
        let mut known: BTreeSet<JobId> = std::iter::once(anchor).gather();
        loop {
            let mut grown = false;
            for id in self.ids() {
                let needed = self.job(id).is_some_and(|job| job.links.iter().any(|l| l.required && l.by.is_none_or(|by| known.contains(&by))));
                grown |= needed && known.insert(id);
            }
            if !grown {
                break;
            }
        }
        for (id, job) in self.jobs.iter_mut().enumerate() {
            if let Some(job) = job {
                job.matters = known.contains(&id);
            }
        }
    }

    /// Drops what does not matter and would stop what runs, or take the place of a job that waits.
    fn minimise(&mut self, anchor: JobId) {
        loop {
            let harmful = self.ids().into_iter().filter(|id| *id != anchor).find(|id| {
                self.job(*id).is_some_and(|job| {
                    let node = self.graph.node(&job.unit);
                    let stops = matches!(job.kind, JobType::Stop | JobType::Restart) && self.is_active(&job.unit);
                    let changes = node.and_then(|n| n.job).is_some_and(|(waiting, _)| waiting.conflicts_with(job.kind));
                    !job.matters && (stops || changes)
                })
            });
            match harmful {
                Some(id) => self.delete(id, true),
                None => return,
            }
        }
    }

    /// Drops jobs that have nothing to do: start what is up, stop what is down.
    fn drop_redundant(&mut self, anchor: JobId) {
        loop {
            let idle = self.of_unit.values().filter(|list| !list.is_empty()).find(|list| {
                list.iter().all(|id| {
                    let Some(job) = self.job(*id) else { return false };
                    let waits = self.graph.node(&job.unit).and_then(|n| n.job).is_some_and(|(waiting, _)| waiting.conflicts_with(job.kind));
                    *id != anchor && job.kind.is_redundant(self.is_active(&job.unit)) && !waits
                })
            });
            match idle.cloned() {
                Some(list) => list.into_iter().for_each(|id| self.delete(id, false)),
                None => return,
            }
        }
    }

    /// Drops jobs that nobody asks for any more.
    fn collect_garbage(&mut self, anchor: JobId) {
        loop {
            let orphan = self.ids().into_iter().find(|id| *id != anchor && self.job(*id).is_some_and(|job| job.links.is_empty()));
            match orphan {
                Some(id) => self.delete(id, true),
                None => return,
            }
        }
    }

    /// Refuses what would take the place of a waiting job that may not be replaced, or stop what runs in mode lenient.
    fn check_waiting(&self, anchor: &UnitName) -> Result<(), Fault> {
        for job in self.jobs.iter().flatten() {
            let waiting = self.graph.node(&job.unit).and_then(|node| node.job);
            if let Some((waiting, irreversible)) = waiting
                && waiting.conflicts_with(job.kind)
                && (self.mode == JobMode::Fail || irreversible)
            {
                return Err(Fault::Destructive { anchor: anchor.clone(), unit: job.unit.clone(), waiting: waiting.word(), wanted: job.kind.word() });
            }
            if self.mode == JobMode::Lenient
                && matches!(job.kind, JobType::Stop | JobType::Restart)
                && self.is_active(&job.unit)
                && job.unit != *anchor
            {
                return Err(Fault::WouldStop(anchor.clone(), job.unit.clone()));
            }
        }
        Ok(())
    }

    /// Units with a waiting job that this transaction has none of.
    fn cancelled(&self) -> Vec<UnitName> {
        let waiting = self.graph.iter().filter(|(_, node)| node.job.is_some_and(|(_, irreversible)| !irreversible));
        let has = |name: &UnitName| self.of_unit.get(name).is_some_and(|list| !list.is_empty());
        waiting.map(|(name, _)| name).filter(|name| !has(name)).cloned().collect()
    }
}
