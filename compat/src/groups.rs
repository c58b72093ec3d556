//! A place of our own in every cgroup hierarchy: systemd-nspawn with --keep-unit takes over the group it is started in.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait_until;

/// Names of the groups of whole runs begin so; the rest is the process id.
pub(crate) const PREFIX: &str = "hostel-compat-";

/// One mounted hierarchy and where this process is in it.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    /// What /proc/PID/cgroup calls it: `memory`, `name=systemd`, empty for version 2.
    pub(crate) controllers: String,
    /// Where it is mounted.
    top: PathBuf,
    /// The directory of this process.
    pub(crate) here: PathBuf,
}

/// Every hierarchy that is mounted.
pub(crate) fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut found = Vec::new();
    for line in std::fs::read_to_string("/proc/self/cgroup")?.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let Some(mount) = mounts.lines().find_map(|m| mount_of(m, id == "0", controllers)) else { continue };
        found.push(Hierarchy { controllers: controllers.to_owned(), here: mount.join(path.trim_start_matches('/')), top: mount });
    }
    Ok(found)
}

/// The mount point, if this line of mountinfo is the hierarchy's and shows all of it.
fn mount_of(line: &str, v2: bool, controllers: &str) -> Option<PathBuf> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, target) = (before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let right = if v2 { kind == "cgroup2" } else { kind == "cgroup" && options.split(',').any(|o| controllers.split(',').any(|c| c == o)) };
    (right && root == "/").then(|| target.into())
}

/// A group of this name below where this process is, in some hierarchies.
#[derive(Debug)]
pub(crate) struct Groups {
    dirs: Vec<PathBuf>,
}

impl Groups {
    /// In every hierarchy.
    pub(crate) fn everywhere(name: &str) -> io::Result<Groups> {
        Self::make(name, |_| true)
    }

    /// In those that systemd-nspawn changes: its own and version 2. Moving between groups is slow (10 ms each).
    pub(crate) fn of_nspawn(name: &str) -> io::Result<Groups> {
        Self::make(name, |controllers| controllers.is_empty() || controllers == "name=systemd")
    }

    fn make(name: &str, wanted: impl Fn(&str) -> bool) -> io::Result<Groups> {
        let mut dirs = Vec::new();
        for hierarchy in hierarchies()?.into_iter().filter(|h| wanted(&h.controllers)) {
            let dir = hierarchy.here.join(name);
            match std::fs::create_dir(&dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io::Error::new(e.kind(), format!("make {}: {e}", dir.display()))),
                _ => dirs.push(dir.clone()),
            }
            if hierarchy.controllers.split(',').any(|c| c == "cpuset") {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    std::fs::write(dir.join(file), std::fs::read(hierarchy.here.join(file))?)?;
                }
            }
        }
        Ok(Groups { dirs })
    }

    /// The directories, for `in-groups`.
    pub(crate) fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// Groups below ours, as `hierarchy:path`, sorted.
    pub(crate) fn below(&self) -> Vec<String> {
        let mut found = Vec::new();
        for dir in &self.dirs {
            for path in descendants(dir) {
                let hierarchy = dir
                    .strip_prefix("/sys/fs/cgroup")
                    .ok()
                    .and_then(|p| p.components().next())
                    .map_or_else(String::new, |c| c.as_os_str().to_string_lossy().into_owned());
                found.push(format!("{hierarchy}:{}", path.strip_prefix(dir).unwrap_or(&path).display()));
            }
        }
        found.sort();
        found
    }

    /// Kills whoever is in our groups (version 2 kills a whole subtree at once).
    pub(crate) fn kill(&self) {
        for dir in &self.dirs {
            let _ = std::fs::write(dir.join("cgroup.kill"), "1");
        }
    }

    /// Removes the groups and all below them; kills what is still there.
    pub(crate) fn remove(&self) {
        self.kill();
        for dir in &self.dirs {
            for path in descendants(dir).iter().chain([dir]) {
                if !wait_until(Duration::from_secs(3), || std::fs::remove_dir(path).is_ok() || !path.exists()) {
                    eprintln!("remove {}: still in use", path.display());
                }
            }
        }
    }
}

/// Every group below, deepest first.
fn descendants(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        found.extend(descendants(&entry.path()));
        found.push(entry.path());
    }
    found
}

/// Removes what a killed run left: its groups and whoever is in them. It may have been started in another group than we.
pub(crate) fn sweep() {
    for hierarchy in hierarchies().unwrap_or_default() {
        sweep_below(&hierarchy.top, 3);
    }
}

fn sweep_below(dir: &Path, depth: u32) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let name = entry.file_name();
        if crate::run_that_is_over(&name.to_string_lossy(), PREFIX).is_some() {
            Groups { dirs: vec![entry.path()] }.remove();
        } else if depth > 0 {
            sweep_below(&entry.path(), depth - 1);
        }
    }
}
