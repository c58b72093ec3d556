//! Users of the host that exist in a machine, too (`--bind-user=`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The login shell of a bound user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoundShell {
    /// Whatever the machine's default is.
    #[default]
    Default,
    /// The one the user has on the host.
    Host,
    /// This one.
    Path(PathBuf),
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BindUsers {
    /// Names on the host and in the machine, each once.
    pub names: Vec<String>,
    /// Their shell.
    pub shell: BoundShell,
    /// Further groups of the machine they are in, each once.
    pub groups: Vec<String>,
}

impl BindUsers {
    /// There is none.
    pub fn is_none(&self) -> bool {
        self.names.is_empty()
    }
    /// There is none, and nothing is said of those that there could be.
    pub(crate) fn is_default(&self) -> bool {
        *self == BindUsers::default()
    }
}
