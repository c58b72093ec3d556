//! The way up: lists of commands one after the other, and the main process.

use std::time::SystemTime;

use super::{Hands, Order, Role, Run, Service};
use crate::command::Command;
use crate::manager::config::{Step, Type};
use crate::manager::state::{Outcome, State};

impl Service {
    /// Enters the state of a list of commands and runs its first; none: what comes after.
    pub(super) fn begin(&mut self, step: Step, state: State, hands: &mut dyn Hands) {
        self.set(state);
        let limit = if matches!(state, State::Stop | State::StopPost) { self.config.timeout_stop } else { self.config.timeout_start };
        self.arm(limit, hands);
        if self.config.commands(step).is_empty() {
            self.at = None;
            return self.after(step, hands);
        }
        self.run_command(step, 0, hands);
    }

    /// What follows a list of commands that went well.
    pub(super) fn after(&mut self, step: Step, hands: &mut dyn Hands) {
        match step {
            Step::Condition => self.begin(Step::StartPre, State::StartPre, hands),
            Step::StartPre => self.enter_start(hands),
            Step::Start => self.begin(Step::StartPost, State::StartPost, hands),
            Step::StartPost => self.enter_running(Outcome::Success, hands),
            Step::Reload => self.enter_running(Outcome::Success, hands),
            Step::Stop => self.signal_phase(State::StopSigterm, Outcome::Success, hands),
            Step::StopPost => self.signal_phase(State::FinalSigterm, Outcome::Success, hands),
        }
    }

    /// Runs a command that is not the main process.
    pub(super) fn run_command(&mut self, step: Step, index: usize, hands: &mut dyn Hands) {
        let spawned = match self.config.commands(step).get(index) {
            Some(command) => hands.spawn(&self.order(Role::Control, step, command, false)),
            None => Err("there is no such command".to_owned()),
        };
        match spawned {
            Ok(pid) => {
                self.at = Some((step, index));
                self.control = Some(pid);
                self.note(step, pid);
            }
            Err(why) => {
                hands.tell(&format!("Failed to run '{}' task: {why}", step.key()));
                self.failed_step(step, Outcome::Resources, hands);
            }
        }
    }

    fn order<'a>(&self, role: Role, step: Step, command: &'a Command, confirm: bool) -> Order<'a> {
        let ended = self.main_run.and_then(|run| run.ended).map(|(_, end)| end);
        Order { role, step, command, confirm, main: self.main, result: self.result, ended, watchdog: self.watchdog }
    }

    fn note(&mut self, step: Step, pid: i32) {
        let at = Step::ALL.iter().position(|s| *s == step).unwrap_or(0);
        if let Some(run) = self.runs.get_mut(at) {
            *run = Some(Run { pid, began: SystemTime::now(), ended: None });
        }
    }

    pub(super) fn enter_start(&mut self, hands: &mut dyn Hands) {
        self.set(State::Start);
        self.arm(self.config.timeout_start, hands);
        if self.config.commands(Step::Start).is_empty() {
            return self.after(Step::Start, hands);
        }
        if self.config.kind == Type::Forking {
            return self.run_command(Step::Start, 0, hands);
        }
        if let (Type::Dbus, Some(name)) = (self.config.kind, &self.config.bus_name) {
            self.owned = hands.watch_name(name).then_some(false);
        }
        if !self.run_main(0, hands) {
            return;
        }
        if matches!(self.config.kind, Type::Simple | Type::Idle) {
            self.after(Step::Start, hands);
        }
    }

    /// Makes the main process; false: it could not, and the service has gone on to its end.
    pub(super) fn run_main(&mut self, index: usize, hands: &mut dyn Hands) -> bool {
        let confirm = self.awaits_exec();
        let spawned = match self.config.commands(Step::Start).get(index) {
            Some(command) => hands.spawn(&self.order(Role::Main, Step::Start, command, confirm)),
            None => Err("there is no such command".to_owned()),
        };
        match spawned {
            Ok(pid) => {
                self.main_at = index;
                self.set_main(pid);
                self.note(Step::Start, pid);
                true
            }
            Err(why) => {
                hands.tell(&format!("Failed to run 'ExecStart' task: {why}"));
                self.signal_phase(State::StopSigterm, Outcome::Resources, hands);
                false
            }
        }
    }
}
