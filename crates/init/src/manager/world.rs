//! The hands of a service: processes are made, signalled and found, files looked at.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hostel_process::event::{Interest, Poller};
use hostel_spec::Arrange as _;
use hostel_sys::clone;
use hostel_unit::UnitName;

use super::config::{Degraded, NotifyAccess};
use super::context::{PLACES, Preserve};
use super::devices::{self, Programs};
use super::dynamic::Dynamic;
use super::files;
use super::live::Rest;
use super::log::{Log, Pipe};
use super::members::Members;
use super::resources;
use super::runtime::{self, Runtime};
use super::service::{Hands, Order, Role};
use super::socket::Port;
use super::spawn;
use super::variables::Environment;
use super::{memory, names, packets};

/// What the loop waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Signals.
    Signals,
    /// The notify socket.
    Notify,
    /// Somebody wants to talk.
    Control,
    /// The console takes something again.
    Console,
    /// A socket of the journal.
    Journal(u32),
    /// Somebody talks.
    Client(u32),
    /// Somebody wants to talk D-Bus.
    Bus,
    /// Somebody talks D-Bus.
    Peer(u32),
    /// Output of a unit.
    Output(u32),
    /// A process tells that its program was executed, or why not.
    Report(i32),
    /// The end of a process that is no child.
    Alien(i32),
    /// Something came at a socket unit: the unit's number, and which of what it listens on.
    Port(u32, u32),
    /// Changes of a path unit's paths.
    Watch(u32),
    /// A moment of the calendar, or that the clock was set.
    Clock,
    /// The local time zone.
    Zone,
    /// Something was mounted or unmounted.
    Mounts,
    /// Memory of a unit ran out.
    Memory,
    /// The message bus says something.
    Names,
}

/// A process that is known by number.
#[derive(Debug)]
pub struct Process {
    /// Whose.
    pub unit: UnitName,
    /// Which.
    pub role: Role,
    /// Itself.
    pub pidfd: OwnedFd,
    /// See [`spawn::Made`].
    pub report: Option<OwnedFd>,
    /// It was made by somebody else, whose child it may be.
    pub alien: bool,
    /// Its Type= wants to know when its program is executed.
    pub confirm: bool,
}

/// What all units share.
#[derive(Debug)]
pub struct Shared {
    /// Which process is whose.
    pub members: Members,
    /// Output.
    pub log: Log,
    /// Every unit's environment.
    pub environment: Environment,
    /// What this process was started with.
    pub inherited: Environment,
    /// Processes by number.
    pub processes: BTreeMap<i32, Process>,
    /// What is waited for.
    pub poller: Poller<Token>,
    /// Path of the notify socket.
    pub notify: Option<String>,
    /// What units have in common among their processes, by unit.
    pub runtimes: BTreeMap<String, Rc<Runtime>>,
    /// Users that services bring with them.
    pub dynamic: Dynamic,
    /// Commands may leave a group to be taken away.
    pub empty_groups: Vec<String>,
    /// What socket units listen on.
    pub ports: Vec<Port>,
    /// Programs that filter devices.
    pub programs: Programs,
    /// Whose memory may run out.
    pub memory: memory::Watch,
    /// Who owns which name on the message bus.
    pub names: names::Names,
}

/// A service's.
#[derive(Debug)]
pub struct World<'a> {
    /// Its unit.
    pub rest: &'a mut Rest,
    /// The rest.
    pub shared: &'a mut Shared,
    /// NotifyAccess=
    pub access: NotifyAccess,
}

/// What a process of a unit is passed, each with its name; and what its standard streams are when they are to be a socket.
fn passed<'s>(
    rest: &'s Rest,
    shared: &'s Shared,
    role: Role,
    opened: &'s [(String, OwnedFd)],
) -> (Vec<(&'s str, BorrowedFd<'s>)>, usize, Option<BorrowedFd<'s>>) {
    let own = &rest.unit.name;
    if let Some(connection) = &rest.connection {
        let fd = connection.fd.as_fd();
        return (if role == Role::Main { vec![("connection", fd)] } else { Vec::new() }, 1, Some(fd));
    }
    let asked: Vec<&UnitName> = rest.unit.settings.units("Service", "Sockets").map(|(name, _)| name).collect();
    // rsyslog.service is what syslog.socket knows as syslog.service
    let is_own = |name: &UnitName| name == own || rest.unit.aliases.contains(name);
    let mine = |port: &&Port| port.service.as_ref().is_some_and(is_own) || asked.contains(&&port.socket);
    let mut ports: Vec<&Port> = shared.ports.iter().filter(mine).filter(|port| role == Role::Main || port.to_commands).collect();
    // the same order every time, whichever socket was opened first
    ports.arrange_by(|a, b| (&a.socket, a.number.1).cmp(&(&b.socket, b.number.1)));
    let mut pass: Vec<(&str, BorrowedFd<'_>)> = ports.iter().map(|port| (port.name.as_str(), port.fd.as_fd())).collect();
    let sockets = pass.len();
    let only = pass.first().filter(|_| pass.len() == 1).map(|(_, fd)| *fd);
    if role == Role::Main {
        pass.extend(rest.stored.iter().map(|(name, fd, _)| (name.as_str(), fd.as_fd())));
        pass.extend(opened.iter().map(|(name, fd)| (name.as_str(), fd.as_fd())));
    }
    (pass, sockets, only)
}

/// Whether nobody is at the other end of a stored descriptor any more.
fn has_hung_up(fd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(1)) && fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

/// 32 random hexadecimal digits.
pub(crate) fn random_id() -> String {
    let half = || hostel_sys::tree::random_u64().unwrap_or(0);
    format!("{:016x}{:016x}", half(), half())
}

impl World<'_> {
    fn environment(&self, order: &Order<'_>) -> Result<Environment, String> {
        let context = self.rest.context.as_ref().ok_or("it is no service")?;
        let mut out = spawn::environment(context, &self.shared.environment, &self.shared.inherited)?;
        out.set("INVOCATION_ID", self.rest.marks.invocation.as_str());
        if let (Some(path), true) = (&self.shared.notify, self.access != NotifyAccess::None) {
            out.set("NOTIFY_SOCKET", path.as_str());
        }
        if let Some(limit) = order.watchdog {
            out.set("WATCHDOG_USEC", limit.as_micros().to_string());
        }
        if let (Role::Control, Some(main)) = (order.role, order.main) {
            out.set("MAINPID", main.to_string());
        }
        if let Some(peer) = self.rest.connection.as_ref().and_then(|connection| connection.peer) {
            out.set("REMOTE_ADDR", super::socket::address::peer_host(peer).to_string());
            out.set("REMOTE_PORT", peer.port().to_string());
        }
        use super::config::Step;
        if matches!(order.step, Step::Stop | Step::StopPost) {
            out.set("SERVICE_RESULT", order.result.word());
            if let Some(end) = order.ended {
                let (code, status) = match end {
                    clone::WaitStatus::Exited(status) => ("exited", status.to_string()),
                    clone::WaitStatus::Signaled { signal, core } => {
                        let name = hostel_spec::Signal::from_raw(signal).map_or_else(String::new, |s| s.name());
                        (if core { "dumped" } else { "killed" }, name.trim_start_matches("SIG").to_owned())
                    }
                    _ => return Ok(out),
                };
                out.set("EXIT_CODE", code);
                out.set("EXIT_STATUS", status);
            }
        }
        Ok(out)
    }

    /// Begins a life: processes of it are told from those of the last one.
    pub fn renew(&mut self) {
        self.rest.marks.invocation = random_id();
        self.rest.marks.sessions.clear();
        self.rest.renewed = true;
        self.rest.complaint.clear();
        self.shared.members.place(&self.rest.marks.unit, &resources::slice_of(&self.rest.unit));
    }
}

impl Hands for World<'_> {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn spawn(&mut self, order: &Order<'_>) -> Result<i32, String> {
        let mut environment = self.environment(order)?;
        if self.rest.pipe.is_none() {
            let pipe = Pipe::new().map_err(|e| format!("make a pipe: {e}"))?;
            self.shared.poller.want(Token::Output(self.rest.number), pipe.as_fd(), Interest::READ).map_err(|e| format!("watch a pipe: {e}"))?;
            self.rest.pipe = Some(pipe);
        }
        let runtime = self.runtime()?;
        if let Some(name) = self.rest.pipe.as_ref().filter(|_| self.shared.log.has_sockets).and_then(Pipe::name) {
            environment.set("JOURNAL_STREAM", name);
        }
        let mut group = self.shared.members.group(&self.rest.marks.unit);
        let depth = self.shared.members.depth(&self.rest.marks.unit);
        if !self.rest.limits.is_empty() {
            let lost = match &group {
                Some(group) => (resources::apply(&self.rest.limits, group.as_fd(), depth), resources::NO_CONTROLLER),
                None => (self.rest.limits.iter().map(|limit| limit.key).collect(), resources::NO_GROUP),
            };
            degrade(&mut self.rest.degraded, &self.rest.unit, "Service", &lost.0, lost.1);
        }
        if std::mem::take(&mut self.rest.renewed) {
            self.begin_group(group.as_ref(), depth);
        }
        let context = self.rest.context.as_ref().ok_or("it has no commands")?;
        if let (Some(own), Some(text)) = (&group, &context.delegate) {
            resources::delegate(text, own.as_fd(), depth);
            if let Some(name) = &context.subgroup {
                group = Some(subgroup(own, name, self.shared.members.path(&self.rest.marks.unit).as_deref())?);
            }
        }
        let dynamic = if context.dynamic { self.shared.dynamic.user(&self.rest.unit, context)? } else { None };
        self.rest.stored.retain(|(_, fd, polled)| !polled || !has_hung_up(fd));
        let context = self.rest.context.as_ref().ok_or("it has no commands")?;
        let opened = if order.role == Role::Main { files::open(&context.open)? } else { Vec::new() };
        let (pass, sockets, stream) = passed(self.rest, self.shared, order.role, &opened);
        let plan = spawn::Plan {
            command: order.command,
            context,
            dynamic,
            environment,
            group: group.as_ref().map(AsFd::as_fd),
            log: self.rest.pipe.as_ref().map(Pipe::writer),
            main: order.role == Role::Main,
            pass,
            sockets,
            stream,
            runtime: runtime.as_deref(),
            credentials: context.sandbox.as_ref().and_then(|of| runtime::credentials_of(of, &self.rest.marks.unit)),
        };
        let made = spawn::spawn(&plan)?;
        // no wake-up for what nobody waits for: the report is read when the process has ended
        if order.confirm {
            let _ = self.shared.poller.want(Token::Report(made.pid), made.report.as_fd(), Interest::READ);
        }
        // reloads without end leave no list without end
        if self.rest.marks.sessions.len() >= 256 {
            self.rest.marks.sessions.remove(1);
        }
        self.rest.marks.sessions.push(made.pid);
        let process = Process {
            unit: self.rest.unit.name.clone(),
            role: order.role,
            pidfd: made.pidfd,
            report: Some(made.report),
            alien: false,
            confirm: order.confirm,
        };
        self.shared.processes.insert(made.pid, process);
        Ok(made.pid)
    }

    fn signal(&mut self, pid: i32, signal: i32) {
        if let Some(process) = self.shared.processes.get(&pid) {
            // it may have ended already
            let _ = clone::pidfd_send_signal(process.pidfd.as_fd(), signal);
        }
    }

    fn signal_others(&mut self, but: &[i32], signal: i32) -> bool {
        self.shared.members.signal(&self.rest.marks, but, signal)
    }

    fn has_others(&mut self, but: &[i32]) -> bool {
        self.shared.members.list(&self.rest.marks).iter().any(|pid| !but.contains(pid))
    }

    fn read_pid_file(&mut self, path: &str) -> Result<i32, String> {
        let bad = |why: &str| format!("PID file {path}: {why}");
        let metadata = std::fs::metadata(path).map_err(|e| bad(&e.to_string()))?;
        if !metadata.is_file() || metadata.len() > 4096 {
            return Err(bad("it is no small file"));
        }
        let text = std::fs::read_to_string(path).map_err(|e| bad(&e.to_string()))?;
        let pid: i32 = text.trim().parse().map_err(|_| bad("there is no number in it"))?;
        self.adopt(pid).map_err(|why| bad(&why))?;
        Ok(pid)
    }

    fn guess_main(&mut self, but: &[i32]) -> Option<i32> {
        let own = std::process::id() as i32;
        let mut children = self.shared.members.list(&self.rest.marks).into_iter().filter(|pid| !but.contains(pid) && parent_of(*pid) == Some(own));
        // of several nobody knows which
        let found = children.next().filter(|_| children.next().is_none())?;
        self.adopt(found).ok().map(|()| found)
    }

    fn watch_name(&mut self, name: &str) -> bool {
        self.watch_bus_name(name)
    }

    fn tidy(&mut self, will_restart: bool) {
        let Some(context) = &self.rest.context else { return };
        let keep = match context.preserve {
            Preserve::Yes => true,
            Preserve::Restart => will_restart,
            Preserve::No => false,
        };
        if !keep && let (Some(place), Some((entries, _))) = (PLACES.first(), context.directories.first()) {
            for (name, links) in entries {
                let _ = std::fs::remove_dir_all(format!("{}/{name}", place.top));
                for link in links {
                    let _ = std::fs::remove_file(format!("{}/{link}", place.top));
                }
            }
        }
        if let Some(path) = self.rest.unit.settings.text("Service", "PIDFile").filter(|_| !will_restart) {
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/run/{path}") };
            let _ = std::fs::remove_file(path);
        }
        self.shared.runtimes.remove(&self.rest.marks.unit);
        if context.sandbox.as_ref().is_some_and(|of| runtime::credentials_of(of, &self.rest.marks.unit).is_some()) {
            runtime::forget_credentials(&self.rest.marks.unit);
        }
        self.shared.empty_groups.push(self.rest.marks.unit.clone());
        context.terminal.tend();
    }

    fn tell(&mut self, text: &str) {
        let unit = self.rest.marks.unit.clone();
        self.shared.log.own(Some(&unit), text);
    }
}

impl World<'_> {
    /// What is done to the group once in a life: filters, and the watch over its memory.
    fn begin_group(&mut self, group: Option<&OwnedFd>, depth: usize) {
        filter(self.rest, &mut self.shared.programs, group);
        if let Some(why) = self.watch_memory(group, depth) {
            degrade(&mut self.rest.degraded, &self.rest.unit, "Service", &["OOMPolicy"], why);
        }
    }

    /// What the unit's processes have in common: of a unit that it joins, or made now.
    fn runtime(&mut self) -> Result<Option<Rc<Runtime>>, String> {
        let Some(of) = self.rest.context.as_ref().and_then(|context| context.sandbox.as_deref()).filter(|of| Runtime::is_needed(of)) else {
            return Ok(None);
        };
        let name = &self.rest.marks.unit;
        if let Some(known) = self.shared.runtimes.get(name) {
            return Ok(Some(Rc::clone(known)));
        }
        let joined = self.rest.unit.settings.units("Unit", "JoinsNamespaceOf").find_map(|(unit, _)| self.shared.runtimes.get(unit.as_str()));
        let found = match joined {
            Some(other) => Rc::clone(other),
            None => Rc::new(Runtime::new(of, name, &self.rest.marks.invocation)?),
        };
        self.shared.runtimes.insert(name.clone(), Rc::clone(&found));
        Ok(Some(found))
    }

    /// Takes a process as one of the unit's own, if it is in the unit: its end will be told.
    pub fn adopt(&mut self, pid: i32) -> Result<(), String> {
        if pid <= 1 {
            return Err(format!("{pid} is no process of a service"));
        }
        if self.shared.processes.contains_key(&pid) {
            return match self.shared.processes.get(&pid) {
                Some(process) if process.unit == self.rest.unit.name => Ok(()),
                _ => Err(format!("process {pid} belongs to another unit")),
            };
        }
        // first held, then looked at: a number that is taken anew meanwhile is another process
        let pidfd = clone::pidfd_open(pid).map_err(|_| format!("there is no process {pid}"))?;
        let began = self.rest.moments.inactive_exit_even.map(|began| began.elapsed());
        if !self.shared.members.has(&self.rest.marks, pid) && !began.is_some_and(|since| self.shared.members.is_likely(pid, since)) {
            return Err(format!("process {pid} does not belong to the unit"));
        }
        let own = std::process::id() as i32;
        let alien = parent_of(pid) != Some(own);
        if alien {
            let _ = self.shared.poller.want(Token::Alien(pid), pidfd.as_fd(), Interest::READ);
        }
        let process = Process { unit: self.rest.unit.name.clone(), role: Role::Main, pidfd, report: None, alien, confirm: false };
        self.shared.processes.insert(pid, process);
        self.rest.marks.sessions.push(pid);
        Ok(())
    }
}

/// Puts the filters of devices and packets of a unit on its group, in the place of those that it had: a group with processes outlives a
/// life of its unit, and its settings.
pub(super) fn filter(rest: &mut Rest, programs: &mut Programs, group: Option<&OwnedFd>) {
    let Some(context) = &rest.context else { return };
    let devices = group.map(|group| programs.put(context.devices.as_deref(), group.as_fd()));
    let packets = group.map(|group| packets::put(&context.packets, group.as_fd()));
    for (asks, put, keys, why) in [
        (context.devices.is_some(), devices, devices::KEYS, devices::NO_PROGRAM),
        (!context.packets.is_empty(), packets, packets::KEYS, packets::NO_PROGRAM),
    ] {
        if asks && !matches!(put, Some(Ok(()))) {
            degrade(&mut rest.degraded, &rest.unit, "Service", &keys, if put.is_some() { why } else { resources::NO_GROUP });
        }
    }
}

/// Says of keys, once, that they have no effect.
pub(super) fn degrade(list: &mut Vec<Degraded>, unit: &crate::load::Unit, section: &str, keys: &[&'static str], why: &'static str) {
    for setting in unit.settings.iter().filter(|setting| setting.section == section && keys.contains(&setting.key)) {
        let found = Degraded::of(setting, why);
        if !list.contains(&found) {
            list.push(found);
        }
    }
}

/// DelegateSubgroup=: a directory in the unit's group, in which its processes are.
fn subgroup(group: &OwnedFd, name: &str, path: Option<&str>) -> Result<OwnedFd, String> {
    use rustix::fs::{Mode, OFlags};
    let failed = |e: rustix::io::Errno| format!("make group {}/{name}: {e}", path.unwrap_or_default());
    match rustix::fs::mkdirat(group, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(e) => return Err(failed(e)),
    }
    rustix::fs::openat(group, name, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)
}

/// The parent of a process.
fn parent_of(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// How long a start may wait for a PID file before it is looked for again.
pub fn soon(wait: Duration) -> Instant {
    Instant::now() + wait
}
