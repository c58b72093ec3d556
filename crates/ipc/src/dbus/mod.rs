//! D-Bus as a peer speaks it: messages, and a client that asks one thing at a time. No daemon is needed on the way: systemd
//! answers on `/run/systemd/private`, too.
//!
//! ```text
//!  Type (signature.rs) ── Value (value.rs) ── bytes (wire.rs) ── Message (message.rs) ── Connection (connection.rs)
//! ```
//! Source: the D-Bus Specification 0.43.

mod connection;
mod message;
mod signature;
mod value;
mod wire;

#[cfg(test)]
mod tests;

pub use connection::{CallError, Connection, SYSTEM_BUS, SYSTEMD_PRIVATE};
pub use message::{Kind, Message, message_length};
pub use signature::Type;
pub use value::Value;

/// What came is no D-Bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read D-Bus message: {0}")]
pub struct Malformed(pub &'static str);

/// Shorthand.
type Result<T> = std::result::Result<T, Malformed>;
