//! Lines to the console of PID 1, which `docker logs` and the like keep: never waited for, what does not fit is counted.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::json;
use super::record::Field;

/// Bytes that wait for the console to take them.
const WAITING_MAX: usize = 64 << 10;

/// What of the log goes to the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Lines with a name before them.
    #[default]
    Lines,
    /// A JSON object on each line, with all fields.
    Json,
    /// Nothing but what asks for it: StandardOutput=journal+console, and words of the manager that are about no unit.
    Nothing,
}

/// The console.
#[derive(Debug, Default)]
pub struct Console {
    /// What goes there.
    pub form: Form,
    /// Standard output, opened anew so that only we never wait for it.
    own: Option<OwnedFd>,
    is_socket: bool,
    waiting: Vec<u8>,
    /// Lines that did not fit since that was told last.
    pub(crate) dropped: u64,
}

impl Console {
    /// Standard output.
    pub fn open() -> Console {
        let kind = rustix::fs::fstat(rustix::stdio::stdout()).map(|s| FileType::from_raw_mode(s.st_mode));
        // a file would be written from its beginning; a socket cannot be opened
        let own = match kind {
            Ok(FileType::Fifo | FileType::CharacterDevice) => anew(),
            _ => None,
        };
        Console { own, is_socket: kind == Ok(FileType::Socket), ..Console::default() }
    }

    /// What to wait for when [`Console::is_waiting`].
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.own {
            Some(own) => own.as_fd(),
            None => rustix::stdio::stdout(),
        }
    }

    /// Whether something is to be written when the console takes it.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Lines that nobody will see if this ends now, but for those that were told of.
    pub(crate) fn untold(&self) -> u64 {
        self.dropped + self.waiting.iter().filter(|b| **b == b'\n').count() as u64
    }

    /// Takes a text of whole lines; it is written by [`Console::flush`].
    pub fn put(&mut self, text: &str) {
        if self.waiting.len() + text.len() > WAITING_MAX {
            self.flush();
        }
        if self.waiting.len() + text.len() > WAITING_MAX {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0 {
            let lost = format!("{} lines were dropped: the console did not take them", std::mem::take(&mut self.dropped));
            if self.form == Form::Json {
                let mut line = String::new();
                json::object(&mut line, &[("SYSLOG_IDENTIFIER", b"init"), ("PRIORITY", b"4"), ("MESSAGE", lost.as_bytes())], true, false);
                self.waiting.extend_from_slice(line.as_bytes());
                self.waiting.push(b'\n');
            } else {
                self.waiting.extend_from_slice(format!("init: {lost}\n").as_bytes());
            }
        }
        self.waiting.extend_from_slice(text.as_bytes());
    }

    /// Takes a message, a line of it at a time.
    pub fn lines(&mut self, who: &str, message: &str) {
        let mut text = String::new();
        for line in message.split('\n') {
            text.push_str(who);
            text.push_str(": ");
            text.push_str(&tame(line));
            text.push('\n');
        }
        self.put(&text);
    }

    /// Takes an entry with all its fields.
    pub fn object(&mut self, fields: &[Field<'_>]) {
        let mut line = String::new();
        json::object(&mut line, fields, true, false);
        line.push('\n');
        self.put(&line);
    }

    /// Writes what the console takes now.
    pub fn flush(&mut self) {
        let (mut done, mut is_hung_up) = (0, false);
        while let Some(rest) = self.waiting.get(done..).filter(|rest| !rest.is_empty()) {
            match self.write(rest) {
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // a getty has the terminal hung up (TTYVHangup=), and shares it
                Err(Errno::IO) if self.own.is_some() && !is_hung_up => {
                    is_hung_up = true;
                    self.own = anew().or(self.own.take());
                }
                // nobody is there any more
                Err(_) => done = self.waiting.len(),
            }
        }
        self.waiting.drain(..done);
        if self.waiting.is_empty() && self.waiting.capacity() > 8 << 10 {
            self.waiting = Vec::new();
        }
    }

    fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match &self.own {
            Some(own) => rustix::io::write(own, bytes),
            None if self.is_socket => {
                rustix::net::send(rustix::stdio::stdout(), bytes, rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL)
            }
            None => {
                use rustix::event::{PollFd, PollFlags, Timespec, poll};
                let out = rustix::stdio::stdout();
                let mut ready = [PollFd::new(&out, PollFlags::OUT)];
                if poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
                    return Err(Errno::AGAIN);
                }
                // so much a pipe takes when it takes anything
                rustix::io::write(out, bytes.get(..512).unwrap_or(bytes))
            }
        }
    }
}

fn anew() -> Option<OwnedFd> {
    rustix::fs::open("/proc/self/fd/1", OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Without what would make a terminal do something.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A console that takes nothing stops nobody; when it takes something again, it hears how much it missed.
    #[test]
    fn a_full_console_drops_and_tells() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let mut console = Console { own: Some(write), ..Console::default() };
        for n in 0..20_000 {
            console.lines("a", &format!("line {n}"));
            console.flush();
        }
        assert!(console.is_waiting() && console.waiting.len() <= WAITING_MAX && console.dropped > 1000);
        let mut buffer = vec![0; 1 << 20];
        let mut text = Vec::new();
        for _ in 0..10 {
            while let Ok(n) = rustix::io::read(&read, &mut buffer) {
                text.extend_from_slice(&buffer[..n]);
            }
            console.flush();
        }
        console.lines("b", "after\x1b[1m\nthat");
        console.flush();
        let n = rustix::io::read(&read, &mut buffer).unwrap();
        let last = String::from_utf8_lossy(&buffer[..n]).into_owned();
        assert!(text.starts_with(b"a: line 0\n"));
        assert!(
            last.starts_with("init: ") && last.ends_with(" lines were dropped: the console did not take them\nb: after\u{fffd}[1m\nb: that\n"),
            "{last}"
        );
        let whole = String::from_utf8(text).unwrap();
        assert!(whole.lines().all(|line| line.starts_with("a: line ")));
        let lost: usize = last.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(whole.lines().count() + lost, 20_000);
    }
}
