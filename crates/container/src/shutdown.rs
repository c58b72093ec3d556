//! Asking a container's init to end, or to begin anew.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hostel_lxc::wire::State;
use hostel_sys::clone::pidfd_send_signal;
use rustix::io::Errno;

use crate::client::{only, told};
use crate::container::Container;
use crate::error::{On, Result};

const SIGINT: i32 = 2;
const SIGPWR: i32 = 30;
/// SIGRTMIN+3 of glibc: what systemd takes as "halt".
const HALT: i32 = 37;

impl Container {
    /// A signal that its configuration names: the one it was started with, else the one that is loaded.
    fn signal_of(&self, key: &str) -> Option<i32> {
        let running = self.get_running_config_item(key).ok().flatten();
        running.as_deref().or(self.value(key)).and_then(|number| number.trim().parse().ok()).filter(|number| *number > 0)
    }

    /// The signal that its init takes as "end": the configured one; of an init that waits for it by signalfd(2), as systemd does,
    /// SIGRTMIN+3; else SIGPWR.
    fn halt_signal(&self) -> i32 {
        self.signal_of("lxc.signal.halt").unwrap_or_else(|| {
            let status = self.init_pid().ok().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
            if status.is_some_and(|status| blocks(&status, HALT)) { HALT } else { SIGPWR }
        })
    }

    fn signal_init(&self, signal: i32) -> Result<()> {
        pidfd_send_signal(self.init_pidfd()?.as_fd(), signal).on("signal init of container", &self.name)
    }

    /// Asks its init to end, and waits (none: for ever, zero: not at all); false: the time was over, and it goes on. What does not
    /// run has ended.
    ///
    /// ```
    /// let container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert!(container.shutdown(None).unwrap());
    /// ```
    pub fn shutdown(&self, timeout: Option<Duration>) -> Result<bool> {
        let Some(watch) = self.watch_stop()? else { return Ok(true) };
        self.signal_init(self.halt_signal())?;
        if timeout == Some(Duration::ZERO) {
            return Ok(true);
        }
        match told(&watch, timeout.map(|timeout| Instant::now() + timeout)) {
            Err(e) if e.is(Errno::TIMEDOUT) => Ok(false),
            Err(e) if !e.is(Errno::PIPE) => Err(e),
            _ => Ok(true),
        }
    }

    /// Asks its init to begin anew.
    ///
    /// ```
    /// let container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert!(container.reboot().is_err(), "it does not run");
    /// ```
    pub fn reboot(&self) -> Result<()> {
        self.signal_init(self.signal_of("lxc.signal.reboot").unwrap_or(SIGINT))
    }

    /// The same, and waits until it runs again (none: for ever, zero: not at all); false: the time was over. What does not run is left.
    pub fn reboot2(&self, timeout: Option<Duration>) -> Result<bool> {
        let Ok(before) = self.init_pid() else { return Ok(true) };
        self.reboot()?;
        if timeout == Some(Duration::ZERO) {
            return Ok(true);
        }
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        // It runs yet: a new init tells that it began anew.
        loop {
            if !self.wait_for(&only(State::Running), deadline)? {
                return Ok(false);
            }
            if self.init_pid().is_ok_and(|pid| pid != before) {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether a process with this `/proc/PID/status` blocks a signal.
fn blocks(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        // systemd's, and a shell's
        assert!(blocks("Name:\tsystemd\nSigBlk:\t7be3c0fe28014a03\n", HALT));
        assert!(!blocks("SigBlk:\t0000000000010000\n", HALT));
        assert!(!blocks("", HALT));
    }
}
