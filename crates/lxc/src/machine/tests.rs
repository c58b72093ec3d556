use std::path::Path;

use hostel_spec::{HostEnd, PortVlans};

use super::*;
use crate::tests::loaded;

fn compiled(text: &str, profile: Option<&str>) -> Result<(Value, Rest), Refused> {
    let facts = Facts {
        name: "c",
        lxcpath: "/var/lib/lxc",
        root: Path::new("/srv/c"),
        fstab: None,
        seccomp: profile,
        apparmor: false,
        exists: &|_| true,
        share: &|_, _| None,
        on_v1: &|_| false,
        call: &|number| (number == 39).then_some("getpid"),
        random: [0; 16],
        command: None,
    };
    compile(&loaded(text), &facts)
}

#[test]
fn profiles_of_version_1() {
    let of = |profile| compiled("", Some(profile)).map(|(json, _)| json["linux"]["seccomp"].clone());
    let want = json!({ "defaultAction": "SCMP_ACT_KILL", "syscalls": [
        { "names": ["getpid"], "action": "SCMP_ACT_ALLOW" }, { "names": ["read"], "action": "SCMP_ACT_ALLOW" } ] });
    assert_eq!(of("1\nwhitelist\n39 # who\nread\n").unwrap(), want);
    for (bad, why) in [("1\nallowlist\n999\n", "no system call"), ("1\nblacklist\n39\n", "neither allowlist"), ("3\nallowlist\n", "neither 1 nor 2")]
    {
        assert!(of(bad).unwrap_err().why.contains(why), "{bad}");
    }
}

#[test]
fn ends_of_cables() {
    let (_, rest) = compiled(
        "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.veth.mode = router\nlxc.net.0.veth.pair = v0\nlxc.net.0.ipv4.address = 10.0.0.5/24\n\
         lxc.net.0.ipv4.gateway = 169.254.1.1\nlxc.net.0.veth.ipv6.route = fd00::/64\nlxc.net.1.type = veth\nlxc.net.1.link = br0\n\
         lxc.net.1.veth.pair = v1\nlxc.net.1.veth.vlan.id = none\nlxc.net.1.veth.vlan.tagged.id = 8\nlxc.net.2.type = veth\nlxc.net.2.link = br0\n\
         lxc.net.3.type = vlan\nlxc.net.3.link = en0\nlxc.net.3.vlan.id = 9\nlxc.net.3.hwaddr = 00:16:3e:11:22:33\n",
        None,
    )
    .unwrap();
    let address = |text: &str| text.parse().unwrap();
    let router = HostEnd {
        name: "v0".into(),
        answers: vec![address("169.254.1.1")],
        routes: vec![(address("10.0.0.5"), 32), (address("fd00::"), 64)],
        port: None,
    };
    let port = PortVlans { bridge: "br0".into(), untagged: Some(None), tagged: vec![8] };
    assert_eq!(rest.network.host, [router, HostEnd { name: "v1".into(), port: Some(port), ..HostEnd::default() }]);
    let bridges: Vec<_> = rest.network.veth.iter().map(|veth| veth.ends.as_ref().unwrap().bridge.as_deref()).collect();
    assert_eq!(bridges, [None, Some("br0"), Some("br0")]);
    assert_eq!((rest.network.vlan[0].1, rest.network.inside[3].mac), (9, Some([0, 0x16, 0x3e, 0x11, 0x22, 0x33])));
}
