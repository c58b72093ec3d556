//! `hostel snapshot`: a kept machine's state under a name of its own.

use std::ffi::OsString;

use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};
use serde_json::json;

use super::{Failure, Outcome, Verb, look};
use crate::native::{kept, snapshots};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "snapshot",
    args: "NAME [SNAPSHOT] | NAME --list [--json] | NAME --forget SNAPSHOT",
    about: "remember the state of a kept machine, and say its name",
    options: &[("--list", "list those there are"), ("--json", "with --list: an array of objects"), ("--forget", "delete the snapshot")],
    examples: &[
        ("hostel snapshot try1 before", "`hostel restore try1 before` goes back to it"),
        ("hostel snapshot try1", "it gets the name snap0, snap1, …"),
    ],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut names, mut list, mut as_json, mut forget) = (Vec::new(), false, false, false);
    while let Some(arg) = words.next()? {
        match arg {
            Long("list") => list = true,
            Long("json") => as_json = true,
            Long("forget") => forget = true,
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&VERB))),
            Value(word) if names.len() < 2 => names.push(look::name(&word)?),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut names = names.into_iter();
    let name = look::required(names.next())?;
    let snapshot = names.next();
    if list && (forget || snapshot.is_some()) || as_json && !list || forget && snapshot.is_none() {
        return Err(Failure::Usage("--list takes a machine, and --json goes with it; --forget takes a machine and a snapshot".into()));
    }
    hostel_engine::host::require_root()?;
    if list {
        return shown(&name, as_json);
    }
    machine::at_rest(&machine::open_registry()?, "snapshot", &name, || match (forget, snapshot) {
        (true, Some(snapshot)) => snapshots::forget(&name, &snapshot),
        (_, given) => {
            kept::required(&name)?;
            let _lock = kept::lock(&name)?;
            kept::refuse_half_done("snapshot", &name)?;
            let snapshot = given.map_or_else(|| snapshots::free_name(&name), Ok)?;
            snapshots::take(&name, &snapshot)?;
            output::show(&format!("{snapshot}\n"));
            Ok(())
        }
    })?;
    Ok(0)
}

fn shown(name: &MachineName, as_json: bool) -> Outcome {
    kept::required(name)?;
    let all = snapshots::list(name)?;
    if as_json {
        let object = |s: &snapshots::Snapshot| json!({ "name": s.name.as_str(), "taken": s.taken, "bytes": s.contents.map(|c| c.bytes) });
        return Ok(output::show_json(&all.iter().map(object).collect::<Vec<_>>()));
    }
    let row = |s: &snapshots::Snapshot| {
        vec![s.name.to_string(), output::date(s.taken), s.contents.map_or_else(|| "-".to_owned(), |c| output::bytes(c.bytes))]
    };
    Ok(output::show(&output::table(&["SNAPSHOT", "TAKEN", "SIZE"], &all.iter().map(row).collect::<Vec<_>>())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let run = |words: &[&str]| run(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for bad in [&[][..], &["a", "b", "c"], &["a", "b", "--list"], &["a", "--json"], &["a", "--forget"], &["a", "/x"], &["a", "--no"]] {
            assert!(matches!(run(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
