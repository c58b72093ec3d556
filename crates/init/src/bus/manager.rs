//! The manager as an object: its properties, and methods that only look.

use std::fmt::Write as _;

use hostel_ipc::dbus::{Type, Value};
use hostel_spec::Arrange as _;
use hostel_unit::UnitName;

use super::call::{Arguments, Context, Outcome, loaded, no_job, unit_name};
use super::fault::Fault;
use super::path;
use super::table::Property;
use super::unit::{limit, moment};
use crate::manager::live::Live;
use crate::manager::state::Active;
use crate::manager::{Job, Manager};
use crate::preset::glob;

/// The release whose clients and values these are.
const LIKE: &str = "252";

/// Most processes of an answer, and bytes of the command line of each.
const ROWS_MAX: usize = 2048;
const LINE_MAX: usize = 1024;

/// The value of a property.
pub(super) fn value(manager: &Manager, property: &Property) -> Value {
    let count = |n: usize| Value::Uint32(u32::try_from(n).unwrap_or(u32::MAX));
    match property.name {
        "Version" => Value::text(format!("{LIKE} (hostel {})", env!("CARGO_PKG_VERSION"))),
        "Virtualization" => Value::text(manager.inherited("container").unwrap_or_default()),
        "Architecture" => Value::text(match std::env::consts::ARCH {
            "x86_64" => "x86-64",
            "aarch64" => "arm64",
            other => other,
        }),
        "UserspaceTimestamp" | "UserspaceTimestampMonotonic" => moment(Some(manager.began()), property.name),
        "FinishTimestamp" | "FinishTimestampMonotonic" => moment(manager.settled(), property.name),
        name if name.starts_with("DefaultLimit") => limit(name.trim_start_matches("Default")).unwrap_or_else(|| property.usual()),
        "NNames" => count(manager.lives().map(|live| 1 + live.rest.unit.aliases.len()).sum()),
        "NFailedUnits" => count(manager.lives().filter(|live| live.active() == Active::Failed).count()),
        "NJobs" => count(manager.all_jobs().count()),
        "NInstalledJobs" => Value::Uint32(manager.last_job()),
        "Progress" => Value::Double(1.0),
        "Environment" => Value::texts(manager.environment().iter().map(|(name, value)| format!("{name}={value}"))),
        "UnitPath" => Value::texts(manager.search().places.iter().map(|place| place.path.as_str())),
        "ControlGroup" => {
            UnitName::parse("-.slice").ok().and_then(|top| manager.members().slice_path(&top)).map_or_else(|| property.usual(), Value::text)
        }
        "SystemState" => Value::text(manager.system_state()),
        _ => property.usual(),
    }
}

/// Methods that change nothing.
pub(super) fn look(manager: &Manager, context: &Context, method: &str, a: &Arguments) -> Outcome {
    let path = |live: &Live| Ok(vec![Value::Path(path::unit(live.name().as_str()))]);
    match method {
        "GetUnit" => path(loaded(manager, a.text(0))?),
        "LoadUnit" => {
            let name = unit_name(a.text(0))?;
            match manager.unit(&name) {
                Some(live) => path(live),
                None => path(&manager.look_up(&name)),
            }
        }
        "GetUnitByPID" => {
            let pid = i32::try_from(a.number(0)).unwrap_or(0);
            let pid = if pid == 0 { context.pid } else { pid };
            let found = if pid == 1 { UnitName::parse("init.scope").ok() } else { manager.unit_of(pid) };
            let name = found.ok_or_else(|| Fault::systemd("NoUnitForPID", format!("PID {pid} does not belong to any loaded unit.")))?;
            Ok(vec![Value::Path(path::unit(name.as_str()))])
        }
        "GetUnitByInvocationID" => {
            let Some(Value::Bytes(id)) = a.0.first() else { return Err(Fault::invalid("Invalid invocation ID")) };
            let text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            let found = manager.lives().find(|live| !text.is_empty() && live.rest.marks.invocation == text);
            let missing = || Fault::systemd("NoUnitForInvocationID", format!("No unit with the specified invocation ID {text} known."));
            path(found.ok_or_else(missing)?)
        }
        "GetUnitByControlGroup" => {
            let wanted = a.text(0);
            let found =
                manager.lives().find(|live| live.service.is_some() && manager.members().path(live.name().as_str()).as_deref() == Some(wanted));
            path(
                found
                    .ok_or_else(|| Fault::systemd("NoSuchUnit", format!("Control group '{wanted}' is not valid or not managed by this instance")))?,
            )
        }
        "GetUnitProcesses" => Ok(vec![processes(manager, loaded(manager, a.text(0))?)]),
        "GetJob" => {
            let id = u32::try_from(a.number(0)).unwrap_or(0);
            manager.job_of(id).map(|job| vec![Value::Path(path::job(job.id))]).ok_or_else(|| no_job(id))
        }
        "GetJobAfter" | "GetJobBefore" => {
            let id = u32::try_from(a.number(0)).unwrap_or(0);
            let own = manager.job_of(id).ok_or_else(|| no_job(id))?;
            let fits = |other: &Job| if method == "GetJobAfter" { manager.waits_for(other, own) } else { manager.waits_for(own, other) };
            Ok(vec![jobs(manager.all_jobs().filter(|job| job.id != id && fits(job)))])
        }
        "ListJobs" => Ok(vec![jobs(manager.all_jobs())]),
        "ListUnits" => Ok(vec![units(manager, &mut manager.lives())]),
        "ListUnitsFiltered" => Ok(vec![list(manager, &a.texts(0), &[])]),
        "ListUnitsByPatterns" => Ok(vec![list(manager, &a.texts(0), &a.texts(1))]),
        "ListUnitsByNames" => {
            let mut looked_up = Vec::new();
            for name in a.texts(0).iter().take(4096) {
                let name = unit_name(name)?;
                if manager.unit(&name).is_none() {
                    looked_up.push(manager.look_up(&name));
                }
            }
            let names = a.texts(0);
            let known = names.iter().filter_map(|name| manager.unit(&UnitName::parse(name).ok()?));
            Ok(vec![units(manager, &mut known.chain(&looked_up))])
        }
        "Dump" => Ok(vec![Value::text(dump(manager, &[]))]),
        "DumpUnitsMatchingPatterns" => Ok(vec![Value::text(dump(manager, &a.texts(0)))]),
        other => Err(Fault::dbus("UnknownMethod", format!("There is no method {other}."))),
    }
}

fn fits(live: &Live, patterns: &[String]) -> bool {
    let names = || std::iter::once(live.name()).chain(&live.rest.unit.aliases);
    patterns.is_empty() || patterns.iter().any(|pattern| names().any(|name| glob(pattern, name.as_str())))
}

fn list(manager: &Manager, states: &[String], patterns: &[String]) -> Value {
    let is = |live: &Live| {
        let own = [live.rest.unit.state.word(), live.active().word(), live.sub()];
        states.is_empty() || states.iter().any(|state| own.contains(&state.as_str()))
    };
    let kept = manager.kept();
    units(manager, &mut manager.lives().filter(|live| is(live) && fits(live, patterns) && kept.contains(live.name())))
}

/// `a(ssssssouso)`
fn units(manager: &Manager, lives: &mut dyn Iterator<Item = &Live>) -> Value {
    let of = Type::Struct([b's', b's', b's', b's', b's', b's', b'o', b'u', b's', b'o'].map(Type::Basic).to_vec());
    let row = |live: &Live| {
        let unit = &live.rest.unit;
        let mut row: Vec<Value> =
            [unit.name.as_str(), unit.description(), unit.state.word(), live.active().word(), live.sub(), ""].into_iter().map(Value::text).collect();
        let job = live.job.unwrap_or(0);
        let kind = manager.job_of(job).map_or("", |job| job.kind.word());
        row.extend([Value::Path(path::unit(unit.name.as_str())), Value::Uint32(job), Value::text(kind), Value::Path(path::job(job))]);
        Value::Struct(row)
    };
    Value::Array(of, lives.map(row).collect())
}

/// `a(usssoo)`
fn jobs<'j>(jobs: impl Iterator<Item = &'j Job>) -> Value {
    let of = Type::Struct([b'u', b's', b's', b's', b'o', b'o'].map(Type::Basic).to_vec());
    let row = |job: &Job| {
        let unit = job.unit.as_str();
        Value::Struct(vec![
            Value::Uint32(job.id),
            Value::text(unit),
            Value::text(job.kind.word()),
            Value::text(if job.running { "running" } else { "waiting" }),
            Value::Path(path::job(job.id)),
            Value::Path(path::unit(unit)),
        ])
    };
    Value::Array(of, jobs.map(row).collect())
}

/// `a(sus)`: group, number and command line of each process of a unit; of a slice those of all units in it.
fn processes(manager: &Manager, live: &Live) -> Value {
    let members = manager.members();
    let mut rows: Vec<(String, i32)> = Vec::new();
    let mut add = |live: &Live| {
        let Some(service) = &live.service else { return };
        let group = members.path(live.name().as_str()).unwrap_or_default();
        let mut pids = if live.active().is_down() { Vec::new() } else { members.list(&live.rest.marks) };
        pids.extend(service.own());
        pids.arrange();
        pids.dedup();
        rows.extend(pids.into_iter().map(|pid| (group.clone(), pid)));
    };
    match members.slice_path(live.name()) {
        Some(slice) => {
            let below = format!("{slice}/");
            let is_in = |other: &&Live| members.path(other.name().as_str()).is_some_and(|path| path.starts_with(&below));
            manager.lives().filter(is_in).for_each(add);
            rows.extend(members.own_path().filter(|own| format!("{own}/").starts_with(&below)).map(|own| (own, std::process::id() as i32)));
        }
        None => add(live),
    }
    // a peer that gets more at a time than it may is cut off
    rows.truncate(ROWS_MAX);
    let row = |(group, pid): (String, i32)| {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(bytes.get(..LINE_MAX).unwrap_or(&bytes)).trim_end_matches('\0').replace('\0', " ");
        Value::Struct(vec![Value::text(group), Value::Uint32(u32::try_from(pid).unwrap_or(0)), Value::text(line)])
    };
    Value::Array(Type::Struct([b's', b'u', b's'].map(Type::Basic).to_vec()), rows.into_iter().map(row).collect())
}

/// For people: every unit with its states and job.
fn dump(manager: &Manager, patterns: &[String]) -> String {
    let mut out = format!("Manager: hostel {}\n", env!("CARGO_PKG_VERSION"));
    for live in manager.lives().filter(|live| fits(live, patterns)) {
        // writing to a String cannot fail
        let _ = writeln!(out, "-> Unit {}:", live.name());
        let _ = writeln!(out, "\tDescription: {}", live.rest.unit.description());
        let _ = writeln!(out, "\tUnit Load State: {}", live.rest.unit.state.word());
        let _ = writeln!(out, "\tUnit Active State: {}", live.active().word());
        let _ = writeln!(out, "\tService State: {}", live.sub());
        if let Some(job) = live.job.and_then(|id| manager.job_of(id)) {
            let _ = writeln!(out, "\t-> Job {}: {}", job.id, job.kind.word());
        }
    }
    out
}
