//! The way down: stop commands, signals, time limits, and what follows.

use super::{Hands, Service};
use crate::manager::config::{FailureMode, KillMode, OomPolicy, Step};
use crate::manager::exits;
use crate::manager::state::{Outcome, State};

const CONT: i32 = 18;
const HUP: i32 = 1;
const KILL: i32 = 9;

impl Service {
    /// A step failed: where that leads.
    pub(super) fn failed_step(&mut self, step: Step, found: Outcome, hands: &mut dyn Hands) {
        match step {
            Step::Condition | Step::StartPre | Step::Start | Step::StartPost => self.signal_phase(State::StopSigterm, found, hands),
            // a reload that fails is no failure of the service
            Step::Reload => {
                self.reload_result = found;
                self.enter_running(Outcome::Success, hands);
            }
            Step::Stop => self.signal_phase(State::StopSigterm, found, hands),
            Step::StopPost => self.signal_phase(State::FinalSigterm, found, hands),
        }
    }

    pub(super) fn enter_stop(&mut self, found: Outcome, hands: &mut dyn Hands) {
        self.blame(found);
        self.run_until = None;
        self.bite = None;
        self.begin(Step::Stop, State::Stop, hands);
    }

    pub(super) fn enter_stop_post(&mut self, found: Outcome, hands: &mut dyn Hands) {
        self.blame(found);
        self.run_until = None;
        self.bite = None;
        self.begin(Step::StopPost, State::StopPost, hands);
    }

    /// Ends the command that runs, at once.
    pub(super) fn end_control(&mut self, hands: &mut dyn Hands) {
        if let Some(pid) = self.control.take() {
            hands.signal(pid, KILL);
        }
        self.at = None;
    }

    /// Enters a state in which processes are signalled; nothing to wait for: the next one.
    pub(super) fn signal_phase(&mut self, state: State, found: Outcome, hands: &mut dyn Hands) {
        let mut state = state;
        self.blame(found);
        self.run_until = None;
        self.bite = None;
        self.at = None;
        loop {
            self.set(state);
            if self.signal_all(state, hands) {
                let limit = if state == State::StopWatchdog { self.config.timeout_abort } else { self.config.timeout_stop };
                return self.arm(limit, hands);
            }
            state = match state {
                State::StopWatchdog | State::StopSigterm if self.config.send_sigkill => State::StopSigkill,
                State::StopWatchdog | State::StopSigterm | State::StopSigkill => return self.enter_stop_post(Outcome::Success, hands),
                State::FinalSigterm if self.config.send_sigkill => State::FinalSigkill,
                _ => return self.enter_dead(hands),
            };
        }
    }

    /// Sends what the state asks for; whether there is something to wait for.
    fn signal_all(&mut self, state: State, hands: &mut dyn Hands) -> bool {
        if self.config.kill_mode == KillMode::None {
            return false;
        }
        let kills = matches!(state, State::StopSigkill | State::FinalSigkill);
        let signal = match state {
            State::StopSigkill | State::FinalSigkill => self.config.final_signal,
            State::StopWatchdog => self.config.watchdog_signal,
            _ => self.config.restart_signal.filter(|_| self.for_restart).unwrap_or(self.config.kill_signal),
        };
        let own = self.own();
        for pid in &own {
            hands.signal(*pid, signal);
            if !kills {
                // a stopped process hears nothing before it goes on
                if signal != CONT {
                    hands.signal(*pid, CONT);
                }
                if self.config.send_sighup {
                    hands.signal(*pid, HUP);
                }
            }
        }
        let all = self.config.kill_mode == KillMode::ControlGroup || self.config.kill_mode == KillMode::Mixed && kills;
        let mut others = false;
        if all {
            others = hands.signal_others(&own, signal);
            if others && !kills {
                hands.signal_others(&own, CONT);
                if self.config.send_sighup {
                    hands.signal_others(&own, HUP);
                }
            }
        }
        !own.is_empty() || others
    }

    /// The kernel killed a process of it because memory ran out.
    pub fn out_of_memory(&mut self, hands: &mut dyn Hands) {
        hands.tell("A process of this unit has been killed by the OOM killer.");
        let stops = match self.config.oom {
            OomPolicy::Continue => return,
            OomPolicy::Stop => State::StopSigterm,
            OomPolicy::Kill => State::StopSigkill,
        };
        let found = Outcome::OomKill;
        match self.state {
            State::Running | State::Exited if self.config.oom == OomPolicy::Stop => self.enter_stop(found, hands),
            State::Reload => {
                self.end_control(hands);
                self.signal_phase(stops, found, hands);
            }
            State::Condition | State::StartPre | State::Start | State::StartPost | State::Running | State::Exited | State::Stop => {
                self.signal_phase(stops, found, hands);
            }
            State::StopWatchdog | State::StopSigterm => self.signal_phase(State::StopSigkill, found, hands),
            State::StopPost | State::FinalSigterm => self.signal_phase(State::FinalSigkill, found, hands),
            State::StopSigkill | State::FinalSigkill => self.blame(found),
            _ => {}
        }
    }

    /// The present step has lasted too long, the watchdog bites, or the service has run as long as it may.
    pub fn elapsed(&mut self, hands: &mut dyn Hands) {
        let now = hands.now();
        if self.bite.is_some_and(|at| at <= now) {
            self.bite = None;
            if matches!(self.state, State::Start | State::StartPost | State::Running | State::Reload) {
                hands.tell("Watchdog timeout!");
                self.end_control(hands);
                return self.signal_phase(State::StopWatchdog, Outcome::Watchdog, hands);
            }
        }
        if self.run_until.is_some_and(|at| at <= now) {
            self.run_until = None;
            if self.state == State::Running {
                hands.tell("Service reached runtime time limit. Stopping.");
                return self.enter_stop(Outcome::Timeout, hands);
            }
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.timed_out(hands);
        }
    }

    fn timed_out(&mut self, hands: &mut dyn Hands) {
        match self.state {
            State::Condition | State::StartPre | State::Start => {
                hands.tell(&format!("{} operation timed out. Terminating.", self.state.word()));
                self.signal_phase(state_of(self.config.failure_modes[0]), Outcome::Timeout, hands);
            }
            State::StartPost => {
                hands.tell("start-post operation timed out. Stopping.");
                self.end_control(hands);
                self.enter_stop(Outcome::Timeout, hands);
            }
            State::Reload => {
                hands.tell("Reload operation timed out. Killing reload process.");
                self.end_control(hands);
                self.reload_result = Outcome::Timeout;
                self.enter_running(Outcome::Success, hands);
            }
            State::Stop => {
                hands.tell("Stopping timed out. Terminating.");
                self.signal_phase(state_of(self.config.failure_modes[1]), Outcome::Timeout, hands);
            }
            State::StopSigterm if self.config.failure_modes[1] == FailureMode::Abort => {
                hands.tell("State 'stop-sigterm' timed out. Aborting.");
                self.signal_phase(State::StopWatchdog, Outcome::Timeout, hands);
            }
            State::StopWatchdog | State::StopSigterm if self.config.send_sigkill => {
                hands.tell(&format!("State '{}' timed out. Killing.", self.state.word()));
                self.signal_phase(State::StopSigkill, Outcome::Timeout, hands);
            }
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                hands.tell(&format!("State '{}' timed out. Skipping SIGKILL or ignoring what is left.", self.state.word()));
                self.enter_stop_post(Outcome::Timeout, hands);
            }
            State::StopPost => {
                hands.tell("State 'stop-post' timed out. Terminating.");
                self.signal_phase(State::FinalSigterm, Outcome::Timeout, hands);
            }
            State::FinalSigterm if self.config.send_sigkill => {
                hands.tell("State 'final-sigterm' timed out. Killing.");
                self.signal_phase(State::FinalSigkill, Outcome::Timeout, hands);
            }
            State::FinalSigterm | State::FinalSigkill => {
                hands.tell("Processes are left over after the last time limit; ignoring them.");
                self.blame(Outcome::Timeout);
                self.enter_dead(hands);
            }
            // the manager makes a restart job of it
            State::AutoRestart | State::Dead | State::Failed | State::Running | State::Exited => {}
        }
    }

    /// Nothing of it is left. It may be started again after its delay.
    pub(super) fn enter_dead(&mut self, hands: &mut dyn Hands) {
        let again = self.should_restart();
        self.main = None;
        self.control = None;
        self.at = None;
        self.bite = None;
        self.run_until = None;
        hands.tidy(again);
        if again {
            self.restarts = self.restarts.saturating_add(1);
            self.set(State::AutoRestart);
            return self.arm(Some(self.config.delay_of(self.restarts).saturating_add(self.jitter())), hands);
        }
        self.deadline = None;
        self.set(if matches!(self.result, Outcome::Success | Outcome::ExecCondition) { State::Dead } else { State::Failed });
    }

    fn jitter(&self) -> std::time::Duration {
        let most = u64::try_from(self.config.restart_jitter.as_micros()).unwrap_or(u64::MAX);
        let random = || hostel_sys::tree::random_u64().unwrap_or(0);
        std::time::Duration::from_micros(if most == 0 { 0 } else { random() % most })
    }

    fn should_restart(&self) -> bool {
        if self.forbid_restart {
            return false;
        }
        let end = self.main_run.and_then(|run| run.ended).map(|(_, end)| end);
        if end.is_some_and(|end| exits::listed(&self.config.prevent, end)) {
            return false;
        }
        if end.is_some_and(|end| exits::listed(&self.config.force, end)) {
            return true;
        }
        self.config.restart.applies_to(self.result)
    }
}

/// Where what takes too long is sent.
fn state_of(mode: FailureMode) -> State {
    match mode {
        FailureMode::Terminate => State::StopSigterm,
        FailureMode::Abort => State::StopWatchdog,
        FailureMode::Kill => State::StopSigkill,
    }
}
