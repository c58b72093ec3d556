//! Snapshots of kept machines: whole copies of their directories, beside them.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hostel_engine::error::{Error, Result};
use hostel_image::copy::{self, Options};
use hostel_image::{kept as layers, open, remove};
use hostel_spec::MachineName;

use super::kept;

/// Where they are: `MACHINE/SNAPSHOT`.
const DIRECTORY: &str = "/var/lib/hostel/snapshots";

/// One of them.
#[derive(Debug)]
pub struct Snapshot {
    /// Its name.
    pub name: MachineName,
    /// When it was taken, seconds since 1970.
    pub taken: u64,
    /// What is in its layers; `None`: it cannot be read.
    pub contents: Option<layers::Contents>,
}

fn of(machine: &MachineName) -> PathBuf {
    Path::new(DIRECTORY).join(machine.as_str())
}

/// Those of `machine`, in the order of their names.
pub fn list(machine: &MachineName) -> Result<Vec<Snapshot>> {
    let all = of(machine);
    let look = |name: MachineName| {
        let path = all.join(name.as_str());
        // The last change of the directory itself was its name.
        let taken = std::fs::metadata(&path).ok().and_then(|m| u64::try_from(m.ctime()).ok()).unwrap_or(0);
        Snapshot { name, taken, contents: layers::all_contents(&path).ok() }
    };
    Ok(layers::list(&all)?.into_iter().map(look).collect())
}

/// A name that none has: snap0, snap1, …
pub fn free_name(machine: &MachineName) -> Result<MachineName> {
    let taken = layers::list(&of(machine))?;
    let name = (0..).map(|n| format!("snap{n}")).find(|n| !taken.iter().any(|t| t.as_str() == n)).unwrap_or_default();
    MachineName::new(name).map_err(|e| Error::new("name", format!("snapshot of {machine}"), e))
}

/// Copies the kept machine, whose [`kept::lock`] the caller holds, to the snapshot `name`.
pub fn take(machine: &MachineName, name: &MachineName) -> Result<()> {
    let (from, all) = (kept::directory(machine), of(machine));
    // Only root looks in: what an upper layer holds may be set-user-id.
    let mut make = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut make, 0o700);
    make.recursive(true).create(&all).map_err(|e| Error::new("make directory", all.display().to_string(), hostel_engine::error::io_text(&e)))?;
    copy::copy_tree(open::directory(&from)?.as_fd(), &from, &all.join(name.as_str()), &Options::default())?;
    Ok(())
}

/// Makes the kept machine, whose [`kept::lock`] the caller holds, what it was at the snapshot `name`.
pub fn restore(machine: &MachineName, name: &MachineName) -> Result<()> {
    let (from, to) = (path(machine, name)?, kept::directory(machine));
    Ok(copy::replace_tree(open::directory(&from)?.as_fd(), &from, &to, &Options::default())?)
}

/// Deletes one.
pub fn forget(machine: &MachineName, name: &MachineName) -> Result<()> {
    Ok(remove::remove_tree(&path(machine, name)?)?)
}

/// Deletes all of a machine that is no more.
pub fn forget_all(machine: &MachineName) -> Result<()> {
    match std::fs::symlink_metadata(of(machine)) {
        Err(_) => Ok(()),
        Ok(_) => Ok(remove::remove_tree(&of(machine))?),
    }
}

fn path(machine: &MachineName, name: &MachineName) -> Result<PathBuf> {
    let path = of(machine).join(name.as_str());
    if std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir()) {
        return Ok(path);
    }
    let error = Error::new("find", format!("snapshot {name} of machine {machine}"), "there is none");
    Err(error.hint(format!("`hostel snapshot {machine} --list` lists those there are")))
}
