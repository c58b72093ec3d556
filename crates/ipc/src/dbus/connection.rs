//! A client: connects, says who it is, asks, waits for the answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::message::{Kind, Message, message_length};
use super::value::Value;

/// The system's message bus.
pub const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// systemd itself; only root is let in.
pub const SYSTEMD_PRIVATE: &str = "/run/systemd/private";
/// Longest line while authenticating, in bytes.
const MAX_LINE: usize = 1 << 10;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The other side is not there, went away, or takes too long.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not speak D-Bus, or does not let us in.
    #[error("{0}")]
    Protocol(&'static str),
    /// It says no.
    #[error("{text} ({name})")]
    Refused {
        /// Name of the error, such as `org.freedesktop.DBus.Error.AccessDenied`.
        name: String,
        /// For people; the name again where it says nothing.
        text: String,
    },
}

/// An open connection. One question at a time; what comes in between is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    serial: u32,
    /// For each answer.
    limit: Duration,
    /// Bytes that came after the last message.
    rest: Vec<u8>,
}

impl Connection {
    /// Connects to a peer: no bus between. Each answer must come within `limit`.
    pub fn peer(socket: &Path, limit: Duration) -> Result<Self, CallError> {
        let stream = UnixStream::connect(socket)?;
        let mut connection = Self { stream, serial: 0, limit, rest: Vec::new() };
        connection.authenticate()?;
        Ok(connection)
    }

    /// Connects to a message bus.
    pub fn bus(socket: &Path, limit: Duration) -> Result<Self, CallError> {
        let mut connection = Self::peer(socket, limit)?;
        let bus = "org.freedesktop.DBus";
        connection.call(Some(bus), "/org/freedesktop/DBus", bus, "Hello", Vec::new())?;
        Ok(connection)
    }

    /// EXTERNAL: the kernel says who we are, we only name it.
    fn authenticate(&mut self) -> Result<(), CallError> {
        let end = Instant::now() + self.limit;
        let uid: String = rustix::process::geteuid().as_raw().to_string().bytes().map(|b| format!("{b:02x}")).collect();
        self.stream.set_write_timeout(Some(self.limit))?;
        self.stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let line = loop {
            if let Some(end) = self.rest.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.rest.drain(..end + 2).collect();
                break line;
            }
            if self.rest.len() > MAX_LINE {
                return Err(CallError::Protocol("it does not speak D-Bus"));
            }
            self.fill(end)?;
        };
        if !line.starts_with(b"OK ") {
            return Err(CallError::Protocol(if line.starts_with(b"REJECTED") { "it does not let us in" } else { "it does not speak D-Bus" }));
        }
        self.stream.write_all(b"BEGIN\r\n")?;
        Ok(())
    }

    /// Calls a method; returns what it answers. `destination`: none for a peer.
    pub fn call(&mut self, destination: Option<&str>, path: &str, interface: &str, member: &str, body: Vec<Value>) -> Result<Vec<Value>, CallError> {
        let end = Instant::now() + self.limit;
        let serial = self.send(Message::call(destination, path, interface, member, body))?;
        loop {
            let answer = self.receive(end)?;
            if answer.reply_to != Some(serial) {
                continue;
            }
            match answer.kind {
                Kind::Return => return Ok(answer.body),
                Kind::Error => {
                    let name = answer.error.unwrap_or_default();
                    let text = answer.body.first().and_then(Value::as_text).filter(|t| !t.is_empty()).unwrap_or(&name).to_owned();
                    return Err(CallError::Refused { name, text });
                }
                Kind::Call | Kind::Signal => {}
            }
        }
    }

    /// Waits for a signal of this name for which `wanted` says yes, as long as for an answer.
    pub fn wait_for(&mut self, member: &str, wanted: &mut dyn FnMut(&[Value]) -> bool) -> Result<Vec<Value>, CallError> {
        let end = Instant::now() + self.limit;
        loop {
            let message = self.receive(end)?;
            if message.kind == Kind::Signal && message.member.as_deref() == Some(member) && wanted(&message.body) {
                return Ok(message.body);
            }
        }
    }

    fn send(&mut self, mut message: Message) -> Result<u32, CallError> {
        self.serial += 1;
        message.serial = self.serial;
        self.stream.write_all(&message.encode())?;
        Ok(self.serial)
    }

    fn receive(&mut self, end: Instant) -> Result<Message, CallError> {
        loop {
            match message_length(&self.rest).map_err(|e| CallError::Protocol(e.0))? {
                Some(length) if self.rest.len() >= length => {
                    let bytes: Vec<u8> = self.rest.drain(..length).collect();
                    return Message::decode(&bytes).map_err(|e| CallError::Protocol(e.0));
                }
                _ => self.fill(end)?,
            }
        }
    }

    /// Reads what there is, at least a byte, until `end`.
    fn fill(&mut self, end: Instant) -> Result<(), CallError> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut buffer = [0u8; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(count) => {
                self.rest.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            Err(e) => Err(e.into()),
        }
    }
}
