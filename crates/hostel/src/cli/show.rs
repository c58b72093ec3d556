//! `hostel show`: a machine's properties, by machinectl's names.

use std::ffi::OsString;

use super::{Failure, Outcome, Verb, start};
use crate::output;
use crate::personality::machinectl;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "show",
    args: "NAME... [-p PROPERTY] [--value]",
    about: "print properties of machines, as machinectl names them",
    options: &[
        ("-p, --property NAME", "only this one, or these: Name,Leader"),
        ("-P NAME", "same as --value --property=NAME"),
        ("--value", "values without their names"),
        ("-a, --all", "empty ones too"),
    ],
    examples: &[("hostel show web -P Leader", "its PID 1, seen from here"), ("hostel inspect web", "everything, as JSON")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let (options, words) = match machinectl::options::parse(args) {
        Ok(machinectl::options::Asked::Verb(options, words)) => (options, words),
        Ok(machinectl::options::Asked::Help) => return Ok(output::show(&super::verb_help(&VERB))),
        Ok(_) => return Err(Failure::Usage("show: unexpected option".into())),
        Err(text) => return Err(Failure::Usage(text)),
    };
    let Some(names) = start::names(&words)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let names: Vec<OsString> = names.iter().map(|n| n.as_str().into()).collect();
    machinectl::show::show(&options, &names)
}
