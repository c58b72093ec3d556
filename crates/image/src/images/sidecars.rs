//! What goes with an image: its settings and their drop-ins, what vouches for a disk image, its place on the list of machines that
//! start with the host.

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, RenameFlags};
use rustix::io::Errno;

use super::{Image, Places};
use crate::error::On;
use crate::open::Kind;
use crate::{Cause, Result};

const SETTINGS: &str = ".nspawn";
/// A directory.
const DROPINS: &str = ".nspawn.d";
/// Beside a disk image only.
const TRUST: [&str; 5] = [".roothash", ".roothash.p7s", ".usrhash", ".usrhash.p7s", ".verity"];

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The image's: it lies beside it.
    Image,
    /// The name's.
    Name,
    /// An entry of a list: that the new name is on it already is no conflict, and a clone is not on it.
    List,
}

/// One such file or directory, which exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sidecar {
    directory: PathBuf,
    name: String,
    suffix: &'static str,
    of: Of,
}

impl Sidecar {
    fn path(&self) -> PathBuf {
        self.of(&self.name)
    }

    /// The same for an image of another name.
    pub(super) fn of(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}{}", self.suffix))
    }

    /// What has this name until it is whole.
    fn half(&self, name: &str) -> PathBuf {
        self.directory.join(format!(".#hostel-import-{name}{}", self.suffix))
    }

    fn is_dropins(&self) -> bool {
        self.suffix == DROPINS
    }
}

/// What goes with `image`: beside it, and what goes with its name.
pub(super) fn of(image: &Image, places: &Places<'_>) -> Vec<Sidecar> {
    let beside = image.path.parent().unwrap_or(Path::new("/"));
    let trust: &[&'static str] = if image.kind == Kind::DiskImage { &TRUST } else { &[] };
    let of_image = trust.iter().copied().chain([SETTINGS]).map(|suffix| (beside, suffix, Of::Image));
    let mut all = existing(&image.name, of_image);
    all.extend(of_name(&image.name, places));
    all
}

/// What goes with a name, in [`Places::settings`] and [`Places::autostart`].
pub(super) fn of_name(name: &str, places: &Places<'_>) -> Vec<Sidecar> {
    let settings = places.settings.iter().flat_map(|directory| [(*directory, SETTINGS, Of::Name), (*directory, DROPINS, Of::Name)]);
    existing(name, settings.chain(places.autostart.map(|directory| (directory, "", Of::List))))
}

fn existing<'a>(name: &str, wanted: impl Iterator<Item = (&'a Path, &'static str, Of)>) -> Vec<Sidecar> {
    let exists = |s: &Sidecar| rustix::fs::lstat(s.path()).map(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    let all = wanted.map(|(directory, suffix, of)| Sidecar { directory: directory.to_owned(), name: name.to_owned(), suffix, of });
    all.filter(|s| exists(s) == Ok(s.is_dropins())).collect()
}

/// Gives each a second name for the image `new`; an image that is renamed between this and [`unlink`] has them all the time.
/// Returns those it gave.
///
/// Refused when such a file exists already and is another one.
pub(super) fn link(all: &[Sidecar], new: &str) -> Result<Vec<Sidecar>> {
    let mut made = Vec::new();
    for sidecar in all {
        let (from, to) = (sidecar.path(), sidecar.of(new));
        let linked = if sidecar.is_dropins() { directory(sidecar, new, &link_entry) } else { link_entry(&from, &to) };
        match linked {
            Ok(()) => made.push(sidecar.clone()),
            // From a rename that was killed.
            Err(Cause::Os(Errno::EXIST)) if same(&from, &to) => made.push(sidecar.clone()),
            Err(Cause::Os(Errno::EXIST)) if sidecar.of == Of::List => {}
            Err(e) => {
                unlink(&made, new);
                return Err(e.on("rename settings to", &to));
            }
        }
    }
    Ok(made)
}

/// Copies each for the image `new` in `home`; what exists there already is somebody's own and stays. Returns those it copied.
pub(super) fn copy(all: &[Sidecar], new: &str, home: &Path) -> Result<Vec<Sidecar>> {
    let mut made = Vec::new();
    for sidecar in all.iter().filter(|s| s.of != Of::List) {
        let mut target = sidecar.clone();
        if sidecar.of == Of::Image {
            target.directory = home.to_owned();
        }
        let (from, to) = (sidecar.path(), target.of(new));
        if to.symlink_metadata().is_ok() {
            continue;
        }
        let copied = if sidecar.is_dropins() { directory(sidecar, new, &copy_entry) } else { copy_file(&from, &target.half(new), &to) };
        match copied {
            Ok(()) => made.push(target),
            Err(Cause::Os(Errno::EXIST)) => {}
            Err(e) => {
                unlink(&made, new);
                return Err(e.on("copy settings to", &to));
            }
        }
    }
    Ok(made)
}

/// Under its name only when it is whole.
fn copy_file(from: &Path, half: &Path, to: &Path) -> std::result::Result<(), Cause> {
    // Left by a copy that was killed.
    let _ = rustix::fs::unlink(half);
    let done = copy_entry(from, half).and_then(|()| Ok(rustix::fs::renameat_with(CWD, half, CWD, to, RenameFlags::NOREPLACE)?));
    let left = half.symlink_metadata().is_ok();
    if left {
        let _ = rustix::fs::unlink(half);
    }
    // What is neither file nor link was not copied.
    if done == Err(Cause::Os(Errno::NOENT)) && !left { Ok(()) } else { done }
}

/// Makes the drop-in directory of `new` with what `put` makes of each entry but directories, which are no drop-ins.
fn directory(sidecar: &Sidecar, new: &str, put: &dyn Fn(&Path, &Path) -> std::result::Result<(), Cause>) -> std::result::Result<(), Cause> {
    let (from, half, to) = (sidecar.path(), sidecar.half(new), sidecar.of(new));
    empty(&half);
    let fill = || {
        std::fs::create_dir(&half)?;
        for name in entries(&from)? {
            put(&from.join(&name), &half.join(&name))?;
        }
        own_as(&half, &from)?;
        Ok(rustix::fs::renameat_with(CWD, &half, CWD, &to, RenameFlags::NOREPLACE)?)
    };
    fill().inspect_err(|_| empty(&half))
}

fn link_entry(from: &Path, to: &Path) -> std::result::Result<(), Cause> {
    Ok(rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?)
}

/// Copies a file or a link, which may be a mask (to /dev/null). The owner is kept: settings that are not root's alone are not
/// trusted. What is neither is left out: it would be waited for.
fn copy_entry(from: &Path, to: &Path) -> std::result::Result<(), Cause> {
    let meta = from.symlink_metadata()?;
    if meta.is_symlink() {
        return Ok(std::os::unix::fs::symlink(std::fs::read_link(from)?, to)?);
    }
    if meta.is_file() {
        std::fs::copy(from, to)?;
        own_as(to, from)?;
    }
    Ok(())
}

fn own_as(to: &Path, from: &Path) -> std::result::Result<(), Cause> {
    let (is, wanted) = (to.symlink_metadata()?, from.symlink_metadata()?);
    if (is.uid(), is.gid()) != (wanted.uid(), wanted.gid()) {
        chown(to, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    Ok(std::fs::set_permissions(to, wanted.permissions())?)
}

/// The names in a directory that are no directories.
fn entries(directory: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}

/// Removes those of the image `name`.
pub(super) fn unlink(all: &[Sidecar], name: &str) {
    for sidecar in all {
        // One that stays is a file without an image; the image is what counts.
        if sidecar.is_dropins() {
            empty(&sidecar.of(name));
        } else {
            let _ = rustix::fs::unlink(sidecar.of(name));
        }
    }
}

/// Removes a drop-in directory; directories in it are somebody's own and stay.
fn empty(directory: &Path) {
    for name in entries(directory).unwrap_or_default() {
        let _ = rustix::fs::unlink(directory.join(name));
    }
    let _ = rustix::fs::rmdir(directory);
}

/// Whether both are one file, or directories of the same files.
fn same(a: &Path, b: &Path) -> bool {
    match (a.symlink_metadata(), b.symlink_metadata()) {
        (Ok(a_is), Ok(b_is)) if a_is.is_dir() && b_is.is_dir() => {
            entries(b).is_ok_and(|names| names.iter().all(|name| same(&a.join(name), &b.join(name))))
                && entries(a).ok().map(|n| n.len()) == entries(b).ok().map(|n| n.len())
        }
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// [`link`] in the other direction, for messages: whether nothing is in the way.
pub(super) fn refuse_taken(all: &[Sidecar], new: &str) -> Result<()> {
    let in_the_way = |s: &&Sidecar| s.of != Of::List && s.of(new).symlink_metadata().is_ok() && !same(&s.path(), &s.of(new));
    match all.iter().find(in_the_way) {
        Some(taken) => Err(Errno::EXIST).on("rename settings to", &taken.of(new)),
        None => Ok(()),
    }
}
