//! `list-unit-files`.

use std::fmt::Write as _;

use hostel_init::install::{FileState, Installer};
use hostel_init::preset::{Presets, glob};
use hostel_spec::Arrange as _;
use hostel_unit::{Kind, UnitName};

use super::options::Options;
use super::say::Voice;
use super::{Outcome, catalogue, root};
use crate::output;

pub(super) const LOAD_STATES: [&str; 7] = ["stub", "loaded", "not-found", "bad-setting", "error", "merged", "masked"];

pub(super) fn types_help() -> String {
    let types: Vec<&str> = Kind::ALL.into_iter().map(Kind::suffix).collect();
    format!("Available unit types:\n{}\n", types.join("\n"))
}

pub(super) fn states_help() -> String {
    let states: Vec<&str> = FileState::ALL.into_iter().map(FileState::word).collect();
    format!("Available unit load states:\n{}\n\nAvailable unit file states:\n{}\n", LOAD_STATES.join("\n"), states.join("\n"))
}

pub(super) fn list_unit_files(options: &Options, patterns: &[String]) -> Outcome {
    hostel_sys::arena::widen();
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let installer = Installer { catalogue: &catalogue, runtime: false, force: false };
    let presets = Presets::read(&root, &catalogue.search);
    let (found, changes) = installer.list();
    Voice::new(options, &root, "list").say(&hostel_init::install::Outcome { changes, rules: None });
    // by type, then by name whatever its case
    let key = |name: &UnitName| (name.kind().suffix(), name.as_str().to_ascii_lowercase());
    let mut rows: Vec<((&str, String), UnitName, FileState)> = found
        .into_iter()
        .filter(|(name, state)| {
            (options.types.is_empty() || options.types.iter().any(|t| t == name.kind().suffix()))
                && (options.states.is_empty() || options.states.iter().any(|s| s == state.word()))
                && (patterns.is_empty() || patterns.iter().any(|p| glob(p, name.as_str())))
        })
        .map(|(name, state)| (key(&name), name, state))
        .collect();
    rows.arrange_by(|a, b| a.0.cmp(&b.0));
    let preset = |name: &UnitName, state: FileState| if state.has_preset() { presets.query(name).word() } else { "-" };
    let cells: Vec<[&str; 3]> = rows.iter().map(|(_, name, state)| [name.as_str(), state.word(), preset(name, *state)]).collect();
    if options.json {
        let object = |row: &[&str; 3]| serde_json::json!({ "unit_file": row[0], "state": row[1], "preset": Some(row[2]).filter(|p| *p != "-") });
        output::show_json(&cells.iter().map(object).collect::<Vec<_>>());
        return Ok(u8::from(cells.is_empty()));
    }
    output::show(&table(&cells, options.legend));
    Ok(u8::from(cells.is_empty()))
}

fn table(rows: &[[&str; 3]], legend: bool) -> String {
    let head = ["UNIT FILE", "STATE", "PRESET"];
    let all = || legend.then_some(&head).into_iter().chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (name, state) = (width(0), width(1));
    let mut out = String::new();
    for row in all() {
        // writing to a String cannot fail
        let _ = writeln!(out, "{:name$} {:state$} {}", row[0], row[1], row[2]);
    }
    if legend {
        let _ = writeln!(out, "\n{} unit files listed.", rows.len());
    }
    out
}
