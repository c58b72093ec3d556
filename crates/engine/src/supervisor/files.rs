//! What becomes of the tree's /etc/resolv.conf and /etc/localtime: copied, covered, linked, or left.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_image::Cause;
use hostel_image::inroot::{self, Durable};
use hostel_image::stamped;
use hostel_process::r#become::Failure;
use hostel_sys::mount;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::payload::{Payload, Step, io_of};
use crate::plan::steps::{FileChange, Missing, Slot};

/// What a file of the tree's /etc is now.
enum Now {
    Missing,
    Link(Vec<u8>),
    Other { length: u64 },
}

impl Payload<'_> {
    pub(super) fn change_file(&self, name: &CStr, change: &FileChange) -> Step {
        let root = self.root()?;
        let path = Path::new("/etc").join(OsStr::from_bytes(name.to_bytes()));
        let failed = |e: Cause| Failure::new("write", format!("{} of the tree", path.display()), io_of(e));
        // A tree that cannot be written, or where the place is taken by a mount or something odd, keeps its own, as with systemd-nspawn.
        let tolerate = |result: Result<(), Cause>| match result {
            Err(Cause::Os(
                Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::BUSY,
            )) => Ok(()),
            other => other.map_err(failed),
        };
        let write = |content: &[u8]| inroot::replace(root, &path, content, Mode::from_raw_mode(0o644), Durable::No);
        let etc = match (inroot::directory(root, Path::new("/etc")), change) {
            (Ok(etc), _) => etc,
            // Says what is wrong with the tree's /etc.
            (Err(_), FileChange::Bind(slot)) => return self.attach(*slot, &path, Missing::MakeFile, true),
            (Err(_), _) => return Ok(()),
        };
        match change {
            FileChange::Copy(content) => match look(etc.as_fd(), name) {
                // A link is the tree's own decision.
                Now::Link(_) => Ok(()),
                Now::Other { length } if length == content.len() as u64 && holds(etc.as_fd(), name, content) => Ok(()),
                _ => tolerate(write(content)),
            },
            FileChange::Marked(content) => {
                let ours = stamped::stamp(content);
                let there = [content, &ours].into_iter().any(|text| holds(etc.as_fd(), name, text));
                if there || matches!(look(etc.as_fd(), name), Now::Link(_)) { Ok(()) } else { tolerate(write(&ours)) }
            }
            FileChange::Replace(content) => tolerate(write(content)),
            FileChange::Through(content) => tolerate(write_through(root, &path, content)),
            FileChange::Bind(slot) => self.cover_file(*slot, &etc, name, &path),
            FileChange::Link(link, fallback) => {
                // However the tree spells it: another form of the same link is not rewritten.
                let zone = link.trim_start_matches("..");
                if matches!(look(etc.as_fd(), name), Now::Link(old) if old.ends_with(zone.as_bytes())) {
                    return Ok(());
                }
                if !inroot::exists(root, Path::new(zone)).unwrap_or(false) {
                    return fallback.map_or(Ok(()), |slot| self.cover_file(slot, &etc, name, &path));
                }
                tolerate(inroot::replace_with_symlink(root, &path, Path::new(link)))
            }
            FileChange::Delete => tolerate(inroot::unlink(root, &path)),
        }
    }

    /// Covers a file by a (read-only) mount. Nothing is made for that in a tree that is to stay as it is, and a link to nowhere is left alone.
    fn cover_file(&self, slot: Slot, etc: &OwnedFd, name: &CStr, path: &Path) -> Step {
        let root = &self.plan.spec.root;
        match look(etc.as_fd(), name) {
            Now::Link(_) if !inroot::exists(self.root()?, path).unwrap_or(false) => return Ok(()),
            Now::Other { .. } => {
                let failed = |e: io::Error| Failure::new("attach", path.display().to_string(), e);
                return mount::attach(self.slot(slot)?, etc.as_fd(), name).map_err(failed);
            }
            _ => {}
        }
        let unchanged = root.read_only || root.volatile == hostel_spec::Volatile::State || self.plan.tree.read_only;
        // A tree that belongs to others (--private-users-ownership=off) takes no new file: it does without.
        let refused = [Errno::ROFS, Errno::ACCESS, Errno::PERM].map(|e| Some(e.raw_os_error()));
        match self.attach(slot, path, if unchanged { Missing::Skip } else { Missing::MakeFile }, true) {
            Err(f) if f.verb == "make" && refused.contains(&f.cause.raw_os_error()) => Ok(()),
            other => other,
        }
    }
}

fn look(dir: BorrowedFd<'_>, name: &CStr) -> Now {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return Now::Missing };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => rustix::fs::readlinkat(dir, name, Vec::new()).map_or(Now::Missing, |target| Now::Link(target.into_bytes())),
        _ => Now::Other { length: stat.st_size as u64 },
    }
}

/// Whether it is a regular file with just this content.
fn holds(dir: BorrowedFd<'_>, name: &CStr, content: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let is_regular = |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
    let Some(file) = rustix::fs::openat(dir, name, flags, Mode::empty()).ok().filter(is_regular) else { return false };
    let mut old = vec![0; content.len() + 1];
    rustix::io::read(&file, &mut old).is_ok_and(|n| old[..n] == *content)
}

/// Writes a file that may be a link into a directory that is fresh in the machine (the host's /run).
fn write_through(root: BorrowedFd<'_>, target: &Path, content: &[u8]) -> Result<(), Cause> {
    if inroot::exists(root, target)? {
        return Ok(());
    }
    let Some(link) = inroot::read_link(root, target)? else { return Ok(()) };
    let link = PathBuf::from(OsStr::from_bytes(link.as_bytes()));
    let path = if link.is_absolute() { link } else { target.parent().unwrap_or(Path::new("/")).join(link) };
    if let Some(parent) = path.parent() {
        inroot::make_directories(root, parent, Mode::from_raw_mode(0o755))?;
    }
    inroot::replace(root, &path, content, Mode::from_raw_mode(0o644), Durable::No)
}
