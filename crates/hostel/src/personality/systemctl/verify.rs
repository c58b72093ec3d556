//! `verify` and `calendar`: what systemd-analyze says of unit files and expressions.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hostel_init::catalogue::Catalogue;
use hostel_init::depend::{Graph, Relation};
use hostel_init::keys::Use;
use hostel_init::load::{LoadState, Unit, load};
use hostel_init::root::Root;
use hostel_init::transaction::{JobMode, JobType, transaction};
use hostel_unit::zone::{Zone, civil};
use hostel_unit::{Calendar, CalendarZone, Kind, UnitName};

use super::options::Options;
use super::say::name;
use super::{Outcome, catalogue, root};
use crate::output;

pub(super) fn verify(options: &Options, words: &[String]) -> Outcome {
    let root = root(options)?;
    let mut catalogue = catalogue(options, &root)?;
    let mut names = Vec::new();
    for word in words {
        if !word.contains('/') {
            names.push(name("verify", word, Kind::Service)?);
            continue;
        }
        // the directory of a file comes first, as it does there
        let path = absolute(options, word)?;
        let (directory, base) = path.rsplit_once('/').unwrap_or(("", &path));
        names.push(UnitName::parse(base).map_err(|e| format!("{word}: {e}"))?);
        let mut search = catalogue.search.clone();
        let place = hostel_init::search::Place {
            path: if directory.is_empty() { "/".to_owned() } else { directory.to_owned() },
            role: hostel_init::search::Role::Config,
        };
        if !search.places.contains(&place) {
            search.places.insert(0, place);
            catalogue = Catalogue::scan(&root, search).map_err(|e| e.to_string())?;
        }
    }
    let mut faults = 0;
    for name in names {
        // a template is looked at by an instance
        let name = if name.is_template() { name.with_instance("test-instance").unwrap_or(name) } else { name };
        faults += one(&root, &catalogue, &name);
    }
    Ok(u8::from(faults > 0))
}

fn absolute(options: &Options, word: &str) -> Result<String, String> {
    let path = std::path::absolute(word).map_err(|e| format!("{word}: {e}"))?;
    // below --root= a path is one of the tree
    let path = if options.root.is_some() && !word.starts_with('/') { Path::new("/").join(word) } else { path };
    path.to_str().map(str::to_owned).ok_or_else(|| format!("{word}: it is not UTF-8"))
}

/// Says what is wrong with a unit; how many faults there were. Warnings about lines are told and counted.
fn one(root: &Root, catalogue: &Catalogue<'_>, name: &UnitName) -> usize {
    let unit = load(catalogue, name);
    let mut faults = unit.notices.len();
    for notice in &unit.notices {
        match notice.line {
            0 => output::tell(format_args!("{}: {}", root.shown(&notice.file), notice.text)),
            line => output::tell(format_args!("{}:{line}: {}", root.shown(&notice.file), notice.text)),
        }
    }
    let mut tell = |text: String| {
        output::tell(format_args!("{name}: {text}"));
        faults += 1;
    };
    match &unit.state {
        LoadState::Loaded => {}
        LoadState::Masked => tell("it is masked.".to_owned()),
        LoadState::NotFound => tell(format!("Unit {name} not found.")),
        LoadState::Error(why) | LoadState::BadSetting(why) => tell(why.clone()),
    }
    if unit.is_loaded() {
        programs(root, &unit, &mut tell);
        for setting in unit.settings.iter() {
            if let Use::Obsolete(why) = setting.usage {
                tell(format!("{}= does nothing: {why}", setting.key));
            }
        }
        let graph = Graph::of(std::slice::from_ref(name), catalogue.search.scope, &mut |n| load(catalogue, n), &|n| catalogue.has(n.as_str()));
        let required: Vec<&UnitName> = [Relation::Requires, Relation::BindsTo, Relation::Requisite].iter().flat_map(|r| graph.to(name, *r)).collect();
        if let Err(fault) = transaction(&graph, name, JobType::Start, JobMode::Replace)
            && !required.is_empty()
        {
            tell(format!("Failed to create {name}/start: {fault}"));
        }
    }
    faults
}

/// Programs that are not there, or cannot be executed.
fn programs(root: &Root, unit: &Unit, tell: &mut dyn FnMut(String)) {
    let Some(section) = unit.name.kind().section() else { return };
    for key in ["ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost", "ExecStopPre"] {
        for command in unit.settings.commands(section, key) {
            let paths: Vec<String> = if command.program.starts_with('/') {
                vec![command.program.clone()]
            } else {
                ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
                    .iter()
                    .map(|d| format!("{d}/{}", command.program))
                    .collect()
            };
            if !paths.iter().any(|path| root.exists(path)) {
                tell(format!("Command {} is not executable: No such file or directory", command.program));
            }
        }
    }
}

pub(super) fn calendar(options: &Options, words: &[String]) -> Outcome {
    let root = root(options)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
    let mut text = String::new();
    for (i, word) in words.iter().enumerate() {
        let calendar = Calendar::parse(word).map_err(|e| format!("Failed to parse calendar specification '{word}': {}", e.why))?;
        let path = match calendar.zone() {
            CalendarZone::Utc => None,
            CalendarZone::Local => Some("/etc/localtime".to_owned()),
            CalendarZone::Named(name) => Some(format!("/usr/share/zoneinfo/{name}")),
        };
        let zone = match path.as_deref().map(|path| root.read(path)) {
            Some(Ok(bytes)) => Zone::parse(&bytes).map_err(|e| e.to_string())?,
            Some(Err(_)) if matches!(calendar.zone(), CalendarZone::Named(_)) => {
                return Err(format!("Failed to parse calendar specification '{word}': the time zone is unknown"));
            }
            // no local time is UTC
            _ => Zone::UTC,
        };
        if i > 0 {
            text.push('\n');
        }
        let next = calendar.next(now, &zone).map_or_else(|| "never".to_owned(), utc);
        text.push_str(&format!("  Original form: {word}\nNormalized form: {calendar}\n    Next elapse: {next}\n"));
    }
    Ok(output::show(&text))
}

fn utc(moment: u64) -> String {
    let seconds = moment / 1_000_000;
    let days = (seconds / 86_400) as i64;
    let (year, month, day) = civil(days);
    let weekday = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][(days + 3).rem_euclid(7) as usize];
    format!("{weekday} {year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}
