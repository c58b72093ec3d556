//! Freezing a container, and letting it go on.

use std::path::Path;
use std::time::{Duration, Instant};

use hostel_lxc::wire::State;
use rustix::io::Errno;

use crate::cgroup::{read, write};
use crate::container::Container;
use crate::error::Result;

/// A process in an uninterruptible wait takes as long as that lasts.
const PATIENCE: Duration = Duration::from_secs(60);

impl Container {
    /// Stops the clock of its processes. Who waits for its state is told `FREEZING` and `FROZEN`.
    ///
    /// ```
    /// let container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert!(container.freeze().is_err(), "it does not run");
    /// ```
    pub fn freeze(&self) -> Result<()> {
        match self.state()? {
            State::Frozen => Ok(()),
            State::Stopped => Err(self.error("freeze", "it does not run", Errno::SRCH)),
            _ => self.turn(true, State::Freezing, State::Frozen),
        }
    }

    /// Lets it go on; one that is not frozen does.
    pub fn unfreeze(&self) -> Result<()> {
        match self.state()? {
            State::Frozen | State::Freezing => self.turn(false, State::Thawed, State::Running),
            _ => Ok(()),
        }
    }

    fn turn(&self, freeze: bool, on_the_way: State, there: State) -> Result<()> {
        self.serve_state(on_the_way)?;
        let done = self.turn_cgroup(freeze);
        // A supervisor that is told of a state shows it: after a failure the old one.
        let shown = if done.is_ok() == freeze { State::Frozen } else { State::Running };
        self.serve_state(if done.is_ok() { there } else { shown })?;
        done
    }

    fn turn_cgroup(&self, freeze: bool) -> Result<()> {
        let old = self.cgroup_file("freezer.state").ok().filter(|file| file.exists());
        let deadline = Instant::now() + self.timeout.unwrap_or(PATIENCE);
        let Some(file) = old else {
            let file = self.cgroup_file("cgroup.freeze")?;
            write(&file, if freeze { "1" } else { "0" })?;
            let wanted = if freeze { "frozen 1" } else { "frozen 0" };
            return self.wait_file(&file.with_file_name("cgroup.events"), |text| text.lines().any(|line| line == wanted), deadline);
        };
        let wanted = if freeze { "FROZEN" } else { "THAWED" };
        write(&file, wanted)?;
        self.wait_file(&file, |text| text.trim_end() == wanted, deadline)
    }

    fn wait_file(&self, file: &Path, is: impl Fn(&str) -> bool, deadline: Instant) -> Result<()> {
        while !is(&read(file)?) {
            if Instant::now() >= deadline {
                return Err(self.error("freeze", "a process waits for a disk or a network file system", Errno::TIMEDOUT));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
