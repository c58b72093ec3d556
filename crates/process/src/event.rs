//! A small epoll loop: a handful of descriptors, each under a token, with its interest declared afresh every turn.
//!
//! Level-triggered and single-threaded. Before each wait the caller says for every descriptor what it wants now
//! ([`Poller::want`]); only a *change* costs a system call. Descriptors epoll cannot watch (regular files,
//! `/dev/null`) are always ready, as poll(2) has it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::{self, Errno};

/// What to wait for on a descriptor. Hang-ups and errors are always reported while any interest is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
}

impl Interest {
    /// Nothing: the descriptor is not watched, not even for hang-up.
    pub const NONE: Interest = Interest { read: false, write: false };
    /// Readable.
    pub const READ: Interest = Interest { read: true, write: false };
    /// Writable.
    pub const WRITE: Interest = Interest { read: false, write: true };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// A descriptor is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready<T> {
    /// The token it was registered under.
    pub token: T,
    /// Reading will not block (data, end of file, or an error to pick up).
    pub read: bool,
    /// Writing will not block, or an error is to be picked up.
    pub write: bool,
}

#[derive(Debug)]
struct Source<T> {
    token: T,
    fd: RawFd,
    interest: Interest,
    /// epoll refused it with EPERM: a file that never blocks.
    always: bool,
}

const BATCH: usize = 16;

/// The loop's set of descriptors. `T` names them: small, `Copy` and comparable.
#[derive(Debug)]
pub struct Poller<T> {
    epoll: OwnedFd,
    sources: Vec<Source<T>>,
}

impl<T> AsFd for Poller<T> {
    /// Readable while one of its descriptors is ready: a loop can be a descriptor of another loop.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl<T: Copy + PartialEq> Poller<T> {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, sources: Vec::with_capacity(8) })
    }

    /// Declares what to wait for on `fd`, known as `token`, from now on. Cheap when nothing changed.
    ///
    /// A token given with another descriptor number than before drops the old one. Before a watched descriptor is
    /// closed, call [`Poller::forget`]: its number may come back as another file.
    pub fn want<Fd: AsFd>(&mut self, token: T, fd: Fd, interest: Interest) -> io::Result<()> {
        let fd = fd.as_fd();
        if let Some(at) = self.sources.iter().position(|s| s.token == token) {
            if self.sources[at].fd == fd.as_raw_fd() {
                return self.change(at, fd, interest);
            }
            self.sources.swap_remove(at);
        }
        if interest == Interest::NONE {
            return Ok(());
        }
        // Slots are found again by their token, not by epoll's data word: that carries the descriptor number.
        let data = epoll::EventData::new_u64(fd.as_raw_fd() as u64);
        let always = match epoll::add(&self.epoll, fd, data, interest.flags()) {
            Ok(()) => false,
            Err(Errno::PERM) => true,
            Err(e) => return Err(e),
        };
        self.sources.push(Source { token, fd: fd.as_raw_fd(), interest, always });
        Ok(())
    }

    fn change(&mut self, at: usize, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        let source = &mut self.sources[at];
        if source.interest == interest {
            return Ok(());
        }
        if interest == Interest::NONE {
            if !source.always {
                epoll::delete(&self.epoll, fd)?;
            }
            self.sources.swap_remove(at);
            return Ok(());
        }
        if !source.always {
            let data = epoll::EventData::new_u64(fd.as_raw_fd() as u64);
            epoll::modify(&self.epoll, fd, data, interest.flags())?;
        }
        source.interest = interest;
        Ok(())
    }

    /// Stops watching `fd`. Harmless when it was not watched.
    pub fn forget<Fd: AsFd>(&mut self, token: T, fd: Fd) {
        if let Some(at) = self.sources.iter().position(|s| s.token == token) {
            if !self.sources[at].always {
                // Only ENOENT and EBADF are possible, and both mean that it is gone already.
                let _ = epoll::delete(&self.epoll, fd.as_fd());
            }
            self.sources.swap_remove(at);
        }
    }

    /// Waits as [`Poller::wait`] does, for a long time and in little memory; that one tells afterwards what there is.
    pub fn sleep(&self, deadline: Option<Instant>) {
        let limit = deadline.map(|d| timespec_rounded_up(d.saturating_duration_since(Instant::now())));
        hostel_sys::proc::wait_without_program(self.epoll.as_fd(), limit.as_ref());
    }

    /// Waits until a descriptor is ready or `deadline` has come (`None`: no limit); gives at most 16 events.
    /// An empty answer means the deadline, or a signal handler that ran.
    pub fn wait(&mut self, deadline: Option<Instant>) -> io::Result<impl Iterator<Item = Ready<T>> + use<T>> {
        let always_ready = self.sources.iter().any(|s| s.always && s.interest != Interest::NONE);
        let timeout = if always_ready { Some(Duration::ZERO) } else { deadline.map(|d| d.saturating_duration_since(Instant::now())) };
        let timeout = timeout.map(timespec_rounded_up);
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; BATCH];
        let count = match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok(n) => n,
            Err(Errno::INTR) => 0,
            Err(e) => return Err(e),
        };
        let mut ready = [const { None }; BATCH];
        let mut filled = 0;
        for event in &events[..count] {
            let (flags, fd) = (event.flags, event.data.u64() as RawFd);
            if let Some(source) = self.sources.iter().find(|s| !s.always && s.fd == fd) {
                let broken = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
                ready[filled] = Some(Ready {
                    token: source.token,
                    read: source.interest.read && (broken || flags.contains(epoll::EventFlags::IN)),
                    write: source.interest.write && (broken || flags.contains(epoll::EventFlags::OUT)),
                });
                filled += 1;
            }
        }
        for source in self.sources.iter().filter(|s| s.always) {
            if filled < BATCH {
                ready[filled] = Some(Ready { token: source.token, read: source.interest.read, write: source.interest.write });
                filled += 1;
            }
        }
        Ok(ready.into_iter().flatten())
    }
}

/// epoll counts whole milliseconds: rounding down would wake early and spin until the deadline.
fn timespec_rounded_up(d: Duration) -> Timespec {
    let millis = d.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i64;
    Timespec { tv_sec: millis / 1000, tv_nsec: (millis % 1000) * 1_000_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
    }

    #[test]
    fn reports_what_is_wanted_only() {
        let (r, w) = pipe();
        let mut poller = Poller::new().unwrap();
        let soon = || Some(Instant::now() + Duration::from_millis(1));
        poller.want('r', &r, Interest::READ).unwrap();
        assert_eq!(poller.wait(soon()).unwrap().count(), 0);
        rustix::io::write(&w, b"x").unwrap();
        let seen: Vec<_> = poller.wait(None).unwrap().collect();
        assert_eq!(seen, [Ready { token: 'r', read: true, write: false }]);
        poller.want('r', &r, Interest::NONE).unwrap();
        assert_eq!(poller.wait(soon()).unwrap().count(), 0);
        poller.want('w', &w, Interest::WRITE).unwrap();
        assert_eq!(poller.wait(None).unwrap().next().unwrap().token, 'w');
    }

    #[test]
    fn hang_up_reads_as_readable() {
        let (r, w) = pipe();
        let mut poller = Poller::new().unwrap();
        poller.want(1, &r, Interest::READ).unwrap();
        drop(w);
        assert!(poller.wait(None).unwrap().next().unwrap().read);
    }

    #[test]
    fn files_are_always_ready() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let mut poller = Poller::new().unwrap();
        poller.want(7, &null, Interest::READ).unwrap();
        assert!(poller.wait(None).unwrap().next().unwrap().read);
        poller.forget(7, &null);
        assert_eq!(poller.wait(Some(Instant::now())).unwrap().count(), 0);
    }

    #[test]
    fn a_reused_number_is_not_mistaken() {
        let mut poller = Poller::new().unwrap();
        let (r, w) = pipe();
        rustix::io::write(&w, b"x").unwrap();
        poller.want('a', &r, Interest::READ).unwrap();
        poller.forget('a', &r);
        drop(r);
        let (r2, _w2) = pipe();
        poller.want('b', &r2, Interest::READ).unwrap();
        assert_eq!(poller.wait(Some(Instant::now())).unwrap().count(), 0);
    }

    #[test]
    fn waits_until_the_deadline() {
        let mut poller = Poller::<u8>::new().unwrap();
        let end = Instant::now() + Duration::from_micros(1500);
        assert_eq!(poller.wait(Some(end)).unwrap().count(), 0);
        assert!(Instant::now() >= end);
    }
}
