//! The caller's own terminal: its size, and raw mode that is always undone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use rustix::io;
use rustix::termios::{OptionalActions, Termios};

use crate::pty::WindowSize;

/// Whether `fd` is a terminal.
pub fn is_tty<Fd: AsFd>(fd: Fd) -> bool {
    rustix::termios::isatty(fd)
}

/// Rows and columns of the terminal `fd`; `None` when it is none or does not know them.
pub fn size<Fd: AsFd>(fd: Fd) -> Option<WindowSize> {
    let size = rustix::termios::tcgetwinsize(fd).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(WindowSize { rows: size.ws_row, cols: size.ws_col })
}

/// What one descriptor's terminal was before.
struct Saved {
    guard: u64,
    fd: OwnedFd,
    before: Termios,
}

/// The saved state lives here and not in the guard so that a panic's hook finds it: release builds abort on panic,
/// and an aborted process drops nothing.
static SAVED: Mutex<Vec<Saved>> = Mutex::new(Vec::new());
static HOOK: Once = Once::new();
static GUARDS: AtomicU64 = AtomicU64::new(0);

/// Raw mode of the caller's terminal while this lives.
#[derive(Debug)]
pub struct RawMode(u64);

impl RawMode {
    /// Makes `input` raw for reading and `output` raw for writing; they are usually the same terminal.
    /// What is no terminal is left alone.
    pub fn enter(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<RawMode> {
        HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                previous(info);
            }));
        });
        let guard = RawMode(GUARDS.fetch_add(1, Ordering::Relaxed));
        change(guard.0, input, |raw, before| raw.output_modes = before.output_modes)?;
        change(guard.0, output, |raw, before| {
            raw.input_modes = before.input_modes;
            raw.local_modes = before.local_modes;
            raw.special_codes = before.special_codes.clone();
        })?;
        Ok(guard)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore_if(|saved| saved.guard == self.0);
    }
}

/// Makes `fd` raw but for what `keep` copies back from the state before.
fn change(guard: u64, fd: BorrowedFd<'_>, keep: impl FnOnce(&mut Termios, &Termios)) -> io::Result<()> {
    if !is_tty(fd) {
        return Ok(());
    }
    let before = rustix::termios::tcgetattr(fd)?;
    let mut raw = before.clone();
    raw.make_raw();
    keep(&mut raw, &before);
    let saved = Saved { guard, fd: rustix::io::fcntl_dupfd_cloexec(fd, 3)?, before };
    SAVED.lock().unwrap_or_else(PoisonError::into_inner).push(saved);
    rustix::termios::tcsetattr(fd, OptionalActions::Now, &raw)
}

/// Puts back every terminal that a [`RawMode`] changed, the last one first. Harmless when there is nothing to do.
pub fn restore() {
    restore_if(|_| true);
}

fn restore_if(mine: impl Fn(&Saved) -> bool) {
    let mut all = SAVED.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(at) = all.iter().rposition(&mine) {
        let Saved { fd, before, .. } = all.remove(at);
        // A terminal that has hung up cannot be put back, and need not.
        let _ = rustix::termios::tcsetattr(&fd, OptionalActions::Now, &before);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::MutexGuard;

    use super::*;
    use crate::pty::Pty;
    use rustix::fs::{CWD, Mode, OFlags};
    use rustix::termios::{InputModes, LocalModes, OutputModes, tcgetattr};

    fn pty() -> Pty {
        let dir = rustix::fs::openat(CWD, "/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Pty::open(dir.as_fd()).unwrap()
    }

    /// A panic restores all terminals of the process, and `cargo test` runs tests as threads.
    pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
        static LOCK: Mutex<()> = Mutex::new(());
        LOCK.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn raw_and_back() {
        let _one = one_at_a_time();
        let tty = pty();
        let modes = |t: &Termios| (t.input_modes, t.output_modes, t.local_modes);
        let before = tcgetattr(&tty.slave).unwrap();
        assert!(before.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));

        let guard = RawMode::enter(tty.slave.as_fd(), tty.slave.as_fd()).unwrap();
        let raw = tcgetattr(&tty.slave).unwrap();
        assert!(!raw.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        assert!(!raw.output_modes.contains(OutputModes::OPOST));
        assert!(!raw.input_modes.contains(InputModes::ICRNL));
        drop(guard);
        assert_eq!(modes(&tcgetattr(&tty.slave).unwrap()), modes(&before));

        let (input, output) = (pty(), pty());
        let guard = RawMode::enter(input.slave.as_fd(), output.slave.as_fd()).unwrap();
        assert!(tcgetattr(&input.slave).unwrap().output_modes.contains(OutputModes::OPOST));
        assert!(tcgetattr(&output.slave).unwrap().local_modes.contains(LocalModes::ECHO));
        assert!(!tcgetattr(&output.slave).unwrap().output_modes.contains(OutputModes::OPOST));
        drop(guard);

        let guard = RawMode::enter(tty.slave.as_fd(), tty.slave.as_fd()).unwrap();
        let caught = std::panic::catch_unwind(|| panic!("expected by this test"));
        assert!(caught.is_err());
        assert_eq!(modes(&tcgetattr(&tty.slave).unwrap()), modes(&before), "the hook restores");
        drop(guard);

        let null = std::fs::File::open("/dev/null").unwrap();
        drop(RawMode::enter(null.as_fd(), null.as_fd()).unwrap());
        assert!(!is_tty(&null) && size(&null).is_none());
    }
}
