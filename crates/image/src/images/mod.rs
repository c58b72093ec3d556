//! Images by name: which there are, what is known of each, and what can be done to one that does not run.
//!
//! An *image* is a tree or a disk image in one of the directories of [`crate::open::SEARCH`]; the first directory that has
//! a name wins. What begins with a dot is hidden: copies being made, left-overs, cached downloads.

mod change;
mod read_only;
mod sidecars;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hostel_spec::MachineName;
use hostel_sys::tree::btrfs::subvolume;
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use crate::error::On;
use crate::open::{self, Kind};
use crate::{Cause, Result};

pub use change::{Cleaned, Places, clean, clone, forget, lock, refuse_taken, remove, rename, set_limit};
pub(crate) use change::{full, make_home, replaceable};
pub use read_only::set_read_only;
pub use usage::of_tree;

/// The directory images are made in.
pub const HOME: &str = "/var/lib/machines";

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name: that of the file, without `.raw`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    /// Nothing can be written to it as it is.
    pub read_only: bool,
    /// When it was made, where the file system knows.
    pub created: Option<SystemTime>,
    /// When its top directory, or its contents, were last changed.
    pub modified: Option<SystemTime>,
    /// Bytes it takes: of files known, of subvolumes if there is a quota, of directories not (see [`of_tree`]).
    pub usage: Option<u64>,
    /// Bytes it takes that no other shares.
    pub usage_exclusive: Option<u64>,
    /// How large it may grow: a quota, or an image's own size.
    pub limit: Option<u64>,
    /// Limit of what it does not share.
    pub limit_exclusive: Option<u64>,
}

impl Image {
    /// The word for its kind, as machinectl says it.
    pub fn type_word(&self) -> &'static str {
        match self.kind {
            Kind::Directory | Kind::KeptOverlay => "directory",
            Kind::Subvolume => "subvolume",
            Kind::DiskImage => "raw",
            Kind::BlockDevice => "block",
        }
    }

    /// Whether it is kept out of lists.
    pub fn is_hidden(&self) -> bool {
        self.name.starts_with('.')
    }

    fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory | Kind::Subvolume | Kind::KeptOverlay)
    }
}

/// All images of `search` by name; hidden ones when asked for.
///
/// What cannot be looked at is left out: one damaged entry hides no other.
pub fn list(search: &[&Path], hidden: bool) -> Result<Vec<Image>> {
    let mut found: BTreeMap<String, Image> = BTreeMap::new();
    for directory in search {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::NOTDIR)) => continue,
            Err(e) => return Err(Cause::from(e).on("list images in", directory)),
        };
        for entry in entries.flatten() {
            let Some(name) = image_name(&entry.path()) else { continue };
            if name.starts_with('.') && !hidden || found.contains_key(&name) {
                continue;
            }
            if let Ok(Some(image)) = look(&entry.path(), &name) {
                found.insert(name, image);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The image `name` in the directories of `search`.
pub fn find(name: &MachineName, search: &[&Path]) -> Result<Image> {
    for directory in search {
        for path in [directory.join(name.as_str()), directory.join(format!("{}.raw", name.as_str()))] {
            if let Some(image) = look(&path, name.as_str())? {
                return Ok(image);
            }
        }
    }
    let place = search.iter().find(|p| **p == Path::new(HOME)).or(search.first()).copied().unwrap_or(Path::new(HOME));
    Err(Cause::Said(format!("there is none in {} and its like", place.display())).on("find image", Path::new(name.as_str())))
}

/// The name of the image that `path` would be; `None` for names no image has, and for lock files.
fn image_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let name = file.strip_suffix(".raw").unwrap_or(file);
    let hidden = name.starts_with('.') && !name.ends_with(".lck") && !name.chars().any(char::is_control);
    (hidden || MachineName::new(name).is_ok()).then(|| name.to_owned())
}

/// What is at `path`; `None`: no image.
fn look(path: &Path, name: &str) -> Result<Option<Image>> {
    const VERB: &str = "look at image";
    let Some(kind) = open::kind_of(path)? else { return Ok(None) };
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let status = match rustix::fs::statx(CWD, path, AtFlags::empty(), wanted) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.on(VERB, path)?,
    };
    let has_birth = status.stx_mask & StatxFlags::BTIME.bits() != 0;
    let mut image = Image {
        name: name.to_owned(),
        kind,
        path: path.to_owned(),
        read_only: read_only::is_read_only(path, kind).on(VERB, path)?,
        created: has_birth.then(|| time(status.stx_btime)).flatten(),
        modified: time(status.stx_mtime),
        usage: None,
        usage_exclusive: None,
        limit: None,
        limit_exclusive: None,
    };
    match kind {
        Kind::DiskImage => {
            let blocks = status.stx_blocks * 512;
            (image.usage, image.usage_exclusive) = (Some(blocks), Some(blocks));
            (image.limit, image.limit_exclusive) = (Some(status.stx_size), Some(status.stx_size));
        }
        Kind::Subvolume => {
            // Only root may ask, and only where quotas are on there is an answer.
            let quota = usage::open(path).ok().and_then(|dir| subvolume::quota(dir.as_fd()).ok()).unwrap_or_default();
            (image.usage, image.usage_exclusive) = (quota.usage, quota.usage_exclusive);
            (image.limit, image.limit_exclusive) = (quota.limit, quota.limit_exclusive);
        }
        Kind::BlockDevice => image.usage = usage::of_device(path),
        Kind::Directory | Kind::KeptOverlay => {}
    }
    Ok(Some(image))
}

fn time(stamp: StatxTimestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(stamp.tv_sec).ok().filter(|s| *s > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, stamp.tv_nsec))
}

/// Whether `path` is a directory, links followed.
fn is_directory(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory)
}
