//! `edit`: a drop-in, or a whole unit file, by an editor or out of standard input. What is edited are copies in a directory of our
//! own; a tree's files are written by descriptor.

use std::io::{IsTerminal, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use hostel_init::catalogue::{Catalogue, Found};
use hostel_init::root::Root;
use hostel_unit::{UnitName, dropin};

use super::options::Options;
use super::say::names;
use super::{Outcome, catalogue, files, root};
use crate::output;

/// Longest text that is taken.
const TEXT_MAX: u64 = 1 << 20;
/// What is between these lines becomes the drop-in.
const BEGIN: &str = "### What stands between this line and the next of its kind becomes the drop-in ";
const END: &str = "### What stands below this line is not kept: the unit as it is";

/// One file of a unit.
struct Edited {
    unit: UnitName,
    /// Where it will be, in the tree.
    path: String,
    /// The copy that is edited.
    copy: PathBuf,
}

pub(super) fn edit(options: &Options, words: &[String]) -> Outcome {
    let drop_in = match &options.drop_in {
        None => "override.conf".to_owned(),
        Some(name) if name.ends_with(".conf") => name.clone(),
        Some(name) => format!("{name}.conf"),
    };
    if !dropin::is_dropin(&drop_in) {
        return Err(format!("Invalid drop-in file name '{drop_in}'."));
    }
    let names = names("edit", words)?;
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    for name in &names {
        match catalogue.find(name) {
            Found::File { .. } => {}
            Found::Masked { .. } => return Err(format!("Cannot edit {name}: unit is masked.")),
            _ if options.force => {}
            _ => return Err(format!("No files found for {name}.\nRun 'systemctl edit --force --full {name}' to create a new unit.")),
        }
    }
    let config = catalogue.search.config(options.runtime);
    let path = |name: &UnitName| if options.full { format!("{config}/{name}") } else { format!("{config}/{name}.d/{drop_in}") };
    let texts = if options.stdin {
        let mut text = Vec::new();
        std::io::stdin().lock().take(TEXT_MAX + 1).read_to_end(&mut text).map_err(|e| format!("Failed to read standard input: {e}"))?;
        let text = checked(text, "Standard input")?.ok_or("Edit canceled: standard input is empty.")?;
        names.iter().map(|name| (name.clone(), path(name), text.clone())).collect()
    } else {
        by_editor(options, &catalogue, names.iter().map(|name| (name.clone(), path(name))).collect())?
    };
    for (name, path, text) in &texts {
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        root.make_directories(directory).and_then(|()| root.write(path, text)).map_err(|e| format!("Failed to edit {name}: {e}"))?;
        if !options.quiet {
            output::tell(format_args!("Successfully installed edited file '{}'.", root.shown(path)));
        }
    }
    if options.root.is_none() && !options.no_reload && !texts.is_empty() {
        files::reload()?;
    }
    Ok(0)
}

/// What can be read back; `None`: there is nothing in it.
fn checked(text: Vec<u8>, what: &str) -> Result<Option<Vec<u8>>, String> {
    if text.len() as u64 > TEXT_MAX {
        return Err(format!("{what} is longer than 1 MiB."));
    }
    hostel_unit::file::File::parse(&text).map_err(|e| format!("{what} is no unit file: line {}: {}", e.line, e.why))?;
    Ok((!text.iter().all(u8::is_ascii_whitespace)).then_some(text))
}

/// Lets an editor change copies; what is to be written of them.
fn by_editor(options: &Options, catalogue: &Catalogue<'_>, targets: Vec<(UnitName, String)>) -> Result<Vec<(UnitName, String, Vec<u8>)>, String> {
    // one that is named for this very program may be a script
    if std::env::var_os("SYSTEMD_EDITOR").is_none() && !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Err("Cannot edit units if not on a tty.".to_owned());
    }
    let directory = std::env::temp_dir().join(format!("systemctl-edit-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&directory).map_err(|e| format!("Failed to make {}: {e}", directory.display()))?;
    let texts = edited(options, catalogue, targets, &directory);
    // copies of what cannot be written are kept: they are somebody's work
    match &texts {
        Err(why) if why.contains("is no unit file") => return texts.map_err(|why| format!("{why} It is kept in {}.", directory.display())),
        _ => drop(std::fs::remove_dir_all(&directory)),
    }
    texts
}

fn edited(
    options: &Options,
    catalogue: &Catalogue<'_>,
    targets: Vec<(UnitName, String)>,
    directory: &std::path::Path,
) -> Result<Vec<(UnitName, String, Vec<u8>)>, String> {
    let mut files = Vec::new();
    for (number, (unit, path)) in targets.into_iter().enumerate() {
        let base = path.rsplit('/').next().unwrap_or_default();
        // two units may have a drop-in of one name
        let copy = directory.join(format!("{number}")).join(base);
        let text = begin_with(catalogue, &unit, &path, options.full);
        std::fs::create_dir(directory.join(format!("{number}")))
            .and_then(|()| std::fs::write(&copy, text))
            .map_err(|e| format!("Failed to write {}: {e}", copy.display()))?;
        files.push(Edited { unit, path, copy });
    }
    run_editor(&files)?;
    let mut texts = Vec::new();
    for Edited { unit, path, copy } in files {
        let text = std::fs::read(&copy).map_err(|e| format!("Failed to read {}: {e}", copy.display()))?;
        let kept = if options.full { text } else { without_rest(&text) };
        match checked(kept, &format!("What was edited for {unit}"))? {
            Some(text) => texts.push((unit, path, text)),
            None => output::tell(format_args!("Editing \"{}\" canceled: it is empty.", catalogue.root.shown(&path))),
        }
    }
    Ok(texts)
}

/// What the editor shows first.
fn begin_with(catalogue: &Catalogue<'_>, unit: &UnitName, path: &str, full: bool) -> Vec<u8> {
    let root: &Root = catalogue.root;
    let fragment = match catalogue.find(unit) {
        Found::File { path, .. } => Some(path),
        _ => None,
    };
    let old = root.read(path).ok();
    if full {
        return old.or_else(|| root.read(&fragment?).ok()).unwrap_or_default();
    }
    let mut text = format!("{BEGIN}{}\n\n", root.shown(path)).into_bytes();
    text.extend(old.unwrap_or_default());
    text.extend(format!("\n\n{END}\n").bytes());
    let loaded = hostel_init::load::load(catalogue, unit);
    for file in fragment.iter().chain(loaded.dropins.iter()).filter(|file| *file != path) {
        text.extend(format!("\n### {}\n", root.shown(file)).bytes());
        for line in String::from_utf8_lossy(&root.read(file).unwrap_or_default()).lines() {
            text.extend(format!("# {line}").trim_end().bytes());
            text.push(b'\n');
        }
    }
    text
}

/// What is between the two lines; of a text from which they were taken, all.
fn without_rest(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let kept = text.split_once(END).map_or(&*text, |(kept, _)| kept);
    let kept = match kept.find(BEGIN) {
        Some(at) => kept[at..].split_once('\n').map_or("", |(_, rest)| rest),
        None => kept,
    };
    match kept.trim() {
        "" => Vec::new(),
        kept => format!("{kept}\n").into_bytes(),
    }
}

/// The first editor that there is.
fn run_editor(files: &[Edited]) -> Result<(), String> {
    let asked = ["SYSTEMD_EDITOR", "EDITOR", "VISUAL"].iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()));
    let lines = asked.map_or_else(|| ["editor", "nano", "vim", "vi"].map(str::to_owned).to_vec(), |line| vec![line]);
    for line in &lines {
        let words = hostel_unit::words(line, hostel_unit::WordRules::UNIT).unwrap_or_else(|_| vec![line.clone()]);
        let Some((program, arguments)) = words.split_first() else { continue };
        match std::process::Command::new(program).args(arguments).args(files.iter().map(|file| &file.copy)).status() {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => return Err(format!("Editor {program} failed ({status}): nothing is changed.")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(format!("Failed to execute editor {program}: {e}")),
        }
    }
    Err(format!("Cannot edit units, no editor available: {} not found. Set $SYSTEMD_EDITOR, $EDITOR or $VISUAL.", lines.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_is_kept() {
        let text = |between: &str| format!("{BEGIN}/etc/x.conf\n{between}\n{END}\n\n### /lib/x\n# [Service]\n");
        let kept = |text: &str| String::from_utf8(without_rest(text.as_bytes())).unwrap();
        assert_eq!(kept(&text("\n[Service]\nNice=3\n\n")), "[Service]\nNice=3\n");
        assert_eq!(kept(&text("")), "");
        assert_eq!(kept("[Unit]\nDescription=x"), "[Unit]\nDescription=x\n");
        assert_eq!(kept(&format!("[Unit]\n{END}\nrest")), "[Unit]\n");
        assert_eq!(checked(b" \n".to_vec(), "x"), Ok(None));
        assert!(checked(b"[Service\n".to_vec(), "x").is_err());
    }
}
