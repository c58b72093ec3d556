//! Object paths: names of units and numbers of jobs in the alphabet that D-Bus allows.

/// The manager itself.
pub const MANAGER: &str = "/org/freedesktop/systemd1";
const UNITS: &str = "/org/freedesktop/systemd1/unit/";
const JOBS: &str = "/org/freedesktop/systemd1/job/";

const LOG: &str = "/org/freedesktop/LogControl1";

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Object {
    /// The manager.
    Manager,
    /// A unit of this name, which may be none.
    Unit(String),
    /// A job.
    Job(u32),
    /// How the manager logs.
    Log,
    /// Above one of those: only to be looked at.
    Above,
    /// Nothing.
    None,
}

/// The path of a unit.
pub fn unit(name: &str) -> String {
    let mut out = String::with_capacity(UNITS.len() + name.len() + 8);
    out.push_str(UNITS);
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || byte.is_ascii_digit() && at > 0 {
            out.push(char::from(byte));
        } else {
            out.push('_');
            for half in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
            }
        }
    }
    out
}

/// The path of a job; 0 is none.
pub(super) fn job(id: u32) -> String {
    if id == 0 { "/".to_owned() } else { format!("{JOBS}{id}") }
}

/// What a path means.
pub(super) fn object(path: &str) -> Object {
    if path == MANAGER {
        return Object::Manager;
    }
    if path == LOG {
        return Object::Log;
    }
    if let Some(label) = path.strip_prefix(UNITS) {
        return unescape(label).map_or(Object::None, Object::Unit);
    }
    if let Some(id) = path.strip_prefix(JOBS) {
        return id.parse().map_or(Object::None, Object::Job);
    }
    let above = |known: &str| !path.is_empty() && known.strip_prefix(path).is_some_and(|rest| path == "/" || rest.starts_with('/'));
    if above(UNITS) || above(JOBS) { Object::Above } else { Object::None }
}

fn unescape(label: &str) -> Option<String> {
    let mut out = Vec::with_capacity(label.len());
    let mut bytes = label.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'_' => {
                let mut half = || char::from(bytes.next()?).to_digit(16).and_then(|d| u8::try_from(d).ok());
                half()? << 4 | half()?
            }
            _ if byte.is_ascii_alphanumeric() => byte,
            _ => return None,
        });
    }
    String::from_utf8(out).ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_units_come_back() {
        for name in ["a.service", "1a.service", "foo@bar-b\\x20.service", "-.slice", "dev-null.device"] {
            assert_eq!(object(&unit(name)), Object::Unit(name.to_owned()), "{name}");
        }
        assert_eq!(unit("-.slice"), "/org/freedesktop/systemd1/unit/_2d_2eslice");
        assert_eq!(object(&job(7)), Object::Job(7));
        for path in ["/", "/org", "/org/freedesktop/systemd1/unit"] {
            assert_eq!(object(path), Object::Above, "{path}");
        }
        for path in [
            "",
            "/o",
            "/org/freedesktop/systemd1/unit/",
            "/org/freedesktop/systemd1/unit/a.b",
            "/org/freedesktop/systemd1/unit/_2",
            "/org/freedesktop/systemd1/job/x",
            "/org/freedesktop/systemd1/unit/_ff",
        ] {
            assert_eq!(object(path), Object::None, "{path}");
        }
    }
}
