//! Kinds of jobs, how two of one unit become one, and job modes.

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum JobType {
    Start,
    VerifyActive,
    Stop,
    Reload,
    Restart,
    TryRestart,
    TryReload,
    ReloadOrStart,
    Nop,
}

use JobType::{Nop, Reload, ReloadOrStart, Restart, Start, Stop, TryReload, TryRestart, VerifyActive};

impl JobType {
    /// As systemd's list-jobs prints it.
    pub fn word(self) -> &'static str {
        match self {
            Start => "start",
            VerifyActive => "verify-active",
            Stop => "stop",
            Reload => "reload",
            Restart => "restart",
            TryRestart => "try-restart",
            TryReload => "try-reload",
            ReloadOrStart => "reload-or-start",
            Nop => "nop",
        }
    }

    /// What it comes to in a unit that is up, or not.
    pub(crate) fn collapsed(self, active: bool) -> JobType {
        match (self, active) {
            (TryRestart, true) => Restart,
            (TryReload | ReloadOrStart, true) => Reload,
            (ReloadOrStart, false) => Start,
            (TryRestart | TryReload, false) => Nop,
            (other, _) => other,
        }
    }

    /// One job for two; `None` when both cannot be.
    pub(crate) fn merged(self, other: JobType, active: bool) -> Option<JobType> {
        let (a, b) = if self <= other { (self, other) } else { (other, self) };
        Some(match (a, b) {
            _ if a == b => a,
            (a, Nop) => a,
            (Start, VerifyActive) => Start,
            (Start, Reload) => ReloadOrStart.collapsed(active),
            (Start, Restart) => Restart,
            (VerifyActive, Reload) => Reload,
            (VerifyActive | Reload, Restart) => Restart,
            _ => return None,
        })
    }

    /// Whether a waiting job and a new one cannot be merged.
    pub(crate) fn conflicts_with(self, other: JobType) -> bool {
        self.merged(other, false).is_none()
    }

    /// Whether there is nothing to do.
    pub(super) fn is_redundant(self, active: bool) -> bool {
        match self {
            Start | VerifyActive => active,
            Stop => !active,
            Nop => true,
            _ => false,
        }
    }
}

/// How a transaction meets jobs that wait, and what it does to other units (`--job-mode=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum JobMode {
    Fail,
    Lenient,
    Replace,
    ReplaceIrreversibly,
    Isolate,
    Flush,
    IgnoreDependencies,
    IgnoreRequirements,
    Triggering,
    RestartDependencies,
}

impl JobType {
    /// The kind of a word, as list-jobs and the control socket say it.
    pub fn parse(text: &str) -> Option<JobType> {
        [Start, VerifyActive, Stop, Reload, Restart, TryRestart, TryReload, ReloadOrStart, Nop].into_iter().find(|kind| kind.word() == text)
    }
}

impl JobMode {
    /// As written.
    pub fn word(self) -> &'static str {
        JobMode::ALL.iter().find(|(mode, _)| *mode == self).map_or("", |(_, name)| name)
    }

    /// Every mode by name.
    pub const ALL: [(JobMode, &'static str); 10] = [
        (JobMode::Fail, "fail"),
        (JobMode::Lenient, "lenient"),
        (JobMode::Replace, "replace"),
        (JobMode::ReplaceIrreversibly, "replace-irreversibly"),
        (JobMode::Isolate, "isolate"),
        (JobMode::Flush, "flush"),
        (JobMode::IgnoreDependencies, "ignore-dependencies"),
        (JobMode::IgnoreRequirements, "ignore-requirements"),
        (JobMode::Triggering, "triggering"),
        (JobMode::RestartDependencies, "restart-dependencies"),
    ];

    /// The mode of a name.
    pub fn parse(text: &str) -> Option<JobMode> {
        JobMode::ALL.iter().find(|(_, name)| *name == text).map(|(mode, _)| *mode)
    }
}
