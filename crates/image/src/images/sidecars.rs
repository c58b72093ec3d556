//! The files that go with an image: its settings, and what vouches for a disk image.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType};
use rustix::io::Errno;

use super::Image;
use crate::error::On;
use crate::open::Kind;
use crate::{Cause, Result};

const SETTINGS: &str = ".nspawn";
/// Beside a disk image only.
const TRUST: [&str; 5] = [".roothash", ".roothash.p7s", ".usrhash", ".usrhash.p7s", ".verity"];

/// One such file, which exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sidecar {
    directory: PathBuf,
    name: String,
    suffix: &'static str,
}

impl Sidecar {
    fn path(&self) -> PathBuf {
        self.of(&self.name)
    }

    /// The same for an image of another name.
    pub(super) fn of(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}{}", self.suffix))
    }
}

/// The files that go with `image`: beside it and, of settings, in `settings`.
pub(super) fn of(image: &Image, settings: &[&Path]) -> Vec<Sidecar> {
    let beside = image.path.parent().unwrap_or(Path::new("/"));
    let mut wanted: Vec<(&Path, &'static str)> = settings.iter().map(|dir| (*dir, SETTINGS)).collect();
    wanted.push((beside, SETTINGS));
    if image.kind == Kind::DiskImage {
        wanted.extend(TRUST.iter().map(|suffix| (beside, *suffix)));
    }
    let made = wanted.into_iter().map(|(directory, suffix)| Sidecar { directory: directory.to_owned(), name: image.name.clone(), suffix });
    made.filter(|s| rustix::fs::lstat(s.path()).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) != FileType::Directory)).collect()
}

/// Gives each a second name for the image `new`; an image that is renamed between this and [`remove`] has them all the time.
///
/// Refused when such a file exists already and is another one.
pub(super) fn link(all: &[Sidecar], new: &str) -> Result<()> {
    for (at, sidecar) in all.iter().enumerate() {
        let (from, to) = (sidecar.path(), sidecar.of(new));
        match rustix::fs::linkat(CWD, &from, CWD, &to, AtFlags::empty()) {
            Ok(()) => {}
            // From a rename that was killed.
            Err(Errno::EXIST) if same(&from, &to) => {}
            Err(e) => {
                unlink(&all[..at], new);
                return Err(Cause::Os(e).on("rename settings to", &to));
            }
        }
    }
    Ok(())
}

/// Copies each for the image `new`; what exists there already is somebody's own and stays. Returns those it copied.
pub(super) fn copy(all: &[Sidecar], new: &str) -> Result<Vec<Sidecar>> {
    let mut made = Vec::new();
    for sidecar in all {
        let (from, to) = (sidecar.path(), sidecar.of(new));
        // The hashes of a large image are large, but no settings are: what is no regular file is not read.
        if !from.symlink_metadata().is_ok_and(|m| m.is_file()) || to.symlink_metadata().is_ok() {
            continue;
        }
        // Under its name only when it is whole.
        let half = sidecar.directory.join(format!(".#hostel-import-{new}{}", sidecar.suffix));
        let copied = std::fs::copy(&from, &half).and_then(|_| std::fs::rename(&half, &to));
        if let Err(e) = copied {
            let _ = std::fs::remove_file(&half);
            unlink(&made, new);
            return Err(Cause::from(e).on("copy settings to", &to));
        }
        made.push(sidecar.clone());
    }
    Ok(made)
}

/// Removes those of the image `name`.
pub(super) fn unlink(all: &[Sidecar], name: &str) {
    for sidecar in all {
        // One that stays is a file without an image; the image is what counts.
        let _ = rustix::fs::unlink(sidecar.of(name));
    }
}

fn same(a: &Path, b: &Path) -> bool {
    match (a.symlink_metadata(), b.symlink_metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// [`link`] in the other direction, for messages: whether nothing is in the way.
pub(super) fn refuse_taken(all: &[Sidecar], new: &str) -> Result<()> {
    match all.iter().find(|s| s.of(new).symlink_metadata().is_ok() && !same(&s.path(), &s.of(new))) {
        Some(taken) => Err(Errno::EXIST).on("rename settings to", &taken.of(new)),
        None => Ok(()),
    }
}
