//! The lines of a conf file: `VAR=value`, flush left; the first of a name counts; nothing is evaluated.

use std::fmt;

use crate::Error;
use crate::variables::{self, VARIABLES, Variable};

/// Something odd that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Line, from 1.
    pub line: usize,
    /// What.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    variable: &'static Variable,
    line: usize,
    text: String,
    /// What a command printed: not looked through for `$` or quotes any more.
    printed: bool,
}

/// The variables of a conf file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    given: Vec<Given>,
}

/// Longest file that is read: 64 KiB.
const LIMIT: usize = 64 << 10;

impl Lines {
    /// Reads a conf file. Every text is some conf file, but for NUL bytes and a length of more than [`LIMIT`].
    pub fn parse(text: &str) -> Result<(Lines, Vec<Warning>), Error> {
        if text.len() > LIMIT {
            return Err(Error { line: 0, variable: "conf file", why: "it is larger than 64 KiB".into() });
        }
        let (mut lines, mut warnings) = (Lines::default(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            if line.contains('\0') {
                return Err(Error { line: number, variable: "conf file", why: "it has a NUL byte".into() });
            }
            if let Err(text) = lines.take(number, line) {
                warnings.push(Warning { line: number, text });
            }
        }
        Ok((lines, warnings))
    }

    /// Takes one line; the error is what to warn of.
    fn take(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| is_name(name)) else {
            let indented = line.starts_with([' ', '\t']) && line.trim_start().split_once('=').is_some_and(|(name, _)| is_name(name));
            return Err(if indented { "ignored: a variable begins at the very left" } else { "ignored: it is no VAR=value" }.into());
        };
        let Some(variable) = variables::find(name) else {
            let near = VARIABLES.iter().find(|v| v.name.eq_ignore_ascii_case(name) || one_off(v.name, name));
            let hint = near.map_or_else(String::new, |v| format!("; is {} meant?", v.name));
            return Err(format!("ignored: there is no variable {name}{hint}"));
        };
        if variable.name != "SHARE"
            && let Some(first) = self.given.iter().find(|g| g.variable.name == name)
        {
            return Err(format!("ignored: {name} is set in line {} already", first.line));
        }
        self.given.push(Given { variable, line: number, text: value.trim().to_owned(), printed: false });
        Ok(())
    }

    /// The values that are commands: variable, what follows the `!`.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.given.iter().filter(|g| g.variable.command && !g.printed).filter_map(|g| Some((g.variable.name, g.text.strip_prefix('!')?.trim())))
    }

    /// Puts what a command printed in its place.
    pub fn set(&mut self, variable: &str, printed: &str) {
        if let Some(given) = self.given.iter_mut().find(|g| g.variable.name == variable) {
            (given.text, given.printed) = (printed.trim().to_owned(), true);
        }
    }

    /// The line a variable is set in; 0: in none.
    pub(crate) fn line(&self, variable: &str) -> usize {
        self.given.iter().find(|g| g.variable.name == variable).map_or(0, |g| g.line)
    }

    /// An error about a variable.
    pub(crate) fn refuse(&self, variable: &'static str, why: impl Into<String>) -> Error {
        Error { line: self.line(variable), variable, why: why.into() }
    }

    /// A variable's text, quotes and `$NAME`, `$BASE` replaced; `None`: unset, empty, or a command that has not been run.
    pub(crate) fn text(&self, variable: &'static str, known: &[(&str, &str)]) -> Result<Option<String>, Error> {
        self.all(variable, known).next().map(|(_, text)| text).transpose()
    }

    /// All texts of a variable that may be repeated, with their lines.
    pub(crate) fn all<'a>(&'a self, variable: &'static str, known: &'a [(&str, &str)]) -> impl Iterator<Item = (usize, Result<String, Error>)> + 'a {
        let given = self.given.iter().filter(move |g| g.variable.name == variable && !g.text.is_empty());
        given.filter_map(move |g| {
            let error = |why: &str| Error { line: g.line, variable, why: why.into() };
            if g.printed {
                return Some((g.line, Ok(g.text.clone())));
            }
            match (g.text.starts_with('!'), g.variable.command) {
                (true, true) => None,
                (true, false) => Some((g.line, Err(error("it cannot be a command: its value is needed before anything is run")))),
                _ => Some((g.line, expand(unquoted(&g.text), known).map_err(|why| error(&why)))).filter(|(_, t)| t.as_ref() != Ok(&String::new())),
            }
        })
    }
}

/// Without quotes that enclose all of it.
fn unquoted(text: &str) -> &str {
    ['"', '\''].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q).filter(|inner| !inner.contains(*q))).unwrap_or(text)
}

/// `$NAME` and `${NAME}` of what is known; any other `$NAME` is refused, a `$` before anything else is itself.
fn expand(text: &str, known: &[(&str, &str)]) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = match rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            Some((name, after)) => (name, after),
            None => rest.split_at(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())),
        };
        if name.is_empty() {
            out.push('$');
            continue;
        }
        let value = known.iter().find(|(known, _)| *known == name);
        out.push_str(value.ok_or_else(|| format!("${name} is not known here: $BASE and $NAME are, nothing else is expanded"))?.1);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether a name is another with one letter too many, too few or wrong.
fn one_off(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let back = a[front..].iter().rev().zip(b[front..].iter().rev()).take_while(|(x, y)| x == y).count();
    a.len().max(b.len()) - front - back <= 1
}
