//! `hostel autostart`: start every enabled machine; what a host's own init calls once at boot.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use super::{Failure, Outcome, Verb, enable, find, look, overlay, start};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "autostart",
    args: "[status|start|stop] [--install[=INIT]]",
    about: "show the enabled machines, start them (as this host's init does), or stop them",
    options: &[("--install[=systemd|openrc|runit|s6|dinit|sysvinit|cron]", "print the commands that make this host's init call it")],
    examples: &[
        ("hostel autostart --install", "look at what it would do"),
        ("hostel autostart --install | sh", "do it"),
        ("hostel autostart", "which machines are enabled, and which of them run"),
    ],
    run,
};

/// How a host's init is told. The files are those of `units/`.
struct Glue {
    init: &'static str,
    /// What is there where this init is the one.
    sign: &'static str,
    /// File, mode, text.
    files: &'static [(&'static str, &'static str, &'static str)],
    /// What follows.
    commands: &'static str,
}

macro_rules! unit {
    ($path:literal) => {
        include_str!(concat!("../../../../units/", $path))
    };
}

const GLUE: [Glue; 7] = [
    Glue {
        init: "systemd",
        sign: "/run/systemd/system",
        files: &[("/etc/systemd/system/hostel-autostart.service", "644", unit!("systemd/hostel-autostart.service"))],
        commands: "systemctl daemon-reload\nsystemctl enable hostel-autostart.service\n",
    },
    Glue {
        init: "openrc",
        sign: "/run/openrc",
        files: &[("/etc/init.d/hostel-autostart", "755", unit!("openrc/hostel-autostart"))],
        commands: "rc-update add hostel-autostart default\n",
    },
    Glue {
        init: "runit",
        sign: "/run/runit",
        files: &[
            ("/etc/sv/hostel-autostart/run", "755", unit!("runit/hostel-autostart/run")),
            ("/etc/sv/hostel-autostart/finish", "755", unit!("runit/hostel-autostart/finish")),
        ],
        // Void, Debian, upstream.
        commands: "for d in /var/service /etc/service /etc/runit/runsvdir/default; do\n\
                   \t[ ! -d $d ] || { ln -sf /etc/sv/hostel-autostart $d/; break; }\ndone\n",
    },
    Glue {
        init: "s6",
        sign: "/run/s6-rc",
        files: &[
            ("/etc/s6-rc/source/hostel-autostart/type", "644", unit!("s6/hostel-autostart/type")),
            ("/etc/s6-rc/source/hostel-autostart/up", "644", unit!("s6/hostel-autostart/up")),
            ("/etc/s6-rc/source/hostel-autostart/down", "644", unit!("s6/hostel-autostart/down")),
        ],
        commands: "# then add hostel-autostart to your bundle, compile with s6-rc-compile and switch with s6-rc-update\n",
    },
    Glue {
        init: "dinit",
        sign: "/run/dinitctl",
        files: &[("/etc/dinit.d/hostel-autostart", "644", unit!("dinit/hostel-autostart"))],
        commands: "dinitctl enable hostel-autostart\n",
    },
    Glue {
        init: "sysvinit",
        sign: "/etc/inittab",
        files: &[("/etc/init.d/hostel-autostart", "755", unit!("sysvinit/hostel-autostart"))],
        commands: "update-rc.d hostel-autostart defaults || chkconfig --add hostel-autostart\n",
    },
    Glue { init: "cron", sign: "/etc/cron.d", files: &[("/etc/cron.d/hostel-autostart", "644", unit!("cron/hostel-autostart"))], commands: "" },
];

#[derive(Debug, PartialEq, Eq)]
enum Order {
    Start,
    Stop,
    Status,
    Install(Option<String>),
    Help,
}

fn parse(args: &[OsString]) -> Result<Order, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut order = None;
    while let Some(arg) = words.next()? {
        let next = match arg {
            Long("install") => Order::Install(words.optional_value().map(ValueExt::string).transpose()?),
            Short('h') | Long("help") => return Ok(Order::Help),
            Value(word) if word == "start" => Order::Start,
            Value(word) if word == "stop" => Order::Stop,
            Value(word) if word == "status" => Order::Status,
            other => return Err(other.unexpected().into()),
        };
        if order.replace(next).is_some() {
            return Err(Failure::Usage("one of start, stop, status and --install".into()));
        }
    }
    Ok(order.unwrap_or(Order::Status))
}

fn run(args: &[OsString]) -> Outcome {
    match parse(args)? {
        Order::Help => Ok(output::show(&super::verb_help(&VERB))),
        Order::Start => start_all(),
        Order::Stop => stop_all(),
        Order::Status => status(),
        Order::Install(init) => install(init.as_deref()),
    }
}

/// Each by itself: one that cannot be started keeps no other from it.
fn start_all() -> Outcome {
    let mut failed = false;
    for name in enable::list()? {
        failed |= told(start::start(&name).map(|_| 0)) != 0;
    }
    for file in subhosts() {
        // One that runs already is left alone.
        failed |= told(overlay::runs(&file).and_then(|runs| if runs { Ok(0) } else { overlay::boot_one(file, true) })) != 0;
    }
    Ok(u8::from(failed))
}

/// Its status; 1 for a failure, of which has then been told.
fn told(outcome: Outcome) -> u8 {
    outcome.unwrap_or_else(|failure| {
        super::finish(crate::hint::Voice::Verb("autostart"), Err(failure));
        1
    })
}

/// The conf files of subhosts that start with this host: overlay-boot's list, an absolute path a line; lines with a # are none.
fn subhosts() -> Vec<PathBuf> {
    let list = enable::settings_directory().unwrap_or_else(|| "/etc".into()).join("subhosts.conf");
    let text = std::fs::read_to_string(&list).unwrap_or_else(|e| {
        if e.kind() != std::io::ErrorKind::NotFound {
            output::tell(format_args!(
                "warning: read {}: {}: no subhost is started, stopped or shown",
                list.display(),
                hostel_engine::error::io_text(&e)
            ));
        }
        String::new()
    });
    let mut files = Vec::new();
    for (number, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.contains('#')) {
        if line.starts_with('/') {
            files.push(PathBuf::from(line));
        } else {
            output::tell(format_args!("warning: {}:{}: ignored: it is no absolute path", list.display(), number + 1));
        }
    }
    files
}

/// As `hostel stop`; one that cannot be stopped keeps no other from it.
fn stop_all() -> Outcome {
    let mut worst = 0;
    // The last that was started is the first to be stopped.
    for file in subhosts().into_iter().rev() {
        worst = worst.max(told(overlay::runs(&file).and_then(|runs| if runs { overlay::stop(&[file.into()]) } else { Ok(0) })));
    }
    let mut running = Vec::new();
    match enable::list() {
        Ok(list) => running.extend(list.iter().filter(|name| start::runs(name).unwrap_or(true)).map(|name| OsString::from(name.as_str()))),
        Err(error) => worst = worst.max(told(Err(error.into()))),
    }
    if let (false, Some(stop)) = (running.is_empty(), find("stop")) {
        worst = worst.max(told((stop.run)(&running)));
    }
    Ok(worst)
}

fn status() -> Outcome {
    let registry = machine::open_registry()?;
    let state = |name: &hostel_spec::MachineName| registry.load(name).map_or("-", |found| look::Look::at(found).state());
    let mut rows: Vec<Vec<String>> = enable::list()?.iter().map(|name| vec![name.to_string(), state(name).to_owned()]).collect();
    rows.extend(subhosts().into_iter().map(|file| match crate::subhost::read(file.clone()) {
        Ok(read) => vec![read.conf.name.to_string(), state(&read.conf.name).to_owned()],
        Err(_) => vec![output::clean(&file.display().to_string()), "unreadable".to_owned()],
    }));
    if rows.is_empty() {
        output::tell(format_args!("No machines start with this host: `hostel enable NAME` puts one on the list."));
    }
    Ok(if rows.is_empty() { 0 } else { output::show(&output::table(&["NAME", "STATE"], &rows)) })
}

fn install(init: Option<&str>) -> Outcome {
    let found = match init {
        Some(name) => GLUE.iter().find(|g| g.init == name),
        None => GLUE.iter().find(|g| Path::new(g.sign).exists()),
    };
    let glue = found.ok_or_else(|| {
        let all: Vec<&str> = GLUE.iter().map(|g| g.init).collect();
        Failure::Usage(format!("autostart: which init? say --install={}", all.join("|")))
    })?;
    let own = std::env::current_exe().map_or_else(|_| "/usr/bin/hostel".into(), |p| p.display().to_string());
    Ok(output::show(&script(glue, &own)))
}

/// Whether one of the inits we know is told to start machines.
pub(super) fn is_installed() -> bool {
    GLUE.iter().flat_map(|glue| glue.files).any(|(path, ..)| Path::new(path).exists())
}

/// A script for sh(1), to be read first.
fn script(glue: &Glue, own: &str) -> String {
    let mut out = format!("# starts the machines of {} with this host ({})\nset -e\n", enable::directory().display(), glue.init);
    for (path, mode, text) in glue.files {
        let text = text.replace("/usr/bin/hostel", own);
        let directory = path.rsplit_once('/').map_or("/", |(d, _)| d);
        out.push_str(&format!("mkdir -p {directory}\ncat >{path} <<'END'\n{text}END\nchmod {mode} {path}\n"));
    }
    out.push_str(glue.commands);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |line: &str| parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>());
        assert_eq!(parse("").unwrap(), Order::Status);
        assert_eq!(parse("--install=runit").unwrap(), Order::Install(Some("runit".into())));
        assert_eq!(parse("--install").unwrap(), Order::Install(None));
        for bad in ["stop start", "web", "--now", "--install status"] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn scripts_are_shell() {
        for glue in &GLUE {
            let script = script(glue, "/opt/hostel");
            assert!(script.contains("/opt/hostel autostart") && !script.contains("/usr/bin/hostel"), "{}", glue.init);
            let checked = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
            assert!(checked.status.success(), "{}: {}", glue.init, String::from_utf8_lossy(&checked.stderr));
            for (path, _, text) in glue.files.iter().filter(|(_, mode, _)| *mode == "755") {
                let checked = std::process::Command::new("sh").args(["-n", "-c", text]).output().unwrap();
                assert!(text.starts_with("#!/") && checked.status.success(), "{path}: {}", String::from_utf8_lossy(&checked.stderr));
            }
        }
    }
}
