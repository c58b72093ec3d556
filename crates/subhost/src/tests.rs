use std::path::{Path, PathBuf};

use hostel_spec::{CapName, CapSet, Mount, NetworkMode, Payload, TreeSource, UpperLayer, VethEnds};
use proptest::prelude::*;

use crate::*;

const FILE: &str = "/opt/subhost/mta/mta.conf";

fn conf(text: &str) -> Conf {
    let (lines, warnings) = Lines::parse(text).unwrap();
    assert_eq!(warnings, [], "{text}");
    Conf::of(&lines, Path::new(FILE)).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refused(text: &str) -> String {
    let (lines, _) = Lines::parse(text).unwrap();
    match Conf::of(&lines, Path::new(FILE)).and_then(|c| c.spec(None).map(|_| c)) {
        Err(error) => error.to_string(),
        Ok(conf) => panic!("{text}: taken as {conf:?}"),
    }
}

#[test]
fn smallest() {
    let conf = conf("# a comment\n\nBASE= .\nSTART= none\n");
    assert_eq!((conf.name.as_str(), conf.base.as_path()), ("mta", Path::new("/opt/subhost/mta")));
    assert_eq!((&conf.lower, &conf.upper), (&Lower::Directories(vec!["/".into()]), &Upper::Path("/opt/subhost/mta/root".into(), vec![])));
    assert_eq!((conf.assembly(), &conf.start), (Assembly::Overlay, &Start::Services(vec![])));
    assert_eq!(conf.log, PathBuf::from("/var/log/hostel/mta.log"));
    let spec = conf.spec(None).unwrap();
    assert_eq!((&spec.root.tree, spec.payload, spec.network.mode), (&TreeSource::Host, Payload::Services, NetworkMode::Private));
    assert_eq!(spec.root.run_size.as_deref(), Some("50m"));
    assert_eq!(spec.network.name.as_deref(), Some("mta"));
    for spare in [CapName::SYS_ADMIN, CapName::MKNOD, CapName::SYS_MODULE, CapName::DAC_READ_SEARCH] {
        assert!(!spec.security.bounding.has(spare), "{}", spare.name());
    }
    assert!(spec.security.bounding.has(CapName::SYS_BOOT));
}

#[test]
fn lines_as_they_are_meant() {
    let (lines, warnings) = Lines::parse("NAME=a\nNAME=b\n BASE=/x\nBASE=/y\nSTRAT= ssh\nwhat\nlower=/\nSHARE=/a\nSHARE=/b:/c:ro\n").unwrap();
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 2: ignored: NAME is set in line 1 already",
            "line 3: ignored: a variable begins at the very left",
            "line 5: ignored: there is no variable STRAT",
            "line 6: ignored: it is no VAR=value",
            "line 7: ignored: there is no variable lower; is LOWER meant?",
        ]
    );
    let conf = Conf::of(&lines, Path::new(FILE)).unwrap();
    assert_eq!((conf.name.as_str(), conf.base.as_path(), conf.share.len()), ("a", Path::new("/y"), 2));
    assert_eq!(conf.share[1], Share { host: "/b".into(), inside: "/c".into(), read_only: true });
    // Empty is unset; `first wins` also for empty ones.
    let (lines, _) = Lines::parse("BASE=/b\nSTART=\nSTART=x\n").unwrap();
    assert_eq!(Conf::of(&lines, Path::new(FILE)).unwrap().start, Start::Services(vec!["networking".into(), "ssh".into()]));
}

#[test]
fn values_of_both_dialects() {
    let of = conf("NAME=n\nBASE=\"/srv/b\"\nLIVE=$BASE/live\nLOWER=${BASE}/base\nUPPER='$BASE/up'\nLOG=/var/log/$NAME.log\nCABLES= =\n");
    assert_eq!((of.live.to_str(), of.log.to_str()), (Some("/srv/b/live"), Some("/var/log/n.log")));
    assert_eq!((of.lower, of.upper), (Lower::Directories(vec!["/srv/b/base".into()]), Upper::Path("/srv/b/up".into(), vec![])));
    assert_eq!(conf("BASE=/b\nLOWER=a:/c/../d:e\\:f").lower, Lower::Directories(vec!["/b/a".into(), "/d".into(), "/b/e:f".into()]));
    assert_eq!(conf("BASE=/b\nLOWER=image:/d.img").lower, Lower::Image("/d.img".into(), None, None));
    assert_eq!(conf("BASE=/b\nLOWER=image:d.img#2:/sub/../x").lower, Lower::Image("/b/d.img".into(), Some(2), Some("/x".into())));
    assert_eq!(conf("BASE=/b\nSTOP_TIMEOUT=2s\nSTART=init").spec(None).unwrap().lifecycle.stop_timeout, Some(2_000_000));
    assert_eq!(conf("BASE=/b\nUPPER=up.sh a b").upper, Upper::Path("/b/up.sh".into(), vec!["a".into(), "b".into()]));
    assert_eq!(conf("BASE=/b\nUPPER=tmpfs:20M").spec(None).unwrap().root.layers.unwrap().upper, UpperLayer::Tmpfs("20m".into()));
    assert_eq!(conf("BASE=/b\nRAM_SIZE=none").run_size, RunSize::Usual);
    assert_eq!(conf("BASE=/b\nSTART= init:/sbin/x a b").start, Start::Init(vec!["/sbin/x".into(), "a".into(), "b".into()]));
    let start = conf("BASE=/b\nSTART= init").spec(None).unwrap();
    assert_eq!((start.payload, start.lifecycle.kill_signal, start.root.layers.unwrap().hygiene), (Payload::Boot, None, true));
    let caps = conf("BASE=/b\nCAPS= sys_admin -net_raw\nNET=host\n").spec(None).unwrap().security;
    assert!(caps.bounding.has(CapName::SYS_ADMIN) && caps.dropped == CapSet::of(&[CapName::NET_RAW]) && !caps.bounding.has(CapName::NET_ADMIN));
    let share = conf("BASE=/b\nLOWER=/l\nSHARE=/l\nSHARE=/m").spec(None).unwrap().mounts;
    assert!(matches!(&share[..], [Mount::Bind { target, .. }] if target == Path::new("/m")));
    let own = conf("BASE=/b\nINIT=overlay-init\nPREMOUNT=/usr/sbin/overlay-premount\nPOSTMOUNT=./mine");
    assert_eq!((own.init, own.premount, own.postmount.as_deref()), (None, None, Some("./mine")));
}

#[test]
fn commands_are_given_back_and_put_in() {
    let (mut lines, _) = Lines::parse("BASE=/b\nLOWER= !mount-it $X\nUPPER=!x\nSTART=!list\n").unwrap();
    let commands: Vec<_> = lines.commands().map(|(v, c)| (v, c.to_owned())).collect();
    assert_eq!(commands, [("LOWER", "mount-it $X".to_owned()), ("UPPER", "x".to_owned()), ("START", "list".to_owned())]);
    assert!(Conf::of(&lines, Path::new(FILE)).is_ok());
    lines.set("LOWER", "/mnt/$x\n");
    lines.set("UPPER", "u");
    lines.set("START", "none");
    let conf = Conf::of(&lines, Path::new(FILE)).unwrap();
    assert_eq!((conf.lower, conf.upper), (Lower::Directories(vec!["/mnt/$x".into()]), Upper::Path("/b/u".into(), vec![])));
    assert_eq!(lines.commands().count(), 0);
}

#[test]
fn four_ways_to_a_root() {
    for (text, want) in [
        ("LOWER=/l\nLIVE=/l", Assembly::Premounted),
        ("LOWER=/l\nLIVE=/l\nUPPER=/l", Assembly::Premounted),
        ("LOWER=/l\nUPPER=/l", Assembly::Bound),
        ("LOWER=/l", Assembly::Overlay),
        ("LOWER=/l:/m\nUPPER=/l", Assembly::Overlay),
        ("LOWER=/l\nUPPER=none", Assembly::Ephemeral),
    ] {
        let conf = conf(&format!("BASE=/b\n{text}\n"));
        assert_eq!(conf.assembly(), want, "{text}");
        assert_eq!(conf.spec(None).unwrap().root.layers.is_some(), matches!(want, Assembly::Overlay | Assembly::Ephemeral));
    }
}

#[test]
fn cables() {
    let wires = |text: &str| match conf(&format!("NAME=x\nBASE=/b\nCABLES={text}\n")).net {
        Net::Cables(wires) => wires,
        other => panic!("{other:?}"),
    };
    let wire = |bridge: &str, mac| VethEnds { bridge: Some(bridge.to_owned()).filter(|b| !b.is_empty()), mac, random: false, vlans: vec![] };
    assert_eq!(wires(" ="), [wire("", None)]);
    let two = wires("br0=02:00:00:00:00:11 = =.302 =.4094");
    assert_eq!(two, [wire("br0", Some([2, 0, 0, 0, 0, 0x11])), VethEnds { vlans: vec![302, 4094], ..wire("", None) }]);
    assert!(wires("br0=random")[0].random);
    assert_eq!(conf("BASE=/b\nCABLES=nat").net, Net::Nat);
    for (bad, why) in [
        ("br0", "one equal sign"),
        ("a=b=c", "one equal sign"),
        ("=01:00:00:00:00:01", "multicast"),
        ("=00:00:00:00:00:00", "all zero"),
        ("=02:00:00:00:00", "hardware address"),
        ("=02:00:00:00:00:00:00", "six parts"),
        ("=2:0:0:0:0:1", "hardware address"),
        ("=.5", "goes on the cable before it"),
        ("= br0=.5", "goes on the cable before it"),
        ("= =.0", "1 to 4094"),
        ("= =.4095", "1 to 4094"),
        ("= =.7 =.7", "has VLAN 7 already"),
        ("a/b=", "no interface's name"),
        ("=02:00:00:00:00:01 =02:00:00:00:00:01", "another cable has"),
    ] {
        let told = refused(&format!("BASE=/b\nCABLES={bad}\n"));
        assert!(told.starts_with("line 2: CABLES: ") && told.contains(why), "{bad}: {told}");
    }
}

#[test]
fn what_a_command_will_print_is_not_taken_for_the_host() {
    let text = "BASE=/b\nLOWER=!echo /srv/tree\nSTART=init\nHYGIENE=no\n";
    let (mut lines, _) = Lines::parse(text).unwrap();
    assert!(Conf::of(&lines, Path::new(FILE)).is_ok());
    lines.set("LOWER", "/srv/tree");
    assert!(Conf::of(&lines, Path::new(FILE)).is_ok());
    lines.set("LOWER", "/");
    assert!(Conf::of(&lines, Path::new(FILE)).unwrap_err().to_string().contains("HYGIENE"));
}

#[test]
fn refused_with_a_reason() {
    for (text, why) in [
        ("START=none", "BASE: it is required"),
        ("BASE=!pwd", "line 1: BASE: it cannot be a command"),
        ("BASE=/b\nSHARE=!x", "line 2: SHARE: it cannot be a command"),
        ("BASE=/b\nLOG=!x", "line 2: LOG: it cannot be a command"),
        ("BASE=/b\nNAME=a/b", "line 2: NAME"),
        ("BASE=/b\nNAME=thirteen-byte\nCABLES= =", "at most 12 bytes"),
        ("BASE=/b\nNAME=ten-bytes0\nCABLES= = =.4094", "at most 9 bytes"),
        ("BASE=/b\nNAME=nine-byte\nCABLES= = = = = = = = = = = = =.4094", "at most 8 bytes"),
        ("BASE=/b\nLIVE=$HOME/x", "$HOME is not known here"),
        ("BASE=/b\nSTART=none ssh", "`none` stands alone"),
        ("BASE=/b\nSTART=ssh !x", "only the whole value"),
        ("BASE=/b\nSTART=../x", "neither a service's name nor an absolute path"),
        ("BASE=/b\nSTART=-x", "neither a service's name nor an absolute path"),
        ("BASE=/b\nSTART=init x", "stands alone"),
        ("BASE=/b\nSTART=init:x", "absolute path"),
        ("BASE=/b\nSTART=init\nHYGIENE=no", "HYGIENE"),
        ("BASE=/b\nSTART=init\nINIT=x", "INIT"),
        ("BASE=/b\nLIVE=/", "cannot be run as it is"),
        ("BASE=/b\nLOWER=/l\nUPPER=/l\nHYGIENE=yes", "no overlay"),
        ("BASE=/b\nRAM_SIZE=lots", "no size"),
        ("BASE=/b\nRAM_SIZE=101%", "no size"),
        ("BASE=/b\nUPPER=tmpfs:0", "no size"),
        ("BASE=/b\nLOWER=/a::/b", "is empty"),
        ("BASE=/b\nLOWER=image:x#0", "partition's number"),
        ("BASE=/b\nLOWER=image:", "takes a file"),
        ("BASE=/b\nSHARE=/x:/", "shared as /"),
        ("BASE=/b\nCAPS=everything", "CAPS"),
        ("BASE=/b\nMEMORY=0", "no size"),
        ("BASE=/b\nCPUS=nan", "number of CPUs"),
        ("BASE=/b\nPIDS=1", "number of processes"),
        ("BASE=/b\nSTOP_SIGNAL=X", "STOP_SIGNAL"),
        ("BASE=/b\nSTOP_TIMEOUT=infinity", "no time"),
        ("BASE=/b\nNET=bridge", "none of host, none, cables"),
        ("BASE=/b\nNET=host\nCABLES= =", "no cable"),
        ("BASE=/b\nUSERNS=maybe", "neither yes nor no"),
        ("BASE=/b\nUSERNS=yes\nPOSTMOUNT=x", "POSTMOUNT"),
    ] {
        let told = refused(text);
        assert!(told.contains(why), "{text:?}: {told}");
    }
    assert!(Lines::parse("BASE=/b\0").is_err());
    assert!(Lines::parse(&"x".repeat(70_000)).is_err());
}

#[test]
fn every_variable_is_read() {
    // What the table has is looked at: a value that nothing takes is refused, or changes the spec.
    let values = [
        ("NAME", "other"),
        ("LIVE", "/l"),
        ("LOWER", "/l"),
        ("UPPER", "/u"),
        ("WORK", "/w"),
        ("START", "x"),
        ("CABLES", "="),
        ("LOG", "/l"),
        ("RAM_SIZE", "1M"),
        ("INIT", "x"),
        ("PREMOUNT", "x"),
        ("POSTMOUNT", "x"),
        ("SHARE", "/x"),
        ("HOSTNAME", "h"),
        ("CAPS", "bpf"),
        ("USERNS", "yes"),
        ("MEMORY", "1G"),
        ("CPUS", "1"),
        ("PIDS", "9"),
        ("HYGIENE", "yes"),
        ("STOP_SIGNAL", "HUP"),
        ("STOP_TIMEOUT", "1"),
        ("NET", "host"),
        ("BASE", "/c"),
    ];
    assert_eq!(values.len(), variables::VARIABLES.len());
    let plain = conf("BASE=/b\n");
    for (name, value) in values {
        assert!(variables::find(name).is_some(), "{name}");
        let text = if name == "BASE" { format!("BASE={value}\n") } else { format!("BASE=/b\n{name}={value}\n") };
        assert_ne!(conf(&text), plain, "{name}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(text in "(?s).{0,400}") {
        if let Ok((lines, _)) = Lines::parse(&text) {
            let _ = Conf::of(&lines, Path::new(FILE)).and_then(|c| c.spec(None));
        }
    }

    #[test]
    fn any_value_of_any_variable(at in 0usize..24, value in "[ -~]{0,60}") {
        let text = format!("BASE=/b\n{}={value}\n", variables::VARIABLES[at].name);
        if let Ok((lines, _)) = Lines::parse(&text)
            && let Ok(conf) = Conf::of(&lines, Path::new(FILE))
        {
            // What is taken has paths that lead nowhere else.
            for path in [&conf.base, &conf.live, &conf.log] {
                prop_assert!(path.is_absolute() && !path.components().any(|c| c == std::path::Component::ParentDir));
            }
            let _ = conf.spec(None);
        }
    }
}
