//! What of a system no copy of it should have: its identity, and jobs that would be done twice. A layer over the system's covers it;
//! what the copy writes lies over that, so none of this is ever among its changes.

use std::ffi::{CStr, CString};

use hostel_sys::mount::Attributes;

use super::steps::{Node, Prepared};

/// Directories on the way, from the top.
const WAY: [(&CStr, u32); 11] = [
    (c"etc", 0o755),
    (c"etc/network", 0o755),
    (c"etc/ssh", 0o755),
    (c"etc/systemd", 0o755),
    (c"etc/systemd/system", 0o755),
    (c"etc/init.d", 0o755),
    (c"var", 0o755),
    (c"var/lib", 0o755),
    (c"var/lib/dbus", 0o755),
    (c"var/spool", 0o755),
    (c"var/spool/cron", 0o755),
];
/// Emptied: jobs, queues, leases, and the settings of links that are the host's.
const EMPTY: [(&CStr, u32); 13] = [
    (c"etc/cron.d", 0o755),
    (c"etc/cron.hourly", 0o755),
    (c"etc/cron.daily", 0o755),
    (c"etc/cron.weekly", 0o755),
    (c"etc/cron.monthly", 0o755),
    (c"etc/network/interfaces.d", 0o755),
    (c"etc/systemd/network", 0o755),
    (c"etc/netplan", 0o755),
    (c"var/spool/cron/crontabs", 0o700),
    (c"var/spool/cron/atjobs", 0o700),
    (c"var/spool/anacron", 0o755),
    (c"var/lib/dhcp", 0o755),
    (c"etc/wireguard", 0o700),
];
/// Not there: host keys, tables of disks.
const GONE: [&CStr; 9] = [
    c"etc/ssh/ssh_host_rsa_key",
    c"etc/ssh/ssh_host_rsa_key.pub",
    c"etc/ssh/ssh_host_ecdsa_key",
    c"etc/ssh/ssh_host_ecdsa_key.pub",
    c"etc/ssh/ssh_host_ed25519_key",
    c"etc/ssh/ssh_host_ed25519_key.pub",
    c"etc/crypttab",
    c"etc/mdadm.conf",
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

/// The layer.
pub(super) fn layer() -> Prepared {
    let mut nodes: Vec<Node> = WAY.iter().map(|(path, mode)| Node::Dir((*path).into(), *mode)).collect();
    nodes.extend(EMPTY.iter().map(|(path, mode)| Node::Opaque((*path).into(), *mode)));
    nodes.extend(GONE.iter().map(|path| Node::Char((*path).into(), 0, 0, 0)));
    nodes.extend(FRESH.iter().map(|(path, content)| Node::File((*path).into(), 0o644, content.to_vec())));
    nodes.extend(MASKED.iter().filter_map(|unit| Some(Node::Link(CString::new(format!("etc/systemd/system/{unit}")).ok()?, c"/dev/null".into()))));
    let options = super::api::options(&[("mode", "0755"), ("size", "1m")]);
    Prepared::Tmpfs { options, attributes: Attributes::NONE, nodes }
}
