//! `hostel reboot`: ask the init of a machine to start anew.

use std::ffi::OsString;

use hostel_engine::error::Error;
use hostel_ipc::control::{Request, Stop};
use hostel_spec::MachineName;

use super::{Failure, Outcome, Verb, look, start};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "reboot",
    args: "NAME...",
    about: "ask machines' inits to start anew; returns at once",
    options: &[],
    examples: &[("hostel reboot web", "as the machine's own `reboot` does")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let Some(names) = start::names(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    for name in &names {
        reboot(name)?;
    }
    Ok(0)
}

/// Asks for a reboot.
pub(crate) fn reboot(name: &MachineName) -> Result<(), Failure> {
    request("reboot", name, &Request::Reboot)
}

/// Asks for the end, and returns; nothing is killed.
pub(crate) fn power_off(name: &MachineName) -> Result<(), Failure> {
    // A year is as good as never.
    request("power off", name, &Request::Stop(Stop { timeout_ms: Some(365 * 86_400_000), force: false }))
}

fn request(verb: &'static str, name: &MachineName, request: &Request) -> Result<(), Failure> {
    let found = look::running(&machine::open_registry()?, name)?;
    let answer = look::connect(&found, look::PATIENCE).and_then(|mut c| c.call::<serde_json::Value>(request));
    answer.map(drop).map_err(|e| Error::new(verb, format!("machine {name}"), e).into())
}
