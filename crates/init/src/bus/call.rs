//! A call: which object, which interface, which method; its answer.

use hostel_ipc::dbus::{Message, Type, Value};
use hostel_unit::UnitName;

use super::fault::Fault;
use super::path::{self, Object};
use super::{files, introspect, manager as of_manager, methods, properties, transient};
use crate::manager::live::Live;
use crate::manager::query::{Request, Whom};
use crate::manager::{End, Manager};
use crate::transaction::{JobMode, JobType};

/// Values, or why there are none.
pub(super) type Outcome = Result<Vec<Value>, Fault>;

/// What a call may change besides the manager.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// The caller's process.
    pub(super) pid: i32,
    /// The status with which `Exit` ends.
    pub(super) exit: u8,
    /// Unit files were changed: everybody is told.
    pub(super) files_changed: bool,
    /// Unit files were read again: everybody is told.
    pub(super) reloaded: bool,
}

/// Arguments whose types were checked; what is not there is 0, empty or false.
#[derive(Debug)]
pub(super) struct Arguments(pub(super) Vec<Value>);

impl Arguments {
    pub(super) fn text(&self, at: usize) -> &str {
        self.0.get(at).and_then(Value::as_text).unwrap_or_default()
    }

    pub(super) fn texts(&self, at: usize) -> Vec<String> {
        let Some(Value::Array(_, items)) = self.0.get(at) else { return Vec::new() };
        items.iter().filter_map(|item| item.as_text().map(str::to_owned)).collect()
    }

    pub(super) fn flag(&self, at: usize) -> bool {
        matches!(self.0.get(at), Some(Value::Bool(true)))
    }

    pub(super) fn number(&self, at: usize) -> u64 {
        match self.0.get(at) {
            Some(Value::Byte(n)) => u64::from(*n),
            Some(Value::Uint32(n)) => u64::from(*n),
            Some(Value::Uint64(n)) => *n,
            Some(Value::Int32(n)) => u64::try_from(*n).unwrap_or(0),
            _ => 0,
        }
    }
}

/// A name that a caller gave.
pub(super) fn unit_name(text: &str) -> Result<UnitName, Fault> {
    UnitName::parse(text).map_err(|_| Fault::invalid(format!("Unit name {text} is not valid.")))
}

/// A unit that is in memory.
pub(super) fn loaded<'m>(manager: &'m Manager, name: &str) -> Result<&'m Live, Fault> {
    manager.unit(&unit_name(name)?).ok_or_else(|| Fault::not_loaded(name))
}

/// A unit that systemd would still have in memory.
fn kept<'m>(manager: &'m Manager, name: &str) -> Result<&'m Live, Fault> {
    loaded(manager, name).and_then(|live| if manager.is_kept(live) { Ok(live) } else { Err(Fault::not_loaded(name)) })
}

fn unknown(what: &str, interface: &str) -> Fault {
    Fault::dbus("UnknownMethod", format!("Unknown method {what} or interface {interface}."))
}

/// Answers a call.
pub(super) fn answer(manager: &mut Manager, context: &mut Context, message: &Message) -> Outcome {
    let path = message.path.as_deref().unwrap_or_default();
    let member = message.member.as_deref().unwrap_or_default();
    let interface = message.interface.as_deref().unwrap_or_default();
    let object = path::object(path);
    let is_there = match &object {
        Object::None => false,
        Object::Unit(name) => UnitName::parse(name).is_ok(),
        Object::Job(id) => manager.job_of(*id).is_some(),
        Object::Manager | Object::Log | Object::Above => true,
    };
    if !is_there {
        return Err(Fault::dbus("UnknownObject", format!("Unknown object '{path}'.")));
    }
    let types: String = message.body.iter().map(|value| value.of().to_string()).collect();
    let takes = |wanted: &str| {
        if types == wanted {
            Ok(())
        } else {
            Err(Fault::invalid(format!("Invalid arguments '{types}' to call {interface}.{member}(), expecting '{wanted}'.")))
        }
    };
    let arguments = Arguments(message.body.clone());
    let standard = interface.strip_prefix("org.freedesktop.DBus.");
    match (standard, member) {
        (Some("Peer"), "Ping") => takes("").map(|()| Vec::new()),
        (Some("Peer"), "GetMachineId") => {
            takes("")?;
            let bytes = manager.root().read("/etc/machine-id").unwrap_or_default();
            let id = std::str::from_utf8(&bytes).unwrap_or_default().trim();
            if id.len() == 32 { Ok(vec![Value::text(id)]) } else { Err(Fault::dbus("FileNotFound", "There is no machine id.")) }
        }
        (Some("Introspectable"), "Introspect") => takes("").map(|()| vec![Value::text(introspect::text(manager, &object))]),
        (Some("Properties"), "Get") => takes("ss").and_then(|()| properties::get(manager, &object, arguments.text(0), arguments.text(1))),
        (Some("Properties"), "GetAll") => takes("s").and_then(|()| properties::all(manager, &object, arguments.text(0))),
        (Some("Properties"), "Set") => {
            takes("ssv")?;
            Err(Fault::dbus("PropertyReadOnly", format!("Property '{}' is not writable.", arguments.text(1))))
        }
        (Some(_), _) => Err(unknown(member, interface)),
        (None, _) => {
            let asked = interface.strip_prefix("org.freedesktop.systemd1.").unwrap_or(interface);
            let method = properties::interfaces(&object).into_iter().filter(|own| asked.is_empty() || asked == *own);
            let method = method.filter_map(|own| methods::find(own, member)).next().ok_or_else(|| unknown(member, interface))?;
            takes(method.takes)?;
            if let methods::Done::No(why) = method.done {
                return Err(Fault::unsupported(member, why));
            }
            called(manager, context, &object, &method, arguments)
        }
    }
}

fn called(manager: &mut Manager, context: &mut Context, object: &Object, method: &methods::Method, mut arguments: Arguments) -> Outcome {
    let name = match (object, method.interface) {
        (Object::Job(id), _) => {
            arguments.0.insert(0, Value::Uint32(*id));
            match method.name {
                "Cancel" => "CancelJob",
                "GetAfter" => "GetJobAfter",
                _ => "GetJobBefore",
            }
        }
        (Object::Unit(unit), _) => {
            arguments.0.insert(0, Value::text(unit.as_str()));
            methods::of_manager(method.name).unwrap_or("GetUnitProcesses")
        }
        _ => method.name,
    };
    if let Some(outcome) = files::call(manager, name, &arguments) {
        context.files_changed |= outcome.is_ok() && !name.starts_with("Get") && !name.starts_with("List");
        return outcome;
    }
    act(manager, context, name, &arguments)
}

fn object_path(path: String) -> Outcome {
    Ok(vec![Value::Path(path)])
}

fn wish(manager: &mut Manager, request: Request) -> Outcome {
    manager.wish(request).map(|()| Vec::new()).map_err(Fault::failed)
}

fn act(manager: &mut Manager, context: &mut Context, method: &str, a: &Arguments) -> Outcome {
    match method {
        "StartUnit" | "StartUnitWithFlags" => job(manager, context, a.text(0), JobType::Start, a.text(1)),
        "StartUnitReplace" => job(manager, context, a.text(1), JobType::Start, a.text(2)),
        "StopUnit" => job(manager, context, a.text(0), JobType::Stop, a.text(1)),
        "RestartUnit" => job(manager, context, a.text(0), JobType::Restart, a.text(1)),
        "TryRestartUnit" => job(manager, context, a.text(0), JobType::TryRestart, a.text(1)),
        "ReloadUnit" => job(manager, context, a.text(0), JobType::Reload, a.text(1)),
        "ReloadOrRestartUnit" => reload_or(manager, context, a, true),
        "ReloadOrTryRestartUnit" => reload_or(manager, context, a, false),
        "EnqueueUnitJob" => enqueue(manager, context, a),
        "StartTransientUnit" => transient::start(manager, a),
        "KillUnit" => kill(manager, a),
        "CleanUnit" => {
            let unit = unit_name(a.text(0))?;
            wish(manager, Request::Clean(a.texts(1), vec![unit]))
        }
        "SetUnitProperties" => {
            let unit = unit_name(a.text(0))?;
            let pairs = transient::assignments(a.0.get(2))?;
            wish(manager, Request::SetProperty(a.flag(1), unit, pairs))
        }
        "LookupDynamicUserByName" | "LookupDynamicUserByUID" | "GetDynamicUsers" => dynamic_users(manager, method, a),
        "FreezeUnit" => freeze(manager, a.text(0), true),
        "ThawUnit" => freeze(manager, a.text(0), false),
        "ResetFailedUnit" => {
            let name = kept(manager, a.text(0))?.name().clone();
            wish(manager, Request::ResetFailed(vec![name]))
        }
        "ResetFailed" => wish(manager, Request::ResetFailed(Vec::new())),
        // units stay in memory while they are of use to anybody
        "RefUnit" | "UnrefUnit" => loaded(manager, a.text(0)).map(|_| Vec::new()),
        "CancelJob" => {
            let id = u32::try_from(a.number(0)).unwrap_or(0);
            manager.job_of(id).ok_or_else(|| no_job(id))?;
            wish(manager, Request::Cancel(vec![id]))
        }
        "ClearJobs" => wish(manager, Request::Cancel(Vec::new())),
        "Reload" => {
            context.reloaded = true;
            wish(manager, Request::Reload)
        }
        "Reexecute" => wish(manager, Request::Reexecute),
        "Exit" => wish(manager, Request::End(End::Exit(context.exit))),
        "SetExitCode" => {
            context.exit = u8::try_from(a.number(0)).unwrap_or(0);
            Ok(Vec::new())
        }
        // whoever wants services to be stopped starts a target
        "Reboot" => wish(manager, Request::EndNow(End::Reboot)),
        "PowerOff" => wish(manager, Request::EndNow(End::PowerOff)),
        "Halt" => wish(manager, Request::EndNow(End::Halt)),
        "SetEnvironment" => environment(manager, Vec::new(), a.texts(0)),
        "UnsetEnvironment" => environment(manager, a.texts(0), Vec::new()),
        "UnsetAndSetEnvironment" => environment(manager, a.texts(0), a.texts(1)),
        // every peer of this socket hears everything
        "Subscribe" | "Unsubscribe" => Ok(Vec::new()),
        _ => of_manager::look(manager, context, method, a),
    }
}

fn environment(manager: &mut Manager, unset: Vec<String>, set: Vec<String>) -> Outcome {
    let is_good = |pair: &String| pair.split_once('=').is_some_and(|(name, _)| crate::manager::variables::is_name(name));
    if !set.iter().all(is_good) {
        return Err(Fault::invalid("Invalid environment assignments"));
    }
    wish(manager, Request::UnsetEnvironment(unset))?;
    wish(manager, Request::SetEnvironment(set))
}

pub(super) fn no_job(id: u32) -> Fault {
    Fault::systemd("NoSuchJob", format!("Job {id} does not exist."))
}

/// Targets whose start is the machine's end.
fn end_of(unit: &UnitName, context: &Context) -> Option<End> {
    Some(match unit.as_str() {
        "poweroff.target" => End::PowerOff,
        "halt.target" => End::Halt,
        "reboot.target" | "ctrl-alt-del.target" => End::Reboot,
        "exit.target" => End::Exit(context.exit),
        _ => return None,
    })
}

/// Makes a job; its number.
pub(super) fn make_job(manager: &mut Manager, context: &Context, unit: &UnitName, kind: JobType, mode: &str) -> Result<u32, Fault> {
    let mode = JobMode::parse(mode).ok_or_else(|| Fault::invalid(format!("Job mode {mode} invalid")))?;
    if let Some(end) = end_of(unit, context).filter(|_| kind == JobType::Start) {
        manager.wish(Request::End(end)).map_err(Fault::failed)?;
        return Ok(manager.done_at_once(unit));
    }
    manager.try_job(kind, mode, unit).map_err(|fault| Fault::of_job(manager, &fault))
}

fn job(manager: &mut Manager, context: &Context, unit: &str, kind: JobType, mode: &str) -> Outcome {
    let id = make_job(manager, context, &unit_name(unit)?, kind, mode)?;
    object_path(path::job(id))
}

/// Reloads what can be, restarts the rest; what is down is started, or left alone.
fn reload_or(manager: &mut Manager, context: &Context, a: &Arguments, starts: bool) -> Outcome {
    let unit = unit_name(a.text(0))?;
    let live = manager.unit(&unit);
    let up = live.is_some_and(|live| live.active().is_up());
    let can_reload = live.is_some_and(Live::can_reload);
    let kind = match (up, can_reload) {
        (true, true) => JobType::Reload,
        _ if !starts => JobType::TryRestart,
        _ => JobType::Restart,
    };
    job(manager, context, unit.as_str(), kind, a.text(1))
}

/// `uososa(uosos)`: the job, and those that came with it.
fn enqueue(manager: &mut Manager, context: &Context, a: &Arguments) -> Outcome {
    let unit = unit_name(a.text(0))?;
    let kind = JobType::parse(a.text(1)).ok_or_else(|| Fault::invalid(format!("Job type {} invalid", a.text(1))))?;
    let before: Vec<u32> = manager.all_jobs().map(|job| job.id).collect();
    let id = make_job(manager, context, &unit, kind, a.text(2))?;
    let fields = |id: u32, unit: &str, kind: JobType| {
        vec![Value::Uint32(id), Value::Path(path::job(id)), Value::text(unit), Value::Path(path::unit(unit)), Value::text(kind.word())]
    };
    let others = manager.all_jobs().filter(|job| job.id != id && !before.contains(&job.id));
    let others: Vec<Value> = others.map(|job| Value::Struct(fields(job.id, job.unit.as_str(), job.kind))).collect();
    let mut out = fields(id, unit.as_str(), manager.job_of(id).map_or(kind, |job| job.kind));
    let codes = [b'u', b'o', b's', b'o', b's'];
    out.push(Value::Array(Type::Struct(codes.map(Type::Basic).to_vec()), others));
    Ok(out)
}

fn kill(manager: &mut Manager, a: &Arguments) -> Outcome {
    let (whom, must) = match a.text(1) {
        "" | "all" | "cgroup" => (Whom::All, false),
        "all-fail" | "cgroup-fail" => (Whom::All, true),
        "main" | "main-fail" => (Whom::Main, true),
        "control" => (Whom::Control, false),
        "control-fail" => (Whom::Control, true),
        other => return Err(Fault::invalid(format!("Invalid who argument {other}"))),
    };
    let signal = i32::try_from(a.number(2)).ok().filter(|signal| (1..=64).contains(signal));
    let signal = signal.ok_or_else(|| Fault::invalid("Signal number out of range."))?;
    let live = kept(manager, a.text(0))?;
    let (name, is_service) = (live.name().clone(), live.service.is_some());
    if !is_service {
        return Err(Fault::dbus("NotSupported", "Operation not supported"));
    }
    match manager.wish(Request::Kill(whom, signal, vec![name.clone()])) {
        Err(text) if must => Err(Fault::systemd("NoSuchProcess", text.trim_start_matches(&format!("Failed to kill unit {name}: ")))),
        _ => Ok(Vec::new()),
    }
}

fn dynamic_users(manager: &Manager, method: &str, a: &Arguments) -> Outcome {
    let no_user = |who: &str| Fault::systemd("NoSuchDynamicUser", format!("Dynamic user {who} does not exist."));
    let mut all = manager.dynamic_users();
    match method {
        "LookupDynamicUserByName" => {
            all.find(|(name, _)| *name == a.text(0)).map(|(_, uid)| vec![Value::Uint32(uid)]).ok_or_else(|| no_user(a.text(0)))
        }
        "LookupDynamicUserByUID" => {
            let found = all.find(|(_, uid)| u64::from(*uid) == a.number(0)).map(|(name, _)| vec![Value::text(name)]);
            found.ok_or_else(|| no_user(&a.number(0).to_string()))
        }
        _ => {
            let rows = all.map(|(name, uid)| Value::Struct(vec![Value::Uint32(uid), Value::text(name)])).collect();
            Ok(vec![Value::Array(Type::Struct(vec![Type::Basic(b'u'), Type::Basic(b's')]), rows)])
        }
    }
}

fn freeze(manager: &mut Manager, unit: &str, frozen: bool) -> Outcome {
    let live = loaded(manager, unit)?;
    if live.service.is_none() {
        return Err(Fault::dbus("NotSupported", format!("Unit '{unit}' does not support freezing")));
    }
    if live.active().is_down() {
        return Err(Fault::systemd("UnitInactive", format!("Unit '{unit}' is not active.")));
    }
    let name = live.name().clone();
    wish(manager, Request::Freeze(frozen, vec![name]))
}
