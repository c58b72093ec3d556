//! The bed every end-to-end test lies in: a scratch place, the binary under test, trees, and a look at what is left over.
//!
//! A test starts with `let Some(bed) = Bed::start() else { return };`, which skips with a printed reason where it cannot
//! run (not root, a tree that was not built), and ends by dropping the bed: everything the test left running is killed,
//! and if the test had not failed already, every leftover (process, cgroup, mount, link, loop device, state) fails it.
//!
//! Environment: `HOSTEL_BIN` (else the newest build below target/), `HOSTEL_PROBE`, `HOSTEL_TREES`
//! (default /var/tmp/hostel-trees), `HOSTEL_TEST_DIR` (default /var/tmp/hostel-tests), `HOSTEL_QUICK` (no Debian trees).

mod bed;
mod invocation;
mod leftovers;
mod terminal;
mod trap;
mod tree;
mod view;

pub use bed::{Bed, eventually};
pub use invocation::{Invocation, Outcome, Running};
pub use terminal::Terminal;
pub use trap::Trap;
pub use tree::Tree;
pub use view::{Attempts, View};

pub use rustix::process::Signal;
pub use serde_json::Value;
