//! Layers of an overlay root that are each in a place of their own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::OsText;

/// An overlay over the machine's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Further lower layers over the tree, the topmost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<PathBuf>,
    /// What is written to.
    pub upper: UpperLayer,
    /// The identity and the jobs of the system below are covered by a layer between it and the upper one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hygiene: bool,
}

/// What an overlay is written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpperLayer {
    /// A directory that stays, and a work directory on the same mount.
    Kept {
        /// The layer.
        upper: PathBuf,
        /// Its work directory.
        work: PathBuf,
        /// Where layers of file systems below the root are: a directory for each.
        parts: PathBuf,
    },
    /// A tmpfs of this size (as for mount(8)).
    Tmpfs(String),
}

/// A program of the host's that is run when the root is complete, with the host's files still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostMount {
    /// For sh(1); its arguments are `live` and `upper`.
    pub command: String,
    /// Where the root is shown to it.
    pub live: PathBuf,
    /// The upper layer.
    pub upper: PathBuf,
    /// Where it runs.
    pub directory: PathBuf,
    /// `NAME=value`, nothing else.
    pub env: Vec<OsText>,
    /// What it says.
    pub log: PathBuf,
}
