//! `machinectl login` and `machinectl shell`.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;

use hostel_spec::OsText;

use super::options::Options;
use crate::cli::exec::{self, Order};
use crate::cli::{self, Failure, Outcome, look};
use crate::output;

/// A session on the host itself, as machinectl offers it, is systemd-logind's to give.
fn not_the_host() -> Failure {
    Failure::Usage("a session on the host itself is not supported: it needs systemd; use `su -` or `login`".into())
}

fn is_host(name: &str) -> bool {
    matches!(name, "" | ".host")
}

pub(super) fn login(options: &Options, words: &[OsString]) -> Outcome {
    let name = words.first().filter(|w| *w != ".host").ok_or_else(not_the_host)?;
    let name = look::name(name)?;
    look::running(&crate::machine::open_registry()?, &name).map(drop).or_else(|error| match crate::foreign::find(&name) {
        Some(_) => Ok(()),
        None => Err(error),
    })?;
    announced(options, &name.to_string(), || cli::login::login(name.clone()))
}

pub(super) fn shell(options: &Options, words: &[OsString]) -> Outcome {
    let word = words.first().ok_or_else(not_the_host)?;
    let text = word.to_str().ok_or_else(|| Failure::Usage("the machine's name is not UTF-8".into()))?;
    let (user, name) = text.split_once('@').map_or((None, text), |(user, name)| (Some(user), name));
    if is_host(name) {
        return Err(not_the_host());
    }
    let mut order = Order::new(look::name(OsStr::new(name))?);
    let user = user.filter(|u| !u.is_empty()).or(options.uid.as_deref());
    order.process.user = user.map(exec::user).transpose()?;
    order.process.env = options.env.clone();
    order.process.argv = words[1..].iter().cloned().map(OsText::from).collect();
    order.escape = true;
    order.as_error = true;
    announced(options, name, || exec::run_in(&order))
}

/// What the original says around a session on a terminal.
fn announced(options: &Options, name: &str, run: impl FnOnce() -> Outcome) -> Outcome {
    let say = !options.quiet && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !hostel_engine::enter::shield::is_shielded();
    if say {
        output::tell(format_args!("Connected to machine {name}. Press ^] three times within 1s to exit session."));
    }
    let outcome = run();
    if !options.quiet && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        output::tell(format_args!("\nConnection to machine {name} terminated."));
    }
    outcome
}
