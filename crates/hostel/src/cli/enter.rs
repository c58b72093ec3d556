//! `hostel enter`: go into a machine's namespaces, all of them or all but some.

use std::ffi::OsString;

use hostel_engine::enter::Selection;
use hostel_spec::OsText;
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use super::exec::{self, Order};
use super::{Failure, Outcome, Verb, look};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "enter",
    args: "NAME [--no-net ...] [-- CMD...]",
    about: "enter a machine's namespaces, but those left out, with a shell or a command",
    options: &[
        ("--no-net", "keep the host's network: for a machine whose own is broken"),
        ("--no-pid", "keep the host's processes"),
        ("--no-mount", "keep the host's files"),
        ("--no-uts, --no-ipc", "keep the host's name; its IPC objects"),
        ("--no-cgroup, --no-user", "keep the host's view of cgroups; its users"),
        ("-u, --user USER", "name or uid in the machine (root)"),
    ],
    examples: &[("hostel enter debian --no-net -- apt-get update", "the machine's files, the host's network")],
    run,
};

fn parse(args: &[OsString]) -> Result<Option<Order>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut order: Option<Order> = None;
    let mut selection = Selection::default();
    let (mut user, mut argv) = (None, Vec::new());
    while let Some(arg) = words.next()? {
        match arg {
            Long("no-net" | "no-network") => selection.net = false,
            Long("no-pid") => selection.pid = false,
            Long("no-mount") => selection.mount = false,
            Long("no-uts") => selection.uts = false,
            Long("no-ipc") => selection.ipc = false,
            Long("no-cgroup") => selection.cgroup = false,
            Long("no-user") => selection.user = false,
            Short('u') | Long("user" | "uid") => user = Some(exec::user(&words.value()?.string()?)?),
            Short('h') | Long("help") => return Ok(None),
            Value(word) if order.is_none() => order = Some(Order::new(look::name(&word)?)),
            Value(word) => {
                argv.push(OsText::from(word));
                argv.extend(words.raw_args()?.map(OsText::from));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mut order = order.ok_or_else(|| Failure::Usage("which machine? give its name".into()))?;
    order.selection = selection;
    order.process.user = user;
    order.process.argv = argv;
    Ok(Some(order))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(order) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    exec::run_in(&order)
}
