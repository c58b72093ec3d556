//! Links that go away again.

use std::collections::BTreeSet;

use hostel_unit::UnitName;

use super::{Change, Installer, Outcome, Refusal};
use crate::root::Entry;

/// How deep below the directory links are looked for.
const DEPTH_MAX: usize = 8;

impl Installer<'_, '_> {
    /// Removes every link in `config` and below that has one of the names, is an instance of one, or leads to one, or to one of
    /// the paths among them; whatever led to what was removed goes too.
    pub(super) fn remove_links(&self, config: &str, mut marked: BTreeSet<String>, out: &mut Outcome) {
        if marked.is_empty() {
            return;
        }
        while self.sweep(config, config, &mut marked, 0, out) {}
    }

    /// One pass; whether names were added that ask for another.
    fn sweep(&self, config: &str, directory: &str, marked: &mut BTreeSet<String>, depth: usize, out: &mut Outcome) -> bool {
        let root = self.catalogue.root;
        let Ok(Some(entries)) = root.list(directory) else { return false };
        let mut again = false;
        for (name, entry) in entries {
            let path = format!("{directory}/{name}");
            let target = match entry {
                Entry::Directory if depth < DEPTH_MAX => {
                    again |= self.sweep(config, &path, marked, depth + 1, out);
                    continue;
                }
                Entry::Link(target) => target,
                _ => continue,
            };
            let Ok(unit) = UnitName::parse(&name) else { continue };
            let by_name = marked.contains(&name) || unit.template().is_some_and(|t| marked.contains(t.as_str()));
            if !by_name {
                let absolute = if target.starts_with('/') { target } else { format!("{directory}/{target}") };
                let led = root.chase(&absolute);
                if !marked.contains(&led) && !led.rsplit_once('/').is_some_and(|(_, base)| marked.contains(base)) {
                    continue;
                }
            }
            if let Err(e) = root.unlink(&path) {
                out.fail(Refusal::Root(e));
                continue;
            }
            out.changes.push(Change::Removed(path.clone()));
            self.remove_empty(directory, config);
            again |= marked.insert(path);
        }
        again
    }

    /// Removes directories that have become empty, up to `config`, which stays.
    fn remove_empty(&self, directory: &str, config: &str) {
        let mut directory = directory;
        while directory.len() > config.len() && directory.starts_with(config) {
            if !matches!(self.catalogue.root.remove_directory(directory), Ok(true)) {
                return;
            }
            directory = directory.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}
