//! Settings files: every key, who is trusted with it, who wins, and what is said of what does not count.

use std::ffi::OsString;

use hostel_spec::{CapName, CapSet, MachineSpec, NetworkMode, Ownership, Payload, TreeSource, UserNamespace};
use hostel_unit::specifier::Meaning;

use super::{args, environment};
use crate::settings::{GROUPS, Lookup, Mode, SettingsFile, lookup, merge};
use crate::{Action, Doc, Environment, UsageError, compile, fold};

const TRUSTED: &str = "/etc/systemd/nspawn/m.nspawn";
const BESIDE: &str = "/var/lib/machines/m.nspawn";

fn trusted(text: &str) -> SettingsFile {
    SettingsFile { path: TRUSTED.into(), text: text.into(), distrust: None, dropin: false }
}

fn beside(text: &str) -> SettingsFile {
    SettingsFile { path: BESIDE.into(), text: text.into(), distrust: Some("it lies beside the tree"), dropin: false }
}

fn dropin(name: &str, text: &str) -> SettingsFile {
    SettingsFile { path: format!("{TRUSTED}.d/{name}"), dropin: true, ..trusted(text) }
}

fn env() -> Environment {
    environment(&[("SECRET", "of the caller")])
}

fn meaning(letter: char) -> Meaning {
    match letter {
        'i' => Ok(Some("m".into())),
        'm' => Err("the host has no machine id"),
        _ => Ok(None),
    }
}

fn merged(words: &[&str], mode: Mode, files: &[SettingsFile]) -> Result<(Doc, Vec<String>), UsageError> {
    merge(fold(&args(words)), mode, files, &env(), &meaning)
}

/// The machine that comes out, and the warnings.
#[track_caller]
fn machine(words: &[&str], mode: Mode, files: &[SettingsFile]) -> (MachineSpec, Vec<String>) {
    let (doc, warnings) = merged(words, mode, files).unwrap_or_else(|e| panic!("{e}"));
    match compile(&doc, &env()) {
        Ok(Action::Run(spec)) => (*spec, warnings),
        other => panic!("{files:?}: {other:?}"),
    }
}

/// The machine that a trusted file makes without a warning.
#[track_caller]
fn of(text: &str) -> MachineSpec {
    let (spec, warnings) = machine(&["-Dm"], Mode::Yes, &[trusted(text)]);
    assert_eq!(warnings, [""; 0], "{text}");
    spec
}

/// Section, assignment, where it is seen in the spec, what is seen there, whether only a trusted file may say it.
/// Every key of the original that hostel does.
const KEYS: &[(&str, &str, &str, &str, bool)] = &[
    ("Exec", "PivotRoot=/a:/b", "/root/pivot", r#"{"new":"/a","old":"/b"}"#, false),
    ("Exec", "RestrictAddressFamilies=AF_UNIX", "/security/address_families/families", "[1]", false),
    ("Exec", "SuppressSync=yes", "/security/suppress_sync", "true", false),
    ("Exec", "LinkJournal=host", "/integration/journal", r#""host""#, true),
    ("Exec", "Boot=yes", "/payload", r#""boot""#, false),
    ("Exec", "Boot=no", "/payload", r#""command""#, false),
    ("Exec", "ProcessTwo=1", "/payload", r#""command-as-pid2""#, false),
    ("Exec", "Ephemeral=on", "/root/ephemeral", r#""copy""#, true),
    ("Exec", r#"Parameters=/bin/sh "a b" c\n '' "#, "/process/argv", r#"["/bin/sh","a b","c\\n",""]"#, false),
    ("Exec", r#"Environment=A=1 "B=x y" C=\x"#, "/process/env", r#"["A=1","B=x y","C=\\x"]"#, false),
    ("Exec", "User=bob", "/process/user", r#"{"name":"bob"}"#, false),
    ("Exec", "User=1000", "/process/user", r#"{"id":1000}"#, false),
    ("Exec", "AmbientCapability=cap_chown", "/process/ambient", r#"["cap_chown"]"#, true),
    ("Exec", "DropCapability=CAP_CHOWN kill", "/security/dropped", r#"["cap_chown","cap_kill"]"#, false),
    ("Exec", "NoNewPrivileges=yes", "/process/no_new_privileges", "true", false),
    ("Exec", "KillSignal=SIGRTMIN+4", "/lifecycle/kill_signal", r#""SIGRTMIN+4""#, false),
    ("Exec", "MachineID=0123456789abcdef0123456789abcdef", "/identity/uuid", r#""0123456789abcdef0123456789abcdef""#, true),
    ("Exec", "PrivateUsers=pick", "/namespaces/user", r#""pick""#, true),
    ("Exec", "PrivateUsers=yes", "/namespaces/user", r#""from-tree""#, true),
    ("Exec", "PrivateUsers=1", "/namespaces/user", r#""from-tree""#, true),
    ("Exec", "PrivateUsers=1000000:10", "/namespaces/user", r#"{"range":{"base":1000000,"count":10}}"#, true),
    ("Exec", "NotifyReady=yes", "/lifecycle/notify_ready", "true", false),
    ("Exec", "SystemCallFilter=~@clock  bpf", "/security/syscalls/nspawn", r#"[{"allow":false,"names":["@clock","bpf"]}]"#, false),
    ("Exec", "SystemCallFilter=@clock", "/security/syscalls/nspawn", r#"[{"allow":true,"names":["@clock"]}]"#, true),
    ("Exec", "LimitCPU=2s", "/process/rlimits", r#"[{"name":"CPU","soft":2,"hard":2}]"#, true),
    ("Exec", "LimitFSIZE=1K", "/process/rlimits", r#"[{"name":"FSIZE","soft":1024,"hard":1024}]"#, true),
    ("Exec", "LimitDATA=1", "/process/rlimits", r#"[{"name":"DATA","soft":1,"hard":1}]"#, true),
    ("Exec", "LimitSTACK=8M:infinity", "/process/rlimits", r#"[{"name":"STACK","soft":8388608,"hard":null}]"#, true),
    ("Exec", "LimitCORE=0", "/process/rlimits", r#"[{"name":"CORE","soft":0,"hard":0}]"#, true),
    ("Exec", "LimitRSS=1", "/process/rlimits", r#"[{"name":"RSS","soft":1,"hard":1}]"#, true),
    ("Exec", "LimitNOFILE=5:6", "/process/rlimits", r#"[{"name":"NOFILE","soft":5,"hard":6}]"#, true),
    ("Exec", "LimitAS=1", "/process/rlimits", r#"[{"name":"AS","soft":1,"hard":1}]"#, true),
    ("Exec", "LimitNPROC=1", "/process/rlimits", r#"[{"name":"NPROC","soft":1,"hard":1}]"#, true),
    ("Exec", "LimitMEMLOCK=1", "/process/rlimits", r#"[{"name":"MEMLOCK","soft":1,"hard":1}]"#, true),
    ("Exec", "LimitLOCKS=1", "/process/rlimits", r#"[{"name":"LOCKS","soft":1,"hard":1}]"#, true),
    ("Exec", "LimitSIGPENDING=1", "/process/rlimits", r#"[{"name":"SIGPENDING","soft":1,"hard":1}]"#, true),
    ("Exec", "LimitMSGQUEUE=1", "/process/rlimits", r#"[{"name":"MSGQUEUE","soft":1,"hard":1}]"#, true),
    ("Exec", "LimitNICE=+3", "/process/rlimits", r#"[{"name":"NICE","soft":17,"hard":17}]"#, true),
    ("Exec", "LimitRTPRIO=1", "/process/rlimits", r#"[{"name":"RTPRIO","soft":1,"hard":1}]"#, true),
    ("Exec", "LimitRTTIME=1ms", "/process/rlimits", r#"[{"name":"RTTIME","soft":1000,"hard":1000}]"#, true),
    ("Exec", "Hostname=a.b", "/identity/hostname", r#""a.b""#, false),
    ("Exec", "WorkingDirectory=/srv/", "/process/cwd", r#""/srv""#, false),
    ("Exec", "OOMScoreAdjust=-5", "/process/oom_score_adjust", "-5", true),
    ("Exec", "CPUAffinity=0-1,3", "/process/cpu_affinity", "[0,1,3]", true),
    ("Exec", "ResolvConf=yes", "/integration/resolv_conf", r#""auto""#, false),
    ("Exec", "ResolvConf=bind-host", "/integration/resolv_conf", r#""bind-host""#, false),
    ("Exec", "Timezone=0", "/integration/timezone", r#""off""#, false),
    ("Exec", "Timezone=copy", "/integration/timezone", r#""copy""#, false),
    ("Exec", "LinkJournal=no", "/notices", "[]", true),
    ("Exec", "SuppressSync=no", "/notices", "[]", false),
    ("Files", "ReadOnly=yes", "/root/read_only", "true", false),
    ("Files", "Volatile=state", "/root/volatile", r#""state""#, false),
    ("Files", "Volatile=yes", "/root/volatile", r#""yes""#, false),
    ("Files", "Bind=/a:/b", "/mounts/0/read_only", "false", true),
    ("Files", "BindReadOnly=/a:/b:idmap", "/mounts/0/read_only", "true", true),
    ("Files", "TemporaryFileSystem=/t:size=1M", "/mounts/0/options", r#""size=1M""#, true),
    ("Files", "Inaccessible=/boot", "/mounts/0/target", r#""/boot""#, true),
    ("Files", "Overlay=/a:/b:/c", "/mounts/0/upper", r#"{"host":"/b"}"#, true),
    ("Files", "OverlayReadOnly=/a:/b:/c", "/mounts/0/upper", "null", true),
    ("Files", "PrivateUsersOwnership=map", "/namespaces/ownership", r#""map""#, true),
    ("Files", "PrivateUsersChown=yes", "/namespaces/ownership", r#""chown""#, true),
    ("Files", "PrivateUsersChown=no", "/namespaces/ownership", r#""off""#, true),
    ("Network", "Private=yes", "/network/mode", r#""private""#, true),
    ("Network", "VirtualEthernet=yes", "/network/cable", r#""alone""#, true),
    ("Network", "VirtualEthernetExtra=a:b", "/network/veth", r#"[{"host":"a","inside":"b"}]"#, true),
    ("Network", "Interface=eth0 eth1:b", "/network/interfaces/1", r#"{"host":"eth1","inside":"b"}"#, true),
    ("Network", "MACVLAN=eth0", "/network/macvlan", r#"[{"host":"eth0","inside":"mv-eth0"}]"#, true),
    ("Network", "IPVLAN=eth0", "/network/ipvlan", r#"[{"host":"eth0","inside":"iv-eth0"}]"#, true),
    ("Network", "Bridge=br0", "/network/cable", r#"{"bridge":"br0"}"#, true),
    ("Network", "Zone=z", "/network/cable", r#"{"zone":"z"}"#, true),
    ("Network", "NamespacePath=/run/netns/x", "/network/namespace", r#""/run/netns/x""#, true),
    ("X-Hostel-Network", "Config=none", "/network/config", r#""none""#, true),
    ("X-Hostel-Network", "Pool=10.64.0.0/12", "/network/pool/prefix", "12", true),
    ("X-Hostel-Resources", "Memory=512M", "/resources/memory_max", r#"{"value":536870912}"#, true),
    ("X-Hostel-Resources", "Cpus=1.5", "/resources/cpu_quota", "1500000", true),
    ("X-Hostel-Resources", "Pids=100", "/resources/tasks_max", r#"{"value":100}"#, true),
    ("X-Hostel-Resources", "Property=MemoryHigh=1K", "/resources/memory_high", r#"{"value":1024}"#, true),
];

/// Keys whose option is not built: section, assignment, whether only a trusted file may say it.
const NOT_YET: &[(&str, &str, bool)] = &[("Exec", "PrivateUsersDelegate=2", true), ("Exec", "PrivateUsers=managed", true)];

/// They need a user namespace, and are of trusted files.
#[test]
fn users_of_the_host() {
    let text = "[Exec]\nPrivateUsers=pick\n[Files]\nBindUser=bob al\nBindUserShell=/bin/sh\n";
    let bound = serde_json::to_string(&of(text).bind_users).unwrap();
    assert_eq!(bound, r#"{"names":["bob","al"],"shell":{"path":"/bin/sh"},"groups":[]}"#);
    let (spec, warnings) = machine(&["-Dm", "-U"], Mode::Yes, &[beside(text)]);
    assert!(spec.bind_users.is_none() && warnings.len() == 3, "{warnings:?}");
}

#[test]
fn every_key() {
    for (section, assignment, pointer, expected, _) in KEYS {
        let json = serde_json::to_value(of(&format!("[{section}]\n{assignment}\n"))).unwrap();
        let found = json.pointer(pointer).unwrap_or_else(|| panic!("{assignment}: nothing at {pointer} in {json}"));
        assert_eq!(*found, serde_json::from_str::<serde_json::Value>(expected).unwrap(), "{assignment}");
    }
    let caps = of("[Exec]\nCapability=CAP_SYS_TIME ipc_lock\n").security.bounding;
    assert_eq!(caps, CapSet::NSPAWN.or(CapSet::of(&[CapName::SYS_TIME, CapName::IPC_LOCK])));
    // A port needs a network that it leads to.
    let ports = of("[Network]\nVirtualEthernet=yes\nPort=udp:53:54\nPort=80\n").network.ports;
    assert_eq!(ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["udp:53:54", "tcp:80:80"]);
    let native = if cfg!(target_arch = "aarch64") { "arm" } else { "x86" };
    assert!(of(&format!("[Exec]\nPersonality={native}\n")).process.linux32);
}

#[test]
fn trust() {
    let plain = machine(&["-Dm"], Mode::Yes, &[]).0;
    for (section, assignment, only_trusted) in
        KEYS.iter().map(|(s, a, _, _, t)| (s, a, t)).chain(NOT_YET.iter().map(|(s, a, t)| (s, a, t)).filter(|(_, _, t)| **t))
    {
        let file = beside(&format!("[{section}]\n{assignment}\n"));
        let (spec, warnings) = machine(&["-Dm"], Mode::Yes, std::slice::from_ref(&file));
        let (trusting, none) =
            machine(&["-Dm", "--settings=trusted"], if NOT_YET.iter().any(|n| n.1 == *assignment) { Mode::No } else { Mode::Trusted }, &[file]);
        assert_eq!(none, [""; 0], "{assignment}");
        if *only_trusted {
            assert_eq!(spec, plain, "{assignment}");
            assert_eq!(warnings.len(), 1, "{assignment}");
            let (start, end) = (format!("{BESIDE}:2: ignore "), ": the file is not trusted, it lies beside the tree");
            assert!(
                warnings[0].starts_with(&start) && warnings[0].ends_with(end) && warnings[0].contains(assignment.split('=').next().unwrap()),
                "{warnings:?}"
            );
        } else {
            assert_eq!(warnings, [""; 0], "{assignment}");
            assert_eq!(spec, trusting, "{assignment}");
        }
    }
}

#[test]
fn what_is_not_built_refuses_the_start() {
    for (section, assignment, only_trusted) in NOT_YET {
        let text = format!("[{section}]\n\n{assignment}\n");
        let files = if *only_trusted { vec![trusted(&text)] } else { vec![beside(&text)] };
        let path = &files[0].path;
        let (doc, _) = merged(&["-Dm"], Mode::Yes, &files).unwrap();
        let error = compile(&doc, &env()).unwrap_err();
        let key = assignment.split('=').next().unwrap();
        let said = error.to_string();
        assert!(
            said.starts_with(&format!("{path}:3: {key}=")) && (said.ends_with(" is not implemented yet") || said.ends_with(" is not supported")),
            "{said}"
        );
        assert!(error.hint().is_some());
    }
    // unless it does not count
    machine(&["-Dm", "--suppress-sync=no"], Mode::Yes, &[trusted("[Exec]\nSuppressSync=yes\n")]);
    machine(&["-Dm"], Mode::Yes, &[trusted("[Exec]\nSuppressSync=yes\n"), dropin("x.conf", "[Exec]\nSuppressSync=no\n")]);
    machine(&["-Dm"], Mode::Yes, &[trusted("[Files]\nBindUser=bob\nBindUser=\n")]);
}

/// All 65 keys of systemd 262 are known, in their sections and in no other.
#[test]
fn all_of_262() {
    const EXEC: &str = "Boot Ephemeral ProcessTwo Parameters Environment User Capability AmbientCapability DropCapability KillSignal Personality \
        MachineID WorkingDirectory PivotRoot PrivateUsers PrivateUsersDelegate NotifyReady SystemCallFilter RestrictAddressFamilies LimitCPU \
        LimitFSIZE LimitDATA LimitSTACK LimitCORE LimitRSS LimitNOFILE LimitAS LimitNPROC LimitMEMLOCK LimitLOCKS LimitSIGPENDING LimitMSGQUEUE \
        LimitNICE LimitRTPRIO LimitRTTIME Hostname NoNewPrivileges OOMScoreAdjust CPUAffinity ResolvConf LinkJournal Timezone SuppressSync";
    const FILES: &str = "ReadOnly Volatile Bind BindReadOnly TemporaryFileSystem Inaccessible Overlay OverlayReadOnly PrivateUsersChown \
        PrivateUsersOwnership BindUser BindUserShell";
    const NETWORK: &str = "Private Interface MACVLAN IPVLAN VirtualEthernet VirtualEthernetExtra Bridge Zone NamespacePath Port";
    let sections = [("Exec", EXEC), ("Files", FILES), ("Network", NETWORK)];
    let keys: Vec<(&str, &str)> = sections.iter().flat_map(|(s, keys)| keys.split_whitespace().map(move |k| (*s, k))).collect();
    assert_eq!(keys.len(), 65);
    for (section, key) in &keys {
        for (other, _) in sections {
            let (_, warnings) = merged(&["-Dm"], Mode::Yes, &[trusted(&format!("[{other}]\n{key}=\n"))]).unwrap();
            assert_eq!(warnings.is_empty(), other == *section, "[{other}] {key}: {warnings:?}");
        }
        let tested = |assignment: &str| assignment.split('=').next() == Some(key);
        let known = KEYS.iter().any(|k| tested(k.1))
            || NOT_YET.iter().any(|k| tested(k.1))
            || ["Capability", "Personality", "Port", "BindUser", "BindUserShell"].contains(key);
        assert!(known, "{key} is not tested");
    }
}

#[test]
fn warnings() {
    let text = "a=b\n[Exec]\nword\nBogus=1\nX-Mine=2\nBoot=maybe\nHostname=-\nEnvironment=A=1 NAME \"open\nKillSignal=help\n\
        [Nonsense]\nBoot=yes\n[X-Other]\nBoot=yes\n[X-Hostel-New]\nA=b\n[X-Hostel-Resources]\nMemory=many\nBogus=1\n[Files]\nbind=/x\nBind=x\\";
    let (spec, warnings) = machine(&["-Dm"], Mode::Yes, &[trusted(text)]);
    let expected = [
        "1: ignore the line: it stands before the first section",
        "3: ignore the line: there is no '=' in it",
        "4: ignore Bogus=: section Exec has no such key",
        "6: ignore Boot=maybe: it is neither yes nor no",
        "7: ignore Hostname=-: it must start with a letter or a digit",
        "8: ignore \"Environment=A=1 NAME \\\"open\": NAME is not NAME=VALUE",
        "9: ignore KillSignal=help: a file cannot ask for help",
        "10: ignore section Nonsense: there is no such section",
        "14: ignore section X-Hostel-New: there is no such section",
        "17: ignore Memory=many: it is not a size",
        "18: ignore Bogus=: section X-Hostel-Resources has no such key",
        "20: ignore bind=: section Files has no such key",
        "21: ignore Bind=x: the path inside the machine is not absolute",
    ];
    let said: Vec<&str> = warnings.iter().map(|w| w.strip_prefix(TRUSTED).and_then(|w| w.strip_prefix(':')).unwrap_or(w)).collect();
    for (said, expected) in said.iter().zip(expected) {
        // the parsers of values have their own words
        let same = said.split(": ").take(2).eq(expected.split(": ").take(2));
        assert!(same, "{said:?} is not {expected:?}");
    }
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    // what was right counts
    assert_eq!(spec.process.env, ["A=1".into()]);
    assert_eq!(spec.payload, Payload::Command);
    // whatever the file says, a warning is one line and there are not too many
    let (_, warnings) = machine(&["-Dm"], Mode::Yes, &[trusted(&format!("[\u{202e}]\n[Exec]\n{}", "\u{1b}[2J=\u{7}\n".repeat(200)))]);
    assert!(warnings.iter().all(|w| !w.chars().any(char::is_control)), "{warnings:?}");
    assert_eq!((warnings.len(), warnings.last().unwrap().as_str()), (101, "and 101 more warnings about settings files"));
}

#[test]
fn files_that_are_refused() {
    for (text, expected) in [
        (&b"[Exec\nBoot=yes"[..], "read /etc/systemd/nspawn/m.nspawn:1: the section header \"[Exec\" does not end in a bracket"),
        (b"[Exec]\nBoot=\xff", "read /etc/systemd/nspawn/m.nspawn:2: it is not UTF-8"),
    ] {
        let file = SettingsFile { text: text.into(), ..trusted("") };
        let error = merged(&["-Dm"], Mode::Yes, &[file]).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some());
    }
    let many = trusted(&format!("[Exec]\n{}", "User=a\n".repeat(10_001)));
    assert_eq!(
        merged(&[], Mode::Yes, &[many]).unwrap_err().to_string(),
        "read /etc/systemd/nspawn/m.nspawn:10002: there are 10000 settings before it"
    );
}

/// Assignments that add up, that replace, and that take back.
#[test]
fn repeated_keys() {
    let env = |text: &str| of(&format!("[Exec]\n{text}")).process.env;
    assert_eq!(env("Environment=A=1 B=2\nEnvironment=C=3\n"), ["A=1", "B=2", "C=3"].map(Into::into));
    assert_eq!(env("Environment=A=1\nEnvironment=\nEnvironment=B=2\n"), ["B=2".into()]);
    assert_eq!(of("[Exec]\nHostname=a\nHostname=b\n").identity.hostname.unwrap().as_str(), "b");
    assert_eq!(of("[Exec]\nHostname=a\nHostname=\n").identity.hostname, None);
    assert_eq!(of("[Exec]\nCPUAffinity=0\nCPUAffinity=2\n").process.cpu_affinity, Some(vec![0, 2]));
    assert_eq!(of("[Exec]\nCPUAffinity=0\nCPUAffinity=\n").process.cpu_affinity, None);
    assert_eq!(of("[Exec]\nParameters=a b\nParameters=c\n").process.argv.len(), 3);
    assert_eq!(of("[Exec]\nParameters=a b\nParameters=\n").process.argv.len(), 0);
    assert_eq!(of("[Exec]\nBoot=yes\nBoot=no\n").payload, Payload::Command);
    assert_eq!(of("[Exec]\nLimitNOFILE=5\nLimitCORE=1\nLimitNOFILE=6\n").process.rlimits.len(), 2);
    assert_eq!(of("[Files]\nBind=/a\nTemporaryFileSystem=/t\nBind=\nBind=/b\n").mounts.len(), 2);
    assert!(!of("[Files]\nReadOnly=yes\nReadOnly=no\n").root.read_only);
    let (spec, warnings) = machine(&["-Dm"], Mode::Yes, &[trusted("[Exec]\nHostname=good\nHostname=b@d\n")]);
    assert_eq!((spec.identity.hostname.unwrap().as_str(), warnings.len()), ("good", 1));
    let (spec, warnings) = machine(&["-Dm"], Mode::Yes, &[trusted("[Exec]\nProcessTwo=yes\nBoot=yes\n")]);
    assert_eq!(spec.payload, Payload::CommandAsPid2);
    assert_eq!(warnings, [format!("{TRUSTED}:3: ignore Boot=yes: Boot= and ProcessTwo= exclude each other")]);
    assert_eq!(of("[Exec]\nProcessTwo=yes\nBoot=yes\nProcessTwo=no\n").payload, Payload::Boot);
}

#[test]
fn ownership_without_a_mode_and_the_reverse() {
    for (text, user, ownership) in [
        ("[Exec]\nPrivateUsers=pick", UserNamespace::Pick, Ownership::Auto),
        ("[Exec]\nPrivateUsers=0", UserNamespace::Host, Ownership::Auto),
        ("[Exec]\nPrivateUsers=yes", UserNamespace::FromTree, Ownership::Auto),
        ("[Files]\nPrivateUsersOwnership=map", UserNamespace::Host, Ownership::Map),
        ("[Files]\nPrivateUsersChown=yes\nPrivateUsersOwnership=off", UserNamespace::Host, Ownership::Off),
    ] {
        let n = of(text).namespaces;
        assert_eq!((n.user, n.ownership), (user, ownership), "{text}");
        // and the command line's mode is gone with the group
        let n = machine(&["-UDm"], Mode::Override, &[trusted(text)]).0.namespaces;
        assert_eq!((n.user, n.ownership), (user, ownership), "{text}");
        assert_eq!(machine(&["-UDm"], Mode::Yes, &[trusted(text)]).0.namespaces.user, UserNamespace::Pick);
    }
}

/// A group of settings beside a command line that says something of the same group: who wins.
#[test]
fn groups() {
    let rows: &[(&str, &[&str], &str)] = &[
        ("[Exec]\nBoot=yes\nParameters=x", &["-a", "y"], "/payload /process/argv"),
        ("[Exec]\nParameters=x", &["y"], "/process/argv"),
        ("[Exec]\nProcessTwo=yes", &["-b"], "/payload"),
        ("[Exec]\nEphemeral=yes", &["-x"], "/root/ephemeral"),
        ("[Exec]\nEnvironment=A=file", &["-EA=argv", "-EB=argv"], "/process/env"),
        ("[Exec]\nUser=file", &["-uargv"], "/process/user"),
        ("[Exec]\nUser=file", &["--user=argv"], "/process/user"),
        ("[Exec]\nKillSignal=INT", &["--kill-signal=HUP"], "/lifecycle/kill_signal"),
        ("[Exec]\nMachineID=00000000000000000000000000000001", &["--uuid=00000000000000000000000000000002"], "/identity/uuid"),
        ("[Exec]\nWorkingDirectory=/file", &["--chdir=/argv"], "/process/cwd"),
        ("[Exec]\nPrivateUsers=no", &["-U"], "/namespaces"),
        ("[Files]\nPrivateUsersOwnership=off", &["--private-users=65536", "--private-users-ownership=map"], "/namespaces"),
        ("[Exec]\nNotifyReady=no", &["--notify-ready=yes"], "/lifecycle/notify_ready"),
        ("[Exec]\nSystemCallFilter=bpf", &["--system-call-filter=~mount"], "/security/syscalls"),
        ("[Exec]\nLimitNOFILE=1", &["--rlimit=RLIMIT_NOFILE=2"], "/process/rlimits"),
        ("[Exec]\nHostname=file", &["--hostname=argv"], "/identity/hostname"),
        ("[Exec]\nNoNewPrivileges=no", &["--no-new-privileges=yes"], "/process/no_new_privileges"),
        ("[Exec]\nOOMScoreAdjust=1", &["--oom-score-adjust=2"], "/process/oom_score_adjust"),
        ("[Exec]\nCPUAffinity=0", &["--cpu-affinity=1"], "/process/cpu_affinity"),
        ("[Exec]\nResolvConf=off", &["--resolv-conf=delete"], "/integration/resolv_conf"),
        ("[Exec]\nTimezone=off", &["--timezone=delete"], "/integration/timezone"),
        ("[Exec]\nLinkJournal=host", &["-j"], "/integration/journal"),
        ("[Files]\nReadOnly=no", &["--read-only"], "/root/read_only"),
        ("[Files]\nVolatile=state", &["--volatile"], "/root/volatile"),
        ("[Files]\nBind=/file", &["--tmpfs=/argv", "--overlay=/a:/b:/argv"], "/mounts"),
        ("[Files]\nInaccessible=/file", &["--bind=/argv"], "/mounts"),
        ("[Network]\nPrivate=no", &["-n"], "/network"),
        ("[Network]\nVirtualEthernet=yes", &["--private-network"], "/network"),
        ("[X-Hostel-Resources]\nMemory=1M", &["--memory=2M"], "/resources"),
        ("[X-Hostel-Resources]\nProperty=MemoryMax=1M", &["--memory=2M"], "/resources"),
        ("[X-Hostel-Resources]\nProperty=TasksMax=5", &["--property=TasksMax=6"], "/resources"),
    ];
    let at = |words: &[&str], mode, files: &[SettingsFile], pointers: &str| -> Vec<serde_json::Value> {
        let words: Vec<&str> = ["-Dm"].iter().chain(words).copied().collect();
        let json = serde_json::to_value(machine(&words, mode, files).0).unwrap();
        pointers.split(' ').map(|p| json.pointer(p).unwrap().clone()).collect()
    };
    for (text, words, pointers) in rows {
        let files = [trusted(text)];
        let argv_alone = at(words, Mode::No, &files, pointers);
        let file_alone = at(&[], Mode::Yes, &files, pointers);
        assert_eq!(at(words, Mode::Yes, &files, pointers), argv_alone, "{text} {words:?}");
        assert_eq!(at(words, Mode::Trusted, &[beside(text)], pointers), argv_alone, "{text} {words:?}");
        assert_eq!(at(words, Mode::Override, &files, pointers), file_alone, "{text} {words:?}");
    }
    // other groups are not touched
    let (spec, _) = machine(&["-Dm", "--tmpfs=/t", "-a", "cmd"], Mode::Override, &[trusted("[Exec]\nHostname=h\nEnvironment=A=1\n")]);
    assert_eq!((spec.mounts.len(), spec.payload, spec.process.argv.len(), spec.process.env.len()), (1, Payload::CommandAsPid2, 1, 1));
    let (spec, _) = machine(&["-Dm", "--rlimit=CORE=1"], Mode::Yes, &[trusted("[Exec]\nLimitCORE=2\nLimitNOFILE=3\n")]);
    assert_eq!(serde_json::to_string(&spec.process.rlimits).unwrap(), r#"[{"name":"NOFILE","soft":3,"hard":3},{"name":"CORE","soft":1,"hard":1}]"#);
}

#[test]
fn capabilities_add_up_under_override() {
    let text = "[Exec]\nCapability=CAP_SYS_TIME\nDropCapability=CAP_KILL\n";
    let words = ["-Dm", "--capability=CAP_BPF", "--drop-capability=CAP_CHOWN"];
    let spec = machine(&words, Mode::Override, &[trusted(text)]).0.security;
    assert!(spec.bounding.has(CapName::SYS_TIME) && spec.bounding.has(CapName::BPF));
    assert_eq!(spec.dropped, CapSet::of(&[CapName::KILL, CapName::CHOWN]));
    let spec = machine(&words, Mode::Yes, &[trusted(text)]).0.security;
    assert!(!spec.bounding.has(CapName::SYS_TIME) && spec.bounding.has(CapName::BPF));
    assert_eq!(spec.dropped, CapSet::of(&[CapName::CHOWN]));
    // a file beside the tree takes away only
    let (spec, warnings) = machine(&words, Mode::Override, &[beside(text)]);
    assert!(!spec.security.bounding.has(CapName::SYS_TIME) && spec.security.dropped.has(CapName::KILL));
    assert_eq!(warnings.len(), 1);
}

/// The trap of systemd issues 12313 and 20055.
#[test]
fn an_empty_file_takes_nothing() {
    for files in [&[trusted("")][..], &[trusted("[Network]\n[Exec]\nHostname=x\n")], &[beside("")]] {
        let (spec, _) = machine(&["-nDm", "--capability=CAP_BPF"], Mode::Override, files);
        assert_eq!((spec.network.mode, spec.network.cable), (NetworkMode::Private, Some(hostel_spec::Cable::Alone)));
        assert!(spec.security.adjust_net_caps && spec.security.bounding.has(CapName::BPF));
    }
}

#[test]
fn untrusted_filters_forbid_only() {
    let (spec, warnings) = machine(&["-Dm"], Mode::Yes, &[beside("[Exec]\nSystemCallFilter=bpf\nSystemCallFilter=~mount\n")]);
    assert_eq!(serde_json::to_string(&spec.security.syscalls).unwrap(), r#"{"nspawn":[{"allow":false,"names":["mount"]}]}"#);
    assert_eq!(warnings, [format!("{BESIDE}:2: ignore SystemCallFilter=bpf: the file is not trusted, it lies beside the tree")]);
}

#[test]
fn dropins_and_specifiers() {
    let files = [
        beside("[Exec]\nEnvironment=A=%i\nHostname=image\n[Files]\nBind=/image\n[X-Hostel-Resources]\nPids=5\n"),
        dropin("10.conf", "[Exec]\nEnvironment=B=%i:%%:%d:5%\n[Files]\nBind=/srv/%i:/srv\n[X-Hostel-Resources]\nProperty=MemoryHigh=1%%\n"),
        dropin("20.conf", ""),
        dropin("30.conf", "[Exec]\nHostname=%i-admin\nUser=%m\n"),
    ];
    let (spec, warnings) = machine(&["-Dm"], Mode::Yes, &files);
    assert_eq!(spec.process.env, ["A=%i", "B=m:%:%d:5%"].map(Into::into));
    assert_eq!(spec.identity.hostname.unwrap().as_str(), "m-admin");
    assert_eq!(spec.mounts.len(), 1);
    assert_eq!(serde_json::to_string(&spec.resources.memory_high).unwrap(), r#"{"permyriad":100}"#);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(warnings[2], format!("{TRUSTED}.d/30.conf:3: ignore User=%m: the host has no machine id"));
    // hostel's own sections have them in every file
    let spec = of("[Exec]\nHostname=h\nEnvironment=A=%i\n[X-Hostel-Resources]\nProperty=MemoryHigh=1%%\n");
    assert_eq!(spec.process.env, ["A=%i".into()]);
}

#[test]
fn nobody_gets_the_callers_variables() {
    let (spec, warnings) = machine(&["-Dm"], Mode::Yes, &[trusted("[Exec]\nEnvironment=SECRET A=1\n")]);
    assert_eq!(spec.process.env, ["A=1".into()]);
    assert_eq!(warnings, [format!("{TRUSTED}:2: ignore \"Environment=SECRET A=1\": SECRET is not NAME=VALUE")]);
}

#[test]
fn dump_tells_where_from() {
    let files = [trusted("[Exec]\nBoot=yes\nParameters=a \"b c\"\nLimitCORE=1\n[Files]\nBind=/x\n"), dropin("a.conf", "[Exec]\nParameters=d\n")];
    let dump = |words: &[&str], mode| merged(words, mode, &files).unwrap().0.dump();
    insta::assert_snapshot!("dump", dump(&["-qDm", "--dump-doc"], Mode::Yes));
    insta::assert_snapshot!("dump_overridden", dump(&["-Dm", "--bind=/y", "-a", "cmd"], Mode::Yes));
    insta::assert_snapshot!("dump_override", dump(&["-Dm", "--bind=/y", "-a", "cmd"], Mode::Override));
    assert_eq!(
        merged(&["-Dm"], Mode::Yes, &files).unwrap().0.settings(),
        [
            (format!("{TRUSTED}:2"), "Boot=yes".to_owned()),
            (format!("{TRUSTED}:4"), "LimitCORE=1".to_owned()),
            (format!("{TRUSTED}:6"), "Bind=/x".to_owned()),
            (format!("{TRUSTED}.d/a.conf:2"), "Parameters=a \"b c\" d".to_owned()),
        ]
    );
}

#[test]
fn whole_machine() {
    let text = "# as in systemd.nspawn(5)\n[Exec]\nBoot=yes\nEnvironment=LANG=C.UTF-8\nPrivateUsers=pick\nDropCapability=CAP_MKNOD\n\n\
        [Files]\nBindReadOnly=/srv/data:/data\nTemporaryFileSystem=/var/cache:size=1G\n\n[Network]\nVirtualEthernet=yes\n\n\
        [X-Hostel-Resources]\nMemory=1G\nPids=200\n";
    insta::assert_snapshot!("file", serde_json::to_string_pretty(&of(text)).unwrap());
}

#[test]
fn whose_settings() {
    let look = |words: &[&str]| lookup(&fold(&args(words)), &env());
    let named = |name: &str| hostel_spec::MachineName::new(name).unwrap();
    for (words, mode, name, tree) in [
        (&["-Dt"][..], None, None, TreeSource::Directory("/work/t".into())),
        (&["-Mm"], None, Some("m"), TreeSource::Named(named("m"))),
        (&["-Mm", "-D/t", "--settings=no"], Some(Mode::No), Some("m"), TreeSource::Directory("/t".into())),
        (&["--settings=override", "--settings=1"], Some(Mode::Yes), None, TreeSource::Directory("/work".into())),
        (&["-x", "--template=/t", "--settings=trusted"], Some(Mode::Trusted), None, TreeSource::Directory("/t".into())),
        (&["--template=/t", "-Mm", "--settings=override"], Some(Mode::Override), Some("m"), TreeSource::Named(named("m"))),
    ] {
        assert_eq!(look(words), Some(Lookup { mode, name: name.map(named), tree }), "{words:?}");
    }
    for words in [&["--help"][..], &["-D", "t", "--nonsense"], &["--kill-signal=help"], &["--settings=maybe"], &["--version"]] {
        assert_eq!(look(words), None, "{words:?}");
    }
    assert_eq!(super::error(&["--settings=maybe"]).to_string(), "parse --settings=maybe: it is none of yes, no, override, trusted");
}

#[test]
fn tables() {
    let mut seen = std::collections::HashSet::new();
    assert!(GROUPS.iter().flat_map(|g| g.options).all(|id| seen.insert(*id)));
    assert!(GROUPS[0].about == "what runs" && GROUPS[2].about == "capabilities");
    let own = |words: &[&str]| -> Vec<OsString> { merged(words, Mode::Yes, &[]).unwrap().0.payload };
    assert_eq!(own(&["cmd"]), ["cmd"]);
}
