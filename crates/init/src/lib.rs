//! Unit files of a tree: found, loaded, understood; what a start would do; what is enabled. No manager runs here yet.
//!
//! ```text
//!  root + search path ──► Catalogue ──► Unit ──► edges ──► Transaction
//!      (root.rs, search.rs)  (names)    (load)   (depend)   (jobs, in order)
//!                               └──► install: links made and removed, states, presets
//! ```
//! Every path is one of the tree and resolved by its descriptor. Nothing here prints.

pub mod bus;
pub mod catalogue;
pub mod command;
pub mod control;
pub mod depend;
pub mod fstab;
pub mod install;
pub mod journal;
pub mod keys;
pub mod load;
pub mod manager;
pub mod pid1;
pub mod preset;
pub mod root;
pub mod search;
pub mod specifier;
pub mod sysv;
pub mod transaction;
pub mod value;

#[cfg(test)]
mod testing;
