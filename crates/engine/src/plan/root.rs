//! The root file system: tree, copy, overlay, volatile.

use std::path::{Path, PathBuf};

use hostel_spec::{Designator, Ephemeral, Hint, Layers, Root, TreeSource, UpperLayer, Volatile};
use hostel_sys::mount::Attributes;

use super::steps::{BondStep, HostStep, IdChoice, Missing, Node, PayloadStep, Prepared, RootAssembly, Source};
use super::{Builder, ownership};
use crate::error::{Error, Result};

/// Whether what the machine changes is changed in its tree.
pub(super) fn is_written(root: &Root) -> bool {
    !root.read_only && root.ephemeral == Ephemeral::No && root.volatile == Volatile::No && root.upper.is_none() && root.layers.is_none()
}

impl Builder<'_> {
    pub(super) fn root(&mut self, ids: Option<IdChoice>) -> Result<()> {
        let root = &self.spec.root;
        let of_host = root.tree == TreeSource::Host;
        if self.tree.missing {
            let from =
                root.template.clone().ok_or_else(|| Error::new("open", format!("tree {}", self.tree.path.display()), "No such file or directory"))?;
            self.host.push(HostStep::CopyTemplate { from, to: self.tree.path.clone() });
        }
        let layered = self.ephemeral_layer(ids);
        let overlay = of_host
            || root.layers.is_some()
            || layered
            || root.ephemeral == Ephemeral::Overlay
            || root.volatile == Volatile::Overlay
            || root.upper.is_some();
        let image = self.tree.image.as_ref();
        if !of_host && image.is_none() {
            self.hold_tree(overlay, layered);
        }
        let (map, chown) = if image.is_some() { self.image_ownership(ids)? } else { ownership(self.spec, self.tree, ids) };
        if chown {
            check_range(ids)?;
        }
        if chown && !map {
            if of_host || overlay {
                return Err(Error::new("shift", "the tree's ids", "files under an overlay are not changed on disk").hint(Hint::KeepOwners));
            }
            self.host.push(HostStep::ShiftTree);
        }
        // A read-only tree, unless it is marked so, stays writable at its top until the mount points are there; submounts are read-only from the start.
        let attributes = if root.read_only || root.volatile == Volatile::State { Attributes::RDONLY } else { Attributes::NONE };
        let tree = match image {
            Some(image) => self.image_root(image, map),
            None => {
                let tree = self.slot();
                self.host.push(HostStep::Prepare(tree, Prepared::Clone { source: Source::Tree, recursive: !overlay, attributes }));
                if map {
                    self.bond.push(BondStep::MapTree { slot: tree, chown: chown && !overlay });
                }
                tree
            }
        };
        if let Some(dir) = &root.upper {
            self.host.push(HostStep::LockUpper(dir.clone()));
        }
        let layers = root.layers.clone();
        if let Some(layers) = &layers
            && self.user_namespace()
            && !self.host_facts.tmpfs_user_attributes
            && (layers.hygiene || matches!(layers.upper, UpperLayer::Tmpfs(_)))
        {
            let why = "with users of its own (USERNS) a layer on a tmpfs (HYGIENE, UPPER=tmpfs) needs Linux 6.6";
            return Err(Error::new("make", "overlay root", why));
        }
        let mut lower = vec![tree];
        let mut at = None;
        let upper = match &layers {
            Some(layers) => {
                let (slot, places) = self.own_layers(layers, map, &mut lower);
                at = places;
                Some(slot)
            }
            None => {
                let kept = root.upper.clone().map(|dir| Source::Kept { dir, part: None });
                kept.or(layered.then_some(Source::Layer)).map(|source| self.upper(source, map))
            }
        };
        if self.user_namespace() {
            self.payload.push(PayloadStep::Wait);
        }
        self.payload.push(PayloadStep::Keyring);
        self.payload.push(PayloadStep::Isolate);
        // Such an overlay has to be made for the payload, which could not remove the tree's directories from its own.
        let stacked = overlay && upper.is_none() && self.user_namespace() && !self.host_facts.tmpfs_user_attributes;
        match (overlay, root.volatile) {
            (true, _) if stacked => self.payload.push(PayloadStep::AssembleRoot(RootAssembly::Stacked)),
            (true, _) => self.payload.push(PayloadStep::AssembleRoot(RootAssembly::Overlay { lower, upper, at })),
            (false, Volatile::Yes) => self.volatile_root(tree, map)?,
            (false, _) => self.payload.push(PayloadStep::AssembleRoot(RootAssembly::Mount(tree))),
        }
        let submounts = match image {
            _ if of_host => self.submounts(map),
            Some(image) => self.image_parts(image, map, overlay),
            None => Vec::new(),
        };
        if stacked {
            self.bond.push(BondStep::StackRoot { lower: tree, submounts });
        } else {
            let hygiene = layers.as_ref().is_some_and(|l| l.hygiene);
            let size = layers.as_ref().and_then(|l| match &l.upper {
                UpperLayer::Tmpfs(size) => std::ffi::CString::new(size.as_str()).ok(),
                UpperLayer::Kept { .. } => None,
            });
            for (lower, target) in submounts {
                if hygiene && super::hygiene::empties(&target) {
                    continue;
                }
                let kept = match layers.as_ref().map(|l| &l.upper) {
                    Some(UpperLayer::Kept { parts, .. }) => Some(parts.clone()),
                    _ => self.spec.root.upper.clone(),
                };
                let upper = kept.map(|dir| self.kept_part(dir, lower, &target, map));
                let cover = if hygiene { super::hygiene::layer(&target, vec![lower], map, self.user_namespace()) } else { None };
                let cover = cover.map(|cover| {
                    let slot = self.slot();
                    self.host.push(HostStep::Prepare(slot, cover));
                    slot
                });
                let lower = std::iter::once(lower).chain(cover).collect();
                self.payload.push(PayloadStep::OverlaySubmount { lower, upper, size: size.clone(), target });
            }
        }
        if let Some(pivot) = &root.pivot {
            if root.volatile == Volatile::Yes {
                let why = "of the tree there is /usr only, with --volatile=yes";
                return Err(Error::new("make", format!("{} the root", pivot.new.display()), why).hint(Hint::OtherVolatile));
            }
            self.payload.push(PayloadStep::PivotTree { pivot: pivot.clone(), read_only: root.read_only || root.volatile == Volatile::State });
        }
        self.base_directories();
        if root.volatile == Volatile::State {
            let var = self.slot();
            self.host.push(HostStep::Prepare(
                var,
                Prepared::Tmpfs {
                    options: super::api::options(&[("mode", "0755"), ("size", "25%"), ("nr_inodes", "1m")]),
                    attributes: Attributes::NONE,
                    nodes: Vec::new(),
                },
            ));
            self.payload.push(PayloadStep::Attach { slot: var, target: "/var".into(), missing: Missing::MakeDir, read_only: false });
        }
        Ok(())
    }

    /// Locks a directory, copies it for an ephemeral machine, pins its file system.
    pub(super) fn hold_tree(&mut self, overlay: bool, layered: bool) {
        let root = &self.spec.root;
        let path = || self.tree.path.clone();
        let shared = root.read_only || overlay || root.ephemeral == Ephemeral::Copy || matches!(root.volatile, Volatile::Yes | Volatile::State);
        if let Some(writer) = &self.tree.writer {
            // As systemd-nspawn: a copy of what is there now needs nobody's leave.
            self.notices.push(format!("{writer} writes to the tree: what is copied may be half written"));
        } else if !root.unlocked {
            self.host.push(HostStep::LockTree { shared });
        }
        if layered {
            self.host.push(HostStep::MakeLayer { of: path() });
        } else if root.ephemeral == Ephemeral::Copy {
            self.host.push(HostStep::CopyTree { from: path() });
        }
        self.host.push(HostStep::PinFileSystem);
    }

    /// Whether an ephemeral machine gets a layer over the tree instead of a copy: where a copy cannot share blocks with it,
    /// nothing on disk has to be changed, and no other overlay is asked for.
    fn ephemeral_layer(&self, ids: Option<IdChoice>) -> bool {
        let root = &self.spec.root;
        let (map, chown) = ownership(self.spec, self.tree, ids);
        root.ephemeral == Ephemeral::Copy
            && self.tree.layers
            && !self.tree.read_only
            && self.tree.image.is_none()
            && root.volatile == Volatile::No
            && root.upper.is_none()
            && !root.read_only
            && (map || !chown)
    }

    /// The mount of a directory that is a layer, or has `upper` and `work` in it.
    fn upper(&mut self, source: Source, map: bool) -> super::Slot {
        let slot = self.slot();
        self.host.push(HostStep::Prepare(slot, Prepared::Clone { source, recursive: false, attributes: Attributes::NONE }));
        if map {
            self.bond.push(BondStep::MapTree { slot, chown: false });
        }
        slot
    }

    /// Layers that are each in a place of their own: the mount of the upper one, and where it is in that. Adds to the lower ones.
    fn own_layers(&mut self, layers: &Layers, map: bool, lower: &mut Vec<super::Slot>) -> (super::Slot, Option<Box<(PathBuf, PathBuf)>>) {
        for path in layers.over.iter().rev() {
            lower.push(self.upper(Source::Path(path.clone()), map));
        }
        if layers.hygiene
            && let Some(cover) = super::hygiene::layer(Path::new("/"), lower.clone(), map, self.user_namespace())
        {
            let slot = self.slot();
            self.host.push(HostStep::Prepare(slot, cover));
            lower.push(slot);
        }
        match &layers.upper {
            UpperLayer::Tmpfs(size) => {
                let slot = self.slot();
                let nodes = ["upper", "work"].iter().filter_map(|n| Some(Node::Dir(std::ffi::CString::new(*n).ok()?, 0o755))).collect();
                let options = super::api::options(&[("mode", "0755"), ("size", size)]);
                self.host.push(HostStep::Prepare(slot, Prepared::Tmpfs { options, attributes: Attributes::NONE, nodes }));
                (slot, None)
            }
            UpperLayer::Kept { upper, work, parts } => {
                self.host.push(HostStep::LockUpper(upper.clone()));
                self.host.push(HostStep::OpenParts(parts.clone()));
                let common: PathBuf = upper.components().zip(work.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
                let below = |path: &Path| path.strip_prefix(&common).map(Path::to_path_buf).unwrap_or_default();
                let at = Box::new((below(upper), below(work)));
                (self.upper(Source::Upper(common), map), Some(at))
            }
        }
    }

    /// What a kept machine keeps of a file system below its root.
    fn kept_part(&mut self, dir: PathBuf, lower: super::Slot, target: &Path, map: bool) -> super::Slot {
        let path = target.to_string_lossy();
        let name = path.trim_start_matches('/').replace('%', "%25").replace('/', "%2f");
        let source = Source::Kept { dir: dir.clone(), part: Some(name.clone()) };
        self.host.push(HostStep::KeptPart { dir, name, like: lower });
        self.upper(source, map)
    }

    /// tmpfs as root, the tree's /usr in it.
    fn volatile_root(&mut self, tree: super::Slot, map: bool) -> Result<()> {
        if !self.tree.merged_usr {
            return Err(
                Error::new("make", "volatile root", "the tree's /bin is no link into /usr, so /usr alone is not a system").hint(Hint::OtherVolatile)
            );
        }
        let top = self.slot();
        self.host.push(HostStep::Prepare(
            top,
            Prepared::Tmpfs {
                options: super::api::options(&[("mode", "0755"), ("size", "25%"), ("nr_inodes", "1m")]),
                attributes: Attributes::NONE,
                nodes: Vec::new(),
            },
        ));
        self.payload.push(PayloadStep::AssembleRoot(RootAssembly::Mount(top)));
        self.payload.push(PayloadStep::BaseDirectory("usr", 0o755));
        let usr = self.tree.image.as_ref().and_then(|i| i.parts.iter().position(|p| p.designator == Designator::Usr));
        match usr {
            Some(index) => {
                let slot = self.part(index, map);
                self.payload.push(PayloadStep::Attach { slot, target: "/usr".into(), missing: Missing::MakeDir, read_only: true });
            }
            None => self.payload.push(PayloadStep::AttachUsr(tree)),
        }
        Ok(())
    }

    /// Disk file systems below the host's `/` get an overlay each; otherwise /usr or /home would be empty.
    fn submounts(&mut self, map: bool) -> Vec<(super::Slot, std::path::PathBuf)> {
        let mut out = Vec::new();
        for (path, _) in self.host_facts.submounts.clone() {
            let lower = self.slot();
            self.host.push(HostStep::Prepare(
                lower,
                Prepared::Clone { source: Source::Path(path.clone()), recursive: false, attributes: Attributes::NONE },
            ));
            if map {
                self.bond.push(BondStep::MapTree { slot: lower, chown: false });
            }
            out.push((lower, path));
        }
        out
    }

    fn base_directories(&mut self) {
        for (path, mode) in [
            ("usr", 0o755),
            ("etc", 0o755),
            ("var", 0o755),
            ("root", 0o750),
            ("proc", 0o555),
            ("sys", 0o555),
            ("dev", 0o555),
            ("run", 0o555),
            ("tmp", 0o1777),
        ] {
            self.payload.push(PayloadStep::BaseDirectory(path, mode));
        }
        for (path, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
            self.payload.push(PayloadStep::BaseLink(path, target));
        }
    }
}

/// On disk, only ranges that systemd-nspawn knows are used.
fn check_range(ids: Option<IdChoice>) -> Result<()> {
    match ids {
        Some(IdChoice::Fixed(range)) if range.base & 0xffff != 0 || range.count != 65536 => {
            Err(Error::new("shift", "the tree's ids", "on disk only ranges of 65536 that begin at a multiple of 65536 are used")
                .hint(Hint::KeepOwners))
        }
        _ => Ok(()),
    }
}
