//! The machine's own side: its interface, its resolver file.

use std::io;
use std::net::Ipv4Addr;

use hostel_sys::netlink::{self, route};

use super::dns::DOMAIN;
use super::pool::Addressing;

/// Sets up `link` in the current network namespace: up, addresses, default routes.
pub(crate) fn configure(link: &str, addressing: &Addressing) -> io::Result<()> {
    let index = netlink::index_of(link)?;
    let mut socket = route::open()?;
    let requests = [
        route::set_up(route::LinkRef::Index(index)),
        route::add_address(index, addressing.address.into(), addressing.prefix),
        route::add_route(Ipv4Addr::UNSPECIFIED.into(), 0, index, Some(addressing.router.into())),
    ];
    socket.send(&requests)?.into_iter().collect::<io::Result<()>>()?;
    if let Some(six) = &addressing.six {
        // Where IPv6 is switched off for new networks the machine has IPv4.
        let _ = socket.send(&six.inside(index));
    }
    Ok(())
}

/// The resolver file: names come from the supervisor, at the router's address.
pub(crate) fn resolv_conf(addressing: &Addressing) -> Vec<u8> {
    hostel_image::stamped::stamp(format!("nameserver {}\nsearch {DOMAIN}\n", addressing.router).as_bytes())
}
