//! A scope of the host's systemd, made before the machine, so that the machine is born into it.
//!
//! systemd takes no scope without a process. A process that does nothing holds the seat: it is moved into the scope by systemd,
//! and to a group of its own there by us. Moving the machine itself later would cost it two grace periods of the kernel's.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use hostel_ipc::dbus::{CallError, Connection, SYSTEM_BUS, SYSTEMD_PRIVATE, Type, Value};
use hostel_spec::{Limit, MachineName, Resources};
use hostel_sys::clone::{self, CloneArgs, Fork};
use hostel_sys::proc;

use super::{PATIENCE, SUPERVISOR, Unit, V2_MOUNTS, cgroup_of, make_directory};
use crate::error::{Context, Error, Result};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";
/// How long the scope of a machine of that name that has just ended may take to go.
const GOING: Duration = Duration::from_secs(5);

/// A scope's name: systemd's escapes for what machine names may have and unit names not.
pub(super) fn name_of(machine: &MachineName) -> String {
    format!("machine-{}.scope", machine.as_str().replace('-', "\\x2d"))
}

/// Has systemd make `machine-NAME.scope` in `slice`, with the limits that it knows, delegated to us.
pub fn make(machine: &MachineName, slice: &str, resources: &Resources) -> Result<Unit> {
    let name = name_of(machine);
    let object = || format!("scope {name}");
    let (pid, seat) = take_seat().context("make", object())?;
    // Dropped, it gives the seat up, and with that the scope.
    let mut unit = Unit { base: Default::default(), seat: Some(seat) };
    let mut properties = vec![
        ("Description", Value::text(format!("Container {machine}"))),
        ("Slice", Value::text(slice)),
        ("Delegate", Value::Bool(true)),
        ("CollectMode", Value::text("inactive-or-failed")),
        ("PIDs", Value::Array(Type::Basic(b'u'), vec![Value::Uint32(pid.unsigned_abs())])),
    ];
    properties.extend(limits(resources));
    ask(&name, properties).map_err(|e| Error::new("make", object(), e))?;
    unit.base = base_of(pid, &name)?;
    let group = unit.base.join(SUPERVISOR);
    make_directory(&group).context("make", format!("cgroup {}", group.display()))?;
    std::fs::write(group.join("cgroup.procs"), pid.to_string()).context("move", "process into its part of the scope")?;
    Ok(unit)
}

/// A process that waits for its end, which ours brings too.
fn take_seat() -> std::io::Result<(i32, OwnedFd)> {
    match clone::clone3(&CloneArgs::default())? {
        Fork::Child => {
            let ready = proc::set_parent_death_signal(9).and_then(|()| proc::reset_signals()).and_then(|()| proc::new_session());
            if ready.is_ok() && clone::close_from_but(0, &[]).is_ok() {
                loop {
                    rustix::event::pause();
                }
            }
            clone::exit_now(1)
        }
        Fork::Parent { pid, pidfd } => Ok((pid, pidfd)),
    }
}

fn ask(name: &str, properties: Vec<(&str, Value)>) -> std::result::Result<(), CallError> {
    let mut systemd = connect()?;
    let none = Value::Array(Type::Struct(vec![Type::Basic(b's'), Value::properties(Vec::new()).of()]), Vec::new());
    let body = vec![Value::text(name), Value::text("fail"), Value::properties(properties), none];
    let end = Instant::now() + GOING;
    let job = loop {
        match systemd.call(Some(SYSTEMD), OBJECT, MANAGER, "StartTransientUnit", body.clone()) {
            // That of a machine of this name that is just gone.
            Err(CallError::Refused { name: refusal, .. }) if refusal == "org.freedesktop.systemd1.UnitExists" && Instant::now() < end => {
                let _ = systemd.call(Some(SYSTEMD), OBJECT, MANAGER, "ResetFailedUnit", vec![Value::text(name)]);
                std::thread::sleep(Duration::from_millis(20));
            }
            answer => break answer?,
        }
    };
    let ended = systemd.wait_for("JobRemoved", &mut |body| body.get(1) == job.first())?;
    match ended.get(3).and_then(Value::as_text) {
        Some("done") => Ok(()),
        result => Err(std::io::Error::other(format!("systemd says {}", result.unwrap_or("nothing"))).into()),
    }
}

/// systemd itself, which tells a peer of everything; else over the bus, where one has to ask for it.
fn connect() -> std::result::Result<Connection, CallError> {
    if let Ok(peer) = Connection::peer(Path::new(SYSTEMD_PRIVATE), PATIENCE) {
        return Ok(peer);
    }
    let mut bus = Connection::bus(Path::new(SYSTEM_BUS), PATIENCE)?;
    let rule = format!("type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='JobRemoved'");
    let dbus = "org.freedesktop.DBus";
    bus.call(Some(dbus), "/org/freedesktop/DBus", dbus, "AddMatch", vec![Value::text(rule)])?;
    bus.call(Some(SYSTEMD), OBJECT, MANAGER, "Subscribe", Vec::new())?;
    Ok(bus)
}

/// The cgroup that systemd has put a process into.
fn base_of(pid: i32, name: &str) -> Result<std::path::PathBuf> {
    let group = cgroup_of(&pid.to_string()).filter(|group| group.ends_with(name));
    let base = group.and_then(|group| V2_MOUNTS.iter().map(|mount| Path::new(mount).join(&group)).find(|path| path.is_dir()));
    base.ok_or_else(|| Error::new("find", format!("cgroup of scope {name}"), "systemd did not put the process we gave it there"))
}

/// Limits as properties of a unit. They hold twice, as the machine's own cgroup has them too: that one works without systemd.
/// What devices may be used is left to that: systemd's rules know fewer.
fn limits(resources: &Resources) -> Vec<(&'static str, Value)> {
    let mut out = Vec::new();
    for (name, limit) in [
        ("MemoryMax", resources.memory_max),
        ("MemoryHigh", resources.memory_high),
        ("MemoryLow", resources.memory_low),
        ("MemoryMin", resources.memory_min),
        ("MemorySwapMax", resources.memory_swap_max),
        ("TasksMax", resources.tasks_max),
    ] {
        match limit {
            Some(Limit::Infinity) => out.push((name, Value::Uint64(u64::MAX))),
            Some(Limit::Value(number)) => out.push((name, Value::Uint64(number))),
            // Of all that there is, which systemd counts in parts of 2^32.
            Some(Limit::Permyriad(share)) => out.push((scaled(name), Value::Uint32(parts(share)))),
            None => {}
        }
    }
    out.extend(resources.cpu_quota.map(|quota| ("CPUQuotaPerSecUSec", Value::Uint64(quota.0))));
    out.extend(resources.cpu_weight.map(|weight| ("CPUWeight", Value::Uint64(weight))));
    out.extend(resources.io_weight.map(|weight| ("IOWeight", Value::Uint64(weight))));
    out
}

fn scaled(name: &'static str) -> &'static str {
    match name {
        "MemoryMax" => "MemoryMaxScale",
        "MemoryHigh" => "MemoryHighScale",
        "MemoryLow" => "MemoryLowScale",
        "MemoryMin" => "MemoryMinScale",
        "MemorySwapMax" => "MemorySwapMaxScale",
        _ => "TasksMaxScale",
    }
}

fn parts(permyriad: u32) -> u32 {
    u32::try_from(u64::from(permyriad) * u64::from(u32::MAX) / 10_000).unwrap_or(u32::MAX)
}
