//! A visitor's side of a console: joins our terminal to a running machine's control socket.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use hostel_ipc::control::{self, CallError, Connection, Ended, Event, MAX_PACKET, Received, Request, Stop, Window};
use hostel_process::console::{Escape, Hotkey, Stdio};
use hostel_process::event::{Interest, Poller};
use hostel_process::terminal::{self, RawMode};
use hostel_sys::event::{SignalFd, SignalMask, block_signals, set_blocked_signals};
use rustix::io::Errno;

use super::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use crate::error::{Context, Error, Result};

/// What a visit is like.
#[derive(Debug, Clone, Copy, Default)]
pub struct VisitOptions {
    /// Bytes of the log to show first, at most 64 KiB.
    pub replay: u32,
    /// Nothing is typed.
    pub read_only: bool,
}

/// How a visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitEnd {
    /// By `^]^]^]`, a signal, or the end of standard input.
    Left,
    /// The machine ended, and how, if that was heard.
    Ended(Option<Ended>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Machine,
    Input,
    Output,
    Signals,
}

/// Shows the console on `stdout` and types what comes from `stdin`, until one side ends. `^]^]^]` leaves, `^]^]r` and
/// `^]^]p` ask for reboot and power-off. The terminal is raw meanwhile, when both are terminals.
///
/// A machine that reboots goes on here.
pub fn visit(connection: &mut Connection, stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>, options: VisitOptions) -> Result<VisitEnd> {
    let window = terminal::size(stdout).map(|s| Window { rows: s.rows, cols: s.cols });
    let request = control::Console { window, replay: options.replay, read_only: options.read_only };
    connection.post(&Request::Console(request)).map_err(talk)?;
    let mask = SignalMask::of(&[SIGHUP, SIGINT, SIGTERM, SIGWINCH]);
    let previous = block_signals(mask).context("block", "signals")?;
    let ended = SignalFd::new(mask).context("open", "signalfd").and_then(|signals| relay(connection, stdin, stdout, &signals, options));
    let _ = set_blocked_signals(previous);
    ended
}

fn talk(e: CallError) -> Error {
    Error::new("talk to", "the supervisor", e)
}

fn relay(connection: &Connection, stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>, signals: &SignalFd, options: VisitOptions) -> Result<VisitEnd> {
    let output = Stdio::writer(stdout).context("use", "standard output")?;
    let input = if options.read_only { None } else { Some(Stdio::reader(stdin).context("use", "standard input")?) };
    let both = input.as_ref().filter(|i| i.is_tty() && output.is_tty());
    let _raw = match both {
        Some(input) => Some(RawMode::enter(input.as_fd(), output.as_fd()).context("change", "mode of the terminal")?),
        None => None,
    };
    let mut poller = Poller::new().context("open", "epoll")?;
    let mut visit = Visit { connection, output, input, shown: Vec::new(), typed: Vec::new(), leaves: false, escape: Escape::default() };
    loop {
        visit.declare(&mut poller, signals).context("watch", "the terminal")?;
        let ready: Vec<_> = poller.wait(None).context("wait for", "the machine")?.collect();
        for ready in ready {
            let end = match ready.token {
                Token::Machine => visit.machine(ready.read)?,
                Token::Input => visit.input(&mut poller)?,
                Token::Output => visit.show(),
                Token::Signals => visit.signals(signals)?,
            };
            if let Some(end) = end {
                visit.flush();
                return Ok(end);
            }
        }
    }
}

struct Visit<'c> {
    connection: &'c Connection,
    output: Stdio,
    input: Option<Stdio>,
    shown: Vec<u8>,
    typed: Vec<u8>,
    /// Standard input has ended: what was typed is still sent.
    leaves: bool,
    escape: Escape,
}

impl Visit<'_> {
    fn declare(&self, poller: &mut Poller<Token>, signals: &SignalFd) -> rustix::io::Result<()> {
        poller.want(Token::Signals, signals, Interest::READ)?;
        let machine = Interest { read: self.shown.is_empty(), write: !self.typed.is_empty() };
        poller.want(Token::Machine, self.connection, machine)?;
        poller.want(Token::Output, &self.output, if self.shown.is_empty() { Interest::NONE } else { Interest::WRITE })?;
        if let Some(input) = &self.input {
            poller.want(Token::Input, input, if self.typed.is_empty() || input.is_tty() { Interest::READ } else { Interest::NONE })?;
        }
        Ok(())
    }

    fn machine(&mut self, read: bool) -> Result<Option<VisitEnd>> {
        if !self.typed.is_empty() && self.connection.type_in(&self.typed).map_err(talk)? {
            self.typed.clear();
        }
        if self.leaves && self.typed.is_empty() {
            return Ok(Some(VisitEnd::Left));
        }
        if !read || !self.shown.is_empty() {
            return Ok(None);
        }
        let mut buf = [0u8; MAX_PACKET];
        match self.connection.receive(&mut buf, Some(Instant::now())) {
            Ok(Received::Data { lost, bytes }) => {
                if lost > 0 {
                    self.shown.extend_from_slice(format!("\r\n[{lost} bytes lost]\r\n").as_bytes());
                }
                self.shown.extend_from_slice(bytes);
                Ok(self.show())
            }
            Ok(Received::Event(Event::Ended(ended))) if !ended.reboots => Ok(Some(VisitEnd::Ended(Some(ended)))),
            Ok(Received::Event(_) | Received::Reply(_)) | Err(CallError::TimedOut(_)) => Ok(None),
            Ok(Received::Closed) => Ok(Some(VisitEnd::Ended(None))),
            Ok(Received::Refused(remote)) => Err(Error::new("open", "console of the machine", remote)),
            Err(e) => Err(talk(e)),
        }
    }

    fn input(&mut self, poller: &mut Poller<Token>) -> Result<Option<VisitEnd>> {
        let Some(input) = &self.input else { return Ok(None) };
        let mut buf = [0u8; super::requests::TYPED_AT_ONCE];
        let n = match input.read(&mut buf) {
            Ok(n) if n > 0 => n,
            Err(Errno::AGAIN) => return Ok(None),
            _ => {
                poller.forget(Token::Input, input);
                self.input = None;
                self.leaves = true;
                return Ok(self.typed.is_empty().then_some(VisitEnd::Left));
            }
        };
        let found = self.escape.scan(&buf[..n], Instant::now());
        let bytes = &buf[..found.map_or(n, |(at, _)| at)];
        // Typed on a terminal while the machine takes nothing: lost, as terminals do.
        if self.typed.is_empty() && !bytes.is_empty() && !self.connection.type_in(bytes).map_err(talk)? {
            self.typed.extend_from_slice(bytes);
        }
        match found {
            Some((_, Hotkey::Kill)) => return Ok(Some(VisitEnd::Left)),
            Some((_, Hotkey::Reboot)) => self.connection.post(&Request::Reboot).map_err(talk)?,
            Some((_, Hotkey::PowerOff)) => self.connection.post(&Request::Stop(Stop::default())).map_err(talk)?,
            None => {}
        }
        Ok(None)
    }

    /// Writes what standard output takes now; the visit ends when nobody looks any more.
    fn show(&mut self) -> Option<VisitEnd> {
        while !self.shown.is_empty() {
            match self.output.write(&self.shown) {
                Ok(n) if n > 0 => drop(self.shown.drain(..n)),
                Err(Errno::AGAIN) => return None,
                _ => return Some(VisitEnd::Left),
            }
        }
        None
    }

    /// Writes the rest before we go, for a second at most.
    fn flush(&mut self) {
        let until = Instant::now() + std::time::Duration::from_secs(1);
        while self.show().is_none() && !self.shown.is_empty() && Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn signals(&mut self, signals: &SignalFd) -> Result<Option<VisitEnd>> {
        while let Ok(Some(info)) = signals.read() {
            if info.signal != SIGWINCH {
                return Ok(Some(VisitEnd::Left));
            }
            if let Some(size) = terminal::size(&self.output) {
                let resize = Request::Resize(Window { rows: size.rows, cols: size.cols });
                self.connection.post(&resize).map_err(talk)?;
            }
        }
        Ok(None)
    }
}
