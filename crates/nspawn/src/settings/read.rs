//! From the assignments of settings files to options: what is unknown, wrong, or not for this file to say becomes a warning.

use std::sync::Arc;

use hostel_unit::file::{Assignment, File};
use hostel_unit::specifier::{self, Meaning};
use hostel_unit::{boolean, first_word, printable};

use super::SettingsFile;
use super::keys::{self, Found, Key, Kind};
use crate::compile::{Draft, is_variable_name};
use crate::doc::{Entry, Origin};
use crate::environment::Environment;
use crate::error::UsageError;
use crate::options::{self, OptionId as Id, OptionRow};

/// Most warnings in all; a file of a megabyte must not fill a terminal.
const WARNINGS_MAX: usize = 100;

/// Most assignments of one file: what is decided about each looks at the others.
const ASSIGNMENTS_MAX: usize = 10_000;

/// What counts of one or several assignments to one key.
#[derive(Debug)]
pub(super) struct Setting {
    key: Key,
    pub(super) origin: Origin,
    /// As options.
    pub(super) entries: Vec<Entry>,
    /// As words of the payload, for `Parameters=`.
    pub(super) words: Option<Vec<String>>,
}

/// All of them, in the order written.
pub(super) type Settings = Vec<Setting>;

/// Reads one file after the other.
pub(super) struct Reader<'e> {
    env: &'e Environment,
    specifiers: &'e dyn Fn(char) -> Meaning,
    settings: Settings,
    /// A machine per option, to which everything accepted so far of that option is done: what its arm refuses is refused here.
    trials: Vec<(Id, Draft<'e>)>,
    warnings: Vec<String>,
    unsaid: usize,
}

impl<'e> Reader<'e> {
    pub(super) fn new(env: &'e Environment, specifiers: &'e dyn Fn(char) -> Meaning) -> Self {
        Self { env, specifiers, settings: Vec::new(), trials: Vec::new(), warnings: Vec::new(), unsaid: 0 }
    }

    /// Takes a file. Fails only when its structure is unclear.
    pub(super) fn file(&mut self, file: &SettingsFile, trust_all: bool) -> Result<(), UsageError> {
        let refuse = |line, why| UsageError::SettingsFile { path: file.path.clone(), line, why };
        let parsed = File::parse(&file.text).map_err(|e| refuse(e.line, e.why))?;
        let mut assignments = parsed.sections.iter().flat_map(|s| &s.assignments);
        if let Some(one_too_many) = assignments.nth(ASSIGNMENTS_MAX) {
            return Err(refuse(one_too_many.line, format!("there are {ASSIGNMENTS_MAX} settings before it")));
        }
        let path: Arc<str> = printable(&file.path).into();
        let distrust = file.distrust.filter(|_| !trust_all);
        for fault in &parsed.faults {
            self.warn(&path, fault.line, format_args!("ignore the line: {}", fault.why));
        }
        for section in &parsed.sections {
            if keys::find(&section.name, "") == Found::NoSection {
                self.warn(&path, section.line, format_args!("ignore section {}: there is no such section", printable(&section.name)));
                continue;
            }
            let specifiers = file.dropin || section.name.starts_with(keys::OWN);
            for assignment in &section.assignments {
                let origin = Origin::File { path: path.clone(), line: assignment.line, key: assignment.key.as_str().into() };
                match keys::find(&section.name, &assignment.key) {
                    Found::Key(key) => {
                        if let Err(why) = self.assign(key, assignment, origin, distrust, specifiers) {
                            let shown = printable(&format!("{}={}", assignment.key, assignment.value));
                            self.warn(&path, assignment.line, format_args!("ignore {shown}: {why}"));
                        }
                    }
                    Found::NoKey => {
                        let (key, section) = (printable(&assignment.key), printable(&section.name));
                        self.warn(&path, assignment.line, format_args!("ignore {key}=: section {section} has no such key"));
                    }
                    Found::NoSection | Found::Foreign => {}
                }
            }
        }
        Ok(())
    }

    /// Everything that counts, and the warnings.
    pub(super) fn finish(mut self) -> (Settings, Vec<String>) {
        self.decide_start();
        if self.unsaid > 0 {
            self.warnings.push(format!("and {} more warnings about settings files", self.unsaid));
        }
        (self.settings, self.warnings)
    }

    fn warn(&mut self, path: &str, line: u32, text: std::fmt::Arguments<'_>) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(format!("{path}:{line}: {text}"));
        } else {
            self.unsaid += 1;
        }
    }

    /// One assignment. The error is why it, or a part of it, does not count.
    fn assign(&mut self, key: Key, assignment: &Assignment, origin: Origin, distrust: Option<&'static str>, specifiers: bool) -> Result<(), String> {
        let value = &assignment.value;
        if let Some(reason) = distrust
            && key.needs_trust(value)
        {
            return Err(format!("the file is not trusted, {reason}"));
        }
        if value.is_empty() {
            self.take_back(key);
            return Ok(());
        }
        let expanded = if specifiers { specifier::expand(value, self.specifiers).map_err(|e| e.why.to_owned())? } else { value.into() };
        match key.row() {
            None => {
                let (words, trouble) = words(key, &expanded);
                self.settings.push(Setting { key, origin, entries: Vec::new(), words: Some(words) });
                trouble.map_or(Ok(()), Err)
            }
            Some(row) => self.option(key, row, &expanded, origin),
        }
    }

    fn option(&mut self, key: Key, row: &'static OptionRow, value: &str, origin: Origin) -> Result<(), String> {
        let mut trouble = None;
        let (row, values) = match key.kind() {
            Kind::Words(_) => {
                let (words, broken) = words(key, value);
                trouble = broken;
                (row, words)
            }
            Kind::Switch if row.id == Id::PrivateUsersChown => ownership(row, value)?,
            Kind::Switch => (row, vec![if boolean(value).map_err(|e| e.why)? { "yes" } else { "no" }.to_owned()]),
            Kind::Longer => (row, vec![self.longer(key, value)]),
            Kind::One | Kind::Many => (row, vec![one(key, value)]),
        };
        let mut entries = Vec::with_capacity(values.len());
        for value in values {
            let entry = Entry { row, value: Some(value), origin: origin.clone() };
            match self.check(&entry) {
                Ok(()) => entries.push(entry),
                Err(why) => trouble = Some(why),
            }
        }
        if !entries.is_empty() {
            if matches!(key.kind(), Kind::One | Kind::Switch | Kind::Longer) {
                self.settings.retain(|s| s.key != key);
            }
            self.settings.push(Setting { key, origin, entries, words: None });
        }
        trouble.map_or(Ok(()), Err)
    }

    /// Whether the option takes it. What it does not take *yet* is kept, so that the start is refused if it counts.
    fn check(&mut self, entry: &Entry) -> Result<(), String> {
        let value = entry.value.as_deref().unwrap_or_default();
        if entry.row.id == Id::Setenv && !value.split_once('=').is_some_and(|(name, _)| is_variable_name(name)) {
            // a name alone would be the caller's variable, which no file has a claim to
            return Err(format!("{} is not NAME=VALUE", printable(value)));
        }
        let at = self.trials.iter().position(|(id, _)| *id == entry.row.id).unwrap_or_else(|| {
            self.trials.push((entry.row.id, Draft::new(self.env)));
            self.trials.len() - 1
        });
        match self.trials[at].1.apply(entry) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("a file cannot ask for help".to_owned()),
            Err(error) => match error.root() {
                UsageError::NotYet { .. } | UsageError::Never { .. } => Ok(()),
                UsageError::Value { why, .. } => Err(why.clone()),
                other => Err(other.to_string()),
            },
        }
    }

    /// An empty assignment: earlier ones of the key do not count.
    fn take_back(&mut self, key: Key) {
        self.settings.retain(|s| s.key != key);
        if let Some(row) = key.row() {
            self.trials.retain(|(id, _)| *id != row.id);
        }
    }

    /// What the key says already, and this.
    fn longer(&self, key: Key, value: &str) -> String {
        let before = self.settings.iter().find(|s| s.key == key).and_then(|s| s.entries.first()?.value.as_deref());
        before.map_or_else(|| value.to_owned(), |before| format!("{before} {value}"))
    }

    /// `Boot=yes` and `ProcessTwo=yes` exclude each other: the later one does not count.
    fn decide_start(&mut self) {
        let yes = |id| self.settings.iter().position(|s| s.entries.iter().any(|e| e.row.id == id && e.value.as_deref() == Some("yes")));
        if let (Some(boot), Some(pid2)) = (yes(Id::Boot), yes(Id::AsPid2)) {
            let later = self.settings.remove(boot.max(pid2));
            if let Origin::File { path, line, key } = &later.origin {
                self.warn(path, *line, format_args!("ignore {key}=yes: Boot= and ProcessTwo= exclude each other"));
            }
        }
    }
}

/// Splits a list; what stands before a mistake counts.
fn words(key: Key, value: &str) -> (Vec<String>, Option<String>) {
    let Kind::Words(rules) = key.kind() else { return (Vec::new(), None) };
    let mut rest = Some(value);
    let mut words = Vec::new();
    loop {
        match first_word(&mut rest, rules) {
            Ok(Some(word)) => words.push(word),
            Ok(None) => return (words, None),
            Err(error) => return (words, Some(error.why.to_owned())),
        }
    }
}

/// `PrivateUsersChown=`: the older spelling of `PrivateUsersOwnership=`, whose `no` says something too.
fn ownership(chown: &'static OptionRow, value: &str) -> Result<(&'static OptionRow, Vec<String>), String> {
    let yes = boolean(value).map_err(|e| e.why)?;
    let row = options::by_id(Id::PrivateUsersOwnership).unwrap_or(chown);
    Ok((row, vec![if yes { "chown" } else { "off" }.to_owned()]))
}

/// A single value as the option spells it.
fn one(key: Key, value: &str) -> String {
    match key {
        Key::Limit(_, name) => format!("{}={value}", name.name()),
        // in a file, and only there, the original takes these digits for a yes or no
        Key::Option(row) if row.id == Id::PrivateUsers && value == "0" => "no".to_owned(),
        Key::Option(row) if row.id == Id::PrivateUsers && value == "1" => "yes".to_owned(),
        _ => value.to_owned(),
    }
}
