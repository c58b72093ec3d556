//! lxc-device: devices and network interfaces of the host in a container.

use super::options::Call;
use super::{Outcome, Tool, failure};

pub(super) const TOOL: Tool = Tool {
    name: "lxc-device",
    synopsis: "-n NAME -- add|del DEVICE [NAME-INSIDE]",
    about: "give a device node or a network interface to a container that runs, or take it back",
    named: true,
    options: &[],
    run,
};

fn run(call: &Call) -> Outcome {
    let container = call.running()?;
    if !container.is_running() {
        return Err(failure(format!("Container {} is not running", call.name)));
    }
    let [verb, device, inside @ ..] = &call.words[..] else { return Err(failure("use device: say `add` or `del`, and which")) };
    let inside = inside.first().map(String::as_str);
    let is_path = device.starts_with('/');
    match (verb.as_str(), is_path) {
        ("add", true) => container.add_device_node(device, inside),
        ("add", false) => container.attach_interface(device, inside),
        ("del", true) => container.remove_device_node(device, inside),
        ("del", false) => container.detach_interface(device, inside),
        _ => Err(failure(format!("use device: {verb} is neither add nor del"))),
    }
    .map(|()| 0)
}
