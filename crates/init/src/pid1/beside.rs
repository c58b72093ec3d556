//! A manager beside another init, for as long as it is needed: `systemctl start` where nothing else runs unit files.
//!
//! ```text
//!  systemctl                                 manager
//!   LaunchLock; nobody listens
//!   exec `init --on-demand`, a pipe as its standard output
//!                            ◄────────────── READY; then it lets go of the caller's streams
//!   unlock, connect, ask ──────────────────► starts …
//!                                            nothing runs, nobody is connected: LaunchLock, stop listening, end
//! ```
//! The lock makes that nobody finds a manager that is about to go, and that no second one is started beside a first.

use std::os::fd::{AsFd, OwnedFd};

use hostel_sys::proc;
use rustix::fs::{FlockOperation, Mode, OFlags};

use super::place;
use crate::control::server::Server;
use crate::manager::Manager;

/// What the manager writes to its standard output when it can be asked.
pub const READY: &[u8] = b"ready\n";

/// Held by whoever starts a manager, or is one that ends.
#[derive(Debug)]
pub struct LaunchLock(#[allow(dead_code)] OwnedFd);

impl LaunchLock {
    /// Waits for it.
    pub fn wait() -> Result<LaunchLock, String> {
        Self::take(FlockOperation::LockExclusive).map_err(|e| format!("take the lock for starting a manager: {e}"))
    }

    fn take(how: FlockOperation) -> std::io::Result<LaunchLock> {
        let directory = place::directory().ok_or_else(|| std::io::Error::other("there is no directory for it that can be written"))?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(format!("{directory}/launch.lock"), flags, Mode::from_raw_mode(0o600))?;
        rustix::fs::flock(&file, how)?;
        Ok(LaunchLock(file))
    }
}

/// Tells who started us that we can be asked, and lets go of its streams.
pub(super) fn announce() -> Result<(), String> {
    let failed = |e: std::io::Error| format!("let go of the caller's streams: {e}");
    // who started us may be gone: then somebody else asks
    let _ = rustix::io::write(rustix::stdio::stdout(), READY);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed(e.into()))?;
    (0..3).try_for_each(|number| proc::place_stream(null.as_fd(), number)).map_err(failed)
}

/// Whether a manager that is not needed has stopped listening, and may end.
pub(super) fn leave(server: &mut Server, manager: &mut Manager) -> bool {
    if server.has_clients() || !server.was_asked() {
        return false;
    }
    // held by somebody who is about to ask: then it goes on
    match LaunchLock::take(FlockOperation::NonBlockingLockExclusive) {
        Ok(lock) => {
            let closed = server.close(manager);
            if closed {
                // until the process is gone
                std::mem::forget(lock);
            }
            closed
        }
        Err(_) => false,
    }
}
