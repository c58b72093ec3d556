//! One machine from start to end, reboots included: find the tree, plan, claim the name, launch, watch, take away.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use hostel_image::locks::TreeLock;
use hostel_ipc::control::{self, Server};
use hostel_ipc::notify::Receiver;
use hostel_process::console::{Console, DEFAULT_LIMIT, Log, LogReader, Relay};
use hostel_spec::{MachineSpec, Namespaces, Payload, PortForward, UserNamespace};
use hostel_sys::clone;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::beside::{Beside, Life};
use super::hooks;
use super::launch::{self, Launched};
use super::prepare::Made;
use super::run::{self, End, ExitDecision, NotifyRelay, Outcome, Owner, RebootBrake, Running, Signals};
use crate::cgroup::MachineCgroup;
use crate::enter::Leader;
use crate::error::{Context, Error, Result};
use crate::host::{self, Host};
use crate::journal;
use crate::network;
use crate::peers::Unit;
use crate::plan::{self, Caller, Plan};
use crate::registry::{Claim, Desired, MachineState, Origin, Phase, ProcessId, Registry};
use crate::stop::{Confinement, Evidence, InitPolicy};
use crate::tree;

/// What a session needs besides the spec.
pub struct Session<'a> {
    /// Where machines are registered.
    pub registry: &'a Registry,
    /// What the calling process knows of itself.
    pub caller: Caller,
    /// What started it.
    pub origin: Origin,
    /// The caller's own `$NOTIFY_SOCKET`.
    pub notify_socket: Option<String>,
    /// How often our service manager wants to hear that we live (`$WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
    /// Keep a console log (machines in the background, and booted ones).
    pub log: bool,
    /// What its caller has begun for it.
    pub begun: Option<Begun>,
    /// Asked whether a kept layer can be used, when nobody else can use it any more.
    pub layer_held: fn(&Path) -> Result<()>,
    /// Speaks a protocol of others.
    pub beside: Option<Box<dyn Beside>>,
    /// Told what happens, to be printed or not.
    pub talk: &'a mut dyn FnMut(Talk<'_>),
}

/// What may be done for a machine before its plan is made.
#[derive(Debug)]
pub struct Begun {
    /// The right to its name, with the journal of what was set up.
    pub claim: Claim,
    /// The console's log is written here, too.
    pub log: Option<OwnedFd>,
    /// The host's mount namespace, when we are in one of our own.
    pub host_mounts: Option<OwnedFd>,
    /// Held until the machine has ended.
    pub locks: Vec<TreeLock>,
}

/// What a session has to say.
#[derive(Debug)]
pub enum Talk<'a> {
    /// The plan is made; nothing has changed yet.
    Planned(&'a Plan),
    /// PID 1 has been executed.
    Started(&'a Plan, &'a Launched),
    /// Something that was asked for means nothing here.
    Remark(&'a str),
    /// Something is not as asked, but the machine runs.
    Notice(&'a str),
    /// It ended, or is about to start again.
    Ended(&'a Plan, &'a str),
    /// Something could not be taken away.
    Left(&'a Error),
}

/// Finds everything out and plans; changes nothing.
pub fn plan_of(spec: &MachineSpec, caller: &Caller) -> Result<(Plan, Host, Option<OwnedFd>)> {
    let mut host = Host::capture(spec)?;
    let without;
    let spec = match spec.namespaces.user {
        // As systemd-nspawn -U: a wish, not a demand. Native machines demand it.
        UserNamespace::Pick if !host.user_namespaces && spec.lifecycle.nspawn_exit_status => {
            without = MachineSpec { namespaces: Namespaces { user: UserNamespace::Host, ..spec.namespaces.clone() }, ..spec.clone() };
            &without
        }
        _ => spec,
    };
    let (facts, tree) = tree::find(spec)?;
    host.journal = journal::look(spec.integration.journal, plan::uuid(spec, &facts, caller));
    let plan = plan::plan(spec, &host, &facts, caller)?;
    Ok((plan, host, tree))
}

/// Runs a machine to its end. Returns the exit status for the caller.
pub fn run(spec: &MachineSpec, mut session: Session<'_>) -> Result<u8> {
    // What we hold open and have in memory is nothing a machine may look into through /proc (CVE-2019-5736 and its kin).
    hostel_sys::proc::set_dumpable(false).context("protect", "supervisor")?;
    host::require_root()?;
    let begun = session.begun.take().map(|begun| (begun.claim, begun.log, begun.host_mounts, begun.locks));
    let (begun, log, host_mounts, _locks) =
        begun.map_or((None, None, None, Vec::new()), |(claim, log, mounts, locks)| (Some(claim), log, mounts, locks));
    // Only who begins a machine for us has programs that take something back.
    let has_programs = begun.is_some();
    let planned = plan_of(spec, &session.caller).and_then(|found| {
        refuse_taken_ports(session.registry, &found.0)?;
        Ok(found)
    });
    let (plan, mut host, tree) = match planned {
        Ok(found) => found,
        Err(error) => {
            if let Some(mut claim) = begun {
                claim.undo_all();
                let _ = claim.release();
            }
            return Err(error);
        }
    };
    for notice in &plan.notices {
        // What a command line says that means nothing here its writer may know; what this host cannot do he does not.
        let known = spec.notices.contains(notice) || spec.unit.without_systemd().contains(notice);
        (session.talk)(if known { Talk::Remark(notice) } else { Talk::Notice(notice) });
    }
    (session.talk)(Talk::Planned(&plan));
    let mut claim = match begun {
        Some(claim) => claim,
        None => session.registry.claim(&plan.name)?,
    };
    let mut made = Made::with_tree(plan.tree.path.clone(), tree);
    (made.host_mounts, made.log, made.layer_held) = (host_mounts, log, Some(session.layer_held));
    let opened = super::image::open(plan, &mut host, &session.caller, &mut claim, &mut made, &mut |notice| (session.talk)(Talk::Notice(notice)));
    let plan = match opened {
        Ok(plan) => plan,
        Err(error) => {
            claim.undo_all();
            let _ = claim.release();
            return Err(error);
        }
    };
    // Between two lives, and while everything is taken away, an order to end must not kill us half-way.
    let _between = Signals::block()?;
    let mut carried = Carried::default();
    let status = loop {
        match one_life(&plan, &host, &mut session, &mut claim, &mut made, &mut carried) {
            Ok(Ending::Exit(status)) => break status,
            // The journal of a life that has ended is not needed; when it cannot be shortened, it is only long.
            Ok(Ending::Again) => drop(claim.compact()),
            Err(error) => {
                made.remove_temporary();
                claim.undo_all();
                if let Err(left) = claim.release() {
                    (session.talk)(Talk::Left(&left.into()));
                }
                if made.hooked {
                    after_stop(&plan, &mut session);
                }
                return Err(error);
            }
        }
    };
    for error in made.remove_temporary() {
        (session.talk)(Talk::Left(&error));
    }
    if session.log {
        keep_log(session.registry, &claim);
    }
    if has_programs {
        for record in claim.programs() {
            let _ = crate::program::take_back(&record);
        }
    }
    // Its cgroup is gone: systemd lets the scope go when nobody sits in it.
    made.unit = None;
    // Who sees that it does not run can start it: the locks go before the name does.
    drop(made);
    // Clients that wait for the end are told by the socket closing, when everything is taken away and every lock is free.
    claim.forget();
    claim.release()?;
    if plan.network.addressed {
        let _ = network::hosts::write(session.registry);
    }
    drop(carried);
    after_stop(&plan, &mut session);
    Ok(status)
}

/// A port of this host leads to one machine: the packets of a second would go to whichever came first.
fn refuse_taken_ports(registry: &Registry, plan: &Plan) -> Result<()> {
    let wanted = &plan.spec.network.ports;
    if wanted.is_empty() {
        return Ok(());
    }
    for machine in registry.list()?.into_iter().filter(|m| m.name != plan.name && m.is_alive()) {
        let taken = machine.known().and_then(|state| state.network.as_ref()).map_or(&[][..], |n| &n.ports);
        let same = |port: &&PortForward| taken.iter().any(|t| (t.transport, t.host) == (port.transport, port.host));
        if let Some(port) = wanted.iter().find(same) {
            return Err(Error::new(
                "forward",
                format!("port {}:{}", port.transport, port.host),
                format!("it leads to machine {} already", machine.name),
            )
            .hint(format!("give another port, or `hostel stop {}`", machine.name)));
        }
    }
    Ok(())
}

/// The last that happens: hooks of a bundle that are told that all is gone.
fn after_stop(plan: &Plan, session: &mut Session<'_>) {
    for error in hooks::after_stop(plan) {
        (session.talk)(Talk::Left(&error));
    }
}

/// How much of a console log is kept after the end.
const KEPT_LOG: u64 = 1 << 20;

/// The end of the console log outlives its machine, until the next one of that name: `logs/NAME.log` below the state root.
fn keep_log(registry: &Registry, claim: &Claim) {
    // A log that cannot be kept goes with its machine.
    let _ = try_keep_log(registry, claim);
}

fn try_keep_log(registry: &Registry, claim: &Claim) -> std::io::Result<()> {
    let logs = registry.root().join("logs");
    let _ = rustix::fs::mkdir(&logs, Mode::from_raw_mode(0o700));
    let dir = rustix::fs::open(&logs, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let name = format!("{}.log", claim.name());
    for old in [name.clone(), format!("{name}.1")] {
        let _ = rustix::fs::unlinkat(&dir, &old, AtFlags::empty());
    }
    let mut tail = Vec::new();
    let mut reader = LogReader::open(claim.directory(), Some(KEPT_LOG))?;
    let mut buffer = [0u8; 16 << 10];
    while tail.len() < KEPT_LOG as usize {
        match reader.read(&mut buffer)? {
            0 => break,
            n => tail.extend_from_slice(&buffer[..n]),
        }
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&dir, &name, flags, Mode::from_raw_mode(0o600))?;
    std::io::Write::write_all(&mut std::fs::File::from(file), &tail)
}

enum Ending {
    Exit(u8),
    Again,
}

/// std's own copies cost two system calls each with musl.
fn copy_of(fd: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// Longest time a stop may take when the supervisor of a native machine is told to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(90);

fn one_life(plan: &Plan, host: &Host, session: &mut Session<'_>, claim: &mut Claim, made: &mut Made, carried: &mut Carried) -> Result<Ending> {
    let signals = Signals::block()?;
    let server = carried.control.take();
    let watched = &*session;
    let prepare = |launched: &Launched, made: &mut Made, claim: &Claim| Desk::prepare(plan, watched, claim, made, server, launched);
    let (launched, desk) = launch::launch(plan, &host.cgroups, made, claim, prepare)?;
    for device in made.cgroup.iter().flat_map(|cgroup| cgroup.absent_devices()) {
        (session.talk)(Talk::Notice(&format!("the rule for {device} has no effect: this host has no such device")));
    }
    let ended = watch_life(plan, session, claim, made, carried, &launched, desk, signals);
    let again = matches!(ended, Ok((_, ExitDecision::RebootAgain)));
    for error in hooks::at_stop(plan, made, launched.pid, again) {
        (session.talk)(Talk::Left(&error));
    }
    if let (Some(cgroup), true) = (&made.cgroup, plan.spec.resources.memory_max.is_some()) {
        let stats = cgroup.stats();
        if let Some(kills) = stats.oom_kills.filter(|n| *n > 0) {
            let limit = stats.memory_limit.map_or_else(String::new, |bytes| format!(" of {} MiB", bytes >> 20));
            (session.talk)(Talk::Notice(&format!("its limit{limit} of memory was reached: {kills} of its processes killed")));
        }
    }
    let removed = made.cgroup.take().map_or(Ok(()), |cgroup| cgroup.remove().map_err(|e| Error::new("remove", "cgroup", e)));
    made.next_life();
    let (outcome, decision) = ended?;
    if let Err(error) = removed {
        (session.talk)(Talk::Left(&error));
    }
    let (how, ending) = match decision {
        ExitDecision::Exit(status) => (describe_end(&outcome), Ending::Exit(status)),
        ExitDecision::RebootAgain if carried.brake.allow(Instant::now()) => ("is being rebooted", Ending::Again),
        ExitDecision::RebootAgain => {
            return Err(Error::new("reboot", format!("machine {}", plan.name), "it rebooted five times within ten seconds")
                .hint("its init ends at once; look at its console"));
        }
    };
    (session.talk)(Talk::Ended(plan, how));
    Ok(ending)
}

/// What is handed from one life of PID 1 to the next.
#[derive(Default)]
struct Carried {
    control: Option<Server>,
    brake: RebootBrake,
}

/// What a supervisor watches a life of PID 1 with: made while the payload sets itself up, so that it costs no time of its own.
struct Desk {
    control: Server,
    state: MachineState,
    console: Option<Console>,
    notify: NotifyRelay,
}

impl Desk {
    fn prepare(plan: &Plan, session: &Session<'_>, claim: &Claim, made: &mut Made, server: Option<Server>, launched: &Launched) -> Result<Desk> {
        let control = match server {
            Some(server) => server,
            None => Server::bind(claim.directory()).context("open", "control socket")?,
        };
        // The filter first: who finds the state enters, and must not do so without it.
        if let Some(filter) = plan.filter.as_deref() {
            claim.write_filter(filter)?;
        }
        Ok(Desk {
            control,
            state: state_of(plan, session, made, launched)?,
            console: console(plan, session, claim, made)?,
            notify: NotifyRelay {
                receiver: made.notify.take().map(Receiver::from_socket).transpose().context("open", "notify socket")?,
                upstream: session.notify_socket.clone(),
                watchdog: session.watchdog,
            },
        })
    }
}

#[allow(clippy::too_many_arguments)] // one life, and what outlives it
fn watch_life(
    plan: &Plan,
    session: &mut Session<'_>,
    claim: &mut Claim,
    made: &mut Made,
    carried: &mut Carried,
    launched: &Launched,
    desk: Desk,
    signals: Signals,
) -> Result<(Outcome, ExitDecision)> {
    let Desk { control, mut state, console, notify } = desk;
    if plan.spec.payload == Payload::Boot {
        // Only now is it the init that runs.
        let leader = Leader::from_parts(launched.pid, copy_of(&launched.pidfd).context("open", "leader")?);
        state.init = Some(Evidence::at_a_glance(&leader).kind().as_str().to_owned());
    }
    claim.write_state(&state)?;
    for notice in made.notices.drain(..).chain(made.network.notices.drain(..)) {
        (session.talk)(Talk::Notice(&notice));
    }
    // Whoever hears that it runs finds it running.
    if let Some(beside) = &mut session.beside {
        let pidfd = copy_of(&launched.pidfd).context("open", "leader")?;
        let (terminals, devpts) = (std::mem::take(&mut made.terminals), made.devpts.take());
        beside.started(Life { pid: launched.pid, pidfd, namespaces: state.namespaces, terminals, devpts });
    }
    (session.talk)(Talk::Started(plan, launched));
    for error in hooks::after_start(plan, launched.pid) {
        (session.talk)(Talk::Left(&error));
    }
    if plan.network.addressed {
        // A convenience of the host's: the machine runs without.
        let _ = network::hosts::write(session.registry);
    }
    let lifecycle = &plan.spec.lifecycle;
    let leader = Leader::from_parts(launched.pid, copy_of(&launched.pidfd).context("open", "leader")?);
    let mut owner = StateOwner { claim, state: &mut state, cgroup: made.cgroup.as_ref(), leader };
    let native = !lifecycle.nspawn_exit_status;
    let mut running = Running {
        leader: copy_of(&launched.pidfd).context("open", "leader")?,
        leader_pid: launched.pid,
        own_pid_namespace: plan.spec.namespaces.pid,
        started: Instant::now(),
        console,
        control: Some(control),
        notify,
        lifecycle: lifecycle.clone(),
        payload: plan.spec.payload,
        stop: Some(Box::new(InitPolicy::new(
            Leader::from_parts(launched.pid, copy_of(&launched.pidfd).context("open", "leader")?),
            made.cgroup.as_ref(),
            Confinement { bounding: plan.bounding, filter: Some(plan.filter.as_deref().unwrap_or_default()), container: &plan.container },
            plan.spec.payload == Payload::Boot,
        ))),
        stop_timeout: native.then(|| lifecycle.stop_timeout.map_or(STOP_TIMEOUT, Duration::from_micros)),
        signals,
        reap_orphans: false,
        network: Some(&mut made.network),
        unit: made.unit.as_ref().and_then(Unit::stopped),
        beside: session.beside.as_deref_mut(),
        owner: &mut owner,
    };
    let outcome = run::watch(&mut running)?;
    if let Some(beside) = &mut running.beside {
        beside.ended(outcome.end);
    }
    carried.control = running.control.take();
    let decision = run::exit_status(&outcome, lifecycle, plan.spec.payload);
    Ok((outcome, decision))
}

fn describe_end(outcome: &Outcome) -> &'static str {
    match outcome.end {
        End::Killed { .. } if outcome.halted => "has been shut down",
        End::Killed { .. } if outcome.timed_out => "did not end in time and was killed",
        End::Killed { signal: 2 | 1, .. } => "has been shut down",
        End::Killed { .. } if outcome.killed_by_us => "was killed",
        End::Killed { .. } => "was ended by a signal",
        End::Exited(0) => "ended",
        End::Exited(_) => "failed",
    }
}

fn console(plan: &Plan, session: &Session<'_>, claim: &Claim, made: &mut Made) -> Result<Option<Console>> {
    let relay = Relay::of(plan.console, session.caller.stdin_tty, session.caller.stdout_tty);
    let (Some(relay), Some(pty)) = (relay, made.console.take()) else { return Ok(None) };
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let mut console = Console::new(pty, relay, stdin.as_fd(), stdout.as_fd(), plan.window).context("open", "console")?;
    if session.log {
        let mut log = Log::open(claim.directory(), DEFAULT_LIMIT).context("open", "console log")?;
        log.copy_to(made.log.as_ref().map(copy_of).transpose().context("open", "log")?);
        console.set_log(log);
    }
    Ok(Some(console))
}

fn state_of(plan: &Plan, session: &Session<'_>, made: &Made, launched: &Launched) -> Result<MachineState> {
    let text = |path: &Path| Some(path.as_os_str().into());
    let supervisor = ProcessId::current().context("read", "identity of the supervisor")?;
    let mut state = MachineState::new(plan.name.clone(), supervisor);
    state.stamp().context("read", "clocks")?;
    // Who asked to hear of it when the machine is ready is not told before.
    state.phase = if plan.spec.lifecycle.notify_ready { Phase::Starting } else { Phase::Running };
    state.leader = launched.id;
    state.origin = session.origin;
    state.tree = text(&plan.tree.path);
    state.ids = made.ids;
    if plan.own_network {
        state.netns = std::fs::metadata(format!("/proc/{}/ns/net", launched.pid)).ok().map(|m| std::os::unix::fs::MetadataExt::ino(&m));
    }
    state.namespaces = launch::flags(plan) | clone::NEWCGROUP | super::bundle::joined_flags(plan.spec.bundle.as_deref());
    if plan.own_network {
        let network = network::state_of(&plan.network, &made.network);
        state.addresses = network.address.iter().map(ToString::to_string).collect();
        state.network = Some(network);
    }
    if plan.spec.network.namespace.is_some() {
        state.namespaces |= clone::NEWNET;
    }
    if plan.spec.bundle.as_ref().is_some_and(|b| b.time.is_some()) {
        state.namespaces |= clone::NEWTIME;
    }
    if let Some(cgroup) = &made.cgroup {
        state.cgroup = text(&cgroup.path().join("payload"));
        state.cgroups_v1 = cgroup.paths().iter().skip(1).map(|p| p.as_os_str().into()).collect();
    }
    state.console = plan.console;
    state.uuid = Some(plan.uuid);
    state.container = Some(plan.container.clone());
    state.bounding = Some(plan.bounding);
    let process = plan.process();
    state.no_new_privileges = Some(process.no_new_privileges);
    (state.rlimits, state.cpu_affinity, state.linux32) = (process.rlimits.clone(), process.cpu_affinity.clone(), process.linux32);
    (state.kill_signal, state.stop_timeout) = (plan.spec.lifecycle.kill_signal, plan.spec.lifecycle.stop_timeout);
    Ok(state)
}

/// Keeps the state file true, and reaches all processes of the machine for the event loop.
struct StateOwner<'a> {
    claim: &'a Claim,
    state: &'a mut MachineState,
    cgroup: Option<&'a MachineCgroup>,
    leader: Leader,
}

impl Owner for StateOwner<'_> {
    fn ready(&mut self) {
        if self.state.phase == Phase::Starting {
            self.state.phase = Phase::Running;
            // The machine does not end because its state could not be written.
            let _ = self.claim.write_state(self.state);
        }
    }
    fn desired_changed(&mut self, desired: control::Desired) {
        self.state.desired = match desired {
            control::Desired::On => Desired::On,
            control::Desired::Off => Desired::Off,
        };
        if desired == control::Desired::Off {
            self.state.phase = Phase::Stopping;
        }
        // The machine does not end because its state could not be written; `ps` shows the old one.
        let _ = self.claim.write_state(self.state);
    }
    fn thaw(&mut self) {
        if let Some(cgroup) = self.cgroup {
            let _ = cgroup.thaw(Duration::from_millis(500));
        }
    }
    fn signal_all(&mut self, signal: i32) -> bool {
        let Some(cgroup) = self.cgroup else { return false };
        if signal == 9 {
            return cgroup.kill().is_ok();
        }
        cgroup.signal(signal, Some(self.leader.pid())).is_ok()
    }
}
