//! Which containers there are: on disk, and behind command sockets.

use std::path::Path;

use hostel_lxc::wire::{self, Active, Command};
use hostel_unit::Arrange as _;

use crate::client;
use crate::container::is_defined;
use crate::error::{On, Result};

/// The containers that have a configuration below `lxcpath`, in order.
///
/// ```
/// assert!(hostel_container::list_defined("/nonexistent").is_err());
/// ```
pub fn list_defined(lxcpath: &str) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(lxcpath).on("list", lxcpath)?;
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    // a dot: what is being removed, here and in trees
    names.retain(|name| !name.starts_with(".#hostel-") && is_defined(&Path::new(lxcpath).join(name)));
    names.arrange();
    Ok(names)
}

/// The containers whose supervisors listen, seen from this network namespace, in order.
///
/// ```
/// assert_eq!(hostel_container::list_active("/nonexistent").unwrap(), Vec::<String>::new());
/// ```
pub fn list_active(lxcpath: &str) -> Result<Vec<String>> {
    let lxcpath = lxcpath.trim_end_matches('/');
    let sockets = std::fs::read("/proc/net/unix").on("read", "/proc/net/unix")?;
    let name_of = |active| match active {
        Active::Name(name) => Some(name),
        // The name in the address is a hash: who listens says of what.
        Active::Address(address) => client::text_at(&address, Command::GetName).ok().filter(|name| wire::address(lxcpath, name) == address),
    };
    let mut names: Vec<String> = wire::active(&String::from_utf8_lossy(&sockets), lxcpath).into_iter().filter_map(name_of).collect();
    names.arrange();
    names.dedup();
    Ok(names)
}

/// Both, each once, in order.
pub fn list_all(lxcpath: &str) -> Result<Vec<String>> {
    let mut names = list_active(lxcpath)?;
    names.extend(list_defined(lxcpath).unwrap_or_default());
    names.arrange();
    names.dedup();
    Ok(names)
}
