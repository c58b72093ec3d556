//! A line that shows how far something is, on a terminal only, a few times a second.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hostel_engine::error::Result;

use super::Verb;
use crate::output;
use crate::transfers::Transfer;

/// How often the line is drawn anew.
const EVERY: Duration = Duration::from_millis(120);

/// One such line, on standard error. Without a terminal it is silent.
pub(super) struct Bar {
    what: String,
    begun: Instant,
    shown: bool,
    state: Mutex<State>,
}

struct State {
    drawn: Option<Instant>,
    total: Option<u64>,
    width: usize,
}

impl Bar {
    /// For `what`, of `total` bytes if that is known.
    pub(super) fn new(what: &str, total: Option<u64>) -> Bar {
        let shown = std::io::stderr().is_terminal();
        Bar { what: output::clean(what), begun: Instant::now(), shown, state: Mutex::new(State { drawn: None, total, width: 0 }) }
    }

    /// The total, when it becomes known.
    pub(super) fn expect(&self, total: Option<u64>) {
        if let Ok(mut state) = self.state.lock() {
            state.total = total;
        }
    }

    fn total(&self) -> Option<u64> {
        self.state.lock().ok().and_then(|state| state.total)
    }

    /// So many bytes are done.
    pub(super) fn set(&self, done: u64) {
        if !self.shown {
            return;
        }
        let Ok(mut state) = self.state.lock() else { return };
        // What is quick needs no bar.
        if self.begun.elapsed() < EVERY || state.drawn.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        state.drawn = Some(Instant::now());
        let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |w| usize::from(w.ws_col)).max(20);
        let line: String = line(&self.what, done, state.total, self.begun.elapsed()).chars().take(columns - 1).collect();
        let width = line.chars().count();
        // A terminal that went away stops nothing.
        let _ = write!(std::io::stderr(), "\r{line}{}", " ".repeat(state.width.saturating_sub(width)));
        let _ = std::io::stderr().flush();
        state.width = width;
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        if let Ok(state) = self.state.lock()
            && state.width > 0
        {
            let _ = write!(std::io::stderr(), "\r{}\r", " ".repeat(state.width));
            let _ = std::io::stderr().flush();
        }
    }
}

/// A verb's work on one image: its line, and its entry among the transfers.
pub(super) struct Work {
    transfer: Transfer,
    bar: Bar,
}

impl Work {
    /// Begins what `verb` does with `image` and `remote`, a file or an address. From here on signals ask it to stop.
    pub(super) fn begin(verb: &Verb, remote: &str, image: &str, total: Option<u64>) -> Result<Work> {
        let transfer = Transfer::begin(verb.name, remote, image)?;
        Ok(Work { transfer, bar: Bar::new(&format!("{} {image}", verb.name), total) })
    }

    /// The total, when it becomes known.
    pub(super) fn expect(&self, total: Option<u64>) {
        self.bar.expect(total);
    }

    /// So many bytes are done.
    pub(super) fn set(&self, done: u64) {
        self.bar.set(done);
        self.transfer.set(done, self.bar.total());
    }

    /// Becomes true when it shall stop.
    pub(super) fn stop(&self) -> &'static AtomicBool {
        self.transfer.stop()
    }

    /// Takes the line away: there is something to be said.
    pub(super) fn end(&self) {
        self.bar.end();
    }
}

fn line(what: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = (done as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    let amount = format!("{} at {}/s", output::bytes(done), output::bytes(rate));
    match total.filter(|t| *t > 0) {
        Some(total) => {
            let part = (done.min(total) as f64) / total as f64;
            let filled = (part * 20.0) as usize;
            let left = total.saturating_sub(done).checked_div(rate).unwrap_or(0);
            let bar = format!("{}{}", "=".repeat(filled), " ".repeat(20 - filled));
            format!("{what} [{bar}] {:3.0}% {amount}, {} left", part * 100.0, output::duration(left))
        }
        None => format!("{what}: {amount}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let second = Duration::from_secs(1);
        assert_eq!(line("x", 1 << 20, None, second), "x: 1.0M at 1.0M/s");
        assert_eq!(line("x", 1 << 20, Some(4 << 20), second), "x [=====               ]  25% 1.0M at 1.0M/s, 3s left");
        assert_eq!(line("x", 9, Some(4), Duration::ZERO), "x [====================] 100% 9B at 8.8K/s, 0s left");
    }
}
