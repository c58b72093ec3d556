//! Unpacking an archive below a directory: everything by descriptor, nothing through a link, nothing that was there before.
//!
//! The directory is new and nobody else's. A name is split at its last slash; the part before is opened beneath the top,
//! refusing every link in it, and what is made is made in there under its last component, exclusively. Owner, attributes,
//! mode and times follow the contents, in this order (chown(2) takes capabilities and set-user-id away). Those of
//! directories come last of all, so that what is made in them does not inherit or change them.

use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_sys::tree::{openat2, xattr};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::layer::{self, Layer};
use super::reader::{Archive, Attributes, Entry, Hole, Kind};
use crate::copy::drop_inherited_acls;
use crate::{Cause, Error, Result, inroot};

/// What is kept in memory about directories until the end, at most.
const REMEMBERED: usize = 512 << 20;
const BUFFER: usize = 256 << 10;
const LINK: Cause = Cause::Why("a symbolic link is on the way to it");

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Entries.
    pub entries: u64,
    /// Bytes of contents, without holes.
    pub bytes: u64,
    /// Extended attributes left out: not an image's to give, or more than its file system can hold.
    pub dropped: u64,
}

/// Unpacks all of `archive` (`name` in messages) into the new, empty directory `top`.
pub fn unpack<R: Read>(archive: &mut Archive<R>, name: &Path, top: BorrowedFd<'_>) -> Result<Report> {
    let report = unpack_as(archive, name, top, Layer::None)?;
    if report.entries == 0 {
        return Err(Cause::Why("there is nothing in it").on("read archive", name));
    }
    Ok(report)
}

/// The same for an archive that may be a layer.
pub(super) fn unpack_as<R: Read>(archive: &mut Archive<R>, name: &Path, top: BorrowedFd<'_>, layer: Layer) -> Result<Report> {
    const VERB: &str = "unpack";
    let fail = |cause: Cause, path: &[u8]| -> Error { cause.on(VERB, &inside(name, path)) };
    let has_top = layer.is_over();
    let mut unpacker =
        Unpacker { top, layer, parent: None, directories: Vec::new(), remembered: 0, has_top, report: Report::default(), buffer: vec![0; BUFFER] };
    unpacker.begin().map_err(|e| fail(e, b""))?;
    loop {
        let entry = match archive.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(fault) => return Err(Cause::from(fault).on("read archive", name)),
        };
        unpacker.report.entries += 1;
        unpacker.report.dropped += entry.dropped;
        unpacker.entry(archive, &entry).map_err(|e| fail(e, &entry.path))?;
    }
    unpacker.finish().map_err(|(e, path)| fail(e, &path))?;
    Ok(unpacker.report)
}

fn inside(name: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { name.to_owned() } else { name.join(OsStr::from_bytes(path)) }
}

pub(super) type Outcome<T> = std::result::Result<T, Cause>;

pub(super) struct Unpacker<'a> {
    pub(super) top: BorrowedFd<'a>,
    pub(super) layer: Layer,
    /// The directory of the last entry: the next one is mostly in the same.
    pub(super) parent: Option<(Vec<u8>, OwnedFd)>,
    directories: Vec<(Box<[u8]>, Attributes)>,
    remembered: usize,
    has_top: bool,
    report: Report,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    /// Takes away what the new directory got from the one it is in.
    fn begin(&mut self) -> Outcome<()> {
        if self.layer.is_over() {
            return Ok(());
        }
        rustix::fs::fchown(self.top, Some(Uid::ROOT), Some(Gid::ROOT))?;
        rustix::fs::fchmod(self.top, Mode::from_raw_mode(0o700))?;
        drop_inherited_acls(self.top)
    }

    fn entry<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Outcome<()> {
        if entry.path.is_empty() {
            if entry.kind != Kind::Directory {
                return Err(Cause::Why("its top is no directory"));
            }
            self.has_top = true;
            return self.remember(entry);
        }
        if self.layer.is_some() && self.whiteout(&entry.path)? {
            return Ok(());
        }
        let (above, name) = split(&entry.path);
        self.enter(above)?;
        let name = CString::new(name).map_err(|_| Cause::Os(Errno::INVAL))?;
        let Some((_, dir)) = self.parent.take() else { return Err(Cause::Os(Errno::NOENT)) };
        if self.layer.is_over() {
            self.count(entry.path.len() + 64)?;
            self.clear_way(dir.as_fd(), &name, entry)?;
        }
        let made = self.make(archive, entry, dir.as_fd(), &name);
        self.parent = Some((above.to_vec(), dir));
        made
    }

    fn make<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry, dir: BorrowedFd<'_>, name: &CString) -> Outcome<()> {
        match entry.kind {
            Kind::Directory => {
                self.directory(dir, name)?;
                self.remember(entry)
            }
            Kind::File => self.file(archive, entry, dir, name),
            Kind::HardLink => self.hard_link(entry, dir, name),
            Kind::Symlink => {
                make_way(dir, name)?;
                rustix::fs::symlinkat(&*entry.link, dir, &**name)?;
                self.special(entry, dir, name)
            }
            Kind::Character | Kind::Block | Kind::Fifo => {
                make_way(dir, name)?;
                let (kind, device) = match entry.kind {
                    Kind::Fifo => (FileType::Fifo, 0),
                    Kind::Character => (FileType::CharacterDevice, rustix::fs::makedev(entry.device.0, entry.device.1)),
                    _ => (FileType::BlockDevice, rustix::fs::makedev(entry.device.0, entry.device.1)),
                };
                rustix::fs::mknodat(dir, &**name, kind, Mode::from_raw_mode(0o600), device)?;
                self.special(entry, dir, name)
            }
        }
    }

    /// Makes the directory `path` the current one; what is missing of it is made.
    fn enter(&mut self, path: &[u8]) -> Outcome<()> {
        if self.parent.as_ref().is_some_and(|(current, _)| current == path) {
            return Ok(());
        }
        self.parent = None;
        let dir = match open(self.top, path) {
            Err(Errno::NOENT) => self.make_directories(path)?,
            // A link of a layer below: where it leads to in the tree.
            Err(errno @ (Errno::LOOP | Errno::NOTDIR)) if self.layer.is_over() => {
                let led = layer::open_in(self.top, path);
                led.map_err(|_| if errno == Errno::LOOP { LINK } else { Cause::Why("a file is on the way to it") })?
            }
            Err(Errno::LOOP) => return Err(LINK),
            Err(Errno::NOTDIR) => return Err(Cause::Why("a file is on the way to it")),
            other => other?,
        };
        self.parent = Some((path.to_vec(), dir));
        Ok(())
    }

    /// Directories that have no entry of their own.
    fn make_directories(&self, path: &[u8]) -> Outcome<OwnedFd> {
        let mut dir = open(self.top, b"")?;
        for part in path.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
            match rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    dir = open(dir.as_fd(), part)?;
                    // Whatever our umask is.
                    rustix::fs::fchmod(readable(&dir)?, Mode::from_raw_mode(0o755))?;
                }
                Err(Errno::EXIST) => match open(dir.as_fd(), part) {
                    Err(Errno::LOOP) => return Err(LINK),
                    Err(Errno::NOTDIR) => return Err(Cause::Why("a file is on the way to it")),
                    other => dir = other?,
                },
                Err(e) => return Err(e.into()),
            }
        }
        Ok(dir)
    }

    fn directory(&mut self, dir: BorrowedFd<'_>, name: &CString) -> Outcome<()> {
        loop {
            match rustix::fs::mkdirat(dir, &**name, Mode::from_raw_mode(0o700)) {
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
            let stat = rustix::fs::statat(dir, &**name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                return Ok(());
            }
            // A later entry of a name takes its place, as with GNU tar.
            rustix::fs::unlinkat(dir, &**name, AtFlags::empty())?;
        }
    }

    fn remember(&mut self, entry: &Entry) -> Outcome<()> {
        let attributes = entry.attributes.extended.iter().map(|(n, v)| n.len() + v.len() + 48).sum::<usize>();
        self.count(entry.path.len() + attributes + size_of::<(Box<[u8]>, Attributes)>())?;
        self.directories.push((entry.path.clone().into(), entry.attributes.clone()));
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Outcome<()> {
        self.remembered += bytes;
        if self.remembered > REMEMBERED { Err(Cause::Why("there are too many directories")) } else { Ok(()) }
    }

    fn file<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry, dir: BorrowedFd<'_>, name: &CString) -> Outcome<()> {
        make_way(dir, name)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, &**name, flags, Mode::from_raw_mode(0o600))?;
        match &entry.sparse {
            None => self.piece(archive, file.as_fd(), (0, entry.stored))?,
            Some((size, pieces)) => {
                rustix::fs::ftruncate(&file, *size)?;
                for piece in pieces {
                    self.piece(archive, file.as_fd(), *piece)?;
                }
            }
        }
        let attributes = &entry.attributes;
        rustix::fs::fchown(&file, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
        self.extended(file.as_fd(), &CString::default(), attributes)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode))?;
        Ok(rustix::fs::futimens(&file, &times(attributes))?)
    }

    /// Copies one piece of contents to its place.
    fn piece<R: Read>(&mut self, archive: &mut Archive<R>, file: BorrowedFd<'_>, (mut at, length): Hole) -> Outcome<()> {
        let end = at + length;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(BUFFER);
            let n = archive.read(&mut self.buffer[..wanted])?;
            if n == 0 {
                return Err(Cause::Why("its contents end too early"));
            }
            let mut written = 0;
            while written < n {
                match rustix::io::pwrite(file, &self.buffer[written..n], at + written as u64) {
                    Ok(0) => return Err(Cause::Os(Errno::IO)),
                    Ok(w) => written += w,
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            at += n as u64;
            self.report.bytes += n as u64;
        }
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, dir: BorrowedFd<'_>, name: &CString) -> Outcome<()> {
        if entry.link == entry.path {
            return Ok(());
        }
        let (above, target) = split(&entry.link);
        let from = match open(self.top, above) {
            Err(Errno::LOOP) => return Err(Cause::Why("it is a link to what is behind a symbolic link")),
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(Cause::Why("it is a link to what is not in the archive before it")),
            other => other?,
        };
        match rustix::fs::statat(&from, target, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Err(Cause::Why("it is a hard link to a directory")),
            Ok(_) => {}
            Err(Errno::NOENT) => return Err(Cause::Why("it is a link to what is not in the archive before it")),
            Err(e) => return Err(e.into()),
        }
        make_way(dir, name)?;
        // Without AT_SYMLINK_FOLLOW a link itself gets the name.
        match rustix::fs::linkat(&from, target, dir, &**name, AtFlags::empty()) {
            Err(Errno::NOENT) => Err(Cause::Why("it is a link to itself")),
            other => Ok(other?),
        }
    }

    /// What follows the making of links, devices and FIFOs, which cannot be opened; the name was made by us a moment ago.
    fn special(&mut self, entry: &Entry, dir: BorrowedFd<'_>, name: &CString) -> Outcome<()> {
        let attributes = &entry.attributes;
        let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        rustix::fs::chownat(dir, &**name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        self.extended(dir, name, attributes)?;
        if entry.kind != Kind::Symlink {
            rustix::fs::chmodat(dir, &**name, Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
        }
        Ok(rustix::fs::utimensat(dir, &**name, &times(attributes), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Extended attributes. One that decides who may do what has to be kept; another that cannot be is counted.
    fn extended(&mut self, dir: BorrowedFd<'_>, name: &CString, attributes: &Attributes) -> Outcome<()> {
        for (attribute, value) in &attributes.extended {
            let attribute = CString::new(attribute.clone()).map_err(|_| Cause::Os(Errno::INVAL))?;
            match xattr::set(dir, name, &attribute, value) {
                Ok(()) => {}
                Err(e) if !attribute.as_bytes().starts_with(b"user.") => return Err(e.into()),
                // Not supported, no room, or (of a link, a device) not allowed.
                Err(e) => match Errno::from_io_error(&e) {
                    Some(Errno::OPNOTSUPP | Errno::PERM | Errno::TOOBIG | Errno::RANGE | Errno::INVAL) => self.report.dropped += 1,
                    _ => return Err(e.into()),
                },
            }
        }
        Ok(())
    }

    /// Attributes of directories: nothing is made in them any more.
    fn finish(&mut self) -> std::result::Result<(), (Cause, Vec<u8>)> {
        if !self.has_top {
            rustix::fs::fchmod(self.top, Mode::from_raw_mode(0o755)).map_err(|e| (e.into(), Vec::new()))?;
        }
        self.parent = None;
        for (path, attributes) in std::mem::take(&mut self.directories) {
            self.finish_directory(&path, &attributes).map_err(|e| (e, path.into()))?;
        }
        Ok(())
    }

    fn finish_directory(&mut self, path: &[u8], attributes: &Attributes) -> Outcome<()> {
        let dir = match open(self.top, path) {
            // It lies behind a link of a layer below; itself it is none.
            Err(Errno::NOTDIR | Errno::LOOP) if self.layer.is_over() => {
                let (above, name) = split(path);
                match layer::open_in(self.top, above).and_then(|dir| open(dir.as_fd(), name)) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                    other => readable(&other?)?,
                }
            }
            // A later entry took its place.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            other => readable(&other?)?,
        };
        rustix::fs::fchown(&dir, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
        self.extended(dir.as_fd(), &CString::default(), attributes)?;
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(attributes.mode))?;
        Ok(rustix::fs::futimens(&dir, &times(attributes))?)
    }
}

/// The directory part and the last component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// Opens a directory below another as a place (O_PATH): ELOOP or ENOTDIR when a link is on the way.
pub(super) fn open(dir: BorrowedFd<'_>, path: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(dir, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty(), resolve)
}

fn readable(dir: &OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    crate::walk::readable(dir.as_fd())
}

/// Takes away what an earlier entry made under a name. A directory goes only when it is empty.
fn make_way(dir: BorrowedFd<'_>, name: &CString) -> Outcome<()> {
    match rustix::fs::unlinkat(dir, &**name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => match rustix::fs::unlinkat(dir, &**name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Cause::Why("a directory with something in it has its name")),
            other => Ok(other?),
        },
        Err(e) => Err(e.into()),
    }
}

fn times(attributes: &Attributes) -> Timestamps {
    let time = Timespec { tv_sec: attributes.mtime.0 as _, tv_nsec: attributes.mtime.1 as _ };
    Timestamps { last_access: time, last_modification: time }
}

/// Whether the tree `top` looks like a system.
pub(crate) fn is_system(top: BorrowedFd<'_>) -> bool {
    inroot::directory(top, Path::new("usr")).is_ok()
        && ["etc/os-release", "usr/lib/os-release"].iter().any(|p| inroot::exists(top, Path::new(p)).unwrap_or(false))
}
