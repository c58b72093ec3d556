//! `hosts` below the state directory: names and addresses of all machines, for the host's own use.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::registry::Registry;

/// Writes the file anew from the state of all machines. Who calls this last has seen what all before him wrote.
pub fn write(registry: &Registry) -> io::Result<()> {
    let root = registry.root();
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::open(root.join(".#hostel-hosts.lock"), flags, Mode::from_raw_mode(0o600))?;
    rustix::fs::flock(lock.as_fd(), FlockOperation::LockExclusive)?;
    let machines = registry.list().map_err(|e| io::Error::other(e.to_string()))?;
    let mut text = String::from("# machines of hostel; written anew whenever one starts or ends\n");
    for machine in machines.iter().filter(|m| m.is_alive()) {
        let Some(address) = machine.known().and_then(|s| s.network.as_ref()).and_then(|n| n.address) else { continue };
        text.push_str(&format!("{address}\t{0} {0}.{1}\n", machine.name, super::dns::DOMAIN));
    }
    let new = root.join(".#hostel-hosts");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, root.join("hosts"))
}

/// Where it is.
pub fn path(root: &Path) -> std::path::PathBuf {
    root.join("hosts")
}
