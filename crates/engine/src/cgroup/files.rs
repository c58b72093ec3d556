//! A cgroup directory held open, and its little text files.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, fstatfs, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::error::CgroupError;
use super::layout::{V1_MAGIC, V2, V2_MAGIC, magic};

/// How the top of the detached v2 mount is written down: paths in it are below no directory of the host, so relative.
pub(crate) const PRIVATE: &str = "";
/// The directory of all machines in a hierarchy.
pub(crate) const OURS: &str = "hostel";

/// The directory below which `hostel/` is: a mounted path, or a detached mount of our own.
#[derive(Debug)]
pub(crate) struct Base {
    root: Option<OwnedFd>,
    /// Absolute for a mounted one, empty for ours.
    pub(crate) path: PathBuf,
}

impl Base {
    pub(crate) fn mounted(path: &Path) -> Base {
        Base { root: None, path: path.to_owned() }
    }

    pub(crate) fn of(v2: &V2) -> Result<Base, CgroupError> {
        match v2 {
            V2::Mounted(path) => Ok(Base::mounted(path)),
            V2::Private => Ok(Base { root: Some(mount_v2().map_err(CgroupError::NoCgroup)?), path: PRIVATE.into() }),
        }
    }

    /// The base of a recorded path.
    pub(crate) fn recorded(path: &Path) -> Result<Base, CgroupError> {
        if path == Path::new(PRIVATE) { Base::of(&V2::Private) } else { Ok(Base::mounted(path)) }
    }

    /// Where to start, and the path from there.
    fn at(&self, below: &Path) -> (BorrowedFd<'_>, PathBuf) {
        match &self.root {
            Some(fd) => (fd.as_fd(), if below.as_os_str().is_empty() { ".".into() } else { below.to_owned() }),
            None => (CWD, self.path.join(below)),
        }
    }

    pub(crate) fn mkdir(&self, below: &Path) -> Result<(), Errno> {
        let (dir, path) = self.at(below);
        mkdirat(dir, &path, Mode::from_raw_mode(0o755))
    }

    pub(crate) fn rmdir(&self, below: &Path) -> Result<(), Errno> {
        let (dir, path) = self.at(below);
        unlinkat(dir, &path, AtFlags::REMOVEDIR)
    }

    pub(crate) fn open(&self, below: &Path) -> Result<OwnedFd, Errno> {
        let (dir, path) = self.at(below);
        openat(dir, &path, DIRECTORY, Mode::empty())
    }
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Mounts the v2 hierarchy where nobody sees it; it is unmounted when the descriptor is closed.
fn mount_v2() -> Result<OwnedFd, Errno> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Is this directory in a cgroup file system?
pub(crate) fn is_cgroup(dir: BorrowedFd<'_>) -> bool {
    fstatfs(dir).is_ok_and(|fs| matches!(magic(&fs), V1_MAGIC | V2_MAGIC))
}

/// Opens a sub-directory, never through a link.
pub(crate) fn open_below(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// Reads a file of a cgroup directory.
pub(crate) fn read(dir: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    let fd = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    read_open(fd.as_fd())
}

/// Reads an open file from its beginning.
pub(crate) fn read_open(fd: BorrowedFd<'_>) -> Result<String, Errno> {
    // The kernel makes such a text up at each call, a buffer at a time.
    let mut bytes = vec![0u8; 8192];
    let mut have = 0;
    loop {
        match rustix::io::pread(fd, &mut bytes[have..], have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if have == bytes.len() {
            bytes.resize(have * 2, 0);
        }
    }
    bytes.truncate(have);
    Ok(String::from_utf8(bytes).unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned()))
}

/// Writes a file of a cgroup directory.
pub(crate) fn write(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Errno> {
    let fd = openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    loop {
        match rustix::io::write(&fd, value.as_bytes()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The value of a line `key value`.
pub(crate) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().filter_map(|line| line.split_once(' ')).find(|(k, _)| *k == key).and_then(|(_, v)| v.trim().parse().ok())
}

/// The names of a cgroup's sub-cgroups.
pub(crate) fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    // kernfs counts: two links and one for each sub-directory.
    if fstat(dir)?.st_nlink == 2 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)? {
        let entry = entry?;
        if entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}
