//! Trees at rest: open, copy, snapshot, shift, remove.
//!
//! A *tree* is a root file tree that no machine runs yet. Everything here works on descriptors: a path given by
//! the user is opened once ([`open`]), and from there on every name inside the tree is resolved inside it
//! ([`inroot`]), because whoever made the tree may have filled it with links.

pub mod architecture;
pub mod compress;
pub mod copy;
pub mod disk;
mod error;
pub mod export;
pub mod images;
pub mod import;
pub mod inroot;
pub mod kept;
mod lockfile;
pub mod locks;
pub mod machine_id;
pub mod names;
pub mod open;
mod partial;
pub mod pin;
pub mod pull;
pub mod raw;
pub mod remove;
pub mod shift;
pub mod stamped;
pub mod stream;
pub mod tar;
pub mod throwaway;
pub mod uids;
pub mod versions;
mod walk;
pub mod watch;

pub use error::{Cause, Error, On, Result};
pub use partial::sweep;
