//! The sockets of systemd-journald, for programs that know them: `stdout` (streams of lines), `socket` (native entries), `dev-log`
//! (syslog(3), by /dev/log). Everything that is kept of a sender the kernel tells: its process, its user, by that its unit.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use hostel_sys::peer::{self, Peer};
use hostel_unit::UnitName;
use rustix::fs::{SealFlags, fcntl_get_seals};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with, sockopt};

use super::lines::{Lines, level};
use super::message::{self, ENTRY_MAX, Stream};
use super::record::Field;
use crate::manager::Manager;
use crate::manager::handover::{Saved, words};
use crate::manager::log::Sender;
use crate::manager::world::{Token, random_id};

/// The sockets' names in what is handed over.
const HELD: [&str; 3] = ["journal-stdout", "journal-socket", "journal-dev-log"];
/// The same of a stream.
const STREAM: &str = "journal-stream";
/// Where they are.
pub const DIRECTORY: &str = "/run/systemd/journal";
/// Where programs look for syslog.
const DEV_LOG: &str = "/dev/log";
/// Most streams at a time.
const STREAMS_MAX: usize = 512;
/// Datagrams, or pieces of a stream, that are read before others have their turn.
const TURN: usize = 64;
/// Where a syslog daemon of the machine listens for what journald would hand on.
const FORWARD: &str = "/run/systemd/journal/syslog";

const STDOUT: u32 = 0;
const NATIVE: u32 = 1;
const SYSLOG: u32 = 2;
const FIRST_STREAM: u32 = 16;

/// One connection to `stdout`.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    peer: Peer,
    head: Stream,
    lines: Lines,
    id: String,
}

/// All of them.
#[derive(Debug)]
pub struct Sockets {
    stdout: OwnedFd,
    native: OwnedFd,
    syslog: OwnedFd,
    forward: OwnedFd,
    streams: BTreeMap<u32, Connection>,
    next: u32,
    /// Datagrams that were too long, or no memory of a kind that is read.
    refused: u64,
}

/// Whether somebody answers there already.
fn is_served(path: &str) -> bool {
    let probe = |kind| {
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)
    };
    // one of another type is served, too
    [SocketType::DGRAM, SocketType::STREAM].into_iter().any(|kind| matches!(probe(kind), Ok(()) | Err(Errno::AGAIN)))
}

fn open(name: &str, kind: SocketType) -> Result<OwnedFd, String> {
    let path = format!("{DIRECTORY}/{name}");
    let made = || -> std::io::Result<OwnedFd> {
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        let _ = std::fs::remove_file(&path);
        sockopt::set_socket_passcred(&socket, true)?;
        bind(&socket, &SocketAddrUnix::new(path.as_str())?)?;
        // programs of every user write there
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        if kind == SocketType::STREAM {
            listen(&socket, 256)?;
        }
        Ok(socket)
    };
    made().map_err(|e| format!("listen at {path}: {e}"))
}

impl Sockets {
    /// What the next program goes on with.
    pub fn save<'a>(&'a self, out: &mut Saved<'a>) {
        for (name, socket) in HELD.iter().zip([&self.stdout, &self.native, &self.syslog]) {
            let fd = out.fd(socket.as_fd());
            out.line(&[name, &fd]);
        }
        for stream in self.streams.values() {
            let fd = out.fd(stream.socket.as_fd());
            let Peer { pid, uid, gid } = stream.peer;
            let head = stream.head.words();
            let numbers = [pid.to_string(), uid.to_string(), gid.to_string()];
            let begun = String::from_utf8_lossy(stream.lines.begun());
            let words = [STREAM, &fd, &numbers[0], &numbers[1], &numbers[2], &stream.id].into_iter();
            out.line(&words.chain(head.iter().map(String::as_str)).chain([&*begun]).collect::<Vec<_>>());
        }
    }

    /// Lines that have begun end here: what comes after is read by the next program. Of a header it reads on where this one stopped.
    pub fn finish_lines(&mut self, manager: &mut Manager) {
        for stream in self.streams.values_mut().filter(|stream| stream.head.is_begun()) {
            stream.take(b"", true, manager);
        }
    }

    /// Goes on with streams that the program had that was here before.
    pub fn take_up(&mut self, text: &str, take: &dyn Fn(i32) -> Option<OwnedFd>, manager: &mut Manager) {
        for line in text.lines().filter(|line| line.split('\t').next() == Some(STREAM)).map(words) {
            let [_, fd, pid, uid, gid, id, head @ ..] = line.as_slice() else { continue };
            let (Some(socket), Ok(pid), Ok(uid), Ok(gid)) = (fd.parse().ok().and_then(take), pid.parse(), uid.parse(), gid.parse()) else { continue };
            let mut lines = Lines::default();
            lines.push(head.get(6).map_or("", String::as_str).as_bytes(), &mut |_| ());
            self.add(Connection { socket, peer: Peer { pid, uid, gid }, head: Stream::of_words(head), lines, id: id.clone() }, manager);
        }
    }

    fn add(&mut self, stream: Connection, manager: &mut Manager) {
        while self.streams.contains_key(&self.next) || self.next < FIRST_STREAM {
            self.next = self.next.wrapping_add(1);
        }
        if manager.watch(Token::Journal(self.next), &stream.socket).is_ok() {
            self.streams.insert(self.next, stream);
        }
        self.next = self.next.wrapping_add(1);
    }

    /// Makes the sockets and /dev/log. Where somebody serves them already, they are left alone, and that is the error.
    /// `old` gives one that the program had that was here before: what was written to it meanwhile is read, and who is connected stays so.
    pub fn open(old: &dyn Fn(&str) -> Option<OwnedFd>, manager: &mut Manager) -> Result<Sockets, String> {
        std::fs::create_dir_all(DIRECTORY).map_err(|e| format!("make {DIRECTORY}: {e}"))?;
        let old = HELD.map(old);
        for name in ["stdout", "socket", "dev-log"].iter().zip(&old).filter(|(_, old)| old.is_none()).map(|(name, _)| name) {
            if is_served(&format!("{DIRECTORY}/{name}")) {
                return Err(format!("{DIRECTORY}/{name} is served by another process, which gets what programs log"));
            }
        }
        let datagrams = || socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None);
        let [stdout, native, syslog] = old;
        let sockets = Sockets {
            stdout: stdout.map_or_else(|| open("stdout", SocketType::STREAM), Ok)?,
            native: native.map_or_else(|| open("socket", SocketType::DGRAM), Ok)?,
            syslog: syslog.map_or_else(|| open("dev-log", SocketType::DGRAM), Ok)?,
            forward: datagrams().map_err(|e| format!("make a socket: {e}"))?,
            streams: BTreeMap::new(),
            next: FIRST_STREAM,
            refused: 0,
        };
        for (number, socket) in [(STDOUT, &sockets.stdout), (NATIVE, &sockets.native), (SYSLOG, &sockets.syslog)] {
            manager.watch(Token::Journal(number), socket).map_err(|e| format!("watch a socket: {e}"))?;
        }
        if let Err(e) = link_dev_log() {
            manager.tell(&format!("make {DEV_LOG}: {e}; programs that use syslog are not heard"));
        }
        manager.has_log_sockets();
        Ok(sockets)
    }

    /// One of them has something.
    pub fn serve(&mut self, number: u32, manager: &mut Manager) {
        match number {
            STDOUT => self.accept(manager),
            NATIVE => self.datagrams(false, manager),
            SYSLOG => self.datagrams(true, manager),
            stream => self.stream(stream, manager),
        }
        if self.refused > 0 {
            let refused = std::mem::take(&mut self.refused);
            manager.tell(&format!("{refused} messages to {DIRECTORY} were dropped: they are longer than {ENTRY_MAX} bytes, or in no sealed memory"));
        }
    }

    fn datagrams(&mut self, is_syslog: bool, manager: &mut Manager) {
        for _ in 0..TURN {
            let socket = if is_syslog { &self.syslog } else { &self.native };
            // the length of the next one
            let length = rustix::io::ioctl_fionread(socket).unwrap_or(0) as usize;
            let mut buffer = vec![0u8; length.clamp(256, ENTRY_MAX)];
            let mut files = Vec::new();
            let Ok(datagram) = peer::receive_datagram_with(socket, &mut buffer, &mut files) else { return };
            let file = files.into_iter().next();
            let Some(who) = datagram.sender else { continue };
            if datagram.truncated {
                self.refused += 1;
                continue;
            }
            buffer.truncate(datagram.len);
            if let Some(file) = file.filter(|_| !is_syslog && buffer.is_empty()) {
                match read_memory(&file) {
                    Some(bytes) => buffer = bytes,
                    None => {
                        self.refused += 1;
                        continue;
                    }
                }
            }
            let from = sender(who, if is_syslog { "syslog" } else { "journal" }, manager);
            if is_syslog {
                self.hand_on(&buffer);
                take_syslog(&from, &buffer, manager);
            } else {
                take_native(&from, &buffer, manager);
            }
        }
    }

    /// A syslog daemon of the tree that listens where journald would hand lines on gets them, too.
    fn hand_on(&self, bytes: &[u8]) {
        if let Ok(address) = SocketAddrUnix::new(FORWARD) {
            let _ = rustix::net::sendto(&self.forward, bytes, rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL, &address);
        }
    }

    fn accept(&mut self, manager: &mut Manager) {
        for _ in 0..TURN {
            let Ok(socket) = accept_with(&self.stdout, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) else { return };
            let Ok(peer) = peer::peer(&socket) else { continue };
            if self.streams.len() >= STREAMS_MAX {
                // closed at once: who writes there learns it
                manager.tell(&format!("a stream of process {} is refused: there are {STREAMS_MAX} already", peer.pid));
                continue;
            }
            self.add(Connection { socket, peer, head: Stream::default(), lines: Lines::default(), id: random_id() }, manager);
        }
    }

    fn stream(&mut self, number: u32, manager: &mut Manager) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let mut buffer = [0u8; 4096];
        let mut open = true;
        for _ in 0..TURN / 4 {
            match rustix::io::read(&stream.socket, &mut buffer) {
                Ok(0) => open = false,
                Ok(n) => open = stream.take(buffer.get(..n).unwrap_or_default(), false, manager),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => open = false,
            }
            if !open {
                break;
            }
        }
        if !open {
            stream.take(b"", true, manager);
            manager.poller().forget(Token::Journal(number), stream.socket.as_fd());
            self.streams.remove(&number);
        }
    }
}

impl Connection {
    /// Takes bytes, and with `end` what has begun. False: it speaks something else.
    fn take(&mut self, bytes: &[u8], end: bool, manager: &mut Manager) -> bool {
        let (head, mut good) = (&mut self.head, true);
        let (peer, id) = (self.peer, &self.id);
        let mut from: Option<Sender> = None;
        let mut each = |line: &[u8]| {
            if !head.is_begun() {
                good = good && head.header(line);
            } else if good {
                let from = from.get_or_insert_with(|| {
                    let named = UnitName::parse(&head.unit).ok().filter(|_| peer.uid == 0);
                    Sender { named, to_console: head.to_console, ..sender(peer, "stdout", manager) }
                });
                take_line(from, head, id, line, manager);
            }
        };
        self.lines.push(bytes, &mut each);
        if end {
            self.lines.finish(&mut each);
        }
        good
    }
}

fn sender(who: Peer, transport: &'static str, manager: &Manager) -> Sender {
    let unit = if who.pid > 0 { manager.unit_of(who.pid) } else { None };
    Sender { pid: who.pid, uid: who.uid, gid: who.gid, unit, named: None, transport, to_console: false }
}

fn take_line(from: &Sender, head: &Stream, id: &str, line: &[u8], manager: &mut Manager) {
    let (found, text) = if head.level_prefix { level(line) } else { (None, line) };
    let priority = found.unwrap_or(head.priority & 7).to_string();
    let facility = (head.priority >> 3).to_string();
    let mut fields: Vec<Field<'_>> = vec![("PRIORITY", priority.as_bytes()), ("MESSAGE", text), ("_STREAM_ID", id.as_bytes())];
    // without one the priority says only how bad it is
    if head.priority >> 3 > 0 {
        fields.push(("SYSLOG_FACILITY", facility.as_bytes()));
    }
    if !head.identifier.is_empty() {
        fields.push(("SYSLOG_IDENTIFIER", head.identifier.as_bytes()));
    }
    manager.take_entry(from, &fields);
}

fn take_syslog(from: &Sender, bytes: &[u8], manager: &mut Manager) {
    let line = message::syslog(bytes);
    let (level, facility) = ((line.priority & 7).to_string(), (line.priority >> 3).to_string());
    let mut fields: Vec<Field<'_>> = vec![("PRIORITY", level.as_bytes()), ("SYSLOG_FACILITY", facility.as_bytes()), ("MESSAGE", line.message)];
    for (name, value) in [("SYSLOG_IDENTIFIER", line.identifier), ("SYSLOG_PID", line.pid), ("SYSLOG_TIMESTAMP", line.time)] {
        if !value.is_empty() {
            fields.push((name, value));
        }
    }
    manager.take_entry(from, &fields);
}

fn take_native(from: &Sender, bytes: &[u8], manager: &mut Manager) {
    for fields in message::native(bytes) {
        // an entry without a message may still tell something
        let is_bad = fields.iter().any(|(name, value)| *name == "PRIORITY" && !matches!(value, [b'0'..=b'7']));
        let fields: Vec<Field<'_>> = fields.into_iter().filter(|(name, _)| !(is_bad && *name == "PRIORITY")).collect();
        manager.take_entry(from, &fields);
    }
}

/// What is in sealed memory (memfd_create(2)): nobody can change it, or make us wait, while it is read.
fn read_memory(file: &OwnedFd) -> Option<Vec<u8>> {
    let seals = fcntl_get_seals(file).ok()?;
    let needed = SealFlags::SHRINK | SealFlags::WRITE;
    let length = usize::try_from(rustix::fs::fstat(file).ok()?.st_size).ok()?;
    if !seals.contains(needed) || length > ENTRY_MAX {
        return None;
    }
    let mut bytes = vec![0; length];
    let mut done = 0;
    while done < length {
        match rustix::io::pread(file, bytes.get_mut(done..)?, done as u64).ok()? {
            0 => return None,
            n => done += n,
        }
    }
    Some(bytes)
}

/// /dev/log becomes a link to the socket; a socket of somebody who serves it is left alone.
fn link_dev_log() -> std::io::Result<()> {
    let target = format!("{DIRECTORY}/dev-log");
    if std::fs::read_link(DEV_LOG).is_ok_and(|found| found == std::path::Path::new(&target)) {
        return Ok(());
    }
    if std::fs::symlink_metadata(DEV_LOG).is_ok() {
        if is_served(DEV_LOG) {
            return Err(std::io::Error::other("another process serves it"));
        }
        std::fs::remove_file(DEV_LOG)?;
    }
    std::os::unix::fs::symlink(target, DEV_LOG)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

    use super::*;

    #[test]
    fn only_sealed_memory_is_read() {
        let memory = |bytes: &[u8], seals: SealFlags| {
            let file = memfd_create("entry", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
            rustix::io::write(&file, bytes).unwrap();
            fcntl_add_seals(&file, seals).unwrap();
            file
        };
        let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        assert_eq!(read_memory(&memory(b"MESSAGE=x", all)).as_deref(), Some(&b"MESSAGE=x"[..]));
        assert_eq!(read_memory(&memory(b"MESSAGE=x", SealFlags::GROW)), None);
        assert_eq!(read_memory(&memory(&vec![b'x'; ENTRY_MAX + 1], all)), None);
        let (pipe, _other) = rustix::pipe::pipe().unwrap();
        assert_eq!(read_memory(&pipe), None);
        assert_eq!(read_memory(&std::fs::File::open("/etc/passwd").unwrap().into()), None);
    }

    /// The kernel tells who sent a datagram, and what came with it.
    #[test]
    fn datagrams_with_descriptors() {
        use std::io::IoSlice;

        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, socketpair};
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
        sockopt::set_socket_passcred(&ours, true).unwrap();
        let files = [std::fs::File::open("/proc/self/stat").unwrap(), std::fs::File::open("/etc/passwd").unwrap()];
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        for count in [0, 1, 2] {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if count > 0 {
                assert!(control.push(SendAncillaryMessage::ScmRights(&fds[..count])));
            }
            sendmsg(&theirs, &[IoSlice::new(b"hello")], &mut control, SendFlags::empty()).unwrap();
            let mut buffer = [0; 16];
            let mut files = Vec::new();
            let datagram = peer::receive_datagram_with(&ours, &mut buffer, &mut files).unwrap();
            assert_eq!((datagram.len, datagram.truncated, files.is_empty()), (5, false, count == 0));
            assert_eq!(datagram.sender.map(|who| who.pid), Some(std::process::id() as i32));
        }
        assert_eq!(std::fs::read_dir("/proc/self/fd").unwrap().count(), before);
        assert!(peer::receive_datagram_with(&ours, &mut [0; 4], &mut Vec::new()).is_err());
    }
}
