//! From what was written to what the machine should be: each option checked in order, then all of them together.

mod bind_user;
mod bundle;
mod credentials;
mod finish;
mod image;
mod integration;
mod mounts;
mod network;
mod process;
mod resources;
mod security;
mod tree;
mod users;

use std::path::PathBuf;

use hostel_spec::{
    CapSet, ConsoleMode, Ephemeral, HostUnit, Identity, Integration, Lifecycle, LinkJournal, MachineSpec, Namespaces, Network, NetworkMode,
    Ownership, Payload, ProcessSpec, Register, ResolvConf, Resources, Root, Security, SyscallFilter, Timezone, TreeSource, UnitPlace, Volatile,
};
use hostel_unit::boolean;

use crate::Action;
use crate::doc::{Doc, Entry};
use crate::environment::Environment;
use crate::error::UsageError;
use crate::options::{OptionId as Id, OptionRow, Status};
use crate::settings::Mode;

pub use bundle::bundle;
pub(crate) use process::is_variable_name;
pub(crate) use resources::KNOWN_PROPERTIES;

/// Compiles a [`Doc`]: options in order (the first help or bad value wins), then the environment, then what goes together.
pub fn compile(doc: &Doc, env: &Environment) -> Result<Action, UsageError> {
    compile_over(doc, env, None)
}

/// The same over `base`, the machine that what [`bundle`] names describes: options win over it.
pub fn compile_over(doc: &Doc, env: &Environment, base: Option<MachineSpec>) -> Result<Action, UsageError> {
    let mut draft = Draft::new(env);
    if let Some(base) = base {
        draft.spec = MachineSpec { unit: draft.spec.unit, ..base };
    }
    let mut dump = false;
    for entry in &doc.entries {
        dump |= entry.row.id == Id::DumpDoc;
        if let Some(action) = draft.apply(entry).map_err(|e| e.of(entry))? {
            return Ok(action);
        }
    }
    if dump {
        return Ok(Action::Print(doc.dump()));
    }
    if let Some(error) = &doc.stopped {
        return Err(error.clone());
    }
    let cleanup = draft.cleanup;
    let spec = Box::new(draft.finish(&doc.payload)?);
    Ok(if cleanup { Action::Cleanup(spec) } else { Action::Run(spec) })
}

/// The machine of a bare `systemd-nspawn` in `tree`: what every option starts from.
pub fn default_spec(tree: TreeSource) -> MachineSpec {
    MachineSpec {
        identity: Identity { container: Some("systemd-nspawn".to_owned()), ..Identity::default() },
        root: Root {
            tree,
            template: None,
            read_only: false,
            volatile: Volatile::No,
            ephemeral: Ephemeral::No,
            upper: None,
            keep_tmp: false,
            skip_os_release_check: false,
            unlocked: false,
            layers: None,
            post_mount: None,
            run_size: None,
            pivot: None,
            image: hostel_spec::ImageOptions::default(),
        },
        payload: Payload::Command,
        process: ProcessSpec::default(),
        namespaces: Namespaces::default(),
        network: Network::default(),
        security: Security {
            bounding: CapSet::NSPAWN,
            added: CapSet::EMPTY,
            adjust_net_caps: true,
            dropped: CapSet::EMPTY,
            syscalls: SyscallFilter::Nspawn(Vec::new()),
            api_writable: false,
            suppress_sync: false,
            address_families: None,
            selinux_files: None,
        },
        mounts: Vec::new(),
        resources: Resources::default(),
        console: ConsoleMode::Auto,
        integration: Integration { resolv_conf: ResolvConf::Auto, timezone: Timezone::Auto, journal: LinkJournal::Auto },
        bind_users: hostel_spec::BindUsers::default(),
        credentials: Vec::new(),
        lifecycle: Lifecycle { nspawn_exit_status: true, ..Lifecycle::default() },
        unit: HostUnit { place: UnitPlace::Scope, slice: None, register: Register::Auto },
        notices: Vec::new(),
        bundle: None,
    }
}

/// A machine under construction, and what cannot be decided before all options are known.
pub(crate) struct Draft<'e> {
    env: &'e Environment,
    spec: MachineSpec,
    directory: Option<PathBuf>,
    image: Option<PathBuf>,
    template: Option<PathBuf>,
    ephemeral: bool,
    boot: bool,
    as_pid2: bool,
    ambient_given: bool,
    ownership: Option<Ownership>,
    settings: Option<Mode>,
    cleanup: bool,
}

impl<'e> Draft<'e> {
    pub(crate) fn new(env: &'e Environment) -> Self {
        Self {
            env,
            spec: default_spec(TreeSource::Directory(PathBuf::new())),
            directory: None,
            image: None,
            template: None,
            ephemeral: false,
            boot: false,
            as_pid2: false,
            ambient_given: false,
            ownership: None,
            settings: None,
            cleanup: false,
        }
    }

    /// One option. `Some` when it asks for something to be shown instead of a machine.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<Option<Action>, UsageError> {
        let row = entry.row;
        match row.status {
            Status::Never(reason) => return Err(UsageError::Never { what: row.name(), reason }),
            Status::Built | Status::Partly(_) => {}
        }
        self.beside_bundle(entry)?;
        let value = entry.value.as_deref().unwrap_or_default();
        match row.id {
            Id::Help => return Ok(Some(Action::Help)),
            Id::Version => return Ok(Some(Action::Version)),
            Id::NoPager | Id::System | Id::DumpDoc => {}
            Id::Quiet => self.spec.lifecycle.quiet = true,
            Id::Cleanup => self.cleanup = true,
            Id::Settings => self.settings = Some(settings(row, value)?),

            Id::Directory => self.directory = self.tree_path(row, value)?,
            Id::Template => self.template = self.tree_path(row, value)?,
            Id::Ephemeral => self.ephemeral = switch(entry)?,
            Id::Image => self.image(row, value)?,
            Id::OciBundle => self.oci_bundle(entry, value)?,
            Id::NoAskPassword => self.spec.root.image.no_ask_password = true,
            Id::ImagePolicy => self.image_policy(row, value)?,
            Id::RootHash => self.root_hash(row, value)?,
            Id::RootHashSig => self.root_hash_sig(row, value)?,
            Id::VerityData => self.verity_data(row, value)?,
            Id::PivotRoot => self.spec.root.pivot = tree::pivot_root(row, value)?,
            Id::ReadOnly => self.spec.root.read_only = switch(entry)?,
            Id::Volatile => return self.volatile(row, entry.value.as_deref()),

            Id::AsPid2 => self.as_pid2 = switch(entry)?,
            Id::Boot => self.boot = switch(entry)?,
            Id::Chdir => self.spec.process.cwd = Some(process::working_directory(row, value)?),
            Id::Setenv => self.setenv(row, value)?,
            Id::Uid | Id::UserScope => self.spec.process.user = Some(process::user(row, entry.value.as_deref())?),
            Id::KillSignal => return self.kill_signal(row, value),
            Id::NotifyReady => self.spec.lifecycle.notify_ready = yes_no(row, value)?,
            Id::SuppressSync => self.spec.security.suppress_sync = yes_no(row, value)?,
            Id::Rlimit => return self.rlimit(row, value),
            Id::OomScoreAdjust => self.spec.process.oom_score_adjust = Some(process::oom_score(row, value)?),
            Id::CpuAffinity => self.spec.process.cpu_affinity = process::cpu_affinity(row, value)?,
            Id::Personality => self.spec.process.linux32 = process::linux32(row, value)?,

            Id::Machine => self.machine(row, value)?,
            Id::Hostname => self.hostname(row, value)?,
            Id::Uuid => self.uuid(row, value)?,

            Id::Slice => self.spec.unit.slice = Some(resources::slice(row, value)?),
            Id::Property => self.property(row, value)?,
            Id::Memory | Id::Cpus | Id::Pids => self.limit(row, value)?,
            Id::Register => self.register(row, value)?,
            Id::KeepUnit => self.keep_unit(),

            Id::PrivateUsers => self.spec.namespaces.user = users::namespace(row, entry.value.as_deref())?,
            Id::PrivateUsersOwnership => return self.ownership(row, value),
            Id::PrivateUsersChown => self.ownership = Some(Ownership::Chown),
            Id::PickUsers => self.pick_users(),

            // what a file says no to, other settings of the group may still imply
            Id::PrivateNetwork | Id::NetworkVeth if !switch(entry)? => {}
            Id::PrivateNetwork => self.spec.network.mode = NetworkMode::Private,
            Id::NetworkVeth => self.network_veth(),
            Id::NetworkVethExtra => self.network_veth_extra(row, value)?,
            Id::NetworkBridge => self.network_bridge(row, value)?,
            Id::NetworkZone => self.network_zone(row, value)?,
            Id::NetworkMacvlan | Id::NetworkIpvlan | Id::NetworkInterface => self.network_link(row, value)?,
            Id::NetworkNamespacePath => self.network_namespace(row, value)?,
            Id::Port => self.port(row, value)?,
            Id::NetworkConfig => return self.network_config(row, value),
            Id::NetworkPool => self.network_pool(row, value)?,

            Id::Capability | Id::DropCapability | Id::AmbientCapability => return self.capability(row, value),
            Id::NoNewPrivileges => self.spec.process.no_new_privileges = yes_no(row, value)?,
            Id::SystemCallFilter => self.system_call_filter(row, value)?,
            Id::RestrictAddressFamilies => self.address_families(row, value)?,
            Id::SelinuxContext => self.spec.process.selinux_label = security::label(row, value)?,
            Id::SelinuxApifsContext => self.spec.security.selinux_files = security::label(row, value)?,

            Id::Bind | Id::BindRo => self.spec.mounts.push(mounts::bind(row, value, &self.env.cwd)?),
            Id::Inaccessible => self.spec.mounts.push(mounts::inaccessible(row, value)?),
            Id::Tmpfs => self.spec.mounts.push(mounts::tmpfs(row, value)?),
            Id::Overlay | Id::OverlayRo => self.spec.mounts.push(mounts::overlay(row, value, &self.env.cwd)?),

            Id::ResolvConf => return self.resolv_conf(row, value),
            Id::Timezone => return self.timezone(row, value),
            Id::LinkJournal => self.link_journal(row, value)?,
            Id::LinkJournalShort => self.link_journal(row, "try-guest")?,
            Id::Console => return self.console(row, value),
            Id::Pipe => self.pipe(),
            Id::Background => self.background(row, value)?,
            Id::ShareSystem => self.share_system(),
            Id::BindUser => self.bind_user(row, value)?,
            Id::BindUserShell => self.bind_user_shell(row, value)?,
            Id::BindUserGroup => self.bind_user_group(row, value)?,
            Id::SetCredential => self.set_credential(row, value)?,
            Id::LoadCredential => self.load_credential(row, value)?,

            // every other row is refused above, which a test checks; a row whose arm was forgotten is refused, not ignored
            _ => return Err(UsageError::NotYet { what: row.name(), reason: "it has no arm in the compiler" }),
        }
        Ok(None)
    }

    fn notice(&mut self, text: String) {
        self.spec.notices.push(text);
    }

    fn register(&mut self, row: &'static OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.unit.register = match value {
            "auto" => Register::Auto,
            _ if boolean(value).map_err(|_| UsageError::value(row, value, "it is none of yes, no, auto"))? => Register::Yes,
            _ => Register::No,
        };
        Ok(())
    }

    fn keep_unit(&mut self) {
        self.spec.lifecycle.reboot_is_133 = true;
        self.spec.unit.place = UnitPlace::Keep;
    }
}

fn settings(row: &OptionRow, value: &str) -> Result<Mode, UsageError> {
    Mode::parse(value).ok_or_else(|| UsageError::value(row, value, "it is none of yes, no, override, trusted"))
}

/// An option without a value is on when it is given; a settings file may say no.
fn switch(entry: &Entry) -> Result<bool, UsageError> {
    entry.value.as_deref().map_or(Ok(true), |value| yes_no(entry.row, value))
}

fn yes_no(row: &OptionRow, value: &str) -> Result<bool, UsageError> {
    boolean(value).map_err(|e| UsageError::value(row, value, e.why))
}

/// A value out of a table of words; `help` prints them.
fn choose<T: Copy>(row: &OptionRow, value: &str, table: &[(&'static str, T)]) -> Result<Choice<T>, UsageError> {
    if value == "help" {
        return Ok(Choice::Help(Action::Print(lines(table.iter().map(|(word, _)| *word)))));
    }
    match table.iter().find(|(word, _)| *word == value) {
        Some((_, chosen)) => Ok(Choice::Value(*chosen)),
        None => {
            let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
            Err(UsageError::value(row, value, format!("it is none of {}", words.join(", "))))
        }
    }
}

enum Choice<T> {
    Value(T),
    Help(Action),
}

/// One item per line.
fn lines<S: AsRef<str>>(items: impl Iterator<Item = S>) -> String {
    let mut out = String::new();
    for item in items {
        out.push_str(item.as_ref());
        out.push('\n');
    }
    out
}
