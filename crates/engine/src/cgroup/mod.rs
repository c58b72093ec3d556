//! A machine's cgroup: placement, limits, devices, freezer, end.
//!
//! ```text
//! Layout::detect ──► planned_paths ──► (recorded) ──► MachineCgroup::create ──► clone3 into payload_dir ──► place_v1
//!                                                     MachineCgroup::open   ──► exec_dir, freeze, kill, procs, stats
//!                        remove_paths ◄── (killed supervisor) ──┴── MachineCgroup::remove
//! ```

mod devices;
mod error;
mod files;
mod freezer;
mod layout;
mod limits;
mod machine;
mod recovery;
mod stats;
mod tree;

#[cfg(test)]
mod tests;

pub use error::CgroupError;
pub use layout::{Controller, Kind, Layout, V1, V2};
pub use machine::{Enforcement, MachineCgroup, Options, planned_paths};
pub use recovery::remove_paths;
pub use stats::Stats;
