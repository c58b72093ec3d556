//! Units that live as long as they run: `systemd-run`. Properties become a unit file below /run, which is then started.

use hostel_ipc::dbus::Value;
use hostel_unit::{Kind, quote};

use super::call::{Arguments, Context, Outcome, make_job, unit_name};
use super::fault::Fault;
use super::path;
use crate::load::LoadState;
use crate::manager::Manager;
use crate::manager::query::Request;
use crate::manager::state::Active;
use crate::transaction::JobType;

const DIRECTORY: &str = "/run/systemd/transient";
/// Longest unit file that is made, in bytes.
const TEXT_MAX: usize = 64 << 10;

/// Makes the unit and starts it.
pub(super) fn start(manager: &mut Manager, a: &Arguments) -> Outcome {
    let name = unit_name(a.text(0))?;
    if name.kind() != Kind::Service {
        return Err(Fault::unsupported("StartTransientUnit", "of transient units only services are implemented yet"));
    }
    let others = matches!(a.0.get(3), Some(Value::Array(_, others)) if !others.is_empty());
    if others {
        return Err(Fault::unsupported("StartTransientUnit", "auxiliary units are not implemented yet"));
    }
    let text = file(a)?;
    sweep(manager);
    let taken = manager.unit(&name).is_some_and(|live| live.rest.unit.state != LoadState::NotFound || live.job.is_some());
    let file_path = format!("{DIRECTORY}/{name}");
    let root = manager.root();
    if taken || manager.fresh_catalogue().map_err(Fault::failed)?.has(name.as_str()) {
        return Err(Fault::systemd("UnitExists", format!("Unit {name} already exists.")));
    }
    let failed = |e: crate::root::RootError| Fault::failed(e.to_string());
    root.make_directories(DIRECTORY).map_err(failed)?;
    root.write(&file_path, text.as_bytes()).map_err(failed)?;
    let begun =
        manager.wish(Request::Reload).map_err(Fault::failed).and_then(|()| make_job(manager, &Context::default(), &name, JobType::Start, a.text(1)));
    match begun {
        Ok(id) => Ok(vec![Value::Path(path::job(id))]),
        Err(fault) => {
            let _ = root.unlink(&file_path);
            let _ = manager.wish(Request::Reload);
            Err(fault)
        }
    }
}

/// Takes away files of transient units that have ended; those that failed stay until that is forgotten.
fn sweep(manager: &mut Manager) {
    let forgets = |live: &crate::manager::live::Live| live.rest.unit.settings.text("Unit", "CollectMode") == Some("inactive-or-failed");
    let is_over = |live: &&crate::manager::live::Live| {
        live.job.is_none() && (live.active() == Active::Inactive || live.active() == Active::Failed && forgets(live))
    };
    let files = manager.lives().filter(is_over).filter_map(|live| live.rest.unit.fragment.clone());
    let files: Vec<String> = files.filter(|path| path.starts_with(DIRECTORY)).collect();
    let root = manager.root();
    let mut any = false;
    for path in files {
        any |= root.unlink(&path).is_ok();
    }
    if any {
        let _ = manager.wish(Request::Reload);
    }
}

/// The unit file of these properties.
fn file(a: &Arguments) -> Result<String, Fault> {
    let (mut unit, mut service) = (String::from("[Unit]\n"), String::from("[Service]\n"));
    let Some(Value::Array(_, properties)) = a.0.get(2) else { return Err(Fault::invalid("There are no properties.")) };
    for property in properties {
        let Value::Struct(pair) = property else { continue };
        let (Some(name), Some(Value::Variant(value))) = (pair.first().and_then(Value::as_text), pair.get(1)) else { continue };
        // nobody counts who refers to a unit here
        if name == "AddRef" {
            continue;
        }
        let (is_service, lines) = lines(name, value).ok_or_else(|| Fault::unsupported(name, "a transient unit cannot have this property yet"))?;
        if is_service { &mut service } else { &mut unit }.push_str(&lines);
        if unit.len() + service.len() > TEXT_MAX {
            return Err(Fault::invalid("The properties are too long."));
        }
    }
    Ok(format!("{unit}{service}"))
}

/// Properties as assignments, for a unit that is there.
pub(super) fn assignments(properties: Option<&Value>) -> Result<Vec<String>, Fault> {
    let Some(Value::Array(_, properties)) = properties else { return Err(Fault::invalid("There are no properties.")) };
    let mut out = Vec::new();
    for property in properties {
        let Value::Struct(pair) = property else { continue };
        let (Some(name), Some(Value::Variant(value))) = (pair.first().and_then(Value::as_text), pair.get(1)) else { continue };
        let text = match (name, &**value) {
            // a second's worth is a hundred per cent
            ("CPUQuotaPerSecUSec", Value::Uint64(u64::MAX)) => "CPUQuota=".to_owned(),
            ("CPUQuotaPerSecUSec", Value::Uint64(micros)) => format!("CPUQuota={}%", micros / 10_000),
            (_, value) => {
                let unknown = || Fault::dbus("PropertyReadOnly", format!("Cannot set property {name}, or unknown property."));
                let (_, line) = lines(name, value).ok_or_else(unknown)?;
                line.trim_end().replace("%%", "%")
            }
        };
        out.push(text);
    }
    Ok(out)
}

/// One property as lines of a unit file, and whether of [Service] or [Unit]; `None`: it cannot be one.
fn lines(name: &str, value: &Value) -> Option<(bool, String)> {
    if let "ExecStart" | "ExecStartEx" | "ExecStartPre" | "ExecStartPost" | "ExecStop" | "ExecStopPost" | "ExecReload" = name {
        return Some((true, commands(name.trim_end_matches("Ex"), value)?));
    }
    let (key, text) = match value {
        Value::Uint64(micros) if name.ends_with("USec") => {
            let text = if *micros == u64::MAX { "infinity".to_owned() } else { format!("{micros}us") };
            (name.replace("USec", "Sec"), text)
        }
        _ => (name.to_owned(), plain(name, value)?),
    };
    let is_service = crate::keys::shape("Service", &key).is_some();
    (is_service || crate::keys::shape("Unit", &key).is_some()).then(|| (is_service, format!("{key}={text}\n")))
}

/// Text for one line: percent signs are no specifiers in it, and nothing ends it early.
fn line(text: &str) -> Option<String> {
    (!text.contains(['\n', '\0', '\r']) && !text.ends_with('\\')).then(|| text.replace('%', "%%"))
}

fn plain(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => line(text),
        Value::Bool(is) => Some(if *is { "yes" } else { "no" }.to_owned()),
        Value::Uint32(n) if name.ends_with("Mode") => Some(format!("{n:04o}")),
        Value::Uint32(n) => Some(n.to_string()),
        Value::Int32(n) => Some(n.to_string()),
        Value::Uint64(u64::MAX) => Some("infinity".to_owned()),
        Value::Uint64(n) => Some(n.to_string()),
        Value::Array(_, items) => {
            let words: Option<Vec<String>> = items.iter().map(|item| line(&quote(item.as_text()?))).collect();
            Some(words?.join(" "))
        }
        _ => None,
    }
}

/// `a(sasb)` and `a(sasas)`.
fn commands(key: &str, value: &Value) -> Option<String> {
    let Value::Array(_, rows) = value else { return None };
    let mut out = String::new();
    for row in rows {
        let Value::Struct(fields) = row else { return None };
        let program = fields.first()?.as_text()?;
        let Some(Value::Array(_, argv)) = fields.get(1) else { return None };
        let mut prefix = String::new();
        match fields.get(2)? {
            Value::Bool(ignore) => prefix.push_str(if *ignore { "-" } else { "" }),
            Value::Array(_, flags) => {
                for flag in flags {
                    prefix.push_str(match flag.as_text()? {
                        "ignore-failure" => "-",
                        "no-env-expand" => ":",
                        "privileged" => "+",
                        "no-setuid" => "!",
                        "ambient" => "!!",
                        _ => return None,
                    });
                }
            }
            _ => return None,
        }
        let argv: Option<Vec<&str>> = argv.iter().map(Value::as_text).collect();
        let argv = argv?;
        let mut words = Vec::new();
        if argv.first().is_some_and(|first| *first != program) {
            prefix.push('@');
            words.extend(argv.iter());
        } else {
            words.extend(argv.iter().skip(1));
        }
        let words: Option<Vec<String>> = words.into_iter().map(|word| line(&escaped(word))).collect();
        let program = line(program).filter(|text| !text.contains(char::is_whitespace))?;
        out.push_str(&format!("{key}={prefix}{program} {}\n", words?.join(" ")));
    }
    Some(out)
}

/// A word in double quotes, whatever is in it.
fn escaped(word: &str) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use hostel_ipc::dbus::Type;

    use super::*;

    #[test]
    fn properties_become_lines() {
        let argv = |words: &[&str]| Value::texts(words);
        let of = Type::Struct(vec![Type::Basic(b's'), Type::Array(Box::new(Type::Basic(b's'))), Type::Basic(b'b')]);
        let exec = |program: &str, words: &[&str]| {
            Value::Array(of.clone(), vec![Value::Struct(vec![Value::text(program), argv(words), Value::Bool(false)])])
        };
        let run = |value: &Value| lines("ExecStart", value);
        assert_eq!(
            run(&exec("/bin/a", &["/bin/a", "b c", "100%", "\"q\"\n"])).unwrap(),
            (true, "ExecStart=/bin/a \"b c\" \"100%%\" \"\\\"q\\\"\\n\"\n".to_owned())
        );
        assert_eq!(run(&exec("/bin/a", &["x"])).unwrap(), (true, "ExecStart=@/bin/a \"x\"\n".to_owned()));
        assert_eq!(run(&exec("/bin/a b", &["x"])), None);
        assert_eq!(lines("TimeoutStopUSec", &Value::Uint64(5)).unwrap(), (true, "TimeoutStopSec=5us\n".to_owned()));
        assert_eq!(lines("User", &Value::text("a\nExecStart=/bin/evil")), None);
        assert_eq!(lines("NoSuchKey", &Value::text("a")), None);
        assert_eq!(lines("RemainAfterExit", &Value::Bool(true)).unwrap(), (true, "RemainAfterExit=yes\n".to_owned()));
        let pair = |name: &str, value: Value| Value::Struct(vec![Value::text(name), value.boxed()]);
        let of = Type::single("(sv)").unwrap();
        let limits = Value::Array(of, vec![pair("CPUQuotaPerSecUSec", Value::Uint64(500_000)), pair("MemoryMax", Value::Uint64(u64::MAX))]);
        assert_eq!(assignments(Some(&limits)).unwrap(), ["CPUQuota=50%", "MemoryMax=infinity"]);
        // each goes to its own section
        assert_eq!(lines("SuccessAction", &Value::text("exit")).unwrap(), (false, "SuccessAction=exit\n".to_owned()));
    }
}
