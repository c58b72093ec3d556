//! What follows when a unit ends, fails, takes too long, or is not needed any more.

use std::time::Instant;

use hostel_unit::UnitName;

use super::state::{Active, JobResult, Outcome};
use super::{End, Manager};
use crate::depend::Relation;
use crate::transaction::{JobMode, JobType};
use crate::value::Value;

impl Manager {
    /// SuccessAction=, FailureAction= or StartLimitAction= of a unit that went down.
    pub(super) fn act_upon(&mut self, name: &UnitName, new: Active, result: Outcome) {
        let good = matches!(result, Outcome::Success | Outcome::ExecCondition);
        match new {
            Active::Failed if result == Outcome::StartLimitHit => {
                self.act(name, "StartLimitAction", "FailureActionExitStatus");
                self.act(name, "FailureAction", "FailureActionExitStatus");
            }
            Active::Failed => self.act(name, "FailureAction", "FailureActionExitStatus"),
            Active::Inactive if good => self.act(name, "SuccessAction", "SuccessActionExitStatus"),
            _ => {}
        }
    }

    /// Does what a unit's key says is to be done with the machine.
    fn act(&mut self, name: &UnitName, key: &'static str, status: &str) {
        let Some(live) = self.units.get(name) else { return };
        let settings = &live.rest.unit.settings;
        let Some(action) = settings.text("Unit", key).filter(|action| *action != "none").map(str::to_owned) else { return };
        let said = settings.text("Unit", status).and_then(|text| text.parse::<u8>().ok());
        let main = live.service.as_ref().and_then(|s| s.main_run).and_then(|run| run.ended).and_then(|(_, end)| u8::try_from(end.shell_code()).ok());
        let end = match action.split('-').next().unwrap_or_default() {
            "reboot" => Some(End::Reboot),
            "poweroff" => Some(End::PowerOff),
            "halt" => Some(End::Halt),
            "exit" => Some(End::Exit(said.or(main).unwrap_or(if key == "SuccessAction" { 0 } else { 1 }))),
            // kexec and soft-reboot have no meaning in a machine
            _ => None,
        };
        match end {
            Some(end) => {
                self.shared.log.own(Some(name.as_str()), &format!("{key}={action}: the machine ends"));
                self.at_once |= action.ends_with("-force") || action.ends_with("-immediate");
                self.shut_down(end);
            }
            None => self.complain(name, Some(format!("{key}={action} is not possible in a machine"))),
        }
    }

    /// JobTimeoutSec= or JobRunningTimeoutSec= as a moment.
    pub(super) fn job_limit(&self, unit: &UnitName, key: &str) -> Option<Instant> {
        match self.units.get(unit)?.rest.unit.settings.last("Unit", key)? {
            Value::Span(hostel_unit::Span::Micros(micros)) if *micros > 0 => Instant::now().checked_add(std::time::Duration::from_micros(*micros)),
            _ => None,
        }
    }

    /// Jobs that have taken too long are over; what they began goes on.
    pub(super) fn jobs_elapse(&mut self, now: Instant) {
        let late: Vec<(u32, UnitName)> =
            self.jobs.values().filter(|job| job.until.is_some_and(|at| at <= now)).map(|job| (job.id, job.unit.clone())).collect();
        for (id, unit) in late {
            self.shared.log.own(Some(unit.as_str()), "Job timed out.");
            self.finish(id, JobResult::Timeout);
            self.act(&unit, "JobTimeoutAction", "FailureActionExitStatus");
        }
    }

    /// Stops units with StopWhenUnneeded=yes that no unit needs which is up or on its way: this one, or those that it needed.
    pub(super) fn look_for_unneeded(&mut self, name: &UnitName, new: Active) {
        if self.end.is_some() {
            return;
        }
        let mut candidates: Vec<UnitName> = Vec::new();
        if new.is_up() {
            candidates.push(name.clone());
        } else if new.is_down() {
            let needed = self.graph.node(name).map_or(&[][..], |node| &node.dependencies).iter();
            candidates.extend(needed.filter(|d| d.relation.pulls_in() || d.relation == Relation::Requisite).map(|d| d.to.clone()));
        }
        for candidate in candidates {
            let Some(live) = self.units.get(&candidate) else { continue };
            if !live.active().is_up() || live.job.is_some() || !live.rest.unit.settings.bool("Unit", "StopWhenUnneeded", false) {
                continue;
            }
            let by = [Relation::Requires, Relation::Requisite, Relation::Wants, Relation::BindsTo, Relation::Upholds];
            let needs = |by: &UnitName| self.units.get(by).is_some_and(|live| !live.active().is_down() || live.job.is_some());
            let is_needed = by.iter().flat_map(|relation| self.graph.from(&candidate, *relation)).any(needs);
            if !is_needed {
                self.shared.log.own(Some(candidate.as_str()), "Unit not needed anymore. Stopping.");
                // it is asked again with the next change
                let _ = self.enqueue(&candidate, JobType::Stop, JobMode::Fail);
            }
        }
    }
}
