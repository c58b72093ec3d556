//! nspawn-stop of nspawn-tools: end a machine of hostel, systemd-nspawn or LXC as its init wants it, and wait for its PID 1.
//!
//! It never kills: what has not ended when the time is over is left to the service manager that called us.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hostel_engine::enter::Leader;
use hostel_engine::stop::{self, Order, Stopped};
use hostel_ipc::control::{MAX_PACKET, Received};
use hostel_spec::MachineName;

use super::nspawn_enter::{failed, unique, usage};
use crate::cli::{Failure, look, reboot, start};
use crate::{foreign, machine, output};

pub(crate) const HELP: &str = "usage: nspawn-stop [-h] [-v] [-t TIMEOUT] [--compat-exit] NAME\n\nEnd a machine and wait until it has ended. It is never killed.\n\n\
    \x20 -h, --help             show this help\n\x20 -v, --verbose          say how long it took\n\
    \x20 -t, --timeout TIMEOUT  how many seconds to wait (60)\n\
    \x20 --compat-exit          exit status 0, not 5, when it still runs then\n";

/// Exit status: it still runs.
const STILL_RUNNING: u8 = 5;
/// What a supervisor may take to take everything away.
const TAKE_AWAY: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    name: &'a OsString,
    verbose: bool,
    timeout: u64,
    compatible: bool,
}

/// `Err(None)`: the help was asked for.
fn parse(args: &[OsString]) -> Result<Asked<'_>, Option<String>> {
    let (mut name, mut verbose, mut timeout, mut compatible, mut plain) = (None, false, 60, false, false);
    let seconds = |text: &str| text.parse::<u64>().map_err(|_| Some(format!("argument -t/--timeout: invalid int value: '{text}'")));
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let mut next =
            || words.next().map(|w| w.to_string_lossy().into_owned()).ok_or(Some("argument -t/--timeout: expected one argument".to_owned()));
        let unknown = || Some(format!("unrecognized arguments: {text}"));
        match text.as_ref() {
            "--" if !plain => plain = true,
            text if plain || !text.starts_with('-') || text == "-" => {
                if name.replace(word).is_some() {
                    return Err(unknown());
                }
            }
            long if long.starts_with("--") => {
                let (long, value) = long.split_once('=').map_or((long, None), |(long, value)| (long, Some(value.to_owned())));
                match (unique(long, &["--help", "--verbose", "--timeout", "--compat-exit"]), value) {
                    (Some("--help"), None) => return Err(None),
                    (Some("--verbose"), None) => verbose = true,
                    (Some("--compat-exit"), None) => compatible = true,
                    (Some("--timeout"), value) => timeout = seconds(&value.map_or_else(&mut next, Ok)?)?,
                    _ => return Err(unknown()),
                }
            }
            letters => {
                let mut rest = &letters[1..];
                while let Some(letter) = rest.chars().next() {
                    rest = &rest[letter.len_utf8()..];
                    match letter {
                        'h' => return Err(None),
                        'v' => verbose = true,
                        't' => {
                            let value = std::mem::take(&mut rest);
                            timeout = seconds(&if value.is_empty() { next()? } else { value.to_owned() })?;
                        }
                        _ => return Err(unknown()),
                    }
                }
            }
        }
    }
    let name = name.ok_or(Some("the following arguments are required: NAME".to_owned()))?;
    Ok(Asked { name, verbose, timeout, compatible })
}

/// Runs `nspawn-stop ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    let asked = match parse(args) {
        Ok(asked) => asked,
        Err(None) => return output::print(HELP),
        Err(Some(why)) => return usage("nspawn-stop", HELP, &why),
    };
    let since = Instant::now();
    let limit = Duration::from_secs(asked.timeout.min(365 * 86400));
    match look::name(asked.name).and_then(|name| end(&name, limit).map(|ended| (name, ended))) {
        Err(failure) => failed("nspawn-stop", &failure),
        // Not running is what was wanted: silent, unless asked.
        Ok((name, true)) => {
            if asked.verbose {
                output::show(&format!("Stopped machine '{name}' after {:.1} seconds\n", since.elapsed().as_secs_f64()));
            }
            ExitCode::SUCCESS
        }
        Ok((name, false)) => {
            if asked.verbose {
                output::tell(format_args!("Failed to stop machine '{name}' after {} seconds", asked.timeout));
            }
            ExitCode::from(if asked.compatible { 0 } else { STILL_RUNNING })
        }
    }
}

/// Asks for the end and waits for PID 1's, and for what its supervisor then takes away. Whether it has ended.
fn end(name: &MachineName, limit: Duration) -> Result<bool, Failure> {
    if start::runs(name)? {
        let Some(leader) = leader_within(name, limit)? else { return Ok(true) };
        let supervisor = machine::open_registry()?.load(name).ok().and_then(|found| look::connect(&found, look::PATIENCE).ok());
        match reboot::power_off(name) {
            Err(_) if !leader.is_alive() => {}
            other => other?,
        }
        let ended = leader.ended_within(limit)?;
        if let (true, Some(supervisor)) = (ended, supervisor) {
            let until = Instant::now() + TAKE_AWAY;
            while matches!(supervisor.receive(&mut [0; MAX_PACKET], Some(until)), Ok(message) if !matches!(message, Received::Closed)) {}
        }
        return Ok(ended);
    }
    match foreign::find(name) {
        Some((leader, _)) => Ok(stop::stop(leader, None, None, &Order { timeout: limit, signal: None, kill: false })? != Stopped::StillRuns),
        None => Ok(true),
    }
}

/// The leader of a machine of ours, once there is one; `None`: the machine has ended.
fn leader_within(name: &MachineName, limit: Duration) -> Result<Option<Leader>, Failure> {
    let until = Instant::now() + limit;
    loop {
        match foreign::leader(name) {
            Ok(leader) => return Ok(Some(leader)),
            Err(_) if !start::runs(name)? => return Ok(None),
            Err(error) if Instant::now() >= until => return Err(error.into()),
            // It is being started, or what is left of it is being taken away.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        for (line, verbose, timeout, compatible) in [
            ("web", false, 60, false),
            ("-v web -t 5", true, 5, false),
            ("-vt5 web", true, 5, false),
            ("--time=7 --verb -- web", true, 7, false),
            ("--timeout 7 web --compat-exit", false, 7, true),
        ] {
            let args = words(line);
            let asked = parse(&args).unwrap();
            assert_eq!(
                (asked.name.as_os_str(), asked.verbose, asked.timeout, asked.compatible),
                ("web".as_ref(), verbose, timeout, compatible),
                "{line}"
            );
        }
        for bad in ["", "a b", "-t", "-t x web", "-x web", "--timeout=-1 web", "--nonsense web", "web --verbose=1"] {
            assert!(matches!(parse(&words(bad)), Err(Some(_))), "{bad}");
        }
        assert_eq!(parse(&words("-h")), Err(None));
    }
}
