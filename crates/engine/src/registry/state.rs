//! What a running machine writes down about itself: `state.json`, readable by any tool.

use serde::{Deserialize, Serialize};

use hostel_spec::{CapSet, ConsoleMode, IdRange, MachineName, MachineUuid, OsText, Rlimit, Signal};

use super::identity::ProcessId;
use crate::network::NetworkState;

/// The layout of the file; a higher number in a file means a newer hostel wrote it.
pub const VERSION: u32 = 1;

/// No state file is longer: what is longer is not one.
pub const MAX_BYTES: usize = 1 << 20;

/// Where in its life a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Being made; PID 1 has not been executed yet.
    #[default]
    Starting,
    /// PID 1 runs.
    Running,
    /// Frozen.
    Paused,
    /// Asked to end.
    Stopping,
    /// Between two lives: PID 1 asked for a reboot.
    Rebooting,
}

impl Phase {
    /// As shown by `hostel ps`.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Stopping => "stopping",
            Phase::Rebooting => "rebooting",
        }
    }
}

/// What the user wants of it. "Off" wins over a reboot that the machine asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    /// Runs; a reboot starts it again.
    #[default]
    On,
    /// Ends.
    Off,
}

/// What started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// `hostel run`.
    #[default]
    Run,
    /// `hostel boot`.
    Boot,
    /// The `systemd-nspawn` personality.
    Nspawn,
    /// An LXC configuration.
    Lxc,
    /// An overlay-boot configuration.
    Overlay,
    /// An OCI bundle.
    Oci,
}

/// Everything a tool can want to know of a running machine.
///
/// Unknown keys are ignored and missing ones have defaults, but for those without which it says nothing: version, name
/// and supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineState {
    /// [`VERSION`].
    pub version: u32,
    /// Name; equal to that of the directory.
    pub name: MachineName,
    /// Where in its life it is.
    #[serde(default)]
    pub phase: Phase,
    /// What the user wants.
    #[serde(default)]
    pub desired: Desired,
    /// The process that owns it.
    pub supervisor: ProcessId,
    /// Its PID 1, seen from the host; `None` before it exists.
    #[serde(default)]
    pub leader: Option<ProcessId>,
    /// /proc/sys/kernel/random/boot_id of the boot the two belong to.
    #[serde(default)]
    pub boot_id: String,
    /// What started it.
    #[serde(default)]
    pub origin: Origin,
    /// `container` or `vm`, as machined calls it.
    #[serde(default = "container")]
    pub class: String,
    /// The init found, such as `systemd`; `None`: not looked at, or a plain command.
    #[serde(default)]
    pub init: Option<String>,
    /// Start on CLOCK_BOOTTIME, nanoseconds.
    #[serde(default)]
    pub started_boottime: u64,
    /// Start on CLOCK_REALTIME, seconds after 1970.
    #[serde(default)]
    pub started_realtime: u64,
    /// The root file tree at rest.
    #[serde(default)]
    pub tree: Option<OsText>,
    /// Host ids its user namespace covers; `None`: the host's user namespace.
    #[serde(default)]
    pub ids: Option<IdRange>,
    /// Inode of its network namespace; `None`: the host's.
    #[serde(default)]
    pub netns: Option<u64>,
    /// Own namespaces, as the bits of clone(2) (`hostel_sys::clone::NEW…`).
    #[serde(default)]
    pub namespaces: u64,
    /// Its cgroup2 directory: the one the payload was born in.
    #[serde(default)]
    pub cgroup: Option<OsText>,
    /// The cgroup2 directory for processes that enter later, when it is another one.
    #[serde(default)]
    pub cgroup_exec: Option<OsText>,
    /// Its directories in v1 hierarchies.
    #[serde(default)]
    pub cgroups_v1: Vec<OsText>,
    /// Addresses, as text.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Its network, when that is its own.
    #[serde(default)]
    pub network: Option<NetworkState>,
    /// Console mode.
    #[serde(default)]
    pub console: ConsoleMode,
    /// Machine id.
    #[serde(default)]
    pub uuid: Option<MachineUuid>,
    /// Value of `$container` inside.
    #[serde(default)]
    pub container: Option<String>,
    /// Bounding set of everything inside.
    #[serde(default)]
    pub bounding: Option<CapSet>,
    /// Whether its processes may gain privileges by an exec; `None`: not written down (by an older hostel).
    #[serde(default)]
    pub no_new_privileges: Option<bool>,
    /// Limits that its PID 1 was started with; whatever enters gets them, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// CPUs, by number, that its PID 1 was started on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_affinity: Option<Vec<u32>>,
    /// It says that it is a 32-bit machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub linux32: bool,
    /// The signal that stops it, when the user chose one.
    #[serde(default)]
    pub kill_signal: Option<Signal>,
    /// How long its end may take, in microseconds, when the user chose that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<u64>,
}

fn container() -> String {
    "container".into()
}

/// Why a state file says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Longer than [`MAX_BYTES`].
    #[error("it is longer than 1 MiB")]
    TooLong,
    /// Not JSON, cut short, or of another shape.
    #[error("{0}")]
    Syntax(String),
    /// Written by a newer hostel.
    #[error("it has version {0}, this hostel knows {VERSION}")]
    Version(u32),
    /// It says it belongs to another machine.
    #[error("it is that of machine {0}")]
    OtherName(MachineName),
    /// A process number that no process can have.
    #[error("it names process {0}")]
    Pid(i32),
}

impl MachineState {
    /// A machine that is being made by this supervisor. Times, boot id and all optional facts are empty.
    pub fn new(name: MachineName, supervisor: ProcessId) -> Self {
        Self {
            version: VERSION,
            name,
            phase: Phase::Starting,
            desired: Desired::On,
            supervisor,
            leader: None,
            boot_id: String::new(),
            origin: Origin::Run,
            class: container(),
            init: None,
            started_boottime: 0,
            started_realtime: 0,
            tree: None,
            ids: None,
            netns: None,
            namespaces: 0,
            cgroup: None,
            cgroup_exec: None,
            cgroups_v1: Vec::new(),
            addresses: Vec::new(),
            network: None,
            console: ConsoleMode::Auto,
            uuid: None,
            container: None,
            bounding: None,
            no_new_privileges: None,
            rlimits: Vec::new(),
            cpu_affinity: None,
            linux32: false,
            kill_signal: None,
            stop_timeout: None,
        }
    }

    /// Fills in the two start times from the clocks and the id of this boot.
    pub fn stamp(&mut self) -> std::io::Result<()> {
        let boottime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let realtime = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        self.started_boottime = boottime.tv_sec as u64 * 1_000_000_000 + boottime.tv_nsec as u64;
        self.started_realtime = realtime.tv_sec as u64;
        self.boot_id = super::identity::boot_id()?;
        Ok(())
    }

    /// Parses the text of a state file found in the directory of machine `name`. Total: any bytes give a state or a reason.
    pub fn parse(text: &[u8], name: &MachineName) -> Result<Self, StateError> {
        if text.is_empty() {
            return Err(StateError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(StateError::TooLong);
        }
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let state: Self = match serde_json::from_slice(text) {
            Ok(state) => state,
            // Of two causes the version is the better one to tell.
            Err(error) => match serde_json::from_slice::<Head>(text) {
                Ok(head) if head.version > VERSION => return Err(StateError::Version(head.version)),
                _ => return Err(StateError::Syntax(error.to_string())),
            },
        };
        if state.version == 0 || state.version > VERSION {
            return Err(StateError::Version(state.version));
        }
        if state.name != *name {
            return Err(StateError::OtherName(state.name));
        }
        if let Some(id) = std::iter::once(&state.supervisor).chain(&state.leader).find(|id| id.pid <= 0) {
            return Err(StateError::Pid(id.pid));
        }
        Ok(state)
    }

    /// The text of the file: one line of JSON.
    pub fn to_text(&self) -> Vec<u8> {
        // Serialising plain data into memory cannot fail: every key is a string and no value refuses.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}
