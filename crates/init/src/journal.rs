//! Logs: what programs send, how it is kept, how it is read again.
//!
//! ```text
//!  pipes of units ─┐
//!  stdout, socket, ├─► Log (limits of rate, the console) ─► Store: files of records ─► Reader: journalctl, status
//!  dev-log ────────┘        manager/log.rs                  store.rs, record.rs         reader.rs
//!   sockets.rs, message.rs
//! ```
//! Files are systemd's in nothing but where they are: journald's are neither read nor written.

pub mod console;
pub mod json;
pub mod lines;
pub mod message;
pub mod pattern;
pub mod reader;
pub mod record;
pub mod sockets;
pub mod store;
pub mod voice;

/// Used when /var/log/journal is there, as journald's Storage=auto.
pub const PERSISTENT: &str = "/var/log/journal/hostel";
/// Used otherwise.
pub const VOLATILE: &str = "/run/log/hostel";
