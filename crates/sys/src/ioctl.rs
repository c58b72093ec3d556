//! Terminal ioctls that `rustix` lacks: of ptys, of what hangs up, of virtual terminals.

use std::os::fd::AsFd;

use rustix::io;
use rustix::ioctl::{Getter, IntegerSetter, Setter, ioctl, opcode};

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

/// `TIOCVHANGUP`: whoever has this terminal open has it no more (CAP_SYS_ADMIN).
pub fn hang_up<Fd: AsFd>(terminal: Fd) -> io::Result<()> {
    number::<0x5437, _>(terminal, 0)
}

/// `KDSETMODE`: a virtual terminal shows text (ioctl_console(2)).
pub fn text_mode<Fd: AsFd>(terminal: Fd) -> io::Result<()> {
    number::<0x4b3a, _>(terminal, 0)
}

/// `VT_DISALLOCATE`: forgets the virtual terminal of this number, which is not shown.
pub fn disallocate<Fd: AsFd>(terminal: Fd, which: u32) -> io::Result<()> {
    number::<0x5608, _>(terminal, which as usize)
}

/// A request whose argument is a number.
fn number<const REQUEST: u32, Fd: AsFd>(terminal: Fd, argument: usize) -> io::Result<()> {
    // SAFETY: the requests above take an integer, no pointer (ioctl_tty(2), ioctl_console(2)).
    unsafe { ioctl(terminal, IntegerSetter::<REQUEST>::new_usize(argument)) }
}
