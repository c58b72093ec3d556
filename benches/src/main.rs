//! hostel-bench: what a start, an exec, a parse and five hundred idle machines cost, beside the floor and the peers.
//!
//! ```text
//! cargo run --release -p hostel-bench -- SCENARIO [OPTIONS]
//!   start      one machine that runs `true`, against the floor and every peer that is installed
//!   variants   the same with a user namespace, an overlay, its own network; `hostel run`
//!   exec       `true` in a running machine, against one setns and one vfork
//!   parse      `--version`: what the program costs before it does anything
//!   subhosts   the same over this host's own `/`; a hundred of them; diff; what killed ones leave behind
//!   density    up to 500 idle machines: time of each start, memory of each supervisor
//!   size       the binary
//!   all        all of them
//! ```
//! Every figure is only worth what stands beside it in the same run: the commands run in turn, in a new random order
//! each round, on an otherwise idle machine if the gate is on. See BENCHMARKS.md.

mod bed;
mod density;
mod options;
mod peers;
mod report;
mod runner;
mod scenarios;
mod subhosts;

use std::process::ExitCode;

use options::Options;

/// What went wrong, for people.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("hostel-bench: {text}");
            ExitCode::from(1)
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = Options::parse(&args)? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    if !rustix::process::geteuid().is_root() {
        return Err("it starts machines: run it as root".into());
    }
    if !bed::is_inside() {
        let programs = bed::build(&options)?;
        return bed::enter(&args, &options, &programs);
    }
    let bed = bed::Bed::make(&options)?;
    let mut reports = Vec::new();
    let result = options.scenarios().into_iter().try_for_each(|scenario| {
        let report = scenarios::run(scenario, &bed, &options)?;
        print!("{report}");
        reports.push(report);
        Ok(())
    });
    drop(bed);
    if let Some(path) = &options.json {
        let text = report::json(&reports);
        match path.as_str() {
            "-" => println!("{text}"),
            path => std::fs::write(path, text + "\n").map_err(|e| format!("write {path}: {e}"))?,
        }
    }
    result
}
