//! Keys that restrict system calls.

use hostel_process::seccomp::service::{Calls, Item, NAMESPACES, Restrictions, architecture, denial};
use hostel_process::seccomp::{Arch, resolve_name};
use hostel_spec::AddressFamilies;
use hostel_unit::{WordRules, boolean, words};

use super::own::personality;
use super::settings::SECTION;
use crate::load::Settings;
use crate::value::Value;

/// Reads them.
pub(super) fn of(s: &Settings, complain: &mut dyn FnMut(String)) -> Restrictions {
    let yes = |key: &str| s.bool(SECTION, key, false);
    let is_on = |key: &str| {
        s.last(SECTION, key).is_some_and(|value| match value {
            Value::Bool(value) => *value,
            Value::Text(text) => boolean(text) != Ok(false),
            _ => false,
        })
    };
    let mut deny = Vec::new();
    let groups = [
        ("ProtectClock", "@clock"),
        ("ProtectKernelModules", "@module"),
        ("ProtectKernelLogs", "syslog"),
        ("ProtectKernelTunables", "_sysctl"),
        ("PrivateDevices", "@raw-io"),
        ("ProtectHostname", "sethostname"),
        ("ProtectHostname", "setdomainname"),
    ];
    deny.extend(groups.iter().filter(|(key, _)| is_on(key)).map(|(_, name)| *name));
    Restrictions {
        calls: calls(s, "SystemCallFilter", complain),
        denial: s.text(SECTION, "SystemCallErrorNumber").and_then(|text| {
            let found = denial(text);
            if found.is_none() {
                complain(format!("SystemCallErrorNumber={text}: it is no errno, ignoring"));
            }
            found
        }),
        log: calls(s, "SystemCallLog", complain),
        arches: arches(s),
        families: families(s, complain),
        namespaces: namespaces(s, complain),
        writable_code: yes("MemoryDenyWriteExecute"),
        realtime: yes("RestrictRealtime"),
        set_id: yes("RestrictSUIDSGID"),
        personality: yes("LockPersonality").then(|| personality(s).unwrap_or(0)),
        deny,
    }
}

/// Words of an assignment, and whether `~` stands before them.
fn listed<'s>(s: &'s Settings, key: &'s str) -> impl Iterator<Item = (bool, Vec<String>)> + 's {
    s.of(SECTION, key).filter_map(|setting| {
        let Value::Text(text) = &setting.value else { return None };
        let (inverted, rest) = text.strip_prefix('~').map_or((false, text.as_str()), |rest| (true, rest));
        Some((inverted, words(rest, WordRules::UNIT).unwrap_or_default()))
    })
}

/// The first assignment says what the list is of; the others add to it or take from it.
fn calls(s: &Settings, key: &str, complain: &mut dyn FnMut(String)) -> Option<Calls> {
    let mut list: Option<Calls> = None;
    for (inverted, words) in listed(s, key) {
        let list = list.get_or_insert(Calls { allow: !inverted, items: Vec::new() });
        for word in words {
            let (name, own) = word.split_once(':').map_or((word.as_str(), None), |(name, own)| (name, Some(own)));
            let own_denial = own.map(denial);
            if resolve_name(name).is_none() || own_denial == Some(None) {
                complain(format!("{key}=: {word:?} is no system call nor group, ignoring"));
                continue;
            }
            list.items.push(Item { name: name.to_owned(), on: list.allow != inverted, denial: own_denial.flatten() });
        }
    }
    list
}

fn arches(s: &Settings) -> Option<Vec<Arch>> {
    let mut found: Option<Vec<Arch>> = None;
    for (_, words) in listed(s, "SystemCallArchitectures") {
        found.get_or_insert_default().extend(words.iter().filter_map(|word| architecture(word)));
    }
    found
}

fn families(s: &Settings, complain: &mut dyn FnMut(String)) -> Option<(bool, Vec<u32>)> {
    let mut list: Option<(bool, Vec<u32>)> = None;
    for (inverted, words) in listed(s, "RestrictAddressFamilies") {
        let (allow, found) = list.get_or_insert((!inverted, Vec::new()));
        if words == ["none"] {
            (*allow, *found) = (true, Vec::new());
            continue;
        }
        for word in words {
            match AddressFamilies::number(&word) {
                Some(number) if *allow != inverted => found.push(number),
                Some(number) => found.retain(|known| *known != number),
                None => complain(format!("RestrictAddressFamilies=: {word:?} is no family of addresses, ignoring")),
            }
        }
    }
    list
}

/// The kinds that are denied.
fn namespaces(s: &Settings, complain: &mut dyn FnMut(String)) -> u32 {
    let all = NAMESPACES.iter().fold(0, |all, (_, flag)| all | flag);
    let mut allowed: Option<u32> = None;
    for (inverted, words) in listed(s, "RestrictNamespaces") {
        if let ([word], false) = (words.as_slice(), inverted)
            && let Ok(value) = boolean(word)
        {
            allowed = Some(if value { 0 } else { all });
            continue;
        }
        let mut flags = 0;
        for word in words {
            match NAMESPACES.iter().find(|(name, _)| *name == word) {
                Some((_, flag)) => flags |= flag,
                None => complain(format!("RestrictNamespaces=: {word:?} is no kind of namespace, ignoring")),
            }
        }
        let before = allowed.unwrap_or(if inverted { all } else { 0 });
        allowed = Some(if inverted { before & !flags } else { before | flags });
    }
    all & !allowed.unwrap_or(all)
}
