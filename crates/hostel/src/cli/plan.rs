//! `hostel spec` and `hostel plan`: what a command line means, changing nothing.

use std::ffi::OsString;

use hostel_engine::supervisor::session;
use hostel_nspawn::Action;
use hostel_spec::{MachineSpec, Rlimit};

use super::{Failure, Outcome, Verb};
use crate::native::{self, Kind, Parsed};
use crate::{bundle, machine, output, settings};

/// `hostel spec`.
pub(super) const SPEC: Verb = Verb {
    name: "spec",
    args: "run|boot|nspawn ARGS...",
    about: "print what a command line says the machine should be",
    options: &[("--json", "before the command: JSON")],
    examples: &[("hostel spec --json run --memory 1G -- make", "the spec as JSON")],
    run: spec,
};

/// `hostel plan`.
pub(super) const PLAN: Verb = Verb {
    name: "plan",
    args: "run|boot|nspawn ARGS...",
    about: "print the steps a command line would take, and take none",
    options: &[("--json", "before the command: JSON")],
    examples: &[("hostel plan nspawn -bD /srv/debian", "every mount, namespace and limit, in order")],
    run: plan,
};

/// A command line, understood.
enum Compiled {
    Machine(Box<Machine>),
    /// It asks for something to read: the exit status.
    Shown(u8),
}

struct Machine {
    json: bool,
    spec: MachineSpec,
    /// What of it settings files say: where, and what.
    settings: Vec<(String, String)>,
}

fn compiled(args: &[OsString]) -> Result<Compiled, Failure> {
    let json = args.first().is_some_and(|a| a == "--json");
    let args = &args[usize::from(json)..];
    let usage = || Failure::Usage("which command line? begin with run, boot or nspawn".into());
    let machine = |json, spec, settings| Ok(Compiled::Machine(Box::new(Machine { json, spec, settings })));
    let word = args.first().and_then(|a| a.to_str()).ok_or_else(usage)?;
    let rest = &args[1..];
    match word {
        "run" | "boot" => {
            let kind = if word == "run" { Kind::Run } else { Kind::Boot };
            match native::parse(kind, rest)? {
                Parsed::Machine(mut request) => {
                    warn(&request.warnings);
                    let (json, settings) = (json || request.json, std::mem::take(&mut request.settings));
                    machine(json, request.with_kept()?, settings)
                }
                Parsed::Shown(status) => Ok(Compiled::Shown(status)),
            }
        }
        "nspawn" | "systemd-nspawn" => {
            let environment = native::environment();
            let (doc, warnings) = settings::with_files(rest, &environment)?;
            warn(&warnings);
            match bundle::compile(&doc, &environment)? {
                Ok(Action::Run(spec)) => machine(json, *spec, doc.settings()),
                Ok(Action::Cleanup(_)) => Err(Failure::Usage("plan: --cleanup starts no machine".into())),
                Ok(Action::Help) => Ok(Compiled::Shown(output::show(&hostel_nspawn::help::text()))),
                Ok(Action::Version) => Ok(Compiled::Shown(output::show(&super::version()))),
                Ok(Action::Print(text)) => Ok(Compiled::Shown(output::show(&text))),
                Err(error) => Err(Failure::Dialect(Box::new(error), settings::hint(&doc))),
            }
        }
        _ => Err(usage()),
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        output::tell(format_args!("warning: {warning}"));
    }
}

fn spec(args: &[OsString]) -> Outcome {
    let Machine { json, spec, settings } = match compiled(args)? {
        Compiled::Machine(machine) => *machine,
        Compiled::Shown(status) => return Ok(status),
    };
    let mut value = output::value_of(&spec);
    if json {
        if !settings.is_empty() {
            let list = settings.iter().map(|(from, says)| serde_json::json!({ "from": from, "says": says })).collect();
            value["settings"] = serde_json::Value::Array(list);
        }
        return Ok(output::show_json(&value));
    }
    let mut text = String::new();
    for (from, says) in &settings {
        text.push_str(&output::clean(&format!("{from}: {says}")));
        text.push('\n');
    }
    flatten("", &value, &mut text);
    Ok(output::show(&text))
}

/// `a.b.c = value` lines; unset values are left out.
fn flatten(prefix: &str, value: &serde_json::Value, out: &mut String) {
    use serde_json::Value;
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&path, value, out);
            }
        }
        Value::Array(list) if list.is_empty() => {}
        Value::Array(list) if list.iter().all(|v| v.is_string() || v.is_number()) => {
            let words: Vec<String> = list.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
            out.push_str(&format!("{prefix} = {}\n", words.join(" ")));
        }
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                flatten(&format!("{prefix}[{i}]"), value, out);
            }
        }
        Value::String(text) => out.push_str(&format!("{prefix} = {text}\n")),
        other => out.push_str(&format!("{prefix} = {other}\n")),
    }
}

/// The same in one line: `a.b=value c=value`.
fn in_a_line(value: &serde_json::Value) -> String {
    let mut lines = String::new();
    flatten("", value, &mut lines);
    lines.lines().map(|line| line.strip_prefix(" = ").unwrap_or(line).replacen(" = ", "=", 1)).collect::<Vec<_>>().join(" ")
}

fn plan(args: &[OsString]) -> Outcome {
    let Machine { json, spec, .. } = match compiled(args)? {
        Compiled::Machine(machine) => *machine,
        Compiled::Shown(status) => return Ok(status),
    };
    let (plan, _, _) = session::plan_of(&spec, &machine::caller())?;
    if json {
        let steps: Vec<_> = plan.describe().into_iter().map(|(side, step)| serde_json::json!({ "side": side, "step": step })).collect();
        return Ok(output::show_json(&serde_json::json!({
            "name": plan.name,
            "hostname": plan.hostname,
            "uuid": plan.uuid,
            "tree": plan.tree.path,
            "namespaces": plan.namespaces(),
            "capabilities": output::value_of(&plan.bounding),
            "limits": output::value_of(&plan.spec.resources),
            "rlimits": output::value_of(&plan.spec.process.rlimits),
            "system_calls": hostel_process::seccomp::summary(&plan.spec.security.syscalls, plan.bounding).unwrap_or_default(),
            "steps": steps,
        })));
    }
    let mut text = format!("machine {} ({}), tree {}\n", plan.name, plan.uuid.dashed(), plan.tree.path.display());
    text.push_str(&format!("namespaces: {}\n", plan.namespaces().join(" ")));
    text.push_str(&format!("system calls: {}\n", hostel_process::seccomp::summary(&plan.spec.security.syscalls, plan.bounding).unwrap_or_default()));
    for (label, value) in [("capabilities", output::value_of(&plan.bounding)), ("limits", output::value_of(&plan.spec.resources))] {
        let words = in_a_line(&value);
        text.push_str(&format!("{label}: {}\n", if words.is_empty() { "none" } else { &words }));
    }
    let bound = |n: Option<u64>| n.map_or_else(|| "infinity".into(), |n| n.to_string());
    let rlimit = |l: &Rlimit| format!("{}={}:{}", l.name.name(), bound(l.soft), bound(l.hard));
    text.push_str(&format!("rlimits: {}\n", plan.spec.process.rlimits.iter().map(rlimit).collect::<Vec<_>>().join(" ")));
    for (number, (side, step)) in plan.describe().iter().enumerate() {
        text.push_str(&format!("{:>3} {side:<10} {step}\n", number + 1));
    }
    output::print(&text);
    Ok(0)
}
