//! Files made from the program's own tables. They are in the repository, so that they can be read there; CI fails when one is stale.

use super::Outcome;

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
    let note = format!("<!-- Made by `cargo xtask generate` from the option rows of crates/nspawn and {INTRODUCTION}. Do not edit. -->");
    let (head, tail) = introduction.split_once("<!-- tables -->\n").unwrap_or((&introduction, ""));
    let compatibility = format!("{note}\n{head}\n{}{tail}", hostel_nspawn::compat::markdown());
    Ok(vec![("COMPATIBILITY.md".into(), compatibility)])
}
