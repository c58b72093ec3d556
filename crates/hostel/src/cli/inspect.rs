//! `hostel inspect`: everything known of a running machine, as JSON.

use std::ffi::OsString;

use hostel_ipc::control::{CallError, Status};
use serde_json::{Value, json};

use super::look::{self, Look};
use super::{Outcome, Verb, stored};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "inspect",
    args: "NAME",
    about: "print everything known of a machine as JSON",
    options: &[],
    examples: &[
        ("hostel inspect web | jq .machine.leader.pid", "its PID 1, seen from here"),
        ("hostel inspect try1 | jq .upper.bytes", "what `run --keep try1` has changed, in bytes"),
    ],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let Some(name) = look::only_name(&VERB, args, |_| false)? else { return Ok(0) };
    let registry = machine::registry_to_read()?;
    if let Some(stored) = stored::instead(&registry, &name)? {
        return Ok(output::show_json(&stored.json()));
    }
    let look = Look::at(look::running(&registry, &name)?);
    Ok(output::show_json(&value(&look, &look::ask(&look.machine), &registry.path_of(&name).display().to_string())))
}

/// The whole as one object.
pub(super) fn value(look: &Look, control: &Result<Status, CallError>, directory: &str) -> Value {
    json!({
        "name": look.machine.name,
        "state": look.state(),
        "trouble": look.trouble(),
        "directory": directory,
        "uptime_seconds": look.uptime(),
        "frozen": look.frozen,
        "stats": look::stats_json(look),
        "machine": look.machine.known(),
        "supervisor": control.as_ref().ok(),
        "supervisor_error": control.as_ref().err().map(ToString::to_string),
        "tree": look.machine.known().and_then(|s| s.tree.as_ref()),
        "upper": null,
    })
}
