//! The one process that owns a running machine: it launches it, watches it, and takes everything away at the end.

pub mod beside;
mod bundle;
mod cover;
mod files;
mod groups;
mod hooks;
mod image;
mod journal;
pub mod launch;
mod mapping;
mod mount_lock;
pub(crate) mod netns;
mod overlay;
mod parcel;
mod payload;
mod prepare;
pub(crate) mod reaper;
pub mod run;
pub mod session;
pub(crate) mod stub;

pub use image::mount_partition;
pub use prepare::random_u64;
