//! The supervisor of a container: from its order to the end of its machine.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use hostel_container::Container;
use hostel_container::store::{Kind, Store};
use hostel_engine::cgroup::Layout;
use hostel_engine::error::{Context, Error, Result};
use hostel_engine::registry::Origin;
use hostel_engine::supervisor::session::{Begun, Talk};
use hostel_lxc::machine::{self as compiled, Facts};
use hostel_lxc::wire::State;
use hostel_lxc::{Config, Refused};
use hostel_spec::{ConsoleMode, Lifecycle, MachineName, MachineSpec, Payload, SyscallFilter, TreeSource};
use rustix::fs::OFlags;
use rustix::mount::UnmountFlags;

use super::serve::{Server, Spoken};
use super::start::{Order, Report};
use crate::cli::{Failure, supervise};
use crate::hint::Voice;
use crate::machine;

/// What a supervisor is called, before lxcpath and name.
pub const TITLE: &str = "[lxc monitor]";

/// The process of that title.
pub fn run() -> ExitCode {
    let descriptors: Vec<OsString> = std::env::var(supervise::DESCRIPTORS).unwrap_or_default().split(' ').map(OsString::from).collect();
    match supervise(&descriptors) {
        Ok(status) => status.into(),
        Err(Failure::Usage(text)) => {
            crate::output::tell(format_args!("{text}"));
            2.into()
        }
        Err(_) => 1.into(),
    }
}

fn supervise(args: &[OsString]) -> std::result::Result<u8, Failure> {
    let mut text = Vec::new();
    supervise::inherited(args, 0)?.read_to_end(&mut text).context("read", "order")?;
    let mut report = Some(supervise::inherited(args, 1)?);
    let order: Order = serde_json::from_slice(&text).map_err(|e| Failure::Usage(format!("read the order of a supervisor: {e}")))?;
    hostel_sys::proc::new_session().context("start", "session")?;
    match live(&order, true, &mut |pid| supervise::say(&mut report, &Report::Started(pid))) {
        Ok(status) => Ok(status),
        Err(error) => {
            supervise::say(&mut report, &failed(&error));
            Ok(1)
        }
    }
}

/// What is said of a start that failed.
pub(super) fn failed(error: &Error) -> Report {
    let hint = error.hint.as_ref().map(|hint| crate::hint::words(hint, Voice::Verb("start")).to_string());
    Report::Failed(format!("{}{}", prefix(error), error.cause), hint)
}

/// What failed, where that is not the start itself.
fn prefix(error: &Error) -> String {
    if error.verb == "start" { String::new() } else { format!("{} {}: ", error.verb, error.object) }
}

/// Runs the container to its end. `started` is told the pid of its init.
pub fn live(order: &Order, background: bool, started: &mut dyn FnMut(i32)) -> Result<u8> {
    super::start::require_root(order)?;
    let mut config = Config::default();
    let file = format!("{}/{}/config", order.lxcpath, order.name);
    config.load(&file, &order.config, &mut hostel_container::Host).map_err(|fault| Error::new("read", "configuration", fault))?;
    let mut log = Journal::open(&config, &order.name);
    let result = run_machine(order, &config, background, started, &mut log);
    if let Err(error) = &result {
        log.line("ERROR", &error.to_string());
    }
    // Nobody listens any more: it is stopped.
    if result.is_ok() && config.value("lxc.ephemeral") == Some("1") {
        if matches!(Store::of(&config), Ok(Some(Store { kind: Kind::Overlay | Kind::Zfs, .. }))) {
            // Put together where only we see it, it is in the way now.
            let _ = rustix::mount::unmount(place(&directory(order)), UnmountFlags::DETACH);
        }
        if let Err(error) = Container::new(&order.name, Some(&order.lxcpath)).and_then(|mut container| container.destroy()) {
            log.line("ERROR", &error.text);
        }
    }
    result
}

fn run_machine(order: &Order, config: &Config, background: bool, started: &mut dyn FnMut(i32), log: &mut Journal) -> Result<u8> {
    let mut server = Server::listen(&order.lxcpath, &order.name, config.clone())?;
    // Now that it is we who run it.
    let pidfile = order.pidfile.clone().map(Pidfile::write).transpose()?;
    server.enter(State::Starting);
    let console = config.value("lxc.console.logfile").map(console_log).transpose()?;
    let (mut spec, begun) = begin(order, config, log)?;
    if order.execute && !background {
        // A command in a pipeline is one: what it reads and writes is the caller's, as it is.
        spec.console = ConsoleMode::Autopipe;
    }
    let spoken = Spoken { _pidfile: pidfile, server, log: console, most: number(config, "lxc.console.size") };
    machine::run(&spec, Origin::Lxc, Some(begun), background, Some(Box::new(spoken)), &mut |event| match event {
        Talk::Started(_, launched) => started(launched.pid),
        Talk::Remark(text) | Talk::Notice(text) => log.line("WARN", text),
        Talk::Left(error) => log.line("WARN", &error.to_string()),
        _ => {}
    })
}

fn directory(order: &Order) -> PathBuf {
    Path::new(&order.lxcpath).join(&order.name)
}

/// Where an overlay is put together.
fn place(directory: &Path) -> PathBuf {
    directory.join("rootfs")
}

fn number(config: &Config, key: &str) -> u64 {
    config.value(key).and_then(|size| size.parse().ok()).unwrap_or(0)
}

fn console_log(path: &str) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .context("open", format!("console log {path}"))
}

/// A file with our pid, for as long as it is ours.
pub(super) struct Pidfile(PathBuf);

impl Pidfile {
    fn write(path: PathBuf) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let object = format!("pid file {}", path.display());
        let mut file = file.context("open", &*object)?;
        let own = Self(path);
        writeln!(file, "{}", std::process::id()).context("write", object)?;
        Ok(own)
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// `lxc.log.file`: what is not as asked, and why it does not run.
struct Journal {
    file: Option<File>,
    name: String,
}

impl Journal {
    fn open(config: &Config, name: &str) -> Journal {
        let file = config.value("lxc.log.file").filter(|path| *path != "none").and_then(|path| console_log(path).ok());
        Journal { file, name: name.to_owned() }
    }
    fn line(&mut self, level: &str, text: &str) {
        if let Some(file) = &mut self.file {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            // A log that cannot be written stops no container.
            let _ = writeln!(file, "lxc {} {}.{:03} {level:<8} hostel - {text}", self.name, now.as_secs(), now.subsec_millis());
        }
    }
}

/// What the machine of a container is called.
pub fn machine_name(lxcpath: &str, name: &str) -> Result<MachineName> {
    hostel_container::machine_name(lxcpath, name).map_err(|e| Error::new("name", format!("machine of container {name}"), e))
}

/// Everything up to the plan: hooks of the host, the root, what the configuration means.
fn begin(order: &Order, config: &Config, log: &mut Journal) -> Result<(MachineSpec, Begun)> {
    let name = machine_name(&order.lxcpath, &order.name)?;
    let mut claim = machine::open_registry()?.claim(&name)?;
    match prepare(order, config, name, log) {
        Ok((spec, host_mounts)) => Ok((spec, Begun { claim, log: None, host_mounts, locks: Vec::new() })),
        Err(error) => {
            claim.undo_all();
            let _ = claim.release();
            Err(error)
        }
    }
}

fn refused(refused: Refused) -> Error {
    let key = refused.key.clone();
    Error::new("use", key, if refused.value.is_empty() { refused.why.to_owned() } else { format!("{:?}: {}", refused.value, refused.why) })
}

fn prepare(order: &Order, config: &Config, name: MachineName, log: &mut Journal) -> Result<(MachineSpec, Option<OwnedFd>)> {
    let directory = directory(order);
    let store = store(config)?;
    let root = if matches!(store.kind, Kind::Overlay | Kind::Zfs) { place(&directory) } else { store.path().to_owned() };
    let text = |key: &str| config.value(key).map(|path| std::fs::read_to_string(path).context("read", format!("{key} {path}"))).transpose();
    let (fstab, seccomp) = (text("lxc.mount.fstab")?, text("lxc.seccomp.profile")?);
    // Most configurations limit nothing; a host whose cgroups cannot be looked at stops the start later.
    let layout = OnceCell::new();
    let layout = || layout.get_or_init(|| Layout::detect().ok());
    let facts = Facts {
        name: &order.name,
        lxcpath: &order.lxcpath,
        root: &root,
        fstab: fstab.as_deref(),
        seccomp: seccomp.as_deref(),
        apparmor: Path::new("/sys/kernel/security/apparmor").exists(),
        exists: &|path| path.exists(),
        share: &|kind, value| shared(kind, value, &order.lxcpath),
        on_v1: &|name| layout().iter().flat_map(|l| &l.v1).any(|h| h.controllers.iter().any(|c| c.v2_name() == name)),
        call: &hostel_process::seccomp::native_name,
        random: machine::random(),
        command: order.command.as_deref(),
    };
    // They may make the root that is not there yet.
    for command in compiled::commands(config, &facts, "pre-start") {
        hook(&command)?;
    }
    let (json, rest) = compiled::compile(config, &facts).map_err(refused)?;
    let mut spec = hostel_oci::compile(json.to_string().as_bytes(), &directory).map_err(|e| Error::new("use", "configuration", e))?;
    rest.notices.iter().for_each(|notice| log.line("WARN", notice));
    spec.identity.name = Some(name);
    spec.identity.container = Some("lxc".to_owned());
    spec.network = rest.network;
    spec.resources.more.extend(rest.limits);
    spec.resources.all_controllers = true;
    spec.payload = if order.execute { Payload::CommandAsPid2 } else { Payload::Command };
    if seccomp.is_none() {
        spec.security.syscalls = SyscallFilter::Off;
    }
    if rest.without_console {
        spec.console = ConsoleMode::Pipe;
    }
    // Its init may reboot; a command may not, and its status is its own.
    spec.lifecycle = Lifecycle { quiet: true, nspawn_exit_status: !order.execute, ..Lifecycle::default() };
    if let Some(bundle) = &mut spec.bundle {
        bundle.map_root = rest.map_root;
        bundle.terminals = if rest.without_console { 0 } else { rest.terminals };
        (bundle.terminals_in, bundle.network_sysctl) = (rest.terminals_in, rest.network_sysctl);
        (bundle.hooks.start_host, bundle.hooks.stop) = (rest.start_host, rest.stop);
    }
    if std::env::var_os(hostel_container::FOR_USER).is_some() {
        for_user(config, &mut spec)?;
    }
    let mut host_mounts = None;
    match store.kind {
        Kind::Dir | Kind::Btrfs => {}
        Kind::Loop | Kind::Lvm => spec.root.tree = TreeSource::Image(root),
        Kind::Overlay | Kind::Zfs => {
            host_mounts = Some(hostel_sys::tree::own_mounts().context("make", "mount namespace")?);
            store.attach(&root).map_err(|e| Error::new("start", format!("container {}", order.name), e.text))?;
        }
    }
    Ok((spec, host_mounts))
}

/// A user may make no groups of the host's, and no interfaces: what asks for them is refused.
fn for_user(config: &Config, spec: &mut MachineSpec) -> Result<()> {
    let refuse = |key: String, why: &str| Err(Error::new("use", key, why).hint("start it as root"));
    for prefix in ["lxc.cgroup.", "lxc.cgroup2."] {
        if let Some((file, _)) = config.below(prefix).next() {
            return refuse(format!("{prefix}{file}"), "a user's container has no cgroup of its own");
        }
    }
    if spec.network.has_links() {
        return refuse("lxc.net".to_owned(), "a user makes no interfaces: `empty` and `none` are the types there are");
    }
    if let Some(bundle) = &mut spec.bundle {
        bundle.without_group = true;
    }
    Ok(())
}

/// A hook of the host's, with what it says in our standard error.
fn hook(command: &compiled::Command) -> Result<()> {
    let mut child = Command::new("/bin/sh");
    child.arg("-c").arg(&command.line).env_clear().stdin(Stdio::null()).stdout(std::io::stderr()).current_dir("/");
    child.envs(command.env.iter().filter_map(|entry| entry.split_once('=')));
    let failed = |cause: String| Error::new("run", format!("pre-start hook {:?}", command.line), cause);
    match child.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("it ended with {status}"))),
        Err(e) => Err(failed(e.to_string())),
    }
}

/// The namespace file that is shared: of a process, of a container, or a path.
fn shared(kind: &str, value: &str, lxcpath: &str) -> Option<PathBuf> {
    if value.starts_with('/') {
        return Some(value.into());
    }
    let of_container = || Container::bare(value, Some(lxcpath)).and_then(|container| container.init_pid());
    let pid: i32 = value.parse().or_else(|_| of_container()).ok()?;
    Some(format!("/proc/{pid}/ns/{kind}").into())
}

/// What the root is kept in.
fn store(config: &Config) -> Result<Store> {
    let (kind, _) = config.root().ok_or_else(|| {
        Error::new("start", "container", "it has no lxc.rootfs.path").hint("a container has a root file system of its own; `hostel run` needs none")
    })?;
    if let Some(kind) = kind.filter(|kind| Kind::of(kind).is_err()) {
        return Err(Error::new("use", format!("backing store {kind}"), "its device has to be mounted, and `dir:` given"));
    }
    match Store::of(config) {
        Ok(Some(store)) => Ok(store),
        Ok(None) => Err(Error::new("use", "lxc.rootfs.path", "it is not set")),
        Err(error) => Err(Error::new("use", "lxc.rootfs.path", error.text)),
    }
}
