//! `hostel fork`: a kept machine's state under another name.

use std::ffi::OsString;
use std::os::fd::AsFd;

use hostel_image::copy;

use super::{Outcome, Verb, look};
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
    let Some([name, new]) = look::two_names(args, "fork which machine, and to what? give two names")? else {
        return Ok(output::show(&super::verb_help(&VERB)));
    };
    hostel_engine::host::require_root()?;
    let (from, to) = (kept::directory(&name), kept::directory(&new));
    machine::at_rest(&machine::open_registry()?, "fork", &name, || {
        kept::required(&name)?;
        let _lock = kept::lock(&name)?;
        kept::refuse_half_done("fork", &name)?;
        copy::copy_tree(hostel_image::open::directory(&from)?.as_fd(), &from, &to, &copy::Options::default())?;
        Ok(())
    })?;
    Ok(0)
}
