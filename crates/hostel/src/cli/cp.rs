//! `hostel cp`: copy files into and out of a running machine.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use hostel_engine::inside::{self, Transfer};
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::{Failure, Outcome, Verb, look};
use crate::{foreign, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "cp",
    args: "NAME:PATH PATH | PATH NAME:PATH",
    about: "copy files into a running machine or out of it",
    options: &[
        ("-f, --force", "replace files that are there"),
        ("-L, --dereference", "copy what a link leads to (in the machine: inside of it), for the named path"),
    ],
    examples: &[
        ("hostel cp web:/var/log/nginx .", "out of it: links as links, no set-user-id bits, no devices"),
        ("hostel cp site.tar web:/root/", "into it; owners keep their numbers"),
    ],
    run,
};

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Here(PathBuf),
    There(MachineName, PathBuf),
}

/// `NAME:PATH`, unless a slash comes before the colon: a file here with a colon in its name is `./a:b`.
fn end(word: &OsStr) -> Result<End, Failure> {
    let bytes = word.as_bytes();
    match bytes.iter().position(|b| matches!(b, b':' | b'/')) {
        Some(at) if bytes[at] == b':' => {
            let name = look::name(OsStr::from_bytes(&bytes[..at]))?;
            if bytes.len() == at + 1 {
                return Err(Failure::Usage(format!("the path in machine {name} is empty; `{name}:/` is its root")));
            }
            let path = Path::new("/").join(OsString::from_vec(bytes[at + 1..].to_vec()));
            Ok(End::There(name, path))
        }
        _ if bytes.is_empty() => Err(Failure::Usage("a path is empty".into())),
        _ => Ok(End::Here(word.into())),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Order {
    from: End,
    to: End,
    force: bool,
    follow: bool,
}

fn parse(args: &[OsString]) -> Result<Option<Order>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut ends, mut force, mut follow) = (Vec::new(), false, false);
    while let Some(arg) = words.next()? {
        match arg {
            Short('f') | Long("force") => force = true,
            Short('L') | Long("dereference") => follow = true,
            Short('a' | 'r' | 'R') | Long("archive" | "recursive") => {}
            Short('h') | Long("help") => return Ok(None),
            Value(word) if ends.len() < 2 => ends.push(end(&word)?),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut ends = ends.into_iter();
    let (Some(from), Some(to)) = (ends.next(), ends.next()) else { return Err(Failure::Usage("from where to where? give two paths".into())) };
    match (&from, &to) {
        (End::Here(_), End::Here(_)) => Err(Failure::Usage("one of the two paths has to be NAME:PATH".into())),
        (End::There(..), End::There(..)) => Err(Failure::Usage("from machine to machine goes by way of the host: copy twice".into())),
        _ => Ok(Some(Order { from, to, force, follow })),
    }
}

fn run(args: &[OsString]) -> Outcome {
    let Some(Order { from, to, force, follow }) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let transfer = |source, target| Transfer { source, target, replace: force, follow, into: true };
    match (&from, &to) {
        (End::Here(source), End::There(name, target)) => copy_to(name, &transfer(source, target)),
        (End::There(name, source), End::Here(target)) => copy_from(name, &transfer(source, target)),
        _ => Err(Failure::Usage("one of the two paths has to be NAME:PATH".into())),
    }
}

/// Into a machine.
pub(crate) fn copy_to(name: &MachineName, transfer: &Transfer<'_>) -> Outcome {
    inside::copy_to(&foreign::leader_for_files(name)?, transfer)?;
    Ok(0)
}

/// Out of a machine; says what did not come along.
pub(crate) fn copy_from(name: &MachineName, transfer: &Transfer<'_>) -> Outcome {
    let received = inside::copy_from(&foreign::leader_for_files(name)?, transfer)?;
    if received.left_out > 0 {
        output::tell(format_args!("notice: {} devices and sockets were left out", received.left_out));
    }
    if received.tamed > 0 {
        output::tell(format_args!("notice: set-user-id bits of {} files were left out", received.tamed));
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |line: &str| parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>());
        let there = |path: &str| End::There(MachineName::new("web").unwrap(), path.into());
        let order = parse("-f web:etc/hosts ./a:b").unwrap().unwrap();
        assert_eq!((order.from, order.to, order.force), (there("/etc/hosts"), End::Here("./a:b".into()), true));
        assert_eq!(parse("x web:/y").unwrap().unwrap().to, there("/y"));
        for bad in ["", "a", "a b", "web:/a web:/b", "web:/a b c", "..:/a b", ":/a b", "web:/a b --odd", "web: b", "a web:"] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
