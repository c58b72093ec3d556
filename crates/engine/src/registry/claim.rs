//! Owning a machine's name: the lock, the state file, the undo journal.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use hostel_spec::MachineName;
use hostel_sys::seccomp::Insn;
use hostel_sys::tree::{Lock, try_lock};

use super::identity::boot_id;
use super::recover::{Report, is_pending, take_back};
use super::remove::empty_but;
use super::undo::{Journal, Undo};
use super::{FILTER, LOCK, MachineState, Registry, RegistryError, Result, STATE, STATE_NEW, UNDO, UNDO_NEW, failed, open_directory};

/// The right to run the machine of a name; it ends when the last copy of its lock descriptor is closed.
///
/// Dropping it leaves the directory as that of a dead machine, which the next start or `hostel clean` clears.
#[derive(Debug)]
pub struct Claim {
    name: MachineName,
    path: PathBuf,
    state: PathBuf,
    machines: OwnedFd,
    dir: OwnedFd,
    lock: OwnedFd,
    journal: Option<OwnedFd>,
    recovered: Option<Report>,
    /// Descriptors for taking everything back when there are no others left.
    spare: Vec<OwnedFd>,
}

/// What taking back opens at a time.
const SPARE: usize = 3;

/// Whether a directory that is missing is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    Yes,
    No,
}

/// How often a directory may vanish under us before we believe that something is wrong.
const TRIES: usize = 64;

pub(super) fn take(registry: &Registry, name: &MachineName, make: Make) -> Result<Option<Claim>> {
    let path = registry.path_of(name);
    for _ in 0..TRIES {
        let fresh = match make {
            Make::No => false,
            Make::Yes => match rustix::fs::mkdirat(&registry.machines, name.as_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(failed("make directory", &path, error)),
            },
        };
        let dir = match open_directory(registry.machines.as_fd(), name.as_str(), &path, registry.owner) {
            Ok(dir) => Ok(dir),
            Err(RegistryError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => match make {
                // Its owner removed it between our two calls.
                Make::Yes => continue,
                Make::No => return Ok(None),
            },
            Err(other) => Err(other),
        };
        match dir.and_then(|dir| move_in(registry, name, &path, dir, fresh)) {
            Ok(Some(claim)) => return Ok(Some(claim)),
            Ok(None) => {}
            Err(error) => {
                if fresh {
                    // Where somebody else has moved in meanwhile it is not empty, and stays.
                    let _ = rustix::fs::unlinkat(&registry.machines, name.as_str(), AtFlags::REMOVEDIR);
                }
                return Err(error);
            }
        }
    }
    Err(failed("lock", &path, std::io::Error::from(std::io::ErrorKind::ResourceBusy)))
}

/// Makes the directory ours; `None` when it was removed meanwhile. An error leaves nothing in a directory we made.
fn move_in(registry: &Registry, name: &MachineName, path: &std::path::Path, dir: OwnedFd, fresh: bool) -> Result<Option<Claim>> {
    let copy = || rustix::io::fcntl_dupfd_cloexec(&registry.machines, 3).map_err(|e| failed("open", &registry.root, e));
    let machines = copy()?;
    let spare = (0..SPARE).map(|_| copy()).collect::<Result<Vec<_>>>()?;
    let Some(lock) = take_lock(dir.as_fd(), name, path)? else { return Ok(None) };
    let mut claim = Claim {
        name: name.clone(),
        path: path.to_path_buf(),
        state: registry.root.clone(),
        machines,
        dir,
        lock,
        journal: None,
        recovered: None,
        spare,
    };
    match claim.recover(fresh).and_then(|()| claim.record_owner()) {
        Ok(()) => Ok(Some(claim)),
        Err(error) => {
            if fresh {
                let _ = rustix::fs::unlinkat(&claim.dir, LOCK, AtFlags::empty());
            }
            Err(error)
        }
    }
}

/// Locks the directory's lock file; `None` when it was removed meanwhile.
fn take_lock(dir: BorrowedFd<'_>, name: &MachineName, path: &std::path::Path) -> Result<Option<OwnedFd>> {
    let file = path.join("lock");
    // Nobody but the owner may open it: who can open a file can hold a lock on it.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = match rustix::fs::openat(dir, LOCK, flags, Mode::from_raw_mode(0o600)) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(RegistryError::Unsafe { path: file, why: "it is a symbolic link" }),
        Err(error) => return Err(failed("open", &file, error)),
    };
    if !try_lock(lock.as_fd(), Lock::Exclusive).map_err(|e| failed("lock", &file, e))? {
        return Err(RegistryError::Busy { name: name.clone(), pid: read_owner(lock.as_fd()) });
    }
    // A directory with a linked file in it cannot be removed: if the lock file is still there, so is the directory.
    let stat = rustix::fs::fstat(&lock).map_err(|e| failed("look at", &file, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(RegistryError::Unsafe { path: file, why: "it is not a regular file" });
    }
    Ok((stat.st_nlink > 0).then_some(lock))
}

/// The process number in a lock file.
pub(super) fn read_owner(lock: BorrowedFd<'_>) -> Option<i32> {
    let mut buffer = [0u8; 16];
    let length = rustix::io::pread(lock, &mut buffer, 0).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
}

impl Claim {
    /// The machine's name.
    pub fn name(&self) -> &MachineName {
        &self.name
    }

    /// Its directory, for messages and for handing to tools.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The state directory it is registered in.
    pub fn root(&self) -> &std::path::Path {
        &self.state
    }

    /// Its directory (`O_PATH`): where the control socket and the console log go.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// What was left by a dead machine of this name and has been taken back; `None`: nothing was there.
    pub fn recovered(&self) -> Option<&Report> {
        self.recovered.as_ref()
    }

    /// Says that this process is the owner: after a fork, the child that goes on.
    pub fn record_owner(&self) -> Result<()> {
        // Of fixed width, so that a longer number never shows behind a shorter one.
        let text = format!("{:<11}\n", rustix::process::getpid().as_raw_nonzero());
        match rustix::io::pwrite(&self.lock, text.as_bytes(), 0) {
            Ok(_) => Ok(()),
            Err(error) => Err(failed("write", &self.path.join("lock"), error)),
        }
    }

    /// Writes down how to take back what is about to be done. When this fails, do not do it.
    pub fn journal(&mut self, record: &Undo) -> Result<()> {
        self.journal_all(std::slice::from_ref(record))
    }

    /// The same for several records with one write.
    pub fn journal_all(&mut self, records: &[Undo]) -> Result<()> {
        let path = self.path.join("undo");
        let mut text = Vec::with_capacity(64 + records.len() * 96);
        let file = match &self.journal {
            Some(file) => file,
            None => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&self.dir, UNDO, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed("open", &path, e))?;
                text.extend(Undo::Boot { id: boot_id().map_err(|e| failed("read boot id for", &path, e))? }.to_line());
                &*self.journal.insert(file)
            }
        };
        for record in records {
            if let Err(refused) = record.check(&self.state) {
                // Better refused now than when it is needed.
                return Err(failed("write", &path, std::io::Error::new(std::io::ErrorKind::InvalidInput, refused.to_string())));
            }
            text.extend(record.to_line());
        }
        write_all(file.as_fd(), &text).map_err(|e| failed("write", &path, e))
    }

    /// Leaves out of the journal what is gone and what it says twice, so that it does not grow with every life of a machine.
    /// Whoever reads it, at any moment, finds the old one or the new one; after an error it is as it was.
    pub fn compact(&mut self) -> Result<()> {
        let Some(mut journal) = self.read_journal() else { return Ok(()) };
        let before = journal.records.len();
        journal.records.retain(is_pending);
        // The last of its kind stays: what was done later is taken back earlier.
        let all = std::mem::take(&mut journal.records);
        for (n, record) in all.iter().enumerate() {
            if !all[n + 1..].contains(record) {
                journal.records.push(record.clone());
            }
        }
        let (true, Some(id), 0) = (journal.records.len() < before, journal.boot, journal.damaged) else { return Ok(()) };
        let mut text = Undo::Boot { id }.to_line();
        text.extend(journal.records.iter().flat_map(Undo::to_line));
        let done = rewrite(self.dir.as_fd(), UNDO_NEW, UNDO, &text);
        self.journal = Some(done.map_err(|e| failed("write", &self.path.join("undo"), e))?);
        Ok(())
    }

    /// Takes back everything in the journal: the end of a start that failed. What worked is forgotten, so it may be
    /// called again.
    pub fn undo_all(&mut self) -> Report {
        self.spare.clear();
        let Some(journal) = self.read_journal() else { return Report::default() };
        let report = take_back(&journal, &self.state, &self.name);
        if report.failures.is_empty() {
            self.forget();
        }
        report
    }

    /// Empties the journal: every step has been taken back by its own undo.
    pub fn forget(&mut self) {
        self.journal = None;
        // When it cannot be removed its records are taken back once more, which is harmless.
        let _ = rustix::fs::unlinkat(&self.dir, UNDO, AtFlags::empty());
    }

    /// The programs that take something back, in the order they are to be run: the last of those with the same words.
    pub(crate) fn programs(&self) -> Vec<Undo> {
        let mut out: Vec<Undo> = Vec::new();
        let words_of = |record: &Undo| if let Undo::Program { words, .. } = record { Some(words.clone()) } else { None };
        for record in self.journal.iter().filter_map(|_| self.read_journal()).flat_map(|j| j.records).rev() {
            if words_of(&record).is_some_and(|words| !out.iter().any(|known| words_of(known).as_ref() == Some(&words))) {
                out.push(record);
            }
        }
        out
    }

    fn read_journal(&self) -> Option<Journal> {
        read_file(self.dir.as_fd(), UNDO).ok().flatten().map(|text| Journal::parse(&text))
    }

    /// Clears away a dead machine's files, after having taken back what its journal says.
    ///
    /// `fresh`: we made the directory. Even so another may have held the lock, and died, before we had it.
    fn recover(&mut self, fresh: bool) -> Result<()> {
        let path = self.path.clone();
        let journal = self.read_journal();
        let state = read_file(self.dir.as_fd(), STATE).map_err(|e| failed("read", &path.join("state.json"), e))?;
        if journal.is_none() && state.is_none() {
            if fresh {
                return Ok(());
            }
            return empty_but(self.dir.as_fd(), LOCK).map_err(|e| failed("empty", &path, e));
        }
        let mut journal = journal.unwrap_or_default();
        add_leader_of(state.as_deref(), &self.name, &mut journal);
        let report = take_back(&journal, &self.state, &self.name);
        if !report.failures.is_empty() {
            return Err(RegistryError::Remains { name: self.name.clone(), failures: report.failures });
        }
        empty_but(self.dir.as_fd(), LOCK).map_err(|e| failed("empty", &path, e))?;
        self.recovered = Some(report);
        Ok(())
    }

    /// Replaces the state file: readers see the old text or the new one.
    pub fn write_state(&self, state: &MachineState) -> Result<()> {
        let path = self.path.join("state.json");
        let done = replace(self.dir.as_fd(), STATE_NEW, STATE, &state.to_text(), 0o644);
        done.map_err(|e| failed("write", &path, e))
    }

    /// Writes the system call filter for processes that enter later.
    pub fn write_filter(&self, program: &[Insn]) -> Result<()> {
        let mut bytes = Vec::with_capacity(program.len() * 8);
        for insn in program {
            bytes.extend_from_slice(&insn.code.to_ne_bytes());
            bytes.extend_from_slice(&[insn.jt, insn.jf]);
            bytes.extend_from_slice(&insn.k.to_ne_bytes());
        }
        let done = replace(self.dir.as_fd(), c".#hostel-filter", FILTER, &bytes, 0o600);
        done.map_err(|e| failed("write", &self.path.join("filter"), e))
    }

    /// The machine has ended and everything was taken back: removes the directory and gives up the name.
    pub fn release(mut self) -> Result<()> {
        self.spare.clear();
        let failed = |e| failed("remove", &self.path, e);
        empty_but(self.dir.as_fd(), LOCK).map_err(failed)?;
        // The lock goes last: until then nobody else can take the name.
        match rustix::fs::unlinkat(&self.dir, LOCK, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error)),
        }
        match rustix::fs::unlinkat(&self.machines, self.name.as_str(), AtFlags::REMOVEDIR) {
            // Not empty: the next start of this name has already moved in.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Kernel truth from the state file: its leader is killed even if the journal lost it.
fn add_leader_of(state: Option<&[u8]>, name: &MachineName, journal: &mut Journal) {
    let Some(Ok(state)) = state.map(|text| MachineState::parse(text, name)) else { return };
    let this_boot = boot_id().is_ok_and(|id| id == state.boot_id);
    let Some(process) = state.leader.filter(|_| this_boot) else { return };
    let record = Undo::Leader { process };
    if !journal.records.contains(&record) {
        // Last written, first taken back: the process before its cgroup.
        journal.records.push(record);
    }
}

/// Replaces a file that is appended to, and returns the new one, open for that.
fn rewrite(dir: BorrowedFd<'_>, temporary: &CStr, name: &CStr, bytes: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, temporary, flags, Mode::from_raw_mode(0o600))?;
    write_all(file.as_fd(), bytes)?;
    rustix::fs::renameat(dir, temporary, dir, name)?;
    Ok(file)
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> std::result::Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn replace(dir: BorrowedFd<'_>, temporary: &CStr, name: &CStr, bytes: &[u8], mode: u32) -> std::result::Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, temporary, flags, Mode::from_raw_mode(mode))?;
    write_all(file.as_fd(), bytes)?;
    rustix::fs::renameat(dir, temporary, dir, name)
}

/// Reads a regular file of a machine's directory, at most 1 MiB and one byte; `None` when it is missing.
pub(super) fn read_file(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<Option<Vec<u8>>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut out = vec![0; 4096];
    let mut length = 0;
    loop {
        if length == out.len() {
            if length > super::state::MAX_BYTES {
                break;
            }
            out.resize(length * 2, 0);
        }
        match rustix::io::read(&file, &mut out[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    out.truncate(length);
    Ok(Some(out))
}
