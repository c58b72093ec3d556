//! Values of properties that are a setting of a file: the same name, or that with another unit of time.

use hostel_ipc::dbus::{Type, Value};
use hostel_unit::Span;

use super::table::{Property, number};
use crate::manager::live::Live;
use crate::value::{Memory, Value as Said};

/// What the unit's files say, as the property's type; nothing when they do not, or in a way that has no such type.
pub(super) fn setting(live: &Live, interface: &str, property: &Property) -> Option<Value> {
    let settings = &live.rest.unit.settings;
    let name = property.name;
    let soft = name.strip_suffix("Soft").filter(|stem| stem.starts_with("Limit"));
    let seconds = name.strip_suffix("USec").map(|stem| format!("{stem}Sec"));
    let key = soft.or(seconds.as_deref()).unwrap_or(name);
    let last = settings.last(interface, key)?;
    let of = Type::single(property.signature).ok()?;
    match (&of, last) {
        (Type::Basic(b's'), Said::Text(text)) => Some(Value::text(text.as_str())),
        (Type::Basic(b's'), Said::Units(units)) => Some(Value::text(units.last()?.as_str())),
        (Type::Basic(b's'), _) => Some(Value::text(settings.of(interface, key).next_back()?.text())),
        (Type::Basic(code), said) => whole(said, soft.is_some()).map(|n| number(*code, n)),
        (Type::Array(item), _) if **item == Type::Basic(b's') => Some(list(live, interface, key)),
        (Type::Struct(fields), Said::Words(_) | Said::Text(_)) if property.signature == "(bas)" && fields.len() == 2 => {
            Some(filter(live, interface, key))
        }
        (Type::Struct(_), Said::Statuses(_)) if property.signature == "(aiai)" => Some(statuses(live, interface, key)),
        _ => None,
    }
}

fn whole(said: &Said, soft: bool) -> Option<i128> {
    let limit = |text: &str| if text == "infinity" { i128::from(u64::MAX) } else { text.parse().unwrap_or(i128::from(u64::MAX)) };
    Some(match said {
        Said::Bool(is) => i128::from(*is),
        Said::Number(number) => i128::from(*number),
        Said::Span(Span::Micros(micros)) => i128::from(*micros),
        Said::Span(Span::Infinity) | Said::Memory(Memory::Infinity) => i128::from(u64::MAX),
        Said::Memory(Memory::Bytes(bytes)) => i128::from(*bytes),
        Said::Signal(signal) => i128::from(signal.raw()),
        Said::FileMode(mode) => i128::from(*mode),
        Said::Rlimit(both) => limit(if soft { &both.0 } else { &both.1 }),
        Said::Text(text) => text.parse().ok()?,
        _ => return None,
    })
}

fn words(live: &Live, interface: &str, key: &str) -> Vec<String> {
    let mut out = Vec::new();
    for setting in live.rest.unit.settings.of(interface, key) {
        match &setting.value {
            Said::Words(words) => out.extend(words.iter().cloned()),
            Said::Text(text) => out.extend(text.split_ascii_whitespace().map(str::to_owned)),
            Said::Units(units) => out.extend(units.iter().map(|unit| unit.to_string())),
            _ => {}
        }
    }
    out
}

fn list(live: &Live, interface: &str, key: &str) -> Value {
    Value::texts(words(live, interface, key))
}

/// `(bas)`: whether it is a list of what is allowed, and the list; groups of calls keep their name.
fn filter(live: &Live, interface: &str, key: &str) -> Value {
    let mut list = words(live, interface, key);
    let denies = list.first().is_some_and(|first| first.starts_with('~'));
    for word in &mut list {
        *word = word.trim_start_matches('~').to_owned();
    }
    Value::Struct(vec![Value::Bool(!denies), Value::texts(list)])
}

/// `(aiai)`: exit statuses and signals.
fn statuses(live: &Live, interface: &str, key: &str) -> Value {
    let (mut codes, mut signals) = (Vec::new(), Vec::new());
    for setting in live.rest.unit.settings.of(interface, key) {
        let Said::Statuses(list) = &setting.value else { continue };
        for status in list {
            match status {
                crate::value::Status::Exit(code) => codes.push(Value::Int32(i32::from(*code))),
                crate::value::Status::Signal(signal) => signals.push(Value::Int32(signal.raw())),
            }
        }
    }
    let numbers = |list| Value::Array(Type::Basic(b'i'), list);
    Value::Struct(vec![numbers(codes), numbers(signals)])
}
