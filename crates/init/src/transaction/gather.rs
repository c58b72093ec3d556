//! Which jobs a job asks for.

use hostel_unit::UnitName;

use super::{Draft, Drafted, Fault, JobId, JobMode, JobType, Link};
use crate::depend::Relation;
use crate::load::LoadState;

/// A job that is wanted.
struct Wish {
    unit: UnitName,
    kind: JobType,
    link: Link,
    /// That it cannot be is passed over.
    lenient: bool,
}

impl Draft<'_> {
    /// Adds the anchor and everything that it asks for.
    pub(super) fn gather(&mut self, unit: &UnitName, kind: JobType) -> Result<JobId, Fault> {
        let kind = kind.collapsed(self.is_active(unit));
        let anchor = Link { by: None, required: true, conflicts: false };
        let (id, _) = self.add(unit, kind, anchor)?;
        if kind != JobType::Nop {
            self.follow(id)?;
        }
        Ok(id)
    }

    /// Follows a job's dependencies, and theirs. What a required one cannot have ends it; what a wanted one cannot have, that one only.
    fn follow(&mut self, first: JobId) -> Result<(), Fault> {
        if matches!(self.mode, JobMode::IgnoreDependencies | JobMode::IgnoreRequirements) {
            return Ok(());
        }
        // depth first, each with the wishes that are left: a failure unwinds to the last wish that may fail
        let mut stack: Vec<(JobId, std::vec::IntoIter<Wish>, bool)> = vec![(first, self.wishes(first).into_iter(), false)];
        while let Some((_, wishes, _)) = stack.last_mut() {
            let Some(wish) = wishes.next() else {
                stack.pop();
                continue;
            };
            match self.add(&wish.unit, wish.kind, wish.link) {
                Ok((id, true)) => {
                    let more = self.wishes(id).into_iter();
                    stack.push((id, more, wish.lenient));
                }
                Ok((_, false)) => {}
                Err(_) if wish.lenient => {}
                Err(fault) => self.unwind(&mut stack, fault)?,
            }
        }
        Ok(())
    }

    /// Takes back jobs up to the nearest that was only wanted; none: the fault stands.
    fn unwind(&mut self, stack: &mut Vec<(JobId, std::vec::IntoIter<Wish>, bool)>, fault: Fault) -> Result<(), Fault> {
        while let Some((id, _, lenient)) = stack.pop() {
            if stack.is_empty() {
                return Err(fault);
            }
            self.delete(id, true);
            if lenient {
                return Ok(());
            }
        }
        Err(fault)
    }

    /// Adds a job, or one more reason for it; whether it is new.
    fn add(&mut self, unit: &UnitName, kind: JobType, link: Link) -> Result<(JobId, bool), Fault> {
        let unit = self.graph.own(unit).clone();
        let known = self.of_unit.get(&unit).and_then(|list| list.iter().copied().find(|id| self.job(*id).is_some_and(|job| job.kind == kind)));
        if let Some(id) = known {
            if let Some(job) = &mut self.jobs[id] {
                job.links.push(link);
            }
            return Ok((id, false));
        }
        self.usable(&unit, kind)?;
        let id = self.jobs.len();
        self.jobs.push(Some(Drafted { unit: unit.clone(), kind, matters: false, links: vec![link] }));
        self.of_unit.entry(unit).or_default().push(id);
        Ok((id, true))
    }

    fn usable(&self, unit: &UnitName, kind: JobType) -> Result<(), Fault> {
        let Some(node) = self.graph.node(unit) else { return Err(Fault::NotFound(unit.clone())) };
        if kind != JobType::Stop {
            match &node.state {
                LoadState::Loaded => {}
                LoadState::NotFound => return Err(Fault::NotFound(unit.clone())),
                LoadState::Masked => return Err(Fault::Masked(unit.clone())),
                LoadState::BadSetting(_) => return Err(Fault::BadSetting(unit.clone())),
                LoadState::Error(why) => return Err(Fault::Load(unit.clone(), why.clone())),
            }
        }
        if kind == JobType::Reload && !node.can_reload {
            return Err(Fault::NotApplicable(unit.clone(), kind.word()));
        }
        Ok(())
    }

    fn wishes(&self, by: JobId) -> Vec<Wish> {
        let Some(job) = self.job(by) else { return Vec::new() };
        let (unit, kind) = (&job.unit, job.kind);
        let mut wishes = Vec::new();
        let mut wish = |units: Vec<&UnitName>, kind: JobType, required: bool, conflicts: bool, lenient: bool| {
            for unit in units {
                wishes.push(Wish { unit: unit.clone(), kind, link: Link { by: Some(by), required, conflicts }, lenient });
            }
        };
        let to = |relation| self.graph.to(unit, relation).collect::<Vec<_>>();
        let from = |relation| self.graph.from(unit, relation).collect::<Vec<_>>();
        if matches!(kind, JobType::Start | JobType::Restart) {
            wish(to(Relation::Requires), JobType::Start, true, false, false);
            wish(to(Relation::BindsTo), JobType::Start, true, false, false);
            wish(to(Relation::Wants), JobType::Start, false, false, true);
            wish(to(Relation::Upholds), JobType::Start, false, false, true);
            wish(to(Relation::Requisite), JobType::VerifyActive, true, false, false);
            wish(to(Relation::Conflicts), JobType::Stop, true, true, false);
            wish(from(Relation::Conflicts), JobType::Stop, false, false, true);
        }
        if matches!(kind, JobType::Stop | JobType::Restart) {
            let followers = [Relation::Requires, Relation::BindsTo, Relation::PartOf, Relation::Requisite];
            for relation in followers {
                for other in from(relation) {
                    // what is down stays down when this one is restarted
                    let next = if kind == JobType::Stop { JobType::Stop } else { JobType::TryRestart.collapsed(self.is_active(other)) };
                    if next != JobType::Nop {
                        wish(vec![other], next, true, false, false);
                    }
                }
            }
            if kind == JobType::Stop {
                wish(to(Relation::PropagatesStopTo), JobType::Stop, true, false, false);
                wish(from(Relation::StopPropagatedFrom), JobType::Stop, true, false, false);
            }
        }
        if kind == JobType::Reload {
            let followers = to(Relation::PropagatesReloadTo).into_iter().chain(from(Relation::ReloadPropagatedFrom));
            let followers: Vec<_> = followers.filter(|other| self.is_active(other) && self.graph.node(other).is_some_and(|n| n.can_reload)).collect();
            wish(followers, JobType::Reload, false, false, true);
        }
        wishes
    }

    /// Jobs that the mode adds to those of the anchor.
    pub(super) fn settle_mode(&mut self, anchor: &UnitName) {
        let extra = Link { by: None, required: false, conflicts: false };
        match self.mode {
            JobMode::Isolate => {
                let others: Vec<UnitName> = self.graph.iter().map(|(name, _)| name.clone()).collect();
                for other in others {
                    let Some(node) = self.graph.node(&other) else { continue };
                    let has_job = self.of_unit.get(&other).is_some_and(|list| !list.is_empty());
                    // that it cannot be stopped is passed over, as for what is only wanted
                    if !node.ignore_on_isolate && !has_job && (node.is_active || node.job.is_some()) {
                        self.add_lenient(&other, JobType::Stop, extra);
                    }
                }
            }
            JobMode::Triggering => {
                let triggers: Vec<UnitName> = self.graph.from(anchor, Relation::Triggers).filter(|t| self.is_active(t)).cloned().collect();
                for trigger in &triggers {
                    self.add_lenient(trigger, JobType::Stop, extra);
                }
            }
            JobMode::RestartDependencies => {
                let followers = [Relation::Requires, Relation::BindsTo, Relation::PartOf];
                let followers: Vec<UnitName> =
                    followers.iter().flat_map(|r| self.graph.from(anchor, *r)).filter(|o| self.is_active(o)).cloned().collect();
                for follower in followers {
                    self.add_lenient(&follower, JobType::Restart, extra);
                }
            }
            _ => {}
        }
    }

    fn add_lenient(&mut self, unit: &UnitName, kind: JobType, link: Link) {
        if let Ok((id, true)) = self.add(unit, kind, link)
            && self.follow(id).is_err()
        {
            self.delete(id, true);
        }
    }
}
