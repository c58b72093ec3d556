//! Networks of the machine's own.

use crate::scenario::Act::{Eof, Shell, Wait};
use crate::scenario::Scenario;

/// The cable's end on the host while the machine runs: name, other names, state, address.
const HOST_SIDE: &str = "nsenter -t $P -n ip -o link | sed -E 's/^[0-9]+: //; s/@if[0-9]+//; s/ qdisc .*link\\/(\\S+) (\\S+).*/ \\1 \\2/' ; nsenter -t $P -n ip link | grep altname";
/// What is on the host before and after the machine.
const LINKS: &str = "sleep 0.5; ip -o link | sed -E 's/^[0-9]+: //; s/@if[0-9]+//; s/ qdisc .*link\\/(\\S+) (\\S+).*/ \\1 \\2/' | sort";
const CABLE: &str = "ip link add hd0 address 02:00:00:00:00:01 type veth peer name hd1 address 02:00:00:00:00:04";
const BRIDGE: &str = "ip link add br0 address 02:00:00:00:00:02 type bridge";
/// The machine's side.
const INSIDE: &str = "ip -o link | sed -E 's/^[0-9]+: //; s/@if[0-9]+//; s/ qdisc .*link\\/(\\S+) (\\S+).*/ \\1 \\2/'; ip -o addr | grep -o 'inet.* scope \\S*'; echo ready; read x; exit 6";
/// The same, at once.
const INSIDE_NOW: &str = "ip -o link | sed -E 's/^[0-9]+: //; s/@if[0-9]+//; s/ qdisc .*link\\/(\\S+) (\\S+).*/ \\1 \\2/'; ip -o addr | grep -o 'inet.* scope \\S*'; exit 6";

pub(super) fn rows() -> Vec<Scenario> {
    let view = Scenario::view;
    // Three run at once: no two have one name.
    let mut machines = ["aba", "abb", "abd", "abe", "abf", "abg", "abh", "abi", "abj", "abk", "abl"].into_iter();
    let mut inside = |name, options: &[&'static str]| {
        let mut scenario = Scenario::new(name, options);
        scenario.args.extend(["-M", machines.next().expect("one for each row"), "-P", "sh", "-c", INSIDE_NOW]);
        scenario
    };
    vec![
        inside("interface", &["--network-interface=hd0"]).links(CABLE, LINKS),
        inside("interface-renamed", &["--network-interface=hd0:up0"]).links(CABLE, LINKS),
        inside("interface-missing", &["--network-interface=none0"]).links(CABLE, LINKS),
        inside("macvlan", &["--network-macvlan=hd0"]).links(CABLE, LINKS),
        inside("ipvlan", &["--network-ipvlan=hd0"]).links(CABLE, LINKS),
        inside("bridge", &["--network-bridge=br0"]).links(BRIDGE, LINKS),
        inside("bridge-missing", &["--network-bridge=none0"]).links(BRIDGE, LINKS),
        inside("zone", &["--network-zone=z"]).links("", LINKS),
        inside("veth-extra", &["--network-veth-extra=hx:gx", "--network-veth-extra=hy"]).links("", LINKS),
        inside("port", &["-n", "-p", "tcp:18080:80"]).links("", LINKS),
        inside("namespace-path", &["--network-namespace-path={dir}/net"])
            .before("touch $D/net; unshare --net=$D/net ip link add named0 address 02:00:00:00:00:03 type veth peer name named1 address 02:00:00:00:00:05")
            .after("umount $D/net"),
        view("private-network", &["--private-network"]),
        view("veth-view", &["-n"]).own_network(),
        Scenario::new("veth-host-side", &["-n", "-P", "sh", "-c", INSIDE]).own_network().pipes(&[Wait("ready"), Shell(HOST_SIDE), Eof]),
        Scenario::new("veth-long-name", &["-n", "-P", "-M", "a-name-too-long-for-an-interface", "sh", "-c", INSIDE]).own_network().pipes(&[
            Wait("ready"),
            Shell(HOST_SIDE),
            Eof,
        ]),
        Scenario::new("veth-short-name", &["-n", "-P", "-M", "abc", "sh", "-c", INSIDE]).own_network().pipes(&[Wait("ready"), Shell(HOST_SIDE), Eof]),
        Scenario::new("veth-users", &["-n", "-U", "-P", "-M", "abcdef", "sh", "-c", INSIDE]).own_network().pipes(&[
            Wait("ready"),
            Shell(HOST_SIDE),
            Eof,
        ]),
        Scenario::new("veth-given-address", &["-n", "-P", "-M", "abcdefg", "sh", "-c", INSIDE])
            .own_network()
            .env("SYSTEMD_NSPAWN_NETWORK_MAC", "02:11:22:33:44:55")
            .pipes(&[Wait("ready"), Shell(HOST_SIDE), Eof]),
    ]
}
