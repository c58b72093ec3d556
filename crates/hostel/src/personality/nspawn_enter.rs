//! nspawn-enter of nspawn-tools: a shell in a running machine's namespaces, of hostel, systemd-nspawn or LXC.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::exec::{self, Order};
use crate::cli::{Failure, look};
use crate::output;

pub(crate) const HELP: &str = "usage: nspawn-enter [-h] [-n] [-p] NAME\n\nEnter the namespaces of a running machine with its root's shell.\n\n\
    \x20 -h, --help        show this help\n\x20 -n, --no-network  keep the host's network\n\x20 -p, --no-pid      keep the host's processes\n";

/// Exit status for a wrong command line.
pub(super) const USAGE: u8 = 2;

/// Runs `nspawn-enter ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    let mut name = None;
    let (mut network, mut pid) = (true, true);
    let mut plain = false;
    for word in args {
        let text = word.to_string_lossy();
        match text.as_ref() {
            "--" if !plain => plain = true,
            text if plain || !text.starts_with('-') || text == "-" => {
                if name.replace(word).is_some() {
                    return usage("nspawn-enter", HELP, &format!("unrecognized arguments: {text}"));
                }
            }
            text if text.starts_with("--") => match unique(text, &["--help", "--no-network", "--no-pid"]) {
                Some("--help") => return output::print(HELP),
                Some("--no-network") => network = false,
                Some("--no-pid") => pid = false,
                _ => return usage("nspawn-enter", HELP, &format!("unrecognized arguments: {text}")),
            },
            letters => {
                for letter in letters[1..].chars() {
                    match letter {
                        'h' => return output::print(HELP),
                        'n' => network = false,
                        'p' => pid = false,
                        _ => return usage("nspawn-enter", HELP, &format!("unrecognized arguments: {letters}")),
                    }
                }
            }
        }
    }
    let Some(name) = name else { return usage("nspawn-enter", HELP, "the following arguments are required: NAME") };
    let outcome = look::name(name).and_then(|name| {
        let mut order = Order::new(name);
        order.selection.net = network;
        order.selection.pid = pid;
        exec::run_in(&order)
    });
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(failure) => failed("nspawn-enter", &failure),
    }
}

/// The word of `all` that `text` begins, if it is the only one.
pub(super) fn unique<'a>(text: &str, all: &[&'a str]) -> Option<&'a str> {
    let mut found = all.iter().filter(|word| word.starts_with(text));
    all.iter().find(|word| **word == text).or_else(|| found.next().filter(|_| found.next().is_none())).copied()
}

pub(super) fn usage(program: &str, help: &str, why: &str) -> ExitCode {
    output::tell(format_args!("{}", help.lines().next().unwrap_or_default()));
    output::tell(format_args!("{program}: error: {why}"));
    ExitCode::from(USAGE)
}

pub(super) fn failed(program: &str, failure: &Failure) -> ExitCode {
    match failure {
        Failure::Usage(text) => output::tell(format_args!("{program}: {text}")),
        Failure::Dialect(error, _) => output::tell(format_args!("{program}: {error}")),
        Failure::Engine(error) => output::tell(format_args!("{program}: {error}")),
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_of_words() {
        let all = ["--help", "--no-network", "--no-pid"];
        for (text, want) in [("--no-n", Some("--no-network")), ("--no", None), ("--h", Some("--help")), ("--no-pid", Some("--no-pid")), ("--x", None)]
        {
            assert_eq!(unique(text, &all), want, "{text}");
        }
    }
}
