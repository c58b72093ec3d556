//! Whose directory a machine's journal is written to (`--link-journal=`).

use serde::{Deserialize, Serialize};

/// Where the journal lies, as seen from the host at `/var/log/journal/ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkJournal {
    /// In the machine; the host knows nothing of it.
    #[default]
    No,
    /// On the host, if it has a directory for this machine already.
    Auto,
    /// In the tree; the host has a link to it.
    Guest,
    /// The same, if that is possible.
    TryGuest,
    /// On the host, which has a directory made for it.
    Host,
    /// The same, if that is possible.
    TryHost,
}

impl LinkJournal {
    /// Nothing to do, when it cannot be done, is no error.
    pub fn is_attempt(self) -> bool {
        matches!(self, Self::Auto | Self::TryGuest | Self::TryHost)
    }
    /// The journal lies in the tree.
    pub fn is_guest(self) -> bool {
        matches!(self, Self::Guest | Self::TryGuest)
    }
    /// It is [`LinkJournal::No`].
    pub fn is_no(&self) -> bool {
        *self == Self::No
    }
}
