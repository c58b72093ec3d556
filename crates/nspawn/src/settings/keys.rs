//! Which key is which option, and how its value is written.

use hostel_spec::RlimitName;
use hostel_unit::WordRules;

use crate::options::{self, OptionId as Id, OptionRow, Takes};

/// Sections that belong to hostel: systemd ignores what begins with `X-`.
pub(super) const OWN: &str = "X-Hostel";

/// What a key stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    /// An option.
    Option(&'static OptionRow),
    /// `--rlimit=` of this limit.
    Limit(&'static OptionRow, RlimitName),
    /// The payload's words, which are no option.
    Parameters,
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        match (self, other) {
            (Key::Option(one), Key::Option(other)) => one.id == other.id,
            (Key::Limit(_, one), Key::Limit(_, other)) => one == other,
            (Key::Parameters, Key::Parameters) => true,
            _ => false,
        }
    }
}

/// Where a search ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Found {
    /// At this key.
    Key(Key),
    /// The section has no such key.
    NoKey,
    /// There is no such section.
    NoSection,
    /// It is somebody else's: `X-…`.
    Foreign,
}

/// How a value becomes values of the option.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Yes or no, for an option without a value.
    Switch,
    /// As the option's; the last one counts.
    One,
    /// As the option's; all count.
    Many,
    /// Words, each one value; all count.
    Words(WordRules<'static>),
    /// As the option's, but another assignment adds to it.
    Longer,
}

/// The key of this name.
pub(super) fn find(section: &str, name: &str) -> Found {
    let of_section = |row: &&'static OptionRow| row.key.is_some_and(|key| split(key).0 == section);
    if !options::rows().any(|row| of_section(&row)) {
        return if section.starts_with("X-") && !section.starts_with(OWN) { Found::Foreign } else { Found::NoSection };
    }
    if let Some(row) = options::rows().filter(of_section).find(|row| row.key.is_some_and(|key| split(key).1 == name)) {
        return Found::Key(Key::Option(row));
    }
    match (section, name.strip_prefix("Limit")) {
        ("Exec", _) if name == "Parameters" => Found::Key(Key::Parameters),
        ("Exec", Some(limit)) => match (options::by_id(Id::Rlimit), RlimitName::ALL.iter().find(|(_, n)| *n == limit)) {
            (Some(row), Some((id, _))) => Found::Key(Key::Limit(row, *id)),
            _ => Found::NoKey,
        },
        _ if name.starts_with("X-") => Found::Foreign,
        _ => Found::NoKey,
    }
}

/// `[Exec] Boot=` into `Exec` and `Boot`.
fn split(key: &str) -> (&str, &str) {
    let (section, name) = key.split_once(' ').unwrap_or((key, ""));
    (section.trim_matches(['[', ']']), name.trim_end_matches('='))
}

impl Key {
    /// The option it is.
    pub(super) fn row(self) -> Option<&'static OptionRow> {
        match self {
            Key::Option(row) | Key::Limit(row, _) => Some(row),
            Key::Parameters => None,
        }
    }

    /// How its value is written.
    pub(super) fn kind(self) -> Kind {
        let Key::Option(row) = self else {
            return if self == Key::Parameters { Kind::Words(WordRules::STRINGS) } else { Kind::One };
        };
        match row.id {
            Id::Setenv => Kind::Words(WordRules::STRINGS),
            Id::Capability | Id::DropCapability | Id::AmbientCapability | Id::BindUser => Kind::Words(WordRules::SPACE),
            Id::Bind | Id::BindRo | Id::Tmpfs | Id::Inaccessible | Id::Overlay | Id::OverlayRo => Kind::Many,
            Id::NetworkInterface | Id::NetworkMacvlan | Id::NetworkIpvlan | Id::NetworkVethExtra | Id::Port => Kind::Many,
            Id::SystemCallFilter | Id::RestrictAddressFamilies | Id::Property => Kind::Many,
            Id::CpuAffinity => Kind::Longer,
            _ if row.takes == Takes::Nothing => Kind::Switch,
            _ => Kind::One,
        }
    }

    /// Whether this value counts only in a trusted file: it may give the machine something of the host's.
    pub(super) fn needs_trust(self, value: &str) -> bool {
        match self.row() {
            // what is forbidden more may come from anybody
            Some(row) if row.id == Id::SystemCallFilter => !value.starts_with('~') && !value.is_empty(),
            Some(row) => row.trusted_only,
            None => false,
        }
    }
}
