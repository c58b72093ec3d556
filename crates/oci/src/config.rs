//! `config.json` as it is written: the keys of the runtime specification 1.2, all optional that may be missing.
//!
//! Keys of other versions are passed over. What we refuse is kept as [`Given`], so that it can be refused by its name.
//! What is of the wrong type is refused by its place. Not derived by serde: that is half a mebibyte of code.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Result, value};

/// A part that is only refused, or only looked at for being empty.
pub(crate) type Given = Option<Value>;

/// Where in the file: `process.args[2]`.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Top,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Top => Ok(()),
            Place::Key(above, key) => {
                let dot = if matches!(above, Place::Top) { "" } else { "." };
                // Keys may be anybody's: one line, bounded.
                write!(f, "{above}{dot}{}", key.chars().take(80).collect::<String>().escape_debug())
            }
            Place::Index(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

/// What can be read out of a JSON value; what is missing is as by default.
pub(crate) trait Part: Default {
    fn read(given: &Value, at: Place<'_>) -> Result<Self>;
}

fn wrong<T>(at: Place<'_>, wanted: &str) -> Result<T> {
    Err(value(at.to_string(), format!("it is no {wanted}")))
}

fn object<'v>(given: &'v Value, at: Place<'_>) -> Result<&'v Map<String, Value>> {
    given.as_object().map_or_else(|| wrong(at, "object"), Ok)
}

impl Part for String {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        given.as_str().map_or_else(|| wrong(at, "text"), |text| Ok(text.to_owned()))
    }
}

impl Part for bool {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        given.as_bool().map_or_else(|| wrong(at, "true or false"), Ok)
    }
}

impl Part for u64 {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        given.as_u64().map_or_else(|| wrong(at, "whole number from 0 to 18446744073709551615"), Ok)
    }
}

impl Part for i64 {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        given.as_i64().map_or_else(|| wrong(at, "whole number of 64 bits"), Ok)
    }
}

impl Part for u32 {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        given.as_u64().and_then(|n| n.try_into().ok()).map_or_else(|| wrong(at, "whole number from 0 to 4294967295"), Ok)
    }
}

impl Part for i32 {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        given.as_i64().and_then(|n| n.try_into().ok()).map_or_else(|| wrong(at, "whole number of 32 bits"), Ok)
    }
}

impl Part for u16 {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        given.as_u64().and_then(|n| n.try_into().ok()).map_or_else(|| wrong(at, "whole number from 0 to 65535"), Ok)
    }
}

impl Part for Value {
    fn read(given: &Value, _at: Place<'_>) -> Result<Self> {
        Ok(given.clone())
    }
}

impl<T: Part> Part for Option<T> {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        if given.is_null() { Ok(None) } else { T::read(given, at).map(Some) }
    }
}

impl<T: Part> Part for Vec<T> {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        let Some(list) = given.as_array() else { return wrong(at, "list") };
        list.iter().enumerate().map(|(index, item)| T::read(item, Place::Index(&at, index))).collect()
    }
}

impl<T: Part> Part for BTreeMap<String, T> {
    fn read(given: &Value, at: Place<'_>) -> Result<Self> {
        let mut all = Self::new();
        for (key, item) in object(given, at)? {
            all.insert(key.clone(), T::read(item, Place::Key(&at, key))?);
        }
        Ok(all)
    }
}

fn field<T: Part>(map: &Map<String, Value>, at: Place<'_>, key: &str) -> Result<T> {
    map.get(key).map_or_else(|| Ok(T::default()), |given| T::read(given, Place::Key(&at, key)))
}

macro_rules! parts {
    ($($name:ident { $($key:literal $field:ident : $type:ty),* $(,)? })*) => { $(
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $name { $(pub(crate) $field: $type),* }
        impl Part for $name {
            fn read(given: &Value, at: Place<'_>) -> Result<Self> {
                let map = object(given, at)?;
                Ok(Self { $($field: field(map, at, $key)?),* })
            }
        }
    )* };
}

parts! {
    Config {
        "ociVersion" oci_version: String,
        "root" root: Option<Root>,
        "process" process: Option<Process>,
        "hostname" hostname: Option<String>,
        "domainname" domainname: Option<String>,
        "mounts" mounts: Option<Vec<Mount>>,
        "hooks" hooks: Option<Hooks>,
        "annotations" annotations: Option<BTreeMap<String, String>>,
        "linux" linux: Option<Linux>,
        "solaris" solaris: Given,
        "windows" windows: Given,
        "vm" vm: Given,
        "zos" zos: Given,
    }
    Root { "path" path: String, "readonly" readonly: Option<bool> }
    Process {
        "terminal" terminal: Option<bool>,
        "consoleSize" console_size: Option<ConsoleSize>,
        "user" user: Option<User>,
        "args" args: Option<Vec<String>>,
        "commandLine" command_line: Option<String>,
        "env" env: Option<Vec<String>>,
        "cwd" cwd: String,
        "capabilities" capabilities: Option<Capabilities>,
        "rlimits" rlimits: Option<Vec<Rlimit>>,
        "noNewPrivileges" no_new_privileges: Option<bool>,
        "apparmorProfile" apparmor_profile: Option<String>,
        "oomScoreAdj" oom_score_adj: Option<i32>,
        "scheduler" scheduler: Option<Scheduler>,
        "selinuxLabel" selinux_label: Option<String>,
        "ioPriority" io_priority: Option<IoPriority>,
        "execCPUAffinity" exec_cpu_affinity: Given,
    }
    ConsoleSize { "height" height: u16, "width" width: u16 }
    User { "uid" uid: u32, "gid" gid: u32, "umask" umask: Option<u32>, "additionalGids" additional_gids: Option<Vec<u32>> }
    Capabilities {
        "bounding" bounding: Option<Vec<String>>,
        "effective" effective: Option<Vec<String>>,
        "inheritable" inheritable: Option<Vec<String>>,
        "permitted" permitted: Option<Vec<String>>,
        "ambient" ambient: Option<Vec<String>>,
    }
    Rlimit { "type" kind: String, "soft" soft: u64, "hard" hard: u64 }
    Scheduler {
        "policy" policy: String,
        "nice" nice: Option<i32>,
        "priority" priority: Option<i32>,
        "flags" flags: Option<Vec<String>>,
        "runtime" runtime: Option<u64>,
        "deadline" deadline: Option<u64>,
        "period" period: Option<u64>,
    }
    IoPriority { "class" class: String, "priority" priority: Option<i64> }
    Mount {
        "destination" destination: String,
        "type" kind: Option<String>,
        "source" source: Option<String>,
        "options" options: Option<Vec<String>>,
        "uidMappings" uid_mappings: Option<Vec<IdMap>>,
        "gidMappings" gid_mappings: Option<Vec<IdMap>>,
    }
    IdMap {
        "containerID" container_id: u32,
        "hostID" host_id: u32,
        "size" size: u32,
    }
    Hooks {
        "prestart" prestart: Option<Vec<Hook>>,
        "createRuntime" create_runtime: Option<Vec<Hook>>,
        "createContainer" create_container: Option<Vec<Hook>>,
        "startContainer" start_container: Option<Vec<Hook>>,
        "poststart" poststart: Option<Vec<Hook>>,
        "poststop" poststop: Option<Vec<Hook>>,
    }
    Hook { "path" path: String, "args" args: Option<Vec<String>>, "env" env: Option<Vec<String>>, "timeout" timeout: Option<i64> }
    Linux {
        "namespaces" namespaces: Option<Vec<Namespace>>,
        "uidMappings" uid_mappings: Option<Vec<IdMap>>,
        "gidMappings" gid_mappings: Option<Vec<IdMap>>,
        "timeOffsets" time_offsets: Option<BTreeMap<String, Offset>>,
        "devices" devices: Option<Vec<Device>>,
        "netDevices" net_devices: Given,
        "cgroupsPath" cgroups_path: Option<String>,
        "resources" resources: Option<Resources>,
        "rootfsPropagation" rootfs_propagation: Option<String>,
        "seccomp" seccomp: Option<Seccomp>,
        "maskedPaths" masked_paths: Option<Vec<String>>,
        "readonlyPaths" readonly_paths: Option<Vec<String>>,
        "mountLabel" mount_label: Option<String>,
        "sysctl" sysctl: Option<BTreeMap<String, String>>,
        "intelRdt" intel_rdt: Given,
        "memoryPolicy" memory_policy: Given,
        "personality" personality: Option<Personality>,
    }
    Personality { "domain" domain: String, "flags" flags: Option<Vec<String>> }
    Namespace { "type" kind: String, "path" path: Option<String> }
    Offset { "secs" secs: Option<i64>, "nanosecs" nanosecs: Option<u32> }
    Device {
        "type" kind: String,
        "path" path: String,
        "major" major: Option<i64>,
        "minor" minor: Option<i64>,
        "fileMode" file_mode: Option<u32>,
        "uid" uid: Option<u32>,
        "gid" gid: Option<u32>,
    }
    Resources {
        "devices" devices: Option<Vec<DeviceRule>>,
        "memory" memory: Option<Memory>,
        "cpu" cpu: Option<Cpu>,
        "pids" pids: Option<Pids>,
        "blockIO" block_io: Option<BlockIo>,
        "hugepageLimits" hugepage_limits: Given,
        "network" network: Given,
        "rdma" rdma: Given,
        "unified" unified: Option<BTreeMap<String, String>>,
    }
    DeviceRule {
        "allow" allow: bool,
        "type" kind: Option<String>,
        "major" major: Option<i64>,
        "minor" minor: Option<i64>,
        "access" access: Option<String>,
    }
    Memory {
        "limit" limit: Option<i64>,
        "reservation" reservation: Option<i64>,
        "swap" swap: Option<i64>,
        "kernel" kernel: Given,
        "kernelTCP" kernel_tcp: Given,
        "swappiness" swappiness: Given,
        "disableOOMKiller" disable_oom_killer: Option<bool>,
        "useHierarchy" use_hierarchy: Option<bool>,
        "checkBeforeUpdate" check_before_update: Option<bool>,
    }
    Cpu {
        "shares" shares: Option<u64>,
        "quota" quota: Option<i64>,
        "burst" burst: Given,
        "period" period: Option<u64>,
        "realtimeRuntime" realtime_runtime: Given,
        "realtimePeriod" realtime_period: Given,
        "cpus" cpus: Option<String>,
        "mems" mems: Option<String>,
        "idle" idle: Option<i64>,
    }
    Pids { "limit" limit: Option<i64> }
    BlockIo {
        "weight" weight: Option<u16>,
        "leafWeight" leaf_weight: Given,
        "weightDevice" weight_device: Given,
        "throttleReadBpsDevice" throttle_read_bps_device: Option<Vec<Throttle>>,
        "throttleWriteBpsDevice" throttle_write_bps_device: Option<Vec<Throttle>>,
        "throttleReadIOPSDevice" throttle_read_iops_device: Option<Vec<Throttle>>,
        "throttleWriteIOPSDevice" throttle_write_iops_device: Option<Vec<Throttle>>,
    }
    Throttle { "major" major: Option<u32>, "minor" minor: Option<u32>, "rate" rate: Option<u64> }
    Seccomp {
        "defaultAction" default_action: String,
        "defaultErrnoRet" default_errno_ret: Option<u32>,
        "architectures" architectures: Option<Vec<String>>,
        "flags" flags: Option<Vec<String>>,
        "listenerPath" listener_path: Option<String>,
        "listenerMetadata" listener_metadata: Option<String>,
        "syscalls" syscalls: Option<Vec<Syscall>>,
    }
    Syscall { "names" names: Vec<String>, "action" action: String, "errnoRet" errno_ret: Option<u32>, "args" args: Option<Vec<Argument>> }
    Argument { "index" index: u32, "value" value: u64, "valueTwo" value_two: Option<u64>, "op" op: String }
}

/// Whether something is given that says anything: null, empty lists and empty objects do not.
pub(crate) fn says(given: &Given) -> Option<&Value> {
    given.as_ref().filter(|value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    })
}
