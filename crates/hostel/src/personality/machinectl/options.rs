//! machinectl's options: one row each, folded as glibc's getopt_long does, before and after the verb.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use hostel_spec::{OsText, Signal};

use crate::cli::kill::Target;

/// One option.
pub(crate) struct Row {
    pub(crate) id: Id,
    pub(crate) short: Option<u8>,
    /// The first is the one in the help.
    pub(crate) long: &'static [&'static str],
    /// Name of its value; `None`: it takes none.
    pub(crate) value: Option<&'static str>,
    pub(crate) help: &'static str,
    /// How it differs from the original's; empty: it does not.
    pub(crate) differs: &'static str,
}

/// Names an option independently of its spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Help,
    Version,
    NoPager,
    NoLegend,
    NoAskPassword,
    Host,
    Machine,
    System,
    User,
    Runner,
    Property,
    PropertyValue,
    Value,
    All,
    Full,
    Quiet,
    KillWhom,
    Signal,
    Uid,
    Setenv,
    ReadOnly,
    Mkdir,
    Lines,
    MaxAddresses,
    Output,
    Now,
    Verify,
    Force,
    Format,
}

const fn row(id: Id, short: &'static str, long: &'static [&'static str], value: Option<&'static str>, help: &'static str) -> Row {
    let short = if short.is_empty() { None } else { Some(short.as_bytes()[0]) };
    Row { id, short, long, value, help, differs: "" }
}

impl Row {
    const fn differs(mut self, how: &'static str) -> Row {
        self.differs = how;
        self
    }
}

/// Every option, in help order.
pub(crate) const ROWS: [Row; 29] = [
    row(Id::Help, "h", &["help"], None, "This help"),
    row(Id::Version, "", &["version"], None, "The version"),
    row(Id::NoPager, "", &["no-pager"], None, "No effect: there is no pager").differs("there is never a pager"),
    row(Id::NoLegend, "", &["no-legend"], None, "No headings and no counts"),
    row(Id::NoAskPassword, "", &["no-ask-password"], None, "No effect: no password is asked for"),
    row(Id::Host, "H", &["host"], Some("HOST"), "Refused: run `ssh HOST machinectl …`")
        .differs("refused: nothing listens on another host; `ssh HOST machinectl …` does it"),
    row(Id::Machine, "M", &["machine"], Some("NAME"), "Refused: run it in there with `machinectl shell`")
        .differs("refused: nothing listens in the machine; `machinectl shell NAME machinectl …` does it"),
    row(Id::System, "", &["system"], None, "Machines of the system (the only ones)"),
    row(Id::User, "", &["user"], None, "Refused: there are no machines of single users").differs("refused: not implemented yet"),
    row(Id::Runner, "", &["runner"], Some("RUNNER"), "What starts a machine: nspawn").differs("nspawn only: virtual machines are not for us"),
    row(Id::Property, "p", &["property"], Some("NAME"), "Only these properties"),
    row(Id::PropertyValue, "P", &[], Some("NAME"), "Same as --value --property=NAME"),
    row(Id::Value, "", &["value"], None, "Values without their names"),
    row(Id::All, "a", &["all"], None, "Empty properties too; machines whose names begin with a dot"),
    row(Id::Full, "l", &["full"], None, "Shorten nothing"),
    row(Id::Quiet, "q", &["quiet"], None, "Say less"),
    row(Id::KillWhom, "", &["kill-whom", "kill-who"], Some("WHOM"), "Who gets the signal: leader, supervisor, all"),
    row(Id::Signal, "s", &["signal"], Some("SIGNAL"), "Which signal"),
    row(Id::Uid, "", &["uid"], Some("USER"), "The shell's user"),
    row(Id::Setenv, "E", &["setenv"], Some("VAR[=VALUE]"), "A variable for the shell"),
    row(Id::ReadOnly, "", &["read-only"], None, "Bind: not to be written to"),
    row(Id::Mkdir, "", &["mkdir"], None, "Bind: make the path if it is missing"),
    row(Id::Lines, "n", &["lines"], Some("N"), "Lines of the console log that status shows"),
    row(Id::MaxAddresses, "", &["max-addresses"], Some("N"), "Addresses that list and status show, or all"),
    row(Id::Output, "o", &["output"], Some("MODE"), "short, json or json-pretty").differs("the journal's other modes are taken and mean short"),
    row(Id::Now, "", &["now"], None, "enable, disable: start or power off as well"),
    row(Id::Verify, "", &["verify"], Some("MODE"), "Check what is pulled: no, checksum, signature"),
    row(Id::Force, "", &["force"], None, "Replace what is there"),
    row(Id::Format, "", &["format"], Some("FORMAT"), "Compression of what is exported"),
];

/// How listings look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Output {
    #[default]
    Text,
    Json,
    JsonPretty,
}

/// The journal's names for its modes.
const OUTPUTS: [&str; 16] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-unix",
    "short-delta",
    "verbose",
    "export",
    "json",
    "json-pretty",
    "json-sse",
    "json-seq",
    "cat",
    "with-unit",
];

/// What was asked for besides the verb.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) no_legend: bool,
    pub(crate) properties: Vec<String>,
    pub(crate) value: bool,
    pub(crate) all: bool,
    pub(crate) full: bool,
    pub(crate) quiet: bool,
    pub(crate) whom: Option<Target>,
    pub(crate) signal: Option<Signal>,
    pub(crate) uid: Option<String>,
    pub(crate) env: Vec<OsText>,
    pub(crate) read_only: bool,
    pub(crate) mkdir: bool,
    pub(crate) lines: Option<usize>,
    /// `None`: as is usual for the verb; `Some(usize::MAX)`: all.
    pub(crate) max_addresses: Option<usize>,
    pub(crate) output: Output,
    pub(crate) now: bool,
    pub(crate) force: bool,
    /// Options that are handed on to the verbs about images, as typed.
    pub(crate) images: Vec<(Id, Option<String>)>,
}

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A verb (or none) and its words.
    Verb(Box<Options>, Vec<OsString>),
    Help,
    Version,
    /// Print this.
    Text(String),
}

/// Reads a command line without the program's name. The error is a sentence.
///
/// After `shell` and the machine's name nothing is read as an option: it is the command's.
pub(crate) fn parse(args: &[OsString]) -> Result<Asked, String> {
    let mut options = Options::default();
    let mut words: Vec<OsString> = Vec::new();
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            words.extend(rest.by_ref().cloned());
        } else if let Some(text) = bytes.strip_prefix(b"--") {
            let (name, joined) = match text.iter().position(|b| *b == b'=') {
                Some(at) => (&text[..at], Some(OsStr::from_bytes(&text[at + 1..]).to_owned())),
                None => (text, None),
            };
            let (row, full) = long(name)?;
            let value = match (row.value, joined) {
                (None, Some(_)) => return Err(format!("option '--{full}' doesn't allow an argument")),
                (Some(_), None) => Some(rest.next().cloned().ok_or_else(|| format!("option '--{full}' requires an argument"))?),
                (_, joined) => joined,
            };
            if let Some(asked) = options.take(row, value)? {
                return Ok(asked);
            }
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            let mut at = 1;
            while at < bytes.len() {
                let letter = bytes[at];
                at += 1;
                let shown = OsString::from_vec(vec![letter]).to_string_lossy().into_owned();
                let row = ROWS.iter().find(|r| r.short == Some(letter)).ok_or_else(|| format!("invalid option -- '{shown}'"))?;
                let value = match row.value {
                    None => None,
                    Some(_) if at < bytes.len() => Some(OsStr::from_bytes(&bytes[std::mem::replace(&mut at, bytes.len())..]).to_owned()),
                    Some(_) => Some(rest.next().cloned().ok_or_else(|| format!("option requires an argument -- '{shown}'"))?),
                };
                if let Some(asked) = options.take(row, value)? {
                    return Ok(asked);
                }
            }
        } else {
            words.push(word.clone());
            if words.len() == 2 && words[0] == "shell" {
                words.extend(rest.by_ref().cloned());
            }
        }
    }
    Ok(Asked::Verb(Box::new(options), words))
}

/// The row of a long name, or of a beginning of one that is no other's.
fn long(name: &[u8]) -> Result<(&'static Row, &'static str), String> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let all = || ROWS.iter().flat_map(|row| row.long.iter().map(move |long| (row, *long)));
    if let Some(exact) = all().find(|(_, long)| long.as_bytes() == name) {
        return Ok(exact);
    }
    let found: Vec<_> = all().filter(|(_, long)| long.as_bytes().starts_with(name)).collect();
    match &found[..] {
        [] => Err(format!("unrecognized option '--{shown}'")),
        [first, others @ ..] if others.iter().all(|(row, _)| row.id == first.0.id) => Ok(*first),
        _ => {
            let list: Vec<String> = found.iter().map(|(_, long)| format!("'--{long}'")).collect();
            Err(format!("option '--{shown}' is ambiguous; possibilities: {}", list.join(" ")))
        }
    }
}

impl Options {
    fn take(&mut self, row: &'static Row, value: Option<OsString>) -> Result<Option<Asked>, String> {
        if row.id == Id::Setenv {
            let value = value.unwrap_or_default();
            let variable = crate::cli::exec::variable(value.clone())
                .map_err(|_| format!("parse --setenv={}: that is no name of a variable", value.display()))?;
            self.env.extend(variable);
            return Ok(None);
        }
        let text = value.map(|v| v.into_string().map_err(|_| "an option's value is not UTF-8".to_owned())).transpose()?;
        let given = text.clone().unwrap_or_default();
        match row.id {
            Id::Help => return Ok(Some(Asked::Help)),
            Id::Version => return Ok(Some(Asked::Version)),
            Id::NoPager | Id::NoAskPassword | Id::System | Id::Setenv => {}
            Id::Host => return Err(format!("-H is not supported: run `ssh {given} machinectl …`")),
            Id::Machine => return Err(format!("-M is not supported: run `machinectl shell {given} machinectl …`")),
            Id::User => return Err("--user is not supported: there are no machines of single users yet".into()),
            Id::Runner if given == "nspawn" => {}
            Id::Runner => return Err(format!("--runner={given} is not supported: it is always nspawn")),
            Id::NoLegend => self.no_legend = true,
            Id::Property | Id::PropertyValue => {
                self.properties.extend(given.split(',').filter(|p| !p.is_empty()).map(str::to_owned));
                self.value |= row.id == Id::PropertyValue;
                // As the original: an empty property is shown when it was asked for.
                self.all = true;
            }
            Id::Value => self.value = true,
            Id::All => self.all = true,
            Id::Full => self.full = true,
            Id::Quiet => self.quiet = true,
            Id::KillWhom => {
                self.whom = Some(Target::parse(&given).ok_or_else(|| format!("parse --kill-whom={given}: it takes leader, supervisor or all"))?)
            }
            Id::Signal if matches!(given.as_str(), "help" | "list") => {
                return Ok(Some(Asked::Text(Signal::all().map(|s| format!("{:>2} {}\n", s.raw(), s.name())).collect())));
            }
            Id::Signal => self.signal = Some(Signal::parse(&given).map_err(|e| e.to_string())?),
            Id::Uid => self.uid = Some(given),
            Id::ReadOnly => {
                self.read_only = true;
                self.images.push((row.id, None));
            }
            Id::Mkdir => self.mkdir = true,
            Id::Lines => self.lines = Some(given.parse().map_err(|_| format!("parse --lines={given}: it takes a number"))?),
            Id::MaxAddresses if given == "all" => self.max_addresses = Some(usize::MAX),
            Id::MaxAddresses => {
                self.max_addresses = Some(given.parse().map_err(|_| format!("parse --max-addresses={given}: it takes a number or `all`"))?);
            }
            Id::Output if given == "help" => return Ok(Some(Asked::Text(OUTPUTS.map(|o| format!("{o}\n")).concat()))),
            Id::Output if !OUTPUTS.contains(&given.as_str()) => return Err(format!("parse --output={given}: there is no such output mode")),
            Id::Output => {
                self.output = match given.as_str() {
                    "json" | "json-sse" | "json-seq" => Output::Json,
                    "json-pretty" => Output::JsonPretty,
                    _ => Output::Text,
                }
            }
            Id::Now => self.now = true,
            Id::Force => {
                self.force = true;
                self.images.push((row.id, None));
            }
            Id::Verify | Id::Format => self.images.push((row.id, text)),
        }
        Ok(None)
    }
}

/// The long spelling of an option.
pub(crate) fn spelling(id: Id) -> &'static str {
    ROWS.iter().find(|row| row.id == id).and_then(|row| row.long.first()).copied().unwrap_or_default()
}
