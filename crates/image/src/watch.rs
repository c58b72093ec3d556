//! How far a long piece of work is, told to whoever asked for it, who may stop it.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::Cause;

/// Whoever waits.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Told the bytes done so far, often.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Becomes true when the work shall end, undone.
    pub stop: &'a AtomicBool,
}

impl Watch<'_> {
    /// Tells how far it is; an error when it shall end.
    pub(crate) fn tick(&self, done: u64) -> Result<(), Cause> {
        (self.progress)(done);
        if self.stop.load(Ordering::Relaxed) { Err(Cause::Os(Errno::CANCELED)) } else { Ok(()) }
    }
}

/// A stream that tells how much of it has been read.
pub(crate) struct Watched<'a, R> {
    input: R,
    done: u64,
    watch: Watch<'a>,
}

impl<'a, R: Read> Watched<'a, R> {
    pub(crate) fn new(input: R, watch: Watch<'a>) -> Self {
        Watched { input, done: 0, watch }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.done += n as u64;
        // Afterwards: the next read may take long.
        self.watch.tick(self.done).map_err(|_| io::Error::from(Errno::CANCELED))?;
        Ok(n)
    }
}
