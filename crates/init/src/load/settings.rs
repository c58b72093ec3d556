//! Settings: assignments that were understood, in order, the emptied ones gone.

use std::rc::Rc;

use hostel_unit::file::{Assignment, File};
use hostel_unit::{Kind, UnitName};

use super::Notice;
use crate::command::Command;
use crate::keys::{self, Shape};
use crate::specifier::Context;
use crate::value::{self, Value};

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Rc<str>,
    /// Its line.
    pub line: u32,
}

/// One assignment.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its usual section.
    pub section: &'static str,
    /// Its usual key.
    pub key: &'static str,
    /// As written; empty when the value is that.
    written: Box<str>,
    /// As understood.
    pub value: Value,
    /// Where it stands.
    pub origin: Origin,
}

impl Setting {
    /// As written.
    pub fn text(&self) -> &str {
        if let (true, Value::Text(text)) = (self.written.is_empty(), &self.value) { text } else { &self.written }
    }
}

/// All settings of a unit.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    all: Vec<Setting>,
    /// A bit for each key that there may be: a unit has twenty, and is asked for hundreds.
    keys: u128,
}

/// Which bit is a key's.
fn bit(key: &str) -> u128 {
    let at = |n: usize| usize::from(key.as_bytes().get(n).copied().unwrap_or_default());
    let (length, middle) = (key.len(), key.len() / 2);
    1 << ((length * 7 + at(0) * 3 + at(middle) * 5 + at(length.wrapping_sub(2)) * 11) % 128)
}

impl Settings {
    /// Nothing more comes.
    pub(super) fn close(&mut self) {
        self.all.shrink_to_fit();
    }

    /// In the order in which they count.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.all.iter()
    }

    /// Every assignment of a key that counts.
    pub fn of<'s, 'k>(&'s self, section: &'k str, key: &'k str) -> impl DoubleEndedIterator<Item = &'s Setting> + use<'s, 'k> {
        let all = if self.keys & bit(key) == 0 { &[][..] } else { &self.all };
        all.iter().filter(move |s| s.key == key && s.section == section)
    }

    /// The last one.
    pub fn last(&self, section: &str, key: &str) -> Option<&Value> {
        self.of(section, key).next_back().map(|s| &s.value)
    }

    /// The last one of a key that is text.
    pub fn text(&self, section: &str, key: &str) -> Option<&str> {
        if let Value::Text(text) = self.last(section, key)? { Some(text) } else { None }
    }

    /// A boolean with its default.
    pub fn bool(&self, section: &str, key: &str, default: bool) -> bool {
        if let Some(Value::Bool(value)) = self.last(section, key) { *value } else { default }
    }

    /// Units of every assignment.
    pub fn units<'s>(&'s self, section: &'s str, key: &'s str) -> impl Iterator<Item = (&'s UnitName, &'s Origin)> {
        self.of(section, key).flat_map(|s| {
            let units = if let Value::Units(units) = &s.value { units.as_slice() } else { &[] };
            units.iter().map(|unit| (unit, &s.origin))
        })
    }

    /// Commands of every assignment.
    pub fn commands<'s>(&'s self, section: &'s str, key: &'s str) -> impl Iterator<Item = &'s Command> {
        self.of(section, key).flat_map(|s| if let Value::Commands(commands) = &s.value { commands.as_slice() } else { &[] })
    }

    /// Words of every assignment.
    pub fn words<'s>(&'s self, section: &'s str, key: &'s str) -> impl Iterator<Item = &'s str> {
        self.of(section, key).flat_map(|s| if let Value::Words(words) = &s.value { words.as_slice() } else { &[] }).map(String::as_str)
    }

    /// The same warning about the same key is given once per unit.
    pub(super) fn dedup_notices(&self, notices: &mut Vec<Notice>) {
        let mut seen = std::collections::BTreeSet::new();
        notices.retain(|notice| seen.insert((notice.file.clone(), notice.text.clone())));
    }
}

const SECTIONS: [&str; 11] = ["Unit", "Install", "Service", "Socket", "Mount", "Swap", "Automount", "Timer", "Path", "Slice", "Scope"];

/// Takes what a file says.
pub(super) fn take(settings: &mut Settings, notices: &mut Vec<Notice>, context: &Context<'_>, path: &str, file: &File) {
    let mut notice = |line, text: String| notices.push(Notice { file: path.to_owned(), line, text });
    for fault in &file.faults {
        notice(fault.line, format!("{}; the line is skipped", fault.why));
    }
    let shown: Rc<str> = path.into();
    for section in &file.sections {
        let own = context.name.kind().section();
        let Some(known) = SECTIONS.into_iter().find(|s| *s == section.name && (["Unit", "Install"].contains(s) || own == Some(*s))) else {
            if !section.name.starts_with("X-") {
                notice(section.line, format!("Unknown section '{}'. Ignoring.", section.name));
            }
            continue;
        };
        for assignment in &section.assignments {
            let origin = Origin { file: Rc::clone(&shown), line: assignment.line };
            take_one(settings, &mut notice, context, known, assignment, origin);
        }
    }
}

fn take_one(
    settings: &mut Settings,
    notice: &mut dyn FnMut(u32, String),
    context: &Context<'_>,
    section: &'static str,
    assignment: &Assignment,
    origin: Origin,
) {
    let Assignment { key, value: text, line } = assignment;
    let (to_section, to_key) = keys::usual(section, key);
    let to_section = SECTIONS.into_iter().find(|s| *s == to_section).unwrap_or(section);
    let Some(keys::Known { key: to_key, shape, .. }) = keys::find(to_section, to_key) else {
        if let Some(why) = keys::obsolete(to_key) {
            notice(*line, format!("{key}= does nothing any more: {why}"));
        } else if !key.starts_with("X-") {
            notice(*line, format!("Unknown key '{key}' in section [{section}], ignoring."));
        }
        return;
    };
    if text.is_empty() {
        // dependencies cannot be taken back
        if shape != Shape::Units || to_key == "Sockets" {
            settings.all.retain(|s| !(s.section == to_section && s.key == to_key));
            // all conditions together, and all activations of a timer or path
            let together = |key: &str| to_section == "Unit" && key.starts_with(if to_key.starts_with("Assert") { "Assert" } else { "Condition" });
            if shape == Shape::Condition {
                settings.all.retain(|s| !(s.section == to_section && together(s.key)));
            }
            if is_list_of_kinds(context.name.kind(), to_key) {
                settings.all.retain(|s| !(s.section == to_section && is_list_of_kinds(context.name.kind(), s.key)));
            }
        }
        return;
    }
    match understand(context, shape, to_section, text, &mut |why| notice(*line, format!("{key}={}: {why}, ignoring.", hostel_unit::printable(text))))
    {
        Ok(value) => {
            let written = if matches!(&value, Value::Text(own) if own == text) { "" } else { text.as_str() };
            settings.keys |= bit(to_key);
            settings.all.push(Setting { section: to_section, key: to_key, written: written.into(), value, origin });
        }
        Err(why) => notice(*line, format!("Failed to parse {key}={}, ignoring: {why}", hostel_unit::printable(text))),
    }
}

/// `OnBootSec=` and `OnCalendar=` are emptied together, as are `ListenStream=` and `ListenFIFO=`, and `PathExists=` and its like.
fn is_list_of_kinds(kind: Kind, key: &str) -> bool {
    match kind {
        Kind::Timer => key.starts_with("On") && (key.ends_with("Sec") || key == "OnCalendar"),
        Kind::Socket => key.starts_with("Listen"),
        Kind::Path => key.starts_with("Path") || key == "DirectoryNotEmpty",
        _ => false,
    }
}

fn understand(context: &Context<'_>, shape: Shape, section: &str, text: &str, complain: &mut dyn FnMut(String)) -> Result<Value, String> {
    let context = Context { install: section == "Install", ..*context };
    let expand = |text: &str| match context.expand(text) {
        Ok(expanded) => Ok(expanded.into_owned()),
        Err(e) => Err(e.why.to_owned()),
    };
    match shape {
        // [Install] is read with the default instance in mind, which is not known yet
        Shape::Names => value::parse(Shape::Words, text, complain),
        // words first, so that what a specifier says stays one word
        Shape::Command => {
            let Value::Commands(mut commands) = value::parse(shape, text, complain)? else { return Err("it is no command".to_owned()) };
            for command in &mut commands {
                command.program = expand(&command.program)?;
                for argument in &mut command.argv {
                    // what only a running unit knows stays to be replaced there
                    *argument = expand(argument).unwrap_or_else(|_| argument.clone());
                }
            }
            Ok(Value::Commands(commands))
        }
        Shape::Environment => {
            let Value::Words(words) = value::parse(shape, text, complain)? else { return Err("it is no list".to_owned()) };
            Ok(Value::Words(words.into_iter().map(|word| expand(&word).unwrap_or(word)).collect()))
        }
        Shape::Text | Shape::Words | Shape::Condition => value::parse(shape, &expand(text).unwrap_or_else(|_| text.to_owned()), complain),
        _ => value::parse(shape, &expand(text)?, complain),
    }
}
