//! The verbs about the host: doctor, clean, link, rm.

#![allow(clippy::disallowed_macros)] // a skipped test says so

mod fake;

use std::collections::HashSet;
use std::os::unix::process::CommandExt;

use fake::{Place, Said, is_root};
use serde_json::{Value, json};

/// Mounts and links before and after, in namespaces of our own whose mounts propagate: others work on this host, too.
const WATCHED: &str = "\
mount --make-rshared / || exit 99
see() { cat /proc/self/mountinfo; sed 's/:.*//' /proc/net/dev; ls /; }
see > \"$DIR/before\"; \"$HOSTEL\" doctor --json > /dev/null; see > \"$DIR/after\"; cmp \"$DIR/before\" \"$DIR/after\"
";

#[test]
fn the_doctor_leaves_nothing() {
    if !is_root() {
        println!("skipped: needs root");
        return;
    }
    let place = Place::new("doctor-traces");
    let mut watched = std::process::Command::new("unshare");
    watched
        .args(["-mn", "sh", "-c", WATCHED])
        .env("DIR", &place.path)
        .env("HOSTEL", env!("CARGO_BIN_EXE_hostel"))
        .env("HOSTEL_RUNTIME_DIR", place.path.join("run"));
    match watched.output() {
        Ok(output) => assert!(output.status.success(), "{:?}", Said::from(output)),
        Err(e) => println!("skipped: unshare: {e}"),
    }
    assert!(!fake::exists(&place.path.join("run")), "not even the state directory");
}

#[test]
fn rows_of_the_doctor() {
    let place = Place::new("doctor");
    let said = place.hostel(&["doctor", "--json"]);
    let report = said.json();
    let rows = report["findings"].as_array().unwrap();
    let names: HashSet<&str> = rows.iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(names.len(), rows.len());
    for wanted in [
        "kernel",
        "root",
        "capabilities",
        "namespace user",
        "seccomp",
        "cgroups",
        "overlay",
        "idmapped mounts on /",
        "veth",
        "tool tar",
        "state directory",
    ] {
        assert!(names.contains(wanted), "{wanted} in {names:?}");
    }
    for row in rows {
        let mut keys: Vec<&String> = row.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["do", "found", "means", "name", "needed", "state"]);
        assert!(matches!(row["state"].as_str(), Some("ok" | "limited" | "missing")), "{row}");
        assert!(row["means"].as_str().is_some_and(|m| !m.is_empty()), "{row}");
        assert!(row["state"] != "ok" || row["do"] == Value::Null, "{row}");
    }
    let lacking = rows.iter().any(|r| r["needed"] == json!(true) && r["state"] == "missing");
    assert_eq!((said.code, &report["can_run"]), (Some(i32::from(lacking)), &json!(!lacking)));
    let text = place.hostel(&["doctor"]);
    assert!(text.out.ends_with(").\n") || text.out.contains("cannot run machines"), "{text:?}");
}

#[test]
fn the_doctor_without_root() {
    if !is_root() {
        println!("skipped: not root, cannot become another user");
        return;
    }
    // Somebody else has to be able to reach the binary.
    let place = Place::new("doctor-user");
    let copy = std::env::temp_dir().join(format!("hostel-doctor-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_hostel"), &copy).unwrap();
    let said = std::process::Command::new(&copy)
        .args(["doctor", "--json"])
        .env("HOSTEL_RUNTIME_DIR", place.path.join("run"))
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .output();
    std::fs::remove_file(&copy).unwrap();
    let said = Said::from(said.unwrap());
    let report = said.json();
    let state = |name: &str| report["findings"].as_array().unwrap().iter().find(|r| r["name"] == name).map(|r| r["state"].clone());
    assert_eq!((said.code, state("root")), (Some(1), Some(json!("missing"))));
    assert_eq!(state("namespace pid"), Some(json!("missing")));
}

#[test]
fn cleaning() {
    let place = Place::new("clean");
    place.machine("dead").die();
    let alive = place.machine("alive");
    let done = place.hostel(&["clean", "--json"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let mut keys: Vec<String> = done.json().as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["failures", "logs", "machines", "trees"]);
    assert_eq!(done.json()["machines"], json!([{"name": "dead", "undone": 1, "clean": true}]));
    assert_eq!(listed(&place, &["alive", "dead", "broken"]), ["alive"]);
    // What cannot be taken back is told, and stays.
    let broken = place.machine("broken");
    let path = broken.file("undo");
    broken.die();
    std::fs::write(path, "{\"undo\":\"directory\",\"path\":\"/etc\"}\n").unwrap();
    let said = place.hostel(&["clean"]);
    assert!(said.code == Some(1) && said.err.contains("broken") && said.err.contains("/etc"), "{said:?}");
    assert_eq!(listed(&place, &["alive", "dead", "broken"]), ["alive", "broken"]);
    drop(alive);
}

/// Which of these names are listed; this host may have trees and kept machines of its own.
fn listed(place: &Place, names: &[&str]) -> Vec<String> {
    place.hostel(&["ps", "-aq"]).out.lines().filter(|l| names.contains(l)).map(str::to_owned).collect()
}

#[test]
fn linking() {
    let place = Place::new("link");
    let bin = place.path.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let dir = bin.to_str().unwrap();
    let said = place.hostel(&["link", dir]);
    assert!(said.code == Some(0) && said.out.contains("systemd-nspawn -> "), "{said:?}");
    // The link is the personality.
    let version = std::process::Command::new(bin.join("systemd-nspawn")).arg("--version").output().unwrap();
    assert!(version.status.success());
    assert!(place.hostel(&["link", dir]).out.contains("is there"));
    std::fs::remove_file(bin.join("systemd-nspawn")).unwrap();
    std::fs::write(bin.join("systemd-nspawn"), "theirs").unwrap();
    let said = place.hostel(&["link", dir, "--hard"]);
    assert!(said.code == Some(1) && said.err.contains("it is not hostel") && said.err.contains("--force"), "{said:?}");
    assert_eq!(std::fs::read(bin.join("systemd-nspawn")).unwrap(), b"theirs");
    assert_eq!(place.hostel(&["link", dir, "--copy", "--force"]).code, Some(0));
    assert_eq!(place.hostel(&["link", "/nonexistent/dir"]).code, Some(1));
}

#[test]
fn removing() {
    let place = Place::new("rm");
    let name = format!("hostel-test-rm-{}", std::process::id());
    let said = place.hostel(&["rm", &name]);
    assert!(said.code == Some(1) && said.err.contains("no machine is kept under this name"), "{said:?}");
    let said = place.hostel(&["rm", &name, "--tree"]);
    assert!(said.code == Some(1) && said.err.contains("there is none"), "{said:?}");
    if !is_root() {
        println!("skipped: the rest needs root");
        return;
    }
    let kept = std::path::Path::new("/var/lib/hostel/machines").join(&name);
    let tree = std::path::Path::new("/var/lib/machines").join(&name);
    for dir in [kept.join("upper/etc"), kept.join("work"), tree.join("usr")] {
        std::fs::create_dir_all(dir).unwrap();
    }
    // Nobody can be asked: nothing is deleted.
    let said = place.hostel(&["rm", &name, "--tree"]);
    assert!(said.code == Some(2) && said.err.contains("--yes") && tree.is_dir(), "{said:?}");
    let running = place.machine(&name);
    let said = place.hostel(&["rm", &name]);
    assert!(said.code == Some(3) && said.err.contains("it is running") && kept.is_dir(), "{said:?}");
    running.die();
    assert_eq!(place.hostel(&["rm", &name]).code, Some(0));
    assert!(!kept.exists() && tree.is_dir());
    assert_eq!(place.hostel(&["rm", &name, "--tree", "--yes"]).code, Some(0));
    assert!(!tree.exists());
    assert!(listed(&place, &[&name]).is_empty());
}
