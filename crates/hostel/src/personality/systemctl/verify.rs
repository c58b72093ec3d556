//! `verify`: faults of unit files, with the line that each is in and a mark below what is meant.

use std::path::Path;

use hostel_init::catalogue::Catalogue;
use hostel_init::depend::{Graph, Relation};
use hostel_init::load::{LoadState, Unit, load};
use hostel_init::root::Root;
use hostel_init::transaction::{JobMode, JobType, transaction};
use hostel_unit::{Kind, UnitName};

use super::options::Options;
use super::say::name;
use super::{Outcome, catalogue, root};
use crate::output;

pub(super) fn verify(options: &Options, words: &[String]) -> Outcome {
    let root = root(options)?;
    let mut catalogue = catalogue(options, &root)?;
    let mut names = Vec::new();
    for word in words {
        if !word.contains('/') {
            names.push(name("verify", word, Kind::Service)?);
            continue;
        }
        // the directory of a file comes first, as it does there
        let path = absolute(options, word)?;
        let (directory, base) = path.rsplit_once('/').unwrap_or(("", &path));
        names.push(UnitName::parse(base).map_err(|e| format!("{word}: {e}"))?);
        let mut search = catalogue.search.clone();
        let place = hostel_init::search::Place {
            path: if directory.is_empty() { "/".to_owned() } else { directory.to_owned() },
            role: hostel_init::search::Role::Config,
        };
        if !search.places.contains(&place) {
            search.places.insert(0, place);
            catalogue = Catalogue::scan(&root, search).map_err(|e| e.to_string())?;
        }
    }
    let mut faults = 0;
    for name in names {
        // a template is looked at by an instance
        let name = if name.is_template() { name.with_instance("test-instance").unwrap_or(name) } else { name };
        faults += one(&root, &catalogue, &name);
    }
    Ok(u8::from(faults > 0))
}

fn absolute(options: &Options, word: &str) -> Result<String, String> {
    let path = std::path::absolute(word).map_err(|e| format!("{word}: {e}"))?;
    // below --root= a path is one of the tree
    let path = if options.root.is_some() && !word.starts_with('/') { Path::new("/").join(word) } else { path };
    path.to_str().map(str::to_owned).ok_or_else(|| format!("{word}: it is not UTF-8"))
}

/// Says what is wrong with a unit; how many faults there were. Warnings about lines are told and counted.
fn one(root: &Root, catalogue: &Catalogue<'_>, name: &UnitName) -> usize {
    let unit = load(catalogue, name);
    let mut faults = unit.notices.len();
    for notice in &unit.notices {
        match notice.line {
            0 => output::tell(format_args!("{}: {}", root.shown(&notice.file), notice.text)),
            line => {
                output::tell(format_args!("{}:{line}: {}", root.shown(&notice.file), notice.text));
                if let Some(mark) = marked(root, &notice.file, line, &notice.text) {
                    output::tell(format_args!("{mark}"));
                }
            }
        }
    }
    let mut tell = |text: String| {
        output::tell(format_args!("{name}: {text}"));
        faults += 1;
    };
    match &unit.state {
        LoadState::Loaded => {}
        LoadState::Masked => tell("it is masked.".to_owned()),
        LoadState::NotFound => tell(format!("Unit {name} not found.")),
        LoadState::Error(why) | LoadState::BadSetting(why) => tell(why.clone()),
    }
    if unit.is_loaded() {
        programs(root, &unit, &mut tell);
        let graph = Graph::of(std::slice::from_ref(name), catalogue.search.scope, &mut |n| load(catalogue, n).into(), &|n| catalogue.has(n.as_str()));
        let required: Vec<&UnitName> = [Relation::Requires, Relation::BindsTo, Relation::Requisite].iter().flat_map(|r| graph.to(name, *r)).collect();
        if let Err(fault) = transaction(&graph, name, JobType::Start, JobMode::Replace)
            && !required.is_empty()
        {
            tell(format!("Failed to create {name}/start: {fault}"));
        }
    }
    faults
}

/// The line itself, and carets below what the notice is about.
fn marked(root: &Root, file: &str, line: u32, text: &str) -> Option<String> {
    let bytes = root.read(file).ok()?;
    let source = String::from_utf8_lossy(bytes.split(|b| *b == b'\n').nth(line as usize - 1)?).into_owned();
    Some(carets(&source, line, text))
}

/// An unknown key, or the value of one that is known; without a `=` all of the line.
fn carets(source: &str, line: u32, text: &str) -> String {
    let shown: String = source.trim_end().chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let (from, to) = match shown.split_once('=') {
        Some((key, _)) if text.starts_with("Unknown key") => (0, key.trim_end().chars().count()),
        Some((key, value)) => {
            let before = key.chars().count() + 1 + value.chars().take_while(|c| c.is_whitespace()).count();
            (before, shown.chars().count())
        }
        None => (0, shown.chars().count()),
    };
    let indent = shown.chars().take_while(|c| c.is_whitespace()).count().min(from.max(shown.chars().count()));
    let from = from.max(indent);
    let number = line.to_string();
    let gap = " ".repeat(number.len());
    format!("{number} | {shown}\n{gap} | {}{}", " ".repeat(from), "^".repeat(to.saturating_sub(from).max(1)))
}

/// Programs that are not there, or cannot be executed.
fn programs(root: &Root, unit: &Unit, tell: &mut dyn FnMut(String)) {
    let Some(section) = unit.name.kind().section() else { return };
    for key in ["ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost", "ExecStopPre"] {
        for command in unit.settings.commands(section, key) {
            let paths: Vec<String> = if command.program.starts_with('/') {
                vec![command.program.clone()]
            } else {
                ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
                    .iter()
                    .map(|d| format!("{d}/{}", command.program))
                    .collect()
            };
            if !paths.iter().any(|path| root.exists(path)) {
                tell(format!("Command {} is not executable: No such file or directory", command.program));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::carets;

    #[test]
    fn marks_below_what_is_meant() {
        for (source, text, below) in [
            ("Foo=bar", "Unknown key 'Foo' in section [Service], ignoring.", "^^^"),
            ("  Foo = bar", "Unknown key 'Foo' in section [Service], ignoring.", "  ^^^"),
            ("TimeoutSec=  soon ", "Failed to parse TimeoutSec=soon, ignoring: it is no span", "             ^^^^"),
            ("[Frob]", "Unknown section 'Frob'. Ignoring.", "^^^^^^"),
            ("nonsense", "it has no =; the line is skipped", "^^^^^^^^"),
            ("Key=", "Failed to parse Key=, ignoring: empty", "    ^"),
            ("", "x", "^"),
        ] {
            let found = carets(source, 12, text);
            assert_eq!(found, format!("12 | {}\n   | {below}", source.trim_end()), "{source:?}");
        }
    }
}
