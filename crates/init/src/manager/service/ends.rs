//! Ends of processes: which step they were, and what comes now.

use std::time::{Duration, SystemTime};

use hostel_sys::clone::WaitStatus;

use super::{Hands, Role, Service};
use crate::manager::config::{Step, Type};
use crate::manager::exits::{self, Clean};
use crate::manager::state::{Outcome, State};

/// How often a PID file is looked for that a daemon writes after its parent has ended.
const PID_FILE_AGAIN: Duration = Duration::from_millis(50);

impl Service {
    /// One of its own processes ended.
    pub fn ended(&mut self, role: Role, end: WaitStatus, hands: &mut dyn Hands) {
        match role {
            Role::Main => self.main_ended(end, hands),
            Role::Control => self.control_ended(end, hands),
        }
    }

    fn note_end(&mut self, step: Step, end: WaitStatus) {
        let at = Step::ALL.iter().position(|s| *s == step).unwrap_or(0);
        if let Some(Some(run)) = self.runs.get_mut(at) {
            run.ended = Some((SystemTime::now(), end));
        }
    }

    fn main_ended(&mut self, end: WaitStatus, hands: &mut dyn Hands) {
        self.main = None;
        if let Some(run) = &mut self.main_run {
            run.ended = Some((SystemTime::now(), end));
        }
        self.note_end(Step::Start, end);
        let clean = if self.config.kind == Type::Oneshot { Clean::Command } else { Clean::Daemon };
        let mut found = exits::outcome(end, clean, &self.config.success);
        let ignored = self.config.commands(Step::Start).get(self.main_at).is_some_and(|c| c.ignore_failure);
        if found != Outcome::Success {
            hands.tell(&format!("Main process exited, {}", described(end)));
            if ignored {
                found = Outcome::Success;
            }
        }
        if self.state == State::Start && self.config.kind == Type::Oneshot && found == Outcome::Success {
            let next = self.main_at + 1;
            if next < self.config.commands(Step::Start).len() {
                self.run_main(next, hands);
                return;
            }
        }
        self.bite = None;
        match self.state {
            State::Start => self.main_ended_early(found, hands),
            State::StartPost | State::Reload | State::Stop => {
                self.blame(found);
                if self.control.is_none() {
                    self.enter_stop(found, hands);
                }
            }
            // it counts as what it came to when the last of its processes has ended
            State::Running if self.config.runs_with_any && hands.has_others(&[]) => self.blame(found),
            State::Running => self.enter_running(found, hands),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                self.blame(found);
                if self.control.is_none() {
                    self.go_on_if_empty(hands);
                }
            }
            State::FinalSigterm | State::FinalSigkill if self.control.is_none() => self.go_on_if_empty(hands),
            _ => self.blame(found),
        }
    }

    /// The main process is gone before the service was up.
    fn main_ended_early(&mut self, found: Outcome, hands: &mut dyn Hands) {
        match self.config.kind {
            Type::Oneshot if found == Outcome::Success => self.after(Step::Start, hands),
            Type::Notify | Type::NotifyReload if found == Outcome::Success && !self.config.remain => {
                hands.tell("The main process ended before it said READY=1.");
                self.signal_phase(State::StopSigterm, Outcome::Protocol, hands);
            }
            _ if found == Outcome::Success && self.config.remain => self.after(Step::Start, hands),
            Type::Exec | Type::Dbus if found == Outcome::Success => self.enter_stop(found, hands),
            _ => self.signal_phase(State::StopSigterm, found, hands),
        }
    }

    fn control_ended(&mut self, end: WaitStatus, hands: &mut dyn Hands) {
        self.control = None;
        let Some((step, index)) = self.at.take() else {
            // what was running when signals were sent
            if matches!(self.state, State::StopWatchdog | State::StopSigterm | State::StopSigkill | State::FinalSigterm | State::FinalSigkill)
                && self.main.is_none()
            {
                self.go_on_if_empty(hands);
            }
            return;
        };
        self.note_end(step, end);
        let mut found = exits::outcome(end, Clean::Command, &[]);
        let ignored = self.config.commands(step).get(index).is_some_and(|c| c.ignore_failure);
        if step == Step::Condition && !ignored {
            found = match end {
                WaitStatus::Exited(1..=254) => Outcome::ExecCondition,
                _ => found,
            };
        }
        if found != Outcome::Success {
            hands.tell(&format!("Control process ({}) exited, {}", step.key(), described(end)));
            if ignored {
                found = Outcome::Success;
            }
        }
        if found == Outcome::Success && index + 1 < self.config.commands(step).len() {
            return self.run_command(step, index + 1, hands);
        }
        if found != Outcome::Success {
            return self.failed_step(step, found, hands);
        }
        match step {
            Step::Start => self.forked(hands),
            Step::StartPost if self.main.is_none() && self.main_run.is_some() => {
                // the main process ended while this ran
                let found = self.result;
                self.enter_running(found, hands);
            }
            // a reload by command is done; one that was announced by RELOADING=1 waits for READY=1
            _ => self.after(step, hands),
        }
    }

    /// The parent of a forking daemon ended well: which process is the daemon?
    fn forked(&mut self, hands: &mut dyn Hands) {
        match self.config.pid_file.clone() {
            Some(path) => match hands.read_pid_file(&path) {
                Ok(pid) => {
                    self.set_main(pid);
                    self.after(Step::Start, hands);
                }
                // it may be written yet, by a daemon that is there
                Err(why) => {
                    let own = self.own();
                    if hands.has_others(&own) {
                        self.at = None;
                        return;
                    }
                    hands.tell(&why);
                    self.signal_phase(State::StopSigterm, Outcome::Protocol, hands);
                }
            },
            None => {
                if self.config.guess_main
                    && let Some(pid) = hands.guess_main(&[])
                {
                    self.set_main(pid);
                }
                self.after(Step::Start, hands);
            }
        }
    }

    /// When to look for the PID file again.
    pub fn look_again(&self) -> Option<Duration> {
        let waits = self.state == State::Start && self.config.kind == Type::Forking && self.control.is_none() && self.at.is_none();
        (waits && self.config.pid_file.is_some()).then_some(PID_FILE_AGAIN)
    }

    /// Looks for the PID file of a daemon again.
    pub fn look(&mut self, hands: &mut dyn Hands) {
        if self.look_again().is_some() {
            self.forked(hands);
        }
    }

    /// Something ended that belonged to the service, and was none of its own processes.
    pub fn other_ended(&mut self, hands: &mut dyn Hands) {
        match self.state {
            State::Start => self.look(hands),
            State::Running if self.main.is_none() => {
                if !(self.config.runs_with_any && hands.has_others(&[])) {
                    self.enter_running(Outcome::Success, hands);
                }
            }
            State::StopWatchdog | State::StopSigterm | State::StopSigkill | State::FinalSigterm | State::FinalSigkill if self.own().is_empty() => {
                self.go_on_if_empty(hands);
            }
            _ => {}
        }
    }

    /// In a state in which processes were signalled: goes on when there is none left that is waited for.
    fn go_on_if_empty(&mut self, hands: &mut dyn Hands) {
        use crate::manager::config::KillMode;
        if !self.own().is_empty() {
            return;
        }
        let kills = matches!(self.state, State::StopSigkill | State::FinalSigkill);
        let waits = self.config.kill_mode == KillMode::ControlGroup || self.config.kill_mode == KillMode::Mixed && kills;
        if waits && hands.has_others(&[]) {
            return;
        }
        match self.state {
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => self.enter_stop_post(Outcome::Success, hands),
            State::FinalSigterm if self.config.kill_mode == KillMode::Mixed => self.signal_phase(State::FinalSigkill, Outcome::Success, hands),
            State::FinalSigterm | State::FinalSigkill => self.enter_dead(hands),
            _ => {}
        }
    }
}

/// An end in words.
pub(crate) fn described(end: WaitStatus) -> String {
    match end {
        WaitStatus::Exited(code) => {
            let name = u8::try_from(code).ok().and_then(hostel_unit::exit_status_name).unwrap_or("n/a");
            format!("code=exited, status={code}/{name}")
        }
        WaitStatus::Signaled { signal, core } => {
            let code = if core { "dumped" } else { "killed" };
            let name = hostel_spec::Signal::from_raw(signal).map_or_else(|| "n/a".to_owned(), |s| s.name().trim_start_matches("SIG").to_owned());
            format!("code={code}, status={signal}/{name}")
        }
        WaitStatus::Stopped(_) | WaitStatus::Continued => "code=n/a".to_owned(),
    }
}
