//! Two outcomes side by side: what differs, and whether the ledger knows why.

use std::collections::BTreeSet;

use crate::ledger::{ACCEPTED, Accepted};
use crate::run::Outcome;

/// One field that differs.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) field: String,
    pub(crate) theirs: String,
    pub(crate) ours: String,
    /// Index of the ledger's entry, if any.
    pub(crate) accepted: Option<usize>,
}

/// Every field that differs. Fields that begin with `#` are for the reader only.
pub(crate) fn differences(scenario: &str, theirs: &Outcome, ours: &Outcome) -> Vec<Difference> {
    // where one side showed no view, its fields are not what differs
    let blind = [theirs, ours].iter().any(|side| side.contains_key("view"));
    let whole = |f: &str| ["exit", "view", "stderr", "after"].contains(&f) || ["left.", "tree:", "note."].iter().any(|p| f.starts_with(p));
    let fields: BTreeSet<&String> = theirs.keys().chain(ours.keys()).filter(|f| !f.starts_with('#') && (!blind || whole(f))).collect();
    let value = |side: &Outcome, field: &str| side.get(field).cloned().unwrap_or_else(|| "-".into());
    let pairs = fields.into_iter().map(|field| (field, value(theirs, field), value(ours, field)));
    // a mount that one side lacks is one difference, not two
    let lacking =
        |field: &str| field.strip_prefix("mount-from:").is_some_and(|t| [theirs, ours].iter().any(|side| !side.contains_key(&format!("mount:{t}"))));
    let differ = pairs.filter(|(field, theirs, ours)| theirs != ours && !lacking(field));
    differ
        .map(|(field, theirs, ours)| Difference { accepted: accepted(scenario, field, &theirs, &ours), field: field.clone(), theirs, ours })
        .collect()
}

fn accepted(scenario: &str, field: &str, theirs: &str, ours: &str) -> Option<usize> {
    ACCEPTED.iter().position(|entry| covers(entry, scenario, field, theirs, ours))
}

fn covers(entry: &Accepted, scenario: &str, field: &str, theirs: &str, ours: &str) -> bool {
    let any = |patterns: &str, text: &str| patterns.split('|').any(|p| glob(p, text));
    any(entry.scenarios, scenario) && any(entry.fields, field) && glob(entry.theirs, theirs) && glob(entry.ours, ours)
}

/// `*` stands for any text, everything else for itself.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            match rest.find(middle) {
                Some(at) => rest = &rest[at + middle.len()..],
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |end: &str| rest.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
            ("*", "xy", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**c", "abc", true),
            ("x", "x", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn equal_outcomes_do_not_differ() {
        let side = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Outcome>();
        let theirs = side(&[("exit", "0"), ("#stderr", "a"), ("x", "1")]);
        assert!(differences("s", &theirs, &side(&[("exit", "0"), ("#stderr", "b"), ("x", "1")])).is_empty());
        let found = differences("no-such-scenario", &theirs, &side(&[("exit", "1")]));
        let found: Vec<_> = found.iter().map(|d| (d.field.as_str(), d.theirs.as_str(), d.ours.as_str(), d.accepted)).collect();
        assert_eq!(found, [("exit", "0", "1", None), ("x", "1", "-", None)]);
    }

    #[test]
    fn every_entry_says_why() {
        for entry in ACCEPTED {
            assert!(entry.reason.len() > 15 && !entry.reason.ends_with('.'), "{entry:?}");
            assert!(!(entry.fields == "*" && entry.scenarios == "*"), "{entry:?} accepts everything");
        }
    }
}
