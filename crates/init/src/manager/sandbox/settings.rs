//! What the sandbox keys of a service say, as plain values.

use hostel_process::seccomp::service::Restrictions;
use hostel_unit::{WordRules, boolean, words};

use super::super::context::PLACES;
use super::super::dynamic::may_be_private;
use super::{Own, calls};
use crate::load::{Settings, Unit};
use crate::value::Value;

pub(super) const SECTION: &str = "Service";
/// Where private directories of each of [`PLACES`] are.
const PRIVATE: [&str; 4] = ["/run/private", "/var/lib/private", "/var/cache/private", "/var/log/private"];

/// ProtectSystem=
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum System {
    #[default]
    No,
    Yes,
    Full,
    Strict,
}

/// ProtectHome=
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Home {
    #[default]
    No,
    Hidden,
    ReadOnly,
    Empty,
}

/// What may be done at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Access {
    None,
    Read,
    Write,
    NoExec,
    Exec,
}

/// A path of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Absolute.
    pub path: String,
    /// That it is missing is no failure.
    pub optional: bool,
}

/// BindPaths= and BindReadOnlyPaths=
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// What.
    pub source: Place,
    /// Where.
    pub target: String,
    /// With what is mounted below.
    pub recursive: bool,
    /// It cannot be written there.
    pub read_only: bool,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sandbox {
    /// ProtectSystem=
    pub system: System,
    /// ProtectHome=
    pub home: Home,
    /// PrivateTmp=
    pub tmp: bool,
    /// PrivateDevices=
    pub devices: bool,
    /// ProtectKernelTunables=
    pub tunables: bool,
    /// ProtectKernelModules=
    pub modules: bool,
    /// ProtectKernelLogs=
    pub logs: bool,
    /// ProtectControlGroups=
    pub groups: bool,
    /// ProtectHostname=
    pub hostname: bool,
    /// ProtectProc=: the option of the file system.
    pub hide: Option<&'static str>,
    /// ProcSubset=pid
    pub only_processes: bool,
    /// ReadWritePaths= and its like.
    pub access: Vec<(Access, Place)>,
    /// BindPaths= and BindReadOnlyPaths=
    pub binds: Vec<Bind>,
    /// TemporaryFileSystem=: where, with which options.
    pub empty: Vec<(String, String)>,
    /// PrivateMounts=
    pub mounts: bool,
    /// MountFlags=: what is mounted inside is not told to what is made inside of it.
    pub propagation: Option<&'static str>,
    /// RootDirectory=
    pub root: Option<Place>,
    /// MountAPIVFS=
    pub api: bool,
    /// DynamicUser=: directories that are hidden but for the unit's own in them.
    pub private: Vec<&'static str>,
    /// Directories of the unit's own (StateDirectory= …), which it may always write.
    pub own: Vec<String>,
    /// PrivateNetwork=
    pub network: bool,
    /// NetworkNamespacePath=
    pub network_path: Option<String>,
    /// PrivateIPC=
    pub ipc: bool,
    /// IPCNamespacePath=
    pub ipc_path: Option<String>,
    /// PrivateUsers=
    pub users: bool,
    /// System calls.
    pub calls: Restrictions,
    /// Capabilities that are lost.
    pub lost: u64,
    /// What a process sets of itself.
    pub process: Own,
    /// SetCredential=: name and content.
    pub given: Vec<(String, Vec<u8>)>,
    /// ImportCredential=: patterns of names.
    pub imported: Vec<String>,
    /// LoadCredential=: name, and where from.
    pub loaded: Vec<(String, String)>,
}

impl Sandbox {
    /// Reads the settings of a service; `None`: nothing is asked for. Values that are none are told by `complain` and passed over.
    pub fn of(unit: &Unit, complain: &mut dyn FnMut(String)) -> Option<Box<Sandbox>> {
        let s = &unit.settings;
        let yes = |key: &str| s.bool(SECTION, key, false);
        let (home, hide) = (home(s, complain), hide(s, complain));
        let propagation = propagation(s, complain);
        let mut found = Sandbox {
            system: system(s, complain),
            home,
            tmp: loose(s, "PrivateTmp", &["disconnected"], complain),
            devices: yes("PrivateDevices"),
            tunables: yes("ProtectKernelTunables"),
            modules: yes("ProtectKernelModules"),
            logs: yes("ProtectKernelLogs"),
            groups: loose(s, "ProtectControlGroups", &["strict", "private"], complain),
            hostname: loose(s, "ProtectHostname", &["private"], complain),
            hide,
            only_processes: s.text(SECTION, "ProcSubset") == Some("pid"),
            access: access(s, complain),
            binds: binds(s, complain),
            empty: empty(s, complain),
            mounts: loose(s, "PrivateMounts", &[], complain),
            propagation,
            root: s.text(SECTION, "RootDirectory").and_then(|text| place(text, "RootDirectory", complain)).filter(|place| place.path != "/"),
            api: loose(s, "MountAPIVFS", &[], complain),
            private: Vec::new(),
            own: Vec::new(),
            network: yes("PrivateNetwork"),
            network_path: s.text(SECTION, "NetworkNamespacePath").map(str::to_owned),
            ipc: yes("PrivateIPC"),
            ipc_path: s.text(SECTION, "IPCNamespacePath").map(str::to_owned),
            users: loose(s, "PrivateUsers", &["self", "identity", "full"], complain),
            calls: calls::of(s, complain),
            lost: 0,
            process: Own::of(s, complain),
            given: given(s, complain),
            imported: s.of(SECTION, "ImportCredential").map(|setting| setting.text().to_owned()).filter(|text| !text.contains('/')).collect(),
            loaded: loaded(s, complain),
        };
        let dynamic = yes("DynamicUser");
        if dynamic {
            // what such a user makes would be another's some day
            found.system = System::Strict;
            found.home = if found.home == Home::No { Home::ReadOnly } else { found.home };
            found.tmp = true;
            found.calls.set_id = true;
        }
        found.lost = lost(&found, yes("ProtectClock"));
        if found == Sandbox::default() {
            return None;
        }
        let preserves = s.text(SECTION, "RuntimeDirectoryPreserve").is_some_and(|text| boolean(text) != Ok(false));
        for (number, kind) in PLACES.iter().enumerate() {
            let is_private = dynamic && may_be_private(number, preserves);
            let names = s.words(SECTION, kind.key).map(|word| word.split(':').next().unwrap_or_default());
            let names: Vec<&str> = names.filter(|name| !name.is_empty() && !name.contains("..")).collect();
            let top = if is_private { format!("{}/private", kind.top) } else { kind.top.to_owned() };
            found.own.extend(names.iter().map(|name| format!("{top}/{name}")));
            if is_private && !names.is_empty() {
                found.private.push(PRIVATE[number]);
            }
        }
        Some(Box::new(found))
    }

    /// Whether it takes a mount namespace.
    pub fn needs_mounts(&self) -> bool {
        let plain = [self.tmp, self.devices, self.tunables, self.modules, self.logs, self.groups, self.only_processes, self.mounts, self.api];
        self.system != System::No
            || self.home != Home::No
            || plain.contains(&true)
            || self.hide.is_some()
            || self.propagation.is_some()
            || self.root.is_some()
            || !(self.access.is_empty() && self.binds.is_empty() && self.empty.is_empty())
    }

    /// Whether the program would be another, or see other files, without: then it is not started.
    pub fn insists_on_mounts(&self) -> bool {
        self.root.is_some() || !self.empty.is_empty() || self.binds.iter().any(|bind| bind.source.path != bind.target)
    }
}

/// Capabilities by number (capabilities(7)).
fn lost(of: &Sandbox, clock: bool) -> u64 {
    let sets = [
        (of.modules, 1 << 16),           // SYS_MODULE
        (of.logs, 1 << 34),              // SYSLOG
        (clock, 1 << 25 | 1 << 35),      // SYS_TIME, WAKE_ALARM
        (of.devices, 1 << 27 | 1 << 17), // MKNOD, SYS_RAWIO
    ];
    sets.iter().filter(|(asked, _)| *asked).fold(0, |all, (_, set)| all | set)
}

/// A boolean that knows other words, too.
fn loose(s: &Settings, key: &str, words: &[&str], complain: &mut dyn FnMut(String)) -> bool {
    let Some(value) = s.last(SECTION, key) else { return false };
    let text = match value {
        Value::Bool(value) => return *value,
        Value::Text(text) => text.as_str(),
        _ => return false,
    };
    match boolean(text) {
        Ok(value) => value,
        Err(_) if words.contains(&text.split(':').next().unwrap_or_default()) => true,
        Err(_) => {
            complain(format!("{key}={text}: it is neither yes nor no, ignoring"));
            false
        }
    }
}

fn none_of(key: &str, text: &str, complain: &mut dyn FnMut(String)) {
    complain(format!("{key}={text}: there is no such value, ignoring"));
}

fn system(s: &Settings, complain: &mut dyn FnMut(String)) -> System {
    match s.text(SECTION, "ProtectSystem") {
        None => System::No,
        Some("full") => System::Full,
        Some("strict") => System::Strict,
        Some(text) => match boolean(text) {
            Ok(true) => System::Yes,
            Ok(false) => System::No,
            Err(_) => {
                none_of("ProtectSystem", text, complain);
                System::No
            }
        },
    }
}

fn home(s: &Settings, complain: &mut dyn FnMut(String)) -> Home {
    match s.text(SECTION, "ProtectHome") {
        None => Home::No,
        Some("read-only") => Home::ReadOnly,
        Some("tmpfs") => Home::Empty,
        Some(text) => match boolean(text) {
            Ok(true) => Home::Hidden,
            Ok(false) => Home::No,
            Err(_) => {
                none_of("ProtectHome", text, complain);
                Home::No
            }
        },
    }
}

fn hide(s: &Settings, complain: &mut dyn FnMut(String)) -> Option<&'static str> {
    match s.text(SECTION, "ProtectProc")? {
        "default" => None,
        "noaccess" => Some("noaccess"),
        "invisible" => Some("invisible"),
        "ptraceable" => Some("ptraceable"),
        text => {
            none_of("ProtectProc", text, complain);
            None
        }
    }
}

fn propagation(s: &Settings, complain: &mut dyn FnMut(String)) -> Option<&'static str> {
    match s.text(SECTION, "MountFlags")? {
        "shared" => Some("shared"),
        "slave" => Some("slave"),
        "private" => Some("private"),
        text => {
            none_of("MountFlags", text, complain);
            None
        }
    }
}

/// `-` and `+` may stand before a path: it may be missing; it is below the root directory, which all of them are here.
fn place(word: &str, key: &str, complain: &mut dyn FnMut(String)) -> Option<Place> {
    let (optional, rest) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
    let path = rest.strip_prefix('+').unwrap_or(rest);
    match simple(path) {
        Some(path) => Some(Place { path, optional }),
        None => {
            complain(format!("{key}=: {word:?} is no absolute path, ignoring"));
            None
        }
    }
}

/// A path without needless parts; `None`: it is not absolute, or goes up.
fn simple(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.contains(&"..")).then(|| format!("/{}", parts.join("/")))
}

fn list<'s>(s: &'s Settings, key: &'s str) -> impl Iterator<Item = String> + 's {
    s.of(SECTION, key)
        .flat_map(|setting| if let Value::Text(text) = &setting.value { words(text, WordRules::UNIT).unwrap_or_default() } else { Vec::new() })
}

fn access(s: &Settings, complain: &mut dyn FnMut(String)) -> Vec<(Access, Place)> {
    let kinds = [
        ("InaccessiblePaths", Access::None),
        ("ReadOnlyPaths", Access::Read),
        ("ReadWritePaths", Access::Write),
        ("NoExecPaths", Access::NoExec),
        ("ExecPaths", Access::Exec),
    ];
    let mut found = Vec::new();
    for (key, access) in kinds {
        found.extend(list(s, key).filter_map(|word| place(&word, key, complain)).map(|place| (access, place)));
    }
    found
}

fn binds(s: &Settings, complain: &mut dyn FnMut(String)) -> Vec<Bind> {
    let mut found = Vec::new();
    for (key, read_only) in [("BindPaths", false), ("BindReadOnlyPaths", true)] {
        for word in list(s, key) {
            let mut parts = word.split(':');
            let Some(source) = place(parts.next().unwrap_or_default(), key, complain) else { continue };
            let target = parts.next().filter(|text| !text.is_empty()).map_or_else(|| Some(source.path.clone()), simple);
            let recursive = match parts.next() {
                None | Some("" | "rbind") => Some(true),
                Some("norbind") => Some(false),
                Some(_) => None,
            };
            match (target, recursive) {
                (Some(target), Some(recursive)) => found.push(Bind { source, target, recursive, read_only }),
                _ => complain(format!("{key}=: {word:?} is no SOURCE[:TARGET[:rbind|norbind]], ignoring")),
            }
        }
    }
    found
}

fn empty(s: &Settings, complain: &mut dyn FnMut(String)) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for word in list(s, "TemporaryFileSystem") {
        let (path, options) = word.split_once(':').unwrap_or((&word, ""));
        if let Some(place) = place(path, "TemporaryFileSystem", complain) {
            found.push((place.path, options.to_owned()));
        }
    }
    found
}

/// A name of a credential: of a file, not longer than one may be.
fn is_credential(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name != "." && name != ".." && !name.contains(['/', ':'])
}

fn given(s: &Settings, complain: &mut dyn FnMut(String)) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for setting in s.of(SECTION, "SetCredential") {
        let Value::Text(text) = &setting.value else { continue };
        match text.split_once(':').and_then(|(name, rest)| Some((name, hostel_unit::unescape_bytes(rest).ok()?))) {
            Some((name, content)) if is_credential(name) => found.push((name.to_owned(), content)),
            _ => complain(format!("SetCredential=: {text:?} is no NAME:CONTENT, ignoring")),
        }
    }
    found
}

fn loaded(s: &Settings, complain: &mut dyn FnMut(String)) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for setting in s.of(SECTION, "LoadCredential") {
        let Value::Text(text) = &setting.value else { continue };
        let (name, from) = text.split_once(':').unwrap_or((text, text));
        let from_is_good = from.starts_with('/') || is_credential(from);
        if is_credential(name) && from_is_good {
            found.push((name.to_owned(), from.to_owned()));
        } else {
            complain(format!("LoadCredential=: {text:?} is no NAME[:PATH], ignoring"));
        }
    }
    found
}
