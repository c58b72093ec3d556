//! What the supervisor prepares while the payload does its first steps goes to it in one message: mounts by slot, console.
//!
//! Both sides know from the plan what is in it and in which order; only descriptors travel.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::prepare::Made;
use crate::plan::Plan;
use crate::plan::bundle_steps::BundleHost;
use crate::plan::steps::{HostStep, Slot};

/// Most descriptors in one message, as the kernel has it (SCM_MAX_FD); a plan has about ten.
const MOST: usize = 253;
const SPACE: usize = rustix::cmsg_space!(ScmRights(MOST));

/// What was received.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    slots: Vec<(Slot, OwnedFd)>,
    /// The machine's end of its console.
    pub(super) console: Option<OwnedFd>,
}

/// Before anything was received.
pub(super) static EMPTY: &Parcel = &Parcel { slots: Vec::new(), console: None };

impl Parcel {
    /// The mount of a slot, if it came.
    pub(super) fn slot(&self, slot: Slot) -> Option<BorrowedFd<'_>> {
        self.slots.iter().find(|(s, _)| *s == slot).map(|(_, fd)| fd.as_fd())
    }
}

/// The slots that travel, in their order.
fn slots(plan: &Plan) -> impl Iterator<Item = Slot> {
    plan.beside.iter().filter_map(|step| if let HostStep::Prepare(slot, _) = step { Some(*slot) } else { None })
}

fn has_console(plan: &Plan) -> bool {
    plan.beside.iter().any(|step| matches!(step, HostStep::OpenConsole { .. } | HostStep::Bundle(BundleHost::OpenConsole(_))))
}

/// Sends what the steps beside have made. That nobody is there to take it is no error: its report says why.
pub(super) fn send(to: BorrowedFd<'_>, plan: &Plan, made: &Made) -> io::Result<()> {
    let mut fds = slots(plan).map(|slot| made.slot(slot)).collect::<io::Result<Vec<_>>>()?;
    fds.extend(made.console.as_ref().map(|pty| pty.slave.as_fd()));
    send_descriptors(to, &fds)
}

/// Waits for it; `None`: the other side is gone.
pub(super) fn receive(from: BorrowedFd<'_>, plan: &Plan) -> io::Result<Option<Parcel>> {
    let Some(fds) = receive_descriptors(from)? else { return Ok(None) };
    let mut fds = fds.into_iter();
    let slots = slots(plan).map(|slot| Ok((slot, next(&mut fds)?))).collect::<io::Result<Vec<_>>>()?;
    let console = if has_console(plan) { Some(next(&mut fds)?) } else { None };
    Ok(Some(Parcel { slots, console }))
}

/// The next descriptor of a message; the kernel leaves out what does not fit into our descriptor table.
pub(super) fn next(fds: &mut impl Iterator<Item = OwnedFd>) -> io::Result<OwnedFd> {
    fds.next().ok_or_else(|| io::Error::from(rustix::io::Errno::MFILE))
}

/// Sends descriptors in one message. That nobody is there to take them is no error.
pub(super) fn send_descriptors(to: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    match rustix::net::sendmsg(to, &[IoSlice::new(b"p")], &mut control, SendFlags::NOSIGNAL) {
        Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Waits for such a message; `None`: the other side is gone.
pub(super) fn receive_descriptors(from: BorrowedFd<'_>) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    let length = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC).map(|message| message.bytes)
    })?;
    if length == 0 {
        return Ok(None);
    }
    let fds = control.drain().filter_map(|message| if let RecvAncillaryMessage::ScmRights(fds) = message { Some(fds) } else { None });
    Ok(Some(fds.flatten().collect()))
}
