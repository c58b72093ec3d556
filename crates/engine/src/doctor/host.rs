//! The rest of the host: where state lives, which services are peers, which tools are there.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::mounts::{existing, kind_of};
use super::{Finding, State, Surroundings};

pub(super) fn findings(surroundings: Surroundings<'_>) -> Vec<Finding> {
    let mut out = vec![state_directory(surroundings.state)];
    out.extend(PEERS.iter().map(Peer::finding));
    out.extend(TOOLS.iter().map(|tool| tool.finding(surroundings.path)));
    out
}

fn state_directory(state: &Path) -> Finding {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let directory = existing(state);
    // Links in the path count: /var/run is one.
    let directory = std::fs::canonicalize(&directory).unwrap_or(directory);
    state_finding(state, kind_of(&mountinfo, &directory).unwrap_or("?"))
}

pub(super) fn state_finding(state: &Path, kind: &str) -> Finding {
    let found = format!("{kind} at {}", state.display());
    if kind == "tmpfs" {
        return Finding::new("state directory", State::Ok, found, "running machines are noted in memory, and forgotten with the boot");
    }
    Finding::new(
        "state directory",
        State::Limited,
        found,
        "notes of machines outlast a reboot; they are known by the boot's id and cleared at the next start",
    )
    .advise("mount a tmpfs on /run")
}

/// A service that hostel greets when it is there.
struct Peer {
    name: &'static str,
    path: &'static str,
    /// What it means that the path exists.
    found: &'static str,
    means: &'static str,
}

const PEERS: [Peer; 4] = [
    Peer {
        name: "systemd as PID 1",
        path: "/run/systemd/system",
        found: "there",
        means: "a peer, not a need: readiness and status go to it when it started hostel",
    },
    Peer { name: "D-Bus", path: "/run/dbus/system_bus_socket", found: "there", means: "a peer, not a need: nothing is asked of it yet" },
    Peer { name: "journald", path: "/run/systemd/journal/socket", found: "there", means: "a peer, not a need: console logs are hostel's own" },
    Peer {
        name: "systemd-machined",
        path: "/usr/share/dbus-1/system-services/org.freedesktop.machine1.service",
        found: "installed",
        means: "a peer, not a need: `hostel ps` is the list of machines",
    },
];

impl Peer {
    fn finding(&self) -> Finding {
        let there = Path::new(self.path).exists();
        Finding::new(self.name, if there { State::Ok } else { State::Missing }, if there { self.found } else { "not there" }, self.means)
    }
}

/// A program somebody may want; hostel itself needs none.
pub(super) struct Tool {
    pub(super) name: &'static str,
    means: &'static str,
    package: &'static str,
}

pub(super) const TOOLS: [Tool; 9] = [
    Tool { name: "mmdebstrap", means: "makes Debian trees", package: "mmdebstrap" },
    Tool { name: "debootstrap", means: "makes Debian trees", package: "debootstrap" },
    Tool { name: "tar", means: "packs and unpacks trees", package: "tar" },
    Tool { name: "systemd-nspawn", means: "the original, for comparison", package: "systemd-container" },
    Tool { name: "machinectl", means: "the original's companion, for comparison", package: "systemd-container" },
    Tool { name: "ip", means: "shows the cables", package: "iproute2" },
    Tool { name: "nft", means: "shows address translation", package: "nftables" },
    Tool { name: "newuidmap", means: "machines without root", package: "uidmap" },
    Tool { name: "btrfs", means: "shows the subvolumes of trees", package: "btrfs-progs" },
];

impl Tool {
    pub(super) fn finding(&self, path: &OsStr) -> Finding {
        let name = format!("tool {}", self.name);
        match which(path, self.name) {
            Some(place) => Finding::new(name, State::Ok, place.display().to_string(), self.means),
            None => Finding::new(name, State::Missing, "not in $PATH", format!("{}; hostel does not need it", self.means))
                .advise(format!("apt-get install {}, or its like", self.package)),
        }
    }
}

/// The first executable of that name in a search path.
fn which(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        // The directories of root's programs are looked at in every case.
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}
