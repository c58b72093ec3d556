//! `hostel clean`: remove what killed supervisors and interrupted copies left.

use std::ffi::OsString;
use std::path::Path;

use hostel_engine::cgroup::{self, Layout};
use hostel_engine::registry::Registry;
use hostel_image::open::KEPT;
use hostel_spec::{Arrange as _, MachineName};
use lexopt::Arg::{Long, Short};
use serde::Serialize;

use super::{Failure, Outcome, Verb, logs, look};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "clean",
    args: "[--logs] [--json]",
    about: "remove what killed supervisors left; nothing that runs",
    options: &[("--logs", "also the console logs of machines that have ended"), ("--json", "what was done, as an object")],
    examples: &[("hostel clean", "after a crash; every start does it for its own name")],
    run,
};

/// Where copies and throw-away trees are made.
const PLACES: [&str; 3] = ["/var/lib/machines", KEPT, "/var/tmp"];

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    logs: bool,
    json: bool,
}

/// `None`: the help was asked for.
fn parse(args: &[OsString]) -> Result<Option<Options>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut options = Options::default();
    while let Some(arg) = words.next()? {
        match arg {
            Long("logs") => options.logs = true,
            Long("json") => options.json = true,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

/// What was done; the shape of `--json`.
#[derive(Debug, Default, Serialize)]
struct Done {
    /// Dead machines.
    machines: Vec<Dead>,
    /// Trees.
    trees: Vec<Swept>,
    /// Logs, by the names of their machines.
    logs: Vec<MachineName>,
    /// `verb object: cause`, what is to be told on standard error.
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Dead {
    name: MachineName,
    /// Records of its journal taken back, or found gone.
    undone: usize,
    /// Whether nothing is left.
    clean: bool,
}

#[derive(Debug, Serialize)]
struct Swept {
    directory: String,
    removed: usize,
}

fn run(args: &[OsString]) -> Outcome {
    let Some(options) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let registry = machine::open_registry()?;
    let mut done = Done::default();
    dead_machines(&registry, &mut done)?;
    for place in PLACES {
        sweep(Path::new(place), &mut done);
    }
    if options.logs {
        remove_logs(&registry, &mut done);
    }
    // Nothing that anybody misses: not told.
    if let Err(e) = Layout::detect().and_then(|layout| cgroup::forget(&layout)) {
        done.failures.push(e.to_string());
    }
    let status = if options.json { output::show_json(&done) } else { output::show(&text(&done)) };
    for failure in &done.failures {
        output::tell(format_args!("hostel: {}", output::clean(failure)));
    }
    Ok(if done.failures.is_empty() { status } else { 1 })
}

fn dead_machines(registry: &Registry, done: &mut Done) -> Result<(), Failure> {
    for cleaned in registry.clean()? {
        let report = cleaned.report;
        done.failures.extend(report.failures.iter().map(|f| format!("clean up machine {}: {f}", cleaned.name)));
        done.machines.push(Dead { name: cleaned.name, undone: report.undone, clean: report.failures.is_empty() });
    }
    Ok(())
}

fn sweep(directory: &Path, done: &mut Done) {
    match hostel_image::sweep(directory) {
        Ok(0) => {}
        Ok(removed) => done.trees.push(Swept { directory: directory.display().to_string(), removed }),
        Err(e) if matches!(e.cause, hostel_image::Cause::Os(rustix::io::Errno::NOENT)) => {}
        Err(e) => done.failures.push(e.to_string()),
    }
}

/// Removes kept logs, all of them: those of running machines are elsewhere.
fn remove_logs(registry: &Registry, done: &mut Done) {
    let directory = logs::directory(registry);
    let Ok(entries) = std::fs::read_dir(&directory) else { return };
    for entry in entries.flatten() {
        let file = entry.file_name();
        let Some((text, last)) =
            file.to_str().and_then(|n| n.strip_suffix(".log").map(|t| (t, true)).or_else(|| n.strip_suffix(".log.1").map(|t| (t, false))))
        else {
            continue;
        };
        let Ok(name) = look::name(text.as_ref()) else { continue };
        match std::fs::remove_file(entry.path()) {
            Ok(()) if last => done.logs.push(name),
            Ok(()) => {}
            Err(e) => done.failures.push(format!("remove {}: {}", entry.path().display(), hostel_engine::error::io_text(&e))),
        }
    }
    done.logs.arrange();
}

fn text(done: &Done) -> String {
    let mut out = String::new();
    for dead in done.machines.iter().filter(|d| d.clean) {
        let things = match dead.undone {
            0 => String::new(),
            1 => " and 1 thing of it".into(),
            n => format!(" and {n} things of it"),
        };
        out.push_str(&format!("removed dead machine {}{things}\n", dead.name));
    }
    for swept in &done.trees {
        let what = if swept.removed == 1 { "1 unfinished tree".into() } else { format!("{} unfinished trees", swept.removed) };
        out.push_str(&format!("removed {what} in {}\n", swept.directory));
    }
    for name in &done.logs {
        out.push_str(&format!("removed console log of {name}\n"));
    }
    if out.is_empty() && done.failures.is_empty() {
        out.push_str("nothing to remove\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_did() {
        let name = |n: &str| MachineName::new(n).unwrap();
        assert_eq!(text(&Done::default()), "nothing to remove\n");
        let done = Done {
            machines: vec![Dead { name: name("a"), undone: 3, clean: true }, Dead { name: name("b"), undone: 0, clean: false }],
            trees: vec![Swept { directory: "/var/tmp".into(), removed: 1 }],
            logs: vec![name("c")],
            failures: vec!["clean up machine b: x".into()],
        };
        assert_eq!(text(&done), "removed dead machine a and 3 things of it\nremoved 1 unfinished tree in /var/tmp\nremoved console log of c\n");
    }
}
