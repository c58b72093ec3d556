//! The same scenario on systemd-nspawn and on hostel: outcomes are compared field by field, differences need a reason in the ledger.
//!
//! `hostel-compat [GLOB…]` runs the scenarios (all without arguments) and fails on an unexplained difference, and, when all
//! ran, on an entry of the ledger that none needed. `--list` names them; `--show` prints accepted differences too, `--full`
//! both outcomes.

mod compare;
mod groups;
mod ledger;
mod place;
mod report;
mod run;
mod scenario;
mod side;
mod table;
mod view;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Waits until `yes`, asking every 5 ms; false after `limit`.
fn wait_until(limit: Duration, mut yes: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if yes() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The process id at the end of a name that an earlier run gave, if that run is over.
fn run_that_is_over(name: &str, prefix: &str) -> Option<u32> {
    let pid = name.strip_prefix(prefix)?.parse().ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // a zombie is over, too
    let works = stat.contains("(hostel-compat)") && !stat.contains(") Z ");
    (!works).then_some(pid)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("in-groups") => in_groups(),
        Some("with-udev") => with_udev(),
        Some("inside") => report::run(&args[1..]),
        Some("--list") => {
            table::all().iter().for_each(|s| println!("{}", s.name));
            ExitCode::SUCCESS
        }
        _ => outside(&args),
    }
}

/// The host as the scenarios see it. Journals of it are none of the machines': one with a machine's id would be shown to it, and told of.
/// A /sys that can be written to is for systemd-nspawn a host with udev, which it would wait for: it depends on what ran here before.
const HOST: &str =
    "{ [ ! -d /var/log/journal ] || mount -t tmpfs -o mode=2755 journals /var/log/journal; } && mount -o remount,bind,ro /sys && exec \"$@\"";

/// Makes groups for the whole run, starts ourselves in them, removes them. Prints why when nothing can be compared here.
fn outside(args: &[String]) -> ExitCode {
    if let Err(reason) = side::Programs::find() {
        println!("skipped: {reason}");
        return ExitCode::SUCCESS;
    }
    groups::sweep();
    place::sweep();
    let start = || -> std::io::Result<ExitCode> {
        let groups = groups::Groups::everywhere(&format!("{}{}", groups::PREFIX, std::process::id()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("in-groups").args(groups.dirs()).arg("--");
        command.args(["unshare", "--mount", "--propagation", "slave", "sh", "-c", HOST, "sh"]);
        command.arg(std::env::current_exe()?).arg("inside").args(args);
        let status = command.status();
        groups.remove();
        Ok(if status?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    };
    start().unwrap_or_else(|e| {
        eprintln!("hostel-compat: {e}");
        ExitCode::FAILURE
    })
}

/// `in-groups [--terminal] DIR… -- PROGRAM ARGS…`: this process enters the groups, takes its terminal, and becomes the program.
fn in_groups() -> ExitCode {
    let mut words = std::env::args_os().skip(2);
    let mut error = None;
    for word in words.by_ref().take_while(|w| w != "--") {
        let result = if word == "--terminal" {
            let taken = rustix::process::setsid().and_then(|_| rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()));
            taken.map_err(std::io::Error::from)
        } else {
            std::fs::write(PathBuf::from(&word).join("cgroup.procs"), "0")
        };
        error = result.err().map(|e| format!("{}: {e}", word.display())).or(error);
    }
    let program = words.next().unwrap_or_default();
    let error = error.unwrap_or_else(|| Command::new(&program).args(words).exec().to_string());
    eprintln!("in-groups: {}: {error}", program.display());
    ExitCode::from(125)
}

/// `with-udev PROGRAM ARGS…`: in the mount namespace that this process has for itself, /run gets a socket on which udev would
/// listen, and the program is run. systemd-nspawn only looks whether somebody is there.
fn with_udev() -> ExitCode {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
    let run = || -> std::io::Result<std::process::ExitStatus> {
        rustix::mount::mount("run", "/run", "tmpfs", rustix::mount::MountFlags::empty(), Some(c"mode=755"))?;
        std::fs::create_dir("/run/udev")?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrUnix::new("/run/udev/control")?)?;
        listen(&socket, 100)?;
        let words: Vec<_> = std::env::args_os().skip(2).collect();
        Command::new(words.first().ok_or(std::io::ErrorKind::InvalidInput)?).args(&words[1..]).status()
    };
    match run() {
        Ok(status) => ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(125)),
        Err(e) => {
            eprintln!("with-udev: {e}");
            ExitCode::from(125)
        }
    }
}
