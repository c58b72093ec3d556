//! Tests of the dialect: one table per kind of option, snapshots of whole machines, random command lines.

mod getopt;
mod original;
mod random;
mod rows;
mod settings;
mod snapshots;
mod together;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use hostel_spec::MachineSpec;

use crate::{Action, Environment, UsageError, parse};

fn args(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn environment(vars: &[(&str, &str)]) -> Environment {
    Environment { vars: vars.iter().map(|(n, v)| (n.into(), v.into())).collect(), cwd: PathBuf::from("/work") }
}

fn run(words: &[&str]) -> Result<Action, UsageError> {
    parse(&args(words), &environment(&[("TERM", "xterm"), ("LANG", "de_DE.UTF-8")]))
}

/// The machine a command line makes; the test ends when it makes none.
#[track_caller]
fn spec(words: &[&str]) -> MachineSpec {
    match run(words) {
        Ok(Action::Run(spec)) => *spec,
        other => panic!("{words:?}: {other:?}"),
    }
}

/// The error of a command line.
#[track_caller]
fn error(words: &[&str]) -> UsageError {
    match run(words) {
        Err(error) => error,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[track_caller]
fn printed(words: &[&str]) -> String {
    match run(words) {
        Ok(Action::Print(text)) => text,
        other => panic!("{words:?}: {other:?}"),
    }
}

/// A command line of ordinary length must cost microseconds: it is on the way of every start. The bound is far above
/// what is measured (2 µs in a test build), so that only a change of kind fails.
#[test]
fn parsing_is_quick() {
    let words = args(&["-q", "-D", "/var/lib/machines/debian", "--register=no", "--keep-unit", "--bind=/a:/b", "--private-users=pick", "/bin/true"]);
    let env = environment(&[("PATH", "/bin"), ("TERM", "xterm")]);
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        assert!(parse(&words, &env).is_ok());
    }
    let each = start.elapsed() / 1000;
    println!("{each:?} for each command line");
    assert!(each < std::time::Duration::from_micros(500), "{each:?}");
}
