//! The help text, and machinectl's part of COMPATIBILITY.md.

use std::fmt::Write as _;

use super::options::ROWS;
use super::{GROUPS, State};
use crate::cli;

/// `machinectl --help`.
pub fn text() -> String {
    let mut out = String::from("machinectl [OPTIONS...] COMMAND ...\n\nMachines of this host, out of hostel's state directory.\n");
    for (title, rows) in GROUPS {
        let _ = writeln!(out, "\n{title}:");
        for row in rows.iter().filter(|row| !matches!(row.state, State::Refused(_))) {
            let _ = writeln!(out, "  {:<32} {}", format!("{} {}", row.names[0], row.args).trim_end(), row.help);
        }
    }
    out.push_str("\nOptions:\n");
    for row in &ROWS {
        let short = row.short.map_or_else(|| "   ".to_owned(), |s| format!("-{} ", s as char));
        let long = row.long.first().map_or_else(String::new, |l| format!("--{l}"));
        let value = row.value.map_or_else(String::new, |v| if row.long.is_empty() { v.to_owned() } else { format!("={v}") });
        let _ = writeln!(out, "  {:<32} {}", format!("{short}{long}{value}"), row.help);
    }
    out
}

/// Markdown: a table of verbs, a table of the options that differ.
pub fn markdown() -> String {
    let mut out = String::from(
        "## machinectl\n\nOut of the state directory of hostel: no daemon, no D-Bus, no systemd. Compared with systemd 262; exit statuses are 0 \
         and 1, a shell's are its own. Options stand before and after the verb, as there.\n\n| verb | native | compared |\n|---|---|---|\n",
    );
    let cell = |text: &str| text.replace('|', "\\|");
    for row in GROUPS.iter().flat_map(|(_, rows)| rows.iter()) {
        let name = row.names.join("`, `");
        let compared = match row.state {
            State::Same => "same".to_owned(),
            State::Better(how) => format!("better: {how}"),
            State::Differs(how) => format!("differs: {how}"),
            State::Image(native) if cli::find(native).is_some() => "same".to_owned(),
            State::Image(_) => "not implemented yet".to_owned(),
            State::Refused(why) => format!("refused: {why}"),
        };
        let _ = writeln!(out, "| `{name}` | {} | {} |", native(row.names[0], row.state), cell(&compared));
    }
    out.push_str("\n| option | compared |\n|---|---|\n");
    for row in ROWS.iter().filter(|row| !row.differs.is_empty()) {
        let names = row.short.iter().map(|s| format!("-{}", *s as char)).chain(row.long.iter().map(|l| format!("--{l}")));
        let _ = writeln!(out, "| `{}` | {} |", names.collect::<Vec<_>>().join(" "), cell(row.differs));
    }
    out.push_str("\nThe other options are the same. `login` and `shell` without a name, which mean the host itself, are refused.\n");
    out
}

/// The verb of hostel that does the same.
fn native(verb: &str, state: State) -> String {
    let name = match (verb, state) {
        (_, State::Image(native)) => native,
        ("list", _) => "ps",
        ("poweroff", _) => "stop",
        ("terminate", _) => "stop --force",
        ("copy-to" | "copy-from", _) => "cp",
        (same, _) => same,
    };
    let known = cli::find(name.split(' ').next().unwrap_or_default()).is_some();
    if known { format!("`hostel {name}`") } else { "–".into() }
}
