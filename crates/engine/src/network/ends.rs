//! What the ends of cables are made to be once they are there: addresses and routes inside, on the host what a router or a port of a
//! bridge with VLANs has. All of it goes with its link.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use hostel_spec::{Gateway, HostEnd, InsideLink, PortVlans};
use hostel_sys::netlink::route::{self, LinkRef};
use hostel_sys::netlink::{self, Request, Socket};
use rustix::io::Errno;

use super::wire::{existing, is};
use crate::error::{Context, Error, Result, io_text};

/// Gives an interface of this network its addresses, and sets it up.
pub(super) fn restore(name: &str, addresses: &mut dyn Iterator<Item = (IpAddr, u8)>) -> io::Result<()> {
    let index = netlink::index_of(name)?;
    let mut requests = vec![route::set_up(LinkRef::Index(index))];
    requests.extend(addresses.map(|(address, prefix)| route::add_address(index, address, prefix)));
    route::open()?.send(&requests)?.into_iter().collect()
}

/// Makes an interface of the machine what it is to be: address of a gateway first, which may be one of ours.
pub(super) fn dress(link: &InsideLink, socket: &mut Socket, netns: BorrowedFd<'_>) -> Result<()> {
    let object = || format!("interface {} in the machine", link.name);
    let none = |six: bool| if six { IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut routes = Vec::new();
    for gateway in &link.gateways {
        let route = match gateway {
            Gateway::Address(address) => (none(address.is_ipv6()), Some(*address)),
            Gateway::Device { six } => (none(*six), None),
            Gateway::Of { link: name, six } => {
                let index = existing(socket, name)?.index;
                let all = route::addresses(socket).map_err(|e| Error::new("read", "addresses of interfaces", io_text(&e)))?;
                let own = all.iter().find(|a| a.index == index && a.address.is_ipv6() == *six && a.global);
                let own = own.ok_or_else(|| Error::new("set up", object(), format!("its gateway is the address of {name}, which has none")))?;
                (none(*six), Some(own.address))
            }
        };
        // A gateway that is in none of its networks is right behind the link.
        if let Some(address) = route.1.filter(|address| !link.addresses.iter().any(|net| contains(*net, *address))) {
            routes.push((address, bits(address), None));
        }
        routes.push((route.0, 0, route.1));
    }
    netlink::inside(netns, || {
        let index = netlink::index_of(&link.name)?;
        let mut requests: Vec<Request> = link.mac.iter().map(|mac| route::set_mac(index, *mac)).collect();
        requests.extend(link.mtu.iter().map(|mtu| route::set_mtu(index, *mtu)));
        requests.extend(link.addresses.iter().map(|(address, prefix)| route::add_address(index, *address, *prefix)));
        // A route needs a link that is up.
        if link.up || !routes.is_empty() {
            requests.push(route::set_up(LinkRef::Index(index)));
        }
        requests.extend(routes.iter().map(|(to, prefix, gateway)| route::add_route(*to, *prefix, index, *gateway)));
        route::open()?.send(&requests)?.into_iter().collect()
    })
    .map_err(|e| Error::new("set up", object(), io_text(&e)))
}

/// The prefix of one address.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn contains((network, prefix): (IpAddr, u8), address: IpAddr) -> bool {
    // Everybody's neighbours.
    if matches!(address, IpAddr::V6(a) if a.is_unicast_link_local()) {
        return true;
    }
    let number = |address| match address {
        IpAddr::V4(a) => u128::from(u32::from(a)) << 96,
        IpAddr::V6(a) => u128::from(a),
    };
    let differs = number(network) ^ number(address);
    network.is_ipv6() == address.is_ipv6() && (prefix == 0 || differs >> (128 - u32::from(prefix.min(128))) == 0)
}

/// Makes the host's end of a cable what it is to be.
pub(super) fn dress_host(end: &HostEnd, socket: &mut Socket) -> Result<()> {
    let object = || format!("interface {}", end.name);
    let index = netlink::index_of(&end.name).map_err(|e| Error::new("find", object(), io_text(&e)))?;
    for (six, family, files) in [(false, "ipv4", &["forwarding"][..]), (true, "ipv6", &["forwarding", "proxy_ndp"])] {
        if end.answers.iter().any(|address| address.is_ipv6() == six) {
            let file = |name| format!("/proc/sys/net/{family}/conf/{}/{name}", end.name);
            files.iter().map(file).try_for_each(|file| std::fs::write(&file, "1").context("write", file))?;
        }
    }
    let mut requests: Vec<Request> = end.answers.iter().map(|address| route::add_proxy(index, *address)).collect();
    requests.extend(end.routes.iter().map(|(network, prefix)| route::add_route(*network, *prefix, index, None)));
    if let Some(port) = &end.port {
        requests.extend(port_vlans(index, port)?);
    }
    let done = socket.send(&requests).and_then(|results| results.into_iter().collect::<io::Result<()>>());
    done.map_err(|e| {
        let error = Error::new("set up", object(), io_text(&e));
        if is(&e, Errno::EXIST) { error.hint("the host has such a route already: `ip route` lists them") } else { error }
    })
}

fn port_vlans(index: u32, port: &PortVlans) -> Result<Vec<Request>> {
    let bridge = &port.bridge;
    let setting = |name: &str| std::fs::read_to_string(format!("/sys/class/net/{bridge}/bridge/{name}")).unwrap_or_default();
    if setting("vlan_filtering").trim() != "1" {
        let error = Error::new("set up", format!("VLANs of a port of {bridge}"), "this bridge does not tell them apart");
        return Err(error.hint(format!("`ip link set {bridge} type bridge vlan_filtering 1`, if the kernel has that")));
    }
    let usual = setting("default_pvid").trim().parse::<u16>().ok().filter(|id| *id != 0);
    let mut out = Vec::new();
    if let Some(wanted) = port.untagged.filter(|wanted| *wanted != usual) {
        out.extend(usual.map(|id| route::delete_port_vlan(index, id)));
        out.extend(wanted.map(|id| route::add_port_vlan(index, id, true)));
    }
    out.extend(port.tagged.iter().map(|id| route::add_port_vlan(index, *id, false)));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_network() {
        let net = |text: &str, prefix| (text.parse::<IpAddr>().unwrap(), prefix);
        let of = |network, address: &str| contains(network, address.parse().unwrap());
        assert!(of(net("10.7.0.5", 24), "10.7.0.1") && of(net("10.7.0.5", 0), "192.168.0.1") && of(net("fd77::5", 64), "fd77::1"));
        assert!(of(net("10.7.0.5", 32), "fe80::1"), "a neighbour");
        assert!(!of(net("10.7.0.5", 32), "10.7.0.1") && !of(net("10.7.0.5", 24), "10.7.1.1") && !of(net("fd77::5", 128), "fd77::1"));
        assert!(!of(net("0.0.0.0", 0), "fd77::1"));
    }
}
