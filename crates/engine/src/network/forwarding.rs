//! Letting the host forward for its machines: switched on per interface, and off again by the last who needed it.
//!
//! `net.ipv4.ip_forward` would make the host a router between all its interfaces, for ever. What machines need is
//! `forwarding` on their own interface, which goes with it, and on those the answers come in by. For the latter each
//! supervisor holds a shared lock on a file below the state directory in which the old value stands; who can have the
//! lock for himself alone is the last one. A killed supervisor's lock is free; the journal names the file.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_sys::tree::{Lock, try_lock};
use rustix::fs::{Mode, OFlags};

use crate::registry::{Claim, Undo};

fn sysctl(link: &str) -> PathBuf {
    Path::new("/proc/sys/net/ipv4/conf").join(link).join("forwarding")
}

fn is_on(link: &str) -> io::Result<bool> {
    Ok(std::fs::read(sysctl(link))?.starts_with(b"1"))
}

/// An interface that forwards because of us.
#[derive(Debug)]
pub(super) struct Hold {
    link: String,
    file: PathBuf,
    lock: Option<OwnedFd>,
}

/// Switches forwarding on for the machine's own interface.
pub(super) fn own(link: &str) -> io::Result<()> {
    if is_on(link)? { Ok(()) } else { std::fs::write(sysctl(link), "1") }
}

/// The file for an interface: namespaces have interfaces of the same name.
fn file(root: &Path, link: &str) -> io::Result<PathBuf> {
    let netns = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/net")?);
    Ok(root.join("network").join(format!("forwarding {netns} {link}")))
}

fn open(file: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(file, OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
}

/// Switches it on for an interface that answers come in by, if it is off or on because of us.
pub(super) fn hold(link: &str, claim: &mut Claim) -> io::Result<Option<Hold>> {
    let file = file(claim.root(), link)?;
    let on = is_on(link)?;
    if on && std::fs::symlink_metadata(&file).is_err() {
        // It forwards anyway.
        return Ok(None);
    }
    let record = Undo::Forwarding { path: file.clone().into_os_string().into(), link: link.to_owned() };
    claim.journal(&record).map_err(|e| io::Error::other(e.to_string()))?;
    for _ in 0..100 {
        let lock = open(&file)?;
        let linked = try_lock(lock.as_fd(), Lock::Shared)? && rustix::fs::fstat(&lock)?.st_nlink > 0;
        if !linked {
            // The last one is just switching it off.
            std::thread::sleep(std::time::Duration::from_millis(1));
            continue;
        }
        if !is_on(link)? {
            std::fs::write(sysctl(link), "1")?;
        }
        return Ok(Some(Hold { link: link.to_owned(), file, lock: Some(lock) }));
    }
    Err(io::Error::from(io::ErrorKind::ResourceBusy))
}

impl Hold {
    /// Gives it up.
    pub(super) fn release(mut self) {
        self.lock = None;
        // What cannot be switched off is in the journal.
        let _ = release(&self.file, &self.link);
    }
}

/// Switches forwarding off if nobody needs it.
pub(crate) fn release(file: &Path, link: &str) -> io::Result<()> {
    let lock = match rustix::fs::open(file, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(lock) => lock,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    if !try_lock(lock.as_fd(), Lock::Exclusive)? {
        return Ok(());
    }
    if is_on(link).unwrap_or(false) {
        std::fs::write(sysctl(link), "0")?;
    }
    std::fs::remove_file(file)
}
