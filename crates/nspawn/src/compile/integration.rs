//! /etc/resolv.conf, /etc/localtime, the journal and the console.

use hostel_spec::{ConsoleMode, LinkJournal, ResolvConf, Timezone};

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

    pub(super) fn link_journal(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.integration.journal = match value {
            "no" => LinkJournal::No,
            "auto" => LinkJournal::Auto,
            "guest" => LinkJournal::Guest,
            "try-guest" => LinkJournal::TryGuest,
            "host" => LinkJournal::Host,
            "try-host" => LinkJournal::TryHost,
            _ => return Err(UsageError::value(row, value, "it is none of no, auto, guest, try-guest, host, try-host")),
        };
        Ok(())
    }

    /// Parameters of an escape sequence that sets a background, as `44` or `48;2;0;0;90`.
    pub(super) fn background(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        if value.len() > 64 || !value.bytes().all(|b| b.is_ascii_digit() || b == b';') {
            return Err(UsageError::value(row, value, "it is no colour as in 44 or 48;2;0;0;90"));
        }
        if !value.is_empty() {
            self.notice(format!("--background={value} has no effect: the terminal keeps its colours"));
        }
        Ok(())
    }
}

/// The word that a yes or a no stands for, else the value itself.
fn or_words<'v>(value: &'v str, [yes, no]: [&'static str; 2]) -> &'v str {
    hostel_unit::boolean(value).map_or(value, |is| if is { yes } else { no })
}
