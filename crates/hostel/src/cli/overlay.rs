//! `hostel overlay`: subhosts, as overlay-boot's tools start, enter, stop and list them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_engine::error::Error;
use hostel_engine::registry::{Origin, Registry};
use hostel_spec::{MachineName, OsText, Payload};
use hostel_subhost::Lower;

use super::exec::{self, Order};
use super::{Failure, Outcome, Verb, find, look, start, supervise, wait};
use crate::{machine, output, subhost};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "overlay",
    args: "boot|stop CONF... | go [NAME [CMD...]] | share DIR NAME | list | check CONF",
    about: "subhosts of overlay-boot's conf files: a machine over this host, or over a tree, with its services",
    options: &[("-b, --background", "boot: return when PID 1 runs, before its services are started")],
    examples: &[
        ("hostel overlay boot /opt/subhost/mta/mta.conf", "BASE= . and START= postfix are all it needs; status 5 if a service was not started"),
        ("hostel overlay go mta postqueue -p", "a command in it; without a command a shell, without a name those that run"),
        ("hostel overlay stop mta", "its services in reverse, then the rest; status 0, also if it does not run"),
        ("hostel overlay share /srv/data mta", "a directory of this host, at the same path"),
        ("hostel overlay check ./mta.conf", "what a conf file says, as JSON; changes nothing"),
    ],
    run,
};

/// It runs, but not with all that it is to start.
const INCOMPLETE: u8 = 5;
/// What a service may take to start, and what a start may take besides.
const SERVICE: Duration = Duration::from_secs(60);
const USUAL: Duration = Duration::from_secs(30);

fn run(args: &[OsString]) -> Outcome {
    let words = args.get(1..).unwrap_or_default();
    match args.first().and_then(|word| word.to_str()) {
        Some("boot") => boot(words),
        Some("stop") => stop(words),
        Some("go") => go(words),
        Some("share") => share(words),
        Some("list") if words.is_empty() => list(),
        Some("check") => check(words),
        _ => Err(Failure::Usage("overlay: boot, stop, go, share, list or check?".into())),
    }
}

fn texts(args: &[OsString]) -> Result<Vec<String>, Failure> {
    let text = |word: &OsString| word.to_str().map(str::to_owned).ok_or_else(|| Failure::Usage(format!("{word:?} is not UTF-8")));
    if args.is_empty() { Err(Failure::Usage("which conf file?".into())) } else { args.iter().map(text).collect() }
}

/// `boot CONF…`
pub(crate) fn boot(args: &[OsString]) -> Outcome {
    let background = |word: &OsString| word == "--background" || word == "-b";
    let words: Vec<OsString> = args.iter().filter(|w| !background(w)).cloned().collect();
    let mut worst = 0;
    for word in texts(&words)? {
        let file = subhost::find(&word)?;
        worst = worst.max(boot_one(file, !args.iter().any(background))?);
    }
    Ok(worst)
}

/// Starts one; the status says whether all of it is started.
pub(crate) fn boot_one(file: PathBuf, wait: bool) -> Outcome {
    let subhost::Read { file, text, lines, conf } = subhost::read(file)?;
    let name = conf.name.clone();
    let spec = conf.spec(None).map_err(|e| subhost::refused(&file, &e))?;
    let printed = lines.commands().any(|(name, _)| name == "START");
    let services = spec.process.argv.len() as u32 + 1;
    supervise::launch_conf(&spec, (file, text))?;
    if !wait {
        return Ok(0);
    }
    // Of an init that a command has printed nobody knew before it ran.
    if spec.payload == Payload::Boot || printed && boots(&name) {
        let up = wait::until_init(&name)?;
        if !up {
            output::tell(format_args!("hostel: machine {name} runs, but its init was not up after {:.0?}", wait::READY_LIMIT));
        }
        return Ok(if up { 0 } else { INCOMPLETE });
    }
    let log = conf.log.display().to_string();
    let status = wait::until_said(&name, USUAL + SERVICE * services).map_err(|e| e.hint(format!("{log} has what it said")))?;
    match status.as_deref().and_then(|text| text.strip_prefix("failed: ")) {
        None => Ok(0),
        Some(failed) => {
            output::tell(format_args!("hostel: machine {name} runs, but not all of it was started: {}", output::clean(failed)));
            output::tell(format_args!("hint: {log} has what it said"));
            Ok(INCOMPLETE)
        }
    }
}

/// Whether a running machine has an init.
fn boots(name: &MachineName) -> bool {
    let found = machine::open_registry().ok().and_then(|registry| look::running(&registry, name).ok());
    found.is_some_and(|found| found.known().is_some_and(|state| state.init.is_some()))
}

/// The machine that a conf file, or a name, means.
fn named(word: &OsString) -> Result<MachineName, Failure> {
    match word.to_str() {
        Some(text) if text.contains('/') || text.ends_with(".conf") => Ok(subhost::read(subhost::find(text)?)?.conf.name),
        _ => look::name(word),
    }
}

/// The conf file of a running subhost.
fn conf_of(registry: &Registry, name: &MachineName) -> Option<PathBuf> {
    let text = std::fs::read(registry.path_of(name).join(subhost::NOTE)).ok()?;
    Some(std::os::unix::ffi::OsStringExt::from_vec(text)).map(|text: OsString| text.into())
}

/// `stop CONF|NAME…`: asked one after the other, from the last to the first.
pub(crate) fn stop(args: &[OsString]) -> Outcome {
    if args.is_empty() {
        return Err(Failure::Usage("which subhost?".into()));
    }
    let mut worst = 0;
    for word in args.iter().rev() {
        let name = named(word)?.as_str().into();
        worst = worst.max(find("stop").map_or(Ok(0), |stop| (stop.run)(&[name]))?);
    }
    Ok(worst)
}

/// `go [NAME [CMD…]]`
pub(crate) fn go(args: &[OsString]) -> Outcome {
    let Some(word) = args.first() else { return list() };
    let mut order = Order::new(named(word)?);
    let command = args.get(1..).unwrap_or_default();
    let command = if command.first().is_some_and(|w| w == "--") { &command[1..] } else { command };
    order.process.argv = command.iter().cloned().map(OsText::from).collect();
    exec::run_in(&order)
}

/// `share DIR NAME`
pub(crate) fn share(args: &[OsString]) -> Outcome {
    let [directory, name] = args else { return Err(Failure::Usage("share: a directory of the host, and a subhost".into())) };
    let name = named(name)?;
    let path = std::path::absolute(Path::new(directory)).map_err(|e| Error::new("find", format!("{}", Path::new(directory).display()), e))?;
    find("bind").map_or(Ok(0), |bind| (bind.run)(&[name.as_str().into(), path.into(), "--mkdir".into()]))
}

/// `list`
pub(crate) fn list() -> Outcome {
    let registry = machine::registry_to_read()?;
    let mut rows = Vec::new();
    for found in registry.list()? {
        let Some(state) = found.known().filter(|s| s.origin == Origin::Overlay && found.is_alive()) else { continue };
        let pid = state.leader.map_or_else(String::new, |leader| leader.pid.to_string());
        let conf = conf_of(&registry, &found.name).map_or_else(String::new, |path| path.display().to_string());
        rows.push(vec![found.name.to_string(), pid, output::clean(&conf)]);
    }
    Ok(if rows.is_empty() { 0 } else { output::show(&output::table(&["NAME", "PID", "CONF"], &rows)) })
}

/// `check CONF`
fn check(args: &[OsString]) -> Outcome {
    for word in texts(args)? {
        let subhost::Read { file, lines, conf, .. } = subhost::read(subhost::find(&word)?)?;
        let spec = conf.spec(None).map_err(|e| subhost::refused(&file, &e))?;
        for (variable, command) in lines.commands() {
            output::tell(format_args!("notice: {variable} is what `{}` prints at start", output::clean(command)));
        }
        if let Lower::Image(file, Some(number), _) = &conf.lower {
            output::tell(format_args!("notice: LOWER is partition {number} of {}, mounted at start", output::clean(&file.display().to_string())));
        }
        output::show_json(&spec);
    }
    Ok(0)
}

/// Whether the machine of a conf file runs.
pub(crate) fn runs(file: &Path) -> Result<bool, Failure> {
    start::runs(&subhost::read(file.to_owned())?.conf.name)
}
