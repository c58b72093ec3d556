//! Copying a tree: snapshot, else reflinks, else bytes; made under a dot name and renamed when it is whole.
//!
//! Kept are owners, modes, times, extended attributes (ACLs and file capabilities among them), hard links, holes, devices,
//! FIFOs and sockets. Inode flags (chattr(1)) are not. Links are copied, never followed; what is mounted in the tree is
//! not entered (its mount point is copied, empty).

mod contents;
mod file;
mod snapshot;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

pub use file::times;
pub(crate) use file::{Means, contents};
pub(crate) use file::{Room, attributes, drop_inherited_acls, owner};
pub(crate) use snapshot::snapshot;

use crate::error::On;
use crate::inroot::{Durable, sync_directory};
use crate::{Cause, Result, partial, remove, walk};

const VERB: &str = "create tree";

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Directory entries done.
    pub files: u64,
    /// Bytes of file contents done, reflinked ones included.
    pub bytes: u64,
}

/// How to copy.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Whether the copy must survive a power cut once it has its name. Throw-away copies need not.
    pub durable: Durable,
    /// Called from the copying threads, about once per 64 files or 4 MiB.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    /// Threads; 0 = as is good.
    pub threads: usize,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { durable: Durable::Yes, progress: None, threads: 0 }
    }
}

/// Fills the empty regular file `to` with what `from` holds: shared blocks where both file systems can, holes kept.
pub fn fill(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> std::result::Result<(), Cause> {
    let stat = rustix::fs::fstat(from)?;
    Ok(contents(from, to, &stat, &Means::new(), &mut Vec::new())?)
}

/// What made the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A btrfs snapshot: nothing was copied.
    Snapshot,
    /// Files that share their contents with the source's.
    Reflink,
    /// Bytes.
    Bytes,
}

/// A finished copy.
#[derive(Debug)]
pub struct Copied {
    /// Its top directory. As long as this is open, [`crate::sweep`] leaves a throw-away copy alone.
    pub dir: OwnedFd,
    /// How it was made.
    pub method: Method,
    /// How much there was to do (0 for a snapshot).
    pub progress: Progress,
}

/// Copies the tree `source` (a directory, maybe O_PATH; `name` in messages) to the path `target`, which must not exist.
///
/// `target` appears when the copy is whole, or not at all. Left-overs of killed copies beside it are swept first.
pub fn copy_tree(source: BorrowedFd<'_>, name: &Path, target: &Path, options: &Options<'_>) -> Result<Copied> {
    let (parent, target_name) = remove::open_parent(target).on(VERB, target)?;
    copy_into(source, name, (parent.as_fd(), &target_name, target), options)
}

/// [`copy_tree`] to a name in a directory (readable); the third is its path in messages.
pub(crate) fn copy_into(
    source: BorrowedFd<'_>,
    name: &Path,
    (parent, target_name, target): (BorrowedFd<'_>, &CStr, &Path),
    options: &Options<'_>,
) -> Result<Copied> {
    match rustix::fs::statat(parent, target_name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        Err(e) => return Err(Cause::Os(e).on(VERB, target)),
        Ok(_) => return Err(Cause::Os(Errno::EXIST).on(VERB, target)),
    }
    let counter = Counter::new(options.progress);
    let (partial_name, dir, method) = unnamed(source, name, (parent, target), options, &counter)?;
    match publish(parent, &partial_name, dir.as_fd(), target_name, options.durable) {
        Ok(()) => Ok(Copied { dir, method, progress: counter.now() }),
        Err(e) => Err(clean_up(e.on(VERB, target), parent, &partial_name, dir, target, &counter)),
    }
}

/// Copies what is in the directory `source` (maybe O_PATH; `name` in messages), and its own attributes, into the fresh directory
/// `target`. By this thread alone.
pub fn copy_contents(source: BorrowedFd<'_>, name: &Path, target: BorrowedFd<'_>) -> Result<()> {
    let options = Options { durable: Durable::No, threads: 1, ..Options::default() };
    contents::copy(source, name, target, &options, &Counter::new(None)).map(drop)
}

/// [`copy_tree`] in the place of the directory tree `target`: it is the old or the new one at any time, and the old one is deleted
/// then. Who holds the old one open keeps that.
pub fn replace_tree(source: BorrowedFd<'_>, name: &Path, target: &Path, options: &Options<'_>) -> Result<()> {
    let (parent, target_name) = remove::open_parent(target).on(VERB, target)?;
    let parent = parent.as_fd();
    let old = walk::subdirectory(parent, &target_name).on("open tree", target)?;
    let counter = Counter::new(options.progress);
    let (partial_name, dir, _) = unnamed(source, name, (parent, target), options, &counter)?;
    if let Err(e) = exchange(parent, &partial_name, dir.as_fd(), &target_name) {
        return Err(clean_up(e.on(VERB, target), parent, &partial_name, dir, target, &counter));
    }
    let _held = partial::take(parent, &partial_name);
    remove::delete(parent, &partial_name, old).on("remove tree", target)
}

/// A whole copy in the directory `parent` that has a dot name yet; `target`, what it will be, is for messages.
fn unnamed(
    source: BorrowedFd<'_>,
    name: &Path,
    (parent, target): (BorrowedFd<'_>, &Path),
    options: &Options<'_>,
    counter: &Counter<'_>,
) -> Result<(CString, OwnedFd, Method)> {
    partial::sweep_in(parent).on(VERB, target)?;
    let source = walk::readable(source).on("open tree", name)?;
    match snapshot(source.as_fd(), parent) {
        Ok(Some((partial, dir))) => Ok((partial, dir, Method::Snapshot)),
        Ok(None) => partial::make(parent, partial::PARTIAL).on(VERB, target).and_then(|(partial, dir)| {
            match contents::copy(source.as_fd(), name, dir.as_fd(), options, counter) {
                Ok(method) => Ok((partial, dir, method)),
                Err(e) => Err(clean_up(e, parent, &partial, dir, target, counter)),
            }
        }),
        Err(e) => Err(e.on("snapshot tree", name)),
    }
}

/// Gives a whole copy its name.
pub(crate) fn publish(
    parent: BorrowedFd<'_>,
    partial: &CStr,
    dir: BorrowedFd<'_>,
    target: &CStr,
    durable: Durable,
) -> std::result::Result<(), Cause> {
    if durable == Durable::Yes {
        rustix::fs::syncfs(dir)?;
    }
    match rustix::fs::renameat_with(parent, partial, parent, target, RenameFlags::NOREPLACE) {
        // A file system without that flag. An empty directory made there meanwhile may be replaced, nothing else.
        Err(Errno::INVAL) => rustix::fs::renameat(parent, partial, parent, target)?,
        other => other?,
    }
    if durable == Durable::Yes {
        sync_directory(parent)?;
    }
    Ok(())
}

/// [`publish`] over what has the name `target`: that is then `partial`. Both names are in `parent`.
pub(crate) fn exchange(parent: BorrowedFd<'_>, partial: &CStr, made: BorrowedFd<'_>, target: &CStr) -> std::result::Result<(), Cause> {
    rustix::fs::syncfs(made)?;
    rustix::fs::renameat_with(parent, partial, parent, target, RenameFlags::EXCHANGE)?;
    Ok(sync_directory(parent)?)
}

/// Removes what was made and tells what stopped it; a full disk is told with its figures, taken before the removal.
fn clean_up(mut error: crate::Error, parent: BorrowedFd<'_>, partial: &CStr, dir: OwnedFd, target: &Path, counter: &Counter<'_>) -> crate::Error {
    if matches!(error.cause, Cause::Os(Errno::NOSPC | Errno::DQUOT)) {
        let free = rustix::fs::fstatvfs(&dir).map_or(0, |s| s.f_bavail * s.f_frsize);
        let place = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        error = Cause::NoSpace { place, free, written: counter.now().bytes }.on("create tree", target);
    }
    // A full btrfs may refuse to unlink until it has committed. What stays has a dot name and is for the next sweep.
    for _ in 0..3 {
        let Ok(again) = walk::readable(dir.as_fd()) else { break };
        match remove::delete(parent, partial, again) {
            Err(Cause::Os(Errno::NOSPC | Errno::DQUOT)) => {
                let _ = rustix::fs::syncfs(&dir);
            }
            _ => break,
        }
    }
    error
}

/// Makes `target` from the tree `template` when it does not exist (`--template=`). `None`: it exists, nothing was touched.
pub fn from_template(template: &Path, target: &Path, options: &Options<'_>) -> Result<Option<Copied>> {
    match rustix::fs::stat(target) {
        Ok(_) => return Ok(None),
        Err(Errno::NOENT) => {}
        Err(e) => return Err(Cause::Os(e).on("open tree", target)),
    }
    let source = crate::open::directory(template)?;
    match copy_tree(source.as_fd(), template, target, options) {
        Ok(copied) => Ok(Some(copied)),
        // Another start made it in the meantime.
        Err(e) if e.cause == Cause::Os(Errno::EXIST) && rustix::fs::stat(target).is_ok() => Ok(None),
        Err(e) => Err(e),
    }
}

/// Counts and tells progress, for all threads.
pub(crate) struct Counter<'a> {
    files: AtomicU64,
    bytes: AtomicU64,
    told: AtomicU64,
    tell: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(tell: Option<&'a (dyn Fn(Progress) + Sync)>) -> Self {
        Self { files: AtomicU64::new(0), bytes: AtomicU64::new(0), told: AtomicU64::new(0), tell }
    }

    pub(crate) fn now(&self) -> Progress {
        Progress { files: self.files.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    pub(crate) fn add_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let Some(tell) = self.tell else { return };
        let now = self.now();
        // A file counts as 64 KiB of work.
        let work = now.files * 65536 + now.bytes;
        let told = self.told.load(Ordering::Relaxed);
        if work >= told + (4 << 20) && self.told.compare_exchange(told, work, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tell(now);
        }
    }
}

#[cfg(test)]
mod tests;
