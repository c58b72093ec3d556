//! Verbs that the manager carries out: jobs, signals, its environment, the end.

use hostel_init::control::client::{Client, Part};
use hostel_init::control::{Asked, Wait};
use hostel_init::manager::End;
use hostel_init::manager::query::{Request, Whom};
use hostel_init::preset::glob;
use hostel_init::transaction::{JobMode, JobType};
use hostel_spec::Signal;
use hostel_unit::{Kind, UnitName};

use super::options::{Options, Release};
use super::say::names;
use super::{Outcome, live, say, triggers};
use crate::output;

/// What a record is on this side.
pub(super) type Record = Vec<(String, String)>;

/// The last value of a name.
pub(super) fn field<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    record.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Asks for records.
pub(super) fn records(client: Client, request: Request) -> Result<Vec<Record>, String> {
    let mut found = Vec::new();
    let mut refused = None;
    client.ask(&Asked { request, wait: Wait::Answer }, &mut |part| match part {
        Part::Record(record) => found.push(record),
        Part::Refused { why, .. } => refused = Some(why),
        _ => {}
    })?;
    refused.map_or(Ok(found), Err)
}

/// Asks for something that has no other answer than that it is done.
pub(crate) fn simple(client: Client, request: Request) -> Outcome {
    let mut refused = None;
    client.ask(&Asked { request, wait: Wait::Answer }, &mut |part| {
        if let Part::Refused { status, why, .. } = part {
            refused = Some((status, why));
        }
    })?;
    match refused {
        Some((status, why)) => {
            output::tell(format_args!("{why}"));
            Ok(status)
        }
        None => Ok(0),
    }
}

pub(super) use super::direct::connect;

/// The manager that runs, for what would be nothing of one that is begun now.
pub(super) fn running(verb: &str) -> Result<Client, String> {
    Client::connect().ok_or_else(|| live::no_manager(verb))
}

/// Names that are meant; a pattern means the units in memory that it fits, as there.
pub(super) fn expand(options: &Options, verb: &str, words: &[String]) -> Result<Vec<UnitName>, String> {
    let is_pattern = |word: &&String| word.contains(['*', '?', '[']);
    let Some(client) = Client::connect().filter(|_| options.root.is_none() && words.iter().any(|word| is_pattern(&word))) else {
        return names(verb, words);
    };
    let plain: Vec<String> = words.iter().filter(|word| !is_pattern(word)).cloned().collect();
    let mut all = names(verb, &plain)?;
    for record in records(client, Request::List)?.iter().filter(|record| field(record, "Forgotten").is_none()) {
        let id = field(record, "Id").unwrap_or_default();
        let fits = |pattern: &String| glob(pattern, id) || !pattern.contains('.') && glob(&format!("{pattern}.service"), id);
        // those that list-units shows
        if (options.all || field(record, "ActiveState") != Some("inactive")) && words.iter().filter(is_pattern).any(fits) {
            all.extend(UnitName::parse(id).ok().filter(|name| !all.contains(name)));
        }
    }
    Ok(all)
}

pub(super) fn is_active(options: &Options, client: Client, names: &[UnitName]) -> Outcome {
    is_one_of(options, client, names, &["active", "reloading"], 3)
}

pub(super) fn is_failed(options: &Options, verb: &str, words: &[String]) -> Outcome {
    if words.is_empty() {
        let found = records(connect()?, Request::Manager)?;
        let state = found.first().and_then(|r| field(r, "SystemState")).unwrap_or("unknown").to_owned();
        if !options.quiet {
            output::show(&format!("{state}\n"));
        }
        return Ok(u8::from(state != "degraded"));
    }
    is_one_of(options, connect()?, &expand(options, verb, words)?, &["failed"], 1)
}

/// Prints each unit's state; 0 when any is one of `wanted`, 4 when no unit is known.
fn is_one_of(options: &Options, client: Client, names: &[UnitName], wanted: &[&str], otherwise: u8) -> Outcome {
    let found = records(client, Request::Show(names.to_vec()))?;
    let states: Vec<&str> = found.iter().filter_map(|record| field(record, "ActiveState")).collect();
    if !options.quiet {
        output::show(&states.iter().map(|state| format!("{state}\n")).collect::<String>());
    }
    if states.iter().any(|state| wanted.contains(state)) {
        return Ok(0);
    }
    let unknown = options.release == Release::V262 && found.iter().all(|record| field(record, "LoadState") == Some("not-found"));
    Ok(if unknown { 4 } else { otherwise })
}

/// Every verb that makes jobs.
pub(super) fn jobs(options: &Options, verb: &str, words: &[String]) -> Outcome {
    let mut mode = options.job_mode;
    let units = match verb {
        "default" => vec![UnitName::parse("default.target").map_err(|e| e.why.to_owned())?],
        "isolate" => vec![say::name(verb, words.first().map_or("", String::as_str), Kind::Target)?],
        _ => expand(options, verb, words)?,
    };
    if units.is_empty() {
        return Ok(0);
    }
    if matches!(verb, "isolate" | "default") {
        mode = JobMode::Isolate;
    }
    let kind = match verb {
        "stop" | "condstop" => JobType::Stop,
        "restart" => JobType::Restart,
        "try-restart" | "condrestart" => JobType::TryRestart,
        "reload" => JobType::Reload,
        "reload-or-restart" => return reload_or(options, verb, &units, true),
        "force-reload" | "condreload" | "try-reload-or-restart" | "reload-or-try-restart" => return reload_or(options, verb, &units, false),
        _ => JobType::Start,
    };
    run(options, verb, kind, mode, units)
}

/// Reloads what can be, restarts the rest; those that are down are started, or left alone.
fn reload_or(options: &Options, verb: &str, units: &[UnitName], starts: bool) -> Outcome {
    let found = records(connect()?, Request::Show(units.to_vec()))?;
    let mut status = 0;
    for (unit, record) in units.iter().zip(&found) {
        let up = matches!(field(record, "ActiveState"), Some("active" | "reloading"));
        let kind = match (up, field(record, "CanReload") == Some("yes")) {
            (true, true) => JobType::Reload,
            (false, _) if !starts => JobType::TryRestart,
            _ => JobType::Restart,
        };
        status = run(options, verb, kind, options.job_mode, vec![unit.clone()])?.max(status);
    }
    Ok(status)
}

fn run(options: &Options, verb: &str, kind: JobType, mode: JobMode, units: Vec<UnitName>) -> Outcome {
    let wait = match (options.no_block, options.wait) {
        (true, true) => return Err("--wait may not be combined with --no-block.".to_owned()),
        (true, false) => Wait::Answer,
        (false, false) => Wait::Jobs,
        (false, true) => Wait::Ends,
    };
    let asked = Asked { request: Request::Job(kind, mode, units), wait };
    let mut status = 0;
    let mut ended: Vec<(String, String)> = Vec::new();
    connect()?.ask(&asked, &mut |part| match part {
        Part::Refused { status: code, unit, why } => {
            // one that is not known is said first
            output::tell(format_args!("Failed to {verb} {unit}: {why}"));
            status = status.max(code);
        }
        Part::Finished { unit, result, .. } if result != "done" => ended.push((unit, result)),
        Part::Ended { state, .. } if state == "failed" => status = status.max(1),
        _ => {}
    })?;
    for (unit, result) in ended {
        if result == "skipped" {
            continue;
        }
        if !options.quiet {
            output::tell(format_args!("{}", failed(&unit, &result)));
        }
        status = status.max(1);
    }
    Ok(status)
}

/// Why a job came to nothing.
fn failed(unit: &str, result: &str) -> String {
    match result {
        "canceled" => format!("Job for {unit} canceled."),
        "timeout" => format!("Job for {unit} timed out."),
        "dependency" => format!("A dependency job for {unit} failed. See 'journalctl -xe' for details."),
        "assert" => format!("Assertion failed on job for {unit}."),
        "unsupported" => format!("Operation on or unit type of {unit} not supported on this system."),
        _ => {
            let record = UnitName::parse(unit).ok().and_then(|name| records(Client::connect()?, Request::Show(vec![name])).ok()?.into_iter().next());
            let because = record.as_ref().and_then(|r| field(r, "Result")).and_then(reason);
            let because = because.map_or_else(String::new, |why| format!(" because {why}"));
            format!("Job for {unit} failed{because}.\nSee \"systemctl status {unit}\" and \"journalctl -xeu {unit}\" for details.")
        }
    }
}

fn reason(result: &str) -> Option<&'static str> {
    Some(match result {
        "resources" => "of unavailable resources or another system error",
        "protocol" => "the service did not take the steps required by its unit configuration",
        "timeout" => "a timeout was exceeded",
        "exit-code" => "the control process exited with error code",
        "signal" => "a fatal signal was delivered to the control process",
        "core-dump" => "a fatal signal was delivered causing the control process to dump core",
        "watchdog" => "the service failed to send watchdog ping",
        "start-limit-hit" => "start of the service was attempted too often",
        _ => return None,
    })
}

pub(super) fn kill(options: &Options, verb: &str, words: &[String]) -> Outcome {
    let signal = match options.signal.as_deref() {
        None => Signal::TERM,
        Some(text) => Signal::parse(text).map_err(|_| format!("Failed to parse signal number {text}."))?,
    };
    let whom = match options.whom.as_deref() {
        None | Some("all") => Whom::All,
        Some("main") => Whom::Main,
        Some("control") => Whom::Control,
        Some(other) => return Err(format!("--kill-whom={other}: it is none of main, control, all.")),
    };
    simple(connect()?, Request::Kill(whom, signal.raw(), expand(options, verb, words)?))
}

pub(super) fn reset_failed(options: &Options, verb: &str, words: &[String]) -> Outcome {
    let units = expand(options, verb, words)?;
    // none named is all, a pattern that fits none is none
    if units.is_empty() && !words.is_empty() {
        return Ok(0);
    }
    simple(connect()?, Request::ResetFailed(units))
}

pub(super) fn cancel(_: &Options, _: &str, words: &[String]) -> Outcome {
    let ids: Result<Vec<u32>, String> = words.iter().map(|word| word.parse().map_err(|_| format!("Failed to parse job id \"{word}\""))).collect();
    simple(connect()?, Request::Cancel(ids?))
}

/// A variable as a shell can read it.
fn escaped(pair: &str) -> String {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let is_special = |c: char| c.is_whitespace() || c.is_control() || "\"\\`$*?['()<>|&;!".contains(c);
    if !value.contains(is_special) {
        return pair.to_owned();
    }
    let inner = value.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t");
    format!("{name}=$'{inner}'")
}

/// What is asked of the manager itself and cannot be changed here.
pub(super) fn manager_setting(_: &Options, verb: &str, words: &[String]) -> Outcome {
    running(verb)?;
    if let Some(word) = words.first() {
        return Err(match verb {
            "service-watchdogs" if hostel_unit::boolean(word).is_err() => "Failed to parse service-watchdogs argument: Invalid argument".to_owned(),
            _ => format!("{verb} {word}: it cannot be changed: the log has all, on its console what --log= of hostel init says."),
        });
    }
    Ok(output::show(match verb {
        "log-level" => "info\n",
        "log-target" => "console\n",
        _ => "yes\n",
    }))
}

/// Machines of this host are hostel's to list; from inside there is this one.
pub(super) fn list_machines(options: &Options, verb: &str, patterns: &[String]) -> Outcome {
    let found = records(running(verb)?, Request::Manager)?;
    let get = |name| found.first().and_then(|r| field(r, name)).unwrap_or("0").to_owned();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut rows = vec![vec![format!("{host} (host)"), get("SystemState"), get("NFailedUnits"), get("NJobs")]];
    rows.retain(|_| patterns.is_empty() || patterns.iter().any(|pattern| glob(pattern, &host)));
    triggers::print(options, &["NAME", "STATE", "FAILED", "JOBS"], rows, &triggers::Legend::MACHINES)
}

/// The unit of a process, ours when none is given.
pub(super) fn whoami(options: &Options, verb: &str, words: &[String]) -> Outcome {
    let pids: Vec<u32> =
        words.iter().map(|word| word.parse().map_err(|_| format!("Failed to parse PID {word}: Invalid argument"))).collect::<Result<_, _>>()?;
    let pids = if pids.is_empty() { vec![std::process::id()] } else { pids };
    let found = records(running(verb)?, Request::List)?;
    for pid in pids {
        let has = |record: &&Record| field(record, "Processes").is_some_and(|list| list.split(' ').any(|one| one == pid.to_string()));
        let Some(id) = found.iter().find(has).and_then(|record| field(record, "Id")) else {
            return Err(format!("Failed to get unit for PID {pid}: PID {pid} does not belong to any loaded unit."));
        };
        if !options.quiet {
            output::show(&format!("{id}\n"));
        }
    }
    Ok(0)
}

/// The files that Documentation= names are for a browser or man(1); what there is is shown.
pub(super) fn help(options: &Options, verb: &str, words: &[String]) -> Outcome {
    let names = expand(options, verb, words)?;
    let root = super::root(options)?;
    let catalogue = super::catalogue(options, &root)?;
    let mut status = 0;
    for (name, record) in names.iter().zip(&records(connect()?, Request::Show(names.clone()))?) {
        if field(record, "LoadState") == Some("not-found") {
            output::tell(format_args!("Unit {name} could not be found."));
            status = 1;
            continue;
        }
        let documents = super::status::documents(&catalogue, name);
        let documents: Vec<&str> = documents.split(' ').filter(|d| !d.is_empty()).collect();
        if documents.is_empty() {
            output::tell(format_args!("Documentation for {name} not known."));
        }
        for document in documents {
            let Some(page) = document.strip_prefix("man:") else {
                output::tell(format_args!("Additional documentation for {name} is at: {document}"));
                continue;
            };
            let (page, section) = page.trim_end_matches(')').split_once('(').unwrap_or((page, ""));
            let words = [section, page].into_iter().filter(|word| !word.is_empty());
            match std::process::Command::new("man").args(words).status() {
                Ok(ended) if ended.success() => {}
                Ok(ended) => status = u8::try_from(ended.code().unwrap_or(1)).unwrap_or(1),
                Err(e) => {
                    output::tell(format_args!("Failed to execute man for {document}: {e}"));
                    status = 1;
                }
            }
        }
    }
    Ok(status)
}

pub(super) fn environment(_: &Options, verb: &str, words: &[String]) -> Outcome {
    let client = connect()?;
    match verb {
        "show-environment" => {
            let found = records(client, Request::Environment)?;
            let text: String = found.iter().filter_map(|record| field(record, "Variable")).map(|pair| format!("{}\n", escaped(pair))).collect();
            Ok(output::show(&text))
        }
        "unset-environment" => simple(client, Request::UnsetEnvironment(words.to_vec())),
        "import-environment" => {
            let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
            for name in words.iter().filter(|name| std::env::var_os(name).is_none()) {
                output::tell(format_args!("Environment variable ${name} not set, ignoring."));
            }
            let wanted = |name: &String| words.is_empty() || words.contains(name);
            simple(client, Request::SetEnvironment(all.filter(|(name, _)| wanted(name)).map(|(name, value)| format!("{name}={value}")).collect()))
        }
        _ => simple(client, Request::SetEnvironment(words.to_vec())),
    }
}

pub(super) fn end(options: &Options, verb: &str, words: &[String]) -> Outcome {
    let end = match verb {
        "poweroff" => End::PowerOff,
        "halt" => End::Halt,
        "reboot" if words.is_empty() => End::Reboot,
        "reboot" => return Err("reboot with an argument is not implemented: there is no firmware here.".to_owned()),
        _ => {
            let text = words.first().map_or("0", String::as_str);
            End::Exit(text.parse().map_err(|_| format!("Invalid exit code: {text}"))?)
        }
    };
    if let Some(when) = &options.when {
        return super::called::end_when(verb, end, when);
    }
    simple(running(verb)?, if options.force && verb != "exit" { Request::EndNow(end) } else { Request::End(end) })
}
