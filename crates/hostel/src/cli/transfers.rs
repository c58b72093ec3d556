//! `hostel list-transfers`, `cancel-transfer`: imports, exports and downloads that run.

use std::ffi::OsString;

use lexopt::Arg::{Long, Short, Value};
use serde_json::json;

use super::{Failure, Outcome, Verb};
use crate::{output, transfers};

/// The verb that lists.
pub(super) const LIST: Verb = Verb {
    name: "list-transfers",
    args: "[--json]",
    about: "list the imports, exports and downloads that run",
    options: &[("--no-legend", "no heading"), ("--json", "an array of objects")],
    examples: &[("hostel list-transfers", "how far they are")],
    run: list,
};

/// The verb that stops.
pub(super) const CANCEL: Verb = Verb {
    name: "cancel-transfer",
    args: "ID...",
    about: "end a transfer; what it made goes with it",
    options: &[],
    examples: &[("hostel cancel-transfer 1", "waits until it is gone")],
    run: cancel,
};

fn list(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut as_json, mut legend) = (false, true);
    while let Some(arg) = words.next()? {
        match arg {
            Long("json") => as_json = true,
            Long("no-legend") => legend = false,
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&LIST))),
            other => return Err(other.unexpected().into()),
        }
    }
    let found = transfers::list();
    if as_json {
        let value = |s: &transfers::State| {
            json!({ "id": s.id, "pid": s.process.pid, "type": s.verb, "remote": s.remote, "local": s.local,
                    "bytes": s.done, "total_bytes": s.total, "percent": percent(s) })
        };
        return Ok(output::show_json(&found.iter().map(value).collect::<Vec<_>>()));
    }
    if found.is_empty() {
        return Ok(0);
    }
    let text = table(&found);
    Ok(output::show(if legend { &text } else { text.split_once('\n').map_or("", |(_, rest)| rest) }))
}

/// How much of it is done, where its size is known.
pub(crate) fn percent(state: &transfers::State) -> Option<u64> {
    state.total.filter(|t| *t > 0).map(|t| (state.done.min(t) as f64 / t as f64 * 100.0) as u64)
}

/// With its heading.
pub(crate) fn table(found: &[transfers::State]) -> String {
    let row = |s: &transfers::State| {
        let percent = percent(s).map_or_else(|| output::bytes(s.done), |p| format!("{p}%"));
        vec![s.id.to_string(), percent, s.verb.clone(), output::clean(&s.local), output::clean(&s.remote)]
    };
    output::table(&["ID", "PROGRESS", "TYPE", "LOCAL", "REMOTE"], &found.iter().map(row).collect::<Vec<_>>())
}

fn cancel(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let mut given = Vec::new();
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&CANCEL))),
            Value(word) => {
                let number = word.to_str().and_then(|w| w.parse().ok());
                given.push(number.ok_or_else(|| Failure::Usage(format!("parse {word:?}: a transfer has a number")))?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if given.is_empty() {
        return Err(Failure::Usage("which transfer? `hostel list-transfers` lists them".into()));
    }
    for id in given {
        transfers::cancel(id)?;
    }
    Ok(0)
}
