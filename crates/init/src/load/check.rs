//! Settings that do not go together: what systemd refuses to load.

use hostel_unit::{Kind, unescape_path};

use super::Unit;
use crate::value::Value;

/// Why the unit cannot be used.
pub(super) fn fault(unit: &Unit) -> Option<String> {
    // a template is checked as its instances are
    match unit.name.kind() {
        Kind::Service => service(unit),
        Kind::Timer => timer(unit),
        Kind::Path => path(unit),
        Kind::Socket => socket(unit),
        Kind::Mount | Kind::Automount if unit.fragment.is_some() => place(unit),
        _ => None,
    }
}

/// The type of a service: as written, or what systemd takes.
pub(crate) fn service_type(unit: &Unit) -> &str {
    let has = |key| unit.settings.of("Service", key).next().is_some();
    match unit.settings.text("Service", "Type") {
        Some(kind) => kind,
        None if has("BusName") => "dbus",
        None if has("ExecStart") => "simple",
        None => "oneshot",
    }
}

fn service(unit: &Unit) -> Option<String> {
    let s = &unit.settings;
    let starts = s.commands("Service", "ExecStart").count();
    let stops = s.commands("Service", "ExecStop").count();
    let kind = service_type(unit);
    if starts == 0 && stops == 0 && s.of("Unit", "SuccessAction").next().is_none() {
        return Some("Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.".to_owned());
    }
    if starts == 0 && kind != "oneshot" {
        return Some("Service has no ExecStart= setting, which is only allowed for Type=oneshot services. Refusing.".to_owned());
    }
    if starts == 0 && !s.bool("Service", "RemainAfterExit", false) && s.of("Unit", "SuccessAction").next().is_none() {
        return Some("Service has no ExecStart= setting, which is only allowed for RemainAfterExit=yes services. Refusing.".to_owned());
    }
    if starts > 1 && kind != "oneshot" {
        return Some("Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services. Refusing.".to_owned());
    }
    if kind == "oneshot" && matches!(s.text("Service", "Restart"), Some("always" | "on-success")) {
        return Some("Service has Restart= set to either always or on-success, which isn't allowed for Type=oneshot services. Refusing.".to_owned());
    }
    if kind == "dbus" && s.of("Service", "BusName").next().is_none() {
        return Some("Service is of type D-Bus but no D-Bus service name has been specified. Refusing.".to_owned());
    }
    None
}

fn timer(unit: &Unit) -> Option<String> {
    let has = unit.settings.iter().any(|s| s.section == "Timer" && s.key.starts_with("On"));
    (!has).then(|| "Timer unit lacks value setting. Refusing.".to_owned())
}

fn path(unit: &Unit) -> Option<String> {
    let has = unit.settings.iter().any(|s| s.section == "Path" && (s.key.starts_with("Path") || s.key == "DirectoryNotEmpty"));
    (!has).then(|| "Path unit lacks path setting. Refusing.".to_owned())
}

fn socket(unit: &Unit) -> Option<String> {
    let s = &unit.settings;
    let listens = || s.iter().filter(|s| s.section == "Socket" && s.key.starts_with("Listen"));
    if listens().next().is_none() {
        return Some("Unit has no Listen setting (ListenStream=, ListenDatagram=, ListenFIFO=, ...). Refusing.".to_owned());
    }
    let accept = s.bool("Socket", "Accept", false);
    if accept && listens().any(|s| !matches!(s.key, "ListenStream" | "ListenSequentialPacket")) {
        return Some("Unit configured for accepting sockets, but sockets are non-accepting. Refusing.".to_owned());
    }
    if accept && s.units("Socket", "Service").next().is_some() {
        return Some("Explicit service configuration for accepting socket units not supported. Refusing.".to_owned());
    }
    None
}

/// A mount is named after where it goes.
fn place(unit: &Unit) -> Option<String> {
    let section = unit.name.kind().section().unwrap_or_default();
    let wanted = unescape_path(unit.name.stem()).ok()?;
    if section == "Mount" && unit.settings.of("Mount", "What").next().is_none() {
        return Some("What= setting is missing. Refusing.".to_owned());
    }
    match unit.settings.last(section, "Where") {
        Some(Value::Text(path)) if path.trim_end_matches('/') != wanted.trim_end_matches('/') => {
            Some("Where= setting doesn't match unit name. Refusing.".to_owned())
        }
        _ => None,
    }
}
