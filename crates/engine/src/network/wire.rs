//! Making the machine's links, in one send, and taking them away again.
//!
//! A veth pair is made with its far end in the machine already; macvlans are made there; interfaces of the host are moved
//! there under their new names. The journal knows of each before it is made. Nobody waits for a veth to be deleted
//! (15 to 25 ms): it goes with the machine's network namespace. What does not go with it is taken away here:
//! a zone's bridge, the host's address in a zone, interfaces that have to come back.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hostel_spec::{HostEnd, InsideLink, LinkPair, VethEnds};
use hostel_sys::clone::{self, CloneArgs, Fork};
use hostel_sys::netlink::route::{self, Link, LinkRef, VethEnd};
use hostel_sys::netlink::{self, Request, Socket};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::pool::Addressing;
use super::{ends, lease};
use crate::error::{Error, Result, io_text};
use crate::registry::{Claim, Undo};

/// A cable: a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CablePlan {
    /// Name on the host.
    pub host: String,
    /// Its full name if that was too long.
    pub altname: Option<String>,
    /// Hardware address on the host.
    pub host_mac: [u8; 6],
    /// Name inside.
    pub inside: String,
    /// Hardware address inside.
    pub inside_mac: [u8; 6],
    /// How the host's end is connected, if at all.
    pub ends: Option<VethEnds>,
}

/// A link inside that lies over one of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpperPlan {
    /// The host's link.
    pub lower: String,
    /// Name inside.
    pub inside: String,
    /// What it is.
    pub kind: UpperKind,
}

/// What a link over another one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpperKind {
    /// With a hardware address of its own.
    Macvlan([u8; 6]),
    /// With its lower link's.
    Ipvlan,
    /// What has this tag.
    Vlan(u16),
}

impl UpperKind {
    fn word(self) -> &'static str {
        match self {
            UpperKind::Macvlan(_) => "macvlan",
            UpperKind::Ipvlan => "ipvlan",
            UpperKind::Vlan(_) => "vlan",
        }
    }
}

/// All links of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wiring {
    /// The main cable.
    pub cable: Option<CablePlan>,
    /// The bridge its host end joins.
    pub bridge: Option<String>,
    /// That bridge is this zone's: made on demand.
    pub zone: Option<String>,
    /// The host's end is set up: a bridge port, or the machine gets its address from us.
    pub up: bool,
    /// Further cables.
    pub extra: Vec<CablePlan>,
    /// Macvlans, ipvlans and VLANs.
    pub upper: Vec<UpperPlan>,
    /// Interfaces that are moved in.
    pub interfaces: Vec<LinkPair>,
    /// They take their addresses along, and are set up.
    pub with_addresses: bool,
    /// What interfaces are made to be in the machine.
    pub inside: Vec<InsideLink>,
    /// What the host's ends of further cables are made to be.
    pub host: Vec<HostEnd>,
}

impl std::fmt::Display for Wiring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        if let Some(cable) = &self.cable {
            let to = self
                .bridge
                .as_ref()
                .map_or_else(String::new, |b| format!(" on bridge {b}{}", if self.zone.is_some() { " (made if missing)" } else { "" }));
            parts.push(format!("veth {} - {}{to}", cable.host, cable.inside));
        }
        parts.extend(self.extra.iter().map(|c| format!("veth {} - {}", c.host, c.inside)));
        parts.extend(self.upper.iter().map(|u| format!("{} {} on {}", u.kind.word(), u.inside, u.lower)));
        write!(f, "add {}", parts.join(", "))?;
        if parts.is_empty() {
            f.write_str("no link")?;
        }
        for pair in &self.interfaces {
            write!(f, ", move interface {} in as {}", pair.host, pair.inside)?;
        }
        Ok(())
    }
}

/// Shared with systemd-nspawn: who makes or removes a zone's bridge holds it.
const ZONE_LOCK: &str = "/run/systemd/nspawn-network-zone";
/// What the host's IPv6 addresses are called: a machine is had without.
const IPV6: &str = "IPv6 address";
/// How long a port is waited for that goes with its machine.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn is(e: &io::Error, code: Errno) -> bool {
    e.raw_os_error() == Some(code.raw_os_error())
}

/// An interface of the host that is in the machine.
#[derive(Debug)]
pub(super) struct Moved {
    host: String,
    inside: String,
    mac: Option<[u8; 6]>,
}

/// What has to be taken away when the machine has ended.
#[derive(Debug, Default)]
pub(super) struct Wires {
    netns: Option<OwnedFd>,
    moved: Vec<Moved>,
    /// The host's address in a zone: link, address.
    address: Option<(u32, Ipv4Addr)>,
    /// Why there is no IPv6 on the link.
    pub(super) without_ipv6: Option<String>,
    /// The zone, and our port of its bridge.
    zone: Option<(String, String)>,
    /// Host ends of cables that do not wait for the network to go: somebody may be in it.
    ends: Vec<String>,
    /// Those that ifup(8) has set up.
    pub(super) raised: Vec<String>,
}

/// What `hostel:MACHINE` says: the link is that machine's.
pub(super) fn alias(name: impl std::fmt::Display) -> String {
    format!("hostel:{name}")
}

/// Makes everything in `wiring` for the machine whose network namespace is `netns`.
pub(super) fn connect(wiring: &Wiring, addressing: Option<&Addressing>, claim: &mut Claim, netns: OwnedFd, wires: &mut Wires) -> Result<()> {
    let mut socket = route::open().map_err(|e| Error::new("open", "netlink", io_text(&e)))?;
    let alias = alias(claim.name());
    let lowers = wiring.upper.iter().map(|u| existing(&mut socket, &u.lower)).collect::<Result<Vec<_>>>()?;
    let moving = wiring.interfaces.iter().map(|i| existing(&mut socket, &i.host)).collect::<Result<Vec<_>>>()?;
    let ports = wiring.extra.iter().map(|c| port(&mut socket, c)).collect::<Result<Vec<_>>>()?;
    record(wiring, addressing, claim, &moving)?;
    // Held until the port is in the bridge: an empty one may be removed by who ends just now.
    let _lock = wiring.zone.is_some().then(zone_lock).transpose()?;
    let bridge = bridge(wiring, &mut socket)?;
    wires.zone = wiring.zone.clone().zip(wiring.cable.as_ref().map(|c| c.host.clone()));
    let mut requests: Vec<(Request, String)> =
        cables(wiring, bridge, &ports).map(|(cable, up, port)| (veth(cable, netns.as_fd(), up, port), object_of(cable))).collect();
    for (plan, lower) in wiring.upper.iter().zip(&lowers) {
        let request = match plan.kind {
            UpperKind::Macvlan(mac) => route::add_macvlan(&plan.inside, Some(mac), lower.index, netns.as_fd()),
            UpperKind::Ipvlan => route::add_ipvlan(&plan.inside, lower.index, netns.as_fd()),
            UpperKind::Vlan(id) => route::add_vlan(&plan.inside, lower.index, id, Some(netns.as_fd())),
        };
        requests.push((request, format!("{} {} on {}", plan.kind.word(), plan.inside, plan.lower)));
    }
    for (pair, link) in wiring.interfaces.iter().zip(&moving) {
        requests.push((route::move_to(link.index, netns.as_fd(), &pair.inside), format!("interface {} into the machine", pair.host)));
    }
    // The kernel takes them from what it moves.
    let addresses = if wiring.with_addresses { route::addresses(&mut socket) } else { Ok(Vec::new()) };
    let addresses = addresses.map_err(|e| Error::new("read", "addresses of interfaces", io_text(&e)))?;
    let (requests, objects): (Vec<Request>, Vec<String>) = requests.into_iter().unzip();
    let results = socket.send(&requests).map_err(|e| Error::new("make", "links", io_text(&e)))?;
    // By its own name, whatever it was called on the command line; also one whose move failed, which may have gone half the
    // way: the kernel moves first and renames then.
    let moved = wiring.interfaces.iter().zip(&moving);
    wires.moved = moved.map(|(pair, link)| Moved { host: link.name.clone(), inside: pair.inside.clone(), mac: link.mac }).collect();
    if !wires.moved.is_empty() {
        wires.netns = Some(rustix::io::fcntl_dupfd_cloexec(&netns, 3).map_err(|e| Error::new("hold", "network namespace", e))?);
    }
    repair(wiring, bridge, &ports, &mut socket, netns.as_fd(), &alias, results.into_iter().zip(objects).collect())?;
    if wiring.with_addresses {
        for (pair, link) in wiring.interfaces.iter().zip(&moving) {
            let own = addresses.iter().filter(|a| a.index == link.index && a.global && a.permanent);
            netlink::inside(netns.as_fd(), || ends::restore(&pair.inside, &mut own.map(|a| (a.address, a.prefix))))
                .map_err(|e| Error::new("set up", format!("interface {} in the machine", pair.inside), io_text(&e)))?;
        }
    }
    wiring.inside.iter().try_for_each(|link| ends::dress(link, &mut socket, netns.as_fd()))?;
    wiring.host.iter().try_for_each(|end| ends::dress_host(end, &mut socket))?;
    wires.ends = wiring.extra.iter().filter(|c| c.ends.is_some()).map(|c| c.host.clone()).collect();
    // Not in the first send, where it would mark another's link of the same name as ours.
    let mut requests = marks(wiring, &alias);
    if let Some(addressing) = addressing {
        requests.extend(host_side(wiring, addressing, bridge, wires)?);
    }
    for (result, object) in socket
        .send(&requests.iter().map(|(r, _)| r.clone()).collect::<Vec<_>>())
        .map_err(|e| Error::new("set up", "links", io_text(&e)))?
        .into_iter()
        .zip(requests)
    {
        match result {
            Err(e) if object.1 == IPV6 && !is(&e, Errno::EXIST) => wires.without_ipv6 = Some(io_text(&e)),
            // The address may be there from a machine of this name that was killed, the zone's route from another machine.
            Err(e) if !is(&e, Errno::EXIST) => return Err(Error::new("set up", object.1.clone(), io_text(&e))),
            _ => {}
        }
    }
    make_vlans(wiring, &alias, &mut socket)
}

fn object_of(cable: &CablePlan) -> String {
    format!("veth {}", cable.host)
}

/// What marks the host's ends as ours: alias and long name.
fn marks(wiring: &Wiring, alias: &str) -> Vec<(Request, String)> {
    let mut out = Vec::new();
    for (cable, ..) in cables(wiring, None, &[]) {
        let link = LinkRef::Name(&cable.host);
        out.push((route::set_alias(link, alias), object_of(cable)));
        out.extend(cable.altname.iter().map(|name| (route::add_altname(link, name), object_of(cable))));
    }
    out
}

/// Every cable with: host end up, bridge it joins.
fn cables<'a>(wiring: &'a Wiring, bridge: Option<u32>, ports: &'a [Option<u32>]) -> impl Iterator<Item = (&'a CablePlan, bool, Option<u32>)> {
    let extra = wiring.extra.iter().enumerate().map(|(n, c)| (c, c.ends.is_some(), ports.get(n).copied().flatten()));
    wiring.cable.iter().map(move |c| (c, wiring.up, bridge)).chain(extra)
}

/// The bridge that a further cable goes to.
fn port(socket: &mut Socket, cable: &CablePlan) -> Result<Option<u32>> {
    let Some(name) = cable.ends.as_ref().and_then(|ends| ends.bridge.as_ref()) else { return Ok(None) };
    let link = existing(socket, name)?;
    if link.kind.as_deref() != Some("bridge") {
        return Err(Error::new("use", format!("interface {name} as a bridge"), "it is none"));
    }
    Ok(Some(link.index))
}

/// Makes the VLANs on the host's ends, up. A link of that name is somebody else's, for ours are gone with their cables: so each
/// is marked as ours only when it is made.
fn make_vlans(wiring: &Wiring, alias: &str, socket: &mut Socket) -> Result<()> {
    let mut send = |requests: &[Request]| socket.send(requests).map_err(|e| Error::new("set up", "links", io_text(&e)));
    let mut names = Vec::new();
    let mut adds = Vec::new();
    for (cable, ends) in wiring.extra.iter().filter_map(|c| Some((c, c.ends.as_ref().filter(|ends| !ends.vlans.is_empty())?))) {
        let lower = netlink::index_of(&cable.host).map_err(|e| Error::new("find", object_of(cable), io_text(&e)))?;
        for id in &ends.vlans {
            let name = format!("{}.{id}", cable.host);
            adds.push(route::add_vlan(&name, lower, *id, None));
            names.push(name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let failed = |verb, name: &str, why: &str| Error::new(verb, format!("VLAN {name}"), why);
    for (result, name) in send(&adds)?.into_iter().zip(&names) {
        result.map_err(|e| match e {
            _ if is(&e, Errno::EXIST) => {
                failed("make", name, "there is an interface of that name").hint("give the subhost another NAME, or remove that interface")
            }
            _ if is(&e, Errno::OPNOTSUPP) => failed("set up", name, &io_text(&e)).hint("this kernel has no VLANs (8021q)"),
            _ => failed("set up", name, &io_text(&e)),
        })?;
    }
    let marks: Vec<Request> = names.iter().map(|name| route::set_alias(LinkRef::Name(name), alias)).collect();
    for (result, name) in send(&marks)?.into_iter().zip(&names) {
        result.map_err(|e| failed("set up", name, &io_text(&e)))?;
    }
    Ok(())
}

fn veth(cable: &CablePlan, netns: BorrowedFd<'_>, up: bool, port_of: Option<u32>) -> Request {
    let host = VethEnd { name: &cable.host, mac: Some(cable.host_mac) };
    route::add_veth(host, VethEnd { name: &cable.inside, mac: Some(cable.inside_mac) }, netns, up, port_of)
}

/// A link of the host that has to be there.
pub(super) fn existing(socket: &mut Socket, name: &str) -> Result<Link> {
    match route::link(socket, name) {
        Ok(Some(link)) => Ok(link),
        Ok(None) => Err(Error::new("find", format!("interface {name}"), "there is none of this name").hint("`ip link` lists them")),
        Err(e) => Err(Error::new("find", format!("interface {name}"), io_text(&e))),
    }
}

fn record(wiring: &Wiring, addressing: Option<&Addressing>, claim: &mut Claim, moving: &[Link]) -> Result<()> {
    let alias = alias(claim.name());
    let mut records: Vec<Undo> = Vec::new();
    records.extend(wiring.zone.iter().map(|zone| Undo::Zone { zone: zone.clone() }));
    if let (Some(zone), Some(addressing)) = (&wiring.zone, addressing) {
        records.push(Undo::Address { link: format!("vz-{zone}"), address: addressing.router });
    }
    records.extend(cables(wiring, None, &[]).map(|(c, ..)| Undo::Link { name: c.host.clone(), alias: alias.clone() }));
    for (pair, link) in wiring.interfaces.iter().zip(moving) {
        records.push(Undo::Interface { host: link.name.clone(), inside: pair.inside.clone(), mac: link.mac });
    }
    claim.journal_all(&records).map_err(Error::from)
}

fn zone_lock() -> Result<OwnedFd> {
    let failed = |e: Errno| Error::new("lock", ZONE_LOCK, e);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(ZONE_LOCK, flags, Mode::from_raw_mode(0o600)) {
        Err(Errno::NOENT) => {
            let _ = std::fs::create_dir_all("/run/systemd");
            rustix::fs::open(ZONE_LOCK, flags, Mode::from_raw_mode(0o600))
        }
        other => other,
    };
    let lock = opened.map_err(failed)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(failed)?;
    Ok(lock)
}

/// A bridge's hardware address would be the lowest of its ports' and change as they come and go; a zone keeps its own.
fn zone_mac(name: &str) -> [u8; 6] {
    let hash = super::pool::hash("zone address", name).to_le_bytes();
    [hash[0] & 0xfe | 0x02, hash[1], hash[2], hash[3], hash[4], hash[5]]
}

/// Finds the bridge of the main cable, and makes it if it is a zone's.
fn bridge(wiring: &Wiring, socket: &mut Socket) -> Result<Option<u32>> {
    let Some(name) = &wiring.bridge else { return Ok(None) };
    if wiring.zone.is_some() {
        match socket.ask(route::add_bridge(name, zone_mac(name))) {
            Err(e) if !is(&e, Errno::EXIST) => return Err(Error::new("make", format!("bridge {name}"), io_text(&e))),
            _ => {}
        }
    }
    let link = existing(socket, name)?;
    if link.kind.as_deref() != Some("bridge") {
        return Err(Error::new("use", format!("interface {name} as a bridge"), "it is none"));
    }
    Ok(Some(link.index))
}

/// Looks through the results. A cable whose name is taken by one of a former life of this machine, which the kernel is
/// still taking away, is made again; any other failure is told.
fn repair(
    wiring: &Wiring,
    bridge: Option<u32>,
    ports: &[Option<u32>],
    socket: &mut Socket,
    netns: BorrowedFd<'_>,
    alias: &str,
    results: Vec<(io::Result<()>, String)>,
) -> Result<()> {
    let mut stale: Vec<String> = Vec::new();
    for (result, object) in results {
        let Err(e) = result else { continue };
        if is(&e, Errno::EXIST) && object.starts_with("veth ") {
            stale.push(object);
            continue;
        }
        let error = Error::new(if object.starts_with("interface ") { "move" } else { "add" }, object.clone(), io_text(&e));
        return Err(if is(&e, Errno::OPNOTSUPP) || object.starts_with("ipvlan") {
            error.hint("the kernel may lack this kind of link; `hostel doctor` says which it has")
        } else {
            error
        });
    }
    cables(wiring, bridge, ports)
        .filter(|(cable, ..)| stale.contains(&object_of(cable)))
        .try_for_each(|(cable, up, port)| again(socket, cable, alias, &veth(cable, netns, up, port)))
}

fn again(socket: &mut Socket, cable: &CablePlan, alias: &str, request: &Request) -> Result<()> {
    let name = &cable.host;
    let failed = |e: io::Error| Error::new("add", format!("veth {name}"), io_text(&e));
    let exists = || io::Error::from(Errno::EXIST);
    for _ in 0..20 {
        match route::link(socket, name).map_err(failed)? {
            Some(link) if link.alias.as_deref() != Some(alias) => {
                return Err(failed(exists()).hint(format!("an interface of that name exists and is not this machine's: ip link delete {name}")));
            }
            Some(link) => match socket.ask(route::delete(LinkRef::Index(link.index))) {
                Err(e) if !is(&e, Errno::NODEV) => return Err(failed(e)),
                _ => {}
            },
            None => {}
        }
        match socket.ask(request.clone()) {
            Err(e) if is(&e, Errno::EXIST) => {}
            other => return other.map_err(failed),
        }
    }
    Err(Error::new("add", format!("veth {name}"), "an old link of that name does not go away"))
}

/// What gives the host its address towards the machine.
fn host_side(wiring: &Wiring, addressing: &Addressing, bridge: Option<u32>, wires: &mut Wires) -> Result<Vec<(Request, String)>> {
    let Some(cable) = &wiring.cable else { return Ok(Vec::new()) };
    let object = format!("address {}", addressing.router);
    let Some(index) = bridge else {
        let index = netlink::index_of(&cable.host).map_err(|e| Error::new("find", object_of(cable), io_text(&e)))?;
        let six = addressing.six.iter().flat_map(|six| six.host_side(index)).map(|r| (r, IPV6.to_owned()));
        return Ok([(route::add_address(index, addressing.router.into(), addressing.prefix), object)].into_iter().chain(six).collect());
    };
    // A single address, so that it is nobody's secondary one; the network's route stays while the bridge does.
    wires.address = Some((index, addressing.router));
    let block = addressing.block();
    let mut out = vec![
        (route::add_address(index, addressing.router.into(), 32), object.clone()),
        (route::add_route(block.network.into(), block.prefix, index, None), object),
    ];
    // The same for every machine of the zone: it stays while the bridge does.
    out.extend(addressing.six.iter().flat_map(|six| six.host_side(index)).map(|r| (r, IPV6.to_owned())));
    Ok(out)
}

impl Wires {
    /// Gives the host its interfaces back.
    pub(super) fn bring_back(&mut self) -> Vec<Error> {
        let Some(netns) = self.netns.take() else { return Vec::new() };
        let back = |moved: Moved| {
            let failed = |e: io::Error| Error::new("move", format!("interface {} back", moved.host), io_text(&e));
            move_back(netns.as_fd(), &moved).map_err(failed).err()
        };
        self.moved.drain(..).filter_map(back).collect()
    }

    /// Takes back what is the host's: the machine does not start again.
    pub(super) fn disconnect(&mut self) -> Vec<Error> {
        for name in self.raised.drain(..) {
            super::ifupdown::lower(&name);
        }
        for name in self.ends.drain(..) {
            // ENODEV: gone with the network.
            let _ = route::open().and_then(|mut s| s.ask(route::delete(LinkRef::Name(&name))));
        }
        if let Some((index, address)) = self.address.take() {
            // ENODEV, EADDRNOTAVAIL: gone with the bridge.
            let _ = route::open().and_then(|mut s| s.ask(route::delete_address(index, address.into(), 32)));
        }
        self.bring_back()
    }

    /// The zone that may be empty now, and the port that is about to go.
    pub(super) fn zone(&mut self) -> Option<(String, String)> {
        self.zone.take()
    }
}

fn move_back(netns: BorrowedFd<'_>, moved: &Moved) -> io::Result<()> {
    let own = std::fs::File::open("/proc/thread-self/ns/net")?;
    let found = netlink::inside(netns, || {
        let mut socket = route::open()?;
        let links = route::links(&mut socket)?;
        // The machine may have renamed it, or given it another address; hardly both.
        let named = |name: &str| links.iter().find(|l| !l.loopback && l.name == name);
        let link = named(&moved.inside).or_else(|| named(&moved.host)).or_else(|| links.iter().find(|l| moved.mac.is_some() && l.mac == moved.mac));
        link.map(|link| socket.ask(route::move_to(link.index, own.as_fd(), &moved.host))).transpose()
    })?;
    match found {
        Some(()) => Ok(()),
        // It never left.
        None if route::link(&mut route::open()?, &moved.host)?.is_some() => Ok(()),
        None => Err(Errno::NODEV.into()),
    }
}

/// What the kernel takes its time over: removing a zone's bridge once its last port is gone (some 50 ms), closing a netfilter
/// socket. A child waits for it.
pub(super) fn later(zone: Option<(String, String)>, socket: Option<Socket>, root: &Path) {
    match clone::clone3(&CloneArgs::default()) {
        Ok(Fork::Child) => {
            let _ = hostel_sys::proc::set_name(c"hostel-after");
            let _ = rustix::process::setsid();
            // Nobody's pipe or lock is kept open by this.
            let keep: Vec<BorrowedFd<'_>> = socket.iter().map(AsFd::as_fd).collect();
            let _ = clone::close_from_but(0, &keep);
            if let Some((zone, port)) = zone {
                let _ = remove_zone(&zone, root, Some(&port));
            }
            clone::exit_now(0)
        }
        // Without a child the bridge stays for the next machine of the zone.
        Ok(Fork::Parent { .. }) | Err(_) => {}
    }
}

/// Removes a zone's bridge if nothing is in it but this port, which is about to go.
pub(crate) fn remove_zone(zone: &str, root: &Path, going: Option<&str>) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while going.is_some_and(|port| netlink::index_of(port).is_ok()) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _lock = zone_lock().map_err(|e| io::Error::other(e.to_string()))?;
    let mut socket = route::open()?;
    let found = route::link(&mut socket, &format!("vz-{zone}"))?;
    let Some(bridge) = found.filter(|l| l.kind.as_deref() == Some("bridge")) else { return Ok(()) };
    if route::links(&mut socket)?.iter().any(|l| l.master == Some(bridge.index)) {
        return Ok(());
    }
    lease::release_zone(root, zone);
    match socket.ask(route::delete(LinkRef::Index(bridge.index))) {
        Err(e) if !is(&e, Errno::NODEV) => Err(e),
        _ => Ok(()),
    }
}

/// After a killed supervisor: an interface that the kernel gave back under its name inside gets its own.
pub(crate) fn rename_back(host: &str, inside: &str, mac: Option<[u8; 6]>) -> io::Result<()> {
    let mut socket = route::open()?;
    if host == inside || route::link(&mut socket, host)?.is_some() {
        return Ok(());
    }
    // What has the name and another address is not the one we moved.
    let Some(link) = route::link(&mut socket, inside)?.filter(|l| mac.is_some() && l.mac == mac) else { return Ok(()) };
    socket.ask(route::rename(link.index, host))
}

/// After a killed supervisor: the host's address in a zone.
pub(crate) fn remove_address(link: &str, address: Ipv4Addr) -> io::Result<()> {
    let Ok(index) = netlink::index_of(link) else { return Ok(()) };
    match route::open()?.ask(route::delete_address(index, address.into(), 32)) {
        Err(e) if !is(&e, Errno::ADDRNOTAVAIL) && !is(&e, Errno::NODEV) => Err(e),
        _ => Ok(()),
    }
}

/// After a killed supervisor: a link, if it has this alias.
pub(crate) fn delete_link(name: &str, alias: &str) -> io::Result<()> {
    let mut socket = route::open()?;
    let Some(link) = route::link(&mut socket, name)?.filter(|l| l.alias.as_deref() == Some(alias)) else { return Ok(()) };
    match socket.ask(route::delete(LinkRef::Index(link.index))) {
        Err(e) if !is(&e, Errno::NODEV) => Err(e),
        _ => Ok(()),
    }
}

/// The file that names a reservation; unused where there is none.
pub(super) fn forget_file(file: Option<PathBuf>) {
    if let Some(file) = file {
        // What cannot be removed is in the journal.
        let _ = std::fs::remove_file(file);
    }
}
