//! The root file system: tree, copy, overlay, volatile.

use hostel_spec::{Ephemeral, TreeSource, Volatile};
use hostel_sys::mount::Attributes;

use super::steps::{BondStep, HostStep, IdChoice, Missing, PayloadStep, Prepared, RootAssembly, Source};
use super::{Builder, ownership};
use crate::error::{Error, Result};

impl Builder<'_> {
    pub(super) fn root(&mut self, ids: Option<IdChoice>) -> Result<()> {
        let root = &self.spec.root;
        let of_host = root.tree == TreeSource::Host;
        if self.tree.missing {
            let from =
                root.template.clone().ok_or_else(|| Error::new("open", format!("tree {}", self.tree.path.display()), "No such file or directory"))?;
            self.host.push(HostStep::CopyTemplate { from, to: self.tree.path.clone() });
        }
        let overlay = of_host || root.ephemeral == Ephemeral::Overlay || root.volatile == Volatile::Overlay || root.upper.is_some();
        if !of_host {
            let shared = root.read_only || overlay || root.ephemeral == Ephemeral::Copy || matches!(root.volatile, Volatile::Yes | Volatile::State);
            self.host.push(HostStep::LockTree { shared });
            if root.ephemeral == Ephemeral::Copy {
                self.host.push(HostStep::CopyTree { from: self.tree.path.clone() });
            }
            self.host.push(HostStep::PinFileSystem);
        }
        let (map, chown) = ownership(self.spec, self.tree, ids);
        if let (true, Some(IdChoice::Fixed(range))) = (chown, ids)
            && (range.base & 0xffff != 0 || range.count != 65536)
        {
            return Err(Error::new("shift", "the tree's ids", "on disk only ranges of 65536 that begin at a multiple of 65536 are used")
                .hint("use --private-users-ownership=map or off"));
        }
        if chown && !map {
            if of_host || overlay {
                return Err(Error::new("shift", "the tree's ids", "files under an overlay are not changed on disk")
                    .hint("use --private-users-ownership=map or off"));
            }
            self.host.push(HostStep::ShiftTree);
        }
        // A read-only tree stays writable at its top until the mount points are there; submounts are read-only from the start.
        let attributes = if root.read_only || root.volatile == Volatile::State { Attributes::RDONLY } else { Attributes::NONE };
        let tree = self.slot();
        self.host.push(HostStep::Prepare(tree, Prepared::Clone { source: Source::Tree, recursive: !overlay, attributes }));
        if map {
            self.bond.push(BondStep::MapTree { slot: tree, chown: chown && !overlay });
        }
        let upper = match &root.upper {
            Some(dir) => {
                self.host.push(HostStep::LockUpper(dir.clone()));
                let slot = self.slot();
                self.host.push(HostStep::Prepare(
                    slot,
                    Prepared::Clone { source: Source::Path(dir.clone()), recursive: false, attributes: Attributes::NONE },
                ));
                if map {
                    self.bond.push(BondStep::MapTree { slot, chown: false });
                }
                Some(slot)
            }
            None => None,
        };
        if self.user_namespace() || self.waits_for_links() {
            self.payload.push(PayloadStep::Wait);
        }
        self.payload.push(PayloadStep::Keyring);
        self.payload.push(PayloadStep::Isolate);
        // Such an overlay has to be made for the payload, which could not remove the tree's directories from its own.
        let stacked = overlay && upper.is_none() && self.user_namespace() && !self.host_facts.tmpfs_user_attributes;
        match (overlay, root.volatile) {
            (true, _) if stacked => self.payload.push(PayloadStep::AssembleRoot(RootAssembly::Stacked)),
            (true, _) => self.payload.push(PayloadStep::AssembleRoot(RootAssembly::Overlay { lower: vec![tree], upper })),
            (false, Volatile::Yes) => self.volatile_root(tree)?,
            (false, _) => self.payload.push(PayloadStep::AssembleRoot(RootAssembly::Mount(tree))),
        }
        let submounts = if of_host { self.submounts(map) } else { Vec::new() };
        if stacked {
            self.bond.push(BondStep::StackRoot { lower: tree, submounts });
        } else {
            self.payload.extend(submounts.into_iter().map(|(lower, target)| PayloadStep::OverlaySubmount { lower, target }));
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

    /// tmpfs as root, the tree's /usr in it.
    fn volatile_root(&mut self, tree: super::Slot) -> Result<()> {
        if !self.tree.merged_usr {
            return Err(Error::new("make", "volatile root", "the tree's /bin is no link into /usr, so /usr alone is not a system")
                .hint("use --volatile=state or --volatile=overlay"));
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
        self.payload.push(PayloadStep::AttachUsr(tree));
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
