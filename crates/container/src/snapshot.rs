//! Snapshots of a container: containers of their own below its `snaps`, named snap0, snap1, ….

use std::path::{Path, PathBuf};

use hostel_unit::zone::{Zone, civil};
use rustix::io::Errno;

use crate::clone::CloneOptions;
use crate::container::{Container, is_defined, write};
use crate::error::{On, Result};
use crate::files::text;
use crate::store::{Kind, Store};
use crate::{depend, list};

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// `snap0`.
    pub name: String,
    /// The file with its comment, which need not be there.
    pub comment_pathname: PathBuf,
    /// When it was made: `2026:11:27 19:01:40`, local time.
    pub timestamp: Option<String>,
    /// The directory that it is a container in.
    pub lxcpath: String,
}

/// Where snapshots of a container are: in its directory, or where LXC 1 had them.
pub(crate) fn place(container: &Container) -> String {
    let old = format!("{}snaps/{}", container.lxcpath, container.name);
    if Path::new(&old).is_dir() { old } else { format!("{}/{}/snaps", container.lxcpath, container.name) }
}

/// Whether there are any.
pub(crate) fn there_are(container: &Container) -> bool {
    std::fs::read_dir(place(container)).is_ok_and(|entries| entries.flatten().any(|entry| is_defined(&entry.path())))
}

/// `%Y:%m:%d %H:%M:%S` in local time.
fn now() -> String {
    let unix = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    let zone = std::fs::read("/etc/localtime").ok().and_then(|bytes| Zone::parse(&bytes).ok()).unwrap_or(Zone::UTC);
    let local = unix + i64::from(zone.offset_at(unix));
    let ((year, month, day), second) = (civil(local.div_euclid(86400)), local.rem_euclid(86400));
    format!("{year:04}:{month:02}:{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

impl Container {
    /// Makes a snapshot of it as it is, stopped; its number.
    ///
    /// ```no_run
    /// let container = hostel_container::Container::new("web", None)?;
    /// let number = container.snapshot(None)?;
    /// println!("snap{number}");
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn snapshot(&self, comment: Option<&Path>) -> Result<u32> {
        self.require_defined("snapshot")?;
        if matches!(self.store()?, Some(Store { kind: Kind::Lvm, .. })) {
            return Err(self.error("snapshot", "LVM keeps none of it; `lxc-copy -s` is a container on a snapshot of the volume", Errno::OPNOTSUPP));
        }
        let place = place(self);
        std::fs::create_dir_all(&place).on("make", &place)?;
        let number = (0..).find(|n| {
            // What a killed snapshot left is swept, and its number is free.
            let swept = Container::bare(&format!("snap{n}"), Some(&place)).and_then(|c| crate::partial::sweep(&c));
            swept.is_ok() && !Path::new(&place).join(format!("snap{n}")).exists()
        });
        let number = number.ok_or(Errno::NOSPC).on("snapshot container", &self.name)?;
        let options = CloneOptions { keep_name: true, keep_mac: true, maybe_snapshot: true, ..CloneOptions::default() };
        let comment = comment.map(text).transpose()?;
        self.clone_then(&format!("snap{number}"), &place, &options, &|made| {
            write(&made.directory().join("ts"), &now())?;
            comment.as_ref().map_or(Ok(()), |comment| write(&made.directory().join("comment"), comment))
        })?;
        Ok(number)
    }

    /// Its snapshots, in the order of their names.
    ///
    /// ```
    /// let container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert!(container.snapshot_list().is_err(), "there is no such container");
    /// ```
    pub fn snapshot_list(&self) -> Result<Vec<Snapshot>> {
        if !self.directory().is_dir() {
            self.require_defined("list snapshots of")?;
        }
        let lxcpath = place(self);
        let names = list::list_defined(&lxcpath).unwrap_or_default();
        let of = |name: String| {
            let directory = Path::new(&lxcpath).join(&name);
            let timestamp = text(&directory.join("ts")).ok();
            Snapshot { name, comment_pathname: directory.join("comment"), timestamp, lxcpath: lxcpath.clone() }
        };
        Ok(names.into_iter().map(of).collect())
    }

    fn snapshot_of(&self, verb: &str, name: &str) -> Result<Container> {
        let snapshot = Container::new(name, Some(&place(self)))?;
        if !snapshot.is_defined() {
            return Err(self.error(verb, format_args!("it has no snapshot {name}"), Errno::NOENT));
        }
        Ok(snapshot)
    }

    /// Makes a container of a snapshot: another one, or itself anew. Nothing is touched when there is no such snapshot, or others
    /// stand on its files.
    pub fn snapshot_restore(&mut self, name: &str, new_name: Option<&str>) -> Result<()> {
        const VERB: &str = "restore";
        let snapshot = self.snapshot_of(VERB, name)?;
        let new_name = new_name.unwrap_or(&self.name).to_owned();
        let own = new_name == self.name;
        if own && self.is_defined() {
            self.require_stopped(VERB)?;
            // the snapshot itself may stand on them, too
            if !depend::dependents(self).is_empty() {
                return Err(self.error(VERB, "it has clones or snapshots: they stand on its files", Errno::BUSY));
            }
            self.destroy_keeping_snapshots()?;
        }
        // In its own place it has its addresses again.
        let options = CloneOptions { keep_mac: own, maybe_snapshot: true, ..CloneOptions::default() };
        snapshot.clone_to(&new_name, Some(&self.lxcpath), &options).map(drop)
    }

    /// Removes a snapshot.
    pub fn snapshot_destroy(&self, name: &str) -> Result<()> {
        self.snapshot_of("destroy snapshot of", name)?.destroy()
    }

    /// Removes all of them; it is an error that there are none.
    pub fn snapshot_destroy_all(&self) -> Result<()> {
        if !Path::new(&place(self)).is_dir() {
            return Err(self.error("destroy snapshots of", "it has none", Errno::NOENT));
        }
        for snapshot in self.snapshot_list()? {
            self.snapshot_destroy(&snapshot.name)?;
        }
        std::fs::remove_dir(place(self)).on("remove", place(self))
    }
}
