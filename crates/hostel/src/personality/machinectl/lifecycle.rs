//! Starting, ending, signalling machines.

use std::ffi::OsString;

use hostel_spec::{MachineName, Signal};

use super::options::Options;
use crate::cli::kill::{self, Target};
use crate::cli::{self, Failure, Outcome, enable, look, reboot};

/// Every name, also after one that failed: what can be done is done. Names are checked before anything is.
fn each(names: &[OsString], mut act: impl FnMut(&MachineName) -> Result<(), Failure>) -> Outcome {
    let names = names.iter().map(|n| look::name(n)).collect::<Result<Vec<_>, _>>()?;
    let mut last = None;
    for name in &names {
        if let Err(failure) = act(name)
            && let Some(Failure::Engine(error)) = last.replace(failure)
        {
            crate::output::tell(format_args!("machinectl: {error}"));
        }
    }
    last.map_or(Ok(0), Err)
}

pub(super) fn start(_: &Options, names: &[OsString]) -> Outcome {
    // One that runs is started already, as for a unit.
    each(names, |name| cli::start::start(name).map(drop))
}

pub(super) fn enable(options: &Options, names: &[OsString], on: bool) -> Outcome {
    each(names, |name| enable::set(name, on, options.now))
}

pub(super) fn poweroff(_: &Options, names: &[OsString]) -> Outcome {
    each(names, reboot::power_off)
}

pub(super) fn reboot(_: &Options, names: &[OsString]) -> Outcome {
    each(names, reboot::reboot)
}

pub(super) fn terminate(_: &Options, names: &[OsString]) -> Outcome {
    each(names, |name| {
        // As the others, an error when it does not run.
        look::running(&crate::machine::open_registry()?, name)?;
        native("stop", &["--force".into(), name.as_str().into()]).map(drop)
    })
}

pub(super) fn kill(options: &Options, names: &[OsString]) -> Outcome {
    let (signal, whom) = (options.signal.unwrap_or(Signal::TERM), options.whom.unwrap_or(Target::All));
    each(names, |name| kill::send(name, signal, whom).map(drop))
}

pub(super) fn pause(_: &Options, names: &[OsString]) -> Outcome {
    each(names, |name| native("pause", &[name.as_str().into()]).map(drop))
}

pub(super) fn resume(_: &Options, names: &[OsString]) -> Outcome {
    each(names, |name| native("resume", &[name.as_str().into()]).map(drop))
}

/// What the native verb does.
fn native(verb: &str, args: &[OsString]) -> Outcome {
    let verb = cli::find(verb).ok_or_else(|| Failure::Usage(format!("there is no verb {verb}")))?;
    (verb.run)(args)
}
