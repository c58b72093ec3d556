//! Every variable of a conf file: one row each. COMPATIBILITY.md follows from it.

/// How a variable stands beside overlay-boot's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As there.
    Same,
    /// As there, and more, or safer.
    Better,
    /// Otherwise than there.
    Differs,
    /// Only here.
    Ours,
}

impl Status {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Status::Same => "same",
            Status::Better => "better",
            Status::Differs => "differs",
            Status::Ours => "hostel's own",
        }
    }
}

/// A variable.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub value: &'static str,
    /// What it is when it is not set.
    pub default: &'static str,
    /// May be `!COMMAND`.
    pub command: bool,
    /// Beside overlay-boot.
    pub status: Status,
    /// What it does, and what is other than there.
    pub about: &'static str,
}

const fn row(name: &'static str, value: &'static str, default: &'static str, command: bool, status: Status, about: &'static str) -> Variable {
    Variable { name, value, default, command, status, about }
}

use Status::{Better, Differs, Ours, Same};

/// All of them.
pub const VARIABLES: [Variable; 24] = [
    row(
        "NAME",
        "NAME",
        "the file's name without .conf",
        false,
        Better,
        "letters, digits, `.`, `_`, `-`; 12 bytes at most with cables (fewer with VLANs), 64 without",
    ),
    row("BASE", "DIR", "required", false, Better, "relative to the file's directory; `root`, `work`, `live` below it are made when missing"),
    row(
        "LIVE",
        "DIR",
        "BASE/live",
        true,
        Differs,
        "nothing is mounted there where the host could see it; same as LOWER: that tree runs without an overlay",
    ),
    row(
        "LOWER",
        "DIR[:DIR…]|image:FILE[#N[:/DIR]]",
        "/",
        true,
        Better,
        "several directories, the topmost first; or a disk image, in which the root is found, or its partition of number N, or a directory in that",
    ),
    row(
        "UPPER",
        "DIR|PROGRAM|tmpfs[:SIZE]",
        "BASE/root",
        true,
        Better,
        "a program is run with ACTION=setup and prints the directory; `tmpfs` or `none`: thrown away",
    ),
    row("WORK", "DIR", "BASE/work", true, Better, "has to be on the file system of UPPER, which is checked"),
    row(
        "START",
        "SERVICE…|/PATH…|none|init",
        "networking ssh",
        true,
        Better,
        "`init` boots the tree's init; `init:/path args` another; a service that does not start is told and ends nothing",
    ),
    row(
        "CABLES",
        "[BRIDGE]=[MAC]…|=.N|nat",
        "none",
        true,
        Better,
        "checked before anything is made; without MAC a stable address (`random`: another each time); `nat`: an address, and the way out",
    ),
    row(
        "LOG",
        "FILE",
        "/var/log/hostel/NAME.log",
        false,
        Differs,
        "mode 0600, never through a link or into somebody else's file; not in /tmp; 64 MiB at most",
    ),
    row(
        "RAM_SIZE",
        "SIZE|none",
        "50M",
        true,
        Differs,
        "size of /run, also in percent; `none`: /run is a tmpfs all the same, of the size every machine gets",
    ),
    row("INIT", "COMMAND", "built in", false, Same, "prints a script that /bin/sh runs in the subhost instead of starting START"),
    row("PREMOUNT", "COMMAND", "built in", false, Same, "run with UPPER as argument before the root is put together"),
    row(
        "POSTMOUNT",
        "COMMAND",
        "built in",
        false,
        Differs,
        "run with LIVE and UPPER in the subhost's mount namespace; what it is to mount for every subhost is mounted already",
    ),
    row("SHARE", "HOSTPATH[:PATH][:ro]", "none", false, Better, "may be given several times; files and directories"),
    row("HOSTNAME", "NAME", "NAME", false, Ours, "host name in the subhost"),
    row("CAPS", "CAP…|-CAP…", "none", false, Ours, "capabilities added or taken"),
    row("USERNS", "yes|no", "no", false, Ours, "users of its own: root inside is nobody on the host"),
    row("MEMORY", "SIZE|PERCENT", "no limit", false, Ours, "memory limit"),
    row("CPUS", "NUMBER", "no limit", false, Ours, "CPU time, 1.5: one and a half CPUs"),
    row("PIDS", "NUMBER", "16384", false, Ours, "processes and threads"),
    row(
        "HYGIENE",
        "yes|no",
        "yes for START=init, else no",
        false,
        Ours,
        "covers the host's identity (machine id, SSH host keys) and jobs (cron, fstab, mail queues) by a layer that is in no diff",
    ),
    row("STOP_SIGNAL", "SIGNAL", "TERM, or what its init takes", false, Ours, "asks PID 1 for the end"),
    row("STOP_TIMEOUT", "SPAN", "90s", false, Ours, "until it is killed, unless `hostel stop -t` says otherwise"),
    row("NET", "host|none|cables", "cables", false, Ours, "`host`: the host's network; `none`: loopback only"),
];

/// The row of a name.
pub fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|v| v.name == name)
}

/// overlay-boot's commands, and what is other here.
const COMMANDS: [(&str, Status, &str); 9] = [
    ("overlay-boot", Better, "waits until the services are started; errors are told, not only logged; refused when it runs already"),
    ("overlay-stop", Better, "takes a conf file or a name; services are really stopped, in reverse; nothing is left; 0 when it does not run"),
    ("overlay-go", Better, "a terminal of its own, the user's shell, the subhost's environment and limits; a command may follow"),
    ("overlay-share", Same, "works while the subhost runs"),
    ("overlay-init", Differs, "prints the services' starts only: PID 1 is there already"),
    ("overlay-premount", Same, "by descriptor: a link in the upper layer leads nowhere else"),
    ("overlay-postmount", Differs, "has nothing left to mount"),
    ("overlay-diskfile", Same, "told of the end it unmounts again; `LOWER=image:FILE#N` needs no such program"),
    (
        "reaper",
        Better,
        "PID 1 is hostel's own, no file in the upper layer; hears SIGTERM and SIGPWR; `dummy_service` is no process, its pipe is there",
    ),
];

/// Both tables as a section of COMPATIBILITY.md.
pub fn markdown() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let mut out = String::from(
        "## overlay-boot\n\nConf files of the manual of 2022 and of 1.6. Nothing is sourced or evaluated; a value that begins with `!` is a command, \
         run once at start. Unknown names and second values are warned of, with their lines.\n\n\
         | variable | value | default | `!` | | |\n|---|---|---|---|---|---|\n",
    );
    for v in &VARIABLES {
        let command = if v.command { "yes" } else { "no" };
        out.push_str(&format!(
            "| `{}=` | `{}` | {} | {command} | {} | {} |\n",
            v.name,
            cell(v.value),
            cell(v.default),
            v.status.word(),
            cell(v.about)
        ));
    }
    out.push_str("\n| command | | |\n|---|---|---|\n");
    for (name, status, about) in COMMANDS {
        out.push_str(&format!("| `{name}` | {} | {about} |\n", status.word()));
    }
    out
}
