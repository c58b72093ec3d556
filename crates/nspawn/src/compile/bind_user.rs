//! `--bind-user=`, `--bind-user-shell=`, `--bind-user-group=`.

use hostel_spec::{BoundShell, UserNamespace, UserSelector};

use super::Draft;
use super::process::user;
use super::tree::inside;
use crate::error::UsageError;
use crate::options::OptionRow;

impl Draft<'_> {
    pub(super) fn bind_user(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let name = name(row, value)?;
        if matches!(name.as_str(), "root" | "nobody") {
            return Err(UsageError::value(row, value, "every machine has its own root and nobody"));
        }
        let names = &mut self.spec.bind_users.names;
        if !names.contains(&name) {
            names.push(name);
        }
        Ok(())
    }

    pub(super) fn bind_user_shell(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.bind_users.shell = match hostel_unit::boolean(value) {
            Ok(true) => BoundShell::Host,
            Ok(false) => BoundShell::Default,
            Err(_) => BoundShell::Path(inside(row, value, value)?),
        };
        Ok(())
    }

    pub(super) fn bind_user_group(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let name = name(row, value)?;
        let groups = &mut self.spec.bind_users.groups;
        if !groups.contains(&name) {
            groups.push(name);
        }
        Ok(())
    }

    pub(super) fn check_bound_users(&self) -> Result<(), UsageError> {
        if !self.spec.bind_users.is_none() && self.spec.namespaces.user == UserNamespace::Host {
            return Err(UsageError::Conflict {
                first: "--bind-user=",
                second: "--private-users=no",
                why: "only a user namespace can show a user of the host under another id",
            });
        }
        Ok(())
    }
}

/// A name of a user or group, no number.
fn name(row: &OptionRow, value: &str) -> Result<String, UsageError> {
    let plain = value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'\'' | b','));
    match user(row, Some(value))? {
        UserSelector::Name(name) if plain => Ok(name),
        _ => Err(UsageError::value(row, value, "it is no name")),
    }
}
