//! The help text, made of the option rows.

use crate::options::{GROUPS, OptionRow, Status, Takes};

/// Column at which descriptions begin.
const COLUMN: usize = 28;
/// Width of the text.
const WIDTH: usize = 80;

const HEAD: &str = "\
systemd-nspawn [OPTION…] [COMMAND [ARGUMENT…]]

Run a command, or boot an operating system, in namespaces of its own.
(hostel in the dress of systemd-nspawn; no systemd is needed.)
";

const EXAMPLES: &str = "
Examples:
  systemd-nspawn -D debian               a shell in the directory tree
  systemd-nspawn -bD debian              boot it
  systemd-nspawn -xD / --pipe make test  a throw-away overlay of this host
  systemd-nspawn -aD debian --bind-ro=/srv:/mnt ls /mnt
  systemd-nspawn -bUM web --private-network --memory=512M --cpus=1.5

The first argument that is no option begins the command. ^] three times within
a second ends the machine. Exit status: that of the command; 1 when the machine
could not be started.
";

/// The whole text of `--help`.
pub fn text() -> String {
    let mut out = String::with_capacity(12 * 1024);
    out.push_str(HEAD);
    for group in &GROUPS {
        if group.rows.iter().all(|r| r.hidden) {
            continue;
        }
        out.push('\n');
        out.push_str(group.title);
        out.push_str(":\n");
        for row in group.rows.iter().filter(|r| !r.hidden) {
            option(row, &mut out);
        }
    }
    out.push_str(EXAMPLES);
    out
}

fn option(row: &OptionRow, out: &mut String) {
    let spelled = spelling(row);
    out.push_str("  ");
    out.push_str(&spelled);
    let used = 2 + spelled.chars().count();
    if used + 1 > COLUMN {
        out.push('\n');
        pad(COLUMN, out);
    } else {
        pad(COLUMN - used, out);
    }
    let mut help = row.help.to_owned();
    match row.status {
        Status::Never(_) => help.push_str(" (not supported)"),
        Status::Partly(text) => help = format!("{help} ({text})"),
        Status::Built => {}
    }
    wrap(&help, out);
}

/// `-D --directory=PATH`, `   --uuid=UUID`, `--volatile[=MODE]`.
pub(crate) fn spelling(row: &OptionRow) -> String {
    let mut out = match row.short {
        Some(letter) => format!("-{}", letter as char),
        None => "  ".to_owned(),
    };
    if let Some(long) = row.long.first() {
        out.push_str(" --");
        out.push_str(long);
    }
    match row.takes {
        Takes::Nothing => {}
        Takes::Value(name) => out.push_str(&format!("={name}")),
        Takes::Maybe(name) | Takes::MaybeNext(name) => out.push_str(&format!("[={name}]")),
    }
    out
}

fn wrap(text: &str, out: &mut String) {
    let mut column = COLUMN;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > COLUMN && column + 1 + width > WIDTH {
            out.push('\n');
            pad(COLUMN, out);
            column = COLUMN;
        } else if column > COLUMN {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

fn pad(columns: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', columns));
}
