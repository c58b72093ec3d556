//! What network the machine has.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Whose network stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// The host's.
    #[default]
    Host,
    /// Its own: loopback, and what `Network` adds.
    Private,
    /// One that exists: [`Network::namespace`].
    Joined,
}

/// Where the host's end of the machine's main cable (`host0` inside) goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cable {
    /// Nowhere else: `ve-NAME`.
    Alone,
    /// A port (`vb-NAME`) of this bridge, which exists.
    Bridge(String),
    /// A port (`vb-NAME`) of the bridge `vz-ZONE`, which is made when it is missing and removed when it is empty.
    Zone(String),
}

/// A further virtual cable: one end on the host, one in the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VethPair {
    /// Interface name on the host.
    pub host: String,
    /// Interface name inside.
    pub inside: String,
    /// What its ends are besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<VethEnds>,
}

/// How a further cable is connected. One without this is left as it was made, down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VethEnds {
    /// The host end is a port of this bridge, which exists; else it is brought up by the host's ifup(8), if there is one.
    pub bridge: Option<String>,
    /// Hardware address inside; `None`: derived from the machine's name.
    pub mac: Option<[u8; 6]>,
    /// Hardware address inside is a random one.
    pub random: bool,
    /// VLANs on the host end, `HOST.N`.
    pub vlans: Vec<u16>,
}

/// An interface of the host that the machine uses, and what it is called inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPair {
    /// Name or alternative name on the host.
    pub host: String,
    /// Name inside.
    pub inside: String,
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        })
    }
}

/// A port of the host that leads to one of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForward {
    /// Protocol.
    pub transport: Transport,
    /// On the host, not 0.
    pub host: u16,
    /// In the machine, not 0.
    pub inside: u16,
}

impl PortForward {
    /// Parses `[tcp:|udp:]HOST[:INSIDE]`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (transport, rest) = match text.split_once(':') {
            Some(("tcp", rest)) => (Transport::Tcp, rest),
            Some(("udp", rest)) => (Transport::Udp, rest),
            _ => (Transport::Tcp, text),
        };
        let port = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| text.parse::<u16>().ok()).flatten().filter(|n| *n > 0).ok_or("a port is a number from 1 to 65535")
        };
        let (host, inside) = match rest.split_once(':') {
            Some((host, inside)) => (port(host)?, port(inside)?),
            None => (port(rest)?, port(rest)?),
        };
        Ok(Self { transport, host, inside })
    }
}

impl fmt::Display for PortForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.transport, self.host, self.inside)
    }
}

/// What an interface of the machine is made to be, by its name inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InsideLink {
    /// Its name.
    pub name: String,
    /// It is set up.
    pub up: bool,
    /// Hardware address, unless it is made with one.
    pub mac: Option<[u8; 6]>,
    /// Its largest packet.
    pub mtu: Option<u32>,
    /// Addresses and their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Default routes.
    pub gateways: Vec<Gateway>,
}

/// What the host's end of a further cable is made to be, by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HostEnd {
    /// Its name.
    pub name: String,
    /// Addresses that it answers for: who asks for them in the machine sends to the host, which forwards.
    pub answers: Vec<IpAddr>,
    /// Networks that lead into the machine.
    pub routes: Vec<(IpAddr, u8)>,
    /// What it is in a bridge that tells VLANs apart.
    pub port: Option<PortVlans>,
}

impl HostEnd {
    /// Whether nothing is to be made of it.
    pub fn is_plain(&self) -> bool {
        self.answers.is_empty() && self.routes.is_empty() && self.port.is_none()
    }
}

/// VLANs of a bridge's port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PortVlans {
    /// The bridge.
    pub bridge: String,
    /// That of what has no tag, instead of the bridge's usual one; `Some(None)`: such is dropped.
    pub untagged: Option<Option<u16>>,
    /// Those that are told by tags.
    pub tagged: Vec<u16>,
}

/// Where a default route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gateway {
    /// To this address.
    Address(IpAddr),
    /// To the first address that this interface of the host has.
    Of {
        /// The interface.
        link: String,
        /// IPv6.
        six: bool,
    },
    /// Out of the interface, to everybody.
    Device {
        /// IPv6.
        six: bool,
    },
}

/// Whether hostel gives the machine an address, a route, names and translation. It does so only on cables of its own:
/// `ve-NAME`, and those to a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// Booted systems, and programs that are called like an init, are served by DHCP; for others the interface is set up.
    /// Nothing where systemd-networkd does it.
    #[default]
    Auto,
    /// Nothing, as systemd-nspawn.
    None,
    /// DHCP only.
    Dhcp,
    /// The interface inside is set up.
    Static,
}

impl NetworkConfig {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// A range that addresses are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    /// First address.
    pub network: Ipv4Addr,
    /// Prefix length, 8 to 22.
    pub prefix: u8,
}

impl AddressPool {
    /// Parses `10.0.0.0/12`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (network, prefix) = text.split_once('/').ok_or("it takes a network such as 10.208.0.0/12")?;
        let network: Ipv4Addr = network.parse().map_err(|_| "the network is no IPv4 address")?;
        let prefix: u8 = prefix.parse().ok().filter(|p| (8..=22).contains(p)).ok_or("the prefix length is none of 8 to 22")?;
        if u32::from(network) & (u32::MAX >> prefix) != 0 {
            return Err("the address is not the first of its network");
        }
        let shared = network.octets()[0] == 100 && network.octets()[1] & 0xc0 == 64;
        if !network.is_private() && !shared {
            return Err("these are no private addresses (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10)");
        }
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for AddressPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Whether `text` can be an interface's name: 1 to 15 bytes, no slash, colon, percent sign, space or control character,
/// not `.`, `..`, and no mere number.
pub fn is_interface_name(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'));
    plain && (1..=15).contains(&text.len()) && !matches!(text, "." | ".." | "all" | "default") && !text.bytes().all(|b| b.is_ascii_digit())
}

/// A hardware address that one interface can have: six bytes, each of two digits, with colons between; no group's, and not the empty one.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut out = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut out {
        let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && out[0] & 1 == 0 && out != [0; 6]).then_some(out)
}

/// Whether `text` can be an alternative name of an interface: as a name, but up to 127 bytes.
pub fn is_alternative_name(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'));
    plain && (1..=127).contains(&text.len()) && !matches!(text, "." | "..")
}

/// The machine's network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Whose stack.
    pub mode: NetworkMode,
    /// The network namespace to join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<PathBuf>,
    /// The main cable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cable: Option<Cable>,
    /// The machine's own network namespace is found under this name in /run/netns, as ip-netns(8) has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hardware address of `host0`; `None` = derived from the machine's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<[u8; 6]>,
    /// Further cables, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub veth: Vec<VethPair>,
    /// Macvlans on interfaces of the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub macvlan: Vec<LinkPair>,
    /// Ipvlans on interfaces of the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ipvlan: Vec<LinkPair>,
    /// VLANs of interfaces of the host.
    #[serde(skip_serializing_if = "Vec::is_empty", skip_deserializing)]
    pub vlan: Vec<(LinkPair, u16)>,
    /// Interfaces that are moved in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<LinkPair>,
    /// What interfaces are made to be.
    #[serde(skip_serializing_if = "Vec::is_empty", skip_deserializing)]
    pub inside: Vec<InsideLink>,
    /// What the host's ends of further cables are made to be.
    #[serde(skip_serializing_if = "Vec::is_empty", skip_deserializing)]
    pub host: Vec<HostEnd>,
    /// Ports of the host that lead here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortForward>,
    /// Addresses, routes, names.
    #[serde(skip_serializing_if = "NetworkConfig::is_auto")]
    pub config: NetworkConfig,
    /// Where addresses are taken from; `None` = as configured for this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<AddressPool>,
}

impl Network {
    /// A network of its own with the main cable.
    pub fn with_cable(cable: Cable) -> Self {
        Self { mode: NetworkMode::Private, cable: Some(cable), ..Self::default() }
    }
    /// Whether the supervisor has links to make for it.
    pub fn has_links(&self) -> bool {
        let others = [self.macvlan.is_empty(), self.ipvlan.is_empty(), self.vlan.is_empty(), self.interfaces.is_empty()];
        self.cable.is_some() || !self.veth.is_empty() || others.contains(&false)
    }
    /// Whether hostel gives it an address, unless somebody else does.
    pub fn is_addressed(&self) -> bool {
        self.config != NetworkConfig::None && matches!(self.cable, Some(Cable::Alone | Cable::Zone(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        let forward = |transport, host, inside| Ok(PortForward { transport, host, inside });
        for (text, want) in [
            ("80", forward(Transport::Tcp, 80, 80)),
            ("8080:80", forward(Transport::Tcp, 8080, 80)),
            ("tcp:8080:80", forward(Transport::Tcp, 8080, 80)),
            ("udp:53", forward(Transport::Udp, 53, 53)),
        ] {
            assert_eq!(PortForward::parse(text), want, "{text}");
        }
        for bad in ["", "0", "65536", "tcp:", "sctp:80", "80:", ":80", "80:0", "tcp:80:80:80", "+80", " 80", "-1"] {
            assert!(PortForward::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pools() {
        assert_eq!(AddressPool::parse("10.208.0.0/12").map(|p| p.to_string()).as_deref(), Ok("10.208.0.0/12"));
        assert!(AddressPool::parse("100.64.0.0/16").is_ok());
        for bad in ["", "10.0.0.0", "10.0.0.1/12", "8.8.0.0/16", "10.0.0.0/23", "10.0.0.0/7", "x/12", "10.0.0.0/-1"] {
            assert!(AddressPool::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        for good in ["eth0", "a", "fifteen-letters", "br.1", "x@y"] {
            assert!(is_interface_name(good), "{good}");
        }
        for bad in ["", ".", "..", "sixteen-letters-", "a/b", "a b", "a:b", "123", "a\n", "ü", "all"] {
            assert!(!is_interface_name(bad), "{bad}");
        }
    }
}
