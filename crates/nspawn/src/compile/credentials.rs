//! `--set-credential=ID:VALUE`, `--load-credential=ID:PATH`.

use std::path::{Path, PathBuf};

use hostel_spec::{Credential, CredentialSource};
use hostel_unit::unescape_bytes;

use super::Draft;
use super::tree::absolute;
use crate::error::UsageError;
use crate::options::OptionRow;

/// Where credentials are kept by name (systemd.exec(5)), after the caller's own.
const STORES: [&str; 4] = ["/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore"];

impl Draft<'_> {
    pub(super) fn set_credential(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let (id, text) = id(row, value, "value")?;
        // what is refused is not shown: it may be a secret
        let bytes = unescape_bytes(text).map_err(|e| UsageError::value(row, id, e.why))?;
        if bytes.len() > Credential::MAX {
            return Err(UsageError::value(row, id, "its value is longer than 1 MiB"));
        }
        self.credential(row, id, CredentialSource::Bytes(bytes))
    }

    pub(super) fn load_credential(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let (id, path) = id(row, value, "path")?;
        let source = if path.contains('/') {
            CredentialSource::Path(absolute(row, value, &self.env.cwd, path)?)
        } else if Credential::is_name(path) {
            CredentialSource::Stored { name: path.to_owned(), directories: self.stores() }
        } else {
            return Err(UsageError::value(row, value, "it names neither a path nor a credential"));
        };
        self.credential(row, id, source)
    }

    fn stores(&self) -> Vec<PathBuf> {
        let own = self.env.get("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|dir| dir.is_absolute());
        own.into_iter().chain(STORES.map(|dir| Path::new(dir).into())).collect()
    }

    fn credential(&mut self, row: &OptionRow, id: &str, source: CredentialSource) -> Result<(), UsageError> {
        if self.spec.credentials.iter().any(|other| other.id == id) {
            return Err(UsageError::value(row, id, "there is a credential of this name already"));
        }
        self.spec.credentials.push(Credential { id: id.to_owned(), source });
        Ok(())
    }
}

/// The name before the first colon, and what follows it.
fn id<'v>(row: &OptionRow, value: &'v str, what: &str) -> Result<(&'v str, &'v str), UsageError> {
    let Some((id, rest)) = value.split_once(':') else {
        return Err(UsageError::value(row, value, format!("it has no ':' between name and {what}")));
    };
    if !Credential::is_name(id) {
        return Err(UsageError::value(row, id, "it is no credential's name: a file name of ASCII letters, digits and punctuation"));
    }
    Ok((id, rest))
}
