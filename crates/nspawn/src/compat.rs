//! The part of COMPATIBILITY.md that is about systemd-nspawn, made of the option rows. xtask writes the file.

use std::fmt::Write as _;

use crate::environment::VARIABLES;
use crate::help::spelling;
use crate::options::{Compat, GROUPS, OptionRow, Status, rows};

/// How many options stand where: `(built, partly, not yet)`; hostel's own are not counted.
pub fn tally() -> (usize, usize, usize) {
    rows().filter(|r| !r.is_extension()).fold((0, 0, 0), |(built, partly, not_yet), row| match row.status {
        Status::Built => (built + 1, partly, not_yet),
        Status::Partly(_) => (built, partly + 1, not_yet),
        Status::NotYet(_) => (built, partly, not_yet + 1),
    })
}

/// Markdown: one table per group of options, then the environment.
pub fn markdown() -> String {
    let mut out = String::with_capacity(24 * 1024);
    let (built, partly, not_yet) = tally();
    // writing to a String cannot fail
    let _ = writeln!(
        out,
        "## systemd-nspawn\n\nCompared with systemd 262. Of {} options {built} are built, {partly} partly, {not_yet} refused by name as not implemented yet.\n",
        built + partly + not_yet
    );
    for group in &GROUPS {
        let _ = writeln!(out, "### {}\n\n| option | `.nspawn` key | since | state | compared |\n|---|---|---|---|---|", group.title);
        for row in group.rows {
            line(row, &mut out);
        }
        out.push('\n');
    }
    out.push_str("### Environment\n\n| variable | systemd-nspawn | here |\n|---|---|---|\n");
    for row in VARIABLES {
        let _ = writeln!(out, "| `{}` | {} | {} |", row.name, cell(row.meaning), cell(row.here));
    }
    out
}

fn line(row: &OptionRow, out: &mut String) {
    let key = match (row.key, row.trusted_only) {
        (Some(key), true) => format!("`{key}` (trusted files)"),
        (Some(key), false) => format!("`{key}`"),
        (None, _) => "–".to_owned(),
    };
    let since = row.since.map_or_else(|| "hostel".to_owned(), |v| v.to_string());
    let state = match row.status {
        Status::Built => "built".to_owned(),
        Status::Partly(text) => format!("partly: {text}"),
        Status::NotYet(text) => format!("not yet: {text}"),
    };
    let compared = match row.compat {
        _ if row.is_extension() => "hostel's own; must be spelt out".to_owned(),
        Compat::Same if matches!(row.status, Status::NotYet(_)) => "–".to_owned(),
        Compat::Same => "same".to_owned(),
        Compat::Better(text) => format!("better: {text}"),
        Compat::Differs(text) => format!("differs: {text}"),
        Compat::Refused(text) => format!("refused: {text}"),
    };
    let _ = writeln!(out, "| `{}` | {key} | {since} | {} | {} |", spelling(row).trim().replace('|', "\\|"), cell(&state), cell(&compared));
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
