//! `show` of what runs: properties as PID 1 has them on its private bus, in systemd's words and order.

use std::path::Path;
use std::time::Duration;

use hostel_init::bus::path;
use hostel_ipc::dbus::{Connection, SYSTEMD_PRIVATE, Value};
use hostel_unit::{UnitName, show_span};

use super::status::stamp;

const LIMIT: Duration = Duration::from_secs(25);

/// PID 1's private bus; `None`: no PID 1 answers there.
pub(super) fn connect() -> Option<Connection> {
    Connection::peer(Path::new(SYSTEMD_PRIVATE), LIMIT).ok()
}

/// Properties of a unit, or of the manager itself; `None`: they are not had.
pub(super) fn of(bus: &mut Connection, unit: Option<&UnitName>) -> Option<Vec<(String, Value)>> {
    let path = unit.map_or_else(|| path::MANAGER.to_owned(), |name| path::unit(name.as_str()));
    let answer = bus.call(None, &path, "org.freedesktop.DBus.Properties", "GetAll", vec![Value::text("")]).ok()?;
    let Some(Value::Array(_, entries)) = answer.into_iter().next() else { return None };
    let pair = |entry| match entry {
        Value::Entry(entry) => match *entry {
            (Value::String(name), Value::Variant(value)) => Some((name, *value)),
            _ => None,
        },
        _ => None,
    };
    Some(entries.into_iter().filter_map(pair).collect())
}

/// The unit that a process belongs to.
pub(super) fn unit_of(pid: u32) -> Option<String> {
    let mut bus = connect()?;
    let path = match bus.call(None, path::MANAGER, "org.freedesktop.systemd1.Manager", "GetUnitByPID", vec![Value::Uint32(pid)]).ok()?.pop()? {
        Value::Path(path) => path,
        _ => return None,
    };
    let asked = vec![Value::text("org.freedesktop.systemd1.Unit"), Value::text("Id")];
    match bus.call(None, &path, "org.freedesktop.DBus.Properties", "Get", asked).ok()?.pop()? {
        Value::Variant(id) => id.as_text().map(str::to_owned),
        _ => None,
    }
}

/// Lines of a property: most have one, lists of things have one for each. `None`: it has no text.
pub(super) fn lines(name: &str, value: &Value) -> Option<Vec<String>> {
    Some(match value {
        Value::String(text) | Value::Path(text) | Value::Signature(text) => vec![text.replace('\n', "\\n")],
        Value::Bool(yes) => vec![if *yes { "yes" } else { "no" }.to_owned()],
        Value::Uint64(number) => vec![wide(name, *number)],
        Value::Uint32(number) if name.ends_with("Mode") || name == "UMask" => vec![format!("{number:04o}")],
        Value::Uint32(number) if *number == u32::MAX && (name == "UID" || name == "GID") => vec!["[not set]".to_owned()],
        Value::Uint32(number) => vec![number.to_string()],
        Value::Int32(number) => vec![number.to_string()],
        Value::Int64(number) => vec![number.to_string()],
        Value::Double(number) => vec![number.to_string()],
        Value::Bytes(bytes) if name == "InvocationID" => vec![bytes.iter().map(|b| format!("{b:02x}")).collect()],
        Value::Bytes(_) => vec![String::new()],
        Value::Array(_, items) if items.iter().all(|item| item.as_text().is_some()) && !items.is_empty() => {
            let quoted = matches!(name, "Environment" | "PassEnvironment" | "UnsetEnvironment");
            let word = |item: &Value| item.as_text().map(|text| if quoted { hostel_unit::quote(text) } else { text.to_owned() });
            vec![items.iter().filter_map(word).collect::<Vec<_>>().join(" ")]
        }
        Value::Array(_, items) => items.iter().filter_map(|item| if let Value::Struct(fields) = item { row(name, fields) } else { None }).collect(),
        Value::Struct(fields) => match (name, fields.as_slice()) {
            ("LoadError", [Value::String(error), Value::String(text)]) if !error.is_empty() => vec![format!("{error} \"{text}\"")],
            ("Job", [Value::Uint32(id), ..]) if *id != 0 => vec![id.to_string()],
            (_, [Value::Bool(allow), Value::Array(_, words)]) => {
                let list: Vec<&str> = words.iter().filter_map(Value::as_text).collect();
                vec![format!("{}{}", if *allow || list.is_empty() { "" } else { "~" }, list.join(" "))]
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// A number of 64 bits, which may be a moment, a span, bytes, or nothing.
fn wide(name: &str, number: u64) -> String {
    let counted = matches!(
        name,
        "MemoryCurrent"
            | "MemoryAvailable"
            | "TasksCurrent"
            | "CPUUsageNSec"
            | "CPUWeight"
            | "StartupCPUWeight"
            | "CPUShares"
            | "StartupCPUShares"
            | "IOWeight"
            | "StartupIOWeight"
            | "BlockIOWeight"
            | "StartupBlockIOWeight"
    );
    let is_moment = name.ends_with("Timestamp") || matches!(name, "NextElapseUSecRealtime" | "LastTriggerUSec");
    match number {
        u64::MAX if counted || name.starts_with("IORead") || name.starts_with("IOWrite") => "[not set]".to_owned(),
        u64::MAX if name.starts_with("IPIngress") || name.starts_with("IPEgress") => "[no data]".to_owned(),
        0 | u64::MAX if is_moment => String::new(),
        _ if is_moment => stamp(&number.to_string()),
        _ if name.ends_with("Monotonic") && !name.starts_with("NextElapse") => number.to_string(),
        u64::MAX
            if name.contains("USec")
                || name.starts_with("Limit")
                || name.starts_with("Memory")
                || name.ends_with("Max")
                || name.starts_with("DefaultLimit") =>
        {
            "infinity".to_owned()
        }
        _ if name.contains("USec") => show_span(number, 1),
        _ if name == "CapabilityBoundingSet" || name == "AmbientCapabilities" => {
            let names = hostel_spec::CapSet(number).iter().map(|cap| cap.name().to_ascii_lowercase());
            names.collect::<Vec<_>>().join(" ")
        }
        _ => number.to_string(),
    }
}

/// `15/TERM`
fn signal(number: i32) -> String {
    let name = hostel_spec::Signal::from_raw(number).map(hostel_spec::Signal::name).unwrap_or_default();
    format!("{number}/{}", name.trim_start_matches("SIG"))
}

/// One of several things.
fn row(name: &str, fields: &[Value]) -> Option<String> {
    let text = |at: usize| fields.get(at).and_then(Value::as_text).unwrap_or_default();
    let due = |at: usize| match fields.get(at) {
        Some(Value::Uint64(0 | u64::MAX)) | None => "n/a".to_owned(),
        Some(Value::Uint64(micros)) if name == "TimersCalendar" => stamp(&micros.to_string()),
        Some(Value::Uint64(micros)) => show_span(*micros, 1),
        _ => String::new(),
    };
    Some(match (name, fields) {
        ("Listen", _) => format!("{} ({})", text(1), text(0)),
        ("Paths", _) => format!("{} ({})", text(1), text(0)),
        ("TimersCalendar", _) => format!("{{ {}={} ; next_elapse={} }}", text(0), text(1), due(2)),
        ("TimersMonotonic", [_, Value::Uint64(span), ..]) => format!("{{ {}={} ; next_elapse={} }}", text(0), show_span(*span, 1), due(2)),
        ("EnvironmentFiles", [_, Value::Bool(optional)]) => format!("{} (ignore_errors={})", text(0), if *optional { "yes" } else { "no" }),
        (
            _,
            [
                Value::String(program),
                Value::Array(_, argv),
                third,
                Value::Uint64(began),
                _,
                Value::Uint64(ended),
                _,
                Value::Uint32(pid),
                Value::Int32(code),
                Value::Int32(status),
            ],
        ) => {
            let argv: Vec<&str> = argv.iter().filter_map(Value::as_text).collect();
            let flags = match third {
                Value::Bool(ignore) => format!("ignore_errors={}", if *ignore { "yes" } else { "no" }),
                Value::Array(_, words) => format!("flags={}", words.iter().filter_map(Value::as_text).collect::<Vec<_>>().join(" ")),
                _ => String::new(),
            };
            let at = |micros: u64| if micros == 0 { "n/a".to_owned() } else { stamp(&micros.to_string()) };
            let (word, end) = match code {
                1 => ("exited", status.to_string()),
                2 | 3 => (if *code == 2 { "killed" } else { "dumped" }, signal(*status)),
                _ => ("(null)", "0/0".to_owned()),
            };
            format!(
                "{{ path={program} ; argv[]={} ; {flags} ; start_time=[{}] ; stop_time=[{}] ; pid={pid} ; code={word} ; status={end} }}",
                argv.join(" "),
                at(*began),
                at(*ended)
            )
        }
        _ => return None,
    })
}
