//! A server and its clients in one process; wrong users from another one.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::net::SendFlags;

use super::server::may_connect;
use super::*;

struct Dir(PathBuf, std::os::fd::OwnedFd);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("hostel-ipc-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let fd = open_dir(&path);
        Dir(path, fd)
    }
}
impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn open_dir(path: &std::path::Path) -> std::os::fd::OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

const LONG: Duration = Duration::from_secs(5);

/// Accepts everybody and collects what everybody sent, as owned data.
fn serve(server: &mut Server) -> Vec<(u32, String)> {
    while server.accept().unwrap() {}
    let ids: Vec<u32> = server.clients().map(|(id, _)| id).collect();
    let mut seen = Vec::new();
    let mut buf = [0; MAX_REQUEST];
    for id in ids {
        loop {
            match server.receive(id, &mut buf) {
                Incoming::Nothing => break,
                Incoming::Closed => {
                    server.close(id);
                    seen.push((id, "closed".into()));
                    break;
                }
                Incoming::Request(r) => seen.push((id, r.method())),
                Incoming::Data(d) => seen.push((id, format!("data {}", String::from_utf8_lossy(d)))),
            }
        }
    }
    seen
}

fn receive(c: &Connection) -> Result<String, CallError> {
    let mut buf = [0; MAX_PACKET];
    Ok(format!("{:?}", c.receive(&mut buf, Some(Instant::now() + Duration::from_millis(200)))?))
}

fn data(lost: u64, bytes: &str) -> String {
    format!("{:?}", Received::Data { lost, bytes: bytes.as_bytes() })
}

#[test]
fn requests_round_trip() {
    let requests = [
        Request::Ping,
        Request::Status,
        Request::Stop(Stop { timeout_ms: Some(5), force: true }),
        Request::Reboot,
        Request::Kill(Kill { signal: 37, whom: Whom::All }),
        Request::Console(Console { window: Some(Window { rows: 1, cols: 2 }), replay: 3, read_only: true }),
        Request::Resize(Window { rows: 65535, cols: 0 }),
        Request::SetDesired(SetDesired { desired: Desired::Off }),
    ];
    for request in requests {
        assert_eq!(Request::parse(&request.to_json()).unwrap(), request);
    }
    let short = br#"{"method":"io.hostel.Machine.Stop"}"#;
    assert_eq!(Request::parse(short).unwrap(), Request::Stop(Stop::default()));
    assert_eq!(
        String::from_utf8(Request::Kill(Kill { signal: 9, whom: Whom::Leader }).to_json()).unwrap(),
        r#"{"method":"io.hostel.Machine.Kill","parameters":{"signal":9,"whom":"leader"}}"#
    );
}

#[test]
fn bad_requests_are_refused() {
    let deep = [vec![b'['; 4000], b"{}".to_vec()].concat();
    let table: &[(&[u8], &str)] = &[
        (b"", "BadRequest"),
        (b"{", "BadRequest"),
        (b"\0\0\0\0", "BadRequest"),
        (b"{}", "BadRequest"),
        (b"null", "BadRequest"),
        (&deep, "BadRequest"),
        (br#"{"method":"Ping"}"#, "MethodNotFound"),
        (br#"{"method":"io.hostel.Machine."}"#, "MethodNotFound"),
        (br#"{"method":"io.hostel.Machine.Kill"}"#, "BadRequest"),
        (br#"{"method":"io.hostel.Machine.Kill","parameters":{"signal":0}}"#, "BadRequest"),
        (br#"{"method":"io.hostel.Machine.Kill","parameters":{"signal":65}}"#, "BadRequest"),
        (br#"{"method":"io.hostel.Machine.Kill","parameters":{"signal":9,"whom":"you"}}"#, "BadRequest"),
        (br#"{"method":"io.hostel.Machine.Stop","parameters":{"timeout_ms":-1}}"#, "BadRequest"),
        (br#"{"method":"io.hostel.Machine.Stop","parameters":{"timeuot_ms":1}}"#, "BadRequest"),
        (br#"{"method":"io.hostel.Machine.Resize","parameters":{"rows":70000,"cols":1}}"#, "BadRequest"),
        (br#"{"method":"io.hostel.Machine.SetDesired","parameters":[]}"#, "BadRequest"),
    ];
    for (packet, name) in table {
        assert_eq!(Request::parse(packet).unwrap_err().name, *name, "{}", String::from_utf8_lossy(packet));
    }
}

#[test]
fn a_call_and_its_answer() {
    let dir = Dir::new("call");
    let mut server = Server::bind(dir.1.as_fd()).unwrap();
    assert_eq!(std::fs::metadata(dir.0.join("control")).unwrap().permissions().mode() & 0o777, 0o600);
    let thread = {
        let dir = rustix::io::fcntl_dupfd_cloexec(&dir.1, 3).unwrap();
        std::thread::spawn(move || {
            let mut c = Connection::connect(dir.as_fd(), LONG).unwrap();
            let status: Status = c.call(&Request::Status).unwrap();
            let refused = c.call::<Value>(&Request::Reboot).unwrap_err();
            (status, refused.to_string())
        })
    };
    let end = Instant::now() + LONG;
    let mut answered = 0;
    while answered < 2 && Instant::now() < end {
        for (id, what) in serve(&mut server) {
            answered += 1;
            if what.ends_with("Status") {
                assert!(server.reply(id, &Status { leader: 7, status_text: "é".into(), ..Status::default() }));
            } else {
                assert!(server.refuse(id, &Refusal::new(Refusal::FAILED, "no")));
            }
        }
    }
    let (status, refused) = thread.join().unwrap();
    assert_eq!((status.leader, status.status_text.as_str(), refused.as_str()), (7, "é", "no"));
}

#[test]
fn hostile_packets() {
    let dir = Dir::new("hostile");
    let mut server = Server::bind(dir.1.as_fd()).unwrap();
    let connect = || Connection::connect(dir.1.as_fd(), LONG).unwrap();
    let send = |c: &Connection, bytes: &[u8]| {
        rustix::net::send(c, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).unwrap();
    };

    let long = connect();
    send(&long, &[b'{'; MAX_REQUEST + 1]);
    assert_eq!(serve(&mut server), [(0, "closed".to_owned())]);
    assert!(receive(&long).unwrap().contains("at most 4096"));
    assert_eq!(receive(&long).unwrap(), "Closed");

    let empty = connect();
    send(&empty, b"");
    assert_eq!(serve(&mut server), [(1, "closed".to_owned())]);

    let rubbish = connect();
    send(&rubbish, &[0xff; MAX_REQUEST]);
    assert_eq!(serve(&mut server), []);
    assert!(receive(&rubbish).unwrap().contains("BadRequest"));
    send(&rubbish, b"Dtyped without a console");
    assert_eq!(serve(&mut server), [], "ignored");
    rubbish.post(&Request::Ping).unwrap();
    assert_eq!(serve(&mut server), [(2, "io.hostel.Machine.Ping".to_owned())], "and it still serves");

    // A client that asks and asks, and never reads: it is dropped, and nobody waits.
    let start = Instant::now();
    let mut dropped = false;
    while !dropped && start.elapsed() < LONG {
        let _ = rubbish.post(&Request::Status);
        for (id, _) in serve(&mut server) {
            if !server.reply(id, &Status::default()) {
                server.close(id);
                dropped = true;
            }
        }
    }
    assert!(dropped);
}

#[test]
fn many_visitors_one_slow_one_gone() {
    let dir = Dir::new("many");
    let mut server = Server::bind(dir.1.as_fd()).unwrap();
    let visitors: Vec<_> = (0..10).map(|_| Connection::connect(dir.1.as_fd(), LONG).unwrap()).collect();
    for v in &visitors {
        v.post(&Request::Console(Console::default())).unwrap();
    }
    for (id, _) in serve(&mut server) {
        assert!(server.reply(id, &Value::Null));
        server.attach(id, id == 1);
        server.send_data(id, b"replayed");
    }
    assert_eq!(server.visitors(), 10);
    for v in &visitors {
        assert!(receive(v).unwrap().starts_with("Reply"));
        assert_eq!(receive(v).unwrap(), data(0, "replayed"));
    }
    assert!(visitors[0].type_in(b"ls\n").unwrap() && visitors[1].type_in(b"read only").unwrap());
    assert_eq!(serve(&mut server), [(0, "data ls\n".to_owned())]);

    let mut visitors = visitors;
    drop(visitors.remove(5));
    let start = Instant::now();
    let mut sent = 0u64;
    let mut got = 0u64;
    let mut buf = vec![0; MAX_PACKET];
    for _ in 0..500 {
        server.broadcast(&[b'x'; 16 << 10]);
        sent += 16 << 10;
        while let Ok(Received::Data { bytes, lost: 0 }) = visitors[3].receive(&mut buf, Some(Instant::now())) {
            got += bytes.len() as u64;
        }
    }
    assert!(start.elapsed() < LONG, "nobody was waited for");
    assert_eq!(got, sent, "the quick one has it all");
    assert!(serve(&mut server).contains(&(5, "closed".to_owned())));

    // The slow one reads now: what was queued, then how much it missed and what is new.
    let mut early = 0;
    while let Ok(Received::Data { bytes, lost: 0 }) = visitors[7].receive(&mut buf, Some(Instant::now())) {
        early += bytes.len() as u64;
    }
    server.broadcast(b"new");
    assert_eq!(receive(&visitors[7]).unwrap(), data(sent - early, "new"));
    server.broadcast(b"more");
    assert_eq!(receive(&visitors[7]).unwrap(), data(0, "more"));

    let ended = Event::Ended(Ended { signal: Some(2), ..Ended::default() });
    server.announce(&ended);
    drop(server);
    while let Ok(Received::Data { .. } | Received::Event(_)) = visitors[3].receive(&mut buf, Some(Instant::now())) {}
    assert_eq!(receive(&visitors[3]).unwrap(), "Closed");
}

#[test]
fn the_end_is_announced_to_who_asked() {
    let dir = Dir::new("end");
    let mut server = Server::bind(dir.1.as_fd()).unwrap();
    let (asked, other) = (Connection::connect(dir.1.as_fd(), LONG).unwrap(), Connection::connect(dir.1.as_fd(), LONG).unwrap());
    serve(&mut server);
    server.listen(0);
    let event = Event::Ended(Ended { code: Some(3), timed_out: true, ..Ended::default() });
    server.announce(&event);
    assert_eq!(receive(&asked).unwrap(), format!("{:?}", Received::Event(event)));
    drop(server);
    assert_eq!((receive(&asked).unwrap(), receive(&other).unwrap()), ("Closed".into(), "Closed".into()));
}

#[test]
fn a_dead_or_hung_supervisor() {
    let dir = Dir::new("hung");
    let short = Duration::from_millis(100);
    assert!(matches!(Connection::connect(dir.1.as_fd(), short), Err(CallError::NobodyListens)));
    drop(Server::bind(dir.1.as_fd()).unwrap());
    assert!(matches!(Connection::connect(dir.1.as_fd(), short), Err(CallError::NobodyListens)), "a socket left behind");

    let _hung = Server::bind(dir.1.as_fd()).unwrap();
    let start = Instant::now();
    let mut connected = Vec::new();
    loop {
        match Connection::connect(dir.1.as_fd(), short) {
            Ok(c) => connected.push(c),
            Err(e) => {
                assert!(matches!(e, CallError::TimedOut(_)), "{e}");
                break;
            }
        }
        assert!(connected.len() < 1000);
    }
    assert!(matches!(connected[0].call::<Value>(&Request::Ping), Err(CallError::TimedOut(_))));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn there_is_a_limit_on_clients() {
    let dir = Dir::new("limit");
    let mut server = Server::bind(dir.1.as_fd()).unwrap();
    let mut all = Vec::new();
    for _ in 0..70 {
        all.push(Connection::connect(dir.1.as_fd(), LONG).unwrap());
        serve(&mut server);
    }
    assert_eq!(server.clients().count(), 64);
    assert_eq!(receive(&all[69]).unwrap(), "Closed");
}

#[test]
fn a_long_directory() {
    let dir = Dir::new(&"x".repeat(200));
    let _server = Server::bind(dir.1.as_fd()).unwrap();
    assert!(Connection::connect(dir.1.as_fd(), LONG).is_ok());
}

#[test]
fn other_users_are_turned_away() {
    assert!(may_connect(0, 1000) && may_connect(1000, 1000) && !may_connect(1001, 1000) && !may_connect(65534, 0));

    const ROLE: &str = "HOSTEL_IPC_TEST_VISITOR";
    if let Some(path) = std::env::var_os(ROLE) {
        // We are the child, user 65534.
        let dir = open_dir(path.as_ref());
        let seen = Connection::connect(dir.as_fd(), LONG).map(|mut c| c.call::<Value>(&Request::Ping));
        assert!(matches!(seen, Ok(Err(CallError::Closed))), "{seen:?}");
        println!("turned away");
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let dir = Dir::new("uid");
    let mut server = Server::bind(dir.1.as_fd()).unwrap();
    // Even if somebody opened the modes, the peer's user decides.
    for (path, mode) in [(dir.0.clone(), 0o755), (dir.0.join("control"), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let child = std::process::Command::new("/proc/self/exe")
        .args(["--exact", "control::tests::other_users_are_turned_away", "--nocapture"])
        .env(ROLE, &dir.0)
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => {
            println!("skipped: another user cannot run this test: {e}");
            return;
        }
    };
    while child.try_wait().unwrap().is_none() {
        assert_eq!(serve(&mut server), [], "it is never a client");
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("turned away"));
}
