//! systemd's private bus: `/run/systemd/private`, on which the tree's own systemctl asks.
//!
//! ```text
//!  systemctl ──► auth.rs ──► message ──► call.rs ──► files.rs, manager.rs, properties.rs, transient.rs ──► Manager
//!            ◄── answer, signals ◄──────────┘             table.rs: what 252 has; unit.rs, settings.rs: what is so here
//! ```
//! No bus lies between: messages have no senders, and everybody hears every signal. Only root and our own user are let in. Nothing
//! waits for a peer: what it does not read is kept up to a bound, beyond which it is cut off.

mod activation;
mod auth;
mod call;
mod fault;
mod files;
mod introspect;
mod manager;
pub mod methods;
pub mod path;
mod properties;
mod settings;
pub mod table;
#[cfg(test)]
mod tests;
mod transient;
mod unit;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_ipc::dbus::{Kind, Message, SYSTEMD_PRIVATE, Value, message_length};
use hostel_process::event::Interest;
use hostel_sys::peer;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::control::server::listen_at;
use crate::manager::world::{Token, random_id};
use crate::manager::{Finished, Manager};
use auth::{Auth, Progress};
use call::Context;
use fault::Fault;

/// Most peers at a time.
const PEERS_MAX: usize = 32;
/// Longest message that is read, in bytes.
const MESSAGE_MAX: usize = 256 << 10;
/// A peer that has not read this much is asked nothing more, in bytes.
const PAUSE: usize = 1 << 20;
/// A peer that has not read this much is cut off, in bytes.
const WAITING_MAX: usize = 4 << 20;

/// One peer.
#[derive(Debug)]
struct Peer {
    socket: OwnedFd,
    pid: i32,
    /// Until it has said who it is.
    auth: Option<Auth>,
    input: Vec<u8>,
    output: Vec<u8>,
    serial: u32,
}

/// The listening socket and its peers.
#[derive(Debug)]
pub struct Bus {
    socket: OwnedFd,
    guid: String,
    peers: BTreeMap<u32, Peer>,
    next: u32,
    /// No more are taken in until one goes.
    is_full: bool,
    exit: u8,
}

impl AsFd for Bus {
    /// Where it listens.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Bus {
    /// Listens where systemd does: with a socket that this manager had before it was executed anew, or one in the place of what was there.
    pub fn listen(old: Option<OwnedFd>, manager: &mut Manager) -> std::io::Result<Bus> {
        let socket = old.map_or_else(|| listen_at(SYSTEMD_PRIVATE, 0o600), Ok)?;
        manager.watch(Token::Bus, &socket)?;
        let guid = random_id();
        Ok(Bus { socket, guid, peers: BTreeMap::new(), next: 1, is_full: false, exit: 0 })
    }

    /// Takes in who has connected.
    pub fn accept(&mut self, manager: &mut Manager) {
        while self.peers.len() < PEERS_MAX {
            let socket = match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => socket,
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            let Ok(who) = peer::peer(&socket) else { continue };
            if who.uid != 0 && who.uid != rustix::process::geteuid().as_raw() {
                continue;
            }
            let id = self.next;
            self.next = self.next.wrapping_add(1).max(1);
            if manager.watch(Token::Peer(id), &socket).is_ok() {
                manager.keep_news(true);
                let auth = Some(Auth::new(who.uid));
                self.peers.insert(id, Peer { socket, pid: who.pid, auth, input: Vec::new(), output: Vec::new(), serial: 0 });
            }
        }
        self.is_full = true;
        let _ = manager.poller().want(Token::Bus, &self.socket, Interest::NONE);
    }

    /// Something came from a peer, or can be written to it.
    pub fn serve(&mut self, id: u32, readable: bool, manager: &mut Manager) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        let open = !readable || read(&mut peer);
        // what was said before the end of the connection counts; what had to wait for room has it after the writing
        let keep = self.advance(&mut peer, manager) && open && write(&mut peer) && self.advance(&mut peer, manager);
        self.put_back(id, peer, keep, manager);
    }

    fn put_back(&mut self, id: u32, mut peer: Peer, keep: bool, manager: &mut Manager) {
        if keep && write(&mut peer) && peer.output.len() <= WAITING_MAX {
            let interest = Interest { read: peer.output.len() <= PAUSE, write: !peer.output.is_empty() };
            let _ = manager.poller().want(Token::Peer(id), &peer.socket, interest);
            self.peers.insert(id, peer);
            return;
        }
        manager.poller().forget(Token::Peer(id), &peer.socket);
        manager.keep_news(!self.peers.is_empty());
        if std::mem::take(&mut self.is_full) {
            let _ = manager.watch(Token::Bus, &self.socket);
        }
    }

    /// Does what a peer has said, as far as it is whole; false: it is no peer.
    fn advance(&mut self, peer: &mut Peer, manager: &mut Manager) -> bool {
        if let Some(auth) = &mut peer.auth {
            match auth.feed(&mut peer.input, &self.guid, &mut peer.output) {
                Progress::More => return true,
                Progress::Broken => {
                    // it may read why
                    let _ = write(peer);
                    return false;
                }
                Progress::Done => peer.auth = None,
            }
        }
        while peer.output.len() <= PAUSE {
            let message = match take_message(&mut peer.input) {
                Ok(Some(message)) => message,
                Ok(None) => return true,
                Err(()) => return false,
            };
            if message.kind == Kind::Call {
                self.answer(peer, &message, manager);
            }
        }
        true
    }

    fn answer(&mut self, peer: &mut Peer, message: &Message, manager: &mut Manager) {
        let mut context = Context { pid: peer.pid, exit: self.exit, files_changed: false, reloaded: false };
        let is_reload = message.member.as_deref() == Some("Reload") && message.path.as_deref() == Some(path::MANAGER);
        if is_reload {
            push_signal(peer, "Reloading", vec![Value::Bool(true)]);
        }
        let outcome = call::answer(manager, &mut context, message);
        self.exit = context.exit;
        let mut told = vec![];
        if context.reloaded {
            told.push(("Reloading", vec![Value::Bool(false)]));
        }
        if context.files_changed {
            told.push(("UnitFilesChanged", Vec::new()));
        }
        for (name, body) in told {
            push_signal(peer, name, body.clone());
            self.peers.values_mut().for_each(|other| push_signal(other, name, body.clone()));
        }
        if !message.no_reply {
            push(peer, reply(message.serial, outcome));
        }
    }

    /// Tells everybody what happened, and, `first`, that all that this began with is done.
    pub fn deliver(&mut self, finished: &[Finished], first: bool, manager: &mut Manager) {
        if self.peers.is_empty() {
            return;
        }
        let mut told = news(finished, manager);
        if first {
            let message = signal(path::MANAGER, "org.freedesktop.systemd1.Manager", "StartupFinished", vec![Value::Uint64(0); 6]);
            told.push(message);
        }
        if told.is_empty() {
            return;
        }
        for id in self.peers.keys().copied().collect::<Vec<u32>>() {
            let Some(mut peer) = self.peers.remove(&id) else { continue };
            if peer.auth.is_none() {
                for message in &told {
                    push(&mut peer, message.clone());
                }
            }
            self.put_back(id, peer, true, manager);
        }
    }
}

/// Signals for what happened since the last time.
fn news(finished: &[Finished], manager: &mut Manager) -> Vec<Message> {
    let news = manager.take_news();
    let mut out = Vec::new();
    let mut tell = |member, body| out.push(signal(path::MANAGER, "org.freedesktop.systemd1.Manager", member, body));
    for (unit, came) in &news.units {
        let name = unit.as_str();
        tell(if *came { "UnitNew" } else { "UnitRemoved" }, vec![Value::text(name), Value::Path(path::unit(name))]);
    }
    for (id, unit) in &news.jobs {
        tell("JobNew", vec![Value::Uint32(*id), Value::Path(path::job(*id)), Value::text(unit.as_str())]);
    }
    for unit in &news.changed {
        for interface in ["Unit", unit::interface(unit.kind())] {
            if let Some(body) = properties::changed(manager, unit, interface) {
                out.push(signal(&path::unit(unit.as_str()), "org.freedesktop.DBus.Properties", "PropertiesChanged", body));
            }
        }
    }
    for job in finished {
        let body = vec![Value::Uint32(job.id), Value::Path(path::job(job.id)), Value::text(job.unit.as_str()), Value::text(job.result.word())];
        out.push(signal(path::MANAGER, "org.freedesktop.systemd1.Manager", "JobRemoved", body));
    }
    out
}

fn signal(path: &str, interface: &str, member: &str, body: Vec<Value>) -> Message {
    Message { kind: Kind::Signal, ..Message::call(None, path, interface, member, body) }
}

fn reply(serial: u32, outcome: Result<Vec<Value>, Fault>) -> Message {
    match outcome {
        Ok(body) => Message { reply_to: Some(serial), body, ..Message::new(Kind::Return) },
        Err(fault) => {
            let body = vec![Value::text(fault.text)];
            Message { reply_to: Some(serial), error: Some(fault.name), body, ..Message::new(Kind::Error) }
        }
    }
}

fn push(peer: &mut Peer, mut message: Message) {
    peer.serial = peer.serial.wrapping_add(1).max(1);
    message.serial = peer.serial;
    peer.output.extend_from_slice(&message.encode());
}

fn push_signal(peer: &mut Peer, member: &str, body: Vec<Value>) {
    if peer.auth.is_none() && peer.output.len() <= WAITING_MAX {
        push(peer, signal(path::MANAGER, "org.freedesktop.systemd1.Manager", member, body));
    }
}

/// Takes a whole message off the front; an error when what is there cannot become one.
fn take_message(input: &mut Vec<u8>) -> Result<Option<Message>, ()> {
    match message_length(input).map_err(|_| ())? {
        Some(length) if length > MESSAGE_MAX => Err(()),
        Some(length) if input.len() >= length => {
            let bytes: Vec<u8> = input.drain(..length).collect();
            Message::decode(&bytes).map(Some).map_err(|_| ())
        }
        _ => Ok(None),
    }
}

/// Reads what there is, up to a longest message; false: the connection is over.
fn read(peer: &mut Peer) -> bool {
    let mut buffer = [0u8; 4096];
    while peer.input.len() <= MESSAGE_MAX {
        match rustix::io::read(&peer.socket, &mut buffer) {
            Ok(0) => return false,
            Ok(n) => peer.input.extend_from_slice(buffer.get(..n).unwrap_or_default()),
            Err(Errno::AGAIN) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Writes what it takes; false: the connection is over.
fn write(peer: &mut Peer) -> bool {
    let mut done = 0;
    let alive = loop {
        let left = peer.output.get(done..).unwrap_or_default();
        if left.is_empty() {
            break true;
        }
        match rustix::net::send(peer.socket.as_fd(), left, rustix::net::SendFlags::NOSIGNAL) {
            Ok(n) => done += n,
            Err(Errno::AGAIN) => break true,
            Err(Errno::INTR) => {}
            Err(_) => break false,
        }
    };
    peer.output.drain(..done);
    alive
}

/// For fuzzing: bytes as a peer may send them, whatever they are; what was understood is a message that reads back the same.
pub fn fuzz(data: &[u8]) {
    let mut auth = Auth::new(0);
    let (mut input, mut output) = (data.to_vec(), Vec::new());
    while auth.feed(&mut input, "0", &mut output) == Progress::Done {
        auth = Auth::new(0);
    }
    let mut input = data.to_vec();
    while let Ok(Some(message)) = take_message(&mut input) {
        let again = Message::decode(&message.encode());
        assert_eq!(again.map(|again| again.encode()).ok(), Some(message.encode()));
        let _ = path::object(message.path.as_deref().unwrap_or_default());
    }
}
