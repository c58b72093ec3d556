//! What the payload's standard streams are.

use serde::{Deserialize, Serialize};

/// How the console is set up (`--console=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleMode {
    /// `interactive` when standard input and output are terminals, else `read-only`.
    #[default]
    Auto,
    /// A pty joined to our own terminal, both ways.
    Interactive,
    /// A pty whose output is shown; nothing is read.
    ReadOnly,
    /// A pty nobody reads from or writes to here (output is drained and, for machines in the background, logged).
    Passive,
    /// Our own standard streams are passed through; no /dev/console.
    Pipe,
    /// `interactive` when standard input and output are terminals, else `pipe`.
    Autopipe,
}
