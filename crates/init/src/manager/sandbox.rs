//! The sandbox of a service: what its keys ask for becomes plain values, these an ordered list of mounts and a filter, and the
//! child does them before it becomes the program (systemd.exec(5), "Sandboxing").
//!
//! ```text
//!  settings.rs (keys → values) ─► mounts.rs (values → steps, pure) ─► enter.rs (steps, in the child)
//!  calls.rs    (keys → filter)                                        own.rs   (scheduling, keyring, personality…)
//!  place.rs    (what this place allows; why a key has no effect)
//! ```

mod calls;
mod devices;
mod enter;
pub mod mounts;
pub mod own;
pub mod place;
pub mod settings;
#[cfg(test)]
mod tests;

pub(super) use enter::{enter, network};
pub use own::Own;
pub(super) use own::attributes;
pub use settings::{Home, Sandbox, System};
