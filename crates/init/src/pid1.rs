//! The init: PID 1 of a machine, or of a container, or of nothing but its own services.
//!
//! It asks for nothing that a place may not give: file systems that are missing are mounted if they can be, the control socket
//! goes where it can be made, groups are used where they can be written. Then one loop, until the machine is to end.

mod again;
mod beside;
mod place;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hostel_sys::event::{SignalFd, SignalMask, block_signals};
use hostel_sys::{peer, proc};
use hostel_unit::{Kind, UnitName};

use crate::bus::Bus;
use crate::control::server::Server;
use crate::journal::console::Form;
use crate::journal::sockets::Sockets;
use crate::manager::generators;
use crate::manager::members::Members;
use crate::manager::notify::{DATAGRAM_MAX, Words};
use crate::manager::query::{Answer, Request};
use crate::manager::sandbox;
use crate::manager::state::State;
use crate::manager::variables::Environment;
use crate::manager::world::Token;
use crate::manager::{End, Manager};
use crate::root::Root;
use crate::search::{Scope, SearchPath};
use crate::transaction::{JobMode, JobType};

const HUP: i32 = 1;
const INT: i32 = 2;
const USR1: i32 = 10;
const USR2: i32 = 12;
const TERM: i32 = 15;
const CHLD: i32 = 17;
const WINCH: i32 = 28;
const PWR: i32 = 30;
/// glibc's SIGRTMIN, from which systemd counts.
const RTMIN: i32 = 34;
/// Inode of the kernel's first namespace of processes (PROC_PID_INIT_INO).
const FIRST_NAMESPACE: u64 = 0xeffffffc;
/// Processes that are no unit's get this long to end before they are killed.
const LAST_CALL: Duration = Duration::from_secs(5);

/// Which signals do something; the others are blocked, too, so that none ends a PID 1 that did not expect it.
#[rustfmt::skip]
const SIGNALS: &[i32] = &[
    HUP, INT, USR1, USR2, TERM, CHLD, WINCH, PWR,
    RTMIN, RTMIN + 1, RTMIN + 2, RTMIN + 3, RTMIN + 4, RTMIN + 5, RTMIN + 6, RTMIN + 13, RTMIN + 14, RTMIN + 15, RTMIN + 16,
];

/// What is asked of the init.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Units to run, and to end with; none: the default target.
    pub units: Vec<String>,
    /// What of the log goes to the console.
    pub log: Form,
    /// Which programs of the tree make unit files.
    pub generators: generators::Which,
    /// Start nothing unasked, beside the init that this system has; end when nothing runs and nobody asks.
    pub on_demand: bool,
    /// Start nothing at all, until somebody asks.
    pub idle: bool,
    /// Without named units: when to end unasked.
    pub ends: Ends,
    /// Variables of our own environment that every service gets, all of them when none is named.
    pub pass: Option<Vec<String>>,
    /// `NAME=value` that every service gets.
    pub environment: Vec<String>,
}

/// When an init ends that nobody tells to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ends {
    /// Never.
    #[default]
    WhenTold,
    /// When no service has a process left.
    WithoutProcesses,
    /// When no service is active, such as those that count as active after their end.
    WithoutServices,
}

/// Variables that are about us and not about our services.
const OWN_VARIABLES: [&str; 9] =
    ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "INVOCATION_ID", "JOURNAL_STREAM", "WATCHDOG_PID", "WATCHDOG_USEC", "container"];

pub use beside::{LaunchLock, READY};

/// How a signal reads, as systemd(1), "SIGNALS", has it; containers' managers send SIGTERM and SIGINT to say "off".
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Reap,
    End(End),
    /// At once, without stopping anything.
    EndNow(End),
    Start(&'static str, JobMode),
    Reload,
    Nothing,
}

fn meaning(signal: i32) -> Meaning {
    match signal {
        CHLD => Meaning::Reap,
        TERM | INT | PWR => Meaning::End(End::PowerOff),
        HUP => Meaning::Reload,
        RTMIN => Meaning::Start("default.target", JobMode::Isolate),
        n if n == RTMIN + 1 => Meaning::Start("rescue.target", JobMode::Isolate),
        n if n == RTMIN + 2 => Meaning::Start("emergency.target", JobMode::Isolate),
        n if n == RTMIN + 3 => Meaning::End(End::Halt),
        n if n == RTMIN + 4 => Meaning::End(End::PowerOff),
        n if n == RTMIN + 5 || n == RTMIN + 6 => Meaning::End(End::Reboot),
        n if n == RTMIN + 13 => Meaning::EndNow(End::Halt),
        n if n == RTMIN + 14 => Meaning::EndNow(End::PowerOff),
        n if n == RTMIN + 15 || n == RTMIN + 16 => Meaning::EndNow(End::Reboot),
        _ => Meaning::Nothing,
    }
}

/// Runs until the machine ends; gives the exit status, or why nothing could be begun. Does not return when the kernel ends it.
pub fn run(wanted: &Wanted) -> Result<u8, String> {
    let saved = again::inherited();
    let signals = signals().map_err(|e| format!("receive signals: {e}"))?;
    let is_first = rustix::process::getpid().is_init();
    if is_first && wanted.on_demand {
        return Err("PID 1 is the init itself, not beside one: leave --on-demand out".to_owned());
    }
    if is_first {
        // what looks for an init by its name finds one
        let _ = proc::set_name(c"init");
    } else {
        // orphans of services come to us, wherever we are
        proc::set_child_subreaper(true).map_err(|e| format!("become the parent of orphans: {e}"))?;
    }
    place::prepare(is_first);
    raise_limit();
    let mut inherited = Environment::default();
    for (name, value) in std::env::vars_os() {
        if let (Some(name), Some(value)) = (name.to_str().filter(|name| !again::is_ours(name)), value.to_str()) {
            inherited.set(name, value);
        }
    }
    if wanted.on_demand {
        let _ = rustix::process::chdir("/");
        let _ = rustix::process::setsid();
    }
    let root: &'static Root = Box::leak(Box::new(Root::host().map_err(|e| e.to_string())?));
    let search = SearchPath::new(root, Scope::System, inherited.get("SYSTEMD_UNIT_PATH"), true);
    // below another init our own group is that one's to divide
    let members = if is_first { Members::find() } else { Members::without_groups() };
    // a user's manager, and one below or beside another init, has no part in the system's mounts, and leaves that one's units alone
    let generates = is_first && rustix::process::geteuid().is_root();
    if generates && saved.is_none() {
        // those of an earlier life, where /run outlives one
        generators::clear();
    }
    let notices = if generates && saved.is_none() { generators::table(root) } else { Vec::new() };
    let mut manager = Manager::new(root, search, members, inherited)?;
    let handed = handed(wanted);
    if !handed.is_empty() {
        manager.ask(Request::SetEnvironment(handed));
    }
    manager.set_console(if wanted.on_demand { Form::Nothing } else { wanted.log });
    let mut init = Init {
        server: None,
        bus: None,
        journal: None,
        signals,
        notify: None,
        named: Vec::new(),
        failed: 0,
        now: None,
        on_demand: wanted.on_demand,
        ends: wanted.ends,
    };
    init.open(is_first, saved.as_deref(), &mut manager);
    notices.iter().for_each(|notice| manager.tell(notice));
    if generates {
        manager.generate(wanted.generators, saved.is_none())?;
    }
    if let Some(text) = &saved {
        init.take_up(text, &mut manager);
    } else if wanted.on_demand {
        if init.server.is_none() {
            return Err("nobody could ask this manager for anything".to_owned());
        }
        manager.stand_beside();
        beside::announce()?;
    } else if !wanted.idle {
        init.begin(wanted, &mut manager)?;
    }
    let _ = sandbox::place::here();
    init.serve(&mut manager).map_err(|e| format!("wait for events: {e}"))?;
    let end = manager.end().unwrap_or(End::PowerOff);
    drop(init.server);
    last_call(&mut manager, is_first, init.now.is_some());
    manager.close_log();
    Ok(finish(end, is_first))
}

/// Each service takes a few descriptors here; services are given limits of their own.
fn raise_limit() {
    let files = hostel_spec::RlimitName::Nofile as u32;
    if let Ok((_, most)) = proc::get_rlimit(0, files) {
        let _ = proc::set_rlimit(files, most, most);
    }
}

/// Variables that every service is to have.
fn handed(wanted: &Wanted) -> Vec<String> {
    let mut handed = Vec::new();
    if let Some(names) = &wanted.pass {
        let is_wanted = |name: &str| {
            !again::is_ours(name) && if names.is_empty() { !OWN_VARIABLES.contains(&name) } else { names.iter().any(|wanted| wanted == name) }
        };
        let own = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        // a name that shells cannot have is nobody's
        let own = own.filter(|(name, _)| crate::manager::variables::is_name(name) && is_wanted(name));
        handed.extend(own.map(|(name, value)| format!("{name}={value}")));
    }
    handed.extend(wanted.environment.iter().cloned());
    handed
}

fn signals() -> rustix::io::Result<SignalFd> {
    let mask = SignalMask::of(SIGNALS);
    block_signals(mask)?;
    SignalFd::new(mask)
}

struct Init {
    server: Option<Server>,
    journal: Option<Sockets>,
    /// The private bus of a system manager.
    bus: Option<Bus>,
    signals: SignalFd,
    notify: Option<OwnedFd>,
    /// Units that the machine ends with.
    named: Vec<UnitName>,
    /// Status to end with when a named unit could not even be begun.
    failed: u8,
    /// It ends without stopping anything.
    now: Option<End>,
    /// It ends when it is not needed.
    on_demand: bool,
    ends: Ends,
}

impl Init {
    /// Makes the sockets, where they can be made.
    fn open(&mut self, is_first: bool, saved: Option<&str>, manager: &mut Manager) {
        if let Err(e) = manager.watch(Token::Signals, &self.signals) {
            manager.tell(&format!("watch signals: {e}"));
        }
        // who connects meanwhile, or has said something, is heard by the old sockets
        let old = |name: &str| {
            let line = saved.and_then(|text| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t')));
            line.and_then(|number| again::take(number.parse().ok()?))
        };
        // below another init they are that one's, or its journald's
        if is_first && rustix::process::geteuid().is_root() {
            match Sockets::open(&old, manager) {
                Ok(mut journal) => {
                    if let Some(text) = saved {
                        journal.take_up(text, &again::take, manager);
                    }
                    self.journal = Some(journal);
                }
                Err(why) => manager.tell(&why),
            }
        }
        let Some(directory) = place::directory() else {
            return manager.tell("there is no directory for sockets: this manager cannot be talked to, and Type=notify does not work");
        };
        match Server::listen(&format!("{directory}/control"), old("control"), manager) {
            Ok(server) => self.server = Some(server),
            Err(e) => manager.tell(&format!("listen at {directory}/control: {e}")),
        }
        if is_first {
            match Bus::listen(old("bus"), manager) {
                Ok(bus) => self.bus = Some(bus),
                Err(e) => manager.tell(&format!("listen at {}: {e}", hostel_ipc::dbus::SYSTEMD_PRIVATE)),
            }
        }
        let path = place::notify_path(&directory, is_first);
        let bound = match old("notify") {
            Some(socket) => Ok(socket),
            None => {
                let _ = std::fs::remove_file(&path);
                hostel_ipc::notify::bind(std::path::Path::new(&path))
            }
        };
        match bound {
            Ok(socket) => {
                // services of every user write there; who wrote is asked of the kernel
                let _ = std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666));
                if manager.watch(Token::Notify, &socket).is_ok() {
                    self.notify = Some(socket);
                    manager.set_notify(path);
                }
            }
            Err(e) => manager.tell(&format!("listen at {path}: {e}")),
        }
    }

    /// Goes on where the program that was here before has stopped.
    fn take_up(&mut self, text: &str, manager: &mut Manager) {
        manager.take_up(text, &again::take);
        let words = text.lines().map(crate::manager::handover::words).filter(|line| line.first().is_some_and(|first| first == "named"));
        self.named = words.filter_map(|line| UnitName::parse(line.get(1)?).ok()).collect();
        manager.tell("Executed anew; what runs goes on.");
    }

    /// Executes this program anew, if somebody has asked for it.
    fn hand_over(&mut self, manager: &mut Manager) {
        manager.handover_done();
        if let Some(journal) = &mut self.journal {
            journal.finish_lines(manager);
        }
        let named: Vec<String> = self.named.iter().map(UnitName::to_string).collect();
        let notify = self.notify.iter().map(|socket| ("notify", socket.as_fd()));
        let others = self.server.iter().map(|server| ("control", server.as_fd())).chain(self.bus.iter().map(|bus| ("bus", bus.as_fd())));
        let error = again::execute(manager, &notify.chain(others).collect::<Vec<_>>(), self.journal.as_ref(), &named);
        manager.tell(&format!("execute the manager anew: {error}"));
    }

    /// Asks for the first jobs.
    fn begin(&mut self, wanted: &Wanted, manager: &mut Manager) -> Result<(), String> {
        let mut units = Vec::new();
        for word in &wanted.units {
            let (name, _) = UnitName::mangle(word, Kind::Service).map_err(|e| format!("use unit {word:?}: {}", e.why))?;
            units.push(name);
        }
        let is_default = units.is_empty();
        if is_default {
            units.push(UnitName::parse("default.target").map_err(|e| e.why.to_owned())?);
        }
        let Answer::Jobs(jobs) = manager.ask(Request::Job(JobType::Start, JobMode::Replace, units)) else { return Ok(()) };
        for (unit, found) in jobs {
            match found {
                Ok(_) if is_default => {}
                Ok(_) => self.named.push(unit),
                Err(refusal) if is_default => manager.tell(&format!("start {unit}: {}", refusal.text)),
                Err(refusal) => return Err(format!("start {unit}: {}", refusal.text)),
            }
        }
        Ok(())
    }

    fn serve(&mut self, manager: &mut Manager) -> std::io::Result<()> {
        loop {
            self.tell_others(manager);
            if manager.wants_handover() {
                self.hand_over(manager);
            }
            if manager.ends_at_once() {
                self.now = manager.end();
            }
            if self.now.is_some() || manager.end().is_some() && manager.is_quiet() {
                return Ok(());
            }
            if self.on_demand && !manager.is_needed() && self.server.as_mut().is_some_and(|server| beside::leave(server, manager)) {
                return Ok(());
            }
            let events = manager.turn(None)?;
            let mut reap = false;
            for event in events {
                match event.token {
                    Token::Signals => reap |= self.signalled(manager),
                    Token::Notify => self.hear(manager),
                    Token::Journal(number) => {
                        if let Some(journal) = &mut self.journal {
                            journal.serve(number, manager);
                        }
                    }
                    Token::Control => {
                        if let Some(server) = &mut self.server {
                            server.accept(manager);
                        }
                    }
                    Token::Client(id) => {
                        if let Some(server) = &mut self.server {
                            server.serve(id, event.read, manager);
                        }
                    }
                    Token::Bus => {
                        if let Some(bus) = &mut self.bus {
                            bus.accept(manager);
                        }
                    }
                    Token::Peer(id) => {
                        if let Some(bus) = &mut self.bus {
                            bus.serve(id, event.read, manager);
                        }
                    }
                    _ => {}
                }
            }
            if reap {
                // words that were sent before the end are heard before it
                self.hear(manager);
                manager.reap();
            }
            self.tell_others(manager);
            self.end_with_named(manager);
        }
    }

    /// Whoever waits for jobs hears of them, and whoever started us that we are up.
    fn tell_others(&mut self, manager: &mut Manager) {
        manager.do_all();
        let finished = manager.take_finished();
        use crate::manager::state::JobResult::{Canceled, Done};
        if finished.iter().any(|job| self.named.contains(&job.unit) && !matches!(job.result, Done | Canceled)) {
            self.failed = 1;
        }
        if let Some(server) = &mut self.server {
            server.deliver(&finished, manager);
        }
        let is_first = manager.is_quiet() && manager.first_quiet();
        if let Some(bus) = &mut self.bus {
            bus.deliver(&finished, is_first && manager.end().is_none(), manager);
        }
        if is_first {
            say("READY=1\nX_SYSTEMD_SIGNALS_LEVEL=2");
        }
    }

    /// Reads signals; whether children ended.
    fn signalled(&mut self, manager: &mut Manager) -> bool {
        let mut reap = false;
        while let Ok(Some(info)) = self.signals.read() {
            match meaning(info.signal) {
                Meaning::Reap => reap = true,
                Meaning::End(end) => manager.shut_down(end),
                Meaning::EndNow(end) => {
                    manager.shut_down(end);
                    self.now = Some(end);
                }
                Meaning::Start(name, mode) => {
                    if let Ok(name) = UnitName::parse(name) {
                        manager.ask(Request::Job(JobType::Start, mode, vec![name]));
                    }
                }
                Meaning::Reload => {
                    if let Err(why) = manager.reload() {
                        manager.tell(&why);
                    }
                }
                Meaning::Nothing => {}
            }
        }
        reap
    }

    /// Reads what services say.
    fn hear(&mut self, manager: &mut Manager) {
        let Some(socket) = &self.notify else { return };
        let mut buffer = [0u8; DATAGRAM_MAX];
        for _ in 0..64 {
            let mut descriptors = Vec::new();
            let Ok(datagram) = peer::receive_datagram_with(socket.as_fd(), &mut buffer, &mut descriptors) else { return };
            let Some(who) = datagram.sender.filter(|who| who.pid > 0 && !datagram.truncated) else { continue };
            manager.heard(who.pid, &Words::parse(buffer.get(..datagram.len).unwrap_or_default()), descriptors);
        }
    }

    /// With named units: the machine ends when they all have, with the status of the first that failed.
    fn end_with_named(&mut self, manager: &mut Manager) {
        if self.named.is_empty() {
            if self.ends != Ends::WhenTold && manager.end().is_none() && manager.is_quiet() && !manager.serves(self.ends == Ends::WithoutServices) {
                manager.shut_down(End::Exit(0));
            }
            return;
        }
        if manager.end().is_some() || !manager.is_quiet() {
            return;
        }
        let mut status = 0;
        for name in &self.named {
            let Some(live) = manager.unit(name) else { continue };
            if !live.active().is_down() {
                return;
            }
            let Some(service) = &live.service else { continue };
            let end = service.main_run.and_then(|run| run.ended).map_or(0, |(_, end)| end.shell_code());
            let found = if end == 0 && service.state == State::Failed { 1 } else { end };
            if status == 0 {
                status = u8::try_from(found).unwrap_or(255);
            }
        }
        manager.shut_down(End::Exit(if status == 0 { self.failed } else { status }));
    }
}

/// Tells whoever started us, if it listens.
fn say(message: &str) {
    if let Ok(socket) = std::env::var("NOTIFY_SOCKET") {
        let _ = hostel_ipc::notify::send(&socket, message);
    }
}

/// Ends what is left and is no unit's, and reaps it. Only of a PID 1: others' processes are none of ours.
fn last_call(manager: &mut Manager, is_first: bool, at_once: bool) {
    if !is_first {
        return manager.reap();
    }
    for signal in if at_once { &[9][..] } else { &[TERM, 9] } {
        if proc::signal_all(*signal).is_err() {
            return;
        }
        let _ = proc::signal_all(18);
        let end = Instant::now() + LAST_CALL;
        while Instant::now() < end {
            manager.reap();
            if rustix::process::waitid(
                rustix::process::WaitId::All,
                rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG | rustix::process::WaitIdOptions::NOWAIT,
            )
            .is_err()
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The very end.
fn finish(end: End, is_first: bool) -> u8 {
    if let End::Exit(status) = end {
        say(&format!("STOPPING=1\nEXIT_STATUS={status}"));
        return status;
    }
    say("STOPPING=1");
    if !is_first {
        return 0;
    }
    // what only this namespace loses is written by the kernel that goes on: a sync here would wait for every disk of the host
    if rustix::fs::stat("/proc/self/ns/pid").map_or(true, |namespace| namespace.st_ino == FIRST_NAMESPACE) {
        rustix::fs::sync();
    }
    let how = if end == End::Reboot { proc::Reboot::Restart } else { proc::Reboot::PowerOff };
    // a PID 1 without the right to do that says it by its exit status, as systemd's does in a container
    let _ = proc::reboot(how);
    if end == End::Reboot { 133 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_mean_what_systemd_has_them_mean() {
        let table = [
            (CHLD, Meaning::Reap),
            (TERM, Meaning::End(End::PowerOff)),
            (PWR, Meaning::End(End::PowerOff)),
            (37, Meaning::End(End::Halt)),
            (38, Meaning::End(End::PowerOff)),
            (39, Meaning::End(End::Reboot)),
            (47, Meaning::EndNow(End::Halt)),
            (48, Meaning::EndNow(End::PowerOff)),
            (49, Meaning::EndNow(End::Reboot)),
            (34, Meaning::Start("default.target", JobMode::Isolate)),
            (HUP, Meaning::Reload),
            (WINCH, Meaning::Nothing),
        ];
        for (signal, expected) in table {
            assert_eq!(meaning(signal), expected, "{signal}");
            assert!(SIGNALS.contains(&signal));
        }
    }
}
