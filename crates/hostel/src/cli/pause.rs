//! `hostel pause` and `hostel resume`: stop a machine's clock, and let it go on.
//!
//! The cgroup is the truth: `ps` and `status` ask it, so a machine that is thawed by others is never called paused.

use std::ffi::OsString;
use std::time::Duration;

use hostel_engine::cgroup::MachineCgroup;
use hostel_engine::error::Error;
use hostel_spec::MachineName;

use super::look;
use super::{Failure, Outcome, Verb};
use crate::machine;

/// `hostel pause`.
pub(super) const PAUSE: Verb = Verb {
    name: "pause",
    args: "NAME",
    about: "freeze all processes of a machine",
    options: &[],
    examples: &[("hostel pause web; tar -C /srv/web -c . > web.tar; hostel resume web", "a copy of files that hold still")],
    run: pause,
};

/// `hostel resume`.
pub(super) const RESUME: Verb = Verb {
    name: "resume",
    args: "NAME",
    about: "let a paused machine go on",
    options: &[],
    examples: &[("hostel resume web", "thaw it")],
    run: resume,
};

/// How long processes may take to freeze; one in an uninterruptible wait takes as long as that lasts.
const PATIENCE: Duration = Duration::from_secs(10);

fn pause(args: &[OsString]) -> Outcome {
    let Some((name, group)) = group(&PAUSE, args)? else { return Ok(0) };
    let failed = |e| {
        Error::new("pause", format!("machine {name}"), e)
            .hint("it goes on; a process that waits for a disk or a network file system cannot be frozen")
    };
    if !group.frozen().map_err(failed)? {
        group.freeze(PATIENCE).map_err(failed)?;
    }
    Ok(0)
}

fn resume(args: &[OsString]) -> Outcome {
    let Some((name, group)) = group(&RESUME, args)? else { return Ok(0) };
    // Also when it is not frozen: it may be on the way there.
    group.thaw(PATIENCE).map_err(|e| Error::new("resume", format!("machine {name}"), e))?;
    Ok(0)
}

/// The machine's cgroup; `None`: the help was asked for.
fn group(verb: &Verb, args: &[OsString]) -> Result<Option<(MachineName, MachineCgroup)>, Failure> {
    let Some(name) = look::only_name(verb, args, |_| false)? else { return Ok(None) };
    let machine = look::running(&machine::open_registry()?, &name)?;
    let object = || format!("machine {name}");
    let group = match look::cgroup(look::state(&machine)?) {
        Some(group) => group.map_err(|e| Error::new("find", object(), e))?,
        None => return Err(Error::new("freeze", object(), "it has no cgroup of its own").into()),
    };
    Ok(Some((name, group)))
}
