//! Methods about unit files: what is enabled, and links made and removed.

use hostel_ipc::dbus::{Type, Value};
use hostel_spec::Arrange as _;
use hostel_unit::UnitName;

use super::call::{Arguments, Outcome, unit_name};
use super::fault::Fault;
use crate::install::{self, Change, Installer, PresetMode, Target};
use crate::load::LinkKind;
use crate::manager::Manager;
use crate::preset::{Presets, glob};
use crate::root::Entry;

/// Bits of the …WithFlags methods.
const RUNTIME: u64 = 1;
const FORCE: u64 = 2;

fn row(fields: &[&str]) -> Value {
    Value::Struct(fields.iter().map(|field| Value::text(*field)).collect())
}

fn rows(width: usize, rows: Vec<Value>) -> Value {
    Value::Array(Type::Struct(vec![Type::Basic(b's'); width]), rows)
}

/// `a(sss)`: what was done, where, and what it leads to.
fn changes(outcome: &install::Outcome) -> Value {
    let mut out = Vec::new();
    for change in &outcome.changes {
        out.push(match change {
            Change::Linked { path, target } => row(&["symlink", path, target]),
            Change::Removed(path) => row(&["unlink", path, ""]),
            Change::MaskedPassedOver(path) => row(&["masked", path, ""]),
            Change::DanglingPassedOver(path) => row(&["dangling", path, ""]),
            Change::AuxiliaryMissing(name) => row(&["auxiliary unit not present", name, ""]),
            Change::NoDestination { path, by } => row(&["destination unit not present", path, by]),
            Change::Line { .. } | Change::Failed(_) => continue,
        });
    }
    rows(3, out)
}

/// The result: with or without whether there was something to install.
fn done(outcome: &install::Outcome, with_rules: bool) -> Outcome {
    if let Some(refusal) = outcome.failure() {
        return Err(Fault::of_install(refusal));
    }
    let mut out = vec![changes(outcome)];
    if with_rules {
        out.insert(0, Value::Bool(outcome.rules.is_none_or(|rules| rules > 0)));
    }
    Ok(out)
}

fn targets(words: &[String]) -> Result<Vec<Target>, Fault> {
    words.iter().map(|word| if word.starts_with('/') { Ok(Target::Path(word.clone())) } else { unit_name(word).map(Target::Name) }).collect()
}

fn names(words: &[String]) -> Result<Vec<UnitName>, Fault> {
    words.iter().map(|word| unit_name(word)).collect()
}

/// Answers a method about unit files; `None`: it is none.
pub(super) fn call(manager: &Manager, method: &str, arguments: &Arguments) -> Option<Outcome> {
    let is_about_files = method.contains("UnitFile") || method.ends_with("DefaultTarget");
    is_about_files.then(|| manager.fresh_catalogue().map_err(Fault::failed).and_then(|catalogue| answer(manager, &catalogue, method, arguments)))
}

fn answer(manager: &Manager, catalogue: &crate::catalogue::Catalogue<'static>, method: &str, a: &Arguments) -> Outcome {
    let with = |runtime, force| Installer { catalogue, runtime, force };
    let presets = || Presets::read(manager.root(), manager.search());
    match method {
        "ListUnitFiles" | "ListUnitFilesByPatterns" => Ok(vec![list(&with(false, false), &a.texts(0), &a.texts(1))]),
        "GetUnitFileState" => match with(false, false).state(&unit_name(a.text(0))?, &mut Vec::new()) {
            Ok(state) => Ok(vec![Value::text(state.word())]),
            Err(install::Refusal::Missing(_) | install::Refusal::Dangling(_)) => Err(Fault::dbus("FileNotFound", "No such file or directory")),
            Err(refusal) => Err(Fault::of_install(&refusal)),
        },
        "EnableUnitFiles" => done(&with(a.flag(1), a.flag(2)).enable(&targets(&a.texts(0))?), true),
        "EnableUnitFilesWithFlags" => {
            let flags = flags(a.number(1))?;
            done(&with(flags & RUNTIME != 0, flags & FORCE != 0).enable(&targets(&a.texts(0))?), true)
        }
        "DisableUnitFiles" => disable(&with(a.flag(1), false), a, false),
        "DisableUnitFilesWithFlags" => disable(&with(flags(a.number(1))? & RUNTIME != 0, false), a, false),
        "DisableUnitFilesWithFlagsAndInstallInfo" => disable(&with(flags(a.number(1))? & RUNTIME != 0, false), a, true),
        "ReenableUnitFiles" => {
            let (runtime, force) = (a.flag(1), a.flag(2));
            let names = names(&a.texts(0))?;
            let mut first = with(runtime, force).disable(&names);
            if first.failure().is_some() {
                return done(&first, true);
            }
            let after = manager.fresh_catalogue().map_err(Fault::failed)?;
            let second = Installer { catalogue: &after, runtime, force }.enable(&targets(&a.texts(0))?);
            first.changes.extend(second.changes);
            first.rules = second.rules;
            done(&first, true)
        }
        "LinkUnitFiles" => done(&with(a.flag(1), a.flag(2)).link(&a.texts(0)), false),
        "PresetUnitFiles" => done(&with(a.flag(1), a.flag(2)).preset(&names(&a.texts(0))?, &presets(), PresetMode::Full), true),
        "PresetUnitFilesWithMode" => done(&with(a.flag(2), a.flag(3)).preset(&names(&a.texts(0))?, &presets(), mode(a.text(1))?), true),
        "PresetAllUnitFiles" => done(&with(a.flag(1), a.flag(2)).preset_all(&presets(), mode(a.text(0))?), false),
        "MaskUnitFiles" => done(&with(a.flag(1), a.flag(2)).mask(&names(&a.texts(0))?), false),
        "UnmaskUnitFiles" => done(&with(a.flag(1), false).unmask(&names(&a.texts(0))?), false),
        "RevertUnitFiles" => done(&with(false, false).revert(&names(&a.texts(0))?), false),
        "SetDefaultTarget" if !a.text(0).ends_with(".target") => Err(Fault::invalid("Invalid argument")),
        "SetDefaultTarget" => done(&with(false, a.flag(1)).set_default(&unit_name(a.text(0))?), false),
        "GetDefaultTarget" => match with(false, false).default_target() {
            Ok(name) => Ok(vec![Value::text(name.as_str())]),
            Err(refusal) => Err(Fault::of_install(&refusal)),
        },
        "AddDependencyUnitFiles" => {
            let kind = match a.text(2) {
                "Wants" => LinkKind::Wants,
                "Requires" => LinkKind::Requires,
                other => return Err(Fault::invalid(format!("{other:?} is neither Wants nor Requires."))),
            };
            done(&with(a.flag(3), a.flag(4)).add_dependency(&unit_name(a.text(1))?, kind, &targets(&a.texts(0))?), false)
        }
        "GetUnitFileLinks" => Ok(vec![Value::texts(links(&with(a.flag(1), false), &unit_name(a.text(0))?))]),
        other => Err(Fault::dbus("UnknownMethod", format!("There is no method {other}."))),
    }
}

fn disable(installer: &Installer<'_, '_>, a: &Arguments, with_rules: bool) -> Outcome {
    let names = names(&a.texts(0))?;
    let mut outcome = installer.disable(&names);
    // what is not there is no fault where something was done
    if outcome.changes.iter().any(|change| matches!(change, Change::Removed(_))) {
        outcome.changes.retain(|change| !matches!(change, Change::Failed(install::Refusal::Missing(_))));
    }
    if with_rules {
        // whether what was disabled could be enabled again
        outcome.rules = Some(usize::from(names.iter().any(|name| installer.has_rules(name))));
    }
    done(&outcome, with_rules)
}

fn flags(flags: u64) -> Result<u64, Fault> {
    if flags & !(RUNTIME | FORCE) == 0 { Ok(flags) } else { Err(Fault::invalid(format!("Flags {flags:#x} are not known here."))) }
}

fn mode(word: &str) -> Result<PresetMode, Fault> {
    Ok(match word {
        "" | "full" => PresetMode::Full,
        "enable-only" => PresetMode::EnableOnly,
        "disable-only" => PresetMode::DisableOnly,
        other => return Err(Fault::invalid(format!("{other:?} is no preset mode."))),
    })
}

/// `a(ss)`: path and state.
fn list(installer: &Installer<'_, '_>, states: &[String], patterns: &[String]) -> Value {
    let places = installer.catalogue.names();
    let mut out = Vec::new();
    for (name, state) in installer.list().0 {
        let fits = (states.is_empty() || states.iter().any(|word| word == state.word()))
            && (patterns.is_empty() || patterns.iter().any(|pattern| glob(pattern, name.as_str())));
        if let Some(place) = places.get(&name).filter(|_| fits) {
            out.push(row(&[&format!("{}/{name}", place.path), state.word()]));
        }
    }
    rows(2, out)
}

/// Links below the directory of enabled units that bear a unit's name or lead to it.
fn links(installer: &Installer<'_, '_>, name: &UnitName) -> Vec<String> {
    let catalogue = installer.catalogue;
    let top = catalogue.search.config(installer.runtime).to_owned();
    let mut out = Vec::new();
    for (entry_name, entry) in catalogue.root.list(&top).ok().flatten().unwrap_or_default() {
        let path = format!("{top}/{entry_name}");
        match entry {
            Entry::Link(target) => {
                let base = target.rsplit_once('/').map_or(target.as_str(), |(_, base)| base);
                if base == name.as_str() || entry_name == name.as_str() {
                    out.push(path);
                }
            }
            Entry::Directory if [".wants", ".requires", ".upholds"].iter().any(|end| entry_name.ends_with(end)) => {
                let inside = catalogue.root.list(&path).ok().flatten().unwrap_or_default();
                let own = inside.into_iter().filter(|(link, entry)| link == name.as_str() && matches!(entry, Entry::Link(_)));
                out.extend(own.map(|(link, _)| format!("{path}/{link}")));
            }
            _ => {}
        }
    }
    out.arrange();
    out
}
