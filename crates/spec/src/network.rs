//! What network the machine has.

use serde::{Deserialize, Serialize};

/// Whose network stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// The host's.
    #[default]
    Host,
    /// Its own: loopback, and what `Network` adds.
    Private,
}

/// A virtual cable: one end on the host, one in the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VethPair {
    /// Interface name on the host; `None` = derived from the machine's name (`ve-NAME`).
    pub host: Option<String>,
    /// Interface name inside, `host0` by default.
    pub inside: String,
}

/// The machine's network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Network {
    /// Whose stack.
    pub mode: NetworkMode,
    /// Cables, in order.
    pub veth: Vec<VethPair>,
}
