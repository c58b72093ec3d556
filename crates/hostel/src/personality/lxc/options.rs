//! Options of the tools: a row each, those that all have besides; read as getopt_long(3) does, before and after other words.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use hostel_container::{Container, Error, global_item};

use super::{Tool, failure};
use crate::output;

/// An option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    short: Option<char>,
    pub(crate) long: &'static str,
    /// Name of its value; empty: it takes none; in brackets: it may.
    value: &'static str,
    help: &'static str,
}

pub(super) const fn row(short: &'static str, long: &'static str, value: &'static str, help: &'static str) -> Row {
    let short = if short.is_empty() { None } else { Some(short.as_bytes()[0] as char) };
    Row { short, long, value, help }
}

/// Those of all tools.
const COMMON: [Row; 8] = [
    row("P", "lxcpath", "PATH", "directory of the containers"),
    row("o", "logfile", "FILE", "write errors to FILE"),
    row("l", "logpriority", "LEVEL", "taken: errors are all that is written"),
    row("q", "quiet", "", "say nothing of errors"),
    row("?", "help", "", "this help"),
    row("h", "usage", "", "the same"),
    row("", "version", "", "the version"),
    row("", "rcfile", "FILE", "use another configuration"),
];
const NAME: Row = row("n", "name", "NAME", "the container; it may be the first other word, too");
/// Whose words and statuses these are.
pub(super) const VERSION: &str = "6.0.4";

/// What was asked for.
pub(super) enum Asked {
    Run(Call),
    Text(String),
}

/// A command line that was read.
pub(crate) struct Call {
    tool: &'static Tool,
    given: Vec<(&'static str, String)>,
    /// Its words that are no options, without the container's name.
    pub(super) words: Vec<String>,
    /// The container's name; empty: the tool is about none.
    pub(super) name: String,
}

impl Call {
    pub(super) fn has(&self, long: &str) -> bool {
        self.value(long).is_some()
    }
    /// The value that was given the last.
    pub(super) fn value(&self, long: &str) -> Option<&str> {
        self.values(long).last()
    }
    pub(super) fn values(&self, long: &str) -> impl Iterator<Item = &str> {
        self.given.iter().filter(move |(name, _)| *name == long).map(|(_, value)| value.as_str())
    }
    /// A value that is a number, and what it is if it was not given.
    pub(super) fn number<T: FromStr>(&self, long: &str, unset: T) -> Result<T, Error> {
        match self.value(long) {
            None => Ok(unset),
            Some(text) => text.parse().map_err(|_| failure(format!("read --{long} {text}: it is no number"))),
        }
    }
    pub(super) fn lxcpath(&self) -> String {
        let path = self.value("lxcpath").map_or_else(|| global_item("lxc.lxcpath").unwrap_or_default(), str::to_owned);
        // the same for all that is compared with it
        std::path::absolute(&path).ok().and_then(|path| path.to_str().map(str::to_owned)).unwrap_or(path)
    }
    /// The container that it is about.
    pub(super) fn container(&self) -> Result<Container, Error> {
        let mut container = Container::new(&self.name, Some(&self.lxcpath()))?;
        if let Some(file) = self.value("rcfile") {
            container.clear_config();
            container.load_config(Some(Path::new(file)))?;
        }
        for warning in &container.warnings {
            self.say(&format!("warning: {warning}"));
        }
        Ok(container)
    }
    /// The same for what its supervisor is asked: a configuration that cannot be read any more is no hindrance.
    pub(super) fn running(&self) -> Result<Container, Error> {
        self.container().or_else(|error| {
            self.tell(&error);
            Container::bare(&self.name, Some(&self.lxcpath()))
        })
    }
    pub(super) fn tell(&self, error: &Error) {
        self.say(&error.text);
    }
    fn say(&self, text: &str) {
        // A hint is on a line of its own, however odd what is said of names.
        let (text, hint) = text.split_once("\nhint: ").unwrap_or((text, ""));
        let hint = if hint.is_empty() { String::new() } else { format!("\nhint: {}", output::clean(hint)) };
        let line = format!("{}: {}{hint}", self.tool.name, output::clean(text));
        match self.value("logfile").map(|file| std::fs::File::options().create(true).append(true).open(file)) {
            Some(Ok(mut file)) => drop(writeln!(file, "{line}")),
            _ if self.has("quiet") => {}
            _ => output::tell(format_args!("{line}")),
        }
    }
}

/// Every option of a tool.
fn rows(tool: &'static Tool) -> impl Iterator<Item = &'static Row> {
    let name: &[Row] = if tool.named { &[NAME] } else { &[] };
    tool.options.iter().chain(name).chain(&COMMON)
}

pub(super) fn help(tool: &'static Tool) -> String {
    let mut out = format!("usage: {} {}\n\n{}\n\n", tool.name, tool.synopsis, tool.about);
    for row in rows(tool) {
        let short = row.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
        let value = match row.value {
            "" => String::new(),
            maybe if maybe.starts_with('[') => format!("[={}", &maybe[1..]),
            value => format!("={value}"),
        };
        out.push_str(&format!("  {short}{:<24} {}\n", format!("--{}{value}", row.long), row.help));
    }
    out
}

pub(super) fn parse(tool: &'static Tool, args: &[OsString]) -> Result<Asked, String> {
    let words: Result<Vec<&str>, String> = args.iter().map(|arg| arg.to_str().ok_or_else(|| format!("{arg:?} is not UTF-8"))).collect();
    let mut rest = words?.into_iter();
    let mut call = Call { tool, given: Vec::new(), words: Vec::new(), name: String::new() };
    while let Some(arg) = rest.next() {
        if arg == "--" {
            call.words.extend(rest.by_ref().map(str::to_owned));
        } else if let Some(long) = arg.strip_prefix("--") {
            let (name, given) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let row = by_long(tool, name)?;
            let value = match (row.value, given) {
                ("", Some(_)) => return Err(format!("option '--{}' takes no value", row.long)),
                (value, None) if !value.is_empty() && !value.starts_with('[') => {
                    rest.next().ok_or_else(|| format!("option '--{}' takes a value", row.long))?
                }
                (_, given) => given.unwrap_or_default(),
            };
            call.given.push((row.long, value.to_owned()));
        } else if arg.len() > 1 && arg.starts_with('-') {
            let mut letters = &arg[1..];
            while let Some(letter) = letters.chars().next() {
                letters = &letters[letter.len_utf8()..];
                let row = rows(tool).find(|row| row.short == Some(letter)).ok_or_else(|| format!("there is no option '-{letter}'"))?;
                let mut value = "";
                if !row.value.is_empty() {
                    value = std::mem::take(&mut letters);
                    if value.is_empty() && !row.value.starts_with('[') {
                        value = rest.next().ok_or_else(|| format!("option '-{letter}' takes a value"))?;
                    }
                }
                call.given.push((row.long, value.to_owned()));
            }
        } else {
            call.words.push(arg.to_owned());
        }
    }
    if call.has("help") || call.has("usage") {
        return Ok(Asked::Text(help(tool)));
    }
    if call.has("version") {
        return Ok(Asked::Text(format!("{VERSION}\n")));
    }
    if tool.named {
        call.name = match call.value("name") {
            Some(name) => name.to_owned(),
            None if call.words.is_empty() => return Err("No container name specified".to_owned()),
            None => call.words.remove(0),
        };
    }
    Ok(Asked::Run(call))
}

/// By its name, or the beginning of one only.
fn by_long(tool: &'static Tool, name: &str) -> Result<&'static Row, String> {
    if let Some(row) = rows(tool).find(|row| row.long == name) {
        return Ok(row);
    }
    let mut begun = rows(tool).filter(|row| row.long.starts_with(name));
    match (begun.next(), begun.next()) {
        (Some(row), None) => Ok(row),
        (Some(_), Some(_)) => Err(format!("option '--{name}' is the beginning of several")),
        _ => Err(format!("unrecognized option '--{name}'")),
    }
}
