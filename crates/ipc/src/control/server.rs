//! The supervisor's end: accepts, reads requests, answers, and never waits for anybody.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode};
use rustix::io::{self, Errno};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use serde::Serialize;
use serde_json::json;

use super::{DATA, Event, INTERFACE, LOST, MAX_REQUEST, Refusal, Request, SOCKET};
use crate::path_in;

/// A bound on descriptors; more than this many people do not look at one console.
const MOST_CLIENTS: usize = 64;
const BACKLOG: i32 = 16;

#[derive(Debug)]
struct Client {
    id: u32,
    fd: OwnedFd,
    /// Wants every [`Event`].
    listens: bool,
    console: Option<Visit>,
}

#[derive(Debug, Clone, Copy)]
struct Visit {
    read_only: bool,
    lost: u64,
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'b> {
    /// A request; answer with [`Server::reply`] or [`Server::refuse`].
    Request(Request),
    /// Typed on a console.
    Data(&'b [u8]),
    /// Nothing, or nothing to act upon (it was answered with an error).
    Nothing,
    /// The client is gone; forget its descriptor *before* [`Server::close`].
    Closed,
}

/// A supervisor's control socket and its clients.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    owner: u32,
    clients: Vec<Client>,
    next_id: u32,
}

impl Server {
    /// Binds `control` in the state directory `dir`, replacing what a dead supervisor left. The caller holds the
    /// machine's lock.
    pub fn bind(dir: BorrowedFd<'_>) -> io::Result<Server> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        match rustix::fs::unlinkat(dir, SOCKET, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
        bind(&listener, &SocketAddrUnix::new(path_in(dir, SOCKET))?)?;
        // Nobody can connect before listen(2), so the wider mode that bind(2) gave has no window.
        rustix::fs::chmodat(dir, SOCKET, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
        listen(&listener, BACKLOG)?;
        Ok(Server { listener, owner: rustix::process::geteuid().as_raw(), clients: Vec::new(), next_id: 0 })
    }

    /// Readable when somebody connects.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Every client: its id, and the descriptor that becomes readable when it sends.
    pub fn clients(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.clients.iter().map(|c| (c.id, c.fd.as_fd()))
    }

    /// How many clients have a console.
    pub fn visitors(&self) -> usize {
        self.clients.iter().filter(|c| c.console.is_some()).count()
    }

    /// Whether client `id` has a console.
    pub fn is_visitor(&self, id: u32) -> bool {
        self.clients.iter().any(|c| c.id == id && c.console.is_some())
    }

    /// Takes one connection: whether there was one, even if it was refused. An error (too few descriptors) leaves it
    /// waiting: pause before the next try.
    pub fn accept(&mut self) -> io::Result<bool> {
        let fd = match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR | Errno::CONNABORTED) => return Ok(true),
            Err(e) => return Err(e),
        };
        let peer = hostel_sys::peer::peer(&fd)?;
        if may_connect(peer.uid, self.owner) && self.clients.len() < MOST_CLIENTS {
            self.clients.push(Client { id: self.next_id, fd, listens: false, console: None });
            self.next_id = self.next_id.wrapping_add(1);
        }
        Ok(true)
    }

    fn client(&mut self, id: u32) -> Option<&mut Client> {
        self.clients.iter_mut().find(|c| c.id == id)
    }

    /// Reads one packet of client `id`. `buf` holds at least [`MAX_REQUEST`] bytes.
    pub fn receive<'b>(&mut self, id: u32, buf: &'b mut [u8]) -> Incoming<'b> {
        let Some(client) = self.client(id) else { return Incoming::Closed };
        let limit = buf.len().min(MAX_REQUEST);
        let received = io::retry_on_intr(|| rustix::net::recv(&client.fd, &mut buf[..limit], RecvFlags::DONTWAIT | RecvFlags::TRUNC));
        let length = match received {
            Err(Errno::AGAIN) => return Incoming::Nothing,
            Err(_) | Ok((_, 0)) => return Incoming::Closed,
            Ok((_, length)) => length,
        };
        if length > limit {
            self.refuse(id, &Refusal::new(Refusal::BAD_REQUEST, "a request has at most 4096 bytes"));
            return Incoming::Closed;
        }
        if buf[0] == DATA {
            let may_type = client.console.is_some_and(|visit| !visit.read_only);
            return if may_type { Incoming::Data(&buf[1..length]) } else { Incoming::Nothing };
        }
        match Request::parse(&buf[..length]) {
            Ok(request) => Incoming::Request(request),
            Err(refusal) if self.refuse(id, &refusal) => Incoming::Nothing,
            Err(_) => Incoming::Closed,
        }
    }

    /// Answers a request; `false` when the client did not take it and is to be closed.
    #[must_use]
    pub fn reply<T: Serialize>(&mut self, id: u32, parameters: &T) -> bool {
        self.send_json(id, &json!({ "parameters": parameters }))
    }

    /// Answers that it is not done; `false` when the client did not take it and is to be closed.
    pub fn refuse(&mut self, id: u32, refusal: &Refusal) -> bool {
        let error = format!("{INTERFACE}{}", refusal.name);
        self.send_json(id, &json!({ "error": error, "parameters": { "message": refusal.message } }))
    }

    /// From now on client `id` gets console data ([`Server::broadcast`]) and may type.
    pub fn attach(&mut self, id: u32, read_only: bool) {
        if let Some(client) = self.client(id) {
            client.listens = true;
            client.console = Some(Visit { read_only, lost: 0 });
        }
    }

    /// From now on client `id` hears what happens to the machine, its end above all.
    pub fn listen(&mut self, id: u32) {
        if let Some(client) = self.client(id) {
            client.listens = true;
        }
    }

    /// Sends console data to the visitor `id` alone, as far as it takes it (replay).
    pub fn send_data(&mut self, id: u32, bytes: &[u8]) {
        if let Some(client) = self.client(id) {
            client.show(bytes);
        }
    }

    /// Sends console data to every visitor; who is too slow loses it.
    pub fn broadcast(&mut self, bytes: &[u8]) {
        for client in self.clients.iter_mut().filter(|c| c.console.is_some()) {
            client.show(bytes);
        }
    }

    /// Tells everybody who listens.
    pub fn announce(&mut self, event: &Event) {
        let packet = json!({ "continues": true, "parameters": { "event": event } }).to_string().into_bytes();
        for client in self.clients.iter_mut().filter(|c| c.listens) {
            // A listener that is this far behind still sees the end of file.
            let _ = client.send(&packet);
        }
    }

    /// Closes the connection of client `id`.
    pub fn close(&mut self, id: u32) {
        self.clients.retain(|c| c.id != id);
    }

    fn send_json(&mut self, id: u32, message: &serde_json::Value) -> bool {
        let packet = message.to_string().into_bytes();
        self.client(id).is_some_and(|client| client.send(&packet).is_ok())
    }
}

impl Client {
    fn send(&self, packet: &[u8]) -> io::Result<()> {
        io::retry_on_intr(|| rustix::net::send(&self.fd, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)).map(drop)
    }

    fn show(&mut self, bytes: &[u8]) {
        let Some(Visit { lost, .. }) = self.console else { return };
        let shown = self.show_after(lost, bytes);
        if let Some(visit) = &mut self.console {
            // Also for a client that is gone: that is noticed when its descriptor is read.
            visit.lost = if shown.is_ok() { 0 } else { lost + bytes.len() as u64 };
        }
    }

    fn show_after(&self, lost: u64, bytes: &[u8]) -> io::Result<()> {
        let mut head = [LOST; 9];
        head[1..].copy_from_slice(&lost.to_be_bytes());
        // In one packet with the data: a notice of its own would fit where data does not, again and again.
        let head: &[u8] = if lost > 0 { &head } else { &[DATA] };
        let parts = [IoSlice::new(head), IoSlice::new(bytes)];
        let none = &mut SendAncillaryBuffer::default();
        io::retry_on_intr(|| rustix::net::sendmsg(&self.fd, &parts, none, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)).map(drop)
    }
}

/// Root and the machine's owner.
pub(super) fn may_connect(peer: u32, owner: u32) -> bool {
    peer == 0 || peer == owner
}
