//! `revert`: back to what the vendor shipped.

use std::collections::BTreeSet;

use hostel_unit::UnitName;

use super::{Change, Installer, Outcome, Refusal};
use crate::root::Entry;
use crate::search::Role;

impl Installer<'_, '_> {
    /// Removes drop-ins and, of units that the vendor has, files and masks of the administrator; with them the links that lead there.
    pub fn revert(&self, names: &[UnitName]) -> Outcome {
        let mut out = Outcome::default();
        let mut marked = BTreeSet::new();
        for name in names {
            let mut own = Vec::new();
            let mut has_vendor = false;
            for (place, listing) in self.catalogue.places() {
                let configured = matches!(place.role, Role::Persistent | Role::Runtime | Role::Config | Role::Transient);
                match listing.get(name.as_str()) {
                    Some(Entry::File | Entry::Link(_)) if configured => own.push(format!("{}/{name}", place.path)),
                    Some(Entry::File) => has_vendor = true,
                    _ => {}
                }
                if configured && listing.get(&format!("{name}.d")) == Some(&Entry::Directory) {
                    self.remove_tree(&format!("{}/{name}.d", place.path), &mut out);
                }
            }
            if has_vendor {
                for path in own {
                    if self.remove(&path, &mut out) {
                        marked.insert(path);
                    }
                }
            }
        }
        for runtime in [true, false] {
            self.remove_links(self.catalogue.search.config(runtime), marked.clone(), &mut out);
        }
        out
    }

    /// Removes a directory of drop-ins with the files in it.
    fn remove_tree(&self, directory: &str, out: &mut Outcome) {
        for (name, entry) in self.catalogue.root.list(directory).ok().flatten().unwrap_or_default() {
            let path = format!("{directory}/{name}");
            if entry == Entry::Directory {
                self.remove_tree(&path, out);
            } else {
                self.remove(&path, out);
            }
        }
        match self.catalogue.root.remove_directory(directory) {
            Ok(true) => out.changes.push(Change::Removed(directory.to_owned())),
            Ok(false) => {}
            Err(e) => out.fail(Refusal::Root(e)),
        }
    }
}
