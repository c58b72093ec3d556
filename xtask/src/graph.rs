//! The crates of a build and who depends on whom, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum For {
    /// The crate itself.
    Normal,
    /// Its build script.
    Build,
    /// Its tests.
    Dev,
}

/// One crate.
#[derive(Debug, Clone)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression.
    pub(crate) licence: Option<String>,
    /// `None`: a path, one of ours.
    pub(crate) source: Option<String>,
    /// (id, what for) of what it depends on.
    pub(crate) needs: Vec<(String, For)>,
}

/// All crates by id, and which are ours.
pub(crate) struct Graph {
    pub(crate) crates: BTreeMap<String, Crate>,
    pub(crate) ours: Vec<String>,
}

impl Graph {
    /// Asks cargo, for the machines hostel runs on.
    pub(crate) fn read() -> Result<Self, Vec<String>> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-musl"])
            .current_dir(super::root())
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(|e| vec![format!("run cargo metadata: {e}")])?;
        if !output.status.success() {
            return Err(vec![format!("run cargo metadata: {}", output.status)]);
        }
        let value: Value = serde_json::from_slice(&output.stdout).map_err(|e| vec![format!("parse cargo metadata: {e}")])?;
        Ok(Self::of(&value))
    }

    /// From the text of `cargo metadata --format-version=1`.
    pub(crate) fn of(metadata: &Value) -> Self {
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
        let mut crates = BTreeMap::new();
        for package in list(&metadata["packages"]) {
            let Some(id) = text(&package["id"]) else { continue };
            let field = |name: &str| text(&package[name]);
            let one = Crate {
                name: field("name").unwrap_or_default(),
                version: field("version").unwrap_or_default(),
                licence: field("license"),
                source: field("source"),
                needs: Vec::new(),
            };
            crates.insert(id, one);
        }
        for node in list(&metadata["resolve"]["nodes"]) {
            let Some(found) = node["id"].as_str().and_then(|id| crates.get_mut(id)) else { continue };
            for dependency in list(&node["deps"]) {
                let Some(id) = text(&dependency["pkg"]) else { continue };
                for kind in list(&dependency["dep_kinds"]) {
                    let kind = match kind["kind"].as_str() {
                        Some("build") => For::Build,
                        Some("dev") => For::Dev,
                        _ => For::Normal,
                    };
                    found.needs.push((id.clone(), kind));
                }
            }
        }
        let ours = list(&metadata["workspace_members"]).iter().filter_map(text).collect();
        Self { crates, ours }
    }

    /// The crate of ours with this name.
    pub(crate) fn our(&self, name: &str) -> Option<&String> {
        self.ours.iter().find(|id| self.crates.get(*id).is_some_and(|c| c.name == name))
    }

    /// What is built for `id`: everything reachable without the tests of others.
    pub(crate) fn closure(&self, id: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut left: Vec<&str> = self.crates.get_key_value(id).map(|(id, _)| id.as_str()).into_iter().collect();
        while let Some(id) = left.pop() {
            if seen.insert(id) {
                left.extend(self.crates.get(id).into_iter().flat_map(|c| &c.needs).filter(|(_, why)| *why != For::Dev).map(|(id, _)| id.as_str()));
            }
        }
        seen
    }
}
