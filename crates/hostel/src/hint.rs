//! Hints in words: each names the options of the command line that was typed.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Display;

use hostel_spec::Hint;

use crate::output;

/// Whose options can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// systemd-nspawn's.
    Nspawn,
    /// Those of `run`; the verb that was typed, which may be `plan` or `spec`.
    Run(&'static str),
    /// Those of `boot`; likewise.
    Boot(&'static str),
    /// A verb that starts no machine.
    Verb(&'static str),
}

impl Voice {
    /// That of `hostel VERB ARGS…`.
    pub fn of(verb: &'static str, args: &[OsString]) -> Self {
        let planned = if matches!(verb, "plan" | "spec") { args.iter().find(|a| *a != "--json").and_then(|a| a.to_str()) } else { None };
        match planned.unwrap_or(verb) {
            "run" => Self::Run(verb),
            "boot" => Self::Boot(verb),
            "nspawn" | "systemd-nspawn" => Self::Nspawn,
            _ => Self::Verb(verb),
        }
    }
}

/// An error for people, and what may help.
pub fn tell(program: &str, error: &dyn Display, hint: Option<&Hint>, voice: Voice) {
    // Names of files and words of others are in it: one line it is, and nothing a terminal obeys.
    let error = output::clean(&error.to_string());
    match hint {
        Some(hint) => output::tell(format_args!("{program}: {error}\nhint: {}", output::clean(&words(hint, voice)))),
        None => output::tell(format_args!("{program}: {error}")),
    }
}

/// What `hint` says to whom typed in this `voice`.
pub fn words(hint: &Hint, voice: Voice) -> Cow<'_, str> {
    let nspawn = matches!(voice, Voice::Nspawn);
    let run = matches!(voice, Voice::Run(_));
    // The original's spelling, and ours.
    let either = |original: &'static str, own: &'static str| Cow::Borrowed(if nspawn { original } else { own });
    match hint {
        Hint::Say(text) => Cow::Borrowed(text),
        Hint::Options => match voice {
            Voice::Nspawn => "--help lists the options; a command goes after them".into(),
            Voice::Run(verb) | Voice::Boot(verb) | Voice::Verb(verb) => format!("`hostel help {verb}` shows its options").into(),
        },
        Hint::DidYouMean(name) => format!("did you mean --{name}?").into(),
        Hint::ListedBy(name) => format!("--{name}=help lists them").into(),
        Hint::GiveTree => either("name one with --directory=", "name one with --tree"),
        Hint::GiveCopy => either("--directory= or --machine= says where to", "--tree or --name says where to"),
        Hint::GiveName => either("name it with --machine=NAME", "name it with --name NAME"),
        Hint::GiveOtherName => either("give this one another name with --machine=NAME", "give this one another name with --name NAME"),
        Hint::TreeInUse if run => "stop the machine that writes to it first".into(),
        Hint::TreeInUse => "stop that machine first; those started with --read-only or --ephemeral share a tree".into(),
        Hint::HostRoot if run => "leave the tree out: `hostel run` is an overlay of the host".into(),
        Hint::HostRoot => {
            either("add --ephemeral, --volatile=yes or --volatile=state; `hostel run` does it by default", "--ephemeral boots an overlay of it")
        }
        Hint::NoIdmap if run => "its file system may not support idmapped mounts; --privileged-users=host does without".into(),
        Hint::NoIdmap => either(
            "its file system may not support idmapped mounts; use --private-users-ownership=chown, or --private-users=no",
            "its file system may not support idmapped mounts; --private-users-ownership=chown or --privileged-users=host does without",
        ),
        Hint::KeepOwners => "use --private-users-ownership=map or off".into(),
        Hint::GiveIds => "chown the top directory to BASE:BASE, or give --private-users=BASE".into(),
        Hint::OtherVolatile => "use --volatile=state or --volatile=overlay".into(),
        Hint::OwnNetwork => either("add --private-network", "add --net private"),
        Hint::OtherAddresses => "name other networks with --network-pool= or in /etc/hostel/network-pool, or use --network-config=none".into(),
        Hint::AlsoCapability => "add it with --capability= too".into(),
        Hint::MendSettings => "mend it, or leave settings files out with --settings=no".into(),
        Hint::AlsoSettings(from) => format!("{from} counts too; --settings=no leaves it out").into(),
    }
}
