//! `start`, and with `--dry-run` its transaction only.

use std::fmt::Write as _;

use hostel_init::depend::Graph;
use hostel_init::load::load;
use hostel_init::transaction::{Fault, JobType, Transaction, transaction};

use super::options::Options;
use super::say::names;
use super::{Outcome, catalogue, live, root};
use crate::output;

pub(super) fn start(options: &Options, words: &[String]) -> Outcome {
    if !options.dry_run {
        if options.root.is_some() {
            return Err("Verb 'start' cannot be used with --root= or --image=.".to_owned());
        }
        if live::is_ignored("start") {
            return Ok(0);
        }
        return super::managed::jobs(options, "start", words);
    }
    let names = names("start", words)?;
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let graph = Graph::of(&names, catalogue.search.scope, &mut |name| load(&catalogue, name).into(), &|name| catalogue.has(name.as_str()));
    let mut status = 0;
    for name in &names {
        match transaction(&graph, name, JobType::Start, options.job_mode) {
            Ok(found) => {
                output::show(&text(&found));
            }
            Err(fault) => {
                output::tell(format_args!("Failed to start {name}: {fault}"));
                if let Fault::Cyclic(cycle) = &fault {
                    let list: Vec<&str> = cycle.iter().map(AsRef::as_ref).collect();
                    output::tell(format_args!("each is ordered after the next: {}", list.join(" → ")));
                }
                status = if matches!(&fault, Fault::NotFound(missing) if missing == name) { 5 } else { 1 };
            }
        }
    }
    Ok(status)
}

/// One line per job, in an order in which they may run: the unit, who asked for it, what it waits for.
fn text(found: &Transaction) -> String {
    let mut out = String::new();
    let width = found.jobs.iter().map(|job| job.unit.as_str().chars().count()).max().unwrap_or(0);
    for job in &found.jobs {
        let because = job.because.as_ref().map_or_else(|| "asked for".to_owned(), |by| format!("for {by}"));
        let waits = match job.after.len() {
            0 => String::new(),
            _ => format!(", after {}", job.after.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(" ")),
        };
        // writing to a String cannot fail
        let _ = writeln!(out, "{:<13} {:<width$}  {because}{waits}", job.kind.word(), job.unit.as_str());
    }
    for (unit, cycle) in &found.dropped {
        let list: Vec<&str> = cycle.iter().map(AsRef::as_ref).collect();
        let _ = writeln!(out, "left out      {unit}: it breaks the cycle {}", list.join(" → "));
    }
    out
}
