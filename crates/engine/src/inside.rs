//! Doing something to the files of a running machine, from the inside: bind mounts, copies.
//!
//! ```text
//!  caller (stays where it is)          child, a copy of this process
//!                                        joins the machine's mount and user namespace, becomes its root
//!    does its own part  ◄──pipe──►       does its part below the machine's root, by descriptor
//!    waits              ◄──pipe───       says why it could not
//! ```
//! The part that touches the machine has the machine's own rights: whatever the machine puts in its way, it can do nothing
//! that the machine's root could not do itself. It is not in the machine's pid namespace, so nobody in there sees it.
//! A machine without a user namespace of its own has no such boundary; there the paths are all that is kept apart.

pub mod addresses;
mod bind;
mod lock;
mod transfer;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_sys::clone::{self, CloneArgs, Fork, NEWNS, NEWUSER, WaitStatus};
use hostel_sys::proc;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::enter::Leader;
use crate::error::{Context, Error, Result};

pub use bind::{Bind, bind};
pub use lock::lock;
pub use transfer::{Transfer, copy_from, copy_to};

const SIGKILL: i32 = 9;

/// A child at work in the machine.
struct Inside {
    pidfd: OwnedFd,
    report: File,
}

/// Starts `work` in the machine of `leader`, with its root directory. The caller must have one thread.
///
/// `theirs` are the child's ends of pipes: the caller's copies of them are closed.
fn start(leader: &Leader, theirs: Vec<OwnedFd>, work: impl FnOnce(BorrowedFd<'_>, Vec<OwnedFd>) -> Result<()>) -> Result<Inside> {
    clone::assert_single_threaded().context("enter", "machine")?;
    let own_users = !leader.shares("user")?;
    leader.root()?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).context("make", "pipe")?;
    match clone::clone3(&CloneArgs::default()).context("clone", "process to enter the machine")? {
        Fork::Child => {
            drop(read);
            let result = join(leader, own_users).and_then(|root| work(root, theirs));
            if let Err(error) = &result {
                // Nobody reads it? Then nobody wants to know.
                let _ = File::from(write).write_all([error.verb, &error.object, &error.cause].join("\0").as_bytes());
            }
            clone::exit_now(i32::from(result.is_err()))
        }
        Fork::Parent { pidfd, .. } => Ok(Inside { pidfd, report: File::from(read) }),
    }
}

/// [`start`], waited for.
fn run(leader: &Leader, work: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
    start(leader, Vec::new(), |root, _| work(root))?.finish()
}

/// In the child: into the machine, as its root. Returns its root directory.
fn join(leader: &Leader, own_users: bool) -> Result<BorrowedFd<'_>> {
    let root = leader.root()?;
    let flags = NEWNS | if own_users { NEWUSER } else { 0 };
    clone::setns_pidfd(leader.pidfd(), flags).context("join", "namespaces of the machine")?;
    if own_users {
        // Where setgroups(2) is denied there are no groups that could be taken along for rights.
        let _ = rustix::thread::set_thread_groups(&[]);
        let (uid, gid) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
        rustix::thread::set_thread_res_gid(gid, gid, gid).context("become", "root of the machine")?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).context("become", "root of the machine")?;
    }
    // Changing users takes this away, so not earlier.
    proc::set_parent_death_signal(SIGKILL).context("tie", "process to its caller")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(root)
}

impl Inside {
    /// Waits for its end: what it could not do is the error.
    fn finish(mut self) -> Result<()> {
        let mut text = Vec::new();
        let read = self.report.read_to_end(&mut text);
        let status = clone::wait_pidfd(self.pidfd.as_fd(), clone::WAIT_EXITED).context("wait for", "process in the machine")?;
        read.context("read", "report of the process in the machine")?;
        match status {
            Some(WaitStatus::Exited(0)) => Ok(()),
            _ if text.is_empty() => Err(Error::new("enter", "machine", format!("the process in it ended early ({status:?})"))),
            _ => {
                let text = String::from_utf8_lossy(&text);
                let mut parts = text.splitn(3, '\0').map(str::to_owned);
                let mut next = || parts.next().unwrap_or_default();
                // Verbs are static words of our own; the leak is one string in a process that has failed.
                let verb: &'static str = Box::leak(next().into_boxed_str());
                Err(Error { verb, object: next(), ..Error::new("", "", next()) })
            }
        }
    }
}

/// An error of the image crate as one of ours.
fn told(error: hostel_image::Error) -> Error {
    error.into()
}

/// Runs `body` in a child with new namespaces, in our memory and with our descriptors: what it opens, we have.
pub(crate) fn helped<T>(flags: u64, body: &mut dyn FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    let mut result = None;
    let args = CloneArgs { flags: clone::FILES | flags, cgroup: None, exit_signal: 0 };
    let (_, pidfd) = clone::vfork_exec(&args, &mut || {
        result = Some(body());
        0
    })?;
    clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED)?;
    result.unwrap_or_else(|| Err(std::io::Error::other("the process that makes it ended early")))
}
