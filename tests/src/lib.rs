//! The bed every end-to-end test lies in: a scratch place, the binary under test, trees, and a look at what is left over.
//!
//! A test starts with `let Some(bed) = Bed::start() else { return };`, which skips with a printed reason where it cannot
//! run (not root, a tree that was not built), and ends by dropping the bed: everything the test left running is killed,
//! and if the test had not failed already, every leftover (process, cgroup, mount, link, loop device, state) fails it.
//!
//! Environment: `HOSTEL_BIN` (else the newest build below target/), `HOSTEL_PROBE`, `HOSTEL_TREES`
//! (default /var/tmp/hostel-trees), `HOSTEL_TEST_DIR` (default /var/tmp/hostel-tests), `HOSTEL_QUICK` (no Debian trees).

mod bed;
pub mod bundle;
mod image;
pub mod init;
mod invocation;
mod leftovers;
pub mod lxc;
pub mod server;
pub mod subhost;
mod terminal;
mod trap;
mod tree;
mod view;
mod wires;

pub use bed::{Bed, binary, eventually};
pub use image::{Part, has};
pub use invocation::{Invocation, Outcome, Running};
pub use terminal::Terminal;
pub use trap::Trap;
pub use tree::Tree;
pub use view::{Attempts, View};
pub use wires::Wires;

pub use rustix::process::Signal;
pub use serde_json::Value;

/// The probe's path on the host.
pub fn probe() -> std::path::PathBuf {
    bed::binary("hostel-probe", "HOSTEL_PROBE")
}

/// Sends a signal to a process that cannot have been reaped yet (a child, or one held by its supervisor).
pub fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The PID 1 of the first pid namespace below a process, as seen from here; waits until there is one.
#[track_caller]
pub fn leader_below(pid: u32) -> i32 {
    let mut found = None;
    eventually(std::time::Duration::from_secs(5), || {
        found = leader(pid as i32);
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("no pid namespace below process {pid}"))
}

fn leader(pid: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    for child in children.split_whitespace().filter_map(|c| c.parse::<i32>().ok()) {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let inner: Vec<&str> = status.lines().find_map(|l| l.strip_prefix("NSpid:")).unwrap_or("").split_whitespace().collect();
        if inner.len() > 1 && inner.last() == Some(&"1") {
            return Some(child);
        }
        if let Some(found) = leader(child) {
            return Some(found);
        }
    }
    None
}
