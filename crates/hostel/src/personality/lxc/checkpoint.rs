//! lxc-checkpoint, which is refused.

use super::options::row;
use super::{Tool, failure};

pub(super) const TOOL: Tool = Tool {
    name: "lxc-checkpoint",
    synopsis: "-n NAME",
    about: "refused: containers are not frozen to disk",
    named: true,
    options: &[
        row("r", "restore", "", "refused"),
        row("D", "checkpoint-dir", "DIR", "refused"),
        row("s", "stop", "", "refused"),
        row("p", "pre-dump", "", "refused"),
        row("", "predump-dir", "DIR", "refused"),
        row("A", "action-script", "PATH", "refused"),
        row("v", "verbose", "", "refused"),
        row("d", "daemon", "", "refused"),
        row("F", "foreground", "", "refused"),
    ],
    run: |call| Err(failure(format!("checkpoint container {}: it is not supported; lxc-snapshot keeps its files", call.name))),
};
