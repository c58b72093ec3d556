//! The undo archive: everything a commit will replace, under the number of its step.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use hostel_image::inroot::{self, Durable};
use hostel_image::{Cause, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Journal, Old, Record, State, set_state};
use crate::layer::{Layer, directory, look, parent};
use crate::same::Place;
use crate::{On, entry};

/// Writes archive and journal; when it returns, all is on the disk and the commit is [`State::Applying`].
pub(super) fn write(record: &mut Record, mut journal: Journal, layers: &[Layer]) -> Result<()> {
    rustix::fs::mkdir(&record.path, Mode::from_raw_mode(0o700)).on("make", &record.path)?;
    set_state(record, State::Archiving)?;
    let old = record.path.join("old");
    rustix::fs::mkdir(&old, Mode::from_raw_mode(0o700)).on("make", &old)?;
    let store = rustix::fs::open(&old, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).on("open", &old)?;
    let mut shared = HashMap::new();
    for index in 0..journal.ops.len() {
        save(&mut journal, index, layers, store.as_fd(), &mut shared)
            .map_err(|e| e.on("archive", &layers[journal.ops[index].layer].shown(journal.ops[index].path())))?;
    }
    // Steps are taken back from the last to the first: the last name is the first to be there again.
    for names in shared.into_values() {
        let Some((last, others)) = names.split_last() else { continue };
        for other in others {
            journal.ops[*other].old_link = Some(*last);
        }
    }
    let text = serde_json::to_vec(&journal).map_err(|e| Cause::Said(e.to_string())).on("write", &record.path)?;
    let dir = hostel_image::open::directory(&record.path)?;
    let file = record.path.join("journal");
    inroot::replace(dir.as_fd(), Path::new("journal"), &text, Mode::from_raw_mode(0o600), Durable::Yes).on("write", &file)?;
    rustix::fs::syncfs(&store).on("write", &old)?;
    record.journal = Some(journal);
    set_state(record, State::Applying)
}

type Shared = HashMap<(u64, u64), Vec<usize>>;

fn save(journal: &mut Journal, index: usize, layers: &[Layer], store: BorrowedFd<'_>, shared: &mut Shared) -> std::result::Result<(), Cause> {
    let op = &journal.ops[index];
    let layer = &layers[op.layer];
    let name = CString::new(index.to_string()).map_err(|_| Cause::Os(Errno::INVAL))?;
    match op.old {
        Old::Nothing => Ok(()),
        Old::Directory => {
            let dir = directory(layer.lower(), op.path())?.ok_or(Cause::Os(Errno::NOENT))?;
            let stat = rustix::fs::fstat(&dir)?;
            rustix::fs::mkdirat(store, &*name, Mode::from_raw_mode(0o700))?;
            entry::dress(Place { dir: dir.as_fd(), name: c"", stat: &stat, upper: false }, store, &name)
        }
        Old::Entry => {
            let (dir, old) = parent(layer.lower(), op.path())?.ok_or(Cause::Os(Errno::NOENT))?;
            let stat = look(dir.as_fd(), &old)?.ok_or(Cause::Os(Errno::NOENT))?;
            if stat.st_nlink > 1 {
                shared.entry((stat.st_dev, stat.st_ino)).or_default().push(index);
            }
            entry::make(Place { dir: dir.as_fd(), name: &old, stat: &stat, upper: false }, store, &name)
        }
    }
}
