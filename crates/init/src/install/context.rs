//! Units that a verb is about, with those that they name in Also=.

use std::collections::BTreeSet;

use hostel_unit::{Gather as _, UnitName};

use super::info::{self, Info};
use super::{Change, Installer, Outcome, Refusal};

/// Longest chain of Also=.
const UNITS_MAX: usize = 4096;

impl Installer<'_, '_> {
    /// Installs the units and all that they name in Also=; how many rules there were.
    pub(super) fn apply(&self, units: Vec<Info>, out: &mut Outcome) -> usize {
        let mut rules = 0;
        let mut seen: BTreeSet<UnitName> = units.iter().map(|info| info.name.clone()).gather();
        let mut queue: std::collections::VecDeque<Info> = units.into();
        while let Some(info) = queue.pop_front() {
            rules += info.rules();
            self.install(&info, out);
            for also in &info.also {
                let Ok(name) = UnitName::parse(also) else { continue };
                if seen.len() > UNITS_MAX || !seen.insert(name.clone()) {
                    continue;
                }
                match info::discover(self.catalogue, &name, &mut out.changes) {
                    Ok(more) => {
                        seen.insert(more.name.clone());
                        queue.push_back(more);
                    }
                    Err(Refusal::Masked(path)) => out.changes.push(Change::MaskedPassedOver(path)),
                    Err(_) => out.changes.push(Change::AuxiliaryMissing(also.clone())),
                }
            }
        }
        rules
    }

    /// Names whose links `disable` removes: of the units and all that they name in Also=. Those that have no file count by name.
    pub(super) fn marked(&self, names: Vec<UnitName>, out: &mut Outcome) -> BTreeSet<String> {
        let mut marked = BTreeSet::new();
        let mut seen: BTreeSet<UnitName> = names.iter().cloned().gather();
        let mut queue: std::collections::VecDeque<UnitName> = names.into();
        while let Some(name) = queue.pop_front() {
            let info = match info::discover(self.catalogue, &name, &mut out.changes) {
                Ok(info) => info,
                Err(Refusal::Masked(path)) => {
                    out.changes.push(Change::MaskedPassedOver(path));
                    continue;
                }
                Err(_) => {
                    marked.insert(name.to_string());
                    continue;
                }
            };
            out.rules = Some(out.rules.unwrap_or(0) + info.rules() + info.also.len());
            marked.insert(info.name.to_string());
            for also in info.also.iter().filter_map(|also| UnitName::parse(also).ok()) {
                if seen.len() <= UNITS_MAX && seen.insert(also.clone()) {
                    queue.push_back(also);
                }
            }
        }
        marked
    }
}
