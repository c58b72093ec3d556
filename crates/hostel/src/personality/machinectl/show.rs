//! `machinectl show` and `machinectl status`.

use std::ffi::OsString;

use hostel_spec::Arrange as _;

use super::facts::{Facts, HOST, timestamp};
use super::list::addresses;
use super::options::Options;
use crate::cli::look::{self, Look};
use crate::cli::{Failure, Outcome, image_status, status};
use crate::{machine, output};

/// Lines of the console that status shows, unless told otherwise.
const LINES: usize = 10;
/// Columns of a command line in a status, unless `--full`.
const COLUMNS: usize = 100;

/// `show [NAME…]`; without a name, of the whole.
pub(crate) fn show(options: &Options, names: &[OsString]) -> Outcome {
    if names.is_empty() {
        return Ok(output::show(&properties(&image_status::pool(), options)));
    }
    let mut out = String::new();
    for (n, name) in names.iter().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        let facts = if name == HOST { Facts::of_host() } else { Facts::of(&look_at(name)?) };
        out.push_str(&properties(&of_machine(&facts), options));
    }
    Ok(output::show(&out))
}

fn look_at(name: &OsString) -> Result<Look, Failure> {
    let name = look::name(name)?;
    Ok(Look::at(look::running(&machine::registry_to_read()?, &name)?))
}

fn of_machine(facts: &Facts) -> Vec<(&'static str, String)> {
    let number = |n: Option<i32>| n.map_or_else(String::new, |n| n.to_string());
    let interfaces: Vec<String> = facts.interfaces.iter().map(|(index, _)| index.to_string()).collect();
    vec![
        ("Name", facts.name.clone()),
        ("Id", facts.id.clone()),
        ("Timestamp", if facts.since == 0 { String::new() } else { timestamp(facts.since) }),
        ("TimestampMonotonic", facts.since_monotonic.to_string()),
        ("Service", facts.service.into()),
        ("Unit", String::new()),
        ("Leader", number(facts.leader)),
        ("Supervisor", number(facts.supervisor)),
        ("Class", facts.class.clone()),
        ("RootDirectory", facts.root.clone()),
        ("NetworkInterfaces", interfaces.join(" ")),
        ("State", facts.state.into()),
        ("UIDShift", facts.shift.unwrap_or(0).to_string()),
        ("ControlGroup", facts.cgroup.clone()),
    ]
}

/// `Name=value` lines; empty ones only when asked for, none that there is not.
fn properties(all: &[(&'static str, String)], options: &Options) -> String {
    let wanted = |name: &str| options.properties.is_empty() || options.properties.iter().any(|p| p == name);
    let mut out = String::new();
    for (name, value) in all.iter().filter(|(name, _)| wanted(name)) {
        if value.is_empty() && !options.all {
            continue;
        }
        if !options.value {
            out.push_str(&format!("{name}="));
        }
        out.push_str(value);
        out.push('\n');
    }
    out
}

/// `status [NAME…]`; without a name, of all.
pub(super) fn status(options: &Options, names: &[OsString]) -> Outcome {
    let mut blocks = Vec::new();
    if names.is_empty() {
        let looks = machine::registry_to_read()?.list()?.into_iter().map(Look::at).filter(|look| look.state() != "dead");
        blocks.extend(looks.map(|look| of_look(&look, options)));
    }
    for name in names {
        blocks.push(if name == HOST { block(&Facts::of_host(), &[], &[], options) } else { of_look(&look_at(name)?, options) });
    }
    Ok(output::show(&blocks.join("\n")))
}

fn of_look(look: &Look, options: &Options) -> String {
    let tail = look.machine.directory().map(|dir| status::tail(dir, options.lines.unwrap_or(LINES))).unwrap_or_default();
    block(&Facts::of(look), &processes(look), &tail, options)
}

/// Process numbers and command lines of a machine.
fn processes(look: &Look) -> Vec<(i32, String)> {
    let group = look.machine.known().and_then(look::cgroup).and_then(Result::ok);
    let mut pids: Vec<i32> = group.and_then(|g| g.procs().ok()).unwrap_or_default().iter().map(|pid| pid.as_raw_nonzero().get()).collect();
    pids.arrange();
    let command = |pid: i32| {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let text = String::from_utf8_lossy(&read("cmdline")).trim_end_matches('\0').replace('\0', " ");
        if text.is_empty() { format!("({})", String::from_utf8_lossy(&read("comm")).trim_end()) } else { text }
    };
    pids.into_iter().map(|pid| (pid, output::clean(&command(pid)))).collect()
}

fn block(facts: &Facts, processes: &[(i32, String)], tail: &[String], options: &Options) -> String {
    let mut out = facts.name.clone();
    if !facts.id.is_empty() {
        out.push_str(&format!("({})", facts.id));
    }
    out.push('\n');
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            out.push_str(&format!("{label:>16}: {value}\n"));
        }
    };
    if facts.since > 0 {
        line("Since", format!("{}; {} ago", timestamp(facts.since), output::duration(facts.uptime.unwrap_or(0))));
    }
    let leader = facts.leader.map(|pid| facts.init.as_ref().map_or_else(|| pid.to_string(), |init| format!("{pid} ({init})")));
    line("Leader", leader.unwrap_or_default());
    line("Supervisor", facts.supervisor.map_or_else(String::new, |pid| pid.to_string()));
    match facts.service {
        "" => line("Class", facts.class.clone()),
        service => line("Service", format!("{service}; class {}", facts.class)),
    }
    line("Root", facts.root.clone());
    line("Iface", facts.interfaces.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(" "));
    line("Address", addresses(facts, options.max_addresses.unwrap_or(usize::MAX), &format!("\n{:18}", "")));
    line("OS", if facts.os.pretty.is_empty() { facts.os.id.clone() } else { facts.os.pretty.clone() });
    line("UID Shift", facts.shift.map_or_else(String::new, |base| base.to_string()));
    line("CGroup", facts.cgroup.clone());
    for (n, (pid, command)) in processes.iter().enumerate() {
        let branch = if n + 1 == processes.len() { "└─" } else { "├─" };
        let cut = !options.full && command.chars().count() > COLUMNS;
        let shown: String = if cut { command.chars().take(COLUMNS - 1).chain(['…']).collect() } else { command.clone() };
        out.push_str(&format!("{:18}{branch}{pid} {shown}\n", ""));
    }
    if !tail.is_empty() {
        out.push('\n');
        out.extend(tail.iter().map(|l| format!("{l}\n")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            name: "web".into(),
            id: "0123456789abcdef0123456789abcdef".into(),
            since: 1_795_723_542,
            since_monotonic: 99,
            uptime: Some(65),
            service: "systemd-nspawn",
            class: "container".into(),
            leader: Some(42),
            init: Some("systemd".into()),
            supervisor: Some(41),
            root: "/var/lib/machines/web".into(),
            state: "running",
            interfaces: vec![(7, "ve-web".into())],
            addresses: vec!["10.0.0.2".parse().unwrap(), "fe80::1".parse().unwrap()],
            shift: Some(65536),
            cgroup: "/sys/fs/cgroup/hostel/web".into(),
            ..Facts::default()
        }
    }

    #[test]
    fn shown() {
        let options = |line: &str| match super::super::options::parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>()) {
            Ok(super::super::options::Asked::Verb(options, _)) => *options,
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!("show", properties(&of_machine(&facts()), &options("")));
        let of = |line: &str| properties(&of_machine(&facts()), &options(line));
        assert_eq!(of("-p Leader --value"), "42\n");
        assert_eq!(of("-P State"), "running\n");
        assert_eq!(of("-p Name,Unit -p Class"), "Name=web\nUnit=\nClass=container\n");
        assert_eq!(of("-p NoSuch"), "");
        assert!(of("-a").contains("\nUnit=\n"));
        let processes = [(42, "/sbin/init".to_owned()), (50, "x".repeat(200))];
        insta::assert_snapshot!("status", block(&facts(), &processes, &["login: ".into()], &options("")));
        assert!(block(&facts(), &processes, &[], &options("-l")).contains(&"x".repeat(200)));
    }
}
