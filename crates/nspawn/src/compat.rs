//! The part of COMPATIBILITY.md that is about systemd-nspawn, made of the option rows. xtask writes the file.

use std::fmt::Write as _;

use crate::environment::VARIABLES;
use crate::help::spelling;
use crate::options::{Compat, GROUPS, OptionRow, Status, rows};
use crate::settings;

/// How settings files differ from those of systemd-nspawn: what, there, here.
const SETTINGS: [(&str, &str, &str); 13] = [
    (
        "drop-ins",
        "none",
        "`NAME.nspawn.d/*.conf` in /etc/systemd/nspawn, /run/systemd/nspawn and /usr/lib/systemd/nspawn, ordered by name; the first directory's of one name; lists grow, single values are replaced",
    ),
    (
        "an empty assignment",
        "takes back `Parameters=` and `Environment=`; elsewhere mostly an error",
        "takes back what earlier lines and files said of that key",
    ),
    (
        "specifiers",
        "none",
        "in drop-ins and in sections of hostel's own: `%i` machine, `%H` host name, `%l` its first part, `%m` machine id, `%b` boot id, `%v` kernel, `%a` architecture, `%t` `%S` `%C` `%L` `%E` `%T` `%V` directories, `%%`; in NAME.nspawn `%` is a character",
    ),
    ("`[X-Hostel-Resources]`", "ignored", "`Memory=`, `Cpus=`, `Pids=`, `Property=` as the options; trusted files only"),
    ("`[X-Hostel-Network]`", "ignored", "`Config=`, `Pool=` as `--network-config=`, `--network-pool=`; trusted files only"),
    ("trust", "by directory", "by directory, and the file must be root's and nobody else may write it; else it counts as one beside the tree does"),
    ("a file beside the tree", "links are followed, of any size", "a link only in a directory that root alone can write; regular, at most 1 MiB"),
    (
        "`SystemCallFilter=` in a file that is not trusted",
        "one allowing line voids the forbidding ones",
        "allowing lines are ignored, forbidding ones count",
    ),
    ("`Environment=NAME`", "passed on as it is", "ignored with a warning"),
    ("`Parameters=` without `Boot=` or `ProcessTwo=`", "ignored in silence", "counts"),
    ("`Boot=no` after `Boot=yes`, and `ProcessTwo=`", "the first counts", "the last counts; both yes: the later is ignored with a warning"),
    ("a setting that is not implemented yet", "–", "refuses the start, with file and line, if it would count"),
    (
        "CAP_NET_ADMIN",
        "given and taken with the settings of each side; old versions lost it to an empty file under `--settings=override`",
        "follows the network that the machine has in the end",
    ),
];

/// How many options stand where: `(built, partly, refused)`; hostel's own are not counted.
pub fn tally() -> (usize, usize, usize) {
    rows().filter(|r| !r.is_extension()).fold((0, 0, 0), |(built, partly, refused), row| match row.status {
        Status::Built => (built + 1, partly, refused),
        Status::Partly(_) => (built, partly + 1, refused),
        Status::Never(_) => (built, partly, refused + 1),
    })
}

/// Markdown: one table per group of options, then the environment.
pub fn markdown() -> String {
    let mut out = String::with_capacity(24 * 1024);
    let (built, partly, refused) = tally();
    // writing to a String cannot fail
    let _ = writeln!(
        out,
        "## systemd-nspawn\n\nCompared with systemd 262. Of {} options {built} are built, {partly} partly, {refused} refused by name.\n",
        built + partly + refused
    );
    for group in &GROUPS {
        let _ = writeln!(out, "### {}\n\n| option | `.nspawn` key | since | state | compared |\n|---|---|---|---|---|", group.title);
        for row in group.rows {
            line(row, &mut out);
        }
        out.push('\n');
    }
    settings_files(&mut out);
    out.push_str("### Environment\n\n| variable | systemd-nspawn | here |\n|---|---|---|\n");
    for row in VARIABLES {
        let _ = writeln!(out, "| `{}` | {} | {} |", row.name, cell(row.meaning), cell(row.here));
    }
    out
}

/// Who wins, and what differs.
fn settings_files(out: &mut String) {
    out.push_str(
        "### Settings files\n\nNAME.nspawn is looked for in /etc/systemd/nspawn and /run/systemd/nspawn, which are trusted, else beside the tree. \
         `--settings=yes`, the default: the command line wins; `override`: the files do; `trusted`: as yes, and every file is trusted. It is \
         decided for each option by itself, for each limit of `--rlimit=`, and for these together:\n\n| group | options | keys |\n|---|---|---|\n",
    );
    for group in &settings::GROUPS {
        let of_group = || rows().filter(|row| group.options.contains(&row.id));
        let list = |names: Vec<String>| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" ");
        let mut keys: Vec<String> = of_group().filter_map(|row| row.key?.split_once(' ').map(|(_, key)| key.to_owned())).collect();
        let mut options: Vec<String> = of_group().map(OptionRow::name).collect();
        if group.options.contains(&crate::options::OptionId::Boot) {
            options.push("COMMAND…".to_owned());
            keys.push("Parameters=".to_owned());
        }
        // writing to a String cannot fail
        let _ = writeln!(out, "| {} | {} | {} |", group.about, list(options), list(keys));
    }
    out.push_str("\nUnder `override` a file's capabilities are added to the command line's.\n\n| what | systemd-nspawn | hostel |\n|---|---|---|\n");
    for (what, there, here) in SETTINGS {
        let _ = writeln!(out, "| {what} | {there} | {here} |");
    }
    out.push('\n');
}

fn line(row: &OptionRow, out: &mut String) {
    let key = match (row.key, row.trusted_only) {
        (Some(key), true) => format!("`{key}` (trusted files)"),
        (Some(key), false) => format!("`{key}`"),
        (None, _) => "–".to_owned(),
    };
    let since = row.since.map_or_else(|| "hostel".to_owned(), |v| v.to_string());
    let state = match row.status {
        Status::Built => "built".to_owned(),
        Status::Partly(text) => format!("partly: {text}"),
        Status::Never(_) => "refused".to_owned(),
    };
    let compared = match row.compat {
        _ if row.is_extension() => "hostel's own; must be spelt out".to_owned(),
        Compat::Same => "same".to_owned(),
        Compat::Better(text) => format!("better: {text}"),
        Compat::Differs(text) => format!("differs: {text}"),
        Compat::Refused(text) => format!("refused: {text}"),
    };
    let _ = writeln!(out, "| `{}` | {key} | {since} | {} | {} |", spelling(row).trim().replace('|', "\\|"), cell(&state), cell(&compared));
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
