//! The control socket: how any process of the machine's owner talks to its supervisor.
//!
//! `<state directory>/control`, `SOCK_SEQPACKET`, mode 0600, peers checked by `SO_PEERCRED`. One packet is one message;
//! its first byte says which kind:
//! ```text
//!   {   JSON, as in varlink:   {"method":"io.hostel.Machine.Stop","parameters":{…}}            client → supervisor
//!                              {"parameters":{…}}  {"error":"io.hostel.Machine.…","parameters":{"message":…}}   ←
//!                              {"continues":true,"parameters":{"event":{…}}}  later news, after Console, Stop or Listen ←
//!   D   the rest is console data                                                               both ways
//!   L   8 bytes, big-endian: how many bytes of console data this client was too slow for; then as D     ←
//! ```
//! A request is at most 4 KiB, any packet at most 16 KiB + 9. The supervisor never waits for a client: console data a
//! client does not take is dropped and counted for it, and a client that does not take a reply is disconnected.
//! Connections stay open until the supervisor has undone everything: end of file means that the machine is gone.

mod client;
mod server;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use client::{CallError, Connection, Received, Remote};
pub use server::{Incoming, Server};

/// Name of the socket in the state directory.
pub const SOCKET: &str = "control";
/// Longest request, in bytes.
pub const MAX_REQUEST: usize = 4 << 10;
/// Longest packet, in bytes: a console read and what goes before it.
pub const MAX_PACKET: usize = (16 << 10) + 9;

const DATA: u8 = b'D';
const LOST: u8 = b'L';
const INTERFACE: &str = "io.hostel.Machine.";

/// What should become of the machine, whatever its init says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    /// It runs; a reboot starts it again.
    #[default]
    On,
    /// It is to end; a reboot ends it, too.
    Off,
}

/// Who gets a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// PID 1 of the machine.
    #[default]
    Leader,
    /// Every process of the machine.
    All,
}

/// A request: method and parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `Ping`: is anybody there?
    Ping,
    /// `Status`: answered with [`Status`].
    Status,
    /// `Stop`: end it as its init wants to be ended; [`Event::Ended`] follows.
    Stop(Stop),
    /// `Reboot`: ask its init to start anew.
    Reboot,
    /// `Kill`: send a signal.
    Kill(Kill),
    /// `Console`: from now on this connection carries console data; the log's end is replayed first.
    Console(Console),
    /// `Resize`: the visitor's window has another size.
    Resize(Window),
    /// `SetDesired`: only note what should become of it.
    SetDesired(SetDesired),
    /// `Listen`: answered with [`Status`]; every [`Event`] from now on follows.
    Listen,
}

/// Parameters of `Stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// Milliseconds until it is killed; `None` = the machine's own.
    pub timeout_ms: Option<u64>,
    /// Kill it at once.
    pub force: bool,
}

/// Parameters of `Kill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Raw signal number, 1…64.
    pub signal: i32,
    /// Who gets it.
    #[serde(default)]
    pub whom: Whom,
}

/// Parameters of `Console`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Console {
    /// The visitor's window, when there is one.
    pub window: Option<Window>,
    /// How many bytes of the log to replay, at most 64 KiB.
    pub replay: u32,
    /// Look, don't touch.
    pub read_only: bool,
}

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// Parameters of `SetDesired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDesired {
    /// What should become of the machine.
    pub desired: Desired,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    method: String,
    #[serde(default)]
    parameters: Value,
}

/// What serialises as a value, and back. By the text, as everything else is: a second kind of (de)serialiser would be compiled for each type.
pub fn value_of(plain: &impl Serialize) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(&serde_json::to_vec(plain)?)
}

/// The other way.
pub(crate) fn read_value<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    serde_json::from_slice(&serde_json::to_vec(value)?)
}

impl Request {
    /// The method's full name.
    pub fn method(&self) -> String {
        let name = match self {
            Request::Ping => "Ping",
            Request::Status => "Status",
            Request::Stop(_) => "Stop",
            Request::Reboot => "Reboot",
            Request::Kill(_) => "Kill",
            Request::Console(_) => "Console",
            Request::Resize(_) => "Resize",
            Request::SetDesired(_) => "SetDesired",
            Request::Listen => "Listen",
        };
        format!("{INTERFACE}{name}")
    }

    fn to_json(&self) -> Vec<u8> {
        let parameters = match self {
            Request::Ping | Request::Status | Request::Reboot | Request::Listen => Ok(Value::Object(serde_json::Map::new())),
            Request::Stop(p) => value_of(p),
            Request::Kill(p) => value_of(p),
            Request::Console(p) => value_of(p),
            Request::Resize(p) => value_of(p),
            Request::SetDesired(p) => value_of(p),
        };
        // Plain structs of numbers and booleans always serialise.
        let envelope = Envelope { method: self.method(), parameters: parameters.unwrap_or_default() };
        serde_json::to_vec(&envelope).unwrap_or_default()
    }

    /// Reads a request; the error is what the client is told.
    pub fn parse(json: &[u8]) -> Result<Request, Refusal> {
        let Envelope { method, parameters } = serde_json::from_slice(json).map_err(Refusal::bad)?;
        let parameters = if parameters.is_null() { Value::Object(serde_json::Map::new()) } else { parameters };
        fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Refusal> {
            read_value(&value).map_err(Refusal::bad)
        }
        Ok(match method.strip_prefix(INTERFACE).unwrap_or_default() {
            "Ping" => Request::Ping,
            "Status" => Request::Status,
            "Stop" => Request::Stop(read(parameters)?),
            "Reboot" => Request::Reboot,
            "Kill" => {
                let kill: Kill = read(parameters)?;
                if !(1..=64).contains(&kill.signal) {
                    return Err(Refusal::new(Refusal::BAD_REQUEST, "there is no signal of this number"));
                }
                Request::Kill(kill)
            }
            "Console" => Request::Console(read(parameters)?),
            "Resize" => Request::Resize(read(parameters)?),
            "SetDesired" => Request::SetDesired(read(parameters)?),
            "Listen" => Request::Listen,
            _ => return Err(Refusal::new(Refusal::NO_METHOD, "there is no such method")),
        })
    }
}

/// Why the supervisor does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Short name, one of the constants below.
    pub name: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// The packet is no request.
    pub const BAD_REQUEST: &'static str = "BadRequest";
    /// No such method.
    pub const NO_METHOD: &'static str = "MethodNotFound";
    /// The machine has no console.
    pub const NO_CONSOLE: &'static str = "NoConsole";
    /// It was tried and did not work.
    pub const FAILED: &'static str = "Failed";

    /// A refusal for people to read.
    pub fn new(name: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { name, message: message.into() }
    }
    fn bad(e: serde_json::Error) -> Refusal {
        Refusal::new(Refusal::BAD_REQUEST, format!("parse request: {e}"))
    }
}

/// Answer to `Status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The machine's PID 1, as the supervisor's pid namespace counts.
    pub leader: i32,
    /// The supervisor itself.
    pub supervisor: i32,
    /// What it is doing.
    pub state: State,
    /// What should become of it.
    pub desired: Desired,
    /// The payload said `READY=1`.
    pub ready: bool,
    /// The payload's last `STATUS=`.
    pub status_text: String,
    /// Milliseconds since PID 1 was started.
    pub uptime_ms: u64,
    /// Connections with a console on them, this one not counted.
    pub visitors: u32,
    /// Bytes the console log has lost to a full disk.
    pub log_lost: u64,
}

/// What a supervisor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The machine runs.
    #[default]
    Running,
    /// It was asked to end.
    Stopping,
    /// It was killed, death is awaited.
    Killing,
}

/// News for a connection that asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// PID 1 is dead.
    Ended(Ended),
    /// The payload said `READY=1`.
    Ready,
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// Exit status of PID 1.
    pub code: Option<u8>,
    /// Or the signal that ended it; the kernel says `SIGINT` for power-off and `SIGHUP` for reboot.
    pub signal: Option<u8>,
    /// A core was dumped.
    pub core: bool,
    /// The supervisor killed it.
    pub killed: bool,
    /// It had not ended in time.
    pub timed_out: bool,
    /// It is started again.
    pub reboots: bool,
    /// What the supervisor's own exit status is, unless the machine is started again: as a shell says it.
    pub status: Option<u8>,
}
