//! The calendar's clock: the next moment of an expression, and a descriptor that wakes at it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hostel_unit::zone::Zone;
use hostel_unit::{Calendar, CalendarZone};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

/// Zones that were read, by name; the empty one is the system's.
#[derive(Debug, Default)]
pub struct Zones(BTreeMap<String, Zone>);

impl Zones {
    fn of(&mut self, calendar: &Calendar) -> &Zone {
        let (name, path) = match calendar.zone() {
            CalendarZone::Utc => ("UTC".to_owned(), String::new()),
            CalendarZone::Local => (String::new(), "/etc/localtime".to_owned()),
            CalendarZone::Named(name) => (name.clone(), format!("/usr/share/zoneinfo/{name}")),
        };
        self.0.entry(name).or_insert_with(|| std::fs::read(path).ok().and_then(|bytes| Zone::parse(&bytes).ok()).unwrap_or(Zone::UTC))
    }

    /// They may have changed.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// The first moment of an expression after `from`.
pub(super) fn next(calendar: &Calendar, from: SystemTime, zones: &mut Zones) -> Option<SystemTime> {
    let micros = u64::try_from(from.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()).ok()?;
    calendar.next(micros, zones.of(calendar)).map(|micros| UNIX_EPOCH + Duration::from_micros(micros))
}

/// A timerfd of the calendar's clock.
#[derive(Debug)]
pub struct Clock {
    fd: OwnedFd,
    at: Option<SystemTime>,
}

impl AsFd for Clock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// When nothing is to come, what is waited for is only that somebody sets the clock.
const NEVER: Duration = Duration::from_secs(7_000_000_000);

impl Clock {
    /// One that is not set.
    pub fn new() -> std::io::Result<Clock> {
        let fd = rustix::time::timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Clock { fd, at: None })
    }

    /// Wakes at this moment, and when the clock is set. What it is set to already costs nothing.
    pub fn set(&mut self, at: Option<SystemTime>) -> std::io::Result<()> {
        let at = at.unwrap_or(UNIX_EPOCH + NEVER);
        if self.at == Some(at) {
            return Ok(());
        }
        // all zeros would switch it off
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().max(Duration::from_micros(1));
        let value = Timespec { tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), tv_nsec: since.subsec_nanos().into() };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        rustix::time::timerfd_settime(&self.fd, flags, &Itimerspec { it_interval: zero, it_value: value })?;
        self.at = Some(at);
        Ok(())
    }

    /// Takes what woke it; true: the clock was set.
    pub fn take(&mut self) -> bool {
        let mut buffer = [0u8; 8];
        let found = rustix::io::read(&self.fd, &mut buffer);
        self.at = None;
        found == Err(rustix::io::Errno::CANCELED)
    }
}
