//! The only road to execve: session, limits, filter, user, capabilities, then the program.
//!
//! PID 1 of a machine, its PID 2, and every process that enters later all end here, so that what a machine may do
//! is decided in one place. Runs in a process with one thread, after a clone; nothing here returns on success.

mod exact;

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hostel_spec::{CapSet, OsText, ProcessSpec, RlimitName, UserSelector};
use hostel_sys::seccomp::Insn;
use hostel_sys::{caps, clone, proc, seccomp, tree};
use rustix::fs::{Mode, OFlags};

use crate::{magic, userdb};

/// Where programs are searched when the environment has no `PATH` (systemd's compatible default).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// What to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `argv` of the spec, its first word searched in `PATH`; empty: the user's shell as a login shell.
    Command,
    /// The first init of the tree that can be executed; `argv` of the spec are its arguments.
    Init,
}

/// The inits that are tried, in order. The first three are systemd-nspawn's.
pub const INITS: [&str; 6] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/sbin/init", "/etc/init", "/bin/init", "/init"];

/// All that decides what the process is.
#[derive(Debug)]
pub struct Process<'a> {
    /// As asked for.
    pub spec: &'a ProcessSpec,
    /// What kind of program.
    pub program: Program,
    /// Environment before the spec's own; `HOME`, `USER`, `LOGNAME` are put in by this module.
    pub env: &'a [OsText],
    /// Bounding set; uid 0 gets all of it.
    pub bounding: CapSet,
    /// System call filter.
    pub filter: Option<&'a [Insn]>,
    /// Becomes standard input, output, error.
    pub stdio: Option<BorrowedFd<'a>>,
    /// `stdio` is a terminal and becomes the controlling one of a new session.
    pub controlling: bool,
    /// Start a new session (always with `controlling`).
    pub new_session: bool,
    /// Descriptors from 3 on that are kept (socket activation).
    pub keep: u32,
    /// Other descriptors that stay open until the exec: where failures are reported.
    pub until_exec: &'a [BorrowedFd<'a>],
    /// A hard limit that may not be raised here is lowered to what is possible instead of refused.
    pub clamp_limits: bool,
    /// Killed when the process that made it ends.
    pub die_with_parent: bool,
    /// No program is run that one of /proc's magic links leads to: it could be ours, and the machine may write to our file.
    pub no_magic_links: bool,
    /// It is a service's, of a manager that runs in the same root.
    pub service: Option<Service<'a>>,
}

/// What only processes of services have.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// The user, looked up already, with whatever groups; the spec's is passed over.
    pub user: &'a userdb::User,
    /// `HOME`, `USER`, `LOGNAME` and `SHELL` are set.
    pub login: bool,
    /// argv[0], when it is not the program's path.
    pub name: Option<&'a OsText>,
    /// Broken pipes are errors of write(2), no deadly signals.
    pub ignore_pipe: bool,
    /// System call filter of the program: loaded last, so that it need not allow what this module does. Empty: none.
    pub filter: &'a [Insn],
}

/// Why a process could not be made.
#[derive(Debug)]
pub struct Failure {
    /// Verb, such as `execute`.
    pub verb: &'static str,
    /// Object.
    pub object: String,
    /// Cause.
    pub cause: io::Error,
}

impl Failure {
    /// Builds one.
    pub fn new(verb: &'static str, object: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self { verb, object: object.into(), cause: cause.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.verb, self.object, self.cause)
    }
}

/// Becomes `process`. The root directory must already be the machine's. Returns only on failure.
pub fn run(process: &Process<'_>) -> Failure {
    match confine(process) {
        Err(failure) => failure,
        Ok(ready) => execute(&ready),
    }
}

/// A confined process that only has to execute its program.
#[derive(Debug)]
pub struct Ready {
    program: Program,
    no_magic_links: bool,
    programs: Vec<(CString, CString)>,
    argv: Vec<CString>,
    env: Vec<CString>,
}

/// Does everything but the exec: the calling process is as limited as the program will be.
/// Descriptors from 3 on are closed, but the kept ones, and those that the exec closes. The caller must leave
/// by [`execute`] or `exit_now`: whatever owned descriptors it has are gone.
pub fn confine(process: &Process<'_>) -> Result<Ready, Failure> {
    let spec = process.spec;
    if let Some(given) = &spec.exact {
        return exact::confine(process, given);
    }
    let user = find_user(process)?;
    session(process)?;
    // Closed, not only marked: a path of the machine is walked from here on (directory, program), and it may be a link to /proc/self/fd/N.
    clone::close_from_but(3 + process.keep, process.until_exec).map_err(|e| Failure::new("close", "descriptors", e))?;
    limits(process)?;
    if process.service.is_none() {
        become_root().map_err(|e| Failure::new("become", "root", e))?;
    }
    if let Some(filter) = process.filter {
        seccomp::load(filter).map_err(|e| Failure::new("load", "system call filter", e))?;
    }
    privileges(process, &user)?;
    if process.die_with_parent {
        // Last, because every change of ids clears it.
        proc::set_parent_death_signal(9).map_err(|e| Failure::new("tie", "process to its parent", e))?;
    }
    let directory = directory(spec, process.program, &user);
    enter_directory(Path::new(&directory)).map_err(|e| Failure::new("enter directory", &directory, e))?;
    let env = environment(process, &user);
    let programs = programs(process, &user, &env);
    let argv = arguments(process)?;
    proc::cloexec_from(3 + process.keep).map_err(|e| Failure::new("close", "descriptors", e))?;
    if let Some(service) = process.service.filter(|service| !service.filter.is_empty()) {
        seccomp::load(service.filter).map_err(|e| Failure::new("load", "system call filter of the service", e))?;
    }
    Ok(Ready { program: process.program, no_magic_links: process.no_magic_links, programs, argv, env })
}

/// Makes this process root of its user namespace, in no other group.
pub fn become_root() -> io::Result<()> {
    proc::set_ids(0, 0, &[]).or_else(already_root)
}

/// A process that is root already, in a user namespace where setgroups is denied, is as good as changed.
fn already_root(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::PermissionDenied && rustix::process::geteuid().is_root() && rustix::process::getegid().is_root() {
        return Ok(());
    }
    Err(error)
}

fn find_user(process: &Process<'_>) -> Result<userdb::User, Failure> {
    if let Some(service) = process.service {
        return Ok(service.user.clone());
    }
    match &process.spec.user {
        None | Some(UserSelector::Id(0)) => Ok(userdb::User::root()),
        Some(selector) => {
            let root = rustix::fs::open(
                "/",
                rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
            .map_err(|e| Failure::new("open", "/", e))?;
            userdb::lookup(&root, selector).map_err(|e| {
                let (verb, object, cause) = e.parts();
                Failure::new(verb, object, io::Error::other(cause))
            })
        }
    }
}

fn session(process: &Process<'_>) -> Result<(), Failure> {
    if process.new_session || process.controlling {
        proc::new_session().map_err(|e| Failure::new("start", "session", e))?;
    }
    if let Some(stdio) = process.stdio {
        if process.controlling {
            proc::set_controlling_terminal(stdio, false).map_err(|e| Failure::new("take", "terminal", e))?;
        }
        for number in 0..3 {
            proc::place_stream(stdio, number).map_err(|e| Failure::new("place", "standard streams", e))?;
        }
    }
    proc::reset_signals().map_err(|e| Failure::new("reset", "signals", e))?;
    if process.service.is_some_and(|service| service.ignore_pipe) {
        proc::ignore_broken_pipes().map_err(|e| Failure::new("reset", "signals", e))?;
    }
    Ok(())
}

fn limits(process: &Process<'_>) -> Result<(), Failure> {
    let spec = process.spec;
    for limit in &spec.rlimits {
        set_limit(limit, process.clamp_limits)?;
    }
    // Of a machine's first process and of what enters it this was done from outside, where it may be done.
    if let Some(score) = spec.oom_score_adjust {
        std::fs::write("/proc/self/oom_score_adj", score.to_string()).map_err(|e| Failure::new("write", "/proc/self/oom_score_adj", e))?;
    }
    if let Some(cpus) = &spec.cpu_affinity {
        proc::set_affinity(cpus).map_err(|e| Failure::new("set", "CPU affinity", e))?;
    }
    if let Some(label) = &spec.selinux_label {
        // Takes effect at the exec.
        std::fs::write("/proc/self/attr/exec", label).map_err(|e| Failure::new("apply", format!("SELinux label {label:?}"), e))?;
    }
    if spec.linux32 {
        proc::set_personality(proc::PER_LINUX32).map_err(|e| Failure::new("set", "personality", e))?;
    }
    Ok(())
}

/// Raising a hard limit takes CAP_SYS_RESOURCE on the host; without it the present hard limit is the most there is.
fn set_limit(limit: &hostel_spec::Rlimit, clamp: bool) -> Result<(), Failure> {
    let number = limit.name as u32;
    let error = match proc::set_rlimit(number, limit.soft, limit.hard) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let object = || format!("limit {}", RlimitName::name(limit.name));
    if !clamp || error.kind() != io::ErrorKind::PermissionDenied {
        return Err(Failure::new("set", object(), error));
    }
    let (_, most) = proc::get_rlimit(0, number).map_err(|e| Failure::new("read", object(), e))?;
    let least = |wanted: Option<u64>| match (wanted, most) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (None, most) => most,
        (wanted, None) => wanted,
    };
    proc::set_rlimit(number, least(limit.soft), least(limit.hard)).map_err(|e| Failure::new("set", object(), e))
}

fn privileges(process: &Process<'_>, user: &userdb::User) -> Result<(), Failure> {
    let spec = process.spec;
    let failed = |what: &'static str| move |e: io::Error| Failure::new("set", what, e);
    if process.service.is_some() && !rustix::process::geteuid().is_root() {
        return without_privileges(process, user);
    }
    caps::limit_bounding(process.bounding.0).map_err(failed("bounding capabilities"))?;
    // What this process does not have it cannot give: in a container the host's root lacks some.
    let (permitted, _, _) = caps::get().map_err(failed("capabilities"))?;
    let bounding = process.bounding.0 & permitted;
    let ambient = spec.ambient.0 & bounding;
    // Loading a filter takes it; of root the exec computes the sets anew, from the bounding set.
    let for_filter = if user.uid == 0 && process.service.is_some_and(|service| !service.filter.is_empty()) { permitted & CAP_SYS_ADMIN } else { 0 };
    if user.uid == 0 && user.gid == 0 && user.groups.is_empty() {
        caps::set(bounding | for_filter, bounding | for_filter, ambient).map_err(failed("capabilities"))?;
    } else {
        if process.stdio.is_some() {
            // /dev/stdout and /dev/console are opened anew by name; the terminal is the user's from here on.
            for stream in [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
                rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(user.uid)), None)
                    .map_err(|e| Failure::new("give", "console to the user", e))?;
            }
        }
        caps::keep_over_setuid(true).map_err(failed("capabilities"))?;
        proc::set_ids(user.uid, user.gid, &user.groups).map_err(|e| Failure::new("become user", &user.name, e))?;
        let kept = if user.uid == 0 { bounding | for_filter } else { ambient };
        caps::set(kept, kept, ambient).map_err(failed("capabilities"))?;
    }
    if ambient != 0 {
        caps::set_ambient(ambient).map_err(failed("ambient capabilities"))?;
    }
    if spec.no_new_privileges {
        proc::set_no_new_privs().map_err(failed("no-new-privileges"))?;
    }
    Ok(())
}

/// Of a manager that is not root: its services are what it is, or do not start.
fn without_privileges(process: &Process<'_>, user: &userdb::User) -> Result<(), Failure> {
    if user.uid != rustix::process::geteuid().as_raw() {
        return Err(Failure::new("become user", &user.name, io::Error::from(io::ErrorKind::PermissionDenied)));
    }
    if process.spec.no_new_privileges {
        proc::set_no_new_privs().map_err(|e| Failure::new("set", "no-new-privileges", e))?;
    }
    Ok(())
}

fn directory(spec: &ProcessSpec, program: Program, user: &userdb::User) -> String {
    match &spec.cwd {
        Some(cwd) => cwd.to_string_lossy().into_owned(),
        None if program == Program::Command && spec.argv.is_empty() && Path::new(&user.home).is_dir() => user.home.clone(),
        None => "/".into(),
    }
}

/// Enters a directory of the machine; no link on the way may be one of /proc's magic ones, which lead out (CVE-2024-21626).
pub fn enter_directory(path: &Path) -> io::Result<()> {
    if path == Path::new("/") {
        return Ok(rustix::process::chdir(c"/")?);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(c"/", flags, Mode::empty())?;
    let directory = tree::openat2(root.as_fd(), path, flags, Mode::empty(), tree::IN_ROOT)?;
    rustix::process::fchdir(&directory)?;
    // The kernel says "(unreachable)…" of a directory that is not below our root.
    if rustix::process::getcwd(Vec::new())?.as_bytes().starts_with(b"/") { Ok(()) } else { Err(io::Error::other("it is outside of the machine")) }
}

fn text(bytes: Vec<u8>) -> Option<CString> {
    CString::new(bytes).ok()
}

/// `name` of a `NAME=value` entry.
fn name_of(entry: &[u8]) -> &[u8] {
    entry.split(|b| *b == b'=').next().unwrap_or(entry)
}

fn environment(process: &Process<'_>, user: &userdb::User) -> Vec<CString> {
    let mut out: Vec<Vec<u8>> = Vec::with_capacity(process.env.len() + process.spec.env.len() + 4);
    let mut own = Vec::with_capacity(4);
    if process.service.is_none_or(|service| service.login) {
        own.extend([("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name)].map(|(name, value)| format!("{name}={value}").into_bytes()));
    }
    if process.service.is_some_and(|service| service.login) {
        own.push(format!("SHELL={}", user.shell).into_bytes());
    }
    let entries = process.env.iter().map(OsText::as_bytes).chain(own.iter().map(Vec::as_slice)).chain(process.spec.env.iter().map(OsText::as_bytes));
    for entry in entries {
        // Later entries win and keep the place of the earlier one.
        match out.iter_mut().find(|old| name_of(old) == name_of(entry)) {
            Some(old) => *old = entry.to_vec(),
            None => out.push(entry.to_vec()),
        }
    }
    out.into_iter().filter_map(text).collect()
}

/// (file to execute, argv[0]) in the order to try.
fn programs(process: &Process<'_>, user: &userdb::User, env: &[CString]) -> Vec<(CString, CString)> {
    let pair = |path: &[u8], name: &[u8]| Some((text(path.to_vec())?, text(name.to_vec())?));
    let name = |first: &'_ OsText| process.service.and_then(|service| service.name).unwrap_or(first).as_bytes().to_vec();
    match process.program {
        // what it is called decides what it is
        Program::Init if process.spec.init.is_some() => {
            process.spec.init.iter().filter_map(|path| pair(path.as_os_str().as_bytes(), b"/sbin/init")).collect()
        }
        Program::Init => INITS.iter().filter_map(|p| pair(p.as_bytes(), p.as_bytes())).collect(),
        Program::Command => match process.spec.argv.first() {
            None => {
                let mut shells = Vec::new();
                if user.uid != 0 || process.spec.user.is_some() {
                    shells.push(user.shell.as_str());
                }
                shells.extend(["/bin/bash", "/usr/bin/bash", "/bin/sh"]);
                let login = |shell: &str| format!("-{}", shell.rsplit('/').next().unwrap_or(shell));
                shells.iter().filter_map(|s| pair(s.as_bytes(), login(s).as_bytes())).collect()
            }
            // Not the directories of PATH themselves.
            Some(first) if first.as_bytes().is_empty() => Vec::new(),
            Some(first) if first.as_bytes().contains(&b'/') => pair(first.as_bytes(), &name(first)).into_iter().collect(),
            Some(first) => {
                let path = env.iter().find_map(|e| e.as_bytes().strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH.as_bytes());
                path.split(|b| *b == b':')
                    .filter(|dir| !dir.is_empty())
                    .filter_map(|dir| pair(&[dir, b"/", first.as_bytes()].concat(), &name(first)))
                    .collect()
            }
        },
    }
}

fn arguments(process: &Process<'_>) -> Result<Vec<CString>, Failure> {
    let given = &process.spec.argv;
    let rest = if process.program == Program::Init { &given[..] } else { given.get(1..).unwrap_or_default() };
    rest.iter()
        .map(|a| {
            CString::new(a.as_bytes()).map_err(|_| Failure::new("pass", "argument with a NUL byte", io::Error::from(io::ErrorKind::InvalidInput)))
        })
        .collect()
}

/// Executes the program; returns only on failure.
pub fn execute(ready: &Ready) -> Failure {
    let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).collect::<Vec<*const c_char>>();
    let mut env = pointers(&ready.env);
    env.push(std::ptr::null());
    let mut argv: Vec<*const c_char> = Vec::with_capacity(ready.argv.len() + 2);
    argv.push(std::ptr::null());
    argv.extend(pointers(&ready.argv));
    argv.push(std::ptr::null());
    let mut result: Option<(String, io::Error)> = None;
    for (path, name) in &ready.programs {
        argv[0] = name.as_ptr();
        let error = match if ready.no_magic_links { magic::refuse(path.to_bytes()) } else { Ok(()) } {
            Ok(()) => proc::execve(path, &argv, &env),
            Err(error) => error,
        };
        let missing = matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::NOENT.raw_os_error() || code == rustix::io::Errno::NOTDIR.raw_os_error());
        let refused = error.kind() == io::ErrorKind::PermissionDenied;
        // As execvp: a permission problem is reported if nothing later is found; anything else ends the search.
        if result.is_none() || (refused && !missing) {
            result = Some((path.to_string_lossy().into_owned(), error));
        }
        if !missing && !refused {
            break;
        }
    }
    let (path, cause) = result.unwrap_or_else(|| ("\"\"".into(), rustix::io::Errno::NOENT.into()));
    let object = match ready.program {
        Program::Init if ready.programs.len() == 1 => path,
        Program::Init => format!("init of the tree (tried {})", INITS.join(", ")),
        Program::Command if ready.programs.len() > 1 => ready.programs[0].1.to_string_lossy().into_owned(),
        Program::Command => path,
    };
    Failure { verb: "execute", object, cause }
}
