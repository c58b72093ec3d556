#![allow(clippy::disallowed_macros)] // a skipped test says so

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

#[test]
fn options_as_typed() {
    let option = |typed: &str| {
        let o = parse_typed(typed, "");
        (o.flags.join(" "), o.value)
    };
    for (typed, flags, value) in [
        ("--json", "--json", Value::None),
        ("-a, --all", "-a --all", Value::None),
        ("-s, --signal SIGNAL", "-s --signal", Value::Needed("SIGNAL".into())),
        ("--memory=BYTES", "--memory", Value::Needed("BYTES".into())),
        ("-t SECONDS, --timeout=SECONDS", "-t --timeout", Value::Needed("SECONDS".into())),
        ("--volatile[=MODE]", "--volatile", Value::Maybe("MODE".into())),
        ("--no-net --no-pid", "--no-net --no-pid", Value::None),
        ("", "", Value::None),
    ] {
        assert_eq!(option(typed), (flags.into(), value), "{typed}");
    }
    assert_eq!(alternatives("host|private|zone:NAME"), ["host", "private", "zone:"]);
    assert!(alternatives("NAME").is_empty() && alternatives("A|b").is_empty());
}

#[test]
fn every_verb_and_option_is_there() {
    let words = words();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let text = completions(shell);
        for word in &words {
            assert!(text.contains(word.name), "{shell:?} {}", word.name);
            for option in &word.options {
                let flag = option.flags.last().map_or("", |f| f.trim_start_matches('-'));
                assert!(!flag.is_empty() && text.contains(flag), "{shell:?} {} {:?}", word.name, option.flags);
            }
        }
        assert!(!text.contains("supervise"), "{shell:?}: hidden verbs stay hidden");
    }
    let of = |name: &str| words.iter().find(|w| w.name == name).map(|w| w.then.clone()).unwrap_or_default();
    assert_eq!(of("kill"), [Argument::Machine]);
    assert_eq!(of("boot"), [Argument::Tree]);
    assert_eq!(of("run"), [Argument::Command]);
    assert_eq!(of("link"), [Argument::Directory]);
    assert_eq!(of("rm"), [Argument::Kept]);
    assert_eq!(of("diff"), [Argument::Kept]);
    assert_eq!(of("try"), [Argument::Command]);
    assert_eq!(of("clone"), [Argument::Images]);
    assert_eq!(of("ps"), []);
}

/// Runs a shell with `script` as input; `None`: there is no such shell.
fn shell(program: &str, args: &[&str], script: &str) -> Option<String> {
    let spawned = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        println!("skipped: there is no {program}");
        return None;
    };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn bash_completes() {
    let script = completions(Shell::Bash)
        + "\ncompopt() { :; }\nhostel() { echo one; echo two; }\n\
           go() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _hostel; echo \"${COMPREPLY[*]}\"; }\n\
           go hostel do\ngo hostel kill --w\ngo hostel kill --whom ''\ngo hostel kill t\ngo hostel kill one --signal ''\ngo hostel kill one ''\n\
           go hostel run --net = v\ngo hostel spec b\ngo hostel help doc\ngo hostel run -- --t\n";
    if let Some(out) = shell("bash", &["--norc"], &script) {
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines, ["doctor", "--whom", "leader all supervisor", "two", "", "", "veth", "boot", "doctor", ""]);
    }
}

#[test]
fn zsh_understands() {
    shell("zsh", &["-f", "-n"], &completions(Shell::Zsh));
}

#[test]
fn fish_completes() {
    let script = completions(Shell::Fish)
        + "\nfunction hostel; echo one; echo two; end\n\
           complete -C 'hostel docto'\ncomplete -C 'hostel kill --who'\ncomplete -C 'hostel kill --whom sup'\ncomplete -C 'hostel kill tw'\ncomplete -C 'hostel ps --js'\ncomplete -C 'hostel doctor --whom'\n";
    if let Some(out) = shell("fish", &["--no-config"], &script) {
        let words: Vec<&str> = out.lines().map(|l| l.split('\t').next().unwrap_or_default()).collect();
        assert_eq!(words, ["doctor", "--whom", "supervisor", "two", "--json"]);
    }
}

#[test]
fn pages_are_well_formed() {
    let pages = pages();
    assert!(pages.iter().any(|p| p.file == "hostel.1") && pages.iter().any(|p| p.file == "hostel-nspawn.1"));
    for page in &pages {
        let requests = [".\\\"", ".TH ", ".SH ", ".SS ", ".TP", ".B ", ".P", ".br"];
        for line in page.text.lines().filter(|l| l.starts_with(['.', '\''])) {
            assert!(requests.iter().any(|r| line.starts_with(r)), "{}: {line}", page.file);
        }
        if let Ok(groff) = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            let mut groff = groff;
            groff.stdin.take().unwrap().write_all(page.text.as_bytes()).unwrap();
            let said = groff.wait_with_output().unwrap().stderr;
            assert!(said.is_empty(), "{}: {}", page.file, String::from_utf8_lossy(&said));
        }
    }
    let kill = pages.iter().find(|p| p.file == "hostel-kill.1").unwrap();
    insta::assert_snapshot!("hostel-kill.1", kill.text);
}
