//! lxc-snapshot: snapshots of a container.

use std::path::Path;

use super::options::{Call, row};
use super::{Outcome, Tool, failure};
use crate::output;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-snapshot",
    synopsis: "-n NAME [-c FILE] | -L [-C] | -r SNAPSHOT [-N NEWNAME] | -d SNAPSHOT",
    about: "make, list, restore and remove snapshots of a container",
    named: true,
    options: &[
        row("L", "list", "", "list them"),
        row("C", "showcomments", "", "with their comments"),
        row("c", "comment", "FILE", "what is kept with a new one"),
        row("r", "restore", "SNAPSHOT", "make the container of it again, or another"),
        row("N", "newname", "NAME", "which other"),
        row("d", "destroy", "SNAPSHOT", "remove one, or ALL"),
    ],
    run,
};

fn run(call: &Call) -> Outcome {
    let mut container = call.container()?;
    // One whose restoration was interrupted has nothing but snapshots.
    if !container.is_defined() && container.snapshot_list().map_or(true, |snapshots| snapshots.is_empty()) {
        return Err(failure(format!("find container {}: there is none of that name", call.name)));
    }
    if call.has("list") {
        return list(&container, call.has("showcomments"));
    }
    if let Some(name) = call.value("destroy") {
        return if name == "ALL" { container.snapshot_destroy_all() } else { container.snapshot_destroy(name) }.map(|()| 0);
    }
    if let Some(name) = call.value("restore") {
        return container.snapshot_restore(name, call.value("newname").or(call.words.first().map(String::as_str))).map(|()| 0);
    }
    container.snapshot(call.value("comment").map(Path::new)).map(|_| 0)
}

fn list(container: &hostel_container::Container, comments: bool) -> Outcome {
    let mut out = String::new();
    for snapshot in container.snapshot_list()? {
        let when = snapshot.timestamp.as_deref().unwrap_or("");
        out.push_str(&output::clean(&format!("{} ({}) {when}", snapshot.name, snapshot.lxcpath)));
        out.push('\n');
        let comment = if comments { std::fs::read(&snapshot.comment_pathname).unwrap_or_default() } else { Vec::new() };
        for line in String::from_utf8_lossy(&comment).lines() {
            out.push_str(&output::clean(line));
            out.push('\n');
        }
    }
    Ok(output::show(if out.is_empty() { "No snapshots\n" } else { &out }))
}
