//! The host's side of a machine's journal: a directory, or a link into the tree. Both stay after the machine's end, to be read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hostel_image::inroot;
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// Makes the host's directory; what there is to say of the tree's, which it will cover.
pub(super) fn on_host(path: &Path, tree: Option<&OwnedFd>) -> Result<Option<String>> {
    directory(path)?;
    let covers = tree.is_some_and(|tree| is_hidden(tree.as_fd(), path));
    Ok(covers.then(|| format!("{} of the tree is not empty: what is in it is not seen while the machine runs", path.display())))
}

/// Makes the directory, if it is missing; a link there, of a former life with another mode, makes way for it.
fn directory(path: &Path) -> Result<()> {
    let object = || path.display().to_string();
    if rustix::fs::readlink(path, Vec::new()).is_ok() {
        rustix::fs::unlink(path).context("remove", object())?;
    }
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        other => other.context("make", object()),
    }
}

/// Whether the tree has journals of its own where the host's directory will be. One that cannot be read has none to speak of.
fn is_hidden(tree: BorrowedFd<'_>, path: &Path) -> bool {
    let opened = inroot::open(tree, path, OFlags::RDONLY | OFlags::DIRECTORY);
    let entries = opened.ok().and_then(|dir| Dir::new(dir).ok());
    entries.is_some_and(|entries| entries.flatten().any(|e| !matches!(e.file_name().to_bytes(), b"." | b"..")))
}

/// Makes the link; an empty directory or another link there makes way for it. An attempt that fails changes nothing.
pub(super) fn link(link: &Path, target: &Path, attempt: bool) -> Result<()> {
    let object = || link.display().to_string();
    let made = match rustix::fs::readlink(link, Vec::new()) {
        Ok(old) if old.as_bytes() == std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str()) => return Ok(()),
        Ok(_) => rustix::fs::unlink(link).context("remove", object()),
        Err(Errno::INVAL) => rustix::fs::rmdir(link).context("remove", format!("directory {}", object())),
        Err(_) => Ok(()),
    }
    .and_then(|()| rustix::fs::symlink(target, link).context("link", object()));
    if attempt { Ok(()) } else { made }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_links() {
        let dir = std::env::temp_dir().join(format!("hostel-journal-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("full/x")).unwrap();
        let at = |name: &str| dir.join(name);
        link(&at("a"), Path::new("/tree"), false).unwrap();
        link(&at("a"), Path::new("/tree"), false).unwrap();
        link(&at("a"), Path::new("/other"), false).unwrap();
        assert_eq!(std::fs::read_link(at("a")).unwrap(), Path::new("/other"));
        directory(&at("a")).unwrap();
        assert!(at("a").is_dir() && std::fs::read_link(at("a")).is_err());
        link(&at("a"), Path::new("/tree"), false).unwrap();
        assert!(link(&at("full"), Path::new("/tree"), false).is_err());
        link(&at("full"), Path::new("/tree"), true).unwrap();
        assert!(at("full/x").is_dir(), "journals are never removed");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
