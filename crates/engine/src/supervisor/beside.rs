//! A protocol of somebody else's that a supervisor speaks besides its own: clients of LXC ask at a socket of theirs.

use std::os::fd::{BorrowedFd, OwnedFd};

use hostel_process::pty::Pty;

use super::run::End;

/// Whoever speaks it. Nothing of this blocks.
pub trait Beside {
    /// Readable when there is something to do.
    fn descriptor(&self) -> BorrowedFd<'_>;
    /// Does it; what the supervisor is to do for it comes back.
    fn turn(&mut self) -> Vec<Asked>;
    /// PID 1 is executed.
    fn started(&mut self, life: Life);
    /// The machine has written this to its console.
    fn shown(&mut self, bytes: &[u8]);
    /// PID 1 is dead.
    fn ended(&mut self, end: End);
}

/// One life of PID 1.
#[derive(Debug)]
pub struct Life {
    /// Its number on the host.
    pub pid: i32,
    /// It.
    pub pidfd: OwnedFd,
    /// Its namespaces, as flags of clone(2).
    pub namespaces: u64,
    /// Its terminals besides the console.
    pub terminals: Vec<Pty>,
    /// The devpts that they and the console are in.
    pub devpts: Option<OwnedFd>,
}

/// What a supervisor does for it.
#[derive(Debug)]
pub enum Asked {
    /// Sends this signal to PID 1, which is thawed.
    Signal(i32),
    /// Types on the console.
    Type(Vec<u8>),
}
