//! systemd-nspawn: parse, merge settings files, compile, run. This is the tour of the whole program in one page.

use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

use hostel_engine::registry::Origin;
use hostel_nspawn::{Action, help};
use hostel_spec::Hint;

use crate::hint::{self, Voice};
use crate::{bundle, machine, native, output, settings};

/// Runs `systemd-nspawn ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    let environment = native::environment();
    let (doc, warnings) = match settings::with_files(args, &environment) {
        Ok(merged) => merged,
        Err(error) => return refuse(&error, error.hint.as_ref()),
    };
    for warning in &warnings {
        output::tell(format_args!("systemd-nspawn: {warning}"));
    }
    let compiled = match bundle::compile(&doc, &environment) {
        Ok(compiled) => compiled,
        Err(error) => return refuse(&error, error.hint.as_ref()),
    };
    let spec = match compiled {
        Ok(Action::Run(spec)) => *spec,
        Ok(Action::Help) => return output::print(&help::text()),
        Ok(Action::Version) => return output::print(&format!("systemd-nspawn (hostel) {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Action::Print(text)) => return output::print(&text),
        Err(error) => return refuse(&error, error.hint().or_else(|| settings::hint(&doc)).as_ref()),
    };
    match machine::foreground(&spec, Origin::Nspawn, &mut false) {
        Ok(status) => ExitCode::from(status),
        Err(error) => refuse(&error, error.hint.as_ref()),
    }
}

fn refuse(error: &dyn Display, hint: Option<&Hint>) -> ExitCode {
    hint::tell("systemd-nspawn", error, hint, Voice::Nspawn);
    ExitCode::from(hostel_nspawn::EXIT_STATUS)
}
