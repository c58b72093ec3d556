//! Removing a container: what others stand on stays.

use std::ffi::OsString;
use std::path::Path;

use hostel_image::remove::remove_tree;
use rustix::io::Errno;

use crate::container::Container;
use crate::error::{On, Result};
use crate::{depend, partial, snapshot, volume};

const VERB: &str = "destroy";

impl Container {
    /// Refuses to do `verb` to what may not be destroyed.
    pub(crate) fn refuse_destroy(&self, verb: &str, with_snapshots: bool) -> Result<()> {
        self.require_defined(verb)?;
        self.require_stopped(verb)?;
        let refuse = |why| Err(self.error(verb, why, Errno::BUSY));
        // Snapshots may stand on its volume.
        let own = |lxcpath: &str| with_snapshots && lxcpath == snapshot::place(self);
        if depend::dependents(self).iter().any(|(lxcpath, _)| !own(lxcpath)) {
            return refuse("it has clones: they stand on its files");
        }
        if !with_snapshots && snapshot::there_are(self) {
            return refuse("it has snapshots");
        }
        Ok(())
    }

    /// Removes it, its root file system and its directory; nothing, if `lxc.rootfs.managed` is 0. Refused while it runs, has snapshots,
    /// or clones that stand on its files.
    ///
    /// ```
    /// let mut container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert_eq!(container.destroy().unwrap_err().to_string(), "destroy container web: there is no such container");
    /// ```
    pub fn destroy(&mut self) -> Result<()> {
        self.refuse_destroy(VERB, false)?;
        self.destroy_keeping_snapshots()
    }

    /// The same with its snapshots.
    pub fn destroy_with_snapshots(&mut self) -> Result<()> {
        self.refuse_destroy(VERB, true)?;
        if snapshot::there_are(self) {
            self.snapshot_destroy_all()?;
        }
        self.destroy()
    }

    /// What a restore does before it copies.
    pub(crate) fn destroy_keeping_snapshots(&mut self) -> Result<()> {
        if self.config.is_none() {
            self.load_config(None)?;
        }
        if self.value("lxc.rootfs.managed") == Some("0") {
            return Ok(());
        }
        let store = self.store()?;
        let root = store.as_ref().map(|store| store.path().display().to_string()).unwrap_or_default();
        self.run_hooks("destroy", &[], &[("LXC_ROOTFS_PATH", &root)])?;
        // From here on it is not there: a killed removal is finished by who looks for it next.
        let claim = partial::claim(self, VERB)?;
        if let Some(store) = store.as_ref().filter(|store| store.kind.is_volume()) {
            volume::note(&self.directory(), store)?;
            // In use, or with snapshots of somebody else's: then all of it stays.
            let destroyed = store.destroy();
            volume::settled(&self.directory());
            if destroyed.is_err() {
                claim.done()?;
                return destroyed;
            }
        }
        depend::leave(self)?;
        let config = self.config_file_name();
        std::fs::remove_file(&config).on("remove", &config)?;
        if let Some(store) = store.filter(|store| !store.kind.is_volume()) {
            store.destroy()?;
        }
        files(self, &[])
    }
}

/// Removes all files of a container but its snapshots and those of these names, `partial` the last.
pub(crate) fn files(container: &Container, kept: &[OsString]) -> Result<()> {
    let directory = container.directory();
    volume::sweep(&directory)?;
    for entry in std::fs::read_dir(&directory).on("list", directory.display())?.flatten() {
        let name = entry.file_name();
        if name != "snaps" && name != "partial" && !kept.contains(&name) {
            remove(&entry.path())?;
        }
    }
    let partial = directory.join("partial");
    std::fs::remove_file(&partial).on("remove", partial.display())?;
    if !kept.is_empty() {
        return Ok(());
    }
    match std::fs::remove_dir(directory.join("snaps")).and_then(|()| std::fs::remove_dir(&directory)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::fs::remove_dir(&directory).on("remove", directory.display()),
        // it has snapshots
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(remove_tree(path)?),
        _ => std::fs::remove_file(path).on("remove", path.display()),
    }
}
