//! lxc-unshare and lxc-usernsexec: a command in namespaces of its own, without a container.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use hostel_container::{Error, IdMaps};
use hostel_engine::registry;
use hostel_process::userdb;
use hostel_spec::IdMap;
use hostel_sys::clone::{self, CloneArgs, Fork};
use hostel_sys::mount::{self, Attributes, Propagation};
use hostel_sys::netlink::route;
use hostel_sys::proc;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::options::{Call, row};
use super::{Outcome, Tool, failure};

pub(super) const UNSHARE: Tool = Tool {
    name: "lxc-unshare",
    synopsis: "-s NAMESPACES [--] COMMAND",
    about: "run a command in new namespaces; its exit status is the command's",
    named: false,
    options: &[
        row("s", "namespaces", "LIST", "these: MOUNT|PID|UTSNAME|IPC|USER|NETWORK|CGROUP"),
        row("u", "user", "USER", "as this user; with USER that is what we are called inside"),
        row("H", "hostname", "NAME", "under this host name; wants UTSNAME"),
        row("i", "ifname", "NAME", "move this interface inside; wants NETWORK"),
        row("d", "daemon", "", "do not wait for its end"),
        row("M", "remount", "", "with /proc, /dev/shm, /dev/mqueue of its own; wants MOUNT"),
    ],
    run: unshare,
};

pub(super) const USERNSEXEC: Tool = Tool {
    name: "lxc-usernsexec",
    synopsis: "[-m MAP] [--] [COMMAND]",
    about: "run a command, or a shell, as root of a new user namespace; its exit status is the command's",
    named: false,
    options: &[row("m", "map", "KIND:INSIDE:HOST:COUNT", "map these: users (u), groups (g) or both (b); unset: all that /etc/subuid gives")],
    run: usernsexec,
};

/// Names of namespaces, as flags of clone(2).
const KINDS: [(&str, u64); 7] = [
    ("MOUNT", clone::NEWNS),
    ("PID", clone::NEWPID),
    ("UTSNAME", clone::NEWUTS),
    ("IPC", clone::NEWIPC),
    ("USER", clone::NEWUSER),
    ("NETWORK", clone::NEWNET),
    ("CGROUP", clone::NEWCGROUP),
];

fn flags(list: &str) -> Result<u64, Error> {
    let flag = |name: &str| KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.trim())).map(|(_, flag)| *flag);
    list.split('|')
        .try_fold(0, |all, name| flag(name).map(|flag| all | flag).ok_or_else(|| failure(format!("make namespace {name}: there is no such kind"))))
}

fn failed(what: &str) -> impl Fn(io::Error) -> Error {
    move |e| failure(format!("{what}: {}", rustix::io::Errno::from_io_error(&e).map_or_else(|| e.to_string(), |e| e.to_string())))
}

/// Runs a command of this host in new namespaces: `outside` gives them what only we can, `inside` becomes what it is to be, then it is executed.
#[allow(clippy::disallowed_methods, reason = "a program of the host's that its caller names, in no machine")]
fn run(
    call: &Call,
    flags: u64,
    mut command: Command,
    outside: impl FnOnce(i32) -> Result<(), Error>,
    inside: impl FnOnce() -> Result<(), Error>,
) -> Outcome {
    let object = format!("run {}", command.get_program().display());
    let (go_read, go_write) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failure(format!("make pipe: {e}")))?;
    match clone::clone3(&CloneArgs { flags, ..CloneArgs::default() }).map_err(failed("make namespaces"))? {
        Fork::Child => {
            drop(go_write);
            // Hung up: it has failed, which is told already.
            if matches!(rustix::io::read(&go_read, &mut [0u8; 1]), Ok(1)) {
                call.tell(&inside().err().unwrap_or_else(|| failed(&object)(command.exec())));
            }
            clone::exit_now(1)
        }
        Fork::Parent { pid, pidfd } => {
            drop(go_read);
            let done = outside(pid).and_then(|()| rustix::io::write(&go_write, b"g").map_err(|e| failure(format!("{object}: {e}"))));
            drop(go_write);
            if call.has("daemon") && done.is_ok() {
                return Ok(0);
            }
            let status = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED).map_err(failed("wait for the command"))?;
            done?;
            Ok(status.map_or(1, |status| u8::try_from(status.shell_code()).unwrap_or(1)))
        }
    }
}

fn unshare(call: &Call) -> Outcome {
    let list = call.value("namespaces").ok_or_else(|| failure("run a command: no namespaces are given\nhint: -s 'MOUNT|PID' names some"))?;
    let flags = flags(list)?;
    if call.words.is_empty() {
        return Err(failure("run a command: none is given"));
    }
    for (option, flag, kind) in [("hostname", clone::NEWUTS, "UTSNAME"), ("ifname", clone::NEWNET, "NETWORK"), ("remount", clone::NEWNS, "MOUNT")] {
        if call.has(option) && flags & flag == 0 {
            return Err(failure(format!("use --{option}: it wants {kind} among the namespaces")));
        }
    }
    let users = flags & clone::NEWUSER != 0;
    let user = call.value("user").map(user).transpose()?;
    let outside = |pid: i32| {
        if let Some(inside) = user.as_ref().filter(|_| users) {
            let path = format!("/proc/{pid}/uid_map");
            std::fs::write(&path, format!("{} {} 1\n", inside.uid, rustix::process::geteuid().as_raw())).map_err(failed(&format!("write {path}")))?;
        }
        call.values("ifname").try_for_each(|name| move_inside(name, pid))
    };
    let inside = || {
        if let Some(name) = call.value("hostname") {
            proc::set_hostname(name.as_bytes()).map_err(failed("set host name"))?;
        }
        if flags & clone::NEWNS != 0 {
            mount::change(CWD, c"/", true, Attributes::NONE, Attributes::NONE, Propagation::Slave, None).map_err(failed("cut mount propagation"))?;
        }
        if call.has("remount") {
            for (kind, place) in [(c"proc", "/proc"), (c"tmpfs", "/dev/shm"), (c"mqueue", "/dev/mqueue")] {
                remount(kind, place).map_err(failed(&format!("mount {place}")))?;
            }
        }
        // Of a user namespace's one user there is nobody else to become.
        match user.as_ref().filter(|_| !users) {
            Some(user) => proc::set_ids(user.uid, user.gid, &user.groups).map_err(failed("become user")),
            None => Ok(()),
        }
    };
    run(call, flags, command(&call.words), outside, inside)
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// A user of this host, by name or number.
fn user(text: &str) -> Result<userdb::User, Error> {
    let root =
        rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failure(format!("open /: {e}")))?;
    let found = userdb::parse_selector(text).and_then(|user| userdb::lookup(root, &user));
    found.map_err(|e| failure(e.to_string()))
}

fn move_inside(name: &str, pid: i32) -> Result<(), Error> {
    let object = format!("move interface {name}");
    let failed = failed(&object);
    let mut socket = route::open().map_err(&failed)?;
    let link = route::link(&mut socket, name).map_err(&failed)?.ok_or_else(|| failure(format!("{object}: there is none of this name")))?;
    let netns = std::fs::File::open(format!("/proc/{pid}/ns/net")).map_err(&failed)?;
    socket.ask(route::move_to(link.index, netns.as_fd(), name)).map_err(&failed)
}

/// Mounts a new file system on a directory, if that is there.
fn remount(kind: &std::ffi::CStr, place: &str) -> io::Result<()> {
    if !Path::new(place).is_dir() {
        return Ok(());
    }
    let directory = rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    mount::attach(mount::filesystem(kind, &[], Attributes::NONE)?.as_fd(), directory.as_fd(), c"")
}

fn usernsexec(call: &Call) -> Outcome {
    let mut maps = IdMaps::default();
    call.values("map").try_for_each(|map| maps.add(map))?;
    if !call.has("map") {
        maps = IdMaps::delegated()?;
    }
    let root = |maps: &[IdMap]| maps.iter().any(|map| map.inside == 0 && map.count > 0);
    if !(root(&maps.users) && root(&maps.groups)) {
        return Err(failure("map ids: id 0 is mapped for users or groups only, or for neither\nhint: -m b:0:100000:65536 maps both"));
    }
    let shell = [std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned())];
    let words = if call.words.is_empty() { &shell[..] } else { &call.words };
    as_root_of(call, &maps, command(words))
}

/// Runs a command as root of a user namespace with these maps.
fn as_root_of(call: &Call, maps: &IdMaps, command: Command) -> Outcome {
    let inside = || proc::set_ids(0, 0, &[]).map_err(failed("become root of the user namespace"));
    run(call, clone::NEWUSER | clone::NEWNS, command, |pid| maps.write(pid), inside)
}

/// Tools that write files of a container's users, or run it.
const WRITE: [&str; 7] = ["lxc-create", "lxc-copy", "lxc-snapshot", "lxc-destroy", "lxc-start", "lxc-execute", "lxc-autostart"];

/// A user that has further ids writes as root of a namespace where they are what they are here, and root is the user.
pub(super) fn with_ids(call: &Call, tool: &Tool, args: &[OsString]) -> Option<Outcome> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() || !WRITE.contains(&tool.name) {
        return None;
    }
    // Who has none writes as nobody else.
    let mut maps = IdMaps::delegated().ok()?;
    for (maps, own) in [(&mut maps.users, uid.as_raw()), (&mut maps.groups, gid.as_raw())] {
        maps.iter_mut().for_each(|map| map.inside = map.host);
        maps.insert(0, IdMap { inside: 0, host: own, count: 1 });
    }
    // By its path: of the mounts there, not of ours.
    let mut command = Command::new(std::env::current_exe().ok()?);
    // What cannot be made is missed by who needs it.
    let _ = registry::user_dir().map(|dir| DirBuilder::new().mode(0o700).create(dir));
    let state = registry::runtime_dir();
    command.args(["lxc", tool.name]).args(args).env(hostel_container::FOR_USER, "1");
    command.env("HOSTEL_RUNTIME_DIR", &state).env(hostel_image::locks::OWN, state.join("locks"));
    Some(as_root_of(call, &maps, command))
}
