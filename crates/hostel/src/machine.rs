//! Starting a machine from a spec: in the foreground here, or in the background by a supervisor of its own.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::Duration;

use hostel_engine::error::{Error, Result};
use hostel_engine::plan::Caller;
pub use hostel_engine::registry::runtime_dir;
use hostel_engine::registry::{Origin, Registry, RegistryError};
use hostel_engine::supervisor::beside::Beside;
use hostel_engine::supervisor::session::{self, Begun, Session, Talk};
use hostel_process::pty::WindowSize;
use hostel_spec::{ConsoleMode, MachineName, MachineSpec, OsText, Payload};

use crate::output;

/// Opens the registry.
pub fn open_registry() -> Result<Registry> {
    let directory = runtime_dir();
    if !directory.is_absolute() {
        // Every working directory would have other machines.
        return Err(Error::new("use", format!("HOSTEL_RUNTIME_DIR={}", directory.display()), "it takes an absolute path"));
    }
    Ok(Registry::open(&directory)?)
}

/// Does `work` while nobody can start the machine `name`; `verb` is for the message that it runs.
pub fn at_rest<T>(registry: &Registry, verb: &'static str, name: &MachineName, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let claim = match registry.claim(name) {
        Err(RegistryError::Busy { .. }) => {
            let error = Error::new(verb, format!("machine {name}"), "it is running");
            return Err(error.hint(format!("`hostel stop {name}` ends it")).busy());
        }
        other => other?,
    };
    let done = work();
    let released = claim.release();
    let done = done?;
    released?;
    Ok(done)
}

/// Opens the registry to look at it: who is not root sees what root's machines say of themselves to everybody.
pub fn registry_to_read() -> Result<Registry> {
    open_registry().or_else(|error| match Registry::open_to_read(&runtime_dir()) {
        Ok(registry) if !rustix::process::geteuid().is_root() => Ok(registry),
        _ => Err(error),
    })
}

/// Random bytes.
pub fn random() -> [u8; 16] {
    let mut random = [0u8; 16];
    random[..8].copy_from_slice(&hostel_engine::supervisor::random_u64().to_ne_bytes());
    random[8..].copy_from_slice(&hostel_engine::supervisor::random_u64().to_ne_bytes());
    random
}

/// What this process knows of itself.
pub fn caller() -> Caller {
    let entry = |name: &str| {
        std::env::var_os(name).map(|value| {
            let mut text = OsString::from(name);
            text.push("=");
            text.push(value);
            OsText(text)
        })
    };
    Caller {
        terminal_env: ["TERM", "COLORTERM", "NO_COLOR"].into_iter().filter_map(entry).collect(),
        stdin_tty: std::io::stdin().is_terminal(),
        stdout_tty: std::io::stdout().is_terminal(),
        listen_fds: listen_fds(),
        window: Some(hostel_process::terminal::size(std::io::stdout()).unwrap_or_else(window)),
        random: random(),
    }
}

/// `LINES` and `COLUMNS`, for a console that is shown in no terminal; 24 by 80 as terminals always were.
fn window() -> WindowSize {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u16>().ok()).filter(|n| *n > 0);
    WindowSize { rows: number("LINES").unwrap_or(24), cols: number("COLUMNS").unwrap_or(80) }
}

/// Socket activation: descriptors meant for us, from 3 on.
fn listen_fds() -> u32 {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u32>().ok());
    match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        // As many as there are: a descriptor of our own behind them is not the machine's.
        (Some(pid), Some(count)) if pid == std::process::id() && count < 1024 => {
            (3..3 + count).take_while(|n| hostel_sys::proc::is_inherited(*n as i32)).count() as u32
        }
        _ => 0,
    }
}

/// Runs a machine here, to its end. `started` becomes true when its PID 1 has been executed.
pub fn foreground(spec: &MachineSpec, origin: Origin, started: &mut bool) -> Result<u8> {
    let quiet = spec.lifecycle.quiet;
    let mut talk = |event: Talk<'_>| {
        *started |= matches!(event, Talk::Started(..));
        say(quiet, &event);
    };
    run(spec, origin, None, false, None, &mut talk)
}

/// How often our service manager wants a sign of life (sd_watchdog_enabled(3)).
fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|us| ours && *us > 0).map(Duration::from_micros)
}

/// Runs a machine with somebody listening.
pub fn run(
    spec: &MachineSpec,
    origin: Origin,
    begun: Option<Begun>,
    log: bool,
    beside: Option<Box<dyn Beside>>,
    talk: &mut dyn FnMut(Talk<'_>),
) -> Result<u8> {
    // Before the state directory, which others may not use either, is looked at.
    hostel_engine::host::require_root()?;
    let registry = open_registry()?;
    let notify_socket = std::env::var("NOTIFY_SOCKET").ok().filter(|s| !s.is_empty());
    let talk = &mut |event: Talk<'_>| {
        if let (Talk::Ended(..), Some(kept)) = (&event, &spec.root.upper) {
            crate::native::kept::tidy(kept);
        }
        talk(event);
    };
    let layer_held = |path: &std::path::Path| crate::native::kept::refuse_half_done_at("start", path);
    let (caller, watchdog) = (caller(), watchdog());
    session::run(spec, Session { registry: &registry, caller, origin, notify_socket, watchdog, log, begun, layer_held, beside, talk })
}

/// Talk for people, on stderr.
fn say(quiet: bool, event: &Talk<'_>) {
    match event {
        Talk::Remark(text) if !quiet => output::tell(format_args!("notice: {text}")),
        // Also with --quiet: what is not as asked is no chatter.
        Talk::Notice(text) => output::tell(format_args!("notice: {text}")),
        Talk::Planned(plan) if !quiet && plan.console == ConsoleMode::Interactive => {
            output::tell(format_args!(
                "Starting machine {} on {}. Press ^] three times within a second to end it.",
                plan.name,
                plan.tree.path.display()
            ));
        }
        // What a throw-away command did is its own to say.
        Talk::Ended(plan, how) if !quiet && (plan.spec.lifecycle.nspawn_exit_status || plan.spec.payload == Payload::Boot) => {
            output::tell(format_args!("Machine {} {how}.", plan.name))
        }
        Talk::Left(error) => warn(error),
        _ => {}
    }
}

fn warn(error: &Error) {
    output::tell(format_args!("warning: {error}"));
}
