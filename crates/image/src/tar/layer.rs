//! Layers of an image (OCI image specification, "layer"): archives over what earlier ones have made. An entry `.wh.NAME` takes NAME
//! of the layers below away, `.wh..wh..opq` all that they have in its directory; what its own layer brings stays, whatever comes first.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hostel_sys::tree::openat2;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::reader::{Archive, Entry, Kind};
use super::unpack::{Outcome, Report, Unpacker, open, split, unpack_as};
use crate::{Cause, Result, remove, walk};

const WHITEOUT: &[u8] = b".wh.";
/// Notes that a file system once left in layers begin so, and this one word.
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Directories below one another that are looked through, each held open.
const DEEP: usize = 128;

/// Which layer an archive is.
pub(super) enum Layer {
    /// None: names have no meaning.
    None,
    /// The lowest.
    First,
    /// One over others; what it has made so far.
    Over(BTreeSet<Box<[u8]>>),
}

impl Layer {
    pub(super) fn is_some(&self) -> bool {
        !matches!(self, Layer::None)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Layer::Over(_))
    }

    fn made(&self, path: &[u8]) -> bool {
        matches!(self, Layer::Over(made) if made.contains(path))
    }

    /// Whether it has made something below `path`.
    fn made_below(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        matches!(self, Layer::Over(made) if made.range(below.clone().into_boxed_slice()..).next().is_some_and(|p| p.starts_with(&below)))
    }
}

/// Unpacks a layer into the directory `top`: a new one, or (`over`) one that has the layers below it.
pub(crate) fn unpack_layer<R: Read>(archive: &mut Archive<R>, name: &Path, top: BorrowedFd<'_>, over: bool) -> Result<Report> {
    unpack_as(archive, name, top, if over { Layer::Over(BTreeSet::new()) } else { Layer::First })
}

/// The directory `path` of the tree `top`, its links followed in the tree.
pub(super) fn open_in(top: BorrowedFd<'_>, path: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(top, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), resolve)
}

impl Unpacker<'_> {
    /// Does what an entry of a layer says that is no file; false: it is one.
    pub(super) fn whiteout(&mut self, path: &[u8]) -> Outcome<bool> {
        let (above, name) = split(path);
        if name != OPAQUE && path.split(|b| *b == b'/').any(|part| part.starts_with(META)) {
            return Ok(true);
        }
        let Some(gone) = name.strip_prefix(WHITEOUT) else { return Ok(false) };
        if matches!(gone, b"" | b"." | b"..") {
            return Err(Cause::Why("it takes nothing away that has a name"));
        }
        if !self.layer.is_over() {
            return Ok(true);
        }
        // It may be what goes.
        self.parent = None;
        let dir = match open(self.top, above) {
            Err(Errno::LOOP | Errno::NOTDIR) => open_in(self.top, above),
            other => other,
        };
        let dir = match dir {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(true),
            other => other?,
        };
        if name == OPAQUE {
            return self.clear(dir.as_fd(), above, 0).map(|()| true);
        }
        let whole = if above.is_empty() { gone.to_vec() } else { [above, b"/", gone].concat() };
        self.take_away(dir.as_fd(), &CString::new(gone).map_err(|_| Cause::Os(Errno::INVAL))?, &whole, 0).map(|()| true)
    }

    /// What an entry replaces of the layers below, if that is a directory and it is none; and remembers the entry.
    pub(super) fn clear_way(&mut self, dir: BorrowedFd<'_>, name: &CString, entry: &Entry) -> Outcome<()> {
        if entry.kind != Kind::Directory {
            let stat = rustix::fs::statat(dir, &**name, AtFlags::SYMLINK_NOFOLLOW);
            if stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory) {
                self.take_away(dir, name, &entry.path, 0)?;
            }
        }
        if let Layer::Over(made) = &mut self.layer {
            made.insert(entry.path.clone().into());
        }
        Ok(())
    }

    /// Removes an entry of the layers below; of a directory in which this layer has something the rest.
    fn take_away(&self, dir: BorrowedFd<'_>, name: &CString, path: &[u8], depth: usize) -> Outcome<()> {
        let below = match walk::subdirectory(dir, name) {
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::LOOP | Errno::NOTDIR) if self.layer.made(path) => return Ok(()),
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(rustix::fs::unlinkat(dir, &**name, AtFlags::empty())?),
            other => other?,
        };
        if self.layer.made(path) || self.layer.made_below(path) {
            return self.clear(below.as_fd(), path, depth + 1);
        }
        remove::delete(dir, name, below)
    }

    /// Removes what the layers below have in a directory.
    fn clear(&self, dir: BorrowedFd<'_>, path: &[u8], depth: usize) -> Outcome<()> {
        if depth > DEEP {
            return Err(Cause::Why("what it takes away is too deep"));
        }
        let mut names = Vec::new();
        walk::entries(walk::readable(dir)?.as_fd(), |name, _| -> std::result::Result<(), Errno> {
            names.push(name.to_owned());
            Ok(())
        })?;
        for name in names {
            let whole = if path.is_empty() { name.to_bytes().to_vec() } else { [path, b"/", name.to_bytes()].concat() };
            self.take_away(dir, &name, &whole, depth)?;
        }
        Ok(())
    }
}
