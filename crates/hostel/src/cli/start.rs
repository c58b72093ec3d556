//! `hostel start`: boot trees of /var/lib/machines in the background, as systemd-nspawn@.service would.

use std::ffi::OsString;

use hostel_engine::error::Error;
use hostel_engine::registry::{Liveness, Origin};
use hostel_nspawn::Action;
use hostel_nspawn::options::{OptionRow, Status, rows};
use hostel_spec::{ConsoleMode, MachineName, MachineSpec};
use lexopt::Arg::{Long, Short, Value};

use super::{Failure, Outcome, Verb, look, supervise};
use crate::{machine, native, output, settings};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "start",
    args: "TREE...",
    about: "boot trees of /var/lib/machines in the background, with the defaults of systemd-nspawn@.service",
    options: &[],
    examples: &[
        ("hostel start web db", "users of their own (-U), a cable each (-n); see `hostel boot` for other ways"),
        ("hostel enable web", "at every boot of this host"),
    ],
    run,
};

/// What systemd-nspawn@.service gives a machine. Not `--keep-unit`: nobody but its supervisor starts it again after a reboot.
const SERVICE: [&str; 6] = ["--quiet", "--boot", "--link-journal=try-guest", "--network-veth", "-U", "--settings=override"];
/// TasksMax= of that unit.
const TASKS: &str = "--pids=16384";

fn run(args: &[OsString]) -> Outcome {
    let Some(names) = names(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    for name in &names {
        start(name)?;
    }
    Ok(0)
}

/// One name or more; `None`: the help was asked for.
pub(crate) fn names(args: &[OsString]) -> Result<Option<Vec<MachineName>>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut names = Vec::new();
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Value(word) => names.push(look::name(&word)?),
            other => return Err(other.unexpected().into()),
        }
    }
    if names.is_empty() { Err(Failure::Usage("which machine? give its name".into())) } else { Ok(Some(names)) }
}

/// Starts a machine, unless it runs. Whether it was started.
pub(crate) fn start(name: &MachineName) -> Result<bool, Failure> {
    if runs(name)? {
        return Ok(false);
    }
    if native::kept::is_kept(name) {
        let request = native::parse(native::Kind::Boot, &[name.as_str().into(), "--detach".into()])?;
        let native::Parsed::Machine(request) = request else { return Ok(false) };
        warn(&request.warnings);
        let spec = request.with_kept()?;
        supervise::launch(&spec, Origin::Boot)?;
        return Ok(true);
    }
    let (spec, warnings) = spec(name)?;
    warn(&warnings);
    supervise::launch(&spec, Origin::Nspawn)?;
    Ok(true)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        output::tell(format_args!("warning: {warning}"));
    }
}

/// Whether a machine of this name runs, or is being started.
pub(crate) fn runs(name: &MachineName) -> Result<bool, Failure> {
    use hostel_engine::registry::RegistryError::NotRunning;
    match machine::open_registry()?.load(name) {
        Ok(found) => Ok(found.liveness != Liveness::Dead),
        Err(NotRunning { .. }) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// The spec of the service for this name, with what its settings files say; and what to warn about.
fn spec(name: &MachineName) -> Result<(MachineSpec, Vec<String>), Failure> {
    let mut args: Vec<OsString> =
        SERVICE.iter().filter(|word| row(word).is_some_and(|r| matches!(r.status, Status::Built))).map(Into::into).collect();
    args.extend([TASKS.into(), "--machine".into(), name.as_str().into()]);
    let env = native::environment();
    let (doc, warnings) = settings::with_files(&args, &env)?;
    let failed = |why: &dyn std::fmt::Display| Error::new("start", format!("machine {name}"), why);
    match hostel_nspawn::compile(&doc, &env) {
        Ok(Action::Run(mut spec)) => {
            spec.console = ConsoleMode::Passive;
            Ok((*spec, warnings))
        }
        Ok(_) => Err(failed(&"its command line starts no machine").into()),
        Err(error) => Err(Error { hint: error.hint().or_else(|| settings::hint(&doc)), ..failed(&error) }.into()),
    }
}

/// The option that a word of [`SERVICE`] is.
fn row(word: &str) -> Option<&'static OptionRow> {
    let name = word.split('=').next().unwrap_or_default();
    rows().find(|row| match name.strip_prefix("--") {
        Some(long) => row.long.contains(&long),
        None => row.short == name.as_bytes().get(1).copied(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_unit_says() {
        for word in SERVICE.iter().chain([&TASKS]) {
            assert!(row(word).is_some(), "{word}");
        }
        let (spec, warnings) = spec(&MachineName::new("web").unwrap()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(spec.payload, hostel_spec::Payload::Boot);
        assert_eq!(spec.root.tree, hostel_spec::TreeSource::Named(MachineName::new("web").unwrap()));
        assert_eq!(spec.network.cable, Some(hostel_spec::Cable::Alone));
        assert_eq!(spec.namespaces.user, hostel_spec::UserNamespace::Pick);
        assert_eq!(spec.console, ConsoleMode::Passive);
        assert!(spec.resources.tasks_max.is_some());
    }
}
