//! The supervisor's side of a machine's console: joins its pty to our standard streams, its log and its visitors.
//!
//! ```text
//!   stdin ──► typed (4 KiB) ──► pty master ──► shown (16 KiB) ──► stdout      waits for a stopped reader
//!   visitors ──┘                                  ├──► console.log             bounded, loses when the disk is full
//!                                                 └──► visitors (by the caller) lose what they do not take
//! ```
//! Two fixed buffers, nothing grows. The pty is read only when stdout took what came before: a stopped reader stops
//! the machine's writes, as on a real terminal. Everything is driven from outside: [`Console::prepare`] says what to
//! wait for, [`Console::handle`] acts on it, [`Console::drain`] shows the rest after the machine's death.

mod escape;
pub mod log;
mod stdio;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use hostel_spec::ConsoleMode;
use rustix::io::{self, Errno};
use rustix::termios::{LocalModes, SpecialCodeIndex};

pub use escape::{Escape, Hotkey};
pub use log::{DEFAULT_LIMIT, Log, LogReader};
pub use stdio::Stdio;

use crate::event::{Interest, Poller, Ready};
use crate::pty::{self, Pty, WindowSize};
use crate::terminal::{self, RawMode};

const SHOWN: usize = 16 << 10;
const TYPED: usize = 4 << 10;
const TYPED_AT_ONCE: usize = 1 << 10;
/// More than the kernel ever holds for one pty: a drain that sees more is reading from someone still alive.
const DRAIN_AT_MOST: usize = 1 << 20;
const REOPEN_DELAY: Duration = Duration::from_millis(50);
/// `^D`, when the pty does not say otherwise.
const EOF_CHARACTER: u8 = 4;

/// How the pty is joined to our standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relay {
    /// Both ways; the terminal becomes raw.
    Interactive,
    /// Output only.
    ReadOnly,
    /// Not at all; log and visitors only.
    Passive,
}

impl Relay {
    /// What a mode means for these standard streams; `None` = pass them through, no pty.
    pub fn of(mode: ConsoleMode, stdin_is_tty: bool, stdout_is_tty: bool) -> Option<Relay> {
        let ttys = stdin_is_tty && stdout_is_tty;
        match mode {
            ConsoleMode::Interactive => Some(Relay::Interactive),
            ConsoleMode::ReadOnly => Some(Relay::ReadOnly),
            ConsoleMode::Passive => Some(Relay::Passive),
            ConsoleMode::Pipe => None,
            ConsoleMode::Auto => Some(if ttys { Relay::Interactive } else { Relay::ReadOnly }),
            ConsoleMode::Autopipe => ttys.then_some(Relay::Interactive),
        }
    }
}

/// Which of the console's descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The pty master.
    Pty,
    /// Our standard input.
    Input,
    /// Our standard output.
    Output,
}

/// What [`Console::handle`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Nothing to tell.
    Nothing,
    /// The machine wrote: [`Console::fresh`] is what.
    Output,
    /// The person at the terminal pressed a hot key.
    Hotkey(Hotkey),
    /// Our terminal is gone.
    HungUp,
}

/// What [`Console::drain`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// More came: [`Console::fresh`] is what; call again.
    Output,
    /// Standard output takes nothing now: wait for [`End::Output`], then call again.
    Blocked,
    /// Everything is shown.
    Done,
}

/// A machine's console.
#[derive(Debug)]
pub struct Console {
    master: OwnedFd,
    /// Held open so that the master never hangs up between two of the machine's own opens.
    slave: Option<OwnedFd>,
    reopen_at: Option<Instant>,
    relay: Relay,
    input: Option<Stdio>,
    output: Option<Stdio>,
    raw: Option<RawMode>,
    log: Option<Log>,
    size: Option<WindowSize>,
    shown: Box<[u8]>,
    /// Bytes of `shown` from the last read, and how many of them stdout has taken.
    fresh: usize,
    taken: usize,
    typed: Vec<u8>,
    escape: Escape,
    last_typed: u8,
    drained: usize,
    /// The reader of the pipe that our output is is gone, and whether that was told.
    unread: Option<bool>,
}

impl Console {
    /// Joins `pty` to the standard streams given, as `relay` says. Cheap: nothing is read, written or changed yet.
    ///
    /// `size` is used when standard output is no terminal (`LINES` and `COLUMNS` of the caller, for example).
    pub fn new(pty: Pty, relay: Relay, stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>, size: Option<WindowSize>) -> io::Result<Console> {
        let input = (relay == Relay::Interactive).then(|| Stdio::reader(stdin)).transpose()?;
        let output = (relay != Relay::Passive).then(|| Stdio::writer(stdout)).transpose()?;
        let console = Console {
            master: pty.master,
            slave: Some(pty.slave),
            reopen_at: None,
            relay,
            input,
            output,
            raw: None,
            log: None,
            size,
            shown: Box::default(),
            fresh: 0,
            taken: 0,
            typed: Vec::new(),
            escape: Escape::default(),
            last_typed: b'\n',
            drained: 0,
            unread: None,
        };
        console.window_changed();
        Ok(console)
    }

    /// Writes all output to `log`, too.
    pub fn set_log(&mut self, log: Log) {
        self.log = Some(log);
    }
    /// The log, for replay.
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }
    /// How it is joined.
    pub fn relay(&self) -> Relay {
        self.relay
    }

    /// Starts relaying: the terminal becomes raw when interactive. Until then messages print as usual.
    pub fn begin(&mut self) -> io::Result<()> {
        if self.shown.is_empty() {
            self.shown = vec![0; SHOWN].into_boxed_slice();
            self.typed.reserve_exact(TYPED);
        }
        if let (None, Some(input), Some(output)) = (&self.raw, &self.input, &self.output) {
            self.raw = Some(RawMode::enter(input.as_fd(), output.as_fd())?);
        }
        Ok(())
    }

    /// Puts the terminal back. Also done when dropped.
    pub fn finish(&mut self) {
        self.raw = None;
    }

    /// We were stopped and go on: the terminal is made raw again, and may have another size.
    pub fn resume(&mut self) -> io::Result<()> {
        if self.raw.take().is_some() {
            self.begin()?;
        }
        self.window_changed();
        Ok(())
    }

    /// Goes on with another pty: the machine boots again. What the old one still held is shown by then ([`Console::drain`]).
    pub fn replace_pty(&mut self, pty: Pty) {
        self.master = pty.master;
        self.slave = Some(pty.slave);
        self.reopen_at = None;
        (self.fresh, self.taken, self.drained) = (0, 0, 0);
        self.typed.clear();
        self.window_changed();
    }

    /// Our window's size has changed (`SIGWINCH`): tells the pty.
    pub fn window_changed(&self) {
        let size = self.output.as_ref().filter(|o| o.is_tty()).and_then(terminal::size).or(self.size);
        if let Some(size) = size {
            // A pty takes any size; should it not, the machine keeps the size it has.
            let _ = pty::set_size(self.master.as_fd(), size);
        }
    }

    /// A visitor's window has this size; it counts unless a terminal of our own decides.
    pub fn resize(&mut self, size: WindowSize) {
        self.size = Some(size);
        self.window_changed();
    }

    /// A visitor typed; gives how much was taken, the rest is for later.
    pub fn type_in(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.typed.extend_from_slice(&bytes[..taken]);
        if taken > 0 {
            self.write_pty();
        }
        taken
    }

    /// How many bytes [`Console::type_in`] takes now.
    pub fn room(&self) -> usize {
        TYPED - self.typed.len().min(TYPED)
    }

    /// What the machine wrote last.
    pub fn fresh(&self) -> &[u8] {
        &self.shown[..self.fresh]
    }

    fn waiting(&self) -> bool {
        self.taken < self.fresh
    }

    /// When to call [`Console::prepare`] again at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.reopen_at
    }

    /// Declares what to wait for; `name` turns an end into the caller's token.
    pub fn prepare<T: Copy + PartialEq>(&mut self, poller: &mut Poller<T>, name: impl Fn(End) -> T) -> io::Result<()> {
        if self.reopen_at.is_some_and(|at| at <= Instant::now()) {
            self.reopen();
        }
        let read = !self.waiting() && self.reopen_at.is_none();
        poller.want(name(End::Pty), &self.master, Interest { read, write: !self.typed.is_empty() && self.reopen_at.is_none() })?;
        if let Some(input) = &self.input {
            // A terminal is always read, for the hot keys; what has no room is lost, as terminals do.
            let interest = if input.is_tty() || self.room() > 2 { Interest::READ } else { Interest::NONE };
            poller.want(name(End::Input), input, interest)?;
        }
        self.prepare_output(poller, name)
    }

    /// Declares only what [`Console::drain`] waits for.
    pub fn prepare_drain<T: Copy + PartialEq>(&self, poller: &mut Poller<T>, name: impl Fn(End) -> T) -> io::Result<()> {
        poller.want(name(End::Pty), &self.master, Interest::NONE)?;
        if let Some(input) = &self.input {
            poller.want(name(End::Input), input, Interest::NONE)?;
        }
        self.prepare_output(poller, name)
    }

    fn prepare_output<T: Copy + PartialEq>(&self, poller: &mut Poller<T>, name: impl Fn(End) -> T) -> io::Result<()> {
        if let Some(output) = &self.output {
            poller.want(name(End::Output), output, if self.waiting() { Interest::WRITE } else { Interest::NONE })?;
        }
        Ok(())
    }

    /// Acts on a ready end. `poller` is told when an end is closed.
    pub fn handle<T: Copy + PartialEq>(&mut self, end: End, ready: Ready<T>, poller: &mut Poller<T>) -> Happening {
        match end {
            End::Output => {
                self.write_output();
                Happening::Nothing
            }
            End::Pty => {
                if ready.write {
                    self.write_pty();
                }
                if ready.read && !self.waiting() && self.read_pty() { Happening::Output } else { Happening::Nothing }
            }
            End::Input => {
                let mut buf = [0u8; TYPED_AT_ONCE];
                match self.read_input(&mut buf) {
                    Some(0) => self.input_ended(ready.token, poller),
                    Some(n) => self.typed_here(&buf[..n]),
                    None => Happening::Nothing,
                }
            }
        }
    }

    /// Whether the reader of the pipe that our output is went away; says so once.
    pub fn reader_left(&mut self) -> bool {
        let news = self.unread == Some(false);
        if news {
            self.unread = Some(true);
        }
        news
    }

    /// Shows what the machine wrote before it died, as far as standard output takes it now.
    pub fn drain(&mut self) -> Drained {
        if self.waiting() {
            self.write_output();
            if self.waiting() {
                return Drained::Blocked;
            }
        }
        if self.drained < DRAIN_AT_MOST && self.read_pty() {
            self.drained += self.fresh;
            return Drained::Output;
        }
        Drained::Done
    }

    /// Gives up what standard output has not taken yet.
    pub fn discard(&mut self) {
        self.taken = self.fresh;
    }

    /// Reads from the pty, logs it and begins to show it; whether anything came.
    fn read_pty(&mut self) -> bool {
        match io::retry_on_intr(|| rustix::io::read(&self.master, &mut self.shown[..])) {
            Ok(n) if n > 0 => {
                (self.fresh, self.taken) = (n, 0);
                if let Some(log) = &mut self.log {
                    log.append(&self.shown[..n]);
                }
                self.write_output();
                true
            }
            Err(Errno::AGAIN) => false,
            // End of file or EIO: nobody has the slave open. Ours was taken by vhangup(2), which getty calls.
            _ => {
                self.reopen();
                false
            }
        }
    }

    fn reopen(&mut self) {
        self.slave = None;
        match pty::open_slave(self.master.as_fd()) {
            Ok(slave) => (self.slave, self.reopen_at) = (Some(slave), None),
            Err(_) => self.reopen_at = Some(Instant::now() + REOPEN_DELAY),
        }
    }

    fn write_output(&mut self) {
        while self.waiting() {
            let Some(output) = &self.output else {
                self.taken = self.fresh;
                return;
            };
            match output.write(&self.shown[self.taken..self.fresh]) {
                Ok(n) if n > 0 => self.taken += n,
                Err(Errno::AGAIN) => return,
                // A full disk, a log that is restarted: the machine runs on, unseen. A pipe whose reader is gone: nobody wants it.
                other => {
                    self.taken = self.fresh;
                    if other == Err(Errno::PIPE) && !output.is_socket() {
                        self.unread.get_or_insert(false);
                    }
                    return;
                }
            }
        }
    }

    fn write_pty(&mut self) {
        while !self.typed.is_empty() {
            match io::retry_on_intr(|| rustix::io::write(&self.master, &self.typed)) {
                Ok(n) if n > 0 => drop(self.typed.drain(..n)),
                Err(Errno::AGAIN) => return,
                // Nobody has the slave open: typed into the void.
                _ => self.typed.clear(),
            }
        }
    }

    /// How much standard input gave, 0 at its end; `None` = nothing now.
    fn read_input(&self, buf: &mut [u8; TYPED_AT_ONCE]) -> Option<usize> {
        let input = self.input.as_ref()?;
        // Two bytes stay free for the end-of-file characters.
        let limit = if input.is_tty() { buf.len() } else { buf.len().min(self.room().saturating_sub(2)) };
        if limit == 0 {
            return None;
        }
        match input.read(&mut buf[..limit]) {
            Err(Errno::AGAIN | Errno::INTR) => None,
            other => Some(other.unwrap_or(0)),
        }
    }

    fn input_ended<T: Copy + PartialEq>(&mut self, token: T, poller: &mut Poller<T>) -> Happening {
        let Some(input) = self.input.take() else { return Happening::Nothing };
        poller.forget(token, &input);
        if input.is_tty() {
            return Happening::HungUp;
        }
        self.end_of_input();
        Happening::Nothing
    }

    fn typed_here(&mut self, bytes: &[u8]) -> Happening {
        let found = self.escape.scan(bytes, Instant::now());
        let for_machine = found.map_or(bytes, |(at, _)| &bytes[..at]);
        if let Some(&last) = for_machine.last() {
            self.last_typed = last;
        }
        let _ = self.type_in(for_machine);
        found.map_or(Happening::Nothing, |(_, hotkey)| Happening::Hotkey(hotkey))
    }

    /// Standard input has ended: the machine's terminal says so, too.
    fn end_of_input(&mut self) {
        let attributes = rustix::termios::tcgetattr(&self.master);
        let (character, canonical) =
            attributes.map_or((EOF_CHARACTER, true), |t| (t.special_codes[SpecialCodeIndex::VEOF], t.local_modes.contains(LocalModes::ICANON)));
        if character != 0 {
            // In the middle of a line the first one only ends the line.
            let times = if canonical && !matches!(self.last_typed, b'\n' | b'\r') { 2 } else { 1 };
            self.typed.extend(std::iter::repeat_n(character, times));
        }
        self.write_pty();
    }
}
