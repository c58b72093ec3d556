use super::*;

const EVERY: [Hint; 17] = [
    Hint::Options,
    Hint::GiveTree,
    Hint::GiveCopy,
    Hint::GiveName,
    Hint::GiveOtherName,
    Hint::TreeInUse,
    Hint::HostRoot,
    Hint::NoIdmap,
    Hint::KeepOwners,
    Hint::GiveIds,
    Hint::OtherVolatile,
    Hint::OwnNetwork,
    Hint::OtherAddresses,
    Hint::AlsoCapability,
    Hint::MendSettings,
    Hint::AlsoSettings(Cow::Borrowed("/etc/systemd/nspawn/m.nspawn:3")),
    Hint::Say(Cow::Borrowed("as it is")),
];

/// Every hint as it is said to users of systemd-nspawn, `run`, `boot` and other verbs.
#[test]
fn in_words() {
    let mut out = String::new();
    for hint in EVERY.into_iter().chain([Hint::DidYouMean("bind".into()), Hint::ListedBy("rlimit".into())]) {
        out.push_str(&format!("{hint:?}\n"));
        for voice in [Voice::Nspawn, Voice::Run("run"), Voice::Boot("boot"), Voice::Verb("ps")] {
            out.push_str(&format!("  {voice:?}: {}\n", words(&hint, voice)));
        }
    }
    insta::assert_snapshot!("hints", out);
}

/// Every option a hint names is one of the command line it is said to.
#[test]
fn options_exist() {
    for hint in EVERY {
        for voice in [Voice::Nspawn, Voice::Run("run"), Voice::Boot("boot")] {
            let text = words(&hint, voice);
            for option in text.split_whitespace().filter_map(|w| w.strip_prefix("--")) {
                let name = option.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
                let row = hostel_nspawn::options::by_long(name.as_bytes());
                let own = voice != Voice::Nspawn && crate::native::ROWS.iter().any(|row| row.long == name);
                assert!(row.is_some() || own, "{text}: --{name}");
            }
        }
    }
}

/// The crates below name no option in a hint of their own words: they do not know what was typed.
#[test]
fn libraries_name_no_options() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut stack: Vec<_> = ["engine", "image", "process", "spec", "nspawn"].iter().map(|c| crates.join(c).join("src")).collect();
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                stack.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for (at, _) in text.match_indices("hint(\"") {
                    let rest = &text[at + 6..];
                    let said = &rest[..rest.find("\")").unwrap_or(rest.len())];
                    for word in said.split_whitespace().filter_map(|w| w.strip_prefix("--")) {
                        let name = word.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
                        let ours = hostel_nspawn::options::by_long(name.as_bytes()).is_some() || crate::native::ROWS.iter().any(|r| r.long == name);
                        assert!(!ours, "{}: {said}", path.display());
                    }
                }
            }
        }
    }
}

#[test]
fn voices() {
    let of = |verb, words: &[&str]| Voice::of(verb, &words.iter().map(OsString::from).collect::<Vec<_>>());
    assert_eq!(of("run", &["boot"]), Voice::Run("run"));
    assert_eq!(of("plan", &["--json", "boot", "x"]), Voice::Boot("plan"));
    assert_eq!(of("spec", &["nspawn", "-D", "x"]), Voice::Nspawn);
    assert_eq!(of("plan", &[]), Voice::Verb("plan"));
    assert_eq!(of("ps", &["run"]), Voice::Verb("ps"));
}
