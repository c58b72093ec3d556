//! What overlayfs writes into an upper directory for itself: whiteouts, opaque directories, its own attributes.
//!
//! Source: the kernel's Documentation/filesystems/overlayfs.rst. In a user namespace the attributes are `user.overlay.…`,
//! else `trusted.overlay.…`; what a program in the machine stores under such a name is kept with `overlay.` once more.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use hostel_image::Cause;
use hostel_sys::tree::xattr;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::layer::kind_of;

/// How an upper directory stands to the lower one of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shining {
    /// The lower one's entries are seen through.
    Through,
    /// The same; empty files with an attribute in it are whiteouts.
    ThroughMarked,
    /// Nothing of the lower one is seen.
    Opaque,
}

fn value(dir: BorrowedFd<'_>, name: &CStr, attribute: &str) -> Result<Option<Vec<u8>>, Cause> {
    for space in ["trusted", "user"] {
        let full = CString::new(format!("{space}.overlay.{attribute}")).map_err(|_| Cause::Os(Errno::INVAL))?;
        let mut bytes = Vec::new();
        match xattr::get(dir, name, &full, &mut bytes) {
            Ok(()) => return Ok(Some(bytes)),
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(None)
}

/// How the upper directory `dir` stands to the lower one. A renamed one (redirect_dir=on, which we never ask for) is refused.
pub(crate) fn shining(dir: BorrowedFd<'_>) -> Result<Shining, Cause> {
    if value(dir, c"", "redirect")?.is_some() {
        return Err(Cause::Why("the directory was renamed by an overlay with redirect_dir=on, which is not understood"));
    }
    Ok(match value(dir, c"", "opaque")?.as_deref() {
        Some(b"y") => Shining::Opaque,
        Some(b"x") => Shining::ThroughMarked,
        _ => Shining::Through,
    })
}

/// Whether an upper entry says that nothing is there.
pub(crate) fn is_whiteout(dir: BorrowedFd<'_>, shining: Shining, name: &CStr, stat: &Stat) -> Result<bool, Cause> {
    match kind_of(stat) {
        FileType::CharacterDevice => Ok(stat.st_rdev == 0),
        FileType::RegularFile if stat.st_size == 0 && shining == Shining::ThroughMarked => Ok(value(dir, name, "whiteout")?.is_some()),
        _ => Ok(false),
    }
}

/// Refuses a file of which only the attributes are in the upper layer (metacopy=on, which we never ask for).
pub(crate) fn refuse_metacopy(dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Cause> {
    match value(dir, name, "metacopy")? {
        Some(_) => Err(Cause::Why("only its attributes are in the layer (metacopy=on), which is not understood")),
        None => Ok(()),
    }
}

/// Whether an upper entry began as a copy of a lower one.
pub(crate) fn is_copied_up(dir: BorrowedFd<'_>, name: &CStr) -> Result<bool, Cause> {
    Ok(value(dir, name, "origin")?.is_some())
}

/// The name that the machine sees an upper entry's attribute by; `None`: it is overlayfs' own.
pub(crate) fn seen_as(attribute: &CStr) -> Option<CString> {
    for space in ["trusted.overlay.", "user.overlay."] {
        if let Some(rest) = attribute.to_bytes().strip_prefix(space.as_bytes()) {
            let own = rest.strip_prefix(b"overlay.")?;
            return CString::new([space.as_bytes(), own].concat()).ok();
        }
    }
    Some(attribute.to_owned())
}
