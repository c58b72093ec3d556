//! The fold against glibc's getopt_long, in its own words (measured on systemd-nspawn 252).

use std::os::unix::ffi::OsStringExt as _;

use hostel_spec::Hint;

use super::*;
use crate::fold;

/// `argv[n] --name = value` lines, joined by `; `.
fn folded(words: &[&str]) -> String {
    fold(&args(words)).dump().lines().collect::<Vec<_>>().join("; ")
}

#[test]
fn spellings() {
    for (words, expected) in [
        (&["-D", "dir"][..], "argv[1] --directory = dir"),
        (&["-Ddir"], "argv[1] --directory = dir"),
        (&["-D=dir"], "argv[1] --directory = =dir"),
        (&["--directory=dir"], "argv[1] --directory = dir"),
        (&["--directory", "dir"], "argv[1] --directory = dir"),
        (&["--directory="], "argv[1] --directory = \"\""),
        (&["--directory", ""], "argv[1] --directory = \"\""),
        (&["--directory", "-x"], "argv[1] --directory = -x"),
        (&["--directory", "--"], "argv[1] --directory = --"),
        (&["--dir", "a=b"], "argv[1] --directory = a=b"),
        (&["--dir=a=b"], "argv[1] --directory = a=b"),
        (&["-qbD", "dir", "x"], "argv[1] --quiet; argv[1] --boot; argv[1] --directory = dir; payload[0] x"),
        (&["-qbDdir"], "argv[1] --quiet; argv[1] --boot; argv[1] --directory = dir"),
        (&["-Uq"], "argv[1] -U; argv[1] --quiet"),
        (&["--volatile"], "argv[1] --volatile"),
        (&["--volatile="], "argv[1] --volatile = \"\""),
        (&["--volatile", "yes"], "argv[1] --volatile; payload[0] yes"),
        (&["--chd", "/"], "argv[1] --chdir = /"),
        (&["--kill", "TERM"], "argv[1] --kill-signal = TERM"),
        (&["--e"], "argv[1] --ephemeral"),
        (&["--bind", "/a"], "argv[1] --bind = /a"),
        (&["--q", "--", "-q"], "argv[1] --quiet; payload[0] -q"),
        (&["x", "-q"], "payload[0] x; payload[1] -q"),
        (&["-", "-q"], "payload[0] -; payload[1] -q"),
        (&["--"], ""),
        (&[], ""),
        (&[""], "payload[0] \"\""),
        (&["--user", "bob", "sh"], "argv[1] --user = bob; payload[0] sh"),
        (&["--user=bob"], "argv[1] --user = bob"),
        (&["--user", "-q"], "argv[1] --user; argv[2] --quiet"),
        (&["--user"], "argv[1] --user"),
        (&["-u", "bob"], "argv[1] --uid = bob"),
        // ours are options only when spelt out
        (&["--memory=1G"], "argv[1] --memory = 1G"),
        (&["--cpu=0"], "argv[1] --cpu-affinity = 0"),
        (&["--pip"], "argv[1] --pipe"),
        (&["--memor=1"], "stopped: unrecognized option '--memor=1'"),
    ] {
        assert_eq!(folded(words), expected, "{words:?}");
    }
}

/// Texts as printed by systemd-nspawn 252 after its name; where 262 has options 252 has not, they are added to the list.
#[test]
fn glibc_texts() {
    for (words, expected) in [
        (&["--foo"][..], "unrecognized option '--foo'"),
        (&["--foo=3"], "unrecognized option '--foo=3'"),
        (&["--bind"], "option '--bind' requires an argument"),
        (&["--direc"], "option '--directory' requires an argument"),
        (
            &["--b"],
            "option '--b' is ambiguous; possibilities: '--boot' '--bind' '--bind-ro' '--bind-user' '--background' '--bind-user-shell' '--bind-user-group'",
        ),
        (&["--bi=x"], "option '--bi=x' is ambiguous; possibilities: '--bind' '--bind-ro' '--bind-user' '--bind-user-shell' '--bind-user-group'"),
        (&["--u="], "option '--u=' is ambiguous; possibilities: '--uid' '--user' '--uuid'"),
        (&["--d"], "option '--d' is ambiguous; possibilities: '--directory' '--drop-capability'"),
        (&["--o"], "option '--o' is ambiguous; possibilities: '--overlay' '--overlay-ro' '--oom-score-adjust' '--oci-bundle'"),
        (
            &["--network"],
            "option '--network' is ambiguous; possibilities: '--network-interface' '--network-macvlan' '--network-ipvlan' '--network-veth' '--network-veth-extra' '--network-bridge' '--network-zone' '--network-namespace-path'",
        ),
        (&["--quiet=1"], "option '--quiet' doesn't allow an argument"),
        (&["--quie="], "option '--quiet' doesn't allow an argument"),
        (&["-z"], "invalid option -- 'z'"),
        (&["-qz"], "invalid option -- 'z'"),
        (&["-q-"], "invalid option -- '-'"),
        (&["-:"], "invalid option -- ':'"),
        (&["-D"], "option requires an argument -- 'D'"),
        (&["-qM"], "option requires an argument -- 'M'"),
        (&["--foo\nbar"], "unrecognized option '--foo\\nbar'"),
    ] {
        assert_eq!(error(words).to_string(), expected, "{words:?}");
        original::compare_text(words, expected);
    }
}

#[test]
fn order_decides() {
    assert_eq!(run(&["--help", "--nonsense"]), Ok(Action::Help));
    assert_eq!(run(&["--version", "extra"]), Ok(Action::Version));
    assert_eq!(run(&["--uuid=x", "--help"]).unwrap_err().to_string(), "parse --uuid=x: it takes 32 hexadecimal digits, with or without dashes");
    assert_eq!(run(&["--nonsense", "--help"]).unwrap_err().to_string(), "unrecognized option '--nonsense'");
    assert_eq!(run(&["-a", "-b", "--console=help"]), Ok(Action::Print("interactive\nread-only\npassive\npipe\nautopipe\n".into())));
}

#[test]
fn hints() {
    assert_eq!(error(&["--bnid=/x"]).hint(), Some(Hint::DidYouMean("bind".into())));
    assert_eq!(error(&["--hostnam3=x"]).hint(), Some(Hint::DidYouMean("hostname".into())));
    assert_eq!(error(&["--treee=x"]).hint(), Some(Hint::Options));
    assert_eq!(error(&["--mem=1G"]).hint(), Some(Hint::DidYouMean("memory".into())));
    assert_eq!(error(&["--treee=x"]).hint_among(&["tree"]), Some(Hint::DidYouMean("tree".into())));
    assert_eq!(error(&["--zzzzzzzz"]).hint(), Some(Hint::Options));
    assert!(matches!(error(&["--property=Foo=1"]).hint(), Some(Hint::Say(text)) if text.starts_with("known ")));
    assert!(error(&["--mstack=x"]).hint().is_some());
}

#[test]
fn bytes_that_are_no_text() {
    let bad = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let parse = |list: Vec<OsString>| parse(&list, &environment(&[]));
    for list in [
        vec![bad(b"-D\xff")],
        vec![OsString::from("-D"), bad(b"\xff")],
        vec![bad(b"--directory=\xff")],
        vec![bad(b"-EA=\xff")],
        vec![bad(b"-D/a\0b")],
        vec![bad(b"--bind=/a\0b")],
    ] {
        let text = parse(list.clone()).unwrap_err().to_string();
        assert!(text.starts_with("parse --") && (text.ends_with("it is not UTF-8") || text.ends_with("it contains a NUL byte")), "{list:?}: {text}");
    }
    assert_eq!(parse(vec![bad(b"--\xff")]).unwrap_err().to_string(), "unrecognized option '--\u{fffd}'");
    assert_eq!(parse(vec![bad(b"-\xff")]).unwrap_err().to_string(), "invalid option -- '\u{fffd}'");
    // a payload's words may be any bytes but NUL
    let Ok(Action::Run(spec)) = parse(vec![OsString::from("x"), bad(b"\xff")]) else { panic!() };
    assert_eq!(spec.process.argv[1].as_bytes(), b"\xff");
    assert_eq!(parse(vec![bad(b"a\0b")]).unwrap_err().to_string(), "run the command: one of its arguments contains a NUL byte");
}
