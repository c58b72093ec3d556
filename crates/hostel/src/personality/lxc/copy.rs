//! lxc-copy: copy or rename a container.

use hostel_container::CloneOptions;
use hostel_container::store::{Kind, Specs};

use super::options::{Call, row};
use super::{Outcome, Tool, failure};

pub(super) const TOOL: Tool = Tool {
    name: "lxc-copy",
    synopsis: "-n NAME -N NEWNAME [-s] [-R] [-- HOOK-OPTIONS]",
    about: "copy or rename a container",
    named: true,
    options: &[
        row("N", "newname", "NAME", "what the copy is called"),
        row("p", "newpath", "PATH", "lxcpath of the copy"),
        row("R", "rename", "", "rename it"),
        row("s", "snapshot", "", "a copy that stands on the files of the original"),
        row("a", "allowrunning", "", "also while the original runs"),
        row("B", "backingstorage", "TYPE", "what its files are kept in: dir, overlay, btrfs, loop"),
        row("L", "fssize", "SIZE[U]", "size of a loop"),
        row("K", "keepname", "", "keep the host name"),
        row("M", "keepmac", "", "keep the hardware addresses"),
        row("e", "ephemeral", "", "start a copy that goes away when it stops"),
        row("m", "mount", "MOUNT", "with -e: mount something in it"),
        row("t", "tmpfs", "", "with -e: what it writes is in memory"),
        row("D", "keepdata", "", "with -e: it stays"),
        row("F", "foreground", "", "with -e: on this terminal"),
        row("d", "daemon", "", "with -e: in the background"),
    ],
    run,
};

fn run(call: &Call) -> Outcome {
    if let Some(option) = ["ephemeral", "mount", "tmpfs", "keepdata", "foreground", "daemon"].into_iter().find(|option| call.has(option)) {
        return Err(failure(format!("use --{option}: containers of LXC are not started by hostel yet")));
    }
    let mut container = call.container()?;
    if !container.is_defined() {
        return Err(failure(format!("copy container {}: there is no such container", call.name)));
    }
    let newpath = call.value("newpath");
    if call.has("rename") {
        let name = call.value("newname").ok_or_else(|| failure("rename: to what? (-N)"))?;
        if newpath.is_some() {
            return Err(failure("rename: it stays in its lxcpath; a copy goes elsewhere (-p without -R)"));
        }
        return container.rename(name).map(|_| 0);
    }
    let name = call.value("newname").or(newpath.map(|_| call.name.as_str())).ok_or_else(|| failure("copy: to what? (-N)"))?;
    let options = CloneOptions {
        keep_name: call.has("keepname"),
        keep_mac: call.has("keepmac"),
        snapshot: call.has("snapshot"),
        maybe_snapshot: false,
        allow_running: call.has("allowrunning"),
        store: Specs {
            kind: call.value("backingstorage").map(Kind::of).transpose()?,
            size: call.value("fssize").map(super::create::size).transpose()?,
            ..Specs::default()
        },
        hook_arguments: call.words.clone(),
    };
    container.clone_to(name, newpath, &options).map(|_| 0)
}
