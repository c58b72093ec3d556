//! What a kept machine changed: what is in its upper layers compared with what they lie over, committed to it, taken back.
//!
//! A *layer* is one overlay of the machine: an upper directory over a lower one, at a place in the machine. Everything is
//! done by descriptor; the lower directory is looked at through a detached mount of its own, so that what is mounted below
//! it is not met.

mod change;
pub mod commit;
mod diff;
mod entry;
mod layer;
mod mark;
pub mod packages;
pub mod patch;
pub mod rebase;
mod same;
pub mod script;
#[cfg(test)]
mod tests;

pub use change::{Change, Kind, What};
pub use diff::{diff, read_both, tidy};
pub use layer::Layer;

use hostel_image::On;
