//! Accept=yes: each connection gets a service of its own.

use std::net::SocketAddr;

use hostel_sys::peer;
use hostel_unit::UnitName;
use rustix::net::SocketFlags;

use super::{Connection, State, address};
use crate::manager::Manager;
use crate::manager::state::Outcome;
use crate::transaction::{JobMode, JobType};

impl Manager {
    /// Takes one connection and starts its service. The socket goes on listening.
    pub(super) fn accept(&mut self, name: &UnitName, index: u32) {
        let Some(port) = self.shared.ports.iter().find(|port| port.socket == *name && port.number.1 == index) else { return };
        let fd = match rustix::net::accept_with(&port.fd, SocketFlags::CLOEXEC) {
            Ok(fd) => fd,
            // it went away again, or another one took it
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => return,
            Err(e) => {
                self.complain(name, Some(format!("Failed to accept socket: {}", std::io::Error::from(e))));
                return self.stop_socket(name, Outcome::Resources);
            }
        };
        let of = |address: Option<rustix::net::SocketAddrAny>| address.and_then(|a| SocketAddr::try_from(a).ok());
        let (local, remote) = (of(rustix::net::getsockname(&fd).ok()), of(rustix::net::getpeername(&fd).ok().flatten()));
        let source = remote.map(address::peer_host);
        let Some(socket) = self.socket(name) else { return };
        let of_source = socket.connections.iter().filter(|(_, from)| source.is_some() && *from == source).count() as u64;
        if socket.connections.len() as u64 >= socket.config.most || socket.config.most_of_one > 0 && of_source >= socket.config.most_of_one {
            socket.refused += 1;
            let text = format!("Too many incoming connections ({}), dropping connection.", socket.connections.len());
            return self.shared.log.own(Some(name.as_str()), &text);
        }
        let number = socket.accepted;
        socket.accepted += 1;
        let who = match (local, remote) {
            (Some(local), Some(remote)) => {
                format!("{number}-{}:{}-{}:{}", address::peer_host(local), local.port(), address::peer_host(remote), remote.port())
            }
            _ => peer::peer(&fd).map_or_else(|_| number.to_string(), |peer| format!("{number}-{}-{}", peer.pid, peer.uid)),
        };
        let Ok(service) = UnitName::parse(&format!("{}@{who}.service", name.prefix())) else { return };
        if let Err(why) = self.serve(name, &service, Connection { fd, socket: name.clone(), peer: remote }) {
            self.complain(name, Some(format!("Failed to queue service startup job: {why}")));
            self.stop_socket(name, Outcome::Resources);
        } else if let Some(socket) = self.socket(name) {
            socket.connections.push((service, source));
        }
    }

    fn serve(&mut self, name: &UnitName, service: &UnitName, connection: Connection) -> Result<(), String> {
        self.bring(std::slice::from_ref(service));
        let own = self.graph.own(service).clone();
        match self.units.get_mut(&own) {
            Some(live) => live.rest.connection = Some(connection),
            None => return Err(format!("Unit {service} not found.")),
        }
        if let Err(fault) = self.enqueue(service, JobType::Start, JobMode::Replace) {
            self.drop_unit(&own);
            return Err(fault.to_string());
        }
        // those that look at the socket see that it did something
        self.changed.push_back(name.clone());
        Ok(())
    }

    /// The service of a connection has ended: so has the connection, and nobody asks for the unit again.
    pub(in crate::manager) fn connection_over(&mut self, service: &UnitName) {
        let Some(live) = self.units.get_mut(service).filter(|live| live.active().is_down() && live.job.is_none()) else { return };
        let Some(connection) = live.rest.connection.take() else { return };
        let failed = !matches!(live.result(), Outcome::Success | Outcome::ExecCondition);
        if let Some(socket) = self.socket(&connection.socket) {
            socket.connections.retain(|(name, _)| name != service);
            if socket.state == State::Listening {
                self.changed.push_back(connection.socket.clone());
            }
        }
        drop(connection);
        if !failed {
            self.drop_unit(service);
        }
    }
}
