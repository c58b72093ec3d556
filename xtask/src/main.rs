//! `cargo xtask`: what keeps this repository true to its own rules. Each task prints what it found and fails on a breach.

mod edges;
mod files;
mod generate;
mod graph;
mod licences;
mod links;
mod size;
mod source;
mod unsafety;

use std::path::PathBuf;
use std::process::ExitCode;

/// What a task says when all is well, or what is wrong, a line each.
type Outcome = Result<String, Vec<String>>;

struct Task {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

/// Every task; `check` runs those that need no build.
const TASKS: [Task; 7] = [
    Task { name: "edges", about: "who imports whom: any crate edge the design does not have fails", run: |_| edges::check() },
    Task { name: "unsafe", about: "unsafe code only in crates/sys, crates/liblxc, tests/probe and benches", run: |_| unsafety::check() },
    Task { name: "files", about: "Rust files of more than 700 lines fail, functions of more than 80 lines are named", run: |_| files::check() },
    Task { name: "licences", about: "licences, sources and number of the crates we depend on", run: |_| licences::check() },
    Task { name: "links", about: "files and tests that the documents name exist", run: |_| links::check() },
    Task { name: "generate", about: "write COMPATIBILITY.md and what else is made from tables; --check: fail when stale", run: generate::run },
    Task { name: "size", about: "[FILE] the release binary is static and below 5.5 MiB", run: size::check },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("", String::as_str);
    let rest = args.get(1..).unwrap_or_default();
    if name == "check" {
        let check = ["--check".to_owned()];
        let runs = ["edges", "unsafe", "files", "licences", "links", "generate"].map(|name| say(name, &check));
        return if runs.into_iter().all(|good| good) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if TASKS.iter().all(|task| task.name != name) {
        eprintln!("cargo xtask TASK\n\n  {:<9} all of these but size, which needs a build", "check");
        for task in &TASKS {
            eprintln!("  {:<9} {}", task.name, task.about);
        }
        return ExitCode::from(2);
    }
    if say(name, rest) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a task and prints its outcome; whether it was good.
fn say(name: &str, args: &[String]) -> bool {
    let Some(task) = TASKS.iter().find(|task| task.name == name) else { return false };
    match (task.run)(args) {
        Ok(text) => {
            println!("{name}: {text}");
            true
        }
        Err(faults) => {
            for fault in &faults {
                eprintln!("{name}: {fault}");
            }
            false
        }
    }
}

/// The repository's top directory.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}
