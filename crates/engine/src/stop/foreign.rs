//! Stopping a machine without its supervisor: because that hangs, or because the machine is one of systemd-nspawn, LXC or
//! unshare(1).

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hostel_spec::{CapSet, Signal};
use hostel_sys::clone::{WaitStatus, pidfd_open, pidfd_send_signal};

use super::{Confinement, InitPolicy};
use crate::cgroup::MachineCgroup;
use crate::enter::Leader;
use crate::error::{Context, Result};
use crate::registry::recover::wait_for_any;
use crate::supervisor::run::{Goal, Next, StopPolicy, pause_after};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
/// The most of the time that the other processes get after PID 1 did not end them.
const LAST_CHANCE: Duration = Duration::from_secs(5);
/// What a killed PID 1 may take to be gone: the kernel ends its whole namespace first.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// How to stop it.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Time for its init.
    pub timeout: Duration,
    /// Sent instead of what its init is known to want.
    pub signal: Option<Signal>,
    /// Whether it is killed afterwards. If not, no program is ever killed, also one that takes no other signal.
    pub kill: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It had ended before.
    Before,
    /// It ended as asked; how, when this can be known.
    Cleanly(Option<WaitStatus>),
    /// It had to be killed.
    Killed,
    /// It still runs.
    StillRuns,
}

impl Stopped {
    /// Exit status of `hostel stop`: 0, 4 killed, 5 still runs; 3 for a machine that had ended before if that is an error.
    pub fn exit_code(self, strict: bool) -> u8 {
        match self {
            Stopped::Before if strict => 3,
            Stopped::Before | Stopped::Cleanly(_) => 0,
            Stopped::Killed => 4,
            Stopped::StillRuns => 5,
        }
    }
}

/// Asks the init behind `leader` for its end, and waits for it.
///
/// `cgroup` and `confinement` are those of one of our machines; without them commands that are run in it get the bounding
/// set of its PID 1, and are not run if that has a system call filter.
pub fn stop(leader: Leader, cgroup: Option<&MachineCgroup>, confinement: Option<Confinement<'_>>, order: &Order) -> Result<Stopped> {
    if !leader.is_alive() {
        return Ok(Stopped::Before);
    }
    if order.kill && order.timeout.is_zero() {
        // No time to ask for anything.
        leader.signal(SIGKILL)?;
        let ended = wait_for_any(&[leader.pidfd()], KILL_LIMIT).context("wait for", "PID 1 of the machine")?;
        return Ok(if ended.is_empty() { Stopped::StillRuns } else { Stopped::Killed });
    }
    let begun = Instant::now();
    let kill_at = begun + order.timeout;
    let end_others_at = if order.kill { kill_at - LAST_CHANCE.min(order.timeout / 4) } else { kill_at };
    let confinement = match confinement {
        Some(confinement) => confinement,
        None => Confinement { bounding: CapSet(leader.facts()?.bounding), filter: None, container: "hostel" },
    };
    // What is booted is not killed for taking no signal we know.
    let mut policy = InitPolicy::new(leader, cgroup, confinement, !order.kill);
    let mut round = 0;
    loop {
        let next = match order.signal {
            Some(signal) => {
                policy.leader().signal(signal.raw())?;
                Next::AskAgain(pause_after(round))
            }
            None => policy.request(Goal::PowerOff, round),
        };
        round += 1;
        let pause = match next {
            Next::AskAgain(pause) => pause,
            Next::Wait => KILL_LIMIT,
            Next::Halted if order.kill => {
                policy.leader().signal(SIGKILL)?;
                KILL_LIMIT
            }
            Next::Halted => pause_after(round),
        };
        let left = end_others_at.saturating_duration_since(Instant::now());
        if ended_within(&mut policy, pause.min(left))? {
            return Ok(Stopped::Cleanly(policy.leader().end()));
        }
        if pause >= left {
            break;
        }
    }
    if !order.kill {
        return Ok(Stopped::StillRuns);
    }
    signal_others(policy.leader(), SIGTERM);
    if ended_within(&mut policy, kill_at.saturating_duration_since(Instant::now()))? {
        return Ok(Stopped::Cleanly(policy.leader().end()));
    }
    policy.leader().signal(SIGKILL)?;
    Ok(if ended_within(&mut policy, KILL_LIMIT)? { Stopped::Killed } else { Stopped::StillRuns })
}

/// Waits for PID 1, and reaps the commands sent into the machine meanwhile: it cannot end before they have.
fn ended_within(policy: &mut InitPolicy<'_>, limit: Duration) -> Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let commands = policy.commands();
        let pidfds: Vec<BorrowedFd<'_>> = std::iter::once(policy.leader().pidfd()).chain(commands).collect();
        let ended = wait_for_any(&pidfds, deadline.saturating_duration_since(Instant::now())).context("wait for", "PID 1 of the machine")?;
        match ended.first() {
            None => return Ok(false),
            Some(0) => return Ok(true),
            Some(_) => policy.reap(),
        }
    }
}

/// Sends `signal` to every process of the leader's pid namespace but the leader itself. The one look through /proc.
fn signal_others(leader: &Leader, signal: i32) {
    let Ok(namespace) = leader.namespace("pid") else { return };
    let Ok(list) = std::fs::read_dir("/proc") else { return };
    for pid in list.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()).filter(|pid| *pid != leader.pid()) {
        let is_member = || rustix::fs::stat(format!("/proc/{pid}/ns/pid")).is_ok_and(|s| (s.st_dev, s.st_ino) == namespace);
        if !is_member() {
            continue;
        }
        let Ok(pidfd) = pidfd_open(pid) else { continue };
        // Looked at once more, now that the number cannot change hands unnoticed.
        if is_member() {
            let _ = pidfd_send_signal(pidfd.as_fd(), signal);
        }
    }
}
