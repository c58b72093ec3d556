//! Capabilities and system calls.

use hostel_spec::{AddressFamilies, CapName, CapSet, Hint, SyscallFilter, SyscallRule};
use hostel_unit::{WordRules, first_word, words};

use super::{Draft, lines};
use crate::Action;
use crate::error::UsageError;
use crate::options::{OptionId, OptionRow};

impl Draft<'_> {
    pub(super) fn capability(&mut self, row: &OptionRow, value: &str) -> Result<Option<Action>, UsageError> {
        let mut set = CapSet::EMPTY;
        let mut rest = Some(value);
        while let Some(word) = first_word(&mut rest, WordRules::COMMA).map_err(|e| UsageError::value(row, value, e.why))? {
            match word.as_str() {
                "help" => return Ok(Some(Action::Print(lines(CapName::known().map(CapName::name))))),
                "all" if row.id == OptionId::AmbientCapability => {
                    return Err(UsageError::value(row, value, "ambient capabilities are named one by one"));
                }
                "all" => set = CapSet::ALL,
                name => {
                    let cap = CapName::parse(name).map_err(|_| {
                        UsageError::value(row, value, format!("there is no capability {}", hostel_unit::printable(name)))
                            .with_hint(Hint::ListedBy("capability".into()))
                    })?;
                    set = set.or(CapSet::of(&[cap]));
                }
            }
        }
        let target = match row.id {
            OptionId::Capability => &mut self.spec.security.added,
            OptionId::DropCapability => &mut self.spec.security.dropped,
            _ => {
                self.ambient_given = true;
                &mut self.spec.process.ambient
            }
        };
        *target = target.or(set);
        Ok(None)
    }

    /// As systemd: the first value says whether the list allows or forbids, later ones of the other kind take out of it.
    pub(super) fn address_families(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let current = &mut self.spec.security.address_families;
        if value.is_empty() {
            *current = None;
            return Ok(());
        }
        if value == "none" {
            *current = Some(AddressFamilies { allow: true, families: Vec::new() });
            return Ok(());
        }
        let (allow, list) = value.strip_prefix('~').map_or((true, value), |list| (false, list));
        let names = words(list, WordRules::UNIT).map_err(|e| UsageError::value(row, value, e.why))?;
        let mut numbers = Vec::with_capacity(names.len());
        for name in &names {
            let known = AddressFamilies::number(name);
            numbers.push(known.ok_or_else(|| UsageError::value(row, value, format!("there is no address family {}", hostel_unit::printable(name))))?);
        }
        let current = current.get_or_insert(AddressFamilies { allow, families: Vec::new() });
        for number in numbers {
            current.families.retain(|n| *n != number);
            if current.allow == allow {
                current.families.push(number);
            }
        }
        Ok(())
    }

    pub(super) fn system_call_filter(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let refuse = |why: String| UsageError::value(row, value, why);
        let (allow, list) = match value.strip_prefix('~') {
            Some(list) => (false, list),
            None => (true, value),
        };
        let names = words(list, WordRules::SPACE).map_err(|e| refuse(e.why.to_owned()))?;
        // which names exist depends on the architecture: the engine knows; here only what can be no name at all
        if let Some(bad) = names.iter().find(|n| !is_syscall_word(n)) {
            return Err(refuse(format!("{} is no system call or @group", hostel_unit::printable(bad))));
        }
        if !names.is_empty()
            && let SyscallFilter::Nspawn(rules) = &mut self.spec.security.syscalls
        {
            rules.push(SyscallRule { allow, names });
        }
        Ok(())
    }
}

/// A label of SELinux; empty text takes an earlier one back.
pub(super) fn label(row: &OptionRow, value: &str) -> Result<Option<String>, UsageError> {
    // a comma or quote would end it among the options of a mount
    if value.len() > 4095 || value.bytes().any(|b| b.is_ascii_control() || matches!(b, b'"' | b' ')) {
        return Err(UsageError::value(row, value, "it is no label of SELinux"));
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn is_syscall_word(word: &str) -> bool {
    let name = word.strip_prefix('@').unwrap_or(word);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
