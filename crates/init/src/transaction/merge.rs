//! One job per unit: merge what can be, drop what need not be.

use super::{Draft, Fault, JobId, JobType, Link};

impl Draft<'_> {
    /// Merges the jobs of every unit; a contradiction is settled by dropping the job that does not matter.
    pub(super) fn merge(&mut self, anchor: JobId) -> Result<(), Fault> {
        while let Some((a, b)) = self.contradiction() {
            let loser = self.loser(a, b)?;
            self.delete(loser, true);
            self.collect_garbage(anchor);
        }
        let units: Vec<_> = self.of_unit.iter().filter(|(_, list)| list.len() > 1).map(|(unit, _)| unit.clone()).collect();
        for unit in units {
            let list = self.of_unit.get(&unit).cloned().unwrap_or_default();
            // the anchor stays what is pointed at
            let keep = if list.contains(&anchor) { anchor } else { list[0] };
            let active = self.is_active(&unit);
            let kinds = list.iter().filter_map(|id| self.job(*id)).map(|job| job.kind);
            let Some(kind) = kinds.reduce(|a, b| a.merged(b, active).unwrap_or(a)) else { continue };
            let matters = list.iter().any(|id| self.job(*id).is_some_and(|job| job.matters));
            let mut links: Vec<Link> = Vec::new();
            for id in list.iter().filter(|id| **id != keep) {
                links.extend(self.jobs[*id].take().into_iter().flat_map(|job| job.links));
                for job in self.jobs.iter_mut().flatten() {
                    job.links.iter_mut().filter(|l| l.by == Some(*id)).for_each(|l| l.by = Some(keep));
                }
            }
            if let Some(job) = &mut self.jobs[keep] {
                job.kind = kind;
                job.matters |= matters;
                job.links.extend(links);
            }
            self.of_unit.insert(unit, vec![keep]);
        }
        Ok(())
    }

    /// Two jobs of one unit that cannot both be.
    fn contradiction(&self) -> Option<(JobId, JobId)> {
        for (unit, list) in &self.of_unit {
            let active = self.is_active(unit);
            for (i, a) in list.iter().enumerate() {
                for b in &list[i + 1..] {
                    let (one, other) = (self.job(*a)?, self.job(*b)?);
                    if one.kind.merged(other.kind, active).is_none() {
                        return Some((*a, *b));
                    }
                }
            }
        }
        None
    }

    /// Which of two has to go.
    fn loser(&self, a: JobId, b: JobId) -> Result<JobId, Fault> {
        let (Some(one), Some(other)) = (self.job(a), self.job(b)) else { return Ok(a) };
        match (one.matters, other.matters) {
            (true, false) => return Ok(b),
            (false, true) => return Ok(a),
            (true, true) => return Err(Fault::Contradiction(one.unit.clone(), one.kind.word(), other.kind.word())),
            (false, false) => {}
        }
        // a stop that a unit asks for by its own Conflicts= wins, other stops lose
        let by_conflict = |id: JobId| self.job(id).is_some_and(|job| job.links.iter().any(|link| link.conflicts));
        let (stop, go) = if one.kind == JobType::Stop { (a, b) } else { (b, a) };
        Ok(if by_conflict(stop) { go } else { stop })
    }
}
