//! The name server of one machine: names of machines from the state directory, the rest from the host's resolver.
//!
//! It hears one address, the machine's router, and forgets a question after five seconds. At most 64 are open at a
//! time; the answer has to come from the server that was asked, with a random number, and to the same question.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use hostel_process::event::{Interest, Poller};
use hostel_spec::MachineName;
use hostel_sys::socket;

use super::dns::{self, Question, Subject};
use super::pool::Addressing;
use super::service::Token;
use crate::enter::Leader;
use crate::inside::addresses;
use crate::registry::{Machine, ProcessId, Registry};

const MAX_PENDING: usize = 64;
const PENDING_TIME: Duration = Duration::from_secs(5);
/// How long a listing of all machines is believed.
const LISTING_TIME: Duration = Duration::from_millis(500);
const RESOLV_CONF: &str = "/etc/resolv.conf";

struct Pending {
    id: u16,
    server: Ipv4Addr,
    client: SocketAddr,
    client_id: u16,
    question: Vec<u8>,
    since: Instant,
}

/// The server.
pub(super) struct Names {
    socket: UdpSocket,
    upstream: Option<UdpSocket>,
    servers: Vec<Ipv4Addr>,
    servers_of: Option<SystemTime>,
    pending: Vec<Pending>,
    own: Addressing,
    root: PathBuf,
    listing: Option<(Instant, HashMap<String, Peer>)>,
}

/// A machine that this one may know.
#[derive(Debug, Clone, Copy)]
struct Peer {
    address: Ipv4Addr,
    leader: Option<ProcessId>,
}

impl Names {
    pub(super) fn open(own: &Addressing, root: &Path) -> std::io::Result<Self> {
        let socket = socket::udp(SocketAddrV4::new(own.router, 53).into())?;
        Ok(Self {
            socket,
            upstream: None,
            servers: Vec::new(),
            servers_of: None,
            pending: Vec::new(),
            own: own.clone(),
            root: root.to_owned(),
            listing: None,
        })
    }

    pub(super) fn declare(&self, poller: &mut Poller<Token>) -> rustix::io::Result<()> {
        poller.want(Token::Names, &self.socket, Interest::READ)?;
        match &self.upstream {
            Some(socket) => poller.want(Token::Resolver, socket, Interest::READ),
            None => Ok(()),
        }
    }

    /// A query of the machine.
    pub(super) fn ask(&mut self) {
        let mut buffer = [0u8; dns::MAX_MESSAGE];
        let Ok((length, client)) = self.socket.recv_from(&mut buffer) else { return };
        let message = &mut buffer[..length];
        // Others of the zone have their own.
        if client.ip() != std::net::IpAddr::V4(self.own.address) && self.own.zone.is_some() {
            return;
        }
        let Some(question) = Question::parse(message).filter(|q| !q.is_answer) else { return };
        let answer = match question.subject() {
            Subject::Machine(name) => match self.find(&name) {
                Some(peer) if question.wants_ipv6() => question.found_ipv6(self.ipv6_of(&peer)),
                Some(peer) => question.found(peer.address),
                None => question.unknown(),
            },
            Subject::Address(address) if self.own.block().has(address) => match self.name_of(address) {
                Some(name) => question.named(&name),
                None => question.unknown(),
            },
            Subject::Address(_) | Subject::Elsewhere => {
                if self.forward(message, client) {
                    return;
                }
                match Question::parse(message) {
                    Some(question) => question.failed(),
                    None => return,
                }
            }
        };
        // A lost answer is asked for again.
        let _ = self.socket.send_to(&answer, client);
    }

    fn find(&mut self, name: &str) -> Option<Peer> {
        if matches!(name, "gateway" | "_gateway") {
            return Some(Peer { address: self.own.router, leader: None });
        }
        let registry = Registry::open(&self.root).ok()?;
        if let Ok(name) = MachineName::new(name)
            && let Ok(machine) = registry.load(&name)
            && let Some(peer) = self.peer(&machine)
        {
            return Some(peer);
        }
        // Machine names know case, host names do not.
        self.listing(&registry).get(name).copied()
    }

    /// The IPv6 address that a machine has at this moment: it may have made one of the prefix, or not.
    fn ipv6_of(&self, peer: &Peer) -> Option<Ipv6Addr> {
        let six = self.own.six?;
        let Some(leader) = peer.leader else { return Some(six.host()) };
        let leader = Leader::from_identity(leader).ok()?;
        addresses::of(&leader).ok()?.into_iter().find_map(|a| match a {
            IpAddr::V6(address) if six.has(address) => Some(address),
            _ => None,
        })
    }

    fn name_of(&mut self, address: Ipv4Addr) -> Option<String> {
        let registry = Registry::open(&self.root).ok()?;
        self.listing(&registry).iter().find(|(_, p)| p.address == address).map(|(name, _)| name.clone())
    }

    fn listing(&mut self, registry: &Registry) -> &HashMap<String, Peer> {
        if self.listing.as_ref().is_none_or(|(at, _)| at.elapsed() > LISTING_TIME) {
            let machines = registry.list().unwrap_or_default();
            let peers = machines.iter().filter_map(|m| Some((m.name.as_str().to_ascii_lowercase(), self.peer(m)?))).collect();
            self.listing = Some((Instant::now(), peers));
        }
        &self.listing.get_or_insert_with(|| (Instant::now(), HashMap::new())).1
    }

    /// A machine that this one may know: itself, and those of its zone.
    fn peer(&self, machine: &Machine) -> Option<Peer> {
        let state = machine.known().filter(|_| machine.is_alive())?;
        let network = state.network.as_ref()?;
        let address = network.address?;
        let near = address == self.own.address || (network.zone.is_some() && network.zone == self.own.zone);
        near.then_some(Peer { address, leader: state.leader })
    }

    /// Passes a query on; false when there is nobody to ask.
    fn forward(&mut self, message: &mut [u8], client: SocketAddr) -> bool {
        self.read_servers();
        let now = Instant::now();
        self.pending.retain(|p| p.since + PENDING_TIME > now);
        let Some(question) = Question::parse(message) else { return true };
        // Who asks again is heard by the next server.
        let again = self.pending.iter().filter(|p| p.client == client && p.client_id == question.id).count();
        let count = self.servers.len();
        if count == 0 {
            return false;
        }
        if self.pending.len() >= MAX_PENDING {
            return true;
        }
        let server = self.servers[again % count];
        let Ok(random) = hostel_sys::tree::random_u64() else { return false };
        if self.upstream.is_none() {
            self.upstream = socket::udp((Ipv4Addr::UNSPECIFIED, 0).into()).ok();
        }
        let Some(upstream) = &self.upstream else { return false };
        let pending = Pending { id: random as u16, server, client, client_id: question.id, question: message.to_vec(), since: now };
        dns::renumber(message, pending.id);
        let sent = upstream.send_to(message, (server, 53)).is_ok();
        dns::renumber(message, pending.client_id);
        if sent {
            self.pending.push(pending);
        }
        sent
    }

    /// An answer of the host's resolver.
    pub(super) fn answered(&mut self) {
        let mut buffer = [0u8; dns::MAX_MESSAGE];
        let Some(upstream) = &self.upstream else { return };
        let Ok((length, from)) = upstream.recv_from(&mut buffer) else { return };
        let message = &mut buffer[..length];
        let Some(answer) = Question::parse(message).filter(|q| q.is_answer) else { return };
        let matches = |p: &Pending| {
            let asked = SocketAddr::from((p.server, 53));
            p.id == answer.id && from == asked && Question::parse(&p.question).is_some_and(|q| q.same_as(&answer))
        };
        let Some(at) = self.pending.iter().position(matches) else { return };
        let pending = self.pending.swap_remove(at);
        dns::renumber(message, pending.client_id);
        let _ = self.socket.send_to(message, pending.client);
    }

    /// Reads the host's resolver file if it has changed.
    fn read_servers(&mut self) {
        let changed = std::fs::metadata(RESOLV_CONF).and_then(|m| m.modified()).ok();
        if changed.is_none() || changed != self.servers_of {
            self.servers = dns::name_servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default());
            self.servers_of = changed;
        }
    }
}

/// The resolver that TCP queries go to.
pub(super) fn resolver() -> Option<Ipv4Addr> {
    dns::name_servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()).first().copied()
}
