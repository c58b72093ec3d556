//! The floor: typed Linux system calls, ioctls, netlink and BPF; the only crate with unsafe code.
//!
//! What `rustix` offers safely is used from there directly by the other crates; here lives what it lacks.
#![allow(unsafe_code)]

pub mod arena;
pub mod block;
pub mod bpf;
pub mod caps;
pub mod clone;
pub mod event;
pub mod ioctl;
pub mod lock;
pub mod mapper;
pub mod mount;
pub mod netlink;
pub mod peer;
pub mod proc;
pub mod seccomp;
pub mod service;
pub mod socket;
pub mod tree;
#[cfg(all(panic = "abort", not(debug_assertions), target_env = "musl"))]
mod unwind;
