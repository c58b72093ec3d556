//! `hostel enable`, `hostel disable`: the list of machines that start with the host.
//!
//! An empty file per machine in /etc/hostel/autostart (`$HOSTEL_CONFIG_DIR/autostart`): packages and people can write it
//! with touch(1) and rm(1). `hostel autostart` reads it.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;

use hostel_engine::error::{Context, Result};
use hostel_spec::{Arrange as _, MachineName};

use super::{Failure, Outcome, Verb, reboot, start};
use crate::output;

/// `hostel enable`.
pub(super) const ENABLE: Verb = Verb {
    name: "enable",
    args: "[--now] TREE...",
    about: "start machines with the host (see `hostel autostart`)",
    options: &[("--now", "start them now as well")],
    examples: &[("hostel enable --now web", "a tree in /var/lib/machines, or a kept machine")],
    run: |args| run(true, args),
};

/// `hostel disable`.
pub(super) const DISABLE: Verb = Verb {
    name: "disable",
    args: "[--now] TREE...",
    about: "do not start machines with the host any more",
    options: &[("--now", "power them off now as well")],
    examples: &[("hostel disable web", "it goes on running until it is stopped")],
    run: |args| run(false, args),
};

fn run(enable: bool, args: &[OsString]) -> Outcome {
    let now = args.iter().take_while(|a| *a != "--").any(|a| a == "--now");
    let rest: Vec<OsString> = args.iter().filter(|a| *a != "--now").cloned().collect();
    let Some(names) = start::names(&rest)? else { return Ok(output::show(&super::verb_help(if enable { &ENABLE } else { &DISABLE }))) };
    for name in &names {
        set(name, enable, now)?;
    }
    if enable && !super::autostart::is_installed() {
        output::tell(format_args!("notice: nothing on this host starts them yet: `hostel autostart --install` prints what makes its init do so"));
    }
    Ok(0)
}

/// Puts a machine on the list or takes it off; `now`: starts it or powers it off.
pub(crate) fn set(name: &MachineName, enable: bool, now: bool) -> std::result::Result<(), Failure> {
    let path = directory().join(name.as_str());
    if enable {
        // One that is not there cannot be meant.
        hostel_image::open::find(name).map_err(|e| hostel_engine::error::Error::from(e).hint("`hostel images` lists them"))?;
        std::fs::create_dir_all(directory()).context("make directory", directory().display().to_string())?;
        OpenOptions::new().create(true).append(true).open(&path).context("make", path.display().to_string())?;
    } else {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).context("remove", path.display().to_string()).map_err(Failure::from),
            _ => {}
        }
    }
    match (now, enable) {
        (true, true) => start::start(name).map(drop),
        (true, false) if start::runs(name)? => reboot::power_off(name),
        _ => Ok(()),
    }
}

/// Where the list is.
pub(crate) fn directory() -> PathBuf {
    settings_directory().unwrap_or_else(|| "/etc/hostel".into()).join("autostart")
}

/// Where settings are instead of in /etc.
pub(super) fn settings_directory() -> Option<PathBuf> {
    std::env::var_os("HOSTEL_CONFIG_DIR").filter(|d| !d.is_empty()).map(PathBuf::from)
}

/// The machines on the list, by name. What has no machine's name is somebody's backup file, and none of ours.
pub(crate) fn list() -> Result<Vec<MachineName>> {
    let shown = directory().display().to_string();
    let entries = match std::fs::read_dir(directory()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context("list", &shown)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.context("list", &shown)?;
        names.extend(entry.file_name().to_str().and_then(|n| MachineName::new(n).ok()));
    }
    names.arrange();
    Ok(names)
}
