//! `config.json` as it is written: the keys of the runtime specification 1.2, all optional that may be missing.
//!
//! Keys of other versions are passed over. What we refuse is kept as [`Given`], so that it can be refused by its name.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A part that is only refused, or only looked at for being empty.
pub(crate) type Given = Option<Value>;

macro_rules! parts {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(crate) struct $name { $($(#[$field_meta])* pub(crate) $field: $type),* }
    )* };
}

parts! {
    Config {
        oci_version: String,
        root: Option<Root>,
        process: Option<Process>,
        hostname: Option<String>,
        domainname: Option<String>,
        mounts: Option<Vec<Mount>>,
        hooks: Option<Hooks>,
        annotations: Option<BTreeMap<String, String>>,
        linux: Option<Linux>,
        solaris: Given,
        windows: Given,
        vm: Given,
        zos: Given,
    }
    Root { path: String, readonly: Option<bool> }
    Process {
        terminal: Option<bool>,
        console_size: Option<ConsoleSize>,
        user: Option<User>,
        args: Option<Vec<String>>,
        command_line: Option<String>,
        env: Option<Vec<String>>,
        cwd: String,
        capabilities: Option<Capabilities>,
        rlimits: Option<Vec<Rlimit>>,
        no_new_privileges: Option<bool>,
        apparmor_profile: Option<String>,
        oom_score_adj: Option<i32>,
        scheduler: Option<Scheduler>,
        selinux_label: Option<String>,
        io_priority: Option<IoPriority>,
        #[serde(rename = "execCPUAffinity")]
        exec_cpu_affinity: Given,
    }
    ConsoleSize { height: u16, width: u16 }
    User { uid: u32, gid: u32, umask: Option<u32>, additional_gids: Option<Vec<u32>>, username: Option<String> }
    Capabilities {
        bounding: Option<Vec<String>>,
        effective: Option<Vec<String>>,
        inheritable: Option<Vec<String>>,
        permitted: Option<Vec<String>>,
        ambient: Option<Vec<String>>,
    }
    Rlimit { #[serde(rename = "type")] kind: String, soft: u64, hard: u64 }
    Scheduler {
        policy: String,
        nice: Option<i32>,
        priority: Option<i32>,
        flags: Option<Vec<String>>,
        runtime: Option<u64>,
        deadline: Option<u64>,
        period: Option<u64>,
    }
    IoPriority { class: String, priority: Option<i64> }
    Mount {
        destination: String,
        #[serde(rename = "type")]
        kind: Option<String>,
        source: Option<String>,
        options: Option<Vec<String>>,
        uid_mappings: Option<Vec<IdMap>>,
        gid_mappings: Option<Vec<IdMap>>,
    }
    IdMap {
        #[serde(rename = "containerID")]
        container_id: u32,
        #[serde(rename = "hostID")]
        host_id: u32,
        size: u32,
    }
    Hooks {
        prestart: Option<Vec<Hook>>,
        create_runtime: Option<Vec<Hook>>,
        create_container: Option<Vec<Hook>>,
        start_container: Option<Vec<Hook>>,
        poststart: Option<Vec<Hook>>,
        poststop: Option<Vec<Hook>>,
    }
    Hook { path: String, args: Option<Vec<String>>, env: Option<Vec<String>>, timeout: Option<i64> }
    Linux {
        namespaces: Option<Vec<Namespace>>,
        uid_mappings: Option<Vec<IdMap>>,
        gid_mappings: Option<Vec<IdMap>>,
        time_offsets: Option<BTreeMap<String, Offset>>,
        devices: Option<Vec<Device>>,
        net_devices: Given,
        cgroups_path: Option<String>,
        resources: Option<Resources>,
        rootfs_propagation: Option<String>,
        seccomp: Option<Seccomp>,
        masked_paths: Option<Vec<String>>,
        readonly_paths: Option<Vec<String>>,
        mount_label: Option<String>,
        sysctl: Option<BTreeMap<String, String>>,
        intel_rdt: Given,
        memory_policy: Given,
        personality: Option<Personality>,
    }
    Personality { domain: String, flags: Option<Vec<String>> }
    Namespace { #[serde(rename = "type")] kind: String, path: Option<String> }
    Offset { secs: Option<i64>, nanosecs: Option<u32> }
    Device {
        #[serde(rename = "type")]
        kind: String,
        path: String,
        major: Option<i64>,
        minor: Option<i64>,
        file_mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
    }
    Resources {
        devices: Option<Vec<DeviceRule>>,
        memory: Option<Memory>,
        cpu: Option<Cpu>,
        pids: Option<Pids>,
        #[serde(rename = "blockIO")]
        block_io: Option<BlockIo>,
        hugepage_limits: Given,
        network: Given,
        rdma: Given,
        unified: Option<BTreeMap<String, String>>,
    }
    DeviceRule {
        allow: bool,
        #[serde(rename = "type")]
        kind: Option<String>,
        major: Option<i64>,
        minor: Option<i64>,
        access: Option<String>,
    }
    Memory {
        limit: Option<i64>,
        reservation: Option<i64>,
        swap: Option<i64>,
        kernel: Given,
        #[serde(rename = "kernelTCP")]
        kernel_tcp: Given,
        swappiness: Given,
        #[serde(rename = "disableOOMKiller")]
        disable_oom_killer: Option<bool>,
        use_hierarchy: Option<bool>,
        check_before_update: Option<bool>,
    }
    Cpu {
        shares: Option<u64>,
        quota: Option<i64>,
        burst: Given,
        period: Option<u64>,
        realtime_runtime: Given,
        realtime_period: Given,
        cpus: Option<String>,
        mems: Option<String>,
        idle: Option<i64>,
    }
    Pids { limit: Option<i64> }
    BlockIo {
        weight: Option<u16>,
        leaf_weight: Given,
        weight_device: Given,
        throttle_read_bps_device: Given,
        throttle_write_bps_device: Given,
        #[serde(rename = "throttleReadIOPSDevice")]
        throttle_read_iops_device: Given,
        #[serde(rename = "throttleWriteIOPSDevice")]
        throttle_write_iops_device: Given,
    }
    Seccomp {
        default_action: String,
        default_errno_ret: Option<u32>,
        architectures: Option<Vec<String>>,
        flags: Option<Vec<String>>,
        listener_path: Option<String>,
        listener_metadata: Option<String>,
        syscalls: Option<Vec<Syscall>>,
    }
    Syscall { names: Vec<String>, action: String, errno_ret: Option<u32>, args: Option<Vec<Argument>> }
    Argument { index: u32, value: u64, value_two: Option<u64>, op: String }
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
