//! The rows themselves: complete, unambiguous, and what is generated from them.

use std::collections::HashSet;

use super::*;
use crate::options::{OptionId, Status, Takes, original_rank, rows};

#[test]
fn names_are_unique() {
    let mut seen = HashSet::new();
    for row in rows() {
        assert!(seen.insert(format!("{:?}", row.id)), "two rows for {:?}", row.id);
        for long in row.long {
            assert!(seen.insert((*long).to_owned()), "--{long} twice");
        }
        if let Some(letter) = row.short {
            assert!(seen.insert((letter as char).to_string()), "-{} twice", letter as char);
        }
        assert!(row.short.is_some() || !row.long.is_empty());
    }
}

#[test]
fn every_row_has_an_arm() {
    for row in rows() {
        let name = row.name();
        let mut words = vec![name.as_str()];
        let glued;
        match row.takes {
            Takes::Value(_) => {
                glued = format!("{name}\u{1}nonsense");
                words = vec![glued.as_str()];
            }
            _ if row.id == OptionId::UserScope => words.push("bob"),
            _ => {}
        }
        let text = match run(&words) {
            Err(error) => format!("{error} / {:?}", error.hint()),
            Ok(_) => String::new(),
        };
        assert!(!text.contains("no arm"), "{text}");
        assert_eq!(matches!(row.status, Status::Never(_)), text.starts_with(&format!("{name} is not supported")), "{words:?}: {text}");
        assert!(!text.starts_with(&format!("{name} is not implemented yet")), "{words:?}: {text}");
    }
}

/// The switches of systemd-nspawn 252, from its `--help`, are all here, with the same letters.
#[test]
fn all_of_252() {
    const OLD: &str = "help version quiet no-pager settings directory template ephemeral image oci-bundle read-only volatile root-hash \
        root-hash-sig verity-data pivot-root as-pid2 boot chdir setenv user kill-signal notify-ready suppress-sync machine hostname uuid slice \
        property register keep-unit private-users private-users-ownership private-users-chown private-network network-interface \
        network-macvlan network-ipvlan network-veth network-veth-extra network-bridge network-zone network-namespace-path port capability \
        drop-capability ambient-capability no-new-privileges system-call-filter selinux-context selinux-apifs-context rlimit \
        oom-score-adjust cpu-affinity personality resolv-conf timezone link-journal bind bind-ro inaccessible tmpfs overlay overlay-ro \
        bind-user console pipe set-credential load-credential share-system";
    for name in OLD.split_whitespace() {
        assert!(crate::options::by_long(name.as_bytes()).is_some(), "{name}");
        assert!(original_rank(name) < usize::MAX, "{name} is not in order.rs");
    }
    for letter in b"hqDxiabEuMSUnpZLjP" {
        assert!(crate::options::by_short(*letter).is_some(), "{}", *letter as char);
    }
    assert!(crate::options::by_id(OptionId::Bind).is_some());
}

#[test]
fn not_yet_says_so() {
    for (words, expected) in [
        (&["--mstack=x"][..], "--mstack= is not supported"),
        (&["--private-users-delegate=1"], "--private-users-delegate= is not supported"),
        (&["--private-users=managed"], "--private-users=managed is not implemented yet"),
        (&["--private-users-ownership=foreign"], "--private-users-ownership=foreign is not implemented yet"),
        (&["--user"], "--user without a name is not implemented yet"),
    ] {
        let error = error(words);
        assert_eq!(error.to_string(), expected, "{words:?}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn generated_texts() {
    let help = crate::help::text();
    assert!(help.lines().all(|l| l.chars().count() <= 80), "{}", help.lines().find(|l| l.chars().count() > 80).unwrap_or(""));
    insta::assert_snapshot!("help", help);
    let (built, partly, refused) = crate::compat::tally();
    assert!(built >= 70 && partly > 3 && refused < 10, "{built} {partly} {refused}");
    insta::assert_snapshot!("compatibility", crate::compat::markdown());
}

#[test]
fn dump_shows_what_was_understood() {
    assert_eq!(
        printed(&["-qD", "a b", "--volatile", "--dump-doc", "--machine=", "/bin/sh"]),
        "argv[1] --quiet\nargv[1] --directory = \"a b\"\nargv[3] --volatile\nargv[4] --dump-doc\nargv[5] --machine = \"\"\npayload[0] /bin/sh\n"
    );
    assert!(printed(&["--dump-doc", "--nonsense"]).ends_with("stopped: unrecognized option '--nonsense'\n"));
}
