//! `hostel undo`: what a commit changed becomes what it was.

use std::ffi::OsString;

use hostel_engine::error::Error;
use hostel_overlay::commit::{Record, State};
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::commit::{lock, lowers, of, open_store, refuse, refuse_unfinished};
use super::{Failure, Outcome, Verb};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "undo",
    args: "[NUMBER] [--force] | --list | --forget NUMBER",
    about: "take a commit back, the last one unless told",
    options: &[
        ("--list", "list the commits that can be taken back"),
        ("--forget NUMBER", "delete what is kept to take that commit back"),
        ("-f, --force", "also what was changed since"),
    ],
    examples: &[("hostel undo", "the last commit"), ("hostel undo --list", "what there is")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut number, mut list, mut forget, mut force) = (None, false, false, false);
    while let Some(arg) = words.next()? {
        match arg {
            Long("list") => list = true,
            Long("forget") => forget = true,
            Short('f') | Long("force") => force = true,
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&VERB))),
            Value(word) if number.is_none() => number = Some(word.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().into()),
        }
    }
    if number.as_ref().is_some_and(|n| n.parse::<u64>().is_err()) {
        return Err(Failure::Usage("a commit is a number; `hostel undo --list` shows them".into()));
    }
    if list && (forget || force || number.is_some()) || forget && (force || number.is_none()) {
        return Err(Failure::Usage("--list stands alone; --forget takes a number and nothing else".into()));
    }
    hostel_engine::host::require_root()?;
    let store = open_store()?;
    if list {
        let rows: Vec<_> = store.records().map_err(Error::from)?.iter().map(row).collect();
        return Ok(output::show(&output::table(&["NUMBER", "MACHINE", "OVER", "ENTRIES", "STATE"], &rows)));
    }
    refuse_unfinished(&store)?;
    let records = store.records().map_err(Error::from)?;
    let wanted = |r: &Record| number.as_ref().is_none_or(|n| *n == r.id);
    let Some(mut record) = records.into_iter().rfind(wanted) else {
        let object = number.map_or_else(|| "a commit".to_owned(), |n| format!("commit {n}"));
        return Err(Error::new("undo", object, "there is none").hint("`hostel undo --list` lists them").into());
    };
    if forget {
        store.forget(&record).map_err(Error::from)?;
        return Ok(0);
    }
    let name = MachineName::new(of(&record)).map_err(|e| Error::new("read", "journal", e))?;
    let lower = record.lower().unwrap_or("/".as_ref()).to_owned();
    let _lock = lock(&lower, &name)?;
    let layers = lowers(&record)?;
    if !force {
        refuse("undo", &format!("commit {}", record.id), &store.changed_since(&record, &layers).map_err(Error::from)?)?;
    }
    store.take_back(&mut record, &layers).map_err(Error::from)?;
    output::tell(format_args!("Taken back: what machine {name} had changed of {} is as it was.", lower.display()));
    Ok(0)
}

fn row(record: &Record) -> Vec<String> {
    let state = match record.state {
        State::Applied(seconds, _) => output::date(u64::try_from(seconds).unwrap_or(0)),
        _ => "interrupted".to_owned(),
    };
    let over = record.lower().map_or_else(String::new, |l| l.display().to_string());
    vec![record.id.clone(), of(record), output::clean(&over), record.entries().to_string(), state]
}
