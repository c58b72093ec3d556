//! machinectl(1), out of the state directory: no daemon, no D-Bus, no systemd.
//!
//! One row per verb and per option; the help and COMPATIBILITY.md are made of them. What a verb does is what the native verb
//! of the same meaning does; here are the original's words, columns and exit statuses (0 and 1; a shell's are its own).

pub(crate) mod facts;
mod files;
pub mod help;
mod images;
mod lifecycle;
mod list;
pub(crate) mod options;
mod session;
pub(crate) mod show;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::LazyLock;

use options::{Asked, Options};

use crate::cli::{Failure, Outcome};
use crate::output;

/// One verb.
pub(crate) struct Row {
    /// The first is the one in the help.
    pub(crate) names: &'static [&'static str],
    pub(crate) args: &'static str,
    pub(crate) help: &'static str,
    /// How many words it takes at least and at most.
    words: (usize, usize),
    run: fn(&Options, &[OsString]) -> Outcome,
    pub(crate) state: State,
}

/// How a verb compares with the original's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum State {
    Same,
    Better(&'static str),
    Differs(&'static str),
    /// The native verb of this name, once there is one.
    Image(&'static str),
    /// Never.
    Refused(&'static str),
}

const MANY: usize = usize::MAX;

const fn row(
    names: &'static [&'static str],
    args: &'static str,
    words: (usize, usize),
    run: fn(&Options, &[OsString]) -> Outcome,
    help: &'static str,
) -> Row {
    Row { names, args, help, words, run, state: State::Same }
}

impl Row {
    const fn better(mut self, how: &'static str) -> Row {
        self.state = State::Better(how);
        self
    }
    const fn differs(mut self, how: &'static str) -> Row {
        self.state = State::Differs(how);
        self
    }
    const fn refused(mut self, why: &'static str) -> Row {
        self.state = State::Refused(why);
        self
    }
}

/// An image verb: another part of hostel has it, if anything.
const fn image(names: &'static [&'static str], native: &'static str, args: &'static str, words: (usize, usize), help: &'static str) -> Row {
    Row { names, args, help, words, run: |_, _| Ok(1), state: State::Image(native) }
}

/// Groups of verbs, in help order.
pub(crate) const GROUPS: [(&str, &[Row]); 3] = [("Machines", &MACHINES), ("Images", &IMAGES), ("Transfers", &TRANSFERS)];

const MACHINES: [Row; 20] = [
    row(&["list"], "", (0, 0), list::run, "The machines that run").differs("those that hostel runs; also without machined"),
    row(&["status"], "[NAME...]", (0, MANY), show::status, "A machine, with its processes and the end of its console")
        .differs("the console's log instead of the journal; without a name: all; of `.host` no processes"),
    row(&["show"], "[NAME...]", (0, MANY), show::show, "Properties of machines")
        .differs("Unit is empty; Supervisor, UIDShift, ControlGroup are added; the pool's figures are its file system's"),
    row(&["start"], "NAME...", (1, MANY), lifecycle::start, "Start trees of /var/lib/machines in the background")
        .differs("the defaults of systemd-nspawn@.service, under a supervisor of its own instead of a unit"),
    row(&["login"], "NAME", (0, 1), session::login, "A login prompt").better("any init: agetty, login or getty on a terminal of the machine"),
    row(&["shell"], "[USER@]NAME [COMMAND...]", (0, MANY), session::shell, "A shell, or a command")
        .better("any init; the exit status is the command's; without PAM"),
    row(&["enable"], "NAME...", (1, MANY), |o, w| lifecycle::enable(o, w, true), "Start machines with the host")
        .differs("a list of its own, read by `hostel autostart`, which any init can call"),
    row(&["disable"], "NAME...", (1, MANY), |o, w| lifecycle::enable(o, w, false), "Do not start them with the host any more"),
    row(&["poweroff", "stop"], "NAME...", (1, MANY), lifecycle::poweroff, "Ask machines to end")
        .better("as their init wants to be asked, again until it has understood"),
    row(&["reboot", "restart"], "NAME...", (1, MANY), lifecycle::reboot, "Ask machines to start anew").better("as their init wants to be asked"),
    row(&["terminate"], "NAME...", (1, MANY), lifecycle::terminate, "End machines at once").better("returns when they have ended"),
    row(&["kill"], "NAME...", (1, MANY), lifecycle::kill, "Send a signal to processes of machines"),
    row(&["pause"], "NAME...", (1, MANY), lifecycle::pause, "Freeze machines").differs("containers too, by their cgroup"),
    row(&["resume"], "NAME...", (1, MANY), lifecycle::resume, "Let them go on").differs("containers too"),
    row(&["copy-to"], "NAME PATH [PATH]", (2, 3), files::copy_to, "Copy files into a machine")
        .better("owners keep their numbers in a machine with users of its own; written with the machine's rights"),
    row(&["copy-from"], "NAME PATH [PATH]", (2, 3), files::copy_from, "Copy files out of a machine")
        .better("read with the machine's rights; set-user-id bits, devices and sockets stay behind, with a notice"),
    row(&["bind"], "NAME PATH [PATH]", (2, 3), files::bind, "Show a path of the host in a machine")
        .better("also with users of its own, by an idmapped mount; --read-only cannot be undone from inside"),
    row(&["edit"], "NAME...", (1, MANY), files::edit, "Edit their settings files"),
    row(&["cat"], "NAME...", (1, MANY), files::cat, "Print their settings files"),
    row(&["bind-volume", "unbind-volume"], "NAME ...", (0, MANY), |_, _| Ok(1), "For virtual machines").refused("there are no virtual machines"),
];

const IMAGES: [Row; 10] = [
    image(&["list-images"], "images", "", (0, 0), "The trees and disk images there are"),
    image(&["image-status"], "image-status", "[NAME...]", (0, MANY), "An image"),
    image(&["show-image"], "show-image", "[NAME...]", (0, MANY), "Properties of images"),
    image(&["clone"], "clone", "NAME NAME", (2, 2), "Copy an image"),
    image(&["rename"], "rename", "NAME NAME", (2, 2), "Rename an image"),
    image(&["remove"], "remove", "NAME...", (1, MANY), "Remove images"),
    image(&["read-only"], "read-only", "NAME [BOOL]", (1, 2), "Protect an image, or do not"),
    image(&["clean"], "clean-images", "", (0, 0), "Remove hidden images, or all"),
    image(&["set-limit"], "set-limit", "[NAME] BYTES", (1, 2), "Limit the size of an image, or of all"),
    row(&["pull-oci"], "REF [NAME]", (1, 2), |options, words| images::run("pull-oci", "pull-oci", options, words), "Download an image of a registry")
        .differs("layers become one tree, and its command a .nspawn file beside it; names without a registry are of docker.io; no .mstack"),
];

const TRANSFERS: [Row; 9] = [
    image(&["pull-tar"], "pull-tar", "URL [NAME]", (1, 2), "Download an archive of a tree"),
    image(&["pull-raw"], "pull-raw", "URL [NAME]", (1, 2), "Download a disk image"),
    image(&["import-tar"], "import-tar", "FILE [NAME]", (1, 2), "Unpack an archive of a tree"),
    image(&["import-raw"], "import-raw", "FILE [NAME]", (1, 2), "Take a disk image"),
    image(&["import-fs"], "import-fs", "DIRECTORY [NAME]", (1, 2), "Take a directory"),
    image(&["export-tar"], "export-tar", "NAME [FILE]", (1, 2), "Pack a tree"),
    image(&["export-raw"], "export-raw", "NAME [FILE]", (1, 2), "Write a disk image"),
    image(&["list-transfers"], "list-transfers", "", (0, 0), "Downloads that are under way"),
    image(&["cancel-transfer"], "cancel-transfer", "ID...", (1, MANY), "Cancel them"),
];

fn find(name: &str) -> Option<&'static Row> {
    GROUPS.iter().flat_map(|(_, rows)| rows.iter()).find(|row| row.names.contains(&name))
}

/// Every verb's name, for completions.
pub(crate) fn verbs() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| GROUPS.iter().flat_map(|(_, rows)| rows.iter()).map(|row| row.names[0]).collect());
    &NAMES
}

/// Runs `machinectl ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    let (options, words) = match options::parse(args) {
        Ok(Asked::Verb(options, words)) => (options, words),
        Ok(Asked::Help) => return output::print(&help::text()),
        Ok(Asked::Version) => return output::print(&super::version("machinectl")),
        Ok(Asked::Text(text)) => return output::print(&text),
        Err(text) => return refuse(&text),
    };
    match dispatch(&options, &words) {
        Ok(status) => ExitCode::from(status),
        Err(Failure::Usage(text)) => refuse(&text),
        Err(Failure::Dialect(error, _)) => refuse(&error),
        Err(Failure::Engine(error)) => {
            crate::hint::tell("machinectl", &error, error.hint.as_ref(), crate::hint::Voice::Nspawn);
            ExitCode::FAILURE
        }
    }
}

fn refuse(why: &dyn std::fmt::Display) -> ExitCode {
    output::tell(format_args!("machinectl: {why}"));
    ExitCode::FAILURE
}

fn dispatch(options: &Options, words: &[OsString]) -> Outcome {
    let verb = words.first().map_or("list".into(), |word| word.to_string_lossy());
    if verb == "help" {
        return Ok(output::show(&help::text()));
    }
    let row = find(&verb).ok_or_else(|| Failure::Usage(format!("unknown command verb '{verb}'; `machinectl help` lists them")))?;
    let rest = words.get(1..).unwrap_or_default();
    if let State::Refused(why) = row.state {
        return Err(Failure::Usage(format!("{verb} is not supported: {why}")));
    }
    if rest.len() < row.words.0 {
        return Err(Failure::Usage(format!("too few arguments: {verb} takes {}", row.args)));
    }
    if rest.len() > row.words.1 {
        return Err(Failure::Usage(match row.args {
            "" => format!("too many arguments: {verb} takes none"),
            args => format!("too many arguments: {verb} takes {args}"),
        }));
    }
    match row.state {
        State::Image(native) => images::run(&verb, native, options, rest),
        _ => (row.run)(options, rest),
    }
}
