//! lxc-ls: which containers there are.

use hostel_container::{Container, State, list_active, list_all, list_defined};
use hostel_init::journal::pattern::Pattern;

use super::options::{Call, row};
use super::{Outcome, Tool, failure};
use crate::output;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-ls",
    synopsis: "[-1|-f] [PATTERN]",
    about: "list containers",
    named: false,
    options: &[
        row("1", "line", "", "a name per line"),
        row("f", "fancy", "", "a table"),
        row("F", "fancy-format", "COLUMNS", "which columns: NAME,STATE,PID,RAM,SWAP,AUTOSTART,GROUPS,INTERFACE,IPV4,IPV6,UNPRIVILEGED"),
        row("", "active", "", "those that run, frozen ones too"),
        row("", "running", "", "those that run and are not frozen"),
        row("", "frozen", "", "those that are frozen"),
        row("", "stopped", "", "those that do not run"),
        row("", "defined", "", "those that have a configuration"),
        row("", "nesting", "[NUM]", "refused: `hostel exec` or lxc-attach lists those within"),
        row("g", "groups", "GROUPS", "those that are in all of these groups"),
        row("", "filter", "PATTERN", "those whose name matches"),
    ],
    run,
};

const COLUMNS: [&str; 11] = ["NAME", "STATE", "PID", "RAM", "SWAP", "AUTOSTART", "GROUPS", "INTERFACE", "IPV4", "IPV6", "UNPRIVILEGED"];
const USUAL: &str = "NAME,STATE,AUTOSTART,GROUPS,IPV4,IPV6,UNPRIVILEGED";

fn run(call: &Call) -> Outcome {
    if call.has("nesting") {
        return Err(failure("list nested containers: it is not supported; `lxc-attach NAME -- lxc-ls` lists them"));
    }
    let columns = call.value("fancy-format").unwrap_or(USUAL).split(',').map(|name| {
        let name = name.trim().to_ascii_uppercase();
        COLUMNS.iter().copied().find(|known| *known == name).ok_or_else(|| failure(format!("show column {name}: there is none of that name")))
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let containers = chosen(call)?;
    if call.has("fancy") {
        return Ok(fancy(&columns, &containers));
    }
    let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    Ok(output::show(&if call.has("line") { names.iter().map(|name| format!("{}\n", output::clean(name))).collect() } else { plain(&names) }))
}

/// The containers that are asked for.
fn chosen(call: &Call) -> Result<Vec<Container>, hostel_container::Error> {
    let pattern = call.value("filter").or(call.words.first().map(String::as_str)).map(|text| Pattern::parse(text, Some(true)));
    let pattern = pattern.transpose().map_err(|why| failure(format!("read pattern: {why}")))?;
    let lxcpath = call.lxcpath();
    let mut names = match (call.has("active"), call.has("defined")) {
        (true, _) => list_active(&lxcpath)?,
        (false, true) => list_defined(&lxcpath).unwrap_or_default(),
        (false, false) => list_all(&lxcpath)?,
    };
    names.retain(|name| pattern.as_ref().is_none_or(|pattern| pattern.is_in(name)));
    let states = [("running", State::Running), ("frozen", State::Frozen), ("stopped", State::Stopped)];
    let wanted: Vec<State> = states.into_iter().filter(|(option, _)| call.has(option)).map(|(_, state)| state).collect();
    let groups: Vec<&str> = call.values("groups").flat_map(|list| list.split(',')).map(str::trim).collect();
    let mut containers = Vec::new();
    for name in names {
        // One that cannot be read is there all the same.
        let Ok(container) = Container::new(&name, Some(&lxcpath)).or_else(|_| Container::bare(&name, Some(&lxcpath))) else { continue };
        let own: Vec<&str> = container.values("lxc.group").collect();
        let state = || container.state().is_ok_and(|state| wanted.contains(&state));
        if groups.iter().all(|group| own.contains(group)) && (wanted.is_empty() || state()) {
            containers.push(container);
        }
    }
    Ok(containers)
}

/// Names beside each other on a terminal, else one on a line, padded.
fn plain(names: &[&str]) -> String {
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0).max("NAME".len());
    let columns = output::terminal_width().map_or(1, |terminal| (terminal / (width + 2)).max(1));
    let mut out = String::new();
    for line in names.chunks(columns) {
        for name in line {
            out.push_str(&format!("{:<width$}{}", output::clean(name), if columns > 1 { " " } else { "" }));
        }
        out.push('\n');
    }
    out
}

fn fancy(columns: &[&str], containers: &[Container]) -> u8 {
    if containers.is_empty() {
        return 0;
    }
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|name| (*name).to_owned()).collect()];
    rows.extend(containers.iter().map(|container| columns.iter().map(|column| output::clean(&cell(column, container))).collect()));
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$} ")).collect::<String>() + "\n";
    output::show(&rows.iter().map(line).collect::<String>())
}

fn cell(column: &str, container: &Container) -> String {
    let megabytes = |bytes: u64| format!("{:.2}MB", bytes as f64 / (1 << 20) as f64);
    let memory = |names: [&str; 2]| super::info::first_number(container, &names);
    let values = |key| container.values(key).collect::<Vec<_>>();
    let ips = |family| container.get_ips(None, Some(family), 0).unwrap_or_default().join(", ");
    let text = match column {
        "NAME" => container.name.clone(),
        "STATE" => container.state().map_or("INVALID STATE", State::name).to_owned(),
        "PID" => container.init_pid().map(|pid| pid.to_string()).unwrap_or_default(),
        "RAM" => memory(["memory.usage_in_bytes", "memory.current"]).map(megabytes).unwrap_or_default(),
        "SWAP" => {
            let both = memory(["memory.memsw.usage_in_bytes", ""]);
            let swapped = both.zip(memory(["memory.usage_in_bytes", ""])).map(|(both, memory)| both.saturating_sub(memory));
            swapped.or_else(|| memory(["memory.swap.current", ""])).map(megabytes).unwrap_or_default()
        }
        "AUTOSTART" => values("lxc.start.auto").first().unwrap_or(&"0").to_string(),
        "GROUPS" => values("lxc.group").join(", "),
        "INTERFACE" => container.get_interfaces().unwrap_or_default().join(", "),
        "IPV4" => ips("inet"),
        "IPV6" => ips("inet6"),
        _ => (!values("lxc.idmap").is_empty()).to_string(),
    };
    if text.is_empty() { "-".to_owned() } else { text }
}
