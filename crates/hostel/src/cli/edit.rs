//! `hostel edit`, `hostel cat`: the settings file of a machine, NAME.nspawn.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hostel_engine::error::{Context, Error, Result};
use hostel_spec::MachineName;

use super::{Failure, Outcome, Verb, start};
use crate::output;

/// `hostel edit`.
pub(super) const EDIT: Verb = Verb {
    name: "edit",
    args: "TREE...",
    about: "edit the settings files of machines in /etc/systemd/nspawn, with $SYSTEMD_EDITOR or $EDITOR",
    options: &[],
    examples: &[("hostel edit web", "/etc/systemd/nspawn/web.nspawn, made if it is missing")],
    run: |args| run(args, &EDIT, edit),
};

/// `hostel cat`.
pub(super) const CAT: Verb = Verb {
    name: "cat",
    args: "TREE...",
    about: "print the settings files of machines",
    options: &[],
    examples: &[("hostel cat web", "web.nspawn and its drop-ins, each with its path")],
    run: |args| run(args, &CAT, |name| Ok(output::show(&text(name)?))),
};

/// Where settings are, best first.
const SEARCH: [&str; 3] = ["/etc/systemd/nspawn", "/run/systemd/nspawn", "/var/lib/machines"];
/// When no variable names one.
const EDITORS: [&str; 4] = ["editor", "nano", "vim", "vi"];

fn run(args: &[OsString], verb: &Verb, each: fn(&MachineName) -> Outcome) -> Outcome {
    let Some(names) = start::names(args)? else { return Ok(output::show(&super::verb_help(verb))) };
    let mut status = 0;
    for name in &names {
        status = each(name)?;
    }
    Ok(status)
}

/// The settings of a machine as they are found, each file under its path.
pub(crate) fn text(name: &MachineName) -> std::result::Result<String, Failure> {
    let file = format!("{name}.nspawn");
    let mut files: Vec<PathBuf> = SEARCH.iter().map(|dir| Path::new(dir).join(&file)).filter(|p| p.is_file()).take(1).collect();
    for dir in SEARCH {
        let mut drop_ins: Vec<PathBuf> =
            std::fs::read_dir(Path::new(dir).join(format!("{file}.d"))).into_iter().flatten().flatten().map(|e| e.path()).collect();
        drop_ins.retain(|p| p.extension().is_some_and(|e| e == "conf"));
        drop_ins.sort();
        files.extend(drop_ins);
    }
    if files.is_empty() {
        let error = Error::new("find", format!("settings of {name}"), format!("there is no {file} in /etc/systemd/nspawn and its like"));
        return Err(error.hint(format!("`hostel edit {name}` makes one")).into());
    }
    let mut out = String::new();
    for (n, path) in files.iter().enumerate() {
        let text = std::fs::read(path).context("read", path.display().to_string())?;
        out.push_str(&format!("{}# {}\n{}", if n > 0 { "\n" } else { "" }, path.display(), String::from_utf8_lossy(&text)));
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    Ok(out)
}

/// Lets a person change the file: a copy is edited, and takes its place when it is done.
pub(crate) fn edit(name: &MachineName) -> Outcome {
    let path = Path::new(SEARCH[0]).join(format!("{name}.nspawn"));
    let old = match std::fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.context("read", path.display().to_string())?,
    };
    std::fs::create_dir_all(SEARCH[0]).context("make directory", SEARCH[0])?;
    let copy = Path::new(SEARCH[0]).join(format!(".#{name}.nspawn{:016x}", hostel_engine::supervisor::random_u64()));
    let written = write(&copy, &old).and_then(|()| run_editor(&copy)).and_then(|()| std::fs::read(&copy).context("read", copy.display().to_string()));
    let placed = written.and_then(|new| {
        if new == old || (new.iter().all(u8::is_ascii_whitespace) && old.is_empty()) {
            return Ok(false);
        }
        std::fs::rename(&copy, &path).context("write", path.display().to_string()).map(|()| true)
    });
    if !matches!(placed, Ok(true)) {
        // Best effort: what went wrong is told below.
        let _ = std::fs::remove_file(&copy);
    }
    if !placed? {
        output::tell(format_args!("hostel: {} was not changed", path.display()));
    }
    Ok(0)
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).context("make", path.display().to_string())?;
    file.write_all(text).context("write", path.display().to_string())
}

/// The words of a variable are the program and its first arguments; there is no shell in between.
fn run_editor(path: &Path) -> Result<()> {
    let named = ["SYSTEMD_EDITOR", "EDITOR", "VISUAL"].iter().find_map(|v| std::env::var(v).ok().filter(|e| !e.trim().is_empty()));
    let candidates: Vec<Vec<String>> = match named {
        Some(words) => vec![words.split_whitespace().map(str::to_owned).collect()],
        None => EDITORS.iter().map(|e| vec![(*e).to_owned()]).collect(),
    };
    for words in &candidates {
        let Some((program, arguments)) = words.split_first() else { continue };
        return match Command::new(program).args(arguments).arg(path).status() {
            Err(e) if e.kind() == io::ErrorKind::NotFound && candidates.len() > 1 => continue,
            Err(e) => Err(e).context("run", format!("editor {program}")),
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Error::new("run", format!("editor {program}"), status)),
        };
    }
    Err(Error::new("find", "editor", "there is none of editor, nano, vim and vi").hint("set EDITOR"))
}
