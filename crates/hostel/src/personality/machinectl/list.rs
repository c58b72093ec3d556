//! `machinectl list`.

use std::ffi::OsString;

use serde_json::json;

use super::facts::Facts;
use super::options::{Options, Output};
use crate::cli::Outcome;
use crate::cli::look::Look;
use crate::{machine, output};

const HEAD: [&str; 6] = ["MACHINE", "CLASS", "SERVICE", "OS", "VERSION", "ADDRESSES"];

pub(super) fn run(options: &Options, _: &[OsString]) -> Outcome {
    let looks = machine::registry_to_read()?.list()?.into_iter().map(Look::at).filter(|look| look.state() != "dead");
    let mut facts: Vec<Facts> = looks.map(|look| Facts::of(&look)).collect();
    if options.all {
        facts.insert(0, Facts::of_host());
    }
    let rows: Vec<[String; 6]> = facts.iter().map(|f| row(f, options.max_addresses.unwrap_or(1))).collect();
    Ok(match options.output {
        Output::Text => output::show(&text(&rows, !options.no_legend)),
        Output::Json => output::show(&format!("{}\n", serde_json::Value::from(rows.iter().map(object).collect::<Vec<_>>()))),
        Output::JsonPretty => output::show_json(&rows.iter().map(object).collect::<Vec<_>>()),
    })
}

fn row(facts: &Facts, most: usize) -> [String; 6] {
    let (os, version) = (facts.os.id.clone(), facts.os.version.clone());
    [facts.name.clone(), facts.class.clone(), facts.service.into(), os, version, addresses(facts, most, "\n")]
}

/// At most so many addresses; `…` says that there are more.
pub(super) fn addresses(facts: &Facts, most: usize, between: &str) -> String {
    let shown: Vec<String> = facts.addresses.iter().take(most).map(ToString::to_string).collect();
    let more = if facts.addresses.len() > most { "…" } else { "" };
    format!("{}{more}", shown.join(between))
}

fn object(row: &[String; 6]) -> serde_json::Value {
    let cell = |n: usize| if row[n].is_empty() { json!(null) } else { json!(row[n]) };
    json!({ "machine": cell(0), "class": cell(1), "service": cell(2), "os": cell(3), "version": cell(4), "addresses": cell(5) })
}

/// Columns one blank apart, `-` for what is empty; further addresses on lines of their own.
fn text(rows: &[[String; 6]], legend: bool) -> String {
    let mut cells: Vec<Vec<String>> = Vec::new();
    if legend && !rows.is_empty() {
        cells.push(HEAD.map(str::to_owned).to_vec());
    }
    for row in rows {
        let shown = |n: usize| if row[n].is_empty() { "-".to_owned() } else { row[n].clone() };
        let last = shown(5);
        for (n, line) in last.split('\n').enumerate() {
            let mut out: Vec<String> = (0..5).map(|i| if n == 0 { shown(i) } else { String::new() }).collect();
            out.push(line.to_owned());
            cells.push(out);
        }
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut out = String::new();
    for row in &cells {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(line.join(" ").trim_end());
        out.push('\n');
    }
    if legend {
        out.push_str(&match rows.len() {
            0 => "No machines.\n".to_owned(),
            n => format!("\n{n} machines listed.\n"),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing() {
        let facts = |name: &str, addresses: &[&str]| Facts {
            name: name.into(),
            class: "container".into(),
            service: "systemd-nspawn",
            os: super::super::facts::Os { id: "debian".into(), version: "12".into(), pretty: String::new() },
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            ..Facts::default()
        };
        let machines = [facts("a", &[]), facts("longer-name", &["10.0.0.2", "fd00::2"])];
        let rows = |most| machines.iter().map(|f| row(f, most)).collect::<Vec<_>>();
        insta::assert_snapshot!("list", text(&rows(1), true));
        insta::assert_snapshot!("list-all-addresses", text(&rows(usize::MAX), true));
        assert_eq!(text(&rows(0), false).lines().count(), 2);
        assert_eq!((text(&[], true).as_str(), text(&[], false).as_str()), ("No machines.\n", ""));
        assert_eq!(object(&rows(2)[1])["addresses"], "10.0.0.2\nfd00::2");
        assert!(object(&rows(2)[0])["addresses"].is_null());
    }
}
