//! `hostel boot`: boot a tree's own init.

use std::ffi::OsString;

use hostel_engine::registry::Origin;

use super::{Outcome, Verb};
use crate::native::{self, Kind, Parsed};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "boot",
    args: "TREE|NAME [OPTIONS] [-- ARGS]",
    about: "boot a tree: systemd, sysvinit, OpenRC, runit, busybox, … whatever it has",
    options: &[],
    examples: &[
        ("hostel boot /var/lib/machines/debian", "with its console here; ^] three times within a second ends it"),
        ("hostel boot debian -d", "in the background, by its name in /var/lib/machines"),
        ("hostel boot debian -d --memory 2G --net veth", "with a limit and a cable"),
    ],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    match native::parse(Kind::Boot, args)? {
        Parsed::Machine(request) => native::start(*request, Origin::Boot),
        Parsed::Shown(status) => Ok(status),
    }
}
