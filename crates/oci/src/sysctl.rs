//! Kernel parameters: only those that belong to a namespace the machine has of its own.

use hostel_spec::{Namespaces, Network, NetworkMode};

use crate::config::Linux;
use crate::error::{Result, value};
use crate::quoted;

/// Parameters of the IPC namespace.
const IPC: [&str; 8] =
    ["kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced"];

pub(crate) fn compile(linux: &Linux, namespaces: &Namespaces, network: &Network) -> Result<Vec<(String, String)>> {
    linux.sysctl.iter().flatten().map(|(name, text)| Ok((path(name, namespaces, network)?, text.clone()))).collect()
}

/// The path below /proc/sys, checked.
fn path(name: &str, namespaces: &Namespaces, network: &Network) -> Result<String> {
    let key = || format!("linux.sysctl.{}", quoted(name));
    let path = spelled(name);
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    if path.len() > 255 || !path.split('/').all(plain) {
        return Err(value(key(), "it is no name of a kernel parameter"));
    }
    let (owner, own) = match path.as_str() {
        p if IPC.contains(&p) || p.starts_with("fs/mqueue/") => ("ipc", namespaces.ipc),
        p if p.starts_with("net/") => ("network", network.mode == NetworkMode::Private),
        "kernel/domainname" => ("uts", namespaces.uts),
        "kernel/hostname" => return Err(value(key(), "it is set by hostname")),
        _ => return Err(value(key(), "it belongs to no namespace: it would change the host")),
    };
    if own { Ok(path) } else { Err(value(key(), format!("linux.namespaces has no new {owner} namespace: it would change another"))) }
}

/// `net.ipv4.conf.eth0/1.rp_filter` and `net/ipv4/conf/eth0.1/rp_filter` are the same: what comes first separates (sysctl(8)).
fn spelled(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'.' => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        _ => name.to_owned(),
    }
}
