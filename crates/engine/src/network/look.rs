//! Looking at the host's interfaces. (Addresses inside a machine: `inside/addresses.rs`.)

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use hostel_sys::netlink::route;

/// The host's interfaces that routes lead to, but for those of machines.
pub(crate) fn uplinks() -> io::Result<Vec<String>> {
    let mut socket = route::open()?;
    let routes = route::routes4(&mut socket)?;
    let machines = |name: &str| ["ve-", "vb-", "vz-"].iter().any(|p| name.starts_with(p));
    let links = route::links(&mut socket)?.into_iter();
    let wanted = links.filter(|l| !l.loopback && !machines(&l.name) && routes.iter().any(|r| r.index == Some(l.index)));
    Ok(wanted.map(|l| l.name).collect())
}

/// Number and name of the host's ends of a machine's cables, which carry its name as alias.
pub fn cables_of(machine: &str) -> io::Result<Vec<(u32, String)>> {
    let alias = super::wire::alias(machine);
    let links = route::links(&mut route::open()?)?;
    Ok(links.into_iter().filter(|l| l.alias.as_deref() == Some(&alias)).map(|l| (l.index, l.name)).collect())
}

/// A zone's bridge on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Name of the zone.
    pub name: String,
    /// Its ports.
    pub ports: Vec<String>,
    /// Its network, such as `10.208.3.0/24`.
    pub network: Option<String>,
    /// Its IPv6 network.
    pub network6: Option<String>,
}

/// The zones of this host.
pub fn zones() -> io::Result<Vec<Zone>> {
    let mut socket = route::open()?;
    let (links, routes) = (route::links(&mut socket)?, route::routes4(&mut socket)?);
    let addresses = route::addresses(&mut socket)?;
    let zones = links.iter().filter(|l| l.kind.as_deref() == Some("bridge"));
    Ok(zones
        .filter_map(|bridge| {
            let name = bridge.name.strip_prefix("vz-")?.to_owned();
            let ports = links.iter().filter(|l| l.master == Some(bridge.index)).map(|l| l.name.clone()).collect();
            let network = routes.iter().find(|r| r.index == Some(bridge.index)).map(|r| format!("{}/{}", r.network, r.prefix));
            // The host's is the first of it.
            let six = addresses.iter().filter(|a| a.index == bridge.index && a.global).find_map(|a| match a.address {
                IpAddr::V6(address) => Some(Ipv6Addr::from(u128::from(address) & !1)),
                IpAddr::V4(_) => None,
            });
            let network6 = six.map(|six| format!("{six}/{}", super::ipv6::PREFIX));
            Some(Zone { name, ports, network, network6 })
        })
        .collect())
}
