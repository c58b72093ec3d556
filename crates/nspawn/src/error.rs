//! Why a command line is refused: one line "verb object: cause", and a hint apart from it.

use std::fmt;

use hostel_spec::Hint;
use hostel_unit::printable;

use crate::doc::{Entry, Origin};
use crate::options::{self, OptionRow};

/// Exit status of every refused command line (spec/nspawn.md 1.4).
pub const EXIT_STATUS: u8 = 1;

/// A command line that cannot be compiled. Print it as `systemd-nspawn: ERROR`, then the hint, and exit 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// The words of getopt_long(3).
    #[error(transparent)]
    Getopt(#[from] GetoptError),
    /// A value an option does not take.
    #[error("parse {option}{}: {why}", printable(.value))]
    Value {
        /// As [`OptionRow::name`], or `$VARIABLE=`.
        option: String,
        /// What was given, undecodable bytes replaced.
        value: String,
        /// The cause.
        why: String,
        /// What to do instead.
        hint: Option<Hint>,
    },
    /// A property that is none of ours.
    #[error("set property {}: {why}", printable(.name))]
    Property {
        /// Its name.
        name: String,
        /// The cause.
        why: &'static str,
    },
    /// Options that exclude each other.
    #[error("combine {first} and {second}: {why}")]
    Conflict {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// The cause.
        why: &'static str,
    },
    /// An option that has no meaning, or none yet, for a machine of a bundle.
    #[error("combine --oci-bundle= and {option}: config.json says how the machine is")]
    BesideBundle {
        /// As [`OptionRow::name`].
        option: String,
    },
    /// Something that cannot be run as asked.
    #[error("{what}: {why}")]
    Request {
        /// Verb and object.
        what: &'static str,
        /// The cause.
        why: &'static str,
        /// What to do instead.
        hint: Option<Hint>,
    },
    /// Known, but not built.
    #[error("{what} is not implemented yet")]
    NotYet {
        /// Option, or option with the value that is refused.
        what: String,
        /// Why it waits or what does it.
        reason: &'static str,
    },
    /// Known, and not going to be built.
    #[error("{what} is not supported")]
    Never {
        /// The option.
        what: String,
        /// Why, or what to do instead.
        reason: &'static str,
    },
    /// What a settings file says and cannot be done.
    #[error("{origin}: {error}")]
    Setting {
        /// Where it says so.
        origin: Origin,
        /// The cause.
        error: Box<UsageError>,
    },
    /// A settings file whose structure is unclear.
    #[error("read {}:{line}: {why}", printable(.path))]
    SettingsFile {
        /// Where it is.
        path: String,
        /// Counted from 1.
        line: u32,
        /// The cause.
        why: String,
    },
}

impl UsageError {
    pub(crate) fn value(row: &OptionRow, value: impl Into<String>, why: impl Into<String>) -> Self {
        let mut option = row.name();
        // an optional value is still written with an equals sign, and a letter's value follows a space
        match (row.long.is_empty(), option.ends_with('=')) {
            (true, _) => option.push(' '),
            (false, false) => option.push('='),
            (false, true) => {}
        }
        Self::Value { option, value: value.into(), why: why.into(), hint: None }
    }
    pub(crate) fn variable(name: &str, value: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Value { option: format!("${name}="), value: value.into(), why: why.into(), hint: None }
    }
    /// The error, said of what a settings file wrote.
    pub(crate) fn of(self, entry: &Entry) -> Self {
        let Origin::File { key, .. } = &entry.origin else { return self };
        let error = match self {
            Self::Value { value, why, hint, .. } => Self::Value { option: format!("{key}="), value, why, hint },
            Self::NotYet { reason, .. } => {
                // an option that is not there at all is not there whatever its value
                let value = entry.value.as_deref().unwrap_or_default();
                Self::NotYet { what: format!("{key}={}", if value.is_empty() { value.to_owned() } else { printable(value) }), reason }
            }
            Self::Never { reason, .. } => Self::Never { what: format!("{key}="), reason },
            other => other,
        };
        Self::Setting { origin: entry.origin.clone(), error: Box::new(error) }
    }
    /// The error itself, without where a file says it.
    pub(crate) fn root(&self) -> &Self {
        match self {
            Self::Setting { error, .. } => error.root(),
            other => other,
        }
    }
    pub(crate) fn with_hint(mut self, text: impl Into<Hint>) -> Self {
        match &mut self {
            Self::Value { hint, .. } | Self::Request { hint, .. } => *hint = Some(text.into()),
            _ => {}
        }
        self
    }

    /// What to do, to be put into words by the command line.
    pub fn hint(&self) -> Option<Hint> {
        self.hint_among(&[])
    }

    /// [`hint`](Self::hint) for a command line that has `more` long options beside those of systemd-nspawn.
    pub fn hint_among(&self, more: &[&'static str]) -> Option<Hint> {
        match self {
            Self::Getopt(GetoptError::Unrecognized { argument }) => {
                Some(nearest(argument, more).map_or(Hint::Options, |name| Hint::DidYouMean(name.into())))
            }
            Self::Getopt(GetoptError::NotAllowed { .. } | GetoptError::Ambiguous { .. }) => None,
            Self::Getopt(_) => Some(Hint::Options),
            Self::Value { hint, .. } | Self::Request { hint, .. } => hint.clone(),
            Self::Property { .. } => Some(format!("known are {}", crate::compile::KNOWN_PROPERTIES.join(", ")).into()),
            Self::Conflict { .. } | Self::BesideBundle { .. } => None,
            Self::NotYet { reason, .. } | Self::Never { reason, .. } => Some((*reason).into()),
            Self::Setting { error, .. } => error.hint_among(more),
            Self::SettingsFile { .. } => Some(Hint::MendSettings),
        }
    }
}

/// What getopt_long(3) says, in glibc's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GetoptError {
    /// `--foo`
    Unrecognized {
        /// The whole argument without the dashes.
        argument: String,
    },
    /// `--b`
    Ambiguous {
        /// The whole argument without the dashes.
        argument: String,
        /// Every name it could be.
        possible: Vec<&'static str>,
    },
    /// `--bind` at the end.
    Requires {
        /// The full name.
        name: &'static str,
    },
    /// `--quiet=x`
    NotAllowed {
        /// The full name.
        name: &'static str,
    },
    /// `-z`
    InvalidLetter {
        /// The letter; U+FFFD for a byte that is no ASCII.
        letter: char,
    },
    /// `-D` at the end.
    LetterRequires {
        /// The letter.
        letter: char,
    },
}

impl fmt::Display for GetoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrecognized { argument } => write!(f, "unrecognized option '--{}'", one_line(argument)),
            Self::Ambiguous { argument, possible } => {
                write!(f, "option '--{}' is ambiguous; possibilities:", one_line(argument))?;
                possible.iter().try_for_each(|name| write!(f, " '--{name}'"))
            }
            Self::Requires { name } => write!(f, "option '--{name}' requires an argument"),
            Self::NotAllowed { name } => write!(f, "option '--{name}' doesn't allow an argument"),
            Self::InvalidLetter { letter } => write!(f, "invalid option -- '{}'", letter.escape_debug()),
            Self::LetterRequires { letter } => write!(f, "option requires an argument -- '{letter}'"),
        }
    }
}

impl std::error::Error for GetoptError {}

/// glibc prints the argument as it is; a line break in it must still not make two lines.
fn one_line(argument: &str) -> String {
    let shown = printable(argument);
    match shown.strip_prefix('"').and_then(|s| s.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\""),
        None => shown,
    }
}

/// The option name closest to a mistyped one: at most two edits away, and closer than any other. People rarely
/// mistype the first letter, so that decides between equals.
fn nearest(argument: &str, more: &[&'static str]) -> Option<&'static str> {
    let typed = argument.split('=').next().unwrap_or("");
    if typed.len() < 3 || typed.len() > 40 {
        return None;
    }
    let names = || options::rows().filter(|r| !r.hidden).flat_map(|r| r.long).chain(more);
    // Abbreviated as the parser does not have it: ours have to be spelt out.
    let mut longer = names().filter(|name| name.starts_with(typed));
    if let (Some(name), None) = (longer.next(), longer.next()) {
        return Some(name);
    }
    let mut best: Option<(usize, &'static str)> = None;
    let mut tied = false;
    for name in names() {
        let distance = 2 * edits(typed.as_bytes(), name.as_bytes()) + usize::from(typed.as_bytes()[0] != name.as_bytes()[0]);
        match best {
            Some((d, _)) if distance > d => {}
            Some((d, _)) if distance == d => tied = true,
            _ => (best, tied) = (Some((distance, *name)), false),
        }
    }
    best.filter(|(d, _)| !tied && *d <= 5).map(|(_, name)| name)
}

/// Levenshtein distance.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
