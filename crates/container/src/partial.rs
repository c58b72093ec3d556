//! Containers that are being made or removed: as long as there is a file `partial` in its directory, a container is not there.
//!
//! Whoever works on it holds an OFD lock on that file, as LXC does; without one, what is there was left by somebody who was killed.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_sys::tree::{Lock, try_lock};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::container::Container;
use crate::error::{On, Result};
use crate::{depend, destroy, volume};

/// Nanoseconds.
const YOUNG: i64 = 100_000_000;

/// The right to work on a container.
pub(crate) struct Claim {
    file: PathBuf,
    /// What was in its directory before.
    before: Vec<OsString>,
    /// Its lock ends with it.
    _held: OwnedFd,
}

impl Claim {
    /// The container is whole.
    pub(crate) fn done(self) -> Result<()> {
        self.file.parent().into_iter().for_each(volume::settled);
        std::fs::remove_file(&self.file).on("remove", self.file.display())
    }
    /// It is not to be: what was made since goes.
    pub(crate) fn undo(self, container: &Container) -> Result<()> {
        depend::leave(container)?;
        destroy::files(container, &self.before)
    }
}

/// Makes the directory of a container, and lxcpath; no matter if they are there.
pub(crate) fn make_directory(directory: &Path) -> Result<()> {
    if let Some(above) = directory.parent() {
        std::fs::create_dir_all(above).on("make", above.display())?;
    }
    match rustix::fs::mkdir(directory, Mode::from_raw_mode(0o770)) {
        // whatever the umask
        Ok(()) => rustix::fs::chmod(directory, Mode::from_raw_mode(0o770)).on("make", directory.display()),
        Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e).on("make", directory.display()),
    }
}

/// Begins to make, or to remove, `container`: of two that do, one fails.
pub(crate) fn claim(container: &Container, verb: &str) -> Result<Claim> {
    let directory = container.directory();
    let file = directory.join("partial");
    let before = std::fs::read_dir(&directory).on("list", directory.display())?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let held = match rustix::fs::open(&file, flags, Mode::empty()) {
        Err(Errno::EXIST) => return Err(container.error(verb, "somebody else is just making or removing it", Errno::BUSY)),
        other => other.on("make", file.display())?,
    };
    if !try_lock(held.as_fd(), Lock::Exclusive).on("lock", file.display())? {
        return Err(container.error(verb, "somebody else is just making or removing it", Errno::BUSY));
    }
    Ok(Claim { file, before, _held: held })
}

/// Removes what a killed creation, copy or removal left of it. Only where nobody else can put something in its place.
pub(crate) fn sweep(container: &Container) -> Result<()> {
    let directory = container.directory();
    let own = |path: &Path| rustix::fs::lstat(path).is_ok_and(|stat| stat.st_uid == rustix::process::geteuid().as_raw());
    let file = directory.join("partial");
    if !own(&file) || !own(&directory) || !own(Path::new(&container.lxcpath)) {
        return Ok(());
    }
    // Root opens what nobody may open; to others it is a container that is being made.
    let Ok(held) = rustix::fs::open(&file, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) else { return Ok(()) };
    // Its lock is taken just after it has been made: one that is that young is not judged.
    let stat = rustix::fs::fstat(&held).on("look at", file.display())?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let age = (now.tv_sec - stat.st_ctime).saturating_mul(1_000_000_000) + now.tv_nsec - stat.st_ctime_nsec as i64;
    if (0..YOUNG).contains(&age) || !try_lock(held.as_fd(), Lock::Exclusive).on("lock", file.display())? {
        return Ok(());
    }
    depend::leave(container)?;
    destroy::files(container, &[])
}
