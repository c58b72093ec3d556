//! Subhosts: a conf file of overlay-boot's is found, read, and its machine begun.

mod begin;

use std::path::{Path, PathBuf};

use hostel_engine::error::{Error, Result};
use hostel_subhost::{Conf, Lines};

use crate::output;

pub use begin::begin;
pub(crate) use begin::{default_script, write_interfaces};

/// The file in a running machine's directory that names its conf file.
pub const NOTE: &str = "conf";
/// Where a conf file that is given by its name is looked for.
const PLACES: [&str; 2] = ["/etc/hostel", "/etc/subhosts.d"];

/// A conf file, read and checked.
#[derive(Debug)]
pub struct Read {
    /// Absolute.
    pub file: PathBuf,
    /// What is in it.
    pub text: String,
    /// The variables.
    pub lines: Lines,
    /// Typed.
    pub conf: Conf,
}

/// The conf file that `word` names: a path, or a subhost's name.
pub fn find(word: &str) -> Result<PathBuf> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| Error::new("find", format!("conf file {}", path.display()), e));
    // A name means the same in every directory.
    if word.contains('/') || word.ends_with(".conf") {
        return absolute(Path::new(word));
    }
    let named = PLACES.iter().map(|dir| format!("{dir}/{word}.conf")).chain([format!("/opt/subhost/{word}/{word}.conf")]);
    let found = named.map(PathBuf::from).find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::new("find", format!("conf file {word}"), "there is none of that name")
            .hint(format!("give its path, or put {word}.conf into {}", PLACES[0]))
    })
}

/// Reads and checks a conf file; what is odd about it is told.
pub fn read(file: PathBuf) -> Result<Read> {
    let text = std::fs::read(&file).map_err(|e| Error::new("read", file.display().to_string(), hostel_engine::error::io_text(&e)))?;
    let text = String::from_utf8(text).map_err(|_| Error::new("read", file.display().to_string(), "it is not UTF-8"))?;
    let (lines, warnings) = Lines::parse(&text).map_err(|e| refused(&file, &e))?;
    for warning in warnings {
        output::tell(format_args!("warning: {}:{}: {}", file.display(), warning.line, output::clean(&warning.text)));
    }
    let conf = Conf::of(&lines, &file).map_err(|e| refused(&file, &e))?;
    Ok(Read { file, text, lines, conf })
}

/// `file:line: variable: why`.
pub(crate) fn refused(file: &Path, error: &hostel_subhost::Error) -> Error {
    let place = if error.line == 0 { file.display().to_string() } else { format!("{}:{}", file.display(), error.line) };
    Error::new("use", format!("{} of {place}", error.variable), error.why.clone())
}
