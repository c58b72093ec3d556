//! The parts this program plays besides its own: it executes itself as a process that has nothing of us in its memory.
//!
//! ```text
//!  argv[0]          what it is                                            made by
//!  (sd-stubinit)    PID 1 of a machine whose command is PID 2             supervisor/stub.rs
//!  (hostel-reaper)  PID 1 of a subhost, which starts services            supervisor/reaper.rs
//!  (hostel-visit)   runs a command in a machine that may trace it         stop/visitor.rs
//! ```
//!
//! A program that uses this library calls [`play`] first thing in its `main`. One that does not cannot start such machines:
//! what it would execute is itself, from the beginning.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::stop::visitor;
use crate::supervisor::{reaper, stub};

/// Whether this program would play a part if it were executed as one.
static PLAYS: AtomicBool = AtomicBool::new(false);

/// Plays the part that `argv[0]` names and never returns, or returns when it names none. Costs one comparison.
pub fn play(argv: &[OsString]) {
    PLAYS.store(true, Ordering::Relaxed);
    let Some(name) = argv.first() else { return };
    if name == stub::NAME.to_str().unwrap_or_default() && rustix::process::getpid().is_init() {
        stub::main(argv);
    }
    if name == reaper::NAME.to_str().unwrap_or_default() && rustix::process::getpid().is_init() {
        reaper::main(argv);
    }
    if name == visitor::NAME {
        visitor::main();
    }
}

/// An error unless [`play`] was called.
pub(crate) fn demand(part: &'static str) -> Result<()> {
    if PLAYS.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Error::new("start", part, "this program cannot play it: it does not call hostel_engine::parts::play first thing in its main"))
}
