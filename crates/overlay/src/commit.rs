//! A machine's changes made to what it lies over: the host, or a tree.
//!
//! What will be replaced is first copied into an *undo archive*, a directory `N/` with `journal`, `state` and `old/`. Only
//! when archive and journal are on the disk the first file changes. Every step can be done again, so a commit that was
//! interrupted is finished, or taken back, by doing all steps of it again:
//!
//! ```text
//! archiving ──► applying ──► applied ──► undoing ──► (removed)
//!     │             └─────── rollback ─────▲
//!     └► (removed: nothing was changed)
//! ```
//!
//! New directories come first, then files (beside their place, then renamed), then what is deleted; the times and modes of
//! directories last.

mod apply;
mod archive;
mod conflict;
pub(crate) mod plan;
mod undo;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use hostel_image::{Cause, Result};
use hostel_spec::{Arrange as _, OsText};
use hostel_sys::tree::{Lock, try_lock};
use serde::{Deserialize, Serialize};

pub use conflict::{Conflict, conflicts};

use crate::{Change, Layer, On};

/// Where undo archives of this host are.
pub const UNDO: &str = "/var/lib/hostel/undo";

/// What is done to one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Act {
    /// A new directory.
    MakeDir,
    /// A new file, or a new one in the place of an old.
    Put,
    /// It goes.
    Delete,
    /// Mode, owner, attributes and times of a directory.
    Dress,
}

/// What was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Old {
    /// Nothing.
    Nothing,
    /// A directory; its attributes are in the archive.
    Directory,
    /// Something else, which is in the archive.
    Entry,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Op {
    pub(crate) act: Act,
    pub(crate) layer: usize,
    /// Below the top of the layer.
    pub(crate) path: OsText,
    pub(crate) old: Old,
    /// The step whose file this is another name of.
    pub(crate) link: Option<usize>,
    /// The step whose old file this was another name of.
    pub(crate) old_link: Option<usize>,
}

impl Op {
    pub(crate) fn path(&self) -> &Path {
        Path::new(self.path.as_os_str())
    }
}

/// All of a commit.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// Whose changes they are.
    machine: String,
    /// What it lies over.
    lower: OsText,
    /// Places of its layers.
    layers: Vec<OsText>,
    pub(crate) ops: Vec<Op>,
}

/// How far a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was changed yet.
    Archiving,
    /// Some files may be new, others old.
    Applying,
    /// All is done since this time (seconds, nanoseconds).
    Applied(i64, i64),
    /// It is being taken back.
    Undoing,
}

/// The directory of undo archives, held: one commit or undo at a time.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Held; in it is the last number that was given.
    lock: File,
}

/// One commit, finished or not.
#[derive(Debug)]
pub struct Record {
    /// Its number.
    pub id: String,
    /// How far it is.
    pub state: State,
    path: PathBuf,
    journal: Option<Journal>,
}

impl Record {
    /// Whose changes these are; none while nothing had been changed.
    pub fn machine(&self) -> Option<&str> {
        self.journal.as_ref().map(|j| j.machine.as_str())
    }

    /// What was changed.
    pub fn lower(&self) -> Option<&Path> {
        self.journal.as_ref().map(|j| Path::new(j.lower.as_os_str()))
    }

    /// Where its layers are in the machine.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        self.journal.iter().flat_map(|j| &j.layers).map(|at| Path::new(at.as_os_str()))
    }

    /// How many entries it changed; attributes of directories do not count.
    pub fn entries(&self) -> usize {
        self.journal.as_ref().map_or(0, |j| j.ops.iter().filter(|op| op.act != Act::Dress).count())
    }
}

impl Store {
    /// Opens the store at `path` (made when missing), alone.
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).on("make directory", path)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).on("protect", path)?;
        let file = path.join("lock");
        let lock = File::options().create(true).truncate(false).read(true).write(true).open(&file).on("open", &file)?;
        if !try_lock(lock.as_fd(), Lock::Exclusive).on("lock", &file)? {
            return Err(Cause::Busy { holder: None }.on("lock", path));
        }
        Ok(Self { path: path.to_owned(), lock })
    }

    /// A number that no commit ever had: `hostel undo N` means the same for ever.
    fn next_number(&self) -> Result<u64> {
        use std::os::unix::fs::FileExt;
        let mut text = [0u8; 20];
        let read = self.lock.read_at(&mut text, 0).on("read", &self.path.join("lock"))?;
        let given = std::str::from_utf8(&text[..read]).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
        let number = numbers(&self.path)?.last().map_or(given, |last| given.max(*last)) + 1;
        let written = self.lock.write_all_at(number.to_string().as_bytes(), 0).and_then(|()| self.lock.sync_data());
        written.on("write", &self.path.join("lock"))?;
        Ok(number)
    }

    /// All commits, oldest first. What was left of one that had changed nothing is removed.
    pub fn records(&self) -> Result<Vec<Record>> {
        let mut out = Vec::new();
        for number in numbers(&self.path)? {
            let path = self.path.join(number.to_string());
            match read_state(&path)? {
                None | Some(State::Archiving) => hostel_image::remove::remove_tree(&path)?,
                Some(state) => out.push(Record { id: number.to_string(), state, journal: Some(read_journal(&path)?), path }),
            }
        }
        Ok(out)
    }

    /// The commit that was interrupted, if one was.
    pub fn unfinished(&self) -> Result<Option<Record>> {
        Ok(self.records()?.into_iter().find(|r| matches!(r.state, State::Applying | State::Undoing)))
    }

    /// Makes `changes` of the machine `machine` to what its `layers` lie over. When something fails all is taken back.
    pub fn commit(&self, machine: &str, lower: &Path, layers: &[Layer], changes: &[Change]) -> Result<Record> {
        let ops = plan::plan(layers, changes)?;
        let number = self.next_number()?;
        let path = self.path.join(number.to_string());
        let places = layers.iter().map(|l| l.at.clone().into_os_string().into()).collect();
        let journal = Journal { machine: machine.to_owned(), lower: lower.as_os_str().into(), layers: places, ops };
        let mut record = Record { id: number.to_string(), state: State::Archiving, path, journal: None };
        let archived = archive::write(&mut record, journal, layers);
        if let Err(error) = archived {
            // What cannot be removed now is at the next look.
            let _ = hostel_image::remove::remove_tree(&record.path);
            return Err(error);
        }
        match self.resume(&mut record, layers) {
            Ok(()) => Ok(record),
            Err(error) => match self.take_back(&mut record, layers) {
                Ok(()) => Err(error),
                // Both are told: it stays unfinished.
                Err(other) => Err(Cause::Said(format!("{}; and it could not be taken back: {other}", error.cause)).on(error.verb, &error.object)),
            },
        }
    }

    /// Finishes a commit that was interrupted.
    pub fn resume(&self, record: &mut Record, layers: &[Layer]) -> Result<()> {
        let Some(journal) = &record.journal else { return Ok(()) };
        apply::apply(&record.id, journal, layers)?;
        sync(layers)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        set_state(record, State::Applied(now.as_secs() as i64, i64::from(now.subsec_nanos())))
    }

    /// What the host has changed since the commit of what it changed.
    pub fn changed_since(&self, record: &Record, layers: &[Layer]) -> Result<Vec<Conflict>> {
        let (Some(journal), State::Applied(seconds, nanoseconds)) = (&record.journal, record.state) else { return Ok(Vec::new()) };
        conflict::since(journal, layers, (seconds, nanoseconds))
    }

    /// Makes everything as it was before the commit, and forgets it.
    pub fn take_back(&self, record: &mut Record, layers: &[Layer]) -> Result<()> {
        set_state(record, State::Undoing)?;
        if let Some(journal) = &record.journal {
            undo::undo(&record.id, journal, &record.path.join("old"), layers)?;
        }
        sync(layers)?;
        self.forget(record)
    }

    /// Removes the archive: this commit cannot be taken back any more.
    pub fn forget(&self, record: &Record) -> Result<()> {
        hostel_image::remove::remove_tree(&record.path)
    }
}

/// Numbers of all commits in the store at `path`, in their order.
fn numbers(path: &Path) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(path).on("list", path)? {
        let entry = entry.on("list", path)?;
        numbers.extend(entry.file_name().to_str().and_then(|n| n.parse::<u64>().ok()));
    }
    numbers.arrange();
    Ok(numbers)
}

/// The number of a commit of `machine` that is half done, in the store at `path`. Looks only, also while somebody holds the store.
pub fn half_done(path: &Path, machine: &str) -> Result<Option<u64>> {
    if !path.exists() {
        return Ok(None);
    }
    for number in numbers(path)? {
        let record = path.join(number.to_string());
        if matches!(read_state(&record)?, Some(State::Applying | State::Undoing)) && read_journal(&record)?.machine == machine {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn read_journal(record: &Path) -> Result<Journal> {
    let file = record.join("journal");
    let text = std::fs::read(&file).on("read", &file)?;
    serde_json::from_slice(&text).map_err(|e| Cause::Said(format!("it is damaged ({e})"))).on("read", &file)
}

fn sync(layers: &[Layer]) -> Result<()> {
    crate::entry::step()
        .and_then(|()| layers.iter().try_for_each(|layer| Ok(rustix::fs::syncfs(layer.lower())?)))
        .on("write", Path::new("the file system"))
}

fn read_state(path: &Path) -> Result<Option<State>> {
    let file = path.join("state");
    let text = match std::fs::read_to_string(&file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.on("read", &file)?,
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let state = match words[..] {
        ["archiving"] => Some(State::Archiving),
        ["applying"] => Some(State::Applying),
        ["undoing"] => Some(State::Undoing),
        ["applied", seconds, nanoseconds] => seconds.parse().ok().zip(nanoseconds.parse().ok()).map(|(s, n)| State::Applied(s, n)),
        _ => None,
    };
    state.map(Some).ok_or(Cause::Why("it is damaged")).on("read", &file)
}

/// On the disk when it returns.
fn set_state(record: &mut Record, state: State) -> Result<()> {
    let text = match state {
        State::Archiving => "archiving\n".to_owned(),
        State::Applying => "applying\n".to_owned(),
        State::Undoing => "undoing\n".to_owned(),
        State::Applied(seconds, nanoseconds) => format!("applied {seconds} {nanoseconds}\n"),
    };
    crate::entry::step().on("write", &record.path)?;
    let dir = hostel_image::open::directory(&record.path)?;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    hostel_image::inroot::replace(dir.as_fd(), Path::new("state"), text.as_bytes(), mode, hostel_image::inroot::Durable::Yes)
        .on("write", &record.path.join("state"))?;
    record.state = state;
    Ok(())
}
