//! `hostel status`: one machine, for people.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;

use hostel_engine::registry::MachineState;
use hostel_ipc::control::{CallError, Status};
use hostel_process::console::LogReader;
use hostel_sys::clone;

use super::look::{self, Look};
use super::{Outcome, Verb, inspect, stored};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "status",
    args: "NAME [--json]",
    about: "show a machine: figures, namespaces, the end of its console",
    options: &[("--json", "as `hostel inspect`")],
    examples: &[("hostel status debian", "how is it?"), ("hostel status try1", "what a kept machine lies over, how much it holds")],
    run,
};

/// Bytes of the console log looked at for its last lines.
const TAIL_BYTES: u64 = 4 << 10;
const TAIL_LINES: usize = 10;

fn run(args: &[OsString]) -> Outcome {
    let mut json = false;
    let flag = |long: &str| {
        json |= long == "json";
        long == "json"
    };
    let Some(name) = look::only_name(&VERB, args, flag)? else { return Ok(0) };
    let registry = machine::registry_to_read()?;
    if let Some(stored) = stored::instead(&registry, &name)? {
        if json {
            return Ok(output::show_json(&stored.json()));
        }
        let mut lines = Lines(String::new());
        stored.lines().iter().for_each(|(label, value)| lines.add(label, value));
        return Ok(output::show(&lines.0));
    }
    let look = Look::at(look::running(&registry, &name)?);
    let control = look::ask(&look.machine);
    if json {
        return Ok(output::show_json(&inspect::value(&look, &control, &registry.path_of(&name).display().to_string())));
    }
    let tail = look.machine.directory().map(last_lines).unwrap_or_default();
    Ok(output::show(&block(&look, &control, &tail)))
}

/// `label: value` lines, then the end of the console log.
fn block(look: &Look, control: &Result<Status, CallError>, tail: &Tail) -> String {
    let mut lines = Lines(String::new());
    lines.add("machine", look.machine.name.as_str());
    lines.add("state", &state_line(look, control));
    if let Some(state) = look.machine.known() {
        facts(&mut lines, look, state);
    } else if let Some(pid) = look.machine.owner {
        lines.add("supervisor", &pid.to_string());
    }
    figures(&mut lines, look);
    if let Some(state) = look.machine.known() {
        lines.add("console", &console_line(state, control, tail));
    }
    let mut out = lines.0;
    if !tail.lines.is_empty() {
        out.push('\n');
        for line in &tail.lines {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out
}

struct Lines(String);

impl Lines {
    fn add(&mut self, label: &str, value: &str) {
        self.0.push_str(&format!("{label:>11}: {value}\n"));
    }
}

fn state_line(look: &Look, control: &Result<Status, CallError>) -> String {
    let mut text = look.state().to_owned();
    if let Some(trouble) = look.trouble() {
        text.push_str(&format!(" ({trouble})"));
    }
    match control {
        Ok(status) => {
            if status.ready {
                text.push_str(", ready");
            }
            if !status.status_text.is_empty() {
                text.push_str(&format!(": {}", output::clean(&status.status_text)));
            }
        }
        // Before it listens nobody can be asked.
        Err(_) if look.state() == "starting" => {}
        Err(error) => text.push_str(&format!(" ({error})")),
    }
    text
}

fn facts(lines: &mut Lines, look: &Look, state: &MachineState) {
    if let Some(uptime) = look.uptime() {
        lines.add("since", &format!("{}; {}", output::date(state.started_realtime), output::duration(uptime)));
    }
    match state.leader {
        Some(leader) => lines.add("leader", &format!("{} ({})", leader.pid, look.init().unwrap_or_else(|| "command".into()))),
        None => lines.add("leader", "-"),
    }
    lines.add("supervisor", &state.supervisor.pid.to_string());
    if let Some(tree) = &state.tree {
        lines.add("tree", &output::clean(&tree.to_string_lossy()));
    }
    if let Some(uuid) = state.uuid {
        lines.add("id", &uuid.plain());
    }
    lines.add("namespaces", &namespaces(state.namespaces));
    lines.add(
        "ids",
        &match state.ids {
            Some(range) => {
                format!("{} to {} (0 inside is {} here)", range.base, u64::from(range.base) + u64::from(range.count).saturating_sub(1), range.base)
            }
            None => "the host's".into(),
        },
    );
    if !look.addresses.is_empty() {
        lines.add("address", &look.addresses.join(" "));
    }
    if let Some(ports) = state.network.as_ref().map(|n| &n.ports).filter(|p| !p.is_empty()) {
        lines.add("ports", &ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    }
    for path in state.cgroup.iter().chain(&state.cgroups_v1) {
        lines.add("cgroup", &output::clean(&path.to_string_lossy()));
    }
}

fn figures(lines: &mut Lines, look: &Look) {
    let stats = &look.stats;
    if stats.memory_current.is_some() || look.resident.is_some() {
        let mut text = look.memory();
        if let Some(limit) = stats.memory_limit {
            text.push_str(&format!(" of {}", output::bytes(limit)));
        }
        if let Some(peak) = stats.memory_peak {
            text.push_str(&format!(", {} at its height", output::bytes(peak)));
        }
        if let Some(kills) = stats.oom_kills.filter(|n| *n > 0) {
            text.push_str(&format!(", {kills} killed for want of it"));
        }
        lines.add("memory", &text);
    }
    if let Some(usec) = stats.cpu_usec {
        let quota = stats.cpu_quota.map_or_else(String::new, |us| format!(", at most {}.{:02} of a processor", us / 1_000_000, us / 10_000 % 100));
        lines.add("cpu", &format!("{}.{:03}s{quota}", usec / 1_000_000, usec / 1000 % 1000));
    }
    match (stats.pids_current, look.processes) {
        (Some(tasks), _) => {
            let refused = stats.pids_refused.filter(|n| *n > 0).map_or_else(String::new, |n| format!(", {n} refused"));
            let limit = stats.pids_limit.map_or_else(String::new, |limit| format!(" of {limit}"));
            lines.add("tasks", &format!("{tasks}{limit}{refused}"));
        }
        (None, Some(processes)) => lines.add("processes", &processes.to_string()),
        (None, None) => {}
    }
}

/// `pid mnt uts …`, from the bits of clone(2).
fn namespaces(bits: u64) -> String {
    let kinds = [
        (clone::NEWUSER, "user"),
        (clone::NEWPID, "pid"),
        (clone::NEWNS, "mnt"),
        (clone::NEWUTS, "uts"),
        (clone::NEWIPC, "ipc"),
        (clone::NEWCGROUP, "cgroup"),
        (clone::NEWNET, "net"),
        (clone::NEWTIME, "time"),
    ];
    let own: Vec<&str> = kinds.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name).collect();
    if own.is_empty() { "the host's".into() } else { own.join(" ") }
}

fn console_line(state: &MachineState, control: &Result<Status, CallError>, tail: &Tail) -> String {
    let mode = output::value_of(&state.console).as_str().map(str::to_owned).unwrap_or_default();
    let mut text = mode;
    if let Some(size) = tail.size {
        text.push_str(&format!(", log of {}", output::bytes(size)));
    }
    if let Ok(status) = control {
        match status.visitors {
            0 => {}
            1 => text.push_str(", 1 visitor"),
            n => text.push_str(&format!(", {n} visitors")),
        }
        if status.log_lost > 0 {
            text.push_str(&format!(", {} of the log lost", output::bytes(status.log_lost)));
        }
    }
    text
}

/// The end of a console log.
#[derive(Debug, Default)]
struct Tail {
    /// Bytes on disk; `None`: there is no log.
    size: Option<u64>,
    lines: Vec<String>,
}

fn last_lines(dir: BorrowedFd<'_>) -> Tail {
    let Ok(mut reader) = LogReader::open(dir, Some(TAIL_BYTES)) else { return Tail::default() };
    let size = |name: &str| rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).map_or(0, |s| s.st_size.max(0) as u64);
    let mut text = Vec::new();
    let mut buf = [0u8; 4 << 10];
    // More may come while we read: what is more than was asked for is enough.
    while let Ok(n @ 1..) = reader.read(&mut buf) {
        text.extend_from_slice(&buf[..n]);
        if text.len() as u64 >= 2 * TAIL_BYTES {
            break;
        }
    }
    let cut_first = text.len() as u64 >= TAIL_BYTES;
    Tail { size: Some(size("console.log") + size("console.log.1")), lines: plain_lines(&text, cut_first, TAIL_LINES) }
}

/// The last lines of a machine's console as plain text.
pub(crate) fn tail(dir: BorrowedFd<'_>, lines: usize) -> Vec<String> {
    let bytes = (lines as u64).saturating_mul(200).clamp(TAIL_BYTES, 1 << 20);
    let Ok(mut reader) = LogReader::open(dir, Some(bytes)) else { return Vec::new() };
    let mut text = Vec::new();
    let mut buf = [0u8; 4 << 10];
    while let Ok(n @ 1..) = reader.read(&mut buf) {
        text.extend_from_slice(&buf[..n]);
        if text.len() as u64 >= 2 * bytes {
            break;
        }
    }
    plain_lines(&text, text.len() as u64 >= bytes, lines)
}

/// The last lines of console output as plain text: no colours, nothing a terminal obeys, no empty lines.
fn plain_lines(text: &[u8], cut_first: bool, most: usize) -> Vec<String> {
    let tame = output::Tame::default().filter(text);
    let text = String::from_utf8_lossy(&tame);
    let lines: Vec<String> = text
        .split('\n')
        .skip(usize::from(cut_first))
        // What a carriage return overwrote is not to be seen.
        .map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default())
        .map(without_colours)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(most)..].to_vec()
}

/// Takes out the colour sequences that [`output::Tame`] leaves.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    output::clean(&out.replace('\t', " ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_console() {
        let text = b"half\n\x1b[32m  OK  \x1b[0m Started it.\r\n\r\n50%\r100%\r\n\x1b]0;evil\x07login: \x1b[2J";
        assert_eq!(plain_lines(text, true, 10), ["  OK   Started it.", "100%", "login:"]);
        let many: String = (0..50).map(|n| format!("{n}\n")).collect();
        assert_eq!(plain_lines(many.as_bytes(), false, 10).first().map(String::as_str), Some("40"));
        assert!(plain_lines(b"", true, 10).is_empty());
    }

    #[test]
    fn kinds_of_namespaces() {
        assert_eq!(namespaces(0), "the host's");
        assert_eq!(namespaces(clone::NEWPID | clone::NEWNS), "pid mnt");
    }
}
