//! IPv6: the network that goes with a machine's IPv4 one, and router advertisements for it (RFC 4861).
//!
//! | what | where from |
//! |---|---|
//! | network, a /64 of fd00::/8 (RFC 4193) | hashed from the host's machine id and the IPv4 network: whose that is, its is, too |
//! | the host | `::1` of it, and `fe80::1`: the router, the same for every machine of a zone |
//! | a command | `::2` and up, by its number in the IPv4 network; set up as that is |
//! | a system that asks | what it makes of the prefix (SLAAC); it is told when it asks, and only it: no neighbour hears it |
//!
//! There is a default route only where the host has one when the machine starts; then it is translated, as IPv4 is. Names are asked
//! for over IPv4: no name server is advertised.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hostel_spec::MachineUuid;
use hostel_sys::netlink::route;
use hostel_sys::netlink::{self, Request, Socket};
use hostel_sys::socket;

use super::pool::{Block, hash};

/// Prefix length of every network.
pub const PREFIX: u8 = 64;
/// The host's address on every link to a machine.
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// How long a default router is believed, and how often it is told again: the most RFC 4861 allows.
const ROUTER_LIFETIME: u16 = 9000;
const TELL_AGAIN: Duration = Duration::from_secs(1800);
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const SOURCE_LINK_ADDRESS: u8 = 1;
const PREFIX_INFORMATION: u8 = 3;

/// A machine's IPv6 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network6 {
    /// First address of the /64.
    pub network: Ipv6Addr,
    /// The machine's number, if its interface is set up.
    pub number: u16,
    /// The host has a default route: so has the machine.
    pub world: bool,
}

impl Network6 {
    /// The one of a machine with this IPv4 network.
    pub fn beside(block: Block, number: u16, host: Option<&MachineUuid>, world: bool) -> Self {
        let text = format!("{} {}/{}", host.map(MachineUuid::plain).unwrap_or_default(), block.network, block.prefix);
        let bits = u128::from(0xfd << 56 | hash("ipv6", &text) >> 8) << 64;
        Self { network: Ipv6Addr::from(bits), number, world }
    }

    /// The machine's address when its interface is set up.
    pub fn address(&self) -> Ipv6Addr {
        self.nth(self.number)
    }

    /// The host's.
    pub fn host(&self) -> Ipv6Addr {
        self.nth(1)
    }

    fn nth(&self, n: u16) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.network) | u128::from(n))
    }

    /// Whether an address is in it.
    pub fn has(&self, address: Ipv6Addr) -> bool {
        u128::from(address) >> 64 == u128::from(self.network) >> 64
    }

    /// What gives the host its addresses on link `index`.
    pub(super) fn host_side(&self, index: u32) -> [Request; 2] {
        [ROUTER, self.host()].map(|address| route::add_address(index, address.into(), PREFIX))
    }

    /// What gives the machine its own, on link `index` of its own network.
    pub(super) fn inside(&self, index: u32) -> Vec<Request> {
        let mut out = vec![route::add_address(index, self.address().into(), PREFIX)];
        if self.world {
            out.push(route::add_route(Ipv6Addr::UNSPECIFIED.into(), 0, index, Some(ROUTER.into())));
        }
        out
    }
}

/// Whether this host has IPv6 at all.
pub(super) fn is_there() -> bool {
    std::fs::read("/proc/sys/net/ipv6/conf/all/disable_ipv6").is_ok_and(|text| text.starts_with(b"0"))
}

/// The interfaces with a default route, and whether the kernel takes it from router advertisements; empty: there is none.
pub(super) fn ways_out(socket: &mut Socket) -> Vec<(Option<u32>, bool)> {
    route::default_routes6(socket).unwrap_or_default()
}

/// A machine is no router of its host: the host's end takes no advertisements.
pub(super) fn hear_no_router(link: &str) -> std::io::Result<()> {
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{link}/accept_ra"), "0")
}

/// The addresses of this host that others reach it by.
pub(super) fn of_host() -> Vec<Ipv6Addr> {
    let found = route::open().and_then(|mut socket| route::addresses(&mut socket)).unwrap_or_default();
    let six = found.iter().filter(|a| a.global).filter_map(|a| match a.address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    six.filter(|a| !a.is_loopback()).collect()
}

/// Answers a machine that asks for routers.
pub(super) struct Advertiser {
    pub(super) socket: UdpSocket,
    network: Network6,
    /// In a zone many hear the same question: this one's is answered.
    only: Option<[u8; 6]>,
    again: Option<(Instant, SocketAddr)>,
}

impl Advertiser {
    pub(super) fn open(link: &str, network: Network6, only: Option<[u8; 6]>) -> std::io::Result<Self> {
        let socket = socket::router(link, netlink::index_of(link)?, ROUTER)?;
        Ok(Self { socket, network, only, again: None })
    }

    pub(super) fn serve(&mut self, now: Instant) {
        let mut buffer = [0u8; 1500];
        let Ok((length, SocketAddr::V6(client))) = self.socket.recv_from(&mut buffer) else { return };
        let Some(mac) = solicitation(&buffer[..length]) else { return };
        // One without an address of its own asks again as soon as it has one.
        if !client.ip().is_unicast_link_local() || self.only.is_some_and(|only| mac != Some(only)) {
            return;
        }
        self.tell(client.into(), now);
    }

    fn tell(&mut self, client: SocketAddr, now: Instant) {
        // A lost answer is asked for again.
        let _ = self.socket.send_to(&advertisement(&self.network), client);
        self.again = self.network.world.then_some((now + TELL_AGAIN, client));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.again.map(|(at, _)| at)
    }

    pub(super) fn tell_again(&mut self, now: Instant) {
        if let Some((_, client)) = self.again.take_if(|(at, _)| *at <= now) {
            self.tell(client, now);
        }
    }
}

/// Reads a router solicitation: `None` when it is none, else who says to have sent it.
pub fn solicitation(bytes: &[u8]) -> Option<Option<[u8; 6]>> {
    let (head, mut options) = bytes.split_at_checked(8)?;
    if head[0] != SOLICITATION || head[1] != 0 {
        return None;
    }
    let mut mac = None;
    while let [kind, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8).filter(|(option, _)| !option.is_empty())?;
        if kind == SOURCE_LINK_ADDRESS {
            mac = option[2..].try_into().ok();
        }
        options = rest;
    }
    options.is_empty().then_some(mac)
}

/// A router advertisement: addresses are made of the prefix, nothing is asked for by DHCPv6.
pub fn advertisement(network: &Network6) -> Vec<u8> {
    const ON_LINK_AND_FOR_ADDRESSES: u8 = 0xc0;
    let lifetime = if network.world { ROUTER_LIFETIME } else { 0 };
    // Type, code, check sum (the kernel's), hop limit, flags, lifetime; the timers are the receiver's own.
    let mut out = vec![ADVERTISEMENT, 0, 0, 0, 64, 0];
    out.extend_from_slice(&lifetime.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[PREFIX_INFORMATION, 4, PREFIX, ON_LINK_AND_FOR_ADDRESSES]);
    // Valid and preferred for ever.
    out.extend_from_slice(&[0xff; 8]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&network.network.octets());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(world: bool) -> Network6 {
        let block = Block { network: "10.208.3.0".parse().expect("address"), prefix: 24 };
        Network6::beside(block, 5, None, world)
    }

    #[test]
    fn networks_are_local_stable_and_apart() {
        let one = network(true);
        assert_eq!((one.network.octets()[0], one.network.octets()[8..].to_vec()), (0xfd, vec![0; 8]));
        assert_eq!(one, network(true));
        let host = MachineUuid::parse("0123456789abcdef0123456789abcdef").expect("id");
        let block = |text: &str| Block { network: text.parse().expect("address"), prefix: 24 };
        let seen = [
            one.network,
            Network6::beside(block("10.208.4.0"), 5, None, true).network,
            Network6::beside(block("10.208.3.0"), 5, Some(&host), true).network,
        ];
        assert!(seen[0] != seen[1] && seen[0] != seen[2] && seen[1] != seen[2], "{seen:?}");
        assert!(one.has(one.address()) && one.has(one.host()) && !one.has(ROUTER) && one.address() != one.host());
    }

    #[test]
    fn solicitations() {
        let ask = |more: &[u8]| [&[133, 0, 9, 9, 0, 0, 0, 0][..], more].concat();
        let mac = [2, 0, 0, 0, 0, 7];
        let with_mac = ask(&[&[1, 1][..], &mac].concat());
        assert_eq!(solicitation(&ask(&[])), Some(None));
        assert_eq!(solicitation(&with_mac), Some(Some(mac)));
        assert_eq!(solicitation(&ask(&[&[14, 2][..], &[0; 14], &[1, 1], &mac].concat())), Some(Some(mac)), "another option before it");
        for cut in (0..with_mac.len()).filter(|n| *n != 8) {
            assert_eq!(solicitation(&with_mac[..cut]), None, "cut at {cut}");
        }
        for odd in [&[1, 0][..], &[1, 0, 0, 0, 0, 0, 0, 0], &[1, 2, 0, 0, 0, 0, 0, 0], &[1]] {
            assert_eq!(solicitation(&ask(odd)), None, "{odd:?}");
        }
        assert_eq!(solicitation(&[134, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(solicitation(&[133, 1, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn advertisements() {
        let bytes = advertisement(&network(true));
        assert_eq!((bytes.len(), bytes[0], bytes[5], &bytes[6..8]), (48, 134, 0, &9000u16.to_be_bytes()[..]));
        assert_eq!((&bytes[16..20], &bytes[32..48]), (&[3, 4, 64, 0xc0][..], &network(true).network.octets()[..]));
        assert_eq!(advertisement(&network(false))[6..8], [0, 0], "no default route");
    }
}
