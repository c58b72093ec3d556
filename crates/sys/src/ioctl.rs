//! Terminal ioctls that `rustix` lacks: the number of a pty and its unread bytes.

use std::os::fd::AsFd;

use rustix::io;
use rustix::ioctl::{Getter, Setter, ioctl, opcode};

const TIOCGPTN: u32 = opcode::read::<u32>(b'T', 0x30);
const TIOCSPTLCK: u32 = opcode::write::<i32>(b'T', 0x31);

/// `TIOCGPTN`: the number `N` of `/dev/pts/N` that belongs to this pty master.
pub fn pty_number<Fd: AsFd>(master: Fd) -> io::Result<u32> {
    // SAFETY: TIOCGPTN writes one unsigned int and nothing else (ioctl_tty(2)).
    unsafe { ioctl(master, Getter::<TIOCGPTN, u32>::new()) }
}

/// `TIOCSPTLCK`: unlocks the slave so that it can be opened.
pub fn pty_unlock<Fd: AsFd>(master: Fd) -> io::Result<()> {
    // SAFETY: TIOCSPTLCK reads one int, zero for "unlock" (ioctl_tty(2)).
    unsafe { ioctl(master, Setter::<TIOCSPTLCK, i32>::new(0)) }
}
