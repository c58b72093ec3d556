//! The tools of LXC: a file and a row each, with the options, columns and exit statuses of 6.0.4.
//!
//! What they do is in the crate `container`; here are words in and words out. `hostel lxc TOOL …` is `lxc-TOOL …`.

mod attach;
mod autostart;
mod cgroup;
mod checkpoint;
mod config;
mod console;
mod copy;
mod create;
mod destroy;
mod device;
mod freeze;
mod info;
mod ls;
mod monitor;
mod options;
mod snapshot;
mod start;
mod stop;
#[cfg(test)]
mod tests;
mod top;
mod unshare;
mod update_config;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use hostel_container::Error;

use crate::output;
use options::{Asked, Call, Row};

/// What a tool ends with: its exit status, or what to say with status 1.
type Outcome = Result<u8, Error>;

/// One tool.
pub(crate) struct Tool {
    /// What argv[0] is.
    pub(crate) name: &'static str,
    /// What follows the name.
    synopsis: &'static str,
    /// What it does.
    about: &'static str,
    /// Whether it is about one container.
    named: bool,
    options: &'static [Row],
    run: fn(&Call) -> Outcome,
}

/// Every tool. `hostel link DIR` makes a link for each.
pub(crate) const TOOLS: [&Tool; 24] = [
    &attach::TOOL,
    &autostart::TOOL,
    &cgroup::TOOL,
    &checkpoint::TOOL,
    &config::TOOL,
    &console::TOOL,
    &copy::TOOL,
    &create::TOOL,
    &destroy::TOOL,
    &device::TOOL,
    &freeze::FREEZE,
    &freeze::UNFREEZE,
    &info::TOOL,
    &ls::TOOL,
    &monitor::TOOL,
    &snapshot::TOOL,
    &start::START,
    &start::EXECUTE,
    &stop::TOOL,
    &top::TOOL,
    &unshare::UNSHARE,
    &unshare::USERNSEXEC,
    &update_config::TOOL,
    &wait::TOOL,
];

/// The tool of a name.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().copied().find(|tool| tool.name == name)
}

/// Runs `hostel lxc TOOL ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    let (word, rest) = args.split_first().map_or((String::new(), args), |(word, rest)| (word.to_string_lossy().into_owned(), rest));
    if let Some(tool) = find(&word).or_else(|| find(&format!("lxc-{word}"))) {
        return call(tool, rest);
    }
    let list: String = TOOLS.iter().map(|tool| format!("  {:<18} {}\n", tool.name.trim_start_matches("lxc-"), tool.about)).collect();
    let text = format!("hostel lxc TOOL [ARGUMENTS]: containers of LXC\n\n{list}\n`hostel lxc TOOL --help` shows the options of a tool.\n");
    match word.as_str() {
        "" | "-h" | "-?" | "--help" | "help" => output::print(&text),
        _ => {
            output::tell(format_args!("hostel lxc: there is no tool {word:?}\nhint: `hostel lxc` lists them"));
            ExitCode::FAILURE
        }
    }
}

/// Runs a tool with the arguments after its name.
pub(crate) fn call(tool: &'static Tool, args: &[OsString]) -> ExitCode {
    match options::parse(tool, args) {
        Ok(Asked::Run(call)) => match unshare::with_ids(&call, tool, args).unwrap_or_else(|| (tool.run)(&call)) {
            Ok(status) => ExitCode::from(status),
            Err(error) => {
                call.tell(&error);
                ExitCode::FAILURE
            }
        },
        Ok(Asked::Text(text)) => output::print(&text),
        Err(why) => {
            output::tell(format_args!("{}: {}\nhint: `{0} --help` shows its options", tool.name, output::clean(&why)));
            ExitCode::FAILURE
        }
    }
}

/// An error in words of a tool's own.
fn failure(text: impl Into<String>) -> Error {
    Error { text: text.into(), number: 22 }
}
