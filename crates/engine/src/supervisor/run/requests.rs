//! What clients of the control socket ask of a running machine.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hostel_ipc::control::{Console as Visit, Desired, Incoming, Kill, MAX_REQUEST, Refusal, Request, State, Status, Stop, Whom, Window};
use hostel_process::console::Log;
use hostel_process::pty::WindowSize;
use hostel_sys::clone;
use serde_json::json;

use super::{ACCEPT_PAUSE, Goal, Phase, SIGKILL, STOP_TIMEOUT, Token, Watch};

/// The most a visitor types in one packet; as much room there must be before one is read.
pub(super) const TYPED_AT_ONCE: usize = 1 << 10;
const MAX_REPLAY: u32 = 64 << 10;

/// The last `wanted` bytes of the log, from the beginning of a line on, unless that is all there is.
pub(super) fn replay(log: &Log, wanted: u32) -> Vec<u8> {
    // One more: whether that is there says if something was left out.
    let Ok(mut reader) = log.tail(u64::from(wanted) + 1) else { return Vec::new() };
    let mut text = Vec::new();
    let mut buf = [0u8; 4 << 10];
    while let Ok(n @ 1..) = reader.read(&mut buf) {
        text.extend_from_slice(&buf[..n]);
    }
    if text.len() > wanted as usize {
        let begin = text.iter().position(|b| *b == b'\n').map_or(1, |at| at + 1);
        text.drain(..begin);
    }
    text
}

impl Watch<'_, '_> {
    pub(super) fn accept(&mut self) {
        let Some(control) = &mut self.machine.control else { return };
        loop {
            match control.accept() {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => {
                    self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    /// Reads one packet of client `id` and acts on it.
    pub(super) fn serve(&mut self, id: u32) {
        let Some(control) = &mut self.machine.control else { return };
        // Others may have typed since this one was found ready.
        let room = self.machine.console.as_ref().map_or(usize::MAX, |c| c.room());
        if control.is_visitor(id) && room < TYPED_AT_ONCE {
            return;
        }
        let mut buf = [0u8; MAX_REQUEST];
        match control.receive(id, &mut buf) {
            Incoming::Nothing => {}
            Incoming::Closed => self.close(id),
            Incoming::Data(bytes) => {
                if let Some(console) = &mut self.machine.console {
                    // What does not fit is more than a visitor may send at once, and is lost.
                    let _ = console.type_in(bytes);
                }
            }
            Incoming::Request(request) => {
                let taken = match self.answer(id, request) {
                    Ok(taken) => taken,
                    Err(refusal) => self.machine.control.as_mut().is_some_and(|c| c.refuse(id, &refusal)),
                };
                if !taken {
                    self.close(id);
                }
            }
        }
    }

    fn close(&mut self, id: u32) {
        let Some(control) = &mut self.machine.control else { return };
        if let Some((_, fd)) = control.clients().find(|(other, _)| *other == id) {
            self.poller.forget(Token::Client(id), fd);
        }
        control.close(id);
    }

    /// `Ok(false)`: the client does not take its answer.
    fn answer(&mut self, id: u32, request: Request) -> Result<bool, Refusal> {
        match request {
            Request::Ping => {}
            Request::Status | Request::Listen => {
                if let (Request::Listen, Some(control)) = (&request, &mut self.machine.control) {
                    control.listen(id);
                }
                let status = self.status();
                return Ok(self.machine.control.as_mut().is_some_and(|c| c.reply(id, &status)));
            }
            Request::Stop(stop) => self.answer_stop(id, stop),
            Request::Reboot => {
                self.machine.owner.thaw();
                self.phase.ask(Goal::Reboot, None, Instant::now());
            }
            Request::Kill(kill) => self.answer_kill(kill)?,
            Request::Console(visit) => return self.answer_console(id, visit),
            Request::Resize(window) => self.resize(window),
            Request::SetDesired(set) => self.set_desired(set.desired),
        }
        Ok(self.machine.control.as_mut().is_some_and(|c| c.reply(id, &json!({}))))
    }

    fn status(&self) -> Status {
        let control = self.machine.control.as_ref();
        Status {
            leader: self.machine.leader_pid,
            supervisor: std::process::id() as i32,
            state: match self.phase {
                Phase::Running => State::Running,
                Phase::Asking { .. } | Phase::Ending { .. } => State::Stopping,
                Phase::Killed => State::Killing,
            },
            desired: self.desired,
            ready: self.ready,
            status_text: self.status_text.clone(),
            uptime_ms: self.machine.started.elapsed().as_millis() as u64,
            visitors: control.map_or(0, |c| c.visitors() as u32),
            log_lost: self.machine.console.as_ref().and_then(|c| c.log()).map_or(0, |log| log.lost()),
        }
    }

    fn answer_stop(&mut self, id: u32, stop: Stop) {
        if let Some(control) = &mut self.machine.control {
            control.listen(id);
        }
        let asks = self.machine.lifecycle.kill_signal.is_some() || self.machine.stop.is_some();
        if stop.force || !asks {
            self.end_now();
        } else {
            let timeout = stop.timeout_ms.map(Duration::from_millis).or(self.machine.stop_timeout).unwrap_or(STOP_TIMEOUT);
            self.begin_stop(Some(timeout));
        }
    }

    fn answer_kill(&mut self, kill: Kill) -> Result<(), Refusal> {
        let failed = |why: String| Refusal::new(Refusal::FAILED, why);
        match kill.whom {
            Whom::Leader => {
                clone::pidfd_send_signal(self.machine.leader.as_fd(), kill.signal)
                    .map_err(|e| failed(format!("send signal {} to PID 1: {e}", kill.signal)))?;
            }
            Whom::All => {
                if !self.machine.owner.signal_all(kill.signal) {
                    return Err(failed(format!("send signal {} to all processes: the machine has no cgroup for that", kill.signal)));
                }
                if kill.signal != SIGKILL {
                    // All means PID 1, too; it may be gone by now.
                    let _ = clone::pidfd_send_signal(self.machine.leader.as_fd(), kill.signal);
                }
            }
        }
        if kill.signal == SIGKILL {
            self.set_desired(Desired::Off);
            self.killed_by_us = true;
        }
        Ok(())
    }

    fn answer_console(&mut self, id: u32, visit: Visit) -> Result<bool, Refusal> {
        let (Some(control), Some(console)) = (&mut self.machine.control, &self.machine.console) else {
            return Err(Refusal::new(Refusal::NO_CONSOLE, "the machine has no console"));
        };
        if !control.reply(id, &json!({})) {
            return Ok(false);
        }
        control.attach(id, visit.read_only);
        // The log has everything up to now, and nothing is read in between: no byte is lost or shown twice.
        if let (Some(log), wanted @ 1..) = (console.log(), visit.replay.min(MAX_REPLAY)) {
            for packet in replay(log, wanted).chunks(4 << 10) {
                control.send_data(id, packet);
            }
        }
        if let (Some(window), false) = (visit.window, visit.read_only) {
            self.resize(window);
        }
        Ok(true)
    }

    fn resize(&mut self, Window { rows, cols }: Window) {
        if let Some(console) = &mut self.machine.console {
            console.resize(WindowSize { rows, cols });
        }
    }
}
