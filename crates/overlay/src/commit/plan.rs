//! The steps of a commit, in an order that can be interrupted.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use hostel_image::{Cause, Result};

use super::{Act, Old, Op};
use crate::change::{Change, Kind, What};
use crate::layer::{Layer, below, directory, is_dir, look, names};

pub(crate) fn plan(layers: &[Layer], changes: &[Change]) -> Result<Vec<Op>> {
    let mut plan = Plan { layers, directories: Vec::new(), files: Vec::new(), gone: Vec::new(), dressed: BTreeSet::new(), linked: HashMap::new() };
    for change in changes {
        plan.add(change).map_err(|e| e.on("plan commit of", Path::new(change.path.as_os_str())))?;
    }
    Ok(plan.finish())
}

struct Plan<'a> {
    layers: &'a [Layer],
    directories: Vec<Op>,
    files: Vec<(Op, Option<(usize, u64, u64)>)>,
    gone: Vec<Op>,
    /// Directories whose times change.
    dressed: BTreeSet<(usize, PathBuf)>,
    linked: HashMap<(usize, u64, u64), usize>,
}

fn op(act: Act, layer: usize, path: &Path, old: Old) -> Op {
    Op { act, layer, path: path.as_os_str().into(), old, link: None, old_link: None }
}

fn old(kind: Option<Kind>) -> Old {
    match kind {
        None => Old::Nothing,
        Some(Kind::Directory) => Old::Directory,
        Some(_) => Old::Entry,
    }
}

impl Plan<'_> {
    fn add(&mut self, change: &Change) -> std::result::Result<(), Cause> {
        let path = change.inside.as_path();
        let before = if change.what == What::Added { None } else { Some(change.was.unwrap_or(change.kind)) };
        if let Some(parent) = path.parent()
            && (change.what != What::Metadata || change.kind != Kind::Directory)
        {
            self.dressed.insert((change.layer, parent.to_owned()));
        }
        match (change.what, change.kind) {
            (What::Deleted, kind) => {
                if kind == Kind::Directory {
                    self.gone.extend(all_below(&self.layers[change.layer], change.layer, path)?);
                }
                self.gone.push(op(Act::Delete, change.layer, path, old(Some(kind))));
            }
            (What::Metadata, Kind::Directory) => drop(self.dressed.insert((change.layer, path.to_owned()))),
            (_, Kind::Directory) => {
                self.directories.push(op(Act::MakeDir, change.layer, path, old(before)));
                self.dressed.insert((change.layer, path.to_owned()));
            }
            (_, _) => {
                let before = old(before);
                if before == Old::Directory {
                    let below = all_below(&self.layers[change.layer], change.layer, path)?;
                    self.files.extend(below.into_iter().map(|op| (op, None)));
                }
                self.files.push((op(Act::Put, change.layer, path, before), change.inode.map(|(dev, inode)| (change.layer, dev, inode))));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<Op> {
        let mut all = std::mem::take(&mut self.directories);
        let made: HashSet<(usize, PathBuf)> = all.iter().map(|op| (op.layer, op.path().to_owned())).collect();
        for (mut op, inode) in self.files {
            if let Some(inode) = inode {
                let first = *self.linked.entry(inode).or_insert(all.len());
                op.link = (first != all.len()).then_some(first);
            }
            all.push(op);
        }
        all.extend(self.gone);
        // The deepest first: what happens in a directory changes its times.
        for (layer, path) in self.dressed.into_iter().rev() {
            let old = if made.contains(&(layer, path.clone())) { Old::Nothing } else { Old::Directory };
            all.push(op(Act::Dress, layer, &path, old));
        }
        all
    }
}

/// Steps that delete everything in a lower directory, the deepest first.
fn all_below(layer: &Layer, index: usize, path: &Path) -> std::result::Result<Vec<Op>, Cause> {
    let mut found = Vec::new();
    let mut todo = vec![path.to_owned()];
    while let Some(inside) = todo.pop() {
        let Some(dir) = directory(layer.lower(), &inside)? else { continue };
        for name in names(dir.as_fd())? {
            let Some(stat) = look(dir.as_fd(), &name)? else { continue };
            let path = below(&inside, &name);
            found.push(op(Act::Delete, index, &path, if is_dir(&stat) { Old::Directory } else { Old::Entry }));
            if is_dir(&stat) {
                todo.push(path);
            }
        }
    }
    found.reverse();
    Ok(found)
}
