//! lxc-autostart: the containers that start with the host.

use std::cmp::Reverse;
use std::time::Duration;

use hostel_container::{Container, Error, list_defined};
use hostel_unit::Arrange as _;

use super::options::{Call, row};
use super::start::engine;
use super::{Outcome, Tool};
use crate::lxc::start::{Order, background};
use crate::output;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-autostart",
    synopsis: "[-k|-L|-r|-s] [-a] [-A] [-g GROUPS]",
    about: "start, end or list the containers that start with the host",
    named: false,
    options: &[
        row("k", "kill", "", "end them at once"),
        row("L", "list", "", "list them, with the seconds to wait after each"),
        row("r", "reboot", "", "ask them to begin anew"),
        row("s", "shutdown", "", "ask them to end"),
        row("a", "all", "", "whatever their groups"),
        row("A", "ignore-auto", "", "also those without lxc.start.auto"),
        row("g", "groups", "GROUPS", "those in one of these groups; an empty one: those in none"),
        row("t", "timeout", "SECONDS", "how long an end is waited for (60)"),
    ],
    run,
};

fn value(container: &Container, key: &str) -> i64 {
    container.value(key).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// So many seconds, until the next is started.
fn wait(seconds: i64) {
    std::thread::sleep(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
}

/// Those that are asked for: group by group as they are named, the highest order first.
fn chosen(call: &Call) -> Result<Vec<Container>, Error> {
    let lxcpath = call.lxcpath();
    let mut all = Vec::new();
    for name in list_defined(&lxcpath).unwrap_or_default() {
        match Container::new(&name, Some(&lxcpath)) {
            Ok(container) => all.push(container),
            Err(error) => call.tell(&error),
        }
    }
    all.retain(|container| call.has("ignore-auto") || value(container, "lxc.start.auto") == 1);
    all.arrange_by_key(|container| Reverse(value(container, "lxc.start.order")));
    if call.has("all") {
        return Ok(all);
    }
    let named: Vec<&str> = call.values("groups").flat_map(|list| list.split(',')).map(str::trim).collect();
    let mut chosen = Vec::new();
    for group in if named.is_empty() { vec![""] } else { named } {
        let is = |container: &mut Container| {
            let mut own = container.values("lxc.group");
            if group.is_empty() { own.next().is_none() } else { own.any(|one| one == group) }
        };
        chosen.extend(all.extract_if(.., is));
    }
    Ok(chosen)
}

fn run(call: &Call) -> Outcome {
    let seconds = call.number("timeout", 60i64)?;
    let timeout = u64::try_from(seconds).ok().map(Duration::from_secs);
    let starts = !["kill", "reboot", "shutdown"].iter().any(|action| call.has(action));
    let (mut out, mut status) = (String::new(), 0);
    for container in chosen(call)? {
        if container.is_running() == starts {
            continue;
        }
        if call.has("list") {
            let delay = if starts { format!(" {}", container.get_config_item("lxc.start.delay")?) } else { String::new() };
            out.push_str(&format!("{}{delay}\n", output::clean(&container.name)));
            continue;
        }
        let done = match () {
            () if starts => background(&Order::of(&container)).map(|_| wait(value(&container, "lxc.start.delay"))).map_err(engine),
            () if call.has("kill") => container.stop(),
            () if call.has("reboot") => container.reboot(),
            () => container.shutdown(timeout).and_then(|ended| if ended { Ok(()) } else { container.stop() }),
        };
        if let Err(error) = done {
            call.tell(&error);
            status = 1;
        }
    }
    Ok(output::show(&out).max(status))
}
