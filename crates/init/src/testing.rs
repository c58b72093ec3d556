//! Trees of unit files for tests.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use hostel_unit::UnitName;

use crate::catalogue::Catalogue;
use crate::depend::Graph;
use crate::load::{Unit, load};
use crate::root::Root;
use crate::search::{Scope, SearchPath};

/// A directory of its own, gone at the end.
pub(crate) struct Tree {
    pub(crate) path: PathBuf,
    pub(crate) root: Root,
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

const VENDOR: &str = "/usr/lib/systemd/system";

impl Tree {
    pub(crate) fn new(name: &str) -> Tree {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hostel-init-{}-{name}-{number}", std::process::id()));
        std::fs::create_dir_all(path.join("etc/systemd/system")).unwrap();
        std::fs::create_dir_all(path.join("usr/lib/systemd/system")).unwrap();
        let root = Root::open(&path).unwrap();
        Tree { path, root }
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.path.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn unit(&self, name: &str, text: &str) {
        // an empty file would be a mask
        self.file(&format!("{VENDOR}/{name}"), if text.is_empty() { "# nothing\n" } else { text });
    }

    /// A link in the vendor's directory.
    pub(crate) fn link(&self, name: &str, target: &str) {
        self.link_at(&format!("{VENDOR}/{name}"), target);
    }

    pub(crate) fn link_at(&self, path: &str, target: &str) {
        let path = self.path.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    pub(crate) fn catalogue(&self) -> Catalogue<'_> {
        Catalogue::scan(&self.root, SearchPath::new(&self.root, Scope::System, None, true)).unwrap()
    }

    pub(crate) fn load(&self, name: &str) -> Unit {
        load(&self.catalogue(), &UnitName::parse(name).unwrap())
    }

    pub(crate) fn graph(&self, from: &[&str]) -> Graph {
        let catalogue = self.catalogue();
        let from: Vec<UnitName> = from.iter().map(|n| UnitName::parse(n).unwrap()).collect();
        Graph::of(&from, Scope::System, &mut |name| load(&catalogue, name).into(), &|name| catalogue.has(name.as_str()))
    }
}
