//! What the supervisor does for its machine's network while it runs: DHCP, names, forwarded ports. A loop in the loop: all
//! its descriptors are behind one, which the machine's event loop watches.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use hostel_process::event::{Interest, Poller};
use hostel_spec::{MachineName, PortForward, Transport};
use hostel_sys::netlink::route::{self, Address, AddressChange};
use hostel_sys::netlink::{self, Socket, messages};
use hostel_sys::socket;

use super::carrier::Carrier;
use super::dhcp::{self, Offer, Query};
use super::dns::DOMAIN;
use super::firewall::{Firewall, Translation};
use super::ipv6::{self, Advertiser};
use super::names::{self, Names};
use super::pool::Addressing;

/// How long an address is given for. The machine keeps it as long as it runs; it asks again every half hour.
const LEASE: Duration = Duration::from_secs(3600);
/// How long an answer to a client with an address is held back: busybox's asks from a socket of its own, which takes the
/// answer away when that is there before the socket is closed. We are woken before it gets to that.
const PAUSE: Duration = Duration::from_millis(2);

/// A descriptor of the inner loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    DhcpBroadcast,
    Dhcp,
    Router,
    Names,
    Resolver,
    Addresses,
    Tcp(usize),
    Client(usize),
    Machine(usize),
    Udp(usize),
    UdpAnswer(usize),
}

/// The DHCP server of one machine.
struct Dhcp {
    broadcast: UdpSocket,
    socket: UdpSocket,
    offer: Offer,
    /// In a zone many hear the same broadcast: this one's is answered.
    only: Option<[u8; 6]>,
    held: Option<(Instant, Vec<u8>)>,
}

impl Dhcp {
    fn open(link: &str, addressing: &Addressing, hostname: &str, mac: [u8; 6]) -> io::Result<Self> {
        Ok(Self {
            broadcast: socket::udp_on(link, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67), true)?,
            socket: socket::udp_on(link, SocketAddrV4::new(addressing.router, 67), false)?,
            offer: Offer {
                address: addressing.address,
                prefix: addressing.prefix,
                router: addressing.router,
                hostname: hostname.to_owned(),
                domain: DOMAIN.to_owned(),
                lease: LEASE,
            },
            only: addressing.zone.is_some().then_some(mac),
            held: None,
        })
    }

    fn serve(&mut self, broadcast: bool) {
        let mut buffer = [0u8; dhcp::MAX_REQUEST];
        let Ok((length, _)) = (if broadcast { &self.broadcast } else { &self.socket }).recv_from(&mut buffer) else { return };
        let Some(query) = Query::parse(&buffer[..length]) else { return };
        if self.only.is_some_and(|mac| mac != query.mac) {
            return;
        }
        let Some(reply) = self.offer.answer(&query) else { return };
        // An address of the client's own telling is used only if it is the one it has from us.
        if reply.to == Some(self.offer.address) {
            self.held = Some((Instant::now() + PAUSE, reply.bytes));
        } else {
            let _ = self.socket.send_to(&reply.bytes, (Ipv4Addr::BROADCAST, 68));
        }
    }

    fn send_held(&mut self, now: Instant) {
        if let Some((_, bytes)) = self.held.take_if(|(at, _)| *at <= now) {
            let _ = self.socket.send_to(&bytes, (self.offer.address, 68));
        }
    }
}

/// Watches which address the machine gets from somebody else, to lead its ports there.
struct Follow {
    monitor: Socket,
    current: Option<Address>,
}

impl Follow {
    fn open(netns: BorrowedFd<'_>) -> io::Result<Self> {
        netlink::inside(netns, || {
            let monitor = Socket::monitor_addresses()?;
            let current = route::addresses(&mut route::open()?)?.into_iter().find(useful);
            Ok(Self { monitor, current })
        })
    }

    /// Whether the address is another one now.
    fn take(&mut self) -> bool {
        let before = self.current;
        let mut buffer = [0u8; 8192];
        while let Ok(length) = self.monitor.receive(&mut buffer) {
            for change in messages(&buffer[..length]).filter_map(|m| route::address_change(&m)) {
                match change {
                    AddressChange::Came(address) if self.current.is_none() && useful(&address) => self.current = Some(address),
                    AddressChange::Went(address) if self.current == Some(address) => self.current = None,
                    _ => {}
                }
            }
        }
        self.current != before && self.current.is_some()
    }
}

fn useful(address: &Address) -> bool {
    address.global && address.address.is_ipv4() && !address.address.is_loopback()
}

/// What there is to serve.
pub(super) struct Needs<'a> {
    pub(super) name: &'a MachineName,
    pub(super) hostname: &'a str,
    /// The interface on the host with the router's address.
    pub(super) link: &'a str,
    pub(super) addressing: Option<&'a Addressing>,
    pub(super) mac: [u8; 6],
    /// It asks by DHCP.
    pub(super) dhcp: bool,
    pub(super) ports: &'a [PortForward],
    pub(super) netns: BorrowedFd<'a>,
    pub(super) root: &'a Path,
}

/// The services of one life of a machine.
pub struct Services {
    poller: Poller<Token>,
    dhcp: Option<Dhcp>,
    router: Option<Advertiser>,
    names: Option<Names>,
    carrier: Carrier,
    follow: Option<Follow>,
    ports: Vec<PortForward>,
    name: MachineName,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AsFd for Services {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl Services {
    /// Opens what can be opened; the second part says what could not be.
    pub(super) fn open(needs: &Needs<'_>) -> io::Result<(Self, Vec<String>)> {
        let mut services = Self {
            poller: Poller::new()?,
            dhcp: None,
            router: None,
            names: None,
            carrier: Carrier::default(),
            follow: None,
            ports: needs.ports.to_vec(),
            name: needs.name.clone(),
        };
        let mut notices = Vec::new();
        let mut tell = |what: String, e: &io::Error| notices.push(format!("{what}: {}", crate::error::io_text(e)));
        if let Some(addressing) = needs.addressing {
            match needs.dhcp.then(|| Dhcp::open(needs.link, addressing, needs.hostname, needs.mac)).transpose() {
                Ok(dhcp) => services.dhcp = dhcp,
                Err(e) => tell("the machine is not served by DHCP".into(), &e),
            }
            let only = addressing.zone.is_some().then_some(needs.mac);
            match addressing.six.filter(|_| needs.dhcp).map(|six| Advertiser::open(needs.link, six, only)).transpose() {
                Ok(router) => services.router = router,
                Err(e) => tell("the machine is told of no IPv6 network".into(), &e),
            }
            match Names::open(addressing, needs.root) {
                Ok(names) => services.names = Some(names),
                Err(e) => tell(format!("the machine's name server {} is not ours", addressing.router), &e),
            }
            if let Some(resolver) = names::resolver() {
                // Long answers come by TCP; without it the machine has the short ones.
                let _ = services.carrier.carry_queries(SocketAddrV4::new(addressing.router, 53), SocketAddrV4::new(resolver, 53));
            }
        } else if !needs.ports.is_empty() {
            services.follow = Some(Follow::open(needs.netns)?);
        }
        let address = needs.addressing.map(|a| a.address).or_else(|| services.followed());
        let udp = needs.ports.iter().any(|p| p.transport == Transport::Udp);
        let also = if udp { ipv6::of_host() } else { Vec::new() };
        for port in needs.ports {
            let target = address.map(|a| SocketAddrV4::new(a, port.inside));
            let carried = match port.transport {
                Transport::Tcp => services.carrier.carry_tcp(port.host, target),
                Transport::Udp => services.carrier.carry_udp(port.host, target, &also),
            };
            if let Err(e) = carried {
                tell(format!("port {}:{} of localhost does not lead to the machine", port.transport, port.host), &e);
            }
        }
        services.declare()?;
        Ok((services, notices))
    }

    /// The address the machine has from somebody else.
    pub(super) fn followed(&self) -> Option<Ipv4Addr> {
        match self.follow.as_ref()?.current?.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    fn declare(&mut self) -> io::Result<()> {
        if let Some(dhcp) = &self.dhcp {
            self.poller.want(Token::DhcpBroadcast, &dhcp.broadcast, Interest::READ)?;
            self.poller.want(Token::Dhcp, &dhcp.socket, Interest::READ)?;
        }
        if let Some(router) = &self.router {
            self.poller.want(Token::Router, &router.socket, Interest::READ)?;
        }
        if let Some(names) = &self.names {
            names.declare(&mut self.poller)?;
        }
        if let Some(follow) = &self.follow {
            self.poller.want(Token::Addresses, &follow.monitor, Interest::READ)?;
        }
        Ok(self.carrier.declare(&mut self.poller)?)
    }

    /// When [`Services::turn`] wants to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let held = self.dhcp.as_ref().and_then(|d| d.held.as_ref()).map(|(at, _)| *at);
        self.carrier.deadline().into_iter().chain(held).chain(self.router.as_ref().and_then(Advertiser::deadline)).min()
    }

    /// Does what is ready, without waiting. Nothing that goes wrong in here ends a machine.
    pub(super) fn turn(&mut self, firewall: &mut Option<Firewall>) {
        let now = Instant::now();
        self.carrier.expire(&mut self.poller, now);
        if let Some(dhcp) = &mut self.dhcp {
            dhcp.send_held(now);
        }
        if let Some(router) = &mut self.router {
            router.tell_again(now);
        }
        let Ok(ready) = self.poller.wait(Some(now)) else { return };
        for ready in ready {
            match ready.token {
                Token::DhcpBroadcast | Token::Dhcp => {
                    if let Some(dhcp) = &mut self.dhcp {
                        dhcp.serve(ready.token == Token::DhcpBroadcast);
                    }
                }
                Token::Router => {
                    if let Some(router) = &mut self.router {
                        router.serve(now);
                    }
                }
                Token::Names => {
                    if let Some(names) = &mut self.names {
                        names.ask();
                    }
                }
                Token::Resolver => {
                    if let Some(names) = &mut self.names {
                        names.answered();
                    }
                }
                Token::Addresses => {
                    if self.follow.as_mut().is_some_and(Follow::take) {
                        self.lead(firewall);
                    }
                }
                _ => self.carrier.handle(ready, &mut self.poller),
            }
        }
        let _ = self.declare();
    }

    /// Leads the ports to where the machine is now.
    pub(super) fn lead(&mut self, firewall: &mut Option<Firewall>) {
        let Some(address) = self.followed() else { return };
        let ports = &self.ports;
        self.carrier.aim(address, |tcp, port| {
            let of = if tcp { Transport::Tcp } else { Transport::Udp };
            ports.iter().find(|p| p.transport == of && p.host == port).map(|p| p.inside)
        });
        if let Some(firewall) = firewall {
            // The old rules stay when the new ones cannot be made.
            let _ = firewall.translate(&Translation { name: &self.name, address, block: None, ports });
        }
    }
}
