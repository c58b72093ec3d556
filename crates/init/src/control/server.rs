//! The manager's end of the socket.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_process::event::Interest;
use hostel_sys::peer;
use hostel_unit::UnitName;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with};

use super::{REQUEST_MAX, Wait, frame, parse, take_frame};
use crate::manager::query::{Answer, Record};
use crate::manager::world::Token;
use crate::manager::{Finished, Manager};

/// Everybody may look; who may do something is asked of the kernel.
const MODE: u32 = 0o666;
/// Most connections at a time.
const CLIENTS_MAX: usize = 64;
/// Most bytes that wait for one client to read them.
const WAITING_MAX: usize = 16 << 20;

/// One connection.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    may_change: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Jobs whose end it wants to hear.
    jobs: Vec<u32>,
    /// Units that it wants to see down again once these are over.
    units: Vec<UnitName>,
    /// All is said: it is closed when that was read.
    done: bool,
}

/// The listening socket and its connections.
#[derive(Debug)]
pub struct Server {
    socket: OwnedFd,
    clients: BTreeMap<u32, Client>,
    next: u32,
    /// No more are taken in until one goes.
    is_full: bool,
    path: String,
}

impl AsFd for Server {
    /// Where it listens.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Server {
    /// Listens at `path`: with a socket that this manager had before it was executed anew, or one in the place of what was there.
    pub fn listen(path: &str, old: Option<OwnedFd>, manager: &mut Manager) -> std::io::Result<Server> {
        let socket = old.map_or_else(|| listen_at(path, MODE), Ok)?;
        manager.watch(Token::Control, &socket)?;
        Ok(Server { socket, clients: BTreeMap::new(), next: 1, is_full: false, path: path.to_owned() })
    }

    /// Whether somebody is connected.
    pub fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Whether anybody has ever connected.
    pub fn was_asked(&self) -> bool {
        self.next > 1
    }

    /// Stops listening. True: it has; false: somebody had just connected, and it listens again.
    pub fn close(&mut self, manager: &mut Manager) -> bool {
        let _ = std::fs::remove_file(&self.path);
        self.accept(manager);
        if self.clients.is_empty() {
            return true;
        }
        if let Ok(socket) = listen_at(&self.path, MODE) {
            manager.poller().forget(Token::Control, &self.socket);
            self.socket = socket;
            let _ = manager.watch(Token::Control, &self.socket);
        }
        false
    }

    /// Takes in who has connected.
    pub fn accept(&mut self, manager: &mut Manager) {
        loop {
            if self.clients.len() >= CLIENTS_MAX && !self.drop_a_stranger(manager) {
                break;
            }
            let socket = match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => socket,
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            let Ok(who) = peer::peer(&socket) else { continue };
            let may_change = who.uid == 0 || who.uid == rustix::process::geteuid().as_raw();
            let id = self.next;
            self.next = self.next.wrapping_add(1).max(1);
            if manager.watch(Token::Client(id), &socket).is_ok() {
                let client = Client { socket, may_change, input: Vec::new(), output: Vec::new(), jobs: Vec::new(), units: Vec::new(), done: false };
                self.clients.insert(id, client);
            }
        }
        self.is_full = true;
        let _ = manager.poller().want(Token::Control, &self.socket, Interest::NONE);
    }

    /// Room for one more: of those who may only look, the first goes, lest they keep everybody else out.
    fn drop_a_stranger(&mut self, manager: &mut Manager) -> bool {
        let Some(id) = self.clients.iter().find(|(_, client)| !client.may_change).map(|(id, _)| *id) else { return false };
        self.keep_or_drop(id, false, manager);
        true
    }

    /// Something came from a client, or can be written to it.
    pub fn serve(&mut self, id: u32, readable: bool, manager: &mut Manager) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let keep = (!readable || read(client, manager)) && write(client);
        self.keep_or_drop(id, keep, manager);
    }

    fn keep_or_drop(&mut self, id: u32, keep: bool, manager: &mut Manager) {
        let Some(client) = self.clients.get(&id) else { return };
        if keep && !(client.done && client.output.is_empty()) {
            let interest = Interest { read: true, write: !client.output.is_empty() };
            let _ = manager.poller().want(Token::Client(id), &client.socket, interest);
            return;
        }
        manager.poller().forget(Token::Client(id), &client.socket);
        self.clients.remove(&id);
        if std::mem::take(&mut self.is_full) {
            let _ = manager.watch(Token::Control, &self.socket);
        }
    }

    /// Tells those who wait that jobs are over, and units down.
    pub fn deliver(&mut self, finished: &[Finished], manager: &mut Manager) {
        let is_told = |client: &Client| !finished.is_empty() && !client.jobs.is_empty() || !client.units.is_empty();
        let ids: Vec<u32> = self.clients.iter().filter(|(_, client)| is_told(client)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            for job in finished {
                if client.jobs.contains(&job.id) {
                    client.jobs.retain(|waiting| *waiting != job.id);
                    say(client, 'F', &[&job.id.to_string(), job.unit.as_str(), job.result.word()]);
                }
            }
            tell_ends(client, manager);
            let keep = write(client);
            self.keep_or_drop(id, keep, manager);
        }
    }
}

/// What there is to wait for no more; with nothing left all is said.
fn tell_ends(client: &mut Client, manager: &Manager) {
    if !client.jobs.is_empty() || client.done {
        return;
    }
    for unit in std::mem::take(&mut client.units) {
        match manager.unit(&unit) {
            Some(live) if live.job.is_some() || !live.active().is_down() => client.units.push(unit),
            found => say(client, 'E', &[unit.as_str(), found.map_or("inactive", |live| live.active().word())]),
        }
    }
    if client.units.is_empty() {
        end(client);
    }
}

/// A socket at `path`, with these permissions; what was there is taken away.
pub(crate) fn listen_at(path: &str, mode: u32) -> std::io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    let _ = std::fs::remove_file(path);
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    listen(&socket, 64)?;
    Ok(socket)
}

fn say(client: &mut Client, kind: char, fields: &[&str]) {
    let clean: Vec<String> = fields.iter().map(|field| field.replace('\0', " ")).collect();
    client.output.extend_from_slice(&frame(format!("{kind}{}", clean.join("\0")).as_bytes()));
}

fn end(client: &mut Client) {
    client.output.extend_from_slice(&frame(b"."));
    client.done = true;
}

fn record(client: &mut Client, record: &Record) {
    let fields: Vec<&str> = record.iter().flat_map(|(name, value)| [*name, value.as_str()]).collect();
    say(client, 'R', &fields);
}

/// Reads, and answers a request that is whole; false: the connection is over.
fn read(client: &mut Client, manager: &mut Manager) -> bool {
    let mut buffer = [0u8; 4096];
    loop {
        match rustix::io::read(&client.socket, &mut buffer) {
            Ok(0) => return !client.output.is_empty() && client.done,
            Ok(n) => client.input.extend_from_slice(buffer.get(..n).unwrap_or_default()),
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
        if client.input.len() > REQUEST_MAX + 4 {
            return false;
        }
    }
    if client.done || !client.jobs.is_empty() || !client.units.is_empty() {
        return true;
    }
    match take_frame(&mut client.input, REQUEST_MAX) {
        Ok(Some(body)) => {
            answer(client, &body, manager);
            true
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

fn answer(client: &mut Client, body: &[u8], manager: &mut Manager) {
    let asked = match parse(body) {
        Ok(asked) => asked,
        Err(why) => {
            say(client, 'X', &["1", "", &why]);
            return end(client);
        }
    };
    if asked.request.changes() && !client.may_change {
        say(client, 'X', &["1", "", "Access denied"]);
        return end(client);
    }
    match manager.ask(asked.request) {
        Answer::Done => {}
        Answer::Refused(refusal) => say(client, 'X', &[&refusal.status.to_string(), "", &refusal.text]),
        Answer::Records(records) => {
            for one in &records {
                if client.output.len() > WAITING_MAX {
                    say(client, 'X', &["1", "", "there is more than can be told at once"]);
                    break;
                }
                record(client, one);
            }
        }
        Answer::Jobs(jobs) => {
            for (unit, found) in jobs {
                match found {
                    Ok(id) => {
                        say(client, 'J', &[&id.to_string(), unit.as_str()]);
                        if asked.wait != Wait::Answer {
                            client.jobs.push(id);
                        }
                        if asked.wait == Wait::Ends {
                            client.units.push(unit);
                        }
                    }
                    Err(refusal) => say(client, 'X', &[&refusal.status.to_string(), unit.as_str(), &refusal.text]),
                }
            }
        }
    }
    tell_ends(client, manager);
}

/// Writes what it takes; false: the connection is over.
fn write(client: &mut Client) -> bool {
    while !client.output.is_empty() {
        match rustix::net::send(client.socket.as_fd(), &client.output, rustix::net::SendFlags::NOSIGNAL) {
            Ok(n) => drop(client.output.drain(..n)),
            Err(Errno::AGAIN) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
