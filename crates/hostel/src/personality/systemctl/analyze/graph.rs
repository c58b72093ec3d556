//! `dot`: dependencies of what is in memory, for dot(1) of graphviz.

use std::fmt::Write as _;

use hostel_init::manager::query::Request;
use hostel_init::preset::glob;

use super::Asked;
use crate::output;
use crate::personality::systemctl::Outcome;
use crate::personality::systemctl::managed::{field, records, running};

/// Relations, and the colours that they have there.
const EDGES: [(&str, &str, bool); 6] = [
    ("After", "green", true),
    ("Requires", "black", false),
    ("Requisite", "darkblue", false),
    ("BindsTo", "gold", false),
    ("Wants", "grey66", false),
    ("Conflicts", "red", false),
];

pub(super) fn dot(asked: &Asked, patterns: &[String]) -> Outcome {
    if asked.order_only && asked.require_only {
        return Err("Combine --order and --require: nothing would be left.".to_owned());
    }
    let found = records(running("dot")?, Request::List)?;
    let any = |patterns: &[String], name: &str| patterns.iter().any(|p| glob(p, name));
    let mut text = String::from("digraph systemd {\n");
    for record in &found {
        let from = field(record, "Id").unwrap_or_default();
        for (key, colour, is_order) in EDGES {
            if asked.order_only && !is_order || asked.require_only && is_order {
                continue;
            }
            for to in field(record, key).unwrap_or_default().split(' ').filter(|to| !to.is_empty()) {
                let wanted = (patterns.is_empty() || any(patterns, from) || any(patterns, to))
                    && (asked.from.is_empty() || any(&asked.from, from))
                    && (asked.to.is_empty() || any(&asked.to, to));
                if wanted {
                    let _ = writeln!(text, "\t\"{}\"->\"{}\" [color=\"{colour}\"];", quoted(from), quoted(to));
                }
            }
        }
    }
    text.push_str("}\n");
    Ok(output::show(&text))
}

fn quoted(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"")
}
