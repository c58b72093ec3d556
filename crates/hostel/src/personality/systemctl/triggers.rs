//! `list-sockets`, `list-timers`, `list-paths`, `list-automounts`: units that start others.

use std::fmt::Write as _;

use hostel_init::journal::store::realtime;
use hostel_init::manager::query::Request;
use hostel_init::preset::glob;
use hostel_spec::Arrange as _;
use hostel_unit::UnitName;

use super::Outcome;
use super::managed::{Record, connect, field, records};
use super::options::{Options, Release};
use super::status::{ago, stamp};
use crate::output;

/// Units of a kind that are asked for.
fn wanted(options: &Options, patterns: &[String], kind: &str) -> Result<Vec<Record>, String> {
    let mut found = records(connect()?, Request::List)?;
    let dotted = format!(".{kind}");
    found.retain(|record| {
        let get = |name| field(record, name).unwrap_or_default();
        let id = get("Id");
        let states = [get("ActiveState"), get("SubState"), get("LoadState")];
        id.ends_with(&dotted)
            && (options.all || !matches!(get("ActiveState"), "inactive" | "failed") || !options.states.is_empty())
            && (options.states.is_empty() || options.states.iter().any(|s| states.contains(&s.as_str())))
            && (patterns.is_empty() || patterns.iter().any(|p| glob(p, id) || format!("{p}{dotted}") == id))
    });
    Ok(found)
}

/// What systemd says around a table.
pub(super) struct Legend {
    /// What is listed.
    what: &'static str,
    /// A table without rows has a head.
    has_head: bool,
    /// `--all` shows more.
    has_hint: bool,
}

impl Legend {
    pub(super) const MACHINES: Legend = Legend { what: "machines", has_head: true, has_hint: false };

    const fn of(what: &'static str) -> Legend {
        Legend { what, has_head: false, has_hint: true }
    }
}

/// Columns as wide as they have to be, the last one open; and what systemd says below.
pub(super) fn print(options: &Options, head: &[&str], mut rows: Vec<Vec<String>>, legend: &Legend) -> Outcome {
    let count = rows.len();
    let what = legend.what;
    if options.legend && (count > 0 || legend.has_head) {
        rows.insert(0, head.iter().map(|&word| word.to_owned()).collect());
    }
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let last = row.len().saturating_sub(1);
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // writing to a String cannot fail
            let _ = if at == last { writeln!(text, "{cell}") } else { write!(text, "{cell:width$} ") };
        }
    }
    if options.legend {
        let gap = if rows.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}{count} {what} listed.");
        if legend.has_hint && !options.all {
            let _ = writeln!(text, "Pass --all to see loaded but inactive {what}, too.");
        }
    }
    Ok(output::show(&text))
}

/// A span as far as it matters: two units at most, one where the first is large.
fn relative(micros: u64) -> String {
    const SECOND: u64 = 1_000_000;
    let accuracy = match micros / SECOND {
        172_800.. => 86_400 * SECOND,
        18_000.. => 3600 * SECOND,
        300.. => 60 * SECOND,
        _ => SECOND,
    };
    hostel_unit::show_span(micros / accuracy * accuracy, accuracy)
}

fn get(record: &Record, name: &str) -> String {
    field(record, name).unwrap_or_default().to_owned()
}

/// What it starts.
fn starts(record: &Record) -> String {
    let units = get(record, "Triggers");
    if units.is_empty() { "-".to_owned() } else { units.split(' ').collect::<Vec<_>>().join(", ") }
}

/// Values of a name of which there are several, each two words.
fn pairs<'r>(record: &'r Record, name: &'r str) -> impl Iterator<Item = (&'r str, &'r str)> {
    record.iter().filter(move |(key, _)| key == name).filter_map(|(_, value)| value.split_once('\t'))
}

pub(super) fn list_sockets(options: &Options, _: &str, patterns: &[String]) -> Outcome {
    let found = wanted(options, patterns, "socket")?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for record in &found {
        for (kind, address) in pairs(record, "Port") {
            let mut row = vec![address.to_owned(), get(record, "Id"), starts(record)];
            if options.show_types {
                row.insert(1, kind.to_owned());
            }
            rows.push(row);
        }
    }
    rows.arrange();
    let head: &[&str] = if options.show_types { &["LISTEN", "TYPE", "UNIT", "ACTIVATES"] } else { &["LISTEN", "UNIT", "ACTIVATES"] };
    print(options, head, rows, &Legend::of("sockets"))
}

pub(super) fn list_paths(options: &Options, _: &str, patterns: &[String]) -> Outcome {
    let found = wanted(options, patterns, "path")?;
    let row = |record: &Record, (kind, path): (&str, &str)| vec![path.to_owned(), kind.to_owned(), get(record, "Id"), starts(record)];
    let mut rows: Vec<Vec<String>> =
        found.iter().flat_map(|record| pairs(record, "Spot").map(|pair| row(record, pair)).collect::<Vec<_>>()).collect();
    rows.arrange();
    print(options, &["PATH", "CONDITION", "UNIT", "ACTIVATES"], rows, &Legend::of("paths"))
}

pub(super) fn list_automounts(options: &Options, _: &str, patterns: &[String]) -> Outcome {
    let found = wanted(options, patterns, "automount")?;
    // of each the mount unit, which has its name
    let mount = |record| UnitName::parse(&format!("{}.mount", get(record, "Id").trim_end_matches(".automount"))).map_err(|e| e.why.to_owned());
    let mounts = found.iter().map(mount).collect::<Result<Vec<UnitName>, String>>()?;
    let mounts = if found.is_empty() { Vec::new() } else { records(connect()?, Request::Show(mounts))? };
    let row = |(record, mount): (&Record, &Record)| {
        let known = |name| Some(get(mount, name)).filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
        let mounted = if field(mount, "ActiveState") == Some("active") { "yes" } else { "no" };
        // nothing is unmounted for being idle
        vec![known("What"), known("Where"), mounted.to_owned(), "-".to_owned(), get(record, "Id")]
    };
    let rows = found.iter().zip(&mounts).map(row).collect();
    print(options, &["WHAT", "WHERE", "MOUNTED", "IDLE TIMEOUT", "UNIT"], rows, &Legend { has_head: true, ..Legend::of("automounts") })
}

pub(super) fn list_timers(options: &Options, _: &str, patterns: &[String]) -> Outcome {
    let mut found = wanted(options, patterns, "timer")?;
    let moment = |record: &Record, name: &str| field(record, name).and_then(|text| text.parse::<u64>().ok());
    found.arrange_by_key(|record| (moment(record, "NextElapse").unwrap_or(u64::MAX), get(record, "Id")));
    let now = realtime();
    let old = options.release == Release::V252;
    let none = if old { "n/a" } else { "-" };
    let row = |record: &Record| {
        let (next, last) = (get(record, "NextElapse"), get(record, "LastTriggerUSec"));
        let left = moment(record, "NextElapse").map(|at| match at.checked_sub(now) {
            Some(left) if old => format!("{} left", relative(left)),
            Some(left) => hostel_unit::show_span(left, 1_000_000),
            None => format!("{} ago", ago(&next)),
        });
        let date = |text: &str| if text.is_empty() { none.to_owned() } else { stamp(text) };
        let passed = if last.is_empty() { none.to_owned() } else { format!("{} ago", ago(&last)) };
        vec![date(&next), left.unwrap_or_else(|| none.to_owned()), date(&last), passed, get(record, "Id"), starts(record)]
    };
    print(options, &["NEXT", "LEFT", "LAST", "PASSED", "UNIT", "ACTIVATES"], found.iter().map(row).collect(), &Legend::of("timers"))
}
