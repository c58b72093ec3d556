//! `init`, also `hostel init [UNIT…]`: unit files are run here, without systemd.

use std::ffi::OsString;
use std::process::ExitCode;

use hostel_init::journal::console::Form;
use hostel_init::manager::generators::Which;
use hostel_init::pid1::{Wanted, run as serve};

use crate::output;

const HELP: &str = "\
hostel init [--log=lines|json|none] [--pass-env[=NAME,...]] [--generators=packages|all|none] [--on-demand | UNIT...]

Runs the unit files of this system: as PID 1 of a machine or container, or below another process.
Without units: default.target, until the machine is told to end. With units: those, until they have ended, with their exit status.
`hostel ctl` (as systemctl) talks to it, `hostel journalctl` shows what units log. With --on-demand it stands beside the init that
this system has: it starts what it is asked for and what that needs, and ends when nothing of it runs; `hostel ctl start UNIT` begins
one where no manager runs.

--log says what of that goes to standard output, too, for `docker logs` and the like: lines with the unit's name before them
(as without it), a JSON object on each line, or nothing. --pass-env gives services what this process has in its environment,
all of it or these variables: what `docker run -e` set.

--generators says which programs in system-generators make unit files at the start and at daemon-reload: those of packages (as without
it), systemd's own, too, or none. /etc/fstab and SysV scripts are read in any case.
";

/// Runs it.
pub fn run(args: &[OsString]) -> ExitCode {
    let mut wanted = Wanted::default();
    for arg in args {
        match arg.to_str() {
            Some("--help" | "-h") => return output::print(HELP),
            Some(word) if word.starts_with("--log=") => {
                wanted.log = match &word[6..] {
                    "lines" => Form::Lines,
                    "json" => Form::Json,
                    "none" => Form::Nothing,
                    other => {
                        output::tell(format_args!("hostel init: --log={other}: it is none of lines, json, none"));
                        return ExitCode::from(2);
                    }
                }
            }
            Some(word) if word.starts_with("--generators=") => {
                wanted.generators = match &word[13..] {
                    "packages" => Which::Packages,
                    "all" => Which::All,
                    "none" => Which::Nothing,
                    other => {
                        output::tell(format_args!("hostel init: --generators={other}: it is none of packages, all, none"));
                        return ExitCode::from(2);
                    }
                }
            }
            // words that kernels and other inits are given; each means the default target
            Some("auto" | "splash" | "quiet" | "ro" | "rw") => {}
            Some("--pass-env") => wanted.pass = Some(Vec::new()),
            Some(word) if word.starts_with("--pass-env=") => {
                let names: Vec<String> = word[11..].split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
                if names.is_empty() {
                    output::tell(format_args!("hostel init: --pass-env=: it names no variable; without `=` it passes all"));
                    return ExitCode::from(2);
                }
                wanted.pass.get_or_insert_default().extend(names);
            }
            Some("--on-demand") => wanted.on_demand = true,
            Some(word) if word.starts_with('-') => {
                output::tell(format_args!("hostel init: there is no option {word}"));
                return ExitCode::from(2);
            }
            Some(word) => wanted.units.push(word.to_owned()),
            None => {
                output::tell(format_args!("hostel init: {arg:?} is no name of a unit"));
                return ExitCode::from(2);
            }
        }
    }
    if wanted.on_demand && !wanted.units.is_empty() {
        output::tell(format_args!("hostel init: --on-demand starts nothing by itself: leave the units out"));
        return ExitCode::from(2);
    }
    match serve(&wanted) {
        Ok(status) => ExitCode::from(status),
        Err(why) => {
            output::tell(format_args!("hostel init: {why}"));
            ExitCode::FAILURE
        }
    }
}
