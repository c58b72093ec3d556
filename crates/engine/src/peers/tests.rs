//! machined as servers that listen only in the tests; the real one, and scopes, are cases of `tests/vm`.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use hostel_spec::{HostUnit, MachineName, MachineUuid, Register, UnitPlace};

use super::machined::{Facts, Registration, Sockets};
use super::{look, scope};

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("hostel-peers-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn sockets(dir: &Path) -> Sockets {
    Sockets { varlink: dir.join("varlink"), bus: dir.join("bus") }
}

/// Answers that many connections with one of these each; returns what was asked.
fn varlink(path: &Path, answers: Vec<&'static str>) -> JoinHandle<Vec<serde_json::Value>> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            let mut byte = [0u8];
            while stream.read(&mut byte).unwrap() == 1 && byte[0] != 0 {
                text.push(byte[0]);
            }
            asked.push(serde_json::from_slice(&text).unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
            stream.write_all(&[0]).unwrap();
        }
        asked
    })
}

fn register(dir: &Path, demanded: bool) -> crate::error::Result<Option<Registration>> {
    let name = MachineName::new("web-1").unwrap();
    let uuid = MachineUuid::parse("00112233445566778899aabbccddeeff").unwrap();
    let facts = Facts { name: &name, uuid, service: "systemd-nspawn", leader: 77, root: Path::new("/srv/web"), interfaces: vec![5] };
    Registration::at(sockets(dir), &facts, demanded)
}

#[test]
fn by_varlink() {
    let dir = directory("varlink");
    let server = varlink(&dir.join("varlink"), vec![r#"{"parameters":{}}"#, r#"{"parameters":{}}"#]);
    let registration = register(&dir, true).unwrap();
    assert!(registration.is_some());
    drop(registration);
    let asked = server.join().unwrap();
    assert_eq!(asked[0]["method"], "io.systemd.Machine.Register");
    let parameters = &asked[0]["parameters"];
    assert_eq!(parameters["name"], "web-1");
    assert_eq!(parameters["id"], "00112233445566778899aabbccddeeff");
    assert_eq!(parameters["leader"], 77);
    assert_eq!(parameters["class"], "container");
    assert_eq!(parameters["rootDirectory"], "/srv/web");
    assert_eq!(parameters["ifIndices"], serde_json::json!([5]));
    assert_eq!(asked[1]["method"], "io.systemd.Machine.Unregister");
    assert_eq!(asked[1]["parameters"], serde_json::json!({ "name": "web-1" }));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn refusals() {
    let dir = directory("refused");
    // nobody is there: only who demands it minds
    assert!(register(&dir, false).unwrap().is_none());
    let error = register(&dir, true).unwrap_err().to_string();
    assert!(error.starts_with("register machine web-1 with systemd-machined: No such file"), "{error}");
    // it says no, and is not asked again over the bus
    let server = varlink(&dir.join("varlink"), vec![r#"{"error":"io.systemd.Machine.MachineExists","parameters":{}}"#]);
    let error = register(&dir, false).unwrap_err().to_string();
    assert!(error.contains("io.systemd.Machine.MachineExists"), "{error}");
    server.join().unwrap();
    std::fs::remove_file(dir.join("varlink")).unwrap();
    // an older one knows no such method: the bus is next, which is not there
    let server = varlink(&dir.join("varlink"), vec![r#"{"error":"org.varlink.service.MethodNotFound"}"#]);
    assert!(register(&dir, false).unwrap().is_none());
    server.join().unwrap();
    std::fs::remove_file(dir.join("varlink")).unwrap();
    let server = varlink(&dir.join("varlink"), vec!["no JSON"]);
    let error = register(&dir, false).unwrap_err().to_string();
    assert!(error.ends_with("it does not speak varlink"), "{error}");
    server.join().unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn names_of_scopes() {
    assert_eq!(scope::name_of(&MachineName::new("my-web.1").unwrap()), "machine-my\\x2dweb.1.scope");
}

#[test]
fn who_is_told_to_nobody_asks_nothing() {
    assert_eq!(look(&HostUnit::default()), None);
    let wanted = HostUnit { place: UnitPlace::Scope, slice: None, register: Register::Auto };
    assert_eq!(look(&wanted).is_some(), Path::new("/run/systemd/system").exists());
}
