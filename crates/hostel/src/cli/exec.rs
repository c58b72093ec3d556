//! `hostel exec`: run a command in a running machine, as confined as everything in it.

use std::ffi::OsString;
use std::io::IsTerminal;

use hostel_engine::cgroup::MachineCgroup;
use hostel_engine::enter::relay::{self, RunError};
use hostel_engine::enter::{self, Cause, Entry, Facts, Known, Leader, Placement, Selection, Streams};
use hostel_engine::error::{Context, Error};
use hostel_engine::registry::{Machine, MachineState};
use hostel_process::r#become::Program;
use hostel_spec::{CapSet, MachineName, OsText, ProcessSpec, Rlimit, UserSelector};
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use super::{Failure, Outcome, Verb, look};
use crate::{foreign, machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "exec",
    args: "NAME [OPTIONS] [--] CMD...",
    about: "run a command in a running machine; its exit status is the command's",
    options: &[
        ("-u, --user USER", "name or uid in the machine (root)"),
        ("-E, --setenv NAME[=VALUE]", "set a variable; without a value: as it is here"),
        ("-C, --chdir DIR", "directory in the machine (/)"),
        ("-t, --tty", "on a terminal of the machine's own (default: when input and output are terminals)"),
        ("-T, --no-tty", "never on a terminal"),
    ],
    examples: &[
        ("hostel exec debian -- systemctl status", "on a terminal when this is one"),
        ("hostel exec debian tar c /etc > etc.tar", "pipes stay pipes"),
        ("hostel exec debian -u www-data -- id", "as another user of the machine"),
    ],
    run,
};

/// What to run, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) name: MachineName,
    pub(crate) process: ProcessSpec,
    pub(crate) tty: Option<bool>,
    pub(crate) selection: Selection,
    /// On a terminal, `^]` three times within a second ends it.
    pub(crate) escape: bool,
    /// What is no fault of the command's is an error as any other, and no status of its own.
    pub(crate) as_error: bool,
}

impl Order {
    pub(crate) fn new(name: MachineName) -> Self {
        Self { name, process: ProcessSpec::default(), tty: None, selection: Selection::default(), escape: false, as_error: false }
    }
}

/// A user as typed: a number is a uid.
pub(crate) fn user(text: &str) -> Result<UserSelector, Failure> {
    hostel_process::userdb::parse_selector(text).map_err(|e| Failure::Usage(e.to_string()))
}

/// `NAME=VALUE`, or `NAME` with the value it has here.
pub(crate) fn variable(word: OsString) -> Result<Option<OsText>, Failure> {
    let name = word.as_encoded_bytes().split(|b| *b == b'=').next().unwrap_or_default();
    if !is_variable_name(name) {
        let name = String::from_utf8_lossy(name);
        return Err(Failure::Usage(format!("parse --setenv: {name:?} is no name of a variable: letters, digits and _, no digit first")));
    }
    if word.as_encoded_bytes().contains(&b'=') {
        return Ok(Some(word.into()));
    }
    Ok(std::env::var_os(&word).map(|value| {
        let mut entry = word;
        entry.push("=");
        entry.push(value);
        entry.into()
    }))
}

fn is_variable_name(name: &[u8]) -> bool {
    name.first().is_some_and(|b| !b.is_ascii_digit()) && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

fn parse(args: &[OsString]) -> Result<Option<Order>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut order: Option<Order> = None;
    let mut process = ProcessSpec::default();
    let mut tty = None;
    while let Some(arg) = words.next()? {
        match arg {
            Short('u') | Long("user" | "uid") => process.user = Some(user(&words.value()?.string()?)?),
            Short('E') | Long("setenv" | "env") => process.env.extend(variable(words.value()?)?),
            Short('C') | Long("chdir") => process.cwd = Some(directory(words.value()?)?),
            Short('t') | Long("tty") => tty = Some(true),
            Short('T') | Long("no-tty") => tty = Some(false),
            Short('h') | Long("help") => return Ok(None),
            Value(word) if order.is_none() => order = Some(Order::new(look::name(&word)?)),
            Value(word) => {
                process.argv.push(word.into());
                process.argv.extend(words.raw_args()?.map(OsText::from));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let order = order.ok_or_else(|| Failure::Usage("which machine? give its name".into()))?;
    if process.argv.is_empty() {
        return Err(Failure::Usage("which command? (`hostel shell NAME` is a shell)".into()));
    }
    Ok(Some(Order { process, tty, ..order }))
}

/// An absolute directory inside.
pub(super) fn directory(word: OsString) -> Result<std::path::PathBuf, Failure> {
    let path = std::path::PathBuf::from(word);
    if path.is_absolute() { Ok(path) } else { Err(Failure::Usage(format!("parse --chdir={}: it takes an absolute path", path.display()))) }
}

fn run(args: &[OsString]) -> Outcome {
    let Some(order) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    run_in(&order)
}

/// Runs `order` in its machine, to its end.
pub(crate) fn run_in(order: &Order) -> Outcome {
    let found = match look::to_enter(&machine::open_registry()?, &order.name) {
        Ok(found) => found,
        Err(error) => {
            return match foreign::find(&order.name) {
                Some((leader, kind)) => run_in_foreign(order, &leader, kind),
                None => Err(error.into()),
            };
        }
    };
    shield(&found)?;
    // What we hold and have in memory is nothing the machine may look into while we are seen in it.
    hostel_sys::proc::set_dumpable(false).context("protect", "this process")?;
    let state = look::state(&found)?;
    let id =
        state.leader.ok_or_else(|| Error::new("enter", format!("machine {}", order.name), "it is being started").hint("try again in a moment"))?;
    let leader = Leader::from_identity(id)?;
    let paths: Vec<_> = state.cgroup.iter().chain(&state.cgroups_v1).map(|p| std::path::PathBuf::from(p.as_os_str())).collect();
    let group = if paths.is_empty() { None } else { Some(MachineCgroup::open_recorded(&paths).map_err(Error::from)?) };
    if group.as_ref().is_some_and(|g| g.frozen().unwrap_or(false)) {
        // Born frozen, it could not even be ended.
        let error = Error::new("enter", format!("machine {}", order.name), "it is paused");
        return Err(error.hint(format!("`hostel resume {}` lets it go on", order.name)).into());
    }
    let placement = group.as_ref().map(Placement::of).transpose()?;
    let filter = found.filter().context("read", format!("system call filter of {}", order.name))?;
    // A machine with a filter whose file is lost is not entered without one. We may be filtered ourselves, by whoever runs us.
    if filter.is_empty() && leader.facts()?.filtered && !Facts::own()?.filtered {
        let error = Error::new("read", format!("system call filter of {}", order.name), "it has one, but its file is missing");
        return Err(error.hint("start the machine anew; what enters it now would not be filtered").into());
    }
    let place = Place {
        placement: placement.as_ref(),
        container: state.container.as_deref(),
        bounding: state.bounding,
        known: Known::of(state),
        filter: &filter,
        unfiltered: false,
    };
    run_at(&confined(order, state), &leader, &place)
}

/// The order with the limits of the machine's own processes, as far as ours allow.
fn confined(order: &Order, state: &MachineState) -> Order {
    let mut order = order.clone();
    order.process.rlimits = state.rlimits.iter().map(|limit| at_most_ours(*limit)).collect();
    order.process.cpu_affinity.clone_from(&state.cpu_affinity);
    order.process.linux32 |= state.linux32;
    order
}

/// What is above our own hard limit may be beyond our rights.
fn at_most_ours(limit: Rlimit) -> Rlimit {
    let Ok((_, most)) = hostel_sys::proc::get_rlimit(0, limit.name as u32) else { return limit };
    // Infinity is `None` and more than anything.
    let lower = |value: Option<u64>, bound: Option<u64>| bound.map_or(value, |bound| Some(value.map_or(bound, |value| value.min(bound))));
    let hard = lower(limit.hard, most);
    Rlimit { name: limit.name, soft: lower(limit.soft, hard), hard }
}

/// The same in a machine that others run. Its filter is not known to us: what enters has the leader's capabilities, no more.
pub(crate) fn run_in_foreign(order: &Order, leader: &Leader, kind: foreign::Kind) -> Outcome {
    if leader.shares("user")? {
        enter::shield::shield(&std::env::args_os().collect::<Vec<_>>(), &std::env::vars_os().collect::<Vec<_>>())?;
    }
    hostel_sys::proc::set_dumpable(false).context("protect", "this process")?;
    let placement = Placement::beside(leader)?;
    // As nsenter and machinectl do it with machines of others: held by the leader's capabilities, not by a filter nobody can read.
    // It is none of ours, nor in one of ours, whose filter it would have to get: see `foreign::supervisor::leader`.
    let place = Place { placement: Some(&placement), container: Some(kind.name()), bounding: None, known: None, filter: &[], unfiltered: true };
    run_at(order, leader, &place)
}

/// What the machine, not the order, says about an entered process.
struct Place<'a> {
    placement: Option<&'a Placement>,
    container: Option<&'a str>,
    bounding: Option<CapSet>,
    known: Option<Known>,
    filter: &'a [hostel_sys::seccomp::Insn],
    /// Whether it may be entered though its filter is not known.
    unfiltered: bool,
}

fn run_at(order: &Order, leader: &Leader, place: &Place<'_>) -> Outcome {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let tty = order.tty.unwrap_or(terminal);
    let term = std::env::var_os("TERM").filter(|_| tty).map(OsText::from);
    let dumb = OsText::from("dumb");
    let env = enter::environment(Some(term.as_ref().unwrap_or(&dumb)), place.container);
    let entry = Entry {
        selection: order.selection,
        placement: place.placement,
        process: &order.process,
        program: Program::Command,
        env: &env,
        bounding: place.bounding,
        known: place.known,
        filter: place.filter,
        unfiltered: place.unfiltered,
        streams: Streams::Inherit,
    };
    let run = if order.escape { relay::session } else { relay::run };
    match run(leader, entry, tty) {
        Ok(status) => Ok(status.shell_code() as u8),
        Err(RunError::Enter(error)) if order.as_error && error.cause == Cause::Other => {
            Err(Error::new("enter", format!("machine {}", order.name), error).into())
        }
        Err(RunError::Enter(error)) => {
            let status = match error.cause {
                Cause::NotFound => 127,
                Cause::NotExecutable => 126,
                Cause::Other => 125,
            };
            output::tell(format_args!("hostel: {error}"));
            Ok(status)
        }
        Err(RunError::Here(error)) => Err(error.into()),
    }
}

/// A machine whose root may trace us (no user namespace of its own) must not be able to write our program's file.
fn shield(found: &Machine) -> Result<(), Failure> {
    let own_users = found.known().is_some_and(|s| s.ids.is_some());
    if !own_users {
        let argv: Vec<OsString> = std::env::args_os().collect();
        let env: Vec<_> = std::env::vars_os().collect();
        enter::shield::shield(&argv, &env)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn command_lines() {
        let order = parse(&words("m -u 5 -E A=b -C /tmp -- ls -l --help")).unwrap().unwrap();
        assert_eq!(order.name.as_str(), "m");
        assert_eq!(order.process.argv, ["ls".into(), "-l".into(), "--help".into()] as [OsText; 3]);
        assert_eq!(order.process.user, Some(UserSelector::Id(5)));
        let order = parse(&words("m ls -l -u x")).unwrap().unwrap();
        assert_eq!(order.process.argv.len(), 4);
        for bad in ["", "m", "m --", "-u", "../m ls", "m -C relative ls", "m --nope ls", "m -u= ls", "m -E 1x=b ls", "m -E =b ls", "m -E a-b ls"] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }
}
