//! systemd-nspawn: parse, merge settings files, compile, run. This is the tour of the whole program in one page.

use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

use hostel_engine::error::Error;
use hostel_engine::registry::Origin;
use hostel_nspawn::{Action, help};
use hostel_spec::{Hint, MachineName, MachineSpec, TreeSource};

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
        Ok(Action::Cleanup(spec)) => {
            return match clean_up(&spec) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => refuse(&error, error.hint.as_ref()),
            };
        }
        Ok(Action::Help) => return output::print(&help::text()),
        Ok(Action::Version) => return output::print(&super::version("systemd-nspawn")),
        Ok(Action::Print(text)) => return output::print(&text),
        Err(error) => return refuse(&error, error.hint().or_else(|| settings::hint(&doc)).as_ref()),
    };
    match machine::foreground(&spec, Origin::Nspawn, &mut false) {
        Ok(status) => ExitCode::from(status),
        Err(error) => refuse(&error, error.hint.as_ref()),
    }
}

/// Takes back what a killed supervisor of the machine left: as a start of its name does, without the start.
fn clean_up(spec: &MachineSpec) -> Result<(), Error> {
    hostel_engine::host::require_root()?;
    let name = match (&spec.identity.name, &spec.root.tree) {
        (Some(name), _) => name.clone(),
        (None, TreeSource::Directory(path) | TreeSource::Image(path)) => {
            let text = path.file_name().unwrap_or_default().to_string_lossy();
            let failed = |_| Error::new("derive", "machine name", format!("nothing of {text:?} can be used")).hint(Hint::GiveName);
            MachineName::derive(text.strip_suffix(".raw").unwrap_or(&text)).map_err(failed)?
        }
        (None, _) => return Err(Error::new("clean up", "machine", "nothing says which").hint(Hint::GiveName)),
    };
    Ok(machine::open_registry()?.claim(&name)?.release()?)
}

fn refuse(error: &dyn Display, hint: Option<&Hint>) -> ExitCode {
    hint::tell("systemd-nspawn", error, hint, Voice::Nspawn);
    ExitCode::from(hostel_nspawn::EXIT_STATUS)
}
