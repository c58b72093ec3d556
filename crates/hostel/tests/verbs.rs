//! The verbs about running machines, on machines that are made up: state files, sockets and logs are real.

mod fake;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fake::{Place, Said, soon};
use hostel::spec::MachineName;
use hostel_ipc::control::{Kill, Request, Whom};
use serde_json::json;

const VERBS_WITH_NAME: [&str; 8] = ["status", "inspect", "console", "logs", "kill", "pause", "resume", "rm"];

#[test]
fn names_are_checked_first() {
    let place = Place::new("names");
    let long = "x".repeat(65);
    let bad =
        [OsStr::new(""), OsStr::new(".."), OsStr::new("a/b"), OsStr::new(&long), OsStr::from_bytes(b"a\xff"), OsStr::new("a b"), OsStr::new("ü")];
    for verb in VERBS_WITH_NAME {
        for name in bad {
            let said = place.hostel(&[OsStr::new(verb), name]);
            assert_eq!(said.code, Some(2), "{verb} {name:?}: {said:?}");
            assert!(said.err.starts_with("hostel: use name ") && said.err.lines().count() == 2 && said.out.is_empty(), "{verb} {name:?}: {said:?}");
        }
        // None at all, and two.
        assert_eq!(place.hostel(&[verb]).code, Some(2), "{verb}");
        assert_eq!(place.hostel(&[verb, "a", "b"]).code, Some(2), "{verb}");
    }
    assert!(!fake::exists(&place.path.join("run")), "nothing was made");
}

#[test]
fn machines_that_do_not_run() {
    let place = Place::new("absent");
    for verb in VERBS_WITH_NAME.into_iter().filter(|v| *v != "rm") {
        let said = place.hostel(&[verb, "nope"]);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{verb}: {said:?}");
        let lines: Vec<&str> = said.err.lines().collect();
        assert_eq!(lines[0], "hostel: find machine nope: it does not run", "{verb}");
        assert!(lines.len() == 2 && lines[1].starts_with("hint: "), "{verb}: {said:?}");
    }
    // A dead one does not run either, and the hint says what to do.
    place.machine("dead").die();
    for verb in ["status", "kill", "pause", "console", "inspect"] {
        let said = place.hostel(&[verb, "dead"]);
        assert!(said.code == Some(1) && said.err.contains("does not run") && said.err.contains("hostel clean"), "{verb}: {said:?}");
    }
}

#[test]
fn listing() {
    let place = Place::new("ps");
    assert_eq!(place.hostel(&["ps"]).out, "", "no machines, no heading");
    assert_eq!(place.hostel(&["ps", "--json"]).json(), json!([]));

    let web = place.machine("web");
    let starting = place.registry().claim(&MachineName::new("early").unwrap()).unwrap();
    let broken = place.machine("broken");
    std::fs::write(broken.file("state.json"), "{\"version\":1,\"name\":\"\x1b[31m").unwrap();
    place.machine("gone").die();

    let said = place.hostel(&["ps"]);
    let rows: Vec<Vec<&str>> = said.out.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "STATE", "INIT", "LEADER", "UPTIME", "ADDRESS", "MEMORY"]);
    assert_eq!(rows[1][..4], ["broken", "damaged", "-", "-"]);
    assert_eq!(rows[2][..4], ["early", "starting", "-", "-"]);
    let leader = web.leader.id().to_string();
    assert_eq!(rows[3][..4], ["web", "running", "dinit", &leader]);
    assert_eq!(rows[3][5..], ["10.0.0.2", "-"]);
    assert_eq!(rows.len(), 4);
    assert!(!said.out.contains('\x1b'));
    assert_eq!(place.hostel(&["ps", "-q"]).out, "broken\nearly\nweb\n");
    // This host may have trees and kept machines, which are listed, too.
    const OURS: [&str; 4] = ["broken", "early", "gone", "web"];
    let said = place.hostel(&["ps", "-aq"]);
    assert_eq!(said.out.lines().filter(|l| OURS.contains(l)).collect::<Vec<_>>(), OURS);

    let all = place.hostel(&["ps", "--all", "--json"]).json();
    let all: Vec<_> = all.as_array().unwrap().iter().filter(|m| m["name"].as_str().is_some_and(|n| OURS.contains(&n))).collect();
    let mut keys: Vec<&String> = all[3].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["addresses", "init", "leader", "memory_bytes", "memory_resident_bytes", "name", "state", "supervisor", "tree", "trouble", "uptime_seconds"]
    );
    assert_eq!(all[3]["leader"], json!(web.leader.id()));
    assert_eq!(all[3]["tree"], json!("/srv/tree"));
    assert_eq!(
        (&all[2]["name"], &all[2]["state"], &all[2]["leader"]),
        (&json!("gone"), &json!("dead"), &json!(null)),
        "a dead machine's numbers mean nothing"
    );
    assert!(all[0]["trouble"].as_str().is_some_and(|t| t.contains("state.json")));
    drop(starting);
}

#[test]
fn looking_at_one() {
    let place = Place::new("status");
    let mut web = place.machine("web");
    web.serve();
    std::fs::write(web.file("console.log"), "one\n\x1b[31mtwo\x1b[0m\x1b[2J\r\n").unwrap();
    let said = place.hostel(&["status", "web"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for line in [
        "    machine: web\n",
        "      state: running, ready: all\\u{1b}[2J well\n",
        "       tree: /srv/tree\n",
        "    address: 10.0.0.2\n",
        "    console: auto, log of 22B\n",
        "\n\n  one\n  two\n",
    ] {
        assert!(said.out.contains(line), "{line:?} in {}", said.out);
    }
    assert!(!said.out.contains('\x1b'), "nothing a terminal obeys");

    let value = place.hostel(&["inspect", "web"]).json();
    assert_eq!(value["machine"]["leader"]["pid"], json!(web.leader.id()));
    assert_eq!(value["supervisor"]["status_text"], json!("all\x1b[2J well"));
    assert_eq!(value["supervisor_error"], json!(null));
    assert_eq!(place.hostel(&["status", "--json", "web"]).json()["name"], json!("web"));
    let mut keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["directory", "frozen", "machine", "name", "state", "stats", "supervisor", "supervisor_error", "tree", "trouble", "upper", "uptime_seconds"]
    );

    // Nobody answers: said, and soon.
    let quiet = place.machine("quiet");
    let value = place.hostel(&["inspect", "quiet"]).json();
    assert_eq!((&value["supervisor"], &value["supervisor_error"]), (&json!(null), &json!("connect to the supervisor: nobody listens")));
    let _hung = hostel_ipc::control::Server::bind(quiet.claim.directory()).unwrap();
    let before = Instant::now();
    let said = place.hostel(&["status", "quiet"]);
    assert!(said.code == Some(0) && said.out.contains("no answer within 1s"), "{said:?}");
    assert!(before.elapsed() < Duration::from_secs(5));

    // Damaged: said, with the process to look at.
    std::fs::write(quiet.file("state.json"), "").unwrap();
    let said = place.hostel(&["pause", "quiet"]);
    assert!(said.code == Some(1) && said.err.contains("it is empty") && said.err.contains("hint: its supervisor is process"), "{said:?}");
    assert!(place.hostel(&["status", "quiet"]).out.contains("state: damaged ("));
}

#[test]
fn signals() {
    let place = Place::new("kill");
    let mut web = place.machine("web");
    web.serve();
    assert_eq!(place.hostel(&["kill", "web", "-s", "HUP"]).code, Some(0));
    assert_eq!(place.hostel(&["kill", "web", "--signal=9", "--whom", "all"]).code, Some(0));
    let kill = |signal, whom| Request::Kill(Kill { signal, whom });
    assert_eq!(web.asked(), [kill(1, Whom::Leader), kill(9, Whom::All)]);
    assert!(web.leader.try_wait().unwrap().is_none(), "it was left to the supervisor");

    // Without a supervisor that answers: directly, by identity.
    let mut deaf = place.machine("deaf");
    assert_eq!(place.hostel(&["kill", "deaf", "-s", "USR1"]).code, Some(0));
    assert_eq!(deaf.leader.wait().unwrap().signal(), Some(10));
    let said = place.hostel(&["kill", "deaf"]);
    assert_eq!((said.code, said.err.as_str()), (Some(1), "hostel: kill PID 1 of machine deaf: it does not run\n"));
    let said = place.hostel(&["kill", "deaf", "--whom", "all"]);
    assert!(said.err.contains("it has no cgroup of its own"), "{said:?}");
    assert_eq!(place.hostel(&["kill", "deaf", "--whom=supervisor"]).code, Some(0));
    assert_eq!(deaf.supervisor.wait().unwrap().signal(), Some(15));

    // A number that another process has now: the start time tells.
    let mut other = place.machine("other");
    let mut state = other.state.clone();
    state.leader.as_mut().unwrap().start += 1;
    other.claim.write_state(&state).unwrap();
    assert_eq!(place.hostel(&["kill", "other", "-s9"]).code, Some(1));
    assert!(other.leader.try_wait().unwrap().is_none());
    // No cgroup recorded, none frozen.
    let said = place.hostel(&["pause", "other"]);
    assert!(said.code == Some(1) && said.err.contains("it has no cgroup of its own"), "{said:?}");
}

#[test]
fn logs_while_it_runs_and_afterwards() {
    let place = Place::new("logs");
    let web = place.machine("web");
    let said = place.hostel(&["logs", "web"]);
    assert!(said.code == Some(1) && said.err.contains("it has none"), "{said:?}");

    std::fs::write(web.file("console.log.1"), "a\nb\n").unwrap();
    std::fs::write(web.file("console.log"), "c\nd").unwrap();
    assert_eq!(place.hostel(&["logs", "web"]).out, "a\nb\nc\nd");
    for (lines, want) in [("0", ""), ("1", "d"), ("3", "b\nc\nd"), ("99", "a\nb\nc\nd")] {
        assert_eq!(place.hostel(&["logs", "-n", lines, "web"]).out, want, "{lines}");
    }

    // Followed over a rotation to the end.
    let out = place.path.join("followed");
    let mut follower = place.command(&["logs", "-fn1", "web"]).stdout(std::fs::File::create(&out).unwrap()).stderr(Stdio::piped()).spawn().unwrap();
    let seen = |text: &str| std::fs::read_to_string(&out).unwrap() == text;
    soon("the first lines", || seen("d"));
    let append = |name: &str, text: &str| {
        std::fs::OpenOptions::new().append(true).create(true).open(web.file(name)).unwrap().write_all(text.as_bytes()).unwrap()
    };
    append("console.log", "\ne\n");
    soon("what came", || seen("d\ne\n"));
    std::fs::rename(web.file("console.log"), web.file("console.log.1")).unwrap();
    append("console.log", "f\n");
    soon("what came after rotation", || seen("d\ne\nf\n"));
    assert!(follower.try_wait().unwrap().is_none());
    append("console.log", "last\n");
    // As at the end of a session: the log is moved away, the directory goes, the supervisor ends.
    let kept = place.path.join("run/logs");
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::rename(web.file("console.log.1"), kept.join("web.log.1")).unwrap();
    std::fs::rename(web.file("console.log"), kept.join("web.log")).unwrap();
    web.die();
    std::fs::remove_dir_all(place.path.join("run/machines/web")).unwrap();
    let said = Said::from(follower.wait_with_output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (Some(0), "Machine web has ended.\n"));
    assert!(seen("d\ne\nf\nlast\n"), "{:?}", std::fs::read_to_string(&out));

    // Afterwards.
    assert_eq!(place.hostel(&["logs", "web"]).out, "c\nd\ne\nf\nlast\n");
    assert_eq!(place.hostel(&["logs", "web", "-n2"]).out, "f\nlast\n");
    assert_eq!(place.hostel(&["logs", "web", "-fn1"]).out, "last\n");
    let said = place.hostel(&["clean", "--logs"]);
    assert!(said.out.contains("removed console log of web\n"), "{said:?}");
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0);
    assert_eq!(place.hostel(&["logs", "web"]).code, Some(1));
}

#[test]
fn a_log_is_no_link() {
    let place = Place::new("loglink");
    let kept = place.path.join("run/logs");
    place.registry();
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(place.path.join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(place.path.join("secret"), kept.join("a.log")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, kept.join("b.log"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    for name in ["a", "b"] {
        let said = place.hostel(&["logs", name]);
        assert!(said.code == Some(1) && said.out.is_empty() && said.err.starts_with("hostel: read console log of machine"), "{said:?}");
    }
}

#[test]
fn readers_that_go_away() {
    let place = Place::new("pipe");
    let web = place.machine("web");
    std::fs::write(web.file("console.log"), "x\n".repeat(200_000)).unwrap();
    for args in [&["logs", "web"][..], &["logs", "-f", "web"], &["help"], &["ps"]] {
        let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said = Said::from(child.wait_with_output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args:?}");
    }
    for args in [&["ps"][..], &["help"], &["inspect", "web"]] {
        let said = Said::from(place.command(args).stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap()).output().unwrap());
        assert!(said.code == Some(1) && said.err == "hostel: write standard output: No space left on device\n", "{args:?}: {said:?}");
    }
}

/// What verbs say on the way, and whether anybody hears it, changes nothing.
#[test]
fn nobody_listens() {
    let place = Place::new("deaf");
    let _web = place.machine("web");
    place.machine("gone").die();
    let lines: [&[&str]; 14] = [
        &["fly"],
        &["help", "fly"],
        &["ps", "-x"],
        &["status", "none"],
        &["stop", "none"],
        &["stop", "--strict", "none"],
        &["stop", "-t0.1", "--no-kill", "gone"],
        &["exec", "none", "true"],
        &["exec", "web", "true"],
        &["logs", "-f", "none"],
        &["kill", "-s", "HUP", "none"],
        &["rm", "none"],
        &["run", "--tree", "/nowhere", "true"],
        &["nspawn", "-D", "/nowhere", "true"],
    ];
    for args in lines {
        let usual = place.hostel(args);
        let terminal = hung_up();
        let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let closed = || Stdio::from(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap().1);
        for (what, stderr) in [("full", Stdio::from(full())), ("closed", closed()), ("hung up", Stdio::from(terminal.try_clone().unwrap()))] {
            let said = Said::from(place.command(args).stderr(stderr).output().unwrap());
            assert_eq!((said.code, &said.out), (usual.code, &usual.out), "{args:?}, standard error {what}");
        }
    }
    for args in [&["help"][..], &["ps"], &["inspect", "web"], &["spec", "run", "true"], &["spec", "--json", "run", "true"]] {
        let said = Said::from(place.command(args).stdout(hung_up()).output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args:?}, standard output hung up");
    }
}

/// A terminal whose other end is gone: writing to it is an input/output error.
fn hung_up() -> std::fs::File {
    let master = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let path = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    drop(master);
    slave.into()
}

#[test]
fn help_everywhere() {
    let place = Place::new("help");
    for verb in VERBS_WITH_NAME.iter().chain(&["ps", "clean", "link", "doctor"]) {
        let wanted = place.hostel(&["help", verb]);
        assert!(wanted.code == Some(0) && wanted.out.starts_with(&format!("hostel {verb} ")), "{verb}");
        for args in [&["--help"][..], &["-h"], &["x", "--help"]] {
            if args.len() == 2 && matches!(*verb, "ps" | "clean" | "doctor") {
                continue;
            }
            let args: Vec<&str> = std::iter::once(*verb).chain(args.iter().copied()).collect();
            assert_eq!(place.hostel(&args).out, wanted.out, "{args:?}");
        }
    }
    assert!(!fake::exists(&place.path.join("run")));
    let said = place.hostel(&[OsString::from("fly")]);
    assert_eq!(said.code, Some(2));
}
