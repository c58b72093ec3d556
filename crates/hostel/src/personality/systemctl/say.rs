//! What changed, and what was refused, in systemd's words.

use std::io;

use hostel_init::install::{Change, Outcome, Refusal};
use hostel_init::root::{Cause, Root};
use hostel_unit::{Kind, UnitName};

use super::options::{Options, Release};
use crate::output;

/// How one release writes.
pub(super) struct Voice<'a> {
    pub(super) release: Release,
    pub(super) root: &'a Root,
    /// `enable`, as in "Failed to enable unit".
    pub(super) verb: &'a str,
    pub(super) quiet: bool,
}

impl<'a> Voice<'a> {
    pub(super) fn new(options: &Options, root: &'a Root, verb: &'a str) -> Voice<'a> {
        Voice { release: options.release, root, verb, quiet: options.quiet }
    }

    /// Says everything; whether all was done.
    pub(super) fn say(&self, outcome: &Outcome) -> bool {
        for change in &outcome.changes {
            match change {
                // a fault is said even when changes are not
                Change::Failed(refusal) => output::tell(format_args!("{}", self.refusal(refusal))),
                Change::Line { file, line, text } => output::tell(format_args!("{}:{line}: {text}", self.root.shown(file))),
                _ if self.quiet => {}
                change => output::tell(format_args!("{}", self.change(change))),
            }
        }
        outcome.failure().is_none()
    }

    fn change(&self, change: &Change) -> String {
        let shown = |path: &str| self.root.shown(path);
        match change {
            Change::Linked { path, target } if self.release == Release::V252 => {
                let arrow = if super::status::is_utf8() { "→" } else { "->" };
                format!("Created symlink {} {arrow} {target}.", shown(path))
            }
            Change::Linked { path, target } => format!("Created symlink '{}' → '{target}'.", shown(path)),
            Change::Removed(path) if self.release == Release::V252 => format!("Removed \"{}\".", shown(path)),
            Change::Removed(path) => format!("Removed '{}'.", shown(path)),
            Change::MaskedPassedOver(path) => format!("Unit {} is masked, ignoring.", shown(path)),
            Change::DanglingPassedOver(path) => format!("Unit {} is an alias to a unit that is not present, ignoring.", shown(path)),
            Change::AuxiliaryMissing(name) => format!("Failed to {} auxiliary unit {name}, ignoring.", self.verb),
            Change::NoDestination { path, by } => format!("Unit {} is added as a dependency to a non-existent unit {by}.", shown(path)),
            Change::Line { file, line, text } => format!("{}:{line}: {text}", shown(file)),
            Change::Failed(refusal) => self.refusal(refusal),
        }
    }

    /// Why something was not done.
    pub(super) fn refusal(&self, refusal: &Refusal) -> String {
        let old = self.release == Release::V252;
        // "Failed to set default unit", "Failed to add dependency on unit"
        let failed = format!("Failed to {} unit{}", self.verb, if old { "," } else { ":" });
        let unit = if old { "unit" } else { "Unit" };
        let (file, quote) = if old { ("file", '"') } else { ("File", '\'') };
        let end = if old { "." } else { "" };
        let shown = |path: &str| self.root.shown(path);
        match refusal {
            Refusal::Missing(name) => format!("{failed} {unit} {name} does not exist{end}"),
            Refusal::Dangling(path) => {
                format!("{failed} {unit} {} does not exist{end}", path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name))
            }
            Refusal::Masked(path) => format!("{failed} {unit} {} is masked{end}", shown(path)),
            Refusal::Generated(path) | Refusal::Transient(path) => format!("{failed} {unit} {} is transient or generated{end}", shown(path)),
            Refusal::Exists(path, None) => format!("{failed} {file} {quote}{}{quote} already exists{end}", shown(path)),
            Refusal::Exists(path, Some(target)) if old => {
                format!("{failed} {file} \"{}\" already exists and is a symlink to \"{target}\".", shown(path))
            }
            Refusal::Exists(path, Some(target)) => format!("{failed} File '{}' already exists and is a symlink to {target}", shown(path)),
            Refusal::Alias { unit, alias } if old => format!("{failed} cannot alias {unit} as {alias}."),
            Refusal::Alias { unit, alias } => format!("{failed} Cannot alias {unit} as {alias}"),
            Refusal::Template { unit, by } if old => format!("Failed to {} {unit}, destination unit {by} is a non-template unit.", self.verb),
            Refusal::Template { unit, by } => {
                format!("{failed} Refusing to operate on template unit {unit} when destination unit {by} is a non-template unit")
            }
            Refusal::Name(name) if old => format!("{failed} \"{name}\" is not a valid unit name."),
            Refusal::Name(name) => format!("{failed} Invalid unit name {name}"),
            Refusal::Wrong(path, why) => format!("{failed} {unit} {}: {why}.", shown(path)),
            Refusal::File(path, errno) => format!("{failed} {file} {quote}{path}{quote}: {}", plain(*errno)),
            Refusal::Syntax(text) => format!("{failed} {}", shown(text)),
            Refusal::Root(e) => {
                let cause = if let Cause::Os(errno) = e.cause { plain(errno) } else { e.cause.to_string() };
                format!("{failed} {} {}: {cause}.", e.verb, shown(&e.path))
            }
        }
    }
}

/// The system's words for an error, without its number.
pub(super) fn plain(errno: rustix::io::Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Turns words into names of units as a person means them; globs and characters that names do not have are told of.
pub(super) fn names(verb: &str, words: &[String]) -> Result<Vec<UnitName>, String> {
    words.iter().map(|word| name(verb, word, Kind::Service)).collect()
}

pub(super) fn name(verb: &str, word: &str, kind: Kind) -> Result<UnitName, String> {
    if !verb.is_empty() && word.contains(['*', '?', '[']) {
        output::tell(format_args!("Glob pattern passed to {verb}, but globs are not supported for this."));
    }
    let (name, escaped) = UnitName::mangle(word, kind).map_err(|e| format!("Failed to mangle unit name \"{word}\": {}.", e.why))?;
    if escaped {
        let stem = name.as_str().strip_suffix(".service").filter(|_| !word.ends_with(".service")).unwrap_or(name.as_str());
        output::tell(format_args!("Invalid unit name \"{word}\" escaped as \"{stem}\"."));
    }
    Ok(name)
}
