//! `hostel supervise`: the process that owns a machine in the background. Started by `boot -d`, not by people.
//!
//! ```text
//!  hostel boot -d                         hostel supervise (own session, streams on /dev/null)
//!    spec on a sealed memfd ────────────►   runs the machine as in the foreground
//!    reads one JSON line  ◄──────────────   {"started": …} when PID 1 has been executed, or {"failed": …}
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hostel_engine::error::{Context, Error};
use hostel_engine::registry::Origin;
use hostel_engine::supervisor::session::Talk;
use hostel_spec::{Hint, MachineName, MachineSpec, OsText, TreeSource};
use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Serialize};

use super::{Failure, Outcome, Verb};
use crate::machine;

/// The verb; without a description it is not listed.
pub(super) const VERB: Verb = Verb { name: "supervise", args: "", about: "", options: &[], examples: &[], run };

/// What the supervisor says once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Report {
    Started { name: String, leader: i32, notices: Vec<String> },
    Failed { verb: String, object: String, cause: String, hint: Option<Hint>, busy: bool, notices: Vec<String> },
}

/// What it is given besides the spec.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    origin: Origin,
    spec: MachineSpec,
    /// It is a subhost's: the conf file, and what is in it.
    #[serde(default)]
    conf: Option<(OsText, String)>,
}

/// Starts a supervisor of its own for `spec`, returns when PID 1 has been executed, or, if that is asked (`up`, or the spec
/// says so), when the machine says that it is up; and prints the machine's name. `started`: PID 1 has been executed.
pub(crate) fn background(spec: &MachineSpec, origin: Origin, up: bool, started: &mut bool) -> Outcome {
    // The machine runs, whether anybody reads its name or not.
    let name = launch(spec, origin)?;
    *started = true;
    if up || spec.lifecycle.notify_ready {
        super::wait::until_up(&MachineName::new(name.as_str()).map_err(|e| Failure::Usage(e.to_string()))?, spec.lifecycle.notify_ready)?;
    }
    Ok(crate::output::show(&format!("{name}\n")))
}

/// The same without a word; returns the machine's name.
pub(crate) fn launch(spec: &MachineSpec, origin: Origin) -> Result<String, Failure> {
    // Before anything else fails for want of it.
    hostel_engine::host::require_root()?;
    launch_order(Order { origin, spec: spec.clone(), conf: None })
}

/// A subhost; `spec` is what its conf file says before any program has been run.
pub(crate) fn launch_conf(spec: &MachineSpec, conf: (PathBuf, String)) -> Result<String, Failure> {
    hostel_engine::host::require_root()?;
    launch_order(Order { origin: Origin::Overlay, spec: spec.clone(), conf: Some((conf.0.into_os_string().into(), conf.1)) })
}

fn launch_order(mut order: Order) -> Result<String, Failure> {
    if let TreeSource::Directory(path) = &mut order.spec.root.tree {
        // The supervisor is in another directory.
        *path = std::path::absolute(&*path).context("find", format!("tree {}", path.display()))?;
    }
    let (text, pid) = spawn(&["hostel", "supervise"], &order)?;
    let report = serde_json::from_slice(text.as_bytes());
    if let Ok(Report::Started { notices, .. } | Report::Failed { notices, .. }) = &report {
        for notice in notices {
            crate::output::tell(format_args!("notice: {notice}"));
        }
    }
    match report {
        Ok(Report::Started { name, .. }) => Ok(name),
        Ok(Report::Failed { verb, object, cause, hint, busy, .. }) => {
            let mut error = Error::new(Box::leak(verb.into_boxed_str()), object, cause);
            error.hint = hint;
            error.busy = busy;
            Err(error.into())
        }
        Err(_) => Err(Error::new("start", "machine", format!("its supervisor (process {pid}) ended without a word")).into()),
    }
}

/// Where a supervisor that is called by a title finds the numbers of its descriptors.
pub(crate) const DESCRIPTORS: &str = "HOSTEL_DESCRIPTORS";

/// Starts ourselves as a supervisor that is called by these words, and after them by the numbers of the descriptors of its order and
/// of its report. Returns the report, and its pid.
pub(crate) fn spawn(called: &[&str], order: &impl Serialize) -> Result<(String, u32), Failure> {
    let order = order_file(order)?;
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("make", "pipe")?;
    // The supervisor lives long: what our caller has open (locks, pipes that somebody reads to their end) is not for it.
    hostel_sys::proc::cloexec_from(3).context("pass", "descriptors to the supervisor")?;
    for fd in [&order, &write] {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).context("pass", "descriptors to the supervisor")?;
    }
    // It lives as long as the machine, beside which it must have nothing to write to.
    let program = hostel_engine::enter::shield::own_program()?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    let descriptors = [order.as_raw_fd().to_string(), write.as_raw_fd().to_string()];
    command.arg0(called[0]).args(&called[1..]);
    // A title that others look for has nothing behind it.
    if called.len() > 1 {
        command.args(&descriptors)
    } else {
        command.env(DESCRIPTORS, descriptors.join(" "))
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    let child = command.spawn().context("start", "supervisor")?;
    drop((program, order, write));
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).context("read", "report of the supervisor")?;
    Ok((text, child.id()))
}

/// The order as a sealed file in memory: nobody changes it after it was written.
fn order_file(order: &impl Serialize) -> Result<OwnedFd, Failure> {
    let text = serde_json::to_vec(order).map_err(|e| Error::new("write", "machine's spec", e))?;
    let fd = rustix::fs::memfd_create("hostel-spec", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).context("make", "file in memory")?;
    let mut file = File::from(fd);
    file.write_all(&text).and_then(|()| file.rewind()).context("write", "machine's spec")?;
    let fd = OwnedFd::from(file);
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL).context("seal", "machine's spec")?;
    Ok(fd)
}

/// Says it to who started us, once.
pub(crate) fn say(report: &mut Option<File>, what: &impl Serialize) {
    if let Some(mut file) = report.take() {
        // He may be gone; the machine runs all the same.
        let _ = file.write_all(&serde_json::to_vec(what).unwrap_or_default());
    }
}

/// Descriptors given by number on our own command line.
pub(crate) fn inherited(args: &[OsString], index: usize) -> Result<File, Failure> {
    let number = args.get(index).and_then(|a| a.to_str()).and_then(|a| a.parse::<i32>().ok()).filter(|n| *n > 2);
    let number = number.ok_or_else(|| Failure::Usage("supervise is started by `hostel boot -d`, not by hand".into()))?;
    hostel_sys::proc::take_inherited(number).map(File::from).context("take", format!("descriptor {number}")).map_err(Failure::from)
}

fn run(args: &[OsString]) -> Outcome {
    let mut order_text = Vec::new();
    inherited(args, 0)?.read_to_end(&mut order_text).context("read", "machine's spec")?;
    let mut report = Some(inherited(args, 1)?);
    let order: Order = serde_json::from_slice(&order_text).map_err(|e| Failure::Usage(format!("supervise: read the spec: {e}")))?;
    drop(order_text);
    hostel_sys::proc::new_session().context("start", "session")?;
    // The name that `ps` shows; best effort.
    let _ = hostel_sys::proc::set_name(c"hostel-super");
    let mut notices = Vec::new();
    let begun = match &order.conf {
        Some((file, text)) => crate::subhost::begin(Path::new(file.as_os_str()), text).map(|(spec, begun)| (spec, Some(begun))),
        None => Ok((order.spec, None)),
    };
    let result = begun.and_then(|(spec, begun)| {
        machine::run(&spec, order.origin, begun, true, None, &mut |event| match event {
            Talk::Started(plan, launched) => {
                say(
                    &mut report,
                    &Report::Started { name: plan.name.as_str().to_owned(), leader: launched.pid, notices: std::mem::take(&mut notices) },
                );
            }
            // Those of a later life nobody hears.
            Talk::Remark(text) | Talk::Notice(text) if notices.len() < 100 => notices.push(text.to_owned()),
            _ => {}
        })
    });
    match result {
        Ok(status) => Ok(status),
        Err(error) => {
            let failed = Report::Failed {
                verb: error.verb.into(),
                object: error.object.clone(),
                cause: error.cause.clone(),
                hint: error.hint.clone(),
                busy: error.busy,
                notices,
            };
            say(&mut report, &failed);
            Ok(1)
        }
    }
}
