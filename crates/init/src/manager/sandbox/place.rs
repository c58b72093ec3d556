//! What this place allows, and which keys have no effect in it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock};

use hostel_sys::mount::{self, Attributes, FsOption, Propagation};
use hostel_sys::{caps, clone, proc, seccomp, service};

/// What a service may be given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // one per thing that is tried
pub struct Here {
    /// Mounts of its own.
    pub mounts: bool,
    /// A file system of processes of its own.
    pub processes: bool,
    /// A network of its own.
    pub network: bool,
    /// IPC of its own.
    pub ipc: bool,
    /// A host name of its own.
    pub hostname: bool,
    /// Users of its own.
    pub users: bool,
    /// Keyrings.
    pub keys: bool,
    /// Filters of system calls.
    pub filters: bool,
}

const NOTHING: Here =
    Here { mounts: false, processes: false, network: false, ipc: false, hostname: false, users: false, keys: false, filters: false };

/// Whether filters can be had, and the process that tries the rest, if it may.
type Begun = (bool, Option<OwnedFd>);

static BEGUN: Mutex<Option<Begun>> = Mutex::new(None);

/// Tried once, by a process that then ends, when the first unit asks for something of it.
pub fn here() -> Here {
    static HERE: OnceLock<Here> = OnceLock::new();
    let begun = || BEGUN.lock().ok().and_then(|mut begun| begun.take());
    *HERE.get_or_init(|| finish(begun().unwrap_or_else(look)))
}

/// Begins to try while something else is done. [`here`] is to be called before children are reaped.
pub fn begin() {
    if let Ok(mut begun) = BEGUN.lock() {
        *begun = Some(look());
    }
}

fn look() -> Begun {
    let filters = seccomp::available();
    let admin = caps::get().is_ok_and(|(_, effective, _)| effective >> 21 & 1 == 1);
    match admin.then(|| clone::clone3(&clone::CloneArgs::default())) {
        Some(Ok(clone::Fork::Child)) => clone::exit_now(i32::from(tried())),
        Some(Ok(clone::Fork::Parent { pidfd, .. })) => (filters, Some(pidfd)),
        _ => (filters, None),
    }
}

fn finish((filters, process): Begun) -> Here {
    let bits = match process.map(|pidfd| clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED)) {
        Some(Ok(Some(clone::WaitStatus::Exited(bits)))) => bits,
        _ => 0,
    };
    let has = |bit: u8| i64::from(bits) >> bit & 1 == 1;
    Here { mounts: has(0), processes: has(1), network: has(2), ipc: has(3), hostname: has(4), users: has(5), keys: has(6), filters }
}

/// In a process of its own: one bit per thing that went well.
fn tried() -> u8 {
    let private = || {
        proc::unshare_mounts().is_ok()
            && rustix::fs::open("/", rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())
                .is_ok_and(|root| mount::change(root.as_fd(), c"", true, Attributes::NONE, Attributes::NONE, Propagation::Slave, None).is_ok())
    };
    let set = Attributes::NOSUID.or(Attributes::NODEV).or(Attributes::NOEXEC);
    let processes = || mount::filesystem(c"proc", &[FsOption::Text(c"hidepid", c"invisible")], set).is_ok();
    let alone = |flag: u64| service::unshare(flag).is_ok();
    let results = [
        private(),
        processes(),
        alone(clone::NEWNET),
        alone(clone::NEWIPC),
        alone(clone::NEWUTS),
        service::new_keyring(false).is_ok(),
        alone(clone::NEWUSER),
    ];
    let [mounts, processes, network, ipc, hostname, keys, users] = results.map(u8::from);
    mounts | processes << 1 | network << 2 | ipc << 3 | hostname << 4 | users << 5 | keys << 6
}

const NO_MOUNTS: &str = "it has no effect: no mounts of a service's own can be made here (CAP_SYS_ADMIN is missing)";
const NO_FILTERS: &str = "it has no effect: this kernel or place takes no system call filters";

/// Why a key has no effect in a place like this; `None`: it has.
pub fn lost(key: &str, here: Here) -> Option<&'static str> {
    match key {
        "ProtectSystem"
        | "ProtectHome"
        | "PrivateTmp"
        | "PrivateDevices"
        | "ProtectKernelTunables"
        | "ProtectControlGroups"
        | "ReadWritePaths"
        | "ReadOnlyPaths"
        | "InaccessiblePaths"
        | "ExecPaths"
        | "NoExecPaths"
        | "PrivateMounts"
        | "MountFlags"
        | "MountAPIVFS"
            if !here.mounts =>
        {
            Some(NO_MOUNTS)
        }
        // the start is refused: the service would see other files
        "RootDirectory" | "BindPaths" | "BindReadOnlyPaths" | "TemporaryFileSystem" if !here.mounts => {
            Some("no mounts of a service's own can be made here (CAP_SYS_ADMIN is missing): it is not started if these differ from what is there")
        }
        "DynamicUser" if !here.mounts => {
            Some("the user is the service's own, but files are not protected from it: no mounts of a service's own can be made here")
        }
        "ProtectKernelModules" | "ProtectKernelLogs" if !here.mounts => {
            Some("it has an effect on system calls and capabilities only: no mounts of a service's own can be made here")
        }
        "ProtectProc" | "ProcSubset" if !here.processes => Some("it has no effect: no file system of processes can be mounted here"),
        "PrivateNetwork" if !here.network => Some("it has no effect: no network of a service's own can be made here"),
        "PrivateIPC" if !here.ipc => Some("it has no effect: no IPC of a service's own can be made here"),
        "ProtectHostname" if !here.hostname => Some("it has an effect on system calls only: no host name of a service's own can be made here"),
        "PrivateUsers" if !here.users => Some("it has no effect: no users of a service's own can be made here"),
        "KeyringMode" if !here.keys => Some("it has no effect: keyrings cannot be made here"),
        "SystemCallFilter"
        | "SystemCallErrorNumber"
        | "SystemCallArchitectures"
        | "SystemCallLog"
        | "RestrictAddressFamilies"
        | "RestrictNamespaces"
        | "MemoryDenyWriteExecute"
        | "RestrictRealtime"
        | "RestrictSUIDSGID"
        | "LockPersonality"
            if !here.filters =>
        {
            Some(NO_FILTERS)
        }
        _ => None,
    }
}

/// Whether a place is to be looked at for the sake of a key.
pub fn depends(key: &str) -> bool {
    lost(key, NOTHING).is_some()
}

/// Why a key that is known never has an effect here.
pub fn never(section: &str, key: &str) -> Option<&'static str> {
    Some(match key {
        _ if section == "Swap" => "swap is the host's: it has no effect",
        "SurviveFinalKillSignal" => "the end of a machine is the end of all its processes: it has no effect",
        "PAMName" => "no PAM session is made: it has no effect",
        "DeviceAllow" | "DevicePolicy" => "devices are filtered for services only: it has no effect",
        "LogNamespace" => "there is one log: it has no effect",
        "SELinuxContext" | "AppArmorProfile" | "SmackProcessLabel" => "security modules are the host's: it has no effect",
        "SetCredentialEncrypted" | "LoadCredentialEncrypted" => "nothing decrypts credentials here: the service is not started if there is one",
        "IPAddressAllow" | "IPAddressDeny" => "packets are filtered for services only: it has no effect",
        "IPAccounting"
        | "IPIngressFilterPath"
        | "IPEgressFilterPath"
        | "SocketBindAllow"
        | "SocketBindDeny"
        | "RestrictNetworkInterfaces"
        | "NFTSet"
        | "BindNetworkInterface" => "packets are not filtered by unit: it has no effect",
        "BPFProgram" | "RestrictFileSystems" | "PrivateBPF" => "no such BPF programs are loaded: it has no effect",
        _ => return None,
    })
}
