//! `time`, `blame`, `critical-chain`: of the moments that the manager remembers.

use std::fmt::Write as _;

use hostel_init::manager::query::Request;
use hostel_spec::Arrange as _;
use hostel_unit::show_span;
use serde_json::json;

use super::Asked;
use crate::output;
use crate::personality::systemctl::Outcome;
use crate::personality::systemctl::managed::{Record, field, records, running};

const MILLISECOND: u64 = 1_000;

/// How one unit started; microseconds since the manager began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) name: String,
    /// It left "inactive"; `None`: before the manager began, or never.
    pub(super) activating: Option<u64>,
    /// It was up; `None`: never.
    pub(super) activated: Option<u64>,
    pub(super) deactivating: Option<u64>,
    pub(super) deactivated: Option<u64>,
    /// How long it took to come up.
    pub(super) took: u64,
    pub(super) after: Vec<String>,
}

/// The start of the machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Boot {
    /// When the first jobs were all done, since the manager began.
    pub(super) finished: u64,
    pub(super) units: Vec<Start>,
}

impl Boot {
    pub(super) fn find(&self, name: &str) -> Option<&Start> {
        self.units.iter().find(|unit| unit.name == name)
    }

    /// Asks the manager.
    pub(super) fn ask(verb: &str) -> Result<Boot, String> {
        let own = records(running(verb)?, Request::Manager)?;
        let moment = |key| own.first().and_then(|r| field(r, key)).and_then(|text| text.parse::<u64>().ok());
        let began = moment("UserspaceTimestamp").ok_or("Failed to get the time at which the manager began.")?;
        let Some(end) = moment("FinishTimestamp") else {
            return Err(
                "Bootup is not yet finished (FinishTimestamp=0).\nPlease try again later.\nHint: Use 'systemctl list-jobs' to see active jobs".into(),
            );
        };
        let units = records(running(verb)?, Request::List)?.iter().map(|record| start(record, began)).collect();
        Ok(Boot { finished: end.saturating_sub(began), units })
    }
}

/// One unit's record.
pub(super) fn start(record: &Record, began: u64) -> Start {
    let moment = |key| field(record, key).and_then(|text| text.parse::<u64>().ok()).and_then(|at| at.checked_sub(began));
    let (activating, activated) = (moment("InactiveExitTimestamp"), moment("ActiveEnterTimestamp"));
    let (deactivating, deactivated) = (moment("ActiveExitTimestamp"), moment("InactiveEnterTimestamp"));
    let took = match (activating, activated, deactivated) {
        (Some(from), Some(to), _) if to >= from => to - from,
        // a oneshot that does not stay was never up
        (Some(from), _, Some(to)) if to >= from => to - from,
        _ => 0,
    };
    let after = field(record, "After").unwrap_or_default().split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Start { name: field(record, "Id").unwrap_or_default().to_owned(), activating, activated, deactivating, deactivated, took, after }
}

/// As systemd writes it here: whole milliseconds at least.
pub(super) fn span(micros: u64) -> String {
    show_span(micros, MILLISECOND)
}

pub(super) fn time(asked: &Asked, _: &[String]) -> Outcome {
    let boot = Boot::ask("time")?;
    let target = boot.find(&default_target()?).and_then(|unit| Some((unit.name.clone(), unit.activated?)));
    if asked.json {
        let reached = target.as_ref().map(|(name, at)| json!({ "unit": name, "usec": at }));
        return Ok(output::show_json(&json!({ "userspace_usec": boot.finished, "target": reached })));
    }
    Ok(output::show(&time_text(boot.finished, target)))
}

pub(super) fn time_text(finished: u64, target: Option<(String, u64)>) -> String {
    let mut text = format!("Startup finished in {} (userspace) \n", span(finished));
    if let Some((name, at)) = target {
        let _ = writeln!(text, "{name} reached after {} in userspace.", span(at));
    }
    text
}

/// What default.target is called where it is loaded.
fn default_target() -> Result<String, String> {
    let name = hostel_unit::UnitName::parse("default.target").map_err(|e| e.why.to_owned())?;
    let found = records(running("time")?, Request::Show(vec![name]))?;
    Ok(found.first().and_then(|r| field(r, "Id")).unwrap_or("default.target").to_owned())
}

/// Units that took any time, the longest first.
pub(super) fn longest(boot: &Boot) -> Vec<&Start> {
    let mut units: Vec<&Start> = boot.units.iter().filter(|unit| unit.took > 0).collect();
    units.arrange_by(|a, b| b.took.cmp(&a.took).then_with(|| a.name.cmp(&b.name)));
    units
}

pub(super) fn blame(asked: &Asked, _: &[String]) -> Outcome {
    let boot = Boot::ask("blame")?;
    let units = longest(&boot);
    if asked.json {
        let rows: Vec<_> = units.iter().map(|unit| json!({ "unit": unit.name, "usec": unit.took })).collect();
        return Ok(output::show_json(&rows));
    }
    let spans: Vec<String> = units.iter().map(|unit| span(unit.took)).collect();
    let width = spans.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (unit, took) in units.iter().zip(&spans) {
        let _ = writeln!(text, "{took:>width$} {}", unit.name);
    }
    Ok(output::show(&text))
}

pub(super) fn critical_chain(asked: &Asked, words: &[String]) -> Outcome {
    let boot = Boot::ask("critical-chain")?;
    let names = if words.is_empty() {
        vec![default_target()?]
    } else {
        crate::personality::systemctl::say::names("critical-chain", words)?.iter().map(ToString::to_string).collect()
    };
    if let Some(missing) = names.iter().find(|name| boot.find(name).is_none()) {
        return Err(format!("Unit {missing} is not in memory."));
    }
    if asked.json {
        let rows: Vec<_> = names.iter().map(|name| branch(&boot, name, asked.fuzz, &mut Vec::new())).collect();
        return Ok(output::show_json(&rows));
    }
    let mut text = String::from(
        "The time when unit became active or started is printed after the \"@\" character.\n\
         The time the unit took to start is printed after the \"+\" character.\n\n",
    );
    for name in &names {
        text.push_str(&chain(&boot, name, asked.fuzz));
    }
    Ok(output::show(&text))
}

/// The tree of one unit.
pub(super) fn chain(boot: &Boot, name: &str, fuzz: u64) -> String {
    let mut text = format!("{}\n", boot.find(name).map_or_else(|| name.to_owned(), line));
    let mut seen = vec![name.to_owned()];
    below(boot, name, fuzz, &mut Vec::new(), &mut seen, &mut text);
    text
}

fn line(unit: &Start) -> String {
    match (unit.activating, unit.activated) {
        (Some(from), _) if unit.took > 0 => format!("{} @{} +{}", unit.name, span(from), span(unit.took)),
        (_, Some(at)) if at > 0 => format!("{} @{}", unit.name, span(at)),
        _ => unit.name.clone(),
    }
}

/// What a unit is ordered after that was up last during the start, and what was by no more than `fuzz` earlier; the last first.
fn last_before<'b>(boot: &'b Boot, name: &str, fuzz: u64) -> Vec<&'b Start> {
    let Some(unit) = boot.find(name) else { return Vec::new() };
    let at = |unit: &Start| unit.activated.filter(|at| *at > 0 && *at <= boot.finished);
    let mut found: Vec<&Start> = unit.after.iter().filter_map(|other| boot.find(other)).filter(|other| at(other).is_some()).collect();
    found.arrange_by(|a, b| b.activated.cmp(&a.activated).then_with(|| a.name.cmp(&b.name)));
    let last = found.first().and_then(|unit| unit.activated).unwrap_or(0);
    found.retain(|unit| unit.activated.is_some_and(|at| last - at <= fuzz));
    found
}

/// `bars` says for each level whether more follows on it.
fn below(boot: &Boot, name: &str, fuzz: u64, bars: &mut Vec<bool>, seen: &mut Vec<String>, text: &mut String) {
    let found = last_before(boot, name, fuzz);
    for (i, unit) in found.iter().enumerate() {
        let last = i + 1 == found.len();
        let rails: String = bars.iter().map(|more| if *more { "│ " } else { "  " }).collect();
        let _ = writeln!(text, "{rails}{}{}", if last { "└─" } else { "├─" }, line(unit));
        bars.push(!last);
        if seen.contains(&unit.name) {
            let rails: String = bars.iter().map(|more| if *more { "│ " } else { "  " }).collect();
            let _ = writeln!(text, "{rails}└─...");
        } else {
            seen.push(unit.name.clone());
            below(boot, &unit.name, fuzz, bars, seen, text);
        }
        bars.pop();
    }
}

fn branch(boot: &Boot, name: &str, fuzz: u64, path: &mut Vec<String>) -> serde_json::Value {
    if path.iter().any(|above| above == name) {
        return json!({ "unit": name });
    }
    path.push(name.to_owned());
    let after: Vec<_> = last_before(boot, name, fuzz).iter().map(|unit| branch(boot, &unit.name, fuzz, path)).collect();
    path.pop();
    let unit = boot.find(name);
    json!({
        "unit": name, "activating_usec": unit.and_then(|u| u.activating), "active_usec": unit.and_then(|u| u.activated),
        "took_usec": unit.map(|u| u.took), "after": after,
    })
}
