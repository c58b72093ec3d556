//! The order of jobs, and cycles in it.

use std::collections::{BTreeMap, BTreeSet};

use hostel_unit::{Gather as _, UnitName};

use super::{Draft, Fault, Job, JobId, JobType};
use crate::depend::Relation;

impl Draft<'_> {
    /// For each unit with a job those whose jobs come before it.
    ///
    /// Of two that are ordered, whatever is stopped is stopped first: `a` before `b` starts a, then b; but b stops before a does anything.
    fn earlier(&self) -> BTreeMap<&UnitName, BTreeSet<&UnitName>> {
        let kinds: BTreeMap<&UnitName, Vec<JobType>> = self
            .of_unit
            .iter()
            .filter(|(_, l)| !l.is_empty())
            .map(|(u, l)| (u, l.iter().filter_map(|id| self.job(*id)).map(|j| j.kind).collect()))
            .gather();
        let stops = |unit: &UnitName| kinds.get(unit).is_some_and(|k| k.iter().any(|kind| matches!(kind, JobType::Stop | JobType::Restart)));
        let mut earlier: BTreeMap<&UnitName, BTreeSet<&UnitName>> = kinds.keys().map(|unit| (*unit, BTreeSet::new())).gather();
        let mut order = |first: &UnitName, second: &UnitName| {
            let (Some((first, a)), Some((second, b))) = (kinds.get_key_value(first), kinds.get_key_value(second)) else { return };
            if a.iter().chain(b).any(|kind| *kind == JobType::Nop) {
                return;
            }
            let (before, after) = if stops(second) { (*second, *first) } else { (*first, *second) };
            if let Some(list) = earlier.get_mut(after) {
                list.insert(before);
            }
        };
        for unit in kinds.keys() {
            for other in self.graph.to(unit, Relation::After) {
                order(other, unit);
            }
            for other in self.graph.to(unit, Relation::Before) {
                order(unit, other);
            }
        }
        earlier
    }

    /// Units in a circle, if there is one; deterministic.
    pub(super) fn cycle(&self) -> Option<Vec<UnitName>> {
        let earlier = self.earlier();
        let mut done: BTreeSet<&UnitName> = BTreeSet::new();
        for start in earlier.keys() {
            // without recursion: thousands of units may stand in a line
            let mut path: Vec<(&UnitName, std::vec::IntoIter<&UnitName>)> = Vec::new();
            let mut on_path: BTreeSet<&UnitName> = BTreeSet::new();
            let next = |unit: &UnitName| earlier.get(unit).map(|set| set.iter().copied().collect::<Vec<_>>()).unwrap_or_default().into_iter();
            if done.contains(start) {
                continue;
            }
            path.push((start, next(start)));
            on_path.insert(start);
            while let Some((unit, rest)) = path.last_mut() {
                let unit = *unit;
                match rest.next() {
                    Some(other) if on_path.contains(other) => {
                        let from = path.iter().position(|(u, _)| *u == other).unwrap_or(0);
                        return Some(path[from..].iter().map(|(u, _)| (*u).clone()).collect());
                    }
                    Some(other) if done.contains(other) => {}
                    Some(other) => {
                        on_path.insert(other);
                        path.push((other, next(other)));
                    }
                    None => {
                        done.insert(unit);
                        on_path.remove(unit);
                        path.pop();
                    }
                }
            }
        }
        None
    }

    /// Drops the jobs of one unit of the circle that does not matter; which.
    pub(super) fn break_cycle(&mut self, cycle: &[UnitName]) -> Result<UnitName, Fault> {
        let ids = |draft: &Self, unit: &UnitName| -> Vec<JobId> { draft.of_unit.get(unit).cloned().unwrap_or_default() };
        // the last found is dropped, as in systemd's walk back along the circle
        let unimportant = cycle.iter().rev().find(|unit| ids(self, unit).iter().all(|id| self.job(*id).is_some_and(|job| !job.matters)));
        let Some(unit) = unimportant.cloned() else { return Err(Fault::Cyclic(cycle.to_vec())) };
        for id in ids(self, &unit) {
            self.delete(id, true);
        }
        Ok(unit)
    }

    /// The jobs in an order in which they may run, by name where it does not matter.
    pub(super) fn in_order(&self) -> Vec<Job> {
        let earlier = self.earlier();
        let mut waiting: BTreeMap<&UnitName, BTreeSet<&UnitName>> = earlier.clone();
        let mut later: BTreeMap<&UnitName, Vec<&UnitName>> = BTreeMap::new();
        for (unit, set) in &earlier {
            for before in set {
                later.entry(before).or_default().push(unit);
            }
        }
        let mut ready: BTreeSet<&UnitName> = waiting.iter().filter(|(_, set)| set.is_empty()).map(|(unit, _)| *unit).gather();
        let mut jobs = Vec::new();
        while let Some(unit) = ready.pop_first() {
            if let Some(job) = self.of_unit.get(unit).and_then(|list| list.first()).and_then(|id| self.job(*id)) {
                let because = if job.links.iter().any(|l| l.by.is_none() && l.required) {
                    None
                } else {
                    let strongest = job.links.iter().find(|l| l.required).or(job.links.first());
                    strongest.and_then(|l| l.by).and_then(|by| self.job(by)).map(|by| by.unit.clone())
                };
                let after = earlier.get(unit).map(|set| set.iter().map(|u| (*u).clone()).collect()).unwrap_or_default();
                jobs.push(Job { unit: unit.clone(), kind: job.kind, because, after });
            }
            for next in later.get(unit).map_or(&[][..], Vec::as_slice) {
                if let Some(set) = waiting.get_mut(next) {
                    set.remove(unit);
                    if set.is_empty() {
                        ready.insert(next);
                    }
                }
            }
        }
        jobs
    }
}
