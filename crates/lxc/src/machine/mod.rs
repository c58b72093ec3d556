//! What a container's configuration means as a machine: the `config.json` of an OCI bundle, and what that has no words for.
//!
//! ```text
//!  Config + Facts ──► Value ──► hostel_oci::compile ──► MachineSpec
//!                └──► Rest  ──────── put over it ──────────┘
//! ```
//! OCI's runtime specification grew out of this configuration; where both have a word for a thing there is one way to do it.

mod groups;
mod hooks;
mod mounts;
mod network;
mod seccomp;
#[cfg(test)]
mod tests;

pub use hooks::{Command, commands};

use std::path::{Path, PathBuf};

use hostel_spec::{CapName, GroupFile, Hook, Network};
use serde_json::{Map, Value, json};

use crate::{Config, Refused};

/// What a configuration is about, and what of the host decides what it means.
pub struct Facts<'a> {
    /// Name of the container.
    pub name: &'a str,
    /// Where containers are.
    pub lxcpath: &'a str,
    /// The directory that is the root.
    pub root: &'a Path,
    /// Text of `lxc.mount.fstab`.
    pub fstab: Option<&'a str>,
    /// Text of `lxc.seccomp.profile`.
    pub seccomp: Option<&'a str>,
    /// Whether the host has AppArmor.
    pub apparmor: bool,
    /// Whether something is at this path of the host.
    pub exists: &'a dyn Fn(&Path) -> bool,
    /// The namespace file of `lxc.namespace.share.KIND = VALUE`: (kind, value).
    pub share: &'a dyn Fn(&str, &str) -> Option<PathBuf>,
    /// Whether the host has this controller (as version 2 calls it) on cgroup version 1.
    pub on_v1: &'a dyn Fn(&str) -> bool,
    /// The system call of a number of this architecture.
    pub call: &'a dyn Fn(u32) -> Option<&'static str>,
    /// Random numbers, for names and addresses.
    pub random: [u8; 16],
    /// Instead of the configuration's command.
    pub command: Option<&'a [String]>,
}

/// What `config.json` has no words for.
#[derive(Debug, Default)]
pub struct Rest {
    /// Limits by their files.
    pub limits: Vec<GroupFile>,
    /// Interfaces.
    pub network: Network,
    /// Hooks right before the program.
    pub start_host: Vec<Hook>,
    /// Hooks when it has ended.
    pub stop: Vec<Hook>,
    /// Terminals.
    pub terminals: u32,
    /// Where they are below /dev.
    pub terminals_in: Option<String>,
    /// /proc/sys/net can be written to.
    pub network_sysctl: bool,
    /// The root's ids are mapped as the machine's are.
    pub map_root: bool,
    /// There is no console.
    pub without_console: bool,
    /// Things that are not as asked, to be told.
    pub notices: Vec<String>,
}

type Json = Map<String, Value>;

fn refuse(key: &str, value: &str, why: &'static str) -> Refused {
    Refused { key: key.to_owned(), value: value.to_owned(), why }
}

/// The version of the specification that is written.
const VERSION: &str = "1.2.0";

/// Compiles a configuration.
pub fn compile(config: &Config, facts: &Facts<'_>) -> Result<(Value, Rest), Refused> {
    let mut rest = Rest::default();
    refuse_what_is_not_done(config)?;
    let mut linux = namespaces(config, facts)?;
    let (network, inside) = network::compile(config, facts, &mut rest)?;
    rest.network = Network { inside, ..network };
    (rest.start_host, rest.stop) = (hooks::further(config, facts, "start-host"), hooks::further(config, facts, "stop"));
    rest.terminals = number(config, "lxc.tty.max");
    rest.terminals_in = config.value("lxc.tty.dir").map(str::to_owned);
    rest.without_console = config.value("lxc.console.path") == Some("none");
    rest.map_root = root_options(config).any(|word| word == "idmap=container");
    let mut resources = Json::new();
    resources.insert("devices".into(), groups::devices(config)?);
    rest.limits = groups::limits(config, facts)?;
    linux.insert("resources".into(), resources.into());
    if let Some(text) = facts.seccomp {
        linux.insert("seccomp".into(), seccomp::compile(text, facts.call)?);
    }
    let (mounts, closed, masked) = mounts::compile(config, facts, &mut rest)?;
    linux.insert("readonlyPaths".into(), closed);
    linux.insert("maskedPaths".into(), masked);
    let sysctl: Json = config.below("lxc.sysctl.").map(|(name, value)| (name.to_owned(), value.into())).collect();
    linux.insert("sysctl".into(), sysctl.into());
    if let Some(group) = config.value("lxc.cgroup.dir.container").or_else(|| config.value("lxc.cgroup.dir")) {
        let own = if config.value("lxc.cgroup.dir.container").is_some() { String::new() } else { format!("/lxc.payload.{}", facts.name) };
        linux.insert("cgroupsPath".into(), format!("/{}{own}", group.trim_matches('/')).into());
    }
    let mut out = json!({
        "ociVersion": VERSION,
        "root": { "path": facts.root.to_string_lossy(), "readonly": root_options(config).any(|word| word == "ro") },
        "process": process(config, facts, &mut rest)?,
        "mounts": mounts,
        "hooks": hooks::compile(config, facts),
        "linux": linux,
    });
    if let Some(name) = config.value("lxc.uts.name") {
        out["hostname"] = name.into();
    }
    Ok((out, rest))
}

fn number(config: &Config, key: &str) -> u32 {
    config.value(key).and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn root_options(config: &Config) -> impl Iterator<Item = &str> {
    config.value("lxc.rootfs.options").unwrap_or_default().split(',')
}

/// Settings that would be passed over in silence.
fn refuse_what_is_not_done(config: &Config) -> Result<(), Refused> {
    const NOT_DONE: [(&str, &str); 7] = [
        ("lxc.seccomp.notify.proxy", "nobody is asked about a system call"),
        ("lxc.selinux.context.keyring", "keyrings have no label of their own"),
        ("lxc.namespace.share.mnt", "a machine has a root of its own"),
        ("lxc.monitor.signal.pdeath", "a machine ends with its supervisor"),
        ("lxc.cgroup.dir.container.inner", "a machine has one cgroup, with a namespace of its own"),
        ("lxc.cgroup.dir.monitor.pivot", "the supervisor leaves no cgroup behind"),
        ("lxc.apparmor.raw", "no AppArmor profile is generated"),
    ];
    for (key, why) in NOT_DONE {
        if let Some(value) = config.value(key).filter(|value| !(key.ends_with("pdeath") && *value == "9")) {
            return Err(refuse(key, value, why));
        }
    }
    match config.below("lxc.proc.").find(|(name, _)| *name != "oom_score_adj") {
        Some((name, value)) => Err(refuse(&format!("lxc.proc.{name}"), value, "only oom_score_adj is written")),
        None => Ok(()),
    }
}

/// Kinds of namespaces: as LXC and as OCI call them.
const KINDS: [(&str, &str); 8] =
    [("mnt", "mount"), ("pid", "pid"), ("uts", "uts"), ("ipc", "ipc"), ("net", "network"), ("user", "user"), ("cgroup", "cgroup"), ("time", "time")];

fn namespaces(config: &Config, facts: &Facts<'_>) -> Result<Json, Refused> {
    let ids: Vec<Vec<&str>> = config.values("lxc.idmap").map(|value| value.split_ascii_whitespace().collect()).collect();
    let offsets = ["lxc.time.offset.boot", "lxc.time.offset.monotonic"].map(|key| config.value(key));
    // A lone `none` is the host's network; without any interface it is one of its own.
    let types: Vec<String> = config.interfaces().iter().filter_map(|n| config.value(&format!("lxc.net.{n}.type")).map(str::to_owned)).collect();
    let hosts_network = !types.is_empty() && types.iter().all(|kind| kind == "none");
    let kept: Vec<&str> = config.values("lxc.namespace.keep").collect();
    let cloned: Vec<&str> = config.values("lxc.namespace.clone").collect();
    let mut out = Vec::new();
    for (kind, oci) in KINDS {
        let key = format!("lxc.namespace.share.{kind}");
        if let Some(value) = config.value(&key) {
            let path = (facts.share)(kind, value).ok_or_else(|| refuse(&key, value, "there is no such process, container or path"))?;
            out.push(json!({ "type": oci, "path": path.to_string_lossy() }));
            continue;
        }
        let own = match kind {
            _ if !kept.is_empty() => !kept.contains(&kind),
            _ if !cloned.is_empty() => cloned.contains(&kind),
            "user" => !ids.is_empty(),
            "net" => !hosts_network,
            "time" => offsets.iter().any(Option::is_some),
            _ => true,
        };
        if own {
            out.push(json!({ "type": oci }));
        }
    }
    let mut linux = Json::new();
    linux.insert("namespaces".into(), out.into());
    for (letter, key) in [("u", "uidMappings"), ("g", "gidMappings")] {
        let list: Vec<Value> = ids.iter().filter(|words| words[0] == letter).filter_map(|words| id_map(words)).collect();
        if !list.is_empty() {
            linux.insert(key.into(), list.into());
        }
    }
    let mut clocks = Json::new();
    for (offset, clock) in offsets.iter().zip(["boottime", "monotonic"]) {
        if let Some(nanoseconds) = offset.and_then(in_nanoseconds) {
            let (secs, nanosecs) = (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
            clocks.insert(clock.into(), json!({ "secs": secs, "nanosecs": nanosecs }));
        }
    }
    if !clocks.is_empty() {
        linux.insert("timeOffsets".into(), clocks.into());
    }
    Ok(linux)
}

fn id_map(words: &[&str]) -> Option<Value> {
    let number = |at: usize| words.get(at)?.parse::<u32>().ok();
    Some(json!({ "containerID": number(1)?, "hostID": number(2)?, "size": number(3)? }))
}

/// `3600s`, `-5 ms`.
fn in_nanoseconds(text: &str) -> Option<i64> {
    let text: String = text.split_ascii_whitespace().collect();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let unit = match &text[at..] {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    text[..at].parse::<i64>().ok()?.checked_mul(unit)
}

/// What init is called when nobody says it.
const INIT: &str = "/sbin/init";

fn process(config: &Config, facts: &Facts<'_>, rest: &mut Rest) -> Result<Value, Refused> {
    let args: Vec<String> = match (facts.command, config.value("lxc.init.cmd")) {
        (Some(command), _) => command.to_vec(),
        (None, Some(line)) => words(line).ok_or_else(|| refuse("lxc.init.cmd", line, "a quote is not closed"))?,
        (None, None) => vec![INIT.to_owned()],
    };
    let (uid, gid) = (number(config, "lxc.init.uid"), number(config, "lxc.init.gid"));
    let groups: Vec<u32> = config.values("lxc.init.groups").filter_map(|id| id.parse().ok()).collect();
    let has_path = config.values("lxc.environment").chain(config.values("lxc.environment.runtime")).any(|entry| entry.starts_with("PATH="));
    let mut env: Vec<String> = if has_path { Vec::new() } else { vec![hooks::PATH.to_owned()] };
    // A name alone would be the starter's own variable: a supervisor in the background has none worth passing on.
    env.extend(config.values("lxc.environment").chain(config.values("lxc.environment.runtime")).filter(|e| e.contains('=')).map(str::to_owned));
    env.push("container=lxc".to_owned());
    let bounding: Vec<String> = capabilities(config)?.into_iter().map(|cap| cap.name().to_uppercase()).collect();
    let held = if uid == 0 { bounding.clone() } else { Vec::new() };
    let mut out = json!({
        "terminal": !rest.without_console,
        "user": { "uid": uid, "gid": gid, "additionalGids": groups },
        "args": args,
        "env": env,
        "cwd": config.value("lxc.init.cwd").unwrap_or("/"),
        "capabilities": { "bounding": bounding, "effective": held, "permitted": held },
        "rlimits": config.below("lxc.prlimit.").filter_map(|(name, value)| rlimit(name, value)).collect::<Vec<_>>(),
        "noNewPrivileges": config.value("lxc.no_new_privs") == Some("1"),
    });
    if let Some(score) = config.value("lxc.proc.oom_score_adj") {
        let number: i32 = score.trim().parse().map_err(|_| refuse("lxc.proc.oom_score_adj", score, "it is no number"))?;
        out["oomScoreAdj"] = number.into();
    }
    if let Some(context) = config.value("lxc.selinux.context") {
        out["selinuxLabel"] = context.into();
    }
    match config.value("lxc.apparmor.profile") {
        None | Some("unconfined" | "unchanged") => {}
        Some(_) if !facts.apparmor => {}
        Some("generated") => rest.notices.push("lxc.apparmor.profile = generated: no profile is generated, the container runs without".to_owned()),
        Some(profile) => out["apparmorProfile"] = profile.into(),
    }
    Ok(out)
}

/// What is left of all capabilities.
fn capabilities(config: &Config) -> Result<Vec<CapName>, Refused> {
    let parse = |key: &str, word: &str| CapName::parse(word).map_err(|_| refuse(key, word, "there is no capability of this name"));
    let kept = config.values("lxc.cap.keep").filter(|w| *w != "none").map(|w| parse("lxc.cap.keep", w)).collect::<Result<Vec<_>, _>>()?;
    if config.values("lxc.cap.keep").next().is_some() {
        return Ok(kept);
    }
    let dropped = config.values("lxc.cap.drop").map(|w| parse("lxc.cap.drop", w)).collect::<Result<Vec<_>, _>>()?;
    Ok(CapName::known().filter(|cap| !dropped.contains(cap)).collect())
}

/// `SOFT[:HARD]`, each a number or `unlimited`.
fn rlimit(name: &str, value: &str) -> Option<Value> {
    let number = |text: &str| if text == "unlimited" { Some(u64::MAX) } else { text.parse().ok() };
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    Some(json!({ "type": format!("RLIMIT_{}", name.to_uppercase()), "soft": number(soft.trim())?, "hard": number(hard.trim())? }))
}

/// A command line as words: quotes of both kinds, a backslash before what is meant as it is. None: a quote is open.
pub fn words(line: &str) -> Option<Vec<String>> {
    let (mut out, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\\', open) if open != Some('\'') => word.get_or_insert_default().push(chars.next()?),
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_ascii_whitespace() => out.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    quote.is_none().then_some(out)
}
