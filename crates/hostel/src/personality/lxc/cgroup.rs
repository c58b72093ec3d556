//! lxc-cgroup: an item of a container's cgroups.

use super::options::Call;
use super::{Outcome, Tool, failure};
use crate::output;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-cgroup",
    synopsis: "-n NAME ITEM [VALUE]",
    about: "show or change an item of a container's cgroups: memory.max, pids.max, cpuset.cpus",
    named: true,
    options: &[],
    run,
};

fn run(call: &Call) -> Outcome {
    let item = call.words.first().ok_or_else(|| failure("show cgroup item: which one?"))?;
    let container = call.running()?;
    if !container.is_running() {
        return Err(failure(format!("'{}:{}' is not running", container.lxcpath, container.name)));
    }
    match call.words.get(1) {
        Some(value) => container.set_cgroup_item(item, value).map(|()| 0),
        None => Ok(output::show(&format!("{}\n", container.get_cgroup_item(item)?))),
    }
}
