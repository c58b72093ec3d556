//! `hostel ps`: the machines that run.

use std::collections::HashSet;
use std::ffi::OsString;

use hostel_spec::{Arrange as _, MachineName, OsText};
use lexopt::Arg::{Long, Short};
use serde_json::{Value, json};

use super::look::Look;
use super::stored::{self, Stored};
use super::{Outcome, Verb};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "ps",
    args: "[-a] [-q] [--json]",
    about: "list the machines that run",
    options: &[
        ("-a, --all", "those that do not run too: kept ones, trees by name, what killed supervisors left"),
        ("-q, --quiet", "names only"),
        ("--json", "an array of objects"),
    ],
    examples: &[
        ("hostel ps", "what runs"),
        ("hostel ps --all", "and what does not run"),
        ("hostel ps -q | xargs -rn1 hostel stop", "stop everything"),
        ("hostel ps --json | jq '.[] | select(.state == \"paused\").name'", "for scripts"),
    ],
    run,
};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) all: bool,
    pub(super) quiet: bool,
    pub(super) json: bool,
    pub(super) help: bool,
}

pub(super) fn parse(args: &[OsString]) -> Result<Options, lexopt::Error> {
    let mut words = lexopt::Parser::from_args(args);
    let mut options = Options::default();
    while let Some(arg) = words.next()? {
        match arg {
            Short('a') | Long("all") => options.all = true,
            Short('q') | Long("quiet") => options.quiet = true,
            Long("json") => options.json = true,
            Short('h') | Long("help") => options.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn run(args: &[OsString]) -> Outcome {
    let options = parse(args)?;
    if options.help {
        return Ok(output::show(&super::verb_help(&VERB)));
    }
    let machines = machine::registry_to_read()?.list()?;
    let looks = machines.into_iter().map(Look::at).filter(|look| options.all || look.state() != "dead");
    let mut found: Vec<Found> = looks.map(|look| Found::Here(Box::new(look))).collect();
    if options.all {
        let here: HashSet<MachineName> = found.iter().map(|f| f.name().clone()).collect();
        found.extend(stored::list()?.into_iter().filter(|s| !here.contains(&s.name)).map(Found::Stored));
        found.arrange_by(|a, b| a.name().cmp(b.name()));
    }
    Ok(if options.json {
        output::show_json(&found.iter().map(Found::json).collect::<Vec<_>>())
    } else if options.quiet {
        let mut names: Vec<&MachineName> = found.iter().map(Found::name).collect();
        names.dedup();
        output::show(&names.iter().map(|name| format!("{name}\n")).collect::<String>())
    } else if found.is_empty() {
        0
    } else {
        output::show(&output::table(&HEAD, &found.iter().map(Found::row).collect::<Vec<_>>()))
    })
}

/// A line of the listing.
enum Found {
    /// Runs, or is what a killed supervisor left.
    Here(Box<Look>),
    /// Does not run.
    Stored(Stored),
}

impl Found {
    fn name(&self) -> &MachineName {
        match self {
            Found::Here(look) => &look.machine.name,
            Found::Stored(stored) => &stored.name,
        }
    }

    fn row(&self) -> Vec<String> {
        match self {
            Found::Here(look) => row(look),
            Found::Stored(stored) => {
                let mut cells = vec![stored.name.to_string(), stored.state().to_owned()];
                cells.resize(HEAD.len(), "-".into());
                cells
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Found::Here(look) => row_json(look),
            Found::Stored(stored) => json!({
                "name": stored.name,
                "state": stored.state(),
                "trouble": stored.trouble(),
                "init": null,
                "leader": null,
                "supervisor": null,
                "uptime_seconds": null,
                "addresses": [],
                "memory_bytes": null,
                "memory_resident_bytes": null,
                "tree": stored.tree().map(|path| OsText::from(path.as_os_str())),
            }),
        }
    }
}

const HEAD: [&str; 7] = ["NAME", "STATE", "INIT", "LEADER", "UPTIME", "ADDRESS", "MEMORY"];

fn row(look: &Look) -> Vec<String> {
    let dash = || "-".to_string();
    // One is enough for people; --json has them all.
    let address = look.addresses.first().cloned();
    vec![
        look.machine.name.to_string(),
        look.state().to_owned(),
        look.init().unwrap_or_else(dash),
        look.leader().map_or_else(dash, |pid| pid.to_string()),
        look.uptime().map_or_else(dash, output::duration),
        address.unwrap_or_else(dash),
        look.memory(),
    ]
}

pub(super) fn row_json(look: &Look) -> Value {
    let state = look.machine.known();
    json!({
        "name": look.machine.name,
        "state": look.state(),
        "trouble": look.trouble(),
        "init": look.init(),
        "leader": look.leader(),
        "supervisor": look.supervisor(),
        "uptime_seconds": look.uptime(),
        "addresses": look.addresses,
        "memory_bytes": look.stats.memory_current,
        "memory_resident_bytes": look.resident,
        "tree": state.and_then(|s| s.tree.as_ref()),
    })
}
