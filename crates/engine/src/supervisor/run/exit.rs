//! What a machine's end means for us: an exit status, or another start.

use std::time::{Duration, Instant};

use hostel_ipc::control::{Desired, Ended};
use hostel_spec::{Lifecycle, Payload};

const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
/// Tells a service manager to start the unit again (`RestartForceExitStatus=133`).
const REBOOT: u8 = 133;

/// How PID 1 died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited.
    Exited(u8),
    /// A signal killed it. In a pid namespace of its own the kernel says `SIGINT` for reboot(2)'s halt and power-off,
    /// and `SIGHUP` for its restart.
    Killed {
        /// Raw number.
        signal: u8,
        /// A core was dumped.
        core: bool,
    },
}

/// How a machine ended, and what was wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How PID 1 died.
    pub end: End,
    /// What should become of the machine.
    pub desired: Desired,
    /// We sent `SIGKILL`.
    pub killed_by_us: bool,
    /// We did, because the init had ended everything and cannot power off.
    pub halted: bool,
    /// It had not ended when its time was up.
    pub timed_out: bool,
    /// It had a pid namespace of its own.
    pub own_pid_namespace: bool,
}

impl Outcome {
    /// For those who wait for it.
    pub fn ended(&self, decision: ExitDecision) -> Ended {
        let (code, signal, core) = match self.end {
            End::Exited(code) => (Some(code), None, false),
            End::Killed { signal, core } => (None, Some(signal), core),
        };
        let status = match decision {
            ExitDecision::Exit(status) => Some(status),
            ExitDecision::RebootAgain => None,
        };
        Ended { code, signal, core, killed: self.killed_by_us && !self.halted, timed_out: self.timed_out, reboots: status.is_none(), status }
    }
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitDecision {
    /// Exit with this status.
    Exit(u8),
    /// Start the machine again.
    RebootAgain,
}

/// The table: systemd-nspawn's rules with `nspawn_exit_status`, else the payload's status as a shell would say it.
///
/// With the stub init (`-a`) the stub's own exit status arrives here, 255 for a payload that a signal killed.
pub fn exit_status(outcome: &Outcome, lifecycle: &Lifecycle, payload: Payload) -> ExitDecision {
    use ExitDecision::{Exit, RebootAgain};
    if outcome.halted {
        return Exit(0);
    }
    match outcome.end {
        // Somebody who restarts us at 133 must not do so because the payload happened to say it.
        End::Exited(REBOOT) if lifecycle.nspawn_exit_status || lifecycle.reboot_is_133 => Exit(1),
        End::Exited(code) => Exit(code),
        End::Killed { signal: SIGINT, .. } if is_reboot_call(outcome, lifecycle, payload) => Exit(0),
        End::Killed { signal: SIGHUP, .. } if is_reboot_call(outcome, lifecycle, payload) => match outcome.desired {
            // A stop that the init answers with a reboot is a stop.
            Desired::Off => Exit(0),
            Desired::On if lifecycle.reboot_is_133 => Exit(REBOOT),
            Desired::On => RebootAgain,
        },
        End::Killed { .. } if lifecycle.nspawn_exit_status => Exit(1),
        End::Killed { signal, .. } => Exit(128u8.wrapping_add(signal)),
    }
}

/// Whether SIGINT and SIGHUP stand for reboot(2). In our pid namespace they are what they are, for a plain command;
/// the original does not make the difference, and an init does not die of them.
fn is_reboot_call(outcome: &Outcome, lifecycle: &Lifecycle, payload: Payload) -> bool {
    outcome.own_pid_namespace || lifecycle.nspawn_exit_status || payload == Payload::Boot
}

/// A brake for machines that reboot as soon as they have booted: 5 starts in 10 seconds are enough.
#[derive(Debug, Default)]
pub struct RebootBrake {
    starts: [Option<Instant>; Self::STARTS],
}

impl RebootBrake {
    const STARTS: usize = 5;
    const WITHIN: Duration = Duration::from_secs(10);

    /// Whether one more start at `now` is all right; it is then counted.
    pub fn allow(&mut self, now: Instant) -> bool {
        if self.starts[0].is_some_and(|oldest| now.saturating_duration_since(oldest) < Self::WITHIN) {
            return false;
        }
        self.starts.rotate_left(1);
        self.starts[Self::STARTS - 1] = Some(now);
        true
    }
}
