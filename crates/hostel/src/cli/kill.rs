//! `hostel kill`: a signal to a machine's PID 1, to all of it, or to its supervisor.

use std::ffi::OsString;
use std::os::fd::AsFd;

use hostel_engine::error::{Context, Error, Result};
use hostel_engine::registry::{Machine, ProcessId};
use hostel_ipc::control::{CallError, Kill, Request, Whom};
use hostel_spec::{MachineName, Signal};
use hostel_sys::clone::pidfd_send_signal;
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use super::look;
use super::{Failure, Outcome, Verb};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "kill",
    args: "NAME [-s SIGNAL] [--whom leader|all|supervisor]",
    about: "send a signal to a machine's PID 1, or to all its processes",
    options: &[
        ("-s, --signal SIGNAL", "name or number: HUP, SIGKILL, 9, RTMIN+3 (SIGTERM)"),
        ("--whom leader|all|supervisor", "leader: its PID 1; all: every process of it; supervisor: ours (leader)"),
    ],
    examples: &[
        ("hostel kill web -s HUP", "its PID 1 reads its configuration again"),
        ("hostel kill web -s KILL", "end it now; `hostel stop web` asks its init first"),
    ],
    run,
};

/// Who gets the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Leader,
    All,
    Supervisor,
}

impl Target {
    /// As it is typed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "leader" => Self::Leader,
            "all" => Self::All,
            "supervisor" => Self::Supervisor,
            _ => return None,
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Order {
    name: MachineName,
    signal: Signal,
    target: Target,
}

/// `None`: the help was asked for.
fn parse(args: &[OsString]) -> std::result::Result<Option<Order>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut name, mut signal, mut target) = (None, Signal::TERM, Target::Leader);
    while let Some(arg) = words.next()? {
        match arg {
            Short('s') | Long("signal") => signal = Signal::parse(&words.value()?.string()?).map_err(|e| Failure::Usage(e.to_string()))?,
            Long("whom" | "kill-whom") => {
                let text = words.value()?.string()?;
                target = Target::parse(&text).ok_or_else(|| Failure::Usage(format!("parse --whom={text}: it takes leader, all or supervisor")))?;
            }
            Short('h') | Long("help") => return Ok(None),
            Value(word) => look::one(&mut name, &word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(Order { name: look::required(name)?, signal, target }))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(Order { name, signal, target }) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    send(&name, signal, target)
}

/// Sends it.
pub(crate) fn send(name: &MachineName, signal: Signal, target: Target) -> Outcome {
    let machine = look::running(&machine::open_registry()?, name)?;
    match target {
        Target::Supervisor => {
            // A damaged state file does not keep anybody from ending its writer: the lock file has the number, too.
            let supervisor = match look::state(&machine) {
                Ok(state) => Some(state.supervisor),
                Err(_) => machine.owner.map(ProcessId::of).transpose().context("look at", format!("supervisor of {name}"))?.flatten(),
            };
            to_process(&machine, "supervisor", supervisor, signal)?;
        }
        Target::Leader => ask(&machine, Whom::Leader, signal)?,
        Target::All => ask(&machine, Whom::All, signal)?,
    }
    Ok(0)
}

/// Through the supervisor, which then knows that the end was wanted; directly when it does not answer.
fn ask(machine: &Machine, whom: Whom, signal: Signal) -> Result<()> {
    let request = Request::Kill(Kill { signal: signal.raw(), whom });
    let answer = look::connect(machine, look::PATIENCE).and_then(|mut c| c.call::<serde_json::Value>(&request));
    match answer {
        Ok(_) => Ok(()),
        Err(CallError::Refused(remote)) => Err(Error::new("kill", format!("machine {}", machine.name), remote)),
        Err(_) if whom == Whom::Leader => to_process(machine, "PID 1", look::state(machine)?.leader, signal),
        Err(_) => to_all(machine, signal),
    }
}

fn to_process(machine: &Machine, what: &'static str, id: Option<ProcessId>, signal: Signal) -> Result<()> {
    let object = || format!("{what} of machine {}", machine.name);
    let pidfd = match id {
        Some(id) => id.open().context("open", object())?,
        None => None,
    };
    let Some(pidfd) = pidfd else { return Err(Error::new("kill", object(), "it does not run")) };
    pidfd_send_signal(pidfd.as_fd(), signal.raw()).context("kill", object())
}

/// Every process in the machine's cgroup.
fn to_all(machine: &Machine, signal: Signal) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::new("kill", format!("all processes of machine {}", machine.name), e);
    let group = match look::cgroup(look::state(machine)?) {
        Some(group) => group.map_err(|e| failed(&e))?,
        None => return Err(failed(&"it has no cgroup of its own")),
    };
    if signal == Signal::KILL {
        return group.kill().map_err(|e| failed(&e));
    }
    group.signal(signal.raw(), None).map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(words: &[&str]) -> std::result::Result<Option<Order>, Failure> {
        parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn command_lines() {
        let web = || MachineName::new("web").unwrap();
        for (words, signal, target) in [
            (&["web"][..], 15, Target::Leader),
            (&["web", "-s", "HUP"], 1, Target::Leader),
            (&["-s9", "web", "--whom=all"], 9, Target::All),
            (&["--signal=SIGRTMIN+3", "--whom", "supervisor", "web"], 37, Target::Supervisor),
        ] {
            let want = Order { name: web(), signal: Signal::from_raw(signal).unwrap(), target };
            assert_eq!(order(words).unwrap(), Some(want), "{words:?}");
        }
        assert!(order(&["web", "--help"]).unwrap().is_none());
        for bad in [
            &[][..],
            &["a", "b"],
            &["..", "-s1"],
            &["web", "-s", "0"],
            &["web", "-s"],
            &["web", "--whom=me"],
            &["web", "--force"],
            &["web", "--signal=NOPE"],
        ] {
            assert!(matches!(order(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
