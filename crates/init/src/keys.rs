//! Every key of a unit file that is known, with the shape of its value; from `systemd --dump-configuration-items` of 262.

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Not looked into here.
    Text,
    /// Words, with quotes.
    Words,
    /// yes, no and their like.
    Bool,
    /// A whole number.
    Number,
    /// A time span, seconds without a unit.
    Span,
    /// Bytes, a percentage or infinity.
    Memory,
    /// One limit, or a soft and a hard one.
    Rlimit,
    /// A signal.
    Signal,
    /// Octal permissions.
    FileMode,
    /// Names of units; an empty value takes nothing back.
    Units,
    /// Names of units in [Install]; an empty value takes all back.
    Names,
    /// A command line.
    Command,
    /// A calendar expression.
    Calendar,
    /// Exit statuses and signals.
    Statuses,
    /// A condition: `|` and `!` may stand before it.
    Condition,
    /// `NAME=VALUE` words.
    Environment,
    /// How jobs of a transaction meet others.
    JobMode,
    /// Type= of services.
    ServiceType,
    /// Restart= of services.
    Restart,
    /// KillMode=.
    KillMode,
    /// NotifyAccess=.
    NotifyAccess,
    /// What follows a failure.
    Action,
}

/// Keys by shape.
type Group = &'static [(Shape, &'static str)];

/// Groups of a section.
fn groups(section: &str) -> &'static [Group] {
    match section {
        "Unit" => &[UNIT],
        "Install" => &[INSTALL],
        "Service" => &[SERVICE, EXEC, KILL, RESOURCE],
        "Socket" => &[SOCKET, EXEC, KILL, RESOURCE],
        "Mount" => &[MOUNT, EXEC, KILL, RESOURCE],
        "Swap" => &[SWAP, EXEC, KILL, RESOURCE],
        "Automount" => &[AUTOMOUNT],
        "Timer" => &[TIMER],
        "Path" => &[PATH],
        "Slice" => &[SLICE, RESOURCE],
        "Scope" => &[SCOPE, KILL, RESOURCE],
        _ => &[],
    }
}

/// A word of a list with a space between each two.
fn word(words: &'static str, key: &str) -> Option<&'static str> {
    let is_end = |at: Option<usize>| at.and_then(|at| words.as_bytes().get(at)).is_none_or(|b| *b == b' ');
    words.match_indices(key).find(|(at, _)| is_end(at.checked_sub(1)) && is_end(Some(at + key.len()))).map(|(_, word)| word)
}

/// A key as its table has it, with its shape.
fn row(section: &str, key: &str) -> Option<(&'static str, Shape)> {
    groups(section).iter().flat_map(|group| group.iter()).find_map(|(shape, keys)| word(keys, key).map(|key| (key, *shape)))
}

/// The shape of a key; `None` when it is unknown.
pub fn shape(section: &str, key: &str) -> Option<Shape> {
    row(section, key).map(|(_, shape)| shape)
}

/// Every known key of a section.
pub fn known(section: &str) -> impl Iterator<Item = (&'static str, Shape)> {
    groups(section).iter().flat_map(|group| group.iter()).flat_map(|(shape, keys)| keys.split_ascii_whitespace().map(|key| (key, *shape)))
}

/// What becomes of a key here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is acted upon: dependencies, installation, listing, or by the manager that runs.
    Counts,
    /// Its value is checked and kept; the manager does not act upon it yet, and says so of every unit that has it.
    Kept,
    /// systemd has taken it out, and says so; why it does nothing.
    Obsolete(&'static str),
}

/// Keys that systemd took out: `(key, why)`. They are in files of packages.
const OBSOLETE: [(&str, &str); 14] = [
    ("MemoryLimit", "of cgroup v1; MemoryMax= is its successor"),
    ("CPUShares", "of cgroup v1; CPUWeight= is its successor"),
    ("StartupCPUShares", "of cgroup v1; StartupCPUWeight= is its successor"),
    ("CPUAccounting", "always on in cgroup v2"),
    ("BlockIOAccounting", "of cgroup v1; IOAccounting= is its successor"),
    ("BlockIOWeight", "of cgroup v1; IOWeight= is its successor"),
    ("StartupBlockIOWeight", "of cgroup v1; StartupIOWeight= is its successor"),
    ("BlockIODeviceWeight", "of cgroup v1; IODeviceWeight= is its successor"),
    ("BlockIOReadBandwidth", "of cgroup v1; IOReadBandwidthMax= is its successor"),
    ("BlockIOWriteBandwidth", "of cgroup v1; IOWriteBandwidthMax= is its successor"),
    ("SysVStartPriority", "SysV scripts have no order of their own any more"),
    ("FsckPassNo", "the table of file systems says it"),
    ("TCPWrapName", "without TCP wrappers"),
    ("Capabilities", "AmbientCapabilities= and CapabilityBoundingSet= are its successors"),
];

/// Keys of [Unit] and [Service] that the manager acts upon, besides dependencies and conditions.
#[rustfmt::skip]
const MANAGED: [(&str, &str); 10] = [
    ("Unit", "StartLimitBurst StartLimitIntervalSec OnFailureJobMode OnSuccessJobMode SourcePath JobTimeoutSec JobRunningTimeoutSec \
        JobTimeoutAction StartLimitAction FailureAction SuccessAction FailureActionExitStatus SuccessActionExitStatus StopWhenUnneeded \
        OnFailureIsolate CollectMode"),
    ("Service", "ExecCondition ExecStartPre ExecStart ExecStartPost ExecReload ExecStop ExecStopPost RemainAfterExit GuessMainPID \
        NotifyAccess Restart RestartSec ReloadSignal TimeoutSec TimeoutStartSec TimeoutStopSec RuntimeMaxSec WatchdogSec PIDFile \
        SuccessExitStatus RestartPreventExitStatus RestartForceExitStatus KillMode KillSignal SendSIGKILL SendSIGHUP FinalKillSignal \
        WatchdogSignal User Group SupplementaryGroups WorkingDirectory UMask Nice OOMScoreAdjust CPUAffinity NoNewPrivileges \
        CapabilityBoundingSet AmbientCapabilities IgnoreSIGPIPE StandardInput StandardOutput StandardError TTYPath TTYReset TTYVHangup TTYVTDisallocate TTYRows TTYColumns \
        UtmpIdentifier UtmpMode SyslogIdentifier \
        SyslogFacility SyslogLevel SyslogLevelPrefix LogLevelMax LogRateLimitIntervalSec LogRateLimitBurst LogExtraFields \
        RuntimeDirectory StateDirectory CacheDirectory LogsDirectory ConfigurationDirectory RuntimeDirectoryMode StateDirectoryMode \
        CacheDirectoryMode LogsDirectoryMode ConfigurationDirectoryMode RuntimeDirectoryPreserve Environment EnvironmentFile \
        PassEnvironment UnsetEnvironment LimitCPU LimitFSIZE LimitDATA LimitSTACK LimitCORE LimitRSS LimitNOFILE LimitAS LimitNPROC \
        LimitMEMLOCK LimitLOCKS LimitSIGPENDING LimitMSGQUEUE LimitNICE LimitRTPRIO LimitRTTIME NonBlocking ExitType \
        RestartMode RestartSteps RestartMaxDelaySec RestartRandomizedDelaySec RestartKillSignal TimeoutAbortSec TimeoutStartFailureMode \
        TimeoutStopFailureMode PermissionsStartOnly"),
    ("Socket", "ListenStream ListenDatagram ListenSequentialPacket ListenFIFO ListenSpecial ListenNetlink ListenMessageQueue ListenUSBFunction \
        SocketProtocol BindIPv6Only Backlog BindToDevice SocketUser SocketGroup SocketMode DirectoryMode Accept Writable FlushPending \
        MaxConnections MaxConnectionsPerSource KeepAlive KeepAliveTimeSec KeepAliveIntervalSec KeepAliveProbes NoDelay Priority \
        DeferAcceptSec ReceiveBuffer SendBuffer IPTOS IPTTL Mark ReusePort PipeSize MessageQueueMaxMessages MessageQueueMessageSize \
        FreeBind Transparent Broadcast PassCredentials PassSecurity PassPacketInfo PassFileDescriptorsToExec Timestamping TCPCongestion \
        ExecStartPre ExecStartPost ExecStopPre ExecStopPost TimeoutSec RemoveOnStop Symlinks FileDescriptorName \
        TriggerLimitIntervalSec TriggerLimitBurst"),
    ("Timer", "OnActiveSec OnBootSec OnStartupSec OnUnitActiveSec OnUnitInactiveSec OnClockChange OnTimezoneChange AccuracySec \
        RandomizedDelaySec FixedRandomDelay Persistent RemainAfterElapse"),
    ("Path", "PathExists PathExistsGlob PathChanged PathModified DirectoryNotEmpty MakeDirectory DirectoryMode TriggerLimitIntervalSec \
        TriggerLimitBurst"),
    ("Mount", "What Where Type Options DirectoryMode SloppyOptions LazyUnmount ForceUnmount ReadWriteOnly TimeoutSec"),
    ("Automount", "Where"),
    // the sandbox: manager/sandbox
    ("Service", "ProtectSystem ProtectHome PrivateTmp PrivateDevices ProtectKernelTunables ProtectKernelModules ProtectKernelLogs \
        ProtectControlGroups ProtectHostname ProtectClock ProtectProc ProcSubset ReadWritePaths ReadOnlyPaths InaccessiblePaths ExecPaths \
        NoExecPaths BindPaths BindReadOnlyPaths TemporaryFileSystem PrivateMounts MountFlags RootDirectory MountAPIVFS PrivateNetwork \
        NetworkNamespacePath PrivateIPC IPCNamespacePath PrivateUsers SystemCallFilter SystemCallErrorNumber SystemCallArchitectures \
        SystemCallLog RestrictAddressFamilies RestrictNamespaces MemoryDenyWriteExecute RestrictRealtime RestrictSUIDSGID LockPersonality \
        IOSchedulingClass IOSchedulingPriority CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork TimerSlackNSec NUMAPolicy \
        NUMAMask Personality SecureBits CoredumpFilter KeyringMode SetCredential LoadCredential ExecSearchPath SetLoginEnvironment DynamicUser"),
    ("Service", "MemoryMin MemoryLow MemoryHigh MemoryMax MemorySwapMax MemoryZSwapMax MemoryZSwapWriteback CPUWeight CPUQuota \
        CPUQuotaPeriodSec AllowedCPUs AllowedMemoryNodes IOWeight TasksMax \
        IODeviceWeight IODeviceLatencyTargetSec IOReadBandwidthMax IOWriteBandwidthMax IOReadIOPSMax IOWriteIOPSMax Delegate DelegateSubgroup \
        OOMPolicy OpenFile FileDescriptorStoreMax FileDescriptorStorePreserve ImportCredential DeviceAllow DevicePolicy \
        IPAddressAllow IPAddressDeny"),
    ("Slice", "MemoryMin MemoryLow MemoryHigh MemoryMax MemorySwapMax MemoryZSwapMax MemoryZSwapWriteback CPUWeight CPUQuota \
        CPUQuotaPeriodSec AllowedCPUs AllowedMemoryNodes IOWeight TasksMax IODeviceWeight IODeviceLatencyTargetSec IOReadBandwidthMax \
        IOWriteBandwidthMax IOReadIOPSMax IOWriteIOPSMax"),
];

fn is_managed(section: &str, key: &str) -> bool {
    let has = |keys: &'static str| word(keys, key).is_some();
    // commands of sockets are made as those of services, but without their sandbox
    let as_service = || MANAGED.iter().find(|(of, _)| *of == "Service").is_some_and(|(_, keys)| has(keys));
    MANAGED.iter().any(|(of, keys)| *of == section && has(keys)) || section == "Socket" && EXEC.iter().any(|(_, keys)| has(keys)) && as_service()
}

/// A key as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Its section.
    section: &'static str,
    /// Itself.
    pub key: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// What becomes of it.
    pub usage: Use,
}

/// Finds a key. The tables are long, and the keys of a tree's units are few: those that were found are remembered.
pub fn find(section: &'static str, key: &str) -> Option<Known> {
    thread_local! { static FOUND: std::cell::RefCell<Vec<Known>> = const { std::cell::RefCell::new(Vec::new()) } }
    FOUND.with_borrow_mut(|found| {
        let at = found.partition_point(|known| (known.key, known.section) < (key, section));
        if let Some(known) = found.get(at).filter(|known| known.key == key && known.section == section) {
            return Some(*known);
        }
        let (key, shape) = row(section, key)?;
        let new = Known { section, key, shape, usage: use_of(section, key, shape) };
        found.insert(at, new);
        Some(new)
    })
}

/// Why a key does nothing any more.
pub fn obsolete(key: &str) -> Option<&'static str> {
    OBSOLETE.iter().find(|(old, _)| *old == key).map(|(_, why)| *why)
}

/// What becomes of a known or obsolete key.
pub fn usage(section: &str, key: &str) -> Option<Use> {
    shape(section, key).map(|shape| use_of(section, key, shape)).or_else(|| obsolete(key).map(Use::Obsolete))
}

fn use_of(section: &str, key: &str, shape: Shape) -> Use {
    const OF_UNITS: &str = "Description Documentation DefaultDependencies AllowIsolate RefuseManualStart RefuseManualStop IgnoreOnIsolate";
    let counts = match section {
        "Install" => true,
        "Unit" => matches!(shape, Shape::Units | Shape::Condition) || word(OF_UNITS, key).is_some() || key.ends_with("MountsFor"),
        "Service" => ["Type", "Sockets", "BusName"].contains(&key),
        "Socket" => ["Service", "Accept"].contains(&key),
        "Timer" | "Path" => key == "Unit" || key == "OnCalendar",
        _ => false,
    };
    if counts || key == "Slice" || is_managed(section, key) { Use::Counts } else { Use::Kept }
}

/// Another spelling of a key becomes its usual one, in its usual section.
pub fn usual<'k>(section: &'k str, key: &'k str) -> (&'k str, &'k str) {
    match (section, key) {
        ("Unit", "BindTo") => ("Unit", "BindsTo"),
        ("Unit", "PropagateReloadTo") => ("Unit", "PropagatesReloadTo"),
        ("Unit", "PropagateReloadFrom") => ("Unit", "ReloadPropagatedFrom"),
        ("Unit" | "Service", "StartLimitInterval") => ("Unit", "StartLimitIntervalSec"),
        ("Service", "StartLimitBurst" | "StartLimitAction" | "FailureAction" | "RebootArgument") => ("Unit", key),
        (_, "ReadWriteDirectories") => (section, "ReadWritePaths"),
        (_, "ReadOnlyDirectories") => (section, "ReadOnlyPaths"),
        (_, "InaccessibleDirectories") => (section, "InaccessiblePaths"),
        _ => (section, key),
    }
}

#[rustfmt::skip]
const UNIT: Group = &[
    (Shape::Action, "JobTimeoutAction StartLimitAction FailureAction SuccessAction"),
    (Shape::Bool, "StopWhenUnneeded RefuseManualStart RefuseManualStop AllowIsolate DefaultDependencies SurviveFinalKillSignal \
        OnFailureIsolate IgnoreOnIsolate"),
    (Shape::Condition, "ConditionPathExists ConditionPathExistsGlob ConditionPathIsDirectory ConditionPathIsSymbolicLink \
        ConditionPathIsMountPoint ConditionPathIsReadWrite ConditionPathIsEncrypted ConditionPathIsSocket \
        ConditionDirectoryNotEmpty ConditionFileNotEmpty ConditionFileIsExecutable ConditionNeedsUpdate ConditionFirstBoot \
        ConditionArchitecture ConditionFirmware ConditionVirtualization ConditionHost ConditionFraction \
        ConditionKernelCommandLine ConditionKernelVersion ConditionVersion ConditionCredential ConditionSecurity \
        ConditionCapability ConditionACPower ConditionMemory ConditionCPUFeature ConditionCPUs ConditionEnvironment \
        ConditionUser ConditionGroup ConditionControlGroupController ConditionOSRelease ConditionMachineTag \
        ConditionMemoryPressure ConditionCPUPressure ConditionIOPressure ConditionKernelModuleLoaded AssertPathExists \
        AssertPathExistsGlob AssertPathIsDirectory AssertPathIsSymbolicLink AssertPathIsMountPoint AssertPathIsReadWrite \
        AssertPathIsEncrypted AssertPathIsSocket AssertDirectoryNotEmpty AssertFileNotEmpty AssertFileIsExecutable \
        AssertNeedsUpdate AssertFirstBoot AssertArchitecture AssertVirtualization AssertHost AssertFraction \
        AssertKernelCommandLine AssertKernelVersion AssertVersion AssertCredential AssertSecurity AssertCapability \
        AssertACPower AssertMemory AssertCPUFeature AssertCPUs AssertEnvironment AssertUser AssertGroup \
        AssertControlGroupController AssertOSRelease AssertMachineTag AssertMemoryPressure AssertCPUPressure AssertIOPressure \
        AssertKernelModuleLoaded"),
    (Shape::JobMode, "OnSuccessJobMode OnFailureJobMode"),
    (Shape::Number, "StartLimitBurst"),
    (Shape::Span, "JobTimeoutSec JobRunningTimeoutSec StartLimitIntervalSec StartLimitInterval"),
    (Shape::Text, "Description Documentation SourcePath RequiresOverridable RequisiteOverridable RequiresMountsFor WantsMountsFor \
        JobTimeoutRebootArgument FailureActionExitStatus SuccessActionExitStatus RebootArgument CollectMode"),
    (Shape::Units, "Requires Requisite Wants BindsTo BindTo Upholds Conflicts Before After OnSuccess OnFailure PropagatesReloadTo \
        PropagateReloadTo ReloadPropagatedFrom PropagateReloadFrom PropagatesStopTo StopPropagatedFrom PartOf JoinsNamespaceOf"),
];

#[rustfmt::skip]
const INSTALL: Group = &[
    (Shape::Names, "Alias WantedBy RequiredBy UpheldBy Also"),
    (Shape::Text, "DefaultInstance"),
];

#[rustfmt::skip]
const SERVICE: Group = &[
    (Shape::Action, "StartLimitAction FailureAction"),
    (Shape::Bool, "PermissionsStartOnly RootDirectoryStartOnly RemainAfterExit GuessMainPID NonBlocking"),
    (Shape::Command, "ExecCondition ExecStartPre ExecStart ExecStartPost ExecReload ExecReloadPost ExecStop ExecStopPost"),
    (Shape::NotifyAccess, "NotifyAccess"),
    (Shape::Number, "RestartSteps StartLimitBurst FileDescriptorStoreMax"),
    (Shape::Restart, "Restart"),
    (Shape::ServiceType, "Type"),
    (Shape::Signal, "ReloadSignal"),
    (Shape::Span, "RestartSec RestartMaxDelaySec RestartRandomizedDelaySec TimeoutSec TimeoutStartSec TimeoutStopSec TimeoutAbortSec \
        RuntimeMaxSec RuntimeRandomizedExtraSec WatchdogSec StartLimitInterval"),
    (Shape::Statuses, "RestartPreventExitStatus RestartForceExitStatus SuccessExitStatus"),
    (Shape::Text, "PIDFile TimeoutStartFailureMode TimeoutStopFailureMode RebootArgument ExitType RestartMode BusName \
        FileDescriptorStorePreserve LUOSession USBFunctionDescriptors USBFunctionStrings OOMPolicy OpenFile RefreshOnReload"),
    (Shape::Units, "Sockets"),
];

#[rustfmt::skip]
const SOCKET: Group = &[
    (Shape::Bool, "Accept FlushPending Writable KeepAlive NoDelay FreeBind Transparent Broadcast PassCredentials PassPIDFD PassSecurity \
        PassPacketInfo AcceptFileDescriptors ReusePort RemoveOnStop PassFileDescriptorsToExec SELinuxContextFromNet"),
    (Shape::Command, "ExecStartPre ExecStartPost ExecStopPre ExecStopPost"),
    (Shape::FileMode, "SocketMode DirectoryMode"),
    (Shape::Memory, "ReceiveBuffer SendBuffer PipeSize"),
    (Shape::Number, "Backlog MaxConnections MaxConnectionsPerSource KeepAliveProbes Priority IPTTL Mark TriggerLimitBurst PollLimitBurst"),
    (Shape::Span, "KeepAliveTimeSec KeepAliveIntervalSec DeferAcceptSec TriggerLimitIntervalSec PollLimitIntervalSec DeferTriggerMaxSec"),
    (Shape::Text, "ListenStream ListenDatagram ListenSequentialPacket ListenFIFO ListenNetlink ListenSpecial ListenMessageQueue \
        ListenUSBFunction SocketProtocol BindIPv6Only BindToDevice TimeoutSec SocketUser SocketGroup IPTOS Timestamping \
        TCPCongestion MessageQueueMaxMessages MessageQueueMessageSize Symlinks FileDescriptorName DeferTrigger XAttrEntryPoint \
        XAttrListen XAttrAccept SmackLabel SmackLabelIPIn SmackLabelIPOut"),
    (Shape::Units, "Service"),
];

#[rustfmt::skip]
const MOUNT: Group = &[
    (Shape::Bool, "SloppyOptions LazyUnmount ForceUnmount ReadWriteOnly"),
    (Shape::FileMode, "DirectoryMode"),
    (Shape::Text, "Type What Where Options TimeoutSec"),
];

#[rustfmt::skip]
const SWAP: Group = &[
    (Shape::Text, "What Priority Options TimeoutSec"),
];

#[rustfmt::skip]
const AUTOMOUNT: Group = &[
    (Shape::FileMode, "DirectoryMode"),
    (Shape::Span, "TimeoutIdleSec"),
    (Shape::Text, "Where ExtraOptions"),
];

#[rustfmt::skip]
const TIMER: Group = &[
    (Shape::Bool, "OnClockChange OnTimezoneChange Persistent WakeSystem RemainAfterElapse FixedRandomDelay DeferReactivation"),
    (Shape::Calendar, "OnCalendar"),
    (Shape::Span, "OnActiveSec OnBootSec OnStartupSec OnUnitActiveSec OnUnitInactiveSec AccuracySec RandomizedDelaySec \
        RandomizedOffsetSec"),
    (Shape::Units, "Unit"),
];

#[rustfmt::skip]
const PATH: Group = &[
    (Shape::Bool, "MakeDirectory"),
    (Shape::FileMode, "DirectoryMode"),
    (Shape::Number, "TriggerLimitBurst"),
    (Shape::Span, "TriggerLimitIntervalSec"),
    (Shape::Text, "PathExists PathExistsGlob PathChanged PathModified DirectoryNotEmpty"),
    (Shape::Units, "Unit"),
];

#[rustfmt::skip]
const SLICE: Group = &[
    (Shape::Text, "ConcurrencySoftMax ConcurrencyHardMax ActivatingConcurrencyMax"),
];

#[rustfmt::skip]
const SCOPE: Group = &[
    (Shape::Span, "RuntimeMaxSec RuntimeRandomizedExtraSec TimeoutStopSec"),
    (Shape::Text, "OOMPolicy"),
];

#[rustfmt::skip]
const EXEC: Group = &[
    (Shape::Bool, "RootEphemeral CPUSchedulingResetOnFork DynamicUser RemoveIPC TTYReset TTYVHangup TTYVTDisallocate SyslogLevelPrefix \
        NoNewPrivileges MemoryDenyWriteExecute RestrictRealtime RestrictSUIDSGID LockPersonality PrivateDevices \
        ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectClock PrivateNetwork PrivateIPC \
        StateDirectoryAccounting CacheDirectoryAccounting LogsDirectoryAccounting IgnoreSIGPIPE"),
    (Shape::Environment, "Environment"),
    (Shape::FileMode, "UMask RuntimeDirectoryMode StateDirectoryMode CacheDirectoryMode LogsDirectoryMode ConfigurationDirectoryMode"),
    (Shape::Number, "LogRateLimitBurst"),
    (Shape::Rlimit, "LimitCPU LimitFSIZE LimitDATA LimitSTACK LimitCORE LimitRSS LimitNOFILE LimitAS LimitNPROC LimitMEMLOCK LimitLOCKS \
        LimitSIGPENDING LimitMSGQUEUE LimitNICE LimitRTPRIO LimitRTTIME"),
    (Shape::Span, "LogRateLimitIntervalSec TimeoutCleanSec"),
    (Shape::Text, "WorkingDirectory RootDirectory RootImage RootImageOptions RootImagePolicy RootHash RootHashSignature RootVerity \
        RootMStack ExtensionDirectories ExtensionImages ExtensionImagePolicy MountImages MountImagePolicy User Group \
        SetLoginEnvironment Nice OOMScoreAdjust CoredumpFilter IOSchedulingClass IOSchedulingPriority CPUSchedulingPolicy \
        CPUSchedulingPriority CPUAffinity NUMAPolicy NUMAMask EnvironmentFile StandardInput StandardOutput StandardError \
        StandardInputText StandardInputData TTYPath TTYRows TTYColumns SyslogIdentifier SyslogFacility SyslogLevel LogLevelMax \
        LogExtraFields LogFilterPatterns SecureBits CapabilityBoundingSet AmbientCapabilities TimerSlackNSec KeyringMode \
        ProtectProc ProcSubset PrivateBPF BPFDelegateCommands BPFDelegateMaps BPFDelegatePrograms BPFDelegateAttachments \
        SystemCallFilter SystemCallArchitectures SystemCallErrorNumber SystemCallLog RestrictNamespaces \
        RestrictAddressFamilies DelegateNamespaces RestrictFileSystems ReadWriteDirectories ReadOnlyDirectories \
        InaccessibleDirectories ReadWritePaths ReadOnlyPaths InaccessiblePaths ExecPaths NoExecPaths ExecSearchPath BindPaths \
        BindReadOnlyPaths TemporaryFileSystem PrivateTmp ProtectControlGroups UserNamespacePath NetworkNamespacePath \
        IPCNamespacePath LogNamespace PrivateUsers PrivateMounts PrivatePIDs ProtectSystem ProtectHome MountFlags MountAPIVFS \
        BindLogSockets Personality RuntimeDirectoryPreserve StateDirectoryQuota CacheDirectoryQuota LogsDirectoryQuota \
        SetCredential SetCredentialEncrypted LoadCredential LoadCredentialEncrypted ImportCredential PAMName UtmpIdentifier \
        UtmpMode SELinuxContext AppArmorProfile SmackProcessLabel ProtectHostname MemoryKSM MemoryTHP"),
    (Shape::Words, "SupplementaryGroups PassEnvironment UnsetEnvironment RuntimeDirectory StateDirectory CacheDirectory LogsDirectory \
        ConfigurationDirectory"),
];

#[rustfmt::skip]
const KILL: Group = &[
    (Shape::Bool, "SendSIGKILL SendSIGHUP"),
    (Shape::KillMode, "KillMode"),
    (Shape::Signal, "KillSignal RestartKillSignal FinalKillSignal WatchdogSignal"),
];

#[rustfmt::skip]
const RESOURCE: Group = &[
    (Shape::Bool, "MemoryAccounting MemoryZSwapWriteback IOAccounting TasksAccounting IPAccounting CoredumpReceive"),
    (Shape::Memory, "MemoryMin MemoryLow StartupMemoryLow MemoryHigh StartupMemoryHigh MemoryMax StartupMemoryMax MemorySwapMax \
        StartupMemorySwapMax MemoryZSwapMax StartupMemoryZSwapMax"),
    (Shape::Span, "CPUQuotaPeriodSec ManagedOOMMemoryPressureDurationSec MemoryPressureThresholdSec CPUPressureThresholdSec \
        IOPressureThresholdSec"),
    (Shape::Text, "AllowedCPUs StartupAllowedCPUs AllowedMemoryNodes StartupAllowedMemoryNodes CPUSetPartition CPUWeight StartupCPUWeight \
        CPUQuota DeviceAllow DevicePolicy IOWeight StartupIOWeight IODeviceWeight IOReadBandwidthMax IOWriteBandwidthMax \
        IOReadIOPSMax IOWriteIOPSMax IODeviceLatencyTargetSec TasksMax Delegate DelegateSubgroup DisableControllers \
        IPAddressAllow IPAddressDeny IPIngressFilterPath IPEgressFilterPath ManagedOOMSwap ManagedOOMMemoryPressure \
        ManagedOOMMemoryPressureLimit ManagedOOMPreference OOMRules BPFProgram SocketBindAllow SocketBindDeny \
        RestrictNetworkInterfaces MemoryPressureWatch CPUPressureWatch IOPressureWatch NFTSet BindNetworkInterface"),
    (Shape::Units, "Slice"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_once() {
        for section in ["Unit", "Install", "Service", "Socket", "Mount", "Swap", "Automount", "Timer", "Path", "Slice", "Scope"] {
            let mut seen = std::collections::BTreeSet::new();
            for (key, _) in known(section) {
                assert!(seen.insert(key), "{section} {key}");
                assert!(usage(section, key).is_some());
            }
            assert!(seen.len() > 3, "{section}");
        }
        for (section, keys) in MANAGED {
            for key in keys.split_ascii_whitespace() {
                assert!(shape(section, key).is_some(), "{section} {key}");
                assert_eq!(usage(section, key), Some(Use::Counts));
            }
        }
        assert_eq!(usage("Service", "RootImage"), Some(Use::Kept));
        assert_eq!(usage("Mount", "ProtectSystem"), Some(Use::Kept));
        assert_eq!(shape("Service", "ExecStart"), Some(Shape::Command));
        assert_eq!(shape("Timer", "OnCalendar"), Some(Shape::Calendar));
        assert_eq!(shape("Service", "OnCalendar"), None);
        assert!(matches!(usage("Service", "MemoryLimit"), Some(Use::Obsolete(_))));
    }
}
