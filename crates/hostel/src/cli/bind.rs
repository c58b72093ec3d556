//! `hostel bind`: show a file or directory of the host in a running machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hostel_engine::inside;
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::{Failure, Outcome, Verb, look};
use crate::{foreign, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "bind",
    args: "NAME PATH [PATH] [--read-only] [--mkdir]",
    about: "show a file or directory of the host in a running machine",
    options: &[
        ("--read-only", "the machine may not write to it"),
        ("--mkdir", "make the path in the machine if it is missing"),
        ("--no-idmap", "do not translate owners: in a machine with ids of its own everything is nobody's"),
    ],
    examples: &[
        ("hostel bind web /srv/www --read-only --mkdir", "at the same path inside"),
        ("hostel bind web ~/src /mnt", "root's files here are root's there; who writes there, writes here as root"),
    ],
    run,
};

/// What to show where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) name: MachineName,
    pub(crate) source: PathBuf,
    pub(crate) target: Option<PathBuf>,
    pub(crate) read_only: bool,
    pub(crate) make: bool,
    pub(crate) map_ids: bool,
}

fn parse(args: &[OsString]) -> Result<Option<Order>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut name, mut paths) = (None, Vec::new());
    let (mut read_only, mut make, mut map_ids) = (false, false, true);
    while let Some(arg) = words.next()? {
        match arg {
            Long("read-only" | "ro") => read_only = true,
            Long("mkdir") => make = true,
            Long("no-idmap") => map_ids = false,
            Short('h') | Long("help") => return Ok(None),
            Value(word) if name.is_none() => name = Some(look::name(&word)?),
            Value(word) if paths.len() < 2 && !word.is_empty() => paths.push(PathBuf::from(word)),
            other => return Err(other.unexpected().into()),
        }
    }
    let name = look::required(name)?;
    let mut paths = paths.into_iter();
    let source = paths.next().ok_or_else(|| Failure::Usage("which file or directory of the host?".into()))?;
    Ok(Some(Order { name, source, target: paths.next(), read_only, make, map_ids }))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(order) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    bind(&order)
}

/// Shows it.
pub(crate) fn bind(order: &Order) -> Outcome {
    let leader = foreign::leader_for_files(&order.name)?;
    let same;
    let target: &Path = match &order.target {
        Some(target) => target,
        None => {
            same = absolute(&order.source);
            &same
        }
    };
    let bind = inside::Bind { source: &order.source, target, read_only: order.read_only, make: order.make, map_ids: order.map_ids };
    inside::bind(&leader, &bind)?;
    Ok(0)
}

/// A path of the host that begins where we are.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |line: &str| parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>());
        let order = parse("web --read-only /srv /mnt --mkdir").unwrap().unwrap();
        assert_eq!((order.source, order.target), ("/srv".into(), Some("/mnt".into())));
        assert!(order.read_only && order.make && order.map_ids);
        for bad in ["", "web", "web a b c", "../x /srv", "web /srv --rw"] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
