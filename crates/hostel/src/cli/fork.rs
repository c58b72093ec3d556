//! `hostel fork`: a kept machine's state under another name.

use std::ffi::OsString;
use std::os::fd::AsFd;

use hostel_image::copy;
use lexopt::Arg::{Long, Short, Value};

use super::{Failure, Outcome, Verb, look};
use crate::native::kept;
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "fork",
    args: "NAME NEW",
    about: "copy a kept machine with all it changed",
    options: &[],
    examples: &[("hostel fork try1 try1-before", "`hostel discard` and `hostel fork` back restore it")],
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
    let [name, new] = &names[..] else { return Err(Failure::Usage("fork which machine, and to what? give two names".into())) };
    hostel_engine::host::require_root()?;
    let (from, to) = (kept::directory(name), kept::directory(new));
    machine::at_rest("fork", name, || {
        kept::required(name)?;
        copy::copy_tree(hostel_image::open::directory(&from)?.as_fd(), &from, &to, &copy::Options::default())?;
        Ok(())
    })?;
    Ok(0)
}
