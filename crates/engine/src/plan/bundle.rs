//! The plan of a machine of an OCI bundle: its file systems are those of the bundle, in its order, and nothing else.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use hostel_spec::{
    AttributeChange, Bundle, BundleMount, BundleSource, ConsoleMode, DeviceNode, MountIds, MountPropagation, NamespaceKind, NodeKind, UnitPlace,
};
use hostel_sys::mount::Attributes;

use super::Builder;
use super::bundle_steps::{Bind, BundleBond, BundleHost, BundleStep};
use super::steps::{BondStep, HostStep, IdChoice, Missing, Node, PayloadStep, Prepared, Slot, Source};
use crate::error::{Error, Result};

/// What every container has in /dev (config-linux.md, "Default Devices"), unless the bundle brings its own /dev.
const DEVICES: [(&str, u32, u32); 6] =
    [("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0)];

/// The size a bundle wants its terminal to have at first.
pub(super) fn window(spec: &hostel_spec::MachineSpec) -> Option<hostel_process::pty::WindowSize> {
    let (rows, cols) = spec.bundle.as_ref()?.console_size.filter(|(rows, cols)| *rows > 0 && *cols > 0)?;
    Some(hostel_process::pty::WindowSize { rows, cols })
}

fn is_devpts(mount: &BundleMount) -> bool {
    matches!(&mount.source, BundleSource::Fresh { file_system, .. } if file_system == "devpts")
}

/// Files of what is kept in memory, or in layers of the host's, have the label that the bundle gives; the kernel's own have theirs.
fn labelled(mount: &BundleMount, label: Option<&str>) -> BundleMount {
    let mut mount = mount.clone();
    if let (BundleSource::Fresh { file_system, options, .. }, Some(label)) = (&mut mount.source, label)
        && matches!(file_system.as_str(), "tmpfs" | "devpts" | "mqueue" | "overlay")
        && !options.iter().any(|(name, _)| name == "context")
    {
        options.push(("context".to_owned(), label.to_owned()));
    }
    mount
}

/// The mount in which the terminal is made.
pub(super) fn terminals(bundle: &Bundle) -> Option<&Path> {
    bundle.mounts.iter().find(|mount| is_devpts(mount)).map(|mount| mount.target.as_path())
}

impl Builder<'_> {
    /// Its users are those of a namespace that exists.
    pub(super) fn joins_users(&self) -> bool {
        self.spec.bundle.as_ref().is_some_and(|b| b.joins(NamespaceKind::User))
    }

    pub(super) fn bundle(&mut self, bundle: &Bundle, ids: Option<IdChoice>, console: ConsoleMode) -> Result<()> {
        self.check_labels(bundle)?;
        let unit = &self.spec.unit;
        if bundle.cgroups_path.is_some() && (unit.slice.is_some() || unit.place == UnitPlace::Keep) {
            let option = if unit.slice.is_some() { "--slice=" } else { "--keep-unit" };
            return Err(Error::new("use", option, "linux.cgroupsPath of config.json says where the machine's cgroup is"));
        }
        self.check_capabilities();
        self.hold_tree(false, false);
        if let Some(choice) = ids {
            self.host.push(HostStep::TakeIds(choice));
            self.bond.push(BondStep::Bundle(Box::new(BundleBond::MapIds { uids: bundle.uids.clone(), gids: bundle.gids.clone() })));
            self.payload.push(PayloadStep::Wait);
        }
        if self.joins_users() {
            self.bond.push(BondStep::Bundle(Box::new(BundleBond::Users)));
            self.payload.push(PayloadStep::Wait);
        }
        if !bundle.join.is_empty() {
            self.host.push(HostStep::Bundle(BundleHost::OpenNamespaces));
        }
        let tree = self.bind(Bind {
            source: Source::Tree,
            recursive: true,
            // A tree that is marked so stays as it is: nothing is made in it.
            attributes: AttributeChange { set: if self.tree.marked { Attributes::RDONLY.0 } else { 0 }, clear: 0 },
            recursive_attributes: AttributeChange::default(),
            // Nothing shared can become the root (pivot_root(2)): that comes last.
            propagation: (if bundle.root_propagation == MountPropagation::Slave { MountPropagation::Slave } else { MountPropagation::Private }, true),
        });
        if bundle.map_root {
            let ids = MountIds { recursive: true, ..MountIds::default() };
            self.bond.push(BondStep::Bundle(Box::new(BundleBond::MapMount { slot: tree, ids, target: PathBuf::from("/") })));
        }
        self.cgroup();
        self.payload.extend([PayloadStep::Keyring, PayloadStep::Isolate]);
        self.step(BundleStep::Root(tree));
        // By then the payload is where its limits are.
        self.payload.push(PayloadStep::Receive);
        if !bundle.joins(NamespaceKind::Cgroup) {
            self.step(BundleStep::CgroupNamespace);
        }
        if let Some(offsets) = bundle.time {
            self.step(BundleStep::Time(offsets));
        }
        let terminals = self.mounts(bundle, console);
        self.custom_mounts()?;
        // Without /run/host there is nothing to cover them with but what masks are made of.
        for step in &mut self.payload {
            if let PayloadStep::Inaccessible(target) = step {
                *step = PayloadStep::Bundle(Box::new(BundleStep::Mask(vec![std::mem::take(target)])));
            }
        }
        self.devices(bundle);
        match (console, terminals) {
            (ConsoleMode::Pipe, _) => {}
            (_, Some(pts)) => {
                self.step(BundleStep::Console(pts));
                if bundle.terminals > 0 {
                    self.step(BundleStep::Terminals(pts, bundle.terminals, bundle.terminals_in.clone()));
                }
            }
            (_, None) => return Err(Error::new("make", "terminal", "there is no devpts among the mounts of the bundle")),
        }
        self.integration()?;
        self.bond.push(BondStep::Release);
        if self.spec.network.has_links() {
            self.network()?;
        }
        self.last(bundle);
        Ok(())
    }

    fn check_labels(&self, bundle: &Bundle) -> Result<()> {
        let facts = &self.host_facts.for_bundle;
        for (asked, here, what, module) in [
            (&bundle.apparmor, facts.apparmor, "AppArmor profile", "AppArmor"),
            (&bundle.selinux, facts.selinux, "SELinux label", "SELinux"),
            (&bundle.mount_label, facts.selinux, "SELinux label of mounts", "SELinux"),
        ] {
            if let (Some(label), false) = (asked, here) {
                return Err(Error::new("set", format!("{what} {label}"), format!("this host has no {module}")));
            }
        }
        Ok(())
    }

    /// Capabilities that cannot be had are said, not refused (config.md, "capabilities").
    fn check_capabilities(&mut self) {
        let Some(exact) = &self.spec.process.exact else { return };
        let all = exact.permitted.or(exact.inheritable).or(self.spec.security.bounding);
        let lacking: Vec<String> = all.without(self.host_facts.for_bundle.capabilities).iter().map(|c| c.name()).collect();
        if !lacking.is_empty() {
            self.notices.push(format!("this process cannot give {}", lacking.join(" ")));
        }
    }

    fn step(&mut self, step: BundleStep) {
        self.payload.push(PayloadStep::Bundle(Box::new(step)));
    }

    fn bind(&mut self, bind: Bind) -> Slot {
        let slot = self.slot();
        self.host.push(HostStep::Prepare(slot, Prepared::Bind(Box::new(bind))));
        slot
    }

    /// The bundle's mounts in order; the devpts in which the terminal is, if there is to be one.
    fn mounts(&mut self, bundle: &Bundle, console: ConsoleMode) -> Option<Slot> {
        let mut terminals = None;
        for mount in &bundle.mounts {
            match &mount.source {
                BundleSource::Bind { path, recursive, map } => self.bundle_bind(mount, path, *recursive, map.as_ref()),
                // The supervisor opens the pty, and so makes the file system it is in.
                BundleSource::Fresh { options, .. } if is_devpts(mount) && console != ConsoleMode::Pipe && terminals.is_none() => {
                    let slot = self.slot();
                    let text = |t: &str| CString::new(t).unwrap_or_default();
                    let label = bundle.mount_label.iter().map(|label| (c"context".to_owned(), text(label)));
                    let options = options.iter().map(|(k, v)| (text(k), text(v))).chain(label).collect();
                    let attributes = hostel_sys::mount::Attributes(mount.attributes.set);
                    self.host.push(HostStep::Prepare(slot, Prepared::Terminals { options, attributes }));
                    self.beside.push(HostStep::Bundle(BundleHost::OpenConsole(slot)));
                    self.payload.push(PayloadStep::Attach { slot, target: mount.target.clone(), missing: Missing::MakeDir, read_only: false });
                    terminals = Some(slot);
                }
                BundleSource::Fresh { .. } => self.step(BundleStep::Mount(labelled(mount, bundle.mount_label.as_deref()))),
            }
        }
        terminals
    }

    fn bundle_bind(&mut self, mount: &BundleMount, path: &Path, recursive: bool, map: Option<&MountIds>) {
        let slot = self.bind(Bind {
            source: Source::Path(path.to_owned()),
            recursive,
            attributes: mount.attributes,
            recursive_attributes: mount.recursive_attributes,
            propagation: mount.propagation.unwrap_or((MountPropagation::Private, true)),
        });
        if let Some(ids) = map {
            self.bond.push(BondStep::Bundle(Box::new(BundleBond::MapMount { slot, ids: ids.clone(), target: mount.target.clone() })));
        }
        self.payload.push(PayloadStep::Attach { slot, target: mount.target.clone(), missing: Missing::LikeSource, read_only: false });
    }

    /// Nodes and links in /dev, unless that is the host's.
    fn devices(&mut self, bundle: &Bundle) {
        let hosts = |m: &BundleMount| m.target == Path::new("/dev") && matches!(m.source, BundleSource::Bind { .. });
        let defaults = if bundle.mounts.iter().any(hosts) { &[][..] } else { &DEVICES[..] };
        let given = |path: &str| bundle.devices.iter().any(|d| d.path == Path::new(path));
        let node = |(path, major, minor): &(&str, u32, u32)| DeviceNode {
            path: PathBuf::from(path),
            kind: NodeKind::Char,
            major: *major,
            minor: *minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        };
        let nodes: Vec<DeviceNode> = defaults.iter().filter(|(path, ..)| !given(path)).map(node).chain(bundle.devices.iter().cloned()).collect();
        if self.host_facts.for_bundle.without_nodes {
            // Nobody but the root of all makes nodes: those of the host are bound.
            nodes.iter().for_each(|node| self.bind_node(node));
        } else if !nodes.is_empty() {
            let slot = self.user_namespace().then(|| self.prepared_nodes(&nodes));
            self.step(BundleStep::Devices(nodes, slot));
        }
        if !defaults.is_empty() {
            self.step(BundleStep::DeviceLinks);
        }
    }

    fn bind_node(&mut self, node: &DeviceNode) {
        let mount = BundleMount {
            target: node.path.clone(),
            source: BundleSource::Bind { path: node.path.clone(), recursive: false, map: None },
            attributes: AttributeChange::default(),
            recursive_attributes: AttributeChange::default(),
            propagation: None,
        };
        self.bundle_bind(&mount, &node.path, false, None);
    }

    /// Nobody but the host's root makes nodes: those of a machine with users of its own are made by us, and bound.
    fn prepared_nodes(&mut self, nodes: &[DeviceNode]) -> Slot {
        let slot = self.slot();
        let name = |at: usize| CString::new(at.to_string()).unwrap_or_default();
        let made = nodes.iter().enumerate().filter_map(|(at, node)| match node.kind {
            NodeKind::Char => Some(Node::Char(name(at), node.mode, node.major, node.minor)),
            NodeKind::Block => Some(Node::Block(name(at), node.mode, node.major, node.minor)),
            NodeKind::Fifo => None,
        });
        let options = vec![(c"mode".to_owned(), c"0700".to_owned())];
        let attributes = hostel_sys::mount::Attributes::NOSUID.or(hostel_sys::mount::Attributes::NOEXEC);
        self.host.push(HostStep::Prepare(slot, Prepared::Tmpfs { options, attributes, nodes: made.collect() }));
        let of_others = |(at, node): (usize, &DeviceNode)| {
            let other = node.kind != NodeKind::Fifo && (node.uid, node.gid) != (0, 0);
            other.then(|| (at.to_string(), node.path.clone(), node.uid, node.gid))
        };
        let owned: Vec<_> = nodes.iter().enumerate().filter_map(of_others).collect();
        if !owned.is_empty() {
            self.host.push(HostStep::Bundle(BundleHost::OwnNodes(slot, owned)));
        }
        slot
    }

    /// What can only be said when the machine has its root, and, with users of its own, its locked mounts: those are slaves of what
    /// was shared, and no longer unbindable.
    fn late_propagation(&self, bundle: &Bundle) -> Vec<(PathBuf, MountPropagation, bool)> {
        let root = matches!(bundle.root_propagation, MountPropagation::Shared | MountPropagation::Unbindable);
        let root = root.then(|| (PathBuf::from("/"), bundle.root_propagation, false));
        let later = |at: usize| bundle.mounts.iter().skip(at + 1);
        let mounts = bundle.mounts.iter().enumerate().filter(|_| self.user_namespace()).filter_map(|(at, mount)| match mount.propagation {
            Some((p @ (MountPropagation::Shared | MountPropagation::Unbindable), all)) => {
                let covered = later(at).any(|m| mount.target.starts_with(&m.target));
                (!covered).then(|| (mount.target.clone(), p, all))
            }
            _ => None,
        });
        root.into_iter().chain(mounts).collect()
    }

    /// From the hooks on: what comes when all is in its place.
    fn last(&mut self, bundle: &Bundle) {
        let hooks = &bundle.hooks;
        if hooks.wait_at_runtime() {
            self.step(BundleStep::RuntimeHooks);
        }
        if !hooks.create_container.is_empty() {
            self.step(BundleStep::CreateContainerHooks);
        }
        if !bundle.sysctl.is_empty() {
            self.step(BundleStep::Sysctl(bundle.sysctl.clone()));
        }
        if !bundle.masked.is_empty() {
            self.step(BundleStep::Mask(bundle.masked.clone()));
        }
        if !bundle.read_only.is_empty() {
            self.step(BundleStep::ReadOnly(bundle.read_only.clone()));
        }
        if self.spec.root.read_only {
            self.payload.push(PayloadStep::RootReadOnly);
        }
        // Before the pivot: without the host's /proc in sight the kernel gives a user namespace no other.
        if bundle.apparmor.is_some() || bundle.selinux.is_some() {
            self.step(BundleStep::Labels { apparmor: bundle.apparmor.clone(), selinux: bundle.selinux.clone() });
        }
        self.payload.push(PayloadStep::Pivot);
        if self.user_namespace() {
            self.payload.push(PayloadStep::LockMounts);
        }
        let changes = self.late_propagation(bundle);
        if !changes.is_empty() {
            self.step(BundleStep::Propagation(changes));
        }
        if self.spec.namespaces.uts && self.spec.identity.hostname.is_some() {
            self.payload.push(PayloadStep::Hostname(self.hostname.clone()));
        }
        if let Some(name) = &bundle.domainname {
            self.step(BundleStep::Domainname(name.clone()));
        }
        if self.own_network() {
            self.payload.push(PayloadStep::Loopback);
        }
        if hooks.wait_before_program() {
            self.step(BundleStep::RuntimeHooks);
        }
    }
}
