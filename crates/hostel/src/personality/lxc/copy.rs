//! lxc-copy: copy or rename a container.

use hostel_container::store::{Kind, Specs};
use hostel_container::{CloneOptions, Container, Error};

use super::options::{Call, row};
use super::{Outcome, Tool, failure, start};
use crate::lxc::start::Order;
use crate::output;

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
        row("B", "backingstorage", "TYPE", "what its files are kept in: dir, overlay, btrfs, loop, zfs, lvm"),
        row("L", "fssize", "SIZE[U]", "size of a loop or lvm"),
        row("K", "keepname", "", "keep the host name"),
        row("M", "keepmac", "", "keep the hardware addresses"),
        row("e", "ephemeral", "", "start a copy that goes away when it stops"),
        row("m", "mount", "MOUNT", "with -e: mount something in it"),
        row("t", "tmpfs", "", "with -e: refused; what it writes is in a layer that goes with it"),
        row("D", "keepdata", "", "with -e: it stays"),
        row("F", "foreground", "", "with -e: on this terminal"),
        row("d", "daemon", "", "with -e: in the background"),
    ],
    run,
};

fn run(call: &Call) -> Outcome {
    let mut container = call.container()?;
    if !container.is_defined() {
        return Err(failure(format!("copy container {}: there is no such container", call.name)));
    }
    if call.has("ephemeral") {
        return ephemeral(call, &mut container);
    }
    if let Some(option) = ["mount", "tmpfs", "keepdata", "foreground", "daemon"].into_iter().find(|option| call.has(option)) {
        return Err(failure(format!("use --{option}: it is for a copy that is started (-e)")));
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

/// A copy that stands on the files of the original, started, and gone when it stops.
fn ephemeral(call: &Call, container: &mut Container) -> Outcome {
    if call.has("tmpfs") {
        return Err(failure("use --tmpfs: what a copy writes is in a layer of its own, which goes with it"));
    }
    let name = match call.value("newname") {
        Some(name) => name.to_owned(),
        None => format!("{}_{:06x}", call.name, hostel_engine::supervisor::random_u64() & 0xff_ffff),
    };
    let store = Specs { kind: call.value("backingstorage").map(Kind::of).transpose()?, ..Specs::default() };
    let options = CloneOptions { snapshot: true, allow_running: true, store, ..CloneOptions::default() };
    let mut copy = container.clone_to(&name, call.value("newpath"), &options)?;
    let started = started(call, &mut copy);
    if started.is_err() {
        // Nothing is left of it; the first error is the one that counts.
        let _ = copy.destroy();
    }
    started
}

fn started(call: &Call, copy: &mut Container) -> Outcome {
    copy.set_config_item("lxc.ephemeral", if call.has("keepdata") { "0" } else { "1" })?;
    for mount in call.values("mount") {
        copy.set_config_item("lxc.mount.entry", &entry(mount)?)?;
    }
    copy.save_config(None)?;
    let mut order = Order::of(copy);
    order.command = Some(call.words.clone()).filter(|words| !words.is_empty());
    output::show(&format!("Created {} as clone of {}\n", output::clean(&copy.name), output::clean(&call.name)));
    start::run(&order, call.has("foreground"))
}

/// `bind=SOURCE[:TARGET[:OPTIONS]]` as a line of fstab(5).
fn entry(mount: &str) -> Result<String, Error> {
    let wrong = || failure(format!("mount {mount}: it takes bind=SOURCE[:TARGET[:OPTIONS]]"));
    let (kind, rest) = mount.split_once('=').ok_or_else(wrong)?;
    let mut fields = rest.split(':');
    let (source, target, options) = (fields.next().unwrap_or_default(), fields.next(), fields.next().unwrap_or("rw"));
    if kind != "bind" || source.is_empty() || rest.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok(format!("{source} {} none bind,{options} 0 0", target.unwrap_or(source).trim_start_matches('/')))
}
