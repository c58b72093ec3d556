//! systemctl.py of docker-systemctl-replacement, whose place we take: its own verbs, options and exit statuses, on our manager.
//!
//! Asked for by `--compat=systemctl.py`, by its names, and by being PID 1: `systemctl` as a container's command is its init.
//! What is the same, better, or differs stands in the tables of `replaced/rows.rs`, of which COMPATIBILITY.md is made.

pub(super) mod rows;

use std::ffi::OsString;
use std::process::ExitCode;

use hostel_init::catalogue::Catalogue;
use hostel_init::control::client::Client;
use hostel_init::install::{FileState, Installer};
use hostel_init::journal::console::Form;
use hostel_init::load::{Unit, load};
use hostel_init::manager::query::Request;
use hostel_init::manager::variables::{Environment, read_file};
use hostel_init::pid1::{Ends, Wanted};
use hostel_init::preset::{Presets, Wanted as Preset};
use hostel_spec::Arrange as _;
use hostel_unit::{Kind as UnitKind, UnitName};

use super::options::{self, Asked, Options};
use super::{Outcome, catalogue, dispatch, managed, refuse, root, say};
use crate::output;

/// The original's names.
pub const NAMES: [&str; 3] = ["systemctl.py", "systemctl3.py", "systemctl2.py"];
/// Its journalctl's.
pub const JOURNALS: [&str; 2] = ["journalctl.py", "journalctl3.py"];

/// What its own options ask for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Own {
    /// `-1`: go on as an init.
    pub(super) init: bool,
    /// `-0`, `-00`.
    pub(super) exit: u8,
    /// `-e NAME=VALUE`.
    pub(super) variables: Vec<String>,
    /// What is to be said of options that do nothing here.
    pub(super) notes: Vec<String>,
    /// What is systemctl's.
    pub(super) rest: Vec<OsString>,
}

/// The command line without what says that it is meant for the original; `None`: it is not.
pub(super) fn asked(args: &[OsString]) -> Option<Vec<OsString>> {
    let mut rest = args.to_vec();
    if let Some(at) = rest.iter().position(|arg| arg == "--compat=systemctl.py") {
        rest.remove(at);
        return Some(rest);
    }
    if let Some(at) = rest.windows(2).position(|pair| pair[0] == "--compat" && pair[1] == "systemctl.py") {
        rest.drain(at..at + 2);
        return Some(rest);
    }
    rustix::process::getpid().is_init().then_some(rest)
}

/// Runs `systemctl.py ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    let wrong = |why: &str| {
        refuse(why);
        ExitCode::from(2)
    };
    let args = asked(args).unwrap_or_else(|| args.to_vec());
    let own = match split(&args) {
        Ok(own) => own,
        Err(why) => return wrong(&why),
    };
    for note in &own.notes {
        output::tell(format_args!("{note}"));
    }
    let (options, words) = match options::parse(&own.rest) {
        Ok(Asked::Verb(options, words)) => (options, words),
        Ok(Asked::Help) => return output::print(&help()),
        Ok(Asked::Version) => return output::print(&options::version()),
        Ok(Asked::Text(text)) => return output::print(&text),
        Err(why) => return wrong(&why),
    };
    if options.machine.is_some() {
        return wrong("systemctl.py: -M is not supported: it knows no machines.");
    }
    match act(&own, &options, &words) {
        Ok(status) => ExitCode::from(status),
        Err(why) => refuse(&why),
    }
}

/// Takes its own options out of a command line, whose others are systemctl's.
pub(super) fn split(args: &[OsString]) -> Result<Own, String> {
    let mut own = Own::default();
    let mut words = args.iter().map(|arg| arg.to_str().ok_or_else(|| format!("{arg:?} is not UTF-8")));
    while let Some(arg) = words.next() {
        let arg = arg?;
        if arg == "--" {
            own.rest.push(arg.into());
            own.rest.extend(words.by_ref().collect::<Result<Vec<_>, _>>()?.into_iter().map(OsString::from));
        } else if let Some(long) = arg.strip_prefix("--") {
            let (name, given) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let Some(row) = rows::OPTIONS.iter().find(|row| row.long.contains(&name)) else {
                own.rest.push(arg.into());
                continue;
            };
            let value = match (row.takes, given) {
                (true, None) => words.next().ok_or_else(|| format!("systemctl.py: --{name} option requires 1 argument"))??,
                (false, Some(_)) => return Err(format!("systemctl.py: --{name} option does not take a value")),
                (_, given) => given.unwrap_or_default(),
            };
            take(&mut own, row, value)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            letters(&mut own, arg, &mut words)?;
        } else {
            own.rest.push(arg.into());
        }
    }
    Ok(own)
}

/// A word of short options, which may be of both kinds.
fn letters<'a>(own: &mut Own, arg: &'a str, words: &mut dyn Iterator<Item = Result<&'a str, String>>) -> Result<(), String> {
    let mut kept = String::from("-");
    for (at, letter) in arg.char_indices().skip(1) {
        let glued = arg.get(at + letter.len_utf8()..).unwrap_or_default();
        if let Some(row) = rows::OPTIONS.iter().find(|row| row.short == Some(letter)) {
            if row.takes {
                let value = if glued.is_empty() {
                    words.next().ok_or_else(|| format!("systemctl.py: -{letter} option requires 1 argument"))??
                } else {
                    glued
                };
                take(own, row, value)?;
                break;
            }
            take(own, row, "")?;
            continue;
        }
        kept.push(letter);
        if options::ROWS.iter().any(|row| row.short == Some(letter) && row.value.is_some()) {
            kept.push_str(glued);
            break;
        }
    }
    if kept.len() > 1 {
        own.rest.push(kept.into());
    }
    Ok(())
}

fn take(own: &mut Own, row: &rows::Opt, value: &str) -> Result<(), String> {
    match row.long[0] {
        "init" => own.init = true,
        "exit" => own.exit = own.exit.saturating_add(1),
        "extra-vars" => variable(own, value)?,
        "config" => config(own, value),
        _ => {
            let note = format!("systemctl.py: --{}: {}", row.long[0], row.compared);
            if row.long[0] != "verbose" && !own.notes.contains(&note) {
                own.notes.push(note);
            }
        }
    }
    Ok(())
}

/// `NAME=VALUE`, or with `@FILE` those of a file.
fn variable(own: &mut Own, value: &str) -> Result<(), String> {
    if let Some(path) = value.strip_prefix('@') {
        let text = std::fs::read_to_string(path).map_err(|e| format!("systemctl.py: -e {value}: {e}"))?;
        own.variables.extend(read_file(&text).iter().map(|(name, value)| format!("{name}={value}")));
        return Ok(());
    }
    let is_pair = value.split_once('=').is_some_and(|(name, _)| hostel_init::manager::variables::is_name(name));
    if !is_pair {
        return Err(format!("systemctl.py: -e {value}: it is no NAME=VALUE"));
    }
    own.variables.push(value.to_owned());
    Ok(())
}

/// `-c NAME=VALUE`: inner variables of the original, few of which mean anything here. Unknown ones are told of, as there.
fn config(own: &mut Own, value: &str) {
    let (name, given) = value.split_once('=').unwrap_or((value, "1"));
    let is_yes = matches!(given.to_ascii_lowercase().as_str(), "1" | "y" | "yes" | "true");
    // releases spell them InitMode and INIT_MODE
    match name.replace('_', "").to_ascii_uppercase().as_str() {
        "INITMODE" => own.init = is_yes,
        "EXITMODE" => own.exit = given.parse().unwrap_or(u8::from(is_yes)),
        "EXTRAVARS" => {
            for pair in given.split(',') {
                if let Err(why) = variable(own, pair) {
                    own.notes.push(why);
                }
            }
        }
        short if rows::POLLED.contains(&short) => own.notes.push(format!("systemctl.py: -c {value}: without effect: nothing is polled here")),
        _ => own.notes.push(format!("systemctl.py: -c {value}: (ignored) there is no such variable here")),
    }
}

fn act(own: &Own, options: &Options, words: &[String]) -> Outcome {
    let is_init = own.init || rustix::process::getpid().is_init();
    let verb = words.first().map_or(if is_init { "default" } else { "list-units" }, String::as_str);
    let units: Vec<String> = words.iter().skip(1).filter(|word| *word != "service").cloned().collect();
    if options.root.is_none() && super::systemd_runs() {
        return Err(super::live::point_to_systemd());
    }
    match verb {
        "init" => return serve(own, options, units),
        "default" | "start" | "listen" if is_init => return serve(own, options, units),
        _ => {}
    }
    if !own.variables.is_empty() && !matches!(verb, "environment" | "command") {
        managed::simple(managed::connect()?, Request::SetEnvironment(own.variables.clone()))?;
    }
    let all = || -> Vec<String> { std::iter::once(verb.to_owned()).chain(units.clone()).collect() };
    match verb {
        "start" | "stop" | "restart" | "reload" if units.is_empty() => Ok(0),
        "default-services" => default_services(options, &units),
        "environment" => environment(own, options, &units),
        "command" => command(options, &units),
        "get-preset" => get_preset(options, &units),
        "log" | "logs" => log(options, &units),
        "reap-zombies" => Ok(0),
        "version" => Ok(output::show(&options::version())),
        "help" => Ok(output::show(&help())),
        "list-start-dependencies" => {
            let options = Options { dry_run: true, ..options.clone() };
            super::plan::start(&options, &units)
        }
        "is-active" => is_active(options, &units),
        "listen" => {
            let mut words = all();
            "start".clone_into(&mut words[0]);
            dispatch(options, &words)
        }
        _ if verb.starts_with("__") => Err(format!("{verb}: inner verbs of systemctl.py's own tests are not here.")),
        _ => {
            // its links are of the unit's state before
            let before = if matches!(verb, "enable" | "mask") { states(options, &units)? } else { Vec::new() };
            Ok(judged(verb, dispatch(options, &all())?, &before))
        }
    }
}

/// Its exit status, where it has another one.
fn judged(verb: &str, status: u8, before: &[Option<FileState>]) -> u8 {
    match (verb, status) {
        ("reload", 3) => 0,
        ("set-default", 1) => 3,
        ("enable", 0) if before.contains(&Some(FileState::Static)) => 1,
        ("mask", 0) if before.contains(&None) => 5,
        (_, status) => status,
    }
}

fn states(options: &Options, words: &[String]) -> Result<Vec<Option<FileState>>, String> {
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let installer = Installer { catalogue: &catalogue, runtime: false, force: false };
    let names = words.iter().filter(|word| !word.contains('/')).map(|word| say::name("", word, UnitKind::Service));
    names.map(|name| Ok(installer.state(&name?, &mut Vec::new()).ok())).collect()
}

/// The init loop: as PID 1, or below another process.
fn serve(own: &Own, options: &Options, units: Vec<String>) -> Outcome {
    let environment = own.variables.clone();
    let ends = match own.exit {
        0 => Ends::WhenTold,
        1 => Ends::WithoutProcesses,
        _ => Ends::WithoutServices,
    };
    let idle = units.is_empty() && options.now;
    hostel_init::pid1::run(&Wanted {
        units,
        log: Form::Lines,
        generators: Default::default(),
        on_demand: false,
        idle,
        ends,
        pass: Some(Vec::new()),
        environment,
    })
}

/// 0 only when all are active; what is not known is `unknown`.
fn is_active(options: &Options, words: &[String]) -> Outcome {
    let names = say::names("is-active", words)?;
    let Some(client) = Client::connect().filter(|_| options.root.is_none()) else {
        let known = states(options, words)?;
        if !options.quiet {
            output::show(&known.iter().map(|state| if state.is_some() { "inactive\n" } else { "unknown\n" }).collect::<String>());
        }
        return Ok(3);
    };
    let found = managed::records(client, Request::Show(names))?;
    let word = |record: &managed::Record| {
        let is_unknown = managed::field(record, "LoadState") == Some("not-found");
        if is_unknown { "unknown".to_owned() } else { managed::field(record, "ActiveState").unwrap_or("unknown").to_owned() }
    };
    let words: Vec<String> = found.iter().map(word).collect();
    if !options.quiet {
        output::show(&words.iter().map(|word| format!("{word}\n")).collect::<String>());
    }
    Ok(if words.iter().all(|word| word == "active") { 0 } else { 3 })
}

/// Services (and sockets, which start some) that a start of the target starts.
fn default_services(options: &Options, words: &[String]) -> Outcome {
    use hostel_init::depend::Graph;
    use hostel_init::load::load_with_ours;
    use hostel_init::transaction::{JobMode, JobType, transaction};
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let target = say::name("", words.first().map_or("default.target", String::as_str), UnitKind::Target)?;
    let names = [target];
    let known = |name: &UnitName| catalogue.has(name.as_str()) || hostel_init::manager::builtin::target(name.as_str()).is_some();
    let graph = Graph::of(&names, catalogue.search.scope, &mut |name| load_with_ours(&catalogue, name).into(), &known);
    let found = transaction(&graph, &names[0], JobType::Start, JobMode::Replace).map_err(|fault| format!("Failed to read {}: {fault}", names[0]))?;
    let counts = |kind| matches!(kind, UnitKind::Service | UnitKind::Socket);
    let is_ours = |name: &str| !name.starts_with("systemd-");
    let mut list: Vec<&str> = found.jobs.iter().filter(|job| counts(job.unit.kind())).map(|job| job.unit.as_str()).collect();
    list.retain(|name| options.all || is_ours(name));
    list.arrange();
    Ok(output::show(&list.iter().map(|name| format!("{name}\n")).collect::<String>()))
}

/// What the files of a unit give its commands, and what `-e` adds.
fn environment(own: &Own, options: &Options, words: &[String]) -> Outcome {
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    for name in say::names("environment", words)? {
        let Some(unit) = loaded(&catalogue, &name) else { return Ok(1) };
        let mut found = Environment::default();
        for pair in unit.settings.words("Service", "Environment") {
            found.assign(pair);
        }
        for setting in unit.settings.of("Service", "EnvironmentFile") {
            let path = setting.text().trim();
            let (path, optional) = path.strip_prefix('-').map_or((path, false), |path| (path, true));
            match root.read(path) {
                Ok(bytes) => read_file(&String::from_utf8_lossy(&bytes)).iter().for_each(|(name, value)| found.set(name, value)),
                Err(_) if optional => {}
                Err(e) => return Err(format!("Failed to read {}: {}", root.shown(path), e.cause)),
            }
        }
        for pair in &own.variables {
            found.assign(pair);
        }
        output::show(&found.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>());
    }
    Ok(0)
}

/// A unit by its files; `None`: there is none, of which has been told.
fn loaded(catalogue: &Catalogue<'_>, name: &UnitName) -> Option<Unit> {
    let unit = load(catalogue, name);
    if !unit.is_loaded() {
        output::tell(format_args!("Unit {name} not found."));
        return None;
    }
    Some(unit)
}

/// The lines of ExecStart=.
fn command(options: &Options, words: &[String]) -> Outcome {
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    for name in say::names("command", words)? {
        let Some(unit) = loaded(&catalogue, &name) else { return Ok(1) };
        output::show(&unit.settings.commands("Service", "ExecStart").map(|command| format!("{}\n", command.argv.join(" "))).collect::<String>());
    }
    Ok(0)
}

fn get_preset(options: &Options, words: &[String]) -> Outcome {
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let presets = Presets::read(&root, &catalogue.search);
    let mut status = 0;
    for name in say::names("get-preset", words)? {
        match presets.query(&name) {
            Preset::Enabled(_) => drop(output::show("enable\n")),
            Preset::Disabled => drop(output::show("disable\n")),
            Preset::Ignored => status = 1,
        }
    }
    Ok(status)
}

/// A unit's log: journalctl's words.
fn log(options: &Options, words: &[String]) -> Outcome {
    let mut args: Vec<OsString> = words.iter().map(|unit| format!("--unit={unit}").into()).collect();
    if args.is_empty() {
        return Err("log: which unit?".to_owned());
    }
    // there -f is of this verb, here of enable's, too
    if options.force {
        args.push("-f".into());
    }
    if let Some(lines) = options.lines_given {
        args.push(format!("-n{lines}").into());
    }
    if let Some(root) = &options.root {
        args.push("--root".into());
        args.push(root.into());
    }
    Ok(crate::personality::journalctl::status(&args))
}

fn help() -> String {
    let verbs: Vec<&str> = rows::VERBS.iter().map(|row| row.0).collect();
    format!(
        "systemctl.py [OPTIONS...] COMMAND ...\n\nhostel in the place of docker-systemctl-replacement. `systemctl --help` has what it shares with systemd's.\n\n\
         Commands with that tool's words or exit statuses:\n  {}\n",
        output::wrap(&verbs.join(" "), 2, 100)
    )
}
