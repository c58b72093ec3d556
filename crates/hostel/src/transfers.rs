//! Imports, exports and downloads while they run: a locked file each in `/run/hostel/transfers`, and how they are stopped.
//!
//! A transfer is a process of ours. Its file is locked for its life, so one of a killed process is seen to be nobody's.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hostel_engine::error::{Context, Error, Result};
use hostel_engine::registry::ProcessId;
use hostel_image::locks::Lock;
use hostel_spec::Arrange as _;
use hostel_sys::event::{SignalFd, SignalMask, block_signals};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

/// SIGHUP, SIGINT, SIGTERM.
const STOPPING: [i32; 3] = [1, 2, 15];
/// How long the work may take to undo itself before the process ends anyway; what it leaves is swept later.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often its file tells how far it is.
const EVERY: Duration = Duration::from_millis(500);

static STOP: AtomicBool = AtomicBool::new(false);

/// What a transfer's file says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    /// Its number.
    pub(crate) id: u32,
    /// Its process.
    pub(crate) process: ProcessId,
    /// The verb.
    pub(crate) verb: String,
    /// Where from.
    pub(crate) remote: String,
    /// The image.
    pub(crate) local: String,
    /// Bytes done, and to be done if that is known.
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
}

/// A transfer of this process; its file goes with it.
pub(crate) struct Transfer {
    path: PathBuf,
    file: File,
    state: Mutex<(State, Option<Instant>)>,
}

fn directory() -> PathBuf {
    crate::machine::runtime_dir().join("transfers")
}

impl Transfer {
    /// Begins one: from here on signals ask it to stop.
    pub(crate) fn begin(verb: &str, remote: &str, local: &str) -> Result<Transfer> {
        // The registry makes, and checks, the directory above.
        crate::machine::open_registry()?;
        let dir = directory();
        match std::fs::create_dir(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e).context("make directory", dir.display().to_string()),
            _ => {}
        }
        let process = ProcessId::current().context("look at", "this process")?;
        for id in 1..100_000 {
            let path = dir.join(id.to_string());
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
            let file = match rustix::fs::open(&path, flags, Mode::from_raw_mode(0o644)) {
                Err(rustix::io::Errno::EXIST) => {
                    drop_dead(&path);
                    continue;
                }
                other => File::from(other.context("make", path.display().to_string())?),
            };
            if !hostel_sys::tree::try_lock(file.as_fd(), Lock::Exclusive).context("lock", path.display().to_string())? {
                continue;
            }
            let state = State { id, process, verb: verb.into(), remote: remote.into(), local: local.into(), done: 0, total: None };
            let transfer = Transfer { path, file, state: Mutex::new((state, None)) };
            transfer.tell();
            watch_signals();
            return Ok(transfer);
        }
        Err(Error::new("begin", "transfer", "there are too many"))
    }

    /// How far it is.
    pub(crate) fn set(&self, done: u64, total: Option<u64>) {
        {
            let Ok(mut held) = self.state.lock() else { return };
            let (state, told) = &mut *held;
            let changed = (state.done, state.total) != (done, total);
            (state.done, state.total) = (done, total);
            if !changed || told.is_some_and(|at| at.elapsed() < EVERY) {
                return;
            }
            *told = Some(Instant::now());
        }
        self.tell();
    }

    fn tell(&self) {
        let Ok(held) = self.state.lock() else { return };
        let mut text = serde_json::to_vec(&held.0).unwrap_or_default();
        // In one write of always the same length: a reader sees all of one state.
        text.resize(text.len().max(2048), b' ');
        let _ = rustix::io::pwrite(&self.file, &text, 0);
    }

    /// Becomes true when it shall stop.
    pub(crate) fn stop(&self) -> &'static AtomicBool {
        &STOP
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Signals end no transfer at once: it is asked to, and undoes what it made. A second one, or too long a wait, ends it.
fn watch_signals() {
    let mask = SignalMask::of(&STOPPING);
    let (Ok(_), Ok(signals)) = (block_signals(mask), SignalFd::new(mask)) else { return };
    let watcher = move || {
        let mut since: Option<Instant> = None;
        loop {
            let wait = since.map(|at| PATIENCE.saturating_sub(at.elapsed()));
            let timeout = wait.and_then(|w| w.try_into().ok());
            let _ = rustix::event::poll(&mut [PollFd::new(&signals, PollFlags::IN)], timeout.as_ref());
            match signals.read() {
                Ok(Some(info)) if since.is_some() => std::process::exit(128 + info.signal),
                Ok(Some(_)) => {
                    STOP.store(true, Ordering::Relaxed);
                    since = Some(Instant::now());
                }
                _ if wait.is_some_and(|w| w.is_zero()) => std::process::exit(1),
                _ => {}
            }
        }
    };
    // Without a thread for it a signal waits for the end of the work.
    let _ = std::thread::Builder::new().spawn(watcher);
}

/// Removes the file of a transfer whose process is gone. Whether it was.
fn drop_dead(path: &std::path::Path) -> bool {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return false };
    hostel_sys::tree::try_lock(file.as_fd(), Lock::Exclusive).unwrap_or(false) && std::fs::remove_file(path).is_ok()
}

/// Those that run, by number.
pub(crate) fn list() -> Vec<State> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory()).into_iter().flatten().flatten() {
        let path = entry.path();
        if drop_dead(&path) {
            continue;
        }
        let text = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty()).map(File::from);
        let state = text.ok().and_then(|file| {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(file, 4096), &mut text).ok()?;
            serde_json::from_slice::<State>(&text).ok()
        });
        found.extend(state.filter(|s| s.process.is_alive()));
    }
    found.arrange_by_key(|s| s.id);
    found
}

/// Asks one to stop, and waits until it has.
pub(crate) fn cancel(id: u32) -> Result<()> {
    let what = || format!("transfer {id}");
    let state = list().into_iter().find(|s| s.id == id);
    let state = state.ok_or_else(|| Error::new("cancel", what(), "there is none").hint("`hostel list-transfers` lists them"))?;
    let Some(process) = state.process.open().context("cancel", what())? else { return Ok(()) };
    rustix::process::pidfd_send_signal(&process, rustix::process::Signal::TERM).context("cancel", what())?;
    let limit = rustix::event::Timespec { tv_sec: 2 * PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ended = rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)).context("cancel", what())?;
    if ended == 0 { Err(Error::new("cancel", what(), "it does not end")) } else { Ok(()) }
}
