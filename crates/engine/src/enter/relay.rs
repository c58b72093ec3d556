//! The caller's side of an entered process: its terminal or pipes, its signals, its end.
//!
//! A terminal of the host never goes into a machine. On a terminal the process gets a pty out of the machine's own devpts;
//! otherwise each stream that is a terminal is replaced by a pipe. Streams that are none go in as they are, which costs nothing.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use hostel_process::console::{Escape, Hotkey, Stdio};
use hostel_process::event::{Interest, Poller};
use hostel_process::pty;
use hostel_process::terminal::{self, RawMode};
use hostel_sys::clone::{self, WaitStatus};
use hostel_sys::event::{SignalFd, SignalMask, block_signals, set_blocked_signals};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::{EnterError, Entered, Entry, Leader, Streams};
use crate::error::{Context, Error, Result};

const KILL: i32 = 9;
const WINCH: i32 = 28;
/// Passed on to the process: HUP INT QUIT USR1 USR2 TERM; WINCH resizes its terminal.
const PASSED: [i32; 6] = [1, 2, 3, 10, 12, 15];
/// What a terminal in its usual mode takes for the end of its input (VEOF). A pipe goes on being at its end, a terminal
/// does not: one for a line that was begun, one for who reads on from there, one for the shell that started that.
const END_OF_FILE: &[u8] = b"\x04\x04\x04";
/// Bytes moved at a time.
const PIECE: usize = 16 << 10;

/// Why it could not be run, or watched.
#[derive(Debug)]
pub enum RunError {
    /// It was not started.
    Enter(EnterError),
    /// Something on our side failed.
    Here(Error),
}

impl From<Error> for RunError {
    fn from(error: Error) -> Self {
        RunError::Here(error)
    }
}

/// Runs `entry` in the machine of `leader` to its end, with our standard streams. `tty`: on a terminal of the machine's own.
///
/// Its streams in `entry` are replaced. Signals that come meanwhile are the process'.
pub fn run(leader: &Leader, entry: Entry<'_>, tty: bool) -> std::result::Result<WaitStatus, RunError> {
    run_masked(leader, entry, tty, false)
}

/// The same, but `^]` typed three times within a second on a terminal ends it: the way out of a prompt that knows none.
pub fn session(leader: &Leader, entry: Entry<'_>, tty: bool) -> std::result::Result<WaitStatus, RunError> {
    run_masked(leader, entry, tty, true)
}

fn run_masked(leader: &Leader, entry: Entry<'_>, tty: bool, escape: bool) -> std::result::Result<WaitStatus, RunError> {
    let mask = SignalMask::of(&[1, 2, 3, 10, 12, 15, WINCH]);
    let previous = block_signals(mask).context("block", "signals")?;
    let result = run_blocked(leader, entry, tty, escape, mask);
    let _ = set_blocked_signals(previous);
    result
}

fn run_blocked(leader: &Leader, entry: Entry<'_>, tty: bool, escape: bool, mask: SignalMask) -> std::result::Result<WaitStatus, RunError> {
    let signals = SignalFd::new(mask).context("open", "signalfd")?;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    run_with(leader, entry, (tty, escape), [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()], &signals)
}

fn run_with(
    leader: &Leader,
    entry: Entry<'_>,
    (tty, escape): (bool, bool),
    ours: [BorrowedFd<'_>; 3],
    signals: &SignalFd,
) -> std::result::Result<WaitStatus, RunError> {
    if tty {
        // A terminal that is shown in none has the size that terminals always had.
        let size = ours.iter().find_map(terminal::size).or(Some(pty::WindowSize { rows: 24, cols: 80 }));
        let entered = super::enter(leader, &Entry { streams: Streams::Terminal(size), ..entry }).map_err(RunError::Enter)?;
        return on_terminal(entered, ours, signals, escape).map_err(RunError::Here);
    }
    if !ours.iter().any(terminal::is_tty) {
        // All that is left to us is to wait and to pass signals on, wherever we are.
        let entered = super::enter_for_good(leader, &Entry { streams: as_they_are(ours), ..entry }).map_err(RunError::Enter)?;
        return Ok(Relay::new(entered, signals, Vec::new(), None)?.run()?);
    }
    let mut theirs: Vec<Option<OwnedFd>> = Vec::new();
    let mut pumps = Vec::new();
    for (number, fd) in ours.iter().enumerate() {
        theirs.push(if terminal::is_tty(fd) { Some(pipe_for(number, *fd, &mut pumps)?) } else { None });
    }
    let given = |n: usize| theirs[n].as_ref().map_or(ours[n], AsFd::as_fd);
    let given = Streams::Given([given(0), given(1), given(2)]);
    let entered = super::enter(leader, &Entry { streams: given, ..entry }).map_err(RunError::Enter)?;
    drop(theirs);
    Ok(Relay::new(entered, signals, pumps, None)?.run()?)
}

fn as_they_are(ours: [BorrowedFd<'_>; 3]) -> Streams<'_> {
    let in_place = ours.iter().enumerate().all(|(n, fd)| fd.as_raw_fd() == n as i32);
    if in_place { Streams::Inherit } else { Streams::Given(ours) }
}

/// Makes the pipe that stands for our terminal as stream `number`; returns the process' end.
fn pipe_for(number: usize, fd: BorrowedFd<'_>, pumps: &mut Vec<Pump>) -> Result<OwnedFd> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).context("make", "pipe")?;
    let stream = |result: rustix::io::Result<Stdio>| result.context("use", "standard streams");
    if number == 0 {
        pumps.push(Pump::new(stream(Stdio::reader(fd))?, stream(Stdio::writer(write.as_fd()))?, true));
        Ok(read)
    } else {
        pumps.push(Pump::new(stream(Stdio::reader(read.as_fd()))?, stream(Stdio::writer(fd))?, false));
        Ok(write)
    }
}

fn on_terminal(mut entered: Entered, ours: [BorrowedFd<'_>; 3], signals: &SignalFd, escape: bool) -> Result<WaitStatus> {
    let master = entered.terminal.take().ok_or_else(|| Error::new("use", "terminal in the machine", "there is none"))?;
    let _raw = if terminal::is_tty(ours[0]) && terminal::is_tty(ours[1]) {
        Some(RawMode::enter(ours[0], ours[1]).context("change", "mode of the terminal")?)
    } else {
        None
    };
    let stream = |result: rustix::io::Result<Stdio>| result.context("use", "standard streams");
    // A pty master is its own two ends.
    let pumps = vec![
        Pump {
            farewell: END_OF_FILE,
            escape: escape.then(Escape::default),
            ..Pump::new(stream(Stdio::reader(ours[0]))?, stream(Stdio::writer(master.as_fd()))?, true)
        },
        Pump::new(stream(Stdio::reader(master.as_fd()))?, stream(Stdio::writer(ours[1]))?, false),
    ];
    Relay::new(entered, signals, pumps, Some(master))?.run()
}

/// One direction.
struct Pump {
    from: Option<Stdio>,
    to: Option<Stdio>,
    held: Vec<u8>,
    /// What is held and has been written already.
    sent: usize,
    input: bool,
    /// Sent when `from` ends: the end-of-file character of a terminal, which cannot be closed in one direction.
    farewell: &'static [u8],
    /// Looks for the keys that end the session.
    escape: Option<Escape>,
}

/// What came of a turn: which ends are of no more use, and whether there was nothing to read.
#[derive(Debug, Clone, Copy, Default)]
struct Finished {
    from: bool,
    to: bool,
    idle: bool,
    /// The keys that end the session were typed.
    escaped: bool,
}

impl Pump {
    fn new(from: Stdio, to: Stdio, input: bool) -> Self {
        Self { from: Some(from), to: Some(to), held: Vec::new(), sent: 0, input, farewell: b"", escape: None }
    }

    fn is_empty(&self) -> bool {
        self.sent == self.held.len()
    }

    /// Moves what can be moved now. The ends stay open: what watches them has to be told first.
    fn turn(&mut self) -> Finished {
        let mut finished = Finished::default();
        if self.deliver().is_err() {
            // Nobody takes it any more: the writer is told by its end closing.
            return Finished { from: true, to: true, idle: true, escaped: false };
        }
        let Some(from) = self.from.as_ref().filter(|_| self.sent == self.held.len()) else { return finished };
        self.held.resize(PIECE, 0);
        self.sent = 0;
        let read = from.read(&mut self.held);
        self.held.truncate(read.unwrap_or(0));
        match read {
            Ok(n) if n > 0 => {
                if let Some((at, Hotkey::Kill)) = self.escape.as_mut().and_then(|e| e.scan(&self.held, Instant::now())) {
                    self.held.truncate(at);
                    finished.escaped = true;
                }
            }
            Err(Errno::AGAIN) => return Finished { idle: true, ..finished },
            _ => {
                finished.from = true;
                self.held.extend_from_slice(self.farewell);
            }
        }
        if self.deliver().is_err() {
            return Finished { from: true, to: true, idle: true, escaped: false };
        }
        finished.to = finished.from && self.is_empty();
        finished
    }

    fn deliver(&mut self) -> rustix::io::Result<()> {
        while self.sent < self.held.len() {
            let written = self.to.as_ref().map_or(Err(Errno::PIPE), |to| to.write(&self.held[self.sent..]));
            match written {
                Ok(n) if n > 0 => self.sent += n,
                Err(Errno::AGAIN) => return Ok(()),
                other => {
                    self.held.clear();
                    self.sent = 0;
                    return Err(other.err().unwrap_or(Errno::PIPE));
                }
            }
        }
        Ok(())
    }

    /// Delivers what is there, waiting for a slow reader but for no writer.
    fn finish(&mut self) {
        while self.to.is_some() && (self.from.is_some() || !self.is_empty()) {
            let finished = self.turn();
            if self.is_empty() {
                if finished.from || finished.idle {
                    return;
                }
                continue;
            }
            if finished.from {
                self.from = None;
            }
            if let Some(to) = &self.to {
                let mut fds = [rustix::event::PollFd::new(to, rustix::event::PollFlags::OUT)];
                let _ = rustix::event::poll(&mut fds, None);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Process,
    Signals,
    From(usize),
    To(usize),
}

struct Relay<'s> {
    entered: Entered,
    signals: &'s SignalFd,
    pumps: Vec<Pump>,
    terminal: Option<OwnedFd>,
    poller: Poller<Token>,
    /// Whoever types has left by the hot key.
    left: bool,
}

impl<'s> Relay<'s> {
    fn new(entered: Entered, signals: &'s SignalFd, pumps: Vec<Pump>, terminal: Option<OwnedFd>) -> Result<Self> {
        let mut poller = Poller::new().context("open", "epoll")?;
        poller.want(Token::Process, &entered.pidfd, Interest::READ).context("watch", "process")?;
        poller.want(Token::Signals, signals, Interest::READ).context("watch", "signals")?;
        Ok(Self { entered, signals, pumps, terminal, poller, left: false })
    }

    fn run(mut self) -> Result<WaitStatus> {
        let status = loop {
            self.declare().context("watch", "standard streams")?;
            let ready: Vec<Token> = self.poller.wait(None).context("wait for", "process")?.map(|r| r.token).collect();
            for token in ready {
                match token {
                    Token::Signals => self.pass_signals(),
                    Token::From(n) | Token::To(n) => self.turn(n),
                    Token::Process => {}
                }
            }
            let end = clone::wait_pidfd(self.entered.pidfd.as_fd(), clone::WAIT_EXITED | clone::WAIT_NOHANG).context("wait for", "process")?;
            if let Some(status) = end {
                break status;
            }
        };
        // What it wrote before its end is shown; what others write later into the same pipe is theirs.
        for pump in self.pumps.iter_mut().filter(|p| !p.input) {
            pump.finish();
        }
        // To leave is no failure.
        Ok(if self.left { WaitStatus::Exited(0) } else { status })
    }

    fn turn(&mut self, n: usize) {
        let pump = &mut self.pumps[n];
        let mut finished = pump.turn();
        // An input that ended earlier, whose last bytes are delivered now.
        finished.to |= pump.from.is_none() && pump.is_empty();
        if finished.escaped {
            // It leads its session, whose other processes are hung up by the kernel.
            let _ = clone::pidfd_send_signal(self.entered.pidfd.as_fd(), KILL);
            self.left = true;
        }
        // The machine's terminal goes on being read from through the same device.
        if let Some(from) = pump.from.take_if(|_| finished.from) {
            self.poller.forget(Token::From(n), &from);
        }
        if let Some(to) = pump.to.take_if(|_| finished.to) {
            self.poller.forget(Token::To(n), &to);
        }
    }

    fn declare(&mut self) -> rustix::io::Result<()> {
        for (n, pump) in self.pumps.iter().enumerate() {
            let empty = pump.is_empty();
            if let Some(from) = &pump.from {
                self.poller.want(Token::From(n), from, if empty { Interest::READ } else { Interest::NONE })?;
            }
            if let Some(to) = &pump.to {
                self.poller.want(Token::To(n), to, if empty { Interest::NONE } else { Interest::WRITE })?;
            }
        }
        Ok(())
    }

    fn pass_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read() {
            if PASSED.contains(&info.signal) {
                let _ = clone::pidfd_send_signal(self.entered.pidfd.as_fd(), info.signal);
            } else if let (WINCH, Some(master), Some(size)) =
                (info.signal, &self.terminal, terminal::size(std::io::stdout()).or_else(|| terminal::size(std::io::stdin())))
            {
                let _ = pty::set_size(master.as_fd(), size);
            }
        }
    }
}

#[cfg(test)]
mod tests;
