//! One difference between a machine's view and what it lies over.

use std::path::PathBuf;

use hostel_spec::OsText;
use rustix::fs::FileType;
use serde::Serialize;

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// There was nothing of that name.
    Added,
    /// Other contents, or another kind of entry.
    Changed,
    /// The same contents; other mode, owner, attributes or names.
    Metadata,
    /// It is gone, with all that was in it.
    Deleted,
}

impl What {
    /// One letter.
    pub fn letter(self) -> char {
        match self {
            What::Added => 'A',
            What::Changed => 'M',
            What::Metadata => 'm',
            What::Deleted => 'D',
        }
    }
}

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, FIFO or socket.
    Special,
}

impl Kind {
    pub(crate) fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            _ => Kind::Special,
        }
    }
}

/// In what an entry differs from the one below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Differs {
    /// Contents, target or device number.
    pub content: bool,
    /// Permissions.
    pub mode: bool,
    /// User or group.
    pub owner: bool,
    /// Extended attributes, ACLs among them.
    pub attributes: bool,
    /// Which other names lead to the same file.
    pub links: bool,
}

impl Differs {
    pub(crate) fn any(self) -> bool {
        self != Differs::default()
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Absolute, as the machine has it.
    pub path: OsText,
    /// What happened to it.
    pub what: What,
    /// What it is now; of a deleted one, what it was.
    pub kind: Kind,
    /// What it was, if that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<Kind>,
    /// In what it differs; nothing of what was added or deleted.
    pub differs: Differs,
    /// Bytes of its contents, as far as it is a file and its own.
    pub bytes: u64,
    /// Index of the layer.
    #[serde(skip)]
    pub layer: usize,
    /// The path below the top of the layer.
    #[serde(skip)]
    pub inside: PathBuf,
    /// Device and inode of an upper file with several names.
    #[serde(skip)]
    pub(crate) inode: Option<(u64, u64)>,
}
