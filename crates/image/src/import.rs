//! Making an image from outside: an archive, a disk image's file, a directory.
//!
//! It is made as `.#hostel-import-…` beside its place, held by a lock, and renamed when it is whole and on the disk. What a
//! killed import leaves is in no list and is swept by the next one.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_spec::MachineName;
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use crate::copy::{self, Progress};
use crate::error::On;
use crate::images::{self, Places};
use crate::inroot::Durable;
use crate::tar::{Archive, Report, unpack};
use crate::watch::{Watch, Watched};
use crate::{Cause, Error, Result, compress, open, partial, remove, tar, walk};

/// Zeros of this length become a hole.
const HOLE: usize = 4096;

/// How an image is made.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Where.
    pub places: Places<'a>,
    /// One of the same name is replaced, unless it runs.
    pub force: bool,
    /// The image is marked read-only.
    pub read_only: bool,
    /// Whoever waits for it.
    pub watch: Watch<'a>,
}

/// Where the bytes of an image come from.
pub trait Source: Read {
    /// Called when no more are needed and before the image gets its name: an error, and it does not.
    fn finish(&mut self) -> std::result::Result<(), Cause>;
}

/// What needs no verification.
struct Plain<R>(R);

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Source for Plain<R> {
    fn finish(&mut self) -> std::result::Result<(), Cause> {
        Ok(())
    }
}

/// Makes the image `name` from an archive, compressed or not; `from` in messages.
pub fn tar(input: impl Read, from: &Path, name: &MachineName, options: &Options<'_>) -> Result<Report> {
    tar_from(&mut Plain(input), from, name, options)
}

/// [`tar`] from what may refuse at its end.
pub fn tar_from(source: &mut dyn Source, from: &Path, name: &MachineName, options: &Options<'_>) -> Result<Report> {
    make_tree(name, options, &mut |dir| {
        let (_, stream) = compress::reader(Watched::new(&mut *source, options.watch)).map_err(tar::Fault::Io).on("read archive", from)?;
        let report = unpack(&mut Archive::new(stream), from, dir)?;
        source.finish().on("verify", from)?;
        hoist(dir).on("create image", &options.places.home.join(name.as_str()))?;
        Ok(report)
    })
}

/// Makes the image `name` a tree that `fill` puts into a new directory; it appears when that is done, or not at all.
pub(crate) fn make_tree(name: &MachineName, options: &Options<'_>, fill: &mut dyn FnMut(BorrowedFd<'_>) -> Result<Report>) -> Result<Report> {
    const VERB: &str = "create image";
    let target = options.places.home.join(name.as_str());
    let place = Place::prepare(options, name, &target)?;
    let (half, dir) = partial::make_tree(place.parent.as_fd(), partial::IMPORT).on(VERB, &target)?;
    let made = fill(dir.as_fd()).and_then(|report| place.put(&half, dir.as_fd(), options).map(|()| report));
    match made {
        Ok(report) => {
            protect(options, name)?;
            Ok(report)
        }
        Err(error) => {
            let error = full(error, dir.as_fd(), options.places.home);
            discard(place.parent.as_fd(), &half, dir);
            Err(error)
        }
    }
}

/// Makes the image `name` from a disk image's contents, compressed or not; `from` in messages. Zeros become holes; blocks are
/// shared with `input` where that can be done. Returns its size.
pub fn raw(input: File, from: &Path, name: &MachineName, options: &Options<'_>) -> Result<u64> {
    make_raw(from, name, options, |file| match fill_from_file(&input, file, options.watch) {
        Ok(None) => fill(&mut Plain(&input), file, options.watch),
        Ok(Some(size)) => Ok(size),
        Err(e) => Err(e),
    })
}

/// [`raw`] from a stream that may refuse at its end.
pub fn raw_from(source: &mut dyn Source, from: &Path, name: &MachineName, options: &Options<'_>) -> Result<u64> {
    make_raw(from, name, options, |file| fill(source, file, options.watch))
}

fn make_raw(
    from: &Path,
    name: &MachineName,
    options: &Options<'_>,
    fill: impl FnOnce(BorrowedFd<'_>) -> std::result::Result<u64, Cause>,
) -> Result<u64> {
    const VERB: &str = "create image";
    let target = options.places.home.join(format!("{name}.raw"));
    let place = Place::prepare(options, name, &target)?;
    let (half, file) = partial::make_file(place.parent.as_fd(), partial::IMPORT).on(VERB, &target)?;
    let made = (|| {
        let size = fill(file.as_fd()).on("read disk image", from)?;
        rustix::fs::fsync(&file).on(VERB, &target)?;
        place.put(&half, file.as_fd(), options)?;
        Ok(size)
    })();
    match made {
        Ok(size) => {
            protect(options, name)?;
            Ok(size)
        }
        Err(error) => {
            let error = full(error, file.as_fd(), options.places.home);
            // What stays has a dot name and is for the next sweep.
            let _ = rustix::fs::unlinkat(&place.parent, &*half, AtFlags::empty());
            Err(error)
        }
    }
}

/// Makes the image `name` a copy of the directory `from`.
pub fn directory(from: &Path, name: &MachineName, options: &Options<'_>) -> Result<()> {
    let target = options.places.home.join(name.as_str());
    let source = open::directory(from)?;
    let place = Place::prepare(options, name, &target)?;
    let tell = |p: Progress| (options.watch.progress)(p.bytes);
    let how = copy::Options { progress: Some(&tell), ..copy::Options::default() };
    if options.force && place.old.is_some() {
        // The copy first, under another name: what is there stays until there is something in its place.
        let half = partial::fresh_name(partial::IMPORT).on("create image", &target)?;
        let path = options.places.home.join(OsStr::from_bytes(half.to_bytes()));
        let copied = copy::copy_tree(source.as_fd(), from, &path, &how)?;
        let put = open::directory(&path)
            .and_then(|dir| walk::readable(dir.as_fd()).on("open image", &path))
            .and_then(|dir| place.put(&half, dir.as_fd(), options));
        drop(copied);
        if put.is_err() {
            let _ = remove::remove_tree(&path);
        }
        put?;
    } else {
        copy::copy_tree(source.as_fd(), from, &target, &how)?;
    }
    protect(options, name)
}

/// Where an image is made, and what has the name until then.
struct Place {
    parent: OwnedFd,
    name: CString,
    old: Option<(images::Image, crate::locks::TreeLock)>,
}

impl Place {
    fn prepare(options: &Options<'_>, name: &MachineName, target: &Path) -> Result<Place> {
        const VERB: &str = "create image";
        let old = if options.force {
            // Held to the end: nobody starts what is about to be replaced.
            images::replaceable(&options.places, name)?.map(|image| images::lock(&options.places, &image).map(|lock| (image, lock))).transpose()?
        } else {
            images::refuse_taken(&options.places, name)?;
            None
        };
        images::make_home(options.places.home)?;
        let (parent, name) = remove::open_parent(target).on(VERB, target)?;
        partial::sweep_in(parent.as_fd()).on(VERB, target)?;
        Ok(Place { parent, name, old })
    }

    /// Gives what is whole, `made`, its name instead of `half`, and then takes the old image away: a kill in between leaves one
    /// of them whole under the name. The old one's settings stay: they are for the name.
    fn put(&self, half: &CStr, made: BorrowedFd<'_>, options: &Options<'_>) -> Result<()> {
        const VERB: &str = "create image";
        let home = options.places.home;
        // The last moment to stop.
        options.watch.tick(0).on(VERB, home)?;
        let target = home.join(OsStr::from_bytes(self.name.to_bytes()));
        let publish = || copy::publish(self.parent.as_fd(), half, made, &self.name, Durable::Yes).on(VERB, &target);
        let Some((image, _)) = &self.old else { return publish() };
        if let Ok(dir) = open::directory(&image.path).and_then(|d| walk::readable(d.as_fd()).on("open image", &image.path)) {
            remove::refuse_mounts_below(dir.as_fd()).on("remove image", &image.path)?;
            let _ = remove::unprotect(dir.as_fd());
        }
        if image.path != target {
            publish()?;
            return take_away(&image.path);
        }
        match copy::exchange(self.parent.as_fd(), half, made, &self.name) {
            Ok(()) => take_away(&home.join(OsStr::from_bytes(half.to_bytes()))),
            // A file system that cannot.
            Err(Cause::Os(Errno::INVAL)) => take_away(&image.path).and_then(|()| publish()),
            Err(e) => Err(e.on(VERB, &target)),
        }
    }
}

fn take_away(image: &Path) -> Result<()> {
    match image.symlink_metadata() {
        Ok(meta) if meta.is_dir() => remove::remove_tree(image),
        Ok(_) => rustix::fs::unlink(image).on("remove image", image),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Cause::from(e).on("remove image", image)),
    }
}

fn protect(options: &Options<'_>, name: &MachineName) -> Result<()> {
    if options.read_only { images::set_read_only(&images::find(name, &[options.places.home])?, true) } else { Ok(()) }
}

fn full(mut error: Error, file: BorrowedFd<'_>, home: &Path) -> Error {
    error.cause = images::full(error.cause, file, home);
    error
}

/// Removes a half-made tree. A full btrfs may refuse until it has committed; what stays has a dot name.
fn discard(parent: BorrowedFd<'_>, name: &CStr, dir: OwnedFd) {
    for _ in 0..3 {
        let Ok(again) = walk::readable(dir.as_fd()) else { return };
        match remove::delete(parent, name, again) {
            Err(Cause::Os(Errno::NOSPC | Errno::DQUOT)) => {
                let _ = rustix::fs::syncfs(&dir);
            }
            _ => return,
        }
    }
}

/// Many archives have the system in one directory at their top: that becomes the top itself.
fn hoist(top: BorrowedFd<'_>) -> std::result::Result<(), Cause> {
    if tar::is_system(top) {
        return Ok(());
    }
    let mut names = Vec::new();
    walk::entries(walk::readable(top)?.as_fd(), |name, kind| -> std::result::Result<(), Errno> {
        names.push((name.to_owned(), kind));
        Ok(())
    })?;
    let [(name, FileType::Directory)] = &names[..] else { return Ok(()) };
    let inner = walk::subdirectory(top, name)?;
    if !tar::is_system(inner.as_fd()) {
        return Ok(());
    }
    // It may have an entry of its own name.
    let aside = partial::fresh_name("hoist")?;
    rustix::fs::renameat(top, &**name, top, &*aside)?;
    let mut below = Vec::new();
    walk::entries(inner.as_fd(), |name, _| -> std::result::Result<(), Errno> {
        below.push(name.to_owned());
        Ok(())
    })?;
    for name in below {
        rustix::fs::renameat(&inner, &*name, top, &*name)?;
    }
    let stat = rustix::fs::fstat(&inner)?;
    let (uid, gid) = copy::owner(&stat);
    let top = walk::readable(top)?;
    rustix::fs::fchown(&top, uid, gid)?;
    copy::attributes(inner.as_fd(), top.as_fd(), c"", &mut copy::Room::default())?;
    rustix::fs::unlinkat(&top, &*aside, AtFlags::REMOVEDIR)?;
    rustix::fs::fchmod(&top, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(rustix::fs::futimens(&top, &copy::times(&stat))?)
}

/// Copies a disk image's contents into the empty file `to`, sharing blocks and keeping holes. `None`: it is compressed, or a pipe.
fn fill_from_file(input: &File, to: BorrowedFd<'_>, watch: Watch<'_>) -> std::result::Result<Option<u64>, Cause> {
    let stat = rustix::fs::fstat(input)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size == 0 || rustix::fs::tell(input)? != 0 {
        return Ok(None);
    }
    let mut start = [0u8; 8];
    let n = rustix::io::pread(input, &mut start[..], 0)?;
    if compress::Format::of(&start[..n]) != compress::Format::Plain {
        return Ok(None);
    }
    refuse_other_formats(&start[..n])?;
    watch.tick(0)?;
    copy::contents(input.as_fd(), to, &stat, &copy::Means::new(), &mut Vec::new())?;
    watch.tick(stat.st_size as u64)?;
    Ok(Some(stat.st_size as u64))
}

/// Copies a disk image's contents out of a stream, compressed or not, into the empty file `to`.
fn fill(source: &mut dyn Source, to: BorrowedFd<'_>, watch: Watch<'_>) -> std::result::Result<u64, Cause> {
    let (_, mut stream) = compress::reader(Watched::new(&mut *source, watch)).map_err(tar::Fault::Io)?;
    let mut buffer = vec![0u8; 64 * HOLE];
    let mut size = 0u64;
    loop {
        let n = read_full(&mut stream, &mut buffer)?;
        if n == 0 {
            break;
        }
        if size == 0 {
            refuse_other_formats(&buffer[..n])?;
        }
        write_sparse(to, &buffer[..n], size)?;
        size += n as u64;
    }
    if size == 0 {
        return Err(Cause::Why("there is nothing in it"));
    }
    drop(stream);
    rustix::fs::ftruncate(to, size)?;
    source.finish()?;
    Ok(size)
}

fn refuse_other_formats(start: &[u8]) -> std::result::Result<(), Cause> {
    match start {
        [b'Q', b'F', b'I', 0xfb, ..] => Err(Cause::Why("it is a qcow2 image; qemu-img convert -O raw makes a raw one")),
        [b'K', b'D', b'M', b'V', ..] => Err(Cause::Why("it is a VMDK image; qemu-img convert -O raw makes a raw one")),
        [b'v', b'h', b'd', b'x', b'f', ..] => Err(Cause::Why("it is a VHDX image; qemu-img convert -O raw makes a raw one")),
        _ => Ok(()),
    }
}

fn read_full(stream: &mut dyn Read, buffer: &mut [u8]) -> std::result::Result<usize, Cause> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(tar::Fault::Io(e).into()),
        }
    }
    Ok(filled)
}

/// Writes what is not zero.
fn write_sparse(to: BorrowedFd<'_>, bytes: &[u8], at: u64) -> std::result::Result<(), Cause> {
    for (i, chunk) in bytes.chunks(HOLE).enumerate() {
        if chunk.iter().all(|b| *b == 0) {
            continue;
        }
        let mut done = 0;
        while done < chunk.len() {
            match rustix::io::pwrite(to, &chunk[done..], at + (i * HOLE + done) as u64) {
                Ok(0) => return Err(Cause::Os(Errno::IO)),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

/// The name an image gets that comes from the file, directory or address `from`: its last part without what tells the form.
pub fn name_from(from: &str) -> Option<MachineName> {
    let path = from.split(['?', '#']).next().unwrap_or(from);
    let mut name = PathBuf::from(path).file_name()?.to_str()?.to_owned();
    for suffix in [".gz", ".xz", ".zst", ".zstd", ".bz2", ".tgz", ".txz", ".tzst", ".tbz2", ".tar", ".raw", ".img"] {
        if let Some(stem) = name.strip_suffix(suffix) {
            name = stem.to_owned();
        }
    }
    MachineName::new(name).ok()
}

#[cfg(test)]
mod tests;
