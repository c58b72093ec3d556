//! lxc-destroy: remove a container.

use super::options::{Call, row};
use super::{Outcome, Tool, failure};

pub(super) const TOOL: Tool = Tool {
    name: "lxc-destroy",
    synopsis: "-n NAME [-f] [-s]",
    about: "remove a container and its files",
    named: true,
    options: &[row("s", "snapshots", "", "its snapshots too"), row("f", "force", "", "end it first, if it runs")],
    run,
};

fn run(call: &Call) -> Outcome {
    let mut container = call.container()?;
    if !container.is_defined() {
        return Err(failure("Container is not defined"));
    }
    if container.is_running() {
        if !call.has("force") {
            return Err(failure(format!("{} is running: -f ends it first", call.name)));
        }
        // one that is ephemeral is gone then
        container.stop()?;
        if !container.is_defined() {
            return Ok(0);
        }
    }
    if call.has("snapshots") { container.destroy_with_snapshots() } else { container.destroy() }.map(|()| 0)
}
