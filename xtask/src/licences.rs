//! What we depend on: licences we may ship, sources we know, and not too much of it.

use std::collections::BTreeMap;

use super::Outcome;
use super::graph::Graph;

/// Licences that fit "MIT OR Apache-2.0"; deny.toml has the same list.
const ALLOWED: [&str; 10] =
    ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unicode-3.0", "0BSD", "bzip2-1.0.6"];
/// crates.io, as cargo names it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Most crates of others that the product may be built from.
const BUDGET: usize = 75;

/// Every crate of every build has an allowed licence and comes from crates.io; the product keeps its budget.
pub(crate) fn check() -> Outcome {
    let graph = Graph::read()?;
    let mut faults = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for krate in graph.crates.values().filter(|c| c.source.is_some()) {
        let named = format!("{} {}", krate.name, krate.version);
        if krate.source.as_deref() != Some(REGISTRY) {
            faults.push(format!("{named}: comes from {}, not from crates.io", krate.source.as_deref().unwrap_or("nowhere")));
        }
        match &krate.licence {
            Some(expression) if allowed(expression) => {}
            Some(expression) => faults.push(format!("{named}: licence {expression} is not one we take")),
            None => faults.push(format!("{named}: states no licence")),
        }
        versions.entry(&krate.name).or_default().push(&krate.version);
    }
    for (name, found) in versions.iter().filter(|(_, found)| found.len() > 1) {
        eprintln!("licences: warning: {name} is there {} times: {}", found.len(), found.join(", "));
    }
    let Some(product) = graph.our("hostel") else { return Err(vec!["find crate hostel: it is not in the workspace".into()]) };
    let built = graph.closure(product).into_iter().filter(|id| graph.crates.get(*id).is_some_and(|c| c.source.is_some())).count();
    if built > BUDGET {
        faults.push(format!("hostel is built from {built} crates of others; the budget is {BUDGET}"));
    }
    let all = versions.values().map(Vec::len).sum::<usize>();
    if faults.is_empty() {
        Ok(format!("{built} crates of others in the product (budget {BUDGET}), {all} with tests and tools, all allowed"))
    } else {
        Err(faults)
    }
}

/// Whether an SPDX expression leaves us a choice we take. `AND` binds closer than `OR`; an old `/` means OR.
fn allowed(expression: &str) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let mut at = 0;
    let good = any(&tokens, &mut at);
    good && at == tokens.len()
}

fn any(tokens: &[&str], at: &mut usize) -> bool {
    let mut good = all(tokens, at);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        good |= all(tokens, at);
    }
    good
}

fn all(tokens: &[&str], at: &mut usize) -> bool {
    let mut good = one(tokens, at);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        good &= one(tokens, at);
    }
    good
}

fn one(tokens: &[&str], at: &mut usize) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token == "(" {
        let good = any(tokens, at);
        let closed = tokens.get(*at) == Some(&")");
        *at += 1;
        return good && closed;
    }
    let mut name = (*token).to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", tokens.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    ALLOWED.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for (text, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND LGPL-2.1", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("GPL-2.0 WITH Linux-syscall-note", false),
            ("", false),
            ("MIT )", false),
            ("( MIT", false),
        ] {
            assert_eq!(allowed(text), expected, "{text}");
        }
    }
}
