//! What units are while they run: states, sub-states and results, in systemd's words.

/// How a unit is, whatever its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Active {
    Active,
    Reloading,
    Inactive,
    Failed,
    Activating,
    Deactivating,
}

impl Active {
    /// As `is-active` prints it.
    pub fn word(self) -> &'static str {
        match self {
            Active::Active => "active",
            Active::Reloading => "reloading",
            Active::Inactive => "inactive",
            Active::Failed => "failed",
            Active::Activating => "activating",
            Active::Deactivating => "deactivating",
        }
    }

    /// Whether units that need this one have what they need.
    pub fn is_up(self) -> bool {
        matches!(self, Active::Active | Active::Reloading)
    }

    /// Whether nothing of it is left.
    pub fn is_down(self) -> bool {
        matches!(self, Active::Inactive | Active::Failed)
    }
}

/// Where a service is between start and stop; the order is the one in which they are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Dead,
    Condition,
    StartPre,
    Start,
    StartPost,
    Running,
    Exited,
    Reload,
    Stop,
    StopWatchdog,
    StopSigterm,
    StopSigkill,
    StopPost,
    FinalSigterm,
    FinalSigkill,
    Failed,
    AutoRestart,
}

impl State {
    /// As SubState.
    pub fn word(self) -> &'static str {
        match self {
            State::Dead => "dead",
            State::Condition => "condition",
            State::StartPre => "start-pre",
            State::Start => "start",
            State::StartPost => "start-post",
            State::Running => "running",
            State::Exited => "exited",
            State::Reload => "reload",
            State::Stop => "stop",
            State::StopWatchdog => "stop-watchdog",
            State::StopSigterm => "stop-sigterm",
            State::StopSigkill => "stop-sigkill",
            State::StopPost => "stop-post",
            State::FinalSigterm => "final-sigterm",
            State::FinalSigkill => "final-sigkill",
            State::Failed => "failed",
            State::AutoRestart => "auto-restart",
        }
    }

    /// What that is for other units. A service of Type=idle or simple is active from its ExecStartPost= on, the others when that is done.
    pub fn active(self) -> Active {
        match self {
            State::Dead => Active::Inactive,
            State::Failed => Active::Failed,
            State::Condition | State::StartPre | State::Start | State::StartPost | State::AutoRestart => Active::Activating,
            State::Running | State::Exited => Active::Active,
            State::Reload => Active::Reloading,
            _ => Active::Deactivating,
        }
    }
}

/// Why a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    Success,
    Resources,
    Protocol,
    Timeout,
    ExitCode,
    Signal,
    CoreDump,
    Watchdog,
    OomKill,
    StartLimitHit,
    ExecCondition,
    TriggerLimitHit,
    ServiceStartLimitHit,
    UnitStartLimitHit,
}

impl Outcome {
    /// Every one.
    pub const ALL: [Outcome; 14] = {
        use Outcome::*;
        [
            Success,
            Resources,
            Protocol,
            Timeout,
            ExitCode,
            Signal,
            CoreDump,
            Watchdog,
            OomKill,
            StartLimitHit,
            ExecCondition,
            TriggerLimitHit,
            ServiceStartLimitHit,
            UnitStartLimitHit,
        ]
    };

    /// As Result.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Resources => "resources",
            Outcome::Protocol => "protocol",
            Outcome::Timeout => "timeout",
            Outcome::ExitCode => "exit-code",
            Outcome::Signal => "signal",
            Outcome::CoreDump => "core-dump",
            Outcome::Watchdog => "watchdog",
            Outcome::OomKill => "oom-kill",
            Outcome::StartLimitHit => "start-limit-hit",
            Outcome::ExecCondition => "exec-condition",
            Outcome::TriggerLimitHit => "trigger-limit-hit",
            Outcome::ServiceStartLimitHit => "service-start-limit-hit",
            Outcome::UnitStartLimitHit => "unit-start-limit-hit",
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum JobResult {
    Done,
    Canceled,
    Timeout,
    Failed,
    Dependency,
    Skipped,
    Assert,
    Unsupported,
}

impl JobResult {
    /// As JobRemoved says it.
    pub fn word(self) -> &'static str {
        match self {
            JobResult::Done => "done",
            JobResult::Canceled => "canceled",
            JobResult::Timeout => "timeout",
            JobResult::Failed => "failed",
            JobResult::Dependency => "dependency",
            JobResult::Skipped => "skipped",
            JobResult::Assert => "assert",
            JobResult::Unsupported => "unsupported",
        }
    }
}
