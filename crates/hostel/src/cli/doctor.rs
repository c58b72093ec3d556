//! `hostel doctor`: what this host can do, what is missing, what that means, what to do.

use std::ffi::OsString;

use hostel_engine::doctor::{self, Finding, State, Surroundings};
use lexopt::Arg::{Long, Short};

use super::{Failure, Outcome, Verb};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "doctor",
    args: "[--json]",
    about: "say what this host can do and what is missing",
    options: &[("--json", "an object: can_run, and findings with name, state, found, means, do, needed")],
    examples: &[
        ("hostel doctor", "before the first machine; exit status 1: none can run"),
        ("hostel doctor --json | jq '.findings[] | select(.state != \"ok\")'", "what does not work"),
    ],
    run,
};

/// `None`: the help was asked for.
fn parse(args: &[OsString]) -> Result<Option<bool>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut json = false;
    while let Some(arg) = words.next()? {
        match arg {
            Long("json") => json = true,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(json))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(json) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let findings = doctor::examine(Surroundings { path: &path, state: &machine::runtime_dir() });
    let shown = if json {
        output::show_json(&serde_json::json!({ "can_run": doctor::can_run(&findings), "findings": findings }))
    } else {
        output::show(&text(&findings, output::terminal_width().unwrap_or(100)))
    };
    Ok(shown.max(u8::from(!doctor::can_run(&findings))))
}

/// One line for each row, and below those that are not well what it means and what to do.
fn text(findings: &[Finding], width: usize) -> String {
    let column = findings.iter().map(|f| f.name.chars().count()).max().unwrap_or(0);
    let indent = 9 + column + 2;
    let mut out = String::new();
    for finding in findings {
        let head = format!("{:<7}  {:<column$}  ", finding.state.as_str(), finding.name);
        out.push_str(&head);
        out.push_str(&output::wrap(&output::clean(&finding.found), indent, width));
        out.push('\n');
        if finding.state != State::Ok {
            for line in [Some(&finding.means), finding.advice.as_ref()].into_iter().flatten() {
                out.push_str(&" ".repeat(11));
                out.push_str(&output::wrap(&output::clean(line), 13, width));
                out.push('\n');
            }
        }
    }
    out.push('\n');
    let lacking: Vec<&str> = findings.iter().filter(|f| f.needed && f.state == State::Missing).map(|f| f.name.as_str()).collect();
    if lacking.is_empty() {
        let (limited, missing) = (count(findings, State::Limited), count(findings, State::Missing));
        out.push_str(&format!("This host can run machines ({} ok, {limited} limited, {missing} missing).\n", count(findings, State::Ok)));
    } else {
        out.push_str(&format!("This host cannot run machines: {}.\n", lacking.join(", ")));
    }
    out
}

fn count(findings: &[Finding], state: State) -> usize {
    findings.iter().filter(|f| f.state == state).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, state: State, needed: bool) -> Finding {
        Finding {
            name: name.into(),
            state,
            found: "found\x1b".into(),
            means: "this and that and more".into(),
            advice: (state != State::Ok).then(|| "do it".into()),
            needed,
        }
    }

    #[test]
    fn rows_and_verdict() {
        let well = [row("a", State::Ok, true), row("long name", State::Limited, true), row("c", State::Missing, false)];
        let want = "ok       a          found\\u{1b}\nlimited  long name  found\\u{1b}\n           this and that\n             and more\n           do it\n\
                    missing  c          found\\u{1b}\n           this and that\n             and more\n           do it\n\n\
                    This host can run machines (1 ok, 1 limited, 1 missing).\n";
        assert_eq!(text(&well, 28), want);
        assert!(text(&[row("kernel", State::Missing, true)], 80).ends_with("This host cannot run machines: kernel.\n"));
        let json = serde_json::to_value(&well[1]).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"name": "long name", "state": "limited", "found": "found\u{1b}", "means": "this and that and more", "do": "do it", "needed": true})
        );
    }
}
