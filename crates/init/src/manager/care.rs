//! What is done to units besides starting and stopping them: `freeze`, `thaw`, `clean`, `set-property`.

use std::os::fd::AsFd;

use hostel_unit::{Kind, UnitName};

use super::context::PLACES;
use super::discard::discard;
use super::query::{Answer, Refusal};
use super::{Manager, resources};
use crate::keys;

/// What `clean` may take away, as the kinds of [`PLACES`], and the store of descriptors.
const KINDS: [&str; 6] = ["runtime", "state", "cache", "logs", "configuration", "fdstore"];

fn refused(text: String) -> Answer {
    Answer::Refused(Refusal { status: 1, text })
}

impl Manager {
    /// Stops processes of units where they are, or lets them go on.
    pub(super) fn freeze(&mut self, frozen: bool, units: &[UnitName]) -> Answer {
        let verb = if frozen { "freeze" } else { "thaw" };
        for name in units {
            let failed = |why: &str| refused(format!("Failed to {verb} unit {name}: {why}"));
            let Some(live) = self.unit(name) else { return failed(&format!("Unit {name} not loaded.")) };
            if live.service.is_none() {
                return failed(&format!("Unit '{name}' does not support freezing"));
            }
            if live.active().is_down() {
                return failed(&format!("Unit '{name}' is not active."));
            }
            if let Err(e) = self.shared.members.freeze(live.name().as_str(), frozen) {
                return failed(&format!("{verb} its group: {e}"));
            }
        }
        Answer::Done
    }

    /// Takes away what a unit that is down has kept. Nothing said: what it can make again.
    pub(super) fn clean(&mut self, what: &[String], units: &[UnitName]) -> Answer {
        if let Some(bad) = what.iter().find(|word| *word != "all" && !KINDS.contains(&word.as_str())) {
            return refused(format!("Invalid resource type: {bad}"));
        }
        let usual = ["cache".to_owned(), "runtime".to_owned()];
        let what = if what.is_empty() { &usual[..] } else { what };
        let is_asked = |kind: &str| what.iter().any(|word| word == kind || word == "all");
        for name in units {
            let failed = |why: String| refused(format!("Failed to clean unit {name}: {why}"));
            self.bring(std::slice::from_ref(name));
            let own = self.graph.own(name).clone();
            let Some(live) = self.units.get_mut(&own).filter(|live| live.rest.unit.is_loaded()) else {
                return failed(format!("Unit {name} not found."));
            };
            if !live.active().is_down() || live.job.is_some() {
                return failed("Unit is not inactive or has pending job.".to_owned());
            }
            let Some(context) = &live.rest.context else { return failed("Unit does not support cleaning.".to_owned()) };
            if is_asked("fdstore") {
                live.rest.stored.clear();
            }
            for (kind, (place, (entries, _))) in KINDS.iter().zip(PLACES.iter().zip(&context.directories)) {
                for (entry, links) in entries.iter().filter(|_| is_asked(kind)) {
                    let paths = [format!("{}/private/{entry}", place.top), format!("{}/{entry}", place.top)];
                    for path in paths.into_iter().chain(links.iter().map(|link| format!("{}/{link}", place.top))) {
                        match discard(&path) {
                            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return failed(format!("remove {path}: {e}")),
                            _ => {}
                        }
                    }
                }
            }
        }
        Answer::Done
    }

    /// Changes limits of a unit by drop-ins that last, or end with the boot, and of its group at once. `KEY=VALUE`; no value: back
    /// to what the other files say.
    pub(super) fn set_property(&mut self, runtime: bool, name: &UnitName, pairs: &[String]) -> Answer {
        let failed = |why: String| refused(format!("Failed to set unit properties on {name}: {why}"));
        self.bring(std::slice::from_ref(name));
        let own = self.graph.own(name).clone();
        if self.units.get(&own).is_none_or(|live| !live.rest.unit.is_loaded()) {
            return failed(format!("Unit {name} not found."));
        }
        let Some(section) = own.kind().section().filter(|section| keys::shape(section, "MemoryMax").is_some()) else {
            return failed("it has no such properties".to_owned());
        };
        let mut files = Vec::new();
        for pair in pairs {
            let Some((key, value)) = pair.split_once('=').filter(|(_, value)| !value.contains(['\n', '\r', '\0']) && !value.ends_with('\\')) else {
                return failed(format!("Not an assignment: {}", hostel_unit::printable(pair)));
            };
            let in_section = if matches!(key, "Description" | "CollectMode") { "Unit" } else { section };
            // what is of a group, or what people read
            let is_settable = in_section == "Unit" || keys::shape("Slice", key).is_some();
            let Some(shape) = keys::shape(in_section, key).filter(|_| is_settable) else {
                return failed(format!("Cannot set property {}, or unknown property.", hostel_unit::printable(key)));
            };
            if !value.is_empty()
                && let Err(why) = crate::value::parse(shape, value, &mut |_| ())
            {
                return failed(format!("{key}={}: {why}", hostel_unit::printable(value)));
            }
            files.push((format!("50-{key}.conf"), format!("# Made by `set-property`.\n[{in_section}]\n{key}={}\n", value.replace('%', "%%"))));
        }
        let directory = format!("{}/systemd/system.control/{own}.d", if runtime { "/run" } else { "/etc" });
        let root = self.root;
        let paths: Vec<String> = files.iter().map(|(file, _)| format!("{directory}/{file}")).collect();
        let old: Vec<Option<Vec<u8>>> = paths.iter().map(|path| root.read(path).ok()).collect();
        let back = || {
            for (path, old) in paths.iter().zip(&old) {
                let _ = old.as_ref().map_or_else(|| root.unlink(path), |old| root.write(path, old));
            }
        };
        let put = |(path, (_, text)): (&String, &(String, String))| root.write(path, text.as_bytes());
        if let Err(e) = root.make_directories(&directory).and_then(|()| paths.iter().zip(&files).try_for_each(put)) {
            back();
            return failed(e.to_string());
        }
        let before = self.units.get(&own).map(|live| live.rest.limits.clone()).unwrap_or_default();
        if let Err(why) = self.read_again(|unit| unit.name == own) {
            back();
            return failed(why);
        }
        self.limit_again(&own, &before);
        Answer::Done
    }

    /// Limits of a group that is there already, and had these before.
    pub(super) fn limit_again(&mut self, name: &UnitName, before: &[resources::Limit]) {
        let Some(live) = self.units.get_mut(name).filter(|live| !live.active().is_down()) else { return };
        let slice = (name.kind() == Kind::Slice).then(|| resources::slice_path(name.as_str()));
        let depth = match &slice {
            Some(path) => path.split('/').filter(|part| !part.is_empty()).count(),
            None => self.shared.members.depth(name.as_str()),
        };
        let group = match &slice {
            Some(path) => self.shared.members.slice_group(path),
            None => self.shared.members.group(name.as_str()),
        };
        let section = name.kind().section().unwrap_or("Service");
        let undone = resources::undone(before, &live.rest.limits);
        if let Some(group) = &group {
            for key in resources::apply(&undone, group.as_fd(), depth) {
                self.shared.log.own(Some(name.as_str()), &format!("{key}= is in force until its next start: it cannot be taken back now"));
            }
        }
        let lost = match &group {
            Some(group) => (resources::apply(&live.rest.limits, group.as_fd(), depth), resources::NO_CONTROLLER),
            None => (live.rest.limits.iter().map(|limit| limit.key).collect(), resources::NO_GROUP),
        };
        super::world::degrade(&mut live.rest.degraded, &live.rest.unit, section, &lost.0, lost.1);
        super::world::filter(&mut live.rest, &mut self.shared.programs, group.as_ref());
    }
}
