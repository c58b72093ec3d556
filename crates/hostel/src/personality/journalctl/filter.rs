//! Which entries are wanted.

use std::collections::BTreeSet;

use hostel_init::journal::pattern::Pattern;
use hostel_init::journal::reader::{Cursor, Found, hex};
use hostel_init::preset::glob;
use hostel_unit::{Gather as _, Kind, UnitName};

use super::options::Options;

/// All conditions; each has to hold.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    units: Vec<String>,
    identifiers: BTreeSet<String>,
    priorities: u8,
    facilities: u32,
    pattern: Option<Pattern>,
    kernel: bool,
    /// Microseconds since 1970.
    pub(crate) since: Option<u64>,
    pub(crate) until: Option<u64>,
    pub(crate) boot: Option<[u8; 16]>,
    /// From here on, and whether it counts itself.
    pub(crate) from: Option<(Cursor, bool)>,
    /// One of these, of each the same field any, different fields all.
    terms: Vec<Vec<(String, Vec<String>)>>,
}

impl Filter {
    /// Of the options that need nothing else.
    pub(crate) fn of(options: &Options) -> Result<Filter, String> {
        let mut filter = Filter {
            identifiers: options.identifiers.iter().cloned().gather(),
            priorities: options.priorities,
            facilities: options.facilities,
            kernel: options.dmesg,
            terms: terms(&options.matches)?,
            ..Filter::default()
        };
        for word in &options.units {
            filter.units.push(unit(word)?);
        }
        if let Some(text) = &options.grep {
            filter.pattern = Some(Pattern::parse(text, options.case).map_err(|why| format!("Bad pattern \"{text}\": {why}"))?);
        }
        Ok(filter)
    }

    /// Entries of and about one unit.
    pub(crate) fn unit(name: &str) -> Filter {
        Filter { units: vec![name.to_owned()], ..Filter::default() }
    }

    /// Whether an entry is wanted.
    pub(crate) fn wants(&self, found: &Found<'_>) -> bool {
        let stamp = found.entry.stamp;
        if self.since.is_some_and(|since| stamp.realtime < since) || self.until.is_some_and(|until| stamp.realtime > until) {
            return false;
        }
        if self.boot.is_some_and(|boot| boot != stamp.boot) {
            return false;
        }
        if let Some((cursor, itself)) = &self.from {
            use std::cmp::Ordering::{Equal, Less};
            match cursor.compare(found) {
                Less => return false,
                Equal if !itself => return false,
                _ => {}
            }
        }
        self.is_wanted_by_fields(found)
    }

    fn is_wanted_by_fields(&self, found: &Found<'_>) -> bool {
        if !self.units.is_empty() && !self.units.iter().any(|unit| is_of_unit(found, unit)) {
            return false;
        }
        if !self.identifiers.is_empty() && !text(found, "SYSLOG_IDENTIFIER").is_some_and(|name| self.identifiers.contains(name)) {
            return false;
        }
        let bit = |name: &str| text(found, name).and_then(|t| t.parse::<u32>().ok()).and_then(|n| 1u32.checked_shl(n));
        if self.priorities != 0 && bit("PRIORITY").is_none_or(|bit| bit & u32::from(self.priorities) == 0) {
            return false;
        }
        if self.facilities != 0 && bit("SYSLOG_FACILITY").is_none_or(|bit| bit & self.facilities == 0) {
            return false;
        }
        if self.kernel && text(found, "_TRANSPORT") != Some("kernel") {
            return false;
        }
        if !self.terms.is_empty() && !self.terms.iter().any(|all| all.iter().all(|(name, values)| has(found, name, values))) {
            return false;
        }
        self.pattern.as_ref().is_none_or(|pattern| found.get("MESSAGE").is_some_and(|message| pattern.is_in(&String::from_utf8_lossy(message))))
    }
}

fn text<'f>(found: &'f Found<'_>, name: &str) -> Option<&'f str> {
    found.get(name).and_then(|bytes| std::str::from_utf8(bytes).ok())
}

/// As there: entries of the unit, and what the manager or root say about it.
fn is_of_unit(found: &Found<'_>, unit: &str) -> bool {
    let is = |name: &str| text(found, name).is_some_and(|value| glob(unit, value));
    // inside a pattern a bracket or a star means more than itself
    let by_manager = is("UNIT") && (text(found, "_PID") == Some("1") || text(found, "_SYSTEMD_UNIT") == Some("init.scope"));
    is("_SYSTEMD_UNIT")
        || by_manager
        || is("OBJECT_SYSTEMD_UNIT") && text(found, "_UID") == Some("0")
        || unit.ends_with(".slice") && is("_SYSTEMD_SLICE")
}

fn has(found: &Found<'_>, name: &str, values: &[String]) -> bool {
    let of_file = match name {
        "_BOOT_ID" => Some(hex(&found.entry.stamp.boot)),
        "_MACHINE_ID" => Some(hex(&found.header.machine)),
        "_HOSTNAME" => Some(found.header.host.clone()),
        _ => None,
    };
    if let Some(value) = of_file {
        return values.contains(&value);
    }
    found.entry.fields.iter().any(|(known, value)| *known == name && values.iter().any(|wanted| wanted.as_bytes() == *value))
}

/// A unit's name, completed; patterns stay.
fn unit(word: &str) -> Result<String, String> {
    if word.contains(['*', '?', '[']) {
        return Ok(if word.rsplit_once('.').is_some_and(|(_, end)| Kind::of_suffix(end).is_some()) || word.ends_with('*') {
            word.to_owned()
        } else {
            format!("{word}.service")
        });
    }
    UnitName::mangle(word, Kind::Service).map(|(name, _)| name.to_string()).map_err(|e| format!("Failed to mangle unit name {word:?}: {}", e.why))
}

/// `FIELD=VALUE`, a path of a program, `+` between alternatives.
fn terms(words: &[String]) -> Result<Vec<Vec<(String, Vec<String>)>>, String> {
    let mut all: Vec<Vec<(String, Vec<String>)>> = Vec::new();
    let mut fresh = true;
    for word in words {
        if word == "+" {
            if fresh {
                return Err("\"+\" can only be used between terms.".to_owned());
            }
            fresh = true;
            continue;
        }
        let (name, value) = match word.split_once('=') {
            _ if word.starts_with('/') => ("_EXE", word.as_str()),
            Some((name, value)) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') => {
                (name, value)
            }
            _ => return Err(format!("Failed to add match '{word}': Invalid argument")),
        };
        if std::mem::take(&mut fresh) {
            all.push(Vec::new());
        }
        let Some(term) = all.last_mut() else { continue };
        match term.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value.to_owned()),
            None => term.push((name.to_owned(), vec![value.to_owned()])),
        }
    }
    if fresh && !words.is_empty() {
        return Err("\"+\" can only be used between terms.".to_owned());
    }
    Ok(all)
}
