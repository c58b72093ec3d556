//! What a native machine is when nothing else was said: machine mode (user namespace, own network when it boots, stricter filter).

use hostel_nspawn::Doc;
use hostel_nspawn::options::OptionId as Id;
use hostel_spec::{
    Cable, CapName, CapSet, ConsoleMode, Ephemeral, HostUnit, Limit, LinkJournal, MachineSpec, Network, NetworkMode, Ownership, Payload, Register,
    SyscallFilter, Timezone, TreeSource, UserNamespace, Volatile, is_interface_name,
};

use super::{Kind, Own, given, tree_of, typed};
use crate::cli::Failure;

/// A scope costs more than all else of a start, and systemd leaves our cgroups alone: who wants one says so.
fn unit(doc: &Doc, spec: &mut MachineSpec) {
    if !given(doc, &[Id::Register]) {
        spec.unit.register = Register::No;
    }
    if spec.unit.register == Register::No && !given(doc, &[Id::Slice, Id::KeepUnit]) {
        spec.unit = HostUnit::default();
    }
}

/// Most processes and threads of a native machine, unless told otherwise (as systemd's machine units).
const TASKS_MAX: u64 = 16384;

/// Replaces systemd-nspawn's defaults by ours where the command line is silent. Returns what to warn about.
pub(crate) fn apply(kind: Kind, own: &Own, doc: &Doc, spec: &mut MachineSpec) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    spec.identity.container = Some("hostel".into());
    spec.lifecycle.nspawn_exit_status = false;
    tree(kind, own, doc, spec)?;
    users(own, doc, spec, &mut warnings)?;
    security(spec);
    network(kind, own, doc, spec)?;
    ambient(spec)?;
    unit(doc, spec);
    limits(spec);
    if spec.console == ConsoleMode::Auto && kind == Kind::Run {
        // Pipes stay pipes: `hostel run -- cmd | other` sees what cmd wrote, not what a terminal made of it.
        spec.console = ConsoleMode::Autopipe;
    }
    if own.detach {
        spec.console = ConsoleMode::Passive;
    }
    if !given(doc, &[Id::LinkJournal, Id::LinkJournalShort]) {
        spec.integration.journal = LinkJournal::No;
    }
    if kind == Kind::Boot && !given(doc, &[Id::Timezone]) {
        spec.integration.timezone = Timezone::Off;
    }
    Ok(warnings)
}

fn tree(kind: Kind, own: &Own, doc: &Doc, spec: &mut MachineSpec) -> Result<(), Failure> {
    let directory = own.directory;
    if let Some(name) = own.name.clone().or_else(|| own.keep.clone()) {
        spec.identity.name = Some(name);
    }
    match kind {
        Kind::Run => {
            if let Some(path) = &own.tree {
                spec.root.tree = tree_of(&path.to_string_lossy())?;
                if is_host_root(&spec.root.tree) {
                    spec.root.tree = TreeSource::Host;
                }
            } else if !directory {
                spec.root.tree = TreeSource::Host;
            }
            let plain = spec.root.ephemeral == Ephemeral::No && spec.root.volatile == Volatile::No;
            if spec.root.tree != TreeSource::Host && plain && !spec.root.read_only && own.keep.is_none() {
                spec.root.ephemeral = Ephemeral::Overlay;
            }
            if spec.payload == Payload::Command && !spec.process.argv.is_empty() {
                // A command is no init: as PID 1 it would be deaf to ^C and collect orphans.
                spec.payload = Payload::CommandAsPid2;
            }
            if spec.root.tree == TreeSource::Host && spec.process.cwd.is_none() {
                spec.process.cwd = own.cwd.clone();
            }
            if spec.identity.name.is_none() {
                let random = hostel_engine::supervisor::random_u64();
                spec.identity.name = hostel_spec::MachineName::new(format!("run-{:08x}", random as u32)).ok();
            }
        }
        Kind::Boot => {
            if typed(doc, Id::AsPid2) {
                return Err(Failure::Usage("combine boot and --as-pid2: an init must be PID 1".into()));
            }
            // A settings file's ProcessTwo= means the command it has in Parameters=, as when systemd-nspawn@.service starts the machine.
            if spec.payload != Payload::CommandAsPid2 {
                spec.payload = Payload::Boot;
            }
            match (&own.target, &own.tree) {
                (Some(target), None) => spec.root.tree = tree_of(target)?,
                (None, Some(path)) => spec.root.tree = tree_of(&path.to_string_lossy())?,
                (None, None) if directory => {}
                (None, None) => return Err(Failure::Usage("boot: which tree? give a directory or a machine's name".into())),
                (Some(_), Some(_)) => return Err(Failure::Usage("boot: the tree was given twice".into())),
            }
            if is_host_root(&spec.root.tree) && (spec.root.ephemeral != Ephemeral::No || own.keep.is_some()) {
                // Nobody wants the running host copied.
                spec.root.tree = TreeSource::Host;
                spec.root.ephemeral = Ephemeral::No;
            }
        }
    }
    Ok(())
}

fn is_host_root(tree: &TreeSource) -> bool {
    matches!(tree, TreeSource::Directory(path) if std::fs::canonicalize(path).is_ok_and(|p| p == std::path::Path::new("/")))
}

fn users(own: &Own, doc: &Doc, spec: &mut MachineSpec, warnings: &mut Vec<String>) -> Result<(), Failure> {
    let asked = given(doc, &[Id::PrivateUsers, Id::PickUsers]);
    if own.host_users {
        spec.namespaces.user = UserNamespace::Host;
    } else if !asked {
        spec.namespaces.user = UserNamespace::Pick;
    }
    if spec.namespaces.user == UserNamespace::Host {
        if own.nest.is_some() {
            // The limit is one of the machine's own user namespace; the host's is not a machine's to change.
            return Err(Failure::Usage("combine --nest= with no user namespace of its own: it takes one to limit what is nested in it".into()));
        }
        warnings.push("no user namespace: root in the machine is root on this host".into());
    } else if !given(doc, &[Id::PrivateUsersOwnership, Id::PrivateUsersChown]) && !given(doc, &[Id::PickUsers]) {
        // Nothing on disk is changed unless asked.
        spec.namespaces.ownership = Ownership::Map;
    }
    if spec.namespaces.user != UserNamespace::Host {
        spec.namespaces.nested_user = Some(own.nest.unwrap_or(0));
    }
    Ok(())
}

fn security(spec: &mut MachineSpec) {
    // What was asked for, also what systemd-nspawn's own set has anyway.
    spec.security.bounding = CapSet::MACHINE.or(spec.security.added);
    if let SyscallFilter::Nspawn(rules) = &spec.security.syscalls {
        spec.security.syscalls = SyscallFilter::Machine(rules.clone());
    }
}

/// What machine mode's bounding set lacks would be taken away without a word.
fn ambient(spec: &MachineSpec) -> Result<(), Failure> {
    let security = &spec.security;
    // As `adjust_net_caps` will have it.
    let reachable = match (spec.network.mode, &spec.namespaces.user) {
        (NetworkMode::Private, _) => security.bounding.or(CapSet::of(&[CapName::NET_ADMIN])),
        (_, UserNamespace::Host) => security.bounding,
        _ => security.bounding.without(CapSet::of(&[CapName::NET_BIND_SERVICE])),
    };
    let missing = spec.process.ambient.without(reachable.without(security.dropped));
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = missing.iter().map(CapName::name).collect();
    let names = names.join(",");
    Err(Failure::Usage(format!(
        "give --ambient-capability={names}: that is outside of the machine's bounding set; --capability={names} puts it there"
    )))
}

/// What `--net` means.
pub(crate) fn network_of(text: &str) -> Result<Network, &'static str> {
    let private = Network { mode: NetworkMode::Private, ..Network::default() };
    Ok(match text.split_once(':').unwrap_or((text, "")) {
        ("host", "") => Network::default(),
        ("private", "") => private,
        ("veth", "") => Network::with_cable(Cable::Alone),
        ("zone", zone) if !zone.is_empty() && is_interface_name(&format!("vz-{zone}")) => Network::with_cable(Cable::Zone(zone.to_owned())),
        ("zone", _) => return Err("a zone's name has 1 to 12 characters, no slash, colon or space"),
        ("bridge", bridge) if is_interface_name(bridge) => Network::with_cable(Cable::Bridge(bridge.to_owned())),
        ("bridge", _) => return Err("name a bridge of this host: bridge:br0"),
        _ => return Err("it takes host, private, veth, zone:NAME or bridge:INTERFACE"),
    })
}

/// Options that give a machine links, or another network.
pub(crate) const LINKS: [Id; 9] = [
    Id::PrivateNetwork,
    Id::NetworkVeth,
    Id::NetworkVethExtra,
    Id::NetworkBridge,
    Id::NetworkZone,
    Id::NetworkMacvlan,
    Id::NetworkIpvlan,
    Id::NetworkInterface,
    Id::NetworkNamespacePath,
];

fn network(kind: Kind, own: &Own, doc: &Doc, spec: &mut MachineSpec) -> Result<(), Failure> {
    let asked = given(doc, &LINKS) && !own.cable_for_ports;
    let ports = !spec.network.ports.is_empty();
    let base = match &own.net {
        Some(net) => net.clone(),
        None if asked => return Ok(()),
        // A port needs something to lead to.
        None if ports => Network::with_cable(Cable::Alone),
        None if kind == Kind::Boot => Network { mode: NetworkMode::Private, ..Network::default() },
        None => return Ok(()),
    };
    if ports && base.mode != NetworkMode::Private {
        return Err(Failure::Usage("a port cannot be forwarded to a machine on the host's network: use --net=veth".into()));
    }
    let old = std::mem::take(&mut spec.network);
    spec.network = Network { ports: old.ports, config: old.config, pool: old.pool, mac: old.mac, ..base };
    Ok(())
}

fn limits(spec: &mut MachineSpec) {
    if spec.resources.tasks_max.is_none() {
        spec.resources.tasks_max = Some(Limit::Value(TASKS_MAX));
        spec.resources.tasks_max_is_default = true;
    }
}
