//! Path units: files and directories are looked at, and their unit is started when there is something in them.
//!
//! The kernel tells of changes (inotify) on the path itself and on the directories above it, as far as they are there; what it
//! does not tell of is not looked at, so nothing is polled.

mod life;
mod watch;

use std::time::Duration;

use hostel_unit::{Kind, Span, UnitName};

pub use watch::Watch;

use super::exits::StartLimit;
use super::state::{Active, Outcome};
use crate::load::Unit;
use crate::value::Value;

const SECTION: &str = "Path";

/// What it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Wish {
    Exists,
    ExistsGlob,
    Changed,
    Modified,
    NotEmpty,
}

impl Wish {
    const ALL: [(Wish, &'static str); 5] = [
        (Wish::Exists, "PathExists"),
        (Wish::ExistsGlob, "PathExistsGlob"),
        (Wish::Changed, "PathChanged"),
        (Wish::Modified, "PathModified"),
        (Wish::NotEmpty, "DirectoryNotEmpty"),
    ];

    /// Its key.
    pub fn key(self) -> &'static str {
        Wish::ALL.iter().find(|(wish, _)| *wish == self).map_or("", |(_, key)| key)
    }
}

/// One path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// What about it.
    pub wish: Wish,
    /// Which.
    pub path: String,
    /// Whether it was there when it was looked at last.
    pub was_there: bool,
}

impl Spot {
    /// Whether what is waited for is the case.
    fn is_met(&mut self, first: bool, after_unit: bool) -> bool {
        match self.wish {
            Wish::Exists => std::path::Path::new(&self.path).exists(),
            Wish::ExistsGlob => super::condition::glob(&self.path),
            Wish::NotEmpty => std::fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_some()),
            Wish::Changed | Wish::Modified => {
                let is_there = std::path::Path::new(&self.path).exists();
                let changed = !first && !after_unit && is_there != self.was_there;
                self.was_there = is_there;
                changed
            }
        }
    }
}

/// Where a path unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Dead,
    Waiting,
    Running,
    Failed,
}

impl State {
    /// As SubState.
    pub fn word(self) -> &'static str {
        match self {
            State::Dead => "dead",
            State::Waiting => "waiting",
            State::Running => "running",
            State::Failed => "failed",
        }
    }

    /// What that is for others.
    pub fn active(self) -> Active {
        match self {
            State::Dead => Active::Inactive,
            State::Failed => Active::Failed,
            State::Waiting | State::Running => Active::Active,
        }
    }
}

/// One path unit.
#[derive(Debug)]
pub struct PathUnit {
    /// Where it looks.
    pub spots: Vec<Spot>,
    /// What it starts.
    pub unit: Option<UnitName>,
    /// MakeDirectory= and DirectoryMode=
    pub make: Option<u32>,
    /// Where it is.
    pub state: State,
    /// Why it ended.
    pub result: Outcome,
    /// Starts of its unit in a window.
    pub limit: StartLimit,
    /// What tells of changes.
    pub watch: Option<Watch>,
}

impl PathUnit {
    /// One that was never started.
    pub fn new(unit: &Unit) -> PathUnit {
        let s = &unit.settings;
        let spot = |setting: &crate::load::Setting| {
            let (wish, _) = Wish::ALL.iter().find(|(_, key)| *key == setting.key)?;
            let Value::Text(path) = &setting.value else { return None };
            path.starts_with('/').then(|| Spot { wish: *wish, path: path.clone(), was_there: false })
        };
        let mode = if let Some(Value::FileMode(mode)) = s.last(SECTION, "DirectoryMode") { *mode } else { 0o755 };
        let interval = match s.last(SECTION, "TriggerLimitIntervalSec") {
            Some(Value::Span(Span::Micros(micros))) => Duration::from_micros(*micros),
            Some(Value::Span(Span::Infinity)) => Duration::MAX,
            _ => Duration::from_secs(2),
        };
        let burst = super::config::number(s, SECTION, "TriggerLimitBurst").map_or(200, |n| u32::try_from(n).unwrap_or(u32::MAX));
        PathUnit {
            spots: s.iter().filter(|s| s.section == SECTION).filter_map(spot).collect(),
            unit: s.units(SECTION, "Unit").last().map(|(name, _)| name.clone()).or_else(|| unit.name.with_kind(Kind::Service).ok()),
            make: s.bool(SECTION, "MakeDirectory", false).then_some(mode),
            state: State::Dead,
            result: Outcome::Success,
            limit: StartLimit::new(interval, burst),
            watch: None,
        }
    }
}
