//! Options of systemctl: one row each, before and after the verb, as glibc's getopt_long folds them.

use std::ffi::OsString;
use std::path::PathBuf;

/// Whose words and exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    V252,
    V262,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is obeyed.
    Built,
    /// It says what is the case anyway.
    Always,
    /// It is about verbs that need a manager, or more than hostel's can do, and taken without effect, as there by the others.
    Live,
    /// It is obeyed by verbs that talk to a manager, and taken without effect by the others, as there.
    Manager,
    /// It is refused, and why.
    Refused(&'static str),
    /// hostel's own.
    Own,
}

/// One option.
pub(crate) struct Row {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    /// Name of its value; `None`: it takes none.
    pub(crate) value: Option<&'static str>,
    pub(crate) help: &'static str,
    pub(crate) state: State,
}

const fn row(short: &'static str, long: &'static str, value: Option<&'static str>, state: State, help: &'static str) -> Row {
    let short = if short.is_empty() { None } else { Some(short.as_bytes()[0] as char) };
    Row { short, long, value, help, state }
}

const USERS: &str = "user managers are not implemented yet";
const ELSEWHERE: &str = "nothing listens there; `ssh HOST systemctl` does it";
const VALUE: Option<&str> = Some("VALUE");

/// Every option, in help order.
#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    row("h", "help", None, State::Built, "This help"),
    row("", "version", None, State::Built, "The version"),
    row("", "root", Some("PATH"), State::Built, "Unit files of the tree at PATH"),
    row("", "compat", Some("252|262|systemctl.py"), State::Own, "Words and exit statuses of this release, or tool"),
    row("", "system", None, State::Always, "Units of the system"),
    row("", "user", None, State::Refused(USERS), "Units of this user"),
    row("", "global", None, State::Built, "Units of all users"),
    row("", "runtime", None, State::Built, "Links that end with the boot"),
    row("f", "force", None, State::Built, "Replace links that lead elsewhere; end without stopping services"),
    row("q", "quiet", None, State::Built, "Say nothing of changes, and no state"),
    row("", "now", None, State::Manager, "Start or stop the units as well"),
    row("", "preset-mode", Some("full|enable-only|disable-only"), State::Built, "What presets may do"),
    row("t", "type", Some("TYPE,..."), State::Built, "List units of these types"),
    row("", "state", Some("STATE,..."), State::Built, "List units in these states"),
    row("", "failed", None, State::Manager, "List units that failed"),
    row("p", "property", Some("NAME,..."), State::Built, "Show these properties only"),
    row("P", "property-value", Some("NAME,..."), State::Built, "The same with --value; only as -P"),
    row("", "value", None, State::Built, "Show values without names"),
    row("a", "all", None, State::Built, "Show empty properties; expand all dependencies"),
    row("l", "full", None, State::Built, "Do not shorten; with edit: the whole file"),
    row("", "plain", None, State::Built, "A list instead of a tree"),
    row("", "reverse", None, State::Built, "Dependencies the other way round"),
    row("", "after", None, State::Built, "What units are ordered after"),
    row("", "before", None, State::Built, "What units are ordered before"),
    row("", "no-legend", None, State::Built, "No headings and no counts"),
    row("", "legend", Some("BOOL"), State::Built, "Whether there are headings"),
    row("", "no-pager", None, State::Always, "There is no pager"),
    row("", "no-warn", None, State::Built, "Do not say that there is nothing to enable"),
    row("", "stdin", None, State::Built, "edit: read standard input"),
    row("", "drop-in", Some("NAME"), State::Built, "edit: name of the drop-in"),
    row("", "json", None, State::Own, "list-*, show, why: as JSON"),
    row("", "dry-run", None, State::Built, "start: print the jobs only"),
    row("", "job-mode", Some("MODE"), State::Built, "start --dry-run: how jobs meet others"),
    row("", "fail", None, State::Built, "As --job-mode=fail"),
    row("", "no-reload", None, State::Manager, "Do not tell the manager to read files again"),
    row("", "no-block", None, State::Manager, "Do not wait"),
    row("", "wait", None, State::Manager, "Wait until what was started has ended; is-system-running: until it is up"),
    row("", "show-transaction", None, State::Live, "Show jobs"),
    row("T", "show-transaction-short", None, State::Live, "Show jobs; only as -T"),
    row("", "show-types", None, State::Manager, "Types of sockets"),
    row("", "no-wall", None, State::Live, "Tell nobody"),
    row("", "message", VALUE, State::Live, "What to tell"),
    row("", "no-ask-password", None, State::Always, "No password is asked for"),
    row("", "kill-whom", VALUE, State::Manager, "Which processes"),
    row("", "kill-who", VALUE, State::Manager, "Which processes"),
    row("s", "signal", VALUE, State::Manager, "Which signal"),
    row("", "kill-value", VALUE, State::Live, "With which value"),
    row("", "what", VALUE, State::Manager, "What to clean"),
    row("", "check-inhibitors", VALUE, State::Live, "Whether inhibitors count"),
    row("i", "ignore-inhibitors", None, State::Live, "Inhibitors do not count"),
    row("n", "lines", VALUE, State::Manager, "Lines of logs"),
    row("o", "output", VALUE, State::Manager, "Form of logs"),
    row("", "timestamp", VALUE, State::Live, "Form of times"),
    row("", "mkdir", None, State::Live, "Make directories"),
    row("", "read-only", None, State::Live, "Read-only"),
    row("", "when", Some("TIME|cancel|show"), State::Manager, "poweroff, reboot, halt: at which time"),
    row("", "marked", None, State::Live, "Units that are marked"),
    row("H", "host", VALUE, State::Refused(ELSEWHERE), "On another host"),
    row("M", "machine", Some("NAME"), State::Built, "Units of a machine that runs hostel init, or of a tree at rest"),
    row("", "image", VALUE, State::Refused("not implemented yet; mount it, and use --root="), "Unit files of a disk image"),
    row("C", "capsule", VALUE, State::Refused(USERS), "Of a capsule"),
];

/// What was asked for.
#[allow(clippy::large_enum_variant)] // one of it is made
pub(super) enum Asked {
    Verb(Options, Vec<String>),
    Help,
    Version,
    Text(String),
}

/// Options as given.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(super) root: Option<PathBuf>,
    pub(super) release: Release,
    pub(super) global: bool,
    pub(super) runtime: bool,
    pub(super) what: Vec<String>,
    pub(super) force: bool,
    pub(super) quiet: bool,
    pub(super) now: bool,
    pub(super) preset_mode: hostel_init::install::PresetMode,
    pub(super) types: Vec<String>,
    pub(super) states: Vec<String>,
    pub(super) properties: Vec<String>,
    pub(super) value: bool,
    pub(super) all: bool,
    pub(super) full: bool,
    pub(super) plain: bool,
    pub(super) reverse: bool,
    pub(super) after: bool,
    pub(super) before: bool,
    pub(super) legend: bool,
    pub(super) no_warn: bool,
    pub(super) stdin: bool,
    pub(super) drop_in: Option<String>,
    pub(super) dry_run: bool,
    pub(super) json: bool,
    pub(super) job_mode: hostel_init::transaction::JobMode,
    pub(super) no_block: bool,
    pub(super) wait: bool,
    pub(super) no_reload: bool,
    pub(super) signal: Option<String>,
    pub(super) whom: Option<String>,
    pub(super) lines: usize,
    /// As they were asked for.
    pub(super) lines_given: Option<usize>,
    /// How log lines are shown.
    pub(super) form: crate::personality::journalctl::options::Form,
    pub(super) show_types: bool,
    pub(super) when: Option<String>,
    pub(super) machine: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            root: None,
            release: Release::V252,
            global: false,
            runtime: false,
            what: Vec::new(),
            force: false,
            quiet: false,
            now: false,
            preset_mode: hostel_init::install::PresetMode::Full,
            types: Vec::new(),
            states: Vec::new(),
            properties: Vec::new(),
            value: false,
            all: false,
            full: false,
            plain: false,
            reverse: false,
            after: false,
            before: false,
            legend: true,
            no_warn: false,
            stdin: false,
            drop_in: None,
            dry_run: false,
            json: false,
            job_mode: hostel_init::transaction::JobMode::Replace,
            no_block: false,
            wait: false,
            no_reload: false,
            signal: None,
            whom: None,
            lines: 10,
            lines_given: None,
            form: crate::personality::journalctl::options::Form::Short,
            show_types: false,
            when: None,
            machine: None,
        }
    }
}

/// The first line is what scripts look at.
pub(super) fn version() -> String {
    crate::personality::version("systemctl")
}

pub(super) fn parse(args: &[OsString]) -> Result<Asked, String> {
    let mut options = Options::default();
    let mut words = Vec::new();
    let mut rest = args.iter().map(|arg| arg.to_str().ok_or_else(|| format!("{arg:?} is not UTF-8")));
    while let Some(arg) = rest.next() {
        let arg = arg?;
        if arg == "--" {
            for word in rest.by_ref() {
                words.push(word?.to_owned());
            }
        } else if let Some(long) = arg.strip_prefix("--") {
            let (name, given) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let row = long_row(name)?;
            let value = match (row.value, given) {
                (None, Some(_)) => return Err(format!("systemctl: option '--{}' doesn't allow an argument", row.long)),
                (Some(_), None) => Some(rest.next().ok_or_else(|| format!("systemctl: option '--{}' requires an argument", row.long))??),
                (_, given) => given,
            };
            if let Some(asked) = apply(&mut options, row, value.unwrap_or_default())? {
                return Ok(asked);
            }
        } else if arg.len() > 1 && arg.starts_with('-') {
            let mut letters = &arg[1..];
            while let Some(letter) = letters.chars().next() {
                letters = &letters[letter.len_utf8()..];
                let row = ROWS.iter().find(|row| row.short == Some(letter)).ok_or_else(|| format!("systemctl: invalid option -- '{letter}'"))?;
                let mut value = "";
                if row.value.is_some() {
                    value = match letters {
                        "" => rest.next().ok_or_else(|| format!("systemctl: option requires an argument -- '{letter}'"))??,
                        glued => glued,
                    };
                    letters = "";
                }
                if let Some(asked) = apply(&mut options, row, value)? {
                    return Ok(asked);
                }
            }
        } else {
            words.push(arg.to_owned());
        }
    }
    Ok(Asked::Verb(options, words))
}

/// By its name, or the beginning of one only.
fn long_row(name: &str) -> Result<&'static Row, String> {
    let named = ROWS.iter().filter(|row| !matches!(row.long, "property-value" | "show-transaction-short"));
    if let Some(row) = named.clone().find(|row| row.long == name) {
        return Ok(row);
    }
    let mut begun = named.filter(|row| row.long.starts_with(name));
    match (begun.next(), begun.next()) {
        (Some(row), None) => Ok(row),
        (Some(_), Some(_)) => Err(format!("systemctl: option '--{name}' is ambiguous")),
        _ => Err(format!("systemctl: unrecognized option '--{name}'")),
    }
}

fn apply(options: &mut Options, row: &Row, value: &str) -> Result<Option<Asked>, String> {
    let list = || value.split(',').filter(|part| !part.is_empty()).map(str::to_owned);
    if let State::Refused(why) = row.state {
        return Err(format!("--{} is not supported: {why}.", row.long));
    }
    match row.long {
        "help" => return Ok(Some(Asked::Help)),
        "version" => return Ok(Some(Asked::Version)),
        "root" => options.root = Some(root_path(value)?),
        "compat" => {
            options.release = match value {
                "252" => Release::V252,
                "262" => Release::V262,
                _ => return Err(format!("--compat={value}: it is none of 252, 262, systemctl.py.")),
            }
        }
        "global" => options.global = true,
        "system" => options.global = false,
        "runtime" => options.runtime = true,
        "what" => options.what.extend(list()),
        "force" => options.force = true,
        "quiet" => options.quiet = true,
        "now" => options.now = true,
        "preset-mode" => {
            use hostel_init::install::PresetMode::{DisableOnly, EnableOnly, Full};
            options.preset_mode = match value {
                "full" => Full,
                "enable-only" => EnableOnly,
                "disable-only" => DisableOnly,
                "help" => return Ok(Some(Asked::Text("full\nenable-only\ndisable-only\n".to_owned()))),
                _ => return Err(format!("Failed to parse preset mode: {value}.")),
            }
        }
        "type" => return take_types(options, list()),
        "state" => {
            if list().any(|word| word == "help") {
                return Ok(Some(Asked::Text(super::list::states_help())));
            }
            options.states.extend(list());
        }
        "property" => options.properties.extend(list()),
        "property-value" => {
            options.properties.extend(list());
            options.value = true;
        }
        "value" => options.value = true,
        "all" => options.all = true,
        "full" => options.full = true,
        "plain" => options.plain = true,
        "reverse" => options.reverse = true,
        "after" => options.after = true,
        "before" => options.before = true,
        "no-legend" => options.legend = false,
        "legend" => options.legend = hostel_unit::boolean(value).map_err(|_| format!("Failed to parse boolean argument to --legend=: {value}."))?,
        "no-warn" => options.no_warn = true,
        "stdin" => options.stdin = true,
        "drop-in" => options.drop_in = Some(value.to_owned()),
        "dry-run" => options.dry_run = true,
        "json" => options.json = true,
        "no-block" => options.no_block = true,
        "wait" => options.wait = true,
        "no-reload" => options.no_reload = true,
        "failed" => options.states.push("failed".to_owned()),
        "signal" => options.signal = Some(value.to_owned()),
        "kill-whom" | "kill-who" => options.whom = Some(value.to_owned()),
        "lines" => {
            options.lines = value.parse().map_err(|_| format!("Failed to parse lines '{value}'"))?;
            options.lines_given = Some(options.lines);
        }
        "output" => {
            options.form = crate::personality::journalctl::options::form(value).ok_or_else(|| format!("Unknown output '{value}'."))?;
        }
        "show-types" => options.show_types = true,
        "when" => options.when = Some(value.to_owned()),
        "machine" => drop(options.machine.get_or_insert_with(|| value.to_owned())),
        "fail" => options.job_mode = hostel_init::transaction::JobMode::Fail,
        "job-mode" => {
            options.job_mode = hostel_init::transaction::JobMode::parse(value).ok_or_else(|| format!("Job mode {value} not valid."))?;
        }
        // State::Live and State::Always
        _ => {}
    }
    Ok(None)
}

fn take_types(options: &mut Options, list: impl Iterator<Item = String>) -> Result<Option<Asked>, String> {
    for word in list {
        if word == "help" {
            return Ok(Some(Asked::Text(super::list::types_help())));
        }
        if hostel_unit::Kind::of_suffix(&word).is_some() {
            options.types.push(word);
        } else if super::list::LOAD_STATES.contains(&word.as_str()) {
            options.states.push(word);
        } else {
            return Err(format!("Unknown unit type or load state '{word}'.\nUse -t help to see a list of allowed values."));
        }
    }
    Ok(None)
}

/// Absolute, without `.` and doubled slashes; `..` stays for the kernel.
fn root_path(value: &str) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("--root= needs a directory.".to_owned());
    }
    let absolute = std::path::absolute(value).map_err(|e| format!("--root={value}: {e}"))?;
    Ok(absolute.components().collect())
}
