//! systemctl(1), also `hostel ctl`: unit files of a tree at rest (`--root=`), and units of the manager that runs here (`hostel init`).
//!
//! One row per verb and per option; the help and COMPATIBILITY.md are made of them. Verbs that change or list unit files do so
//! as systemd's own; verbs that are not built are refused by name. Words and exit statuses are those of 252, or of 262 with
//! `--compat=262`.

pub mod analyze;
pub mod called;
mod care;
mod direct;
mod edit;
mod files;
pub mod help;
mod list;
mod live;
mod machine;
pub(crate) mod managed;
pub(crate) mod options;
mod plan;
mod properties;
pub mod replaced;
mod say;
mod show;
mod status;
mod sysv;
#[cfg(test)]
mod tests;
mod tree;
mod triggers;
mod units;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::LazyLock;

use hostel_init::catalogue::Catalogue;
use hostel_init::root::Root;
use hostel_init::search::{Scope, SearchPath};
pub(crate) use live::systemd_runs;
use options::{Asked, Options};

use crate::output;

/// What a verb returns: its exit status, or what to say with status 1.
type Outcome = Result<u8, String>;

/// One verb.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) args: &'static str,
    pub(crate) help: &'static str,
    /// How many words it takes at least and at most.
    words: (usize, usize),
    pub(crate) kind: Kind,
    /// How it differs from the original's `--root`; empty: it does not.
    pub(crate) differs: &'static str,
}

/// What a verb needs.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Unit files only.
    Files(fn(&Options, &[String]) -> Outcome),
    /// hostel's own manager, running here.
    Managed(fn(&Options, &str, &[String]) -> Outcome),
    /// More than that one can do: not implemented yet.
    Live,
}

const MANY: usize = usize::MAX;

const fn row(name: &'static str, args: &'static str, words: (usize, usize), run: fn(&Options, &[String]) -> Outcome, help: &'static str) -> Row {
    Row { name, args, help, words, kind: Kind::Files(run), differs: "" }
}

const fn managed(
    name: &'static str,
    args: &'static str,
    words: (usize, usize),
    run: fn(&Options, &str, &[String]) -> Outcome,
    help: &'static str,
) -> Row {
    Row { name, args, help, words, kind: Kind::Managed(run), differs: "" }
}

const fn live(name: &'static str, args: &'static str, words: (usize, usize), help: &'static str) -> Row {
    Row { name, args, help, words, kind: Kind::Live, differs: "" }
}

impl Row {
    const fn differs(mut self, how: &'static str) -> Row {
        self.differs = how;
        self
    }
}

/// Groups of verbs, in help order.
pub(crate) const GROUPS: [(&str, &[Row]); 4] =
    [("Unit files", FILES), ("Units of a tree at rest", UNITS), ("Units of the manager that runs here", MANAGED), ("Not implemented yet", LIVE)];

const NOT_THERE: &str = "refused with --root= there";

const FILES: &[Row] = &[
    row("list-unit-files", "[PATTERN...]", (0, MANY), list::list_unit_files, "Unit files with their states"),
    row("enable", "[UNIT...|PATH...]", (1, MANY), files::enable, "Make the links that [Install] asks for"),
    row("disable", "UNIT...", (1, MANY), files::disable, "Remove every link to units"),
    row("reenable", "UNIT...", (1, MANY), files::reenable, "Remove them and make them anew"),
    row("preset", "UNIT...", (1, MANY), files::preset, "Enable and disable units as presets want"),
    row("preset-all", "", (0, 0), files::preset_all, "The same for all units"),
    row("is-enabled", "UNIT...", (1, MANY), files::is_enabled, "The states of unit files"),
    row("mask", "UNIT...", (1, MANY), files::mask, "Make units lead to nothing"),
    row("unmask", "UNIT...", (1, MANY), files::unmask, "Take that back"),
    row("link", "PATH...", (1, MANY), files::link, "Link unit files of other directories"),
    row("revert", "UNIT...", (1, MANY), files::revert, "Back to what the vendor shipped"),
    row("add-wants", "TARGET UNIT...", (2, MANY), files::add_wants, "Make a target want units"),
    row("add-requires", "TARGET UNIT...", (2, MANY), files::add_requires, "Make a target require units"),
    row("get-default", "", (0, 0), files::get_default, "The target that is started at boot"),
    row("set-default", "TARGET", (1, 1), files::set_default, "Set it"),
    row("edit", "UNIT...", (1, MANY), edit::edit, "Edit a drop-in, or with --full a file")
        .differs("refused with --root= there; `--stdin` as of 256; with `$SYSTEMD_EDITOR` also where there is no terminal"),
    row("daemon-reload", "", (0, 0), live::daemon_reload, "Read unit files anew; with --root= no effect: nothing is loaded").differs(NOT_THERE),
    row("is-system-running", "", (0, 0), live::is_system_running, "How the manager is; without one offline, status 1"),
];

const UNITS: &[Row] = &[
    row("cat", "UNIT...", (1, MANY), show::cat, "Unit files and their drop-ins").differs(NOT_THERE),
    row("show", "[UNIT...]", (0, MANY), show::show, "Properties of units, or of the manager; without one what files give")
        .differs("refused with --root= there, here what files say"),
    row("list-dependencies", "[UNIT...]", (0, MANY), tree::list_dependencies, "What units want and require, as a tree").differs(NOT_THERE),
    row("verify", "UNIT...|PATH...", (1, MANY), verify::verify, "Faults of unit files, with file and line")
        .differs("not systemctl's: as `systemd-analyze verify`"),
    row("calendar", "EXPRESSION...", (1, MANY), analyze::calendar, "The normal form and next moment of calendar expressions")
        .differs("not systemctl's: as `systemd-analyze calendar`"),
    row("start", "UNIT...", (1, MANY), plan::start, "Start units; with --dry-run: the jobs that it would be")
        .differs("--dry-run prints the transaction"),
    row("is-active", "UNIT...", (1, MANY), live::is_active, "Whether units are up; without a manager they are not")
        .differs("fails there without a manager; here `inactive`, status 3, with --compat=262 4 for an unknown unit"),
];

#[rustfmt::skip]
const MANAGED: &[Row] = &[
    managed("list-units", "[PATTERN...]", (0, MANY), units::list_units, "Units in memory"),
    managed("list-sockets", "[PATTERN...]", (0, MANY), triggers::list_sockets, "Sockets in memory"),
    managed("list-timers", "[PATTERN...]", (0, MANY), triggers::list_timers, "Timers in memory, the next first"),
    managed("list-paths", "[PATTERN...]", (0, MANY), triggers::list_paths, "Path units in memory"),
    managed("list-automounts", "[PATTERN...]", (0, MANY), triggers::list_automounts, "Automounts in memory, mounted when they start"),
    managed("list-jobs", "[PATTERN...]", (0, MANY), units::list_jobs, "Jobs that wait"),
    managed("is-failed", "[UNIT...]", (0, MANY), managed::is_failed, "Whether units have failed"),
    managed("status", "[UNIT...]", (0, MANY), status::status, "How units are"),
    managed("stop", "UNIT...", (1, MANY), managed::jobs, "Stop units"),
    managed("condstop", "UNIT...", (1, MANY), managed::jobs, "Stop units"),
    managed("reload", "UNIT...", (1, MANY), managed::jobs, "Reload units"),
    managed("restart", "UNIT...", (1, MANY), managed::jobs, "Restart units"),
    managed("try-restart", "UNIT...", (1, MANY), managed::jobs, "Restart units that run"),
    managed("condrestart", "UNIT...", (1, MANY), managed::jobs, "Restart units that run"),
    managed("condreload", "UNIT...", (1, MANY), managed::jobs, "Reload units that run"),
    managed("force-reload", "UNIT...", (1, MANY), managed::jobs, "Reload or restart units"),
    managed("reload-or-restart", "UNIT...", (1, MANY), managed::jobs, "Reload or restart units"),
    managed("try-reload-or-restart", "UNIT...", (1, MANY), managed::jobs, "Reload or restart units that run"),
    managed("reload-or-try-restart", "UNIT...", (1, MANY), managed::jobs, "Reload or restart units that run"),
    managed("isolate", "UNIT", (1, 1), managed::jobs, "Start one unit and stop all others"),
    managed("kill", "UNIT...", (1, MANY), managed::kill, "Send a signal"),
    managed("clean", "UNIT...", (1, MANY), care::clean, "Remove what units keep"),
    managed("freeze", "UNIT...", (1, MANY), care::freeze, "Freeze units"),
    managed("thaw", "UNIT...", (1, MANY), care::freeze, "Let them go on"),
    managed("set-property", "UNIT PROPERTY=VALUE...", (2, MANY), care::set_property, "Change limits"),
    managed("daemon-reexec", "", (0, 0), care::reexecute, "Execute the manager anew; what runs goes on"),
    managed("reset-failed", "[UNIT...]", (0, MANY), managed::reset_failed, "Forget failures"),
    managed("cancel", "[JOB...]", (0, MANY), managed::cancel, "Cancel jobs"),
    managed("show-environment", "", (0, 0), managed::environment, "The manager's environment"),
    managed("set-environment", "NAME=VALUE...", (1, MANY), managed::environment, "Change it"),
    managed("unset-environment", "NAME...", (1, MANY), managed::environment, "Change it"),
    managed("import-environment", "[NAME...]", (0, MANY), managed::environment, "Take over this one"),
    managed("default", "", (0, 0), managed::jobs, "Enter the default target"),
    managed("halt", "", (0, 0), managed::end, "Halt"),
    managed("poweroff", "", (0, 0), managed::end, "Power off"),
    managed("reboot", "[ARGUMENT]", (0, 1), managed::end, "Reboot"),
    managed("exit", "[STATUS]", (0, 1), managed::end, "End the manager"),
    managed("list-machines", "[PATTERN...]", (0, MANY), managed::list_machines, "This system as a machine").differs("machines inside this one are not asked"),
    managed("help", "UNIT...", (1, MANY), managed::help, "Manual pages of units"),
    managed("whoami", "[PID...]", (0, MANY), managed::whoami, "The unit of a process").differs("of 254"),
    managed("log-level", "[LEVEL]", (0, 1), managed::manager_setting, "The manager's log level").differs("it cannot be changed"),
    managed("log-target", "[TARGET]", (0, 1), managed::manager_setting, "The manager's log target").differs("it cannot be changed"),
    managed("service-watchdogs", "[BOOL]", (0, 1), managed::manager_setting, "Whether watchdogs count").differs("it cannot be changed"),
    managed("why", "UNIT...", (1, MANY), status::why, "What units ask in vain, what they wait for, why they failed").differs("not systemctl's"),
];

const LIVE: &[Row] = &[
    live("bind", "UNIT PATH [PATH]", (2, 3), "Show a path in a service"),
    live("mount-image", "UNIT PATH [PATH]", (2, MANY), "Mount an image in a service"),
    live("service-log-level", "SERVICE [LEVEL]", (1, 2), "A service's log level"),
    live("service-log-target", "SERVICE [TARGET]", (1, 2), "A service's log target"),
    live("enqueue-marked", "", (0, 0), "Restart units that are marked"),
    live("rescue", "", (0, 0), "Enter rescue mode"),
    live("emergency", "", (0, 0), "Enter emergency mode"),
    live("kexec", "", (0, 0), "Reboot by kexec"),
    live("soft-reboot", "", (0, 0), "Reboot user space"),
    live("switch-root", "[ROOT [INIT]]", (0, 2), "Change to another root"),
    live("sleep", "", (0, 0), "Sleep"),
    live("suspend", "", (0, 0), "Suspend"),
    live("hibernate", "", (0, 0), "Hibernate"),
    live("hybrid-sleep", "", (0, 0), "Hibernate and suspend"),
    live("suspend-then-hibernate", "", (0, 0), "Suspend, later hibernate"),
];

/// Verbs that have a form for programs.
const WITH_JSON: [&str; 6] = ["list-units", "list-jobs", "list-unit-files", "list-dependencies", "show", "why"];

fn find(name: &str) -> Option<&'static Row> {
    GROUPS.iter().flat_map(|(_, rows)| rows.iter()).find(|row| row.name == name)
}

/// Every verb's name that does something, for completions.
pub(crate) fn verbs() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let rows = GROUPS.iter().flat_map(|(_, rows)| rows.iter());
        rows.filter(|row| !matches!(row.kind, Kind::Live)).map(|row| row.name).collect()
    });
    &NAMES
}

/// Runs `systemctl ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    if args.first().is_some_and(|word| word == "analyze") {
        return analyze::run(args.get(1..).unwrap_or_default());
    }
    if replaced::asked(args).is_some() {
        return replaced::run(args);
    }
    let (options, words) = match options::parse(args) {
        Ok(Asked::Verb(options, words)) => (options, words),
        Ok(Asked::Help) => return output::print(&help::text()),
        Ok(Asked::Version) => return output::print(&options::version()),
        Ok(Asked::Text(text)) => return output::print(&text),
        Err(text) => return refuse(&text),
    };
    let done = match &options.machine {
        Some(name) if name != machine::HERE => machine::run(name, &options, &words, args),
        _ => dispatch(&options, &words),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(text) => refuse(&text),
    }
}

/// As the original: what it says has no name before it.
fn refuse(why: &str) -> ExitCode {
    if !why.is_empty() {
        output::tell(format_args!("{why}"));
    }
    ExitCode::FAILURE
}

fn dispatch(options: &Options, words: &[String]) -> Outcome {
    if options.root.is_none() && systemd_runs() {
        return Err(live::point_to_systemd());
    }
    let verb = words.first().map_or("list-units", String::as_str);
    let row = find(verb).ok_or_else(|| format!("Unknown command verb {verb}."))?;
    let rest = words.get(1..).unwrap_or_default();
    if options.root.is_some() && !matches!(row.kind, Kind::Files(_)) {
        return Err(format!("Verb '{verb}' cannot be used with --root= or --image=."));
    }
    if rest.len() < row.words.0 {
        return Err("Too few arguments.".to_owned());
    }
    if rest.len() > row.words.1 {
        return Err("Too many arguments.".to_owned());
    }
    if options.when.is_some() && !matches!(verb, "poweroff" | "reboot" | "halt") {
        return Err("--when= is for poweroff, reboot, halt.".to_owned());
    }
    if options.json && !WITH_JSON.contains(&verb) {
        return Err(format!("--json is for {}.", WITH_JSON.join(", ")));
    }
    match row.kind {
        Kind::Files(run) => run(options, rest),
        Kind::Managed(run) => {
            if live::is_ignored(verb) {
                return Ok(0);
            }
            run(options, verb, rest)
        }
        Kind::Live if hostel_init::control::client::Client::connect().is_some() => Err(format!("Verb '{verb}' is not implemented yet.")),
        Kind::Live => Err(live::no_manager(verb)),
    }
}

/// The tree that is meant.
fn root(options: &Options) -> Result<Root, String> {
    let opened = options.root.as_ref().map_or_else(Root::host, |path| Root::open(path));
    opened.map_err(|e| format!("Failed to open root directory: {e}"))
}

/// Its unit files.
fn catalogue<'r>(options: &Options, root: &'r Root) -> Result<Catalogue<'r>, String> {
    let scope = if options.global { Scope::User } else { Scope::System };
    let given = std::env::var("SYSTEMD_UNIT_PATH").ok();
    let search = SearchPath::new(root, scope, given.as_deref(), options.release == options::Release::V252);
    Catalogue::scan(root, search).map_err(|e| format!("Failed to read unit files: {e}"))
}
