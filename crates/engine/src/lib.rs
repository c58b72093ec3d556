//! From a [`hostel_spec::MachineSpec`] to a running machine.
//!
//! `plan` decides (reads the host, changes nothing), `supervisor` does and watches, `registry` knows what runs.

pub mod aside;
pub mod cgroup;
pub mod credentials;
pub mod doctor;
pub mod enter;
pub mod error;
pub mod host;
pub mod image;
pub mod inside;
pub mod journal;
pub mod network;
pub mod parts;
pub mod peers;
pub mod plan;
pub mod program;
pub mod registry;
pub mod stop;
pub mod supervisor;
pub mod tree;
pub mod users;
