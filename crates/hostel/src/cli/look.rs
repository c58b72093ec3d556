//! A machine named on the command line: finding it, and one look at it (state file, cgroup, leader).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use hostel_engine::cgroup::{MachineCgroup, Stats};
use hostel_engine::enter::Leader;
use hostel_engine::error::{Error, Result};
use hostel_engine::inside::addresses;
use hostel_engine::registry::{Liveness, Machine, MachineState, Registry, RegistryError};
use hostel_engine::stop::Evidence;
use hostel_ipc::control::{CallError, Connection, Request, Status};
use hostel_spec::MachineName;

use super::Failure;

/// How long a supervisor may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A machine's name as typed.
pub(crate) fn name(word: &OsStr) -> std::result::Result<MachineName, Failure> {
    let text = word.to_str().map_or_else(|| word.to_string_lossy().into_owned(), str::to_owned);
    MachineName::new(text).map_err(|e| Failure::Usage(e.to_string()))
}

/// Keeps the one name a verb takes.
pub(crate) fn one(slot: &mut Option<MachineName>, word: &OsStr) -> std::result::Result<(), Failure> {
    let given = name(word)?;
    match slot.replace(given) {
        None => Ok(()),
        Some(_) => Err(Failure::Usage(format!("unexpected argument {word:?}: one machine at a time"))),
    }
}

/// The name, which has to be there.
pub(crate) fn required(slot: Option<MachineName>) -> std::result::Result<MachineName, Failure> {
    slot.ok_or_else(|| Failure::Usage("which machine? give its name".into()))
}

/// A verb that takes a machine's name and nothing else, or `None`: its help was asked for, and has been printed.
pub(crate) fn only_name(
    verb: &super::Verb,
    args: &[OsString],
    mut flag: impl FnMut(&str) -> bool,
) -> std::result::Result<Option<MachineName>, Failure> {
    use lexopt::Arg::{Long, Short, Value};
    let mut words = lexopt::Parser::from_args(args);
    let mut found = None;
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => {
                crate::output::print(&super::verb_help(verb));
                return Ok(None);
            }
            Long(long) if flag(long) => {}
            Value(word) => one(&mut found, &word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    required(found).map(Some)
}

/// Two names and nothing else, or `None`: the help was asked for. `missing` says what they are, when they are not both there.
pub(crate) fn two_names(args: &[OsString], missing: &str) -> std::result::Result<Option<[MachineName; 2]>, Failure> {
    use lexopt::Arg::{Long, Short, Value};
    let mut words = lexopt::Parser::from_args(args);
    let mut names = Vec::new();
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Value(word) if names.len() < 2 => names.push(name(&word)?),
            other => return Err(other.unexpected().into()),
        }
    }
    names.try_into().map(Some).map_err(|_| Failure::Usage(missing.to_owned()))
}

/// A machine that runs, or is being started.
pub(crate) fn running(registry: &Registry, name: &MachineName) -> Result<Machine> {
    not_dead(registry.load(name)?)
}

/// The same for a verb that goes to its leader and not to its supervisor.
pub(super) fn to_enter(registry: &Registry, name: &MachineName) -> Result<Machine> {
    not_dead(registry.load_to_enter(name)?)
}

fn not_dead(machine: Machine) -> Result<Machine> {
    if machine.liveness == Liveness::Dead {
        let error = Error::from(RegistryError::NotRunning { name: machine.name.clone() });
        return Err(error.hint("its supervisor is dead; `hostel clean` removes what it left"));
    }
    Ok(machine)
}

/// What it says of itself; an error when that cannot be read, or is not there yet.
pub(crate) fn state(machine: &Machine) -> Result<&MachineState> {
    match &machine.state {
        Ok(Some(state)) => Ok(state),
        Ok(None) => Err(Error::new("look at", format!("machine {}", machine.name), "it is being started").hint("try again in a moment")),
        Err(why) => {
            let error = Error::new("look at", format!("machine {}", machine.name), crate::output::clean(why));
            Err(match machine.owner {
                Some(pid) => error.hint(format!("its supervisor is process {pid}; end that, then `hostel clean`")),
                None => error,
            })
        }
    }
}

/// Connects to its supervisor.
pub(crate) fn connect(machine: &Machine, patience: Duration) -> std::result::Result<Connection, CallError> {
    machine.directory().map_or(Err(CallError::NobodyListens), |dir| Connection::connect(dir, patience))
}

/// Asks its supervisor, which may be busy, hung or dead.
pub(super) fn ask(machine: &Machine) -> std::result::Result<Status, CallError> {
    connect(machine, PATIENCE)?.call(&Request::Status)
}

/// Its cgroup, by the recorded paths; `None`: none is recorded.
pub(crate) fn cgroup(state: &MachineState) -> Option<std::result::Result<MachineCgroup, hostel_engine::cgroup::CgroupError>> {
    let paths: Vec<PathBuf> = state.cgroup.iter().chain(&state.cgroups_v1).map(|p| PathBuf::from(p.as_os_str())).collect();
    (!paths.is_empty()).then(|| MachineCgroup::open_recorded(&paths))
}

/// A machine looked at once.
#[derive(Debug)]
pub(crate) struct Look {
    /// Its directory's say.
    pub(crate) machine: Machine,
    /// Its figures; all unknown for a machine that does not run.
    pub(crate) stats: Stats,
    /// Resident memory of its processes, in bytes, pages they share counted several times: for hosts where no
    /// controller counts.
    pub(crate) resident: Option<u64>,
    /// Processes, where no controller counts tasks.
    pub(crate) processes: Option<u64>,
    /// Its cgroup is frozen.
    pub(crate) frozen: bool,
    /// The addresses it has now; those it was given, when they cannot be looked at.
    pub(crate) addresses: Vec<String>,
}

impl Look {
    /// Looks at `machine`.
    pub(crate) fn at(machine: Machine) -> Self {
        let mut look = Self { machine, stats: Stats::default(), resident: None, processes: None, frozen: false, addresses: Vec::new() };
        look.addresses = look.ask_addresses();
        let group = match look.machine.known() {
            Some(state) if look.machine.liveness != Liveness::Dead => cgroup(state).and_then(std::result::Result::ok),
            _ => None,
        };
        if let Some(group) = group {
            look.stats = group.stats();
            look.frozen = group.frozen().unwrap_or(false);
            if (look.stats.memory_current.is_none() || look.stats.pids_current.is_none())
                && let Ok(members) = group.procs()
            {
                look.processes = Some(members.len() as u64);
                look.resident = Some(members.iter().map(|pid| resident(pid.as_raw_nonzero().get())).sum());
            }
        }
        look
    }

    fn ask_addresses(&self) -> Vec<String> {
        let Some(state) = self.machine.known().filter(|_| self.machine.liveness != Liveness::Dead) else { return Vec::new() };
        let given = || state.addresses.iter().map(|a| crate::output::clean(a)).collect();
        // Only a network of its own has addresses of its own.
        let Some(leader) = state.netns.and(state.leader).and_then(|id| Leader::from_identity(id).ok()) else { return given() };
        match addresses::of(&leader) {
            Ok(found) => found.iter().filter(|a| !addresses::is_link_local(a)).map(ToString::to_string).collect(),
            Err(_) => given(),
        }
    }

    /// One word: starting, running, paused, stopping, rebooting, dead, damaged.
    pub(crate) fn state(&self) -> &'static str {
        match (&self.machine.state, self.machine.liveness) {
            (_, Liveness::Dead) => "dead",
            (Err(_), _) => "damaged",
            (Ok(None), _) => "starting",
            // Somebody holds the lock, and it is not the supervisor that the file names.
            (Ok(Some(_)), Liveness::Unknown) => "damaged",
            (Ok(Some(state)), Liveness::Alive) => match state.phase {
                hostel_engine::registry::Phase::Running if self.frozen => "paused",
                phase => phase.as_str(),
            },
        }
    }

    /// Why it is damaged, or dead.
    pub(crate) fn trouble(&self) -> Option<String> {
        match (&self.machine.state, self.machine.liveness) {
            (Err(why), _) => Some(crate::output::clean(why)),
            (_, Liveness::Dead) => Some("its supervisor is dead; `hostel clean` removes what it left".into()),
            (Ok(Some(state)), Liveness::Unknown) => {
                Some(format!("its supervisor, process {}, is dead, but something else holds its lock", state.supervisor.pid))
            }
            _ => None,
        }
    }

    /// Process number of PID 1, while it lives.
    pub(crate) fn leader(&self) -> Option<i32> {
        self.machine.known().filter(|_| self.machine.liveness != Liveness::Dead)?.leader.map(|l| l.pid)
    }

    /// The init of a booted machine: what PID 1 is now, which at its very start cannot be told yet.
    pub(crate) fn init(&self) -> Option<String> {
        let state = self.machine.known().filter(|_| self.machine.liveness != Liveness::Dead)?;
        let first = state.init.as_ref()?;
        let now = state.leader.and_then(|id| Leader::from_identity(id).ok()).map(|leader| Evidence::at_a_glance(&leader).label());
        Some(crate::output::clean(&now.unwrap_or_else(|| first.clone())))
    }

    /// Process number of the supervisor, while it lives.
    pub(crate) fn supervisor(&self) -> Option<i32> {
        let known = self.machine.known().map(|s| s.supervisor.pid).or(self.machine.owner);
        known.filter(|_| self.machine.liveness != Liveness::Dead)
    }

    /// Seconds since PID 1 was started, while it lives.
    pub(crate) fn uptime(&self) -> Option<u64> {
        let state = self.machine.known().filter(|s| s.started_boottime > 0 && self.machine.liveness != Liveness::Dead)?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Some((now.tv_sec as u64).saturating_sub(state.started_boottime / 1_000_000_000))
    }

    /// Memory for people: `12.3M`, `~12.3M` where it is estimated, `-`.
    pub(crate) fn memory(&self) -> String {
        match (self.stats.memory_current, self.resident) {
            (Some(exact), _) => crate::output::bytes(exact),
            (None, Some(estimate)) => format!("~{}", crate::output::bytes(estimate)),
            (None, None) => "-".into(),
        }
    }
}

/// Resident memory of a process, in bytes; 0 when it has gone.
fn resident(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// The figures as JSON; unknown ones are null.
pub(crate) fn stats_json(look: &Look) -> serde_json::Value {
    let s = &look.stats;
    serde_json::json!({
        "memory_bytes": s.memory_current,
        "memory_peak_bytes": s.memory_peak,
        "memory_limit_bytes": s.memory_limit,
        "memory_resident_bytes": look.resident,
        "swap_bytes": s.swap_current,
        "oom_kills": s.oom_kills,
        "tasks": s.pids_current,
        "tasks_limit": s.pids_limit,
        "tasks_refused": s.pids_refused,
        "processes": look.processes,
        "cpu_usec": s.cpu_usec,
        "cpu_quota_usec_per_second": s.cpu_quota,
    })
}
