//! Socket units: they listen, and start their service when somebody comes.
//!
//! ```text
//!  dead ─► start-pre ─► (opened) ─► start-post ─► listening ◄─► running: its service has what came
//!  dead, failed ◄─ stop-post ◄─ (closed) ◄─ stop-pre ◄─ stop, or too many starts
//! ```
//! What is listened on is kept open while the service runs, restarts or is down: nothing that comes meanwhile is lost.

pub mod address;
pub mod config;
mod connect;
mod life;
mod open;

use std::os::fd::OwnedFd;
use std::time::Instant;

use hostel_unit::UnitName;

pub use address::Way;
pub use config::{Config, Step};

use super::exits::StartLimit;
use super::state::{Active, Outcome};
use crate::load::Unit;

/// Where a socket unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Dead,
    StartPre,
    StartPost,
    Listening,
    Running,
    StopPre,
    StopPost,
    Failed,
}

impl State {
    /// As SubState.
    pub fn word(self) -> &'static str {
        match self {
            State::Dead => "dead",
            State::StartPre => "start-pre",
            State::StartPost => "start-post",
            State::Listening => "listening",
            State::Running => "running",
            State::StopPre => "stop-pre",
            State::StopPost => "stop-post",
            State::Failed => "failed",
        }
    }

    /// What that is for others.
    pub fn active(self) -> Active {
        match self {
            State::Dead => Active::Inactive,
            State::Failed => Active::Failed,
            State::StartPre | State::StartPost => Active::Activating,
            State::Listening | State::Running => Active::Active,
            State::StopPre | State::StopPost => Active::Deactivating,
        }
    }
}

/// One socket unit.
#[derive(Debug)]
pub struct Socket {
    /// What it is to be.
    pub config: Config,
    /// Where it is.
    pub state: State,
    /// Why it ended.
    pub result: Outcome,
    /// The command that runs now, and which of its list it is.
    pub control: Option<(i32, Step, usize)>,
    /// When that has lasted long enough.
    pub deadline: Option<Instant>,
    /// Starts of its service in a window.
    pub limit: StartLimit,
    /// Connections that live, each with its service and, of the Internet, where it comes from.
    pub connections: Vec<(UnitName, Option<std::net::IpAddr>)>,
    /// Connections that were taken.
    pub accepted: u64,
    /// Connections that were refused.
    pub refused: u64,
}

impl Socket {
    /// One that was never started.
    pub fn new(unit: &Unit) -> Socket {
        let config = Config::of(unit);
        let limit = StartLimit::new(config.trigger_limit.0, config.trigger_limit.1);
        Socket {
            config,
            state: State::Dead,
            result: Outcome::Success,
            control: None,
            deadline: None,
            limit,
            connections: Vec::new(),
            accepted: 0,
            refused: 0,
        }
    }
}

/// Something that is open and listened on.
#[derive(Debug)]
pub struct Port {
    /// Whose.
    pub socket: UnitName,
    /// The service that gets it, unless each connection has its own.
    pub service: Option<UnitName>,
    /// Its name for the service.
    pub name: String,
    /// Itself.
    pub fd: OwnedFd,
    /// What kind it is.
    pub way: Way,
    /// Of its socket unit the number among the poller's, and which of them it is.
    pub number: (u32, u32),
    /// It is also for commands besides the main one.
    pub to_commands: bool,
}

/// The other end of a connection, and this one.
#[derive(Debug)]
pub struct Connection {
    /// This end.
    pub fd: OwnedFd,
    /// The socket unit that took it.
    pub socket: UnitName,
    /// Of the Internet: the other end's address.
    pub peer: Option<std::net::SocketAddr>,
}
