//! Who may import whom: the order of the crates is the design.

use super::Outcome;
use super::graph::{For, Graph};

/// `(crate, what it may import of ours)`, lowest last; `*` is everything.
const EDGES: [(&str, &[&str]); 20] = [
    ("hostel", &["*"]),
    ("hostel-nspawn", &["hostel-spec", "hostel-unit"]),
    ("hostel-oci", &["hostel-spec", "hostel-unit"]),
    ("hostel-lxc", &["hostel-spec"]),
    ("hostel-container", &["hostel-lxc", "hostel-spec", "hostel-process", "hostel-image", "hostel-unit", "hostel-sys"]),
    ("hostel-liblxc", &["hostel-container", "hostel-lxc", "hostel-engine", "hostel-process", "hostel-spec", "hostel-sys"]),
    ("hostel-subhost", &["hostel-spec", "hostel-unit"]),
    ("hostel-overlay", &["hostel-spec", "hostel-image", "hostel-sys"]),
    ("hostel-engine", &["hostel-spec", "hostel-process", "hostel-image", "hostel-ipc", "hostel-sys"]),
    ("hostel-init", &["hostel-unit", "hostel-spec", "hostel-process", "hostel-ipc", "hostel-sys"]),
    ("hostel-image", &["hostel-spec", "hostel-sys"]),
    ("hostel-process", &["hostel-spec", "hostel-sys"]),
    ("hostel-ipc", &["hostel-sys"]),
    ("hostel-spec", &["hostel-unit"]),
    ("hostel-unit", &[]),
    ("hostel-sys", &[]),
    // No part of the product: they may look at anything.
    ("xtask", &["*"]),
    ("hostel-tests", &["*"]),
    ("hostel-fuzz", &["*"]),
    ("hostel-floor", &["hostel-process", "hostel-spec", "hostel-sys"]),
];
/// `(crate, what its tests may import besides)`, with why.
const TEST_EDGES: [(&str, &str, &str); 2] =
    [("hostel-engine", "hostel-nspawn", "snapshots of plans begin with a command line"), ("hostel-engine", "hostel-oci", "and with a config.json")];
/// Stand alone: they look at the product from outside.
const ALONE: [&str; 3] = ["hostel-probe", "hostel-compat", "hostel-bench"];
/// Whom nothing may import.
const TOPS: [&str; 9] =
    ["hostel", "hostel-liblxc", "xtask", "hostel-tests", "hostel-fuzz", "hostel-floor", "hostel-probe", "hostel-compat", "hostel-bench"];

/// Every edge between crates of ours is one of [`EDGES`], for builds and for tests.
pub(crate) fn check() -> Outcome {
    let graph = Graph::read()?;
    let mut faults = Vec::new();
    let mut edges = 0;
    for id in &graph.ours {
        let Some(from) = graph.crates.get(id) else { continue };
        let allowed = match EDGES.iter().find(|(name, _)| *name == from.name) {
            Some((_, allowed)) => *allowed,
            None if ALONE.contains(&from.name.as_str()) => &[],
            None => {
                faults.push(format!("{}: not in the table of xtask/src/edges.rs; a new crate is a decision about the design", from.name));
                continue;
            }
        };
        for (to, why) in from.needs.iter().filter(|(id, _)| graph.ours.contains(id)) {
            let Some(to) = graph.crates.get(to) else { continue };
            edges += 1;
            if let Some(fault) = fault(&from.name, &to.name, *why, allowed) {
                faults.push(fault);
            }
        }
    }
    if faults.is_empty() { Ok(format!("{} crates, {edges} edges, all of the design", graph.ours.len())) } else { Err(faults) }
}

fn fault(from: &str, to: &str, why: For, allowed: &[&str]) -> Option<String> {
    let word = if why == For::Dev { "imports in its tests" } else { "imports" };
    // Tests and tools may see the product's library; nothing else may look upward.
    let tool = allowed == ["*"] && from != "hostel";
    if TOPS.contains(&to) && !(tool && to == "hostel") && !(from == "xtask" && to == "hostel-fuzz") {
        return Some(format!("{from} {word} {to}, which is nobody's library"));
    }
    let tested = why == For::Dev && TEST_EDGES.iter().any(|(f, t, _)| (*f, *t) == (from, to));
    if allowed == ["*"] || allowed.contains(&to) || tested {
        return None;
    }
    Some(format!("{from} {word} {to}; it may import {}", if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_that_are_and_are_not() {
        let engine = EDGES.iter().find(|(name, _)| *name == "hostel-engine").map(|(_, a)| *a).unwrap_or_default();
        assert_eq!(fault("hostel-engine", "hostel-sys", For::Normal, engine), None);
        assert!(fault("hostel-engine", "hostel-unit", For::Normal, engine).is_some());
        assert_eq!(fault("hostel-engine", "hostel-nspawn", For::Dev, engine), None);
        assert!(fault("hostel-engine", "hostel-nspawn", For::Normal, engine).is_some());
        assert!(fault("hostel-image", "hostel-nspawn", For::Dev, &["hostel-spec"]).is_some());
        assert!(fault("hostel-sys", "hostel-unit", For::Normal, &[]).is_some());
        assert!(fault("hostel", "xtask", For::Normal, &["*"]).is_some());
        assert_eq!(fault("hostel", "hostel-engine", For::Normal, &["*"]), None);
        assert_eq!(fault("hostel-tests", "hostel", For::Normal, &["*"]), None);
    }
}
