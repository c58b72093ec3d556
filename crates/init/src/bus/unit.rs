//! Properties of a unit: from its life, from its files, and what systemd has where neither says anything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hostel_ipc::dbus::{Type, Value};
use hostel_spec::{Arrange as _, RlimitName};
use hostel_unit::{Kind, UnitName};

use super::path;
use super::settings::setting;
use super::table::{Property, number};
use crate::depend::Relation;
use crate::install::Installer;
use crate::load::LoadState;
use crate::manager::Manager;
use crate::manager::config::{NotifyAccess, Step};
use crate::manager::context::FILES_USUAL;
use crate::manager::live::Live;
use crate::manager::query::code;
use crate::manager::service::{Run, Service};
use crate::preset::Presets;

/// The interface of a unit's kind, by the last part of its name.
pub(super) fn interface(kind: Kind) -> &'static str {
    kind.section().unwrap_or(match kind {
        Kind::Device => "Device",
        _ => "Target",
    })
}

/// Name and text of the error that says why a unit cannot be used.
pub(super) fn load_error(live: &Live) -> Option<(&'static str, String)> {
    let unit = live.name();
    Some(match &live.rest.unit.state {
        LoadState::Loaded => return None,
        LoadState::NotFound => ("NoSuchUnit", format!("Unit {unit} not found.")),
        LoadState::Masked => ("UnitMasked", format!("Unit {unit} is masked.")),
        LoadState::BadSetting(_) => ("BadUnitSetting", format!("Unit {unit} has a bad unit file setting.")),
        LoadState::Error(why) => ("LoadFailed", format!("Unit {unit} failed to load: {why}")),
    })
}

/// The value of a property.
pub(super) fn value(manager: &Manager, live: &Live, interface: &str, property: &Property) -> Value {
    let found = match (interface, &live.service) {
        ("Unit", _) => of_unit(manager, live, property.name),
        ("Service", Some(service)) => of_service(manager, live, service, property),
        ("Service", None) => None,
        _ => of_group(manager, live, property.name).or_else(|| super::activation::value(manager, live, property.name)),
    };
    found.or_else(|| setting(live, interface, property)).or_else(|| limit(property.name)).unwrap_or_else(|| property.usual())
}

fn text(text: impl Into<String>) -> Option<Value> {
    Some(Value::String(text.into()))
}

fn micros(at: Option<SystemTime>) -> u64 {
    at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0))
}

/// A time of the clock that does not jump, in microseconds, for one of the clock that people read.
fn monotonic(at: Option<SystemTime>) -> u64 {
    let Some(at) = at else { return 0 };
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
    let ago = SystemTime::now().duration_since(at).unwrap_or_default();
    u64::try_from(now.saturating_sub(ago).as_micros()).unwrap_or(0)
}

/// A moment, by the clock that the property's name says.
pub(super) fn moment(at: Option<SystemTime>, name: &str) -> Value {
    Value::Uint64(if name.ends_with("Monotonic") { monotonic(at) } else { micros(at) })
}

/// What this process itself is limited to, which units inherit: of `LimitNOFILE` or `LimitNOFILESoft`.
pub(super) fn limit(name: &str) -> Option<Value> {
    let (stem, soft) = name.strip_suffix("Soft").map_or((name, false), |stem| (stem, true));
    let stem = stem.strip_prefix("Limit")?;
    let (limit, _) = RlimitName::ALL.iter().find(|(_, word)| *word == stem)?;
    let (least, most) = hostel_sys::proc::get_rlimit(0, *limit as u32).ok()?;
    let mut found = if soft { least } else { most }.unwrap_or(u64::MAX);
    if *limit == RlimitName::Nofile {
        // not this process' own, which are all that it may have
        found = found.min(FILES_USUAL[usize::from(!soft)]);
    }
    Some(Value::Uint64(found))
}

fn some_moment(at: Option<SystemTime>, name: &str) -> Option<Value> {
    Some(moment(at, name))
}

/// Relations from both ends: `(property, what the unit says, what others say of it)`.
#[rustfmt::skip]
const RELATIONS: &[(&str, Option<Relation>, Option<Relation>)] = {
    use Relation::*;
    &[
        ("Requires", Some(Requires), None), ("RequiredBy", None, Some(Requires)),
        ("Requisite", Some(Requisite), None), ("RequisiteOf", None, Some(Requisite)),
        ("Wants", Some(Wants), None), ("WantedBy", None, Some(Wants)),
        ("BindsTo", Some(BindsTo), None), ("BoundBy", None, Some(BindsTo)),
        ("PartOf", Some(PartOf), None), ("ConsistsOf", None, Some(PartOf)),
        ("Upholds", Some(Upholds), None), ("UpheldBy", None, Some(Upholds)),
        ("Conflicts", Some(Conflicts), None), ("ConflictedBy", None, Some(Conflicts)),
        ("Before", Some(Before), Some(After)), ("After", Some(After), Some(Before)),
        ("OnSuccess", Some(OnSuccess), None), ("OnSuccessOf", None, Some(OnSuccess)),
        ("OnFailure", Some(OnFailure), None), ("OnFailureOf", None, Some(OnFailure)),
        ("Triggers", Some(Triggers), None), ("TriggeredBy", None, Some(Triggers)),
        ("PropagatesReloadTo", Some(PropagatesReloadTo), Some(ReloadPropagatedFrom)),
        ("ReloadPropagatedFrom", Some(ReloadPropagatedFrom), Some(PropagatesReloadTo)),
        ("PropagatesStopTo", Some(PropagatesStopTo), Some(StopPropagatedFrom)),
        ("StopPropagatedFrom", Some(StopPropagatedFrom), Some(PropagatesStopTo)),
        ("JoinsNamespaceOf", Some(JoinsNamespaceOf), Some(JoinsNamespaceOf)),
    ]
};

/// Units that this one has a relation to, by the property's name.
pub(super) fn related(manager: &Manager, live: &Live, name: &str) -> Option<Vec<String>> {
    let (_, forward, reverse) = RELATIONS.iter().find(|(known, _, _)| *known == name)?;
    let own = live.name();
    let mut found: Vec<String> = match forward {
        Some(relation) if manager.graph().node(own).is_some() => manager.graph().to(own, *relation).map(UnitName::to_string).collect(),
        Some(relation) => manager.depends(live).iter().filter(|d| d.relation == *relation).map(|d| d.to.to_string()).collect(),
        None => Vec::new(),
    };
    if let Some(relation) = reverse {
        found.extend(manager.graph().from(own, *relation).map(UnitName::to_string));
    }
    found.arrange();
    found.dedup();
    Some(found)
}

fn of_unit(manager: &Manager, live: &Live, name: &str) -> Option<Value> {
    let unit = &live.rest.unit;
    let moments = &live.rest.moments;
    let set = |key, default| unit.settings.bool("Unit", key, default);
    let usable = unit.is_loaded();
    Some(match name {
        "Id" => Value::text(unit.name.as_str()),
        "Names" => Value::texts(std::iter::once(&unit.name).chain(&unit.aliases).map(UnitName::as_str)),
        "Description" => Value::text(unit.description()),
        "LoadState" => Value::text(unit.state.word()),
        "ActiveState" => Value::text(live.active().word()),
        "SubState" => Value::text(live.sub()),
        "FragmentPath" => Value::text(unit.fragment.as_deref().filter(|path| !unit.is_script && path.starts_with('/')).unwrap_or_default()),
        "SourcePath" if unit.is_script => Value::text(unit.fragment.as_deref().unwrap_or_default()),
        "DropInPaths" => Value::texts(&unit.dropins),
        "UnitFileState" => Value::text(file_state(manager, live)),
        "UnitFilePreset" => Value::text(preset(manager, live)),
        "CanStart" => Value::Bool(usable && !set("RefuseManualStart", false)),
        "CanStop" => Value::Bool(!set("RefuseManualStop", false)),
        "CanReload" => Value::Bool(live.can_reload()),
        "CanIsolate" => Value::Bool(usable && set("AllowIsolate", false)),
        "CanFreeze" => Value::Bool(live.service.is_some() && manager.members().way() == "cgroup"),
        "Job" => Value::Struct(vec![Value::Uint32(live.job.unwrap_or(0)), Value::Path(path::job(live.job.unwrap_or(0)))]),
        "NeedDaemonReload" => Value::Bool(manager.is_stale(live)),
        "ConditionResult" => Value::Bool(live.rest.condition.as_ref().is_some_and(|(met, _)| *met)),
        "AssertResult" => Value::Bool(live.rest.condition.is_some()),
        "Conditions" => conditions(live, "Condition"),
        "Asserts" => conditions(live, "Assert"),
        "LoadError" => {
            let (name, why) = load_error(live).map(|(name, why)| (format!("org.freedesktop.systemd1.{name}"), why)).unwrap_or_default();
            Value::Struct(vec![Value::text(name), Value::text(why)])
        }
        "Transient" => Value::Bool(unit.fragment.as_deref().is_some_and(|path| path.starts_with("/run/systemd/transient/"))),
        "Perpetual" => Value::Bool(matches!(unit.name.as_str(), "-.slice" | "-.mount" | "init.scope")),
        "InvocationID" => Value::Bytes(id_bytes(&live.rest.marks.invocation)),
        "StateChangeTimestamp" | "StateChangeTimestampMonotonic" => return some_moment(moments.changed, name),
        "InactiveExitTimestamp" | "InactiveExitTimestampMonotonic" => return some_moment(moments.inactive_exit, name),
        "ActiveEnterTimestamp" | "ActiveEnterTimestampMonotonic" => return some_moment(moments.active_enter, name),
        "ActiveExitTimestamp" | "ActiveExitTimestampMonotonic" => return some_moment(moments.active_exit, name),
        "InactiveEnterTimestamp" | "InactiveEnterTimestampMonotonic" => return some_moment(moments.inactive_enter, name),
        "ConditionTimestamp" | "ConditionTimestampMonotonic" | "AssertTimestamp" | "AssertTimestampMonotonic" => {
            return some_moment(moments.condition, name);
        }
        _ => return related(manager, live, name).map(Value::texts),
    })
}

fn id_bytes(id: &str) -> Vec<u8> {
    (0..id.len() / 2).filter_map(|at| u8::from_str_radix(id.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
}

fn file_state(manager: &Manager, live: &Live) -> String {
    // what has no file has no state
    if live.rest.unit.fragment.as_deref().is_none_or(|path| !path.starts_with('/')) || live.rest.unit.is_script {
        return if live.rest.unit.is_script { "generated".to_owned() } else { String::new() };
    }
    // packages make links without a reload
    let Ok(catalogue) = manager.fresh_catalogue() else { return String::new() };
    let installer = Installer { catalogue: &catalogue, runtime: false, force: false };
    installer.state(live.name(), &mut Vec::new()).map_or_else(|_| String::new(), |state| state.word().to_owned())
}

fn preset(manager: &Manager, live: &Live) -> &'static str {
    if live.rest.unit.fragment.as_deref().is_none_or(|path| !path.starts_with('/')) {
        return "";
    }
    Presets::read(manager.root(), manager.search()).query(live.name()).word()
}

/// `a(sbbsi)`: key, `|`, `!`, parameter, and 1 when it held, -1 when not, 0 when it was not looked at.
fn conditions(live: &Live, begin: &str) -> Value {
    let of = Type::Struct(vec![Type::Basic(b's'), Type::Basic(b'b'), Type::Basic(b'b'), Type::Basic(b's'), Type::Basic(b'i')]);
    let mut rows = Vec::new();
    for setting in live.rest.unit.settings.iter().filter(|s| s.section == "Unit" && s.key.starts_with(begin)) {
        let crate::value::Value::Condition { trigger, negate, parameter } = &setting.value else { continue };
        let held = match &live.rest.condition {
            None => 0,
            Some((false, Some(which))) if which.starts_with(setting.key) && which.ends_with(parameter.as_str()) => -1,
            Some(_) => 1,
        };
        rows.push(Value::Struct(vec![
            Value::text(setting.key),
            Value::Bool(*trigger),
            Value::Bool(*negate),
            Value::text(parameter.as_str()),
            Value::Int32(held),
        ]));
    }
    Value::Array(of, rows)
}

/// What the kernel counts for a unit's group.
fn of_group(manager: &Manager, live: &Live, name: &str) -> Option<Value> {
    let own = live.rest.unit.name.as_str();
    let up = live.service.is_some() && !live.active().is_down();
    match name {
        "Slice" => text(live.rest.unit.settings.text(live.name().kind().section()?, "Slice").unwrap_or(match live.name().kind() {
            _ if !live.rest.unit.is_loaded() => "",
            Kind::Slice | Kind::Scope => "-.slice",
            _ => "system.slice",
        })),
        "ControlGroup" => text(manager.members().path(own).filter(|_| up).or_else(|| manager.members().slice_path(live.name())).unwrap_or_default()),
        "MemoryCurrent" if up => manager.members().number(own, "memory.current").map(Value::Uint64),
        "TasksCurrent" if up => {
            let counted = || u64::try_from(manager.members().list(&live.rest.marks).len()).unwrap_or(0);
            Some(Value::Uint64(manager.members().number(own, "pids.current").unwrap_or_else(counted)))
        }
        _ => None,
    }
}

fn span(limit: Option<Duration>) -> Option<Value> {
    Some(Value::Uint64(limit.map_or(u64::MAX, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))))
}

fn pid(pid: Option<i32>) -> Option<Value> {
    Some(Value::Uint32(pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)))
}

/// Of a run that has ended; 0 and 0 of one that has not.
fn code_of(run: Option<&Run>) -> (i32, i32) {
    run.and_then(|run| run.ended).map_or((0, 0), |(_, end)| code(end))
}

fn of_service(manager: &Manager, live: &Live, service: &Service, property: &Property) -> Option<Value> {
    let config = &service.config;
    let main = service.main_run.as_ref().filter(|_| !service.forgotten);
    let name = property.name;
    match name {
        "Type" => text(config.kind.word()),
        "Restart" => text(config.restart.word()),
        "PIDFile" => text(config.pid_file.as_deref().unwrap_or_default()),
        "NotifyAccess" => text(match config.notify_access {
            NotifyAccess::None => "none",
            NotifyAccess::Main => "main",
            NotifyAccess::Exec => "exec",
            NotifyAccess::All => "all",
        }),
        "RestartUSec" => span(Some(config.restart_delay)),
        "TimeoutStartUSec" => span(config.timeout_start),
        "TimeoutStopUSec" => span(config.timeout_stop),
        "TimeoutAbortUSec" => setting(live, "Service", property).or_else(|| span(config.timeout_stop)),
        "RuntimeMaxUSec" => span(config.runtime_max),
        "WatchdogUSec" => span(Some(service.watchdog.or(config.watchdog).unwrap_or_default())),
        "RemainAfterExit" => Some(Value::Bool(config.remain)),
        "GuessMainPID" => Some(Value::Bool(config.guess_main)),
        "MainPID" => pid(service.main),
        "ControlPID" => pid(service.control),
        "StatusText" => text(service.status_text.as_str()),
        "StatusErrno" => Some(Value::Int32(service.errno)),
        "Result" => text(service.result.word()),
        "ReloadResult" => text(service.reload_result.word()),
        "NRestarts" => Some(Value::Uint32(service.restarts)),
        "ExecMainStartTimestamp" | "ExecMainStartTimestampMonotonic" => some_moment(main.map(|run| run.began), name),
        "ExecMainExitTimestamp" | "ExecMainExitTimestampMonotonic" => some_moment(main.and_then(|run| run.ended).map(|(at, _)| at), name),
        "ExecMainPID" => pid(main.map(|run| run.pid)),
        "ExecMainCode" => Some(Value::Int32(code_of(main).0)),
        "ExecMainStatus" => Some(Value::Int32(code_of(main).1)),
        "KillSignal" => Some(Value::Int32(config.kill_signal)),
        "RestartKillSignal" => setting(live, "Service", property).or(Some(Value::Int32(config.kill_signal))),
        "Environment" => live.rest.context.as_ref().map(|c| Value::texts(&c.variables)),
        "PassEnvironment" => live.rest.context.as_ref().map(|c| Value::texts(&c.pass)),
        "UnsetEnvironment" => live.rest.context.as_ref().map(|c| Value::texts(&c.unset)),
        "EnvironmentFiles" => live.rest.context.as_ref().map(|c| files(&c.files)),
        "CapabilityBoundingSet" => live.rest.context.as_ref().filter(|_| has(live, name)).map(|c| Value::Uint64(c.bounding.0)),
        "AmbientCapabilities" => live.rest.context.as_ref().filter(|_| has(live, name)).map(|c| Value::Uint64(c.ambient.0)),
        _ => commands(service, name).or_else(|| of_group(manager, live, name)),
    }
}

fn has(live: &Live, key: &str) -> bool {
    live.setting("Service", key).is_some()
}

/// `a(sb)`: a path, and whether it may be missing.
fn files(files: &[(String, bool)]) -> Value {
    let of = Type::Struct(vec![Type::Basic(b's'), Type::Basic(b'b')]);
    Value::Array(of, files.iter().map(|(path, optional)| Value::Struct(vec![Value::text(path.as_str()), Value::Bool(*optional)])).collect())
}

/// `a(sasbttttuii)` of ExecStart and its like, `a(sasasttttuii)` of ExecStartEx.
fn commands(service: &Service, name: &str) -> Option<Value> {
    let (key, extended) = name.strip_suffix("Ex").map_or((name, false), |key| (key, true));
    let (step, last) = Step::ALL.into_iter().zip(&service.runs).find(|(step, _)| step.key() == key)?;
    let list = service.config.commands(step);
    let last = last.as_ref().or(service.main_run.as_ref().filter(|_| step == Step::Start && !service.forgotten));
    let basic = |codes: &str| codes.bytes().map(Type::Basic).collect::<Vec<_>>();
    let texts = || Type::Array(Box::new(Type::Basic(b's')));
    let mut fields = vec![Type::Basic(b's'), texts(), if extended { texts() } else { Type::Basic(b'b') }];
    fields.extend(basic("ttttuii"));
    let row = |at: usize, command: &crate::command::Command| {
        // of several only the last run is known
        let run = last.filter(|_| at + 1 == list.len());
        let (code, status) = code_of(run);
        let (began, ended) = (run.map(|run| run.began), run.and_then(|run| run.ended).map(|(at, _)| at));
        let flags = [
            (command.literal, "no-env-expand"),
            (command.ignore_failure, "ignore-failure"),
            (command.full_privileges, "privileged"),
            (command.elevated == 1, "no-setuid"),
            (command.elevated == 2, "ambient"),
        ];
        let flags = Value::texts(flags.iter().filter(|(is, _)| *is).map(|(_, word)| *word));
        let mut row = vec![Value::text(command.program.as_str()), Value::texts(&command.argv)];
        row.push(if extended { flags } else { Value::Bool(command.ignore_failure) });
        row.extend([micros(began), monotonic(began), micros(ended), monotonic(ended)].map(Value::Uint64));
        row.push(number(b'u', i128::from(run.map_or(0, |run| run.pid))));
        row.extend([Value::Int32(code), Value::Int32(status)]);
        Value::Struct(row)
    };
    Some(Value::Array(Type::Struct(fields), list.iter().enumerate().map(|(at, command)| row(at, command)).collect()))
}
