//! argv[0] decides who we are: hostel, or a tool that hostel stands in for.

pub mod init;
pub mod journalctl;
pub mod lxc;
pub mod machinectl;
pub mod nspawn;
pub mod nspawn_enter;
pub mod nspawn_stop;
pub mod overlay;
pub mod systemctl;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use crate::cli;

/// One face of the binary.
pub struct Personality {
    /// What argv[0]'s last component is.
    pub name: &'static str,
    /// As `hostel WORD …`.
    pub word: Option<&'static str>,
    /// What it stands in for.
    pub about: &'static str,
    /// Runs it with the arguments after the name.
    pub run: fn(&[OsString]) -> ExitCode,
}

/// Every personality but hostel itself. `hostel link DIR` makes a link for each.
pub const PERSONALITIES: [Personality; 17] = [
    Personality { name: "systemd-nspawn", word: Some("nspawn"), about: "run an OS tree in namespaces, as systemd-nspawn(1)", run: nspawn::run },
    Personality { name: "machinectl", word: Some("machinectl"), about: "machines, as machinectl(1)", run: machinectl::run },
    Personality { name: "nspawn-enter", word: Some("nspawn-enter"), about: "enter a machine, as nspawn-tools", run: nspawn_enter::run },
    Personality { name: "nspawn-stop", word: Some("nspawn-stop"), about: "end a machine, as nspawn-tools", run: nspawn_stop::run },
    Personality { name: "overlay-boot", word: None, about: "start a subhost, as overlay-boot(8)", run: overlay::boot },
    Personality { name: "overlay-stop", word: None, about: "end a subhost", run: overlay::stop },
    Personality { name: "overlay-go", word: None, about: "a shell in a subhost", run: overlay::go },
    Personality { name: "overlay-share", word: None, about: "show a directory in a subhost", run: overlay::share },
    Personality { name: "overlay-init", word: None, about: "the script that starts a subhost's services", run: overlay::init },
    Personality { name: "overlay-premount", word: None, about: "prepare the upper layer of a subhost", run: overlay::premount },
    Personality { name: "overlay-postmount", word: None, about: "what every subhost has is mounted already", run: overlay::postmount },
    Personality { name: "overlay-diskfile", word: None, about: "mount a partition of a disk image for a subhost", run: overlay::diskfile },
    Personality { name: "systemctl", word: Some("ctl"), about: "units and unit files, as systemctl(1)", run: systemctl::run },
    Personality { name: "systemd-analyze", word: None, about: "how the start went, as systemd-analyze(1)", run: systemctl::analyze::run },
    Personality { name: "journalctl", word: Some("journalctl"), about: "the log of hostel init, as journalctl(1)", run: journalctl::run },
    Personality { name: "lxc", word: Some("lxc"), about: "containers of LXC, as the lxc-* tools", run: lxc::run },
    Personality { name: "init", word: Some("init"), about: "run unit files without systemd, as PID 1 or not", run: init::run },
];

/// What `--version` says: scripts read the number of systemd's, whose words we take, out of the first line.
pub(crate) fn version(name: &str) -> String {
    format!("systemd 252 (hostel {})\nhostel's {name}, with the words of systemd 252\n", env!("CARGO_PKG_VERSION"))
}

/// Picks the personality and runs it.
pub fn main(argv: &[OsString]) -> ExitCode {
    hostel_engine::parts::play(argv);
    let called = argv.first().map(OsString::as_os_str).unwrap_or(OsStr::new("hostel"));
    let called = std::path::Path::new(called).file_name().unwrap_or(OsStr::new("hostel"));
    let rest = argv.get(1..).unwrap_or_default();
    if argv.first().is_some_and(|name| name.to_string_lossy().starts_with(crate::lxc::monitor::TITLE)) {
        return crate::lxc::monitor::run();
    }
    if argv.first().is_some_and(|name| name == hostel_container::STARTER) {
        return crate::lxc::start::for_another(rest);
    }
    if let Some(p) = PERSONALITIES.iter().find(|p| called == p.name) {
        return (p.run)(rest);
    }
    if let Some(name) = systemctl::called::NAMES.iter().find(|name| called == **name) {
        return systemctl::called::run(name, rest);
    }
    if let Some(tool) = called.to_str().and_then(lxc::find) {
        return lxc::call(tool, rest);
    }
    if systemctl::replaced::NAMES.iter().any(|name| called == *name) {
        return systemctl::replaced::run(rest);
    }
    if systemctl::replaced::JOURNALS.iter().any(|name| called == *name) {
        return journalctl::run(rest);
    }
    if let Some(p) = rest.first().and_then(|word| PERSONALITIES.iter().find(|p| p.word.is_some_and(|w| word == w) || word == p.name)) {
        return (p.run)(&rest[1..]);
    }
    cli::run(rest)
}
