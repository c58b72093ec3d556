//! Machines that exist and do not run: kept ones, and trees that have a name.

use std::path::{Path, PathBuf};

use hostel_engine::error::{Error, Result};
use hostel_engine::registry::{Registry, RegistryError};
use hostel_image::kept::{self, Contents};
use hostel_image::open::{self, KEPT};
use hostel_spec::{Arrange as _, MachineName, OsText};
use serde_json::{Value, json};

use crate::{native, output};

/// One of them.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) name: MachineName,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// An upper layer, and what it lies over, or why that is not known.
    Kept(std::result::Result<PathBuf, String>),
    /// A directory.
    Tree(PathBuf),
}

/// All of them, by name, kept ones first. A tree and a kept machine may have one name.
pub(super) fn list() -> Result<Vec<Stored>> {
    let mut out: Vec<Stored> = kept::list(Path::new(KEPT))?.into_iter().map(of_kept).collect();
    out.extend(open::list().into_iter().map(|(name, path)| Stored { name, kind: Kind::Tree(path) }));
    out.arrange_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

fn of_kept(name: MachineName) -> Stored {
    let over = match native::kept::lower(&name) {
        Ok(Some(path)) => Ok(path),
        // Removed since it was listed.
        Ok(None) => Err("it is gone".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    Stored { name, kind: Kind::Kept(over) }
}

/// The machine of that name, if none runs and none is dead in `registry`: the kept one before the tree.
pub(super) fn instead(registry: &Registry, name: &MachineName) -> Result<Option<Stored>> {
    match registry.load(name) {
        Err(RegistryError::NotRunning { .. }) => Ok(list()?.into_iter().find(|stored| stored.name == *name)),
        _ => Ok(None),
    }
}

impl Stored {
    /// One word: kept, stopped, damaged.
    pub(super) fn state(&self) -> &'static str {
        match &self.kind {
            Kind::Kept(Ok(_)) => "kept",
            Kind::Kept(Err(_)) => "damaged",
            Kind::Tree(_) => "stopped",
        }
    }

    /// The tree it is, or lies over.
    pub(super) fn tree(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Kept(over) => over.as_deref().ok(),
            Kind::Tree(path) => Some(path),
        }
    }

    /// Why it is damaged.
    pub(super) fn trouble(&self) -> Option<&str> {
        match &self.kind {
            Kind::Kept(Err(why)) => Some(why),
            _ => None,
        }
    }

    /// Where it is.
    fn directory(&self) -> PathBuf {
        match &self.kind {
            Kind::Kept(_) => native::kept::directory(&self.name),
            Kind::Tree(path) => path.clone(),
        }
    }

    /// What its upper layer holds; `None`: it has none.
    fn upper(&self) -> Option<(PathBuf, Result<Contents>)> {
        matches!(self.kind, Kind::Kept(_)).then(|| {
            let path = self.directory().join("upper");
            let contents = kept::all_contents(&self.directory()).map_err(Error::from);
            (path, contents)
        })
    }

    /// The whole as one object, with the keys that a running one has.
    pub(super) fn json(&self) -> Value {
        let text = |path: &Path| OsText::from(path.as_os_str());
        json!({
            "name": self.name,
            "state": self.state(),
            "trouble": self.trouble(),
            "directory": text(&self.directory()),
            "uptime_seconds": null,
            "frozen": false,
            "stats": null,
            "machine": null,
            "supervisor": null,
            "supervisor_error": null,
            "tree": self.tree().map(text),
            "upper": self.upper().map(|(path, contents)| json!({
                "path": text(&path),
                "bytes": contents.as_ref().ok().map(|c| c.bytes),
                "files": contents.as_ref().ok().map(|c| c.files),
            })),
        })
    }

    /// `label: value` lines.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let shown = |path: &Path| output::clean(&path.to_string_lossy());
        let state = match self.trouble() {
            Some(why) => format!("{} ({})", self.state(), output::clean(why)),
            None => format!("{}, it does not run", self.state()),
        };
        let mut out = vec![("machine", self.name.to_string()), ("state", state)];
        if let Some(tree) = self.tree() {
            let over = if tree == Path::new("/") { "/ (this host)".to_owned() } else { shown(tree) };
            out.push((if matches!(self.kind, Kind::Kept(_)) { "lies over" } else { "tree" }, over));
        }
        if let Some((path, contents)) = self.upper() {
            let holds = match contents {
                Ok(Contents { bytes, files }) => format!("{} in {files} file{}", output::bytes(bytes), if files == 1 { "" } else { "s" }),
                Err(error) => output::clean(&error.to_string()),
            };
            out.push(("upper layer", format!("{}, {holds}", shown(&path))));
        }
        out
    }
}
