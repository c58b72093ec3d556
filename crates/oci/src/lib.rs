//! The OCI dialect: a bundle's `config.json` (runtime specification 1.0 to 1.2) becomes a [`MachineSpec`]. Pure.
//!
//! ```text
//!  text ──► config.rs (what is written) ──► one file per noun ──► MachineSpec
//! ```
//! What the specification knows and hostel does not do is refused by its key; keys the specification does not know are
//! passed over, as it demands.

mod config;
mod error;
mod hooks;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod seccomp;
mod sysctl;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use hostel_spec::{
    BindUsers, Bundle, CapSet, ConsoleMode, Ephemeral, HostUnit, Hostname, Identity, ImageOptions, Integration, Lifecycle, LinkJournal, MachineName,
    MachineSpec, MountPropagation, Ownership, Payload, ResolvConf, Root, Security, SyscallFilter, Timezone, TreeSource, Volatile,
};

use config::{Config, Part, Place};
pub use error::Error;
use error::{Result, not_yet, value};

/// Largest `config.json` that is read, in bytes.
pub const SIZE_MAX: u64 = 4 << 20;
/// Name of the file in a bundle.
pub const FILE: &str = "config.json";

/// Compiles the text of `config.json` of the bundle in the absolute directory `bundle`.
///
/// The machine is called as the bundle's directory is, if it can be.
pub fn compile(text: &[u8], bundle: &Path) -> Result<MachineSpec> {
    let config = parse(text)?;
    check_version(&config.oci_version)?;
    refuse_other_systems(&config)?;
    let root = config.root.as_ref().ok_or_else(|| value("root", "it is missing"))?;
    let linux = config.linux.clone().unwrap_or_default();
    let mut notices = Vec::new();
    let (namespaces, network, mut out) = namespaces::compile(&linux)?;
    out.path = bundle.to_owned();
    out.version = config.oci_version.clone();
    out.annotations = config.annotations.iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut process = process::compile(config.process.as_ref(), &mut out, &mut notices)?;
    process.spec.linux32 = personality(linux.personality.as_ref())?;
    out.mounts = mounts::compile(&config, bundle, &out)?;
    out.devices = resources::devices(&linux)?;
    out.masked = paths("linux.maskedPaths", linux.masked_paths.as_deref())?;
    out.read_only = paths("linux.readonlyPaths", linux.readonly_paths.as_deref())?;
    out.sysctl = sysctl::compile(&linux, &namespaces, &network)?;
    out.root_propagation = root_propagation(linux.rootfs_propagation.as_deref())?;
    out.hooks = hooks::compile(config.hooks.as_ref())?;
    let own_uts = namespaces.uts;
    out.domainname = own_name("domainname", config.domainname.as_deref(), own_uts)?.map(str::to_owned);
    let hostname = own_name("hostname", config.hostname.as_deref(), own_uts)?;
    let resources = resources::compile(&linux)?;
    let syscalls = match &linux.seccomp {
        Some(seccomp) => SyscallFilter::Profile(seccomp::compile(seccomp)?),
        None => SyscallFilter::Nspawn(Vec::new()),
    };
    if let (Some(seccomp), Some(exact)) = (&linux.seccomp, &mut process.spec.exact) {
        exact.log_calls = seccomp::logs(seccomp);
    }
    let terminal = config.process.as_ref().and_then(|p| p.terminal).unwrap_or(false);
    if terminal && !out.mounts.iter().any(mounts::is_devpts) {
        return Err(value("process.terminal", "there is no devpts among the mounts to make a terminal in"));
    }
    Ok(MachineSpec {
        identity: Identity {
            name: bundle.file_name().and_then(|name| MachineName::derive(&name.to_string_lossy()).ok()),
            hostname: hostname.map(|name| Hostname::new(name).map_err(|e| value("hostname", e.why))).transpose()?,
            uuid: None,
            container: Some("oci".to_owned()),
        },
        root: self::root(root, bundle)?,
        payload: Payload::Command,
        security: Security {
            bounding: process.bounding,
            added: CapSet::EMPTY,
            adjust_net_caps: false,
            dropped: CapSet::EMPTY,
            syscalls,
            api_writable: false,
            suppress_sync: false,
            address_families: None,
            selinux_files: None,
        },
        process: process.spec,
        namespaces,
        network,
        mounts: Vec::new(),
        resources,
        console: if terminal { ConsoleMode::Interactive } else { ConsoleMode::Pipe },
        integration: Integration { resolv_conf: ResolvConf::Off, timezone: Timezone::Off, journal: LinkJournal::No },
        bind_users: BindUsers::default(),
        unit: HostUnit::default(),
        credentials: Vec::new(),
        // A machine that reboots would have to go through its hooks again: whoever started it does.
        lifecycle: Lifecycle { nspawn_exit_status: true, quiet: !terminal, reboot_is_133: true, ..Lifecycle::default() },
        notices,
        bundle: Some(Box::new(out)),
    })
}

fn parse(text: &[u8]) -> Result<Config> {
    if text.len() as u64 > SIZE_MAX {
        return Err(Error::Json("it is larger than 4 MiB".to_owned()));
    }
    if let Some(line) = nul_line(text) {
        return Err(Error::Json(format!("a text in line {line} has a NUL character")));
    }
    let given: serde_json::Value = serde_json::from_slice(text).map_err(|e| Error::Json(e.to_string().replace('\n', " ")))?;
    if !given.is_object() {
        return Err(Error::Json("it is no object".to_owned()));
    }
    Config::read(&given, Place::Top)
}

/// The line of the first escaped NUL: the only way there is to write one, and the kernel's strings end there.
fn nul_line(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at + 1 < text.len() {
        if text[at] != b'\\' {
            at += 1;
            continue;
        }
        if text[at + 1..].starts_with(b"u0000") {
            return Some(text[..at].iter().filter(|b| **b == b'\n').count() + 1);
        }
        at += 2;
    }
    None
}

/// 1.MINOR.PATCH with whatever suffix: systemd-nspawn refuses "1.0.2-dev" (its issue 18367).
fn check_version(text: &str) -> Result<()> {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let number = |t: &&str| !t.is_empty() && t.len() < 6 && t.bytes().all(|b| b.is_ascii_digit());
    if numbers.len() != 3 || !numbers.iter().all(number) {
        return Err(value("ociVersion", format!("{} is no version", quoted(text))));
    }
    if numbers[0] != "1" {
        return Err(value("ociVersion", format!("{} is none of 1.x", quoted(text))));
    }
    Ok(())
}

fn refuse_other_systems(config: &Config) -> Result<()> {
    for (key, given) in [("solaris", &config.solaris), ("windows", &config.windows), ("vm", &config.vm), ("zos", &config.zos)] {
        if given.is_some() {
            return Err(value(key, "it is for another system than Linux"));
        }
    }
    Ok(())
}

fn root(root: &config::Root, bundle: &Path) -> Result<Root> {
    if root.path.is_empty() {
        return Err(value("root.path", "it is empty"));
    }
    Ok(Root {
        tree: TreeSource::Directory(bundle.join(&root.path)),
        template: None,
        read_only: root.readonly.unwrap_or(false),
        volatile: Volatile::No,
        ephemeral: Ephemeral::No,
        upper: None,
        keep_tmp: true,
        skip_os_release_check: true,
        unlocked: false,
        layers: None,
        post_mount: None,
        run_size: None,
        pivot: None,
        image: ImageOptions::default(),
    })
}

/// A name that is the machine's only where it has a UTS namespace.
fn own_name<'a>(key: &'static str, name: Option<&'a str>, own: bool) -> Result<Option<&'a str>> {
    match name {
        None | Some("") => Ok(None),
        Some(_) if !own => Err(value(key, "linux.namespaces has no new uts namespace to set it in")),
        Some(name) if name.len() > 64 => Err(value(key, "it is longer than 64 bytes")),
        Some(name) => Ok(Some(name)),
    }
}

fn root_propagation(word: Option<&str>) -> Result<MountPropagation> {
    Ok(match word {
        None | Some("" | "private" | "rprivate") => MountPropagation::Private,
        Some("slave" | "rslave") => MountPropagation::Slave,
        Some("shared" | "rshared") => MountPropagation::Shared,
        Some("unbindable" | "runbindable") => MountPropagation::Unbindable,
        Some(other) => return Err(value("linux.rootfsPropagation", format!("{} is none of private, slave, shared, unbindable", quoted(other)))),
    })
}

/// Whether programs are to see a 32-bit machine.
fn personality(given: Option<&config::Personality>) -> Result<bool> {
    let Some(given) = given else { return Ok(false) };
    refuse("linux.personality.flags", given.flags.as_ref().filter(|f| !f.is_empty()), "the specification has none")?;
    match given.domain.as_str() {
        "LINUX" => Ok(false),
        "LINUX32" => Ok(true),
        other => Err(value("linux.personality.domain", format!("{} is none of LINUX, LINUX32", quoted(other)))),
    }
}

/// Paths inside the machine.
fn paths(key: &'static str, list: Option<&[String]>) -> Result<Vec<PathBuf>> {
    list.unwrap_or_default().iter().map(|path| inside(key, path)).collect()
}

/// A path inside the machine: absolute. What its links and `..` mean is found out in the machine's root, by descriptor.
fn inside(key: &str, path: &str) -> Result<PathBuf> {
    if !path.starts_with('/') {
        return Err(value(key, format!("{} is not absolute", quoted(path))));
    }
    if path.len() > 4095 {
        return Err(value(key, "a path is longer than 4095 bytes"));
    }
    Ok(Path::new(path).components().collect())
}

/// A text of the configuration in a message: one line, bounded.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    format!("{short:?}")
}

/// Refuses a key that is given and not empty.
fn refuse<T>(key: impl Into<String>, given: Option<T>, why: &'static str) -> Result<()> {
    if given.is_some() { Err(not_yet(key, why)) } else { Ok(()) }
}

/// Ownership of the tree's files is never changed: a bundle brings them as they are to be.
const OWNERSHIP: Ownership = Ownership::Off;
/// A bundle as it is before anything is said of it.
fn empty() -> Bundle {
    Bundle::default()
}
