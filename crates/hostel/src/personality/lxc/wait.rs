//! lxc-wait: until a container is in a state.

use std::time::Duration;

use super::options::{Call, row};
use super::{Outcome, Tool, failure};

pub(super) const TOOL: Tool = Tool {
    name: "lxc-wait",
    synopsis: "-n NAME -s STATE[|STATE...] [-t SECONDS]",
    about: "wait until a container is in one of these states",
    named: true,
    options: &[
        row("s", "state", "STATES", "STOPPED, STARTING, RUNNING, STOPPING, ABORTING, FREEZING, FROZEN, THAWED, with | between them"),
        row("t", "timeout", "SECONDS", "how long (for ever)"),
    ],
    run,
};

fn run(call: &Call) -> Outcome {
    let states = call.value("state").ok_or_else(|| failure("wait: for which state?"))?;
    let timeout = call.number("timeout", -1i64)?;
    let timeout = u64::try_from(timeout).ok().map(Duration::from_secs);
    Ok(u8::from(!call.running()?.wait(states, timeout)?))
}
