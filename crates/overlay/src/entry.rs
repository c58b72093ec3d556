//! Making one entry like another, each step whole or not at all.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hostel_image::Cause;
use hostel_image::copy::times;
use hostel_sys::tree::xattr;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use crate::layer::{self, is_dir, kind_of, look, target};
use crate::same::{self, Place};

type Done = Result<(), Cause>;

/// Attributes that the host gives its files itself, where an entry has none to bring.
const OF_HOST: [&CStr; 3] = [c"security.selinux", c"security.ima", c"security.evm"];

/// Tests stop here, as a kill would.
pub(crate) fn step() -> Done {
    #[cfg(test)]
    if fuse::burns() {
        return Err(Cause::Why("the fuse is blown"));
    }
    Ok(())
}

/// How many steps are left until everything fails.
#[cfg(test)]
#[allow(clippy::items_after_test_module)] // it is small, and what it stops stands below it
pub(crate) mod fuse {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    pub(crate) fn set(steps: Option<usize>) {
        LEFT.set(steps);
    }

    pub(super) fn burns() -> bool {
        match LEFT.get() {
            None => false,
            Some(0) => true,
            Some(n) => {
                LEFT.set(Some(n - 1));
                false
            }
        }
    }
}

/// Makes `to`/`name`, which must not exist, like the entry `from`, which is no directory; on the disk when it returns.
pub(crate) fn make(from: Place<'_>, to: BorrowedFd<'_>, name: &CStr) -> Done {
    step()?;
    match kind_of(from.stat) {
        FileType::Directory => return Err(Cause::Why("it is a directory")),
        FileType::RegularFile => {
            let file = create(to, name)?;
            step()?;
            hostel_image::copy::fill(same::regular(from)?.as_fd(), file.as_fd())?;
            // By its descriptor: whoever owns the directory may put something else in its place.
            dress(from, file.as_fd(), c"")?;
            return Ok(rustix::fs::fsync(&file)?);
        }
        FileType::Symlink => rustix::fs::symlinkat(target(from.dir, from.name)?, to, name)?,
        kind => rustix::fs::mknodat(to, name, kind, Mode::from_raw_mode(0o600), from.stat.st_rdev)?,
    }
    dress(from, to, name)
}

fn create(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))
}

/// Owner, attributes, mode and times of `from` for `dir`/`name`. An empty name is `dir` itself.
pub(crate) fn dress(from: Place<'_>, dir: BorrowedFd<'_>, name: &CStr) -> Done {
    step()?;
    let flags = AtFlags::SYMLINK_NOFOLLOW | if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    rustix::fs::chownat(dir, name, Some(Uid::from_raw(from.stat.st_uid)), Some(Gid::from_raw(from.stat.st_gid)), flags)?;
    // After chown(2), which takes capabilities away; chmod(2) after both, for the same reason with set-user-id.
    attributes(from, dir, name)?;
    let mode = Mode::from_raw_mode(from.stat.st_mode & 0o7777);
    let times = times(from.stat);
    if name.is_empty() {
        rustix::fs::fchmod(dir, mode)?;
        return Ok(rustix::fs::futimens(dir, &times)?);
    }
    if kind_of(from.stat) != FileType::Symlink {
        // Not by its name: whoever owns the directory may have put a link there.
        let there = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if kind_of(&rustix::fs::fstat(&there)?) != kind_of(from.stat) {
            return Err(Cause::Why("something else has been put in its place meanwhile"));
        }
        rustix::fs::chmod(format!("/proc/self/fd/{}", there.as_raw_fd()), mode)?;
    }
    Ok(rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn attributes(from: Place<'_>, dir: BorrowedFd<'_>, name: &CStr) -> Done {
    let wanted = same::attributes(from)?;
    let stat = *from.stat;
    let has = same::attributes(Place { dir, name, stat: &stat, upper: false })?;
    for (attribute, value) in &wanted {
        if has.get(attribute) != Some(value) {
            xattr::set(dir, name, attribute, value)?;
        }
    }
    for attribute in has.keys().filter(|a| !wanted.contains_key(*a) && !OF_HOST.contains(&a.as_c_str())) {
        match xattr::remove(dir, name, attribute) {
            Err(e) if Errno::from_io_error(&e) != Some(Errno::NODATA) => return Err(e.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Gives what is `temporary` the name `name`. A directory in its place is exchanged for it and must be empty.
pub(crate) fn settle(dir: BorrowedFd<'_>, temporary: &CStr, name: &CStr) -> Done {
    step()?;
    let new_is_dir = look(dir, temporary)?.as_ref().is_some_and(is_dir);
    match look(dir, name)? {
        Some(old) if is_dir(&old) || new_is_dir => {
            rustix::fs::renameat_with(dir, temporary, dir, name, RenameFlags::EXCHANGE)?;
            step()?;
            drop_entry(dir, temporary)
        }
        _ => {
            rustix::fs::renameat(dir, temporary, dir, name)?;
            // Two names of one file: rename(2) does nothing.
            drop_entry(dir, temporary)
        }
    }
}

/// Removes an entry or an empty directory; that it is missing is success.
pub(crate) fn drop_entry(dir: BorrowedFd<'_>, name: &CStr) -> Done {
    let Some(stat) = look(dir, name)? else { return Ok(()) };
    step()?;
    match rustix::fs::unlinkat(dir, name, if is_dir(&stat) { AtFlags::REMOVEDIR } else { AtFlags::empty() }) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Cause::Why("something else has been put into the directory meanwhile")),
        Err(e) => Err(e.into()),
    }
}

/// Makes the directory `to`/`name` like the directory `from` when there is none; something else in its place is replaced.
pub(crate) fn make_directory(from: Place<'_>, to: BorrowedFd<'_>, name: &CStr, temporary: &CStr) -> Done {
    drop_entry(to, temporary)?;
    let open = |name: &CStr| layer::directory(to, Path::new(OsStr::from_bytes(name.to_bytes())));
    if let Some(there) = open(name)? {
        return dress(from, there.as_fd(), c"");
    }
    step()?;
    rustix::fs::mkdirat(to, temporary, Mode::from_raw_mode(0o700))?;
    let made = open(temporary)?.ok_or(Cause::Os(Errno::NOENT))?;
    dress(from, made.as_fd(), c"")?;
    settle(to, temporary, name)
}

/// A name for what is made beside its place.
pub(crate) fn temporary(id: &str, index: usize) -> Result<CString, Cause> {
    CString::new(format!(".#hostel-commit-{id}-{index}")).map_err(|_| Cause::Os(Errno::INVAL))
}
