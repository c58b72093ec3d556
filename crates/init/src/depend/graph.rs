//! Units that hang together, as nodes of a graph: what a transaction is made of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use hostel_unit::{Kind, UnitName};

use super::{Because, Dependency, Relation, dependencies};
use crate::load::{LoadState, Unit};
use crate::search::Scope;

/// Most units of one graph.
const NODES_MAX: usize = 50_000;

/// One unit of a [`Graph`].
#[derive(Debug, Clone)]
pub struct Node {
    /// How loading ended.
    pub state: LoadState,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    /// Whether it is running, or otherwise up.
    pub is_active: bool,
    /// `AllowIsolate=`
    pub allow_isolate: bool,
    /// `IgnoreOnIsolate=`
    pub ignore_on_isolate: bool,
    /// `RefuseManualStart=`
    pub refuse_start: bool,
    /// `RefuseManualStop=`
    pub refuse_stop: bool,
    /// It has an ExecReload=, or is reloaded otherwise.
    pub can_reload: bool,
    /// A job of it that waits already, and whether nothing may take its place.
    pub job: Option<(crate::transaction::JobType, bool)>,
    /// `DefaultDependencies=`
    pub has_defaults: bool,
}

impl Node {
    fn new(unit: &Unit, dependencies: Vec<Dependency>) -> Node {
        let set = |key, default| unit.settings.bool("Unit", key, default);
        let by_kind = !matches!(unit.name.kind(), Kind::Service | Kind::Target | Kind::Socket | Kind::Timer | Kind::Path);
        Node {
            is_active: false,
            allow_isolate: set("AllowIsolate", false),
            ignore_on_isolate: set("IgnoreOnIsolate", by_kind),
            refuse_start: set("RefuseManualStart", false),
            refuse_stop: set("RefuseManualStop", false),
            can_reload: unit.settings.of("Service", "ExecReload").next().is_some() || unit.name.kind() == Kind::Mount,
            job: None,
            has_defaults: set("DefaultDependencies", true),
            state: unit.state.clone(),
            dependencies,
        }
    }
}

/// Units and how they hang together. Aliases are gone: every name is the unit's own.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    nodes: BTreeMap<UnitName, Node>,
    own_names: BTreeMap<UnitName, UnitName>,
    /// For each unit, who depends on it, and how.
    reverse: BTreeMap<UnitName, Vec<(Relation, UnitName)>>,
}

impl Graph {
    /// Loads `from` and everything that it leads to.
    pub fn of(from: &[UnitName], scope: Scope, load: &mut dyn FnMut(&UnitName) -> Rc<Unit>, known: &dyn Fn(&UnitName) -> bool) -> Graph {
        let mut graph = Graph::default();
        graph.grow(from, scope, load, known);
        graph
    }

    /// The same of units that come to those that are there. What these lead to is there, too.
    pub fn grow(&mut self, from: &[UnitName], scope: Scope, load: &mut dyn FnMut(&UnitName) -> Rc<Unit>, known: &dyn Fn(&UnitName) -> bool) {
        let mut queue: VecDeque<UnitName> = from.iter().cloned().collect();
        let mut seen: BTreeSet<UnitName> = BTreeSet::new();
        let mut fresh: Vec<UnitName> = Vec::new();
        while let Some(asked) = queue.pop_front() {
            if self.own_names.contains_key(&asked) || !seen.insert(asked.clone()) || self.nodes.len() >= NODES_MAX {
                continue;
            }
            let unit = load(&asked);
            self.own_names.insert(asked, unit.name.clone());
            self.own_names.insert(unit.name.clone(), unit.name.clone());
            // what leads to it is not read again to find that out, unless it may be a unit of its own in memory
            for alias in unit.aliases.iter().filter(|alias| !from.contains(alias) && !self.nodes.contains_key(alias)) {
                if seen.insert(alias.clone()) {
                    self.own_names.insert(alias.clone(), unit.name.clone());
                }
            }
            if self.nodes.contains_key(&unit.name) {
                continue;
            }
            let dependencies = if unit.is_loaded() { dependencies(&unit, scope, known) } else { Vec::new() };
            queue.extend(dependencies.iter().map(|d| d.to.clone()));
            self.nodes.insert(unit.name.clone(), Node::new(&unit, dependencies));
            fresh.push(unit.name.clone());
        }
        self.finish(&fresh);
    }

    /// A graph of given nodes.
    pub fn from_nodes(nodes: impl IntoIterator<Item = (UnitName, Node)>) -> Graph {
        let mut graph = Graph { nodes: nodes.into_iter().collect(), ..Graph::default() };
        let all: Vec<UnitName> = graph.nodes.keys().cloned().collect();
        graph.finish(&all);
        graph
    }

    /// Of new units names become the units' own, targets come after what they pull in, and every dependency is known from its other end.
    fn finish(&mut self, fresh: &[UnitName]) {
        let own = &self.own_names;
        for name in fresh {
            let Some(node) = self.nodes.get_mut(name) else { continue };
            let mut renamed = false;
            for dependency in &mut node.dependencies {
                if let Some(real) = own.get(&dependency.to).filter(|real| **real != dependency.to) {
                    dependency.to = real.clone();
                    renamed = true;
                }
            }
            if renamed {
                let mut seen = BTreeSet::new();
                node.dependencies.retain(|d| d.to != *name && seen.insert((d.relation, d.to.clone())));
            }
        }
        fresh.iter().filter(|name| name.kind() == Kind::Target).for_each(|name| self.order_target(name));
        for name in fresh {
            for dependency in self.nodes.get(name).map_or(&[][..], |node| &node.dependencies) {
                self.reverse.entry(dependency.to.clone()).or_default().push((dependency.relation, name.clone()));
            }
        }
    }

    fn order_target(&mut self, name: &UnitName) {
        let Some(node) = self.nodes.get(name).filter(|node| node.has_defaults) else { return };
        let is_ordered = |to: &UnitName| node.dependencies.iter().any(|d| matches!(d.relation, Relation::Before | Relation::After) && d.to == *to);
        let mut more: Vec<UnitName> = Vec::new();
        for dependency in node.dependencies.iter().filter(|d| d.relation.pulls_in() || d.relation == Relation::Requisite) {
            let Some(other) = self.nodes.get(&dependency.to) else { continue };
            let loose = other.has_defaults && other.state == LoadState::Loaded;
            // somebody has ordered the two the other way round, or said so already
            let against = || other.dependencies.iter().any(|d| d.relation == Relation::After && d.to == *name);
            if loose && !is_ordered(&dependency.to) && !against() {
                more.push(dependency.to.clone());
            }
        }
        if let Some(node) = self.nodes.get_mut(name) {
            node.dependencies.extend(more.into_iter().map(|to| Dependency { relation: Relation::After, to, because: Because::Default }));
        }
    }

    /// The unit of a name.
    pub fn node(&self, name: &UnitName) -> Option<&Node> {
        self.nodes.get(self.own(name))
    }

    /// Changes a unit, to say that it runs or has a job.
    pub fn node_mut(&mut self, name: &UnitName) -> Option<&mut Node> {
        let own = self.own(name).clone();
        self.nodes.get_mut(&own)
    }

    /// Takes a unit out; what depends on it keeps its name.
    pub(crate) fn remove(&mut self, name: &UnitName) {
        let own = self.own(name).clone();
        let Some(node) = self.nodes.remove(&own) else { return };
        self.own_names.retain(|_, real| *real != own);
        for dependency in &node.dependencies {
            if let Some(list) = self.reverse.get_mut(&dependency.to) {
                list.retain(|(_, from)| *from != own);
            }
        }
    }

    /// The own name of a unit.
    pub fn own<'n>(&'n self, name: &'n UnitName) -> &'n UnitName {
        self.own_names.get(name).unwrap_or(name)
    }

    /// Every unit.
    pub fn iter(&self) -> impl Iterator<Item = (&UnitName, &Node)> {
        self.nodes.iter()
    }

    /// Units that `name` has this relation to.
    pub fn to<'g>(&'g self, name: &'g UnitName, relation: Relation) -> impl Iterator<Item = &'g UnitName> {
        let dependencies = self.node(name).map_or(&[][..], |node| &node.dependencies);
        dependencies.iter().filter(move |d| d.relation == relation).map(|d| &d.to)
    }

    /// Units that have any relation to `name`.
    pub(crate) fn dependants(&self, name: &UnitName) -> impl Iterator<Item = &UnitName> {
        self.reverse.get(self.own(name)).map_or(&[][..], Vec::as_slice).iter().map(|(_, from)| from)
    }

    /// Units that have this relation to `name`.
    pub fn from<'g>(&'g self, name: &'g UnitName, relation: Relation) -> impl Iterator<Item = &'g UnitName> {
        let list = self.reverse.get(self.own(name)).map_or(&[][..], Vec::as_slice);
        list.iter().filter(move |(r, _)| *r == relation).map(|(_, from)| from)
    }
}
