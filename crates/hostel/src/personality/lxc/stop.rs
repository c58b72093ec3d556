//! lxc-stop: end a container, or have it begin anew.

use std::time::Duration;

use super::options::{Call, row};
use super::{Outcome, Tool, failure};

pub(super) const TOOL: Tool = Tool {
    name: "lxc-stop",
    synopsis: "-n NAME [-k|-r] [-W] [-t SECONDS]",
    about: "ask a container's init to end, and end it when the time is over",
    named: true,
    options: &[
        row("r", "reboot", "", "ask it to begin anew"),
        row("W", "nowait", "", "do not wait"),
        row("t", "timeout", "SECONDS", "how long it is waited for (60)"),
        row("k", "kill", "", "end it at once"),
        row("", "nolock", "", "taken: there are no locks to be held"),
        row("", "nokill", "", "do not end it when the time is over"),
    ],
    run,
};

/// Nothing runs.
const NOT_RUNNING: u8 = 2;

fn run(call: &Call) -> Outcome {
    let (kill, nokill, reboot) = (call.has("kill"), call.has("nokill"), call.has("reboot"));
    if kill && (nokill || reboot) {
        return Err(failure("stop: --kill excludes --nokill and --reboot"));
    }
    let container = call.running()?;
    if !container.is_running() {
        call.tell(&failure(format!("{} is not running", call.name)));
        return Ok(NOT_RUNNING);
    }
    if kill {
        return container.stop().map(|()| 0);
    }
    // what is frozen hears nothing
    container.unfreeze()?;
    let seconds = call.number("timeout", 60i64)?;
    let timeout = if call.has("nowait") { Some(Duration::ZERO) } else { u64::try_from(seconds).ok().map(Duration::from_secs) };
    let done = if reboot { container.reboot2(timeout)? } else { container.shutdown(timeout)? };
    if done || nokill || reboot {
        return Ok(u8::from(!done));
    }
    container.stop().map(|()| 0)
}
