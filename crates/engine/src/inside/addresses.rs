//! The addresses that a machine has now, asked of its network namespace.

use std::net::IpAddr;

use hostel_spec::Arrange as _;
use hostel_sys::clone::{NEWNET, setns_pidfd};
use hostel_sys::netlink::route;

use crate::enter::Leader;
use crate::error::{Context, Error, Result};

/// The number of `lo` in every network namespace.
const LOOPBACK: u32 = 1;

/// Addresses of the machine of `leader`, most useful first: IPv4, then IPv6, link-local ones last; none of the loopback.
/// Empty when it has the host's network, whose addresses are not its own.
pub fn of(leader: &Leader) -> Result<Vec<IpAddr>> {
    if leader.shares("net")? {
        return Ok(Vec::new());
    }
    // A thread of its own: a network namespace is a thread's, and this one is not to be left in the machine's.
    let pidfd = leader.pidfd();
    let found = std::thread::scope(|scope| {
        let look = || setns_pidfd(pidfd, NEWNET).and_then(|()| route::addresses(&mut route::open()?));
        std::thread::Builder::new().spawn_scoped(scope, look).map(std::thread::ScopedJoinHandle::join)
    });
    let found = found.context("start", "thread")?.map_err(|_| Error::new("read", "addresses of the machine", "the thread that reads them died"))?;
    let found = found.context("read", "addresses of the machine")?;
    // One that the kernel still asks its neighbours about is not there yet.
    Ok(in_order(found.into_iter().filter(|a| a.index != LOOPBACK && a.settled).map(|a| a.address).collect()))
}

fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.arrange_by_key(|address| (is_link_local(address), address.is_ipv6()));
    addresses.dedup();
    addresses
}

/// Whether it is of use on its own link only.
pub fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_useful_first() {
        let parse = |text: &str| text.split(' ').map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(in_order(parse("fe80::1 fd00::2 169.254.1.1 10.0.0.1 10.0.0.1")), parse("10.0.0.1 fd00::2 169.254.1.1 fe80::1"));
    }
}
