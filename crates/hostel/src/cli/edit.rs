//! `hostel edit`, `hostel cat`: the settings file of a machine, NAME.nspawn.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use hostel_engine::error::{Context, Error, Result};
use hostel_spec::MachineName;
use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::{Failure, Outcome, Verb, start};
use crate::{output, settings};

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

/// The settings of a machine that count, each file under its path.
pub(crate) fn text(name: &MachineName) -> std::result::Result<String, Failure> {
    let files = settings::of_machine(name)?;
    if files.is_empty() {
        let error = Error::new("find", format!("settings of {name}"), format!("there is no {name}.nspawn in /etc/systemd/nspawn and its like"));
        return Err(error.hint(format!("`hostel edit {name}` makes one")).into());
    }
    let mut out = String::new();
    for (n, file) in files.iter().enumerate() {
        out.push_str(&format!("{}# {}\n{}", if n > 0 { "\n" } else { "" }, file.path, String::from_utf8_lossy(&file.text)));
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    Ok(out)
}

/// Lets a person change the file: a copy is edited, and takes its place, with its mode and owner, when it is done.
pub(crate) fn edit(name: &MachineName) -> Outcome {
    let named = settings::of_administrator(name);
    if let Some(directory) = named.parent() {
        std::fs::create_dir_all(directory).context("make directory", directory.display().to_string())?;
    }
    let old = Original::find(named)?;
    let copy = old.path.with_file_name(format!(".#{name}.nspawn{:016x}", hostel_engine::supervisor::random_u64()));
    let placed = write(&copy, &old.text).and_then(|()| run_editor(&copy)).and_then(|()| old.replace_by(&copy));
    if !matches!(placed, Ok(true)) {
        // Best effort: what went wrong is told below.
        let _ = std::fs::remove_file(&copy);
    }
    if !placed? {
        output::tell(format_args!("hostel: {} was not changed", old.path.display()));
    }
    Ok(0)
}

/// The file that is edited, as it is before: where a link leads, not the link.
struct Original {
    path: PathBuf,
    text: Vec<u8>,
    /// `None`: there is none yet.
    stat: Option<Stat>,
}

impl Original {
    fn find(named: PathBuf) -> Result<Self> {
        let shown = named.display().to_string();
        let path = match std::fs::symlink_metadata(&named) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self { path: named, text: Vec::new(), stat: None }),
            Err(e) => return Err(e).context("read", shown),
            Ok(found) if found.is_symlink() => std::fs::canonicalize(&named).context("follow", shown.clone())?,
            Ok(_) => named.clone(),
        };
        // What is made beside it, under a name, would be in somebody else's hands.
        let roots = |directory: &Path| rustix::fs::stat(directory).is_ok_and(|stat| settings::roots_alone(&stat));
        if path != named && !path.ancestors().skip(1).all(roots) {
            let why = format!("it is a link to {}, in a directory that not only root can write", path.display());
            return Err(Error::new("edit", shown, why).hint("edit that file itself, or replace the link by a file"));
        }
        let (fd, stat) = regular(&path)?;
        let mut text = Vec::new();
        File::from(fd).read_to_end(&mut text).context("read", path.display().to_string())?;
        Ok(Self { path, text, stat: Some(stat) })
    }

    /// Puts the edited copy in its place. `false`: nothing was changed in it.
    fn replace_by(&self, copy: &Path) -> Result<bool> {
        let shown = || copy.display().to_string();
        // Editors, too, put a new file in an old one's place.
        let (fd, _) = regular(copy)?;
        let mut file = File::from(fd);
        let mut new = Vec::new();
        file.read_to_end(&mut new).context("read", shown())?;
        if new == self.text || (new.iter().all(u8::is_ascii_whitespace) && self.text.is_empty()) {
            return Ok(false);
        }
        if let Some(stat) = &self.stat {
            fchown(&file, Some(stat.st_uid), Some(stat.st_gid)).context("give away", shown())?;
        }
        let mode = self.stat.as_ref().map_or(0o644, |stat| stat.st_mode & 0o7777);
        file.set_permissions(Permissions::from_mode(mode)).context("change the mode of", shown())?;
        std::fs::rename(copy, &self.path).context("write", self.path.display().to_string())?;
        Ok(true)
    }
}

fn regular(path: &Path) -> Result<(OwnedFd, Stat)> {
    let shown = path.display().to_string();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).context("read", shown.clone())?;
    let stat = rustix::fs::fstat(&fd).context("read", shown.clone())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((fd, stat)),
        _ => Err(Error::new("edit", shown, "it is no regular file").hint("a link to /dev/null masks the file: remove the link first")),
    }
}

/// Only root's until it is done: the settings may be.
fn write(path: &Path, text: &[u8]) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).context("make", path.display().to_string())?;
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
