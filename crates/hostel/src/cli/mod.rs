//! The native command line: one row and one file per verb.

mod autostart;
pub(crate) mod bind;
mod boot;
mod clean;
mod clean_images;
mod clone;
mod commit;
mod console;
pub(crate) mod cp;
mod diff;
mod discard;
mod doctor;
pub(crate) mod edit;
pub(crate) mod enable;
mod enter;
pub(crate) mod exec;
mod export;
mod fork;
mod generate;
mod image;
pub(crate) mod image_status;
pub(crate) mod images;
mod import;
mod inspect;
pub(crate) mod kill;
mod link;
pub(crate) mod login;
mod logs;
pub(crate) mod look;
mod net;
pub(crate) mod overlay;
mod pause;
mod plan;
mod progress;
mod ps;
mod pull;
mod pull_oci;
mod read_only;
mod rebase;
pub(crate) mod reboot;
mod remove;
mod rename;
mod restore;
pub(crate) mod rm;
mod run;
mod set_limit;
mod shell;
mod show;
mod snapshot;
pub(crate) mod start;
pub(crate) mod status;
mod stop;
mod stored;
pub(crate) mod supervise;
#[cfg(test)]
mod tests;
pub(crate) mod transfers;
mod trial;
mod undo;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use hostel_engine::error::Error;
use hostel_nspawn::UsageError;
use hostel_spec::Hint;

use crate::hint::{self, Voice};
use crate::{native, output};

/// What a verb returns: its exit status, or the error to print.
pub type Outcome = Result<u8, Failure>;

/// Why a verb failed, with its exit status.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong: status 2.
    Usage(String),
    /// A word of systemd-nspawn's, on our command line or in a settings file, is wrong: status 2. The hint is for an error without one.
    Dialect(Box<UsageError>, Option<Hint>),
    /// It could not be done: status 1, or 3 when the machine is busy; always 125 of a verb that passes on the status of a command.
    Engine(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Engine(error)
    }
}
impl From<hostel_engine::registry::RegistryError> for Failure {
    fn from(error: hostel_engine::registry::RegistryError) -> Self {
        Failure::Engine(error.into())
    }
}
impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Failure::Usage(error.to_string())
    }
}

/// One verb.
pub struct Verb {
    /// What is typed.
    pub name: &'static str,
    /// Arguments, for the synopsis.
    pub args: &'static str,
    /// One line.
    pub about: &'static str,
    /// Its options: (as typed, what it does).
    pub options: &'static [(&'static str, &'static str)],
    /// Examples: (command, what it is good for).
    pub examples: &'static [(&'static str, &'static str)],
    /// Runs it with the arguments after the verb.
    pub run: fn(&[OsString]) -> Outcome,
}

/// Verbs in help order; a line of dashes in the help separates the groups.
pub const VERBS: &[&Verb] = &[
    &run::VERB,
    &trial::VERB,
    &diff::VERB,
    &commit::VERB,
    &undo::VERB,
    &discard::VERB,
    &fork::VERB,
    &snapshot::VERB,
    &restore::VERB,
    &rebase::VERB,
    &overlay::VERB,
    &boot::VERB,
    &start::VERB,
    &ps::VERB,
    &status::VERB,
    &show::VERB,
    &inspect::VERB,
    &exec::VERB,
    &shell::VERB,
    &enter::VERB,
    &console::VERB,
    &login::VERB,
    &cp::VERB,
    &bind::VERB,
    &logs::VERB,
    &stop::VERB,
    &wait::VERB,
    &reboot::VERB,
    &kill::VERB,
    &pause::PAUSE,
    &pause::RESUME,
    &rm::VERB,
    &images::VERB,
    &image_status::STATUS,
    &image_status::SHOW,
    &clone::VERB,
    &rename::VERB,
    &remove::VERB,
    &read_only::VERB,
    &set_limit::VERB,
    &clean_images::VERB,
    &enable::ENABLE,
    &enable::DISABLE,
    &autostart::VERB,
    &edit::EDIT,
    &edit::CAT,
    &import::TAR,
    &import::RAW,
    &import::FS,
    &export::TAR,
    &export::RAW,
    &pull::TAR,
    &pull::RAW,
    &pull_oci::VERB,
    &transfers::LIST,
    &transfers::CANCEL,
    &plan::SPEC,
    &plan::PLAN,
    &net::NET,
    &net::PORT,
    &doctor::VERB,
    &clean::VERB,
    &link::VERB,
    &generate::VERB,
    &supervise::VERB,
];

/// Runs `hostel ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    let Some(first) = args.first() else {
        output::tell(format_args!("{}", help().trim_end()));
        return ExitCode::from(2);
    };
    let rest = &args[1..];
    match first.to_str() {
        Some("-h" | "--help" | "help") => {
            let asked = rest.first().and_then(|v| v.to_str());
            if let Some(p) = crate::personality::PERSONALITIES.iter().find(|p| asked.is_some_and(|a| p.name == a || p.word == Some(a))) {
                return (p.run)(&["--help".into()]);
            }
            if let Some(unknown) = asked.filter(|a| find(a).is_none() && !a.starts_with('-') && !matches!(*a, "help" | "version")) {
                output::tell(format_args!("hostel: there is no verb {unknown:?}"));
                output::tell(format_args!("hint: `hostel help` lists the verbs"));
                return ExitCode::from(2);
            }
            let text = rest.first().and_then(|v| v.to_str()).and_then(find).map_or_else(help, verb_help);
            return output::print(&text);
        }
        Some("-V" | "--version" | "version") => return output::print(&version()),
        _ => {}
    }
    let Some(verb) = first.to_str().and_then(find) else {
        output::tell(format_args!("hostel: there is no verb {first:?}"));
        output::tell(format_args!("hint: `hostel help` lists the verbs"));
        return ExitCode::from(2);
    };
    if wants_help(rest) {
        return output::print(&verb_help(verb));
    }
    finish(Voice::of(verb.name, rest), (verb.run)(rest))
}

/// `--help` before the words of a command that is run in a machine.
fn wants_help(args: &[OsString]) -> bool {
    args.iter().take_while(|a| a.as_encoded_bytes().starts_with(b"-") && *a != "--").any(|a| a == "--help" || a == "-h")
}

/// Status of a verb that passes on a command's, when there was none: as env(1), timeout(1) and the like.
pub const NOTHING_RUN: u8 = 125;

/// Prints what went wrong and turns it into a status.
pub fn finish(voice: Voice, outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(Failure::Usage(text)) => {
            hint::tell("hostel", &text, Some(&Hint::Options), voice);
            ExitCode::from(2)
        }
        Err(Failure::Dialect(error, other)) => {
            let own: Vec<&'static str> = match voice {
                Voice::Run(_) | Voice::Boot(_) => native::ROWS.iter().map(|row| row.long).collect(),
                Voice::Nspawn | Voice::Verb(_) => Vec::new(),
            };
            let hint = error.hint_among(&own).or(other).or_else(|| (voice != Voice::Nspawn).then_some(Hint::Options));
            hint::tell("hostel", &error, hint.as_ref(), voice);
            ExitCode::from(2)
        }
        Err(Failure::Engine(error)) => {
            hint::tell("hostel", &error, error.hint.as_ref(), voice);
            ExitCode::from(match voice {
                // Not to be taken for the command's own.
                Voice::Run("run") | Voice::Verb("try" | "exec" | "shell" | "enter" | "wait") => NOTHING_RUN,
                _ if error.busy => 3,
                _ => 1,
            })
        }
    }
}

/// The help of the verb that makes a machine of this kind.
pub fn help_of(kind: native::Kind) -> String {
    verb_help(match kind {
        native::Kind::Run => &run::VERB,
        native::Kind::Boot => &boot::VERB,
    })
}

pub(crate) fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().copied().find(|v| v.name == name)
}

/// `hostel VERSION`.
pub fn version() -> String {
    format!("hostel {}\n", env!("CARGO_PKG_VERSION"))
}

/// The overall help.
pub fn help() -> String {
    let mut out = String::from("hostel VERB [ARGUMENTS]: whole Linux systems as lightweight machines\n\n");
    for verb in VERBS.iter().filter(|v| !v.about.is_empty()) {
        out.push_str(&format!("  {:<15} {}\n", verb.name, verb.about));
    }
    // overlay-boot's tools are words of `overlay`.
    for p in crate::personality::PERSONALITIES.iter().filter(|p| !p.name.starts_with("overlay-")) {
        out.push_str(&format!("  {:<15} {}\n", p.word.unwrap_or(p.name), p.about));
    }
    out.push_str(
        "\nexamples:\n  hostel run -- apt-get install nginx     try it on an overlay of this host, thrown away at the end\n  \
         hostel boot /var/lib/machines/debian -d  boot a tree in the background\n  \
         hostel shell debian                      a root shell in it\n  \
         hostel stop debian                       end it cleanly, whatever its init\n\n`hostel help VERB` shows a verb's options and examples.\n",
    );
    out
}

/// Longer examples have what they are good for on a line of their own.
const EXAMPLE_WIDTH: usize = 60;

/// One verb's help.
pub fn verb_help(verb: &Verb) -> String {
    let mut out = format!("hostel {} {}\n\n{}\n", verb.name, verb.args, verb.about);
    let native = matches!(verb.name, "run" | "boot" | "spec" | "plan");
    if native || !verb.options.is_empty() {
        out.push_str("\noptions:\n");
        for (option, about) in verb.options {
            out.push_str(&format!("  {option:<28} {about}\n"));
        }
    }
    if native {
        out.push_str(&native::options_help(verb.name));
    }
    if !verb.examples.is_empty() {
        out.push_str("\nexamples:\n");
        let fits = |command: &&str| command.len() <= EXAMPLE_WIDTH;
        let column = verb.examples.iter().map(|(command, _)| *command).filter(fits).map(str::len).max().unwrap_or(0);
        for (command, about) in verb.examples {
            if fits(command) {
                out.push_str(&format!("  {command:<column$}  {about}\n"));
            } else {
                out.push_str(&format!("  {command}\n  {:<column$}  {about}\n", ""));
            }
        }
    }
    out
}
