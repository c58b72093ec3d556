//! Mounts: options become attributes, propagation, id maps, and what is left goes to the file system.

use std::path::{Path, PathBuf};

use hostel_spec::{AttributeChange, Bundle, BundleMount, BundleSource, MountIds, MountPropagation};

use crate::config::{self, Config};
use crate::error::{Result, not_yet, value};
use crate::namespaces::id_maps;
use crate::{inside, quoted};

/// Most mounts (and with them descriptors) of a bundle.
const MOST: usize = 2048;

// MOUNT_ATTR_… (linux/mount.h)
const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const ATIME: u64 = 0x70;
const RELATIME: u64 = 0;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// Word → (bits set, bits cleared). With an `r` before it: the same for all mounts below.
const ATTRIBUTES: [(&str, u64, u64); 18] = [
    ("ro", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", NOSUID, 0),
    ("suid", 0, NOSUID),
    ("nodev", NODEV, 0),
    ("dev", 0, NODEV),
    ("noexec", NOEXEC, 0),
    ("exec", 0, NOEXEC),
    ("nodiratime", NODIRATIME, 0),
    ("diratime", 0, NODIRATIME),
    ("nosymfollow", NOSYMFOLLOW, 0),
    ("symfollow", 0, NOSYMFOLLOW),
    ("noatime", NOATIME, ATIME),
    ("atime", RELATIME, ATIME),
    ("relatime", RELATIME, ATIME),
    ("norelatime", RELATIME, ATIME),
    ("strictatime", STRICTATIME, ATIME),
    ("nostrictatime", RELATIME, ATIME),
];

const PROPAGATIONS: [(&str, MountPropagation); 4] = [
    ("private", MountPropagation::Private),
    ("slave", MountPropagation::Slave),
    ("shared", MountPropagation::Shared),
    ("unbindable", MountPropagation::Unbindable),
];

/// File systems that are made new; the rest would need a device.
const FRESH: [&str; 8] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay"];

pub(crate) fn compile(config: &Config, bundle: &Path, of: &Bundle) -> Result<Vec<BundleMount>> {
    let given = config.mounts.as_deref().unwrap_or_default();
    if given.len() > MOST {
        return Err(value("mounts", "there are more than 2048"));
    }
    given.iter().enumerate().map(|(at, mount)| one(&format!("mounts[{at}]"), mount, bundle, of)).collect()
}

/// Whether terminals can be made in it.
pub(crate) fn is_devpts(mount: &BundleMount) -> bool {
    matches!(&mount.source, BundleSource::Fresh { file_system, .. } if file_system == "devpts")
}

/// The words of one mount, sorted.
#[derive(Default)]
struct Words {
    bind: Option<bool>,
    attributes: AttributeChange,
    recursive: AttributeChange,
    propagation: Option<(MountPropagation, bool)>,
    map: Option<bool>,
    copy_up: bool,
    rest: Vec<(String, String)>,
}

fn one(key: &str, mount: &config::Mount, bundle: &Path, of: &Bundle) -> Result<BundleMount> {
    // Before 1.0.2 "relative to /" was tolerated, and it still is by other runtimes.
    let destination = if mount.destination.starts_with('/') { mount.destination.clone() } else { format!("/{}", mount.destination) };
    if mount.destination.is_empty() {
        return Err(value(format!("{key}.destination"), "it is empty"));
    }
    let target = inside(&format!("{key}.destination"), &destination)?;
    let mut words = Words::default();
    for word in mount.options.iter().flatten() {
        words.add(key, word)?;
    }
    let kind = mount.kind.as_deref().unwrap_or_default();
    let uids = id_maps(&format!("{key}.uidMappings"), mount.uid_mappings.as_deref())?;
    let gids = id_maps(&format!("{key}.gidMappings"), mount.gid_mappings.as_deref())?;
    let source = if words.bind.is_some() || kind == "bind" {
        bind(key, mount, bundle, &words, (uids, gids), of)?
    } else {
        if words.map.is_some() || !uids.is_empty() || !gids.is_empty() {
            return Err(value(format!("{key}.uidMappings"), "only a bind mount has an id map"));
        }
        fresh(key, mount, kind, &words)?
    };
    Ok(BundleMount { target, source, attributes: words.attributes, recursive_attributes: words.recursive, propagation: words.propagation })
}

impl Words {
    fn add(&mut self, key: &str, word: &str) -> Result<()> {
        let change = |to: &mut AttributeChange, set: u64, clear: u64| {
            to.set = to.set & !clear | set;
            to.clear = to.clear & !set | clear & !set;
            // What is chosen among the access times clears the others.
            if clear & ATIME == ATIME {
                to.clear |= ATIME;
            }
        };
        let bare = |word: &str| ATTRIBUTES.iter().find(|(name, ..)| *name == word).copied();
        let travel = |word: &str| PROPAGATIONS.iter().find(|(name, _)| *name == word).map(|(_, p)| *p);
        let below = word.strip_prefix('r');
        if let Some((_, set, clear)) = bare(word) {
            change(&mut self.attributes, set, clear);
        } else if let Some(p) = travel(word) {
            self.propagation = Some((p, false));
        } else if let Some(p) = below.and_then(travel) {
            self.propagation = Some((p, true));
        } else if let Some((_, set, clear)) = below.and_then(bare) {
            change(&mut self.recursive, set, clear);
        } else {
            match word {
                "" | "defaults" | "async" | "loud" | "nomand" | "noiversion" | "nolazytime" => {}
                "bind" => self.bind = Some(false),
                "rbind" => self.bind = Some(true),
                "idmap" => self.map = Some(false),
                "ridmap" => self.map = Some(true),
                "tmpcopyup" => self.copy_up = true,
                "remount" => return Err(not_yet(format!("{key}.options: remount"), "give the options to the mount itself")),
                other => {
                    let (name, text) = other.split_once('=').unwrap_or((other, ""));
                    self.rest.push((name.to_owned(), text.to_owned()));
                }
            }
        }
        Ok(())
    }
}

fn bind(
    key: &str,
    mount: &config::Mount,
    bundle: &Path,
    words: &Words,
    (uids, gids): (Vec<hostel_spec::IdMap>, Vec<hostel_spec::IdMap>),
    of: &Bundle,
) -> Result<BundleSource> {
    let source = mount.source.as_deref().unwrap_or_default();
    if source.is_empty() {
        return Err(value(format!("{key}.source"), "a bind mount needs one"));
    }
    if let Some((name, _)) = words.rest.first() {
        return Err(value(format!("{key}.options"), format!("{} is no option of a bind mount", quoted(name))));
    }
    if words.copy_up {
        return Err(value(format!("{key}.options"), "tmpcopyup is for a tmpfs"));
    }
    if uids.is_empty() != gids.is_empty() {
        return Err(value(format!("{key}.uidMappings"), "uidMappings and gidMappings go together"));
    }
    let map = match (words.map, uids.is_empty()) {
        (None, true) => None,
        (Some(_), true) if of.uids.is_empty() && !of.joins(hostel_spec::NamespaceKind::User) => {
            return Err(value(
                format!("{key}.options"),
                "idmap without mappings of its own takes those of a user namespace, which the machine has not",
            ));
        }
        (recursive, _) => Some(MountIds { uids, gids, recursive: recursive == Some(true) }),
    };
    let path: PathBuf = bundle.join(source);
    Ok(BundleSource::Bind { path, recursive: words.bind == Some(true), map })
}

fn fresh(key: &str, mount: &config::Mount, kind: &str, words: &Words) -> Result<BundleSource> {
    if kind.is_empty() {
        return Err(value(format!("{key}.type"), "it is missing, and no option says bind"));
    }
    if !FRESH.contains(&kind) {
        return Err(not_yet(format!("{key}.type: {}", quoted(kind)), "mount it on the host and bind it"));
    }
    if words.copy_up && kind != "tmpfs" {
        return Err(value(format!("{key}.options"), "tmpcopyup is for a tmpfs"));
    }
    if words.recursive != AttributeChange::default() {
        return Err(value(format!("{key}.options"), "a new file system has nothing mounted below it"));
    }
    let mut options = words.rest.clone();
    if kind == "overlay" {
        absolute_layers(key, &options)?;
    }
    if kind.starts_with("cgroup") {
        // Controllers of v1 and the like: machines see the v2 hierarchy, and in it their own group.
        if let Some((name, _)) = options.first() {
            return Err(not_yet(format!("{key}.options: {}", quoted(name)), "the machine sees cgroup v2"));
        }
    }
    // The kernel makes no other since 4.7.
    options.retain(|(name, _)| !(kind == "devpts" && name == "newinstance"));
    let source = mount.source.as_deref().filter(|s| !s.is_empty()).unwrap_or(kind);
    let file_system = if kind == "cgroup" { "cgroup2" } else { kind };
    Ok(BundleSource::Fresh { file_system: file_system.to_owned(), source: source.to_owned(), options, copy_up: words.copy_up })
}

/// Layers are the host's; a relative one would be looked for where we happen to be.
fn absolute_layers(key: &str, options: &[(String, String)]) -> Result<()> {
    for (name, text) in options {
        let layers: Vec<&str> = match name.as_str() {
            "lowerdir" => text.split(':').filter(|l| !l.is_empty()).collect(),
            "upperdir" | "workdir" => vec![text],
            _ => continue,
        };
        if layers.is_empty() || layers.iter().any(|layer| !layer.starts_with('/')) {
            return Err(value(format!("{key}.options"), format!("{name} has a layer that is not absolute")));
        }
    }
    Ok(())
}
