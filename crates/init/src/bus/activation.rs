//! Properties of sockets, timers, paths and mounts that are no plain setting.

use std::time::{Duration, Instant, SystemTime};

use hostel_ipc::dbus::{Type, Value};
use hostel_unit::{Kind, Span};

use crate::manager::Manager;
use crate::manager::live::{Live, Plain};
use crate::value::Value as Said;

/// The value of one, if it is one of these.
pub(super) fn value(manager: &Manager, live: &Live, name: &str) -> Option<Value> {
    match (live.name().kind(), name) {
        (Kind::Socket, "Listen") => Some(pairs(live, "Socket", &|key| key.strip_prefix("Listen").map(str::to_owned))),
        (Kind::Path, "Paths") => Some(pairs(live, "Path", &|key| (key.starts_with("Path") || key == "DirectoryNotEmpty").then(|| key.to_owned()))),
        (Kind::Timer | Kind::Path, "Unit") => {
            let triggered = super::unit::related(manager, live, "Triggers").unwrap_or_default();
            Some(Value::text(triggered.into_iter().next().unwrap_or_default()))
        }
        (Kind::Socket, "FileDescriptorName") => {
            Some(Value::text(live.rest.unit.settings.text("Socket", "FileDescriptorName").unwrap_or(live.name().as_str())))
        }
        (Kind::Timer, "TimersMonotonic") => Some(monotonic(live)),
        (Kind::Timer, "TimersCalendar") => Some(calendar(live)),
        (Kind::Timer, _) => moment(live, name),
        (Kind::Socket, _) => counted(live, name),
        (Kind::Mount, "Result") => Some(Value::text(live.result().word())),
        (Kind::Path, "Result") => {
            if let Plain::Path(path) = &live.plain {
                Some(Value::text(path.result.word()))
            } else {
                None
            }
        }
        (Kind::Mount, "Where") => Some(Value::text(hostel_unit::unescape_path(live.name().stem()).unwrap_or_default())),
        _ => None,
    }
}

/// `a(ss)`: kind and what is looked at, in the order of the file.
fn pairs(live: &Live, section: &str, kind: &dyn Fn(&str) -> Option<String>) -> Value {
    let of = Type::Struct(vec![Type::Basic(b's'), Type::Basic(b's')]);
    let mut rows = Vec::new();
    for setting in live.rest.unit.settings.iter().filter(|s| s.section == section) {
        let Some(kind) = kind(setting.key) else { continue };
        let text = if let Said::Text(text) = &setting.value { text.clone() } else { setting.text().to_owned() };
        rows.push(Value::Struct(vec![Value::text(kind), Value::text(text)]));
    }
    Value::Array(of, rows)
}

/// When a timer is due, and when it was.
fn moment(live: &Live, name: &str) -> Option<Value> {
    let Plain::Timer(timer) = &live.plain else { return None };
    let micros = |at: Option<SystemTime>| super::unit::moment(at, "");
    match name {
        "NextElapseUSecRealtime" => Some(micros(timer.next_real)),
        "NextElapseUSecMonotonic" => Some(Value::Uint64(timer.next_even.map_or(0, due))),
        "LastTriggerUSec" => Some(micros(timer.last.map(|last| last.real))),
        "Result" => Some(Value::text(timer.result.word())),
        _ => None,
    }
}

/// A moment of the even clock as microseconds since the boot.
fn due(at: Instant) -> u64 {
    let left = at.saturating_duration_since(Instant::now());
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from((now + left).as_micros()).unwrap_or(u64::MAX)
}

/// What came to a socket.
fn counted(live: &Live, name: &str) -> Option<Value> {
    let Plain::Socket(socket) = &live.plain else { return None };
    let number = |n: u64| Some(Value::Uint32(u32::try_from(n).unwrap_or(u32::MAX)));
    match name {
        "NConnections" => number(socket.connections.len() as u64),
        "NAccepted" => number(socket.accepted),
        "NRefused" => number(socket.refused),
        "Result" => Some(Value::text(socket.result.word())),
        _ => None,
    }
}

/// `a(stt)`: key, span, when it is due next.
fn monotonic(live: &Live) -> Value {
    let of = Type::Struct(vec![Type::Basic(b's'), Type::Basic(b't'), Type::Basic(b't')]);
    let mut rows = Vec::new();
    for setting in live.rest.unit.settings.iter().filter(|s| s.section == "Timer") {
        let Some(stem) = setting.key.strip_suffix("Sec").filter(|stem| stem.starts_with("On")) else { continue };
        let Said::Span(span) = &setting.value else { continue };
        let micros = if let Span::Micros(micros) = span { *micros } else { u64::MAX };
        rows.push(Value::Struct(vec![Value::text(format!("{stem}USec")), Value::Uint64(micros), Value::Uint64(0)]));
    }
    Value::Array(of, rows)
}

/// `a(sst)`: key, expression, when it is due next.
fn calendar(live: &Live) -> Value {
    let of = Type::Struct(vec![Type::Basic(b's'), Type::Basic(b's'), Type::Basic(b't')]);
    let mut rows = Vec::new();
    for setting in live.rest.unit.settings.of("Timer", "OnCalendar") {
        let Said::Calendar(calendar) = &setting.value else { continue };
        rows.push(Value::Struct(vec![Value::text("OnCalendar"), Value::text(calendar.to_string()), Value::Uint64(0)]));
    }
    Value::Array(of, rows)
}
