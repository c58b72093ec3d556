//! Makes a process of a service: what is read before the fork, what is done after it, and how a failure is told.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hostel_process::r#become::{self, Failure, Process, Program, Service as Way};
use hostel_process::userdb::{self, User};
use hostel_spec::{OsText, ProcessSpec, UserSelector};
use hostel_sys::{clone, proc};
use rustix::fs::{Mode, OFlags};

use super::context::{Context, FileMode, PLACES, Stream};
use super::dynamic;
use super::runtime::{self, Runtime};
use super::sandbox;
use super::variables::{self, Environment};
use crate::command::Command;

/// What one process is to be.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The command.
    pub command: &'a Command,
    /// User, limits, streams and the like.
    pub context: &'a Context,
    /// Who it runs as, if that user is there for its sake.
    pub dynamic: Option<User>,
    /// Its environment, without what follows from the context.
    pub environment: Environment,
    /// The group it is born in.
    pub group: Option<BorrowedFd<'a>>,
    /// Where output goes that is the manager's to keep.
    pub log: Option<BorrowedFd<'a>>,
    /// Whose command it is, to name its session.
    pub main: bool,
    /// Descriptors that it gets from 3 on, each with its name.
    pub pass: Vec<(&'a str, BorrowedFd<'a>)>,
    /// How many of these, from the first, are of socket units.
    pub sockets: usize,
    /// What standard streams are that are to be a socket.
    pub stream: Option<BorrowedFd<'a>>,
    /// What it shares with other processes of its unit.
    pub runtime: Option<&'a Runtime>,
    /// Where its credentials are.
    pub credentials: Option<String>,
}

/// One that was made.
#[derive(Debug)]
pub(super) struct Made {
    /// Its number.
    pub pid: i32,
    /// Itself.
    pub pidfd: OwnedFd,
    /// Reads why it could not execute its program, or nothing once it has.
    pub report: OwnedFd,
}

/// The environment of a command: what the unit says, over what the manager has.
pub(super) fn environment(context: &Context, manager: &Environment, inherited: &Environment) -> Result<Environment, String> {
    let mut out = manager.clone();
    if context.terminal.is_used {
        out.set("TERM", context.terminal.kind(inherited.get("TERM")));
    }
    for name in &context.pass {
        if let Some(value) = inherited.get(name) {
            out.set(name, value);
        }
    }
    for (place, (entries, _)) in PLACES.iter().zip(&context.directories) {
        if !entries.is_empty() {
            let paths: Vec<String> = entries.iter().map(|(name, _)| format!("{}/{name}", place.top)).collect();
            out.set(place.variable, paths.join(":"));
        }
    }
    if !context.search.is_empty() {
        out.set("PATH", context.search.join(":"));
    }
    for pair in &context.variables {
        out.assign(pair);
    }
    for (path, optional) in &context.files {
        match std::fs::metadata(path)
            .and_then(|m| if m.is_file() && m.len() <= 1 << 20 { std::fs::read(path) } else { Err(std::io::ErrorKind::InvalidInput.into()) })
        {
            Ok(bytes) => variables::read_file(&String::from_utf8_lossy(&bytes)).iter().for_each(|(name, value)| out.set(name, value)),
            Err(_) if *optional => {}
            Err(e) => return Err(format!("load environment files: {path}: {e}")),
        }
    }
    Ok(out)
}

/// Makes the process. It reports by `report` and its status what it could not do: see [`status_of`].
pub(super) fn spawn(plan: &Plan<'_>) -> Result<Made, String> {
    let mut environment = plan.environment.clone();
    for name in &plan.context.unset {
        environment.unset(name);
    }
    let argv = if plan.command.literal { plan.command.argv.clone() } else { variables::expand(&plan.command.argv, &environment).0 };
    let report =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK).map_err(|e| format!("make a pipe: {e}"))?;
    let args = clone::CloneArgs { flags: clone::CLEAR_SIGHAND, cgroup: plan.group, ..clone::CloneArgs::default() };
    match clone::clone3(&args).map_err(|e| format!("make a process: {e}"))? {
        clone::Fork::Parent { pid, pidfd } => Ok(Made { pid, pidfd, report: report.0 }),
        clone::Fork::Child => {
            // out of the way of what is passed
            let above = rustix::io::fcntl_dupfd_cloexec(&report.1, 3 + plan.pass.len() as i32);
            let report = above.as_ref().map_or(report.1.as_fd(), AsFd::as_fd);
            let failure = child(plan, &argv, &mut environment, report);
            let _ = rustix::io::write(report, failure.to_string().as_bytes());
            clone::exit_now(i32::from(status_of(&failure)))
        }
    }
}

/// The exit status that tells which step failed (systemd.exec(5), "Process Exit Codes").
pub(super) fn status_of(failure: &Failure) -> u8 {
    match failure.verb {
        "enter directory" => 200,
        "set priority" => 211,
        "set slack" => 212,
        "set secure bits" => 213,
        "set scheduler" => 214,
        "isolate network" => 225,
        "set up namespace" => 226,
        "load" => 228,
        "set personality" => 230,
        "make keyring" => 237,
        "set memory policy" => 242,
        "write credential" => 243,
        "set nice" => 201,
        "pass descriptors" | "place" | "close" => 202,
        "execute" => 203,
        "set" if failure.object.starts_with("limit") => 205,
        "set" if failure.object.contains("affinity") => 215,
        "set" if failure.object.starts_with("no-new") => 227,
        "set" => 218,
        "write" => 206,
        "open standard input" => 208,
        "open standard output" => 209,
        "open standard error" => 222,
        "find group" => 216,
        "find" | "use" | "read" | "become user" | "become" => 217,
        "start" => 220,
        "make RuntimeDirectory" => 233,
        "make StateDirectory" => 238,
        "make CacheDirectory" => 239,
        "make LogsDirectory" => 240,
        "make ConfigurationDirectory" => 241,
        _ => 255,
    }
}

/// In the child. Returns why it could not become the program.
fn child(plan: &Plan<'_>, argv: &[String], environment: &mut Environment, report: BorrowedFd<'_>) -> Failure {
    match prepared(plan, argv, environment, report) {
        Ok(failure) | Err(failure) => failure,
    }
}

fn prepared(plan: &Plan<'_>, argv: &[String], environment: &mut Environment, report: BorrowedFd<'_>) -> Result<Failure, Failure> {
    let context = plan.context;
    // with PermissionsStartOnly= only the main command is held back, by capabilities and sandbox, too
    let all_powers = plan.command.full_privileges || context.start_only && !plan.main;
    // who waits below, for a terminal or a FIFO, can be asked to end
    proc::reset_signals().map_err(|e| Failure::new("reset", "signals", e))?;
    let user = user(context, plan.dynamic.as_ref())?;
    // directories above those of the service are everybody's to go through
    rustix::process::umask(Mode::from_raw_mode(0o022));
    directories(context, &user)?;
    rustix::process::umask(Mode::from_raw_mode(context.umask));
    if let (Some(_), Some(group)) = (&context.delegate, plan.group) {
        own_group(group, if context.subgroup.is_some() { &["", "../"] } else { &[""] }, &user);
    }
    let takes = plan.main && context.terminal.take.is_some();
    if plan.main {
        context.terminal.tend();
    }
    if takes {
        proc::new_session().map_err(|e| Failure::new("start", "session", e))?;
    }
    streams(plan)?;
    terminal_of(context, &user, takes, plan.main);
    pass(plan, environment)?;
    if let Some(nice) = context.nice {
        match rustix::process::setpriority_process(None, nice) {
            // below what is now only root of the host may go: see `reach`
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) if nice < 0 => {}
            other => other.map_err(|e| Failure::new("set nice", nice.to_string(), e))?,
        }
    }
    if let Some(score) = context.oom {
        match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
            // as above; written here, before files of the kernel become read-only
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && i64::from(score) < 0 => {}
            other => other.map_err(|e| Failure::new("write", "/proc/self/oom_score_adj", e))?,
        }
    }
    let own = std::process::id();
    environment.set("SYSTEMD_EXEC_PID", own.to_string());
    if environment.get("WATCHDOG_USEC").is_some() && plan.main {
        environment.set("WATCHDOG_PID", own.to_string());
    }
    let keeps_user = all_powers || plan.command.elevated > 0 || context.start_only && !plan.main;
    if let Some(directory) = &plan.credentials {
        environment.set("CREDENTIALS_DIRECTORY", directory.as_str());
    }
    let filter = confined(plan, &user, all_powers)?;
    let mut spec = spec(plan, argv, environment, &user, all_powers);
    if context.directory_optional && !spec.cwd.as_deref().is_some_and(Path::is_dir) {
        spec.cwd = None;
    }
    // without CAP_SYS_ADMIN no filter is loaded but with it
    spec.no_new_privileges |= !filter.is_empty() && (user.uid != 0 && !keeps_user || !rustix::process::geteuid().is_root());
    let root = User::root();
    let name = plan.command.own_name.then(|| argv.first().map(|first| OsText::from(first.as_str()))).flatten();
    let way = Way {
        user: if keeps_user && rustix::process::geteuid().is_root() { &root } else { &user },
        login: context.login.unwrap_or(context.user.is_some() || context.dynamic),
        name: name.as_ref(),
        ignore_pipe: context.ignore_pipe,
        filter: &filter,
    };
    let until_exec = [report];
    let process = Process {
        spec: &spec,
        program: Program::Command,
        env: &[],
        bounding: if all_powers { hostel_spec::CapSet(u64::MAX) } else { context.bounding },
        filter: None,
        stdio: None,
        controlling: false,
        new_session: !takes,
        keep: plan.pass.len() as u32,
        until_exec: &until_exec,
        clamp_limits: true,
        die_with_parent: false,
        no_magic_links: false,
        service: Some(way),
    };
    Ok(r#become::run(&process))
}

/// Does what the sandbox asks for, and gives the filter that is loaded last.
fn confined(plan: &Plan<'_>, user: &User, all_powers: bool) -> Result<Vec<hostel_process::seccomp::Insn>, Failure> {
    let Some(of) = &plan.context.sandbox else { return Ok(Vec::new()) };
    if let Some(directory) = &plan.credentials {
        runtime::write_credentials(of, directory, user)?;
    }
    sandbox::attributes(&of.process)?;
    sandbox::network(of, plan.runtime.and_then(Runtime::network))?;
    if all_powers {
        return Ok(Vec::new());
    }
    sandbox::enter(of, plan.runtime.and_then(Runtime::tmp), user)?;
    if of.calls.is_empty() || !sandbox::place::here().filters {
        return Ok(Vec::new());
    }
    of.calls.program().map_err(|e| Failure::new("load", "system call filter of the service", std::io::Error::other(e)))
}

fn spec(plan: &Plan<'_>, argv: &[String], environment: &Environment, user: &User, all_powers: bool) -> ProcessSpec {
    let context = plan.context;
    let directory = match context.directory.as_deref() {
        Some("~") => Some(user.home.clone()),
        other => other.map(str::to_owned),
    };
    // the first word is the program, or its name for itself
    let rest = argv.iter().skip(1).map(|word| OsText::from(word.as_str()));
    let words: Vec<OsText> = std::iter::once(OsText::from(plan.command.program.as_str())).chain(rest).collect();
    ProcessSpec {
        argv: words,
        env: environment.iter().map(|(name, value)| OsText::from(format!("{name}={value}").as_str())).collect(),
        cwd: directory.map(Into::into),
        rlimits: context.limits.clone(),
        ambient: if all_powers { hostel_spec::CapSet(0) } else { context.ambient },
        no_new_privileges: context.no_new_privileges && !all_powers,
        oom_score_adjust: None,
        cpu_affinity: context.cpus.clone(),
        ..ProcessSpec::default()
    }
}

/// The terminal is the user's while the service has it, and files tell who is there.
fn terminal_of(context: &Context, user: &User, takes: bool, is_main: bool) {
    if takes && user.uid != 0 {
        let _ = rustix::fs::fchown(rustix::stdio::stdin(), Some(rustix::fs::Uid::from_raw(user.uid)), None);
    }
    if let Some(record) = context.terminal.record.as_ref().filter(|_| is_main) {
        record.begin(&context.terminal.path, &user.name);
    }
}

fn root_directory() -> Result<OwnedFd, Failure> {
    rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| Failure::new("open", "/", e))
}

/// User=, Group= and SupplementaryGroups= by the tree's own files.
fn user(context: &Context, dynamic: Option<&User>) -> Result<User, Failure> {
    let as_failure = |e: userdb::UserError| {
        let (verb, object, cause) = e.parts();
        Failure::new(verb, object, std::io::Error::other(cause))
    };
    let own = rustix::process::geteuid().as_raw();
    let mut user = match &context.user {
        _ if dynamic.is_some() => dynamic.cloned().unwrap_or_else(User::root),
        Some(text) => {
            let selector = userdb::parse_selector(text).map_err(as_failure)?;
            userdb::lookup(root_directory()?, &selector).map_err(as_failure)?
        }
        None if own == 0 => User::root(),
        None => userdb::lookup(root_directory()?, &UserSelector::Id(own)).map_err(as_failure)?,
    };
    let group = context.group.as_ref().filter(|_| dynamic.is_none());
    if group.is_none() && context.groups.is_empty() {
        return Ok(user);
    }
    let names = userdb::names(root_directory()?).map_err(as_failure)?;
    let number = |text: &str| {
        let found = userdb::parse_id(text.as_bytes()).or_else(|| names.groups.iter().find(|(name, _)| name == text).map(|(_, gid)| *gid));
        found.ok_or_else(|| Failure::new("find group", format!("{text:?}"), std::io::Error::other("no such group in /etc/group")))
    };
    if let Some(group) = group {
        user.gid = number(group)?;
        if !user.groups.contains(&user.gid) {
            user.groups.insert(0, user.gid);
        }
    }
    for group in &context.groups {
        let gid = number(group)?;
        if !user.groups.contains(&gid) {
            user.groups.push(gid);
        }
    }
    Ok(user)
}

/// Delegate=: the group is the user's, to make others in it. What is not there on this kernel is nobody's.
fn own_group(group: BorrowedFd<'_>, groups: &[&str], user: &User) {
    let (uid, gid) = (Some(rustix::fs::Uid::from_raw(user.uid)), Some(rustix::fs::Gid::from_raw(user.gid)));
    for name in [".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "memory.oom.group", "memory.reclaim"] {
        for at in groups {
            let _ = rustix::fs::chownat(group, format!("{at}{name}"), uid, gid, rustix::fs::AtFlags::empty());
        }
    }
}

/// RuntimeDirectory= and its like: made with the directories above, given to the user.
fn directories(context: &Context, user: &User) -> Result<(), Failure> {
    use std::os::unix::fs::{PermissionsExt, chown};
    for (number, (place, (entries, mode))) in PLACES.iter().zip(&context.directories).enumerate() {
        let is_private = dynamic::is_private(context, number);
        let verb = match place.key {
            "RuntimeDirectory" => "make RuntimeDirectory",
            "StateDirectory" => "make StateDirectory",
            "CacheDirectory" => "make CacheDirectory",
            "LogsDirectory" => "make LogsDirectory",
            _ => "make ConfigurationDirectory",
        };
        for (name, links) in entries {
            let path = format!("{}/{name}", place.top);
            let failed = |e: std::io::Error| Failure::new(verb, &path, e);
            let path = if is_private {
                let private = dynamic::private_directory(place.top, name).map_err(failed)?;
                dynamic::give(&private, user).map_err(failed)?;
                private
            } else {
                dynamic::public_directory(place.top, name).map_err(failed)?;
                std::fs::create_dir_all(&path).map_err(failed)?;
                path
            };
            let failed = |e: std::io::Error| Failure::new(verb, &path, e);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).map_err(failed)?;
            if place.key != "ConfigurationDirectory" && rustix::process::geteuid().is_root() {
                let metadata = std::fs::symlink_metadata(&path).map_err(failed)?;
                if std::os::unix::fs::MetadataExt::uid(&metadata) != user.uid || std::os::unix::fs::MetadataExt::gid(&metadata) != user.gid {
                    chown(&path, Some(user.uid), Some(user.gid)).map_err(failed)?;
                }
            }
            for link in links {
                let _ = std::os::unix::fs::symlink(&path, format!("{}/{link}", place.top));
            }
        }
    }
    Ok(())
}

/// Descriptors of sockets go where sd_listen_fds(3) looks for them.
fn pass(plan: &Plan<'_>, environment: &mut Environment) -> Result<(), Failure> {
    if plan.pass.is_empty() {
        return Ok(());
    }
    let failed = |e: std::io::Error| Failure::new("pass descriptors", "of sockets", e);
    let fds: Vec<BorrowedFd<'_>> = plan.pass.iter().map(|(_, fd)| *fd).collect();
    // others are shared with whoever gave them
    for fd in fds.iter().take(plan.sockets) {
        let _ = rustix::io::ioctl_fionbio(fd, plan.context.non_blocking);
    }
    clone::pass_from_three(&fds).map_err(failed)?;
    let names: Vec<&str> = plan.pass.iter().map(|(name, _)| *name).collect();
    environment.set("LISTEN_FDS", fds.len().to_string());
    environment.set("LISTEN_FDNAMES", names.join(":"));
    environment.set("LISTEN_PID", std::process::id().to_string());
    Ok(())
}

/// Puts the three standard streams in their places.
fn streams(plan: &Plan<'_>) -> Result<(), Failure> {
    const VERBS: [&str; 3] = ["open standard input", "open standard output", "open standard error"];
    let open = |path: &str, flags: OFlags, verb| {
        rustix::fs::open(path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::from_raw_mode(0o666)).map_err(|e| Failure::new(verb, path, e))
    };
    let has_no_input = plan.context.streams[0] == Stream::Null || plan.context.terminal.take.is_some() && !plan.main;
    for (number, (stream, verb)) in plan.context.streams.iter().zip(VERBS).enumerate() {
        let number = number as i32;
        let place = |fd: BorrowedFd<'_>| proc::place_stream(fd, number).map_err(|e| Failure::new("place", "standard streams", e));
        match stream {
            Stream::Null => place(open("/dev/null", if number == 0 { OFlags::RDONLY } else { OFlags::WRONLY }, verb)?.as_fd())?,
            Stream::Socket => match plan.stream {
                Some(fd) => place(fd)?,
                None => return Err(Failure::new(verb, "socket", std::io::Error::other("the service was not started by one socket"))),
            },
            Stream::Terminal => match plan.context.terminal.take.filter(|_| number == 0) {
                // another command of the service does not take it away from the main one
                Some(_) if !plan.main => place(open("/dev/null", OFlags::RDONLY, verb)?.as_fd())?,
                Some(take) => place(plan.context.terminal.acquire(take)?.as_fd())?,
                None => place(open(&plan.context.terminal.path, OFlags::RDWR, verb)?.as_fd())?,
            },
            Stream::File(path, _) if number == 0 => place(open(path, OFlags::RDONLY, verb)?.as_fd())?,
            Stream::File(path, mode) => {
                let how = match mode {
                    FileMode::Over => OFlags::empty(),
                    FileMode::Append => OFlags::APPEND,
                    FileMode::Truncate => OFlags::TRUNC,
                };
                place(open(path, OFlags::WRONLY | OFlags::CREATE | how, verb)?.as_fd())?;
            }
            Stream::Log => match plan.log {
                Some(log) => place(log)?,
                None => place(open("/dev/null", OFlags::WRONLY, verb)?.as_fd())?,
            },
            // of input: what the manager has is nobody's
            Stream::Inherit if number == 0 => place(open("/dev/null", OFlags::RDONLY, verb)?.as_fd())?,
            Stream::Inherit if number == 1 && has_no_input => place(open("/dev/null", OFlags::WRONLY, verb)?.as_fd())?,
            Stream::Inherit if number == 1 => place(rustix::stdio::stdin())?,
            Stream::Inherit => place(rustix::stdio::stdout())?,
        }
    }
    Ok(())
}
