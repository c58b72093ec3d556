//! `hostel restore`: a kept machine becomes what it was at a snapshot.

use std::ffi::OsString;

use super::{Outcome, Verb, look};
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
    let Some([name, snapshot]) = look::two_names(args, "restore which machine, and what? give its name and a snapshot's")? else {
        return Ok(output::show(&super::verb_help(&VERB)));
    };
    hostel_engine::host::require_root()?;
    machine::at_rest(&machine::open_registry()?, "restore", &name, || {
        kept::required(&name)?;
        let _lock = kept::lock(&name)?;
        kept::refuse_half_done("restore", &name)?;
        snapshots::restore(&name, &snapshot)
    })?;
    Ok(0)
}
