//! lxc-config: the values of `lxc.conf`.

use hostel_container::global_item;

use super::options::{self, Call, row};
use super::{Outcome, Tool};
use crate::output;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-config",
    synopsis: "-l | KEY",
    about: "show a value of lxc.conf",
    named: false,
    options: &[row("l", "list", "", "the keys there are")],
    run,
};

const KEYS: [&str; 7] =
    ["lxc.default_config", "lxc.lxcpath", "lxc.bdev.lvm.vg", "lxc.bdev.lvm.thin_pool", "lxc.bdev.zfs.root", "lxc.cgroup.use", "lxc.cgroup.pattern"];

fn run(call: &Call) -> Outcome {
    let Some(key) = call.words.first() else {
        let keys = KEYS.map(|key| format!("{key}\n")).concat();
        return Ok(output::show(&if call.has("list") { keys } else { options::help(&TOOL) }));
    };
    // What is not there is said where others read the value: as the original does.
    Ok(match global_item(key).filter(|_| KEYS.contains(&key.as_str())) {
        Some(value) if value.is_empty() => output::show(&format!("{key} is not set.\n")),
        Some(value) => output::show(&format!("{value}\n")),
        None => output::show(&format!("Unknown configuration item: {key}\n")).max(1),
    })
}
