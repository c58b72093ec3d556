//! Containers as LXC has them, at rest and behind the command socket of those that run.
//!
//! ```text
//!  LXCPATH/NAME/{config, rootfs, partial, lxc_snapshots, lxc_rdepends, snaps/snapN/…}     create, clone, snapshot, rename, destroy
//!  @LXCPATH/NAME/command  ◄── one request, one answer ── client                           state, stop, wait, console, cgroups
//! ```
//! A [`Container`] is a name and a configuration; its methods have the names of liblxc's functions. LXC and this take turns on the same
//! lxcpath. What is half-made has a file `partial` and is no container: who looks for its name next removes it.

#![forbid(unsafe_code)]

mod cgroup;
mod client;
mod clone;
mod console;
mod container;
mod create;
mod depend;
mod destroy;
mod device;
mod error;
mod files;
mod freeze;
mod hook;
mod interfaces;
mod list;
mod lock;
mod machine;
mod partial;
mod rename;
mod shutdown;
mod snapshot;
mod start;
pub mod store;
mod template;
#[cfg(test)]
mod tests;
mod users;
mod volume;

pub use client::Tty;
pub use clone::CloneOptions;
pub use container::Container;
pub use create::CreateOptions;
pub use error::{Error, Result};
pub use files::{FOR_USER, Host, global_item, run_directory};
pub use hostel_lxc::wire::State;
pub use list::{list_active, list_all, list_defined};
pub use machine::machine_name;
pub use snapshot::Snapshot;
pub use start::{Order, Report, STARTER};
pub use users::IdMaps;
