//! Signals as events: the thread's signal mask and signalfd.
//!
//! Everything speaks the kernel's own 64-bit mask (bit `n - 1` is signal `n`), so that it means the same under
//! glibc and musl, whose `sigset_t` and `SIGRTMIN` differ.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{self, Errno};

/// A set of signals, as the kernel lays it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalMask(u64);

impl SignalMask {
    /// No signal.
    pub const EMPTY: SignalMask = SignalMask(0);

    /// The set of these signals (raw numbers 1…64; others are left out).
    pub const fn of(signals: &[i32]) -> SignalMask {
        let mut bits = 0;
        let mut i = 0;
        while i < signals.len() {
            if signals[i] >= 1 && signals[i] <= 64 {
                bits |= 1u64 << (signals[i] - 1);
            }
            i += 1;
        }
        SignalMask(bits)
    }
    /// Whether `signal` is in it.
    pub const fn contains(self, signal: i32) -> bool {
        signal >= 1 && signal <= 64 && self.0 & (1u64 << (signal - 1)) != 0
    }
}

fn sigprocmask(how: i32, mask: SignalMask) -> io::Result<SignalMask> {
    let mut old = 0u64;
    // SAFETY: both pointers are to live 8-byte masks, and 8 is the size passed (rt_sigprocmask(2)).
    let rc = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, std::ptr::from_ref(&mask.0), std::ptr::from_mut(&mut old), size_of::<u64>()) };
    if rc < 0 { Err(last_errno()) } else { Ok(SignalMask(old)) }
}

/// Adds `mask` to the calling thread's blocked signals; gives what was blocked before.
pub fn block_signals(mask: SignalMask) -> io::Result<SignalMask> {
    sigprocmask(libc::SIG_BLOCK, mask)
}

/// Makes `mask` the calling thread's blocked signals; gives what was blocked before.
pub fn set_blocked_signals(mask: SignalMask) -> io::Result<SignalMask> {
    sigprocmask(libc::SIG_SETMASK, mask)
}

/// One signal that arrived on a [`SignalFd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalInfo {
    /// Raw number.
    pub signal: i32,
    /// Sender's process id in our pid namespace; 0 when it is the kernel or not visible.
    pub pid: i32,
    /// Sender's user id.
    pub uid: u32,
}

/// A non-blocking signalfd(2).
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Reports the signals of `mask`; they must be blocked already ([`block_signals`]).
    pub fn new(mask: SignalMask) -> io::Result<SignalFd> {
        // SAFETY: the mask pointer is to a live 8-byte mask, and 8 is the size passed (signalfd4).
        let fd =
            unsafe { libc::syscall(libc::SYS_signalfd4, -1, std::ptr::from_ref(&mask.0), size_of::<u64>(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(last_errno());
        }
        // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// The next pending signal; `None` when there is none.
    pub fn read(&self) -> io::Result<Option<SignalInfo>> {
        // struct signalfd_siginfo is 128 bytes: u32 signo, i32 errno, i32 code, u32 pid, u32 uid, …
        let mut raw = [0u8; 128];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut raw)) {
            Ok(n) if n == raw.len() => {}
            Ok(_) => return Err(Errno::IO),
            Err(Errno::AGAIN) => return Ok(None),
            Err(e) => return Err(e),
        }
        let word = |at: usize| u32::from_ne_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        Ok(Some(SignalInfo { signal: word(0) as i32, pid: word(12) as i32, uid: word(16) }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
