//! What of a system no copy of it should have: its identity, and jobs that would be done twice. A layer over the system's covers it;
//! what the copy writes lies over that, so none of this is ever among its changes.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::steps::{Node, Prepared, Slot};

/// Directories on the way, from the top; modes are those of the system where it has them.
const WAY: [(&CStr, u32); 12] = [
    (c"etc", 0o755),
    (c"etc/network", 0o755),
    (c"etc/ssh", 0o755),
    (c"etc/systemd", 0o755),
    (c"etc/systemd/system", 0o755),
    (c"etc/init.d", 0o755),
    (c"etc/mdadm", 0o755),
    (c"var", 0o755),
    (c"var/lib", 0o755),
    (c"var/lib/dbus", 0o755),
    (c"var/spool", 0o755),
    (c"var/spool/cron", 0o755),
];
/// Emptied: jobs, queues, leases, and the settings of links that are the host's. Modes and owners are those of the system where it has them.
const EMPTY: [(&CStr, u32); 17] = [
    (c"etc/cron.d", 0o755),
    (c"etc/cron.hourly", 0o755),
    (c"etc/cron.daily", 0o755),
    (c"etc/cron.weekly", 0o755),
    (c"etc/cron.monthly", 0o755),
    (c"etc/network/interfaces.d", 0o755),
    (c"etc/systemd/network", 0o755),
    (c"etc/netplan", 0o755),
    (c"var/spool/cron/crontabs", 0o1730),
    (c"var/spool/cron/atjobs", 0o1770),
    (c"var/spool/anacron", 0o755),
    (c"var/lib/dhcp", 0o755),
    (c"var/spool/postfix", 0o755),
    (c"var/spool/exim4", 0o750),
    (c"var/spool/mqueue", 0o700),
    (c"var/spool/nullmailer", 0o755),
    (c"etc/wireguard", 0o700),
];
/// Not there: host keys, tables of disks.
const GONE: [&CStr; 10] = [
    c"etc/ssh/ssh_host_rsa_key",
    c"etc/ssh/ssh_host_rsa_key.pub",
    c"etc/ssh/ssh_host_ecdsa_key",
    c"etc/ssh/ssh_host_ecdsa_key.pub",
    c"etc/ssh/ssh_host_ed25519_key",
    c"etc/ssh/ssh_host_ed25519_key.pub",
    c"etc/crypttab",
    c"etc/mdadm.conf",
    c"etc/mdadm/mdadm.conf",
    c"var/lib/dbus/machine-id",
];
/// Files that begin anew.
const FRESH: [(&CStr, &[u8]); 4] = [
    (c"etc/machine-id", b""),
    (c"etc/fstab", b"# of the host, and covered: a copy of it mounts nothing\n"),
    (c"etc/crontab", b"# of the host, and covered: its jobs are not done twice\n"),
    (c"etc/network/interfaces", INTERFACES),
];
/// Interfaces as overlay-boot has them for a subhost without such a file: nothing of the host's is applied.
pub const INTERFACES: &[u8] = b"auto lo\niface lo inet loopback\n\niface eth0 inet manual\niface eth1 inet manual\niface eth2 inet manual\n";
/// Units that are the host's business: its disks, clocks, virtual machines, containers, tunnels.
const MASKED: [&str; 20] = [
    "cron.service",
    "anacron.service",
    "atd.service",
    "systemd-udevd.service",
    "mdmonitor.service",
    "lvm2-monitor.service",
    "watchdog.service",
    "ntp.service",
    "chrony.service",
    "systemd-timesyncd.service",
    "NetworkManager.service",
    "systemd-networkd.service",
    "docker.service",
    "docker.socket",
    "containerd.service",
    "libvirtd.service",
    "cups.service",
    "unattended-upgrades.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
];

/// The layer over the file systems in `of`, which are mounted on `at` of the system; `None`: they have nothing to cover. `mapped`: `of`
/// will have its ids mapped. `user`: the overlay is one of a user namespace, which looks at attributes of another name.
pub(super) fn layer(at: &Path, of: Vec<Slot>, mapped: bool, user: bool) -> Option<Prepared> {
    let opaque = if user { c"user.overlay.opaque" } else { c"trusted.overlay.opaque" };
    let below = |path: &CStr| {
        let rest = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())).strip_prefix(at.strip_prefix("/").unwrap_or(at)).ok()?;
        CString::new(rest.as_os_str().as_bytes()).ok().filter(|rest| !rest.is_empty())
    };
    let mut nodes: Vec<Node> = WAY.iter().filter_map(|(path, mode)| Some(Node::Dir(below(path)?, *mode))).collect();
    nodes.extend(EMPTY.iter().filter_map(|(path, mode)| Some(Node::Opaque(below(path)?, *mode, opaque))));
    nodes.extend(GONE.iter().filter_map(|path| Some(Node::Char(below(path)?, 0, 0, 0))));
    nodes.extend(FRESH.iter().filter_map(|(path, content)| Some(Node::File(below(path)?, 0o644, content.to_vec()))));
    nodes.extend(MASKED.iter().filter_map(|unit| {
        let path = CString::new(format!("etc/systemd/system/{unit}")).ok()?;
        Some(Node::Link(below(&path)?, c"/dev/null".into()))
    }));
    (!nodes.is_empty()).then_some(Prepared::Cover { of, mapped, nodes })
}

/// Whether a file system mounted on `at` of the system is in what is emptied: then it is left out.
pub(super) fn empties(at: &Path) -> bool {
    let at = at.strip_prefix("/").unwrap_or(at);
    EMPTY.iter().any(|(path, _)| at.starts_with(std::ffi::OsStr::from_bytes(path.to_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(at: &str, user: bool) -> Vec<Node> {
        match layer(Path::new(at), vec![Slot(0)], false, user) {
            Some(Prepared::Cover { nodes, .. }) => nodes,
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_file_system_below_has_its_part_of_it() {
        let (all, spool) = (nodes("/", false), nodes("/var/spool", false));
        assert_eq!(all.len(), WAY.len() + EMPTY.len() + GONE.len() + FRESH.len() + MASKED.len());
        assert!(all.contains(&Node::Opaque(c"var/spool/cron/crontabs".into(), 0o1730, c"trusted.overlay.opaque")));
        assert_eq!(spool[0], Node::Dir(c"cron".into(), 0o755));
        assert!(spool.contains(&Node::Opaque(c"cron/crontabs".into(), 0o1730, c"trusted.overlay.opaque")) && spool.len() == 8, "{spool:?}");
        assert!(nodes("/etc", true).contains(&Node::Opaque(c"cron.d".into(), 0o755, c"user.overlay.opaque")));
        assert!(nodes("/etc", true).contains(&Node::Char(c"mdadm/mdadm.conf".into(), 0, 0, 0)));
        for bare in ["/home", "/var/lib/mysql", "/usr", "/var/spool/postfix"] {
            assert!(nodes(bare, false).is_empty(), "{bare}");
        }
        assert!(empties(Path::new("/var/spool/postfix")) && empties(Path::new("/var/spool/postfix/active")));
        assert!(!empties(Path::new("/var/spool")) && !empties(Path::new("/var/spool/postfix2")));
    }
}
