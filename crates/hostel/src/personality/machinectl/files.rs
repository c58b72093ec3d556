//! Files of machines: copies, bind mounts, settings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hostel_engine::inside::Transfer;
use hostel_spec::MachineName;

use super::options::Options;
use crate::cli::bind::{self, Order};
use crate::cli::{Failure, Outcome, cp, edit as settings, look};
use crate::output;

/// The name and the two paths; the second is the first when it is not given.
fn paths(words: &[OsString]) -> Result<(MachineName, PathBuf, Option<PathBuf>), Failure> {
    let name = look::name(&words[0])?;
    if words[1..].iter().any(|w| w.is_empty()) {
        return Err(Failure::Usage("a path is empty".into()));
    }
    Ok((name, PathBuf::from(&words[1]), words.get(2).map(PathBuf::from)))
}

/// A path inside, of which nobody could say what it would be relative to.
fn inside(path: &Path) -> Result<&Path, Failure> {
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Failure::Usage(format!("use path {} in the machine: it is not absolute (/{0} is at its root)", path.display())))
}

pub(super) fn bind(options: &Options, words: &[OsString]) -> Outcome {
    let (name, source, target) = paths(words)?;
    bind::bind(&Order { name, source, target, read_only: options.read_only, make: options.mkdir, map_ids: true })
}

pub(super) fn copy_to(options: &Options, words: &[OsString]) -> Outcome {
    let (name, source, target) = paths(words)?;
    let target = target.unwrap_or_else(|| bind::absolute(&source));
    cp::copy_to(&name, &Transfer { source: &source, target: inside(&target)?, replace: options.force, follow: false, into: false })
}

pub(super) fn copy_from(options: &Options, words: &[OsString]) -> Outcome {
    let (name, source, target) = paths(words)?;
    let target = target.unwrap_or_else(|| source.clone());
    cp::copy_from(&name, &Transfer { source: inside(&source)?, target: &target, replace: options.force, follow: false, into: false })
}

pub(super) fn edit(_: &Options, words: &[OsString]) -> Outcome {
    for name in words {
        settings::edit(&look::name(name)?)?;
    }
    Ok(0)
}

pub(super) fn cat(_: &Options, words: &[OsString]) -> Outcome {
    let texts = words.iter().map(|name| settings::text(&look::name(name)?)).collect::<Result<Vec<String>, Failure>>()?;
    Ok(output::show(&texts.join("\n")))
}
