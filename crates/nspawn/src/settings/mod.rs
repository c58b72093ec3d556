//! Settings files, systemd.nspawn(5): `NAME.nspawn`, its drop-ins, and how they and a command line become one [`Doc`].
//!
//! ```text
//!  Doc ──► lookup ──► (the caller reads files) ──► merge ──► Doc, warnings ──► compile
//!          which name,                              read.rs: keys become options, bad ones a warning
//!          which tree                               merge.rs: who wins, group by group
//! ```
//! A key is the option of its row (`options/`), checked by the option's own arm: what an option takes, its key takes.

mod keys;
mod merge;
mod read;

use hostel_spec::{MachineName, TreeSource};
use hostel_unit::boolean;
use hostel_unit::specifier::Meaning;

use crate::compile::Draft;
use crate::doc::Doc;
use crate::environment::Environment;
use crate::error::UsageError;

pub use merge::{GROUPS, Group};

/// `--settings=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No files.
    No,
    /// Where the command line says something of a group, the files' part of it does not count.
    Yes,
    /// The other way round: the files win.
    Override,
    /// As `Yes`, and every file is trusted.
    Trusted,
}

impl Mode {
    /// Parses the option's value.
    pub fn parse(text: &str) -> Option<Mode> {
        match text {
            "override" => Some(Mode::Override),
            "trusted" => Some(Mode::Trusted),
            _ => boolean(text).ok().map(|yes| if yes { Mode::Yes } else { Mode::No }),
        }
    }
}

/// Whose settings to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// What `--settings=` said; `None` = nothing, which the original takes for yes.
    pub mode: Option<Mode>,
    /// `--machine=`; `None`: the machine is called as its tree is.
    pub name: Option<MachineName>,
    /// The tree: a file beside it counts too, but is not trusted.
    pub tree: TreeSource,
}

/// A settings file or drop-in, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFile {
    /// Where it is, for messages.
    pub path: String,
    /// Its bytes.
    pub text: Vec<u8>,
    /// Why it may not grant the machine anything of the host; `None`: it is trusted.
    pub distrust: Option<&'static str>,
    /// It is a drop-in. There `%` introduces specifiers, as it does in sections of ours; in a file that the original reads too it
    /// is a character as any other.
    pub dropin: bool,
}

/// What a command line says about settings files; `None` when it does not come to that: it asks for help, or is wrong.
pub fn lookup(doc: &Doc, env: &Environment) -> Option<Lookup> {
    if doc.stopped.is_some() {
        return None;
    }
    let mut draft = Draft::new(env);
    for entry in &doc.entries {
        if !matches!(draft.apply(entry), Ok(None)) {
            return None;
        }
    }
    Some(draft.lookup())
}

/// Merges `files`, the drop-ins last and in their order, with a command line. The texts are warnings, each with file and line.
///
/// `specifiers` is what `%` letters mean; it is asked only when a file uses them.
pub fn merge(
    doc: Doc,
    mode: Mode,
    files: &[SettingsFile],
    env: &Environment,
    specifiers: &dyn Fn(char) -> Meaning,
) -> Result<(Doc, Vec<String>), UsageError> {
    if mode == Mode::No || files.is_empty() {
        return Ok((doc, Vec::new()));
    }
    let mut reader = read::Reader::new(env, specifiers);
    for file in files {
        reader.file(file, mode == Mode::Trusted)?;
    }
    let (settings, warnings) = reader.finish();
    Ok((merge::merge(doc, settings, mode), warnings))
}
