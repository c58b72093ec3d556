//! lxc-attach: a command, or a shell, in a running container.

use std::path::PathBuf;

use hostel_container::{Container, Error};
use hostel_engine::enter::{Leader, Selection};
use hostel_engine::registry::Liveness;
use hostel_spec::{OsText, UserSelector};

use super::options::{Call, row};
use super::start::engine;
use super::{Outcome, Tool, failure};
use crate::cli::exec::{self, Order};
use crate::foreign::Kind;
use crate::lxc::monitor::machine_name;
use crate::machine;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-attach",
    synopsis: "-n NAME [--] [COMMAND]",
    about: "run a command, or a shell, in a running container; its exit status is the command's",
    named: true,
    options: &[
        row("s", "namespaces", "LIST", "enter only these: MOUNT|PID|UTSNAME|IPC|USER|NETWORK|CGROUP"),
        row("", "clear-env", "", "none of the variables here"),
        row("", "keep-env", "", "all of them: the default"),
        row("", "keep-var", "NAME", "keep this one, with --clear-env"),
        row("v", "set-var", "NAME=VALUE", "set a variable"),
        row("u", "uid", "UID", "as this user"),
        row("g", "gid", "GID", "refused: the group is that of the user"),
        row("f", "rcfile", "FILE", "use this configuration instead of the container's"),
        row("a", "arch", "ARCH", "the architecture that the command is told of"),
        row("e", "elevated-privileges", "[WHAT]", "refused: what enters is as limited as the container"),
        row("R", "remount-sys-proc", "", "refused: /proc and /sys are the container's own already"),
        row("L", "pty-log", "FILE", "refused: script(1) does that"),
        row("c", "context", "CONTEXT", "refused: the SELinux context is the container's"),
    ],
    run,
};

/// Names of namespaces, and the switch of each.
fn selection(list: &str) -> Result<Selection, Error> {
    let mut chosen = Selection { mount: false, pid: false, uts: false, ipc: false, user: false, net: false, cgroup: false };
    for name in list.split('|').map(str::trim) {
        let switch = match name.to_ascii_uppercase().as_str() {
            "MOUNT" | "MNT" => &mut chosen.mount,
            "PID" => &mut chosen.pid,
            "UTSNAME" | "UTS" => &mut chosen.uts,
            "IPC" => &mut chosen.ipc,
            "USER" => &mut chosen.user,
            "NETWORK" | "NET" => &mut chosen.net,
            "CGROUP" => &mut chosen.cgroup,
            _ => return Err(failure(format!("enter namespace {name}: there is no such kind"))),
        };
        *switch = true;
    }
    Ok(chosen)
}

fn environment(call: &Call, container: &Container) -> Vec<OsText> {
    let mut env: Vec<OsText> = Vec::new();
    let kept: Vec<&str> = call.values("keep-var").collect();
    for (name, value) in std::env::vars_os() {
        if !call.has("clear-env") || kept.iter().any(|kept| name == *kept) {
            let mut entry = name;
            entry.push("=");
            entry.push(value);
            env.push(entry.into());
        }
    }
    env.push("container=lxc".into());
    env.extend(container.values("lxc.environment").filter(|entry| entry.contains('=')).map(Into::into));
    env.extend(call.values("set-var").map(Into::into));
    env
}

fn run(call: &Call) -> Outcome {
    for refused in ["gid", "elevated-privileges", "remount-sys-proc", "pty-log", "context"] {
        if call.has(refused) {
            return Err(failure(format!("use --{refused}: it is not done\nhint: --help says why")));
        }
    }
    let container = call.container()?;
    let pid = container.init_pid().map_err(|_| failure(format!("enter container {}: it is not running", call.name)))?;
    let name = machine_name(&container.lxcpath, &container.name).map_err(|e| engine(e.into()))?;
    let mut order = Order::new(name.clone());
    order.process.env = environment(call, &container);
    order.process.argv = call.words.iter().map(|word| word.as_str().into()).collect();
    order.process.linux32 = matches!(call.value("arch"), Some("i686" | "x86" | "i386" | "linux32"));
    if let Some(list) = call.value("namespaces") {
        order.selection = selection(list)?;
    }
    let uid = match call.value("uid") {
        Some(_) => Some(call.number("uid", 0)?),
        None => container.value("lxc.init.uid").and_then(|uid| uid.parse().ok()).filter(|uid: &u32| *uid != 0),
    };
    order.process.user = uid.map(UserSelector::Id);
    if !order.process.argv.is_empty() {
        order.process.cwd =
            std::env::current_dir().ok().filter(|dir| PathBuf::from(format!("/proc/{pid}/root")).join(dir.strip_prefix("/").unwrap_or(dir)).is_dir());
    }
    let ours = machine::open_registry().ok().and_then(|registry| registry.load(&name).ok()).is_some_and(|found| {
        found.liveness != Liveness::Dead && found.known().is_some_and(|state| state.leader.is_some_and(|leader| leader.pid == pid))
    });
    if ours {
        return exec::run_in(&order).map_err(engine);
    }
    let leader = Leader::from_pid(pid).map_err(|e| engine(e.into()))?;
    exec::run_in_foreign(&order, &leader, Kind::Lxc).map_err(engine)
}
