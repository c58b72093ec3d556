//! What the host has of a machine's journal: looked at before anything is decided.

use std::path::{Path, PathBuf};

use hostel_spec::{LinkJournal, MachineUuid};
use hostel_sys::mount;
use rustix::fs::FileType;

/// Where the host keeps journals.
pub const JOURNALS: &str = "/var/log/journal";

/// What is at the place of a machine's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A link to here, where a directory may be.
    Link(PathBuf, bool),
    /// Something else.
    Other,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFacts {
    /// What is at `/var/log/journal/ID`.
    pub place: Place,
    /// It is a mount point.
    pub mounted: bool,
    /// The host keeps journals at all: `/var/log/journal` is there.
    pub persistent: bool,
    /// The host's own machine id is this machine's, too.
    pub same_id: bool,
}

/// The directory of machine `uuid`'s journal, on the host as inside.
pub fn directory(uuid: MachineUuid) -> PathBuf {
    Path::new(JOURNALS).join(uuid.plain())
}

/// Looks; `None`: there is nothing to be done, as most often.
pub fn look(mode: LinkJournal, uuid: MachineUuid) -> Option<JournalFacts> {
    if mode == LinkJournal::No {
        return None;
    }
    let path = directory(uuid);
    let place = match rustix::fs::lstat(&path).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Err(_) if mode == LinkJournal::Auto => return None,
        Err(_) => Place::Missing,
        Ok(FileType::Directory) => Place::Directory,
        Ok(FileType::Symlink) => Place::Link(std::fs::read_link(&path).unwrap_or_default(), path.is_dir()),
        Ok(_) => Place::Other,
    };
    let id = |path: &Path| mount::mount_id(rustix::fs::CWD, &c_path(path)).ok();
    let mounted = place == Place::Directory && id(&path) != id(Path::new(JOURNALS));
    let same_id = std::fs::read_to_string("/etc/machine-id").ok().and_then(|text| MachineUuid::parse(text.trim()).ok()) == Some(uuid);
    Some(JournalFacts { place, mounted, persistent: Path::new(JOURNALS).is_dir(), same_id })
}

fn c_path(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())).unwrap_or_default()
}
