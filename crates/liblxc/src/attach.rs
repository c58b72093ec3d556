//! A function of the client's in a container that runs.
//!
//! ```text
//!  client ─ fork ─► middle: cgroups, setns(init's pidfd, all at once)
//!    │                └─ clone(PARENT) ─► attached: the client's own child, which it waits for
//!    │ ◄── pid ───────────┘                  limits, filter, user, directory, environment, streams
//!    │ ◄── nothing, or what failed ──────────┘   then the function, whose result is the exit status
//! ```
//! With a terminal of its own (one of the container's devpts) the client relays until that is closed.
//!
//! The function is the client's code, so its memory is copied and goes in. That memory is not to be looked into from there: a container
//! may not trace what enters it until that executes something, but with CAP_SYS_PTRACE over the users of the host.

use std::ffi::{CString, OsStr, c_int, c_long, c_void};
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use hostel_container::{Container, Error, Result, State, machine_name};
use hostel_engine::cgroup::V1Door;
use hostel_engine::enter::{Facts, Leader, Placement};
use hostel_engine::registry::{Registry, runtime_dir};
use hostel_process::r#become::{DEFAULT_PATH, become_root, enter_directory};
use hostel_process::pty::Pty;
use hostel_process::terminal::{is_tty, size};
use hostel_sys::seccomp::Insn;
use hostel_sys::{caps, clone, mount, peer, proc, seccomp};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, IoSlice, retry_on_intr};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::c::{Text, Texts, descriptor};

/// What runs inside.
pub(crate) type Callback = extern "C" fn(*mut c_void) -> c_int;

/// `lxc_groups_t`.
#[repr(C)]
struct Groups {
    size: usize,
    list: *const u32,
}

/// What every version of `lxc_attach_options_t` begins with.
#[repr(C)]
#[derive(Clone, Copy)]
struct Options<'a> {
    flags: c_int,
    namespaces: c_int,
    personality: c_long,
    initial_cwd: Text<'a>,
    uid: u32,
    gid: u32,
    env_policy: c_int,
    extra_env: Texts<'a>,
    extra_keep: Texts<'a>,
    streams: [c_int; 3],
}

/// All of it.
#[repr(C)]
struct Whole<'a> {
    options: Options<'a>,
    lsm_label: Text<'a>,
    groups: Groups,
}
const _: () = assert!(size_of::<Options<'_>>() == 72 && offset_of!(Options<'_>, extra_env) == 40 && offset_of!(Options<'_>, streams) == 56);
const _: () = assert!(offset_of!(Whole<'_>, lsm_label) == 72 && offset_of!(Whole<'_>, groups) == 80 && size_of::<Whole<'_>>() == 96);

/// Options as C passes them: NULL, or whose end is read only where a flag says that the client has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Given<'a>(*const Whole<'a>);

impl<'a> Given<'a> {
    #[cfg(test)]
    pub(crate) const NONE: Given<'static> = Given(std::ptr::null());

    fn options(self) -> Options<'a> {
        // SAFETY: C passed what every version begins with.
        if self.0.is_null() { Options::DEFAULT } else { unsafe { self.0.cast::<Options<'a>>().read() } }
    }
    fn groups(self) -> Vec<u32> {
        if self.0.is_null() || !self.options().is(SETGROUPS) {
            return Vec::new();
        }
        // SAFETY: the flag says that the client has the member.
        let groups = unsafe { (&raw const (*self.0).groups).read() };
        // SAFETY: C passed so many numbers.
        if groups.list.is_null() { Vec::new() } else { unsafe { std::slice::from_raw_parts(groups.list, groups.size) }.to_vec() }
    }
}

const MOVE_TO_CGROUP: c_int = 0x1;
const DROP_CAPABILITIES: c_int = 0x2;
const SET_PERSONALITY: c_int = 0x4;
const REMOUNT_PROC_SYS: c_int = 0x1_0000;
const NO_NEW_PRIVS: c_int = 0x4_0000;
const TERMINAL: c_int = 0x8_0000;
const LSM_LABEL: c_int = 0x10_0000;
const SETGROUPS: c_int = 0x20_0000;

/// What an id is that nobody gave, and a personality.
const UNSET: u32 = u32::MAX;
const CLEAR: c_int = 1;

impl Options<'static> {
    const DEFAULT: Options<'static> = Options {
        flags: 0xffff,
        namespaces: -1,
        personality: -1,
        initial_cwd: Text::NULL,
        uid: UNSET,
        gid: UNSET,
        env_policy: 0,
        extra_env: Texts::NONE,
        extra_keep: Texts::NONE,
        streams: [0, 1, 2],
    };
}

impl Options<'_> {
    fn is(&self, flag: c_int) -> bool {
        self.flags & flag != 0
    }
}

/// All that is decided before there is another process.
struct Plan<'a> {
    options: Options<'a>,
    leader: Leader,
    facts: Facts,
    placement: Placement,
    namespaces: u64,
    filter: Vec<Insn>,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    personality: Option<u32>,
    directory: Option<PathBuf>,
    env: Vec<(CString, CString)>,
    /// The streams that are terminals, where one of its own replaces them.
    replaced: [Option<BorrowedFd<'a>>; 3],
}

fn failed(container: &Container, why: impl std::fmt::Display, number: Errno) -> Error {
    container.error("enter", why, number)
}

/// What is said of an attachment, a message each.
const PID: u8 = b'p';
const FAILED: u8 = b'f';
const MASTER: u8 = b't';

/// What was said, when nobody says more.
#[derive(Default)]
struct Heard {
    attached: Option<(c_int, OwnedFd)>,
    why: Option<String>,
    master: Option<OwnedFd>,
}

impl Heard {
    fn listen(socket: &OwnedFd) -> std::result::Result<Heard, Errno> {
        let (mut heard, mut buffer, mut descriptors) = (Heard::default(), [0; 1024], Vec::new());
        loop {
            match peer::receive_datagram_with(socket, &mut buffer, &mut descriptors) {
                Err(Errno::AGAIN | Errno::INTR) => match poll(&mut [PollFd::new(socket, PollFlags::IN)], None) {
                    Ok(_) | Err(Errno::INTR) => continue,
                    Err(e) => return Err(e),
                },
                Err(e) => return Err(e),
                Ok(said) => match buffer[..said.len].split_first() {
                    None => return Ok(heard),
                    Some((&PID, number)) => heard.attached = number.first_chunk().map(|number| i32::from_ne_bytes(*number)).zip(descriptors.pop()),
                    Some((&MASTER, _)) => heard.master = descriptors.pop(),
                    Some((_, why)) => heard.why = Some(String::from_utf8_lossy(why).into_owned()),
                },
            }
        }
    }
}

fn say(socket: &OwnedFd, kind: u8, what: &[u8], descriptor: Option<BorrowedFd<'_>>) -> std::io::Result<()> {
    peer::send_with(socket, &[IoSlice::new(&[kind]), IoSlice::new(what)], descriptor.as_slice(), SendFlags::empty())?;
    Ok(())
}

/// Runs `what` in the container; its pid, which is the caller's child.
pub(crate) fn attach(container: &Container, options: Given<'_>, what: &mut dyn FnMut() -> c_int) -> Result<c_int> {
    let plan = plan(container, options)?;
    let here = |e: Errno| failed(container, e, e);
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(here)?;
    // SAFETY: fork(3), whose handlers leave memory usable. The child leaves by `exit_now` or an exec.
    let middle = match unsafe { libc::fork() } {
        -1 => return Err(here(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN))),
        0 => {
            let code = catch_unwind(AssertUnwindSafe(|| self::middle(&plan, theirs, what)));
            clone::exit_now(code.unwrap_or(125))
        }
        pid => pid,
    };
    drop(theirs);
    let heard = Heard::listen(&ours);
    let _ = wait(middle);
    let heard = heard.map_err(here)?;
    let Some((pid, pidfd)) = heard.attached else {
        return Err(failed(container, heard.why.as_deref().unwrap_or("what was to enter it ended without a word"), Errno::CANCELED));
    };
    let done = match heard.why {
        None => heard.master.map_or(Ok(()), |master| relay(container, &plan, &master)),
        Some(why) => Err(failed(container, why, Errno::CANCELED)),
    };
    if done.is_err() {
        // The client does not hear of it, and waits for nobody.
        let _ = clone::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED);
    }
    done.map(|()| pid)
}

/// Joins the client's terminal to the container's.
fn relay(container: &Container, plan: &Plan<'_>, master: &OwnedFd) -> Result<()> {
    let [input, output, error] = plan.replaced;
    let Some(output) = output.or(input).or(error) else { return Ok(()) };
    if let Some(input) = input {
        return container.converse(master.as_fd(), input, output, None);
    }
    // What it reads is no terminal and was passed on: nothing is typed.
    let (nothing, _) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(container, e, e))?;
    container.converse(master.as_fd(), nothing.as_fd(), output, None)
}

/// Waits for a child; its wait status.
pub(crate) fn wait(pid: c_int) -> Result<c_int> {
    let ended = retry_on_intr(|| waitpid(Pid::from_raw(pid), WaitOptions::empty()));
    let ended = ended.and_then(|ended| ended.ok_or(Errno::CHILD));
    ended.map(|(_, status)| status.as_raw()).map_err(|number| Error::new("wait for", format_args!("process {pid}"), "it is no child", number))
}

fn plan<'a>(container: &Container, given: Given<'a>) -> Result<Plan<'a>> {
    let options = given.options();
    if options.is(LSM_LABEL) {
        return Err(failed(container, "its label is not chosen", Errno::OPNOTSUPP));
    }
    if container.state()? == State::Frozen && options.is(MOVE_TO_CGROUP) {
        return Err(failed(container, "it is frozen, and what enters it would be", Errno::BUSY));
    }
    let engine = |e: hostel_engine::error::Error| failed(container, e, Errno::SRCH);
    let pidfd = container.init_pidfd()?;
    let leader = Leader::from_parts(container.init_pid()?, pidfd);
    let facts = leader.facts().map_err(engine)?;
    let placement = if options.is(MOVE_TO_CGROUP) { Placement::beside(&leader).map_err(engine)? } else { Placement::default() };
    let config = container.config.as_ref();
    let number = |key: &str, asked: u32| match asked {
        UNSET => config.and_then(|config| config.value(key)?.parse().ok()).unwrap_or(0),
        asked => asked,
    };
    let directory = options.initial_cwd.bytes().map(|path| OsStr::from_bytes(path.to_bytes()).into());
    Ok(Plan {
        namespaces: namespaces(&leader, options.namespaces).map_err(engine)?,
        filter: filter(container, &facts)?,
        uid: number("lxc.init.uid", options.uid),
        gid: number("lxc.init.gid", options.gid),
        groups: given.groups(),
        personality: personality(config, &options),
        directory: directory.or_else(|| std::env::current_dir().ok()),
        env: environment(config, &options),
        replaced: options.streams.map(|stream| descriptor(stream).filter(|stream| options.is(TERMINAL) && is_tty(stream))),
        options,
        leader,
        facts,
        placement,
    })
}

/// Those that are asked for (-1: all) and are not the caller's own already.
fn namespaces(leader: &Leader, asked: c_int) -> std::result::Result<u64, hostel_engine::error::Error> {
    let kinds = [
        ("mnt", clone::NEWNS),
        ("net", clone::NEWNET),
        ("pid", clone::NEWPID),
        ("uts", clone::NEWUTS),
        ("ipc", clone::NEWIPC),
        ("cgroup", clone::NEWCGROUP),
        ("user", clone::NEWUSER),
    ];
    let mut flags = 0;
    for (name, flag) in kinds {
        if (asked == -1 || asked as u32 as u64 & flag != 0) && !leader.shares(name)? {
            flags |= flag;
        }
    }
    Ok(flags)
}

/// The filter of its processes; what enters has it, too, or does not enter.
fn filter(container: &Container, facts: &Facts) -> Result<Vec<Insn>> {
    if !facts.filtered || Facts::own().is_ok_and(|own| own.filtered) {
        return Ok(Vec::new());
    }
    let name = machine_name(&container.lxcpath, &container.name).map_err(|e| failed(container, e, Errno::INVAL))?;
    // A user's own, else root's.
    let registry = Registry::open(&runtime_dir()).or_else(|_| Registry::open_to_read(&runtime_dir()));
    let found = registry.and_then(|registry| registry.load_to_enter(&name)).map_err(|e| failed(container, e, Errno::NOENT))?;
    match found.filter() {
        Ok(filter) if !filter.is_empty() => Ok(filter),
        _ => Err(failed(container, "its system call filter is not known here", Errno::PERM)),
    }
}

/// The personality that a word of `lxc.arch` means.
pub(crate) fn personality_of(word: &str) -> Option<u32> {
    let mut config = hostel_lxc::Config::default();
    config.set("lxc.arch", word, &mut hostel_container::Host).ok()?;
    Some(if matches!(config.value("lxc.arch")?, "i686" | "armv7l") { proc::PER_LINUX32 } else { 0 })
}

fn personality(config: Option<&hostel_lxc::Config>, options: &Options<'_>) -> Option<u32> {
    if !options.is(SET_PERSONALITY) {
        return None;
    }
    // "find out" is all ones, in however many bits
    match options.personality as u32 {
        UNSET => personality_of(config?.value("lxc.arch")?),
        asked => Some(asked),
    }
}

/// Later ones win.
fn environment(config: Option<&hostel_lxc::Config>, options: &Options<'_>) -> Vec<(CString, CString)> {
    let mut env: Vec<(CString, CString)> = Vec::new();
    let mut put = |name: &[u8], value: &[u8]| {
        if let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) {
            env.retain(|(other, _)| *other != name);
            env.push((name, value));
        }
    };
    let kept = options.extra_keep.get().unwrap_or_default();
    if options.env_policy == CLEAR {
        put(b"PATH", DEFAULT_PATH.as_bytes());
    }
    for (name, value) in std::env::vars_os() {
        let name = name.as_encoded_bytes();
        if options.env_policy != CLEAR || kept.iter().any(|kept| kept.bytes().is_some_and(|kept| kept.to_bytes() == name)) {
            put(name, value.as_encoded_bytes());
        }
    }
    put(b"container", b"lxc");
    let mut entry = |entry: &[u8]| {
        if let Some(at) = entry.iter().position(|byte| *byte == b'=') {
            put(&entry[..at], &entry[at + 1..]);
        }
    };
    config.into_iter().flat_map(|config| config.values("lxc.environment")).for_each(|one| entry(one.as_bytes()));
    options.extra_env.get().unwrap_or_default().iter().filter_map(|one| one.bytes()).for_each(|one| entry(one.to_bytes()));
    env
}

/// Between the client and what is attached: in the namespaces, but not of them.
fn middle(plan: &Plan<'_>, report: OwnedFd, what: &mut dyn FnMut() -> c_int) -> i32 {
    // Who does not hear it is gone.
    let _ = match enter(plan) {
        Err(why) => say(&report, FAILED, why.as_bytes(), None),
        Ok(clone::Fork::Parent { pid, pidfd }) => say(&report, PID, &pid.to_ne_bytes(), Some(pidfd.as_fd())),
        Ok(clone::Fork::Child) => attached(plan, report, what),
    };
    0
}

fn join_cgroups(placement: &Placement) -> std::result::Result<(), Errno> {
    if let Some(group) = &placement.v2 {
        let file = rustix::fs::openat(group, c"cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, b"0")?;
    }
    placement.v1.iter().try_for_each(|group| V1Door::open(group.as_fd())?.enter())
}

fn enter(plan: &Plan<'_>) -> std::result::Result<clone::Fork, String> {
    join_cgroups(&plan.placement).map_err(|e| format!("join cgroup: {e}"))?;
    proc::set_dumpable(false).map_err(|e| format!("protect memory: {e}"))?;
    clone::setns_pidfd(plan.leader.pidfd(), plan.namespaces).map_err(|e| format!("join namespaces: {e}"))?;
    clone::clone3(&clone::CloneArgs { flags: clone::PARENT, ..Default::default() }).map_err(|e| format!("make process: {e}"))
}

fn attached(plan: &Plan<'_>, report: OwnedFd, what: &mut dyn FnMut() -> c_int) -> ! {
    if let Err((object, cause)) = fit(plan, &report) {
        let _ = say(&report, FAILED, format!("set {object}: {cause}").as_bytes(), None);
        clone::exit_now(125);
    }
    drop(report);
    let code = catch_unwind(AssertUnwindSafe(what));
    clone::exit_now(code.unwrap_or(125))
}

/// Makes the process what the container's are, in the order in which each step is still allowed.
fn fit(plan: &Plan<'_>, report: &OwnedFd) -> std::result::Result<(), (&'static str, std::io::Error)> {
    let to = |object| move |cause: std::io::Error| (object, cause);
    if plan.options.is(REMOUNT_PROC_SYS) {
        remount().map_err(to("/proc and /sys"))?;
    }
    if let Some(personality) = plan.personality {
        proc::set_personality(personality).map_err(to("personality"))?;
    }
    // In the container's users it is nobody until then.
    become_root().map_err(to("user"))?;
    let replaces = plan.replaced.iter().any(Option::is_some);
    let terminal = replaces.then(|| terminal(plan, report)).transpose().map_err(to("terminal"))?;
    // The directory of the client, if there is one here: before the filter, which need not allow openat2(2).
    if plan.directory.as_ref().is_none_or(|directory| enter_directory(directory).is_err()) {
        rustix::process::chdir(c"/").map_err(|e| ("directory", e.into()))?;
    }
    if !plan.filter.is_empty() {
        seccomp::load(&plan.filter).map_err(to("system call filter"))?;
    }
    if plan.options.is(DROP_CAPABILITIES) {
        caps::limit_bounding(plan.facts.bounding).map_err(to("bounding capabilities"))?;
        let (permitted, _, _) = caps::get().map_err(to("capabilities"))?;
        let held = permitted & plan.facts.bounding;
        caps::set(held, held, 0).map_err(to("capabilities"))?;
    }
    if (plan.uid, plan.gid) != (0, 0) || !plan.groups.is_empty() {
        proc::set_ids(plan.uid, plan.gid, &plan.groups).map_err(to("user"))?;
    }
    if plan.options.is(NO_NEW_PRIVS) || plan.facts.no_new_privileges {
        proc::set_no_new_privs().map_err(to("no-new-privileges"))?;
    }
    surroundings(plan, terminal.as_ref()).map_err(to("standard streams"))
}

/// A terminal of the container's own, which controls the process; the master is the client's.
fn terminal(plan: &Plan<'_>, report: &OwnedFd) -> std::io::Result<OwnedFd> {
    let pty = Pty::inside().map_err(|e| e.cause)?;
    if let Some(size) = plan.replaced.iter().flatten().find_map(size) {
        pty.set_size(size).map_err(|e| e.cause)?;
    }
    say(report, MASTER, b"", Some(pty.master.as_fd()))?;
    proc::new_session()?;
    proc::set_controlling_terminal(pty.slave.as_fd(), false)?;
    rustix::fs::fchown(&pty.slave, Some(rustix::fs::Uid::from_raw(plan.uid)), None)?;
    Ok(pty.slave)
}

/// Environment and streams, as the function and what it executes will find them.
fn surroundings(plan: &Plan<'_>, terminal: Option<&OwnedFd>) -> std::io::Result<()> {
    // SAFETY: one thread; strings that setenv(3) copies; dup3 and fcntl take numbers, which are not Rust's to own.
    unsafe {
        libc::clearenv();
        for (name, value) in &plan.env {
            libc::setenv(name.as_ptr(), value.as_ptr(), 1);
        }
        for ((from, replaced), to) in plan.options.streams.into_iter().zip(plan.replaced).zip(0..) {
            let from = terminal.filter(|_| replaced.is_some()).map_or(from, AsRawFd::as_raw_fd);
            if from == to {
                libc::fcntl(to, libc::F_SETFD, 0);
            } else if from >= 0 && libc::dup2(from, to) < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// /proc and /sys anew, as its namespaces have them, for it alone.
fn remount() -> std::io::Result<()> {
    use mount::{Attributes, Propagation};
    proc::unshare_mounts()?;
    mount::change(rustix::fs::CWD, c"/", true, Attributes::NONE, Attributes::NONE, Propagation::Slave, None)?;
    for (kind, place) in [(c"proc", c"/proc"), (c"sysfs", c"/sys")] {
        let made = mount::filesystem(kind, &[], Attributes::NONE)?;
        let _ = rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH);
        let at = rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        mount::attach(made.as_fd(), at.as_fd(), c"")?;
    }
    Ok(())
}
