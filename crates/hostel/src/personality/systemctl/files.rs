//! Verbs that change unit files and links to them.

use hostel_init::catalogue::Catalogue;
use hostel_init::control::client::Client;
use hostel_init::install::{self, Installer, Refusal, Target};
use hostel_init::load::LinkKind;
use hostel_init::manager::query::Request;
use hostel_init::preset::Presets;
use hostel_init::root::Root;
use hostel_unit::{Kind, UnitName};

use super::options::{Options, Release};
use super::say::{Voice, name, names, plain};
use super::{Outcome, catalogue, managed, root};
use crate::output;

/// Runs one verb of the installer and says what it did.
fn with(options: &Options, verb: &str, run: impl FnOnce(&Installer<'_, '_>) -> install::Outcome) -> Result<install::Outcome, String> {
    // --now needs somebody to start things; nothing is changed before that is known
    if options.now && ["enable", "disable", "reenable", "mask"].contains(&verb) {
        if options.root.is_some() {
            return Err("--now cannot be used with --root=.".to_owned());
        }
        managed::connect().map(drop)?;
    }
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let outcome = run(&Installer { catalogue: &catalogue, runtime: options.runtime, force: options.force });
    Voice::new(options, &root, verb).say(&outcome);
    if options.root.is_none() && !options.no_reload && !outcome.changes.is_empty() {
        reload()?;
    }
    Ok(outcome)
}

/// The manager that runs here, if one does, reads the files again.
pub(super) fn reload() -> Result<(), String> {
    Client::connect().map_or(Ok(()), |client| managed::simple(client, Request::Reload).map(drop))
}

/// `--now`: what was enabled is started, what was disabled or masked is stopped.
fn and_now(options: &Options, verb: &str, words: &[String], status: u8) -> Outcome {
    if !options.now || status != 0 {
        return Ok(status);
    }
    let names: Vec<String> = words.iter().map(|word| word.rsplit('/').next().unwrap_or(word).to_owned()).collect();
    managed::jobs(options, verb, &names)
}

fn status(outcome: &install::Outcome) -> u8 {
    u8::from(outcome.failure().is_some())
}

/// What was typed: names, and paths of files.
fn targets(verb: &str, words: &[String]) -> Result<Vec<Target>, String> {
    words
        .iter()
        .map(|word| if word.contains('/') { path(word).map(Target::Path) } else { name(verb, word, Kind::Service).map(Target::Name) })
        .collect()
}

/// A path of the tree: absolute, the way it was typed.
fn path(word: &str) -> Result<String, String> {
    if word.starts_with('/') {
        return Ok(word.to_owned());
    }
    let here = std::env::current_dir().map_err(|e| format!("Failed to find the current directory: {e}"))?;
    Ok(format!("{}/{}", here.display(), word.trim_end_matches('/')))
}

const NOTHING_TO_ENABLE: &str = "\
The unit files have no installation config (WantedBy=, RequiredBy=, Also=,
Alias= settings in the [Install] section, and DefaultInstance= for template
units), so there is nothing to enable. Other units, sockets, timers, paths or
D-Bus may start them; of a template an instance can be enabled by its name.";

pub(super) fn enable(options: &Options, words: &[String]) -> Outcome {
    let native = super::sysv::redirect(options, "enable", words)?;
    if native.is_empty() && !words.is_empty() {
        return and_now(options, "start", words, 0);
    }
    let targets = targets("enable", &native)?;
    let outcome = with(options, "enable", |installer| installer.enable(&targets))?;
    hint(options, &outcome);
    and_now(options, "start", words, status(&outcome))
}

fn hint(options: &Options, outcome: &install::Outcome) {
    if outcome.rules == Some(0) && outcome.failure().is_none() && !options.quiet && !options.no_warn {
        output::tell(format_args!("{NOTHING_TO_ENABLE}"));
    }
}

pub(super) fn disable(options: &Options, words: &[String]) -> Outcome {
    let native = super::sysv::redirect(options, "disable", words)?;
    if native.is_empty() && !words.is_empty() {
        return and_now(options, "stop", words, 0);
    }
    let names = names("disable", &native)?;
    let outcome = with(options, "disable", |installer| installer.disable(&names))?;
    // what is not there is told of, and was no failure until 253
    let removed = outcome.changes.iter().any(|c| matches!(c, install::Change::Removed(_)));
    if options.release == Release::V262 && !removed {
        hint(options, &outcome);
    }
    let only_missing = outcome.changes.iter().all(|c| !matches!(c, install::Change::Failed(r) if !matches!(r, Refusal::Missing(_))));
    let status = if options.release == Release::V252 && only_missing { 0 } else { status(&outcome) };
    and_now(options, "stop", words, status)
}

pub(super) fn reenable(options: &Options, words: &[String]) -> Outcome {
    let targets = targets("reenable", words)?;
    let bases: Vec<UnitName> = words.iter().map(|word| name("", word.rsplit('/').next().unwrap_or(word), Kind::Service)).collect::<Result<_, _>>()?;
    let removed = with(options, "reenable", |installer| {
        let mut outcome = installer.disable(&bases);
        // that it is not there is said once, by what follows
        outcome.changes.retain(|c| !matches!(c, install::Change::Failed(Refusal::Missing(_))));
        outcome
    })?;
    if removed.failure().is_some() {
        return Ok(1);
    }
    let outcome = with(options, "reenable", |installer| installer.enable(&targets))?;
    hint(options, &outcome);
    and_now(options, "start", words, status(&outcome))
}

pub(super) fn preset(options: &Options, words: &[String]) -> Outcome {
    let names = names("preset", words)?;
    let mode = options.preset_mode;
    let outcome = with(options, "preset", |installer| installer.preset(&names, &presets(installer), mode))?;
    Ok(status(&outcome))
}

pub(super) fn preset_all(options: &Options, _: &[String]) -> Outcome {
    let mode = options.preset_mode;
    let outcome = with(options, "preset", |installer| installer.preset_all(&presets(installer), mode))?;
    Ok(status(&outcome))
}

fn presets(installer: &Installer<'_, '_>) -> Presets {
    Presets::read(installer.catalogue.root, &installer.catalogue.search)
}

pub(super) fn mask(options: &Options, words: &[String]) -> Outcome {
    let names = names("mask", words)?;
    let outcome = with(options, "mask", |installer| installer.mask(&names))?;
    and_now(options, "stop", words, status(&outcome))
}

pub(super) fn unmask(options: &Options, words: &[String]) -> Outcome {
    let names = names("unmask", words)?;
    with(options, "unmask", |installer| installer.unmask(&names)).map(|o| status(&o))
}

pub(super) fn link(options: &Options, words: &[String]) -> Outcome {
    let paths: Vec<String> = words.iter().map(|word| path(word)).collect::<Result<_, _>>()?;
    with(options, "link", |installer| installer.link(&paths)).map(|o| status(&o))
}

pub(super) fn revert(options: &Options, words: &[String]) -> Outcome {
    let names = names("revert", words)?;
    with(options, "revert", |installer| installer.revert(&names)).map(|o| status(&o))
}

pub(super) fn add_wants(options: &Options, words: &[String]) -> Outcome {
    add(options, "add-wants", words, LinkKind::Wants)
}

pub(super) fn add_requires(options: &Options, words: &[String]) -> Outcome {
    add(options, "add-requires", words, LinkKind::Requires)
}

fn add(options: &Options, verb: &str, words: &[String], kind: LinkKind) -> Outcome {
    let target = name(verb, &words[0], Kind::Target)?;
    let units = targets(verb, &words[1..])?;
    let outcome = with(options, "add dependency on", |installer| installer.add_dependency(&target, kind, &units))?;
    Ok(status(&outcome))
}

pub(super) fn get_default(options: &Options, _: &[String]) -> Outcome {
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let installer = Installer { catalogue: &catalogue, runtime: false, force: false };
    match installer.default_target() {
        Ok(name) => Ok(output::show(&format!("{name}\n"))),
        Err(refusal) => Err(format!("Failed to get default target: {}", reason(&refusal))),
    }
}

pub(super) fn set_default(options: &Options, words: &[String]) -> Outcome {
    let name = name("set-default", &words[0], Kind::Target)?;
    if name.kind() != Kind::Target || name.as_str() == "default.target" {
        let what = if options.release == Release::V252 { "" } else { " units" };
        return Err(format!("Failed to set default{what}: Invalid argument."));
    }
    with(options, "set default", |installer| installer.set_default(&name)).map(|o| status(&o))
}

/// A refusal as the errno that systemd makes of it.
fn reason(refusal: &Refusal) -> String {
    use rustix::io::Errno;
    match refusal {
        Refusal::Missing(_) | Refusal::Dangling(_) => plain(Errno::NOENT),
        Refusal::Wrong(..) => plain(Errno::LOOP),
        Refusal::Masked(path) => format!("Unit {path} is masked"),
        Refusal::File(_, errno) => plain(*errno),
        Refusal::Root(e) => e.cause.to_string(),
        other => format!("{other:?}"),
    }
}

pub(super) fn is_enabled(options: &Options, words: &[String]) -> Outcome {
    let names = names("is-enabled", words)?;
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let (text, status, fault) = states(options, &root, &catalogue, &names);
    if !options.quiet && !text.is_empty() {
        output::show(&text);
    }
    if let Some(fault) = fault {
        output::tell(format_args!("{fault}"));
    }
    Ok(status)
}

/// One line per unit; the status; what ended it.
fn states(options: &Options, root: &Root, catalogue: &Catalogue<'_>, names: &[UnitName]) -> (String, u8, Option<String>) {
    let installer = Installer { catalogue, runtime: false, force: false };
    let mut text = String::new();
    let mut enabled = false;
    let mut missing = 0;
    let mut changes = Vec::new();
    for name in names {
        if let Some(stem) = super::sysv::script(root, catalogue, name) {
            if !options.quiet {
                output::tell(format_args!("{name} is not a native service, redirecting to systemd-sysv-install."));
            }
            let is_enabled = super::sysv::is_enabled(root, &stem);
            enabled |= is_enabled;
            text.push_str(if is_enabled { "enabled\n" } else { "disabled\n" });
            continue;
        }
        match installer.state(name, &mut changes) {
            Ok(state) => {
                enabled |= state.counts_as_enabled();
                text.push_str(state.word());
            }
            Err(Refusal::Missing(_) | Refusal::Dangling(_)) if options.release == Release::V262 => {
                missing += 1;
                text.push_str("not-found");
            }
            Err(refusal) => return (text, 1, Some(format!("Failed to get unit file state for {name}: {}", reason(&refusal)))),
        }
        text.push('\n');
    }
    Voice::new(options, root, "is-enabled").say(&install::Outcome { changes, rules: None });
    (
        text,
        if enabled {
            0
        } else if missing == names.len() {
            4
        } else {
            1
        },
        None,
    )
}
