//! Sitting down at a container's terminal.

use std::os::fd::{AsFd, BorrowedFd};

use hostel_process::event::{Interest, Poller};
use hostel_process::pty::set_size;
use hostel_process::terminal::{RawMode, size};
use rustix::io::Errno;

use crate::container::Container;
use crate::error::{On, Result};

const VERB: &str = "use terminal of container";

/// The descriptors that are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Keyboard,
    Tty,
}

impl Container {
    /// Joins `input` and `output` to a terminal of it until the escape character and then `q` are typed, or it goes away.
    ///
    /// ```no_run
    /// let (input, output) = (std::io::stdin(), std::io::stdout());
    /// let container = hostel_container::Container::new("web", None)?;
    /// container.console(1, std::os::fd::AsFd::as_fd(&input), std::os::fd::AsFd::as_fd(&output), Some(1), |_| {})?;
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn console(&self, number: i32, input: BorrowedFd<'_>, output: BorrowedFd<'_>, escape: Option<u8>, begun: impl FnOnce(i32)) -> Result<()> {
        let tty = self.console_getfd(number)?;
        begun(tty.number);
        self.converse(tty.master.as_fd(), input, output, escape)
    }

    /// The same with a terminal of whatever making, by its master. Without an escape character the end of the input is no end.
    pub fn converse(&self, master: BorrowedFd<'_>, input: BorrowedFd<'_>, output: BorrowedFd<'_>, escape: Option<u8>) -> Result<()> {
        let _raw = RawMode::enter(input, output).on(VERB, &self.name)?;
        if let Some(size) = size(input) {
            let _ = set_size(master, size);
        }
        let mut poller = Poller::new().on(VERB, &self.name)?;
        poller.want(End::Keyboard, input, Interest::READ).on(VERB, &self.name)?;
        poller.want(End::Tty, master, Interest::READ).on(VERB, &self.name)?;
        let mut typed = Typed { escape, armed: false };
        let mut buffer = [0; 4096];
        loop {
            for ready in poller.wait(None).on(VERB, &self.name)? {
                let (from, to) = if ready.token == End::Tty { (master, output) } else { (input, master) };
                let n = match rustix::io::read(from, &mut buffer) {
                    // the other end of a terminal is closed
                    Ok(0) | Err(Errno::IO) if ready.token == End::Tty => return Ok(()),
                    Ok(0) if escape.is_none() => {
                        poller.forget(End::Keyboard, input);
                        continue;
                    }
                    Ok(0) => return Ok(()),
                    Err(Errno::AGAIN | Errno::INTR) => continue,
                    other => other.on(VERB, &self.name)?,
                };
                if ready.token == End::Keyboard {
                    let (bytes, leave) = typed.take(&buffer[..n]);
                    all(to, &bytes).on(VERB, &self.name)?;
                    if leave {
                        return Ok(());
                    }
                } else {
                    all(to, &buffer[..n]).on(VERB, &self.name)?;
                }
            }
        }
    }
}

/// Writes all of it; a terminal's master may be set not to wait.
fn all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> std::result::Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, poll};
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None)?),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// What was typed, watched for the way out.
struct Typed {
    escape: Option<u8>,
    /// The escape character was the last one.
    armed: bool,
}

impl Typed {
    /// What of it is for the terminal, and whether it leaves. The escape character twice is one for the terminal.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            match (self.armed, Some(byte) == self.escape) {
                (true, false) if byte == b'q' => return (out, true),
                (false, true) => self.armed = true,
                (true, false) => {
                    self.armed = false;
                    out.extend(self.escape);
                    out.push(byte);
                }
                _ => {
                    self.armed = false;
                    out.push(byte);
                }
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out() {
        let mut typed = Typed { escape: Some(1), armed: false };
        assert_eq!(typed.take(b"ls\r"), (b"ls\r".to_vec(), false));
        assert_eq!(typed.take(b"\x01"), (vec![], false));
        assert_eq!(typed.take(b"q"), (vec![], true));
        let mut typed = Typed { escape: Some(1), armed: false };
        assert_eq!(typed.take(b"\x01\x01q\x01x"), (b"\x01q\x01x".to_vec(), false));
        let mut typed = Typed { escape: None, armed: false };
        assert_eq!(typed.take(b"\x01q"), (b"\x01q".to_vec(), false));
    }
}
