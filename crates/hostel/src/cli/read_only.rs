//! `hostel read-only`: protect an image from being written, or allow it again.

use std::ffi::OsString;

use hostel_image::images;
use lexopt::Arg::{Long, Short, Value};

use super::image::{boolean, named, told};
use super::{Failure, Outcome, Verb, look};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "read-only",
    args: "NAME [yes|no]",
    about: "mark an image read-only (or, with no, writable)",
    options: &[],
    examples: &[("hostel read-only debian", "a template nobody changes by mistake"), ("hostel read-only debian no", "allow it again")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut name, mut yes) = (None, None);
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&VERB))),
            Value(word) if name.is_none() => name = Some(look::name(&word)?),
            Value(word) if yes.is_none() => yes = Some(boolean(&word.to_string_lossy())?),
            other => return Err(other.unexpected().into()),
        }
    }
    let name = name.ok_or_else(|| Failure::Usage("which image? give its name".into()))?;
    let image = named(&name)?;
    let _lock = told(images::lock(&images::Places::host(), &image))?;
    told(images::set_read_only(&image, yes.unwrap_or(true)))?;
    Ok(0)
}
