//! Letting the host forward for its machines: switched on per interface, and off again by the last who needed it.
//!
//! `net.ipv4.ip_forward` would make the host a router between all its interfaces, for ever. What machines need is
//! `forwarding` on their own interface, which goes with it, and on those the answers come in by.
//! IPv6 knows no forwarding by interface, and hears no advertisements of routers while it forwards: it is switched on as a whole,
//! where the host has a default route, and the machine's table drops what is neither from nor to a machine; an interface whose
//! default route was advertised goes on hearing of it. For all but the machine's own interface each
//! supervisor holds a shared lock on a file below the state directory in which the old value stands; who can have the
//! lock for himself alone is the last one. A killed supervisor's lock is free; the journal names the file.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_sys::netlink::route;
use hostel_sys::tree::{Lock, try_lock};
use rustix::fs::{Mode, OFlags};

use super::ipv6;
use crate::registry::{Claim, Undo};

/// What is switched for IPv6 begins so: `ipv6/all` is forwarding, `ipv6/eth0` that this interface hears routers all the same.
const IPV6: &str = "ipv6/";
/// IPv6 as a whole.
pub(super) const IPV6_ALL: &str = "ipv6/all";

/// The kernel's file, and what stands in it when it is off and when it is on.
fn sysctl(link: &str) -> (PathBuf, &'static str, &'static str) {
    match link.strip_prefix(IPV6) {
        Some("all") => ("/proc/sys/net/ipv6/conf/all/forwarding".into(), "0", "1"),
        Some(link) => (Path::new("/proc/sys/net/ipv6/conf").join(link).join("accept_ra"), "1", "2"),
        None => (Path::new("/proc/sys/net/ipv4/conf").join(link).join("forwarding"), "0", "1"),
    }
}

fn is_on(link: &str) -> io::Result<bool> {
    let (file, _, on) = sysctl(link);
    Ok(std::fs::read(file)?.starts_with(on.as_bytes()))
}

fn switch(link: &str, to: bool) -> io::Result<()> {
    let (file, off, on) = sysctl(link);
    std::fs::write(file, if to { on } else { off })
}

/// Whether a record may name this.
pub(crate) fn is_switch(link: &str) -> bool {
    link == IPV6_ALL || hostel_spec::is_interface_name(link.strip_prefix(IPV6).unwrap_or(link))
}

/// What has to be on for IPv6 to be forwarded, in this order.
pub(super) fn of_ipv6() -> Vec<String> {
    let Ok(mut socket) = route::open() else { return Vec::new() };
    let links = route::links(&mut socket).unwrap_or_default();
    let ways = ipv6::ways_out(&mut socket);
    let advertised = links.iter().filter(|l| ways.iter().any(|(index, advertised)| *advertised && *index == Some(l.index)));
    let mut out: Vec<String> = advertised.map(|l| format!("{IPV6}{}", l.name)).filter(|l| hears(l)).collect();
    out.push(IPV6_ALL.to_owned());
    out
}

/// Whether the kernel hears routers there, and would not if the host forwarded; or does because of us.
fn hears(link: &str) -> bool {
    std::fs::read(sysctl(link).0).is_ok_and(|text| matches!(text.first(), Some(b'1' | b'2')))
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
    if is_on(link)? { Ok(()) } else { switch(link, true) }
}

/// The file for an interface: namespaces have interfaces of the same name.
fn file(root: &Path, link: &str) -> io::Result<PathBuf> {
    let netns = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/net")?);
    Ok(root.join("network").join(format!("forwarding {netns} {}", link.replace('/', " "))))
}

fn open(file: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(file, OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
}

/// Whether it is off, or on because of us: else the host forwards anyway.
pub(super) fn is_ours(link: &str, root: &Path) -> io::Result<bool> {
    Ok(!is_on(link)? || std::fs::symlink_metadata(file(root, link)?).is_ok())
}

/// Switches it on for an interface that answers come in by, if it is off or on because of us.
pub(super) fn hold(link: &str, claim: &mut Claim) -> io::Result<Option<Hold>> {
    if !is_ours(link, claim.root())? {
        return Ok(None);
    }
    let file = file(claim.root(), link)?;
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
            switch(link, true)?;
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
        switch(link, false)?;
    }
    std::fs::remove_file(file)
}
