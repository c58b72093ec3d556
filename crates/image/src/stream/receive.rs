//! The end that writes a tree.

use std::ffi::{CStr, CString, OsStr};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_sys::tree::openat2;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{ATTRIBUTE_MAX, DATA, DATA_END, DEPTH, DIRECTORY, END, FIFO, FILE, LINK, Meta, NAME_MAX, PIECE, TARGET_MAX, UNSIZED_MAX, UP, cut};
use crate::error::On;
use crate::{Cause, Result, partial, remove, walk};

/// The stream is not one of ours.
const DAMAGED: Cause = Cause::Why("the stream is damaged");

/// Where it goes.
#[derive(Debug)]
pub struct Target<'a> {
    /// The directory.
    pub dir: BorrowedFd<'a>,
    /// What it is called there; `None`: the directory itself gets what a directory that is sent has in it.
    pub name: Option<CString>,
    /// Files that are there are replaced.
    pub replace: bool,
    /// Files lose their set-user-id and set-group-id bits: they come from somebody who does not decide over users here.
    pub tame: bool,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Files, links, FIFOs.
    pub files: u64,
    /// Bytes of contents.
    pub bytes: u64,
    /// Entries the sender left out: devices, sockets.
    pub left_out: u64,
    /// Files that lost a set-user-id or set-group-id bit.
    pub tamed: u64,
}

/// Makes what comes from `input` at `target`. `name` is for messages.
///
/// What is new appears under its name when it is whole; a directory that is there is merged with. An error takes a new
/// directory away again.
pub fn receive(input: &mut dyn Read, target: &Target<'_>, name: &Path) -> Result<Received> {
    let mut receiver =
        Receiver { input, target, path: name.to_path_buf(), stack: Vec::new(), begun: None, done: Received::default(), buffer: Vec::new() };
    match receiver.run() {
        Ok(()) => Ok(receiver.done),
        Err(error) => {
            receiver.stack.clear();
            if let Some(begun) = receiver.begun.take()
                && let Ok(dir) = walk::subdirectory(target.dir, &begun)
            {
                // Best effort: the first error is the one to tell; the name is one that a sweep knows.
                let _ = remove::delete(target.dir, &begun, dir);
            }
            Err(error)
        }
    }
}

/// A directory that is being filled.
struct Level {
    dir: OwnedFd,
    meta: Meta,
    /// We made it: nothing is in it that we did not put there.
    fresh: bool,
}

struct Receiver<'a> {
    input: &'a mut dyn Read,
    target: &'a Target<'a>,
    path: PathBuf,
    stack: Vec<Level>,
    /// Temporary name of a new directory in the target's.
    begun: Option<CString>,
    done: Received,
    buffer: Vec<u8>,
}

type Outcome<T> = std::result::Result<T, Cause>;

impl Receiver<'_> {
    fn run(&mut self) -> Result<()> {
        let mut first = true;
        loop {
            let tag = self.byte().on("copy to", &self.path)?;
            match tag {
                END if !first && self.stack.is_empty() => {
                    self.done.left_out = self.number().on("copy to", &self.path)?;
                    return Ok(());
                }
                UP if !self.stack.is_empty() => {
                    self.finish().on("finish directory", &self.path)?;
                    if !self.stack.is_empty() {
                        self.path.pop();
                    }
                }
                DIRECTORY | FILE | LINK | FIFO if first || !self.stack.is_empty() => self.entry(tag, first)?,
                _ => return Err(DAMAGED.on("copy to", &self.path)),
            }
            first = false;
        }
    }

    fn entry(&mut self, tag: u8, first: bool) -> Result<()> {
        let name = self.name(first).on("copy to", &self.path)?;
        if !first {
            self.path.push(OsStr::from_bytes(name.to_bytes()));
        }
        let meta = self.meta().on("copy to", &self.path)?;
        match tag {
            DIRECTORY => return self.directory(first, &name, meta).on("make directory", &self.path),
            FILE => self.file(&name, meta).on("write", &self.path)?,
            LINK => self.link(&name, meta).on("make link", &self.path)?,
            _ => self.fifo(&name, meta).on("make FIFO", &self.path)?,
        }
        self.done.files += 1;
        if !first {
            self.path.pop();
        }
        Ok(())
    }

    /// The name of an entry. The first one's is the target's, or empty for the target's directory itself.
    fn name(&mut self, first: bool) -> Outcome<CString> {
        let told = self.bytes(NAME_MAX)?;
        if first {
            return if told.is_empty() { Ok(self.target.name.clone().unwrap_or_default()) } else { Err(DAMAGED) };
        }
        let plain = !told.is_empty() && told != b"." && told != b".." && !told.contains(&b'/');
        if plain { CString::new(told).map_err(|_| DAMAGED) } else { Err(DAMAGED) }
    }

    fn directory(&mut self, first: bool, name: &CString, meta: Meta) -> Outcome<()> {
        if self.stack.len() == DEPTH {
            return Err(Cause::Why("it is nested too deep"));
        }
        let attributes = self.read_attributes()?;
        let (dir, fresh) = match (first, name.is_empty()) {
            (true, true) => (walk::readable(self.target.dir)?, false),
            (true, false) => self.first_directory(name)?,
            _ => self.subdirectory(name)?,
        };
        if fresh {
            set_attributes(dir.as_fd(), &attributes);
        }
        self.stack.push(Level { dir, meta, fresh });
        Ok(())
    }

    /// The target itself: one that is there, or a new one under a temporary name.
    fn first_directory(&mut self, name: &CString) -> Outcome<(OwnedFd, bool)> {
        match open_directory(self.target.dir, name) {
            Err(Cause::Os(Errno::NOENT)) => {}
            found => return found.map(|dir| (dir, false)),
        }
        let (temporary, dir) = partial::make(self.target.dir, partial::PARTIAL)?;
        self.begun = Some(temporary);
        Ok((dir, true))
    }

    fn subdirectory(&mut self, name: &CString) -> Outcome<(OwnedFd, bool)> {
        let (dir, _) = self.here();
        let made = match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(e.into()),
        };
        Ok((open_directory(dir, name)?, made))
    }

    /// A directory has all its entries.
    fn finish(&mut self) -> Outcome<()> {
        let Some(level) = self.stack.pop() else { return Err(DAMAGED) };
        if level.fresh {
            give(level.dir.as_fd(), &level.meta)?;
            // A set-group-id bit of a directory gives nobody rights; it is how its entries get their group.
            rustix::fs::fchmod(&level.dir, Mode::from_raw_mode(level.meta.mode))?;
            rustix::fs::futimens(&level.dir, &times(&level.meta))?;
        }
        if !self.stack.is_empty() {
            return Ok(());
        }
        if let (Some(temporary), Some(name)) = (self.begun.take(), &self.target.name) {
            self.publish(&temporary, name).inspect_err(|_| self.begun = Some(temporary.clone()))?;
        }
        Ok(())
    }

    /// Gives what is whole its name.
    fn publish(&self, temporary: &CString, name: &CString) -> Outcome<()> {
        let dir = self.here().0;
        let flags = if self.target.replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match rustix::fs::renameat_with(dir, temporary, dir, name, flags) {
            // A file system without that flag.
            Err(Errno::INVAL) if !flags.is_empty() => match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(rustix::fs::renameat(dir, temporary, dir, name)?),
                Ok(_) => Err(Errno::EXIST.into()),
                Err(e) => Err(e.into()),
            },
            other => Ok(other?),
        }
    }

    /// The directory that entries go to now, and whether it is ours alone.
    fn here(&self) -> (BorrowedFd<'_>, bool) {
        self.stack.last().map_or((self.target.dir, false), |level| (level.dir.as_fd(), level.fresh))
    }

    /// Makes an entry with `make`, whole under its name: in a directory of others first under another one.
    fn placed(&mut self, name: &CString, make: impl FnOnce(&mut Self, &CString) -> Outcome<()>) -> Outcome<()> {
        if name.is_empty() {
            return Err(Cause::Os(Errno::ISDIR));
        }
        if self.here().1 {
            return make(self, name);
        }
        if !self.target.replace {
            match rustix::fs::statat(self.here().0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Ok(_) => return Err(Errno::EXIST.into()),
                Err(e) => return Err(e.into()),
            }
        }
        let temporary = partial::fresh_name(partial::PARTIAL)?;
        let made = make(self, &temporary).and_then(|()| self.publish(&temporary, name));
        if made.is_err() {
            let _ = rustix::fs::unlinkat(self.here().0, &temporary, AtFlags::empty());
        }
        made
    }

    fn file(&mut self, name: &CString, meta: Meta) -> Outcome<()> {
        let attributes = self.read_attributes()?;
        let size = self.number()?;
        self.placed(name, |this, name| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(this.here().0, name, flags, Mode::from_raw_mode(0o600))?;
            this.contents(file.as_fd(), size)?;
            give(file.as_fd(), &meta)?;
            set_attributes(file.as_fd(), &attributes);
            let mut mode = meta.mode;
            if this.target.tame && mode & 0o6000 != 0 {
                mode &= 0o1777;
                this.done.tamed += 1;
            }
            // After chown(2), which takes the bits away.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            Ok(rustix::fs::futimens(&file, &times(&meta))?)
        })
    }

    fn contents(&mut self, file: BorrowedFd<'_>, size: u64) -> Outcome<()> {
        let most = if size == 0 { UNSIZED_MAX } else { size };
        loop {
            match self.byte()? {
                DATA_END => match self.number()? {
                    end if end <= most => return Ok(rustix::fs::ftruncate(file, end)?),
                    _ => return Err(DAMAGED),
                },
                DATA => {}
                _ => return Err(DAMAGED),
            }
            let (mut at, length) = (self.number()?, self.length(PIECE)?);
            if at.checked_add(length as u64).is_none_or(|end| end > most) {
                return Err(DAMAGED);
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.resize(length, 0);
            self.input.read_exact(&mut buffer).map_err(|e| cut(&e))?;
            let mut left = &buffer[..];
            while !left.is_empty() {
                match rustix::io::pwrite(file, left, at) {
                    Ok(0) => return Err(Errno::IO.into()),
                    Ok(n) => {
                        left = &left[n..];
                        at += n as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            self.buffer = buffer;
            self.done.bytes += length as u64;
        }
    }

    fn link(&mut self, name: &CString, meta: Meta) -> Outcome<()> {
        let target = CString::new(self.bytes(TARGET_MAX)?).map_err(|_| DAMAGED)?;
        self.placed(name, |this, name| {
            let dir = this.here().0;
            rustix::fs::symlinkat(&target, dir, name)?;
            finish_link(dir, name, &target, &meta)
        })
    }

    fn fifo(&mut self, name: &CString, meta: Meta) -> Outcome<()> {
        self.placed(name, |this, name| {
            let dir = this.here().0;
            Ok(rustix::fs::mknodat(dir, name, FileType::Fifo, Mode::from_raw_mode(meta.mode & 0o777), 0)?)
        })
    }

    fn read_attributes(&mut self) -> Outcome<Vec<(CString, Vec<u8>)>> {
        // 64 KiB of names cannot have more.
        let count = self.length(ATTRIBUTE_MAX / 6)?;
        let mut found = Vec::new();
        for _ in 0..count {
            let name = CString::new(self.bytes(NAME_MAX)?).map_err(|_| DAMAGED)?;
            if !name.to_bytes().starts_with(b"user.") {
                return Err(DAMAGED);
            }
            found.push((name, self.bytes(ATTRIBUTE_MAX)?));
        }
        Ok(found)
    }

    fn meta(&mut self) -> Outcome<Meta> {
        let meta = Meta { mode: self.word()?, uid: self.word()?, gid: self.word()?, seconds: self.number()? as i64, nanoseconds: self.word()? };
        if meta.mode > 0o7777 || meta.nanoseconds >= 1_000_000_000 { Err(DAMAGED) } else { Ok(meta) }
    }

    fn bytes(&mut self, most: usize) -> Outcome<Vec<u8>> {
        let mut bytes = vec![0; self.length(most)?];
        self.input.read_exact(&mut bytes).map_err(|e| cut(&e))?;
        Ok(bytes)
    }

    fn length(&mut self, most: usize) -> Outcome<usize> {
        let length = self.word()? as usize;
        if length > most { Err(DAMAGED) } else { Ok(length) }
    }

    fn byte(&mut self) -> Outcome<u8> {
        self.fixed::<1>().map(|b| b[0])
    }

    fn word(&mut self) -> Outcome<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn number(&mut self) -> Outcome<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|e| cut(&e))?;
        Ok(bytes)
    }
}

/// Opens a directory that has to be one, not a link to one.
fn open_directory(dir: BorrowedFd<'_>, name: &CString) -> Outcome<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match openat2(dir, &**name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS) {
        Err(Errno::LOOP | Errno::NOTDIR) => Err(Cause::Why("something that is no directory is in its place")),
        other => Ok(other?),
    }
}

/// Gives a link that was just made its owner and time, by descriptor: who may write in `dir` can have exchanged it.
pub(super) fn finish_link(dir: BorrowedFd<'_>, name: &CStr, target: &CStr, meta: &Meta) -> Outcome<()> {
    let link = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&link)?;
    let is_made = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
        && stat.st_nlink == 1
        && rustix::fs::readlinkat(&link, c"", Vec::new())?.as_c_str() == target;
    if !is_made {
        return Err(Cause::Why("somebody put something else in its place"));
    }
    let own = |id: u32| (id != u32::MAX).then_some(id);
    match rustix::fs::chownat(&link, c"", own(meta.uid).map(Uid::from_raw), own(meta.gid).map(Gid::from_raw), AtFlags::EMPTY_PATH) {
        // No such id here: a link's owner hardly matters.
        Err(Errno::INVAL | Errno::OVERFLOW) => {}
        other => other?,
    }
    Ok(rustix::fs::utimensat(&link, c"", &times(meta), AtFlags::EMPTY_PATH)?)
}

/// Owner and group. An id that there is not here becomes root's.
fn give(file: BorrowedFd<'_>, meta: &Meta) -> Outcome<()> {
    let owner = |uid: u32, gid: u32| rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let known = |id: u32| if id == u32::MAX { 0 } else { id };
    match owner(known(meta.uid), known(meta.gid)) {
        Err(Errno::INVAL | Errno::OVERFLOW) => {}
        other => return Ok(other?),
    }
    // One of the two may be known.
    match owner(known(meta.uid), 0).or_else(|_| owner(0, known(meta.gid))) {
        Err(Errno::INVAL | Errno::OVERFLOW) => Ok(owner(0, 0)?),
        other => Ok(other?),
    }
}

/// Best effort: a file system without them, or without room for them, loses nothing that decides over access.
fn set_attributes(file: BorrowedFd<'_>, attributes: &[(CString, Vec<u8>)]) {
    for (name, value) in attributes {
        let _ = rustix::fs::fsetxattr(file, name, value, XattrFlags::empty());
    }
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec { tv_sec: meta.seconds as _, tv_nsec: meta.nanoseconds as _ };
    Timestamps { last_access: time, last_modification: time }
}

/// Used by tests.
#[cfg(test)]
pub(super) fn is_cut(error: &crate::Error) -> bool {
    error.cause == super::CUT
}
