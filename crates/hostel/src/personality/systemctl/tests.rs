use std::ffi::OsString;

use super::options::{Asked, Options, parse};
use super::*;

fn asked(words: &[&str]) -> Result<(Options, Vec<String>), String> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    match parse(&words)? {
        Asked::Verb(options, words) => Ok((options, words)),
        Asked::Text(text) => Err(text),
        Asked::Help | Asked::Version => Err("text".into()),
    }
}

#[test]
fn options_before_and_after() {
    let (options, words) = asked(&["-q", "enable", "a", "--root", "/x//y/.", "--runt", "-pId,Names", "--", "-b"]).unwrap();
    assert_eq!(words, ["enable", "a", "-b"]);
    assert!(options.quiet && options.runtime);
    assert_eq!(options.root.as_deref(), Some(std::path::Path::new("/x/y")));
    assert_eq!(options.properties, ["Id", "Names"]);
    for (words, why) in [
        (&["--frob"][..], "systemctl: unrecognized option '--frob'"),
        (&["--no"], "systemctl: option '--no' is ambiguous"),
        (&["--root"], "systemctl: option '--root' requires an argument"),
        (&["--quiet=1"], "systemctl: option '--quiet' doesn't allow an argument"),
        (&["-x"], "systemctl: invalid option -- 'x'"),
        (&["-t", "frob"], "Unknown unit type or load state 'frob'.\nUse -t help to see a list of allowed values."),
        (&["--job-mode=x"], "Job mode x not valid."),
    ] {
        assert_eq!(asked(words).unwrap_err(), why);
    }
    assert!(asked(&["--user"]).unwrap_err().contains("not implemented yet"));
    assert!(asked(&["-H", "x"]).unwrap_err().contains("not supported"));
}

#[test]
fn options_of_systemctl_py() {
    let split = |words: &[&str]| replaced::split(&words.iter().map(OsString::from).collect::<Vec<_>>());
    let own = split(&["-qvv1", "-eA=b", "-e", "C=d e", "-0", "--exit", "start", "-pId", "--root", "/x", "--extra-vars=E=", "--", "-c"]).unwrap();
    assert_eq!(own.rest, ["-q", "start", "-pId", "--root", "/x", "--", "-c"]);
    assert_eq!((own.init, own.exit, own.variables.join("|")), (true, 2, "A=b|C=d e|E=".to_owned()));
    assert!(own.notes.is_empty());
    let own = split(&["-c", "InitLoopSleep=1", "-cFROB", "-c", "EXIT_MODE=2", "-4", "--maxtimeout=5"]).unwrap();
    assert_eq!(own.exit, 2);
    assert_eq!(own.notes.len(), 4, "{:?}", own.notes);
    assert!(own.notes[0].contains("nothing is polled") && own.notes[1].contains("FROB: (ignored)"));
    for wrong in [&["-c"][..], &["-e", "x"], &["--verbose=3"], &["--config"]] {
        assert!(split(wrong).is_err(), "{wrong:?}");
    }
    // words that are systemctl's keep their values
    assert_eq!(split(&["-t1", "-s9"]).unwrap().rest, ["-t1", "-s9"]);
}

#[test]
fn every_verb_once() {
    let mut seen = std::collections::BTreeSet::new();
    for row in GROUPS.iter().flat_map(|(_, rows)| rows.iter()) {
        assert!(seen.insert(row.name), "{}", row.name);
        assert!(row.words.0 <= row.words.1);
    }
    let mut long = std::collections::BTreeSet::new();
    assert!(options::ROWS.iter().all(|row| long.insert(row.long)));
}

#[test]
fn without_a_manager() {
    let (options, _) = asked(&["--root=/"]).unwrap();
    assert_eq!(dispatch(&options, &["frob".into()]).unwrap_err(), "Unknown command verb frob.");
    assert_eq!(dispatch(&options, &["stop".into(), "a".into()]).unwrap_err(), "Verb 'stop' cannot be used with --root= or --image=.");
    assert_eq!(dispatch(&options, &["enable".into()]).unwrap_err(), "Too few arguments.");
    assert_eq!(dispatch(&options, &["get-default".into(), "x".into()]).unwrap_err(), "Too many arguments.");
}
