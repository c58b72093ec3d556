//! `list-units` and `list-jobs`.

use std::fmt::Write as _;

use hostel_init::manager::query::Request;
use hostel_init::preset::glob;
use hostel_spec::{Arrange as _, Gather as _};

use super::Outcome;
use super::managed::{Record, connect, field, records};
use super::options::Options;
use crate::output;

pub(super) fn list_units(options: &Options, _: &str, patterns: &[String]) -> Outcome {
    let mut found = records(connect()?, Request::List)?;
    found.retain(|record| is_wanted(options, patterns, record));
    let key = |record: &Record| {
        let name = field(record, "Id").unwrap_or_default().to_owned();
        (name.rsplit_once('.').map_or(String::new(), |(_, kind)| kind.to_owned()), name.to_ascii_lowercase())
    };
    found.arrange_by_key(key);
    if options.json {
        return Ok(output::show_json(&objects(
            &found,
            &[("unit", "Id"), ("load", "LoadState"), ("active", "ActiveState"), ("sub", "SubState"), ("description", "Description")],
        )));
    }
    output::show(&table(options, &found));
    Ok(0)
}

/// Records as JSON, each with these fields: its name here, and in the record.
fn objects(found: &[Record], fields: &[(&str, &str)]) -> Vec<serde_json::Value> {
    let object = |record: &Record| fields.iter().map(|(name, key)| ((*name).to_owned(), field(record, key).unwrap_or_default().into())).gather();
    found.iter().map(|record| serde_json::Value::Object(object(record))).collect()
}

fn is_wanted(options: &Options, patterns: &[String], record: &Record) -> bool {
    let get = |name| field(record, name).unwrap_or_default();
    let name = get("Id");
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    let states = [get("ActiveState"), get("SubState"), get("LoadState")];
    // what systemd would have forgotten
    if get("Forgotten") == "yes" && !options.all {
        return false;
    }
    let shown = options.all || !options.states.is_empty() || get("ActiveState") != "inactive" || get("Job") != "0";
    shown
        && (options.types.is_empty() || options.types.iter().any(|t| t == kind))
        && (options.states.is_empty() || options.states.iter().any(|s| states.contains(&s.as_str())))
        && (patterns.is_empty() || patterns.iter().any(|p| glob(p, name) || format!("{p}.service") == name))
}

fn table(options: &Options, found: &[Record]) -> String {
    const HEAD: [&str; 5] = ["UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION"];
    let row =
        |record: &Record| ["Id", "LoadState", "ActiveState", "SubState", "Description"].map(|key| field(record, key).unwrap_or_default().to_owned());
    let rows: Vec<[String; 5]> = found.iter().map(row).collect();
    let head = HEAD.map(str::to_owned);
    let all = || options.legend.then_some(&head).into_iter().chain(&rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (a, b, c, d) = (width(0), width(1), width(2), width(3));
    let marks = !options.plain && found.iter().any(|r| field(r, "ActiveState") == Some("failed"));
    let mut out = String::new();
    for row in all() {
        let mark = match (options.plain, marks && (row[2] == "failed" || row[1] == "not-found")) {
            (true, _) => "",
            (false, true) => "● ",
            (false, false) => "  ",
        };
        let _ = writeln!(out, "{mark}{:a$} {:b$} {:c$} {:d$} {}", row[0], row[1], row[2], row[3], row[4]);
    }
    if options.legend {
        if !rows.is_empty() {
            out.push_str(
                "\nLOAD   = Reflects whether the unit definition was properly loaded.\nACTIVE = The high-level unit activation state, i.e. \
                 generalization of SUB.\nSUB    = The low-level unit activation state, values depend on unit type.",
            );
        }
        let hint = if options.all || !options.states.is_empty() { "" } else { " Pass --all to see loaded but inactive units, too." };
        let gap = if rows.is_empty() { "" } else { "\n" };
        if !options.states.is_empty() {
            let _ = writeln!(out, "{gap}{} loaded units listed.", rows.len());
            return out;
        }
        let _ = writeln!(out, "{gap}{} loaded units listed.{hint}\nTo show all installed unit files use 'systemctl list-unit-files'.", rows.len());
    }
    out
}

pub(super) fn list_jobs(options: &Options, _: &str, patterns: &[String]) -> Outcome {
    let mut found = records(connect()?, Request::Jobs)?;
    found.retain(|record| patterns.is_empty() || patterns.iter().any(|p| glob(p, field(record, "Unit").unwrap_or_default())));
    if options.json {
        return Ok(output::show_json(&objects(&found, &[("job", "Id"), ("unit", "Unit"), ("type", "JobType"), ("state", "State")])));
    }
    if found.is_empty() {
        if options.legend {
            output::show("No jobs running.\n");
        }
        return Ok(0);
    }
    let rows: Vec<[String; 4]> =
        found.iter().map(|record| ["Id", "Unit", "JobType", "State"].map(|key| field(record, key).unwrap_or_default().to_owned())).collect();
    let head = ["JOB", "UNIT", "TYPE", "STATE"].map(str::to_owned);
    let all = || options.legend.then_some(&head).into_iter().chain(&rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (a, b, c) = (width(0), width(1), width(2));
    let mut out = String::new();
    for row in all() {
        let _ = writeln!(out, "{:a$} {:b$} {:c$} {}", row[0], row[1], row[2], row[3]);
    }
    if options.legend {
        let _ = writeln!(out, "\n{} jobs listed.", rows.len());
    }
    output::show(&out);
    Ok(0)
}
