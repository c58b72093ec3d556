//! Networks of the machine's own.

use crate::scenario::Act::{Eof, Shell, Wait};
use crate::scenario::Scenario;

/// The cable's end on the host while the machine runs: name, other names, state, address.
const HOST_SIDE: &str = "nsenter -t $P -n ip -o link | sed -E 's/^[0-9]+: //; s/@if[0-9]+//; s/ qdisc .*link\\/(\\S+) (\\S+).*/ \\1 \\2/' ; nsenter -t $P -n ip link | grep altname";
/// The machine's side.
const INSIDE: &str = "ip -o link | sed -E 's/^[0-9]+: //; s/@if[0-9]+//; s/ qdisc .*link\\/(\\S+) (\\S+).*/ \\1 \\2/'; ip -o addr | grep -o 'inet.* scope \\S*'; echo ready; read x; exit 6";

pub(super) fn rows() -> Vec<Scenario> {
    let view = Scenario::view;
    vec![
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
