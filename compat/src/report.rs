//! Runs the chosen scenarios side by side, prints what differs, and decides.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::compare::{differences, glob};
use crate::ledger::ACCEPTED;
use crate::place;
use crate::run::{self, Outcome};
use crate::scenario::{Kind, Scenario};
use crate::side::{Programs, Side, debian};
use crate::table;

/// How many scenarios at once: they mostly wait for the kernel.
const WORKERS: usize = 3;

/// What takes longer than this is named.
const SLOW: Duration = Duration::from_secs(8);

struct Options {
    show: bool,
    full: bool,
    patterns: Vec<String>,
}

#[derive(Default)]
struct Tally {
    good: usize,
    bad: Vec<&'static str>,
    used: BTreeSet<usize>,
}

/// `inside [--show] [--full] [GLOB…]`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    // whatever loses its parent comes to us instead of to the machine's PID 1
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(reason) => {
            println!("skipped: {reason}");
            return ExitCode::SUCCESS;
        }
    };
    let flag = |name: &str| args.iter().any(|a| a == name);
    let options = Options { show: flag("--show"), full: flag("--full"), patterns: args.iter().filter(|a| !a.starts_with("--")).cloned().collect() };
    let all = table::all();
    let chosen: Vec<&Scenario> = all.iter().filter(|s| options.patterns.is_empty() || options.patterns.iter().any(|p| glob(p, s.name))).collect();
    let debian = debian();
    let (chosen, left_out): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|s| debian || !matches!(s.tree, Kind::Debian | Kind::DebianCopy));
    if !left_out.is_empty() {
        println!("skipped {} scenarios: HOSTEL_QUICK is set, or there is no Debian tree (scripts/trees.sh debian)", left_out.len());
    }
    if let Err(e) = place::prepare() {
        println!("FAIL: make the busybox tree: {e}");
        return ExitCode::FAILURE;
    }
    let (next, tally, started) = (AtomicUsize::new(0), Mutex::new(Tally::default()), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(scenario) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let number = all.iter().position(|s| s.name == scenario.name).unwrap_or(0);
                    let begun = Instant::now();
                    let mut outcomes = both(scenario, &programs, number);
                    if outcomes.as_ref().is_ok_and(|both| timed_out(scenario, both)) {
                        println!("again {}: something took too long", scenario.name);
                        outcomes = both(scenario, &programs, number);
                    }
                    if begun.elapsed() > SLOW {
                        println!("slow {} {:.1?}", scenario.name, begun.elapsed());
                    }
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    judge(scenario, outcomes, &options, &mut tally);
                }
            });
        }
    });
    place::finish();
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut failed = !tally.bad.is_empty();
    if chosen.len() == all.len() {
        for (_, entry) in ACCEPTED.iter().enumerate().filter(|(n, entry)| !tally.used.contains(n) && !entry.sometimes) {
            failed = true;
            println!(
                "the ledger lists a difference that is none: scenarios {:?}, fields {:?}, {:?} and {:?} ({})",
                entry.scenarios, entry.fields, entry.theirs, entry.ours, entry.reason
            );
        }
    }
    println!(
        "{} scenarios as expected, {} kinds of accepted differences, {} failed in {:.1?} {}",
        tally.good,
        tally.used.len(),
        tally.bad.len(),
        started.elapsed(),
        tally.bad.join(" ")
    );
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The original first, then ours, under the same name.
fn both(scenario: &Scenario, programs: &Programs, number: usize) -> std::io::Result<(Outcome, Outcome)> {
    let name = format!("c{number}x{}", std::process::id());
    let top = place::of_this_run();
    let dir = |side: &str| top.join(format!("{number}{side}"));
    let theirs = run::run(Side::Theirs, scenario, programs, &dir("t"), &name)?;
    let ours = run::run(Side::Ours, scenario, programs, &dir("o"), &name)?;
    Ok((theirs, ours))
}

/// Whether there is a difference that may only mean that the machine is busy.
fn timed_out(scenario: &Scenario, (theirs, ours): &(Outcome, Outcome)) -> bool {
    let late = |o: &Outcome| o.get("exit").is_some_and(|e| e.starts_with("still running")) || o.values().any(|v| v.starts_with("waited in vain"));
    (late(theirs) || late(ours)) && differences(scenario.name, theirs, ours).iter().any(|d| d.accepted.is_none())
}

fn judge(scenario: &Scenario, outcomes: std::io::Result<(Outcome, Outcome)>, options: &Options, tally: &mut Tally) {
    let (theirs, ours) = match outcomes {
        Ok(outcomes) => outcomes,
        Err(e) => {
            println!("FAIL {}: {e}", scenario.name);
            tally.bad.push(scenario.name);
            return;
        }
    };
    let found = differences(scenario.name, &theirs, &ours);
    tally.used.extend(found.iter().filter_map(|d| d.accepted));
    let unexplained = found.iter().filter(|d| d.accepted.is_none()).count();
    let mut text = String::new();
    // writing to a String cannot fail
    for d in found.iter().filter(|d| d.accepted.is_none() || options.show) {
        let reason = d.accepted.map_or_else(String::new, |n| format!("  ({:?}: {})", ACCEPTED[n].judgement, ACCEPTED[n].reason));
        let _ = writeln!(text, "  {}\n    theirs: {}\n    ours:   {}{reason}", d.field, d.theirs.escape_debug(), d.ours.escape_debug());
    }
    if unexplained == 0 {
        tally.good += 1;
    } else {
        tally.bad.push(scenario.name);
        let _ = writeln!(text, "  command: {}", scenario.args.join(" "));
        for (side, outcome) in [("theirs", &theirs), ("ours", &ours)] {
            let _ = writeln!(text, "  {side} said: {}", outcome.get("#stderr").map_or("", String::as_str).trim().escape_debug());
        }
    }
    if options.full {
        for (side, outcome) in [("theirs", &theirs), ("ours", &ours)] {
            for (field, value) in outcome {
                let _ = writeln!(text, "  {side} {field} = {}", value.escape_debug());
            }
        }
    }
    if unexplained > 0 || !text.is_empty() {
        println!("{} {}\n{text}", if unexplained == 0 { "ok  " } else { "FAIL" }, scenario.name);
    }
}
