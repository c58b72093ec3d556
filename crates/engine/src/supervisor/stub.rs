//! A stub init: PID 1 that reaps, forwards what means "stop" or "reboot", and ends as its only child does (`--as-pid2`).
//!
//! ```text
//!  payload (PID 1, a copy of the supervisor)       PID 2
//!    confined exactly as its child will be
//!    clone3 ─────────────────────────────────►  waits for `held` to hang up
//!    executes this program as `(sd-stubinit)`:
//!    nothing of the host is in its memory,
//!    and the exec closes `held` ─────────────►  own session, execve
//!    serves the child it is told of
//! ```
//! The child may trace PID 1 and read its memory, so it must not run before there is nothing to be found. What PID 1 runs
//! then is our own file on a mount that nobody can write through (`enter/shield.rs`).

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use hostel_process::r#become::{self, Failure, Process};
use hostel_spec::OsText;
use hostel_sys::clone::{self, CloneArgs, Fork};
use hostel_sys::event::{self, SignalFd, SignalMask};
use hostel_sys::proc::{self, Reboot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use super::payload::{announce, report};
use crate::enter::shield;

/// What it calls itself, in argv[0] and in /proc/1/comm: as systemd-nspawn's.
pub(crate) const NAME: &CStr = c"(sd-stubinit)";
/// Its third argument when a command that a signal ended gives 128 and the signal's number; the second is the child.
const SHELL_STATUS: &CStr = c"shell-status";
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

/// What the stub looks at: all signals but those that cannot be blocked, and libc's own.
fn mask() -> SignalMask {
    let all: Vec<i32> = (1..=64).filter(|s| !matches!(s, 9 | 19 | 32 | 33)).collect();
    SignalMask::of(&all)
}

/// Makes the child (PID 2) and becomes its init; returns only when there is no child to serve.
///
/// `program` is what the stub runs. `shell_status`: the child is a native command. Signals are passed on to it, and one that
/// ended it gives 128 and its number, as a shell says it; otherwise 255 as systemd-nspawn's stub.
pub(super) fn run(process: &Process<'_>, report_to: BorrowedFd<'_>, program: BorrowedFd<'_>, shell_status: bool) -> Failure {
    let failed = |e: io::Error| Failure::new("start", "stub init", e);
    // The terminal is the command's, not the stub's: ^C would reach PID 1, where it means "reboot".
    let terminal = process.controlling;
    let until_exec = [report_to, program];
    let confined = Process { controlling: false, new_session: true, until_exec: &until_exec, ..*process };
    let ready = match r#become::confine(&confined) {
        Ok(ready) => ready,
        Err(failure) => return failure,
    };
    // Blocked from here on, over the exec too: the stub misses none.
    let before = match event::block_signals(mask()) {
        Ok(before) => before,
        Err(e) => return failed(e.into()),
    };
    let (held, holds) = match pipe_with(PipeFlags::CLOEXEC) {
        Ok(ends) => ends,
        Err(e) => return failed(e.into()),
    };
    match clone::clone3(&CloneArgs::default()) {
        Err(e) => failed(e),
        Ok(Fork::Child) => {
            drop(holds);
            let failure = match wait_for_stub(&held).and_then(|()| own_session(terminal)) {
                Ok(()) => {
                    let _ = event::set_blocked_signals(before);
                    announce(report_to);
                    r#become::execute(&ready)
                }
                Err(e) => failed(e),
            };
            report(report_to, &failure);
            clone::exit_now(FAILED)
        }
        Ok(Fork::Parent { pid, pidfd }) => {
            let error = become_stub(process, program, pid, shell_status);
            // It would go on when our end of `held` closes.
            let _ = clone::pidfd_send_signal(pidfd.as_fd(), 9);
            let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED);
            failed(error)
        }
    }
}

/// Hung up, never written to: by the stub's exec, or by the end of a PID 1 that could not; then we are dead, too.
fn wait_for_stub(held: &OwnedFd) -> io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::read(held, &mut [0u8; 1])).map(drop).map_err(Into::into)
}

/// PID 2 leads a session of its own, with the console as its terminal.
fn own_session(terminal: bool) -> io::Result<()> {
    proc::new_session()?;
    if terminal { proc::set_controlling_terminal(io::stdin().as_fd(), false) } else { Ok(()) }
}

/// Executes this program as the stub of `child`; returns only on failure.
fn become_stub(process: &Process<'_>, program: BorrowedFd<'_>, child: i32, shell_status: bool) -> io::Error {
    // Sockets the command was given are no business of the stub's.
    if let Err(error) = proc::cloexec_from(3) {
        return error;
    }
    let (child, status) = (c_string(child.to_string()), if shell_status { SHELL_STATUS } else { c"" });
    // As much as tells others that this is a container.
    let identity = |e: &&OsText| [&b"container="[..], b"container_uuid="].iter().any(|name| e.as_bytes().starts_with(name));
    let env: Vec<CString> = process.env.iter().filter(identity).map(|e| c_string(e.as_bytes())).collect();
    let env: Vec<&CStr> = env.iter().map(CString::as_c_str).collect();
    shield::execute(program, &[NAME, &child, status], &env)
}

/// Without a NUL byte, as what comes here is.
fn c_string(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap_or_default()
}

/// The stub itself: the beginning of a program that has nothing in its memory.
pub(crate) fn main(argv: &[OsString]) -> ! {
    let child = argv.get(1).and_then(|word| word.to_str()).and_then(|word| word.parse().ok()).and_then(Pid::from_raw);
    let shell_status = argv.get(2).is_some_and(|word| word.as_encoded_bytes() == SHELL_STATUS.to_bytes());
    // For the eyes only: `ps` shows what systemd-nspawn's stub shows.
    let _ = proc::set_name(NAME);
    let _ = proc::hide_arguments();
    // Every exec that changes credentials clears it (prctl(2)); ours did not, but nothing may outlive the supervisor.
    let _ = proc::set_parent_death_signal(9);
    match (SignalFd::new(mask()), child) {
        (Ok(signals), Some(child)) => clone::exit_now(serve(child, &signals, shell_status)),
        _ => clone::exit_now(FAILED),
    }
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
