//! Mounts a person asked for, besides those every machine gets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the content of a bind or overlay layer comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountSource {
    /// An absolute path on the host.
    Host(PathBuf),
    /// An absolute path inside the tree (`+` prefix).
    Tree(PathBuf),
    /// A fresh directory under /var/tmp, removed at the end (empty source).
    Temporary,
}

/// Id mapping of a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdMapping {
    /// Host ids as they are (`noidmap`).
    #[default]
    None,
    /// Host id N is machine id N (`idmap`).
    Idmap,
    /// Host root is machine root, nothing else (`rootidmap`).
    Rootidmap,
    /// The owner of the source is machine root (`owneridmap`).
    Owneridmap,
}

/// Options of a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindOptions {
    /// Submounts too (`rbind`, the default).
    pub recursive: bool,
    /// Id mapping.
    pub mapping: IdMapping,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self { recursive: true, mapping: IdMapping::None }
    }
}

/// One mount, in the order given on the command line. Targets are absolute paths inside the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Mount {
    /// A host (or tree) path appears at `target`.
    Bind {
        /// What appears.
        source: MountSource,
        /// Where.
        target: PathBuf,
        /// Cannot be written through.
        read_only: bool,
        /// Recursion and id mapping.
        options: BindOptions,
    },
    /// A fresh tmpfs.
    Tmpfs {
        /// Where.
        target: PathBuf,
        /// Comma-separated mount options as for mount(8); default `mode=0755`.
        options: String,
    },
    /// Layers combined.
    Overlay {
        /// Lowest first.
        lower: Vec<MountSource>,
        /// Writable layer; `None` for a read-only overlay.
        upper: Option<MountSource>,
        /// Where.
        target: PathBuf,
    },
    /// Made unreadable: covered by a node of the same type with mode 000.
    Inaccessible {
        /// Must exist in the tree.
        target: PathBuf,
    },
}

impl Mount {
    /// The path inside the machine.
    pub fn target(&self) -> &PathBuf {
        match self {
            Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } | Mount::Overlay { target, .. } | Mount::Inaccessible { target } => target,
        }
    }
}
