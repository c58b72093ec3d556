//! The command line's end: every wait has a limit, so that a hung supervisor does not hang the caller.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{self, Errno};
use rustix::net::{AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{DATA, Event, LOST, MAX_PACKET, Request, SOCKET};
use crate::path_in;

/// Between two tries to get into a full queue of connections.
const RETRY: Duration = Duration::from_millis(10);

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens: the machine does not run, or its supervisor is dead.
    #[error("connect to the supervisor: nobody listens")]
    NobodyListens,
    /// We are neither root nor the machine's owner, or there are too many connections.
    #[error("talk to the supervisor: it closed the connection")]
    Closed,
    /// It did not answer in time.
    #[error("wait for the supervisor: no answer within {0:?}")]
    TimedOut(Duration),
    /// It refused.
    #[error("{0}")]
    Refused(Remote),
    /// What came is not of this protocol.
    #[error("understand the supervisor's answer: {0}")]
    Garbled(&'static str),
    /// A system call failed.
    #[error("{0} the supervisor: {1}")]
    System(&'static str, Errno),
}

/// An error the supervisor sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Full name, `io.hostel.Machine.…`.
    pub name: String,
    /// For people.
    pub message: String,
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.message.is_empty() { &self.name } else { &self.message })
    }
}

/// One message from a supervisor.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'b> {
    /// The machine wrote to its console.
    Data {
        /// Bytes before these that we were too slow for.
        lost: u64,
        /// What it wrote.
        bytes: &'b [u8],
    },
    /// News.
    Event(Event),
    /// Answer to a request: its parameters.
    Reply(Value),
    /// Answer to a request: no.
    Refused(Remote),
    /// The supervisor is gone, and with it the machine.
    Closed,
}

#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
    #[serde(default)]
    continues: bool,
    #[serde(default)]
    parameters: Value,
}

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Connection {
    fd: OwnedFd,
    timeout: Duration,
}

impl Connection {
    /// Connects to the supervisor whose state directory is `dir`. `timeout` holds for this and for every later call.
    pub fn connect(dir: BorrowedFd<'_>, timeout: Duration) -> Result<Connection, CallError> {
        let system = |e| CallError::System("connect to", e);
        let deadline = Instant::now() + timeout;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(system)?;
        let address = SocketAddrUnix::new(path_in(dir, SOCKET)).map_err(system)?;
        loop {
            match connect(&fd, &address) {
                Ok(()) => return Ok(Connection { fd, timeout }),
                Err(Errno::NOENT | Errno::CONNREFUSED) => return Err(CallError::NobodyListens),
                Err(Errno::INTR) => {}
                // Its queue of connections is full: it is slow or hung.
                Err(Errno::AGAIN) if Instant::now() < deadline => std::thread::sleep(RETRY),
                Err(Errno::AGAIN) => return Err(CallError::TimedOut(timeout)),
                Err(e) => return Err(system(e)),
            }
        }
    }

    /// Another limit for calls from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Asks and waits for the answer. Console data and news that come before it are dropped.
    pub fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, CallError> {
        let deadline = Instant::now() + self.timeout;
        self.send(request, deadline)?;
        let mut buf = [0u8; MAX_PACKET];
        loop {
            match self.receive(&mut buf, Some(deadline))? {
                Received::Reply(value) => {
                    return super::read_value(&value).map_err(|_| CallError::Garbled("unexpected parameters"));
                }
                Received::Refused(remote) => return Err(CallError::Refused(remote)),
                Received::Closed => return Err(CallError::Closed),
                Received::Data { .. } | Received::Event(_) => {}
            }
        }
    }

    /// Asks without waiting for the answer: it comes as [`Received::Reply`].
    pub fn post(&self, request: &Request) -> Result<(), CallError> {
        self.send(request, Instant::now() + self.timeout)
    }

    fn send(&self, request: &Request, deadline: Instant) -> Result<(), CallError> {
        let packet = request.to_json();
        loop {
            match rustix::net::send(&self.fd, &packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, Some(deadline))?,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(CallError::Closed),
                Err(e) => return Err(CallError::System("write to", e)),
            }
        }
    }

    /// Types on the console; `false` when the supervisor takes nothing now. At most 1 KiB at a time.
    pub fn type_in(&self, bytes: &[u8]) -> Result<bool, CallError> {
        let parts = [IoSlice::new(&[DATA]), IoSlice::new(bytes)];
        let none = &mut SendAncillaryBuffer::default();
        match io::retry_on_intr(|| rustix::net::sendmsg(&self.fd, &parts, none, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(CallError::Closed),
            Err(e) => Err(CallError::System("write to", e)),
        }
    }

    /// The next message, waited for until `deadline` (`None`: without limit). `buf` holds [`MAX_PACKET`] bytes.
    pub fn receive<'b>(&self, buf: &'b mut [u8], deadline: Option<Instant>) -> Result<Received<'b>, CallError> {
        let length = loop {
            match rustix::net::recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok((_, length)) => break length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline)?,
                Err(Errno::CONNRESET) => break 0,
                Err(e) => return Err(CallError::System("read from", e)),
            }
        };
        match buf.get(..length) {
            None => Err(CallError::Garbled("it is too long")),
            Some([]) => Ok(Received::Closed),
            Some([DATA, bytes @ ..]) => Ok(Received::Data { lost: 0, bytes }),
            Some([LOST, rest @ ..]) => match rest.split_first_chunk::<8>() {
                Some((lost, bytes)) => Ok(Received::Data { lost: u64::from_be_bytes(*lost), bytes }),
                None => Err(CallError::Garbled("it is too short")),
            },
            Some(json) => parse_answer(json),
        }
    }

    fn wait(&self, what: PollFlags, deadline: Option<Instant>) -> Result<(), CallError> {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(CallError::TimedOut(self.timeout));
        }
        let left = left.map(|d| Timespec { tv_sec: d.as_secs().min(i32::MAX as u64) as i64, tv_nsec: d.subsec_nanos().into() });
        let mut fds = [PollFd::new(&self.fd, what)];
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(CallError::System("wait for", e)),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn parse_answer<'b>(json: &[u8]) -> Result<Received<'b>, CallError> {
    let answer: Answer = serde_json::from_slice(json).map_err(|_| CallError::Garbled("it is no JSON answer"))?;
    if let Some(name) = answer.error {
        let message = answer.parameters["message"].as_str().unwrap_or_default().to_owned();
        return Ok(Received::Refused(Remote { name, message }));
    }
    if answer.continues {
        let event = super::read_value(&answer.parameters["event"]);
        return event.map(Received::Event).map_err(|_| CallError::Garbled("unknown news"));
    }
    Ok(Received::Reply(answer.parameters))
}
