//! The manager that runs: units as they are, jobs, processes.

pub mod config;
pub mod context;
pub mod exits;
pub mod service;
pub mod state;
pub mod variables;
