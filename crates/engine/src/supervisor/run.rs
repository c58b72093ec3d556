//! The event loop of a running machine: from "PID 1 runs" to "PID 1 is dead and everything it wrote is shown".
//!
//! | what happens | what is done |
//! |---|---|
//! | of a native command: any of SIGINT, SIGQUIT, SIGUSR1, SIGUSR2; the first SIGTERM or SIGHUP, which also starts the clock | passed on to it |
//! | first SIGTERM, SIGINT, SIGHUP, SIGQUIT, or our terminal is gone | `desired` = off; kill signal, or the init is asked; neither: SIGKILL |
//! | second one, `^]^]^]` | SIGKILL to PID 1 |
//! | `^]^]p`, `^]^]r` | the init is asked to power off, to reboot |
//! | SIGWINCH | the pty gets our window's size |
//! | SIGCHLD | processes that were left to us are reaped |
//! | the payload says READY, STATUS, ERRNO, FDSTORE, FDSTOREREMOVE | passed on to our own service manager |
//! | a request on the control socket | done and answered ([`requests`]) |
//! | PID 1 is dead | the rest of its output is shown, visitors are told, the [`Outcome`] is given |
//!
//! One thread, one epoll, two console buffers; nothing grows while the machine runs. Whatever goes wrong in here, the
//! machine is not left behind: an error kills it before it is returned.

pub mod attach;
mod beside;
mod exit;
mod requests;
mod stopping;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use hostel_ipc::control::{Desired, Event, Server};
use hostel_ipc::notify::{self, Message, Receiver};
use hostel_process::console::{Console, Drained, End as ConsoleEnd, Happening, Hotkey};
use hostel_process::event::{Interest, Poller, Ready};
use hostel_spec::{Lifecycle, Payload, Signal};
use hostel_sys::clone::{self, WaitStatus};
use hostel_sys::event::{SignalFd, SignalMask, block_signals, set_blocked_signals};
use rustix::io;
use rustix::process::WaitOptions;

pub use exit::{End, ExitDecision, Outcome, RebootBrake, exit_status};
use stopping::{Due, Phase};
pub use stopping::{Goal, Next, pause_after};

use super::beside::Beside;
use crate::error::{Context, Result};
use crate::network;

const SIGHUP: i32 = 1;
const SIGQUIT: i32 = 3;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGCONT: i32 = 18;
const SIGWINCH: i32 = 28;
/// glibc's SIGRTMIN+4 and +5: what systemd takes for power-off and reboot.
const POWER_OFF: i32 = 38;
const REBOOT: i32 = 39;

/// Time for a stop over the control socket when nobody says anything else.
const STOP_TIMEOUT: Duration = Duration::from_secs(90);
/// Pause after an accept(2) that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How to ask this machine's init for its end. Implementations never block.
pub trait StopPolicy {
    /// Asks for `goal`, for the `round`th time (from 0).
    fn request(&mut self, goal: Goal, round: u32) -> Next;
    /// Descriptors that become readable when a command which was sent into the machine has ended. Until such a one is reaped
    /// its pid namespace, and with that PID 1, cannot end.
    fn commands(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
    /// Reaps commands that have ended, which closes their descriptors.
    fn reap(&mut self) {}
}

/// What the loop tells the rest of the supervisor, and asks of it. Implementations never block.
pub trait Owner {
    /// Note what should become of the machine where others find it.
    fn desired_changed(&mut self, _desired: Desired) {}
    /// The payload is ready: it said so.
    fn ready(&mut self) {}
    /// The machine is about to be asked or killed: thaw it if it is frozen.
    fn thaw(&mut self) {}
    /// Sends a raw signal to every process of the machine but PID 1 (`SIGKILL`: that, too); whether that is possible.
    fn signal_all(&mut self, _signal: i32) -> bool {
        false
    }
}

/// An owner that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOwner;
impl Owner for NoOwner {}

/// The signals a supervisor handles, blocked from early on, so that none is lost or kills us half-way.
///
/// The payload must not inherit the mask: it starts with [`Signals::previous`]. Dropping this restores it.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    previous: SignalMask,
}

impl Signals {
    /// Blocks them.
    pub fn block() -> Result<Signals> {
        let mask = SignalMask::of(&[SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD, SIGCONT, SIGWINCH]);
        let previous = block_signals(mask).context("block", "signals")?;
        let fd = SignalFd::new(mask).context("open", "signalfd")?;
        Ok(Signals { fd, previous })
    }
    /// What was blocked before.
    pub fn previous(&self) -> SignalMask {
        self.previous
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What is pending is delivered now: a SIGTERM that came too late for the machine still ends us.
        let _ = set_blocked_signals(self.previous);
    }
}

/// Our own service manager and the payload's notify socket.
#[derive(Debug, Default)]
pub struct NotifyRelay {
    /// What the payload's `$NOTIFY_SOCKET` leads to.
    pub receiver: Option<Receiver>,
    /// Our own `$NOTIFY_SOCKET`.
    pub upstream: Option<String>,
    /// How long it waits for a sign of life.
    pub watchdog: Option<Duration>,
}

impl NotifyRelay {
    /// Has our service manager keep the machine's descriptors, apart from our own by their name, or let them go.
    fn store(&self, message: &Message, descriptors: &[OwnedFd]) {
        let Some(socket) = &self.upstream else { return };
        let order = match (message.store, message.store_remove) {
            (true, _) if !descriptors.is_empty() => "FDSTORE=1",
            (false, true) => "FDSTOREREMOVE=1",
            _ => return,
        };
        let name = message.name.as_deref().unwrap_or("stored");
        // Longer than systemd takes it, it would be dropped.
        let name: String = name.chars().take(255 - "payload-".len()).collect();
        let poll = if message.unpolled { "\nFDPOLL=0" } else { "" };
        let borrowed: Vec<_> = if message.store { descriptors.iter().map(AsFd::as_fd).collect() } else { Vec::new() };
        let _ = notify::send_with(socket, &format!("{order}\nFDNAME=payload-{name}{poll}"), &borrowed);
    }

    fn tell(&self, message: &str) {
        if let Some(socket) = &self.upstream {
            // A service manager that does not listen is no reason to end the machine.
            let _ = notify::send(socket, message);
        }
    }
}

/// A machine whose PID 1 has been executed. It stays usable after [`watch`]: its sockets close when it is dropped,
/// which tells waiting clients that everything is undone; `console` and `control` may be moved to the next boot.
pub struct Running<'a> {
    /// PID 1.
    pub leader: OwnedFd,
    /// Its number in our pid namespace.
    pub leader_pid: i32,
    /// Whether it is PID 1 of a namespace of its own.
    pub own_pid_namespace: bool,
    /// When it was started.
    pub started: Instant,
    /// The console, when there is one.
    pub console: Option<Console>,
    /// The control socket, when there is one.
    pub control: Option<Server>,
    /// sd_notify, both ways.
    pub notify: NotifyRelay,
    /// From the spec.
    pub lifecycle: Lifecycle,
    /// What PID 1 is.
    pub payload: Payload,
    /// How to ask its init.
    pub stop: Option<Box<dyn StopPolicy + 'a>>,
    /// Time from the first SIGTERM to SIGKILL; `None` = without limit, as systemd-nspawn.
    pub stop_timeout: Option<Duration>,
    /// Our signals.
    pub signals: Signals,
    /// Reap every child, as a subreaper must. Only for a process whose children are all the machine's.
    pub reap_orphans: bool,
    /// What serves its network.
    pub network: Option<&'a mut network::Made>,
    /// Readable when the host's systemd ends the machine's scope.
    pub unit: Option<BorrowedFd<'a>>,
    /// Speaks a protocol of others.
    pub beside: Option<&'a mut (dyn Beside + 'static)>,
    /// The rest of the supervisor.
    pub owner: &'a mut dyn Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Leader,
    Signals,
    Console(ConsoleEnd),
    Listener,
    Client(u32),
    Notify,
    Network,
    Unit,
    Beside,
    /// A command sent into the machine has ended.
    Command(RawFd),
}

/// Watches over the machine until PID 1 is dead and its output shown. The terminal is back as it was by then.
pub fn watch(running: &mut Running<'_>) -> Result<Outcome> {
    let outcome = match Watch::new(running) {
        Ok(mut watch) => watch.run(),
        Err(e) => Err(e),
    };
    if let Some(console) = &mut running.console {
        console.finish();
    }
    if outcome.is_err() {
        let _ = clone::pidfd_send_signal(running.leader.as_fd(), SIGKILL);
        let _ = clone::wait_pidfd(running.leader.as_fd(), clone::WAIT_EXITED);
    }
    outcome
}

struct Watch<'w, 'a> {
    machine: &'w mut Running<'a>,
    poller: Poller<Token>,
    phase: Phase,
    desired: Desired,
    /// SIGTERM and its like, so far.
    told_to_end: u32,
    killed_by_us: bool,
    halted: bool,
    timed_out: bool,
    ready: bool,
    status_text: String,
    /// Set when reaping orphans met PID 1.
    reaped: Option<WaitStatus>,
    accept_again: Option<Instant>,
    /// When the next sign of life is due.
    alive_again: Option<Instant>,
}

impl<'w, 'a> Watch<'w, 'a> {
    fn new(machine: &'w mut Running<'a>) -> Result<Self> {
        let mut poller = Poller::new().context("open", "epoll")?;
        poller.want(Token::Leader, &machine.leader, Interest::READ).context("watch", "PID 1 of the machine")?;
        poller.want(Token::Signals, &machine.signals.fd, Interest::READ).context("watch", "signals")?;
        if let Some(receiver) = &machine.notify.receiver {
            poller.want(Token::Notify, receiver, Interest::READ).context("watch", "notify socket")?;
        }
        if let Some(beside) = &machine.beside {
            poller.want(Token::Beside, beside.descriptor(), Interest::READ).context("watch", "clients of others")?;
        }
        if let Some(unit) = machine.unit {
            poller.want(Token::Unit, unit, Interest::READ).context("watch", "scope of the machine")?;
        }
        if let Some(console) = &mut machine.console {
            console.begin().context("change", "mode of the terminal")?;
        }
        // The first one at once, then twice as often as asked for.
        let alive_again = machine.notify.watchdog.filter(|_| machine.notify.upstream.is_some()).map(|_| Instant::now());
        Ok(Watch {
            machine,
            poller,
            phase: Phase::Running,
            desired: Desired::On,
            told_to_end: 0,
            killed_by_us: false,
            halted: false,
            timed_out: false,
            ready: false,
            status_text: String::new(),
            reaped: None,
            accept_again: None,
            alive_again,
        })
    }

    fn run(&mut self) -> Result<Outcome> {
        let pid = self.machine.leader_pid;
        let ready = if self.machine.lifecycle.notify_ready { "" } else { "READY=1\n" };
        self.machine.notify.tell(&format!("{ready}STATUS=Machine running.\nX_NSPAWN_LEADER_PID={pid}"));
        let status = loop {
            self.declare().context("watch", "descriptors of the machine")?;
            let services = self.machine.network.as_ref().and_then(|n| n.services()).and_then(|s| s.deadline());
            let console = self.machine.console.as_ref().and_then(Console::deadline);
            let deadline = [self.phase.deadline(), self.accept_again, services, self.alive_again, console];
            let deadline = deadline.into_iter().flatten().min();
            let mut dead = false;
            for ready in self.poller.wait(deadline).context("wait for", "the machine")? {
                dead |= ready.token == Token::Leader;
                self.handle(ready);
            }
            if dead {
                self.hear_last_words();
            }
            if dead && let Some(status) = self.status_of_leader()? {
                break status;
            }
            self.act_on_time();
        };
        let outcome = self.outcome(status);
        self.drain();
        let decision = exit_status(&outcome, &self.machine.lifecycle, self.machine.payload);
        if let Some(control) = &mut self.machine.control {
            control.announce(&Event::Ended(outcome.ended(decision)));
        }
        Ok(outcome)
    }

    /// Says for every descriptor what to wait for now.
    fn declare(&mut self) -> io::Result<()> {
        let mut room = usize::MAX;
        if let Some(console) = &mut self.machine.console {
            console.prepare(&mut self.poller, Token::Console)?;
            room = console.room();
        }
        if self.accept_again.is_some_and(|at| at <= Instant::now()) {
            self.accept_again = None;
        }
        if let Some(services) = self.machine.network.as_ref().and_then(|n| n.services()) {
            self.poller.want(Token::Network, services, Interest::READ)?;
        }
        for command in self.machine.stop.iter().flat_map(|policy| policy.commands()) {
            self.poller.want(Token::Command(command.as_raw_fd()), command, Interest::READ)?;
        }
        let Some(control) = &self.machine.control else { return Ok(()) };
        let accept = if self.accept_again.is_none() { Interest::READ } else { Interest::NONE };
        self.poller.want(Token::Listener, control.listener(), accept)?;
        for (id, fd) in control.clients() {
            // Who types faster than the machine reads waits, as far as one socket's queue goes.
            let read = room >= requests::TYPED_AT_ONCE || !control.is_visitor(id);
            self.poller.want(Token::Client(id), fd, if read { Interest::READ } else { Interest::NONE })?;
        }
        Ok(())
    }

    fn handle(&mut self, ready: Ready<Token>) {
        match ready.token {
            Token::Leader => {}
            Token::Signals => self.take_signals(),
            Token::Console(end) => self.handle_console(end, ready),
            Token::Listener => self.accept(),
            Token::Client(id) => self.serve(id),
            Token::Notify => {
                self.take_notification();
            }
            Token::Network => self.serve_network(),
            Token::Unit => self.unit_stops(),
            Token::Beside => self.turn_beside(),
            Token::Command(_) => self.reap_commands(),
        }
    }

    /// Somebody ends the scope with systemctl: as if we were told so.
    fn unit_stops(&mut self) {
        if let Some(unit) = self.machine.unit.take() {
            self.poller.forget(Token::Unit, unit);
            self.told_to_end(SIGTERM);
        }
    }

    /// Those that still run are watched again from the next turn on.
    fn reap_commands(&mut self) {
        let Some(policy) = &mut self.machine.stop else { return };
        for command in policy.commands() {
            self.poller.forget(Token::Command(command.as_raw_fd()), command);
        }
        policy.reap();
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.machine.signals.fd.read() {
            match info.signal {
                SIGINT | SIGQUIT | SIGUSR1 | SIGUSR2 if self.passes_on() => self.pass_on(info.signal),
                SIGTERM | SIGINT | SIGHUP | SIGQUIT => self.told_to_end(info.signal),
                SIGCHLD => self.reap(),
                SIGWINCH => {
                    if let Some(console) = &self.machine.console {
                        console.window_changed();
                    }
                }
                SIGCONT => {
                    if let Some(console) = &mut self.machine.console {
                        // The shell had the terminal meanwhile. A terminal that cannot be raw any more is gone.
                        let _ = console.resume();
                    }
                }
                _ => {}
            }
        }
    }

    fn handle_console(&mut self, end: ConsoleEnd, ready: Ready<Token>) {
        let Some(console) = &mut self.machine.console else { return };
        let happening = console.handle(end, ready, &mut self.poller);
        let unread = console.reader_left();
        match happening {
            Happening::Nothing => {}
            Happening::Output => self.show_others(),
            Happening::Hotkey(Hotkey::Kill) => self.end_now(),
            Happening::Hotkey(Hotkey::Reboot) => self.phase.ask(Goal::Reboot, None, Instant::now()),
            Happening::Hotkey(Hotkey::PowerOff) => {
                self.set_desired(Desired::Off);
                self.phase.ask(Goal::PowerOff, None, Instant::now());
            }
            Happening::HungUp => self.told_to_end(SIGHUP),
        }
        // As for any command in a pipeline: what nobody reads need not go on.
        if unread {
            self.told_to_end(SIGHUP);
        }
    }

    fn set_desired(&mut self, desired: Desired) {
        if self.desired != desired {
            self.desired = desired;
            self.machine.owner.desired_changed(desired);
        }
    }

    /// A native command is told what we are told, by its stub: it may want to clean up, or to go on.
    fn passes_on(&self) -> bool {
        let lifecycle = &self.machine.lifecycle;
        self.machine.payload == Payload::CommandAsPid2 && !lifecycle.nspawn_exit_status && lifecycle.kill_signal.is_none()
    }

    fn pass_on(&mut self, signal: i32) {
        self.machine.owner.thaw();
        // ESRCH: it is dead already.
        let _ = clone::pidfd_send_signal(self.machine.leader.as_fd(), signal);
    }

    fn told_to_end(&mut self, signal: i32) {
        self.told_to_end += 1;
        if self.told_to_end == 1 && self.passes_on() {
            self.set_desired(Desired::Off);
            self.phase.told(self.machine.stop_timeout, Instant::now());
            return self.pass_on(signal);
        }
        let asks = self.machine.lifecycle.kill_signal.is_some() || (self.machine.payload == Payload::Boot && self.machine.stop.is_some());
        if self.told_to_end > 1 || !asks {
            self.end_now();
        } else {
            self.begin_stop(self.machine.stop_timeout);
        }
    }

    fn begin_stop(&mut self, timeout: Option<Duration>) {
        self.set_desired(Desired::Off);
        self.machine.notify.tell("STOPPING=1\nSTATUS=Stopping the machine.");
        self.machine.owner.thaw();
        self.phase.ask(Goal::PowerOff, timeout, Instant::now());
    }

    fn end_now(&mut self) {
        self.set_desired(Desired::Off);
        self.kill();
    }

    fn kill(&mut self) {
        self.phase.kill();
        self.killed_by_us = true;
        self.machine.owner.thaw();
        // ESRCH: it is dead already.
        let _ = clone::pidfd_send_signal(self.machine.leader.as_fd(), SIGKILL);
        if !self.machine.own_pid_namespace {
            // Nothing else ends its other processes.
            self.machine.owner.signal_all(SIGKILL);
        }
    }

    fn serve_network(&mut self) {
        if let Some(network) = &mut self.machine.network {
            network.turn();
        }
    }

    fn act_on_time(&mut self) {
        let now = Instant::now();
        if self.machine.network.as_ref().and_then(|n| n.services()).and_then(|s| s.deadline()).is_some_and(|at| at <= now) {
            self.serve_network();
        }
        if let (Some(due), Some(interval)) = (self.alive_again, self.machine.notify.watchdog)
            && due <= now
        {
            self.machine.notify.tell("WATCHDOG=1");
            self.alive_again = Some(now + interval / 2);
        }
        while let Some(due) = self.phase.due(now) {
            match due {
                Due::Ask(goal, round) => {
                    let next = self.ask(goal, round);
                    self.phase.asked(next, now);
                    if next == Next::Halted {
                        self.halted = true;
                        self.kill();
                    }
                }
                Due::EndOthers => {
                    self.timed_out = true;
                    self.machine.owner.signal_all(SIGTERM);
                }
                Due::Kill => self.kill(),
            }
        }
    }

    fn ask(&mut self, goal: Goal, round: u32) -> Next {
        let leader = self.machine.leader.as_fd();
        let send = |signal: i32| {
            let _ = clone::pidfd_send_signal(leader, signal);
        };
        match (goal, self.machine.lifecycle.kill_signal, &mut self.machine.stop) {
            (Goal::PowerOff, Some(signal), _) => {
                send(Signal::raw(signal));
                // An init early in its boot loses signals; a program may take a second one as an order to hurry.
                if self.machine.payload == Payload::Boot { Next::AskAgain(pause_after(round)) } else { Next::Wait }
            }
            (_, _, Some(policy)) => policy.request(goal, round),
            (Goal::PowerOff, None, None) => {
                send(POWER_OFF);
                Next::Wait
            }
            (Goal::Reboot, _, None) => {
                send(REBOOT);
                Next::Wait
            }
        }
    }

    /// What PID 1 said before it died, as long as its number is its own.
    fn hear_last_words(&mut self) {
        // A queue holds no more than that (net.unix.max_dgram_qlen is 10 to 512), and nobody adds to it.
        let mut left = 512;
        while left > 0 && self.take_notification() {
            left -= 1;
        }
    }

    /// Whether there was one.
    fn take_notification(&mut self) -> bool {
        let Some(receiver) = &self.machine.notify.receiver else { return false };
        // Descriptors are of use only to who keeps them.
        let received = match self.machine.notify.upstream {
            Some(_) => receiver.receive_with(self.machine.leader_pid),
            None => receiver.receive(self.machine.leader_pid).map(|message| message.map(|m| (m, Vec::new()))),
        };
        match received {
            Ok(Some((message, descriptors))) => {
                self.machine.notify.store(&message, &descriptors);
                self.notified(message);
                true
            }
            Ok(None) => false,
            // It would be readable for ever.
            Err(_) => {
                self.poller.forget(Token::Notify, receiver);
                self.machine.notify.receiver = None;
                false
            }
        }
    }

    fn notified(&mut self, message: Message) {
        let mut lines = String::new();
        if message.ready {
            self.ready = true;
            self.machine.owner.ready();
            if let Some(control) = &mut self.machine.control {
                control.announce(&Event::Ready);
            }
            if self.machine.lifecycle.notify_ready {
                lines.push_str("READY=1\n");
            }
        }
        if let Some(errno) = message.errno {
            lines.push_str(&format!("ERRNO={errno}\n"));
        }
        if let Some(text) = message.status {
            lines.push_str(&format!("STATUS=Machine running: {text}\n"));
            self.status_text = text;
        } else if message.ready {
            lines.push_str("STATUS=Machine running.\n");
        }
        if !lines.is_empty() {
            self.machine.notify.tell(&lines);
        }
    }

    /// Waits for everything that died, PID 1 included when it is met.
    fn reap(&mut self) {
        if !self.machine.reap_orphans {
            return;
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get() == self.machine.leader_pid {
                self.reaped = Some(WaitStatus::from_raw(status.as_raw()));
            }
        }
    }

    fn status_of_leader(&mut self) -> Result<Option<WaitStatus>> {
        if self.reaped.is_some() {
            return Ok(self.reaped);
        }
        clone::wait_pidfd(self.machine.leader.as_fd(), clone::WAIT_EXITED | clone::WAIT_NOHANG).context("wait for", "PID 1 of the machine")
    }

    fn outcome(&self, status: WaitStatus) -> Outcome {
        let end = match status {
            WaitStatus::Exited(code) => End::Exited(code as u8),
            WaitStatus::Signaled { signal, core } => End::Killed { signal: signal as u8, core },
            // Only an end is waited for.
            WaitStatus::Stopped(_) | WaitStatus::Continued => End::Exited(1),
        };
        Outcome {
            end,
            desired: self.desired,
            killed_by_us: self.killed_by_us,
            halted: self.halted,
            timed_out: self.timed_out,
            own_pid_namespace: self.machine.own_pid_namespace,
        }
    }

    /// Shows what the machine wrote before its death. Waits for a slow reader, but not against an order to end.
    fn drain(&mut self) {
        loop {
            let Some(console) = &mut self.machine.console else { return };
            match console.drain() {
                Drained::Done => return,
                Drained::Output => {
                    self.show_others();
                    continue;
                }
                Drained::Blocked => {}
            }
            let ready = console.prepare_drain(&mut self.poller, Token::Console).and_then(|()| {
                // Readable for ever now.
                self.poller.forget(Token::Leader, &self.machine.leader);
                forget_control(&mut self.poller, self.machine.control.as_ref());
                if let Some(unit) = self.machine.unit.take() {
                    self.poller.forget(Token::Unit, unit);
                }
                if let Some(services) = self.machine.network.as_ref().and_then(|n| n.services()) {
                    self.poller.forget(Token::Network, services);
                }
                if let Some(beside) = &self.machine.beside {
                    self.poller.forget(Token::Beside, beside.descriptor());
                }
                self.poller.wait(None)
            });
            let Ok(ready) = ready else { return };
            for ready in ready {
                if ready.token == Token::Signals && end_is_ordered(&self.machine.signals.fd) {
                    console.discard();
                }
            }
        }
    }
}

fn forget_control(poller: &mut Poller<Token>, control: Option<&Server>) {
    let Some(control) = control else { return };
    poller.forget(Token::Listener, control.listener());
    for (id, fd) in control.clients() {
        poller.forget(Token::Client(id), fd);
    }
}

fn end_is_ordered(signals: &SignalFd) -> bool {
    let mut ordered = false;
    while let Ok(Some(info)) = signals.read() {
        ordered |= matches!(info.signal, SIGTERM | SIGINT | SIGHUP | SIGQUIT);
    }
    ordered
}
