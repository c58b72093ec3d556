//! Mount units: what is mounted here, by this manager or by others; the kernel's table says which.
//!
//! ```text
//!  dead ─► mounting ─► mounted ─► unmounting ─► dead        a process mounts, since some file systems take their time;
//!              └► failed ◄────────────┘                     the table is looked at when the kernel says that it changed
//! ```

mod act;
mod life;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hostel_unit::{Gather as _, Span, unescape_path};
use rustix::event::epoll;

use super::state::{Active, Outcome};
use crate::load::Unit;
use crate::value::Value;

const SECTION: &str = "Mount";
/// TimeoutSec= when nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Where a mount unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Dead,
    Mounting,
    Mounted,
    Remounting,
    Unmounting,
    Failed,
}

impl State {
    /// As SubState.
    pub fn word(self) -> &'static str {
        match self {
            State::Dead => "dead",
            State::Mounting => "mounting",
            State::Mounted => "mounted",
            State::Remounting => "remounting",
            State::Unmounting => "unmounting",
            State::Failed => "failed",
        }
    }

    /// What that is for other units.
    pub fn active(self) -> Active {
        match self {
            State::Dead => Active::Inactive,
            State::Mounting => Active::Activating,
            State::Mounted => Active::Active,
            State::Remounting => Active::Reloading,
            State::Unmounting => Active::Deactivating,
            State::Failed => Active::Failed,
        }
    }
}

/// What a mount unit's settings ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What=; empty: the unit has no file, and is only looked at.
    pub what: String,
    /// Where=
    pub place: String,
    /// Type=
    pub kind: String,
    /// Options=
    pub options: Vec<String>,
    /// DirectoryMode=
    pub mode: u32,
    /// SloppyOptions=
    pub sloppy: bool,
    /// LazyUnmount=
    pub lazy: bool,
    /// ForceUnmount=
    pub force: bool,
    /// ReadWriteOnly=
    pub writable_only: bool,
    /// TimeoutSec=
    pub timeout: Option<Duration>,
}

impl Config {
    /// Reads the settings of a unit.
    pub fn of(unit: &Unit) -> Config {
        let s = &unit.settings;
        let text = |key: &str| s.text(SECTION, key).unwrap_or_default().to_owned();
        let options = s.of(SECTION, "Options").flat_map(|setting| if let Value::Text(text) = &setting.value { text.as_str() } else { "" }.split(','));
        let span = s.text(SECTION, "TimeoutSec").and_then(|text| hostel_unit::time_span(text, hostel_unit::TimeUnit::Seconds).ok());
        Config {
            what: text("What"),
            place: unescape_path(unit.name.stem()).unwrap_or_default(),
            kind: text("Type"),
            options: options.filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            mode: if let Some(Value::FileMode(mode)) = s.last(SECTION, "DirectoryMode") { *mode } else { 0o755 },
            sloppy: s.bool(SECTION, "SloppyOptions", false),
            lazy: s.bool(SECTION, "LazyUnmount", false),
            force: s.bool(SECTION, "ForceUnmount", false),
            writable_only: s.bool(SECTION, "ReadWriteOnly", false),
            timeout: match span {
                Some(Span::Micros(0) | Span::Infinity) => None,
                Some(Span::Micros(micros)) => Some(Duration::from_micros(micros)),
                None => Some(TIMEOUT),
            },
        }
    }
}

/// A mount unit.
#[derive(Debug)]
pub struct MountUnit {
    /// What it is to be.
    pub config: Config,
    /// Where it is.
    pub state: State,
    /// How it went.
    pub result: Outcome,
    /// The process that mounts or unmounts.
    pub control: Option<i32>,
    /// Until when it may.
    pub deadline: Option<Instant>,
    /// This manager mounted it: it is undone at the end.
    pub is_ours: bool,
    /// How often it was unmounted in this stop: there may be several on each other.
    rounds: u32,
}

impl MountUnit {
    /// One as it is now.
    pub fn new(unit: &Unit) -> MountUnit {
        let config = Config::of(unit);
        let state = if super::condition::is_mount_point(&config.place) { State::Mounted } else { State::Dead };
        MountUnit { config, state, result: Outcome::Success, control: None, deadline: None, is_ours: false, rounds: 0 }
    }

    /// Forgets a failure.
    pub fn reset_failed(&mut self) {
        self.result = Outcome::Success;
        if self.state == State::Failed {
            self.state = State::Dead;
        }
    }
}

/// Tells when the kernel's table of mounts changes.
#[derive(Debug)]
pub struct Table {
    /// Readable when that is so: the table itself is always readable, and is waited for in a set of its own.
    changes: OwnedFd,
    _table: OwnedFd,
}

impl AsFd for Table {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.changes.as_fd()
    }
}

impl Table {
    /// Begins to watch it.
    pub fn watch() -> std::io::Result<Table> {
        let table = rustix::fs::open("/proc/self/mountinfo", rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
        let changes = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&changes, &table, epoll::EventData::new_u64(0), epoll::EventFlags::PRI)?;
        let found = Table { changes, _table: table };
        found.take();
        Ok(found)
    }

    /// What changed until now is known.
    pub fn take(&self) {
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let _ =
            epoll::wait(&self.changes, &mut [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }][..], Some(&now));
    }
}

/// Every place where something is mounted. A name may be any bytes: what is no text is so of its own line only.
pub(super) fn points() -> std::io::Result<std::collections::BTreeSet<String>> {
    Ok(points_of(&table()?).gather())
}

/// What the kernel says of all mounts, read in one piece: it tells no size, by which `fs::read` would begin with 32 bytes.
pub(super) fn table() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(16 << 10);
    std::io::Read::read_to_end(&mut std::fs::File::open("/proc/self/mountinfo")?, &mut bytes)?;
    Ok(bytes)
}

pub(super) fn points_of(table: &[u8]) -> impl Iterator<Item = String> {
    let fields = table.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4));
    fields.map(crate::fstab::unescape_bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_that_is_no_text_hides_no_other() {
        let table = b"1 2 0:1 / / rw - tmpfs x rw\n3 1 0:2 / /srv/\xff\\040b rw - tmpfs x rw\n4 1 0:3 / /srv/a\\040b rw - tmpfs x rw\n";
        let found: Vec<String> = super::points_of(table).collect();
        assert_eq!(found, ["/", "/srv/\u{fffd} b", "/srv/a b"]);
        assert!(super::points().unwrap().contains("/"));
    }
}
