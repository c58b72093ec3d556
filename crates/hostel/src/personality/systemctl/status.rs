//! `status`, `why`, and what `show` says of units that a manager has.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hostel_init::control::client::Client;
use hostel_init::journal::store::realtime;
use hostel_init::manager::query::Request;
use hostel_unit::UnitName;

use super::managed::{Record, connect, field, records};
use super::options::Options;
use super::say::names;
use super::{Outcome, catalogue, root};
use crate::output;
use crate::personality::journalctl;

/// Names of the manager's own that are no properties of systemd's.
const OWN: [&str; 11] =
    ["Degraded", "PassedOver", "Complaint", "Tracking", "Run", "Waits", "Processes", "ConditionFailed", "Port", "Spot", "NextElapse"];

/// Puts what the manager says of a unit over what its files say; without a manager nothing.
pub(super) fn overlay(name: &UnitName, all: &mut BTreeMap<String, String>) -> Result<(), String> {
    let Some(client) = Client::connect() else { return Ok(()) };
    let Some(record) = records(client, Request::Show(vec![name.clone()]))?.into_iter().next() else { return Ok(()) };
    let mut degraded = Vec::new();
    for (key, value) in record {
        match key.as_str() {
            "Degraded" => degraded.push(value),
            _ if OWN.contains(&key.as_str()) => {}
            _ if key.ends_with("Timestamp") || key == "NextElapseUSecRealtime" || key == "LastTriggerUSec" => drop(all.insert(key, stamp(&value))),
            "FragmentPath" | "DropInPaths" => drop(all.entry(key).or_insert(value)),
            _ => drop(all.insert(key, value)),
        }
    }
    if !degraded.is_empty() {
        all.insert("X-Degraded".to_owned(), degraded.join("; "));
    }
    Ok(())
}

pub(super) fn status(options: &Options, verb: &str, words: &[String]) -> Outcome {
    if words.is_empty() {
        return system();
    }
    let mut wanted = words.to_vec();
    for word in &mut wanted {
        if let Ok(pid) = word.parse() {
            *word = super::properties::unit_of(pid)
                .ok_or_else(|| format!("Failed to get unit for PID {pid}: PID {pid} does not belong to any loaded unit."))?;
        }
    }
    let names = super::managed::expand(options, verb, &wanted)?;
    let found = records(connect()?, Request::Show(names.clone()))?;
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let presets = hostel_init::preset::Presets::read(&root, &catalogue.search);
    let installer = hostel_init::install::Installer { catalogue: &catalogue, runtime: false, force: false };
    let mut status = 0;
    let mut text = String::new();
    for (name, record) in names.iter().zip(&found) {
        if field(record, "LoadState") == Some("not-found") && field(record, "ActiveState") == Some("inactive") {
            output::tell(format_args!("Unit {name} could not be found."));
            status = 4;
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let state = installer.state(name, &mut Vec::new()).ok();
        // the unit of a script is made up
        let is_script = field(record, "SourcePath").is_some_and(|path| !path.is_empty());
        let enabled = state.map_or(if is_script { "generated" } else { "" }, |state| state.word());
        let mut record = record.clone();
        record.push(("Documentation".to_owned(), documents(&catalogue, name)));
        if state.is_some_and(|state| state.has_preset()) {
            record.push(("UnitFilePreset".to_owned(), presets.query(name).word().to_owned()));
        }
        let record = &record;
        one(&mut text, record, enabled);
        let log = journalctl::tail_of(&root, field(record, "Id").unwrap_or_default(), options.lines, options.form);
        if !log.is_empty() {
            text.push('\n');
            text.push_str(&log);
        }
        if status == 0 && !matches!(field(record, "ActiveState"), Some("active" | "reloading")) {
            status = 3;
        }
    }
    output::show(&text);
    Ok(status)
}

/// What Documentation= of a unit names.
pub(super) fn documents(catalogue: &hostel_init::catalogue::Catalogue<'_>, name: &UnitName) -> String {
    let unit = hostel_init::load::load(catalogue, name);
    unit.settings.of("Unit", "Documentation").map(|setting| setting.text().trim()).collect::<Vec<_>>().join(" ")
}

/// Whether the terminal is said to show more than ASCII.
pub(super) fn is_utf8() -> bool {
    let given = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    given.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// The machine as a whole.
fn system() -> Outcome {
    let found = records(connect()?, Request::Manager)?;
    let Some(record) = found.first() else { return Err("the manager says nothing of itself".to_owned()) };
    let get = |name| field(record, name).unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mark = if get("SystemState") == "running" { '●' } else { '×' };
    output::show(&format!(
        "{mark} {host}\n    State: {}\n    Units: {} loaded (incl. loaded aliases)\n     Jobs: {} queued\n   Failed: {} units\n  Init: {}, units' processes are told by {}\n     Log: {}\n",
        get("SystemState"),
        get("NNames"),
        get("NJobs"),
        get("NFailedUnits"),
        get("Version"),
        get("Tracking"),
        output::clean(get("Log")),
    ));
    Ok(0)
}

fn one(out: &mut String, record: &Record, enabled: &str) {
    let get = |name| field(record, name).unwrap_or_default();
    let (id, active, sub) = (get("Id"), get("ActiveState"), get("SubState"));
    let plain = !is_utf8();
    let mark = match active {
        _ if plain && active == "failed" => 'x',
        _ if plain => '*',
        "active" | "reloading" => '●',
        "failed" => '×',
        _ => '○',
    };
    let description = get("Description");
    let title = if description == id { format!("{mark} {id}") } else { format!("{mark} {id} - {description}") };
    let file = [get("FragmentPath"), get("SourcePath")].into_iter().find(|path| !path.is_empty()).unwrap_or_default();
    let loaded = match (get("LoadState"), get("LoadError")) {
        (state, "") if file.is_empty() => format!("{state} (built-in)"),
        (state, "") if enabled.is_empty() => format!("{state} ({file})"),
        (state, "") if enabled != "static" && !get("UnitFilePreset").is_empty() => {
            format!("{state} ({file}; {enabled}; preset: {})", get("UnitFilePreset"))
        }
        (state, "") => format!("{state} ({file}; {enabled})"),
        (state, why) => format!("{state} (Reason: {why})"),
    };
    out.push_str(&title);
    out.push('\n');
    // writing to a String cannot fail
    let mut line = |head: &str, text: &str| {
        let _ = if head.is_empty() { writeln!(out, "             {text}") } else { writeln!(out, "{head:>11}: {text}") };
    };
    line("Loaded", &loaded);
    let (last, more) = if plain { ("`-", "|-") } else { ("└─", "├─") };
    let dropins: Vec<(&str, &str)> = get("DropInPaths").split(' ').filter_map(|path| path.rsplit_once('/')).collect();
    for (at, (directory, file)) in dropins.iter().enumerate() {
        if at == 0 || dropins[at - 1].0 != *directory {
            line(if at == 0 { "Drop-In" } else { "" }, directory);
        }
        let is_last = dropins.get(at + 1).is_none_or(|next| next.0 != *directory);
        line("", &format!("{}{file}", if is_last { last } else { more }));
    }
    let result = get("Result");
    let state = match (active, sub) {
        ("failed", _) => format!("failed (Result: {result})"),
        (active, sub) if result != "success" && !result.is_empty() => format!("{active} ({sub}) (Result: {result})"),
        (active, sub) => format!("{active} ({sub})"),
    };
    let at = if active == "active" { get("ActiveEnterTimestamp") } else { get("StateChangeTimestamp") };
    let since = if at.is_empty() { String::new() } else { format!(" since {}; {} ago", stamp(at), ago(at)) };
    line("Active", &format!("{state}{since}"));
    for (at, document) in get("Documentation").split(' ').filter(|d| !d.is_empty()).enumerate() {
        line(if at == 0 { "Docs" } else { "" }, document);
    }
    if !get("ConditionFailed").is_empty() {
        line("Condition", &format!("start condition failed: {} was not met", get("ConditionFailed")));
    }
    for (_, value) in record.iter().filter(|(key, _)| key == "Run") {
        line("Process", value);
    }
    if get("MainPID") != "0" && !get("MainPID").is_empty() {
        line("Main PID", &format!("{} ({})", get("MainPID"), comm(get("MainPID"))));
    }
    if !get("StatusText").is_empty() {
        line("Status", &format!("\"{}\"", output::clean(get("StatusText"))));
    }
    if !get("PassedOver").is_empty() {
        line("Passed over", get("PassedOver"));
    }
    if !get("Complaint").is_empty() {
        line("Complaint", &output::clean(get("Complaint")));
    }
    for (_, value) in record.iter().filter(|(key, _)| key == "Degraded") {
        line("Degraded", &output::clean(value));
    }
    processes(out, record);
}

/// Its processes, with their command lines.
fn processes(out: &mut String, record: &Record) {
    let get = |name| field(record, name).unwrap_or_default();
    let pids: Vec<&str> = get("Processes").split(' ').filter(|pid| !pid.is_empty()).collect();
    let group = get("ControlGroup");
    if pids.is_empty() {
        return;
    }
    let head = if group.is_empty() { "Tracking" } else { "CGroup" };
    let _ = writeln!(out, "{head:>11}: {}", if group.is_empty() { "by session and ancestry: no group can be made here" } else { group });
    for (i, pid) in pids.iter().enumerate() {
        let branch = match (is_utf8(), i + 1 == pids.len()) {
            (true, true) => "└─",
            (true, false) => "├─",
            (false, true) => "`-",
            (false, false) => "|-",
        };
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
        let shown = if text.trim().is_empty() { format!("[{}]", comm(pid)) } else { text.trim().to_owned() };
        let _ = writeln!(out, "             {branch}{pid} {}", output::clean(&shown));
    }
}

fn comm(pid: &str) -> String {
    output::clean(std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim())
}

pub(super) fn why(options: &Options, verb: &str, words: &[String]) -> Outcome {
    let names = names(verb, words)?;
    let found = records(connect()?, Request::Show(names.clone()))?;
    if options.json {
        return Ok(why_json(&found));
    }
    let mut text = String::new();
    let mut status = 0;
    for (name, record) in names.iter().zip(&found) {
        let get = |key| field(record, key).unwrap_or_default();
        if get("LoadState") == "not-found" {
            output::tell(format_args!("Unit {name} could not be found."));
            status = 4;
            continue;
        }
        let _ = writeln!(text, "{name}: {} ({})", get("ActiveState"), get("SubState"));
        let mut say = |what: &str| {
            let _ = writeln!(text, "  {}", output::clean(what));
        };
        for (key, what) in [
            ("LoadError", "it cannot be used: "),
            ("PassedOver", "it is not run: "),
            ("Complaint", "it said: "),
            ("ConditionFailed", "its condition does not hold: "),
            ("Waits", ""),
        ] {
            if !get(key).is_empty() {
                say(&format!("{what}{}", get(key)));
            }
        }
        if !matches!(get("Result"), "" | "success") {
            say(&format!("its result is {}", get("Result")));
        }
        if !matches!(get("Job"), "" | "0") {
            say(&format!("job {} of it waits or runs", get("Job")));
        }
        for (key, value) in record.iter().filter(|(key, _)| matches!(key.as_str(), "Run" | "Degraded")) {
            say(&if key == "Run" { value.clone() } else { format!("degraded: {value}") });
        }
        if get("ControlGroup").is_empty() && get("Tracking") == "session" {
            say("its processes are told by session and ancestry: no group can be made here");
        }
    }
    output::show(&text);
    Ok(status)
}

/// The same as objects; what may be there several times is a list.
fn why_json(found: &[Record]) -> u8 {
    let one = |record: &Record| {
        let get = |key| field(record, key).filter(|value| !value.is_empty());
        let all = |key: &str| record.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect::<Vec<_>>();
        serde_json::json!({
            "unit": get("Id"), "load": get("LoadState"), "active": get("ActiveState"), "sub": get("SubState"), "load_error": get("LoadError"),
            "passed_over": get("PassedOver"), "complaint": get("Complaint"), "condition_failed": get("ConditionFailed"), "waits": get("Waits"),
            "result": get("Result"), "job": get("Job").filter(|id| *id != "0"), "runs": all("Run"), "degraded": all("Degraded"),
        })
    };
    output::show_json(&found.iter().map(one).collect::<Vec<_>>());
    if found.iter().any(|record| field(record, "LoadState") == Some("not-found")) { 4 } else { 0 }
}

/// Microseconds as text become a date; empty stays empty.
pub(super) fn stamp(micros: &str) -> String {
    micros.parse::<u64>().map_or_else(|_| String::new(), |n| date(n / 1_000_000))
}

/// `Fri 2026-11-27 02:10:11 UTC`
fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let day = DAYS[(seconds / 86_400 % 7) as usize];
    format!("{day} {}", output::date(seconds))
}

pub(super) fn ago(micros: &str) -> String {
    let now = realtime();
    let then = micros.parse::<u64>().unwrap_or(now);
    hostel_unit::show_span(now.saturating_sub(then), 1_000_000)
}
