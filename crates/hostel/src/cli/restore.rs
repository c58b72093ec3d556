//! `hostel restore`: a kept machine becomes what it was at a snapshot.

use std::ffi::OsString;

use lexopt::Arg::{Long, Short, Value};

use super::{Failure, Outcome, Verb, look};
use crate::native::{kept, snapshots};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "restore",
    args: "NAME SNAPSHOT",
    about: "make a kept machine what it was at a snapshot; what it changed since is lost, the snapshot stays",
    options: &[],
    examples: &[("hostel restore try1 before", "as often as you like")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let mut names = Vec::new();
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&VERB))),
            Value(word) if names.len() < 2 => names.push(look::name(&word)?),
            other => return Err(other.unexpected().into()),
        }
    }
    let [name, snapshot] = &names[..] else { return Err(Failure::Usage("restore which machine, and what? give its name and a snapshot's".into())) };
    hostel_engine::host::require_root()?;
    machine::at_rest("restore", name, || {
        kept::required(name)?;
        snapshots::restore(name, snapshot)
    })?;
    Ok(0)
}
