//! Plans of a few specs on a made-up host: what is decided, in which order, without touching anything.

use std::path::PathBuf;

use hostel_nspawn::{Action, Environment};
use hostel_spec::{CapName, ConsoleMode, MachineSpec, MachineUuid};

use super::{Caller, Plan, TreeFacts, plan};
use crate::cgroup::Layout;
use crate::host::{Host, HostTimezone, ResolvConfSource};

fn host() -> Host {
    Host {
        cgroups: Layout::parse("30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/\n"),
        hostname: "testhost".into(),
        os_release: vec![("id".into(), "debian".into())],
        os_release_content: Some(b"ID=debian\n".to_vec()),
        resolv_conf: Some(ResolvConfSource { path: "/etc/resolv.conf".into(), content: b"nameserver 192.0.2.1\n".to_vec(), stub: false }),
        timezone: Some(HostTimezone::Zone("Europe/Berlin".into())),
        machine_id: MachineUuid::parse("0123456789abcdef0123456789abcdef").ok(),
        networkd: false,
        user_namespaces: true,
        seccomp: true,
        tun: Some(0o600),
        fuse: None,
        tmpfs_user_attributes: true,
        init_limits: Vec::new(),
        low_limits: Vec::new(),
        submounts: Vec::new(),
    }
}

fn tree(path: &str) -> TreeFacts {
    TreeFacts { path: PathBuf::from(path), merged_usr: true, ..TreeFacts::default() }
}

fn spec(line: &str) -> MachineSpec {
    let args: Vec<_> = line.split_whitespace().map(Into::into).collect();
    match hostel_nspawn::parse(&args, &Environment { vars: Vec::new(), cwd: "/".into() }) {
        Ok(Action::Run(spec)) => *spec,
        other => panic!("{line}: {other:?}"),
    }
}

fn planned(line: &str) -> Plan {
    plan(&spec(line), &host(), &tree("/srv/debian"), &Caller::default()).unwrap_or_else(|e| panic!("{line}: {e}"))
}

fn text(plan: &Plan) -> String {
    plan.describe().into_iter().map(|(side, step)| format!("{side:<10} {step}\n")).collect()
}

#[test]
fn snapshots() {
    for (name, line) in [
        ("command", "-D /srv/debian /bin/true"),
        ("boot_pick_veth", "-b -D /srv/debian -U -n"),
        ("read_only_binds", "-D /srv/debian --read-only --bind=/home:/data --bind-ro=+/etc:/mnt --tmpfs=/scratch:size=1M --inaccessible=/root true"),
        ("volatile_overlay", "-D /srv/debian --volatile=overlay true"),
        ("volatile_yes", "-D /srv/debian --volatile=yes true"),
        ("range_idmap_bind", "-D /srv/debian --private-users=1048576 --private-users-ownership=map --bind=/home:/home:idmap true"),
        ("overlay_and_temporary", "-D /srv/debian --overlay=/a:/b::/c --bind=:/scratch true"),
        ("pipe_as_pid2", "-D /srv/debian -P -a sh"),
    ] {
        insta::assert_snapshot!(name, text(&planned(line)));
    }
}

#[test]
fn network_capabilities() {
    let has = |line: &str, cap| planned(line).bounding.has(cap);
    assert!(!has("-D /srv/debian true", CapName::NET_ADMIN));
    assert!(has("-D /srv/debian --private-network true", CapName::NET_ADMIN));
    assert!(has("-D /srv/debian true", CapName::NET_BIND_SERVICE));
    assert!(!has("-D /srv/debian -U true", CapName::NET_BIND_SERVICE));
    assert!(!has("-D /srv/debian --private-network --drop-capability=CAP_NET_ADMIN true", CapName::NET_ADMIN));
}

#[test]
fn consoles() {
    let mode = |line: &str, stdin_tty, stdout_tty| {
        plan(&spec(line), &host(), &tree("/srv/d"), &Caller { stdin_tty, stdout_tty, ..Caller::default() }).map(|p| p.console)
    };
    assert_eq!(mode("-D /srv/d true", true, true).unwrap(), ConsoleMode::Interactive);
    assert_eq!(mode("-D /srv/d true", false, true).unwrap(), ConsoleMode::ReadOnly);
    assert_eq!(mode("-D /srv/d --console=autopipe true", true, true).unwrap(), ConsoleMode::Interactive);
    assert_eq!(mode("-D /srv/d --console=autopipe true", true, false).unwrap(), ConsoleMode::Pipe);
}

#[test]
fn names() {
    let name = |path: &str, line: &str| plan(&spec(line), &host(), &tree(path), &Caller::default()).map(|p| p.name.as_str().to_owned());
    assert_eq!(name("/srv/debian", "-D /x true").unwrap(), "debian");
    assert_eq!(name("/srv/we ird!", "-D /x true").unwrap(), "weird");
    assert_eq!(name("/", "-D /x true").unwrap(), "testhost");
    assert_eq!(name("/srv/debian", "-D /x -x true").unwrap(), "debian-0000000000000000");
    let refused = name("/srv/---", "-D /x true").unwrap_err();
    assert!(refused.hint.is_some(), "{refused}");
}

#[test]
fn refusals_name_the_way_out() {
    let refuse = |line: &str, facts: TreeFacts| plan(&spec(line), &host(), &facts, &Caller::default()).map(|_| ()).unwrap_err();
    let split = TreeFacts { merged_usr: false, ..tree("/srv/old") };
    assert!(refuse("-D /srv/old --volatile=yes true", split).hint.is_some());
    let torn = TreeFacts { owner: (0x10000, 0x20000), ..tree("/srv/torn") };
    assert!(refuse("-D /srv/torn --private-users=yes true", torn).to_string().contains("not in the same id range"));
    let no_id = Host { machine_id: None, ..host() };
    let error = plan(&spec("-D /srv/d -n true"), &no_id, &tree("/srv/d"), &Caller::default()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("machine-id"), "{error}");
    let slip = plan(&spec("-D /srv/d --system-call-filter=~mout true"), &host(), &tree("/srv/d"), &Caller::default()).map(|_| ()).unwrap_err();
    assert!(slip.to_string().contains("mout"), "{slip}");
}

#[test]
fn limits_are_merged() {
    let plan = planned("-D /srv/debian --rlimit=NOFILE=10:20 true");
    let nofile: Vec<_> = plan.spec.process.rlimits.iter().filter(|l| l.name == hostel_spec::RlimitName::Nofile).collect();
    assert_eq!(nofile.len(), 1);
    assert_eq!((nofile[0].soft, nofile[0].hard), (Some(10), Some(20)));
    assert!(plan.spec.process.rlimits.iter().any(|l| l.name == hostel_spec::RlimitName::Core && l.soft == Some(0)));
}
