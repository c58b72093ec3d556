//! lxc-start and lxc-execute.

use hostel_container::{Container, Error};

use super::options::{Call, Row, row};
use super::{Outcome, Tool, failure};
use crate::cli::Failure;
use crate::lxc::monitor;
use crate::lxc::start::{Order, background};

const DEFINE: Row = row("s", "define", "KEY=VALUE", "set this, over the configuration");
const RCFILE: Row = row("f", "rcfile", "FILE", "use this configuration instead of the container's");
const SHARE: [Row; 4] = [
    row("", "share-net", "NAME|PID", "the network of another container or process"),
    row("", "share-ipc", "NAME|PID", "its IPC objects"),
    row("", "share-uts", "NAME|PID", "its host name"),
    row("", "share-pid", "NAME|PID", "its processes"),
];

pub(super) const START: Tool = Tool {
    name: "lxc-start",
    synopsis: "-n NAME [-F] [COMMAND]",
    about: "start a container, in the background unless -F says otherwise",
    named: true,
    options: &[
        row("d", "daemon", "", "in the background: the default"),
        row("F", "foreground", "", "here, on this terminal; its exit status is init's"),
        row("p", "pidfile", "FILE", "write the pid of its supervisor to FILE"),
        RCFILE,
        row("c", "console", "FILE", "what /dev/console is joined to"),
        row("L", "console-log", "FILE", "write the console to FILE, too"),
        row("C", "close-all-fds", "", "taken: nothing that is open here is passed on"),
        DEFINE,
        SHARE[0],
        SHARE[1],
        SHARE[2],
        SHARE[3],
    ],
    run: start,
};

pub(super) const EXECUTE: Tool = Tool {
    name: "lxc-execute",
    synopsis: "-n NAME [-d] [--] COMMAND",
    about: "run a command in a container of its own, behind a little init; its exit status is the command's",
    named: true,
    options: &[
        row("d", "daemon", "", "in the background"),
        RCFILE,
        DEFINE,
        row("u", "uid", "UID", "the command's user"),
        row("g", "gid", "GID", "its group"),
        SHARE[0],
        SHARE[1],
        SHARE[2],
        SHARE[3],
    ],
    run: execute,
};

/// What the engine has to say, as the tools say it.
pub(super) fn engine(failed: Failure) -> Error {
    match failed {
        Failure::Engine(error) => {
            let hint = error
                .hint
                .as_ref()
                .map_or_else(String::new, |hint| format!("\nhint: {}", crate::hint::words(hint, crate::hint::Voice::Verb("start"))));
            failure(format!("{error}{hint}"))
        }
        Failure::Usage(text) => failure(text),
        Failure::Dialect(error, _) => failure(error.to_string()),
    }
}

/// The container with what the command line says of it.
fn configured(call: &Call) -> Result<Container, Error> {
    let mut container = call.container()?;
    if container.config.is_none() {
        return Err(failure(format!("start container {}: it is not defined\nhint: `lxc-create` makes one, -f names a configuration", call.name)));
    }
    if container.is_running() {
        return Err(failure(format!("start container {}: it is running", call.name)));
    }
    let simple = [("console", "lxc.console.path"), ("console-log", "lxc.console.logfile"), ("uid", "lxc.init.uid"), ("gid", "lxc.init.gid")];
    for (option, key) in simple {
        if let Some(value) = call.value(option) {
            container.set_config_item(key, value)?;
        }
    }
    for (option, kind) in [("share-net", "net"), ("share-ipc", "ipc"), ("share-uts", "uts"), ("share-pid", "pid")] {
        if let Some(value) = call.value(option) {
            container.set_config_item(&format!("lxc.namespace.share.{kind}"), value)?;
        }
    }
    for define in call.values("define") {
        let (key, value) = define.split_once('=').ok_or_else(|| failure(format!("set {define}: it takes KEY=VALUE")))?;
        container.set_config_item(key.trim(), value.trim())?;
    }
    Ok(container)
}

fn order(call: &Call, container: &Container) -> Result<Order, Error> {
    let mut order = Order::of(container);
    order.command = Some(call.words.clone()).filter(|words| !words.is_empty());
    order.pidfile = call.value("pidfile").map(std::path::absolute).transpose().map_err(|e| failure(e.to_string()))?;
    Ok(order)
}

/// Runs it here, or in the background.
pub(super) fn run(order: &Order, here: bool) -> Outcome {
    if here {
        return monitor::live(order, false, &mut |_| {}).map_err(|e| engine(e.into()));
    }
    background(order).map(|_| 0).map_err(engine)
}

fn start(call: &Call) -> Outcome {
    let order = order(call, &configured(call)?)?;
    run(&order, call.has("foreground") && !call.has("daemon"))
}

fn execute(call: &Call) -> Outcome {
    let container = configured(call)?;
    let mut order = order(call, &container)?;
    if order.command.is_none() {
        let line = container.value("lxc.execute.cmd").ok_or_else(|| failure("run a command: none is given, and there is no lxc.execute.cmd"))?;
        order.command = hostel_lxc::machine::words(line);
    }
    order.execute = true;
    run(&order, !call.has("daemon"))
}
