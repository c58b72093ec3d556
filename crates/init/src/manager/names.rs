//! Type=dbus: whether somebody owns a name on the system's message bus. One connection for all services, made when the first is
//! started; nothing here waits for the bus, for it may be waiting for us.
//!
//! When the bus goes away, services that wait for their name wait for it on another bus if one answers, and what runs is watched
//! again from the next connection on.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use hostel_ipc::dbus::{Kind, Message, SYSTEM_BUS, Value, message_length};
use hostel_process::event::Interest;
use hostel_unit::UnitName;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::Manager;
use super::config::Type;
use super::world::{Token, World};

const BUS: &str = "org.freedesktop.DBus";
/// What is longer than this was not asked for.
const REST_MAX: usize = 1 << 16;

/// The connection, while there is one.
#[derive(Debug, Default)]
pub struct Names(Option<Link>, Option<std::time::Instant>);

#[derive(Debug)]
struct Link {
    stream: UnixStream,
    /// What came and is not whole.
    rest: Vec<u8>,
    /// It has let us in.
    is_in: bool,
    serial: u32,
    /// Questions that are not answered yet: which name each is about.
    asked: Vec<(u32, String)>,
    watched: Vec<String>,
}

/// What was heard.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// Names, and whether somebody owns them now.
    names: Vec<(String, bool)>,
    /// The first answer of this connection.
    is_first: bool,
    /// It is over.
    is_lost: bool,
}

impl Link {
    fn new(path: &str) -> io::Result<Link> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let stream = UnixStream::from(socket);
        let uid: String = rustix::process::geteuid().as_raw().to_string().bytes().map(|b| format!("{b:02x}")).collect();
        let mut link = Link { stream, rest: Vec::new(), is_in: false, serial: 0, asked: Vec::new(), watched: Vec::new() };
        // all at once: an answer comes when the bus has time
        link.stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes())?;
        link.call("Hello", Vec::new())?;
        Ok(link)
    }

    fn call(&mut self, member: &str, body: Vec<Value>) -> io::Result<u32> {
        self.serial += 1;
        let call = Message { serial: self.serial, ..Message::call(Some(BUS), "/org/freedesktop/DBus", BUS, member, body) };
        self.stream.write_all(&call.encode())?;
        Ok(self.serial)
    }

    fn watch(&mut self, name: &str) -> io::Result<()> {
        if !self.watched.iter().any(|known| known == name) {
            let rule = format!("type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{name}'");
            self.call("AddMatch", vec![Value::text(rule)])?;
            let serial = self.call("GetNameOwner", vec![Value::text(name)])?;
            self.asked.push((serial, name.to_owned()));
            self.watched.push(name.to_owned());
        }
        Ok(())
    }

    fn read(&mut self) -> News {
        let mut news = News::default();
        let mut buffer = [0u8; 4096];
        // a bus that talks without end is heard again later
        for _ in 0..16 {
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 && self.rest.len() < REST_MAX => self.rest.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    news.is_lost = true;
                    break;
                }
            }
        }
        if !self.is_in {
            let Some(end) = self.rest.windows(2).position(|two| two == b"\r\n") else { return news };
            let line: Vec<u8> = self.rest.drain(..end + 2).collect();
            self.is_in = line.starts_with(b"OK ");
            news.is_first = self.is_in;
            news.is_lost |= !self.is_in;
        }
        while self.is_in {
            match message_length(&self.rest) {
                Ok(Some(length)) if self.rest.len() >= length => {
                    let bytes: Vec<u8> = self.rest.drain(..length).collect();
                    news.names.extend(Message::decode(&bytes).ok().and_then(|message| self.meaning(&message)));
                }
                Ok(_) => break,
                Err(_) => {
                    news.is_lost = true;
                    break;
                }
            }
        }
        news
    }

    /// A name, and whether it is owned.
    fn meaning(&mut self, message: &Message) -> Option<(String, bool)> {
        match (message.kind, message.reply_to) {
            (kind @ (Kind::Return | Kind::Error), Some(serial)) => {
                let at = self.asked.iter().position(|(asked, _)| *asked == serial)?;
                Some((self.asked.swap_remove(at).1, kind == Kind::Return))
            }
            (Kind::Signal, _) if message.member.as_deref() == Some("NameOwnerChanged") && message.sender.as_deref() == Some(BUS) => {
                let text = |at: usize| message.body.get(at).and_then(Value::as_text);
                Some((text(0)?.to_owned(), !text(2)?.is_empty()))
            }
            _ => None,
        }
    }
}

impl Names {
    /// From now on it is told who owns a name; the connection, if it is a new one.
    fn watch(&mut self, path: &str, name: &str) -> io::Result<Option<BorrowedFd<'_>>> {
        let is_new = self.0.is_none();
        let mut link = match self.0.take() {
            Some(link) => link,
            // one that hung up before it let us in is not asked again and again
            None if self.1.is_some_and(|at| at.elapsed() < std::time::Duration::from_secs(1)) => return Err(io::ErrorKind::WouldBlock.into()),
            None => Link::new(path)?,
        };
        match link.watch(name) {
            // nobody would hear that it has hung up
            Err(e) if is_new => Err(e),
            // one that hangs up is still watched, and forgotten when that is heard
            watched => {
                let link = self.0.insert(link);
                watched.map(|()| is_new.then_some(link.stream.as_fd()))
            }
        }
    }
}

impl World<'_> {
    /// Whether there is a bus that tells of a name.
    pub(super) fn watch_bus_name(&mut self, name: &str) -> bool {
        match self.shared.names.watch(SYSTEM_BUS, name) {
            Ok(Some(fd)) => self.shared.poller.want(Token::Names, fd, Interest::READ).is_ok(),
            Ok(None) => true,
            Err(_) => {
                let why = "no message bus answers: the service counts as started when its program was executed";
                super::world::degrade(&mut self.rest.degraded, &self.rest.unit, "Service", &["BusName"], why);
                false
            }
        }
    }
}

impl Manager {
    /// The bus said something.
    pub(super) fn names_woke(&mut self) {
        let Some(link) = &mut self.shared.names.0 else { return };
        let news = link.read();
        if news.is_lost
            && let Some(link) = self.shared.names.0.take()
        {
            self.shared.poller.forget(Token::Names, &link.stream);
            self.shared.names.1 = (!link.is_in).then(std::time::Instant::now);
        }
        let is_dbus = |live: &&super::live::Live| live.service.as_ref().is_some_and(|service| service.config.kind == Type::Dbus);
        let all: Vec<UnitName> = self.units.values().filter(is_dbus).map(|live| live.name().clone()).collect();
        for unit in all {
            self.with(&unit, |service, world| {
                for (name, owned) in &news.names {
                    if service.config.bus_name.as_ref() == Some(name) {
                        service.named(*owned, world);
                    }
                }
                if news.is_lost {
                    service.bus_lost(world);
                } else if news.is_first {
                    service.watch_name_again(world);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answer(peer: &mut UnixStream, message: Message) {
        peer.write_all(&Message { serial: 9, sender: Some(BUS.to_owned()), ..message }.encode()).unwrap();
    }

    #[test]
    fn a_bus_tells_who_owns_what() {
        let path = std::env::temp_dir().join(format!("hostel-names-{}", std::process::id()));
        let path = path.to_str().unwrap();
        let listener = UnixListener::bind(path).unwrap();
        let mut names = Names::default();
        assert!(names.watch("/nowhere", "a.b").is_err() && names.0.is_none());
        assert!(names.watch(path, "a.b").unwrap().is_some());
        assert!(names.watch(path, "a.b").unwrap().is_none() && names.watch(path, "c.d").unwrap().is_none());
        std::fs::remove_file(path).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut said = vec![0u8; 4096];
        let count = peer.read(&mut said).unwrap();
        let begin = said.windows(7).position(|w| w == b"BEGIN\r\n").unwrap() + 7;
        let (mut rest, mut members) = (&said[begin..count], Vec::new());
        while let Some(length) = message_length(rest).unwrap() {
            let call = Message::decode(&rest[..length]).unwrap();
            members.push((call.member.unwrap(), call.serial));
            rest = &rest[length..];
        }
        let words: Vec<&str> = members.iter().map(|(member, _)| member.as_str()).collect();
        assert_eq!(words, ["Hello", "AddMatch", "GetNameOwner", "AddMatch", "GetNameOwner"]);
        let link = names.0.as_mut().unwrap();
        assert_eq!(link.read(), News::default());
        peer.write_all(b"OK 0123\r\n").unwrap();
        answer(&mut peer, Message { reply_to: Some(members[2].1), body: vec![Value::text(":1.5")], ..Message::new(Kind::Return) });
        let error = || Message { error: Some("x.y.NameHasNoOwner".to_owned()), ..Message::new(Kind::Error) };
        answer(&mut peer, Message { reply_to: Some(members[4].1), ..error() });
        answer(&mut peer, Message { reply_to: Some(77), ..error() });
        let news = link.read();
        assert_eq!(news, News { names: vec![("a.b".into(), true), ("c.d".into(), false)], is_first: true, is_lost: false });
        let changed = |owner: &str| Message {
            path: Some("/".to_owned()),
            interface: Some(BUS.to_owned()),
            member: Some("NameOwnerChanged".to_owned()),
            body: vec![Value::text("c.d"), Value::text(""), Value::text(owner)],
            ..Message::new(Kind::Signal)
        };
        answer(&mut peer, changed(":1.7"));
        answer(&mut peer, changed(""));
        assert_eq!(link.read().names, [("c.d".to_owned(), true), ("c.d".to_owned(), false)]);
        drop(peer);
        assert!(link.read().is_lost);
    }
}
