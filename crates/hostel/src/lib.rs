//! hostel as a program and as a library: dialects in front, one engine behind.
//!
//! The library is the crates it is made of; this façade names the ones a program needs to start a machine.

pub mod bundle;
pub mod cli;
pub mod foreign;
pub mod generate;
pub mod hint;
pub mod lxc;
pub mod machine;
pub mod native;
pub mod output;
pub mod personality;
pub mod settings;
pub mod subhost;
mod transfers;

pub use hostel_engine as engine;
pub use hostel_spec as spec;
