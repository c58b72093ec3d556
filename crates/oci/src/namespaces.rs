//! Namespaces: new, joined, or (missing) the host's.

use std::path::{Component, Path, PathBuf};

use hostel_spec::{
    Bundle, IdMap, IdRange, JoinedNamespace, LinkPair, NamespaceKind, Namespaces, Network, NetworkMode, TimeOffsets, UserNamespace, is_interface_name,
};

use crate::config::{self, Linux, says};
use crate::error::{Result, not_yet, value};
use crate::{OWNERSHIP, empty, quoted, refuse};

/// The kernel takes no more lines in a map.
const MAP_LINES: usize = 340;

/// What the machine has of its own, and a bundle with the rest of it.
pub(crate) fn compile(linux: &Linux) -> Result<(Namespaces, Network, Bundle)> {
    refuse("linux.intelRdt", says(&linux.intel_rdt), "there is no resctrl support")?;
    refuse("linux.memoryPolicy", says(&linux.memory_policy), "")?;
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
    out.devices(linux)?;
    out.bundle.cgroups_path = linux.cgroups_path.as_deref().filter(|p| !p.is_empty()).map(cgroups_path).transpose()?;
    out.bundle.mount_label = linux.mount_label.clone().filter(|l| !l.is_empty());
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
            // pivot_root(2) moves everybody who is in the namespace, and after chroot(2) alone the machine could leave its root.
            "mount" if path.is_some() => {
                return Err(value(
                    format!("{key}.path"),
                    "a machine has a root of its own, which in the mount namespace of others would be theirs, too",
                ));
            }
            "user" if path.is_some() => NamespaceKind::User,
            "mount" => {
                self.mount = true;
                return Ok(());
            }
            "user" => NamespaceKind::User,
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
            (None, NamespaceKind::User) => self.user = true,
        }
        Ok(())
    }

    fn users(&mut self, linux: &Linux) -> Result<()> {
        let uids = id_maps("linux.uidMappings", linux.uid_mappings.as_deref())?;
        let gids = id_maps("linux.gidMappings", linux.gid_mappings.as_deref())?;
        if self.bundle.joins(NamespaceKind::User) {
            // The namespace has its own; who repeats them must know them.
            (self.bundle.uids, self.bundle.gids) = (uids, gids);
            return Ok(());
        }
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

    /// Interfaces of the host that move into the machine (config-linux.md, "Network Devices").
    fn devices(&mut self, linux: &Linux) -> Result<()> {
        const KEY: &str = "linux.netDevices";
        let given = linux.net_devices.iter().flatten();
        for (host, device) in given {
            let inside = device.name.as_deref().filter(|n| !n.is_empty()).unwrap_or(host);
            if let Some(bad) = [host.as_str(), inside].into_iter().find(|n| !is_interface_name(n)) {
                return Err(value(KEY, format!("{} is no interface name", quoted(bad))));
            }
            if self.network.interfaces.iter().any(|pair| pair.inside == inside) {
                return Err(value(KEY, format!("two are to be called {}", quoted(inside))));
            }
            self.network.interfaces.push(LinkPair { host: host.clone(), inside: inside.to_owned() });
        }
        if !self.network.interfaces.is_empty() && self.network.mode != NetworkMode::Private {
            return Err(value(KEY, "linux.namespaces has no new network namespace to move them into"));
        }
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

/// Where the machine's cgroup is to be: a path, or systemd's `SLICE:PREFIX:NAME`, which is the scope `PREFIX-NAME.scope` of that slice.
fn cgroups_path(text: &str) -> Result<PathBuf> {
    const KEY: &str = "linux.cgroupsPath";
    let path = match text.split(':').collect::<Vec<_>>()[..] {
        [slice, prefix, name] => scope(slice, prefix, name).ok_or_else(|| value(KEY, format!("{} is no slice:prefix:name", quoted(text))))?,
        _ => PathBuf::from(text),
    };
    let bad = |part: Component<'_>| match part {
        Component::RootDir => false,
        // What is called so has machines in it, and nothing else.
        Component::Normal(name) => name == "hostel" || name.len() > 255 || name.as_encoded_bytes().contains(&b'\n'),
        _ => true,
    };
    if text.len() > 1024 || path.components().any(bad) || path == Path::new("/") {
        return Err(value(KEY, format!("{} is no path that a machine's cgroup can be below", quoted(text))));
    }
    Ok(path.components().collect())
}

/// Where systemd has a scope: `a-b.slice` is in `a.slice`.
fn scope(slice: &str, prefix: &str, name: &str) -> Option<PathBuf> {
    let plain = |part: &str| !part.contains('/') && !part.starts_with('.');
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let stem = slice.strip_suffix(".slice")?;
    let parts: Vec<&str> = if stem == "-" { Vec::new() } else { stem.split('-').collect() };
    if !plain(slice) || !plain(prefix) || !plain(name) || name.is_empty() || parts.iter().any(|p| p.is_empty()) {
        return None;
    }
    let above = (1..=parts.len()).map(|n| format!("{}.slice", parts[..n].join("-")));
    let unit = match (name.ends_with(".slice"), prefix) {
        (true, _) => name.to_owned(),
        (false, "") => format!("{name}.scope"),
        (false, prefix) => format!("{prefix}-{name}.scope"),
    };
    Some(std::iter::once("/".to_owned()).chain(above).chain([unit]).collect())
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
