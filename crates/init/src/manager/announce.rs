//! What is said of jobs: "Starting …", "Started …", as systemd says it, for the log only.

use hostel_unit::{Kind, UnitName};

use super::config::Type;
use super::state::JobResult;
use super::{Job, Manager};
use crate::journal::record::Field;
use crate::transaction::JobType;

/// systemd's MESSAGE_ID for the beginning and the good end of a job, and for a bad one.
const IDS: [(JobType, &str, &str); 3] = [
    (JobType::Start, "7d4958e842da4a758f6c1cdc7b36dcc5", "39f53479d3a045ac8e11786248231fbf"),
    (JobType::Stop, "de5b426a63be47a7b6ac3eaac82e2f6f", "9d1aaa27d60140bd96365438aad20286"),
    (JobType::Reload, "d34d037fff1847e6ae669a370e694725", "7b05ebc668384222baa8881179cfda54"),
];
const FAILED: &str = "be02cf6855d2428ba40df7e9d022f03d";

impl Manager {
    /// A job of a service was begun.
    pub(super) fn announce_begin(&mut self, unit: &UnitName, kind: JobType) {
        let Some((_, id, _)) = IDS.iter().find(|(known, _, _)| *known == kind) else { return };
        let verb = match kind {
            JobType::Start => "Starting",
            JobType::Stop => "Stopping",
            _ => "Reloading",
        };
        let text = format!("{verb} {}...", self.title(unit));
        self.announce(unit, kind, &text, 6, &[("MESSAGE_ID", id.as_bytes())]);
    }

    /// A job that was begun has ended.
    pub(super) fn announce_end(&mut self, job: &Job, result: JobResult) {
        let (unit, kind) = (&job.unit, if job.kind == JobType::Restart { JobType::Stop } else { job.kind });
        let Some((_, _, id)) = IDS.iter().find(|(known, _, _)| *known == kind) else { return };
        let (is_target, is_socket) = (unit.kind() == Kind::Target, unit.kind() == Kind::Socket);
        let is_oneshot = self.unit(unit).and_then(|live| live.service.as_ref()).is_some_and(|s| s.config.kind == Type::Oneshot);
        let (good, bad) = match kind {
            JobType::Start if is_target => ("Reached target", "Failed to reach target"),
            JobType::Start if is_socket => ("Listening on", "Failed to listen on"),
            JobType::Stop if is_socket => ("Closed", "Failed to close"),
            JobType::Start if is_oneshot => ("Finished", "Failed to start"),
            JobType::Start => ("Started", "Failed to start"),
            JobType::Stop if is_target => ("Stopped target", "Failed to stop target"),
            JobType::Stop => ("Stopped", "Failed to stop"),
            _ => ("Reloaded", "Reload failed for"),
        };
        let title = self.title(unit);
        let word = ("JOB_RESULT", result.word().as_bytes());
        match result {
            JobResult::Done => self.announce(unit, kind, &format!("{good} {title}."), 6, &[("MESSAGE_ID", id.as_bytes()), word]),
            JobResult::Failed | JobResult::Timeout => {
                self.announce(unit, kind, &format!("{bad} {title}."), 3, &[("MESSAGE_ID", FAILED.as_bytes()), word]);
            }
            _ => {}
        }
    }

    pub(super) fn announce(&mut self, unit: &UnitName, kind: JobType, text: &str, priority: u8, more: &[Field<'_>]) {
        let invocation = self.unit(unit).map_or_else(String::new, |live| live.rest.marks.invocation.clone());
        let mut fields: Vec<Field<'_>> = vec![("JOB_TYPE", kind.word().as_bytes())];
        if !invocation.is_empty() {
            fields.push(("INVOCATION_ID", invocation.as_bytes()));
        }
        fields.extend_from_slice(more);
        self.shared.log.own_entry(Some(unit.as_str()), text, priority, &fields, false);
    }

    /// `a.service - Description`
    pub(super) fn title(&self, unit: &UnitName) -> String {
        match self.unit(unit).map(|live| live.rest.unit.description()) {
            Some(description) if description != unit.as_str() => format!("{unit} - {description}"),
            _ => unit.to_string(),
        }
    }
}
