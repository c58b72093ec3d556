//! `hostel try`: do it on an overlay of this host, look at what it did, and only then decide.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal};

use hostel_engine::error::Error;
use hostel_engine::registry::Origin;
use hostel_image::inroot::Durable;
use hostel_image::open::KEPT;
use hostel_spec::MachineName;

use super::commit::commit;
use super::diff::{Found, listed, summary};
use super::{Failure, Outcome, Verb, rm};
use crate::native::{self, Kind, Parsed, kept};
use crate::{hint, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "try",
    args: "[--commit|--keep|--discard] [--yes] [--no-net] [--name NAME] [RUN OPTIONS] [--] [CMD...]",
    about: "run a command on an overlay of this host, show what it changed, then commit or forget it (options of `run` go after its own)",
    options: &[
        ("--commit", "commit at the end if the command succeeded; else the machine is kept"),
        ("--yes", "with --commit: also when it failed"),
        ("--keep", "keep the machine at the end, do not ask"),
        ("--discard", "forget it at the end, do not ask; so it is where nobody can be asked"),
        ("--no-net", "without a network; else it is the host's"),
        ("--name NAME", "the machine's name"),
    ],
    examples: &[
        ("hostel try apt full-upgrade", "then d shows what changed, c commits it, k keeps it, x forgets it"),
        ("hostel try --no-net -- ./install.sh", "what would it do?"),
        ("hostel try --commit -- make install", "in scripts"),
    ],
    run,
};

/// What is done with the changes at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Ask,
    Commit { always: bool },
    Keep,
    Discard,
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    end: End,
    no_net: bool,
    name: Option<MachineName>,
    rest: Vec<OsString>,
}

/// Our own options are the first; what follows is `hostel run`'s.
fn parse(args: &[OsString]) -> Result<Request, Failure> {
    let mut request = Request { end: End::Ask, no_net: false, name: None, rest: Vec::new() };
    let (mut yes, mut words) = (false, args.iter());
    let end = |now: End, new: End| if now == End::Ask { Ok(new) } else { Err(Failure::Usage("--commit, --keep and --discard: one of them".into())) };
    let name = |word: Option<&OsString>| super::look::name(word.ok_or_else(|| Failure::Usage("option '--name' requires an argument".into()))?);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--commit") => request.end = end(request.end, End::Commit { always: false })?,
            Some("--keep") => request.end = end(request.end, End::Keep)?,
            Some("--discard") => request.end = end(request.end, End::Discard)?,
            Some("--yes") => yes = true,
            Some("--no-net") => request.no_net = true,
            Some("--name") => request.name = Some(name(words.next())?),
            Some(text) if text.starts_with("--name=") => request.name = Some(name(Some(&text["--name=".len()..].into()))?),
            _ => {
                request.rest.push(word.clone());
                request.rest.extend(words.by_ref().cloned());
            }
        }
    }
    match &mut request.end {
        End::Commit { always } => *always = yes,
        _ if yes => return Err(Failure::Usage("--yes goes with --commit".into())),
        _ => {}
    }
    Ok(request)
}

fn run(args: &[OsString]) -> Outcome {
    let request = parse(args)?;
    let name = match request.name {
        Some(name) => name,
        None => MachineName::new(format!("try-{:08x}", hostel_engine::supervisor::random_u64() as u32)).map_err(|e| Failure::Usage(e.to_string()))?,
    };
    let mut words: Vec<OsString> = vec!["--keep".into(), name.as_str().into()];
    if request.no_net {
        words.push("--net=private".into());
    }
    let misplaced = request.rest.iter().take_while(|w| *w != "--").find(|w| VERB.options.iter().any(|(own, _)| *w == own)).cloned();
    words.extend(request.rest);
    let mut asked = match (native::parse(Kind::Run, &words), misplaced) {
        (Ok(Parsed::Machine(asked)), _) => asked,
        (Ok(Parsed::Shown(status)), _) => return Ok(status),
        (Err(_), Some(word)) => return Err(Failure::Usage(format!("try: {} goes before the options of `run`", word.to_string_lossy()))),
        (Err(error), None) => return Err(error),
    };
    let others = asked.spec.identity.name.as_ref().is_some_and(|given| *given != name) || asked.keep.as_ref() != Some(&name);
    if others {
        return Err(Failure::Usage("try: --name and --keep go before the options of `run`".into()));
    }
    if asked.in_background() {
        return Err(Failure::Usage("try: a machine in the background has no end to ask at; use `hostel run --keep NAME -d`".into()));
    }
    if kept::lower(&name)?.is_some() {
        return Err(Failure::Usage(format!("machine {name} is kept already: `hostel run --keep {name}` goes on with it")));
    }
    // Most are forgotten at the end: what is kept is synced then.
    asked.durable = Durable::No;
    let outcome = native::start(*asked, Origin::Run);
    if kept::lower(&name)?.is_none() {
        return outcome;
    }
    let status = outcome.unwrap_or_else(|failure| {
        tell(failure);
        super::NOTHING_RUN
    });
    end(&name, request.end, status)
}

fn tell(failure: Failure) {
    match failure {
        Failure::Engine(error) => hint::tell("hostel", &error, error.hint.as_ref(), hint::Voice::Run("run")),
        Failure::Usage(text) => output::tell(format_args!("hostel: {text}")),
        Failure::Dialect(error, _) => output::tell(format_args!("hostel: {error}")),
    }
}

/// The command is over: what it changed is told, and goes where it is to go.
fn end(name: &MachineName, end: End, status: u8) -> Outcome {
    let found = match Found::look(name) {
        Ok(found) => found,
        Err(error) => {
            output::tell(format_args!("notice: machine {name} is kept"));
            return Err(error.into());
        }
    };
    output::tell(format_args!("{}: {}", found.lower.display(), summary(&found.changes, &found.packages)));
    if found.changes.is_empty() {
        if end == End::Keep {
            keep(name)?
        } else {
            rm::forget_unused(name)?
        }
        return Ok(status);
    }
    let done = match end {
        End::Commit { always } if always || status == 0 => commit(name, &[], false, false),
        End::Commit { .. } | End::Keep => keep(name),
        End::Ask if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => Ok(ask(name, &found)?),
        End::Ask | End::Discard => rm::forget(name),
    };
    if let Err(error) = done {
        if kept::lower(name)?.is_some() {
            keep(name)?;
        }
        return Err(error.into());
    }
    Ok(status)
}

fn keep(name: &MachineName) -> Result<(), Error> {
    hostel_image::kept::sync(KEPT.as_ref(), name)?;
    let tree = match kept::lower(name)? {
        Some(lower) if lower != std::path::Path::new("/") => format!(" --tree {}", lower.display()),
        _ => String::new(),
    };
    output::tell(format_args!(
        "Machine {name} is kept: `hostel diff {name}`, `hostel commit {name}`, `hostel run --keep {name}{tree}`, `hostel discard {name}`."
    ));
    Ok(())
}

/// The question, until it has an answer that ends it. Nobody there any more: it is kept.
fn ask(name: &MachineName, found: &Found) -> Result<(), Failure> {
    loop {
        output::ask(format_args!("[d]iff  [c]ommit  [k]eep  [x] discard? "));
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match answer.trim() {
            _ if !matches!(read, Ok(n) if n > 0) => {
                output::tell(format_args!(""));
                return Ok(keep(name)?);
            }
            "d" | "diff" => output::tell(format_args!("{}", listed(&found.changes, true).trim_end())),
            "c" | "commit" => match commit(name, &[], false, false) {
                Ok(()) => return Ok(()),
                Err(error) => hint::tell("hostel", &error, error.hint.as_ref(), hint::Voice::Verb("commit")),
            },
            "k" | "keep" => return Ok(keep(name)?),
            "x" | "discard" => return Ok(rm::forget(name)?),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_words_come_first() {
        let parse = |words: &[&str]| parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        let request = parse(&["--commit", "--no-net", "--yes", "--tree", "/x", "apt", "--yes", "--keep"]).unwrap();
        assert_eq!((request.end, request.no_net), (End::Commit { always: true }, true));
        assert_eq!(request.rest, ["--tree", "/x", "apt", "--yes", "--keep"]);
        assert_eq!(parse(&["--name=a", "--", "--commit"]).unwrap().rest, ["--", "--commit"]);
        for bad in [&["--commit", "--keep"][..], &["--yes"], &["--name"], &["--name", "/"]] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
