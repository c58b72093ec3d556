//! A disk image at rest: a regular file or a block device, opened, locked, copied, and what vouches for it read.

use std::ffi::{CStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_spec::{ImageOptions, MachineName, RootHash, RootHashSignature};
use hostel_sys::tree::{read_regular, xattr};
use hostel_sys::{block, tree};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::copy::{Means, contents};
use crate::disk::Trust;
use crate::error::On;
use crate::lockfile::{LockFile, Taken};
use crate::locks::{Lock, TreeLock};
use crate::{Cause, Result};

/// An opened image.
#[derive(Debug)]
pub struct Raw {
    /// Readable, and writable when that was asked for.
    pub file: OwnedFd,
    /// Bytes.
    pub size: u64,
    /// It is a block device, not a file.
    pub device: bool,
}

/// Whether `path` is what can be an image: a regular file or a block device. Nothing is opened for reading.
pub fn is_image(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|s| matches!(FileType::from_raw_mode(s.st_mode), FileType::RegularFile | FileType::BlockDevice))
}

/// Opens the image `path`. Links are the user's and are followed; what is neither file nor block device is not opened.
pub fn open(path: &Path, write: bool) -> Result<Raw> {
    const VERB: &str = "open image";
    let seen = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).on(VERB, path)?;
    let stat = rustix::fs::fstat(&seen).on(VERB, path)?;
    let device = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => false,
        FileType::BlockDevice => true,
        FileType::Directory => return Err(Cause::Why("it is a directory; give it with --directory=").on(VERB, path)),
        _ => return Err(Cause::Why("it is neither a regular file nor a block device").on(VERB, path)),
    };
    let mut flags = if write { OFlags::RDWR } else { OFlags::RDONLY } | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if device && write {
        // The kernel refuses a device that is mounted, whole or in part: two writers would destroy it.
        flags |= OFlags::EXCL;
    }
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&seen));
    let file = match rustix::fs::open(&*again, flags, Mode::empty()) {
        Err(Errno::BUSY) if device => return Err(Cause::Busy { holder: None }.on(VERB, path)),
        other => other.on(VERB, path)?,
    };
    let size = if device { block::size(file.as_fd()).on(VERB, path)? } else { u64::try_from(stat.st_size).unwrap_or(0) };
    Ok(Raw { file, size, device })
}

impl Raw {
    /// A reader of it, with a position of its own.
    pub fn reader(&self) -> std::result::Result<std::fs::File, Cause> {
        Ok(std::fs::File::from(rustix::io::fcntl_dupfd_cloexec(&self.file, 3)?))
    }

    /// A nameless copy for one run: beside the image, where blocks can be shared, else in /var/tmp.
    pub fn copy(&self, path: &Path) -> Result<Raw> {
        const VERB: &str = "copy image";
        let beside = path.parent().filter(|p| !p.as_os_str().is_empty() && !self.device).unwrap_or(Path::new("/var/tmp"));
        let nameless = |place: &Path| {
            let dir = rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            block::nameless_file(dir.as_fd()).map_err(Cause::from)
        };
        let (to, place) = match nameless(beside) {
            Ok(file) => (file, beside),
            // A directory that cannot be written, or a file system without nameless files.
            Err(_) => (nameless(Path::new("/var/tmp")).on(VERB, path)?, Path::new("/var/tmp")),
        };
        let mut stat = rustix::fs::fstat(&self.file).on(VERB, path)?;
        if self.device {
            stat.st_size = i64::try_from(self.size).unwrap_or(i64::MAX);
            stat.st_blocks = stat.st_size / 512 + 1;
        }
        match contents(self.file.as_fd(), to.as_fd(), &stat, &Means::new(), &mut Vec::new()) {
            Ok(()) => Ok(Raw { file: to, size: self.size, device: false }),
            Err(Errno::NOSPC | Errno::DQUOT) => {
                let written = rustix::fs::fstat(&to).map_or(0, |s| s.st_blocks as u64 * 512);
                let free = rustix::fs::fstatvfs(&to).map_or(0, |s| s.f_bavail * s.f_frsize);
                Err(Cause::NoSpace { place: place.to_owned(), free, written }.on(VERB, path))
            }
            Err(e) => Err(Cause::Os(e).on(VERB, path)),
        }
    }
}

/// The lock beside an image, `.#NAME.lck`, which systemd-nspawn and machinectl take too. `None`: there can be none, the
/// directory cannot be written or the image is a device.
pub fn lock_beside(path: &Path, lock: Lock, machine: &MachineName) -> Result<Option<TreeLock>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let mut file = OsString::from(".#");
    file.push(name);
    file.push(".lck");
    match LockFile::take(&parent.join(file), lock, 0o755) {
        Ok(Taken::Yes(file)) => {
            file.note(&format!("{} {}\n", machine.as_str(), rustix::process::getpid().as_raw_nonzero()));
            Ok(Some(TreeLock::of(file)))
        }
        Ok(Taken::Busy(file)) => Err(Cause::Busy { holder: crate::locks::holder(&file) }.on("lock image", path)),
        Err(e) if matches!(e.cause, Cause::Os(Errno::ROFS | Errno::ACCESS | Errno::PERM)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// What vouches for the image `path`: as given, else its attributes, else the files beside it.
pub fn trust(path: &Path, image: BorrowedFd<'_>, options: &ImageOptions) -> Result<Trust> {
    let root = match &options.root_hash {
        Some(hash) => Some(hash.clone()),
        None => root_hash(path, image, c"user.verity.roothash", "roothash")?,
    };
    let usr = if options.root_hash.is_some() { None } else { root_hash(path, image, c"user.verity.usrhash", "usrhash")? };
    let signature = match (&options.root_hash_sig, &root) {
        (Some(given), _) => Some(given.clone()),
        // A signature is of a root hash; without one it says nothing.
        (None, Some(_)) => beside(path, "roothash.p7s").filter(|p| p.exists()).map(RootHashSignature::Path),
        (None, None) => None,
    };
    let hashes = match &options.verity_data {
        Some(file) => Some(file.clone()),
        None => beside(path, "verity").filter(|p| root.is_some() && p.exists()),
    };
    Ok(Trust { root, usr, signature, hashes })
}

/// `IMG.EXTENSION` for `IMG.raw`, else `PATH.EXTENSION`.
fn beside(path: &Path, extension: &str) -> Option<PathBuf> {
    let name = path.file_name()?.as_bytes();
    let mut stem = OsString::from(std::ffi::OsStr::from_bytes(name.strip_suffix(b".raw").unwrap_or(name)));
    stem.push(".");
    stem.push(extension);
    Some(path.with_file_name(stem))
}

fn root_hash(path: &Path, image: BorrowedFd<'_>, attribute: &CStr, extension: &str) -> Result<Option<RootHash>> {
    const VERB: &str = "read root hash of";
    let parse = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        RootHash::parse(text.trim()).map(Some).map_err(|e| Cause::Said(e.to_string()).on(VERB, path))
    };
    let mut value = Vec::new();
    match xattr::get(image, c"", attribute, &mut value) {
        Ok(()) => return parse(&value),
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::NOSYS)) => {}
        Err(e) => return Err(Cause::from(e).on(VERB, path)),
    }
    let Some(file) = beside(path, extension) else { return Ok(None) };
    let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { return Ok(None) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let dir = rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).on(VERB, path)?;
    match read_regular(dir.as_fd(), Path::new(name), 4096) {
        Ok(text) => parse(&text),
        Err(tree::ReadError::Os(Errno::NOENT)) => Ok(None),
        // One that cannot be read must not mean "unverified".
        Err(e) => Err(Cause::from(e).on("read", &file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_and_devices_are_images() {
        for (path, want) in [("/", "directory"), ("/dev/null", "neither"), ("/nonexistent", "No such file")] {
            let said = open(Path::new(path), false).unwrap_err().to_string();
            assert!(said.contains(want), "{said}");
        }
    }

    #[test]
    fn what_vouches_for_an_image() {
        let dir = std::env::temp_dir().join(format!(".#hostel-raw-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let image = dir.join("a.raw");
        std::fs::write(&image, [0u8; 8192]).unwrap();
        let trusted = || trust(&image, open(&image, false).unwrap().file.as_fd(), &ImageOptions::default());
        assert_eq!(trusted().unwrap(), Trust::default());
        std::fs::write(dir.join("a.verity"), "x").unwrap();
        assert_eq!(trusted().unwrap(), Trust::default(), "hashes without their root say nothing");
        std::fs::write(dir.join("a.roothash"), format!("{}\n", "ab".repeat(32))).unwrap();
        let found = trusted().unwrap();
        assert_eq!((found.root.unwrap().bytes().len(), found.hashes), (32, Some(dir.join("a.verity"))));
        std::fs::write(dir.join("a.roothash"), "garbage").unwrap();
        assert!(trusted().is_err(), "a damaged root hash must not mean that there is none");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_copy_has_no_name_and_the_holes_of_the_original() {
        let dir = std::env::temp_dir().join(format!(".#hostel-rawcopy-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let image = dir.join("a.raw");
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let original = open(&image, true).unwrap();
        rustix::io::pwrite(&original.file, b"end", (64 << 20) - 3).unwrap();
        let copy = original.copy(&image).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        let stat = rustix::fs::fstat(&copy.file).unwrap();
        assert_eq!((stat.st_size, stat.st_nlink), (64 << 20, 0));
        assert!(stat.st_blocks * 512 < 1 << 20, "{}", stat.st_blocks);
        let mut end = [0u8; 3];
        rustix::io::pread(&copy.file, &mut end, (64 << 20) - 3).unwrap();
        assert_eq!(&end, b"end");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
