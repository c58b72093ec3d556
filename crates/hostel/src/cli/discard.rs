//! `hostel discard`: a kept machine and its changes are forgotten.

use std::ffi::OsString;

use super::{Outcome, Verb, look, rm};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "discard",
    args: "NAME",
    about: "forget a kept machine and what it changed",
    options: &[],
    examples: &[("hostel discard try1", "the host never saw it")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let Some(name) = look::only_name(&VERB, args, |_| false)? else { return Ok(0) };
    rm::forget(&name)?;
    Ok(0)
}
