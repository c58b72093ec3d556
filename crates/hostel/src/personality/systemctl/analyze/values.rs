//! `calendar`, `timespan`, `cat-config`, `unit-paths`: what words mean.

use std::fmt::Write as _;

use hostel_init::journal::store::realtime;
use hostel_init::root::{Entry, Root};
use hostel_unit::zone::{Zone, civil};
use hostel_unit::{Calendar, CalendarZone, Span, TimeUnit, show_span, time_span};

use super::{Asked, options};
use crate::output;
use crate::personality::systemctl::{Outcome, catalogue, root};

const SECOND: u64 = 1_000_000;

/// A span of time; a bare number is seconds.
pub(super) fn span(text: &str) -> Result<Span, String> {
    time_span(text, TimeUnit::Seconds).map_err(|_| format!("Failed to parse time span '{text}': Invalid argument"))
}

pub(super) fn timespan(_: &Asked, words: &[String]) -> Outcome {
    let mut text = String::new();
    let mut bad = None;
    for word in words {
        match span(word) {
            Ok(found) => {
                let (micros, human) = match found {
                    Span::Micros(micros) => (micros.to_string(), show_span(micros, 1)),
                    Span::Infinity => (u64::MAX.to_string(), "infinity".to_owned()),
                };
                let gap = if text.is_empty() { "" } else { "\n" };
                let _ = write!(text, "{gap}Original: {word}\n      μs: {micros}\n   Human: {human}\n");
            }
            Err(why) => {
                output::tell(format_args!("{why}"));
                bad = Some(1);
            }
        }
    }
    let shown = output::show(&text);
    Ok(bad.unwrap_or(shown))
}

pub(super) fn calendar(asked: &Asked, words: &[String]) -> Outcome {
    let root = root(&options(asked))?;
    let now = realtime();
    let local = zone(&root, "/etc/localtime").unwrap_or(Zone::UTC);
    let mut text = String::new();
    let mut bad = None;
    for word in words {
        let gap = if text.is_empty() { "" } else { "\n" };
        match one(&root, word, now, &local, asked.iterations.unwrap_or(1)) {
            Ok(block) => {
                let _ = write!(text, "{gap}{block}");
            }
            Err(why) => {
                output::tell(format_args!("Failed to parse calendar specification '{word}': {why}"));
                bad = Some(1);
            }
        }
    }
    let shown = output::show(&text);
    Ok(bad.unwrap_or(shown))
}

pub(in super::super) fn zone(root: &Root, path: &str) -> Option<Zone> {
    root.read(path).ok().and_then(|bytes| Zone::parse(&bytes).ok())
}

/// What one expression means. Moments are shown as local clocks show them.
pub(super) fn one(root: &Root, word: &str, now: u64, local: &Zone, many: u32) -> Result<String, String> {
    let calendar = Calendar::parse(word).map_err(|_| "Invalid argument".to_owned())?;
    let own;
    let zone = match calendar.zone() {
        CalendarZone::Utc => &Zone::UTC,
        CalendarZone::Local => local,
        CalendarZone::Named(name) => {
            own = zone(root, &format!("/usr/share/zoneinfo/{name}")).ok_or("Invalid argument")?;
            &own
        }
    };
    let mut text = String::new();
    let normal = calendar.to_string();
    if normal != word {
        let _ = writeln!(text, "  Original form: {word}");
    }
    let _ = writeln!(text, "Normalized form: {normal}");
    let mut at = now;
    for n in 1..=many {
        let Some(next) = calendar.next(at, zone) else {
            if n == 1 {
                text.push_str("    Next elapse: never\n");
            }
            break;
        };
        at = next;
        let head = if n == 1 { "Next elapse".to_owned() } else { format!("Iter. #{n}") };
        let _ = writeln!(text, "{head:>15}: {}", shown(at, local));
        if *local != Zone::UTC && local.offset_at((at / SECOND) as i64) != 0 {
            let _ = writeln!(text, "       (in UTC): {}", shown(at, &Zone::UTC));
        }
        let _ = writeln!(text, "       From now: {}", relative(now, at));
    }
    Ok(text)
}

/// `Fri 2026-11-27 02:10:11 UTC`; other zones are shown by their offset.
pub(in super::super) fn shown(moment: u64, zone: &Zone) -> String {
    let unix = (moment / SECOND) as i64;
    let offset = zone.offset_at(unix);
    let seconds = unix + i64::from(offset);
    let days = seconds.div_euclid(86_400);
    let of_day = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let weekday = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][(days + 3).rem_euclid(7) as usize];
    let name = match offset {
        0 => "UTC".to_owned(),
        _ => format!("{}{:02}{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600, offset.abs() / 60 % 60),
    };
    format!("{weekday} {year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} {name}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// How far away, in systemd's two largest units.
pub(super) fn relative(now: u64, then: u64) -> String {
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const WEEK: u64 = 7 * DAY;
    const MONTH: u64 = 2_629_800 * SECOND;
    const YEAR: u64 = 31_557_600 * SECOND;
    let left = now.abs_diff(then);
    let many = |n: u64, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let text = match left {
        _ if left >= YEAR => format!("{} {}", many(left / YEAR, "year"), many(left % YEAR / MONTH, "month")),
        _ if left >= MONTH => format!("{} {}", many(left / MONTH, "month"), many(left % MONTH / DAY, "day")),
        _ if left >= WEEK => format!("{} {}", many(left / WEEK, "week"), many(left % WEEK / DAY, "day")),
        _ if left >= 2 * DAY => many(left / DAY, "day"),
        // hours without a plural, as there
        _ if left >= 25 * HOUR => format!("{} {}h", many(left / DAY, "day"), left % DAY / HOUR),
        _ if left >= 6 * HOUR => format!("{}h", left / HOUR),
        _ if left >= HOUR => format!("{}h {}min", left / HOUR, left % HOUR / MINUTE),
        _ if left >= 5 * MINUTE => format!("{}min", left / MINUTE),
        _ if left >= MINUTE => format!("{}min {}s", left / MINUTE, left % MINUTE / SECOND),
        _ if left >= SECOND => format!("{}s", left / SECOND),
        _ if left >= 1000 => format!("{}ms", left / 1000),
        _ if left > 0 => format!("{left}us"),
        _ => return "now".to_owned(),
    };
    format!("{text} {}", if then > now { "left" } else { "ago" })
}

pub(super) fn unit_paths(asked: &Asked, _: &[String]) -> Outcome {
    let root = root(&options(asked))?;
    let catalogue = catalogue(&options(asked), &root)?;
    Ok(output::show(&catalogue.search.places.iter().map(|place| format!("{}\n", root.shown(&place.path))).collect::<String>()))
}

const CONFIG: [&str; 5] = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];

pub(super) fn cat_config(asked: &Asked, words: &[String]) -> Outcome {
    let root = root(&options(asked))?;
    let mut text = String::new();
    for word in words {
        let name = match word.strip_prefix('/') {
            None => word.as_str(),
            Some(_) => CONFIG
                .iter()
                .find_map(|top| word.strip_prefix(top)?.strip_prefix('/'))
                .ok_or_else(|| format!("Path {word} is not below one of {}.", CONFIG.join(" ")))?,
        };
        if name.split('/').any(|part| part == "..") {
            return Err(format!("Path {word} has \"..\" in it."));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        config(&root, name, &mut text);
    }
    Ok(output::show(&text))
}

/// The main file, then drop-ins by name; of one name the most important directory's counts.
fn config(root: &Root, name: &str, text: &mut String) {
    let main = CONFIG.iter().map(|top| format!("{top}/{name}")).find(|path| root.exists(path));
    let mut files: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    for top in CONFIG {
        let directory = format!("{top}/{name}.d");
        for (file, entry) in root.list(&directory).ok().flatten().unwrap_or_default() {
            if file.ends_with(".conf") && !matches!(entry, Entry::Directory) {
                files.entry(file.clone()).or_insert_with(|| format!("{directory}/{file}"));
            }
        }
    }
    let is_masked = |path: &String| root.is_null_or_empty(path);
    let found: Vec<String> = main.clone().into_iter().chain(files.into_values().filter(|path| !is_masked(path))).collect();
    if main.is_none() {
        let _ = writeln!(text, "# Main configuration file {name} not found");
    }
    for (i, path) in found.iter().enumerate() {
        if i > 0 || main.is_none() {
            text.push('\n');
        }
        match root.read(path) {
            Ok(bytes) => {
                let body = String::from_utf8_lossy(&bytes);
                let _ = write!(text, "# {}\n{body}{}", root.shown(path), if body.ends_with('\n') || body.is_empty() { "" } else { "\n" });
            }
            Err(e) => output::tell(format_args!("Failed to cat {}: {}", root.shown(path), e.cause)),
        }
    }
}
