//! overlay-boot's tools: `hostel overlay` by the names they have there, and the helpers that conf files may name.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use hostel_engine::error::Error;

use super::nspawn_enter::failed;
use crate::cli::{Failure, Outcome, overlay};
use crate::output;
use crate::subhost;

/// How each is called.
const USAGE: [(&str, &str, &str); 7] = [
    ("overlay-boot", "CONF", "start a subhost, and wait until its services are started"),
    ("overlay-stop", "CONF|NAME", "end a subhost: its services in reverse, then the rest"),
    ("overlay-go", "[NAME [CMD...]]", "a shell in a subhost, or a command; without a name those that run"),
    ("overlay-share", "DIR NAME", "show a directory of the host in a subhost"),
    ("overlay-init", "", "for INIT: print the script that starts what START of $CONFIG names"),
    ("overlay-premount", "UPPER", "for PREMOUNT: write etc/network/interfaces into an upper layer that has none"),
    ("overlay-postmount", "LIVE UPPER", "for POSTMOUNT: nothing is left to mount, every machine has it"),
];

/// Runs one, unless its help is asked for.
fn tool(name: &str, args: &[OsString], run: impl FnOnce(&[OsString]) -> Outcome) -> ExitCode {
    if args.first().is_some_and(|word| word == "--help" || word == "-h") {
        let (_, words, about) = USAGE.iter().find(|(known, ..)| *known == name).copied().unwrap_or_default();
        return output::print(&format!("usage: {name} {words}\n\n{about}\n"));
    }
    match run(args) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let code = failed(name, &failure);
            if let Failure::Engine(Error { hint: Some(hint), .. }) = &failure {
                output::tell(format_args!("hint: {}", output::clean(&crate::hint::words(hint, crate::hint::Voice::Verb("overlay")))));
            }
            code
        }
    }
}

/// overlay-boot
pub fn boot(args: &[OsString]) -> ExitCode {
    tool("overlay-boot", args, overlay::boot)
}

/// overlay-stop
pub fn stop(args: &[OsString]) -> ExitCode {
    tool("overlay-stop", args, overlay::stop)
}

/// overlay-go
pub fn go(args: &[OsString]) -> ExitCode {
    tool("overlay-go", args, overlay::go)
}

/// overlay-share
pub fn share(args: &[OsString]) -> ExitCode {
    tool("overlay-share", args, overlay::share)
}

/// overlay-init
pub fn init(args: &[OsString]) -> ExitCode {
    tool("overlay-init", args, |_| {
        let config = std::env::var("CONFIG").map_err(|_| Failure::Usage("CONFIG names no conf file".into()))?;
        let read = subhost::read(subhost::find(&config)?)?;
        Ok(output::show(&subhost::default_script(&read.conf)))
    })
}

/// overlay-premount
pub fn premount(args: &[OsString]) -> ExitCode {
    tool("overlay-premount", args, |args| {
        let [upper] = args else { return Err(Failure::Usage("it takes UPPER".into())) };
        subhost::write_interfaces(Path::new(upper))?;
        Ok(0)
    })
}

/// overlay-postmount
pub fn postmount(args: &[OsString]) -> ExitCode {
    tool("overlay-postmount", args, |args| {
        let [live, upper] = args else { return Err(Failure::Usage("it takes LIVE and UPPER".into())) };
        match [live, upper].iter().find(|path| !Path::new(path).is_dir()) {
            Some(path) => Err(Error::new("use", Path::new(path).display().to_string(), "it is no directory").into()),
            None => Ok(0),
        }
    })
}
