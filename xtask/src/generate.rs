//! Files made from the program's own tables. They are in the repository, so that they can be read there; CI fails when one is stale.

use std::fmt::Write as _;

use super::Outcome;

/// The comparison's own list of accepted differences.
#[path = "../../compat/src/ledger.rs"]
#[allow(dead_code, unreachable_pub)]
mod ledger;
use ledger::{ACCEPTED, Judgement};

/// What stands above the tables of COMPATIBILITY.md, and the differences that no table knows.
const INTRODUCTION: &str = "docs/compatibility.md";

/// Writes every generated file, or with `--check` only compares.
pub(crate) fn run(args: &[String]) -> Outcome {
    let check = args.iter().any(|a| a == "--check");
    let mut faults = Vec::new();
    let mut written = Vec::new();
    for (path, text) in files()? {
        let full = super::root().join(&path);
        if std::fs::read(&full).is_ok_and(|found| found == text.as_bytes()) {
            continue;
        }
        if check {
            faults.push(format!("{path} is stale: run cargo xtask generate"));
            continue;
        }
        let made = full.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&full, &text));
        made.map_err(|e| vec![format!("write {path}: {e}")])?;
        written.push(path);
    }
    match (faults.is_empty(), written.is_empty()) {
        (false, _) => Err(faults),
        (true, true) => Ok("up to date".into()),
        (true, false) => Ok(format!("wrote {}", written.join(", "))),
    }
}

fn files() -> Result<Vec<(String, String)>, Vec<String>> {
    let introduction = super::source::read(INTRODUCTION.as_ref())?;
    let note = format!(
        "<!-- Made by `cargo xtask generate` from {INTRODUCTION}, the option rows of crates/nspawn, the variables of crates/subhost, the verbs of crates/hostel and compat/src/ledger.rs. Do not edit. -->"
    );
    let (head, tail) = introduction.split_once("<!-- tables -->\n").unwrap_or((&introduction, ""));
    let compatibility = format!(
        "{note}\n{head}\n{}\n{}\n{}\n{}\n{}\n{}{tail}",
        hostel_nspawn::compat::markdown(),
        hostel::personality::machinectl::help::markdown(),
        hostel::personality::systemctl::help::markdown(),
        hostel::personality::journalctl::help::markdown(),
        hostel_subhost::variables::markdown(),
        differences()
    );
    Ok(vec![("COMPATIBILITY.md".into(), compatibility)])
}

/// The ledger as a table.
fn differences() -> String {
    let mut out = String::from(
        "## Measured differences from systemd-nspawn 252\n\nThe same scenarios run on both (`compat/`); outcomes are compared field by field. \
         What differs is here with its reason, and an entry that nothing needs any more fails the comparison. `*` stands for any text.\n\n\
         | scenarios | field | systemd-nspawn 252 | hostel | | why |\n|---|---|---|---|---|---|\n",
    );
    let code = |text: &str| if text.is_empty() { "(empty)".to_owned() } else { format!("`{}`", text.replace('|', "\\|")) };
    let list = |text: &str| text.split('|').map(|part| format!("`{part}`")).collect::<Vec<_>>().join(", ");
    for row in ACCEPTED {
        let judgement = match row.judgement {
            Judgement::TheirDefect => "mended",
            Judgement::Better => "better",
            Judgement::Differs => "differs",
        };
        // writing to a String cannot fail
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {judgement} | {} |",
            list(row.scenarios),
            list(row.fields),
            code(row.theirs),
            code(row.ours),
            row.reason.replace('|', "\\|")
        );
    }
    out
}
