//! The scenarios, one row each, by topic.

mod bad;
mod basics;
mod boot;
mod console;
mod integration;
mod mounts;
mod network;
mod options;
mod security;
mod settings;
mod trees;
mod users;

use crate::scenario::Scenario;

/// Every scenario.
pub(crate) fn all() -> Vec<Scenario> {
    let topics = [
        basics::rows,
        options::rows,
        console::rows,
        trees::rows,
        mounts::rows,
        users::rows,
        security::rows,
        settings::rows,
        integration::rows,
        network::rows,
        boot::rows,
        bad::rows,
    ];
    topics.into_iter().flat_map(|rows| rows()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_words_and_differ() {
        let all = super::all();
        assert!(all.len() >= 80, "{}", all.len());
        assert!(all.iter().all(|s| s.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
        assert_eq!(all.iter().map(|s| s.name).collect::<BTreeSet<_>>().len(), all.len());
    }
}
