//! Stopping a machine's clock: freeze, thaw.
//!
//! The v2 freezer needs no controller, so a machine has it on every kernel since 5.2, whatever the host mounts.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat};

use super::error::CgroupError;
use super::files;
use super::machine::MachineCgroup;
use super::tree;

impl MachineCgroup {
    /// Freezes all processes of the machine and waits until they are, at most `patience`.
    ///
    /// After a [`CgroupError::Timeout`] the machine is thawed again.
    pub fn freeze(&self, patience: Duration) -> Result<(), CgroupError> {
        self.turn("freeze", "1", patience).inspect_err(|_| {
            let _ = files::write(self.dir(), "cgroup.freeze", "0");
        })
    }

    /// Lets the machine go on, and waits until it does, at most `patience`.
    pub fn thaw(&self, patience: Duration) -> Result<(), CgroupError> {
        self.turn("thaw", "0", patience)
    }

    /// Is all of the machine frozen?
    pub fn frozen(&self) -> Result<bool, CgroupError> {
        let text = files::read(self.dir(), "cgroup.events").map_err(CgroupError::sys("read cgroup.events of", self.path()))?;
        Ok(files::field(&text, "frozen") == Some(1))
    }

    fn turn(&self, verb: &'static str, value: &str, patience: Duration) -> Result<(), CgroupError> {
        let failed = || CgroupError::sys(verb, self.path());
        let until = Instant::now() + patience;
        files::write(self.dir(), "cgroup.freeze", value).map_err(failed())?;
        let events = openat(self.dir(), "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed())?;
        loop {
            let text = files::read_open(events.as_fd()).map_err(failed())?;
            if files::field(&text, "frozen").map(|n| n.to_string()).as_deref() == Some(value) {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CgroupError::Timeout { verb, path: self.path().to_owned(), millis: patience.as_millis() as u64 });
            }
            tree::wait(Some(&events), left.min(Duration::from_millis(20)));
        }
    }
}
