//! User namespaces, shared namespaces.

use hostel_spec::{IdRange, Ownership, UserNamespace};
use hostel_unit::{boolean, unsigned};

use super::process::id;
use super::{Choice, Draft, choose};
use crate::Action;
use crate::error::UsageError;
use crate::options::OptionRow;

const OWNERSHIP: [(&str, Ownership); 4] = [("off", Ownership::Off), ("chown", Ownership::Chown), ("map", Ownership::Map), ("auto", Ownership::Auto)];

/// Size of a range whose size is not said.
const RANGE: u32 = 65536;

impl Draft<'_> {
    pub(super) fn ownership(&mut self, row: &OptionRow, value: &str) -> Result<Option<Action>, UsageError> {
        if value == "foreign" {
            return Err(UsageError::NotYet {
                what: format!("{}{value}", row.name()),
                reason: "it needs systemd-mountfsd; map does the same on kernels since 5.12",
            });
        }
        match choose(row, value, &OWNERSHIP)? {
            Choice::Value(ownership) => self.ownership = Some(ownership),
            Choice::Help(action) => return Ok(Some(action)),
        }
        Ok(None)
    }

    pub(super) fn pick_users(&mut self) {
        self.spec.namespaces.user = UserNamespace::Pick;
        self.ownership = Some(Ownership::Auto);
    }

    pub(super) fn share_system(&mut self) {
        let namespaces = &mut self.spec.namespaces;
        (namespaces.ipc, namespaces.pid, namespaces.uts) = (false, false, false);
    }
}

/// `--private-users`, `=yes`, `=pick`, `=1000000:65536`. Digits are always an id, never a boolean.
pub(super) fn namespace(row: &OptionRow, value: Option<&str>) -> Result<UserNamespace, UsageError> {
    let Some(text) = value else { return Ok(UserNamespace::FromTree) };
    match text {
        "pick" => return Ok(UserNamespace::Pick),
        "identity" => return Ok(UserNamespace::Identity),
        "managed" => {
            return Err(UsageError::NotYet {
                what: "--private-users=managed".to_owned(),
                reason: "it needs systemd-nsresourced; pick needs no daemon",
            });
        }
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(yes) = boolean(text)
    {
        return Ok(if yes { UserNamespace::FromTree } else { UserNamespace::Host });
    }
    range(text).map(UserNamespace::Range).map_err(|why| {
        UsageError::value(row, text, why).with_hint("it takes yes, no, pick, identity, or the first host id and how many: 1000000:65536")
    })
}

fn range(text: &str) -> Result<IdRange, &'static str> {
    let (base, count) = text.split_once(':').map_or((text, None), |(b, c)| (b, Some(c)));
    let base = id(base).ok_or("the first id is no plain number below 4294967295")?;
    let count = match count {
        None => RANGE,
        Some(c) => unsigned(c).ok().and_then(|n| u32::try_from(n).ok()).ok_or("the number of ids is no number below 4294967296")?,
    };
    if count == 0 || base.checked_add(count).is_none() {
        return Err("the range is empty or goes beyond 4294967295");
    }
    Ok(IdRange { base, count })
}
