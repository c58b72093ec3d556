//! `hostel generate`: completions and manual pages, for packagers.

use std::ffi::OsString;
use std::path::PathBuf;

use hostel_engine::error::Context;
use lexopt::Arg::{Long, Short, Value};

use super::{Failure, Outcome, Verb};
use crate::generate::{self, Shell};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "generate",
    args: "completions bash|zsh|fish | man DIR",
    about: "print completions for shells, write manual pages",
    options: &[],
    examples: &[
        ("hostel generate completions bash > /usr/share/bash-completion/completions/hostel", "print completions"),
        ("hostel generate man /usr/share/man/man1", "write hostel.1, hostel-run.1, …"),
    ],
    run,
};

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Completions(Shell),
    Man(PathBuf),
}

/// `None`: the help was asked for.
fn parse(args: &[OsString]) -> Result<Option<Request>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut values = Vec::new();
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Value(word) => values.push(word),
            other => return Err(other.unexpected().into()),
        }
    }
    let usage = |text: &str| Err(Failure::Usage(format!("generate: {text}")));
    match &values[..] {
        [what, shell] if what == "completions" => match shell.to_str().and_then(Shell::parse) {
            Some(shell) => Ok(Some(Request::Completions(shell))),
            None => usage("completions are for bash, zsh or fish"),
        },
        [what, directory] if what == "man" && !directory.is_empty() => Ok(Some(Request::Man(directory.into()))),
        _ => usage("say `completions SHELL` or `man DIR`"),
    }
}

fn run(args: &[OsString]) -> Outcome {
    match parse(args)? {
        None => Ok(output::show(&super::verb_help(&VERB))),
        Some(Request::Completions(shell)) => Ok(output::show(&generate::completions(shell))),
        Some(Request::Man(directory)) => {
            for page in generate::pages() {
                let path = directory.join(&page.file);
                std::fs::write(&path, page.text).context("write", path.display().to_string())?;
            }
            Ok(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |words: &[&str]| parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(parse(&["completions", "zsh"]).unwrap(), Some(Request::Completions(Shell::Zsh)));
        assert_eq!(parse(&["man", "/x"]).unwrap(), Some(Request::Man("/x".into())));
        for bad in [&[][..], &["man"], &["man", ""], &["completions", "tcsh"], &["completions"], &["man", "a", "b"], &["nonsense", "x"]] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
