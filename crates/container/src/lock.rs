//! The lock of a container's files, shared with LXC: `/run/lxc/lock/LXCPATH/.NAME`.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hostel_sys::tree::{Lock, try_lock};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::container::Container;
use crate::error::{On, Result};
use crate::files::run_directory;

/// Nobody holds it for longer than reading or writing a file takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Held until what comes back is dropped.
pub(crate) fn take(container: &Container) -> Result<OwnedFd> {
    const VERB: &str = "lock files of container";
    let directory = format!("{}/lock{}", run_directory(), container.lxcpath);
    std::fs::create_dir_all(&directory).on("make", &directory)?;
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(format!("{directory}/.{}", container.name), flags, Mode::from_raw_mode(0o600)).on(VERB, &container.name)?;
    let deadline = Instant::now() + PATIENCE;
    while !try_lock(file.as_fd(), Lock::Exclusive).on(VERB, &container.name)? {
        if Instant::now() >= deadline {
            return Err(container.error("lock files of", "somebody else holds the lock for 10 s", Errno::BUSY));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(file)
}
