//! rtnetlink requests and answers: links, addresses, routes (rtnetlink(7), <linux/if_link.h>).

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::message::{Attributes, Message, Request, attributes};
use super::{Family, Socket};

const NLM_F_CREATE: u16 = 0x400;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_DUMP: u16 = 0x300;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;
const IFLA_IPVLAN_MODE: u16 = 1;
const IPVLAN_MODE_L2: u16 = 0;
const RTM_NEWLINKPROP: u16 = 108;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const NODAD: u8 = libc::IFA_F_NODAD as u8;
/// `RTPROT_RA`: from a router advertisement.
const BY_ADVERTISEMENT: u8 = 9;
const UP: u32 = libc::IFF_UP as u32;
/// `struct ifinfomsg`, `struct ifaddrmsg`, `struct rtmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;

/// A link of the socket's network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkRef<'a> {
    /// By number.
    Index(u32),
    /// By name.
    Name(&'a str),
}

/// One end of a new veth pair.
#[derive(Debug, Clone, Copy)]
pub struct VethEnd<'a> {
    /// Interface name, at most 15 bytes.
    pub name: &'a str,
    /// Hardware address; `None` = the kernel's choice.
    pub mac: Option<[u8; 6]>,
}

fn link_header(r: &mut Request, index: u32, flags: u32, change: u32) {
    r.raw(&[0, 0, 0, 0]);
    r.raw(&index.to_ne_bytes());
    r.raw(&flags.to_ne_bytes());
    r.raw(&change.to_ne_bytes());
}

/// A request about a link that exists.
fn about(kind: u16, flags: u16, link: LinkRef<'_>, up: u32) -> Request {
    let mut r = Request::new(kind, flags);
    match link {
        LinkRef::Index(index) => link_header(&mut r, index, up, up),
        LinkRef::Name(name) => {
            link_header(&mut r, 0, up, up);
            r.text(IFLA_IFNAME, name);
        }
    }
    r
}

/// A new link called `name`: `fill` writes what its kind needs.
fn new_link(name: &str, mac: Option<[u8; 6]>, up: u32, kind: &str, fill: impl FnOnce(&mut Request)) -> Request {
    let mut r = Request::new(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    link_header(&mut r, 0, up, up);
    r.text(IFLA_IFNAME, name);
    if let Some(mac) = mac {
        r.attr(IFLA_ADDRESS, &mac);
    }
    r.nested(IFLA_LINKINFO, |r| {
        r.text(IFLA_INFO_KIND, kind);
        fill(r);
    });
    r
}

/// A veth pair: `host` here (up, and a port of `bridge`, if asked), `inside` in the network namespace `netns`.
pub fn add_veth(host: VethEnd<'_>, inside: VethEnd<'_>, netns: BorrowedFd<'_>, up: bool, bridge: Option<u32>) -> Request {
    let mut r = new_link(host.name, host.mac, if up { UP } else { 0 }, "veth", |r| {
        r.nested(IFLA_INFO_DATA, |r| {
            r.nested(VETH_INFO_PEER, |r| {
                link_header(r, 0, 0, 0);
                r.text(IFLA_IFNAME, inside.name);
                if let Some(mac) = inside.mac {
                    r.attr(IFLA_ADDRESS, &mac);
                }
                r.number(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
            });
        });
    });
    if let Some(index) = bridge {
        r.number(IFLA_MASTER, index);
    }
    r
}

/// A VLAN on the link with index `lower` of this namespace: here and up, or made in `netns`.
pub fn add_vlan(name: &str, lower: u32, id: u16, netns: Option<BorrowedFd<'_>>) -> Request {
    const VLAN_ID: u16 = 1;
    let mut r = new_link(name, None, if netns.is_some() { 0 } else { UP }, "vlan", |r| {
        r.nested(IFLA_INFO_DATA, |r| {
            r.attr(VLAN_ID, &id.to_ne_bytes());
        });
    });
    r.number(IFLA_LINK, lower);
    if let Some(netns) = netns {
        r.number(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
    }
    r
}

/// Lets what has no tag belong to a VLAN on this port of a bridge (`untagged`), or what has its tag pass.
pub fn add_port_vlan(port: u32, id: u16, untagged: bool) -> Request {
    const PVID_AND_UNTAGGED: u16 = 2 | 4;
    port_vlan(libc::RTM_SETLINK, port, id, if untagged { PVID_AND_UNTAGGED } else { 0 })
}

/// Takes a VLAN from a port of a bridge.
pub fn delete_port_vlan(port: u32, id: u16) -> Request {
    port_vlan(libc::RTM_DELLINK, port, id, 0)
}

fn port_vlan(kind: u16, port: u32, id: u16, flags: u16) -> Request {
    const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
    let mut r = Request::new(kind, 0);
    r.raw(&[libc::AF_BRIDGE as u8, 0, 0, 0]);
    r.raw(&port.to_ne_bytes());
    r.raw(&[0; 8]);
    r.nested(libc::IFLA_AF_SPEC, |r| r.attr(IFLA_BRIDGE_VLAN_INFO, &[flags.to_ne_bytes(), id.to_ne_bytes()].concat()));
    r
}

/// Answers on this link for an address that others have.
pub fn add_proxy(index: u32, address: IpAddr) -> Request {
    const NDA_DST: u16 = 1;
    let mut r = Request::new(libc::RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL);
    let (family, bytes) = octets(address);
    r.raw(&[family, 0, 0, 0]);
    r.raw(&index.to_ne_bytes());
    r.raw(&[0, 0, libc::NTF_PROXY, 0]);
    r.attr(NDA_DST, &bytes);
    r
}

/// A bridge, up, without spanning tree: its ports forward at once.
pub fn add_bridge(name: &str, mac: [u8; 6]) -> Request {
    new_link(name, Some(mac), UP, "bridge", |_| {})
}

/// A macvlan in bridge mode on the link `lower` of this namespace, made in `netns`.
pub fn add_macvlan(name: &str, mac: Option<[u8; 6]>, lower: u32, netns: BorrowedFd<'_>) -> Request {
    let mut r = new_link(name, mac, 0, "macvlan", |r| r.nested(IFLA_INFO_DATA, |r| r.number(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE)));
    r.number(IFLA_LINK, lower);
    r.number(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
    r
}

/// An ipvlan of layer 2 on the link `lower` of this namespace, made in `netns`.
pub fn add_ipvlan(name: &str, lower: u32, netns: BorrowedFd<'_>) -> Request {
    let mut r = new_link(name, None, 0, "ipvlan", |r| r.nested(IFLA_INFO_DATA, |r| r.attr(IFLA_IPVLAN_MODE, &IPVLAN_MODE_L2.to_ne_bytes())));
    r.number(IFLA_LINK, lower);
    r.number(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
    r
}

/// Sets a link up.
pub fn set_up(link: LinkRef<'_>) -> Request {
    about(libc::RTM_NEWLINK, 0, link, UP)
}

/// Gives a link an alias: free text that marks it as ours.
pub fn set_alias(link: LinkRef<'_>, alias: &str) -> Request {
    let mut r = about(libc::RTM_NEWLINK, 0, link, 0);
    r.text(IFLA_IFALIAS, alias);
    r
}

/// Adds an alternative name, of up to 127 bytes.
pub fn add_altname(link: LinkRef<'_>, name: &str) -> Request {
    let mut r = about(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, link, 0);
    r.nested(IFLA_PROP_LIST, |r| r.text(IFLA_ALT_IFNAME, name));
    r
}

/// Makes a link a port of a bridge.
pub fn set_master(link: LinkRef<'_>, bridge: u32) -> Request {
    let mut r = about(libc::RTM_NEWLINK, 0, link, 0);
    r.number(IFLA_MASTER, bridge);
    r
}

/// Sets the hardware address of a link.
pub fn set_mac(index: u32, mac: [u8; 6]) -> Request {
    let mut r = about(libc::RTM_NEWLINK, 0, LinkRef::Index(index), 0);
    r.attr(IFLA_ADDRESS, &mac);
    r
}

/// Sets the largest packet of a link, in bytes.
pub fn set_mtu(index: u32, mtu: u32) -> Request {
    let mut r = about(libc::RTM_NEWLINK, 0, LinkRef::Index(index), 0);
    r.number(libc::IFLA_MTU, mtu);
    r
}

/// Renames a link; it must be down on kernels before 6.2.
pub fn rename(index: u32, name: &str) -> Request {
    let mut r = about(libc::RTM_NEWLINK, 0, LinkRef::Index(index), 0);
    r.text(IFLA_IFNAME, name);
    r
}

/// Moves a link into another network namespace, where it is called `name`. It arrives down and without addresses.
pub fn move_to(index: u32, netns: BorrowedFd<'_>, name: &str) -> Request {
    let mut r = Request::new(libc::RTM_NEWLINK, 0);
    link_header(&mut r, index, 0, UP);
    r.text(IFLA_IFNAME, name);
    r.number(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
    r
}

/// Deletes a link. Takes 15…25 ms for a veth: never wait for it on a user's path.
pub fn delete(link: LinkRef<'_>) -> Request {
    about(libc::RTM_DELLINK, 0, link, 0)
}

fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(a) => (libc::AF_INET as u8, a.octets().to_vec()),
        IpAddr::V6(a) => (libc::AF_INET6 as u8, a.octets().to_vec()),
    }
}

fn address_request(kind: u16, flags: u16, index: u32, address: IpAddr, prefix: u8) -> Request {
    let mut r = Request::new(kind, flags);
    let (family, bytes) = octets(address);
    // What we give is nobody else's: an IPv6 address is valid at once (IFA_F_NODAD).
    r.raw(&[family, prefix, if address.is_ipv6() { NODAD } else { 0 }, 0]);
    r.raw(&index.to_ne_bytes());
    r.attr(libc::IFA_LOCAL, &bytes);
    r.attr(libc::IFA_ADDRESS, &bytes);
    if let (IpAddr::V4(a), 1..=30) = (address, prefix) {
        let broadcast = u32::from(a) | (u32::MAX >> prefix);
        r.attr(libc::IFA_BROADCAST, &broadcast.to_be_bytes());
    }
    r
}

/// Adds an address to a link; the route to its network comes with it.
pub fn add_address(index: u32, address: IpAddr, prefix: u8) -> Request {
    address_request(libc::RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address, prefix)
}

/// Removes an address.
pub fn delete_address(index: u32, address: IpAddr, prefix: u8) -> Request {
    address_request(libc::RTM_DELADDR, 0, index, address, prefix)
}

/// Metric of default routes: above what ip(8) gives one, for IPv4 (0) and for IPv6 (1024). Who adds one of their own can, and it wins.
const DEFAULT_METRIC: u32 = 2048;

/// Adds a route to the main table: to a network directly on the link, or through `gateway`; a default route after all others.
pub fn add_route(destination: IpAddr, prefix: u8, index: u32, gateway: Option<IpAddr>) -> Request {
    let mut r = Request::new(libc::RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    let (family, bytes) = octets(destination);
    let scope = if gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
    r.raw(&[family, prefix, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, scope, libc::RTN_UNICAST]);
    r.raw(&0u32.to_ne_bytes());
    if prefix > 0 {
        r.attr(libc::RTA_DST, &bytes);
    } else {
        r.number(libc::RTA_PRIORITY, DEFAULT_METRIC);
    }
    if let Some(gateway) = gateway {
        r.attr(libc::RTA_GATEWAY, &octets(gateway).1);
    }
    r.number(libc::RTA_OIF, index);
    r
}

/// A link as the kernel describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Number.
    pub index: u32,
    /// Name.
    pub name: String,
    /// It is up.
    pub up: bool,
    /// It is a loopback.
    pub loopback: bool,
    /// Hardware address, if it has 6 bytes.
    pub mac: Option<[u8; 6]>,
    /// Number of the bridge it is a port of.
    pub master: Option<u32>,
    /// Its alias.
    pub alias: Option<String>,
    /// Its kind (`veth`, `bridge`); hardware has none.
    pub kind: Option<String>,
}

impl Link {
    fn parse(message: &Message<'_>) -> Option<Self> {
        if message.kind != libc::RTM_NEWLINK {
            return None;
        }
        let word = |at: usize| Some(u32::from_ne_bytes(message.body.get(at..at + 4)?.try_into().ok()?));
        let attrs = attributes(message.body, LINK_HEADER);
        let flags = word(8)?;
        Some(Link {
            index: word(4)?,
            name: attrs.text(IFLA_IFNAME)?,
            up: flags & UP != 0,
            loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
            mac: attrs.get(IFLA_ADDRESS).and_then(|m| m.try_into().ok()),
            master: attrs.number(IFLA_MASTER),
            alias: attrs.text(IFLA_IFALIAS),
            kind: attrs.nested(IFLA_LINKINFO).text(IFLA_INFO_KIND),
        })
    }
}

/// An address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Number of the link.
    pub index: u32,
    /// Address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Valid everywhere: neither link-local nor of the host alone.
    pub global: bool,
    /// Usable: no IPv6 address that may turn out, or has turned out, to be a neighbour's.
    pub settled: bool,
    /// Nobody gave it for a time only.
    pub permanent: bool,
}

/// An address that came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressChange {
    /// New, or changed.
    Came(Address),
    /// Gone.
    Went(Address),
}

fn ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        libc::AF_INET6 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// Reads a message about an address.
pub fn address_change(message: &Message<'_>) -> Option<AddressChange> {
    let head = message.body.get(..ADDRESS_HEADER)?;
    let attrs = attributes(message.body, ADDRESS_HEADER);
    // On a point-to-point link IFA_ADDRESS is the other end.
    let bytes = attrs.get(libc::IFA_LOCAL).or_else(|| attrs.get(libc::IFA_ADDRESS))?;
    let address = Address {
        index: u32::from_ne_bytes(head[4..8].try_into().ok()?),
        address: ip(head[0], bytes)?,
        prefix: head[1],
        global: head[3] < libc::RT_SCOPE_SITE,
        settled: u32::from(head[2]) & (libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) == 0,
        permanent: u32::from(head[2]) & libc::IFA_F_PERMANENT != 0,
    };
    match message.kind {
        libc::RTM_NEWADDR => Some(AddressChange::Came(address)),
        libc::RTM_DELADDR => Some(AddressChange::Went(address)),
        _ => None,
    }
}

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route4 {
    /// Destination network.
    pub network: Ipv4Addr,
    /// Prefix length; 0: the default route.
    pub prefix: u8,
    /// Number of the link it leads to.
    pub index: Option<u32>,
}

/// All links.
pub fn links(socket: &mut Socket) -> io::Result<Vec<Link>> {
    let mut r = Request::plain(libc::RTM_GETLINK, NLM_F_DUMP);
    link_header(&mut r, 0, 0, 0);
    r.number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    let mut out = Vec::new();
    socket.dump(r, |m| out.extend(Link::parse(m)))?;
    Ok(out)
}

/// The link of this name or alternative name; `None`: there is none.
pub fn link(socket: &mut Socket, name: &str) -> io::Result<Option<Link>> {
    let mut r = Request::new(libc::RTM_GETLINK, 0);
    link_header(&mut r, 0, 0, 0);
    r.text(if name.len() > 15 { IFLA_ALT_IFNAME } else { IFLA_IFNAME }, name);
    r.number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    let mut found = None;
    match socket.dump(r, |m| found = Link::parse(m).or(found.take())) {
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        other => other.map(|()| found),
    }
}

/// All addresses of links.
pub fn addresses(socket: &mut Socket) -> io::Result<Vec<Address>> {
    let mut r = Request::plain(libc::RTM_GETADDR, NLM_F_DUMP);
    r.raw(&[0; ADDRESS_HEADER]);
    let mut out = Vec::new();
    socket.dump(r, |m| {
        if let Some(AddressChange::Came(address)) = address_change(m) {
            out.push(address);
        }
    })?;
    Ok(out)
}

/// All IPv4 unicast routes of all tables but the local one.
pub fn routes4(socket: &mut Socket) -> io::Result<Vec<Route4>> {
    let mut r = Request::plain(libc::RTM_GETROUTE, NLM_F_DUMP);
    r.raw(&[libc::AF_INET as u8]);
    r.raw(&[0; ROUTE_HEADER - 1]);
    let mut out = Vec::new();
    socket.dump(r, |m| out.extend(parse_route(m)))?;
    Ok(out)
}

fn parse_route(message: &Message<'_>) -> Option<Route4> {
    let head = message.body.get(..ROUTE_HEADER)?;
    let attrs: Attributes<'_> = attributes(message.body, ROUTE_HEADER);
    if message.kind != libc::RTM_NEWROUTE || head[0] != libc::AF_INET as u8 || head[4] == libc::RT_TABLE_LOCAL {
        return None;
    }
    let network = match attrs.get(libc::RTA_DST) {
        Some(bytes) => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?),
        None => Ipv4Addr::UNSPECIFIED,
    };
    Some(Route4 { network, prefix: head[1], index: attrs.number(libc::RTA_OIF) })
}

/// The IPv6 default routes of the main table: number of the link, and whether a router advertised it.
pub fn default_routes6(socket: &mut Socket) -> io::Result<Vec<(Option<u32>, bool)>> {
    let mut r = Request::plain(libc::RTM_GETROUTE, NLM_F_DUMP);
    r.raw(&[libc::AF_INET6 as u8]);
    r.raw(&[0; ROUTE_HEADER - 1]);
    let mut out = Vec::new();
    socket.dump(r, |m| {
        let Some(head) = m.body.get(..ROUTE_HEADER).filter(|_| m.kind == libc::RTM_NEWROUTE) else { return };
        // Family, prefix length, table, and what becomes of a packet.
        if (head[0], head[1], head[4], head[7]) == (libc::AF_INET6 as u8, 0, libc::RT_TABLE_MAIN, libc::RTN_UNICAST) {
            out.push((attributes(m.body, ROUTE_HEADER).number(libc::RTA_OIF), head[5] == BY_ADVERTISEMENT));
        }
    })?;
    Ok(out)
}

/// A routing socket in the current network namespace.
pub fn open() -> io::Result<Socket> {
    Socket::open(Family::Route)
}
