//! Carries connections from this host's localhost to a machine, and TCP queries to the host's resolver.
//!
//! Translation in the kernel would need `route_localnet` on the machine's interface, with which the machine could reach
//! what listens on the host's 127.0.0.1 (CVE-2020-8558) as soon as one rule is missing. Instead the supervisor listens:
//! the port shows in ss(8), nobody else can have it by mistake, and both IPv4 and IPv6 work. TCP is relayed byte by byte, with
//! half-closed connections kept; UDP by a socket per client. All of it is bounded.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hostel_process::event::{Interest, Poller, Ready};
use hostel_sys::socket;

use super::service::Token;

/// Connections of one supervisor at a time.
const MAX_CONNECTIONS: usize = 256;
/// UDP clients of one port at a time.
const MAX_CLIENTS: usize = 64;
/// How long a silent UDP client is remembered.
const CLIENT_TIME: Duration = Duration::from_secs(60);
const BUFFER: usize = 32 << 10;

/// Half of a connection: what was read from one side and not yet written to the other.
#[derive(Debug, Default)]
struct Half {
    bytes: Vec<u8>,
    start: usize,
    ended: bool,
    shut: bool,
}

impl Half {
    fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Reads once; false when the connection is broken.
    fn fill(&mut self, from: &mut TcpStream) -> bool {
        self.bytes.resize(BUFFER, 0);
        self.start = 0;
        let (n, whole) = match from.read(&mut self.bytes) {
            Ok(0) => {
                self.ended = true;
                (0, true)
            }
            Ok(n) => (n, true),
            Err(e) => (0, matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)),
        };
        self.bytes.truncate(n);
        whole
    }

    /// Writes what it can; false when the connection is broken.
    fn flush(&mut self, to: &mut TcpStream) -> bool {
        while !self.is_empty() {
            match to.write(&self.bytes[self.start..]) {
                Ok(0) => return false,
                Ok(n) => self.start += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
            }
        }
        if self.ended && !self.shut {
            self.shut = true;
            let _ = to.shutdown(Shutdown::Write);
        }
        true
    }
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    machine: TcpStream,
    connected: bool,
    up: Half,
    down: Half,
    /// It ends when nothing has moved for so long.
    patience: Option<Duration>,
    last: Instant,
}

impl Connection {
    /// Moves what can be moved; false when it is over.
    fn turn(&mut self, client_readable: bool, machine_ready: Ready<Token>, now: Instant) -> bool {
        self.last = now;
        if machine_ready.write && !self.connected {
            if !matches!(self.machine.take_error(), Ok(None)) {
                return false;
            }
            self.connected = true;
        }
        if client_readable && self.up.is_empty() && !self.up.ended && !self.up.fill(&mut self.client) {
            return false;
        }
        if machine_ready.read && self.connected && self.down.is_empty() && !self.down.ended && !self.down.fill(&mut self.machine) {
            return false;
        }
        let whole = (!self.connected || self.up.flush(&mut self.machine)) && self.down.flush(&mut self.client);
        whole && !(self.up.shut && self.down.shut)
    }

    fn interests(&self) -> (Interest, Interest) {
        let reads = |half: &Half| half.is_empty() && !half.ended;
        let client = Interest { read: reads(&self.up), write: !self.down.is_empty() };
        let machine = Interest { read: self.connected && reads(&self.down), write: !self.connected || !self.up.is_empty() };
        (client, machine)
    }
}

/// A port that is listened on, and where it leads.
#[derive(Debug)]
struct TcpPort {
    listener: TcpListener,
    target: Option<SocketAddrV4>,
    patience: Option<Duration>,
}

#[derive(Debug)]
struct UdpClient {
    /// Which port, and which of its sockets it came by.
    port: usize,
    address: SocketAddr,
    machine: UdpSocket,
    last: Instant,
}

#[derive(Debug)]
struct UdpPort {
    socket: UdpSocket,
    target: Option<SocketAddrV4>,
}

/// Everything that is carried.
#[derive(Debug, Default)]
pub(super) struct Carrier {
    tcp: Vec<TcpPort>,
    udp: Vec<UdpPort>,
    connections: Vec<Option<Connection>>,
    clients: Vec<Option<UdpClient>>,
}

/// Binds for IPv6 and IPv4, or for IPv4 where that is all there is.
fn both<T>(port: u16, v4: Ipv4Addr, make: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match make((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(e) if e.kind() != io::ErrorKind::AddrInUse => make((v4, port).into()),
        other => other,
    }
}

impl Carrier {
    /// Listens on `port` of every address of this host. What came from elsewhere was translated before it got here.
    pub(super) fn carry_tcp(&mut self, port: u16, target: Option<SocketAddrV4>) -> io::Result<()> {
        let listener = both(port, Ipv4Addr::UNSPECIFIED, TcpListener::bind)?;
        self.listen(listener, target, None)
    }

    /// Carries TCP from one address to another, each connection for as long as something moves.
    pub(super) fn carry_queries(&mut self, from: SocketAddrV4, target: SocketAddrV4) -> io::Result<()> {
        self.listen(TcpListener::bind(from)?, Some(target), Some(Duration::from_secs(10)))
    }

    fn listen(&mut self, listener: TcpListener, target: Option<SocketAddrV4>, patience: Option<Duration>) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.tcp.push(TcpPort { listener, target, patience });
        Ok(())
    }

    /// Hears `port` on 127.0.0.1, ::1 and the host's IPv6 addresses `also`, each by a socket of its own: an answer to a wildcard
    /// socket could leave with another address.
    pub(super) fn carry_udp(&mut self, port: u16, target: Option<SocketAddrV4>, also: &[Ipv6Addr]) -> io::Result<()> {
        self.udp.push(UdpPort { socket: socket::udp((Ipv4Addr::LOCALHOST, port).into())?, target });
        // A host without IPv6 has none of them; one that is just coming, or going, is not heard.
        let six = [Ipv6Addr::LOCALHOST].into_iter().chain(also.iter().copied()).filter_map(|a| socket::udp((a, port).into()).ok());
        self.udp.extend(six.map(|socket| UdpPort { socket, target }));
        Ok(())
    }

    /// The machine has this address now.
    pub(super) fn aim(&mut self, address: Ipv4Addr, inside: impl Fn(bool, u16) -> Option<u16>) {
        let local = |a: io::Result<SocketAddr>| a.map_or(0, |a| a.port());
        for port in &mut self.tcp {
            if let Some(to) = inside(true, local(port.listener.local_addr())) {
                port.target = Some(SocketAddrV4::new(address, to));
            }
        }
        for port in &mut self.udp {
            if let Some(to) = inside(false, local(port.socket.local_addr())) {
                port.target = Some(SocketAddrV4::new(address, to));
            }
        }
    }

    /// Says what it waits for.
    pub(super) fn declare(&self, poller: &mut Poller<Token>) -> rustix::io::Result<()> {
        let room = self.connections.iter().flatten().count() < MAX_CONNECTIONS;
        for (n, port) in self.tcp.iter().enumerate() {
            poller.want(Token::Tcp(n), &port.listener, if room { Interest::READ } else { Interest::NONE })?;
        }
        for (n, port) in self.udp.iter().enumerate() {
            poller.want(Token::Udp(n), &port.socket, Interest::READ)?;
        }
        for (n, connection) in self.connections.iter().enumerate() {
            let Some(connection) = connection else { continue };
            let (client, machine) = connection.interests();
            poller.want(Token::Client(n), &connection.client, client)?;
            poller.want(Token::Machine(n), &connection.machine, machine)?;
        }
        for (n, client) in self.clients.iter().enumerate() {
            if let Some(client) = client {
                poller.want(Token::UdpAnswer(n), &client.machine, Interest::READ)?;
            }
        }
        Ok(())
    }

    /// When something has to be given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let connections = self.connections.iter().flatten().filter_map(|c| Some(c.last + c.patience?));
        connections.chain(self.clients.iter().flatten().map(|c| c.last + CLIENT_TIME)).min()
    }

    /// Gives up what has been silent for too long.
    pub(super) fn expire(&mut self, poller: &mut Poller<Token>, now: Instant) {
        for n in 0..self.connections.len() {
            if self.connections[n].as_ref().is_some_and(|c| c.patience.is_some_and(|p| c.last + p <= now)) {
                self.close(n, poller);
            }
        }
        for n in 0..self.clients.len() {
            if let Some(client) = self.clients[n].take_if(|c| c.last + CLIENT_TIME <= now) {
                poller.forget(Token::UdpAnswer(n), &client.machine);
            }
        }
    }

    fn close(&mut self, n: usize, poller: &mut Poller<Token>) {
        if let Some(connection) = self.connections.get_mut(n).and_then(Option::take) {
            poller.forget(Token::Client(n), &connection.client);
            poller.forget(Token::Machine(n), &connection.machine);
        }
    }

    /// Something is ready.
    pub(super) fn handle(&mut self, ready: Ready<Token>, poller: &mut Poller<Token>) {
        let now = Instant::now();
        match ready.token {
            Token::Tcp(n) => self.accept(n, now),
            Token::Client(n) => {
                let machine = Ready { token: ready.token, read: false, write: false };
                self.turn(n, ready.read, machine, now, poller);
            }
            Token::Machine(n) => self.turn(n, false, ready, now, poller),
            Token::Udp(n) => self.datagrams_in(n, now),
            Token::UdpAnswer(n) => self.datagrams_out(n, now),
            _ => {}
        }
    }

    fn turn(&mut self, n: usize, client: bool, machine: Ready<Token>, now: Instant, poller: &mut Poller<Token>) {
        let Some(Some(connection)) = self.connections.get_mut(n) else { return };
        if !connection.turn(client, machine, now) {
            self.close(n, poller);
        }
    }

    fn accept(&mut self, n: usize, now: Instant) {
        let Some(port) = self.tcp.get(n) else { return };
        let Ok((client, _)) = port.listener.accept() else { return };
        let Some(target) = port.target else { return };
        // What cannot be connected is closed: the client sees the end at once.
        let Ok(machine) = socket::tcp_connecting(target) else { return };
        if client.set_nonblocking(true).is_err() {
            return;
        }
        let _ = (client.set_nodelay(true), machine.set_nodelay(true));
        let connection =
            Connection { client, machine, connected: false, up: Half::default(), down: Half::default(), patience: port.patience, last: now };
        put(&mut self.connections, connection);
    }

    fn datagrams_in(&mut self, n: usize, now: Instant) {
        let Some(port) = self.udp.get(n) else { return };
        let mut buffer = [0u8; 9000];
        let Ok((length, address)) = port.socket.recv_from(&mut buffer) else { return };
        let Some(target) = port.target else { return };
        let known = self.clients.iter().position(|c| c.as_ref().is_some_and(|c| c.port == n && c.address == address));
        let at = match known {
            Some(at) => at,
            None => {
                let of_port = self.clients.iter().flatten().filter(|c| c.port == n).count();
                let made = socket::udp((Ipv4Addr::UNSPECIFIED, 0).into()).and_then(|s| s.connect(target).map(|()| s));
                let (Ok(machine), true) = (made, of_port < MAX_CLIENTS) else { return };
                put(&mut self.clients, UdpClient { port: n, address, machine, last: now })
            }
        };
        if let Some(Some(client)) = self.clients.get_mut(at) {
            client.last = now;
            // A datagram that is lost is lost.
            let _ = client.machine.send(&buffer[..length]);
        }
    }

    fn datagrams_out(&mut self, n: usize, now: Instant) {
        let Some(Some(client)) = self.clients.get_mut(n) else { return };
        let mut buffer = [0u8; 9000];
        let Ok(length) = client.machine.recv(&mut buffer) else { return };
        client.last = now;
        if let Some(port) = self.udp.get(client.port) {
            let _ = port.socket.send_to(&buffer[..length], client.address);
        }
    }
}

/// Puts a value in the first free place; gives its number.
fn put<T>(places: &mut Vec<Option<T>>, value: T) -> usize {
    match places.iter_mut().position(|p| p.is_none()) {
        Some(at) => {
            places[at] = Some(value);
            at
        }
        None => {
            places.push(Some(value));
            places.len() - 1
        }
    }
}
