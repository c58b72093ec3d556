//! A stub init: PID 1 that reaps, forwards what means "stop" or "reboot", and ends as its only child does (`--as-pid2`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use hostel_process::r#become::{self, Failure, Process};
use hostel_sys::clone::{self, CloneArgs, Fork};
use hostel_sys::event::{self, SignalFd, SignalMask};
use hostel_sys::proc::{self, Reboot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use super::payload::report;

/// Signals that ask for a reboot: SIGINT and glibc's SIGRTMIN+5, +6, +15, +16.
const REBOOT: [i32; 5] = [2, 39, 40, 49, 50];
/// Signals that ask for power off: SIGRTMIN+3, +4, +13, +14.
const OFF: [i32; 4] = [37, 38, 47, 48];
/// What a native command is told as it is: HUP INT QUIT USR1 USR2 TERM.
const PASSED_ON: [i32; 6] = [1, 2, 3, 10, 12, 15];
/// How long the child may take after it was asked to end.
const PATIENCE: Duration = Duration::from_secs(90);
/// What systemd-nspawn's stub says when its payload did not end by itself.
const FAILED: i32 = 255;

/// Makes the child (PID 2) and serves as its init; returns only when there is no child to serve.
///
/// The stub is confined first, exactly as its child will be: the child may trace it, so it must not be worth tracing.
///
/// `shell_status`: the child is a native command. Signals are passed on to it, and one that ended it gives 128 and its number, as a
/// shell says it; otherwise 255 as systemd-nspawn's stub.
pub(super) fn run(process: &Process<'_>, report_to: BorrowedFd<'_>, shell_status: bool) -> Failure {
    let failed = |e: std::io::Error| Failure::new("start", "stub init", e);
    // The terminal is the command's, not the stub's: ^C would reach PID 1, where it means "reboot".
    let terminal = process.controlling;
    let confined = Process { controlling: false, new_session: true, ..*process };
    let ready = match r#become::confine(&confined) {
        Ok(ready) => ready,
        Err(failure) => return failure,
    };
    let all: Vec<i32> = (1..=64).filter(|s| !matches!(s, 9 | 19 | 32 | 33)).collect();
    let mask = SignalMask::of(&all);
    let before = match event::block_signals(mask) {
        Ok(before) => before,
        Err(e) => return failed(e.into()),
    };
    // There is no PID 2 yet that could look.
    let report_to = match hide(report_to, 3 + process.keep) {
        Ok(report_to) => report_to,
        Err(e) => return failed(e),
    };
    match clone::clone3(&CloneArgs::default()) {
        Err(e) => {
            report(report_to.as_fd(), &failed(e));
            clone::exit_now(1)
        }
        Ok(Fork::Child) => {
            let _ = event::set_blocked_signals(before);
            let failure = match own_session(terminal) {
                Ok(()) => r#become::execute(&ready),
                Err(e) => failed(e),
            };
            report(report_to.as_fd(), &failure);
            clone::exit_now(FAILED)
        }
        Ok(Fork::Parent { pid, pidfd }) => {
            drop((pidfd, report_to));
            match (SignalFd::new(mask), Pid::from_raw(pid)) {
                (Ok(signals), Some(child)) => clone::exit_now(serve(child, &signals, shell_status)),
                _ => clone::exit_now(FAILED),
            }
        }
    }
}

/// What the host's user typed, the host's environment and its descriptors are nothing the machine may read in /proc/1.
/// Of the descriptors from `first` on only the report pipe stays, as number `first`.
fn hide(report_to: BorrowedFd<'_>, first: u32) -> std::io::Result<OwnedFd> {
    proc::replace_title(b"(sd-stubinit)")?;
    proc::set_name(c"(sd-stubinit)")?;
    proc::place_descriptor(report_to, first as i32)?;
    proc::close_from(first + 1)?;
    proc::take_inherited(first as i32)
}

/// PID 2 leads a session of its own, with the console as its terminal.
fn own_session(terminal: bool) -> std::io::Result<()> {
    proc::new_session()?;
    if terminal { proc::set_controlling_terminal(std::io::stdin().as_fd()) } else { Ok(()) }
}

/// Reaps until the child ends; returns the exit status.
fn serve(child: Pid, signals: &SignalFd, shell_status: bool) -> i32 {
    let mut asked: Option<(Reboot, Instant)> = None;
    loop {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == child {
                // How the command ended is what its caller wants to know; nobody waits for the sign of a power-off.
                if let Some((how, _)) = asked.filter(|_| !shell_status) {
                    proc::reboot(how);
                }
                let killed = status.terminating_signal().filter(|_| shell_status).map_or(FAILED, |signal| 128 + signal);
                return status.exit_status().unwrap_or(killed);
            }
        }
        let left = asked.map(|(_, since)| PATIENCE.saturating_sub(since.elapsed()));
        if left.is_some_and(|w| w.is_zero()) {
            return FAILED;
        }
        let timeout = left.map(|w| Timespec { tv_sec: w.as_secs() as i64 + 1, tv_nsec: 0 });
        let _ = poll(&mut [PollFd::new(signals, PollFlags::IN)], timeout.as_ref());
        while let Ok(Some(info)) = signals.read() {
            let how = match info.signal {
                s if shell_status && PASSED_ON.contains(&s) => {
                    if let Some(signal) = Signal::from_named_raw(s) {
                        let _ = kill_process(child, signal);
                    }
                    continue;
                }
                s if REBOOT.contains(&s) => Reboot::Restart,
                s if OFF.contains(&s) => Reboot::PowerOff,
                _ => continue,
            };
            asked.get_or_insert((how, Instant::now()));
            let _ = kill_process(child, Signal::TERM);
            let _ = kill_process(child, Signal::HUP);
        }
    }
}
