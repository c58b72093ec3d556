//! Copying between the host and a running machine.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use hostel_image::stream::{self, CUT, Received, Source, Target};
use hostel_image::{Cause, inroot};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::told;
use crate::enter::Leader;
use crate::error::{Context, Error, Result};

/// What is copied where, and how.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// Where it is.
    pub source: &'a Path,
    /// Where it goes.
    pub target: &'a Path,
    /// Files that are there are replaced.
    pub replace: bool,
    /// What a link leads to is copied when the source is one. Links below it are always copied as links.
    pub follow: bool,
    /// A target that is a directory gets the source in it, by its name, as with cp(1). Otherwise it *becomes* the source.
    pub into: bool,
}

const BUFFER: usize = 256 << 10;

/// Copies from the host into the machine of `leader`. Ids are numbers: owner N here is N there, if there is such an id.
pub fn copy_to(leader: &Leader, transfer: &Transfer<'_>) -> Result<()> {
    let source = transfer.source;
    let found = Source::open(source, transfer.follow).map_err(|e| Error::new("open", source.display().to_string(), e))?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).context("make", "pipe")?;
    let ours = std::cell::Cell::new(Some(write));
    let child = super::start(leader, vec![read], |root, pipes| {
        // Its own copy of the writing end would keep the stream from ending.
        drop(ours.take());
        let receive = || {
            let (dir, name) = place(transfer, &|path| inroot::directory(root, path), &|path| Ok(inroot::parent(root, path)?.0))?;
            let shown = shown(transfer, name.as_deref());
            let target = Target { dir: dir.as_fd(), name, replace: transfer.replace, tame: false };
            stream::receive(&mut BufReader::with_capacity(BUFFER, File::from(one(pipes)?)), &target, &shown).map(drop).map_err(told)
        };
        receive().map_err(|e| Error { object: format!("{} in the machine", e.object), ..e })
    })?;
    let write = ours.take().ok_or_else(|| Error::new("use", "pipe", "it is closed"))?;
    let sent = stream::send(&found, source, &mut BufWriter::with_capacity(BUFFER, File::from(write)));
    settle(sent.map(drop), child.finish(), transfer)
}

/// Copies from the machine of `leader` to the host. Set-user-id and set-group-id bits of files do not come along, nor do
/// devices and sockets; how many is in the result.
pub fn copy_from(leader: &Leader, transfer: &Transfer<'_>) -> Result<Received> {
    let source = transfer.source;
    let open = |path: &Path| Ok(rustix::fs::open(here(path), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
    let (dir, name) = place(transfer, &open, &|path| open(path.parent().unwrap_or(Path::new("."))))?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).context("make", "pipe")?;
    let ours = std::cell::Cell::new(Some(read));
    let child = super::start(leader, vec![write], |root, pipes| {
        // Its own copy of the reading end would keep it from noticing that nobody reads any more.
        drop(ours.take());
        let found = Source::find(root, source, transfer.follow).map_err(|e| Error::new("open", format!("{} in the machine", source.display()), e))?;
        stream::send(&found, source, &mut BufWriter::with_capacity(BUFFER, File::from(one(pipes)?))).map(drop).map_err(told)
    })?;
    let read = ours.take().ok_or_else(|| Error::new("use", "pipe", "it is closed"))?;
    let shown = shown(transfer, name.as_deref());
    let target = Target { dir: dir.as_fd(), name, replace: transfer.replace, tame: true };
    let mut input = BufReader::with_capacity(BUFFER, File::from(read));
    let received = stream::receive(&mut input, &target, &shown);
    drop(input);
    let mut counts = Received::default();
    settle(received.map(|r| counts = r), child.finish(), transfer)?;
    Ok(counts)
}

fn one(mut pipes: Vec<OwnedFd>) -> Result<OwnedFd> {
    pipes.pop().ok_or_else(|| Error::new("use", "pipe", "it is closed"))
}

/// Of two ends that failed, the one that knows why.
fn settle(ours: std::result::Result<(), hostel_image::Error>, theirs: Result<()>, transfer: &Transfer<'_>) -> Result<()> {
    let result = match (ours, theirs) {
        (Ok(()), theirs) => theirs,
        (Err(error), Err(theirs)) if error.cause == CUT => Err(theirs),
        (Err(error), _) => Err(told(error)),
    };
    let exists = Cause::Os(Errno::EXIST).to_string();
    result.map_err(|error| if error.cause == exists && !transfer.replace { error.hint("--force replaces files") } else { error })
}

type Opened = std::result::Result<OwnedFd, Cause>;

/// The directory that the copy goes to, and its name there (`None`: the directory's own contents).
fn place(transfer: &Transfer<'_>, directory: &dyn Fn(&Path) -> Opened, above: &dyn Fn(&Path) -> Opened) -> Result<(OwnedFd, Option<CString>)> {
    let target = transfer.target;
    let failed = |cause: Cause| Error::new("open", target.display().to_string(), cause);
    let named = |name: &std::ffi::OsStr| CString::new(name.as_bytes()).map_err(|_| failed(Cause::Os(Errno::INVAL)));
    let slash = target.as_os_str().as_bytes().ends_with(b"/");
    let own = target.components().next_back().and_then(|c| if let Component::Normal(name) = c { Some(name) } else { None });
    if transfer.into || own.is_none() {
        match directory(target) {
            Ok(dir) if transfer.into => return Ok((dir, transfer.source.file_name().map(named).transpose()?)),
            Ok(dir) => return Ok((dir, None)),
            Err(Cause::Os(Errno::NOENT | Errno::NOTDIR)) if !slash && own.is_some() => {}
            Err(e) => return Err(failed(e)),
        }
    }
    let Some(name) = own else { return Err(failed(Cause::Os(Errno::ISDIR))) };
    let parent = || target.parent().unwrap_or(target).display().to_string();
    Ok((above(target).map_err(|cause| Error::new("open", parent(), cause))?, Some(named(name)?)))
}

/// The target with the name that the copy gets there, for messages.
fn shown(transfer: &Transfer<'_>, name: Option<&CStr>) -> PathBuf {
    match name.map(|n| Path::new(OsStr::from_bytes(n.to_bytes()))) {
        Some(name) if transfer.target.file_name() != Some(name.as_os_str()) => transfer.target.join(name),
        _ => transfer.target.to_path_buf(),
    }
}

/// open(2) knows no empty path.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
