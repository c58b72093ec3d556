//! `hostel run` and `hostel boot`: systemd-nspawn's option rows, a few of our own, and stricter defaults.

mod contradictions;
pub mod defaults;
pub mod kept;
pub mod snapshots;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_engine::error::Error;
use hostel_engine::registry::Origin;
use hostel_image::inroot::Durable;
use hostel_nspawn::options::{self, OptionId, Takes};
use hostel_nspawn::settings::{Lookup, Mode};
use hostel_nspawn::{Action, Doc, Environment};
use hostel_spec::{Ephemeral, MachineName, MachineSpec, Network, NetworkMode, TreeSource, UserNamespace, Volatile};

use crate::cli::{self, Failure};
use crate::{hint, output, settings};

/// One native option.
pub struct NativeRow {
    /// Letter.
    pub short: Option<u8>,
    /// Long name.
    pub long: &'static str,
    /// Name of its value, if it takes one.
    pub value: Option<&'static str>,
    /// Help.
    pub help: &'static str,
}

const fn row(short: Option<u8>, long: &'static str, value: Option<&'static str>, help: &'static str) -> NativeRow {
    NativeRow { short, long, value, help }
}

/// Options of our own, besides those of `systemd-nspawn` (see `hostel nspawn --help`).
pub const ROWS: [NativeRow; 10] = [
    row(None, "tree", Some("DIR|IMAGE"), "this tree instead of the host's /; `run` leaves its files as they are"),
    row(None, "keep", Some("NAME"), "keep what changes, and the machine, under this name"),
    row(None, "name", Some("NAME"), "the machine's name"),
    row(Some(b'd'), "detach", None, "in the background: console to a log, see `hostel console` and `hostel logs`"),
    row(None, "wait", None, "with -d: return when it says READY=1 (systemd does when it has booted), after 90 s at most"),
    row(None, "net", Some("host|private|veth|zone:NAME|bridge:IF"), "network: the host's, loopback only, a cable with an address, a zone, a bridge"),
    row(None, "init", Some("hostel"), "`boot`: hostel runs the tree's unit files itself, nothing is installed in the tree (see `hostel init`)"),
    row(None, "nest", Some("N"), "how many user namespaces may be made inside (default 0)"),
    row(None, "privileged-users", Some("host"), "no user namespace: root inside is root on the host"),
    row(None, "json", None, "for `spec` and `plan`: print JSON"),
];

/// The kind of machine a native verb makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `hostel run`.
    Run,
    /// `hostel boot`.
    Boot,
}

/// A native command line, compiled.
#[derive(Debug)]
pub struct Request {
    /// The verb.
    pub kind: Kind,
    /// What the machine should be.
    pub spec: MachineSpec,
    /// In the background.
    pub detach: bool,
    /// Wait until it is up.
    pub wait: bool,
    /// JSON output wanted (`spec`, `plan`).
    pub json: bool,
    /// Kept overlay to use or make.
    pub keep: Option<MachineName>,
    /// Whether what is kept has to survive a power cut from the start.
    pub(crate) durable: Durable,
    /// Things to say before the start.
    pub warnings: Vec<String>,
    /// What of it settings files say: where, and what.
    pub settings: Vec<(String, String)>,
}

/// What was given of our own options.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(crate) tree: Option<PathBuf>,
    pub(crate) keep: Option<MachineName>,
    pub(crate) name: Option<MachineName>,
    pub(crate) detach: bool,
    pub(crate) wait: bool,
    pub(crate) json: bool,
    pub(crate) net: Option<Network>,
    pub(crate) nest: Option<u32>,
    pub(crate) host_users: bool,
    /// `--init=hostel`
    pub(crate) own_init: bool,
    pub(crate) target: Option<String>,
    pub(crate) directory: bool,
    /// Ports were forwarded and no network option of systemd-nspawn's was given.
    pub(crate) cable_for_ports: bool,
    /// Where a command over the host's own files begins: here, if the overlay has it.
    pub(crate) cwd: Option<PathBuf>,
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::Usage(text.into())
}

/// The caller's environment, as the dialect wants it.
pub fn environment() -> Environment {
    // A directory that is gone is no place: relative paths lead nowhere, and none is made up for them.
    Environment { vars: std::env::vars_os().collect(), cwd: std::env::current_dir().unwrap_or_default() }
}

/// What a native command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// A machine.
    Machine(Box<Request>),
    /// Something to read, which has been printed: the exit status.
    Shown(u8),
}

/// Parses the arguments of `run` or `boot`.
pub fn parse(kind: Kind, args: &[OsString]) -> Result<Parsed, Failure> {
    let (own, rest) = split(kind, args)?;
    let env = environment();
    let mut doc = hostel_nspawn::fold(&rest);
    let mut own = Own { directory: given(&doc, &[OptionId::Directory, OptionId::Image]), cwd: shared_directory(&env.cwd), ..own };
    contradictions::check(&mut own, &doc)?;
    if !own.directory {
        // The dialect would take the working directory; `defaults` puts the real tree in its place.
        doc.entries.extend(options::by_id(OptionId::Directory).map(|row| hostel_nspawn::Entry {
            row,
            value: Some("/usr".into()),
            origin: hostel_nspawn::Origin::Argv(0),
        }));
    }
    if own.own_init {
        bring_init(kind, &own, &mut doc)?;
    }
    own_network(&own, &mut doc);
    let (mut doc, mut warnings) = merge_settings(kind, &own, doc, &env)?;
    if given(&doc, &[OptionId::Port]) && !given(&doc, &defaults::LINKS) {
        // A port needs something to lead to; `defaults` puts what --net says in its place.
        own.cable_for_ports = true;
        add(&mut doc, OptionId::NetworkVeth);
    }
    let mut spec = match hostel_nspawn::compile(&doc, &env) {
        Ok(Action::Run(spec)) => *spec,
        Ok(Action::Cleanup(_)) => return Err(usage("clean up a machine: `hostel clean` does it")),
        Ok(Action::Print(text)) => return Ok(Parsed::Shown(output::show(&text))),
        Ok(Action::Version) => return Ok(Parsed::Shown(output::show(&cli::version()))),
        Ok(Action::Help) => return Ok(Parsed::Shown(output::show(&cli::help_of(kind)))),
        Err(error) => return Err(Failure::Dialect(Box::new(error), settings::hint(&doc))),
    };
    if let Some(option) = own.keep.as_ref().and_then(|_| beside_keep(&doc, &spec)) {
        return Err(usage(format!("combine --keep and {option}: what changes is either kept or not")));
    }
    contradictions::users(&own, &doc, &spec)?;
    warnings.extend(defaults::apply(kind, &own, &doc, &mut spec)?);
    if own.own_init {
        if spec.namespaces.user == UserNamespace::Host {
            return Err(usage("combine --init=hostel and a machine without a user namespace: its root could write to hostel's own program"));
        }
        spec.process.init = Some(OWN_INIT.into());
        // It runs no networkd: nobody inside would ask for an address.
        if spec.network.config == hostel_spec::NetworkConfig::Auto {
            spec.network.config = hostel_spec::NetworkConfig::Static;
        }
    }
    if kind == Kind::Run && spec.process.argv.is_empty() && spec.payload == hostel_spec::Payload::Command && own.detach {
        return Err(usage("run: a machine in the background needs a command"));
    }
    if own.wait && !own.detach {
        return Err(usage("--wait is for a machine in the background: add -d"));
    }
    let settings = doc.settings();
    Ok(Parsed::Machine(Box::new(Request {
        kind,
        spec,
        detach: own.detach,
        wait: own.wait,
        json: own.json,
        keep: own.keep,
        durable: Durable::Yes,
        warnings,
        settings,
    })))
}

/// Where our own program is in a machine whose init it is.
const OWN_INIT: &str = "/run/hostel-init/hostel";

/// Our own program appears in the machine, read-only.
fn bring_init(kind: Kind, own: &Own, doc: &mut Doc) -> Result<(), Failure> {
    if kind != Kind::Boot {
        return Err(usage("--init= is for `hostel boot`"));
    }
    if own.host_users {
        return Err(usage("combine --init=hostel and --privileged-users=host: the machine's root could write to hostel's own program"));
    }
    let program = std::env::current_exe().map_err(|e| usage(format!("find hostel's own program: {e}")))?;
    let program = program.to_str().filter(|path| !path.ends_with(" (deleted)")).ok_or_else(|| usage("find hostel's own program: it was deleted"))?;
    let value = format!("{}:{OWN_INIT}", program.replace('\\', "\\\\").replace(':', "\\:"));
    doc.entries.extend(options::by_id(OptionId::BindRo).map(|row| hostel_nspawn::Entry {
        row,
        value: Some(value),
        origin: hostel_nspawn::Origin::Argv(0),
    }));
    Ok(())
}

/// An option without a value, as if it had been typed.
fn add(doc: &mut Doc, id: OptionId) {
    doc.entries.extend(options::by_id(id).map(|row| hostel_nspawn::Entry { row, value: None, origin: hostel_nspawn::Origin::Argv(0) }));
}

/// Says `--net` in the dialect's words: it checks what goes together, and a settings file's network loses to a typed one.
fn own_network(own: &Own, doc: &mut Doc) {
    let Some(net) = &own.net else { return };
    if net.mode == NetworkMode::Private {
        add(doc, if net.cable.is_some() { OptionId::NetworkVeth } else { OptionId::PrivateNetwork });
    }
}

/// The settings files of a machine that is booted by its name count as with systemd-nspawn; of any other only with `--settings=`.
fn merge_settings(kind: Kind, own: &Own, doc: Doc, env: &Environment) -> Result<(Doc, Vec<String>), Failure> {
    let Some(asked) = hostel_nspawn::settings::lookup(&doc, env) else { return Ok((doc, Vec::new())) };
    let tree = match (&own.target, &own.tree) {
        (Some(target), _) => tree_of(target)?,
        (None, Some(path)) => tree_of(&path.to_string_lossy())?,
        (None, None) if own.directory => asked.tree,
        (None, None) => TreeSource::Host,
    };
    let default = if kind == Kind::Boot && matches!(tree, TreeSource::Named(_)) { Mode::Yes } else { Mode::No };
    let name = own.name.clone().or_else(|| own.keep.clone()).or(asked.name);
    Ok(settings::merge(doc, env, &Lookup { name, tree, ..asked }, default)?)
}

/// What would throw away, or forbid, the changes that are to be kept.
fn beside_keep(doc: &Doc, spec: &MachineSpec) -> Option<String> {
    let (id, option) = if spec.root.ephemeral != Ephemeral::No {
        (OptionId::Ephemeral, "--ephemeral")
    } else if spec.root.volatile != Volatile::No {
        (OptionId::Volatile, "--volatile=")
    } else if spec.root.read_only {
        (OptionId::ReadOnly, "--read-only")
    } else {
        return None;
    };
    Some(match doc.entries.iter().rfind(|e| e.row.id == id).map(|e| &e.origin) {
        Some(origin @ hostel_nspawn::Origin::File { key, .. }) => format!("{key}= of {origin}"),
        _ => option.to_owned(),
    })
}

/// Takes our own options out; what is left is systemd-nspawn's, as it would read it.
fn split(kind: Kind, args: &[OsString]) -> Result<(Own, Vec<OsString>), Failure> {
    let mut own = Own::default();
    let mut rest: Vec<OsString> = Vec::new();
    let mut payload: Vec<OsString> = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            payload.extend(words.by_ref().cloned());
        } else if bytes.starts_with(b"--") {
            let (name, value) = match bytes.iter().position(|b| *b == b'=') {
                Some(at) => (&bytes[2..at], Some(OsStr::from_bytes(&bytes[at + 1..]).to_os_string())),
                None => (&bytes[2..], None),
            };
            if let Some(row) = ROWS.iter().find(|r| r.long.as_bytes() == name) {
                let value = match (row.value, value) {
                    (Some(_), Some(v)) => Some(v),
                    (Some(_), None) => Some(words.next().cloned().ok_or_else(|| usage(format!("option '--{}' requires an argument", row.long)))?),
                    (None, None) => None,
                    (None, Some(_)) => return Err(usage(format!("option '--{}' doesn't allow an argument", row.long))),
                };
                own.take(row.long, value)?;
                continue;
            }
            rest.push(word.clone());
            if value.is_none() && options::by_long(name).is_some_and(|r| matches!(r.takes, Takes::Value(_))) {
                rest.extend(words.next().cloned());
            }
        } else if bytes == b"-d" {
            own.detach = true;
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            rest.push(word.clone());
            // A cluster such as -qE takes the next word when its last letter wants a value and nothing follows it.
            let wants = bytes[1..].iter().position(|b| options::by_short(*b).is_some_and(|r| matches!(r.takes, Takes::Value(_))));
            if wants == Some(bytes.len() - 2) {
                rest.extend(words.next().cloned());
            }
        } else if kind == Kind::Boot && own.target.is_none() {
            own.target = Some(word.to_str().ok_or_else(|| usage("boot: the tree's name is not UTF-8"))?.to_owned());
        } else if kind == Kind::Boot {
            return Err(usage(format!("boot: unexpected argument {word:?}; arguments for the init go after --")));
        } else {
            payload.push(word.clone());
            payload.extend(words.by_ref().cloned());
        }
    }
    rest.push("--".into());
    rest.extend(payload);
    Ok((own, rest))
}

impl Own {
    fn take(&mut self, name: &str, value: Option<OsString>) -> Result<(), Failure> {
        let text =
            value.map(|v| v.into_string().map_err(|_| usage(format!("option '--{name}': the value is not UTF-8")))).transpose()?.unwrap_or_default();
        let machine = |text: &str| MachineName::new(text).map_err(|e| usage(e.to_string()));
        match name {
            "tree" if text.is_empty() => return Err(usage("option '--tree' takes a directory")),
            "tree" => self.tree = Some(text.into()),
            "keep" => self.keep = Some(machine(&text)?),
            "name" => self.name = Some(machine(&text)?),
            "detach" => self.detach = true,
            "wait" => self.wait = true,
            "json" => self.json = true,
            "net" => self.net = Some(defaults::network_of(&text).map_err(|why| usage(format!("parse --net={text}: {why}")))?),
            "nest" => self.nest = Some(text.parse().map_err(|_| usage(format!("parse --nest={text}: it takes a number, 0 to 4294967295")))?),
            "init" if text != "hostel" => {
                return Err(usage(format!("parse --init={text}: it takes `hostel`; without it the tree's own init is booted")));
            }
            "init" => self.own_init = true,
            "privileged-users" if text != "host" => return Err(usage(format!("parse --privileged-users={text}: it takes `host`"))),
            "privileged-users" => self.host_users = true,
            _ => {}
        }
        Ok(())
    }
}

/// The working directory, if a machine over the host's `/` has the same: on its file system, and in no place of the machine's own.
fn shared_directory(cwd: &std::path::Path) -> Option<PathBuf> {
    let device = |path: &std::path::Path| std::fs::metadata(path).ok().map(|m| std::os::unix::fs::MetadataExt::dev(&m));
    let own = ["/tmp", "/run", "/dev", "/proc", "/sys"].iter().any(|dir| cwd.starts_with(dir));
    (!own && device(cwd).is_some() && device(cwd) == device(std::path::Path::new("/"))).then(|| cwd.to_path_buf())
}

/// Whether an option was given, by the command line or by a settings file.
pub(crate) fn given(doc: &Doc, ids: &[OptionId]) -> bool {
    doc.entries.iter().any(|e| ids.contains(&e.row.id))
}

/// Whether the command line gave it.
pub(crate) fn typed(doc: &Doc, id: OptionId) -> bool {
    doc.entries.iter().any(|e| e.row.id == id && matches!(e.origin, hostel_nspawn::Origin::Argv(_)))
}

/// A tree as named on the command line: a path has a slash, or is a disk image NAME.raw here; anything else is a machine's name.
pub(crate) fn tree_of(text: &str) -> Result<TreeSource, Failure> {
    if text.is_empty() {
        return Err(usage("the tree's name is empty"));
    }
    let path = Path::new(text);
    if text.contains('/') || matches!(text, "." | "..") {
        // Wherever it is opened; a working directory that is gone makes it fail there.
        let path = std::path::absolute(text).unwrap_or_else(|_| text.into());
        return Ok(if hostel_image::raw::is_image(&path) { TreeSource::Image(path) } else { TreeSource::Directory(path) });
    }
    if text.ends_with(".raw") && path.is_file() {
        return Ok(TreeSource::Image(std::path::absolute(path).unwrap_or_else(|_| path.into())));
    }
    MachineName::new(text).map(TreeSource::Named).map_err(|e| usage(e.to_string()))
}

/// Help lines of the native rows, for the verb `verb`.
pub fn options_help(verb: &str) -> String {
    let mut out = String::new();
    let prints = matches!(verb, "spec" | "plan");
    for row in ROWS.iter().filter(|row| prints || row.long != "json") {
        let mut name = row.short.map_or_else(String::new, |s| format!("-{}, ", s as char));
        name.push_str(&format!("--{}", row.long));
        if let Some(value) = row.value {
            name.push_str(&format!(" {value}"));
        }
        let help = if verb == "boot" && row.long == "tree" { "the tree, in place of the word TREE" } else { row.help };
        out.push_str(&format!("  {name:<28} {help}\n"));
    }
    out.push_str("  and every option of `hostel nspawn --help`: --bind, --setenv, --memory, --cpus, --pids, --private-users, …\n");
    out
}

impl Request {
    /// Whether it will run in the background.
    pub fn in_background(&self) -> bool {
        self.detach
    }

    /// The spec with its kept layer, for printing: nothing is made.
    pub fn with_kept(mut self) -> Result<MachineSpec, Failure> {
        self.find_kept(None)?;
        Ok(self.spec)
    }

    /// Finds the kept layer that is asked for, or makes it if that is said. The one that was made now, if it was.
    fn find_kept(&mut self, make: Option<Durable>) -> Result<Option<OwnedFd>, Failure> {
        if let Some(name) = self.keep.clone() {
            return Ok(kept::keep(&mut self.spec, &name, make)?);
        }
        let TreeSource::Named(name) = self.spec.root.tree.clone() else { return Ok(None) };
        if kept::is_kept(&name) {
            if self.kind == Kind::Run {
                // What `run` is given as a tree, it leaves as it is.
                let error = Error::new("use", format!("kept machine {name} as a tree"), "it is no tree of its own");
                return Err(error.hint(format!("`hostel run --keep {name}` goes on with it")).into());
            }
            kept::reopen(&mut self.spec, &name)?;
        }
        Ok(None)
    }
}

/// A command over this host begins here, unless here is a place of the machine's own: that is told.
fn say_where(request: &Request) {
    let spec = &request.spec;
    let begins_in_root = request.kind == Kind::Run && spec.root.tree == TreeSource::Host && spec.process.cwd.is_none();
    if begins_in_root
        && !spec.lifecycle.quiet
        && let Ok(here) = std::env::current_dir()
        && here != Path::new("/")
    {
        output::tell(format_args!("notice: it begins in /: what is in {} is not in the machine", here.display()));
    }
}

/// Whether the machine's name, and not its tree, is in use.
fn name_is_busy(error: &Error) -> bool {
    error.busy && error.hint != Some(hostel_spec::Hint::TreeInUse)
}

/// Starts what was asked for.
pub fn start(mut request: Request, origin: Origin) -> cli::Outcome {
    for warning in &request.warnings {
        output::tell(format_args!("warning: {warning}"));
    }
    let made = request.find_kept(Some(request.durable))?;
    say_where(&request);
    let mut started = false;
    let outcome = if request.detach {
        // The supervisor has no working directory: what can be said of the tree is said here.
        let found = hostel_engine::tree::find(&request.spec).map_err(Failure::from);
        found.and_then(|_| cli::supervise::background(&request.spec, origin, request.wait, &mut started))
    } else {
        crate::machine::foreground(&request.spec, origin, &mut started).map_err(Failure::from)
    };
    // Nothing ran that could have changed anything. Unless somebody else is about to use what we made.
    if let (Some(made), false, Some(name)) = (made, started, &request.keep)
        && !matches!(&outcome, Err(Failure::Engine(error)) if name_is_busy(error))
        && let Err(error) = cli::rm::take_back(name, made.as_fd())
        && !error.busy
    {
        output::tell(format_args!("warning: {error}"));
    }
    match outcome {
        // As a shell, and `hostel exec`, say it.
        Err(Failure::Engine(error)) if error.verb == "execute" && origin == Origin::Run => {
            hint::tell("hostel", &error, error.hint.as_ref(), hint::Voice::Run("run"));
            Ok(if error.cause.contains("No such file") { 127 } else { 126 })
        }
        other => other,
    }
}
