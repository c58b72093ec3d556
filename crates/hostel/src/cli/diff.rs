//! `hostel diff`: what a kept machine changed of what it lies over.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hostel_engine::error::Error;
use hostel_overlay::packages::{Packages, packages};
use hostel_overlay::{Change, Kind, Layer, What, patch, read_both};
use hostel_spec::{Arrange as _, MachineName};
use lexopt::Arg::{Long, Short, Value};

use super::{Failure, Outcome, Verb, look};
use crate::native::kept;
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "diff",
    args: "NAME [PATH] [--stat|--patch|--packages|--json]",
    about: "show what a kept machine changed",
    options: &[
        ("--stat", "with sizes, and how many of what"),
        ("--patch", "the lines that changed of files that are text"),
        ("--packages", "packages that were installed, upgraded, removed"),
        ("--json", "everything, as JSON"),
    ],
    examples: &[
        ("hostel diff try1", "A added, M changed, m other mode, owner or attributes, D deleted"),
        ("hostel diff try1 /etc --patch", "in /etc, line by line"),
    ],
    run,
};

/// Bytes of a file that is compared line by line.
const TEXT: usize = 8 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Names,
    Stat,
    Patch,
    Packages,
    Json,
}

fn run(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut name, mut path, mut form) = (None, None, Form::Names);
    while let Some(arg) = words.next()? {
        let asked = match arg {
            Long("stat") => Form::Stat,
            Long("patch") => Form::Patch,
            Long("packages") => Form::Packages,
            Long("json") => Form::Json,
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&VERB))),
            Value(word) if name.is_none() => {
                look::one(&mut name, &word)?;
                continue;
            }
            Value(word) if path.is_none() => {
                path = Some(PathBuf::from("/").join(word));
                continue;
            }
            other => return Err(other.unexpected().into()),
        };
        if form != Form::Names {
            return Err(Failure::Usage("--stat, --patch, --packages and --json: one of them".into()));
        }
        form = asked;
    }
    let name = look::required(name)?;
    let found = Found::look(&name)?;
    let mut shown = found.changes.clone();
    shown.retain(|c| path.as_ref().is_none_or(|p| Path::new(c.path.as_os_str()).starts_with(p)));
    match form {
        Form::Names => Ok(output::show(&listed(&shown, false))),
        Form::Stat => Ok(output::show(&format!("{}{}\n", listed(&shown, true), summary(&shown, &found.packages)))),
        Form::Patch => show_patch(&found.layers, &shown),
        Form::Packages => Ok(output::show(&listed_packages(&found.packages))),
        Form::Json => {
            let value = serde_json::json!({ "machine": name.as_str(), "lower": hostel_spec::OsText(found.lower.clone().into()), "changes": shown, "packages": found.packages });
            Ok(output::show_json(&value))
        }
    }
}

/// All that is known of a kept machine's changes.
pub(super) struct Found {
    pub(super) lower: PathBuf,
    pub(super) layers: Vec<Layer>,
    pub(super) changes: Vec<Change>,
    pub(super) packages: Packages,
}

impl Found {
    pub(super) fn look(name: &MachineName) -> Result<Self, Error> {
        hostel_engine::host::require_root()?;
        let (lower, layers) = kept::layers(name)?;
        let changes = hostel_overlay::diff(&layers)?;
        let packages = packages(&layers, &changes)?;
        Ok(Self { lower, layers, changes, packages })
    }
}

fn count(number: usize, what: &str) -> Option<String> {
    (number > 0).then(|| format!("{number} {what}"))
}

/// `3 changed, 37 added, 2 deleted, 4.1M; packages: 12 upgraded, 3 new`
pub(super) fn summary(changes: &[Change], packages: &Packages) -> String {
    let of = |what: &[What]| changes.iter().filter(|c| what.contains(&c.what)).count();
    let parts = [
        count(of(&[What::Changed, What::Metadata]), "changed"),
        count(of(&[What::Added]), "added"),
        count(of(&[What::Deleted]), "deleted"),
        Some(output::bytes(changes.iter().map(|c| c.bytes).sum())),
    ];
    let mut out = if changes.is_empty() { "nothing changed".to_owned() } else { parts.into_iter().flatten().collect::<Vec<_>>().join(", ") };
    if !packages.is_empty() {
        let unread = packages.unread.iter().map(|d| format!("the {d} database changed"));
        let parts = [count(packages.changed.len(), "upgraded"), count(packages.added.len(), "new"), count(packages.removed.len(), "removed")];
        out.push_str("; packages: ");
        out.push_str(&parts.into_iter().flatten().chain(unread).collect::<Vec<_>>().join(", "));
    }
    out
}

/// A line per change.
pub(super) fn listed(changes: &[Change], sizes: bool) -> String {
    let mut out = String::new();
    for change in changes {
        let slash = if change.kind == Kind::Directory && change.path.as_bytes() != b"/" { "/" } else { "" };
        let size = match change.what {
            _ if !sizes => String::new(),
            What::Deleted => format!("{:>8} ", "-"),
            _ => format!("{:>8} ", output::bytes(change.bytes)),
        };
        out.push_str(&format!("{} {size}{}{slash}\n", change.what.letter(), output::clean(&change.path.to_string_lossy())));
    }
    out
}

fn listed_packages(packages: &Packages) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    lines.extend(packages.added.iter().map(|(name, version)| (name.as_str(), format!("A {name} {version}"))));
    lines.extend(packages.changed.iter().map(|(name, old, new)| (name.as_str(), format!("M {name} {old} -> {new}"))));
    lines.extend(packages.removed.iter().map(|(name, version)| (name.as_str(), format!("D {name} {version}"))));
    lines.arrange();
    let mut out: String = lines.iter().map(|(_, line)| format!("{}\n", output::clean(line))).collect();
    out.extend(packages.unread.iter().map(|database| format!("? the {database} database changed; what it holds is not read\n")));
    out
}

fn show_patch(layers: &[Layer], changes: &[Change]) -> Outcome {
    for change in changes {
        let path = output::clean(&change.path.to_string_lossy());
        let mut text = format!("# {} {path}\n", change.what.letter()).into_bytes();
        if change.kind == Kind::File || change.was == Some(Kind::File) {
            let (old, new) = read_both(&layers[change.layer], &change.inside, TEXT).map_err(Error::from)?;
            let new = if change.what == What::Deleted { None } else { new };
            if old != new {
                let side = |there: bool, letter: char| if there { format!("{letter}{path}") } else { "/dev/null".to_owned() };
                let (before, after) = (side(old.is_some(), 'a'), side(new.is_some(), 'b'));
                match patch::unified(&old.unwrap_or_default(), &new.unwrap_or_default()) {
                    Some(lines) => text.extend(format!("--- {before}\n+++ {after}\n").bytes().chain(lines)),
                    None => text.extend(format!("Files {before} and {after} differ\n").bytes()),
                }
            }
        }
        if !output::write(&text).map_err(|e| Error::new("write", "standard output", e))? {
            break;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let run = |words: &[&str]| run(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for bad in [&[][..], &["a", "/x", "/y"], &["a", "--stat", "--json"], &["/etc"], &["a", "--no"]] {
            assert!(matches!(run(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }

    #[test]
    fn summaries() {
        assert_eq!(summary(&[], &Packages::default()), "nothing changed");
        let found = Packages {
            added: vec![("a".into(), "1".into())],
            changed: vec![("b".into(), "1".into(), "2".into())],
            unread: vec!["rpm"],
            ..Packages::default()
        };
        assert_eq!(summary(&[], &found), "nothing changed; packages: 1 upgraded, 1 new, the rpm database changed");
        assert_eq!(listed_packages(&found), "A a 1\nM b 1 -> 2\n? the rpm database changed; what it holds is not read\n");
    }
}
