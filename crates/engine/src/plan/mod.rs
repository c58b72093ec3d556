//! The ordered steps that make a spec true: decided from the spec, the host and the tree, changing nothing.

mod api;
pub mod bind_user;
mod bundle;
pub mod bundle_steps;
pub mod hygiene;
mod identity;
pub mod image;
mod journal;
mod limits;
mod mounts;
mod network;
mod root;
pub mod steps;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use hostel_process::r#become::Program;
use hostel_process::pty::WindowSize;
use hostel_process::seccomp;
use hostel_spec::{
    CapName, CapSet, ConsoleMode, Hint, IdRange, MachineName, MachineSpec, MachineUuid, NetworkMode, OsText, Ownership, Payload, ProcessSpec,
    Register, SyscallFilter, SyscallRule, UnitPlace, UserNamespace,
};
use hostel_sys::seccomp::Insn;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::network::NetworkPlan;
use crate::peers::{self, Systemd};
use crate::users::Taken;
use bind_user::BoundUser;
use steps::{BondStep, HostStep, IdChoice, PayloadStep, Prepared, Slot};

/// What is known of the tree before anything changes.
#[derive(Debug, Clone, Default)]
pub struct TreeFacts {
    /// Where it is (absolute, links resolved); `/` for the host itself.
    pub path: PathBuf,
    /// Owner and group of its top directory.
    pub owner: (u32, u32),
    /// The id in its /etc/machine-id.
    pub machine_id: Option<MachineUuid>,
    /// /bin is a link into /usr.
    pub merged_usr: bool,
    /// It is missing and will be made from the template.
    pub missing: bool,
    /// Its file system is mounted read-only.
    pub read_only: bool,
    /// It is marked read-only itself, as machinectl does it: an immutable directory, or a subvolume that cannot be written.
    pub marked: bool,
    /// Its programs are those of the 32-bit partner of this architecture (i386 on x86-64).
    pub secondary_architecture: bool,
    /// Its file system cannot share blocks between files, but can hold the upper layer of an overlay: a throw-away copy
    /// is then better a layer over it.
    pub layers: bool,
    /// Who writes to it while a throw-away copy of it is to be made.
    pub writer: Option<String>,
    /// Last part of the path as it was given: the name of a link, not of what it leads to.
    pub given_name: Option<String>,
    /// Its users and groups, when users of the host are to be added to them.
    pub users: Option<Taken>,
    /// It is a disk image.
    pub image: Option<image::ImageFacts>,
    /// The upper layer that is kept has files of its own where hostel would write some.
    pub own: OwnFiles,
}

/// Files that hostel writes at the start of a machine, and what a kept one has in their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnFiles {
    /// It is kept: what is written is marked, to be known again.
    pub kept: bool,
    /// Its /etc/resolv.conf was changed in it.
    pub resolver: bool,
    /// It has an /etc/localtime.
    pub localtime: bool,
}

/// What the calling process knows of itself.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// `TERM`, `COLORTERM`, `NO_COLOR` entries, those that are set.
    pub terminal_env: Vec<OsText>,
    /// Standard input is a terminal.
    pub stdin_tty: bool,
    /// Standard output is a terminal.
    pub stdout_tty: bool,
    /// Descriptors passed by socket activation, from 3 on.
    pub listen_fds: u32,
    /// Size of the terminal, or what `LINES` and `COLUMNS` say.
    pub window: Option<WindowSize>,
    /// 16 random bytes, for a machine id where there is none.
    pub random: [u8; 16],
}

/// A plan: what will be done, in order, and what the payload will be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The machine's name.
    pub name: MachineName,
    /// Its host name.
    pub hostname: String,
    /// Its id.
    pub uuid: MachineUuid,
    /// The spec it was made of.
    pub spec: MachineSpec,
    /// The tree.
    pub tree: TreeFacts,
    /// Opening the disk image, before all else.
    pub image: Vec<image::ImageStep>,
    /// Before the payload exists.
    pub host: Vec<HostStep>,
    /// While it waits.
    pub bond: Vec<BondStep>,
    /// While it does its first steps; what comes of them it receives ([`PayloadStep::Receive`]).
    pub beside: Vec<HostStep>,
    /// In the payload.
    pub payload: Vec<PayloadStep>,
    /// Number of prepared mounts.
    pub slots: usize,
    /// The command is PID 2; this slot has what PID 1 runs.
    pub stub: Option<Slot>,
    /// Own user namespace.
    pub user_namespace: bool,
    /// Users of the host inside.
    pub bound: Vec<BoundUser>,
    /// Own network.
    pub own_network: bool,
    /// Links, address, ports.
    pub network: NetworkPlan,
    /// Console after `auto` was decided.
    pub console: ConsoleMode,
    /// Program kind.
    pub program: Program,
    /// Environment under the spec's own.
    pub env: Vec<OsText>,
    /// Bounding capabilities.
    pub bounding: CapSet,
    /// System call filter program.
    pub filter: Option<Cow<'static, [Insn]>>,
    /// Socket activation descriptors passed on.
    pub listen_fds: u32,
    /// First size of the console.
    pub window: Option<WindowSize>,
    /// Value of `$container`.
    pub container: String,
    /// What is not exactly as asked, for people.
    pub notices: Vec<String>,
}

/// What the builders share.
struct Builder<'a> {
    spec: &'a MachineSpec,
    host_facts: &'a Host,
    tree: &'a TreeFacts,
    caller: &'a Caller,
    name: MachineName,
    hostname: String,
    uuid: MachineUuid,
    host: Vec<HostStep>,
    bond: Vec<BondStep>,
    beside: Vec<HostStep>,
    payload: Vec<PayloadStep>,
    slots: usize,
    temporaries: usize,
    notices: Vec<String>,
    console_slots: Option<(Slot, Slot)>,
    network: NetworkPlan,
    bound: Vec<BoundUser>,
}

impl Builder<'_> {
    fn slot(&mut self) -> Slot {
        self.slots += 1;
        Slot(self.slots - 1)
    }
    fn user_namespace(&self) -> bool {
        self.spec.namespaces.user != UserNamespace::Host || self.joins_users()
    }
    fn stub(&mut self) -> Option<Slot> {
        matches!(self.spec.payload, Payload::CommandAsPid2 | Payload::Services).then(|| {
            let slot = self.slot();
            self.beside.push(HostStep::Prepare(slot, Prepared::OwnProgram));
            slot
        })
    }
    fn own_network(&self) -> bool {
        self.spec.network.mode == NetworkMode::Private
    }
    fn booting(&self) -> bool {
        self.spec.payload == Payload::Boot
    }
}

impl Builder<'_> {
    /// The steps of a machine that is a whole system.
    fn system(&mut self, ids: Option<IdChoice>, console: ConsoleMode) -> Result<()> {
        if let Some(choice) = ids {
            self.host.push(HostStep::TakeIds(choice));
            self.bond.push(BondStep::MapIds);
        }
        self.root(ids)?;
        self.cgroup();
        self.bond.push(BondStep::Release);
        self.network()?;
        self.api_file_systems();
        self.open_console(console);
        self.custom_mounts()?;
        self.bound_homes();
        // After the mounts, as systemd-nspawn does: what lies over /etc gets the files, and a mount that fails leaves the tree as it was.
        self.integration()?;
        self.journal()?;
        self.finish();
        Ok(())
    }
}

impl Builder<'_> {
    /// The machine's cgroup, in a unit of the host's systemd where there is one.
    fn cgroup(&mut self) {
        if self.spec.bundle.as_ref().is_some_and(|b| b.without_group) {
            return;
        }
        let unit = &self.spec.unit;
        match (&self.host_facts.systemd, unit.place) {
            // The bundle says where.
            _ if self.spec.bundle.as_ref().is_some_and(|b| b.cgroups_path.is_some()) => {}
            (Some(_), UnitPlace::Scope) => {
                let slice = unit.slice.clone().unwrap_or_else(|| peers::DEFAULT_SLICE.to_owned());
                self.host.push(HostStep::MakeScope { slice, demanded: unit.slice.is_some() });
            }
            (Some(Systemd { own_unit: Some(own) }), UnitPlace::Keep) => self.host.push(HostStep::KeepUnit(own.clone())),
            (None, _) => self.notices.extend(unit.without_systemd()),
            (Some(_), _) => {}
        }
        self.host.push(HostStep::MakeCgroup);
    }

    /// Last: systemd-machined finds the unit by the payload, which has to be in it.
    fn register(&mut self) {
        let unit = &self.spec.unit;
        if self.host_facts.systemd.is_some() && unit.register != Register::No {
            self.bond.push(BondStep::Register { demanded: unit.register == Register::Yes });
        }
    }
}

/// The machine's id: the tree's, else the one given, else a random one.
pub fn uuid(spec: &MachineSpec, tree: &TreeFacts, caller: &Caller) -> MachineUuid {
    tree.machine_id.or(spec.identity.uuid).unwrap_or_else(|| MachineUuid::from_random(caller.random))
}

/// Decides everything. Changes nothing, asks the kernel nothing.
pub fn plan(spec: &MachineSpec, host: &Host, tree: &TreeFacts, caller: &Caller) -> Result<Plan> {
    let mut spec = Cow::Borrowed(spec);
    if tree.marked && root::is_written(&spec.root) {
        spec.to_mut().root.read_only = true;
    }
    let spec = &*spec;
    let name = identity::name(spec, host, tree, std::array::from_fn(|i| caller.random[i]))?;
    let uuid = uuid(spec, tree, caller);
    let hostname = spec.identity.hostname.as_ref().map_or_else(|| name.as_str().to_string(), |h| h.as_str().to_string());
    let mut b = Builder {
        spec,
        host_facts: host,
        tree,
        caller,
        name,
        hostname,
        uuid,
        host: Vec::with_capacity(24),
        bond: Vec::with_capacity(8),
        beside: Vec::with_capacity(12),
        payload: Vec::with_capacity(48),
        slots: 0,
        temporaries: 0,
        notices: Vec::new(),
        console_slots: None,
        network: NetworkPlan::default(),
        // Which users are in a disk image is not known before it is opened.
        bound: if tree.image.as_ref().is_some_and(|image| !image.opened) { Vec::new() } else { bind_user::bind(&host.users, tree)? },
    };
    let image_steps = tree.image.as_ref().map_or(Ok(Vec::new()), |facts| image::steps(spec, facts, caller))?;
    b.notices.extend(tree.image.iter().filter(|i| !i.opened).flat_map(|i| i.notices.iter().cloned()));
    let console = console(spec, caller);
    let ids = id_choice(spec, tree)?;
    check_bound(&b.bound, ids)?;
    match &spec.bundle {
        Some(bundle) => b.bundle(bundle, ids, console)?,
        None => b.system(ids, console)?,
    }
    let stub = b.stub();
    let bounding = bounding(spec, b.own_network(), b.user_namespace());
    let filter = filter(spec, host, tree, bounding)?;
    let program = if b.booting() { Program::Init } else { Program::Command };
    let mut spec = spec.clone();
    bind_user::become_bound(&mut spec.process, &b.bound);
    spec.process.rlimits = limits::merged(&spec, host);
    b.bond.extend(spec.process.oom_score_adjust.take().map(BondStep::OomScore));
    b.register();
    // uname(2) says i686 in an i386 tree, or its package manager and compilers take it for x86-64. systemd-nspawn looks only at images.
    spec.process.linux32 |= tree.secondary_architecture && !spec.lifecycle.nspawn_exit_status;
    let window = bundle::window(&spec).or(caller.window);
    let notices = spec
        .notices
        .iter()
        .cloned()
        .chain(limits::notices(host).filter(|_| spec.bundle.is_none()))
        .chain(unknown_calls(&spec)?)
        .chain(std::mem::take(&mut b.notices))
        .collect();
    Ok(Plan {
        notices,
        env: if spec.bundle.is_some() { Vec::new() } else { b.environment(console) },
        container: b.container().to_owned(),
        user_namespace: b.user_namespace(),
        own_network: b.own_network(),
        network: b.network,
        bound: b.bound.clone(),
        name: b.name,
        hostname: b.hostname,
        uuid: b.uuid,
        spec,
        tree: tree.clone(),
        image: image_steps,
        host: b.host,
        bond: b.bond,
        beside: b.beside,
        payload: b.payload,
        slots: b.slots,
        stub,
        console,
        program,
        bounding,
        filter,
        listen_fds: caller.listen_fds,
        window,
    })
}

/// What is the host's of a user must not be one of the machine's ids as well: nothing could be told apart.
fn check_bound(bound: &[BoundUser], ids: Option<IdChoice>) -> Result<()> {
    let Some(IdChoice::Fixed(range)) = ids else { return Ok(()) };
    let within = |id: u32| id >= range.base && id - range.base < range.count;
    for BoundUser { user, uid, .. } in bound {
        let refuse = |why: &str| Err(Error::new("bind", format!("user {:?}", user.name), why).hint(Hint::GiveIds));
        if *uid >= range.count {
            return refuse("the machine has too few ids; it takes 65536");
        }
        if within(user.uid) || within(user.gid) {
            return refuse("its id on the host is one of the machine's own");
        }
    }
    Ok(())
}

fn console(spec: &MachineSpec, caller: &Caller) -> ConsoleMode {
    let terminal = caller.stdin_tty && caller.stdout_tty;
    match spec.console {
        ConsoleMode::Auto if terminal => ConsoleMode::Interactive,
        ConsoleMode::Auto => ConsoleMode::ReadOnly,
        ConsoleMode::Autopipe if terminal => ConsoleMode::Interactive,
        ConsoleMode::Autopipe => ConsoleMode::Pipe,
        // systemd-nspawn 252 shows what a passive console writes (measured); ours in the background is read by the log.
        ConsoleMode::Passive if spec.lifecycle.nspawn_exit_status => ConsoleMode::ReadOnly,
        mode => mode,
    }
}

fn id_choice(spec: &MachineSpec, tree: &TreeFacts) -> Result<Option<IdChoice>> {
    let range = |base| IdChoice::Fixed(IdRange { base, count: 65536 });
    Ok(match spec.namespaces.user {
        UserNamespace::Host => None,
        UserNamespace::Pick => Some(IdChoice::Pick { tree_owner: tree.owner.0 }),
        UserNamespace::Identity => Some(range(0)),
        UserNamespace::Range(r) => Some(IdChoice::Fixed(r)),
        UserNamespace::FromTree => {
            let (uid, gid) = (tree.owner.0 & 0xffff_0000, tree.owner.1 & 0xffff_0000);
            if uid != gid {
                return Err(Error::new("use", format!("owner of {}", tree.path.display()), "its user and group are not in the same id range")
                    .hint(Hint::GiveIds));
            }
            Some(range(uid))
        }
    })
}

/// What happens to the tree's ids: (map by mount, change on disk).
fn ownership(spec: &MachineSpec, tree: &TreeFacts, ids: Option<IdChoice>) -> (bool, bool) {
    let already = |base: u32| tree.owner.0 & 0xffff_0000 == base && base != 0;
    match (spec.namespaces.ownership, ids) {
        (_, None) | (Ownership::Off, _) => (false, false),
        (Ownership::Chown, _) => (false, true),
        // A tree that belongs to a range other than the host's own 0…65535 is shifted on disk, as systemd-nspawn does.
        (Ownership::Auto, Some(IdChoice::Pick { tree_owner })) if tree_owner & 0xffff_0000 != 0 => (false, true),
        (Ownership::Auto, Some(IdChoice::Pick { .. })) => (true, true),
        (Ownership::Auto, Some(IdChoice::Fixed(_))) => (false, false),
        (Ownership::Map, Some(IdChoice::Fixed(r))) if already(r.base) => (false, false),
        (Ownership::Map, Some(IdChoice::Pick { tree_owner })) if tree_owner & 0xffff_0000 != 0 => (false, true),
        (Ownership::Map, _) => (true, false),
        (Ownership::MapOrChown, _) => (true, true),
    }
}

fn bounding(spec: &MachineSpec, own_network: bool, user_namespace: bool) -> CapSet {
    let mut set = spec.security.bounding;
    if spec.security.adjust_net_caps {
        if own_network {
            set = set.or(CapSet::of(&[CapName::NET_ADMIN]));
        } else if user_namespace {
            set = set.without(CapSet::of(&[CapName::NET_BIND_SERVICE]));
        }
    }
    set.without(spec.security.dropped)
}

/// An unknown name to allow does nothing; an unknown name to deny may be a slip that leaves open what it means.
fn unknown_calls(spec: &MachineSpec) -> Result<Option<String>> {
    let (SyscallFilter::Nspawn(rules) | SyscallFilter::Machine(rules)) = &spec.security.syscalls else { return Ok(None) };
    let mut left_out = Vec::new();
    for rule in rules {
        for name in rule.names.iter().filter(|n| seccomp::resolve_name(n).is_none()) {
            if !rule.allow {
                return Err(Error::new("deny", format!("system call {name:?}"), "there is no system call or group of this name")
                    .hint("`systemd-analyze syscall-filter` and syscalls(2) list them"));
            }
            left_out.push(name.as_str());
        }
    }
    Ok((!left_out.is_empty()).then(|| format!("system calls unknown here are left out of the filter: {}", left_out.join(" "))))
}

fn filter(spec: &MachineSpec, host: &Host, tree: &TreeFacts, bounding: CapSet) -> Result<Option<Cow<'static, [Insn]>>> {
    if spec.security.syscalls != SyscallFilter::Off && !host.seccomp {
        return Err(Error::new("filter", "system calls", "this kernel has no seccomp").hint("SYSTEMD_SECCOMP=0 starts the machine without a filter"));
    }
    let mut syscalls = Cow::Borrowed(&spec.security.syscalls);
    if let SyscallFilter::Machine(rules) = &spec.security.syscalls
        && tree.secondary_architecture
    {
        // glibc for i386 makes sockets by socketcall(2), whose arguments no filter sees. In a tree of such programs that has to
        // work, as with Docker; elsewhere, where only an attacker would use it, it stays closed.
        let socketcall = SyscallRule { allow: true, names: vec!["socketcall".to_owned()] };
        syscalls = Cow::Owned(SyscallFilter::Machine(std::iter::once(socketcall).chain(rules.iter().cloned()).collect()));
    }
    let refinements = seccomp::Refinements { suppress_sync: spec.security.suppress_sync, families: spec.security.address_families.as_ref() };
    seccomp::refined(&syscalls, bounding, &refinements).map_err(|e| Error::new("build", "system call filter", e))
}

/// The process of the payload as the plan has it.
impl Plan {
    /// The process asked for.
    pub fn process(&self) -> &ProcessSpec {
        &self.spec.process
    }
    /// Where the devpts is that has its console, once the root is the machine's.
    pub fn terminals(&self) -> &Path {
        let of_bundle = self.spec.bundle.as_deref().and_then(bundle::terminals);
        of_bundle.unwrap_or(Path::new("/dev/pts"))
    }
    /// The steps as text, one a line, in the order they run.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let facts = self.tree.image.clone().unwrap_or_default();
        let image: Vec<_> = self.image.iter().map(|s| ("supervisor", image::describe(s, &facts, &self.tree.path))).collect();
        let host = self.host.iter().map(|s| ("supervisor", s.to_string()));
        let bond = self.bond.iter().map(|s| ("supervisor", s.to_string()));
        let beside = self.beside.iter().map(|s| ("supervisor", s.to_string()));
        let payload = self.payload.iter().map(|s| ("payload", s.to_string()));
        image
            .into_iter()
            .chain(host)
            .chain([("supervisor", format!("clone the payload ({})", self.namespaces().join(", ")))])
            .chain(bond)
            .chain(beside)
            .chain(payload)
            .chain([("payload", format!("become {}", self.program_text()))])
            .collect()
    }
    /// The host's ends of its cables.
    pub fn host_links(&self) -> impl Iterator<Item = &str> {
        let wirings = self.bond.iter().filter_map(|step| if let BondStep::Wire(wiring) = step { Some(wiring) } else { None });
        wirings.flat_map(|wiring| wiring.cable.iter().chain(&wiring.extra).map(|cable| cable.host.as_str()))
    }
    /// Names of the namespaces the machine gets of its own.
    pub fn namespaces(&self) -> Vec<&'static str> {
        let n = &self.spec.namespaces;
        let time = self.spec.bundle.as_ref().is_some_and(|b| b.time.is_some());
        [
            ("mount", true),
            ("cgroup", true),
            ("time", time),
            ("pid", n.pid),
            ("uts", n.uts),
            ("ipc", n.ipc),
            ("network", self.own_network),
            ("user", self.user_namespace),
        ]
        .into_iter()
        .filter_map(|(name, own)| own.then_some(name))
        .collect()
    }
    fn program_text(&self) -> String {
        let words = self.spec.process.argv.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
        match self.program {
            Program::Init => format!("the tree's init {words}").trim_end().to_string(),
            Program::Command if self.spec.payload == Payload::Services => format!("the reaper, which starts: {words}"),
            Program::Command if words.is_empty() => "a login shell".into(),
            Program::Command => words,
        }
    }
}
