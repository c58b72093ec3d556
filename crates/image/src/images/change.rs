//! Clone, rename, remove, limit and clean: what changes which images there are.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use hostel_spec::MachineName;
use hostel_sys::tree::btrfs::subvolume;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::read_only::Movable;
use super::{HOME, Image, find, is_directory, list, sidecars, usage};
use crate::copy::{self, Counter, Method, Options, Progress};
use crate::error::On;
use crate::locks::{self, Lock, TreeLock};
use crate::open::{self, Kind};
use crate::{Cause, Result, partial, remove as removal};

/// The directories concerned.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Where images are looked for.
    pub search: &'a [&'a Path],
    /// Where they are made.
    pub home: &'a Path,
    /// Where settings files and their drop-ins are, besides beside the image.
    pub settings: &'a [&'a Path],
    /// Where a file of its name means that a machine starts with the host, if that is to follow its image.
    pub autostart: Option<&'a Path>,
    /// Where the locks of trees are.
    pub locks: &'a Path,
}

impl Places<'static> {
    /// Those of this host.
    pub fn host() -> Self {
        const SEARCH: &[&str] = &open::SEARCH;
        static PATHS: std::sync::OnceLock<Vec<&'static Path>> = std::sync::OnceLock::new();
        static SETTINGS: std::sync::OnceLock<[&'static Path; 2]> = std::sync::OnceLock::new();
        Places {
            search: PATHS.get_or_init(|| SEARCH.iter().map(Path::new).collect()),
            home: Path::new(HOME),
            settings: SETTINGS.get_or_init(|| [Path::new("/etc/systemd/nspawn"), Path::new("/run/systemd/nspawn")]),
            autostart: None,
            locks: locks::directory(),
        }
    }
}

/// Locks `image` against whoever would run it; refused while somebody does.
pub fn lock(places: &Places<'_>, image: &Image) -> Result<TreeLock> {
    const VERB: &str = "lock image";
    let name = MachineName::new(image.name.as_str()).or(MachineName::new("hidden"));
    let name = name.map_err(|e| Cause::Said(e.to_string()).on(VERB, &image.path))?;
    let file = rustix::fs::open(&image.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).on(VERB, &image.path)?;
    locks::take(places.locks, file.as_fd(), &image.path, Lock::Exclusive, &name)
}

/// Refuses a name that an image has.
pub fn refuse_taken(places: &Places<'_>, name: &MachineName) -> Result<()> {
    match find(name, places.search) {
        Ok(image) => Err(Cause::Said(format!("there is one already: {}", image.path.display())).on("make image", Path::new(name.as_str()))),
        Err(e) if matches!(e.cause, Cause::Said(_)) => Ok(()),
        Err(e) => Err(e),
    }
}

/// The image that a new one of this name in [`Places::home`] takes the place of. What is found after that stays: it has its
/// name no more, and is perhaps the host's packages'.
pub(crate) fn replaceable(places: &Places<'_>, name: &MachineName) -> Result<Option<Image>> {
    let image = match find(name, places.search) {
        Err(e) if matches!(e.cause, Cause::Said(_)) => return Ok(None),
        other => other?,
    };
    let at = |directory: &Path| places.search.iter().position(|d| *d == directory);
    if matches!((image.path.parent().and_then(at), at(places.home)), (Some(its), Some(home)) if its > home) {
        return Ok(None);
    }
    refuse_vendor(&image, "replace image")?;
    Ok(Some(image))
}

fn refuse_vendor(image: &Image, verb: &'static str) -> Result<()> {
    if image.path.starts_with("/usr") { Err(Cause::Why("what is below /usr is the host's packages'").on(verb, &image.path)) } else { Ok(()) }
}

/// Makes the image `new` a copy of `old`, with its settings: snapshot, reflinks or bytes. Those of a running machine are copied as they are.
pub fn clone(places: &Places<'_>, old: &MachineName, new: &MachineName, progress: Option<&(dyn Fn(Progress) + Sync)>) -> Result<Method> {
    let image = find(old, places.search)?;
    refuse_taken(places, new)?;
    if image.kind == Kind::BlockDevice {
        return Err(Cause::Why("it is a device").on("clone image", &image.path));
    }
    make_home(places.home)?;
    // Before the image: it must never be there without its settings.
    let with = sidecars::copy(&sidecars::of(&image, places), new.as_str(), places.home)?;
    let options = Options { progress, ..Options::default() };
    let made = if image.is_directory() {
        let source = open::directory(&image.path)?;
        copy::copy_tree(source.as_fd(), &image.path, &places.home.join(new.as_str()), &options).map(|copied| copied.method)
    } else {
        copy_file(&image.path, places.home, &format!("{new}.raw"), &options)
    };
    if made.is_err() {
        sidecars::unlink(&with, new.as_str());
    }
    made
}

/// The directory images are made in, as machinectl makes it: what is in it is nobody else's business.
pub(crate) fn make_home(home: &Path) -> Result<()> {
    match rustix::fs::mkdir(home, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(Cause::Os(e).on("make directory", home)),
    }
}

fn copy_file(from: &Path, home: &Path, name: &str, options: &Options<'_>) -> Result<Method> {
    const VERB: &str = "create image";
    let target = home.join(name);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = rustix::fs::open(from, flags, Mode::empty()).on("open image", from)?;
    let stat = rustix::fs::fstat(&source).on("open image", from)?;
    let (parent, target_name) = removal::open_parent(&target).on(VERB, &target)?;
    partial::sweep_in(parent.as_fd()).on(VERB, &target)?;
    let (half, file) = partial::make_file(parent.as_fd(), partial::IMPORT).on(VERB, &target)?;
    let means = copy::Means::new();
    let counter = Counter::new(options.progress);
    let done = || -> std::result::Result<(), Cause> {
        copy::contents(source.as_fd(), file.as_fd(), &stat, &means, &mut Vec::new())?;
        counter.add_bytes(u64::try_from(stat.st_size).unwrap_or(0));
        rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o777 | 0o200))?;
        copy::publish(parent.as_fd(), &half, file.as_fd(), &target_name, options.durable)
    };
    match done() {
        Ok(()) if means.reflinked.load(std::sync::atomic::Ordering::Relaxed) => Ok(Method::Reflink),
        Ok(()) => Ok(Method::Bytes),
        Err(cause) => {
            let _ = rustix::fs::unlinkat(&parent, &*half, AtFlags::empty());
            Err(full(cause, file.as_fd(), home).on(VERB, &target))
        }
    }
}

/// A full disk with its figures.
pub(crate) fn full(cause: Cause, file: std::os::fd::BorrowedFd<'_>, place: &Path) -> Cause {
    if !matches!(cause, Cause::Os(Errno::NOSPC | Errno::DQUOT)) {
        return cause;
    }
    let written = rustix::fs::fstat(file).map_or(0, |s| s.st_blocks as u64 * 512);
    let free = rustix::fs::fstatvfs(file).map_or(0, |s| s.f_bavail * s.f_frsize);
    Cause::NoSpace { place: place.to_owned(), free, written }
}

/// Renames the image `old` to `new` where it is, with its settings; refused while it runs.
pub fn rename(places: &Places<'_>, old: &MachineName, new: &MachineName) -> Result<()> {
    const VERB: &str = "rename image";
    let image = find(old, places.search)?;
    refuse_vendor(&image, VERB)?;
    refuse_taken(places, new)?;
    let _lock = lock(places, &image)?;
    let with = sidecars::of(&image, places);
    sidecars::refuse_taken(&with, new.as_str())?;
    let extension = if image.path.extension().is_some_and(|e| e == "raw") && !image.is_directory() { ".raw" } else { "" };
    let target = image.path.with_file_name(format!("{new}{extension}"));
    // Both names of the settings, then the image, then one name less: whenever this is killed, the image has them.
    let linked = sidecars::link(&with, new.as_str())?;
    let movable = Movable::of(&image.path);
    let moved = match rustix::fs::renameat_with(CWD, &image.path, CWD, &target, RenameFlags::NOREPLACE) {
        // A file system without that flag; what is there now was asked above.
        Err(Errno::INVAL) => rustix::fs::rename(&image.path, &target),
        other => other,
    };
    drop(movable);
    match moved {
        Ok(()) => sidecars::unlink(&with, old.as_str()),
        Err(_) => sidecars::unlink(&linked, new.as_str()),
    }
    match moved {
        Err(Errno::BUSY) => Err(Cause::Why("something is mounted on it").on(VERB, &image.path)),
        other => other.on(VERB, &image.path),
    }
}

/// Removes the image `name` with its settings; refused while it runs. Its name is gone at once, its files soon after.
pub fn remove(places: &Places<'_>, name: &MachineName) -> Result<()> {
    let image = find(name, places.search)?;
    remove_image(places, &image)
}

fn remove_image(places: &Places<'_>, image: &Image) -> Result<()> {
    const VERB: &str = "remove image";
    refuse_vendor(image, VERB)?;
    let _lock = lock(places, image)?;
    let with = if image.is_hidden() { Vec::new() } else { sidecars::of(image, places) };
    let kind = FileType::from_raw_mode(rustix::fs::lstat(&image.path).on(VERB, &image.path)?.st_mode);
    if kind == FileType::Directory {
        if let Ok(dir) = usage::open(&image.path) {
            // Its flag keeps its name. What stops the removal itself is told by that.
            let _ = removal::unprotect(dir.as_fd());
        }
        return removal::remove_tree_unless(&image.path, |_, _, _| {
            sidecars::unlink(&with, &image.name);
            false
        });
    }
    if kind == FileType::RegularFile {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(&image.path, flags, Mode::empty()) {
            let _ = removal::unprotect(file.as_fd());
        }
    }
    // A link: what it leads to is somewhere else and not ours.
    rustix::fs::unlink(&image.path).on(VERB, &image.path)?;
    sidecars::unlink(&with, &image.name);
    Ok(())
}

/// Forgets a name that nothing has any more: it starts with the host no longer, and with `settings` those go, too. The next of
/// this name is another one.
pub fn forget(places: &Places<'_>, name: &MachineName, settings: bool) {
    let places = if settings { *places } else { Places { settings: &[], ..*places } };
    sidecars::unlink(&sidecars::of_name(name.as_str(), &places), name.as_str());
}

/// Limits what the subvolume `name` may take; `None`: no limit.
pub fn set_limit(places: &Places<'_>, name: &MachineName, bytes: Option<u64>) -> Result<()> {
    const VERB: &str = "limit image";
    let image = find(name, places.search)?;
    if image.kind != Kind::Subvolume {
        return Err(Cause::Why("only a subvolume of a btrfs has a quota").on(VERB, &image.path));
    }
    let dir = usage::open(&image.path).on(VERB, &image.path)?;
    match subvolume::set_limit(dir.as_fd(), bytes) {
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::NOTCONN | Errno::INVAL)) => {
            Err(Cause::Why("quotas are off on its file system (btrfs quota enable turns them on)").on(VERB, &image.path))
        }
        other => other.on(VERB, &image.path),
    }
}

/// What [`clean`] did.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// What was removed, by file name.
    pub removed: Vec<String>,
    /// What could not be, and why. Those that somebody uses are not among them.
    pub failed: Vec<crate::Error>,
}

/// Removes the hidden images of [`Places::home`], and with `all` every image there. What is in use stays.
pub fn clean(places: &Places<'_>, all: bool) -> Result<Cleaned> {
    let mut done = Cleaned::default();
    if !is_directory(places.home) {
        return Ok(done);
    }
    for path in leftovers(places.home)? {
        match remove_leftover(&path) {
            Ok(true) => done.removed.push(file_name(&path)),
            Ok(false) => {}
            Err(e) => done.failed.push(e),
        }
    }
    for image in list(&[places.home], true)?.into_iter().filter(|image| all || image.is_hidden()) {
        // Those of ours are held with another lock, and were done above.
        if image.name.as_bytes().starts_with(partial::PREFIX) {
            continue;
        }
        match remove_image(places, &image) {
            Ok(()) => done.removed.push(file_name(&image.path)),
            Err(e) if matches!(e.cause, Cause::Busy { .. }) && image.is_hidden() => {}
            Err(e) => done.failed.push(e),
        }
    }
    Ok(done)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Directories and files of ours that nobody may have finished.
fn leftovers(home: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(home).on("list images in", home)?;
    let ours = |path: &PathBuf| path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(partial::PREFIX));
    Ok(entries.flatten().map(|e| e.path()).filter(ours).collect())
}

/// Removes one unless somebody works on it.
fn remove_leftover(path: &Path) -> Result<bool> {
    const VERB: &str = "remove";
    let (parent, name) = removal::open_parent(path).on(VERB, path)?;
    partial::sweep_one(parent.as_fd(), &name).on(VERB, path)
}
