//! What people type: command lines and values.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use hostel_nspawn::{Action, Environment};
use hostel_process::{seccomp, userdb};
use hostel_spec::{CapName, CapSet, Hostname, MachineName, MachineSpec, MachineUuid, RlimitName, Signal, SyscallFilter, SyscallRule};
use hostel_unit::{TimeUnit, WordRules};

use crate::{one_line, text};

/// Words are separated by NUL, as in /proc/PID/cmdline.
pub(crate) const NSPAWN_SEEDS: &[&str] = &[
    "-bD\0/srv/debian\0--private-users=pick",
    "--bind=/a:/b:idmap,norbind\0--bind-ro=+/x\0-a\0/bin/sh\0-c\0true",
    "--property=MemoryMax=1G\0--property=DeviceAllow=/dev/null rwm\0-M\0m",
    "--capability=all\0--drop-capability=CAP_SYS_ADMIN,net_raw\0--system-call-filter=~@mount",
    "--overlay=/a:/b\\:c:/d\0--tmpfs=/t:size=1M\0--setenv=A=b\0-U\0--rlimit=NOFILE=1:2",
    "--volatile=state\0--console=pipe\0--kill-signal=SIGRTMIN+3\0--cpu-affinity=0-1\0--\0-x",
];

/// A command line of systemd-nspawn: what compiles survives a round trip through JSON.
pub fn nspawn(data: &[u8]) {
    let words: Vec<OsString> = data.split(|b| *b == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    let environment = Environment { vars: Vec::new(), cwd: "/work".into() };
    let doc = hostel_nspawn::fold(&words);
    let _ = doc.dump();
    match hostel_nspawn::compile(&doc, &environment) {
        Ok(Action::Run(spec)) => {
            let said = serde_json::to_string(&spec).unwrap_or_default();
            assert_eq!(serde_json::from_str::<MachineSpec>(&said).ok().as_ref(), Some(&*spec));
        }
        Ok(_) => {}
        Err(error) => one_line(&error),
    }
}

pub(crate) const SETTINGS_SEEDS: &[&str] = &[
    "[Exec]\nBoot=yes\nParameters=a \"b c\"\nEnvironment=A=1 B=2\nPrivateUsers=pick\n[Files]\nBind=/a:/b\n",
    "[Exec]\nCapability=CAP_SYS_TIME all\nSystemCallFilter=~@mount\nLimitNOFILE=1:2\nCPUAffinity=0\nCPUAffinity=\nProcessTwo=1\n",
    "[Network]\nVirtualEthernet=yes\nPrivate=no\nPort=80\n[X-Hostel-Resources]\nMemory=%i%%\nProperty=TasksMax=5\n[X-Other]\nA=b\n",
    "\u{feff}[Exec]\r\n; c\r\nHostname=a\\\r\n# c\r\n b\r\nKillSignal=help\nTimezone=0\n=\n[Bogus]\n",
];

/// A settings file, trusted and not, before and behind a command line: whatever it says, warnings are single lines, and what
/// is not trusted gives nothing.
pub fn settings(data: &[u8]) {
    use hostel_nspawn::settings::{Mode, SettingsFile, merge};
    let environment = Environment { vars: Vec::new(), cwd: "/work".into() };
    let words: Vec<OsString> = ["-D/t", "--bind=/x", "--capability=bpf"].map(Into::into).into();
    let file = |distrust| SettingsFile { path: "/x.nspawn".into(), text: data.to_vec(), distrust, dropin: data.len() % 2 == 1 };
    for (mode, distrust) in [(Mode::Yes, None), (Mode::Override, None), (Mode::Override, Some("nobody knows it")), (Mode::Trusted, Some("-"))] {
        match merge(hostel_nspawn::fold(&words), mode, &[file(distrust)], &environment, &|c| Ok((c == 'i').then(|| "m".into()))) {
            Err(error) => one_line(&error),
            Ok((doc, warnings)) => {
                warnings.iter().for_each(|warning| one_line(warning));
                assert!(warnings.len() <= 101);
                match hostel_nspawn::compile(&doc, &environment) {
                    Ok(Action::Run(spec)) if mode == Mode::Override && distrust.is_some() => {
                        assert!(spec.mounts.len() == 1 && spec.network.veth.is_empty() && spec.process.rlimits.is_empty());
                        assert_eq!(spec.security.bounding.without(CapSet::NSPAWN), CapSet::of(&[CapName::BPF]));
                    }
                    Ok(_) => {}
                    Err(error) => one_line(&error),
                }
            }
        }
    }
}

/// A size in bytes: what we print is read back as no more than it was.
pub fn size(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match hostel_unit::size(text) {
        Ok(bytes) => assert!(!hostel_unit::show_size(bytes).is_empty()),
        Err(error) => one_line(&error),
    }
    for parse in [hostel_unit::permyriad, hostel_unit::percent_unbounded] {
        if let Err(error) = parse(text) {
            one_line(&error);
        }
    }
    let _ = (hostel_unit::unsigned(text), hostel_unit::integer(text), hostel_unit::boolean(text));
}

/// A time span, whatever a bare number counts.
pub fn time_span(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Err(error) = hostel_unit::time_span(text, TimeUnit::Seconds) {
        one_line(&error);
    }
}

/// Words and quoting: a word that was read is quoted such that it is read again.
pub fn words(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for rules in [WordRules::UNIT, WordRules::PATHS, WordRules::COMMA, WordRules::SPACE] {
        match hostel_unit::words(text, rules) {
            Ok(words) => {
                // A NUL cannot be said by an escape; neither a file nor an argument brings one.
                for word in words.into_iter().filter(|word| !word.contains('\0')) {
                    let quoted = hostel_unit::quote(&word);
                    assert_eq!(hostel_unit::words(&quoted, WordRules::UNIT).as_deref(), Ok(&[word][..]), "{quoted}");
                }
            }
            Err(error) => one_line(&error),
        }
    }
    let _ = (hostel_unit::unescape(text), hostel_unit::printable(text));
}

/// A CPU list is printed such that it is read again.
pub fn cpu_list(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match hostel_unit::cpu_list(text) {
        Ok(cpus) if cpus.is_empty() => {}
        Ok(cpus) => assert_eq!(hostel_unit::cpu_list(&hostel_unit::show_cpus(&cpus)), Ok(cpus)),
        Err(error) => one_line(&error),
    }
}

/// A signal's name is read again.
pub fn signal(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Signal::parse(text) {
        Ok(signal) => assert_eq!(Signal::parse(&signal.name()), Ok(signal)),
        Err(error) => one_line(&error),
    }
}

/// A capability's name is read again; numbers above the last one we know have none.
pub fn capability(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match CapName::parse(text) {
        Ok(cap) if CapName::known().any(|known| known == cap) => assert_eq!(CapName::parse(&cap.name()), Ok(cap)),
        Ok(_) => {}
        Err(error) => one_line(&error),
    }
}

/// A resource limit's name is read again.
pub fn rlimit(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match RlimitName::parse(text) {
        Ok(name) => assert_eq!(RlimitName::parse(name.name()), Ok(name)),
        Err(error) => one_line(&error),
    }
}

/// Both forms of an id are read again.
pub fn uuid(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match MachineUuid::parse(text) {
        Ok(id) => {
            assert_eq!(MachineUuid::parse(&id.plain()), Ok(id));
            assert_eq!(MachineUuid::parse(&id.dashed()), Ok(id));
        }
        Err(error) => one_line(&error),
    }
}

/// A name that is accepted is one harmless path component.
pub fn machine_name(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match MachineName::new(text) {
        Ok(name) => {
            let name = name.as_str();
            assert!((1..=64).contains(&name.len()) && name.is_ascii());
            assert!(!name.starts_with(['-', '.']) && !name.contains("..") && !name.contains(['/', '\0', ' ']));
        }
        Err(error) => one_line(&error),
    }
    if let Err(error) = Hostname::new(text) {
        one_line(&error);
    }
}

/// A user as typed: never root by accident.
pub fn user_selector(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match userdb::parse_selector(text) {
        Ok(hostel_spec::UserSelector::Id(0)) => assert_eq!(text, "0"),
        Ok(_) => {}
        Err(error) => one_line(&error),
    }
}

/// A system call filter: the program and the verdicts come from the same policy, and the program ends in a decision.
pub fn syscall_filter(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let Some(text) = text(rest) else { return };
    let rules: Vec<SyscallRule> = text
        .split('\n')
        .take(8)
        .map(|line| {
            let names = line.trim_start_matches('~').split_ascii_whitespace().map(str::to_owned).collect();
            SyscallRule { allow: !line.starts_with('~'), names }
        })
        .collect();
    let filter = if first & 1 == 0 { SyscallFilter::Nspawn(rules) } else { SyscallFilter::Machine(rules) };
    let caps = if first & 2 == 0 { CapSet::NSPAWN } else { CapSet::MACHINE };
    match seccomp::program(&filter, caps) {
        Ok(program) => {
            let program = program.unwrap_or_default();
            assert!(!program.is_empty() && program.len() <= 4096, "{} instructions", program.len());
            assert!(seccomp::summary(&filter, caps).is_ok());
        }
        Err(error) => one_line(&error),
    }
}
