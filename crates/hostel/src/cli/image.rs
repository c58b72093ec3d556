//! What the verbs about images share: names, places, times, asking for progress.

use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use hostel_engine::error::Error;
use hostel_image::images::{Image, Places, find};
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::{Failure, Verb, enable, look};
use crate::output;

/// The names a verb takes, at least `least` and at most `most`. `None`: its help was asked for, and has been printed.
pub(super) fn names(verb: &Verb, args: &[OsString], least: usize, most: usize) -> Result<Option<Vec<MachineName>>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut found = Vec::new();
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => {
                output::print(&super::verb_help(verb));
                return Ok(None);
            }
            Value(word) if found.len() < most => found.push(look::name(&word)?),
            other => return Err(other.unexpected().into()),
        }
    }
    if found.len() < least {
        return Err(Failure::Usage(format!("{} {}: a name is missing", verb.name, verb.args)));
    }
    Ok(Some(found))
}

/// Runs `work` with the places of this host, where machines on the list of those to start follow their image.
pub(super) fn with_places<T>(work: impl FnOnce(&Places<'_>) -> T) -> T {
    let autostart = enable::directory();
    work(&Places { autostart: Some(&autostart), ..Places::host() })
}

/// The image of that name on this host.
pub(super) fn named(name: &MachineName) -> Result<Image, Error> {
    find(name, Places::host().search).map_err(|e| hinted(e.into()))
}

/// Tells what to do about what goes wrong with images.
pub(super) fn hinted(error: Error) -> Error {
    let hint = match (error.verb, error.cause.as_str()) {
        ("find image", _) => "`hostel images` lists them",
        (_, cause) if cause.contains("is one already") => "choose another name, or `hostel remove` that one first",
        (_, cause) if cause.contains("Permission denied") && !rustix::process::geteuid().is_root() => "images are root's: run it with sudo",
        ("lock image", _) => return error.hint("it runs, or is being started: `hostel ps`").busy(),
        _ => return error,
    };
    error.hint(hint)
}

/// [`hinted`] for whole results.
pub(super) fn told<T>(result: hostel_image::Result<T>) -> Result<T, Failure> {
    result.map_err(|e| Failure::Engine(hinted(e.into())))
}

/// Seconds after 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// `Thu 2026-11-26 19:41:59 UTC`, as machinectl prints times.
pub(super) fn timestamp(time: SystemTime) -> String {
    let seconds = seconds(time);
    // 1970 began with a Thursday.
    let day = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(seconds / 86400 % 7) as usize];
    format!("{day} {}", output::date(seconds))
}

/// A size as typed: bytes, K, M, G, T; `-`, `infinity` or nothing: no limit.
pub(super) fn size(word: &str) -> Result<Option<u64>, Failure> {
    if matches!(word, "" | "-" | "infinity") {
        return Ok(None);
    }
    hostel_unit::size(word).map(Some).map_err(|e| Failure::Usage(e.to_string()))
}

/// A yes or no as typed.
pub(super) fn boolean(word: &str) -> Result<bool, Failure> {
    match word {
        "yes" | "y" | "true" | "t" | "on" | "1" => Ok(true),
        "no" | "n" | "false" | "f" | "off" | "0" => Ok(false),
        _ => Err(Failure::Usage(format!("parse {word:?}: it takes yes or no"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        let at = |s| timestamp(UNIX_EPOCH + std::time::Duration::from_secs(s));
        assert_eq!(at(0), "Thu 1970-01-01 00:00:00 UTC");
        assert_eq!(at(1_795_722_119), "Thu 2026-11-26 19:41:59 UTC");
        assert_eq!(size("10G").unwrap(), Some(10 << 30));
        assert_eq!(size("-").unwrap(), None);
        assert!(size("lots").is_err() && boolean("maybe").is_err() && boolean("on").unwrap());
    }
}
