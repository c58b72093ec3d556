//! Taking the steps of a commit back, from the last to the first, whether they had been done or not.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use hostel_image::{Cause, Result};
use hostel_spec::Arrange as _;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Act, Journal, Old, Op, apply};
use crate::layer::{Layer, directory, is_dir, look, parent};
use crate::same::Place;
use crate::{On, entry};

pub(super) fn undo(id: &str, journal: &Journal, old: &Path, layers: &[Layer]) -> Result<()> {
    let store = rustix::fs::open(old, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).on("open", old)?;
    let undo = Undo { id, journal, store: store.as_fd(), layers };
    for index in (0..journal.ops.len()).rev() {
        undo.named(index, |op| undo.one(index, op))?;
    }
    // Times of directories last, the deepest first.
    let mut directories: Vec<usize> = (0..journal.ops.len()).filter(|i| journal.ops[*i].old == Old::Directory).collect();
    directories.arrange_by_key(|i| std::cmp::Reverse(journal.ops[*i].path().components().count()));
    for index in directories {
        undo.named(index, |op| undo.dress(index, op))?;
    }
    Ok(())
}

struct Undo<'a> {
    id: &'a str,
    journal: &'a Journal,
    store: BorrowedFd<'a>,
    layers: &'a [Layer],
}

impl Undo<'_> {
    fn named(&self, index: usize, work: impl Fn(&Op) -> std::result::Result<(), Cause>) -> Result<()> {
        let op = &self.journal.ops[index];
        work(op).map_err(|e| e.on("undo", &self.layers[op.layer].shown(op.path())))
    }

    fn saved(&self, index: usize) -> std::result::Result<(CString, rustix::fs::Stat), Cause> {
        let name = CString::new(index.to_string()).map_err(|_| Cause::Os(Errno::INVAL))?;
        let stat = look(self.store, &name)?.ok_or(Cause::Why("the undo archive lacks it"))?;
        Ok((name, stat))
    }

    fn one(&self, index: usize, op: &Op) -> std::result::Result<(), Cause> {
        if op.act == Act::Dress {
            return Ok(());
        }
        let top = self.layers[op.layer].lower();
        let Some((dir, name)) = parent(top, op.path())? else {
            // It was to be in a directory that had not been made, or is gone again.
            return if op.old == Old::Nothing { Ok(()) } else { Err(Cause::Os(Errno::NOENT)) };
        };
        let dir = dir.as_fd();
        let temporary = entry::temporary(self.id, index)?;
        match op.old {
            Old::Nothing => {
                entry::drop_entry(dir, &temporary)?;
                let now = look(dir, &name)?;
                match op.act {
                    // Not what we made: whatever came since stays.
                    Act::MakeDir if now.as_ref().is_some_and(|s| !is_dir(s)) => Ok(()),
                    Act::Put if now.as_ref().is_some_and(is_dir) => Ok(()),
                    _ => entry::drop_entry(dir, &name),
                }
            }
            Old::Directory => {
                let (saved, stat) = self.saved(index)?;
                entry::make_directory(Place { dir: self.store, name: &saved, stat: &stat, upper: false }, dir, &name, &temporary)
            }
            Old::Entry => {
                entry::drop_entry(dir, &temporary)?;
                match op.old_link {
                    Some(last) => apply::link(top, &self.journal.ops[last], dir, &temporary)?,
                    None => {
                        let (saved, stat) = self.saved(index)?;
                        entry::make(Place { dir: self.store, name: &saved, stat: &stat, upper: false }, dir, &temporary)?;
                    }
                }
                entry::settle(dir, &temporary, &name)
            }
        }
    }

    fn dress(&self, index: usize, op: &Op) -> std::result::Result<(), Cause> {
        let (saved, stat) = self.saved(index)?;
        let dir = directory(self.layers[op.layer].lower(), op.path())?.ok_or(Cause::Os(Errno::NOENT))?;
        entry::dress(Place { dir: self.store, name: &saved, stat: &stat, upper: false }, dir.as_fd(), c"")
    }
}
