//! The life of a service.
//!
//! ```text
//!  dead ─► condition ─► start-pre ─► start ─► start-post ─► running ─► (exited)        reload: running ─► reload ─► running
//!                                                             │
//!  dead, failed ◄─ final-sigkill ◄─ final-sigterm ◄─ stop-post ◄─ stop-sigkill ◄─ stop-sigterm ◄─ stop
//!   └─ auto-restart ─► (a restart job)
//! ```
//! What happens (an end of a process, a time that is over, a word of the service) is a method; what is done to the world goes
//! through [`Hands`], so that every path can be tested without a process. A step that cannot be done is passed at once: there
//! is no state in which nothing can happen any more.

mod ends;
mod starting;
mod stopping;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant, SystemTime};

use hostel_sys::clone::WaitStatus;

pub(crate) use ends::described;

use super::config::{Config, Step, Type};
use super::exits::StartLimit;
use super::state::{Active, Outcome, State};
use crate::command::Command;

/// Which of a service's own processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one it is about.
    Main,
    /// One of the other commands.
    Control,
}

/// A process to make.
#[derive(Debug)]
pub struct Order<'a> {
    /// Which.
    pub role: Role,
    /// Of which list.
    pub step: Step,
    /// What.
    pub command: &'a Command,
    /// Says when it was executed: [`Service::executed`] is called.
    pub confirm: bool,
    /// The main process, for `$MAINPID`.
    pub main: Option<i32>,
    /// Its result so far, for ExecStop= and ExecStopPost=.
    pub result: Outcome,
    /// How the main process ended.
    pub ended: Option<WaitStatus>,
    /// WatchdogSec=, for `$WATCHDOG_USEC`.
    pub watchdog: Option<Duration>,
}

/// What a service does to the world.
pub trait Hands {
    /// The monotonic time.
    fn now(&self) -> Instant;
    /// Makes a process; its number, or why not.
    fn spawn(&mut self, order: &Order<'_>) -> Result<i32, String>;
    /// Sends a signal to one of the service's own processes.
    fn signal(&mut self, pid: i32, signal: i32);
    /// Sends a signal to every process of the service but these; whether there were any.
    fn signal_others(&mut self, but: &[i32], signal: i32) -> bool;
    /// Whether there are processes of the service besides these.
    fn has_others(&mut self, but: &[i32]) -> bool;
    /// The number in a PID file, if that process is one of the service's: from now on its end is told.
    fn read_pid_file(&mut self, path: &str) -> Result<i32, String>;
    /// The one process of the service that looks like its main one.
    fn guess_main(&mut self, but: &[i32]) -> Option<i32>;
    /// Whether there is a message bus that tells of this name from now on.
    fn watch_name(&mut self, name: &str) -> bool;
    /// Takes away RuntimeDirectory= and the PID file.
    fn tidy(&mut self, will_restart: bool);
    /// Something to tell.
    fn tell(&mut self, text: &str);
}

/// How a process of the service went.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Its number.
    pub pid: i32,
    /// When it was made.
    pub began: SystemTime,
    /// When and how it ended.
    pub ended: Option<(SystemTime, WaitStatus)>,
}

/// One service.
#[derive(Debug)]
pub struct Service {
    /// What it is to be.
    pub config: Config,
    /// Where it is.
    pub state: State,
    /// Why it ended, or would end.
    pub result: Outcome,
    /// Its main process, while it lives.
    pub main: Option<i32>,
    /// The command that runs now, while it does.
    pub control: Option<i32>,
    /// Which list that is of, and which of it.
    pub(super) at: Option<(Step, usize)>,
    /// Which of ExecStart= the main process is.
    main_at: usize,
    /// The last main process.
    pub main_run: Option<Run>,
    /// The last run of each step's command.
    pub runs: [Option<Run>; 7],
    /// STATUS=
    pub status_text: String,
    /// ERRNO=
    pub errno: i32,
    /// The main process said STOPPING=1.
    pub(super) said_stopping: bool,
    /// READY=1 came.
    ready: bool,
    /// Type=dbus: whether somebody owns its name; `None`: there is no bus that would tell.
    pub(super) owned: Option<bool>,
    /// When the present state has lasted long enough.
    pub deadline: Option<Instant>,
    /// When the watchdog bites.
    pub bite: Option<Instant>,
    /// WATCHDOG_USEC= takes the place of WatchdogSec=.
    pub watchdog: Option<Duration>,
    /// When RuntimeMaxSec= is over.
    pub(super) run_until: Option<Instant>,
    /// Starts in a window.
    pub limit: StartLimit,
    /// The next start is one of those.
    pub by_itself: bool,
    /// Restarts by Restart= since the last start by hand.
    pub restarts: u32,
    /// It is being stopped because somebody wants it: it is not restarted.
    pub forbid_restart: bool,
    /// It is being stopped to be started again by a job.
    pub for_restart: bool,
    /// How the last reload went.
    pub reload_result: Outcome,
    /// Nobody needs it: systemd would have it out of memory, with all that was known of its runs.
    pub forgotten: bool,
}

impl Service {
    /// One that was never started.
    pub fn new(config: Config) -> Service {
        let limit = StartLimit::new(config.start_limit.0, config.start_limit.1);
        Service {
            state: State::Dead,
            result: Outcome::Success,
            main: None,
            control: None,
            at: None,
            main_at: 0,
            main_run: None,
            runs: [None; 7],
            status_text: String::new(),
            errno: 0,
            said_stopping: false,
            ready: false,
            owned: None,
            deadline: None,
            bite: None,
            watchdog: None,
            run_until: None,
            limit,
            by_itself: false,
            restarts: 0,
            forbid_restart: false,
            for_restart: false,
            reload_result: Outcome::Success,
            forgotten: false,
            config,
        }
    }

    /// What that is for others.
    pub fn active(&self) -> Active {
        // as systemd: what is up when it was forked is up while ExecStartPost= runs, too
        self.state.active()
    }

    /// When something is due; `None`: nothing is.
    pub fn due(&self) -> Option<Instant> {
        [self.deadline, self.bite, self.run_until].into_iter().flatten().min()
    }

    /// Begins a start. False: the limit is hit, and it has failed.
    pub fn start(&mut self, hands: &mut dyn Hands) -> bool {
        if !matches!(self.state, State::Dead | State::Failed | State::AutoRestart) {
            return true;
        }
        if !self.limit.allows(hands.now()) {
            self.result = Outcome::StartLimitHit;
            self.set(State::Failed);
            self.deadline = None;
            hands.tell("Start request repeated too quickly.");
            return false;
        }
        if !std::mem::take(&mut self.by_itself) {
            self.restarts = 0;
        }
        self.forgotten = false;
        self.result = Outcome::Success;
        self.reload_result = Outcome::Success;
        self.main_run = None;
        self.runs = [None; 7];
        self.status_text.clear();
        self.errno = 0;
        self.said_stopping = false;
        self.ready = false;
        self.owned = None;
        self.forbid_restart = false;
        self.for_restart = false;
        self.watchdog = self.config.watchdog;
        self.run_until = None;
        self.begin(Step::Condition, State::Condition, hands);
        true
    }

    /// Asks for the end. It is not started again by itself.
    pub fn stop(&mut self, hands: &mut dyn Hands) {
        self.forbid_restart = true;
        match self.state {
            State::Dead | State::Failed => {}
            State::AutoRestart => {
                self.deadline = None;
                self.set(State::Dead);
            }
            State::Condition | State::StartPre | State::Start | State::StartPost => self.signal_phase(State::StopSigterm, Outcome::Success, hands),
            // what reloads it is ended first
            State::Reload => {
                self.end_control(hands);
                self.enter_stop(Outcome::Success, hands);
            }
            State::Running | State::Exited => self.enter_stop(Outcome::Success, hands),
            _ => {}
        }
    }

    /// Begins a reload; false: it has none.
    pub fn reload(&mut self, hands: &mut dyn Hands) -> bool {
        if self.config.kind == Type::NotifyReload && self.config.commands(Step::Reload).is_empty() {
            let Some(main) = self.main else { return false };
            self.ready = false;
            self.set(State::Reload);
            self.arm(self.config.timeout_start, hands);
            hands.signal(main, self.config.reload_signal);
            return true;
        }
        if self.config.commands(Step::Reload).is_empty() {
            return false;
        }
        self.reload_result = Outcome::Success;
        self.begin(Step::Reload, State::Reload, hands);
        true
    }

    /// Forgets a failure.
    pub fn reset_failed(&mut self) {
        if self.state == State::Failed {
            self.set(State::Dead);
        }
        self.result = Outcome::Success;
        self.reload_result = Outcome::Success;
        self.restarts = 0;
        self.limit.forget();
    }

    /// It is down, and nobody needs it: the next start is the first again.
    pub fn forget(&mut self) {
        self.forgotten = true;
        self.runs = [None; 7];
        self.status_text.clear();
        self.restarts = 0;
        self.limit.forget();
    }

    /// It may not be started as it is.
    pub fn refuse(&mut self) {
        self.result = Outcome::Resources;
        self.deadline = None;
        self.set(State::Failed);
    }

    fn set(&mut self, state: State) {
        self.state = state;
    }

    fn arm(&mut self, limit: Option<Duration>, hands: &dyn Hands) {
        self.deadline = limit.and_then(|limit| hands.now().checked_add(limit));
    }

    fn set_main(&mut self, pid: i32) {
        self.main = Some(pid);
        self.main_run = Some(Run { pid, began: SystemTime::now(), ended: None });
    }

    /// The service said which process is its main one (MAINPID=), and it is one of its own.
    pub fn adopt_main(&mut self, pid: i32) {
        if self.main != Some(pid) {
            self.set_main(pid);
        }
    }

    fn start_watchdog(&mut self, hands: &dyn Hands) {
        self.bite = self.watchdog.and_then(|limit| hands.now().checked_add(limit));
    }

    /// A sign of life (WATCHDOG=1).
    pub fn alive(&mut self, hands: &dyn Hands) {
        if self.bite.is_some() || self.state == State::Running {
            self.start_watchdog(hands);
        }
    }

    /// The watchdog's time becomes another (WATCHDOG_USEC=).
    pub fn set_watchdog(&mut self, limit: Option<Duration>, hands: &dyn Hands) {
        self.watchdog = limit;
        if self.bite.is_some() || self.state == State::Running {
            self.start_watchdog(hands);
        }
    }

    /// EXTEND_TIMEOUT_USEC=: the present step may last this much longer from now.
    pub fn extend(&mut self, more: Duration, hands: &dyn Hands) {
        if let (Some(deadline), Some(until)) = (self.deadline, hands.now().checked_add(more)) {
            self.deadline = Some(deadline.max(until));
        }
    }

    /// Whether what makes the service be up is there.
    fn is_good(&mut self, hands: &mut dyn Hands) -> bool {
        if self.owned == Some(false) {
            return false;
        }
        if self.main_run.is_some_and(|run| run.ended.is_none()) {
            return self.main.is_some();
        }
        // its main process is known to have ended: what it left behind does not count
        if self.main_run.is_some() && !self.config.runs_with_any {
            return false;
        }
        let own = self.own();
        hands.has_others(&own)
    }

    /// Numbers of its own processes that live.
    pub(crate) fn own(&self) -> Vec<i32> {
        self.main.into_iter().chain(self.control).collect()
    }

    pub(super) fn enter_running(&mut self, found: Outcome, hands: &mut dyn Hands) {
        self.blame(found);
        self.at = None;
        if self.result != Outcome::Success {
            return self.signal_phase(State::StopSigterm, found, hands);
        }
        if self.is_good(hands) {
            self.set(State::Running);
            self.deadline = None;
            // a start, however long, is no silence
            if self.bite.is_none() {
                self.start_watchdog(hands);
            }
            if self.run_until.is_none() {
                self.run_until = self.config.runtime_max.and_then(|limit| hands.now().checked_add(limit));
            }
            // it said so before it was up
            if self.said_stopping {
                self.enter_stop_by_itself(hands);
            }
        } else if self.config.remain {
            self.set(State::Exited);
            self.deadline = None;
        } else {
            self.enter_stop(Outcome::Success, hands);
        }
    }

    /// The first thing that went wrong is the result.
    pub(super) fn blame(&mut self, found: Outcome) {
        if self.result == Outcome::Success {
            self.result = found;
        }
    }

    /// READY=1
    pub fn is_ready(&mut self, hands: &mut dyn Hands) {
        self.ready = true;
        match self.state {
            State::Start if self.config.kind.is_notifying() => self.after(Step::Start, hands),
            State::Reload if self.control.is_none() => self.enter_running(Outcome::Success, hands),
            _ => {}
        }
    }

    /// RELOADING=1
    pub fn is_reloading(&mut self, hands: &mut dyn Hands) {
        if self.state == State::Running {
            self.ready = false;
            self.set(State::Reload);
            self.arm(self.config.timeout_start, hands);
        }
    }

    /// STOPPING=1
    pub fn is_stopping(&mut self, hands: &mut dyn Hands) {
        self.said_stopping = true;
        if self.state == State::Running {
            self.enter_stop_by_itself(hands);
        }
    }

    /// The main process ends by itself: it is waited for as if it had been told to.
    fn enter_stop_by_itself(&mut self, hands: &mut dyn Hands) {
        self.set(State::StopSigterm);
        self.arm(self.config.timeout_stop, hands);
    }

    /// Somebody owns its name on the message bus from now on, or nobody.
    pub fn named(&mut self, owned: bool, hands: &mut dyn Hands) {
        if self.owned.is_none() {
            return;
        }
        self.owned = Some(owned);
        match self.state {
            State::Start if owned && self.main.is_some() => self.after(Step::Start, hands),
            State::Running if !owned => self.enter_running(Outcome::Success, hands),
            _ => {}
        }
    }

    /// There is no connection to the bus any more: who waits for a name waits on another, or not at all.
    pub fn bus_lost(&mut self, hands: &mut dyn Hands) {
        let waits = self.state == State::Start && self.owned.is_some();
        self.owned = None;
        if let Some(name) = self.config.bus_name.clone().filter(|_| waits) {
            self.owned = hands.watch_name(&name).then_some(false);
            if self.owned.is_none() {
                self.after(Step::Start, hands);
            }
        }
    }

    /// There is a connection to the bus again: a name is watched that was owned.
    pub fn watch_name_again(&mut self, hands: &mut dyn Hands) {
        let is_up = self.owned.is_none() && matches!(self.state, State::Running | State::Reload);
        if let (true, Type::Dbus, Some(name)) = (is_up, self.config.kind, &self.config.bus_name) {
            self.owned = hands.watch_name(name).then_some(true);
        }
    }

    /// Whether the start is done when the program was executed. Without a bus to watch, Type=dbus is, too.
    fn awaits_exec(&self) -> bool {
        self.config.kind == Type::Exec || self.config.kind == Type::Dbus && self.owned.is_none()
    }

    /// The program of the main process was executed (only told when [`Order::confirm`] was set).
    pub fn executed(&mut self, hands: &mut dyn Hands) {
        if self.state == State::Start && self.awaits_exec() {
            self.after(Step::Start, hands);
        }
    }
}
