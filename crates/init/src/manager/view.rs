//! What a front end that knows a manager from inside may look at, and what it is told of: the private bus.

use std::collections::BTreeSet;

use hostel_unit::UnitName;

use super::live::Live;
use super::members::Members;
use super::query::Answer;
use super::variables::Environment;
use super::{Job, Manager};
use crate::catalogue::Catalogue;
use crate::depend::{Graph, Relation};
use crate::load::LoadState;
use crate::root::Root;
use crate::search::SearchPath;
use crate::transaction::{Fault, JobMode, JobType};

/// Most changes that are kept until somebody takes them.
const NEWS_MAX: usize = 16_384;

/// What happened since it was asked last.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Units of which something may have changed.
    pub changed: BTreeSet<UnitName>,
    /// Jobs that were made.
    pub jobs: Vec<(u32, UnitName)>,
    /// Units that came into memory, or went.
    pub units: Vec<(UnitName, bool)>,
}

impl News {
    pub(super) fn change(&mut self, name: &UnitName) {
        if self.changed.len() < NEWS_MAX && !self.changed.contains(name) {
            self.changed.insert(name.clone());
        }
    }

    pub(super) fn job(&mut self, id: u32, unit: &UnitName) {
        if self.jobs.len() < NEWS_MAX {
            self.jobs.push((id, unit.clone()));
        }
    }

    pub(super) fn unit(&mut self, name: &UnitName, came: bool) {
        if self.units.len() < NEWS_MAX {
            self.units.push((name.clone(), came));
        }
    }
}

/// Why there is no job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobFault {
    /// The machine is being shut down.
    Ending,
    /// It is not in memory and has no file: there is nothing to stop.
    NotLoaded(UnitName),
    /// There is no transaction.
    Fault(Fault),
}

impl Manager {
    /// From now on news are kept, or no longer.
    pub(crate) fn keep_news(&mut self, keep: bool) {
        if keep != self.news.is_some() {
            self.news = keep.then(Box::default);
        }
    }

    /// News since the last time.
    pub(crate) fn take_news(&mut self) -> News {
        self.news.as_mut().map(|news| std::mem::take(&mut **news)).unwrap_or_default()
    }

    pub(crate) fn lives(&self) -> impl Iterator<Item = &Live> {
        self.units.values()
    }

    pub(crate) fn all_jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    pub(crate) fn job_of(&self, id: u32) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Whether job `a` waits for job `b`.
    pub(crate) fn waits_for(&self, a: &Job, b: &Job) -> bool {
        let has = |relation, from: &UnitName, to: &UnitName| self.graph.to(from, relation).any(|other| other == to);
        let before = has(Relation::Before, &a.unit, &b.unit) || has(Relation::After, &b.unit, &a.unit);
        let after = has(Relation::After, &a.unit, &b.unit) || has(Relation::Before, &b.unit, &a.unit);
        after && super::jobs::waits(a.kind, b.kind, false) || before && super::jobs::waits(a.kind, b.kind, true)
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn root(&self) -> &'static Root {
        self.root
    }

    pub(crate) fn search(&self) -> &SearchPath {
        &self.search
    }

    /// Unit files as they are now.
    pub(crate) fn fresh_catalogue(&self) -> Result<Catalogue<'static>, String> {
        Catalogue::scan(self.root, self.search.clone()).map_err(|e| format!("read unit files: {e}"))
    }

    /// Whether the files say something else by now than what was read.
    pub(crate) fn is_stale(&self, live: &Live) -> bool {
        let unit = &live.rest.unit;
        let changed = |path: &String| std::fs::metadata(path).and_then(|m| m.modified()).map_or(true, |at| at > live.rest.loaded);
        let mut files = unit.fragment.iter().filter(|path| path.starts_with('/')).chain(&unit.dropins);
        if !self.root.is_host() {
            return false;
        }
        if unit.state == LoadState::Masked {
            return files.any(|path| !self.root.is_null_or_empty(path));
        }
        let names: Vec<UnitName> = std::iter::once(&unit.name).chain(&unit.aliases).cloned().collect();
        let is_new = |path: &String| !unit.dropins.contains(path) && self.root.open_file(path).is_ok();
        files.any(changed) || unit.fragment.is_some() && self.catalogue.dropins_now(&names).iter().any(is_new)
    }

    pub(crate) fn members(&self) -> &Members {
        &self.shared.members
    }

    /// Users that are there for the sake of services.
    pub(crate) fn dynamic_users(&self) -> impl Iterator<Item = (&str, u32)> {
        self.shared.dynamic.iter()
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.shared.environment
    }

    /// Units that systemd would still have in memory: they do something, or what does something leads to them.
    pub(crate) fn kept(&self) -> BTreeSet<UnitName> {
        let mut kept = BTreeSet::new();
        let mut queue: Vec<&UnitName> = self.units.values().filter(|live| !live.is_idle()).map(Live::name).collect();
        while let Some(name) = queue.pop() {
            if kept.insert(name.clone()) {
                queue.extend(self.graph.node(name).map_or(&[][..], |node| &node.dependencies).iter().map(|d| &d.to));
            }
        }
        kept
    }

    /// Whether it is one of them. From its end: what does something is near as a rule, and the whole is large.
    pub(crate) fn is_kept(&self, live: &Live) -> bool {
        let (mut seen, mut queue) = (BTreeSet::new(), vec![live.name()]);
        while let Some(name) = queue.pop() {
            if self.units.get(name).is_some_and(|live| !live.is_idle()) {
                return true;
            }
            queue.extend(self.graph.dependants(name).filter(|by| seen.insert(*by)));
        }
        false
    }

    /// A variable that this process was started with.
    pub(crate) fn inherited(&self, name: &str) -> Option<&str> {
        self.shared.inherited.get(name)
    }

    /// The number of the last job that was made.
    pub(crate) fn last_job(&self) -> u32 {
        self.next_job.wrapping_sub(1)
    }

    pub(crate) fn depends(&self, live: &Live) -> Vec<crate::depend::Dependency> {
        self.dependencies(&live.rest.unit)
    }

    /// The jobs of one wish; the number of the one that was asked for.
    pub(crate) fn try_job(&mut self, kind: JobType, mode: JobMode, unit: &UnitName) -> Result<u32, JobFault> {
        if self.end.is_some() {
            return Err(JobFault::Ending);
        }
        // a file that came since is found without a reload, as systemd does
        let state = self.unit(unit).map(|live| live.rest.unit.state.clone()).unwrap_or_else(|| self.read(unit).state);
        if state == LoadState::NotFound {
            // others may have asked for it before it came, or for what came with it
            let _ = self.read_again(|unit| unit.state == LoadState::NotFound);
        }
        // what is not in memory and has no file is not loaded, whatever is asked
        let unloaded = self.unit(unit).is_none_or(|live| live.rest.unit.state == LoadState::NotFound && live.active().is_down());
        if kind == JobType::Stop && unloaded && self.read(unit).state == LoadState::NotFound {
            return Err(JobFault::NotLoaded(unit.clone()));
        }
        // before it is looked for, as there
        if mode == JobMode::Isolate && unloaded {
            return Err(JobFault::Fault(crate::transaction::Fault::NoIsolate(unit.clone())));
        }
        self.enqueue(unit, kind, mode).map_err(JobFault::Fault)
    }

    /// A job number that nobody has, for what needs no job.
    pub(crate) fn done_at_once(&mut self, unit: &UnitName) -> u32 {
        let id = self.next_id();
        self.finished.push(super::Finished { id, unit: unit.clone(), result: super::state::JobResult::Done });
        id
    }

    /// [`Manager::ask`] for what can only be done or refused.
    pub(crate) fn wish(&mut self, request: super::query::Request) -> Result<(), String> {
        match self.ask(request) {
            Answer::Refused(refusal) => Err(refusal.text),
            _ => Ok(()),
        }
    }
}
