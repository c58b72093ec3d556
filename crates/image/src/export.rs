//! Writing an image out: a tree as an archive, a disk image as it is, compressed if wanted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::compress::{Format, Writer};
use crate::error::On;
use crate::images::{self, Image};
use crate::inroot::Durable;
use crate::open::{self, Kind};
use crate::watch::Watch;
use crate::{Cause, Result, copy, partial, remove, tar, walk};

const BUFFER: usize = 256 << 10;

/// Where an export goes.
pub enum Output<'a> {
    /// An open file, a pipe.
    Stream(&'a File),
    /// A new file, which has its name when it is whole; with `force` in place of one that is there.
    File(&'a Path, bool),
}

/// Exports the tree of `image` as an archive. Of a subvolume a snapshot is exported: it holds still.
pub fn tar(image: &Image, output: &Output<'_>, format: Format, watch: Watch<'_>) -> Result<tar::Written> {
    const VERB: &str = "export image";
    if !matches!(image.kind, Kind::Directory | Kind::Subvolume) {
        return Err(Cause::Why("it is a disk image, which is exported as it is").on(VERB, &image.path));
    }
    let tree = walk::readable(open::directory(&image.path)?.as_fd()).on(VERB, &image.path)?;
    let snapshot = if image.kind == Kind::Subvolume {
        let (parent, _) = remove::open_parent(&image.path).on(VERB, &image.path)?;
        copy::snapshot(tree.as_fd(), parent.as_fd()).ok().flatten().map(|(name, dir)| (parent, name, dir))
    } else {
        None
    };
    let source = snapshot.as_ref().map_or(tree.as_fd(), |(_, _, dir)| dir.as_fd());
    let done = into(output, |file| {
        let mut stream = io::BufWriter::with_capacity(BUFFER, Writer::new(format, file).on(VERB, &image.path)?);
        let written = tar::write(source, &image.path, &mut stream, &mut |done| watch.tick(done))?;
        finish(stream).on(VERB, &image.path)?;
        Ok(written)
    });
    if let Some((parent, name, dir)) = snapshot {
        // What stays has a dot name and is for the next sweep.
        let _ = remove::delete(parent.as_fd(), &name, dir);
    }
    done
}

/// Exports the disk image `image`. Returns its size.
pub fn raw(image: &Image, output: &Output<'_>, format: Format, watch: Watch<'_>) -> Result<u64> {
    const VERB: &str = "export image";
    if !matches!(image.kind, Kind::DiskImage | Kind::BlockDevice) {
        return Err(Cause::Why("it is a tree, which is exported as an archive").on(VERB, &image.path));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let input = rustix::fs::open(&image.path, flags, Mode::empty()).on(VERB, &image.path)?;
    let stat = rustix::fs::fstat(&input).on(VERB, &image.path)?;
    let into_file = |file: &File| rustix::fs::fstat(file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
    into(output, |file| {
        if format == Format::Plain && image.kind == Kind::DiskImage && matches!(output, Output::File(..)) && into_file(file) {
            copy::contents(input.as_fd(), file.as_fd(), &stat, &copy::Means::new(), &mut Vec::new()).on(VERB, &image.path)?;
            watch.tick(stat.st_size as u64).on(VERB, &image.path)?;
            return Ok(stat.st_size as u64);
        }
        let mut stream = io::BufWriter::with_capacity(BUFFER, Writer::new(format, file).on(VERB, &image.path)?);
        let size = pour(input.as_fd(), &mut stream, watch).on(VERB, &image.path)?;
        finish(stream).on(VERB, &image.path)?;
        Ok(size)
    })
}

fn pour(input: BorrowedFd<'_>, output: &mut dyn Write, watch: Watch<'_>) -> std::result::Result<u64, Cause> {
    let mut buffer = vec![0u8; BUFFER];
    let mut at = 0;
    loop {
        match rustix::io::pread(input, &mut buffer, at) {
            Ok(0) => return Ok(at),
            Ok(n) => {
                output.write_all(&buffer[..n])?;
                at += n as u64;
                watch.tick(at)?;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn finish<W: Write>(stream: io::BufWriter<Writer<W>>) -> io::Result<()> {
    stream.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?.flush()
}

/// Gives `body` the file to write to, and that its name when it is whole.
fn into<T>(output: &Output<'_>, body: impl FnOnce(&File) -> Result<T>) -> Result<T> {
    const VERB: &str = "create file";
    let (path, force) = match output {
        Output::Stream(file) => return body(file),
        Output::File(path, force) => (*path, *force),
    };
    let (parent, name) = remove::open_parent(path).on(VERB, path)?;
    if !force && rustix::fs::statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Err(Cause::Os(Errno::EXIST).on(VERB, path));
    }
    partial::sweep_in(parent.as_fd()).on(VERB, path)?;
    let (half, file) = partial::make_file(parent.as_fd(), partial::IMPORT).on(VERB, path)?;
    let file = File::from(file);
    let done = body(&file).and_then(|value| {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).on(VERB, path)?;
        if force {
            rustix::fs::fsync(&file).and_then(|()| rustix::fs::renameat(&parent, &*half, &parent, &*name)).on(VERB, path)?;
        } else {
            copy::publish(parent.as_fd(), &half, file.as_fd(), &name, Durable::Yes).on(VERB, path)?;
        }
        Ok(value)
    });
    done.map_err(|mut error| {
        error.cause = images::full(error.cause, file.as_fd(), path.parent().unwrap_or(Path::new(".")));
        let _ = rustix::fs::unlinkat(&parent, &*half, AtFlags::empty());
        error
    })
}
