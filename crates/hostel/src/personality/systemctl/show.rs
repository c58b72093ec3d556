//! `cat` and `show`: what files say.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hostel_init::catalogue::Catalogue;
use hostel_init::depend::{Relation, dependencies};
use hostel_init::install::Installer;
use hostel_init::load::{LoadState, Setting, Unit, load};
use hostel_init::preset::Presets;
use hostel_init::root::Root;
use hostel_init::value::{Memory, Value};
use hostel_spec::{Arrange as _, Gather as _};
use hostel_unit::{Span, UnitName, show_span};

use super::options::Options;
use super::say::names;
use super::{Outcome, catalogue, root};
use crate::output;

pub(super) fn cat(options: &Options, words: &[String]) -> Outcome {
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let mut first = true;
    let mut status = 0;
    for name in names("cat", words)? {
        let unit = load(&catalogue, &name);
        let Some(fragment) = unit.fragment.as_ref().filter(|_| unit.state != LoadState::NotFound) else {
            output::tell(format_args!("No files found for {name}."));
            status = 1;
            continue;
        };
        if unit.state == LoadState::Masked {
            output::tell(format_args!("# Unit {name} is masked."));
            continue;
        }
        for path in std::iter::once(fragment).chain(&unit.dropins) {
            let bytes = root.read(path).map_err(|e| format!("Failed to cat {}: {}", root.shown(path), e.cause))?;
            let gap = if first { "" } else { "\n" };
            first = false;
            let text = String::from_utf8_lossy(&bytes);
            let end = if text.ends_with('\n') { "" } else { "\n" };
            output::show(&format!("{gap}# {}\n{text}{end}", root.shown(path)));
        }
    }
    Ok(status)
}

pub(super) fn show(options: &Options, words: &[String]) -> Outcome {
    let root = root(options)?;
    let mut text = String::new();
    let mut bus = if options.root.is_none() { super::properties::connect() } else { None };
    if words.is_empty() {
        let found = bus.as_mut().and_then(|bus| super::properties::of(bus, None)).ok_or("Too few arguments.")?;
        of_manager(options, &found, &mut text);
        return Ok(output::show(&text));
    }
    let catalogue = catalogue(options, &root)?;
    let presets = Presets::read(&root, &catalogue.search);
    let mut objects = Vec::new();
    for (i, name) in super::managed::expand(options, "show", words)?.iter().enumerate() {
        if i > 0 && !options.json {
            text.push('\n');
        }
        let mut all = properties(&root, &catalogue, &presets, name);
        if options.root.is_none() {
            super::status::overlay(name, &mut all)?;
        }
        if let Some(found) = bus.as_mut().filter(|_| !options.json).and_then(|bus| super::properties::of(bus, Some(name))) {
            of_manager(options, &found, &mut text);
            // what is ours and not on the bus
            let is_ours = |key: &String| all.contains_key(key) && found.iter().all(|(known, _)| known != key);
            let asked = options.properties.iter().filter(|key| is_ours(key));
            let more = all.keys().filter(|key| options.properties.is_empty() && key.starts_with("X-"));
            for key in asked.chain(more) {
                let _ = if options.value { writeln!(text, "{}", all[key]) } else { writeln!(text, "{key}={}", all[key]) };
            }
            continue;
        }
        let wanted: Vec<(&str, &str)> = if options.properties.is_empty() {
            all.iter().map(|(key, value)| (key.as_str(), value.as_str())).filter(|(_, value)| options.all || !value.is_empty()).collect()
        } else {
            options.properties.iter().filter_map(|key| Some((key.as_str(), all.get(key)?.as_str()))).collect()
        };
        if options.json {
            objects.push(wanted.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).gather::<BTreeMap<_, _>>());
            continue;
        }
        for (key, value) in wanted {
            // writing to a String cannot fail
            let _ = if options.value { writeln!(text, "{value}") } else { writeln!(text, "{key}={value}") };
        }
    }
    Ok(if options.json { output::show_json(&objects) } else { output::show(&text) })
}

/// Properties of the private bus, in its order.
fn of_manager(options: &Options, found: &[(String, hostel_ipc::dbus::Value)], text: &mut String) {
    for (key, value) in found.iter().filter(|(key, _)| options.properties.is_empty() || options.properties.contains(key)) {
        let Some(lines) = super::properties::lines(key, value) else { continue };
        let shows_empty = options.all || !options.properties.is_empty();
        let lines = if lines.is_empty() { vec![String::new()] } else { lines };
        for line in lines.iter().filter(|line| shows_empty || !line.is_empty()) {
            let _ = if options.value { writeln!(text, "{line}") } else { writeln!(text, "{key}={line}") };
        }
    }
}

/// Properties as systemd names them, sorted; of a unit at rest.
fn properties(root: &Root, catalogue: &Catalogue<'_>, presets: &Presets, name: &UnitName) -> BTreeMap<String, String> {
    let unit = load(catalogue, name);
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |key: &str, value: String| {
        all.insert(key.to_owned(), value);
    };
    set("Id", unit.name.to_string());
    let names: Vec<&str> = std::iter::once(&unit.name).chain(&unit.aliases).map(UnitName::as_str).collect();
    set("Names", names.join(" "));
    set("LoadState", unit.state.word().to_owned());
    if let LoadState::Error(why) | LoadState::BadSetting(why) = &unit.state {
        set("LoadError", why.clone());
    }
    set("ActiveState", "inactive".to_owned());
    set("SubState", "dead".to_owned());
    set("NeedDaemonReload", "no".to_owned());
    set("Description", unit.description().to_owned());
    let fragment = unit.fragment.as_deref().map(|p| root.shown(p)).unwrap_or_default();
    // a script's unit file is made up
    set("FragmentPath", if unit.is_script { String::new() } else { fragment });
    set("DropInPaths", unit.dropins.iter().map(|p| root.shown(p)).collect::<Vec<_>>().join(" "));
    let installer = Installer { catalogue, runtime: false, force: false };
    if let Ok(state) = installer.state(&unit.name, &mut Vec::new()) {
        set("UnitFileState", state.word().to_owned());
        set("UnitFilePreset", presets.query(&unit.name).word().to_owned());
    }
    if unit.is_loaded() {
        let found = dependencies(&unit, catalogue.search.scope, &|n| catalogue.has(n.as_str()));
        for (relation, key) in Relation::ALL {
            let mut list: Vec<&str> = found.iter().filter(|d| d.relation == relation).map(|d| d.to.as_str()).collect();
            list.arrange();
            set(key, list.join(" "));
        }
        settings(&unit, &mut set);
    }
    all
}

/// What the files set, a line for each property.
fn settings(unit: &Unit, set: &mut dyn FnMut(&str, String)) {
    let mut by_key: BTreeMap<String, Vec<&Setting>> = BTreeMap::new();
    for setting in unit.settings.iter().filter(|s| s.section != "Install" && !matches!(s.value, Value::Units(_))) {
        let key = match setting.key.strip_suffix("Sec") {
            Some(stem) if matches!(setting.value, Value::Span(_)) => format!("{stem}USec"),
            _ => setting.key.to_owned(),
        };
        by_key.entry(key).or_default().push(setting);
    }
    for (key, list) in by_key {
        let lasting =
            matches!(list[0].value, Value::Commands(_) | Value::Words(_) | Value::Condition { .. } | Value::Calendar(_) | Value::Statuses(_));
        let shown: Vec<String> = if lasting { list.iter().map(|s| shown(s)).collect() } else { list.last().map(|s| shown(s)).into_iter().collect() };
        set(&key, shown.join(" "));
    }
}

fn shown(setting: &Setting) -> String {
    match &setting.value {
        Value::Bool(value) => if *value { "yes" } else { "no" }.to_owned(),
        Value::Span(Span::Micros(micros)) => show_span(*micros, 1000),
        Value::Span(Span::Infinity) | Value::Memory(Memory::Infinity) => "infinity".to_owned(),
        Value::Memory(Memory::Bytes(bytes)) => bytes.to_string(),
        Value::FileMode(mode) => format!("{mode:04o}"),
        Value::Signal(signal) => signal.raw().to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Words(words) => words.iter().map(|w| hostel_unit::quote(w)).collect::<Vec<_>>().join(" "),
        Value::Calendar(calendar) => format!("{{ OnCalendar={calendar} }}"),
        Value::Commands(commands) => {
            let one = |c: &hostel_init::command::Command| {
                format!("{{ path={} ; argv[]={} ; ignore_errors={} }}", c.program, c.argv.join(" "), if c.ignore_failure { "yes" } else { "no" })
            };
            commands.iter().map(one).collect::<Vec<_>>().join(" ; ")
        }
        _ => setting.text().to_owned(),
    }
}
