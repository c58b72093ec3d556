//! What a unit depends on: by its file, by links, by default and by what it is (systemd.unit(5), "Implicit" and "Default
//! Dependencies").

mod graph;
mod implied;

use std::collections::BTreeSet;

use hostel_unit::UnitName;

pub use graph::{Graph, Node};

use crate::load::{LinkKind, Origin, Unit};
use crate::search::Scope;

/// One kind of dependency, seen from the unit that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Relation {
    Requires,
    Requisite,
    Wants,
    BindsTo,
    PartOf,
    Upholds,
    Conflicts,
    Before,
    After,
    OnSuccess,
    OnFailure,
    PropagatesReloadTo,
    ReloadPropagatedFrom,
    PropagatesStopTo,
    StopPropagatedFrom,
    JoinsNamespaceOf,
    Triggers,
}

impl Relation {
    /// Every relation with its key.
    pub const ALL: [(Relation, &'static str); 17] = [
        (Relation::Requires, "Requires"),
        (Relation::Requisite, "Requisite"),
        (Relation::Wants, "Wants"),
        (Relation::BindsTo, "BindsTo"),
        (Relation::PartOf, "PartOf"),
        (Relation::Upholds, "Upholds"),
        (Relation::Conflicts, "Conflicts"),
        (Relation::Before, "Before"),
        (Relation::After, "After"),
        (Relation::OnSuccess, "OnSuccess"),
        (Relation::OnFailure, "OnFailure"),
        (Relation::PropagatesReloadTo, "PropagatesReloadTo"),
        (Relation::ReloadPropagatedFrom, "ReloadPropagatedFrom"),
        (Relation::PropagatesStopTo, "PropagatesStopTo"),
        (Relation::StopPropagatedFrom, "StopPropagatedFrom"),
        (Relation::JoinsNamespaceOf, "JoinsNamespaceOf"),
        (Relation::Triggers, "Triggers"),
    ];

    /// Its key, as `show` prints it.
    pub fn key(self) -> &'static str {
        Relation::ALL.iter().find(|(relation, _)| *relation == self).map_or("", |(_, key)| key)
    }

    /// Whether starting the unit starts the other one too.
    pub fn pulls_in(self) -> bool {
        matches!(self, Relation::Requires | Relation::Wants | Relation::BindsTo | Relation::Upholds)
    }
}

/// Why a dependency is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// A line of a file.
    File(Origin),
    /// A link in a directory.
    Link(String),
    /// DefaultDependencies=yes.
    Default,
    /// It follows from a setting, or from what the unit is.
    Implied(&'static str),
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Because::File(origin) => write!(f, "{}:{}", origin.file, origin.line),
            Because::Link(path) => f.write_str(path),
            Because::Default => f.write_str("DefaultDependencies=yes"),
            Because::Implied(why) => f.write_str(why),
        }
    }
}

/// One dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// What kind.
    pub relation: Relation,
    /// On which unit.
    pub to: UnitName,
    /// Why.
    pub because: Because,
}

/// Everything a unit depends on, each once, what its own file says first. `known` tells whether a name has a unit file.
///
/// That a target comes after what it pulls in depends on those units, and is added by [`Graph`].
pub fn dependencies(unit: &Unit, scope: Scope, known: &dyn Fn(&UnitName) -> bool) -> Vec<Dependency> {
    let mut list = List { unit, found: Vec::new(), seen: BTreeSet::new() };
    for (relation, key) in Relation::ALL {
        for (to, origin) in unit.settings.units("Unit", key) {
            list.add(relation, to, Because::File(origin.clone()));
        }
    }
    for tie in &unit.ties {
        let relation = match tie.kind {
            LinkKind::Wants => Relation::Wants,
            LinkKind::Requires => Relation::Requires,
            LinkKind::Upholds => Relation::Upholds,
        };
        list.add(relation, &tie.to, Because::Link(tie.path.clone()));
    }
    implied::add(&mut list, scope, known);
    list.found
}

/// Dependencies being gathered.
struct List<'u> {
    unit: &'u Unit,
    found: Vec<Dependency>,
    /// What is in it: a file may name a hundred thousand units.
    seen: BTreeSet<(Relation, UnitName)>,
}

impl List<'_> {
    fn add(&mut self, relation: Relation, to: &UnitName, because: Because) {
        let own = *to == self.unit.name || self.unit.aliases.contains(to);
        if own || to.is_template() || !self.seen.insert((relation, to.clone())) {
            return;
        }
        self.found.push(Dependency { relation, to: to.clone(), because });
    }

    /// By name: one that this program knows, or that was made of valid names.
    fn name(&mut self, relations: &[Relation], to: &str, because: Because) {
        if let Ok(name) = UnitName::parse(to) {
            for relation in relations {
                self.add(*relation, &name, because.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
