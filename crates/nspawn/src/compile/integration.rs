//! /etc/resolv.conf, /etc/localtime, the journal and the console.

use hostel_spec::{ConsoleMode, ResolvConf, Timezone};

use super::{Choice, Draft, choose};
use crate::Action;
use crate::error::UsageError;
use crate::options::OptionRow;

const RESOLV_CONF: [(&str, ResolvConf); 15] = [
    ("off", ResolvConf::Off),
    ("copy-host", ResolvConf::CopyHost),
    ("copy-static", ResolvConf::CopyStatic),
    ("copy-uplink", ResolvConf::CopyUplink),
    ("copy-stub", ResolvConf::CopyStub),
    ("replace-host", ResolvConf::ReplaceHost),
    ("replace-static", ResolvConf::ReplaceStatic),
    ("replace-uplink", ResolvConf::ReplaceUplink),
    ("replace-stub", ResolvConf::ReplaceStub),
    ("bind-host", ResolvConf::BindHost),
    ("bind-static", ResolvConf::BindStatic),
    ("bind-uplink", ResolvConf::BindUplink),
    ("bind-stub", ResolvConf::BindStub),
    ("delete", ResolvConf::Delete),
    ("auto", ResolvConf::Auto),
];

const TIMEZONE: [(&str, Timezone); 6] = [
    ("off", Timezone::Off),
    ("copy", Timezone::Copy),
    ("bind", Timezone::Bind),
    ("symlink", Timezone::Symlink),
    ("delete", Timezone::Delete),
    ("auto", Timezone::Auto),
];

const CONSOLE: [(&str, ConsoleMode); 5] = [
    ("interactive", ConsoleMode::Interactive),
    ("read-only", ConsoleMode::ReadOnly),
    ("passive", ConsoleMode::Passive),
    ("pipe", ConsoleMode::Pipe),
    ("autopipe", ConsoleMode::Autopipe),
];

impl Draft<'_> {
    pub(super) fn resolv_conf(&mut self, row: &OptionRow, value: &str) -> Result<Option<Action>, UsageError> {
        match choose(row, or_words(value, ["auto", "off"]), &RESOLV_CONF)? {
            Choice::Value(mode) => self.spec.integration.resolv_conf = mode,
            Choice::Help(action) => return Ok(Some(action)),
        }
        Ok(None)
    }

    pub(super) fn timezone(&mut self, row: &OptionRow, value: &str) -> Result<Option<Action>, UsageError> {
        match choose(row, or_words(value, ["auto", "off"]), &TIMEZONE)? {
            Choice::Value(mode) => self.spec.integration.timezone = mode,
            Choice::Help(action) => return Ok(Some(action)),
        }
        Ok(None)
    }

    pub(super) fn console(&mut self, row: &OptionRow, value: &str) -> Result<Option<Action>, UsageError> {
        match choose(row, value, &CONSOLE)? {
            Choice::Value(ConsoleMode::Pipe) => self.pipe(),
            Choice::Value(mode) => self.spec.console = mode,
            Choice::Help(action) => return Ok(Some(action)),
        }
        Ok(None)
    }

    /// Our own descriptors are passed through.
    pub(super) fn pipe(&mut self) {
        self.spec.console = ConsoleMode::Pipe;
    }

    /// `no` is what happens; `auto` and `try-…` allow for it; `guest` and `host` insist on what is not built.
    pub(super) fn link_journal(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        match value {
            "no" => {}
            "auto" | "try-guest" | "try-host" => self.notice(format!("--link-journal={value} has no effect yet: the journal stays in the machine")),
            "guest" | "host" => {
                return Err(UsageError::NotYet { what: format!("--link-journal={value}"), reason: "try-guest and try-host go on without" });
            }
            _ => return Err(UsageError::value(row, value, "it is none of no, auto, guest, try-guest, host, try-host")),
        }
        Ok(())
    }
}

/// The word that a yes or a no stands for, else the value itself.
fn or_words<'v>(value: &'v str, [yes, no]: [&'static str; 2]) -> &'v str {
    hostel_unit::boolean(value).map_or(value, |is| if is { yes } else { no })
}
