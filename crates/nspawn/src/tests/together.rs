//! Options that act on each other, and the environment.

use hostel_spec::{CapName, Ephemeral, Ownership, Payload, SyscallFilter, TreeSource, UserNamespace, Volatile};

use super::*;

#[test]
fn conflicts() {
    for (words, expected) in [
        (&["-a", "-b"][..], "combine --boot and --as-pid2: an init must be PID 1"),
        (&["-D", "/"], "use / as the tree: the machine would share the running host's files"),
        (&["-D", "//."], "use / as the tree: the machine would share the running host's files"),
        (&["-D", "/", "--volatile=overlay"], "use / as the tree: the machine would share the running host's files"),
        (&["-xDt", "--link-journal=guest"], "combine --ephemeral and --link-journal=: the journal of a throw-away copy is thrown away with it"),
        (&["-xDt", "--template=/x"], "combine --ephemeral and --template=: a throw-away copy of the template needs no directory"),
        (&["--template=/x"], "copy --template=: nothing says where to"),
        (
            &["--read-only", "--private-users-ownership=chown"],
            "combine --read-only and --private-users-ownership=chown: a tree that is not written cannot change owners",
        ),
        (
            &["--volatile", "--private-users-chown"],
            "combine --volatile= and --private-users-ownership=chown: a tree that is not written cannot change owners",
        ),
        (
            &["--tmpfs=/", "--private-users-chown"],
            "combine --read-only and --private-users-ownership=chown: a tree that is not written cannot change owners",
        ),
        (&["--tmpfs=/", "-U"], "combine a mount on / and --private-users-ownership=: the tree below it is not seen"),
        (
            &["--tmpfs=/", "--private-users=pick"],
            "combine a mount on / and --private-users=: the tree's owner does not say which ids to use; name the range",
        ),
        (
            &["-b", "--ambient-capability=cap_chown"],
            "combine --ambient-capability= and --boot: an init runs as root and has its capabilities already",
        ),
        (&["--ambient-capability=cap_sys_time"], "give --ambient-capability=: it names a capability outside the machine's bounding set"),
        (
            &["--ambient-capability=chown", "--drop-capability=chown"],
            "give --ambient-capability=: it names a capability outside the machine's bounding set",
        ),
        (&["--ambient-capability=net_admin"], "give --ambient-capability=: it names a capability outside the machine's bounding set"),
        (&["-U", "--ambient-capability=net_bind_service"], "give --ambient-capability=: it names a capability outside the machine's bounding set"),
        (&["--share-system", "-b"], "combine --boot and shared namespaces: an init needs process ids and a host name of its own"),
        (&["--share-system", "-a"], "combine --as-pid2 and shared namespaces: an init needs process ids and a host name of its own"),
    ] {
        assert_eq!(error(words).to_string(), expected, "{words:?}");
    }
    // and their neighbours that are fine
    for words in [
        &["-xD/"][..],
        &["-D/", "--volatile=state"],
        &["--ambient-capability=cap_sys_time", "--capability=cap_sys_time"],
        &["--ambient-capability=net_admin", "--private-network"],
        &["--ambient-capability=net_admin", "-n"],
        &["--ambient-capability=net_bind_service"],
        &["-Un", "--ambient-capability=net_bind_service"],
        &["--tmpfs=/", "--private-users=1000000"],
        &["--tmpfs=/usr", "-U"],
        &["--template=/x", "-Mfoo"],
        &["--template=/x", "-Dfoo"],
        &["-a", "sh"],
    ] {
        spec(words);
    }
}

#[test]
fn trees() {
    let s = spec(&["-x", "--template=/x", "-Mfoo"]);
    assert_eq!((s.root.tree, s.root.template, s.root.ephemeral), (TreeSource::Directory("/x".into()), None, Ephemeral::Copy));
    let s = spec(&["-xD/"]);
    assert_eq!((s.root.tree, s.root.ephemeral), (TreeSource::Host, Ephemeral::Overlay));
    let s = spec(&["-D/", "--volatile"]);
    assert_eq!((s.root.tree, s.root.volatile), (TreeSource::Directory("/".into()), Volatile::Yes));
    let s = spec(&["-Mfoo", "-Dbar"]);
    assert_eq!(s.root.tree, TreeSource::Directory("/work/bar".into()));
    assert_eq!(s.identity.name.unwrap().as_str(), "foo");
    assert!(spec(&["--bind=/x:/"]).root.read_only);
    assert!(!spec(&["--bind=/x:/y"]).root.read_only);
}

#[test]
fn ownership_follows_users() {
    for (words, user, ownership) in [
        (&["--private-users=pick"][..], UserNamespace::Pick, Ownership::Auto),
        (&["--private-users=identity"], UserNamespace::Identity, Ownership::Auto),
        (&["--private-users=identity", "--private-users-ownership=auto"], UserNamespace::Identity, Ownership::MapOrChown),
        (&["--private-users-ownership=auto", "--private-users"], UserNamespace::FromTree, Ownership::MapOrChown),
        (&["--private-users-ownership=chown", "-U"], UserNamespace::Pick, Ownership::Auto),
        (&["-U", "--private-users-ownership=chown"], UserNamespace::Pick, Ownership::Chown),
        (&["-U", "--private-users=no"], UserNamespace::Host, Ownership::Auto),
    ] {
        let n = spec(words).namespaces;
        assert_eq!((n.user, n.ownership), (user, ownership), "{words:?}");
    }
}

#[test]
fn payloads() {
    let s = spec(&["-b", "quiet", "systemd.unit=rescue.target", "FOO=1", "my-key=v=w", "--unit=x", "1x=2", "-E", "=", "3"]);
    assert_eq!(s.payload, Payload::Boot);
    assert_eq!(s.process.argv, ["quiet", "systemd.unit=rescue.target", "--unit=x", "1x=2", "-E", "=", "3"].map(Into::into));
    assert_eq!(s.process.env, ["FOO=1", "my_key=v=w"].map(Into::into));
    assert_eq!(s.lifecycle.kill_signal, None);
    let s = spec(&["-bEFOO=2", "FOO=1"]);
    assert_eq!(s.process.env, ["FOO=1", "FOO=2"].map(Into::into));
    let s = spec(&["-a", "FOO=1", "x"]);
    assert_eq!((s.payload, s.process.env.len(), s.process.argv.len()), (Payload::CommandAsPid2, 0, 2));
    assert_eq!(spec(&[]).process.argv, []);
}

#[test]
fn network_and_repeats() {
    assert_eq!(spec(&["-n", "-n", "--private-network"]).network.cable, Some(hostel_spec::Cable::Alone));
    for both in [["-n", "--network-zone=a"], ["--network-zone=a", "-n"]] {
        assert_eq!(spec(&both).network.cable, Some(hostel_spec::Cable::Zone("a".into())));
    }
    let s = spec(&["-n", "-p", "80", "-p", "udp:80", "--port=tcp:81:8081"]);
    assert_eq!(s.network.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tcp:80:80", "udp:80:80", "tcp:81:8081"]);
    for (words, expected) in [
        (&["-p", "80"][..], "forward ports: the machine has no network of its own"),
        (&["-n", "-p", "80", "-p", "80:81"], "parse --port=80:81: this port of the host leads somewhere already"),
        (&["--network-bridge=a", "--network-zone=b"], "combine --network-bridge= and --network-zone=: the cable has one end on the host"),
        (
            &["-n", "--network-namespace-path=/x"],
            "combine --network-namespace-path= and other network options: the links of that network are its owner's",
        ),
    ] {
        assert_eq!(with_env(&[], words).unwrap_err().to_string(), expected);
    }
    let s = spec(&["-q", "-q", "--chdir=/a", "--chdir=/b", "-EA=1", "-EA=2"]);
    assert_eq!(s.process.cwd, Some("/b".into()));
    assert_eq!(s.process.env, ["A=1", "A=2"].map(Into::into));
    assert!(!spec(&["-P", "--console=interactive"]).lifecycle.quiet);
}

fn with_env(vars: &[(&str, &str)], words: &[&str]) -> Result<MachineSpec, UsageError> {
    match parse(&args(words), &environment(vars))? {
        Action::Run(spec) => Ok(*spec),
        other => panic!("{other:?}"),
    }
}

#[test]
fn variables() {
    let ok = |name, value, words: &[&str]| with_env(&[(name, value)], words).unwrap();
    assert_eq!(ok("SYSTEMD_SECCOMP", "0", &["--system-call-filter=bpf"]).security.syscalls, SyscallFilter::Off);
    assert_eq!(ok("SYSTEMD_SECCOMP", "1", &[]).security.syscalls, SyscallFilter::Nspawn(vec![]));
    assert!(ok("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1", &[]).security.api_writable);
    assert!(!ok("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network", &["-n"]).security.api_writable);
    assert_eq!(ok("SYSTEMD_NSPAWN_CONTAINER_SERVICE", "lxc", &[]).identity.container.as_deref(), Some("lxc"));
    assert_eq!(ok("SYSTEMD_NSPAWN_CONTAINER_SERVICE", "", &[]).identity.container.as_deref(), Some("systemd-nspawn"));
    assert!(ok("SYSTEMD_NSPAWN_TMPFS_TMP", "0", &[]).root.keep_tmp);
    assert!(!ok("SYSTEMD_NSPAWN_TMPFS_TMP", "1", &[]).root.keep_tmp);
    assert!(ok("SYSTEMD_NSPAWN_CHECK_OS_RELEASE", "no", &["-b"]).root.skip_os_release_check);
    let n = ok("SYSTEMD_NSPAWN_SHARE_NS_IPC", "1", &["-b"]).namespaces;
    assert!(!n.ipc && n.pid && n.uts);
    let n = ok("SYSTEMD_NSPAWN_SHARE_SYSTEM", "1", &[]).namespaces;
    assert!(!n.ipc && !n.pid && !n.uts);
    // NixOS still exports it
    assert_eq!(ok("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1", &[]).notices, [""; 0]);
    assert_eq!(ok("SYSTEMD_NSPAWN_NETWORK_MAC", "02:00:00:00:00:01", &[]).network.mac, None);
    assert_eq!(ok("SYSTEMD_NSPAWN_NETWORK_MAC", "02:00:00:00:00:0A", &["-n"]).network.mac, Some([2, 0, 0, 0, 0, 10]));
    assert_eq!(ok("SYSTEMD_NSPAWN_NETWORK_MAC", "02:00:00:00:00:01", &[]).notices, [""; 0]);
    assert!(ok("SYSTEMD_NSPAWN_LOCK", "0", &[]).root.unlocked && !ok("SYSTEMD_NSPAWN_LOCK", "1", &[]).root.unlocked);
    assert!(ok("SYSTEMD_SUPPRESS_SYNC", "1", &[]).security.suppress_sync);
    assert!(ok("SYSTEMD_SUPPRESS_SYNC", "0", &["--suppress-sync=yes"]).security.suppress_sync);
    let unfiltered = ok("SYSTEMD_SECCOMP", "0", &["--suppress-sync=yes"]);
    assert!(!unfiltered.security.suppress_sync && unfiltered.notices.len() == 1);
    for (name, value) in [("SYSTEMD_NSPAWN_USE_CGNS", "0"), ("SYSTEMD_LOG_SECCOMP", "1")] {
        assert_eq!(ok(name, value, &[]).notices.len(), 1, "{name}");
    }
    for (name, value, words, expected) in [
        (
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE",
            "1",
            &["-U"][..],
            "combine --private-users= and $SYSTEMD_NSPAWN_API_VFS_WRITABLE: inside a user namespace they cannot be written",
        ),
        ("SYSTEMD_SECCOMP", "0", &["--restrict-address-families=none"], "parse $SYSTEMD_SECCOMP=0: --restrict-address-families= needs a filter"),
        (
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE",
            "network",
            &[],
            "parse $SYSTEMD_NSPAWN_API_VFS_WRITABLE=network: it needs a network of the machine's own",
        ),
        ("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "x", &[], "parse $SYSTEMD_NSPAWN_API_VFS_WRITABLE=x: it is neither yes nor no"),
        ("SYSTEMD_NSPAWN_SHARE_NS_PID", "1", &["-b"], "combine --boot and shared namespaces: an init needs process ids and a host name of its own"),
        ("SYSTEMD_NSPAWN_NETWORK_MAC", "1", &["-n"], "parse $SYSTEMD_NSPAWN_NETWORK_MAC=1: it is no hardware address such as 02:00:00:00:00:01"),
        ("SYSTEMD_NSPAWN_CONTAINER_SERVICE", "a\nb", &[], "parse $SYSTEMD_NSPAWN_CONTAINER_SERVICE=\"a\\nb\": it is no short word"),
        ("SYSTEMD_SECCOMP", "maybe", &[], "parse $SYSTEMD_SECCOMP=maybe: it is neither yes nor no"),
    ] {
        assert_eq!(with_env(&[(name, value)], words).unwrap_err().to_string(), expected, "{name}={value} {words:?}");
    }
}

#[test]
fn capabilities_of_networks_are_the_engines() {
    let s = spec(&["-n", "--drop-capability=net_admin"]).security;
    assert!(!s.bounding.has(CapName::NET_ADMIN) && s.dropped.has(CapName::NET_ADMIN) && s.adjust_net_caps);
}

#[test]
fn without_a_current_directory() {
    let env = Environment::default();
    for (words, expected) in [
        (&[][..], "use the current directory as the tree: it is gone"),
        (&["-Dx"], "parse --directory=x: it is relative, and the current directory is gone"),
        (&["-D/x", "--bind=a:/b"], "parse --bind=a:/b: it is relative, and the current directory is gone"),
        (&["-D/x", "--overlay=/a:b"], "parse --overlay=/a:b: the path inside the machine is not absolute"),
    ] {
        assert_eq!(parse(&args(words), &env).unwrap_err().to_string(), expected, "{words:?}");
    }
    assert!(parse(&args(&["-D/x"]), &env).is_ok() && parse(&args(&["-Mx"]), &env).is_ok());
}
