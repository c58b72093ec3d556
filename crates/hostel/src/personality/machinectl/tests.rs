use super::options::{Output, ROWS, parse};
use super::*;
use crate::cli::kill::Target;

fn asked(line: &str) -> Result<Asked, String> {
    parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
}

fn verb(line: &str) -> (Options, String) {
    match asked(line) {
        Ok(Asked::Verb(options, words)) => (*options, words.join(" ".as_ref()).into_string().unwrap()),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn options_stand_anywhere() {
    for line in ["kill web -s HUP --kill-whom=leader", "-sHUP kill --kill-who leader web", "--kill-wh=leader --sig HUP kill -- web"] {
        let (options, words) = verb(line);
        assert_eq!((words.as_str(), options.signal.map(|s| s.raw()), options.whom), ("kill web", Some(1), Some(Target::Leader)), "{line}");
    }
    let (options, words) = verb("list -alqo json --no-legend --max-addresses all --no-pager");
    assert_eq!((words.as_str(), options.output), ("list", Output::Json));
    assert!(options.all && options.full && options.quiet && options.no_legend && options.max_addresses == Some(usize::MAX));
    assert_eq!(verb("-P Leader show web").0.properties, ["Leader"]);
    assert!(verb("-P Leader show web").0.value);
}

#[test]
fn what_follows_a_shells_name_is_the_commands() {
    let (options, words) = verb("--uid anna shell -q web ls -l --all");
    assert_eq!((words.as_str(), options.all, options.quiet), ("shell web ls -l --all", false, true));
    assert_eq!(options.uid.as_deref(), Some("anna"));
    assert!(verb("copy-to web a b --force").0.force);
    let (options, _) = verb("-E A=1 --setenv=B=2 shell web env");
    assert_eq!(options.env, ["A=1".into(), "B=2".into()] as [hostel_spec::OsText; 2]);
}

#[test]
fn command_lines_that_are_wrong() {
    for (line, why) in [
        ("--bogus", "unrecognized option '--bogus'"),
        ("-Z", "invalid option -- 'Z'"),
        ("-p", "option requires an argument -- 'p'"),
        ("--signal", "option '--signal' requires an argument"),
        ("--all=x", "option '--all' doesn't allow an argument"),
        ("--no", "option '--no' is ambiguous; possibilities: '--no-pager' '--no-legend' '--no-ask-password' '--now'"),
        ("-o nonsense", "parse --output=nonsense: there is no such output mode"),
        ("--kill-whom=me kill x", "parse --kill-whom=me: it takes leader, supervisor or all"),
        ("-H host list", "-H is not supported: run `ssh host machinectl …`"),
        ("-M web list", "-M is not supported: run `machinectl shell web machinectl …`"),
        ("--user list", "--user is not supported: there are no machines of single users yet"),
        ("--runner=vmspawn start x", "--runner=vmspawn is not supported: it is always nspawn"),
    ] {
        assert_eq!(asked(line).unwrap_err(), why, "{line}");
    }
    assert!(matches!(asked("--help --bogus"), Ok(Asked::Help)) && matches!(asked("list --version"), Ok(Asked::Version)));
    assert!(matches!(asked("-s list"), Ok(Asked::Text(text)) if text.contains(" 9 SIGKILL\n")));
}

fn said(line: &str) -> String {
    let (options, words) = verb(line);
    let words: Vec<std::ffi::OsString> = words.split_whitespace().map(Into::into).collect();
    match dispatch(&options, &words) {
        Err(Failure::Usage(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn verbs_are_checked_before_anything_is_done() {
    assert_eq!(said("frobnicate"), "unknown command verb 'frobnicate'; `machinectl help` lists them");
    assert_eq!(said("kill"), "too few arguments: kill takes NAME...");
    assert_eq!(said("list web"), "too many arguments: list takes none");
    assert_eq!(said("copy-to web"), "too few arguments: copy-to takes NAME PATH [PATH]");
    assert_eq!(said("bind a b c d"), "too many arguments: bind takes NAME PATH [PATH]");
    assert!(said("bind-volume web x").starts_with("bind-volume is not supported"));
    for line in ["login", "login .host", "shell", "shell .host", "shell anna@"] {
        assert!(said(line).starts_with("a session on the host itself"), "{line}");
    }
    for line in ["kill ../x", "start a/b", "shell -q a$b", "bind .. /x", "copy-from -- -x /x", "show a..b"] {
        assert!(said(line).starts_with("use name "), "{line}: {}", said(line));
    }
}

#[test]
fn rows_are_well_made() {
    let mut names: Vec<&str> = GROUPS.iter().flat_map(|(_, rows)| rows.iter()).flat_map(|row| row.names.iter().copied()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    let mut spellings: Vec<String> =
        ROWS.iter().flat_map(|r| r.long.iter().map(|l| (*l).to_owned()).chain(r.short.map(|s| (s as char).to_string()))).collect();
    let count = spellings.len();
    spellings.sort_unstable();
    spellings.dedup();
    assert_eq!(spellings.len(), count);
    insta::assert_snapshot!("help", help::text());
}
