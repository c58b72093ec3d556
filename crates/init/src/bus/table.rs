//! Every property of systemd 252's objects: its interface, name, type, and value where nothing sets it.
//!
//! Clients read most of them with GetAll and complain of those that are missing. The table is text: a line is
//! `NAME TYPE [VALUE]`, `-` for the greatest number; a `[GROUP]` begins an interface, or what several have in common.
//! Source: GetAll answered by systemd 252 of Debian 12 in systemd-nspawn.

use hostel_ipc::dbus::{Type, Value};

const TABLE: &str = include_str!("properties.txt");

/// One property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// Its signature.
    pub signature: &'static str,
    /// Its value where nothing says another one, as text.
    pub usual: &'static str,
}

impl Property {
    /// The value where nothing says another one.
    pub fn usual(&self) -> Value {
        Type::single(self.signature).map_or_else(|_| Value::text(""), |of| value(&of, &mut self.usual.split(' ').filter(|word| !word.is_empty())))
    }
}

/// Groups of an interface, by the last part of its name: what it has itself, and in common with others.
pub fn groups(interface: &str) -> &'static [&'static str] {
    match interface {
        "Manager" => &["Manager"],
        "LogControl1" => &["LogControl1"],
        "Unit" => &["Unit"],
        "Service" => &["Service", "Cgroup", "Exec", "Kill"],
        "Socket" => &["Socket", "Cgroup", "Exec", "Kill"],
        "Mount" => &["Mount", "Cgroup", "Exec", "Kill"],
        "Swap" => &["Swap", "Cgroup", "Exec", "Kill"],
        "Scope" => &["Scope", "Cgroup", "Kill"],
        "Slice" => &["Cgroup"],
        "Timer" => &["Timer"],
        "Path" => &["Path"],
        "Automount" => &["Automount"],
        "Device" => &["Device"],
        _ => &[],
    }
}

/// Properties of an interface, in systemd's order.
pub fn properties(interface: &str) -> impl Iterator<Item = Property> {
    groups(interface).iter().flat_map(|group| of_group(group))
}

fn of_group(group: &str) -> impl Iterator<Item = Property> + use<> {
    let head = TABLE.split("\n[").find_map(|part| {
        let (name, lines) = part.trim_start_matches('[').split_once("]\n")?;
        (name == group).then_some(lines)
    });
    head.unwrap_or_default().lines().filter_map(|line| {
        let (name, rest) = line.split_once(' ')?;
        let (signature, usual) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Property { name, signature, usual })
    })
}

/// A value of a type from words; what is missing is 0, empty or false.
fn value(of: &Type, words: &mut dyn Iterator<Item = &'static str>) -> Value {
    match of {
        Type::Basic(code) => basic(*code, words),
        Type::Array(item) => match **item {
            Type::Basic(b'y') => Value::Bytes(words.filter_map(|word| word.parse().ok()).collect()),
            Type::Basic(b's') => Value::texts(words),
            ref other => Value::Array(other.clone(), Vec::new()),
        },
        Type::Struct(fields) => Value::Struct(fields.iter().map(|field| value(field, words)).collect()),
        Type::Variant | Type::Entry(_) => Value::text("").boxed(),
    }
}

fn basic(code: u8, words: &mut dyn Iterator<Item = &'static str>) -> Value {
    if matches!(code, b's' | b'o') {
        let text = words.collect::<Vec<_>>().join(" ");
        return if code == b's' { Value::text(text) } else { Value::Path(if text.is_empty() { "/".to_owned() } else { text }) };
    }
    let word = words.next().unwrap_or("0");
    number(code, if word == "-" { i128::from(u64::MAX) } else { word.parse().unwrap_or(0) })
}

/// A number of a basic type; one that does not fit is the greatest.
pub fn number(code: u8, number: i128) -> Value {
    match code {
        b'y' => Value::Byte(u8::try_from(number).unwrap_or(u8::MAX)),
        b'b' => Value::Bool(number != 0),
        b'n' => Value::Int16(i16::try_from(number).unwrap_or(i16::MAX)),
        b'q' => Value::Uint16(u16::try_from(number).unwrap_or(u16::MAX)),
        b'i' => Value::Int32(i32::try_from(number).unwrap_or(i32::MAX)),
        b'u' => Value::Uint32(u32::try_from(number).unwrap_or(u32::MAX)),
        b'x' => Value::Int64(i64::try_from(number).unwrap_or(i64::MAX)),
        b'd' => Value::Double(0.0),
        _ => Value::Uint64(u64::try_from(number).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(interface: &str, name: &str) -> Option<Property> {
        properties(interface).find(|property| property.name == name)
    }

    #[test]
    fn every_line_has_a_type_and_a_value_of_it() {
        let mut count = 0;
        for interface in ["Manager", "Unit", "Service", "Socket", "Mount", "Swap", "Scope", "Slice", "Timer", "Path", "Automount", "Device"] {
            for property in properties(interface) {
                count += 1;
                let of = Type::single(property.signature).unwrap();
                assert_eq!(property.usual().of(), of, "{interface}.{}", property.name);
            }
        }
        assert!(count > 1500, "{count}");
        assert_eq!(property("Service", "TimeoutStopUSec").unwrap().usual(), Value::Uint64(90_000_000));
        assert_eq!(property("Service", "LimitCPU").unwrap().usual(), Value::Uint64(u64::MAX));
        assert_eq!(property("Unit", "Job").unwrap().usual(), Value::Struct(vec![Value::Uint32(0), Value::Path("/".into())]));
        assert_eq!(property("Unit", "FailureActionExitStatus").unwrap().usual(), Value::Int32(-1));
        assert_eq!(property("Target", "X"), None);
        assert_eq!(properties("Service").count(), 303);
        assert_eq!(properties("Unit").count(), 98);
    }
}
