//! Links that installation makes.

use rustix::io::Errno;

use super::{Change, Info, Installer, Outcome, Refusal};
use crate::catalogue::alias_fault;
use crate::root::Entry;
use hostel_unit::UnitName;

impl Installer<'_, '_> {
    /// Makes the link `path` to `target`; one that leads there already is left alone. Whether it is there now.
    pub(super) fn make_link(&self, path: &str, target: &str, force: bool, out: &mut Outcome) -> bool {
        let root = self.catalogue.root;
        if let Some((directory, _)) = path.rsplit_once('/')
            && let Err(e) = root.make_directories(directory)
        {
            out.fail(Refusal::Root(e));
            return false;
        }
        match root.link(path, target, false) {
            Ok(()) => {
                out.changes.push(Change::Linked { path: path.to_owned(), target: target.to_owned() });
                return true;
            }
            Err(e) if e.errno() == Some(Errno::EXIST) => {}
            Err(e) => {
                out.fail(Refusal::Root(e));
                return false;
            }
        }
        let Some(Entry::Link(found)) = root.entry(path) else {
            out.fail(Refusal::Exists(path.to_owned(), None));
            return false;
        };
        if self.same(path, &found, target) {
            return true;
        }
        if !force {
            out.fail(Refusal::Exists(path.to_owned(), Some(found)));
            return false;
        }
        if let Err(e) = root.link(path, target, true) {
            out.fail(Refusal::Root(e));
            return false;
        }
        out.changes.push(Change::Removed(path.to_owned()));
        out.changes.push(Change::Linked { path: path.to_owned(), target: target.to_owned() });
        true
    }

    /// Whether a link that says `found` leads to `target`.
    fn same(&self, path: &str, found: &str, target: &str) -> bool {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let absolute = |text: &str| if text.starts_with('/') { text.to_owned() } else { format!("{directory}/{text}") };
        absolute(found) == target || self.catalogue.root.chase(&absolute(found)) == self.catalogue.root.chase(target)
    }

    /// Makes every link of one unit.
    pub(super) fn install(&self, info: &Info, out: &mut Outcome) {
        let config = self.config();
        self.link_file(info, &config, out);
        for alias in &info.aliases {
            self.link_alias(info, alias, &config, out);
        }
        let lists = [(&info.wanted_by, "wants"), (&info.required_by, "requires"), (&info.upheld_by, "upholds")];
        for (list, suffix) in lists {
            for by in list {
                self.link_wanted(info, by, suffix, &config, out);
            }
        }
    }

    /// A file outside of the search path is linked into it.
    fn link_file(&self, info: &Info, config: &str, out: &mut Outcome) {
        if self.catalogue.search.place_of(&info.path).is_some() {
            return;
        }
        if let Some((_, base)) = info.path.rsplit_once('/') {
            self.make_link(&format!("{config}/{base}"), &info.path, self.force, out);
        }
    }

    fn link_alias(&self, info: &Info, alias: &str, config: &str, out: &mut Outcome) {
        let refuse = || Refusal::Alias { unit: info.name.to_string(), alias: alias.to_owned() };
        let Ok(name) = UnitName::parse(alias) else { return out.fail(refuse()) };
        let own = info.instantiated();
        // an instance may have a plain alias only when the template says so by its default
        let fits = alias_fault(&name, &own).is_none() || info.name.is_template() && alias_fault(&name, &info.name).is_none();
        if !fits || !name.kind().can_alias() && name != own {
            return out.fail(refuse());
        }
        self.make_link(&format!("{config}/{alias}"), &info.path, self.force, out);
    }

    fn link_wanted(&self, info: &Info, by: &str, suffix: &str, config: &str, out: &mut Outcome) {
        let Ok(by) = UnitName::parse(by) else { return out.fail(Refusal::Name(by.to_owned())) };
        let name = info.instantiated();
        if name.is_template() && !by.is_template() {
            return out.fail(Refusal::Template { unit: name.to_string(), by: by.to_string() });
        }
        if !name.is_template() && by.is_template() && !name.is_instance() {
            return out.fail(Refusal::Name(by.to_string()));
        }
        if self.make_link(&format!("{config}/{by}.{suffix}/{name}"), &info.path, true, out)
            && !self.catalogue.has(by.as_str())
            && !by.template().is_some_and(|t| self.catalogue.has(t.as_str()))
        {
            out.changes.push(Change::NoDestination { path: info.path.clone(), by: by.to_string() });
        }
    }
}
