//! `--bind`, `--tmpfs`, `--overlay`, `--inaccessible`: path lists with `:` between, `\:` for a colon, `+` for "inside the tree".

use std::path::Path;

use hostel_spec::{BindOptions, IdMapping, Mount, MountSource};
use hostel_unit::{WordRules, first_word, words};

use super::tree::{absolute, inside};
use crate::error::UsageError;
use crate::options::{OptionId, OptionRow};

/// More layers than the kernel stacks (OVL_MAX_STACK is 500).
const LAYERS_MAX: usize = 500;

/// `SRC[:DST[:OPTIONS]]`
pub(super) fn bind(row: &OptionRow, value: &str, cwd: &Path) -> Result<Mount, UsageError> {
    let mut rest = Some(value);
    let mut word = || first_word(&mut rest, WordRules::PATHS).map_err(|e| UsageError::value(row, value, e.why));
    let source = word()?.unwrap_or_default();
    let destination = word()?;
    let options = bind_options(rest.unwrap_or_default()).map_err(|why| UsageError::value(row, value, why))?;
    let target = match &destination {
        Some(path) => inside(row, value, path)?,
        None if source.is_empty() => return Err(UsageError::value(row, value, "it is empty")),
        None => inside(row, value, source.strip_prefix('+').unwrap_or(&source))?,
    };
    Ok(Mount::Bind { source: source_path(row, value, &source, cwd)?, target, read_only: row.id == OptionId::BindRo, options })
}

fn bind_options(text: &str) -> Result<BindOptions, String> {
    let mut options = BindOptions::default();
    for word in text.split(',').filter(|w| !w.is_empty()) {
        match word {
            "rbind" => options.recursive = true,
            "norbind" => options.recursive = false,
            "noidmap" => options.mapping = IdMapping::None,
            "idmap" => options.mapping = IdMapping::Idmap,
            "rootidmap" => options.mapping = IdMapping::Rootidmap,
            "owneridmap" => options.mapping = IdMapping::Owneridmap,
            other => return Err(format!("there is no bind option {}", hostel_unit::printable(other))),
        }
    }
    Ok(options)
}

/// `PATH`
pub(super) fn inaccessible(row: &OptionRow, value: &str) -> Result<Mount, UsageError> {
    let target = inside(row, value, value)?;
    if target == Path::new("/") {
        return Err(UsageError::value(row, value, "a machine needs its root"));
    }
    Ok(Mount::Inaccessible { target })
}

/// `PATH[:OPTIONS]`
pub(super) fn tmpfs(row: &OptionRow, value: &str) -> Result<Mount, UsageError> {
    let mut rest = Some(value);
    let path = first_word(&mut rest, WordRules::PATHS).map_err(|e| UsageError::value(row, value, e.why))?.unwrap_or_default();
    let options = rest.filter(|o| !o.is_empty()).unwrap_or("mode=0755").to_owned();
    Ok(Mount::Tmpfs { target: inside(row, value, &path)?, options })
}

/// `LOWER[:LOWER…]:UPPER:DST`, or `LOWER:UPPER` where UPPER is the place too. Read-only: every layer is a lower one.
pub(super) fn overlay(row: &OptionRow, value: &str, cwd: &Path) -> Result<Mount, UsageError> {
    let refuse = |why: &str| UsageError::value(row, value, why);
    let mut paths = words(value, WordRules::PATHS).map_err(|e| refuse(e.why))?;
    if paths.len() > LAYERS_MAX {
        return Err(refuse("it has more than 500 layers"));
    }
    let target = match paths.as_slice() {
        [] | [_] => return Err(refuse("it takes at least two directories with ':' between")),
        [_, upper] if upper.is_empty() => return Err(refuse("the upper directory is empty, so it cannot be the place too")),
        [_, upper] => match upper.strip_prefix('+') {
            Some(in_tree) => inside(row, value, in_tree)?,
            None => inside(row, value, cwd.join(upper).to_str().ok_or_else(|| refuse("the current directory's name is not UTF-8"))?)?,
        },
        [.., destination] => inside(row, value, destination)?,
    };
    if paths.len() > 2 {
        paths.truncate(paths.len() - 1);
    }
    let last = paths.len() - 1;
    let mut layers = Vec::with_capacity(paths.len());
    for (i, path) in paths.iter().enumerate() {
        if path.is_empty() && i != last {
            return Err(refuse("a lower directory is empty"));
        }
        layers.push(source_path(row, value, path, cwd)?);
    }
    let upper = if row.id == OptionId::Overlay { layers.pop() } else { None };
    Ok(Mount::Overlay { lower: layers, upper, target })
}

/// Empty: a temporary directory; `+PATH`: inside the tree; else a path of the host, relative to the caller's directory.
fn source_path(row: &OptionRow, whole: &str, path: &str, cwd: &Path) -> Result<MountSource, UsageError> {
    if path.is_empty() {
        return Ok(MountSource::Temporary);
    }
    if let Some(in_tree) = path.strip_prefix('+') {
        return inside(row, whole, in_tree).map(MountSource::Tree);
    }
    absolute(row, whole, cwd, path).map(MountSource::Host)
}
