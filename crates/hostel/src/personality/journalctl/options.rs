//! Options of journalctl: one row each, before and after the matches, as glibc's getopt_long folds them.

use std::ffi::OsString;
use std::path::PathBuf;

use hostel_init::journal::voice::{FACILITIES, facility, level};

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is obeyed.
    Built,
    /// It is obeyed, and differs in this.
    Differs(&'static str),
    /// It is taken without effect, and why.
    Always(&'static str),
    /// It is refused, and why.
    Refused(&'static str),
}

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Value,
    /// Only glued to it; `-b` and `-n` also take the next word when it is one.
    Perhaps,
}

/// One option.
pub(crate) struct Row {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) takes: Takes,
    /// Name of its value.
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
    pub(crate) state: State,
}

const fn row(short: &'static str, long: &'static str, takes: Takes, value: &'static str, state: State, help: &'static str) -> Row {
    let short = if short.is_empty() { None } else { Some(short.as_bytes()[0] as char) };
    Row { short, long, takes, value, help, state }
}

use State::{Always, Built, Differs, Refused};
use Takes::{Nothing, Perhaps, Value};

const USERS: &str = "user managers are not implemented yet";
const SEALS: &str = "files of hostel's log are not sealed";
const CATALOGUE: &str = "there is no catalogue of explanations here";
const KEPT: &str = "the store is written at once, and where it stays";

/// Every option, in help order.
#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    row("", "system", Nothing, "", Always("there are no other logs"), "The log of the system"),
    row("", "user", Nothing, "", Refused(USERS), "The log of this user"),
    row("M", "machine", Value, "NAME", Built, "The log of a machine"),
    row("m", "merge", Nothing, "", Always("there is one log"), "All logs"),
    row("D", "directory", Value, "PATH", Built, "Files of hostel's log in this directory"),
    row("", "file", Value, "PATH", Refused("files belong together here; --directory= names where they are"), "One file"),
    row("", "root", Value, "PATH", Built, "The log of the tree at PATH"),
    row("", "image", Value, "PATH", Refused("not implemented yet; mount it, and use --root="), "The log in a disk image"),
    row("", "namespace", Value, "NAME", Refused("LogNamespace= is not implemented yet"), "The log of a namespace"),
    row("S", "since", Value, "DATE", Built, "Entries from then on"),
    row("U", "until", Value, "DATE", Built, "Entries up to then"),
    row("c", "cursor", Value, "CURSOR", Built, "Entries from this one on"),
    row("", "after-cursor", Value, "CURSOR", Built, "Entries after this one"),
    row("", "cursor-file", Value, "FILE", Built, "The same, of a file that is updated"),
    row("b", "boot", Perhaps, "ID", Built, "Entries of this boot, or of another"),
    row("u", "unit", Value, "UNIT", Differs("a pattern that fits no unit gives no entries; there it is an error"), "Entries of, and about, units"),
    row("", "user-unit", Value, "UNIT", Refused(USERS), "Entries of units of users"),
    row("t", "identifier", Value, "NAME", Built, "Entries of programs of this name"),
    row("p", "priority", Value, "LEVEL|FROM..TO", Built, "Entries that are so important"),
    row("", "facility", Value, "FACILITY,...", Built, "Entries of these facilities"),
    row("g", "grep", Value, "PATTERN", Differs("a small part of PCRE2: . [ ] \\d \\w \\s \\b ^ $ ( ) | * + ? {n,m}; the rest is refused"), "Entries with this in their message"),
    row("", "case-sensitive", Perhaps, "BOOL", Built, "Whether case counts in --grep="),
    row("k", "dmesg", Nothing, "", Differs("a machine has no kernel log of its own: there are no such entries"), "Entries of the kernel"),
    row("o", "output", Value, "FORM", Differs("zones other than UTC are shown as their offset, not by name"), "How entries are shown"),
    row("", "output-fields", Value, "NAME,...", Built, "Show these fields only (verbose, export, json, cat)"),
    row("n", "lines", Perhaps, "N|all", Built, "The last entries only"),
    row("r", "reverse", Nothing, "", Built, "The newest first"),
    row("", "show-cursor", Nothing, "", Built, "Show where the last entry is"),
    row("", "utc", Nothing, "", Built, "Times in UTC"),
    row("x", "catalog", Nothing, "", Always(CATALOGUE), "Explanations"),
    row("", "no-hostname", Nothing, "", Built, "Without the name of the machine"),
    row("l", "full", Nothing, "", Built, "Do not shorten"),
    row("", "no-full", Nothing, "", Built, "Shorten lines to the terminal"),
    row("a", "all", Nothing, "", Built, "All fields, whatever is in them"),
    row("f", "follow", Nothing, "", Built, "Go on as entries come"),
    row("", "no-tail", Nothing, "", Built, "All entries even with --follow"),
    row("q", "quiet", Nothing, "", Built, "No words besides entries"),
    row("", "no-pager", Nothing, "", Always("there is no pager"), "No pager"),
    row("e", "pager-end", Nothing, "", Differs("no pager: the last 1000 entries"), "The end of the log"),
    row("h", "help", Nothing, "", Built, "This help"),
    row("", "version", Nothing, "", Built, "The version"),
    row("N", "fields", Nothing, "", Built, "Names of all fields"),
    row("F", "field", Value, "NAME", Built, "All values of a field"),
    row("", "list-boots", Nothing, "", Built, "Boots, with their first and last entry"),
    row("", "disk-usage", Nothing, "", Built, "How much the log takes"),
    row("", "vacuum-size", Value, "BYTES", Built, "Remove old files until no more is used"),
    row("", "vacuum-files", Value, "N", Built, "Remove old files but so many"),
    row("", "vacuum-time", Value, "TIME", Built, "Remove files that are older"),
    row("", "rotate", Nothing, "", Built, "Begin a new file"),
    row("", "sync", Nothing, "", Differs(KEPT), "Wait until all that was sent is kept"),
    row("", "flush", Nothing, "", Always(KEPT), "Move the log to /var"),
    row("", "relinquish-var", Nothing, "", Refused(KEPT), "Move the log to /run"),
    row("", "smart-relinquish-var", Nothing, "", Always(KEPT), "The same, where that makes sense"),
    row("", "verify", Nothing, "", Differs("checks every record's checksum"), "Check the files"),
    row("", "header", Nothing, "", Refused("files of hostel's log have no header worth showing"), "Headers of files"),
    row("", "list-catalog", Nothing, "", Refused(CATALOGUE), "Explanations"),
    row("", "dump-catalog", Nothing, "", Refused(CATALOGUE), "Explanations"),
    row("", "update-catalog", Nothing, "", Refused(CATALOGUE), "Explanations"),
    row("", "setup-keys", Nothing, "", Refused(SEALS), "Make keys"),
    row("", "interval", Value, "TIME", Refused(SEALS), "How often keys change"),
    row("", "verify-key", Value, "KEY", Refused(SEALS), "The key"),
    row("", "force", Nothing, "", Refused(SEALS), "Make other keys"),
];

/// How entries are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    #[default]
    Short,
    ShortFull,
    ShortIso,
    ShortIsoPrecise,
    ShortPrecise,
    ShortMonotonic,
    ShortDelta,
    ShortUnix,
    Verbose,
    Export,
    Json,
    JsonPretty,
    JsonSse,
    JsonSeq,
    Cat,
    WithUnit,
}

/// Names of forms.
#[rustfmt::skip]
pub(crate) const FORMS: [(&str, Form); 16] = [
    ("short", Form::Short), ("short-full", Form::ShortFull), ("short-iso", Form::ShortIso), ("short-iso-precise", Form::ShortIsoPrecise),
    ("short-precise", Form::ShortPrecise), ("short-monotonic", Form::ShortMonotonic), ("short-delta", Form::ShortDelta),
    ("short-unix", Form::ShortUnix), ("verbose", Form::Verbose), ("export", Form::Export), ("json", Form::Json),
    ("json-pretty", Form::JsonPretty), ("json-sse", Form::JsonSse), ("json-seq", Form::JsonSeq), ("cat", Form::Cat), ("with-unit", Form::WithUnit),
];

/// A boot that is meant: an id, and how many before or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Boot {
    pub(crate) id: Option<[u8; 16]>,
    pub(crate) offset: i64,
}

impl Boot {
    /// `ID`, `N`, `ID±N`, `all` is `None`.
    fn parse(text: &str) -> Result<Option<Boot>, ()> {
        if text == "all" {
            return Ok(None);
        }
        let number = |text: &str| text.strip_prefix('+').unwrap_or(text).parse::<i64>().map_err(|_| ());
        match text.split_at_checked(32) {
            Some((id, rest)) if id.bytes().all(|b| b.is_ascii_hexdigit()) => {
                let offset = if rest.is_empty() { 0 } else { number(rest)? };
                Ok(Some(Boot { id: Some(hostel_init::journal::store::id(id)), offset }))
            }
            _ => Ok(Some(Boot { id: None, offset: if text.is_empty() { 0 } else { number(text)? } })),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Action {
    #[default]
    Show,
    Boots,
    Names,
    Values(String),
    Usage,
    Vacuum,
    Rotate,
    Sync,
    Nothing,
    Verify,
    Help,
    Version,
    Forms,
    Facilities,
}

/// Options as given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) action: Action,
    pub(crate) rotate: bool,
    pub(crate) machine: Option<OsString>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) root: Option<PathBuf>,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) cursor: Option<String>,
    pub(crate) after_cursor: Option<String>,
    pub(crate) cursor_file: Option<PathBuf>,
    pub(crate) boot: Option<Boot>,
    pub(crate) units: Vec<String>,
    pub(crate) identifiers: Vec<String>,
    /// A bit for each level; 0: all.
    pub(crate) priorities: u8,
    /// The same of facilities.
    pub(crate) facilities: u32,
    pub(crate) grep: Option<String>,
    pub(crate) case: Option<bool>,
    pub(crate) dmesg: bool,
    pub(crate) form: Form,
    pub(crate) fields: Vec<String>,
    /// How many; the inner `None`: all.
    pub(crate) lines: Option<Option<usize>>,
    pub(crate) reverse: bool,
    pub(crate) show_cursor: bool,
    pub(crate) utc: bool,
    pub(crate) catalog: bool,
    pub(crate) no_hostname: bool,
    pub(crate) shorten: bool,
    pub(crate) all: bool,
    pub(crate) follow: bool,
    pub(crate) no_tail: bool,
    pub(crate) quiet: bool,
    pub(crate) end: bool,
    pub(crate) vacuum_size: Option<u64>,
    pub(crate) vacuum_files: Option<u64>,
    /// Microseconds.
    pub(crate) vacuum_time: Option<u64>,
    /// FIELD=VALUE and `+`.
    pub(crate) matches: Vec<String>,
}

impl Options {
    /// How many entries, if not all.
    pub(crate) fn count(&self) -> Option<usize> {
        match self.lines {
            Some(lines) => lines,
            None if self.end => Some(1000),
            None if self.follow && !self.no_tail => Some(10),
            None => None,
        }
    }
}

pub(crate) fn parse(args: &[OsString]) -> Result<Options, String> {
    let mut options = Options::default();
    let args: Vec<&str> = args.iter().map(|arg| arg.to_str().ok_or_else(|| format!("{arg:?} is not UTF-8"))).collect::<Result<_, _>>()?;
    let mut rest = args.into_iter().peekable();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            options.matches.extend(rest.by_ref().map(str::to_owned));
        } else if let Some(long) = arg.strip_prefix("--") {
            let (name, given) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let row = long_row(name)?;
            let value = match (row.takes, given) {
                (Takes::Nothing, Some(_)) => return Err(format!("journalctl: option '--{}' doesn't allow an argument", row.long)),
                (Takes::Value, None) => Some(rest.next().ok_or_else(|| format!("journalctl: option '--{}' requires an argument", row.long))?),
                (Takes::Perhaps, None) => rest.next_if(|word| is_value(row, word)),
                (_, given) => given,
            };
            apply(&mut options, row, value)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            let mut letters = &arg[1..];
            while let Some(letter) = letters.chars().next() {
                letters = &letters[letter.len_utf8()..];
                let row = ROWS.iter().find(|row| row.short == Some(letter)).ok_or_else(|| format!("journalctl: invalid option -- '{letter}'"))?;
                let value = match (row.takes, letters) {
                    (Takes::Nothing, _) => None,
                    (Takes::Value, "") => Some(rest.next().ok_or_else(|| format!("journalctl: option requires an argument -- '{letter}'"))?),
                    (Takes::Perhaps, "") => rest.next_if(|word| is_value(row, word)),
                    (_, glued) => {
                        letters = "";
                        Some(glued)
                    }
                };
                apply(&mut options, row, value)?;
            }
        } else {
            options.matches.push(arg.to_owned());
        }
    }
    check(&options)?;
    Ok(options)
}

/// Whether the next word is the value that may be left out.
fn is_value(row: &Row, word: &str) -> bool {
    match row.long {
        "boot" => !word.is_empty() && Boot::parse(word).is_ok(),
        "lines" => word == "all" || word.parse::<usize>().is_ok(),
        _ => false,
    }
}

fn check(options: &Options) -> Result<(), String> {
    let sources = [options.machine.is_some(), options.directory.is_some(), options.root.is_some()];
    if sources.iter().filter(|given| **given).count() > 1 {
        return Err("Please specify at most one of --directory=, --root=, --machine=.".to_owned());
    }
    if [options.cursor.is_some(), options.after_cursor.is_some(), options.since.is_some()].iter().filter(|given| **given).count() > 1 {
        return Err("Please specify only one of --since=, --cursor=, and --after-cursor=.".to_owned());
    }
    if options.follow && options.reverse {
        return Err("Please specify either --reverse or --follow, not both.".to_owned());
    }
    if options.action != Action::Show
        && options.action != Action::Boots
        && !options.matches.is_empty()
        && !matches!(options.action, Action::Help | Action::Version)
    {
        return Err("Extraneous arguments starting with '".to_owned() + options.matches.first().map_or("", String::as_str) + "'");
    }
    Ok(())
}

/// By its name, or the beginning of one only.
fn long_row(name: &str) -> Result<&'static Row, String> {
    if let Some(row) = ROWS.iter().find(|row| row.long == name) {
        return Ok(row);
    }
    let mut begun = ROWS.iter().filter(|row| row.long.starts_with(name));
    match (begun.next(), begun.next()) {
        (Some(row), None) => Ok(row),
        (Some(_), Some(_)) => Err(format!("journalctl: option '--{name}' is ambiguous")),
        _ => Err(format!("journalctl: unrecognized option '--{name}'")),
    }
}

fn apply(o: &mut Options, row: &Row, given: Option<&str>) -> Result<(), String> {
    if let State::Refused(why) = row.state {
        return Err(format!("--{} is not supported: {why}.", row.long));
    }
    let value = given.unwrap_or_default();
    let text = || Some(value.to_owned());
    let path = || Some(PathBuf::from(value));
    match row.long {
        "machine" => o.machine = Some(value.into()),
        "directory" => o.directory = path(),
        "root" => o.root = path(),
        "since" => o.since = text(),
        "until" => o.until = text(),
        "cursor" => o.cursor = text(),
        "after-cursor" => o.after_cursor = text(),
        "cursor-file" => o.cursor_file = path(),
        "boot" => o.boot = Boot::parse(value).map_err(|()| format!("Failed to parse boot descriptor '{value}'"))?,
        "unit" => o.units.push(value.to_owned()),
        "identifier" => o.identifiers.push(value.to_owned()),
        "priority" => o.priorities = priorities(value)?,
        "facility" if value == "help" => o.action = Action::Facilities,
        "facility" => {
            for word in value.split(',') {
                o.facilities |= 1 << facility(word).ok_or_else(|| format!("Bad --facility= argument \"{word}\"."))?;
            }
        }
        "grep" => o.grep = text(),
        "case-sensitive" => {
            o.case =
                Some(given.map_or(Ok(true), |value| hostel_unit::boolean(value).map_err(|_| format!("Bad --case-sensitive= argument \"{value}\"")))?);
        }
        "dmesg" => o.dmesg = true,
        "output" if value == "help" => o.action = Action::Forms,
        "output" => o.form = form(value).ok_or_else(|| format!("Unknown output format '{value}'."))?,
        "output-fields" => o.fields.extend(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned)),
        "lines" => {
            o.lines = Some(match value {
                "" => Some(10),
                "all" => None,
                number => Some(number.parse().map_err(|_| format!("Failed to parse lines '{number}'"))?),
            });
        }
        "reverse" => o.reverse = true,
        "show-cursor" => o.show_cursor = true,
        "utc" => o.utc = true,
        "catalog" => o.catalog = true,
        "no-hostname" => o.no_hostname = true,
        "full" => o.shorten = false,
        "no-full" => o.shorten = true,
        "all" => o.all = true,
        "follow" => o.follow = true,
        "no-tail" => o.no_tail = true,
        "quiet" => o.quiet = true,
        "pager-end" => o.end = true,
        other => return action(o, other, value),
    }
    Ok(())
}

fn action(o: &mut Options, name: &str, value: &str) -> Result<(), String> {
    o.action = match name {
        "help" => Action::Help,
        "version" => Action::Version,
        "fields" => Action::Names,
        "field" => Action::Values(value.to_owned()),
        "list-boots" => Action::Boots,
        "disk-usage" => Action::Usage,
        "verify" => Action::Verify,
        "rotate" => {
            o.rotate = true;
            // with --vacuum-…= both
            if o.action == Action::Vacuum { Action::Vacuum } else { Action::Rotate }
        }
        "sync" => Action::Sync,
        "flush" | "smart-relinquish-var" => Action::Nothing,
        "vacuum-size" => {
            o.vacuum_size = Some(hostel_unit::size(value).map_err(|_| format!("Failed to parse vacuum size: {value}"))?);
            Action::Vacuum
        }
        "vacuum-files" => {
            o.vacuum_files = Some(value.parse().map_err(|_| format!("Failed to parse vacuum files: {value}"))?);
            Action::Vacuum
        }
        "vacuum-time" => {
            o.vacuum_time = match hostel_unit::time_span(value, hostel_unit::TimeUnit::Seconds) {
                Ok(hostel_unit::Span::Micros(micros)) => Some(micros),
                Ok(hostel_unit::Span::Infinity) => Some(u64::MAX),
                Err(_) => return Err(format!("Failed to parse vacuum time: {value}")),
            };
            Action::Vacuum
        }
        // State::Always
        _ => return Ok(()),
    };
    Ok(())
}

pub(crate) fn form(word: &str) -> Option<Form> {
    FORMS.iter().find(|(name, _)| *name == word).map(|(_, form)| *form)
}

/// `LEVEL`: that and worse; `FROM..TO`: those between, either way round.
fn priorities(text: &str) -> Result<u8, String> {
    let one = |word: &str| level(word).ok_or_else(|| format!("Unknown log level {word}"));
    let (from, to) = match text.split_once("..") {
        Some((from, to)) => (one(from)?, one(to)?),
        None => (0, one(text)?),
    };
    Ok((from.min(to)..=from.max(to)).fold(0, |bits, level| bits | 1 << level))
}

/// Names of facilities, one a line.
pub(crate) fn facilities() -> String {
    let names: Vec<&str> = FACILITIES.into_iter().filter(|name| !name.is_empty()).collect();
    format!("Available facilities:\n{}\n", names.join("\n"))
}
