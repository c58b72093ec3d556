//! Looking at networks: addresses inside a machine, and the host's interfaces.

use std::io;
use std::net::IpAddr;

use hostel_sys::netlink::{self, route};
use rustix::fs::{Mode, OFlags};

/// An address of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsideAddress {
    /// Interface.
    pub link: String,
    /// Address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

/// The global addresses of the network namespace of process `pid`, IPv4 first.
pub fn addresses_of(pid: i32) -> io::Result<Vec<InsideAddress>> {
    let netns = rustix::fs::open(format!("/proc/{pid}/ns/net"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (links, addresses) = netlink::inside(std::os::fd::AsFd::as_fd(&netns), || {
        let mut socket = route::open()?;
        Ok((route::links(&mut socket)?, route::addresses(&mut socket)?))
    })?;
    let mut out: Vec<InsideAddress> = addresses
        .into_iter()
        .filter(|a| a.global)
        .filter_map(|a| {
            let link = links.iter().find(|l| l.index == a.index && !l.loopback)?;
            Some(InsideAddress { link: link.name.clone(), address: a.address, prefix: a.prefix })
        })
        .collect();
    out.sort_by_key(|a| a.address.is_ipv6());
    Ok(out)
}

/// The host's interfaces that routes lead to, but for those of machines.
pub(crate) fn uplinks() -> io::Result<Vec<String>> {
    let mut socket = route::open()?;
    let routes = route::routes4(&mut socket)?;
    let machines = |name: &str| ["ve-", "vb-", "vz-"].iter().any(|p| name.starts_with(p));
    let links = route::links(&mut socket)?.into_iter();
    let wanted = links.filter(|l| !l.loopback && !machines(&l.name) && routes.iter().any(|r| r.index == Some(l.index)));
    Ok(wanted.map(|l| l.name).collect())
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
}

/// The zones of this host.
pub fn zones() -> io::Result<Vec<Zone>> {
    let mut socket = route::open()?;
    let (links, routes) = (route::links(&mut socket)?, route::routes4(&mut socket)?);
    let zones = links.iter().filter(|l| l.kind.as_deref() == Some("bridge"));
    Ok(zones
        .filter_map(|bridge| {
            let name = bridge.name.strip_prefix("vz-")?.to_owned();
            let ports = links.iter().filter(|l| l.master == Some(bridge.index)).map(|l| l.name.clone()).collect();
            let network = routes.iter().find(|r| r.index == Some(bridge.index)).map(|r| format!("{}/{}", r.network, r.prefix));
            Some(Zone { name, ports, network })
        })
        .collect())
}
