//! Hooks of an OCI bundle: programs run at their place, told the machine's state on standard input, given only so much time.

use std::ffi::{CString, c_char};
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hostel_spec::{Bundle, Gather as _, Hook};
use hostel_sys::clone::{self, CloneArgs, WaitStatus};
use hostel_sys::proc;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;

use super::launch::open_namespace;
use super::prepare::Made;
use crate::error::{Error, Result, io_text};
use crate::plan::Plan;
use crate::registry::recover::wait_for_end;

/// Namespaces, as /proc calls them, in the order in which LXC tells of them.
const NAMESPACES: [&str; 8] = ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"];

/// A hook that failed: its name for messages, and why.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) object: String,
    pub(super) cause: String,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Error::new("run", failed.object, failed.cause)
    }
}

/// What hooks are told (runtime.md, "State"). `pid`: as they see it.
pub(super) fn state(plan: &Plan, bundle: &Bundle, status: &str, pid: Option<i32>) -> io::Result<OwnedFd> {
    let annotations: serde_json::Map<String, serde_json::Value> = bundle.annotations.iter().map(|(k, v)| (k.clone(), v.clone().into())).gather();
    let mut text = serde_json::json!({
        "ociVersion": bundle.version,
        "id": plan.name.as_str(),
        "status": status,
        "bundle": bundle.path.to_string_lossy(),
        "annotations": annotations,
    });
    if let (Some(pid), Some(map)) = (pid, text.as_object_mut()) {
        map.insert("pid".to_owned(), pid.into());
    }
    // A file, not a pipe: nobody has to wait for a hook that does not read.
    let mut file = std::fs::File::from(rustix::fs::memfd_create(c"oci-state", MemfdFlags::CLOEXEC)?);
    file.write_all(text.to_string().as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

/// Runs hooks one after the other, in `directory`; the first that fails is the last.
pub(super) fn run(kind: &str, hooks: &[Hook], state: BorrowedFd<'_>, directory: &Path) -> std::result::Result<(), Failed> {
    hooks.iter().try_for_each(|hook| one(kind, hook, state, directory))
}

/// As [`run`], but every hook has its turn; what failed is returned.
pub(super) fn run_all(kind: &str, hooks: &[Hook], state: BorrowedFd<'_>, directory: &Path) -> Vec<Failed> {
    hooks.iter().filter_map(|hook| one(kind, hook, state, directory).err()).collect()
}

fn one(kind: &str, hook: &Hook, state: BorrowedFd<'_>, directory: &Path) -> std::result::Result<(), Failed> {
    // Of a line for the shell it is the line that says something.
    let name = match &hook.args[..] {
        [_, option, line, ..] if option == "-c" => format!("{line:?}"),
        _ => hook.path.display().to_string(),
    };
    let failed = |cause: String| Failed { object: format!("{kind} hook {name}"), cause };
    rustix::fs::seek(state, rustix::fs::SeekFrom::Start(0)).map_err(|e| failed(io_text(&e.into())))?;
    let limit = hook.timeout.map(|seconds| Duration::from_secs(seconds.into()));
    let status = match spawn(hook, state, directory) {
        Ok((pid, pidfd)) => wait(pid, pidfd.as_fd(), limit),
        // Within a system call filter that has no clone3.
        Err(e) if matches!(e.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOSYS | Errno::PERM)) => {
            wait_polling(hook, state, directory, limit)
        }
        Err(e) => Err(e),
    };
    match status {
        Ok(Some(WaitStatus::Exited(0))) => Ok(()),
        Ok(Some(WaitStatus::Exited(code))) => Err(failed(format!("it exited with status {code}"))),
        Ok(Some(other)) => Err(failed(format!("it was killed ({other:?})"))),
        Ok(None) => Err(failed(format!("it took longer than {} s and was killed", hook.timeout.unwrap_or(0)))),
        Err(e) => Err(failed(io_text(&e))),
    }
}

/// A process in a session of its own, with nothing of ours but the state and our standard error.
fn spawn(hook: &Hook, state: BorrowedFd<'_>, directory: &Path) -> io::Result<(i32, OwnedFd)> {
    use std::os::unix::ffi::OsStrExt;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let path = text(hook.path.as_os_str().as_bytes())?;
    let list = |words: &[String]| words.iter().map(|w| text(w.as_bytes())).collect::<io::Result<Vec<_>>>();
    let args = if hook.args.is_empty() { vec![path.clone()] } else { list(&hook.args)? };
    let env = list(&hook.env)?;
    let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<*const c_char>>();
    let (argv, envp) = (pointers(&args), pointers(&env));
    let mut error = None;
    let mut child = || {
        let done = proc::new_session()
            .and_then(|()| proc::set_parent_death_signal(9))
            .and_then(|()| proc::reset_signals())
            .and_then(|()| Ok(rustix::process::chdir(directory)?))
            .and_then(|()| proc::place_stream(state, 0))
            .and_then(|()| proc::place_stream(std::io::stderr().as_fd(), 1))
            .and_then(|()| proc::cloexec_from(3));
        error = Some(match done {
            Ok(()) => proc::execve(&path, &argv, &envp),
            Err(e) => e,
        });
        127
    };
    let (pid, pidfd) = clone::vfork_exec(&CloneArgs::default(), &mut child)?;
    match error {
        None => Ok((pid, pidfd)),
        Some(e) => {
            let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED);
            // Not to be taken for a clone3 that is refused.
            Err(io::Error::other(io_text(&e)))
        }
    }
}

/// `None`: its time was over.
fn wait(pid: i32, pidfd: BorrowedFd<'_>, limit: Option<Duration>) -> io::Result<Option<WaitStatus>> {
    if let Some(limit) = limit
        && !wait_for_end(pidfd, limit)?
    {
        // With all that it started and that did not leave its session.
        if let Some(group) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = clone::pidfd_send_signal(pidfd, 9);
        clone::wait_pidfd(pidfd, clone::WAIT_EXITED)?;
        return Ok(None);
    }
    clone::wait_pidfd(pidfd, clone::WAIT_EXITED)
}

/// The same by what any filter that lets a program start another has.
fn wait_polling(hook: &Hook, state: BorrowedFd<'_>, directory: &Path, limit: Option<Duration>) -> io::Result<Option<WaitStatus>> {
    let mut command = std::process::Command::new(&hook.path);
    let copy = rustix::io::fcntl_dupfd_cloexec(state, 3)?;
    command.env_clear().args(hook.args.get(1..).unwrap_or_default()).current_dir(directory).stdin(copy).stdout(io::stderr());
    if let Some(name) = hook.args.first() {
        command.arg0(name);
    }
    command.envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    let mut child = command.spawn()?;
    let end = limit.map(|limit| Instant::now() + limit);
    loop {
        use std::os::unix::process::ExitStatusExt;
        if let Some(status) = child.try_wait()? {
            return Ok(Some(WaitStatus::from_raw(status.into_raw())));
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The hooks of the host while the payload waits for them.
pub(super) fn at_runtime(plan: &Plan, bundle: &Bundle, pid: i32, go: BorrowedFd<'_>) -> Result<()> {
    let hooks = &bundle.hooks;
    if !hooks.wait_at_runtime() {
        return Ok(());
    }
    while_it_waits(plan, bundle, pid, go, &[("prestart", &hooks.prestart), ("createRuntime", &hooks.create_runtime)], &mut || Ok(()))
}

/// The same when all is in its place; the namespaces are those that the hooks of the end are told of.
pub(super) fn before_program(plan: &Plan, bundle: &Bundle, pid: i32, go: BorrowedFd<'_>, made: &mut Made) -> Result<()> {
    let hooks = &bundle.hooks;
    if !hooks.wait_before_program() {
        return Ok(());
    }
    let hooks = told_more(&hooks.start_host, &[], &[format!("LXC_PID={pid}")]);
    while_it_waits(plan, bundle, pid, go, &[("start-host", &hooks)], &mut || {
        made.namespaces = own_namespaces(pid)?;
        Ok(())
    })
}

/// `last`: what is done before the payload goes on. Says nothing when that has died meanwhile: its report will.
fn while_it_waits(
    plan: &Plan,
    bundle: &Bundle,
    pid: i32,
    go: BorrowedFd<'_>,
    places: &[(&str, &[Hook])],
    last: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let mut byte = [0u8; 1];
    if !matches!(rustix::io::retry_on_intr(|| rustix::io::read(go, &mut byte)), Ok(1)) {
        return Ok(());
    }
    let state = state(plan, bundle, "creating", Some(pid)).map_err(|e| Error::new("write", "state for hooks", io_text(&e)))?;
    places.iter().try_for_each(|(kind, hooks)| run(kind, hooks, state.as_fd(), &bundle.path))?;
    last()?;
    // EPIPE: it died meanwhile.
    let _ = rustix::io::write(go, b"g");
    Ok(())
}

/// The namespaces that a process does not share with us.
fn own_namespaces(pid: i32) -> Result<Vec<(&'static str, OwnedFd)>> {
    let link = |of: &str, kind: &str| std::fs::read_link(format!("/proc/{of}/ns/{kind}")).ok();
    let own = |kind: &&str| link(&pid.to_string(), kind).is_some_and(|of_it| Some(of_it) != link("self", kind));
    NAMESPACES.into_iter().filter(own).map(|kind| Ok((kind, open_namespace(pid, kind)?))).collect()
}

/// Hooks with more words and variables.
fn told_more(hooks: &[Hook], words: &[String], env: &[String]) -> Vec<Hook> {
    let mut hooks = hooks.to_vec();
    for hook in &mut hooks {
        hook.args.extend_from_slice(words);
        hook.env.extend_from_slice(env);
    }
    hooks
}

/// The hooks when the program has ended, and before `again` it begins anew; warnings come back.
pub(super) fn at_stop(plan: &Plan, made: &mut Made, pid: i32, again: bool) -> Vec<Error> {
    let namespaces = std::mem::take(&mut made.namespaces);
    let Some(bundle) = &plan.spec.bundle else { return Vec::new() };
    let path = |fd: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
    let words: Vec<String> = namespaces.iter().map(|(kind, fd)| format!("{kind}:{}", path(fd))).collect();
    let mut env: Vec<String> = namespaces.iter().map(|(kind, fd)| format!("LXC_{}_NS={}", kind.to_ascii_uppercase(), path(fd))).collect();
    env.extend([format!("LXC_PID={pid}"), format!("LXC_TARGET={}", if again { "reboot" } else { "stop" })]);
    told(plan, bundle, "stop", &told_more(&bundle.hooks.stop, &words, &env), "stopped", Some(pid))
}

/// The hooks after the program has started; warnings come back.
pub(super) fn after_start(plan: &Plan, pid: i32) -> Vec<Error> {
    let Some(bundle) = &plan.spec.bundle else { return Vec::new() };
    told(plan, bundle, "poststart", &bundle.hooks.poststart, "running", Some(pid))
}

/// The hooks after all is gone; warnings come back.
pub(super) fn after_stop(plan: &Plan) -> Vec<Error> {
    let Some(bundle) = &plan.spec.bundle else { return Vec::new() };
    told(plan, bundle, "poststop", &bundle.hooks.poststop, "stopped", None)
}

fn told(plan: &Plan, bundle: &Bundle, kind: &str, hooks: &[Hook], status: &str, pid: Option<i32>) -> Vec<Error> {
    if hooks.is_empty() {
        return Vec::new();
    }
    match state(plan, bundle, status, pid) {
        Ok(state) => run_all(kind, hooks, state.as_fd(), &bundle.path).into_iter().map(Error::from).collect(),
        Err(e) => vec![Error::new("write", "state for hooks", io_text(&e))],
    }
}
