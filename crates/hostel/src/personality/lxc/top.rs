//! lxc-top: what containers use, again and again.

use std::cmp::Reverse;
use std::time::Duration;

use hostel_container::{Container, list_active};
use hostel_unit::Arrange as _;

use super::info::{cpu, disk, first_number};
use super::options::{Call, row};
use super::{Outcome, Tool, failure};
use crate::output;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-top",
    synopsis: "[-b] [-d SECONDS] [-s COLUMN] [-r]",
    about: "show what running containers use, again and again; ^C ends it",
    named: false,
    options: &[
        row("d", "delay", "SECONDS", "how long until the next (3)"),
        row(
            "b",
            "batch",
            "",
            "lines for programs: milliseconds,name,cpu ns,sys,user,disk bytes,disk operations,memory,memory and swap,kernel memory",
        ),
        row("s", "sort", "COLUMN", "n(ame), c(pu), b(lock I/O), m(emory), s(wap too), k(ernel memory) (n)"),
        row("r", "reverse", "", "the other way round"),
    ],
    run,
};

/// What one uses.
struct Use {
    name: String,
    cpu: u64,
    system: u64,
    user: u64,
    disk: u64,
    operations: u64,
    memory: u64,
    both: u64,
    kernel: u64,
}

fn measure(container: &Container) -> Use {
    // Ticks of 1/100 s, as version 1 counts them.
    let stat = container.get_cgroup_item("cpuacct.stat").unwrap_or_default();
    let ticks = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    let operations = container.get_cgroup_item("blkio.throttle.io_serviced").unwrap_or_default();
    let number = |items: &[&str]| first_number(container, items).unwrap_or(0);
    Use {
        name: output::clean(&container.name),
        cpu: cpu(container).unwrap_or(0),
        system: ticks("system"),
        user: ticks("user"),
        disk: disk(container).unwrap_or(0),
        operations: operations.lines().find_map(|line| line.strip_prefix("Total ")?.parse().ok()).unwrap_or(0),
        memory: number(&["memory.usage_in_bytes", "memory.current"]),
        both: number(&["memory.memsw.usage_in_bytes", "memory.usage_in_bytes", "memory.current"]),
        kernel: number(&["memory.kmem.usage_in_bytes"]),
    }
}

fn run(call: &Call) -> Outcome {
    let delay = call.number("delay", 3.0f64)?;
    let delay = Duration::try_from_secs_f64(delay).map_err(|_| failure("read --delay: it is a number of seconds"))?;
    let key: fn(&Use) -> u64 = match call.value("sort").unwrap_or("n") {
        "n" => |_| 0,
        "c" => |one| one.cpu,
        "b" => |one| one.disk,
        "m" => |one| one.memory,
        "s" => |one| one.both,
        "k" => |one| one.kernel,
        other => return Err(failure(format!("sort by {other}: it is one of n, c, b, m, s, k"))),
    };
    let (lxcpath, batch) = (call.lxcpath(), call.has("batch"));
    let terminal = output::terminal_width().is_some();
    loop {
        let mut all: Vec<Use> =
            list_active(&lxcpath)?.iter().filter_map(|name| Container::bare(name, Some(&lxcpath)).ok()).map(|c| measure(&c)).collect();
        all.arrange_by_key(|one| Reverse(key(one)));
        if call.has("reverse") {
            all.reverse();
        }
        let text = if batch { lines(&all) } else { table(&all, terminal) };
        match output::write(text.as_bytes()) {
            Ok(true) => std::thread::sleep(delay),
            _ => return Ok(0),
        }
    }
}

fn lines(all: &[Use]) -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let time = now.tv_sec * 1000 + now.tv_nsec / 1_000_000;
    let line = |u: &Use| {
        let numbers = [u.cpu, u.system, u.user, u.disk, u.operations, u.memory, u.both, u.kernel].map(|n| format!(",{n}")).concat();
        format!("{time},{}{numbers}\n", u.name)
    };
    all.iter().map(line).collect()
}

fn table(all: &[Use], terminal: bool) -> String {
    let seconds = |ticks: u64| format!("{:.2}", ticks as f64 / 100.0);
    let cells = |u: &Use| {
        let cpu = format!("{:.2}", u.cpu as f64 / 1e9);
        vec![u.name.clone(), cpu, seconds(u.system), seconds(u.user), output::bytes(u.disk), output::bytes(u.memory), output::bytes(u.kernel)]
    };
    let rows: Vec<Vec<String>> = all.iter().map(cells).collect();
    let head = ["CONTAINER", "CPU s", "SYS s", "USER s", "BLKIO", "MEMORY", "KMEM"];
    format!("{}{}\n", if terminal { "\x1b[H\x1b[2J" } else { "" }, output::table(&head, &rows))
}
