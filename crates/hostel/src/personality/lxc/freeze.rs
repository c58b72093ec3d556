//! lxc-freeze and lxc-unfreeze.

use super::options::Call;
use super::{Outcome, Tool, failure};

pub(super) const FREEZE: Tool = Tool {
    name: "lxc-freeze",
    synopsis: "-n NAME",
    about: "stop the clock of a container's processes",
    named: true,
    options: &[],
    run: |c| turn(c, true),
};
pub(super) const UNFREEZE: Tool =
    Tool { name: "lxc-unfreeze", synopsis: "-n NAME", about: "let a frozen container go on", named: true, options: &[], run: |c| turn(c, false) };

fn turn(call: &Call, freeze: bool) -> Outcome {
    let container = call.running()?;
    if !container.is_defined() && !container.is_running() {
        return Err(failure(format!("find container {}: there is none of that name", call.name)));
    }
    if freeze { container.freeze() } else { container.unfreeze() }.map(|()| 0)
}
