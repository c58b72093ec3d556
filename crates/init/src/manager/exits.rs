//! What the end of a process means: clean or not, started again or not, too often or not. Pure tables.

use std::time::{Duration, Instant};

use hostel_sys::clone::WaitStatus;

use super::state::Outcome;
use crate::value::Status;

/// Which ends count as clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clean {
    /// A daemon may also be ended by the usual signals.
    Daemon,
    /// A command ends with status 0.
    Command,
}

const HUP: i32 = 1;
const INT: i32 = 2;
const PIPE: i32 = 13;
const TERM: i32 = 15;

/// Whether one of a list of statuses and signals is how a process ended.
pub fn listed(list: &[Status], end: WaitStatus) -> bool {
    list.iter().any(|status| match (status, end) {
        (Status::Exit(code), WaitStatus::Exited(found)) => i32::from(*code) == found,
        (Status::Signal(wanted), WaitStatus::Signaled { signal, .. }) => wanted.raw() == signal,
        _ => false,
    })
}

/// What an end comes to. `success` is SuccessExitStatus=.
pub fn outcome(end: WaitStatus, clean: Clean, success: &[Status]) -> Outcome {
    match end {
        _ if listed(success, end) => Outcome::Success,
        WaitStatus::Exited(0) => Outcome::Success,
        WaitStatus::Exited(_) => Outcome::ExitCode,
        WaitStatus::Signaled { core: true, .. } => Outcome::CoreDump,
        WaitStatus::Signaled { signal: HUP | INT | PIPE | TERM, .. } if clean == Clean::Daemon => Outcome::Success,
        WaitStatus::Signaled { .. } => Outcome::Signal,
        WaitStatus::Stopped(_) | WaitStatus::Continued => Outcome::Success,
    }
}

/// Restart=
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Restart {
    #[default]
    No,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnWatchdog,
    OnAbort,
    Always,
}

impl Restart {
    /// By its word; what is none of them is `no`.
    pub fn of(word: &str) -> Restart {
        match word {
            "on-success" => Restart::OnSuccess,
            "on-failure" => Restart::OnFailure,
            "on-abnormal" => Restart::OnAbnormal,
            "on-watchdog" => Restart::OnWatchdog,
            "on-abort" => Restart::OnAbort,
            "always" => Restart::Always,
            _ => Restart::No,
        }
    }

    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            Restart::No => "no",
            Restart::OnSuccess => "on-success",
            Restart::OnFailure => "on-failure",
            Restart::OnAbnormal => "on-abnormal",
            Restart::OnWatchdog => "on-watchdog",
            Restart::OnAbort => "on-abort",
            Restart::Always => "always",
        }
    }

    /// The table of systemd.service(5), "Exit causes and the effect of the Restart= settings". A start that was refused by the
    /// limit or skipped by its condition is never tried again.
    pub fn applies_to(self, outcome: Outcome) -> bool {
        use Restart::{Always, No, OnAbnormal, OnAbort, OnFailure, OnSuccess, OnWatchdog};
        let list: &[Restart] = match outcome {
            Outcome::Success => &[Always, OnSuccess],
            Outcome::ExitCode | Outcome::Resources | Outcome::Protocol => &[Always, OnFailure],
            Outcome::Signal | Outcome::CoreDump => &[Always, OnFailure, OnAbnormal, OnAbort],
            Outcome::Timeout | Outcome::OomKill => &[Always, OnFailure, OnAbnormal],
            Outcome::Watchdog => &[Always, OnFailure, OnAbnormal, OnWatchdog],
            Outcome::StartLimitHit
            | Outcome::ExecCondition
            | Outcome::TriggerLimitHit
            | Outcome::ServiceStartLimitHit
            | Outcome::UnitStartLimitHit => &[],
        };
        self != No && list.contains(&self)
    }
}

/// StartLimitIntervalSec= and StartLimitBurst=: a window that begins with its first start.
#[derive(Debug, Clone, Copy)]
pub struct StartLimit {
    /// No limit when zero.
    pub interval: Duration,
    /// No limit when zero.
    pub burst: u32,
    begin: Option<Instant>,
    count: u32,
}

impl StartLimit {
    /// Nothing counted yet.
    pub fn new(interval: Duration, burst: u32) -> StartLimit {
        StartLimit { interval, burst, begin: None, count: 0 }
    }

    /// Counts a start; false when there were too many.
    pub fn allows(&mut self, now: Instant) -> bool {
        if self.interval.is_zero() || self.burst == 0 {
            return true;
        }
        let fresh = self.begin.is_none_or(|begin| now.saturating_duration_since(begin) >= self.interval);
        if fresh {
            self.begin = Some(now);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count <= self.burst
    }

    /// What it has counted: how many, since when.
    pub fn save(&self) -> (u32, Option<Instant>) {
        (self.count, self.begin)
    }

    /// It has counted that before.
    pub fn again(&mut self, count: u32, begin: Option<Instant>) {
        (self.count, self.begin) = (count, begin);
    }

    /// `reset-failed`
    pub fn forget(&mut self) {
        self.begin = None;
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hostel_spec::Signal;

    const SEGV: WaitStatus = WaitStatus::Signaled { signal: 11, core: false };
    const CORE: WaitStatus = WaitStatus::Signaled { signal: 11, core: true };
    const TERMED: WaitStatus = WaitStatus::Signaled { signal: TERM, core: false };

    #[test]
    fn ends() {
        #[rustfmt::skip]
        let table = [
            (WaitStatus::Exited(0), Clean::Daemon, &[][..], Outcome::Success),
            (WaitStatus::Exited(3), Clean::Daemon, &[], Outcome::ExitCode),
            (WaitStatus::Exited(3), Clean::Daemon, &[Status::Exit(3)], Outcome::Success),
            (TERMED, Clean::Daemon, &[], Outcome::Success),
            (TERMED, Clean::Command, &[], Outcome::Signal),
            (WaitStatus::Signaled { signal: HUP, core: false }, Clean::Daemon, &[], Outcome::Success),
            (WaitStatus::Signaled { signal: 9, core: false }, Clean::Daemon, &[], Outcome::Signal),
            (WaitStatus::Signaled { signal: 9, core: false }, Clean::Daemon, &[Status::Signal(Signal::KILL)], Outcome::Success),
            (SEGV, Clean::Daemon, &[], Outcome::Signal),
            (CORE, Clean::Daemon, &[], Outcome::CoreDump),
        ];
        for (end, clean, success, expected) in table {
            assert_eq!(outcome(end, clean, success), expected, "{end:?} {clean:?} {success:?}");
        }
    }

    /// The manual's table, cause by cause, in its order of columns.
    #[test]
    fn restart_table() {
        let columns =
            [Restart::No, Restart::Always, Restart::OnSuccess, Restart::OnFailure, Restart::OnAbnormal, Restart::OnAbort, Restart::OnWatchdog];
        #[rustfmt::skip]
        let rows = [
            (Outcome::Success,   [0, 1, 1, 0, 0, 0, 0]),
            (Outcome::ExitCode,  [0, 1, 0, 1, 0, 0, 0]),
            (Outcome::Signal,    [0, 1, 0, 1, 1, 1, 0]),
            (Outcome::CoreDump,  [0, 1, 0, 1, 1, 1, 0]),
            (Outcome::Timeout,   [0, 1, 0, 1, 1, 0, 0]),
            (Outcome::Watchdog,  [0, 1, 0, 1, 1, 0, 1]),
            (Outcome::StartLimitHit, [0; 7]),
            (Outcome::ExecCondition, [0; 7]),
        ];
        for (outcome, expected) in rows {
            for (column, expected) in columns.iter().zip(expected) {
                assert_eq!(column.applies_to(outcome), expected == 1, "{column:?} {outcome:?}");
                assert_eq!(Restart::of(column.word()), *column);
            }
        }
    }

    #[test]
    fn start_limit() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut limit = StartLimit::new(Duration::from_secs(10), 3);
        assert_eq!([0, 1, 2].map(|s| limit.allows(at(s))), [true; 3]);
        // also what was refused counts, and the window does not move
        assert!(!limit.allows(at(3)) && !limit.allows(at(9)));
        assert!(limit.allows(at(10)));
        limit.forget();
        assert_eq!([10, 10, 10, 10].map(|s| limit.allows(at(s))), [true, true, true, false]);
        assert!((0..100).all(|_| StartLimit::new(Duration::ZERO, 1).allows(begin)));
        let mut none = StartLimit::new(Duration::from_secs(1), 0);
        assert!((0..100).all(|_| none.allows(begin)));
    }
}
