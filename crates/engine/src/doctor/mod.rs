//! What this host can do, found out by trying it: each probe is a child in namespaces of its own and leaves nothing behind.
//!
//! A [`Finding`] is a row: what was looked at, how it is, what that means for machines, and what can be done. Only a few
//! rows are *needed*; most say which options work. The process that examines has one thread, because probes are forked.

mod host;
mod kernel;
mod mounts;
mod network;
mod privileges;
mod probe;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::path::Path;

use serde::Serialize;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All of it works.
    Ok,
    /// Some of it works.
    Limited,
    /// It is not there, or not permitted.
    Missing,
}

impl State {
    /// As printed and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Limited => "limited",
            State::Missing => "missing",
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, such as `namespace user`; unique.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was found, such as a version or an error.
    pub found: String,
    /// What it is for, or what its lack means.
    pub means: String,
    /// What can be done about it; `None` when there is nothing to do.
    #[serde(rename = "do")]
    pub advice: Option<String>,
    /// Without it no machine runs.
    pub needed: bool,
}

impl Finding {
    fn new(name: impl Into<String>, state: State, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self { name: name.into(), state, found: found.into(), means: means.into(), advice: None, needed: false }
    }

    /// What to do, said only when something is wrong.
    fn advise(mut self, advice: impl Into<String>) -> Self {
        if self.state != State::Ok {
            self.advice = Some(advice.into());
        }
        self
    }

    fn needed(mut self) -> Self {
        self.needed = true;
        self
    }

    /// `Ok`, or what the probe failed with.
    fn of(name: impl Into<String>, result: std::io::Result<()>, means: impl Into<String>) -> Self {
        match result {
            Ok(()) => Self::new(name, State::Ok, "works", means),
            Err(e) => Self::new(name, State::Missing, crate::error::io_text(&e), means),
        }
    }
}

/// What the examination is told of its surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// `$PATH`, where tools are looked for.
    pub path: &'a OsStr,
    /// The registry's directory (/run/hostel).
    pub state: &'a Path,
}

/// Examines the host. Takes some ten milliseconds.
pub fn examine(surroundings: Surroundings<'_>) -> Vec<Finding> {
    let mut out = vec![kernel::version()];
    out.extend(privileges::findings());
    out.extend(kernel::namespaces());
    out.extend(kernel::user_namespace_limits());
    out.extend(kernel::filters());
    out.extend(kernel::cgroups());
    out.extend(mounts::findings());
    out.extend(network::findings());
    out.extend(host::findings(surroundings));
    out
}

/// Whether machines can run at all: every needed row works at least in part.
pub fn can_run(findings: &[Finding]) -> bool {
    findings.iter().all(|f| !f.needed || f.state != State::Missing)
}
