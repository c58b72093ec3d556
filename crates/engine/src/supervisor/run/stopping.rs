//! The way to the end: ask the init, ask again, end the others, kill.
//!
//! ```text
//!   Running ──ask──► Asking ──time nearly up──► Ending ──time up──► Killed
//!      ▲               │ every 1, 1, 2, 2, 4, 5 … s again, as the policy says;
//!      └───────────────┘ a reboot that is not answered after 5 rounds is forgotten
//!   any ──kill──► Killed
//! ```
//! The deadline is exact: ending the other processes (`SIGTERM` to all but PID 1) happens in the last quarter of the
//! time, at most 5 s of it. Without a deadline the init is asked for ever, as systemd-nspawn does after one `SIGTERM`.

use std::time::{Duration, Instant};

const LAST_CHANCE: Duration = Duration::from_secs(5);
const REBOOT_ROUNDS: u32 = 5;

/// What an init is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// End, and stay down.
    PowerOff,
    /// End, and start again.
    Reboot,
}

/// What a [`super::StopPolicy`] wants to happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask again after this long, if the leader still lives.
    AskAgain(Duration),
    /// Nothing more to try: wait for the leader's death or the deadline.
    Wait,
    /// The init has ended everything and cannot power off: kill it, and call that a clean end.
    Halted,
}

/// What is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Ask(Goal, u32),
    EndOthers,
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Running,
    Asking {
        goal: Goal,
        round: u32,
        ask_at: Option<Instant>,
        /// When to end the others, and when to kill.
        limits: Option<(Instant, Instant)>,
    },
    Ending {
        kill_at: Instant,
    },
    Killed,
}

impl Phase {
    /// Begins to ask, or asks for something else; `timeout` from now.
    pub(super) fn ask(&mut self, goal: Goal, timeout: Option<Duration>, now: Instant) {
        let old_limits = match *self {
            Phase::Ending { .. } | Phase::Killed => return,
            // Who wants a reboot cannot call off a power-off.
            Phase::Asking { goal: Goal::PowerOff, .. } if goal == Goal::Reboot => return,
            Phase::Asking { limits, .. } => limits,
            Phase::Running => None,
        };
        let limits = timeout.map(|timeout| (now + timeout.saturating_sub(LAST_CHANCE.min(timeout / 4)), now + timeout));
        *self = Phase::Asking { goal, round: 0, ask_at: Some(now), limits: limits.or(old_limits) };
    }

    /// It has been told by other means: only the time runs.
    pub(super) fn told(&mut self, timeout: Option<Duration>, now: Instant) {
        self.ask(Goal::PowerOff, timeout, now);
        if let Phase::Asking { ask_at, .. } = self {
            *ask_at = None;
        }
    }

    pub(super) fn kill(&mut self) {
        *self = Phase::Killed;
    }

    /// When [`Phase::due`] is to be asked again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {
            Phase::Asking { ask_at, limits, .. } => [ask_at, limits.map(|(end, _)| end)].into_iter().flatten().min(),
            Phase::Ending { kill_at } => Some(kill_at),
            Phase::Running | Phase::Killed => None,
        }
    }

    /// What is due at `now`, each thing once. After [`Due::Ask`] comes [`Phase::asked`].
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        match *self {
            Phase::Asking { limits: Some((end_at, kill_at)), .. } if end_at <= now => {
                *self = Phase::Ending { kill_at };
                Some(Due::EndOthers)
            }
            Phase::Asking { goal, round, ask_at: Some(at), limits } if at <= now => {
                *self = Phase::Asking { goal, round: round + 1, ask_at: None, limits };
                Some(Due::Ask(goal, round))
            }
            Phase::Ending { kill_at } if kill_at <= now => {
                *self = Phase::Killed;
                Some(Due::Kill)
            }
            _ => None,
        }
    }

    /// The answer to [`Due::Ask`].
    pub(super) fn asked(&mut self, next: Next, now: Instant) {
        let Phase::Asking { goal, round, ref mut ask_at, .. } = *self else { return };
        *ask_at = match next {
            Next::AskAgain(after) => Some(now + after),
            Next::Wait | Next::Halted => None,
        };
        if goal == Goal::Reboot && (ask_at.is_none() || round >= REBOOT_ROUNDS) {
            *self = Phase::Running;
        }
    }
}

/// Pauses between two questions, for those who have no better idea: 1, 1, 2, 2, 4, then 5 s.
pub fn pause_after(round: u32) -> Duration {
    Duration::from_secs(match round {
        0 | 1 => 1,
        2 | 3 => 2,
        4 => 4,
        _ => 5,
    })
}
