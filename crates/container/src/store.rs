//! Backing stores: what a root file system is kept in.
//!
//! | store | `lxc.rootfs.path` | a clone is | a snapshotting clone is |
//! |---|---|---|---|
//! | `dir` | a directory | a copy (a snapshot, where it is a subvolume of btrfs) | an overlay over it |
//! | `overlay` | lower directories, and the one that is written to | – | a copy of what was written |
//! | `btrfs` | a subvolume | a snapshot | a snapshot |
//! | `loop` | a disk image | a copy | – |
//! | `zfs` | a dataset | a copy | a snapshot |
//! | `lvm` | a logical volume | a copy | a snapshot |

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use hostel_image::copy::{self, Options, copy_tree};
use hostel_image::disk::probe;
use hostel_image::{open, raw, remove};
use hostel_lxc::Config;
use hostel_sys::block::{Stretch, attach_loop};
use hostel_sys::mount::{self, Attributes, FsOption};
use hostel_sys::tree::{btrfs, unshare_mounts};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, On, Result};
use crate::volume;

/// Kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A directory that is written to over others that are not.
    Overlay,
    /// A subvolume of btrfs.
    Btrfs,
    /// A file system in a file.
    Loop,
    /// A dataset of ZFS.
    Zfs,
    /// A logical volume of LVM.
    Lvm,
}

impl Kind {
    /// By its word.
    ///
    /// ```
    /// use hostel_container::store::Kind;
    /// assert_eq!(Kind::of("overlayfs").unwrap(), Kind::Overlay);
    /// assert!(Kind::of("rbd").is_err() && Kind::of("tape").is_err());
    /// ```
    pub fn of(word: &str) -> Result<Kind> {
        let why = match word {
            "dir" | "best" | "_unset" => return Ok(Kind::Dir),
            "overlay" | "overlayfs" => return Ok(Kind::Overlay),
            "btrfs" => return Ok(Kind::Btrfs),
            "loop" => return Ok(Kind::Loop),
            "zfs" => return Ok(Kind::Zfs),
            "lvm" => return Ok(Kind::Lvm),
            "rbd" | "nbd" => "it is not made here: dir, overlay, btrfs, loop, zfs and lvm are; where its device is mounted it is a dir",
            _ => "there is no such type of backing storage",
        };
        Err(Error::new("use backing store", word, why, Errno::OPNOTSUPP))
    }
    fn word(self) -> &'static str {
        match self {
            Kind::Dir => "dir",
            Kind::Overlay => "overlay",
            Kind::Btrfs => "btrfs",
            Kind::Loop => "loop",
            Kind::Zfs => "zfs",
            Kind::Lvm => "lvm",
        }
    }
    /// Whether a volume manager keeps it.
    pub(crate) fn is_volume(self) -> bool {
        matches!(self, Kind::Zfs | Kind::Lvm)
    }
}

/// What a new store is to be.
#[derive(Debug, Clone, Default)]
pub struct Specs {
    /// Its kind; none: a directory.
    pub kind: Option<Kind>,
    /// Another directory than `rootfs`.
    pub dir: Option<PathBuf>,
    /// File system of an image or a logical volume (ext4).
    pub fstype: Option<String>,
    /// Its bytes (1 GiB).
    pub size: Option<u64>,
    /// The dataset that a dataset is made in (lxc.bdev.zfs.root).
    pub zfs_root: Option<String>,
    /// A logical volume's group (lxc.bdev.lvm.vg).
    pub group: Option<String>,
    /// Its name (the container's).
    pub volume: Option<String>,
    /// The thin pool that it is made in (lxc.bdev.lvm.thin_pool, if there is such a pool).
    pub pool: Option<String>,
}

/// A root file system's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Its kind.
    pub kind: Kind,
    /// One path; of an overlay the lower ones from the uppermost down, and the upper one.
    pub(crate) paths: Vec<PathBuf>,
}

fn make_directories(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).on("make", path.display())
}

impl Store {
    pub(crate) fn one(kind: Kind, path: PathBuf) -> Store {
        Store { kind, paths: vec![path] }
    }

    /// That of a configuration; none: it has no root file system of its own.
    pub fn of(config: &Config) -> Result<Option<Store>> {
        config.root().map(|(kind, path)| Store::parse(kind, path)).transpose()
    }

    /// By the word of its kind, if any, and its path.
    pub(crate) fn parse(kind: Option<&str>, path: &str) -> Result<Store> {
        let kind = match kind {
            Some(word) => Kind::of(word)?,
            None if raw::is_image(Path::new(path)) => Kind::Loop,
            None => Kind::Dir,
        };
        let paths: Vec<PathBuf> = match kind {
            Kind::Overlay => path.split(':').map(PathBuf::from).collect(),
            _ => vec![path.into()],
        };
        if kind == Kind::Overlay && paths.len() < 2 {
            return Err(Error::new("use root", path, "an overlay has two directories or more", Errno::INVAL));
        }
        Ok(Store { kind, paths })
    }

    /// As `lxc.rootfs.path` has it.
    pub(crate) fn text(&self) -> String {
        let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        format!("{}:{}", self.kind.word(), paths.join(":"))
    }

    /// Its path; of an overlay the upper directory.
    pub fn path(&self) -> &Path {
        self.paths.last().map_or(Path::new(""), PathBuf::as_path)
    }

    /// Makes a new one for the container in `directory`.
    pub(crate) fn create(specs: &Specs, directory: &Path) -> Result<Store> {
        let rootfs = specs.dir.clone().unwrap_or_else(|| directory.join("rootfs"));
        let kind = specs.kind.unwrap_or(Kind::Dir);
        if kind.is_volume() {
            return volume::create(kind, specs, directory);
        }
        if kind == Kind::Btrfs {
            subvolume(&rootfs)?;
        } else {
            make_directories(&rootfs)?;
        }
        Ok(match kind {
            Kind::Dir | Kind::Btrfs => Store::one(kind, rootfs),
            Kind::Overlay => {
                let upper = directory.join("overlay/delta");
                make_directories(&upper)?;
                Store { kind, paths: vec![rootfs, upper] }
            }
            _ => Store::one(kind, image(&directory.join("rootdev"), specs)?),
        })
    }

    /// The directory that a template fills: in this mount namespace, mounted on `rootfs` where it has to be.
    pub(crate) fn filled(&self, rootfs: &Path) -> Result<PathBuf> {
        match self.kind {
            // the lower one: nothing is under it yet
            Kind::Overlay => Ok(self.paths[0].clone()),
            Kind::Loop | Kind::Zfs | Kind::Lvm => self.attach(rootfs),
            Kind::Dir | Kind::Btrfs => Ok(self.path().to_owned()),
        }
    }

    /// Mounts it on `rootfs`, in this mount namespace. What is a directory as it is needs no mount.
    pub fn attach(&self, rootfs: &Path) -> Result<PathBuf> {
        const VERB: &str = "mount root";
        let mounted = match self.kind {
            Kind::Dir | Kind::Btrfs => return Ok(self.path().to_owned()),
            Kind::Zfs => return volume::mount(self.path(), rootfs),
            Kind::Overlay => overlay(&self.paths),
            Kind::Loop | Kind::Lvm => image_or_device(self.path()),
        }?;
        make_directories(rootfs)?;
        let place = open::directory(rootfs)?;
        mount::attach(mounted.as_fd(), place.as_fd(), c"").on(VERB, rootfs.display())?;
        Ok(rootfs.to_owned())
    }

    /// Copies it for the container in `directory`: as a store of the kind that is asked for, as a snapshot where that is one.
    pub(crate) fn copy(&self, snapshot: bool, specs: &Specs, directory: &Path) -> Result<Store> {
        let to = specs.kind.unwrap_or(if snapshot && self.kind == Kind::Dir { Kind::Overlay } else { self.kind });
        let rootfs = directory.join("rootfs");
        let refuse = |why| Err(Error::new("copy root", self.text(), why, Errno::OPNOTSUPP));
        match (self.kind, to) {
            (Kind::Zfs, Kind::Zfs) | (Kind::Lvm, Kind::Lvm) if snapshot => volume::snapshot(self, specs, directory),
            (Kind::Dir | Kind::Btrfs | Kind::Overlay, Kind::Overlay) if !snapshot => {
                refuse("an overlay is a snapshot: ask for one (-s), or for a copy in a directory (-B dir)")
            }
            (Kind::Dir | Kind::Btrfs, Kind::Overlay) => {
                let upper = fresh_upper(directory, self.path())?;
                make_directories(&rootfs)?;
                Ok(Store { kind: to, paths: vec![self.path().to_owned(), upper] })
            }
            (Kind::Overlay, Kind::Overlay) => {
                make_directories(&directory.join("overlay/work"))?;
                make_directories(&rootfs)?;
                let mut paths = self.paths.clone();
                let upper = directory.join("overlay/delta");
                tree(self.path(), &upper)?;
                paths.pop();
                paths.push(upper);
                Ok(Store { kind: to, paths })
            }
            (Kind::Loop, Kind::Loop) if !snapshot && specs.size.is_none() => {
                make_directories(&rootfs)?;
                let to = directory.join("rootdev");
                file(self.path(), &to)?;
                Ok(Store::one(Kind::Loop, to))
            }
            (_, Kind::Overlay) => refuse("an image or a volume has no overlays here"),
            (Kind::Dir | Kind::Loop | Kind::Zfs | Kind::Lvm, _) if snapshot && to != Kind::Btrfs => {
                refuse("it has no snapshots; an overlay is one (-B overlay)")
            }
            _ => self.copy_files(to, specs, directory),
        }
    }

    /// File by file.
    fn copy_files(&self, to: Kind, specs: &Specs, directory: &Path) -> Result<Store> {
        let rootfs = directory.join("rootfs");
        let mut store = Store::one(to, rootfs.clone());
        if to == Kind::Loop || to.is_volume() {
            let size = if self.kind == Kind::Lvm { Some(volume::size(self.path())?) } else { None };
            let mut specs = Specs { kind: Some(to), size: specs.size.or(size), ..specs.clone() };
            // Of its own kind a copy is made beside it, if nobody says where.
            let beside = self.path().parent().filter(|_| to == self.kind);
            match to {
                Kind::Zfs if specs.zfs_root.is_none() => specs.zfs_root = beside.map(|at| at.to_string_lossy().into_owned()),
                Kind::Lvm if specs.group.is_none() => {
                    specs.group = beside.and_then(Path::file_name).map(|group| group.to_string_lossy().into_owned());
                }
                _ => {}
            }
            store = Store::create(&specs, directory)?;
        }
        in_own_mounts(&mut || {
            // beside the place of the copy: the source's own may be somebody's mount
            let from = self.attach(&directory.join("source"))?;
            let source = open::directory(&from)?;
            match to {
                Kind::Loop | Kind::Zfs | Kind::Lvm => {
                    let to = store.attach(&rootfs)?;
                    Ok(copy::copy_contents(source.as_fd(), &from, readable(&to)?.as_fd())?)
                }
                // a subvolume as such is snapshotted, where that can be
                Kind::Btrfs if !btrfs::is_subvolume(source.as_fd()).unwrap_or(false) => {
                    subvolume(&rootfs)?;
                    Ok(copy::copy_contents(source.as_fd(), &from, readable(&rootfs)?.as_fd())?)
                }
                _ => Ok(copy_tree(source.as_fd(), &from, &rootfs, &Options::default()).map(drop)?),
            }
        })?;
        // where the source was mounted, if it was
        let _ = std::fs::remove_dir(directory.join("source"));
        Ok(store)
    }

    /// Whether it is there.
    pub(crate) fn exists(&self) -> Result<bool> {
        if self.kind == Kind::Zfs { volume::exists(self.path()) } else { Ok(self.path().exists()) }
    }

    /// Whether a snapshot of it, of this kind, is lost without it.
    pub(crate) fn is_stood_on(&self, to: Option<Kind>) -> bool {
        match self.kind {
            Kind::Zfs | Kind::Lvm => to.is_none_or(|to| to == self.kind) && volume::is_stood_on(self),
            Kind::Btrfs => false,
            _ => matches!(to, None | Some(Kind::Overlay)),
        }
    }

    /// Removes it; what is missing is removed.
    pub(crate) fn destroy(&self) -> Result<()> {
        let path = self.path();
        match self.kind {
            Kind::Zfs | Kind::Lvm => volume::destroy(self),
            _ if rustix::fs::lstat(path).is_err_and(|e| e == Errno::NOENT) => Ok(()),
            Kind::Loop => std::fs::remove_file(path).on("remove", path.display()),
            Kind::Dir | Kind::Btrfs | Kind::Overlay => Ok(remove::remove_tree(path)?),
        }
    }
}

/// Runs `what` in a thread with a mount namespace, a working directory and a umask of its own: nobody else sees what it mounts, and
/// its end takes that back.
pub(crate) fn in_own_mounts(what: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare_mounts().on("leave", "mount namespace")?;
            rustix::process::umask(Mode::from_raw_mode(0o022));
            what()
        });
        thread.join().unwrap_or_else(|_| Err(Errno::IO).on("work in", "mount namespace"))
    })
}

fn tree(from: &Path, to: &Path) -> Result<()> {
    copy_tree(open::directory(from)?.as_fd(), from, to, &Options::default())?;
    Ok(())
}

fn file(from: &Path, to: &Path) -> Result<()> {
    let source = raw::open(from, false)?;
    let made = std::fs::File::options().write(true).create_new(true).open(to).on("make", to.display())?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o600)).on("make", to.display())?;
    copy::fill(source.file.as_fd(), made.as_fd()).on("copy image", from.display())
}

/// An upper directory that looks as the lower one does from outside.
fn fresh_upper(directory: &Path, lower: &Path) -> Result<PathBuf> {
    const VERB: &str = "make";
    let upper = directory.join("overlay/delta");
    make_directories(&upper)?;
    make_directories(&directory.join("overlay/work"))?;
    let stat = rustix::fs::stat(lower).on("open tree", lower.display())?;
    rustix::fs::chown(&upper, Some(rustix::fs::Uid::from_raw(stat.st_uid)), Some(rustix::fs::Gid::from_raw(stat.st_gid)))
        .and_then(|()| rustix::fs::chmod(&upper, Mode::from_raw_mode(stat.st_mode & 0o7777)))
        .on(VERB, upper.display())?;
    Ok(upper)
}

/// A directory that is more than a place.
pub(crate) fn readable(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).on("open", path.display())
}

fn subvolume(path: &Path) -> Result<()> {
    let (above, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let dir = readable(above)?;
    let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::INVAL).on("make subvolume", path.display())?;
    btrfs::subvolume::create(dir.as_fd(), &name).on("make subvolume", path.display())
}

/// A new file system in a file.
fn image(path: &Path, specs: &Specs) -> Result<PathBuf> {
    let file = std::fs::File::options().write(true).create_new(true).open(path).on("make", path.display())?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).on("make", path.display())?;
    // one more than asked for, as LXC has it
    file.set_len(specs.size.unwrap_or(1 << 30) + 1).on("make", path.display())?;
    make_file_system(path, specs.fstype.as_deref())?;
    Ok(path.to_owned())
}

/// Makes a file system in a file or a device (ext4).
pub(crate) fn make_file_system(path: &Path, fstype: Option<&str>) -> Result<()> {
    let fstype = fstype.unwrap_or("ext4");
    if !fstype.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Error::new("make file system", fstype, "it is no type of a file system", Errno::INVAL));
    }
    let tool = format!("mkfs.{fstype}");
    let made = Command::new(&tool).arg(path).stdin(std::process::Stdio::null()).output().on("run", &tool)?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        return Err(Error::new("run", tool, said.trim().lines().next_back().unwrap_or("it failed"), Errno::IO));
    }
    Ok(())
}

fn image_or_device(path: &Path) -> Result<OwnedFd> {
    const VERB: &str = "mount image";
    let image = raw::open(path, true)?;
    let found = image.reader().and_then(|mut reader| probe::probe(&mut reader, 0, image.size)).on(VERB, path.display())?;
    let driver = found.and_then(|content| content.driver()).ok_or(Errno::MEDIUMTYPE).on(VERB, path.display())?;
    let source = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL).on(VERB, path.display());
    if image.device {
        // What is open for one alone cannot be mounted.
        drop(image);
        return mount::filesystem(driver, &[FsOption::Text(c"source", &source(path)?)], Attributes::NONE).on(VERB, path.display());
    }
    // whole sectors
    let stretch = Stretch { offset: 0, size: image.size & !511, read_only: false };
    let device = attach_loop(image.file.as_fd(), stretch).on(VERB, path.display())?;
    mount::filesystem(driver, &[FsOption::Text(c"source", &source(Path::new(&device.path()))?)], Attributes::NONE).on(VERB, path.display())
}

fn overlay(paths: &[PathBuf]) -> Result<OwnedFd> {
    const VERB: &str = "mount overlay";
    let Some((upper, lower)) = paths.split_last() else { return Err(Errno::INVAL).on(VERB, "") };
    let place = upper.parent().unwrap_or(Path::new("/"));
    // LXC before 4 had another place
    let old = place.join("olwork");
    let work = if old.is_dir() { old } else { place.join("work") };
    make_directories(&work)?;
    let text = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL).on(VERB, path.display());
    let lower = lower.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
    let (lower, upper, work) = (text(Path::new(&lower))?, text(upper)?, text(&work)?);
    let options = [
        FsOption::Text(c"source", c"overlay"),
        FsOption::Text(c"lowerdir", &lower),
        FsOption::Text(c"upperdir", &upper),
        FsOption::Text(c"workdir", &work),
    ];
    mount::filesystem(c"overlay", &options, Attributes::NONE).on(VERB, upper.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_of_configurations() {
        let of = |value: &str| {
            let mut config = Config::default();
            config.set("lxc.rootfs.path", value, &mut crate::files::Host).unwrap();
            Store::of(&config)
        };
        assert_eq!(of("dir:/a").unwrap(), Some(Store::one(Kind::Dir, "/a".into())));
        assert_eq!(of("/nonexistent/a").unwrap(), Some(Store::one(Kind::Dir, "/nonexistent/a".into())));
        let overlay = of("overlayfs:/a:/b:/c").unwrap().unwrap();
        assert_eq!((overlay.text().as_str(), overlay.path()), ("overlay:/a:/b:/c", Path::new("/c")));
        assert!(of("overlay:/a").is_err());
        assert_eq!(of("zfs:pool/a").unwrap(), Some(Store::one(Kind::Zfs, "pool/a".into())));
        assert!(of("rbd:/dev/a").is_err());
        assert_eq!(Store::of(&Config::default()).unwrap(), None);
    }
}
