//! Get and GetAll of every object.

use hostel_ipc::dbus::{Type, Value};
use hostel_unit::UnitName;

use super::call::Outcome;
use super::fault::Fault;
use super::path::{self, Object};
use super::{manager as of_manager, table, unit};
use crate::manager::Manager;

/// Interfaces of an object, by the last parts of their names.
pub(super) fn interfaces(object: &Object) -> Vec<&'static str> {
    match object {
        Object::Manager => vec!["Manager"],
        Object::Unit(name) => match UnitName::parse(name) {
            Ok(name) => vec!["Unit", unit::interface(name.kind())],
            Err(_) => Vec::new(),
        },
        Object::Job(_) => vec!["Job"],
        Object::Log => vec!["LogControl1"],
        Object::Above | Object::None => Vec::new(),
    }
}

fn dictionary(pairs: Vec<(&'static str, Value)>) -> Value {
    let of = Type::Entry(Box::new((Type::Basic(b's'), Type::Variant)));
    Value::Array(of, pairs.into_iter().map(|(name, value)| Value::Entry(Box::new((Value::text(name), value.boxed())))).collect())
}

/// Calls `each` with every property of the wanted interface, or of all.
fn each(manager: &Manager, object: &Object, wanted: &str, only: Option<&str>, each: &mut dyn FnMut(&'static str, Value)) {
    let interfaces = interfaces(object).into_iter().filter(|own| wanted.is_empty() || *own == wanted);
    match object {
        Object::Manager => {
            for property in table::properties("Manager").filter(|p| only.is_none_or(|name| name == p.name)) {
                each(property.name, of_manager::value(manager, &property));
            }
        }
        Object::Unit(name) => {
            let Ok(name) = UnitName::parse(name) else { return };
            let looked_up = if manager.unit(&name).is_some() { None } else { Some(manager.look_up(&name)) };
            let Some(live) = manager.unit(&name).or(looked_up.as_ref()) else { return };
            // as systemd: what its kind has comes before what every unit has
            for interface in interfaces.rev() {
                for property in table::properties(interface).filter(|p| only.is_none_or(|name| name == p.name)) {
                    each(property.name, unit::value(manager, live, interface, &property));
                }
            }
        }
        Object::Job(id) => {
            for (name, value) in of_job(manager, *id).into_iter().filter(|(own, _)| only.is_none_or(|name| name == *own)) {
                each(name, value);
            }
        }
        Object::Log => {
            for property in table::properties("LogControl1").filter(|p| only.is_none_or(|name| name == p.name)) {
                each(property.name, property.usual());
            }
        }
        Object::Above | Object::None => {}
    }
}

fn of_job(manager: &Manager, id: u32) -> Vec<(&'static str, Value)> {
    let Some(job) = manager.job_of(id) else { return Vec::new() };
    let unit = Value::Struct(vec![Value::text(job.unit.as_str()), Value::Path(path::unit(job.unit.as_str()))]);
    let pair = Type::Struct(vec![Type::Basic(b's'), Type::Basic(b's')]);
    vec![
        ("Id", Value::Uint32(id)),
        ("Unit", unit),
        ("JobType", Value::text(job.kind.word())),
        ("State", Value::text(if job.running { "running" } else { "waiting" })),
        ("ActivationDetails", Value::Array(pair, Vec::new())),
    ]
}

/// The last part of an interface's name that the object has; empty: of all.
fn own<'i>(object: &Object, interface: &'i str) -> Result<&'i str, Fault> {
    if let Object::Unit(name) = object
        && UnitName::parse(name).is_ok_and(|name| name.is_template())
    {
        return Err(Fault::invalid(format!("Unit name {name} is neither a valid invocation ID nor unit name.")));
    }
    if interface.is_empty() {
        return Ok("");
    }
    let short = interface
        .strip_prefix("org.freedesktop.systemd1.")
        .or(interface.strip_prefix("org.freedesktop."))
        .filter(|short| interfaces(object).contains(short));
    short.ok_or_else(|| Fault::dbus("UnknownInterface", format!("Unknown interface '{interface}'.")))
}

/// One property.
pub(super) fn get(manager: &Manager, object: &Object, interface: &str, name: &str) -> Outcome {
    let short = own(object, interface)?;
    let mut found = None;
    each(manager, object, short, Some(name), &mut |_, value| found = Some(value));
    let unknown = || Fault::dbus("UnknownProperty", format!("Unknown interface {interface} or property {name}."));
    found.map(|value| vec![value.boxed()]).ok_or_else(unknown)
}

/// All of them.
pub(super) fn all(manager: &Manager, object: &Object, interface: &str) -> Outcome {
    // what every object has has no properties
    let short = if interface.starts_with("org.freedesktop.DBus.") { "-" } else { own(object, interface)? };
    let mut found = Vec::new();
    each(manager, object, short, None, &mut |name, value| found.push((name, value)));
    Ok(vec![dictionary(found)])
}

/// What of a unit changes while it runs, as PropertiesChanged has it.
pub(super) fn changed(manager: &Manager, name: &UnitName, interface: &'static str) -> Option<Vec<Value>> {
    const UNIT: &[&str] = &[
        "ActiveState",
        "SubState",
        "StateChangeTimestamp",
        "StateChangeTimestampMonotonic",
        "InactiveExitTimestamp",
        "InactiveExitTimestampMonotonic",
        "ActiveEnterTimestamp",
        "ActiveEnterTimestampMonotonic",
        "ActiveExitTimestamp",
        "ActiveExitTimestampMonotonic",
        "InactiveEnterTimestamp",
        "InactiveEnterTimestampMonotonic",
        "Job",
        "ConditionResult",
        "InvocationID",
    ];
    const SERVICE: &[&str] = &[
        "MainPID",
        "ControlPID",
        "StatusText",
        "StatusErrno",
        "Result",
        "ReloadResult",
        "NRestarts",
        "ExecMainStartTimestamp",
        "ExecMainStartTimestampMonotonic",
        "ExecMainExitTimestamp",
        "ExecMainExitTimestampMonotonic",
        "ExecMainPID",
        "ExecMainCode",
        "ExecMainStatus",
    ];
    let live = manager.unit(name)?;
    let wanted = match interface {
        "Unit" => UNIT,
        "Service" => SERVICE,
        _ => return None,
    };
    let found = table::properties(interface).filter(|p| wanted.contains(&p.name)).map(|p| (p.name, unit::value(manager, live, interface, &p)));
    let found = found.collect();
    Some(vec![Value::text(format!("org.freedesktop.systemd1.{interface}")), dictionary(found), Value::texts::<&str>([])])
}
