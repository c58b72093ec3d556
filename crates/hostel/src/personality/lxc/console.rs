//! lxc-console: a terminal of a container.

use std::os::fd::AsFd;

use super::options::{Call, row};
use super::{Outcome, Tool, failure};
use crate::output;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-console",
    synopsis: "-n NAME [-t N] [-e CHARACTER]",
    about: "sit down at a terminal of a container; Ctrl-a q leaves it",
    named: true,
    options: &[
        row("t", "tty", "N", "which: 0 is the console (the first that is free)"),
        row("e", "escape", "CHARACTER", "another than Ctrl-a: ^b, or b"),
    ],
    run,
};

/// `^b` or `b`; a character that is none of a keyboard's control characters: -1, there is none.
fn escape(text: &str) -> Result<Option<u8>, hostel_container::Error> {
    if text == "-1" {
        return Ok(None);
    }
    match text.strip_prefix('^').unwrap_or(text).as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => Ok(Some(letter.to_ascii_lowercase() - b'a' + 1)),
        _ => Err(failure(format!("read --escape {text}: it is a letter, as in ^a"))),
    }
}

fn run(call: &Call) -> Outcome {
    let escape = escape(call.value("escape").unwrap_or("^a"))?;
    let number = call.number("tty", -1i32)?;
    let container = call.running()?;
    if !container.is_running() {
        return Err(failure(format!("{} is not running", call.name)));
    }
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let begun = |tty: i32| match escape {
        Some(byte) => output::tell(format_args!("Terminal {tty} of {}; Ctrl-{} q leaves it.", call.name, (byte - 1 + b'a') as char)),
        None => output::tell(format_args!("Terminal {tty} of {}.", call.name)),
    };
    container.console(number, input.as_fd(), output.as_fd(), escape, begun)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn escapes() {
        assert_eq!([escape("^a"), escape("B"), escape("-1")].map(Result::unwrap), [Some(1), Some(2), None]);
        assert!(escape("^1").is_err() && escape("").is_err());
    }
}
