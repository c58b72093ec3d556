//! Unit files and what stands in them.

use hostel_unit::zone::Zone;
use hostel_unit::{Calendar, Kind, UnitName, escape_name, escape_path, unescape_name, unescape_path};

use super::{one_line, text};

pub(super) const CALENDAR_SEEDS: &[&str] =
    &["Mon..Fri,Sun *-*-* 10:00:00 UTC", "*-1/3-05~07/1 0..23/2:*:00.5/1.25", "@1700000000", "weekly", "99-2~1 Europe/Berlin", "*:0/15"];
pub(super) const SCRIPT_SEEDS: &[&str] = &[
    "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: x $y\n# Required-Start: $network\n# Description: a\n#  b\n### END INIT INFO\n# pidfile: /run/x\n",
    "### BEGIN INIT INFO\n#:\n",
];

/// What is understood is shown in the one form that means it, and the next moment comes later.
pub fn calendar(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Calendar::parse(text) {
        Ok(calendar) => {
            let shown = calendar.to_string();
            assert_eq!(Calendar::parse(&shown).as_ref(), Ok(&calendar), "{shown}");
            let now = 1_774_745_999_000_000;
            if let Some(next) = calendar.next(now, &Zone::UTC) {
                assert!(next > now);
            }
        }
        Err(e) => one_line(&e),
    }
}

/// A zone's clock can be read at any second, and what it shows comes from a second that shows it.
pub fn time_zone(data: &[u8]) {
    let zones = [Zone::parse(data), text(data).map_or(Ok(Zone::UTC), Zone::parse_rule)];
    for zone in zones {
        match zone {
            Ok(zone) => {
                for second in [0, 1_774_745_999, 4_102_444_800, -1_000_000_000] {
                    let local = second + i64::from(zone.offset_at(second));
                    if let Some(first) = zone.to_unix(local) {
                        assert_eq!(first + i64::from(zone.offset_at(first)), local);
                    }
                }
            }
            Err(e) => one_line(&e),
        }
    }
}

/// What is typed becomes a name that is one, and escapes are taken back.
pub fn unit_name(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match UnitName::mangle(text, Kind::Service) {
        Ok((name, _)) => {
            assert_eq!(UnitName::parse(name.as_str()).as_ref(), Ok(&name));
            assert!(!name.dropin_names().is_empty());
            if let Some(template) = name.template() {
                assert_eq!(template.with_instance(name.instance().unwrap_or_default()).as_ref(), Ok(&name));
            }
        }
        Err(e) => one_line(&e),
    }
    assert_eq!(unescape_name(&escape_name(text)).as_deref(), Ok(text));
    if let Ok(escaped) = escape_path(text) {
        assert!(unescape_path(&escaped).is_ok(), "{escaped}");
    }
    let _ = unescape_path(text);
}

/// The header of a script.
pub fn script_header(data: &[u8]) {
    let header = hostel_init::sysv::header(&String::from_utf8_lossy(data));
    assert!(header.found || header.provides.is_empty());
}

/// Command lines: a command has a program, and an argv unless it names argv[0] itself.
pub fn command_line(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for command in hostel_init::command::parse(text).into_iter().flatten() {
        assert!(!command.program.is_empty() && !command.argv.is_empty());
    }
}

/// Rules of presets, asked for a few units.
pub fn presets(data: &[u8]) {
    let mut presets = hostel_init::preset::Presets::default();
    presets.add(&String::from_utf8_lossy(data));
    for name in ["a.service", "t@.service", "t@x.service"] {
        let _ = UnitName::parse(name).map(|name| presets.query(&name));
    }
}

/// Requests to the manager, as they stand on the wire.
pub(crate) const REQUEST_SEEDS: &[&str] = &[
    "job\x00start\x00replace\x00a.service",
    "job-wait\x00stop\x00isolate\x00a@b.target",
    "kill\x00all\x0015\x00a.service",
    "end\x00exit\x007",
    "show\x00x.socket",
    "cancel\x001\x002",
    "set-environment\x00A=b",
];

/// What services say: never a panic, and only what is in bounds.
pub fn service_words(data: &[u8]) {
    let words = hostel_init::manager::notify::Words::parse(data);
    assert!(words.main.is_none_or(|pid| pid > 1) && words.status.is_none_or(|text| text.len() <= 512 && !text.chars().any(char::is_control)));
}

pub(crate) const BUS_SEEDS: &[&str] = &[
    "\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n",
    "l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00]\x00\x00\x00\x01\x01o\x00\x19\x00\x00\x00/org/freedesktop/systemd1\x00\x00\x00\x00\x00\x00\x00\x02\x01s\x00\x19\x00\x00\x00org.freedesktop.DBus.Peer\x00\x00\x00\x00\x00\x00\x00\x03\x01s\x00\x04\x00\x00\x00Ping\x00\x00\x00\x00",
];

/// What peers of the private bus send: a message that is understood is one again when it is written.
pub fn private_bus(data: &[u8]) {
    hostel_init::bus::fuzz(data);
}

/// A request that is understood can be put into words and understood again.
pub fn manager_request(data: &[u8]) {
    if let Ok(asked) = hostel_init::control::parse(data) {
        let again = hostel_init::control::words(&asked).join("\0");
        assert_eq!(hostel_init::control::parse(again.as_bytes()), Ok(asked));
    }
    let mut buffer = data.to_vec();
    while let Ok(Some(frame)) = hostel_init::control::take_frame(&mut buffer, 1 << 10) {
        assert!(frame.len() <= 1 << 10);
    }
}

/// Files of variables, and commands that use them.
pub fn environment_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let known = hostel_init::manager::variables::read_file(&text);
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let (out, _) = hostel_init::manager::variables::expand(&words, &known);
    assert!(known.iter().all(|(name, _)| hostel_init::manager::variables::is_name(name)));
    drop(out);
}
