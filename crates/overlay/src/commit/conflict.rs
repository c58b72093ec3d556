//! What the host has done meanwhile to what a commit, or its undo, would change.
//!
//! The kernel sets the change time of whatever is changed, and no program can set it back; so what changed since is what has
//! a later one. Directories get one with every entry and are left out, except where all that is in them would go.

use std::os::fd::AsFd;
use std::path::Path;

use hostel_image::{Cause, Result};
use hostel_spec::OsText;
use serde::Serialize;

use super::{Act, Journal, plan};
use crate::change::{Change, Kind, What};
use crate::layer::{Layer, Time, changed, is_dir, look_at, parent};
use crate::mark;

/// One path that was changed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// As the machine has it.
    pub path: OsText,
    /// What happened.
    pub why: &'static str,
}

const CHANGED: &str = "changed since";
const REMOVED: &str = "removed since";

/// What of `changes` was changed below the layers at `base` or later.
pub fn conflicts(layers: &[Layer], changes: &[Change], base: Time) -> Result<Vec<Conflict>> {
    let mut found = Vec::new();
    for change in changes {
        let layer = &layers[change.layer];
        let why = of(layer, change, base).map_err(|e| e.on("look at", Path::new(change.path.as_os_str())))?;
        found.extend(why.into_iter().map(|(path, why)| Conflict { path: path.into_os_string().into(), why }));
    }
    Ok(found)
}

fn of(layer: &Layer, change: &Change, base: Time) -> std::result::Result<Vec<(std::path::PathBuf, &'static str)>, Cause> {
    let mut found = Vec::new();
    let path = change.inside.as_path();
    if path.as_os_str().is_empty() {
        return Ok(found);
    }
    match look_at(layer.lower(), path)? {
        Some(stat) if is_dir(&stat) && (change.what == What::Deleted || change.kind != Kind::Directory) => {
            let whole = Change { layer: 0, what: What::Deleted, kind: Kind::Directory, was: None, ..change.clone() };
            let steps = plan::plan(std::slice::from_ref(layer), &[whole]).map_err(|e| e.cause)?;
            for op in steps.iter().filter(|op| op.act == Act::Delete) {
                if look_at(layer.lower(), op.path())?.is_some_and(|s| changed(&s) >= base) {
                    found.push((layer.shown(op.path()), CHANGED));
                }
            }
        }
        Some(stat) if !is_dir(&stat) && changed(&stat) >= base => found.push((layer.shown(path), CHANGED)),
        Some(_) => {}
        None if change.what == What::Added && is_gone(layer, change, base)? => found.push((layer.shown(path), REMOVED)),
        None => {}
    }
    Ok(found)
}

/// Whether an upper entry without a lower one began as a copy of one of its name, which is not there any more. A file that
/// the machine renamed is a copy, too: it counts where the directory below had entries come or go since.
fn is_gone(layer: &Layer, change: &Change, base: Time) -> std::result::Result<bool, Cause> {
    let Some((dir, name)) = parent(layer.upper(), &change.inside)? else { return Ok(false) };
    if !mark::is_copied_up(dir.as_fd(), &name)? {
        return Ok(false);
    }
    // Directories of two layers are not renamed but copied by whoever moves them.
    if change.kind == Kind::Directory {
        return Ok(true);
    }
    Ok(match parent(layer.lower(), &change.inside)? {
        Some((below, _)) => changed(&rustix::fs::fstat(&below)?) >= base,
        None => false,
    })
}

/// What was changed after `done` of what a commit put, or deleted.
pub(super) fn since(journal: &Journal, layers: &[Layer], done: Time) -> Result<Vec<Conflict>> {
    let mut found = Vec::new();
    for op in &journal.ops {
        let layer = &layers[op.layer];
        let shown = layer.shown(op.path());
        let look = || look_at(layer.lower(), op.path()).map_err(|e| e.on("look at", &shown));
        let why = match op.act {
            Act::Dress => None,
            Act::MakeDir => look()?.filter(|s| !is_dir(s)).map(|_| CHANGED),
            Act::Delete => look()?.map(|_| "made since"),
            Act::Put => match look()? {
                None => Some(REMOVED),
                Some(stat) => (changed(&stat) > done).then_some(CHANGED),
            },
        };
        found.extend(why.map(|why| Conflict { path: shown.into_os_string().into(), why }));
    }
    Ok(found)
}
