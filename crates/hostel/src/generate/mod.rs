//! Completions and manual pages, made of the rows that the parsers read: verbs, native options, systemd-nspawn's options.

mod bash;
mod fish;
mod man;
#[cfg(test)]
mod tests;
mod zsh;

use hostel_nspawn::options::{self, OptionRow, Status, Takes};

use crate::cli::{VERBS, Verb};
use crate::native;
use crate::personality::{PERSONALITIES, journalctl, machinectl, systemctl};

pub use man::{Page, pages};

/// A shell we write completions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "bash" => Self::Bash,
            "zsh" => Self::Zsh,
            "fish" => Self::Fish,
            _ => return None,
        })
    }
}

/// The text of the completions for a shell, to be put where it looks for them.
pub fn completions(shell: Shell) -> String {
    let words = words();
    match shell {
        Shell::Bash => bash::text(&words),
        Shell::Zsh => zsh::text(&words),
        Shell::Fish => fish::text(&words),
    }
}

/// The first word after `hostel`, and what may follow it.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) options: Vec<Opt>,
    pub(crate) then: Vec<Argument>,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opt {
    /// `-f`, `--follow`.
    pub(crate) flags: Vec<String>,
    pub(crate) value: Value,
    pub(crate) help: String,
}

/// Whether an option takes a value, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    None,
    /// Only after `=`.
    Maybe(String),
    Needed(String),
}

/// What a verb's arguments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    /// A running machine.
    Machine,
    /// Running machines.
    Machines,
    /// A kept machine.
    Kept,
    /// Images.
    Images,
    /// A directory, or the name of a tree.
    Tree,
    /// A directory.
    Directory,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A command and its arguments.
    Command,
}

/// Every listed verb, then the personalities' words.
pub(crate) fn words() -> Vec<Word> {
    let mut out: Vec<Word> = VERBS.iter().filter(|v| !v.about.is_empty()).map(|v| verb(v)).collect();
    out.extend(PERSONALITIES.iter().filter_map(|p| {
        let (options, then) = match p.name {
            "systemd-nspawn" => (nspawn_options().collect(), vec![Argument::Command]),
            "machinectl" => (machinectl_options().collect(), vec![Argument::OneOf(machinectl::verbs()), Argument::Machine]),
            "systemctl" => (systemctl_options().collect(), vec![Argument::OneOf(systemctl::verbs())]),
            "journalctl" => (journalctl_options().collect(), Vec::new()),
            _ => (Vec::new(), vec![Argument::Machine]),
        };
        Some(Word { name: p.word?, about: p.about, options, then })
    }));
    out.push(Word { name: "help", about: "show a verb's options and examples", options: Vec::new(), then: Vec::new() });
    out.push(Word { name: "version", about: "print the version", options: Vec::new(), then: Vec::new() });
    out
}

fn verb(verb: &Verb) -> Word {
    let mut options: Vec<Opt> = verb.options.iter().map(|(typed, help)| parse_typed(typed, help)).collect();
    if takes_machine_options(verb) {
        options.extend(native_options());
        options.extend(nspawn_options().filter(|o| !native::ROWS.iter().any(|row| o.flags.contains(&format!("--{}", row.long)))));
    }
    Word { name: verb.name, about: verb.about, options, then: arguments(verb) }
}

/// Verbs whose help shows the native rows.
pub(crate) fn takes_machine_options(verb: &Verb) -> bool {
    matches!(verb.name, "run" | "boot" | "spec" | "plan")
}

/// Verbs whose names are those of images.
const OF_IMAGES: [&str; 9] = ["image-status", "show-image", "clone", "rename", "remove", "read-only", "set-limit", "export-tar", "export-raw"];

/// What the synopsis promises.
fn arguments(verb: &Verb) -> Vec<Argument> {
    let has = |word: &str| verb.args.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '|' | '_'))).any(|w| w == word);
    if matches!(verb.name, "rm" | "diff" | "commit" | "discard" | "fork") {
        vec![Argument::Kept]
    } else if verb.name == "try" {
        vec![Argument::Command]
    } else if OF_IMAGES.contains(&verb.name) {
        vec![Argument::Images]
    } else if verb.args.contains("NAME...") {
        vec![Argument::Machines]
    } else if has("TREE|NAME") {
        vec![Argument::Tree]
    } else if has("run|boot|nspawn") {
        vec![Argument::OneOf(&["run", "boot", "nspawn"]), Argument::Command]
    } else if has("NAME") {
        let command = has("CMD") || has("COMMAND");
        [Some(Argument::Machine), command.then_some(Argument::Command)].into_iter().flatten().collect()
    } else if has("DIR") {
        vec![Argument::Directory]
    } else if has("CMD") {
        vec![Argument::Command]
    } else {
        Vec::new()
    }
}

/// `-s, --signal SIGNAL` and `--memory[=BYTES]` as an option.
pub(crate) fn parse_typed(typed: &str, help: &str) -> Opt {
    let mut flags = Vec::new();
    let mut value = Value::None;
    for word in typed.split([' ', ',']).filter(|w| !w.is_empty()) {
        let (flag, joined) = match (word.split_once("[="), word.split_once('=')) {
            (Some((flag, name)), _) => (flag, Some(Value::Maybe(name.trim_end_matches(']').into()))),
            (None, Some((flag, name))) => (flag, Some(Value::Needed(name.into()))),
            (None, None) => (word, None),
        };
        if flag.starts_with('-') {
            flags.push(flag.to_owned());
            value = joined.unwrap_or(value);
        } else if value == Value::None && !flags.is_empty() {
            value = Value::Needed(word.to_owned());
        }
    }
    Opt { flags, value, help: help.to_owned() }
}

fn native_options() -> impl Iterator<Item = Opt> {
    native::ROWS.iter().map(|row| {
        let short = row.short.map(|s| format!("-{}", s as char));
        let flags = short.into_iter().chain([format!("--{}", row.long)]).collect();
        Opt { flags, value: row.value.map_or(Value::None, |v| Value::Needed(v.into())), help: row.help.into() }
    })
}

/// machinectl's.
pub(crate) fn machinectl_options() -> impl Iterator<Item = Opt> {
    machinectl::options::ROWS.iter().map(|row| {
        let short = row.short.map(|s| format!("-{}", s as char));
        let flags = short.into_iter().chain(row.long.first().map(|l| format!("--{l}"))).collect();
        Opt { flags, value: row.value.map_or(Value::None, |v| Value::Needed(v.into())), help: row.help.into() }
    })
}

/// Those that do something without a manager.
fn systemctl_options() -> impl Iterator<Item = Opt> {
    use systemctl::options::State;
    let rows = systemctl::options::ROWS.iter().filter(|row| matches!(row.state, State::Built | State::Own) && row.long != "property-value");
    rows.map(|row| {
        let flags = row.short.map(|s| format!("-{s}")).into_iter().chain([format!("--{}", row.long)]).collect();
        Opt { flags, value: row.value.map_or(Value::None, |v| Value::Needed(v.into())), help: row.help.into() }
    })
}

fn journalctl_options() -> impl Iterator<Item = Opt> {
    use journalctl::options::{State, Takes};
    let rows = journalctl::options::ROWS.iter().filter(|row| matches!(row.state, State::Built | State::Differs(_)));
    rows.map(|row| {
        let flags = row.short.map(|s| format!("-{s}")).into_iter().chain([format!("--{}", row.long)]).collect();
        let value = match row.takes {
            Takes::Nothing => Value::None,
            Takes::Value => Value::Needed(row.value.into()),
            Takes::Perhaps => Value::Maybe(row.value.into()),
        };
        Opt { flags, value, help: row.help.into() }
    })
}

/// Those that do something.
fn nspawn_options() -> impl Iterator<Item = Opt> {
    options::rows().filter(|row| !row.hidden && !matches!(row.status, Status::Never(_))).map(nspawn_option)
}

pub(crate) fn nspawn_option(row: &OptionRow) -> Opt {
    let short = row.short.map(|s| format!("-{}", s as char));
    let flags = short.into_iter().chain(row.long.first().map(|l| format!("--{l}"))).collect();
    let value = match row.takes {
        Takes::Nothing => Value::None,
        Takes::Value(name) => Value::Needed(name.into()),
        Takes::Maybe(name) | Takes::MaybeNext(name) => Value::Maybe(name.into()),
    };
    Opt { flags, value, help: row.help.into() }
}

/// Values that are known beforehand: `host|private|zone:NAME`, of the last as far as it is known.
pub(crate) fn alternatives(value: &str) -> Vec<&str> {
    let known = |part: &'_ str| part.find(':').map_or(part.len(), |at| at + 1);
    let parts: Vec<&str> = value.split('|').map(|part| &part[..known(part)]).collect();
    let plain = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b':'));
    if parts.iter().all(plain) { parts } else { Vec::new() }
}

/// Whether a value of this name is a file or a directory.
pub(crate) fn is_path(value: &str) -> bool {
    ["PATH", "DIR", "FILE", "IMAGE"].iter().any(|word| value.contains(word))
}
