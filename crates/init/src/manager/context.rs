//! How a service's processes are to be: user, limits, streams, directories, variables (systemd.exec(5)).

use hostel_spec::{CapName, CapSet, Rlimit, RlimitName};
use hostel_unit::{TimeUnit, WordRules, size, time_span, words};

use super::devices::Asked;
use super::files::OpenFile;
use super::packets;
use super::sandbox::Sandbox;
use super::terminal::Terminal;
use crate::journal::voice::Voice;
use crate::load::{Settings, Unit};
use crate::value::Value;

/// Where a stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    /// /dev/null
    Null,
    /// The manager's log.
    Log,
    /// The terminal, or the console.
    Terminal,
    /// A file: its path, and whether it is emptied, appended to, or written over.
    File(String, FileMode),
    /// As the stream before it.
    Inherit,
    /// The connection, or the one socket that the service has.
    Socket,
}

/// How a file is opened for output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FileMode {
    Over,
    Append,
    Truncate,
}

/// One kind of directories of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its key.
    pub key: &'static str,
    /// Below which directory.
    pub top: &'static str,
    /// The variable that tells the service.
    pub variable: &'static str,
}

/// Every kind.
pub const PLACES: [Place; 5] = [
    Place { key: "RuntimeDirectory", top: "/run", variable: "RUNTIME_DIRECTORY" },
    Place { key: "StateDirectory", top: "/var/lib", variable: "STATE_DIRECTORY" },
    Place { key: "CacheDirectory", top: "/var/cache", variable: "CACHE_DIRECTORY" },
    Place { key: "LogsDirectory", top: "/var/log", variable: "LOGS_DIRECTORY" },
    Place { key: "ConfigurationDirectory", top: "/etc", variable: "CONFIGURATION_DIRECTORY" },
];

/// All of it.
#[derive(Debug, Clone)]
pub struct Context {
    /// DynamicUser=
    pub dynamic: bool,
    /// User=
    pub user: Option<String>,
    /// Group=
    pub group: Option<String>,
    /// SupplementaryGroups=
    pub groups: Vec<String>,
    /// WorkingDirectory=; `~` is the home.
    pub directory: Option<String>,
    /// That it is missing is no failure.
    pub directory_optional: bool,
    /// UMask=
    pub umask: u32,
    /// Nice=
    pub nice: Option<i32>,
    /// OOMScoreAdjust=
    pub oom: Option<i32>,
    /// Limit…=
    pub limits: Vec<Rlimit>,
    /// CPUAffinity=
    pub cpus: Option<Vec<u32>>,
    /// NoNewPrivileges=
    pub no_new_privileges: bool,
    /// CapabilityBoundingSet=
    pub bounding: CapSet,
    /// AmbientCapabilities=
    pub ambient: CapSet,
    /// IgnoreSIGPIPE=
    pub ignore_pipe: bool,
    /// Standard input, output and error.
    pub streams: [Stream; 3],
    /// TTYPath= and its like.
    pub terminal: Terminal,
    /// Output goes to the console, too.
    pub also_console: bool,
    /// Directories of each of [`PLACES`]: paths below its top, links to them, and their mode.
    pub directories: [(Vec<(String, Vec<String>)>, u32); 5],
    /// RuntimeDirectoryPreserve=
    pub preserve: Preserve,
    /// Environment=
    pub variables: Vec<String>,
    /// EnvironmentFile=, and whether it may be missing.
    pub files: Vec<(String, bool)>,
    /// PassEnvironment=
    pub pass: Vec<String>,
    /// UnsetEnvironment=
    pub unset: Vec<String>,
    /// How output becomes entries of the log.
    pub voice: Voice,
    /// NonBlocking=
    pub non_blocking: bool,
    /// OpenFile=
    pub open: Vec<OpenFile>,
    /// Delegate=, unless it is no.
    pub delegate: Option<String>,
    /// DelegateSubgroup=
    pub subgroup: Option<String>,
    /// PermissionsStartOnly=: User= and the like are of ExecStart= only.
    pub start_only: bool,
    /// ExecSearchPath=
    pub search: Vec<String>,
    /// SetLoginEnvironment=
    pub login: Option<bool>,
    /// DeviceAllow= and its like.
    pub devices: Option<Box<Asked>>,
    /// IPAddressAllow= and IPAddressDeny=
    pub packets: Vec<packets::Rule>,
    /// What it may see and do.
    pub sandbox: Option<Box<Sandbox>>,
}

/// RuntimeDirectoryPreserve=
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Preserve {
    No,
    Restart,
    Yes,
}

impl Context {
    /// Reads the settings of a service; values that are none are told by `complain` and passed over.
    pub fn of(unit: &Unit, complain: &mut dyn FnMut(String)) -> Context {
        let s = &unit.settings;
        let section = unit.name.kind().section().unwrap_or("Service");
        let text = |key: &str| s.text(section, key).map(str::to_owned);
        let list = |key: &str| s.words(section, key).map(str::to_owned).collect::<Vec<String>>();
        let directory = text("WorkingDirectory");
        let mode = |key: &str, default| if let Some(Value::FileMode(mode)) = s.last(section, key) { *mode } else { default };
        let (streams, also_console) = streams(s, section);
        let sandbox = Sandbox::of(unit, complain);
        let lost = sandbox.as_ref().map_or(0, |sandbox| sandbox.lost);
        let dynamic = s.bool(section, "DynamicUser", false);
        let is_service = section == "Service";
        Context {
            dynamic,
            user: text("User").filter(|u| !u.is_empty()),
            group: text("Group").filter(|g| !g.is_empty()),
            groups: list("SupplementaryGroups"),
            directory_optional: directory.as_deref().is_some_and(|d| d.starts_with('-')),
            directory: directory.map(|d| d.trim_start_matches('-').to_owned()),
            umask: mode("UMask", 0o022),
            nice: integer(s, section, "Nice", complain),
            oom: integer(s, section, "OOMScoreAdjust", complain),
            limits: limits(s, section, complain),
            cpus: text("CPUAffinity").and_then(|t| hostel_unit::cpu_list(&t).ok()),
            no_new_privileges: dynamic || s.bool(section, "NoNewPrivileges", false),
            bounding: CapSet(capabilities(s, section, "CapabilityBoundingSet", CapSet(u64::MAX), complain).0 & !lost),
            ambient: capabilities(s, section, "AmbientCapabilities", CapSet(0), complain),
            ignore_pipe: s.bool(section, "IgnoreSIGPIPE", true),
            streams,
            terminal: Terminal::of(s, section, complain),
            also_console,
            directories: PLACES.map(|place| {
                let entries = s.words(section, place.key).filter_map(|word| entry(word, complain)).collect();
                (entries, mode(&format!("{}Mode", place.key), 0o755))
            }),
            preserve: match s.text(section, "RuntimeDirectoryPreserve") {
                Some("restart") => Preserve::Restart,
                Some(word) if hostel_unit::boolean(word) == Ok(true) => Preserve::Yes,
                _ => Preserve::No,
            },
            variables: list("Environment"),
            files: s.of(section, "EnvironmentFile").filter_map(|s| if let Value::Text(t) = &s.value { Some(optional(t)) } else { None }).collect(),
            pass: list("PassEnvironment"),
            unset: list("UnsetEnvironment"),
            voice: Voice::of(s, section, complain),
            non_blocking: s.bool(section, "NonBlocking", false),
            open: s
                .of(section, "OpenFile")
                .filter_map(|setting| {
                    let found = OpenFile::parse(setting.text());
                    if found.is_none() {
                        complain(format!("OpenFile={}: it is no PATH[:NAME[:OPTIONS]], ignoring", hostel_unit::printable(setting.text())));
                    }
                    found
                })
                .collect(),
            delegate: text("Delegate").filter(|text| hostel_unit::boolean(text) != Ok(false)),
            subgroup: text("DelegateSubgroup")
                .filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.') && !name.starts_with("cgroup.")),
            start_only: s.bool(section, "PermissionsStartOnly", false),
            search: text("ExecSearchPath").map(|t| t.split(':').filter(|p| p.starts_with('/')).map(str::to_owned).collect()).unwrap_or_default(),
            login: text("SetLoginEnvironment").and_then(|t| hostel_unit::boolean(&t).ok()),
            packets: if is_service { packets::rules(s, section, complain) } else { Vec::new() },
            devices: if is_service { Asked::of(s, section, sandbox.as_deref(), complain) } else { None },
            sandbox,
        }
    }
}

fn optional(path: &str) -> (String, bool) {
    path.strip_prefix('-').map_or_else(|| (path.to_owned(), false), |rest| (rest.to_owned(), true))
}

/// `NAME` or `NAME:LINK`, both below the top and without ways out of it.
fn entry(word: &str, complain: &mut dyn FnMut(String)) -> Option<(String, Vec<String>)> {
    let mut parts = word.split(':');
    let is_below = |part: &str| !part.is_empty() && !part.starts_with('/') && part.split('/').all(|p| !p.is_empty() && p != "." && p != "..");
    let name = parts.next().unwrap_or_default();
    if !is_below(name) {
        complain(format!("{word:?} is no directory below another"));
        return None;
    }
    Some((name.to_owned(), parts.filter(|link| is_below(link)).map(str::to_owned).collect()))
}

fn integer(s: &Settings, section: &str, key: &str, complain: &mut dyn FnMut(String)) -> Option<i32> {
    let text = s.text(section, key)?;
    let found = text.trim().parse().ok();
    if found.is_none() {
        complain(format!("{key}={text}: it is no number"));
    }
    found
}

fn streams(s: &Settings, section: &str) -> ([Stream; 3], bool) {
    let mut also_console = false;
    let mut of = |key: &str, default: Stream| match s.text(section, key) {
        None => default,
        Some("null") => Stream::Null,
        Some("inherit") => Stream::Inherit,
        Some("socket") => Stream::Socket,
        Some("tty" | "tty-force" | "tty-fail") => Stream::Terminal,
        Some(text) => match text.split_once(':') {
            Some(("file", path)) => Stream::File(path.to_owned(), FileMode::Over),
            Some(("append", path)) => Stream::File(path.to_owned(), FileMode::Append),
            Some(("truncate", path)) => Stream::File(path.to_owned(), FileMode::Truncate),
            _ => {
                also_console |= text.ends_with("+console");
                if key == "StandardInput" { Stream::Null } else { Stream::Log }
            }
        },
    };
    let input = of("StandardInput", Stream::Null);
    let usual = if matches!(input, Stream::Terminal | Stream::Socket) { Stream::Inherit } else { Stream::Log };
    let streams = [input, of("StandardOutput", usual), of("StandardError", Stream::Inherit)];
    (streams, also_console)
}

/// Open files of a service for which nothing is said: programs that use select(2) cannot have more, those that can ask for more may.
pub const FILES_USUAL: [u64; 2] = [1024, 524_288];

fn limits(s: &Settings, section: &str, complain: &mut dyn FnMut(String)) -> Vec<Rlimit> {
    let mut found = Vec::new();
    for (name, word) in RlimitName::ALL {
        let Some(Value::Rlimit(both)) = s.last(section, &format!("Limit{word}")) else { continue };
        let (soft, hard) = &**both;
        match (limit(name, soft), limit(name, hard)) {
            (Some(soft), Some(hard)) => found.push(Rlimit { name, soft, hard }),
            _ => complain(format!("Limit{word}={soft}:{hard}: it is no limit")),
        }
    }
    if !found.iter().any(|limit| limit.name == RlimitName::Nofile) {
        let [soft, hard] = FILES_USUAL.map(Some);
        found.push(Rlimit { name: RlimitName::Nofile, soft, hard });
    }
    found
}

/// One value, in the limit's own unit; the inner `None` is infinity.
fn limit(name: RlimitName, text: &str) -> Option<Option<u64>> {
    if text == "infinity" {
        return Some(None);
    }
    let span = |unit: TimeUnit, per: u64| match time_span(text, unit).ok()? {
        hostel_unit::Span::Micros(micros) => Some(Some(micros.div_ceil(per))),
        hostel_unit::Span::Infinity => Some(None),
    };
    match name {
        RlimitName::Cpu => span(TimeUnit::Seconds, 1_000_000),
        RlimitName::Rttime => span(TimeUnit::Micros, 1),
        // as a nice level with a sign, or as the kernel's 1…40
        RlimitName::Nice if text.starts_with(['+', '-']) => text.parse::<i64>().ok().and_then(|n| u64::try_from(20 - n).ok()).map(Some),
        _ => size(text).ok().map(Some),
    }
}

/// Names with `~` before those that are taken away; several assignments are taken together.
fn capabilities(s: &Settings, section: &str, key: &str, default: CapSet, complain: &mut dyn FnMut(String)) -> CapSet {
    let mut set: Option<u64> = None;
    for setting in s.of(section, key) {
        let Value::Text(text) = &setting.value else { continue };
        let (inverted, names) = text.strip_prefix('~').map_or((false, text.as_str()), |rest| (true, rest));
        let mut bits = 0u64;
        for word in words(names, WordRules::UNIT).unwrap_or_default() {
            match CapName::parse(&word) {
                Ok(CapName(number)) => bits |= 1u64.checked_shl(u32::from(number)).unwrap_or(0),
                Err(_) => complain(format!("{key}=: there is no capability {word:?}")),
            }
        }
        set = Some(match (set, inverted) {
            (None, false) => bits,
            (None, true) => !bits,
            (Some(old), false) => old | bits,
            (Some(old), true) => old & !bits,
        });
    }
    set.map_or(default, CapSet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn settings() {
        let tree = Tree::new("manager-context");
        tree.unit(
            "a.service",
            "[Service]\nExecStart=/bin/a\nUser=u\nGroup=g\nSupplementaryGroups=x y\nWorkingDirectory=-/srv\nUMask=0027\nNice=-5\nLimitNOFILE=10:20\n\
             LimitCPU=1min\nLimitNICE=-5\nRuntimeDirectory=a a/b:c ../x\nRuntimeDirectoryMode=0700\nStandardOutput=append:/x\nStandardError=null\n\
             CapabilityBoundingSet=~CAP_SYS_ADMIN CAP_KILL\nAmbientCapabilities=CAP_CHOWN\nEnvironment=A=1 'B=2 3'\nEnvironmentFile=-/e\nEnvironmentFile=/f\n",
        );
        let unit = tree.load("a.service");
        assert!(unit.is_loaded(), "{:?}", unit.state);
        let mut said = Vec::new();
        let c = Context::of(&unit, &mut |text| said.push(text));
        assert_eq!(said, [r#""../x" is no directory below another"#]);
        assert_eq!((c.user.as_deref(), c.group.as_deref(), c.groups.len()), (Some("u"), Some("g"), 2));
        assert_eq!((c.directory.as_deref(), c.directory_optional, c.umask, c.nice), (Some("/srv"), true, 0o027, Some(-5)));
        let limit = |name| c.limits.iter().find(|l| l.name == name).map(|l| (l.soft, l.hard));
        assert_eq!(limit(RlimitName::Nofile), Some((Some(10), Some(20))));
        assert_eq!(limit(RlimitName::Cpu), Some((Some(60), Some(60))));
        assert_eq!(limit(RlimitName::Nice), Some((Some(25), Some(25))));
        assert_eq!(c.streams, [Stream::Null, Stream::File("/x".into(), FileMode::Append), Stream::Null]);
        let (runtime, mode) = &c.directories[0];
        assert_eq!((runtime.len(), *mode), (2, 0o700));
        assert_eq!(runtime[1], ("a/b".to_owned(), vec!["c".to_owned()]));
        assert_eq!(c.bounding.0 & (1 << 21 | 1 << 5 | 1), 1);
        assert_eq!(c.ambient.0, 1);
        assert_eq!(c.variables, ["A=1", "B=2 3"]);
        assert_eq!(c.files, [("/e".to_owned(), true), ("/f".to_owned(), false)]);
    }
}
