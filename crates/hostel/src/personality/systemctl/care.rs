//! Verbs that do something to units besides starting and stopping them.

use hostel_init::manager::query::Request;

use super::Outcome;
use super::managed::{running, simple};
use super::options::Options;
use super::say::{name, names};

pub(super) fn freeze(_: &Options, verb: &str, words: &[String]) -> Outcome {
    simple(running(verb)?, Request::Freeze(verb == "freeze", names(verb, words)?))
}

pub(super) fn clean(options: &Options, verb: &str, words: &[String]) -> Outcome {
    simple(running(verb)?, Request::Clean(options.what.clone(), names(verb, words)?))
}

pub(super) fn set_property(options: &Options, verb: &str, words: &[String]) -> Outcome {
    let unit = name(verb, words.first().map_or("", String::as_str), hostel_unit::Kind::Service)?;
    simple(running(verb)?, Request::SetProperty(options.runtime, unit, words.get(1..).unwrap_or_default().to_vec()))
}

pub(super) fn reexecute(_: &Options, verb: &str, _: &[String]) -> Outcome {
    simple(running(verb)?, Request::Reexecute)
}
