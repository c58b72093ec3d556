//! Capabilities and system calls.

use hostel_spec::{CapName, CapSet, Hint, SyscallFilter, SyscallRule};
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

fn is_syscall_word(word: &str) -> bool {
    let name = word.strip_prefix('@').unwrap_or(word);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
