//! One of the caller's standard streams, used without blocking and without changing it.
//!
//! `O_NONBLOCK` belongs to the open file description, which the caller's shell shares: setting it there breaks the
//! shell's other programs, and a SIGKILL would leave it set. So terminals and pipes are opened anew (through
//! `/proc/self/fd`, the same object, a description of our own), sockets take `MSG_DONTWAIT`, files never block, and
//! what fits none of these is asked by poll(2) and served in small pieces.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::net::{RecvFlags, SendFlags};

/// A pipe that polls writable takes this much at once; a terminal at least this much in all but odd cases.
const CAREFUL_PIECE: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Our own non-blocking description, or an object that never blocks.
    Direct,
    Socket,
    /// Shared and possibly blocking.
    Careful,
}

/// A standard stream.
#[derive(Debug)]
pub struct Stdio {
    fd: OwnedFd,
    kind: Kind,
    tty: bool,
}

impl Stdio {
    /// For reading.
    pub fn reader(fd: BorrowedFd<'_>) -> io::Result<Stdio> {
        Self::new(fd, OFlags::RDONLY)
    }
    /// For writing.
    pub fn writer(fd: BorrowedFd<'_>) -> io::Result<Stdio> {
        Self::new(fd, OFlags::WRONLY)
    }

    fn new(fd: BorrowedFd<'_>, access: OFlags) -> io::Result<Stdio> {
        let stat = rustix::fs::fstat(fd)?;
        let tty = rustix::termios::isatty(fd);
        let reopen = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => {
                return Ok(Stdio { fd: rustix::io::fcntl_dupfd_cloexec(fd, 3)?, kind: Kind::Socket, tty });
            }
            FileType::Fifo => true,
            FileType::CharacterDevice if tty => {
                // Opening a pty master anew would make another pty.
                let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                (major, minor) != (5, 2)
            }
            // Not again: a file's position is part of the description. And it never blocks.
            _ => return Ok(Stdio { fd: rustix::io::fcntl_dupfd_cloexec(fd, 3)?, kind: Kind::Direct, tty }),
        };
        if reopen {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            if let Ok(own) = rustix::fs::open(path, flags, Mode::empty()) {
                return Ok(Stdio { fd: own, kind: Kind::Direct, tty });
            }
        }
        Ok(Stdio { fd: rustix::io::fcntl_dupfd_cloexec(fd, 3)?, kind: Kind::Careful, tty })
    }

    #[cfg(test)]
    pub(super) fn careful(fd: BorrowedFd<'_>) -> io::Result<Stdio> {
        Ok(Stdio { fd: rustix::io::fcntl_dupfd_cloexec(fd, 3)?, kind: Kind::Careful, tty: rustix::termios::isatty(fd) })
    }

    /// Whether it is a terminal.
    pub fn is_tty(&self) -> bool {
        self.tty
    }

    /// Whether it is a socket, as a service manager's log is.
    pub fn is_socket(&self) -> bool {
        self.kind == Kind::Socket
    }

    /// Reads what is there: 0 = end of file, `EAGAIN` = nothing now.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        io::retry_on_intr(|| match self.kind {
            Kind::Direct => rustix::io::read(&self.fd, &mut *buf),
            Kind::Socket => rustix::net::recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT).map(|(n, _)| n),
            Kind::Careful => {
                self.ready(PollFlags::IN)?;
                rustix::io::read(&self.fd, &mut *buf)
            }
        })
    }

    /// Writes what fits; `EAGAIN` = nothing now.
    pub fn write(&self, buf: &[u8]) -> io::Result<usize> {
        io::retry_on_intr(|| match self.kind {
            Kind::Direct => rustix::io::write(&self.fd, buf),
            Kind::Socket => rustix::net::send(&self.fd, buf, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Kind::Careful => {
                self.ready(PollFlags::OUT)?;
                rustix::io::write(&self.fd, &buf[..buf.len().min(CAREFUL_PIECE)])
            }
        })
    }

    fn ready(&self, what: PollFlags) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.fd, what)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if rustix::event::poll(&mut fds, Some(&now))? == 0 { Err(Errno::AGAIN) } else { Ok(()) }
    }
}

impl AsFd for Stdio {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
