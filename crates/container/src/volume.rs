//! Stores that a volume manager of the host keeps: ZFS and LVM, by their own programs.
//!
//! A note beside the configuration, `volume`, names what is being made or removed: whoever is killed meanwhile leaves it to who sweeps.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;

use crate::error::{Error, On, Result};
use crate::files::{global_item, text};
use crate::store::{Kind, Specs, Store, make_file_system};

const NOTE: &str = "volume";

/// What a program of the host says.
fn tool(name: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(name).args(words).env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = match output {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new("run", name, "it is not installed\nhint: without it there is the backing store dir", Errno::NOENT));
        }
        other => other.on("run", name)?,
    };
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    if output.status.success() {
        return Ok(said(&output.stdout));
    }
    let why = Some(said(&output.stderr)).filter(|why| !why.is_empty()).unwrap_or_else(|| output.status.to_string());
    Err(Error::new("run", format_args!("{name} {}", words.join(" ")), why, Errno::IO))
}

/// What the volume of a container is called: a snapshot's has the name of what it is one of, too.
fn name(directory: &Path) -> String {
    let of = |path: Option<&Path>| path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let (own, above) = (of(Some(directory)), directory.parent());
    if of(above) == "snaps" { format!("{}-{own}", of(above.and_then(Path::parent))) } else { own }
}

/// Writes down that this is being made, or removed.
pub(crate) fn note(directory: &Path, store: &Store) -> Result<()> {
    if !store.kind.is_volume() {
        return Ok(());
    }
    let file = directory.join(NOTE);
    std::fs::write(&file, store.text()).on("write", file.display())
}

/// It is made.
pub(crate) fn settled(directory: &Path) {
    // Where none is, there was none.
    let _ = std::fs::remove_file(directory.join(NOTE));
}

/// [`note`], where there is none of that name yet: what is somebody else's is not swept.
fn begin(directory: &Path, store: &Store) -> Result<()> {
    if store.exists()? {
        return Err(Error::new("make volume", store.path().display(), "there is one of that name", Errno::EXIST));
    }
    note(directory, store)
}

/// Runs the program that makes what was noted; where it fails nothing was made, and what has that name is somebody else's.
fn make(directory: &Path, name: &str, words: &[&str]) -> Result<()> {
    tool(name, words).map(drop).inspect_err(|_| settled(directory))
}

/// Removes what the note names.
pub(crate) fn sweep(directory: &Path) -> Result<()> {
    let Ok(noted) = text(&directory.join(NOTE)) else { return Ok(()) };
    let (kind, path) = noted.split_once(':').ok_or(Errno::BADMSG).on("read", NOTE)?;
    match Store::parse(Some(kind), path)?.destroy() {
        // Without the program there never was one.
        Err(e) if e.is(Errno::NOENT) => {}
        other => other?,
    }
    // Of that name there may be another one from here on.
    settled(directory);
    Ok(())
}

/// Makes a new one for the container in `directory`.
pub(crate) fn create(kind: Kind, specs: &Specs, directory: &Path) -> Result<Store> {
    let setting = |own: &Option<String>, key: &str| own.clone().or_else(|| global_item(key)).unwrap_or_default();
    if kind == Kind::Zfs {
        let store = Store::one(kind, format!("{}/{}", setting(&specs.zfs_root, "lxc.bdev.zfs.root"), name(directory)).into());
        return dataset(store, directory, &["create"], &[]);
    }
    let group = setting(&specs.group, "lxc.bdev.lvm.vg");
    let volume = specs.volume.clone().unwrap_or_else(|| name(directory));
    let store = Store::one(kind, format!("/dev/{group}/{volume}").into());
    let pool = setting(&specs.pool, "lxc.bdev.lvm.thin_pool");
    let size = format!("{}b", specs.size.unwrap_or(1 << 30));
    // A pool that was asked for has to be there.
    let thin = specs.pool.is_some() || is(&format!("{group}/{pool}"), 't');
    let place: &[&str] = if thin { &["--thinpool", &pool, "-V", &size] } else { &["-L", &size] };
    begin(directory, &store)?;
    make(directory, "lvcreate", &[&["-y", "-n", &volume], place, &[&group]].concat())?;
    make_file_system(store.path(), specs.fstype.as_deref())?;
    Ok(store)
}

/// A dataset that is mounted for its container only.
fn dataset(store: Store, directory: &Path, how: &[&str], source: &[&str]) -> Result<Store> {
    let rootfs = directory.join("rootfs");
    std::fs::create_dir_all(&rootfs).on("make", rootfs.display())?;
    begin(directory, &store)?;
    let place = format!("mountpoint={}", rootfs.display());
    let target = store.path().to_string_lossy();
    make(directory, "zfs", &[how, &["-o", &place, "-o", "canmount=noauto"], source, &[&target]].concat())?;
    Ok(store)
}

/// Whether the first letter of a logical volume's attributes is this: `t` a thin pool, `V` a thin volume.
fn is(volume: &str, letter: char) -> bool {
    tool("lvs", &["--noheadings", "-o", "lv_attr", volume]).is_ok_and(|attributes| attributes.starts_with(letter))
}

/// Whether a snapshot of it is lost without it.
pub(crate) fn is_stood_on(store: &Store) -> bool {
    store.kind == Kind::Zfs || !is(&store.path().to_string_lossy(), 'V')
}

/// Makes a snapshot that is written to.
pub(crate) fn snapshot(store: &Store, specs: &Specs, directory: &Path) -> Result<Store> {
    let (source, new) = (store.path().to_string_lossy(), name(directory));
    let beside = store.path().parent().unwrap_or(Path::new("")).join(&new);
    let made = Store::one(store.kind, beside);
    if store.kind == Kind::Zfs {
        let snapshot = format!("{source}@{new}");
        tool("zfs", &["snapshot", &snapshot])?;
        return dataset(made, directory, &["clone"], &[&snapshot]).inspect_err(|_| drop(tool("zfs", &["destroy", &snapshot])));
    }
    let size = format!("{}b", specs.size.map_or_else(|| size(store.path()), Ok)?);
    let kind: &[&str] = if is_stood_on(store) { &["-L", &size] } else { &["-kn"] };
    begin(directory, &made)?;
    make(directory, "lvcreate", &[&["-y", "-s", "-n", &new], kind, &[&source]].concat())?;
    Ok(made)
}

/// Bytes of a device, or of what stands for one.
pub(crate) fn size(path: &Path) -> Result<u64> {
    Ok(hostel_image::raw::open(path, false)?.size)
}

/// Whether it is there.
pub(crate) fn exists(dataset: &Path) -> Result<bool> {
    match tool("zfs", &["list", "-H", "-o", "name", &dataset.to_string_lossy()]) {
        // Anything else, as a pool that is suspended, says nothing of it.
        Err(e) if e.text.contains("does not exist") => Ok(false),
        other => other.map(|_| true),
    }
}

/// Mounts a dataset; in the mount namespace of who asks.
pub(crate) fn mount(dataset: &Path, rootfs: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(rootfs).on("make", rootfs.display())?;
    tool("mount", &["-t", "zfs", "-o", "zfsutil", &dataset.to_string_lossy(), &rootfs.to_string_lossy()])?;
    Ok(rootfs.to_owned())
}

/// Removes it, and the snapshot that it was made of for it.
pub(crate) fn destroy(store: &Store) -> Result<()> {
    let path = store.path().to_string_lossy();
    if store.kind == Kind::Lvm {
        return if store.path().exists() { tool("lvremove", &["-f", &path]).map(drop) } else { Ok(()) };
    }
    if !exists(store.path())? {
        return Ok(());
    }
    let origin = tool("zfs", &["get", "-H", "-o", "value", "origin", &path])?;
    tool("zfs", &["destroy", &path])?;
    let own = store.path().file_name().unwrap_or_default().to_string_lossy();
    if origin.rsplit_once('@').is_some_and(|(_, snapshot)| snapshot == own) {
        tool("zfs", &["destroy", &origin])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_volumes() {
        assert_eq!(name(Path::new("/var/lib/lxc/web")), "web");
        assert_eq!(name(Path::new("/var/lib/lxc/web/snaps/snap0")), "web-snap0", "two containers have one of that name");
    }
}
