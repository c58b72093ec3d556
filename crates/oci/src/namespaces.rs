//! Namespaces: new, joined, or (missing) the host's.

use std::path::PathBuf;

use hostel_spec::{Bundle, IdMap, IdRange, JoinedNamespace, NamespaceKind, Namespaces, Network, NetworkMode, TimeOffsets, UserNamespace};

use crate::config::{self, Linux, says};
use crate::error::{Result, not_yet, value};
use crate::{OWNERSHIP, empty, quoted, refuse};

/// The kernel takes no more lines in a map.
const MAP_LINES: usize = 340;

/// What the machine has of its own, and a bundle with the rest of it.
pub(crate) fn compile(linux: &Linux) -> Result<(Namespaces, Network, Bundle)> {
    refuse("linux.intelRdt", says(&linux.intel_rdt), "there is no resctrl support")?;
    refuse("linux.netDevices", says(&linux.net_devices), "give the machine interfaces by --network-interface=")?;
    refuse("linux.memoryPolicy", says(&linux.memory_policy), "")?;
    refuse("linux.mountLabel", linux.mount_label.as_deref().filter(|l| !l.is_empty()), "SELinux contexts of mounts wait")?;
    refuse("linux.cgroupsPath", linux.cgroups_path.as_deref().filter(|p| !p.is_empty()), "a machine's cgroup is hostel/NAME; leave the key out")?;
    let mut out =
        Wanted { namespaces: Namespaces { pid: false, ipc: false, uts: false, ownership: OWNERSHIP, ..Namespaces::default() }, ..Wanted::default() };
    for (at, namespace) in linux.namespaces.iter().flatten().enumerate() {
        out.add(&format!("linux.namespaces[{at}]"), namespace)?;
    }
    if !out.mount {
        return Err(value("linux.namespaces", "there is no mount namespace: a machine has a root of its own"));
    }
    out.users(linux)?;
    out.time(linux)?;
    Ok((out.namespaces, out.network, out.bundle))
}

struct Wanted {
    namespaces: Namespaces,
    network: Network,
    bundle: Bundle,
    mount: bool,
    user: bool,
    time: bool,
    seen: Vec<String>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            namespaces: Namespaces::default(),
            network: Network::default(),
            bundle: empty(),
            mount: false,
            user: false,
            time: false,
            seen: Vec::new(),
        }
    }
}

impl Wanted {
    fn add(&mut self, key: &str, given: &config::Namespace) -> Result<()> {
        if self.seen.contains(&given.kind) {
            return Err(value(key, format!("there are two of type {}", quoted(&given.kind))));
        }
        self.seen.push(given.kind.clone());
        let path = given.path.as_deref().filter(|p| !p.is_empty());
        if path.is_some_and(|p| !p.starts_with('/')) {
            return Err(value(format!("{key}.path"), "it is not absolute"));
        }
        let kind = match given.kind.as_str() {
            "mount" if path.is_some() => return Err(not_yet(format!("{key}.path"), "a machine's root is in a mount namespace of its own")),
            "user" if path.is_some() => return Err(not_yet(format!("{key}.path"), "a user namespace of somebody else's cannot be joined")),
            "mount" => {
                self.mount = true;
                return Ok(());
            }
            "user" => {
                self.user = true;
                return Ok(());
            }
            "pid" => NamespaceKind::Pid,
            "network" => NamespaceKind::Net,
            "ipc" => NamespaceKind::Ipc,
            "uts" => NamespaceKind::Uts,
            "cgroup" => NamespaceKind::Cgroup,
            "time" => NamespaceKind::Time,
            other => return Err(value(format!("{key}.type"), format!("{} is none of the kernel's namespaces", quoted(other)))),
        };
        match (path, kind) {
            (Some(path), kind) => self.bundle.join.push(JoinedNamespace { kind, path: PathBuf::from(path) }),
            (None, NamespaceKind::Pid) => self.namespaces.pid = true,
            (None, NamespaceKind::Net) => self.network.mode = NetworkMode::Private,
            (None, NamespaceKind::Ipc) => self.namespaces.ipc = true,
            (None, NamespaceKind::Uts) => self.namespaces.uts = true,
            // Every machine has one (spec/security.md 4).
            (None, NamespaceKind::Cgroup) => {}
            (None, NamespaceKind::Time) => self.time = true,
        }
        Ok(())
    }

    fn users(&mut self, linux: &Linux) -> Result<()> {
        let uids = id_maps("linux.uidMappings", linux.uid_mappings.as_deref())?;
        let gids = id_maps("linux.gidMappings", linux.gid_mappings.as_deref())?;
        if !self.user {
            return match (uids.is_empty(), gids.is_empty()) {
                (true, true) => Ok(()),
                (false, _) => Err(value("linux.uidMappings", "linux.namespaces has no new user namespace")),
                (_, false) => Err(value("linux.gidMappings", "linux.namespaces has no new user namespace")),
            };
        }
        let root = |key: &str, maps: &[IdMap]| {
            let found = maps.iter().find(|m| m.inside == 0).copied();
            found.ok_or_else(|| value(key, "it has nothing for id 0: the machine is set up by its root"))
        };
        let (uid, gid) = (root("linux.uidMappings", &uids)?, root("linux.gidMappings", &gids)?);
        if uid.host != gid.host {
            return Err(not_yet("linux.gidMappings", "root's group has to be the host's group of the number of root's user"));
        }
        self.namespaces.user = UserNamespace::Range(IdRange { base: uid.host, count: uid.count });
        (self.bundle.uids, self.bundle.gids) = (uids, gids);
        Ok(())
    }

    fn time(&mut self, linux: &Linux) -> Result<()> {
        let mut offsets = TimeOffsets::default();
        for (clock, offset) in linux.time_offsets.iter().flatten() {
            let nanoseconds = offset.nanosecs.unwrap_or(0);
            if nanoseconds >= 1_000_000_000 {
                return Err(value("linux.timeOffsets", "a second has less than 1000000000 nanoseconds"));
            }
            let given = Some((offset.secs.unwrap_or(0), nanoseconds));
            match clock.as_str() {
                "monotonic" => offsets.monotonic = given,
                "boottime" => offsets.boottime = given,
                other => return Err(value("linux.timeOffsets", format!("{} is none of monotonic, boottime", quoted(other)))),
            }
        }
        if self.time {
            self.bundle.time = Some(offsets);
        } else if offsets != TimeOffsets::default() {
            return Err(value("linux.timeOffsets", "linux.namespaces has no new time namespace"));
        }
        Ok(())
    }
}

/// A map of ids, ranges not empty and not beyond the numbers there are.
pub(crate) fn id_maps(key: &str, given: Option<&[config::IdMap]>) -> Result<Vec<IdMap>> {
    let given = given.unwrap_or_default();
    if given.len() > MAP_LINES {
        return Err(value(key, "the kernel takes at most 340 ranges"));
    }
    let mut out: Vec<IdMap> = Vec::with_capacity(given.len());
    for map in given {
        let end = |first: u32| first.checked_add(map.size);
        let (Some(inside_end), Some(host_end)) = (end(map.container_id), end(map.host_id)) else {
            return Err(value(key, "a range goes beyond the last id"));
        };
        if map.size == 0 {
            return Err(value(key, "a range is empty"));
        }
        let overlaps =
            |m: &IdMap| (m.inside < inside_end && map.container_id < m.inside + m.count) || (m.host < host_end && map.host_id < m.host + m.count);
        if out.iter().any(overlaps) {
            return Err(value(key, "two ranges overlap"));
        }
        out.push(IdMap { inside: map.container_id, host: map.host_id, count: map.size });
    }
    Ok(out)
}
