//! systemd-machined, so that `machinectl` of the host knows the machine: varlink where it listens there (from 256 on), else D-Bus.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hostel_ipc::dbus::{CallError, Connection, SYSTEM_BUS, Type, Value};
use hostel_spec::{MachineName, MachineUuid};
use serde_json::{Value as Json, json};

use super::{PATIENCE, is_absent};
use crate::error::{Error, Result};

const VARLINK: &str = "/run/systemd/machine/io.systemd.Machine";
const SERVICE: &str = "org.freedesktop.machine1";
const OBJECT: &str = "/org/freedesktop/machine1";
const MANAGER: &str = "org.freedesktop.machine1.Manager";
/// Longest answer, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// What machined is told of a machine.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Its name.
    pub name: &'a MachineName,
    /// Its id.
    pub uuid: MachineUuid,
    /// `$container` inside.
    pub service: &'a str,
    /// PID 1 as the host numbers it.
    pub leader: i32,
    /// Its tree.
    pub root: &'a Path,
    /// Host ends of its cables.
    pub interfaces: Vec<i32>,
}

/// Where machined listens.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    pub(super) varlink: PathBuf,
    pub(super) bus: PathBuf,
}

/// A machine that machined knows of. Dropped, it is told that there is none any more.
#[derive(Debug)]
pub struct Registration {
    sockets: Sockets,
    name: String,
    by_varlink: bool,
}

impl Registration {
    /// Tells machined of a machine. `None`: it is not there, and nobody demanded it.
    pub fn of(facts: &Facts<'_>, demanded: bool) -> Result<Option<Registration>> {
        Self::at(Sockets { varlink: VARLINK.into(), bus: SYSTEM_BUS.into() }, facts, demanded)
    }

    pub(super) fn at(sockets: Sockets, facts: &Facts<'_>, demanded: bool) -> Result<Option<Registration>> {
        let name = facts.name.to_string();
        let error = match register(&sockets, facts) {
            Ok(by_varlink) => return Ok(Some(Registration { sockets, name, by_varlink })),
            Err(error) => error,
        };
        if !demanded && is_absent(&error) {
            return Ok(None);
        }
        let error = Error::new("register", format!("machine {name} with systemd-machined"), error);
        Err(error.hint("it can be started without being registered; hostel lists it all the same"))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // It finds out by itself, too: the leader and its unit are gone.
        if self.by_varlink {
            let _ = varlink(&self.sockets.varlink, "io.systemd.Machine.Unregister", &json!({ "name": self.name }));
        } else if let Ok(mut bus) = Connection::bus(&self.sockets.bus, PATIENCE) {
            let _ = bus.call(Some(SERVICE), OBJECT, MANAGER, "UnregisterMachine", vec![Value::text(self.name.as_str())]);
        }
    }
}

/// Whether it was by varlink.
fn register(sockets: &Sockets, facts: &Facts<'_>) -> std::result::Result<bool, CallError> {
    let parameters = json!({
        "name": facts.name.as_str(), "id": facts.uuid.plain(), "service": facts.service, "class": "container",
        "leader": facts.leader, "rootDirectory": facts.root.to_string_lossy(), "ifIndices": facts.interfaces,
    });
    match varlink(&sockets.varlink, "io.systemd.Machine.Register", &parameters) {
        Ok(()) => return Ok(true),
        // An older one speaks D-Bus only, or knows another interface.
        Err(e) if is_absent(&e) || matches!(&e, CallError::Refused { name, .. } if name.starts_with("org.varlink.service.")) => {}
        Err(e) => return Err(e),
    }
    let indices = facts.interfaces.iter().map(|index| Value::Int32(*index)).collect();
    let body = vec![
        Value::text(facts.name.as_str()),
        Value::Bytes(facts.uuid.bytes().to_vec()),
        Value::text(facts.service),
        Value::text("container"),
        Value::Uint32(facts.leader.unsigned_abs()),
        Value::text(facts.root.to_string_lossy()),
        Value::Array(Type::Basic(b'i'), indices),
    ];
    Connection::bus(&sockets.bus, PATIENCE)?.call(Some(SERVICE), OBJECT, MANAGER, "RegisterMachineWithNetwork", body)?;
    Ok(false)
}

/// One call; nothing of the answer is wanted but that it is none of an error.
fn varlink(socket: &Path, method: &str, parameters: &Json) -> std::result::Result<(), CallError> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut call = json!({ "method": method, "parameters": parameters }).to_string().into_bytes();
    call.push(0);
    stream.write_all(&call)?;
    let mut answer = Vec::new();
    let mut buffer = [0u8; 4096];
    while !answer.contains(&0) {
        let count = stream.read(&mut buffer)?;
        if count == 0 || answer.len() > MAX_ANSWER {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        answer.extend_from_slice(&buffer[..count]);
    }
    let end = answer.iter().position(|b| *b == 0).unwrap_or(answer.len());
    let answer: Json = serde_json::from_slice(&answer[..end]).map_err(|_| CallError::Protocol("it does not speak varlink"))?;
    match answer.get("error").and_then(Json::as_str) {
        None => Ok(()),
        Some(name) => Err(CallError::Refused { name: name.to_owned(), text: name.to_owned() }),
    }
}
