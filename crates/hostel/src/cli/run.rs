//! `hostel run`: a throw-away machine.

use std::ffi::OsString;

use hostel_engine::registry::Origin;

use super::{Outcome, Verb};
use crate::native::{self, Kind, Parsed};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "run",
    args: "[OPTIONS] [--] [CMD...]",
    about: "run a command in a throw-away machine: an overlay of this host, or of --tree",
    options: &[],
    examples: &[
        ("hostel run -- apt-get -y install nginx", "on an overlay of this host, forgotten at the end"),
        ("hostel run --tree /srv/debian -- make check", "over another tree, which stays as it is"),
        ("hostel run --memory 1G --pids 200 -- ./build.sh", "with limits"),
        ("hostel run --keep try1 -- sh", "keep what changes as machine try1"),
    ],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    match native::parse(Kind::Run, args)? {
        Parsed::Machine(request) => native::start(*request, Origin::Run),
        Parsed::Shown(status) => Ok(status),
    }
}
