//! The ids inside extended attributes: ACL entries, the root id of file capabilities; and the note of an unfinished change.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use hostel_sys::tree::xattr;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::shifted;
use crate::Cause;

const CAPABILITY: &CStr = c"security.capability";
const ACLS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];
/// Mode and capabilities a file had before a chown(2) that was not seen to end.
const NOTE: &CStr = c"trusted.hostel.shift";

/// The names of a file's attributes that matter here.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes {
    acls: [bool; 2],
    capability: bool,
    noted: bool,
}

impl Attributes {
    pub(super) fn list(dir: BorrowedFd<'_>, name: &CStr) -> Result<Self, Cause> {
        let mut found = Self::default();
        let mut names = Vec::new();
        match xattr::list(dir, name, &mut names) {
            Ok(()) => {}
            Err(e) if Errno::from_io_error(&e) == Some(Errno::OPNOTSUPP) => return Ok(found),
            Err(e) => return Err(e.into()),
        }
        for attribute in names.split(|b| *b == 0) {
            found.acls[0] |= attribute == ACLS[0].to_bytes();
            found.acls[1] |= attribute == ACLS[1].to_bytes();
            found.capability |= attribute == CAPABILITY.to_bytes();
            found.noted |= attribute == NOTE.to_bytes();
        }
        Ok(found)
    }

    /// Whether a plain chown(2) would lose something, or has.
    pub(super) fn needs_care(&self) -> bool {
        self.capability || self.noted
    }

    /// Rewrites the ids of users and groups in the ACLs.
    pub(super) fn shift_acls(&self, dir: BorrowedFd<'_>, name: &CStr, base: u32) -> Result<(), Cause> {
        for (acl, present) in ACLS.iter().zip(self.acls) {
            let mut value = Vec::new();
            if present {
                xattr::get(dir, name, acl, &mut value)?;
                if shift_acl(&mut value, base)? {
                    xattr::set(dir, name, acl, &value)?;
                }
            }
        }
        Ok(())
    }

    /// What has to be put back after chown(2).
    pub(super) fn keep(&self, file: BorrowedFd<'_>, mode: u32, base: u32) -> Result<Keep, Cause> {
        let mut capability = Vec::new();
        if self.capability {
            xattr::get(file, c"", CAPABILITY, &mut capability)?;
            capability = shift_capability(&capability, base);
        }
        Ok(Keep { mode: mode & 0o7777, capability })
    }

    /// The note a killed walk left.
    pub(super) fn note(&self, file: BorrowedFd<'_>) -> Result<Option<Keep>, Cause> {
        if !self.noted {
            return Ok(None);
        }
        let mut value = Vec::new();
        xattr::get(file, c"", NOTE, &mut value)?;
        let Some((mode, capability)) = value.split_first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Keep { mode: u32::from_le_bytes(*mode) & 0o7777, capability: capability.to_vec() }))
    }
}

/// Mode and capabilities of a file.
#[derive(Debug)]
pub(super) struct Keep {
    mode: u32,
    capability: Vec<u8>,
}

impl Keep {
    /// Notes on the file what it is to get back.
    pub(super) fn write_note(&self, file: BorrowedFd<'_>) -> Result<(), Cause> {
        let mut value = self.mode.to_le_bytes().to_vec();
        value.extend_from_slice(&self.capability);
        match xattr::set(file, c"", NOTE, &value) {
            // A file system without such attributes, or a caller without the right: then without the safety net.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::OPNOTSUPP | Errno::PERM)) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Puts mode and capabilities back and takes the note away.
    pub(super) fn put_back(&self, file: BorrowedFd<'_>) -> Result<(), Cause> {
        if !self.capability.is_empty() {
            xattr::set(file, c"", CAPABILITY, &self.capability)?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        match xattr::remove(file, c"", NOTE) {
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM)) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Shifts the ids of an ACL attribute (version 2: header, then entries of tag u16, permissions u16, id u32); whether any changed.
fn shift_acl(value: &mut [u8], base: u32) -> Result<bool, Cause> {
    const BAD: Cause = Cause::Why("its ACL is of an unknown format");
    let Some((header, entries)) = value.split_first_chunk_mut::<4>() else { return Err(BAD) };
    if u32::from_le_bytes(*header) != 2 || entries.len() % 8 != 0 {
        return Err(BAD);
    }
    let mut changed = false;
    for entry in entries.chunks_exact_mut(8) {
        // ACL_USER and ACL_GROUP name somebody; owner, group, mask and others do not.
        if !matches!(u16::from_le_bytes([entry[0], entry[1]]), 0x02 | 0x08) {
            continue;
        }
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let new = shifted(id, base);
        changed |= new != id;
        entry[4..].copy_from_slice(&new.to_le_bytes());
    }
    Ok(changed)
}

/// The capabilities for a root id in the range of `base`: a namespaced record, except for the host's own ids.
fn shift_capability(value: &[u8], base: u32) -> Vec<u8> {
    const VERSION: u32 = 0xff00_0000;
    const V2: u32 = 0x0200_0000;
    const V3: u32 = 0x0300_0000;
    let Some(magic) = value.first_chunk::<4>().map(|m| u32::from_le_bytes(*m)) else { return value.to_vec() };
    let (sets, root) = match (magic & VERSION, value.len()) {
        (V2, 20) => (&value[4..20], 0),
        (V3, 24) => (&value[4..20], u32::from_le_bytes([value[20], value[21], value[22], value[23]])),
        // Version 1 has no root id.
        _ => return value.to_vec(),
    };
    let root = shifted(root, base);
    let version = if root == 0 { V2 } else { V3 };
    let mut out = (magic & !VERSION | version).to_le_bytes().to_vec();
    out.extend_from_slice(sets);
    if root != 0 {
        out.extend_from_slice(&root.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acl_ids() {
        let entry = |tag: u16, id: u32| [tag.to_le_bytes().to_vec(), vec![7, 0], id.to_le_bytes().to_vec()].concat();
        let mut acl = [2u32.to_le_bytes().to_vec(), entry(1, u32::MAX), entry(2, 1000), entry(8, 0x0009_0005), entry(0x10, u32::MAX)].concat();
        assert_eq!(shift_acl(&mut acl, 0x0010_0000), Ok(true));
        let want = [2u32.to_le_bytes().to_vec(), entry(1, u32::MAX), entry(2, 0x0010_03e8), entry(8, 0x0010_0005), entry(0x10, u32::MAX)].concat();
        assert_eq!(acl, want);
        assert_eq!(shift_acl(&mut acl, 0x0010_0000), Ok(false));
        for bad in [&[][..], &[1, 0, 0, 0], &[2, 0, 0, 0, 1]] {
            assert!(shift_acl(&mut bad.to_vec(), 0).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn capability_root() {
        let v2 = [&[1, 0, 0, 2][..], &[9; 16]].concat();
        let v3 = |root: u32| [&[1, 0, 0, 3][..], &[9; 16], &root.to_le_bytes()].concat();
        assert_eq!(shift_capability(&v2, 0x0010_0000), v3(0x0010_0000));
        assert_eq!(shift_capability(&v3(0x0010_0000), 0x0020_0000), v3(0x0020_0000));
        assert_eq!(shift_capability(&v3(0x0010_03e8), 0), v3(1000));
        assert_eq!(shift_capability(&v3(0x0010_0000), 0), v2);
        for odd in [&[][..], &[1], &[1, 0, 0, 1, 5], &[0, 0, 0, 2, 1]] {
            assert_eq!(shift_capability(odd, 0x0010_0000), odd);
        }
    }
}
