use super::*;

/// The whole of what `hostel help` and `hostel help VERB` say.
#[test]
fn help_texts() {
    insta::assert_snapshot!("help", help());
    for verb in VERBS {
        insta::assert_snapshot!(format!("help-{}", verb.name), verb_help(verb));
    }
}

#[test]
fn verbs_are_well_described() {
    for (at, verb) in VERBS.iter().enumerate() {
        assert!(!VERBS[..at].iter().any(|v| v.name == verb.name), "{} is there twice", verb.name);
        assert!(verb.about.is_empty() || !verb.examples.is_empty(), "{} has no example", verb.name);
        for (option, about) in verb.options {
            assert!(option.starts_with('-') && !about.is_empty(), "{} {option}", verb.name);
        }
        for (command, _) in verb.examples {
            assert!(command.contains("hostel"), "{command}");
        }
    }
}

/// Every verb refuses an option it does not know, with status 2 and before it looks at anything.
#[test]
fn unknown_options_are_refused() {
    let args = [OsString::from("--no-such-option")];
    for verb in VERBS.iter().filter(|v| v.name != "supervise") {
        assert!(matches!((verb.run)(&args), Err(Failure::Usage(_) | Failure::Dialect(..))), "{}", verb.name);
    }
}
