//! Printing: results to stdout, tables that fit, nothing a machine wrote that a terminal would obey, a broken pipe is success.

mod tame;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use rustix::fs::FileType;
use rustix::io::Errno;
pub use tame::Tame;

/// Prints a result. A reader that went away has what it wanted.
pub fn print(text: &str) -> ExitCode {
    ExitCode::from(show(text))
}

/// [`print`] for a verb: its exit status, 1 when the result could not be written (and that has been said).
pub fn show(text: &str) -> u8 {
    match write(text.as_bytes()) {
        Ok(_) => 0,
        Err(e) => {
            tell(format_args!("hostel: write standard output: {}", hostel_engine::error::io_text(&e)));
            1
        }
    }
}

/// One line for people, on standard error. That nobody reads it, or that the terminal is gone, ends nothing: `eprintln!` would
/// panic, and a supervisor that panics leaves its machine's remains behind.
pub fn tell(line: std::fmt::Arguments<'_>) {
    say(&format!("{line}\n"));
}

/// A question for people, on standard error, answered on the same line.
pub fn ask(question: std::fmt::Arguments<'_>) {
    say(&question.to_string());
}

/// In one piece: what others write to the same terminal or file comes before or after it.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Writes a part of a result; `false` when nobody reads any more.
pub fn write(bytes: &[u8]) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe || terminal_gone(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether standard output was a terminal that has been hung up since, which is one more reader that went away.
fn terminal_gone(error: &std::io::Error) -> bool {
    let device = || rustix::fs::fstat(std::io::stdout()).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::CharacterDevice);
    Errno::from_io_error(error) == Some(Errno::IO) && device()
}

/// Prints a value as pretty JSON.
pub fn json(value: &impl serde::Serialize) -> ExitCode {
    ExitCode::from(show_json(value))
}

/// Pretty JSON, a line end at its end. Compact JSON is laid out: serde_json's own way would compile each type a second time.
pub fn pretty(value: &impl serde::Serialize) -> String {
    // What is printed here is plain data, which always serialises.
    lay_out(&serde_json::to_string(value).unwrap_or_default())
}

fn lay_out(compact: &str) -> String {
    let mut out = String::with_capacity(compact.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let mut letters = compact.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(letter) = letters.next() {
        if quoted {
            out.push(letter);
            quoted = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            continue;
        }
        match letter {
            '{' | '[' => {
                out.push(letter);
                if let Some(end @ ('}' | ']')) = letters.peek().copied() {
                    letters.next();
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            letter => {
                quoted = letter == '"';
                out.push(letter);
            }
        }
    }
    out.push('\n');
    out
}

/// What serialises as a value, by its text: see [`pretty`].
pub fn value_of(plain: &impl serde::Serialize) -> serde_json::Value {
    hostel_ipc::control::value_of(plain).unwrap_or_default()
}

/// [`json`] for a verb.
pub fn show_json(value: &impl serde::Serialize) -> u8 {
    show(&pretty(value))
}

/// Columns as wide as their widest cell; on a terminal the widest ones are shortened until a line fits.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    table_within(head, rows, terminal_width())
}

/// No column is made narrower than this to fit.
const NARROWEST: usize = 7;
const GAP: usize = 2;

/// [`table`] in so many columns; `None`: any number.
pub fn table_within(head: &[&str], rows: &[Vec<String>], limit: Option<usize>) -> String {
    let columns = head.len();
    let mut width: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (i, cell) in row.iter().enumerate().take(columns) {
            width[i] = width[i].max(cell.chars().count());
        }
    }
    if let Some(limit) = limit {
        shrink(&mut width, limit);
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (i, cell) in cells.enumerate().take(columns) {
            if i > 0 {
                text.extend(std::iter::repeat_n(' ', GAP));
            }
            let cell = shortened(cell, width[i]);
            text.push_str(&cell);
            if i + 1 < columns {
                text.extend(std::iter::repeat_n(' ', width[i].saturating_sub(cell.chars().count())));
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    out
}

/// Takes from the widest column, one by one, until the line fits.
fn shrink(width: &mut [usize], limit: usize) {
    let gaps = GAP * width.len().saturating_sub(1);
    while width.iter().sum::<usize>() + gaps > limit {
        match width.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => return,
        }
    }
}

fn shortened(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let mut cut: String = cell.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Columns of the terminal that standard output is; `None` when it is none.
pub fn terminal_width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|w| usize::from(w.ws_col)).filter(|w| *w > 20)
}

/// Text from elsewhere on one line: what a terminal would act upon, or read in another order, is escaped.
pub fn clean(text: &str) -> String {
    let hidden = |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(hidden) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if hidden(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Breaks a sentence into lines of at most `width` characters, each but the first begun with `indent` blanks.
pub fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent && column + 1 + length > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// `3d 4h`, `2h 5min`, `42s`.
pub fn duration(seconds: u64) -> String {
    let (d, h, m, s) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => format!("{m}min {s}s"),
        (0, _, _) => format!("{h}h {m}min"),
        _ => format!("{d}d {h}h"),
    }
}

/// `12.3M`, base 1024.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n}B") } else { format!("{value:.1}{}", UNITS[unit]) }
}

/// `2026-11-21 03:50:38 UTC`, of seconds after 1970.
pub fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let (year, month, of_month) = hostel_unit::zone::civil(days as i64);
    format!("{year:04}-{month:02}-{of_month:02} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}
