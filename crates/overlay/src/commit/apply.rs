//! Doing the steps of a commit. Each may have been done before, wholly or in part.

use std::os::fd::{AsFd, BorrowedFd};

use hostel_image::{Cause, Result};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::{Act, Journal, Op};
use crate::entry;
use crate::layer::{Layer, directory, look, parent};
use crate::same::Place;

pub(super) fn apply(id: &str, journal: &Journal, layers: &[Layer]) -> Result<()> {
    for (index, op) in journal.ops.iter().enumerate() {
        let layer = &layers[op.layer];
        one(id, journal, layer, index, op).map_err(|e| e.on("commit", &layer.shown(op.path())))?;
    }
    Ok(())
}

fn one(id: &str, journal: &Journal, layer: &Layer, index: usize, op: &Op) -> std::result::Result<(), Cause> {
    if op.act == Act::Dress {
        return dress(layer, op);
    }
    let temporary = entry::temporary(id, index)?;
    let Some((to, name)) = parent(layer.lower(), op.path())? else {
        // Deleted before, with what it was in.
        return if op.act == Act::Delete { Ok(()) } else { Err(Cause::Os(Errno::NOENT)) };
    };
    if op.act == Act::Delete {
        return entry::drop_entry(to.as_fd(), &name);
    }
    let (from, _) = parent(layer.upper(), op.path())?.ok_or(Cause::Os(Errno::NOENT))?;
    let stat = look(from.as_fd(), &name)?.ok_or(Cause::Os(Errno::NOENT))?;
    let new = Place { dir: from.as_fd(), name: &name, stat: &stat, upper: true };
    if op.act == Act::MakeDir {
        return entry::make_directory(new, to.as_fd(), &name, &temporary);
    }
    entry::drop_entry(to.as_fd(), &temporary)?;
    match op.link {
        Some(first) => link(layer.lower(), &journal.ops[first], to.as_fd(), &temporary)?,
        None => entry::make(new, to.as_fd(), &temporary)?,
    }
    entry::settle(to.as_fd(), &temporary, &name)
}

/// Another name for what the step `first` has put in its place.
pub(super) fn link(top: BorrowedFd<'_>, first: &Op, to: BorrowedFd<'_>, name: &std::ffi::CStr) -> std::result::Result<(), Cause> {
    let (dir, there) = parent(top, first.path())?.ok_or(Cause::Os(Errno::NOENT))?;
    entry::step()?;
    Ok(rustix::fs::linkat(&dir, &*there, to, name, AtFlags::empty())?)
}

fn dress(layer: &Layer, op: &Op) -> std::result::Result<(), Cause> {
    let find = |top| directory(top, op.path())?.ok_or(Cause::Os(Errno::NOENT));
    let (from, to) = (find(layer.upper())?, find(layer.lower())?);
    let stat = rustix::fs::fstat(&from)?;
    entry::dress(Place { dir: from.as_fd(), name: c"", stat: &stat, upper: true }, to.as_fd(), c"")
}
