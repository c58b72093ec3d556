//! Removing directories by descriptor: never through a link, never into another mount.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// Directories opened inside one another at most; what lies deeper is first moved up.
const DEPTH: usize = 48;

/// One step down, into what is really a directory of the same mount.
fn descend(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(dir, name, flags, Mode::empty(), resolve)
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Names in a directory (which may be `O_PATH`), and whether each is a directory.
fn entries(dir: BorrowedFd<'_>) -> Result<Vec<(CString, bool)>, Errno> {
    let mut out = Vec::new();
    let readable = rustix::fs::openat(dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::new(readable)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_dot(name) {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => FileType::from_raw_mode(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            known => known,
        };
        out.push((name.to_owned(), kind == FileType::Directory));
    }
    Ok(out)
}

fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Removes the directory `name` in `parent` with all in it. That it is missing is success.
///
/// `EXDEV`: something is mounted in it; nothing there was touched. `ELOOP`, `ENOTDIR`: it is not a directory.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let top = match descend(parent, name) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut moved = 0u32;
    loop {
        let before = moved;
        empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        if moved == before {
            break;
        }
    }
    gone(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))
}

/// Removes everything in `dir` but `keep`; subdirectories too.
pub(crate) fn empty_but(dir: BorrowedFd<'_>, keep: &CStr) -> Result<(), Errno> {
    for (name, is_dir) in entries(dir)? {
        if name.as_c_str() == keep {
            continue;
        }
        if is_dir {
            remove_tree(dir, &name)?;
        } else {
            gone(rustix::fs::unlinkat(dir, &name, AtFlags::empty()))?;
        }
    }
    Ok(())
}

fn empty(dir: BorrowedFd<'_>, top: BorrowedFd<'_>, depth: usize, moved: &mut u32) -> Result<(), Errno> {
    for (name, is_dir) in entries(dir)? {
        if !is_dir {
            gone(rustix::fs::unlinkat(dir, &name, AtFlags::empty()))?;
            continue;
        }
        if depth >= DEPTH {
            // A hostile tree can be deeper than we may hold descriptors: continue with it at the top.
            *moved += 1;
            rustix::fs::renameat(dir, &name, top, format!(".#hostel-deep-{moved}"))?;
            continue;
        }
        let child = match descend(dir, &name) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        empty(child.as_fd(), top, depth + 1, moved)?;
        drop(child);
        gone(rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn temp(tag: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("hostel-remove-{tag}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn links_are_removed_not_followed() {
        let dir = temp("links");
        let keep = dir.join("keep");
        std::fs::create_dir(&keep).unwrap();
        std::fs::write(keep.join("precious"), "x").unwrap();
        let tree = dir.join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        symlink(&keep, tree.join("a/abs")).unwrap();
        symlink("../../keep", tree.join("a/rel")).unwrap();
        symlink(&keep, dir.join("link")).unwrap();
        std::fs::write(tree.join("a/b/file"), "y").unwrap();
        let fd = std::fs::File::open(&dir).unwrap();
        assert!(remove_tree(fd.as_fd(), c"link").is_err());
        remove_tree(fd.as_fd(), c"tree").unwrap();
        remove_tree(fd.as_fd(), c"tree").unwrap();
        assert!(!tree.exists());
        assert_eq!(std::fs::read(keep.join("precious")).unwrap(), b"x");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn deeper_than_there_are_descriptors() {
        let dir = temp("deep");
        let top = std::fs::File::open(&dir).unwrap();
        let mut at: OwnedFd = top.try_clone().unwrap().into();
        rustix::fs::mkdirat(&at, "tree", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "tree", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        remove_tree(top.as_fd(), c"tree").unwrap();
        assert_eq!(entries(top.as_fd()).unwrap().len(), 0);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_mount_inside_is_not_entered() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let dir = temp("mount");
        let keep = dir.join("keep");
        std::fs::create_dir(&keep).unwrap();
        std::fs::write(keep.join("precious"), "x").unwrap();
        std::fs::create_dir_all(dir.join("tree/mnt")).unwrap();
        // The same file system: st_dev would not show it.
        rustix::mount::mount_bind(&keep, dir.join("tree/mnt")).unwrap();
        let fd = std::fs::File::open(&dir).unwrap();
        let result = remove_tree(fd.as_fd(), c"tree");
        rustix::mount::unmount(dir.join("tree/mnt"), rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(result, Err(Errno::XDEV));
        assert_eq!(std::fs::read(keep.join("precious")).unwrap(), b"x");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
