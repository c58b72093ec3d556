//! Finding and looking at the disk image of a spec, before anything changes: its tables are read, nothing is mounted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use hostel_image::disk::{self, Chosen};
use hostel_image::raw::{self, Raw};
use hostel_image::{Cause, inroot, machine_id, open};
use hostel_spec::{Designator, ImagePolicy, MachineSpec, Payload};
use hostel_sys::{block, mapper};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result, io_text};
use crate::plan::TreeFacts;
use crate::plan::image::{ImageFacts, Mapper};
use crate::tree::Found;
use crate::users::Taken;

/// Reads the tables of the image at `given`. Refuses what holds no tree, or none that the policy allows.
pub fn find(spec: &MachineSpec, given: &Path) -> Result<Found> {
    let path = std::fs::canonicalize(given)
        .map_err(|e| Error::new("open", format!("image {}", given.display()), io_text(&e)).hint("give a disk image: a file, or a block device"))?;
    let raw = raw::open(&path, false)?;
    let chosen = choose(spec, &path, &raw)?;
    let name = std::path::absolute(given).ok().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
    let image = ImageFacts {
        parts: chosen.parts,
        device: raw.device,
        locked_down: cannot_be_written(&path, &raw),
        opened: false,
        esp: Some("/efi"),
        left_out: Vec::new(),
        second_arch: chosen.second_arch,
        mapper: find_mapper(),
        notices: chosen.notices,
    };
    let facts = TreeFacts {
        path,
        // Only a guess until the image is opened.
        merged_usr: true,
        given_name: name.map(|n| n.strip_suffix(".raw").map_or(n.clone(), str::to_owned)),
        image: Some(image),
        ..TreeFacts::default()
    };
    Ok((facts, None))
}

/// The parts of the tree in an opened image.
pub(crate) fn choose(spec: &MachineSpec, path: &Path, raw: &Raw) -> Result<Chosen> {
    let options = &spec.root.image;
    let failed = |e: Cause| Error::new("use", format!("image {}", path.display()), e);
    let trust = raw::trust(path, raw.file.as_fd(), options)?;
    let mut reader = raw.reader().map_err(failed)?;
    let layout = disk::layout(&mut reader, raw.size).map_err(failed)?;
    let policy = options.policy.clone().unwrap_or_else(ImagePolicy::nspawn);
    disk::choose(&mut reader, raw.size, &layout, &policy, &trust).map_err(failed)
}

/// A file without write permission for anybody, or on a read-only file system, is used read-only.
fn cannot_be_written(path: &Path, raw: &Raw) -> bool {
    if raw.device {
        return block::is_read_only(raw.file.as_fd()).unwrap_or(true);
    }
    let immutable =
        || matches!(rustix::fs::access(path, rustix::fs::Access::WRITE_OK), Err(Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::TXTBSY));
    rustix::fs::fstat(&raw.file).is_ok_and(|s| s.st_mode & 0o222 == 0) || immutable()
}

fn find_mapper() -> Mapper {
    Mapper { present: Path::new(mapper::CONTROL).exists(), cryptsetup: program("cryptsetup"), veritysetup: program("veritysetup") }
}

/// A program of the host's system directories.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"].iter().map(|d| Path::new(d).join(name)).find(|p| p.is_file())
}

/// What is found in the opened parts: root, or /usr alone.
pub(crate) fn look_inside(spec: &MachineSpec, before: &TreeFacts, root: Option<BorrowedFd<'_>>, usr: Option<BorrowedFd<'_>>) -> Result<TreeFacts> {
    let path = &before.path;
    let top = root.or(usr).ok_or_else(|| Error::new("use", format!("image {}", path.display()), "it was not opened"))?;
    let pivot = root.map(|root| crate::tree::pivoted(spec, root, path)).transpose()?.flatten();
    let system = pivot.as_ref().map_or(top, AsFd::as_fd);
    let (usr, inside) = if pivot.is_some() { (None, Some(system)) } else { (usr, root) };
    match spec.payload {
        Payload::Boot if spec.root.skip_os_release_check => {}
        Payload::Boot if usr.is_some_and(|usr| has_file(usr, "lib/os-release")) => {}
        Payload::Boot => open::require_os_release(system, path)
            .map_err(|e| Error::from(e).hint("the image has no system; SYSTEMD_NSPAWN_CHECK_OS_RELEASE=0 boots it anyway"))?,
        _ if usr.is_some() => {}
        _ => open::require_usr(system, path)?,
    }
    let stat = rustix::fs::fstat(top).context("read", format!("image {}", path.display()))?;
    let bin = |root: BorrowedFd<'_>| rustix::fs::statat(root, c"bin", AtFlags::SYMLINK_NOFOLLOW);
    let merged = inside.is_none_or(|root| bin(root).map_or(usr.is_some(), |s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink));
    let read_only = rustix::fs::fstatvfs(top).is_ok_and(|v| v.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    let users = if spec.bind_users.is_none() { None } else { Some(inside.map_or(Ok(Taken::default()), crate::users::taken)?) };
    let image = before.image.clone().unwrap_or_default();
    let has_boot = image.parts.iter().any(|p| p.designator == Designator::Xbootldr);
    let esp = root.and_then(|root| match () {
        () if is_empty_directory(root, "efi") => Some("/efi"),
        () if !has_boot && is_empty_directory(root, "boot") => Some("/boot"),
        () => None,
    });
    Ok(TreeFacts {
        owner: if root.is_some() { (stat.st_uid, stat.st_gid) } else { (0, 0) },
        machine_id: inside.and_then(machine_id::read),
        merged_usr: merged,
        read_only: root.is_some() && read_only,
        users,
        image: Some(ImageFacts { opened: true, esp, ..image }),
        ..before.clone()
    })
}

fn has_file(root: BorrowedFd<'_>, path: &str) -> bool {
    inroot::stat(root, Path::new(path)).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
}

fn is_empty_directory(root: BorrowedFd<'_>, path: &str) -> bool {
    let entries = || -> io::Result<bool> {
        let dir = inroot::open_beneath_no_symlinks(root, Path::new(path), OFlags::PATH | OFlags::DIRECTORY).map_err(|_| io::ErrorKind::NotFound)?;
        let dir = rustix::fs::openat(&dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut entries = Dir::new(dir)?.filter_map(|e| e.ok()).filter(|e| !matches!(e.file_name().to_bytes(), b"." | b".."));
        Ok(entries.next().is_none())
    };
    entries().unwrap_or(false)
}
