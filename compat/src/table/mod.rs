//! The scenarios, one row each, by topic.

mod bad;
mod basics;
mod boot;
mod console;
mod images;
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
        images::rows,
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

    /// What `systemd-nspawn --help` of 252 lists: long names, with the letter where there is one.
    const OPTIONS: &str = "help:h version quiet:q no-pager settings directory:D template ephemeral:x image:i oci-bundle read-only volatile \
        root-hash root-hash-sig verity-data pivot-root as-pid2:a boot:b chdir setenv:E user:u kill-signal notify-ready suppress-sync \
        machine:M hostname uuid slice:S property register keep-unit private-users private-users-ownership private-network \
        network-interface network-macvlan network-ipvlan network-veth:n network-veth-extra network-bridge network-zone \
        network-namespace-path port:p capability drop-capability ambient-capability no-new-privileges system-call-filter \
        selinux-context:Z selinux-apifs-context:L rlimit oom-score-adjust cpu-affinity personality resolv-conf timezone link-journal:j \
        bind bind-ro inaccessible tmpfs overlay overlay-ro bind-user console pipe:P set-credential load-credential";

    #[test]
    fn every_switch_has_a_scenario() {
        let all = super::all();
        let options: Vec<(&str, Option<&str>)> =
            OPTIONS.split_whitespace().map(|o| o.split_once(':').map_or((o, None), |(o, l)| (o, Some(l)))).collect();
        let used = |arg: &str, long: &str, letter: Option<&str>| {
            let rest = arg.strip_prefix("--").and_then(|a| a.strip_prefix(long));
            rest.is_some_and(|r| r.is_empty() || r.starts_with('=')) || letter.is_some_and(|l| arg.strip_prefix('-') == Some(l))
        };
        // `keep-unit` and the like stand before the arguments of most.
        let usual = ["quiet", "register", "keep-unit", "directory"];
        let without: Vec<&str> = options
            .iter()
            .filter(|(long, letter)| !usual.contains(long) && !all.iter().any(|s| s.args.iter().any(|a| used(a, long, *letter))))
            .map(|(long, _)| *long)
            .collect();
        assert!(without.is_empty(), "no scenario: {without:?}");
    }

    #[test]
    fn names_are_words_and_differ() {
        let all = super::all();
        assert!(all.len() >= 80, "{}", all.len());
        assert!(all.iter().all(|s| s.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
        assert_eq!(all.iter().map(|s| s.name).collect::<BTreeSet<_>>().len(), all.len());
    }
}
