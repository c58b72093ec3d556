//! `hostel console`: sit down at a running machine's console, and leave it without ending anything.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use hostel_engine::error::Error;
use hostel_engine::supervisor::run::attach::{VisitEnd, VisitOptions, visit};
use hostel_ipc::control::CallError;
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use super::look;
use super::{Failure, Outcome, Verb};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "console",
    args: "NAME [--read-only] [--replay BYTES]",
    about: "join a machine's console; ^] three times within a second leaves it",
    options: &[
        ("-r, --read-only", "look, do not type"),
        ("--replay BYTES", "show this much of what was there before, at most 65536 (4096)"),
        ("-q, --quiet", "say nothing of our own"),
    ],
    examples: &[
        ("hostel console debian", "its login prompt; ^]^]^] leaves, ^]^]r reboots it, ^]^]p powers it off"),
        ("hostel console debian --read-only | tee boot.log", "what it writes from now on"),
    ],
    run,
};

#[derive(Debug, PartialEq, Eq)]
struct Request {
    name: MachineName,
    read_only: bool,
    replay: u32,
    quiet: bool,
}

/// `None`: the help was asked for.
fn parse(args: &[OsString]) -> Result<Option<Request>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut name = None;
    let (mut read_only, mut replay, mut quiet) = (false, 4096, false);
    while let Some(arg) = words.next()? {
        match arg {
            Short('r') | Long("read-only") => read_only = true,
            Short('q') | Long("quiet") => quiet = true,
            Long("replay") => {
                let text = words.value()?.string()?;
                replay = text.parse().map_err(|_| Failure::Usage(format!("parse --replay={text}: it takes a number of bytes")))?;
            }
            Short('h') | Long("help") => return Ok(None),
            Value(word) => look::one(&mut name, &word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(Request { name: look::required(name)?, read_only, replay, quiet }))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(request) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let name = &request.name;
    let machine = look::running(&machine::open_registry()?, name)?;
    let mut connection = look::connect(&machine, look::PATIENCE).map_err(|e| unreachable_console(name, e))?;
    let say = |text: &str| {
        if !request.quiet {
            output::tell(format_args!("{text}"));
        }
    };
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if stdin.is_terminal() && stdout.is_terminal() {
        let how = if request.read_only { "^C leaves it" } else { "^] three times within a second leaves it" };
        say(&format!("Console of machine {name}; {how}."));
    }
    let options = VisitOptions { replay: request.replay, read_only: request.read_only };
    match visit(&mut connection, stdin.as_fd(), stdout.as_fd(), options)? {
        VisitEnd::Left => say(&format!("\nLeft the console of machine {name}, which goes on.")),
        VisitEnd::Ended(_) => say(&format!("\nMachine {name} has ended.")),
    }
    Ok(0)
}

fn unreachable_console(name: &MachineName, error: CallError) -> Error {
    let hint = match error {
        CallError::NobodyListens => "only machines started with -d, and booted ones, can be visited",
        _ => "`hostel status` shows what its supervisor does",
    };
    Error::new("open", format!("console of machine {name}"), error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |words: &[&str]| parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        let want = Request { name: MachineName::new("web").unwrap(), read_only: true, replay: 0, quiet: false };
        assert_eq!(parse(&["--replay=0", "web", "--read-only"]).unwrap(), Some(want));
        for bad in [&[][..], &["web", "--replay"], &["web", "--replay=-1"], &["web", "--replay=x"], &["a/b"], &["web", "x"]] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
