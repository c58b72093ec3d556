//! Names of sysvinit's tools that are links to systemctl in a Debian tree: where ours lies over systemctl, they are ours, too.
//! `hostel link` makes none of them.

use std::ffi::OsString;
use std::process::ExitCode;

use hostel_init::control::client::Client;
use hostel_init::journal::store::realtime;
use hostel_init::manager::End;
use hostel_init::manager::query::Request;
use hostel_init::transaction::{JobMode, JobType};
use hostel_unit::UnitName;
use hostel_unit::zone::Zone;

use super::analyze::values::{shown, zone};
use super::managed::{field, records, running, simple};
use super::{Outcome, refuse};
use crate::output;

/// The names.
pub const NAMES: [&str; 6] = ["halt", "poweroff", "reboot", "shutdown", "runlevel", "telinit"];

/// Runs one of them.
pub fn run(name: &str, args: &[OsString]) -> ExitCode {
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = if name != "runlevel" && super::systemd_runs() {
        Err(super::live::point_to_systemd())
    } else {
        match name {
            "runlevel" => runlevel(),
            "telinit" => telinit(&words),
            "shutdown" => shutdown(&words),
            _ => end(name, &words),
        }
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(why) => refuse(&why),
    }
}

/// The runlevel before is not known: N, as after a boot.
fn runlevel() -> Outcome {
    let level = |client: Client| -> Option<&'static str> {
        let names = ["graphical", "multi-user", "rescue"].map(|name| UnitName::parse(&format!("{name}.target")).ok());
        let found = records(client, Request::Show(names.into_iter().flatten().collect())).ok()?;
        let up = |n: usize| found.get(n).and_then(|r| field(r, "ActiveState")) == Some("active");
        (0..3).find(|n| up(*n)).map(|n| ["5", "3", "1"][n])
    };
    match Client::connect().and_then(level) {
        Some(level) => Ok(output::show(&format!("N {level}\n"))),
        None => {
            output::show("unknown\n");
            Ok(1)
        }
    }
}

fn ended(verb: &str, end: End) -> Outcome {
    simple(running(verb)?, Request::End(end))
}

fn telinit(words: &[&str]) -> Outcome {
    let [level] = words else { return Err("telinit: one runlevel is needed: 0 to 6, q or u.".to_owned()) };
    let target = match *level {
        "0" => return ended("telinit", End::PowerOff),
        "6" => return ended("telinit", End::Reboot),
        "q" | "Q" => return simple(running("telinit")?, Request::Reload),
        "1" | "s" | "S" => "rescue.target",
        "2" | "3" | "4" => "multi-user.target",
        "5" => "graphical.target",
        "u" | "U" => return simple(running("telinit")?, Request::Reexecute),
        other => return Err(format!("telinit: {other}: it is none of 0 to 6, q, u.")),
    };
    let unit = UnitName::parse(target).map_err(|e| e.why.to_owned())?;
    simple(running("telinit")?, Request::Job(JobType::Start, JobMode::Isolate, vec![unit]))
}

fn shutdown(words: &[&str]) -> Outcome {
    let mut end = End::PowerOff;
    let (mut time, mut is_canceled) = (None, false);
    for word in words {
        match *word {
            "-P" | "-h" | "--poweroff" => end = End::PowerOff,
            "-H" | "--halt" => end = End::Halt,
            "-r" | "--reboot" => end = End::Reboot,
            "--no-wall" => {}
            "-c" => is_canceled = true,
            option if option.starts_with('-') => return Err(format!("shutdown: option {option} is not implemented.")),
            // what follows the time is for a wall that is not there
            word => {
                time.get_or_insert(word);
            }
        }
    }
    if is_canceled {
        return simple(running("shutdown")?, Request::EndNot);
    }
    let (at, zone) = match time.unwrap_or("+1") {
        "now" | "+0" => return ended("shutdown", end),
        text => moment(text).ok_or_else(|| format!("shutdown: {text}: it is no time: now, +MINUTES or HH:MM."))?,
    };
    end_at("shutdown", end, at, &zone)
}

/// Plans the end, and says so.
fn end_at(verb: &str, end: End, at: u64, zone: &Zone) -> Outcome {
    let status = simple(running(verb)?, Request::EndAt(end, at))?;
    if status == 0 {
        tell_planned(end, at, zone);
    }
    Ok(status)
}

fn tell_planned(end: End, at: u64, zone: &Zone) {
    let what = if end == End::Reboot { "Reboot" } else { "Shutdown" };
    output::tell(format_args!("{what} scheduled for {}, use 'shutdown -c' to cancel.", shown(at, zone)));
}

/// `--when=`: a moment, or what is to become of the one that was planned.
pub(super) fn end_when(verb: &str, end: End, when: &str) -> Outcome {
    let zone = local();
    match when {
        "" | "cancel" => simple(running(verb)?, Request::EndNot),
        "show" => {
            let found = records(running(verb)?, Request::Manager)?;
            let planned = found.first().and_then(|r| field(r, "Planned")).and_then(|planned| planned.split_once(' '));
            match planned.and_then(|(at, word)| Some((at.parse().ok()?, End::of_words(&mut word.split(' ')).ok()?))) {
                Some((at, end)) => tell_planned(end, at, &zone),
                None => output::tell(format_args!("No scheduled shutdown.")),
            }
            Ok(0)
        }
        text => {
            let now = realtime();
            match hostel_unit::moment(text, now, &zone) {
                Ok(at) if at >= now => end_at(verb, end, at, &zone),
                Ok(_) => Err(format!("--when={text}: it is in the past.")),
                Err(e) => Err(format!("Failed to parse --when={text}: {}", e.why)),
            }
        }
    }
}

fn local() -> Zone {
    hostel_init::root::Root::host().ok().and_then(|root| zone(&root, "/etc/localtime")).unwrap_or(Zone::UTC)
}

/// `+MINUTES` from now, or the next `HH:MM` of the local time: microseconds since 1970, and that time's zone.
fn moment(text: &str) -> Option<(u64, Zone)> {
    let (now, zone) = (realtime(), local());
    let at = match text.strip_prefix('+') {
        Some(minutes) => now.checked_add(u64::from(minutes.parse::<u32>().ok()?) * 60_000_000)?,
        None => {
            let (hour, minute) = text.split_once(':')?;
            let (hour, minute) = (hour.parse::<u32>().ok()?, minute.parse::<u32>().ok()?);
            hostel_unit::Calendar::parse(&format!("*-*-* {hour:02}:{minute:02}:00")).ok()?.next(now, &zone)?
        }
    };
    Some((at, zone))
}

fn end(name: &str, words: &[&str]) -> Outcome {
    let mut end = match name {
        "halt" => End::Halt,
        "reboot" => End::Reboot,
        _ => End::PowerOff,
    };
    let mut is_forced = false;
    for word in words {
        end = match *word {
            "-p" | "--poweroff" => End::PowerOff,
            "--halt" => End::Halt,
            "--reboot" => End::Reboot,
            // no record of logins is written, and nobody is told
            "-d" | "--no-wtmp" | "--no-wall" | "-n" | "--no-sync" => end,
            "-f" | "--force" => {
                is_forced = true;
                end
            }
            other => return Err(format!("{name}: option {other} is not implemented.")),
        };
    }
    if is_forced { simple(running(name)?, Request::EndNow(end)) } else { ended(name, end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_shutdown() {
        let now = realtime();
        let after = |text: &str| moment(text).map(|(at, _)| at - now);
        assert!(after("+5").is_some_and(|micros| (300_000_000..310_000_000).contains(&micros)));
        assert!(after("23:59").is_some_and(|micros| micros <= 86_400_000_000 + 60_000_000));
        for bad in ["5", "+x", "25:00", "12:60", "soon", "", "+-1"] {
            assert!(moment(bad).is_none(), "{bad}");
        }
    }
}
