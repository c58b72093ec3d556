//! The verbs: one function each.

use std::collections::BTreeSet;

use hostel_unit::{Gather as _, Kind, UnitName};
use rustix::io::Errno;

use super::info::{self, Info};
use super::{Change, Installer, Outcome, Refusal, state};
use crate::catalogue::Found;
use crate::load::LinkKind;
use crate::preset::{Presets, Wanted};
use crate::root::Entry;

/// A unit on a command line: by name, or by the path of its file in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By name.
    Name(UnitName),
    /// By path.
    Path(String),
}

/// What `preset` may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresetMode {
    /// Both.
    Full,
    /// Only enable.
    EnableOnly,
    /// Only disable.
    DisableOnly,
}

impl Installer<'_, '_> {
    /// Makes the links that [Install] asks for, and those of the units in Also=. Nothing is done when one unit cannot be found.
    pub fn enable(&self, targets: &[Target]) -> Outcome {
        let mut out = Outcome::default();
        let Some(units) = self.units(targets, &mut out) else { return out };
        out.rules = Some(self.apply(units, &mut out));
        out
    }

    /// Every unit, or the first refusal.
    fn units(&self, targets: &[Target], out: &mut Outcome) -> Option<Vec<Info>> {
        let mut units: Vec<Info> = Vec::new();
        for target in targets {
            match self.unit(target, &mut out.changes) {
                Ok(info) if units.iter().any(|other| other.name == info.name) => {}
                Ok(info) => units.push(info),
                Err(refusal) => {
                    out.fail(refusal);
                    return None;
                }
            }
        }
        Some(units)
    }

    fn unit(&self, target: &Target, changes: &mut Vec<Change>) -> Result<Info, Refusal> {
        match target {
            Target::Name(name) => info::discover_own(self.catalogue, name, changes),
            Target::Path(path) => {
                let name = self.file_name(path)?;
                // what is in the search path already goes by its name
                if self.catalogue.search.place_of(path).is_some() {
                    return info::discover_own(self.catalogue, &name, changes);
                }
                info::read(self.catalogue, name, path.clone(), changes)
            }
        }
    }

    /// The name of a unit file that is given by its path.
    fn file_name(&self, path: &str) -> Result<UnitName, Refusal> {
        let base = path.rsplit_once('/').map_or(path, |(_, base)| base);
        let name = UnitName::parse(base).map_err(|_| Refusal::File(path.to_owned(), Errno::INVAL))?;
        match self.catalogue.root.entry(path) {
            Some(Entry::File) => Ok(name),
            Some(Entry::Link(_)) => Err(Refusal::File(path.to_owned(), Errno::LOOP)),
            Some(Entry::Directory) => Err(Refusal::File(path.to_owned(), Errno::ISDIR)),
            Some(Entry::Other) => Err(Refusal::File(path.to_owned(), Errno::NOTTY)),
            None => Err(Refusal::Missing(path.to_owned())),
        }
    }

    /// Removes every link to the units, and to those in Also=.
    pub fn disable(&self, names: &[UnitName]) -> Outcome {
        let mut out = Outcome::default();
        for name in names {
            if self.catalogue.find(name) == Found::Missing {
                out.fail(Refusal::Missing(name.to_string()));
            }
        }
        out.rules = Some(0);
        let marked = self.marked(names.to_vec(), &mut out);
        self.remove_links(&self.config(), marked, &mut out);
        out
    }

    /// Links files of other directories into the search path.
    pub fn link(&self, paths: &[String]) -> Outcome {
        let mut out = Outcome::default();
        for path in paths {
            if !path.starts_with('/') {
                out.fail(Refusal::File(path.clone(), Errno::INVAL));
                return out;
            }
            let base = path.rsplit_once('/').map_or(path.as_str(), |(_, base)| base);
            let named = UnitName::parse(base).map_err(|_| Refusal::Name(path.clone()));
            if let Err(refusal) = named.and_then(|_| self.file_name(path)) {
                out.fail(refusal);
                return out;
            }
        }
        for path in paths.iter().filter(|path| self.catalogue.search.place_of(path).is_none()) {
            if let Some((_, base)) = path.rsplit_once('/') {
                self.make_link(&format!("{}/{base}", self.config()), path, self.force, &mut out);
            }
        }
        out
    }

    /// Makes the names lead to nothing.
    pub fn mask(&self, names: &[UnitName]) -> Outcome {
        let mut out = Outcome::default();
        for name in names {
            self.make_link(&format!("{}/{name}", self.config()), "/dev/null", self.force, &mut out);
        }
        out
    }

    /// Takes that back.
    pub fn unmask(&self, names: &[UnitName]) -> Outcome {
        let mut out = Outcome::default();
        let config = self.config();
        let mut marked = BTreeSet::new();
        for name in names {
            let path = format!("{config}/{name}");
            if self.catalogue.root.entry(&path).is_none() || !self.catalogue.root.is_null_or_empty(&path) {
                // the null device of a tree may be missing
                if !matches!(self.catalogue.root.entry(&path), Some(Entry::Link(target)) if target == "/dev/null") {
                    continue;
                }
            }
            if self.remove(&path, &mut out) {
                marked.insert(path);
            }
        }
        self.remove_links(&config, marked, &mut out);
        out
    }

    pub(super) fn remove(&self, path: &str, out: &mut Outcome) -> bool {
        match self.catalogue.root.unlink(path) {
            Ok(()) => {
                out.changes.push(Change::Removed(path.to_owned()));
                true
            }
            Err(e) => {
                out.fail(Refusal::Root(e));
                false
            }
        }
    }

    /// Makes `target` want or require the units, whatever their [Install] says.
    pub fn add_dependency(&self, target: &UnitName, kind: LinkKind, units: &[Target]) -> Outcome {
        let mut out = Outcome::default();
        let mut quiet = Vec::new();
        let target = match info::discover_own(self.catalogue, target, &mut quiet) {
            Ok(info) => info.name,
            Err(refusal) => {
                out.fail(refusal);
                return out;
            }
        };
        let Some(mut units) = self.units(units, &mut out) else { return out };
        for info in &mut units {
            let list = vec![target.to_string()];
            let bare = Info {
                aliases: Vec::new(),
                wanted_by: Vec::new(),
                required_by: Vec::new(),
                upheld_by: Vec::new(),
                also: Vec::new(),
                default_instance: None,
                ..info.clone()
            };
            *info = match kind {
                LinkKind::Wants => Info { wanted_by: list, ..bare },
                LinkKind::Requires => Info { required_by: list, ..bare },
                LinkKind::Upholds => Info { upheld_by: list, ..bare },
            };
        }
        self.apply(units, &mut out);
        out
    }

    /// The unit that default.target is.
    pub fn default_target(&self) -> Result<UnitName, Refusal> {
        let name = UnitName::parse("default.target").map_err(|e| Refusal::Name(e.text))?;
        info::discover(self.catalogue, &name, &mut Vec::new()).map(|info| info.name)
    }

    /// Makes default.target another one.
    pub fn set_default(&self, name: &UnitName) -> Outcome {
        let mut out = Outcome::default();
        if name.kind() != Kind::Target || name.as_str() == "default.target" {
            out.fail(Refusal::Name(name.to_string()));
            return out;
        }
        match info::discover(self.catalogue, name, &mut out.changes) {
            Ok(info) => {
                self.make_link(&format!("{}/default.target", self.catalogue.search.config(false)), &info.path, true, &mut out);
            }
            Err(refusal) => out.fail(refusal),
        }
        out
    }

    /// Enables and disables the units as the presets want.
    pub fn preset(&self, names: &[UnitName], presets: &Presets, mode: PresetMode) -> Outcome {
        let mut out = Outcome::default();
        let mut plan = Plan::default();
        for name in names {
            if let Err(refusal) = self.plan(name, presets, &mut plan, &mut out) {
                out.fail(refusal);
                return out;
            }
        }
        self.carry_out(plan, mode, &mut out);
        out
    }

    /// The same for every unit that there is.
    pub fn preset_all(&self, presets: &Presets, mode: PresetMode) -> Outcome {
        let mut out = Outcome::default();
        let mut plan = Plan::default();
        for name in self.catalogue.names().into_keys() {
            match self.plan(&name, presets, &mut plan, &mut out) {
                Ok(()) => {}
                Err(Refusal::Masked(path)) => out.changes.push(Change::MaskedPassedOver(path)),
                Err(Refusal::Dangling(path)) => out.changes.push(Change::DanglingPassedOver(path)),
                Err(Refusal::Generated(_) | Refusal::Transient(_)) => {}
                Err(refusal) => {
                    out.fail(refusal);
                    return out;
                }
            }
        }
        self.carry_out(plan, mode, &mut out);
        out
    }

    fn plan(&self, name: &UnitName, presets: &Presets, plan: &mut Plan, out: &mut Outcome) -> Result<(), Refusal> {
        let info = info::discover_own(self.catalogue, name, &mut out.changes)?;
        // aliases follow their units, and what an enabled unit names in Also= follows that
        if info.name != *name || plan.claimed.contains(name.as_str()) {
            return Ok(());
        }
        match presets.query(name) {
            Wanted::Enabled(instances) if instances.is_empty() => plan.enable(info),
            Wanted::Enabled(instances) => {
                for instance in instances {
                    let Ok(one) = name.with_instance(&instance) else { continue };
                    plan.enable(info::discover_own(self.catalogue, &one, &mut out.changes)?);
                }
            }
            Wanted::Disabled => plan.disable.push(name.clone()),
            Wanted::Ignored => {}
        }
        Ok(())
    }

    fn carry_out(&self, plan: Plan, mode: PresetMode, out: &mut Outcome) {
        if mode != PresetMode::EnableOnly {
            // units in Also= of what is disabled have presets of their own
            let marked = plan.disable.iter().map(UnitName::to_string).gather();
            self.remove_links(&self.config(), marked, out);
        }
        if mode != PresetMode::DisableOnly {
            out.rules = Some(self.apply(plan.enable, out));
        }
    }

    /// Every unit file with its state.
    pub fn list(&self) -> (Vec<(UnitName, state::FileState)>, Vec<Change>) {
        let mut changes = Vec::new();
        let mut found = Vec::new();
        for name in self.catalogue.names().into_keys() {
            let state = state::state(self.catalogue, &name, &mut changes).unwrap_or(state::FileState::Bad);
            found.push((name, state));
        }
        (found, changes)
    }

    /// Whether a unit says how it is to be enabled.
    pub fn has_rules(&self, name: &UnitName) -> bool {
        info::discover(self.catalogue, name, &mut Vec::new()).is_ok_and(|info| info.has_rules() || !info.also.is_empty())
    }

    /// The state of one.
    pub fn state(&self, name: &UnitName, changes: &mut Vec<Change>) -> Result<state::FileState, Refusal> {
        state::state(self.catalogue, name, changes)
    }
}

/// What presets ask for.
#[derive(Default)]
struct Plan {
    enable: Vec<Info>,
    disable: Vec<UnitName>,
    /// Named in Also= of what is enabled.
    claimed: BTreeSet<String>,
}

impl Plan {
    fn enable(&mut self, info: Info) {
        if !self.enable.iter().any(|other| other.name == info.name) {
            self.claimed.extend(info.also.iter().cloned());
            self.enable.push(info);
        }
    }
}
