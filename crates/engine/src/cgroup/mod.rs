//! A machine's cgroup: placement, limits, devices, freezer, end.
//!
//! ```text
//! Layout::detect_for ─► planned_paths ─► (recorded) ─► MachineCgroup::create ─► clone3 into payload_dir ─► v1_doors
//!                                                      MachineCgroup::open_recorded ─► exec_dir, freeze, kill, stats
//!                         remove_paths ◄─ (killed supervisor) ─┴─ MachineCgroup::remove
//! ```

mod create;
mod error;
mod files;
mod freezer;
mod layout;
mod limits;
mod machine;
mod place;
mod recovery;
mod stats;
mod tree;

#[cfg(test)]
mod tests;

pub use create::{Enforcement, Options, planned_paths};
pub use error::CgroupError;
pub use layout::{Controller, Kind, Layout, V1, V2};
pub use machine::{MachineCgroup, V1Door};
pub use place::{descend, leave};
pub use recovery::{forget, remove_paths};
pub use stats::Stats;
