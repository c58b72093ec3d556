//! Making processes: clone, become, wait; seccomp, capabilities, users; event loop and pty.

pub mod r#become;
pub mod console;
pub mod devices;
pub mod event;
mod magic;
pub mod pty;
pub mod seccomp;
pub mod terminal;
pub mod userdb;
