//! A command run in a machine that could look into whoever runs it there, or keep him.
//!
//! In a machine without a user namespace of its own, root may trace what enters and open its program's file through
//! /proc/PID/exe: a supervisor that entered it would show its memory and its file. In one with its own, root may have put the
//! program on a file system that never answers: a supervisor that executed it would wait. So it executes itself once more, from
//! a file that nobody can write and with an empty memory, and that process enters:
//!
//! ```text
//!  supervisor                       (hostel-visit)
//!    order, one JSON text ───────►  stdin, to its end
//!                                   enters, waits; its status is the command's
//! ```
//! It dies with the supervisor, and the command with it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use hostel_process::r#become::Program;
use hostel_spec::{CapSet, OsText, ProcessSpec};
use hostel_sys::seccomp::Insn;
use hostel_sys::{clone, proc};

use crate::cgroup::MachineCgroup;
use crate::enter::{self, Entered, Entry, Leader, Placement, Selection, Streams, shield};
use crate::error::{Context, Error, Result};
use crate::parts;
use crate::registry::ProcessId;

/// What it calls itself.
pub(crate) const NAME: &str = "(hostel-visit)";
/// When nothing was run.
const FAILED: i32 = 125;

/// What is to be run, where, and how confined.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Whose child the visitor is.
    pub(super) supervisor: i32,
    pub(super) leader: ProcessId,
    /// As recorded in the machine's state; empty: beside the leader.
    pub(super) cgroups: Vec<PathBuf>,
    pub(super) bounding: CapSet,
    pub(super) filter: Vec<(u16, u8, u8, u32)>,
    pub(super) unfiltered: bool,
    pub(super) env: Vec<OsText>,
    pub(super) argv: Vec<OsText>,
}

/// Starts the visitor; what it gives is waited for as if it were the command.
pub(super) fn send(order: &Order) -> Result<Entered> {
    parts::demand("process that runs a command in the machine")?;
    let text = serde_json::to_vec(order).map_err(|e| Error::new("write", "order", e))?;
    let program = shield::own_program()?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0(NAME).env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().context("start", NAME)?;
    let pid = child.id() as i32;
    let pidfd = clone::pidfd_open(pid).context("open", NAME)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has ended already says so by its status.
        let _ = stdin.write_all(&text);
    }
    Ok(Entered { pid, pidfd, terminal: None })
}

/// The visitor itself.
pub(crate) fn main() -> ! {
    clone::exit_now(visit().unwrap_or(FAILED))
}

fn visit() -> Result<i32> {
    proc::set_dumpable(false).context("protect", "this process")?;
    proc::set_parent_death_signal(9).context("tie", "this process to the supervisor")?;
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("read", "order")?;
    let order: Order = serde_json::from_slice(&text).map_err(|e| Error::new("read", "order", e))?;
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(order.supervisor) {
        return Err(Error::new("enter", "machine", "the supervisor has ended"));
    }
    let leader = Leader::from_identity(order.leader)?;
    let placement = if order.cgroups.is_empty() {
        Placement::beside(&leader)?
    } else {
        Placement::of(&MachineCgroup::open_recorded(&order.cgroups).map_err(|e| Error::new("open", "cgroup of the machine", e))?)?
    };
    let filter: Vec<Insn> = order.filter.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
    let process = ProcessSpec { argv: order.argv, ..ProcessSpec::default() };
    let null = File::options().read(true).write(true).open("/dev/null").context("open", "/dev/null")?;
    let entry = Entry {
        selection: Selection::default(),
        placement: Some(&placement),
        process: &process,
        program: Program::Command,
        env: &order.env,
        bounding: Some(order.bounding),
        known: None,
        filter: &filter,
        unfiltered: order.unfiltered,
        streams: Streams::Given([null.as_fd(); 3]),
    };
    let entered = enter::enter_for_good(&leader, &entry).map_err(|e| Error::new("enter", "machine", e))?;
    Ok(entered.wait()?.shell_code())
}
