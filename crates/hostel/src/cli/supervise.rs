//! `hostel supervise`: the process that owns a machine in the background. Started by `boot -d`, not by people.

use std::ffi::OsString;

use hostel_engine::registry::Origin;
use hostel_spec::MachineSpec;

use super::{Outcome, Verb};

/// The verb; without a description it is not listed.
pub const VERB: Verb = Verb { name: "supervise", args: "", about: "", options: &[], examples: &[], run };

fn run(_args: &[OsString]) -> Outcome {
    Ok(1)
}

/// Starts a supervisor of its own for `spec` and returns when PID 1 has been executed.
pub fn background(_spec: &MachineSpec, _origin: Origin) -> Outcome {
    Ok(1)
}
