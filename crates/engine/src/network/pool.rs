//! Which addresses a machine gets: derived from its name, so that it keeps them, and clear of what the host uses.
//!
//! ```text
//!  pool, 10.208.0.0/12 unless configured
//!    lower half   a /24 per zone        .1 … .126 machines, .129 … .254 the host towards each of them
//!    upper half   a /30 per cable       .1 the host, .2 the machine
//! ```
//!
//! In a zone every machine has a router address of its own (its own plus 128), held by its own supervisor: nothing
//! is shared between supervisors, and what serves one machine comes and goes with it.

use std::net::{IpAddr, Ipv4Addr};

use hostel_spec::AddressPool;
use hostel_sys::netlink::route::{Address, Route4};
use siphasher::sip::SipHasher24;

use super::ipv6::Network6;

/// Pools to choose from when none is configured, in order.
pub const POOLS: [AddressPool; 3] = [
    AddressPool { network: Ipv4Addr::new(10, 208, 0, 0), prefix: 12 },
    AddressPool { network: Ipv4Addr::new(172, 24, 0, 0), prefix: 14 },
    AddressPool { network: Ipv4Addr::new(192, 168, 192, 0), prefix: 18 },
];

/// Prefix length of a zone.
pub const ZONE_PREFIX: u8 = 24;
/// Prefix length of a cable without a zone.
pub const CABLE_PREFIX: u8 = 30;
/// Machines of one zone.
const ZONE_MACHINES: u32 = 126;
/// From a machine's address in a zone to its router's.
const ROUTER_OFFSET: u32 = 128;
/// How many places are tried.
const TRIES: u32 = 4096;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// First address.
    pub network: Ipv4Addr,
    /// Prefix length.
    pub prefix: u8,
}

impl Block {
    /// Whether two networks have an address in common.
    pub fn overlaps(self, other: Block) -> bool {
        let bits = mask(self.prefix.min(other.prefix));
        u32::from(self.network) & bits == u32::from(other.network) & bits
    }
    /// Whether an address is in it.
    pub fn has(self, address: Ipv4Addr) -> bool {
        self.overlaps(Block { network: address, prefix: 32 })
    }
    fn nth(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + n)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

/// A machine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressing {
    /// The zone it is in.
    pub zone: Option<String>,
    /// Its address.
    pub address: Ipv4Addr,
    /// Prefix length of its network.
    pub prefix: u8,
    /// The host's address towards it: router and name server.
    pub router: Ipv4Addr,
    /// Its IPv6 network, where the host has IPv6.
    pub six: Option<Network6>,
}

impl Addressing {
    /// Its network.
    pub fn block(&self) -> Block {
        Block { network: Ipv4Addr::from(u32::from(self.address) & mask(self.prefix)), prefix: self.prefix }
    }
    /// Its number in its IPv6 network: the host is 1.
    pub(super) fn number6(&self) -> u16 {
        let n = u32::from(self.address) - u32::from(self.block().network);
        (if self.zone.is_some() { n + 1 } else { n }) as u16
    }
    /// The one in `block` of a cable without a zone.
    fn of_cable(block: Block) -> Self {
        Self { zone: None, address: block.nth(2), prefix: block.prefix, router: block.nth(1), six: None }
    }
    /// Machine `n` of a zone.
    fn of_zone(zone: &str, block: Block, n: u32) -> Self {
        Self { zone: Some(zone.to_owned()), address: block.nth(n), prefix: block.prefix, router: block.nth(n + ROUTER_OFFSET), six: None }
    }
}

/// What the host uses already.
#[derive(Debug, Clone, Default)]
pub struct Used {
    /// Networks it has routes to, with the number of the link.
    pub routes: Vec<(Block, Option<u32>)>,
    /// Its addresses, with the number of the link.
    pub addresses: Vec<(Ipv4Addr, u32)>,
}

impl Used {
    /// From what the kernel told.
    pub fn of(routes: &[Route4], addresses: &[Address]) -> Self {
        let routes = routes.iter().filter(|r| r.prefix > 0).map(|r| (Block { network: r.network, prefix: r.prefix }, r.index)).collect();
        let v4 = |a: &Address| match a.address {
            IpAddr::V4(address) => Some((address, a.index)),
            IpAddr::V6(_) => None,
        };
        Self { routes, addresses: addresses.iter().filter_map(v4).collect() }
    }
    /// Whether a block is in use by anything but the link `own`. Routes to more than `pool` count only when `strict`: who
    /// routes all of 10.0.0.0/8 into a tunnel loses a few addresses of it.
    fn taken(&self, block: Block, own: Option<u32>, pool: AddressPool, strict: bool) -> bool {
        let foreign = |index: Option<u32>| index.is_none() || index != own;
        self.routes.iter().any(|(b, i)| b.overlaps(block) && foreign(*i) && (strict || b.prefix > pool.prefix))
            || self.addresses.iter().any(|(a, i)| block.has(*a) && foreign(Some(*i)))
    }
}

/// A number for a name: which place it is looked for first.
pub(super) fn hash(kind: &str, name: &str) -> u64 {
    let mut text = Vec::with_capacity(kind.len() + name.len() + 1);
    text.extend_from_slice(kind.as_bytes());
    text.push(0);
    text.extend_from_slice(name.as_bytes());
    SipHasher24::new_with_key(b"hostel addresses").hash(&text)
}

/// Tries blocks of `prefix` in one half of the pool, beginning where the name says.
fn blocks(pool: AddressPool, upper: bool, prefix: u8, start: u64) -> impl Iterator<Item = Block> {
    let half = (u32::MAX >> pool.prefix) / 2 + 1;
    let base = u32::from(pool.network) + if upper { half } else { 0 };
    let size = 1u32 << (32 - prefix);
    let count = half / size;
    let first = (start % u64::from(count.max(1))) as u32;
    (0..count.min(TRIES)).map(move |n| Block { network: Ipv4Addr::from(base + (first + n) % count * size), prefix })
}

/// Finds a block that is free here and that `claim` can have.
fn find(
    pools: &[AddressPool],
    used: &Used,
    own: Option<u32>,
    (kind, name, upper, prefix): (&str, &str, bool, u8),
    mut claim: impl FnMut(Block) -> bool,
) -> Option<Block> {
    for strict in [true, false] {
        for pool in pools {
            let free = |block: &Block| !used.taken(*block, own, *pool, strict);
            if let Some(block) = blocks(*pool, upper, prefix, hash(kind, name)).filter(free).find(|block| claim(*block)) {
                return Some(block);
            }
        }
    }
    None
}

/// The network of a zone: what its bridge (link `own`) has already, else one of its own.
pub fn zone_block(pools: &[AddressPool], used: &Used, zone: &str, own: Option<u32>, claim: impl FnMut(Block) -> bool) -> Option<Block> {
    let of_bridge = |(block, index): &&(Block, Option<u32>)| own.is_some() && *index == own && block.prefix == ZONE_PREFIX;
    match used.routes.iter().find(of_bridge) {
        Some((block, _)) => Some(*block),
        None => find(pools, used, own, ("zone", zone, false, ZONE_PREFIX), claim),
    }
}

/// A machine's address in a zone: `before` if it can still have that.
pub fn in_zone(
    block: Block,
    zone: &str,
    used: &Used,
    machine: &str,
    before: Option<Ipv4Addr>,
    mut claim: impl FnMut(&Addressing) -> bool,
) -> Option<Addressing> {
    let first = (hash("machine", machine) % u64::from(ZONE_MACHINES)) as u32;
    let before = before.filter(|a| block.has(*a)).map(|a| u32::from(a) - u32::from(block.network)).filter(|n| (1..=ZONE_MACHINES).contains(n));
    let places = before.into_iter().chain((0..ZONE_MACHINES).map(|n| (first + n) % ZONE_MACHINES + 1));
    let free = |a: &Addressing| !used.addresses.iter().any(|(taken, _)| *taken == a.router || *taken == a.address);
    places.map(|n| Addressing::of_zone(zone, block, n)).filter(free).find(|a| claim(a))
}

/// A machine's address on a cable of its own (the link `own`, if one of an earlier life is still there).
pub fn on_cable(
    pools: &[AddressPool],
    used: &Used,
    machine: &str,
    own: Option<u32>,
    before: Option<Ipv4Addr>,
    mut claim: impl FnMut(&Addressing) -> bool,
) -> Option<Addressing> {
    if let Some(before) = before {
        let block = Block { network: Ipv4Addr::from(u32::from(before) & mask(CABLE_PREFIX)), prefix: CABLE_PREFIX };
        let pool = pools.iter().find(|p| block.overlaps(Block { network: p.network, prefix: p.prefix }));
        let addressing = Addressing::of_cable(block);
        if pool.is_some_and(|pool| !used.taken(block, own, *pool, false)) && addressing.address == before && claim(&addressing) {
            return Some(addressing);
        }
    }
    find(pools, used, own, ("machine", machine, true, CABLE_PREFIX), |block| claim(&Addressing::of_cable(block))).map(Addressing::of_cable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: fn(&Addressing) -> bool = |_| true;

    fn block(text: &str) -> Block {
        let (network, prefix) = text.split_once('/').expect("a network");
        Block { network: network.parse().expect("address"), prefix: prefix.parse().expect("prefix") }
    }

    #[test]
    fn a_name_keeps_its_place() {
        let used = Used::default();
        let first = on_cable(&POOLS, &used, "web", None, None, ANY).expect("free");
        assert_eq!(on_cable(&POOLS, &used, "web", None, None, ANY), Some(first.clone()));
        assert_ne!(on_cable(&POOLS, &used, "db", None, None, ANY), Some(first.clone()));
        assert_eq!((first.prefix, u32::from(first.address) - u32::from(first.router)), (30, 1));
        assert!(block("10.216.0.0/13").has(first.address), "{first:?}: upper half");
        // Its own cable of an earlier life is no obstacle, another's is.
        let busy = |link| Used { routes: vec![(first.block(), Some(link))], addresses: vec![(first.router, link)] };
        assert_eq!(on_cable(&POOLS, &busy(7), "web", Some(7), None, ANY), Some(first.clone()));
        let next = on_cable(&POOLS, &busy(7), "web", None, None, ANY).expect("free");
        assert!(!next.block().overlaps(first.block()));
        // A lease is kept while it can be.
        assert_eq!(on_cable(&POOLS, &used, "web", None, Some(next.address), ANY), Some(next.clone()));
        assert_eq!(on_cable(&POOLS, &used, "web", None, Some(next.address), |a| a.address != next.address), Some(first));
    }

    #[test]
    fn pools_that_the_host_uses_are_left_alone() {
        let used = Used { routes: vec![(block("10.0.0.0/8"), Some(2))], addresses: vec![] };
        assert!(block("172.24.0.0/14").has(on_cable(&POOLS, &used, "web", None, None, ANY).expect("free").address));
        let all = Used { routes: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(|b| (block(b), Some(2))).to_vec(), addresses: vec![] };
        assert!(block("10.208.0.0/12").has(on_cable(&POOLS, &all, "web", None, None, ANY).expect("free").address), "broad routes last");
        let small = [AddressPool { network: Ipv4Addr::new(10, 1, 0, 0), prefix: 22 }];
        let full = Used { routes: vec![(block("10.1.0.0/23"), None), (block("10.1.2.0/23"), None)], addresses: vec![] };
        assert_eq!(on_cable(&small, &full, "web", None, None, ANY), None);
        assert_eq!(zone_block(&small, &full, "z", None, |_| true), None);
    }

    #[test]
    fn zones() {
        let mut used = Used::default();
        let zone = zone_block(&POOLS, &used, "lan", None, |_| true).expect("free");
        assert!(zone.prefix == 24 && block("10.208.0.0/13").overlaps(zone));
        used.routes.push((zone, Some(5)));
        assert_eq!(zone_block(&POOLS, &used, "lan", Some(5), |_| false), Some(zone), "the bridge has it");
        let mut seen = Vec::new();
        for n in 0..126 {
            let got = in_zone(zone, "lan", &used, &format!("m{n}"), None, ANY).expect("free");
            assert!(zone.has(got.address) && zone.has(got.router) && !seen.contains(&got.address));
            used.addresses.push((got.router, 5));
            seen.push(got.address);
        }
        assert_eq!(in_zone(zone, "lan", &used, "one-more", None, ANY), None);
        let before = seen[3];
        assert_eq!(in_zone(zone, "lan", &Used::default(), "x", Some(before), ANY).map(|a| a.address), Some(before));
        assert!(in_zone(zone, "lan", &Used::default(), "x", Some(Ipv4Addr::new(10, 0, 0, 1)), ANY).is_some());
    }
}
