//! Opening a tree: by path or by name, and the checks a start makes on it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_spec::MachineName;
use hostel_sys::tree::btrfs;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::On;
use crate::{Cause, Result, inroot};

/// Opens the directory `path` of the host as a tree (O_PATH). Links in the path are the user's and are followed.
pub fn directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).on("open tree", path)
}

/// Refuses the host's own root directory (and other mounts of it).
pub fn refuse_host_root(tree: BorrowedFd<'_>, name: &Path) -> Result<()> {
    let own = rustix::fs::fstat(tree).on("open tree", name)?;
    let host = rustix::fs::stat(c"/").on("open tree", Path::new("/"))?;
    if (own.st_dev, own.st_ino) == (host.st_dev, host.st_ino) {
        return Err(Cause::Why("it is the root directory of the host").on("open tree", name));
    }
    Ok(())
}

/// Refuses a directory without `usr/`, which no system tree is without: probably a mistyped path.
pub fn require_usr(tree: BorrowedFd<'_>, name: &Path) -> Result<()> {
    const WHY: Cause = Cause::Why("it has no /usr directory, it is no system tree");
    match rustix::fs::statat(tree, c"usr", AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(()),
        // A link is looked at inside the tree.
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink && inroot::directory(tree, Path::new("usr")).is_ok() => Ok(()),
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => Err(WHY.on("use tree", name)),
        Err(e) => Err(Cause::Os(e).on("use tree", name)),
    }
}

/// Refuses a tree without an os-release file, which has no operating system to boot.
pub fn require_os_release(tree: BorrowedFd<'_>, name: &Path) -> Result<()> {
    for path in ["etc/os-release", "usr/lib/os-release"] {
        match inroot::stat(tree, Path::new(path)) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => return Ok(()),
            // A bad one is as good as none: a link that loops, a file where a directory should be.
            Ok(_) | Err(Cause::Os(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS)) => {}
            Err(e) => return Err(e.on("boot tree", name)),
        }
    }
    Err(Cause::Why("it has neither /etc/os-release nor /usr/lib/os-release, there is no system to boot").on("boot tree", name))
}

/// Directories in which trees are found by name, the first one wins.
pub const SEARCH: [&str; 6] =
    ["/etc/machines", "/run/machines", "/var/lib/machines", "/var/lib/container", "/usr/local/lib/machines", "/usr/lib/machines"];
/// Where hostel keeps the overlays of machines started with `--keep`, one directory per name.
pub const KEPT: &str = "/var/lib/hostel/machines";

/// What a name led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory tree.
    Directory,
    /// A btrfs subvolume.
    Subvolume,
    /// A file NAME.raw with a disk image.
    DiskImage,
    /// A block device NAME or NAME.raw.
    BlockDevice,
    /// A kept overlay: a directory with `upper` and `work` in it.
    KeptOverlay,
}

/// A tree found by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
}

/// Looks for the tree `name` in the directories of [`SEARCH`] and among the kept overlays of [`KEPT`].
pub fn find(name: &MachineName) -> Result<Found> {
    find_in(name, &SEARCH.map(Path::new), Path::new(KEPT))
}

/// [`find`] in other directories.
pub fn find_in(name: &MachineName, search: &[&Path], kept: &Path) -> Result<Found> {
    for directory in search {
        for path in [directory.join(name.as_str()), directory.join(format!("{}.raw", name.as_str()))] {
            if let Some(kind) = kind_of(&path)? {
                return Ok(Found { kind, path });
            }
        }
    }
    let path = kept.join(name.as_str());
    let is_dir = |path: &Path| rustix::fs::lstat(path).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
    if is_dir(&path) {
        if is_dir(&path.join("upper")) && is_dir(&path.join("work")) {
            return Ok(Found { kind: Kind::KeptOverlay, path });
        }
        return Err(Cause::Why("it has no upper and work directories, it is no kept machine").on("use tree", &path));
    }
    Err(Cause::Why("there is no tree of this name in /var/lib/machines and its like").on("find tree", Path::new(name.as_str())))
}

/// Every directory tree with a machine's name in the directories of [`SEARCH`], by name.
pub fn list() -> Vec<(MachineName, PathBuf)> {
    list_in(&SEARCH.map(Path::new))
}

/// [`list`] of other directories. One that cannot be read has none.
pub fn list_in(search: &[&Path]) -> Vec<(MachineName, PathBuf)> {
    let mut found = std::collections::BTreeMap::new();
    for directory in search {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_str().and_then(|n| MachineName::new(n).ok());
            if let Some(name) = name.filter(|_| matches!(kind_of(&path), Ok(Some(Kind::Directory | Kind::Subvolume)))) {
                found.entry(name).or_insert(path);
            }
        }
    }
    found.into_iter().collect()
}

/// What `path` is; `None` when it is nothing that holds a tree, or not there.
pub(crate) fn kind_of(path: &Path) -> Result<Option<Kind>> {
    let stat = match rustix::fs::stat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(e) => return Err(Cause::Os(e).on("find tree", path)),
    };
    let is_image_name = path.extension().is_some_and(|e| e == "raw");
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory if stat.st_ino == btrfs::TOP_INODE => {
            let subvolume = btrfs::is_subvolume(directory(path)?.as_fd()).on("find tree", path)?;
            Some(if subvolume { Kind::Subvolume } else { Kind::Directory })
        }
        FileType::Directory => Some(Kind::Directory),
        FileType::RegularFile if is_image_name => Some(Kind::DiskImage),
        FileType::BlockDevice => Some(Kind::BlockDevice),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
