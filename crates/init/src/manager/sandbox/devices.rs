//! PrivateDevices=: a /dev with what every program may use, and nothing else.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_sys::mount::{self, Attributes, FsOption};
use rustix::fs::{FileType, Mode, OFlags};

const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DIRECTORIES: [&str; 4] = ["pts", "shm", "mqueue", "hugepages"];
const LINKS: [(&str, &str); 5] =
    [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2"), ("core", "/proc/kcore")];

fn name(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Mounts it on `target`, which is the old one. Nodes come from there: to make new ones is not allowed in every place.
pub(super) fn mount(target: BorrowedFd<'_>, reopen: &dyn Fn() -> io::Result<OwnedFd>) -> io::Result<()> {
    let mut parts: Vec<(&str, OwnedFd, bool)> = Vec::new();
    for (list, is_directory) in [(&NODES[..], false), (&DIRECTORIES[..], true)] {
        for part in list {
            match mount::clone_tree(target, &name(part)?, true) {
                Ok(tree) => parts.push((part, tree, is_directory)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    let log = rustix::fs::readlinkat(target, c"log", Vec::new()).ok();
    if log.is_none()
        && let Ok(tree) = mount::clone_tree(target, c"log", false)
    {
        parts.push(("log", tree, false));
    }
    let has_terminals = parts.iter().any(|(part, ..)| *part == "pts");
    let set = Attributes::NOSUID.or(Attributes::NOEXEC).or(Attributes::STRICTATIME);
    let fresh = mount::filesystem(c"tmpfs", &[FsOption::Text(c"mode", c"0755"), FsOption::Text(c"size", c"4m")], set)?;
    mount::attach(fresh.as_fd(), target, c"")?;
    let dev = reopen()?;
    for (part, tree, is_directory) in &parts {
        if *is_directory {
            rustix::fs::mkdirat(&dev, *part, Mode::from_raw_mode(0o755))?;
        } else {
            rustix::fs::mknodat(&dev, *part, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)?;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = rustix::fs::openat(&dev, *part, flags, Mode::empty())?;
        mount::attach(tree.as_fd(), place.as_fd(), c"")?;
    }
    for (link, to) in LINKS {
        rustix::fs::symlinkat(to, &dev, link)?;
    }
    if has_terminals {
        rustix::fs::symlinkat(c"pts/ptmx", &dev, c"ptmx")?;
    }
    if let Some(to) = log {
        rustix::fs::symlinkat(to, &dev, c"log")?;
    }
    mount::change(dev.as_fd(), c"", false, Attributes::RDONLY, Attributes::NONE, mount::Propagation::Keep, None)
}
