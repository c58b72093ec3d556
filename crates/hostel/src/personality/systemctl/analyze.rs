//! systemd-analyze(1), also `hostel ctl analyze`: how the start of the machine went, and what expressions and unit files mean.
//!
//! What the manager knows (when each unit began to start, when it was up, what it waited for) is asked of it once; everything is
//! made of that here. The output is systemd's, so that what reads it can go on.

mod boot;
mod graph;
mod plot;
#[cfg(test)]
mod tests;
pub(super) mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use super::Outcome;
use super::options::Options;
use crate::output;

/// Options as given.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) root: Option<PathBuf>,
    pub(super) json: bool,
    /// `calendar`: how many moments.
    pub(super) iterations: Option<u32>,
    /// `critical-chain`: microseconds by which a unit may have been earlier than the last.
    pub(super) fuzz: u64,
    pub(super) order_only: bool,
    pub(super) require_only: bool,
    pub(super) from: Vec<String>,
    pub(super) to: Vec<String>,
}

/// One verb: its name, arguments, least and most words, what it does, help.
type Row = (&'static str, &'static str, (usize, usize), fn(&Asked, &[String]) -> Outcome, &'static str);

const MANY: usize = usize::MAX;

#[rustfmt::skip]
pub(super) const VERBS: &[Row] = &[
    ("time", "", (0, 0), boot::time, "How long the start took (the verb when none is given)"),
    ("blame", "", (0, 0), boot::blame, "Units, those that took longest first"),
    ("critical-chain", "[UNIT...]", (0, MANY), boot::critical_chain, "What a unit waited for, and that for what"),
    ("plot", "", (0, 0), plot::plot, "The start as a picture (SVG)"),
    ("dot", "[PATTERN...]", (0, MANY), graph::dot, "Dependencies as a graph for dot(1)"),
    ("verify", "UNIT...|PATH...", (1, MANY), verify, "Faults of unit files, with file and line"),
    ("calendar", "EXPRESSION...", (1, MANY), values::calendar, "The normal form and next moments of calendar expressions"),
    ("timespan", "SPAN...", (1, MANY), values::timespan, "Spans of time in microseconds and in words"),
    ("cat-config", "PATH...", (1, MANY), values::cat_config, "A configuration file and its drop-ins"),
    ("unit-paths", "", (0, 0), values::unit_paths, "Directories of unit files"),
];

/// Verbs of the original that are not built, by name.
pub(super) const MISSING: [&str; 11] = [
    "dump",
    "unit-files",
    "exit-status",
    "capability",
    "syscall-filter",
    "filesystems",
    "condition",
    "compare-versions",
    "timestamp",
    "security",
    "inspect-elf",
];

const OPTIONS: &str = "\
      --root=PATH          Unit files of the tree at PATH (verify, cat-config, unit-paths)
      --json[=MODE]        time, blame, critical-chain: as JSON
      --iterations=N       calendar: so many moments
      --fuzz=SPAN          critical-chain: also what was up by SPAN earlier than the last
      --order, --require   dot: one kind of edge only
      --from-pattern=GLOB  dot: edges from these only
      --to-pattern=GLOB    dot: edges to these only
      --no-pager, --system As it is anyway
";

fn help() -> String {
    let mut out =
        String::from("systemd-analyze [OPTIONS...] COMMAND ...\n\nHow the start went, and what expressions and unit files mean.\n\nCommands:\n");
    for (name, args, _, _, help) in VERBS {
        out.push_str(&format!("  {:<24} {help}\n", format!("{name} {args}").trim_end()));
    }
    out.push_str("\nOptions:\n  -h, --help\n      --version\n");
    out.push_str(OPTIONS);
    out
}

/// Runs `systemd-analyze ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    match parse(args).and_then(|found| match found {
        Parsed::Shown(text) => Ok(output::show(&text)),
        Parsed::Verb(asked, words) => dispatch(&asked, &words),
    }) {
        Ok(status) => ExitCode::from(status),
        Err(why) => super::refuse(&why),
    }
}

enum Parsed {
    Shown(String),
    Verb(Asked, Vec<String>),
}

fn parse(args: &[OsString]) -> Result<Parsed, String> {
    let mut asked = Asked::default();
    let mut words = Vec::new();
    let mut rest = args.iter().map(|arg| arg.to_str().ok_or_else(|| format!("{arg:?} is not UTF-8")));
    while let Some(arg) = rest.next() {
        let arg = arg?;
        let Some(option) = arg.strip_prefix('-').filter(|option| !option.is_empty()) else {
            words.push(arg.to_owned());
            continue;
        };
        if arg == "--" {
            for word in rest.by_ref() {
                words.push(word?.to_owned());
            }
            break;
        }
        let (name, given) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let needs_value = matches!(name, "-root" | "-iterations" | "-fuzz" | "-from-pattern" | "-to-pattern");
        let value = match given {
            None if needs_value => rest.next().ok_or_else(|| format!("systemd-analyze: option '-{name}' requires an argument"))??,
            Some(_) if !needs_value && name != "-json" => return Err(format!("systemd-analyze: option '-{name}' doesn't allow an argument")),
            other => other.unwrap_or_default(),
        };
        match name {
            "h" | "-help" => return Ok(Parsed::Shown(help())),
            "-version" => return Ok(Parsed::Shown(crate::personality::version("systemd-analyze"))),
            "-root" => asked.root = Some(value.into()),
            "-json" => match value {
                "" | "pretty" | "short" => asked.json = true,
                "off" => asked.json = false,
                _ => return Err(format!("--json={value}: it is none of pretty, short, off.")),
            },
            "-iterations" => {
                let many = value.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("Failed to parse iterations: {value}"))?;
                asked.iterations = Some(many);
            }
            "-fuzz" => {
                let hostel_unit::Span::Micros(micros) = values::span(value)? else { return Err("--fuzz= needs an end.".to_owned()) };
                asked.fuzz = micros;
            }
            "-order" => asked.order_only = true,
            "-require" => asked.require_only = true,
            "-from-pattern" => asked.from.push(value.to_owned()),
            "-to-pattern" => asked.to.push(value.to_owned()),
            "-no-pager" | "-system" => {}
            _ => return Err(format!("systemd-analyze: unrecognized option '-{option}'")),
        }
    }
    Ok(Parsed::Verb(asked, words))
}

fn dispatch(asked: &Asked, words: &[String]) -> Outcome {
    let verb = words.first().map_or("time", String::as_str);
    let Some((_, _, (least, most), act, _)) = VERBS.iter().find(|row| row.0 == verb) else {
        return Err(if MISSING.contains(&verb) { format!("Verb '{verb}' is not implemented yet.") } else { format!("Unknown command verb {verb}.") });
    };
    let rest = words.get(1..).unwrap_or_default();
    if rest.len() < *least {
        return Err("Too few arguments.".to_owned());
    }
    if rest.len() > *most {
        return Err("Too many arguments.".to_owned());
    }
    if let Some(option) = misplaced(asked, verb) {
        return Err(format!("{option} is not for '{verb}'."));
    }
    act(asked, rest)
}

/// An option that the verb would not look at.
fn misplaced(asked: &Asked, verb: &str) -> Option<&'static str> {
    let given = [
        ("--json", asked.json, &["time", "blame", "critical-chain"][..]),
        ("--iterations=", asked.iterations.is_some(), &["calendar"]),
        ("--fuzz=", asked.fuzz > 0, &["critical-chain"]),
        ("--order", asked.order_only, &["dot"]),
        ("--require", asked.require_only, &["dot"]),
        ("--from-pattern=", !asked.from.is_empty(), &["dot"]),
        ("--to-pattern=", !asked.to.is_empty(), &["dot"]),
        ("--root=", asked.root.is_some(), &["verify", "cat-config", "unit-paths", "calendar"]),
    ];
    given.into_iter().find(|(_, given, verbs)| *given && !verbs.contains(&verb)).map(|(option, ..)| option)
}

/// The same in systemctl's terms.
fn options(asked: &Asked) -> Options {
    Options { root: asked.root.clone(), ..Options::default() }
}

/// `hostel ctl calendar`.
pub(super) fn calendar(options: &Options, words: &[String]) -> Outcome {
    values::calendar(&Asked { root: options.root.clone(), ..Asked::default() }, words)
}

fn verify(asked: &Asked, words: &[String]) -> Outcome {
    super::verify::verify(&options(asked), words)
}
