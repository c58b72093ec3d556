//! Where the tree is, what the machine is called, and what of the tree is thrown away.

use std::path::{Path, PathBuf};

use hostel_spec::{Hostname, MachineName, MachineUuid, PivotRoot, Volatile};
use hostel_unit::{WordRules, first_word};

use super::{Choice, Draft, choose};
use crate::Action;
use crate::error::UsageError;
use crate::options::OptionRow;

/// Longest path the kernel takes, without the final NUL.
const PATH_MAX: usize = 4095;

const VOLATILE: [(&str, Volatile); 4] = [("no", Volatile::No), ("yes", Volatile::Yes), ("state", Volatile::State), ("overlay", Volatile::Overlay)];

impl Draft<'_> {
    /// A directory on the host, relative to the caller's; empty text takes an earlier one back.
    pub(super) fn tree_path(&self, row: &OptionRow, value: &str) -> Result<Option<PathBuf>, UsageError> {
        if value.is_empty() {
            return Ok(None);
        }
        absolute(row, value, &self.env.cwd, value).map(Some)
    }

    pub(super) fn volatile(&mut self, row: &OptionRow, value: Option<&str>) -> Result<Option<Action>, UsageError> {
        self.spec.root.volatile = match value {
            None => Volatile::Yes,
            Some(text) => match (hostel_unit::boolean(text), choose(row, text, &VOLATILE)) {
                (Ok(yes), _) => {
                    if yes {
                        Volatile::Yes
                    } else {
                        Volatile::No
                    }
                }
                (_, Ok(Choice::Value(mode))) => mode,
                (_, Ok(Choice::Help(action))) => return Ok(Some(action)),
                (_, Err(error)) => return Err(error),
            },
        };
        Ok(None)
    }

    pub(super) fn machine(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.identity.name = match value {
            "" => None,
            _ => Some(MachineName::new(value).map_err(|e| UsageError::value(row, value, e.why))?),
        };
        Ok(())
    }

    pub(super) fn hostname(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.identity.hostname = match value {
            "" => None,
            _ => Some(Hostname::new(value).map_err(|e| UsageError::value(row, value, e.why))?),
        };
        Ok(())
    }

    pub(super) fn uuid(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.identity.uuid = Some(MachineUuid::parse(value).map_err(|e| UsageError::value(row, value, e.why))?);
        Ok(())
    }
}

/// `NEW[:OLD]`; empty text takes an earlier one back.
pub(super) fn pivot_root(row: &OptionRow, value: &str) -> Result<Option<PivotRoot>, UsageError> {
    let mut rest = Some(value);
    let mut word = || first_word(&mut rest, WordRules::PATHS).map_err(|e| UsageError::value(row, value, e.why));
    let (new, old) = (word()?.unwrap_or_default(), word()?);
    if value.is_empty() {
        return Ok(None);
    }
    if rest.is_some() {
        return Err(UsageError::value(row, value, "it has more than two paths"));
    }
    if value.split(['/', ':']).any(|part| part == ".") {
        return Err(UsageError::value(row, value, "a path in it is not normalized"));
    }
    let new = inside(row, value, &new)?;
    let old = old.map(|old| inside(row, value, &old)).transpose()?;
    if old.as_ref() == Some(&new) {
        return Err(UsageError::value(row, value, "the old root would be where the new one was"));
    }
    if new == Path::new("/") || old.as_deref() == Some(Path::new("/")) {
        return Err(UsageError::value(row, value, "it is the root already"));
    }
    Ok(Some(PivotRoot { new, old }))
}

/// `path` from `cwd`, with `.` and doubled slashes gone; `..` stays, because what is before it may be a link.
pub(super) fn absolute(row: &OptionRow, whole: &str, cwd: &Path, path: &str) -> Result<PathBuf, UsageError> {
    check_length(row, path)?;
    let absolute: PathBuf = cwd.join(path).components().collect();
    if !absolute.is_absolute() {
        return Err(UsageError::value(row, whole, "it is relative, and the current directory is gone"));
    }
    Ok(absolute)
}

fn check_length(row: &OptionRow, value: &str) -> Result<(), UsageError> {
    if value.len() > PATH_MAX {
        return Err(UsageError::value(row, value, "it is longer than 4095 bytes"));
    }
    Ok(())
}

/// A path inside the machine: absolute and without `..`, which would mean different places before and after a mount.
pub(super) fn inside(row: &OptionRow, whole: &str, path: &str) -> Result<PathBuf, UsageError> {
    let refuse = |why: &str| Err(UsageError::value(row, whole, why));
    if path.is_empty() {
        return refuse("the path inside the machine is empty");
    }
    if !path.starts_with('/') {
        return refuse("the path inside the machine is not absolute");
    }
    if path.split('/').any(|part| part == "..") {
        return refuse("the path inside the machine contains '..'");
    }
    check_length(row, path)?;
    Ok(Path::new(path).components().collect())
}
