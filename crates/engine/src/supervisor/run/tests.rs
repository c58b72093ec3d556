//! The tables, and the loop itself: this test binary runs again as a supervisor of a shell, and is driven from outside.

mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hostel_ipc::control::{self, Connection, Ended, Received, Request, Status, Stop, Whom};
use hostel_process::console::{DEFAULT_LIMIT, Log, Relay};
use hostel_process::pty::{Pty, WindowSize};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;
use serde_json::Value;

use super::attach::{VisitEnd, VisitOptions, visit};
use super::*;

// ---- tables ----

const NSPAWN: Lifecycle =
    Lifecycle { kill_signal: None, reboot_is_133: false, notify_ready: false, quiet: true, nspawn_exit_status: true, stop_timeout: None };
const KEEP_UNIT: Lifecycle = Lifecycle { reboot_is_133: true, ..NSPAWN };
const NATIVE: Lifecycle = Lifecycle { nspawn_exit_status: false, ..NSPAWN };
const NATIVE_133: Lifecycle = Lifecycle { reboot_is_133: true, ..NATIVE };

const ROLE: &str = "HOSTEL_RUN_TEST_ROLE";

/// What the supervisor under test is to do; passed through the environment.
#[derive(Default)]
struct Setup {
    script: &'static str,
    kill_signal: Option<&'static str>,
    boot: bool,
    timeout_ms: Option<u64>,
    /// `none`, `term-at-2`, `halted`, `deaf`.
    policy: &'static str,
    notify_ready: bool,
    upstream: Option<String>,
    reap: bool,
    /// Terminal for standard input and output.
    terminal: Option<OwnedFd>,
}

struct Supervisor {
    child: Child,
    dir: PathBuf,
    out: Option<std::process::ChildStdout>,
}

impl Supervisor {
    fn start(name: &str, setup: &Setup) -> Supervisor {
        let dir = std::env::temp_dir().join(format!("hostel-run-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        // libtest has a thread of its own: signals must be blocked there, too, so before it starts.
        let mut command = Command::new("env");
        command
            .args(["HUP", "INT", "TERM", "CHLD", "CONT", "WINCH"].map(|signal| format!("--block-signal={signal}")))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "supervisor::run::tests::supervisor_role", "--nocapture", "--test-threads=1"])
            .env(ROLE, &dir)
            .env("SCRIPT", setup.script)
            .env("POLICY", setup.policy)
            .env("BOOT", setup.boot.to_string())
            .env("REAP", setup.reap.to_string())
            .env("NOTIFY_READY", setup.notify_ready.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (key, value) in [
            ("KILL_SIGNAL", setup.kill_signal.map(str::to_owned)),
            ("TIMEOUT", setup.timeout_ms.map(|t| t.to_string())),
            ("UPSTREAM", setup.upstream.clone()),
        ] {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        if let Some(terminal) = &setup.terminal {
            let end = || Stdio::from(terminal.try_clone().unwrap());
            command.stdin(end()).stdout(end()).env("INTERACTIVE", "true");
        }
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take();
        let supervisor = Supervisor { child, dir, out };
        let end = Instant::now() + Duration::from_secs(10);
        while !supervisor.dir.join("up").exists() {
            assert!(Instant::now() < end, "the supervisor does not come up");
            std::thread::sleep(Duration::from_millis(2));
        }
        supervisor
    }
    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
    fn connect(&self) -> Connection {
        Connection::connect(open_dir(&self.dir).as_fd(), Duration::from_secs(5)).unwrap()
    }
    /// Waits until the machine has written this to its console.
    fn await_output(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while !fs::read_to_string(self.dir.join("console.log")).unwrap_or_default().contains(text) {
            assert!(Instant::now() < end, "no {text:?} in the log");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    /// What the machine wrote, and how it ended as `key=value`s.
    fn finish(mut self) -> (String, BTreeMap<String, String>) {
        let mut text = String::new();
        if let Some(mut out) = self.out.take() {
            out.read_to_string(&mut text).unwrap();
        }
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        // Not the exit status: libtest itself fails when its terminal is gone.
        self.child.wait().unwrap();
        let outcome = fs::read_to_string(self.dir.join("outcome")).unwrap_or_else(|_| panic!("{errors}"));
        let outcome = outcome.split_whitespace().filter_map(|w| w.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        // libtest's own lines surround the machine's.
        let text = text.split_once("BEGIN\n").map_or("", |(_, t)| t);
        let text = text.split("test supervisor::").next().unwrap_or_default();
        (text.split("ok\n\ntest result").next().unwrap_or_default().replace("\r\n", "\n"), outcome)
    }
}

impl Drop for Supervisor {
    /// A test that failed leaves no process behind: the first SIGTERM ends the machine, the second its last words.
    fn drop(&mut self) {
        self.out = None;
        let end = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            self.signal(rustix::process::Signal::TERM);
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn open_dir(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn check(outcome: &BTreeMap<String, String>, expected: &str) {
    for (key, value) in expected.split_whitespace().filter_map(|w| w.split_once('=')) {
        assert_eq!(outcome.get(key).map(String::as_str), Some(value), "{key} in {outcome:?}");
    }
}

struct TestPolicy(String, rustix::process::Pid);
impl StopPolicy for TestPolicy {
    fn request(&mut self, goal: Goal, round: u32) -> Next {
        let again = Next::AskAgain(Duration::from_millis(50));
        match (self.0.as_str(), goal, round) {
            (_, Goal::Reboot, _) => {
                rustix::process::kill_process(self.1, rustix::process::Signal::HUP).unwrap();
                Next::Wait
            }
            ("term-at-2", _, 2) => {
                rustix::process::kill_process(self.1, rustix::process::Signal::TERM).unwrap();
                again
            }
            ("halted", _, 1) => Next::Halted,
            _ => again,
        }
    }
}

struct TestOwner(PathBuf);
impl TestOwner {
    fn note(&self, what: &str) {
        let mut file = fs::File::options().append(true).create(true).open(self.0.join("owner")).unwrap();
        writeln!(file, "{what}").unwrap();
    }
}
impl Owner for TestOwner {
    fn desired_changed(&mut self, desired: Desired) {
        self.note(&format!("desired {desired:?}"));
    }
    fn ready(&mut self) {
        self.note("ready");
    }
    fn signal_all(&mut self, signal: i32) -> bool {
        self.note(&format!("all {signal}"));
        true
    }
}

/// Not a test of its own: the supervisor in its own process, with signals of its own.
#[test]
fn supervisor_role() {
    let Some(dir) = std::env::var_os(ROLE).map(PathBuf::from) else { return };
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let signals = Signals::block().unwrap();
    if env("REAP") == "true" {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    }
    let pts = rustix::fs::openat(CWD, "/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let pty = Pty::open(pts.as_fd()).unwrap();
    let state = open_dir(&dir);
    let receiver = Receiver::bind(state.as_fd(), "notify").unwrap();
    let control = Server::bind(state.as_fd()).unwrap();
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    print!("\nBEGIN\n");
    std::io::stdout().flush().unwrap();
    let slave = || Stdio::from(rustix::io::fcntl_dupfd_cloexec(&pty.slave, 3).unwrap());
    // std starts it with no signal blocked.
    #[expect(clippy::zombie_processes, reason = "the loop under test waits for it")]
    let child = Command::new("sh")
        .args(["-c", &env("SCRIPT"), "sh", dir.join("notify").to_str().unwrap()])
        .env_remove(ROLE)
        .env("TEST_BINARY", std::env::current_exe().unwrap())
        .stdin(slave())
        .stdout(slave())
        .stderr(slave())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let relay = if env("INTERACTIVE") == "true" { Relay::Interactive } else { Relay::ReadOnly };
    let mut console = Console::new(pty, relay, stdin, stdout, Some(WindowSize { rows: 24, cols: 80 })).unwrap();
    console.set_log(Log::open(state.as_fd(), DEFAULT_LIMIT).unwrap());
    let mut owner = TestOwner(dir.clone());
    let policy = env("POLICY");
    let mut running = Running {
        leader: rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap(),
        leader_pid: pid.as_raw_nonzero().get(),
        own_pid_namespace: false,
        started: Instant::now(),
        console: Some(console),
        control: Some(control),
        notify: NotifyRelay { receiver: Some(receiver), upstream: std::env::var("UPSTREAM").ok(), watchdog: None },
        lifecycle: Lifecycle {
            kill_signal: std::env::var("KILL_SIGNAL").ok().map(|s| Signal::parse(&s).unwrap()),
            notify_ready: env("NOTIFY_READY") == "true",
            ..NATIVE
        },
        payload: if env("BOOT") == "true" { Payload::Boot } else { Payload::Command },
        stop: (!policy.is_empty()).then(|| Box::new(TestPolicy(policy, pid)) as Box<dyn StopPolicy>),
        stop_timeout: env("TIMEOUT").parse().ok().map(Duration::from_millis),
        signals,
        reap_orphans: env("REAP") == "true",
        network: None,
        unit: None,
        beside: None,
        owner: &mut owner,
    };
    fs::write(dir.join("up"), "").unwrap();
    let start = Instant::now();
    let outcome = watch(&mut running).unwrap();
    let decision = exit_status(&outcome, &running.lifecycle, running.payload);
    let Ended { code, signal, killed, timed_out, .. } = outcome.ended(decision);
    let text = format!(
        "code={} signal={} killed={killed} timed_out={timed_out} halted={} desired={:?} exit={} ms={} orphans={}",
        code.map_or("-".into(), |c| c.to_string()),
        signal.map_or("-".into(), |s| s.to_string()),
        outcome.halted,
        outcome.desired,
        format!("{decision:?}").replace(' ', ""),
        start.elapsed().as_millis(),
        rustix::process::wait(WaitOptions::NOHANG).is_ok(),
    );
    fs::write(dir.join("outcome"), text).unwrap();
}

#[test]
fn everything_is_shown_and_the_status_is_true() {
    let (text, outcome) = Supervisor::start("exit", &Setup { script: "seq 1 20000; exit 7", ..Setup::default() }).finish();
    check(&outcome, "code=7 signal=- killed=false desired=On exit=Exit(7)");
    let expected: String = (1..=20000).map(|n| format!("{n}\n")).collect();
    assert_eq!(text.len(), expected.len());
    assert!(text == expected);
}

#[test]
fn ways_to_end() {
    use rustix::process::Signal;
    let deaf = "trap '' TERM INT USR1; echo up; while :; do sleep 0.05; done";
    let polite = "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let base = Setup::default;
    #[rustfmt::skip]
    type Row = (&'static str, Setup, &'static [Signal], &'static str, std::ops::Range<u64>);
    let table: Vec<Row> = vec![
        ("no-signal", Setup { script: polite, ..base() }, &[Signal::TERM], "signal=9 killed=true desired=Off exit=Exit(137)", 0..1000),
        ("no-signal-int", Setup { script: polite, ..base() }, &[Signal::INT], "signal=9 killed=true desired=Off", 0..1000),
        ("hup", Setup { script: polite, ..base() }, &[Signal::HUP], "signal=9 killed=true desired=Off", 0..1000),
        (
            "kill-signal",
            Setup { script: polite, kill_signal: Some("SIGTERM"), ..base() },
            &[Signal::TERM],
            "code=5 killed=false desired=Off exit=Exit(5)",
            0..1500,
        ),
        (
            "twice",
            Setup { script: deaf, kill_signal: Some("SIGTERM"), ..base() },
            &[Signal::TERM, Signal::TERM],
            "signal=9 killed=true timed_out=false",
            0..2000,
        ),
        (
            "deadline",
            Setup { script: deaf, kill_signal: Some("SIGUSR1"), timeout_ms: Some(600), ..base() },
            &[Signal::TERM],
            "signal=9 killed=true timed_out=true desired=Off",
            600..900,
        ),
        (
            "policy",
            Setup { script: polite, boot: true, policy: "term-at-2", ..base() },
            &[Signal::TERM],
            "code=5 killed=false desired=Off",
            100..1500,
        ),
        ("policy-command", Setup { script: polite, policy: "term-at-2", ..base() }, &[Signal::TERM], "signal=9 killed=true", 0..1000),
        (
            "halted",
            Setup { script: deaf, boot: true, policy: "halted", ..base() },
            &[Signal::TERM],
            "signal=9 killed=false halted=true exit=Exit(0)",
            50..1000,
        ),
        (
            "deaf",
            Setup { script: deaf, boot: true, policy: "deaf", timeout_ms: Some(500), ..base() },
            &[Signal::TERM],
            "signal=9 killed=true timed_out=true",
            500..800,
        ),
    ];
    for (name, setup, signals, expected, took) in table {
        let supervisor = Supervisor::start(name, &setup);
        supervisor.await_output("up");
        let start = Instant::now();
        for signal in signals {
            supervisor.signal(*signal);
            std::thread::sleep(Duration::from_millis(100));
        }
        let (_, outcome) = supervisor.finish();
        let ms = start.elapsed().as_millis() as u64;
        println!("{name}: {outcome:?}");
        check(&outcome, expected);
        // The upper end has room for a busy test machine.
        assert!(ms >= took.start && ms < took.end + 2000, "{name}: {ms} ms");
    }
}

#[test]
fn control_requests() {
    let script = "trap 'exit 5' TERM; trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done";
    let supervisor = Supervisor::start("control", &Setup { script, policy: "term-at-2", ..Setup::default() });
    supervisor.await_output("up");
    let mut c = supervisor.connect();
    let _: Value = c.call(&Request::Ping).unwrap();
    let status: Status = c.call(&Request::Status).unwrap();
    assert_eq!((status.state, status.desired, status.ready), (control::State::Running, Desired::On, false));
    assert_eq!(status.supervisor as u32, supervisor.child.id());
    let _: Value = c.call(&Request::SetDesired(control::SetDesired { desired: Desired::Off })).unwrap();
    let _: Value = c.call(&Request::Kill(control::Kill { signal: 10, whom: Whom::All })).unwrap();
    supervisor.await_output("usr1");
    let refused = c.call::<Value>(&Request::Kill(control::Kill { signal: 99, whom: Whom::All })).unwrap_err();
    assert!(refused.to_string().contains("no signal"), "{refused}");
    drop(supervisor.connect());
    let _: Value = c.call(&Request::Stop(Stop::default())).unwrap();
    let mut buf = [0; control::MAX_PACKET];
    let until = Some(Instant::now() + Duration::from_secs(10));
    let mut ended = None;
    loop {
        match c.receive(&mut buf, until).unwrap() {
            Received::Event(Event::Ended(e)) => ended = Some(e),
            Received::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    let dir = supervisor.dir.clone();
    let owner = fs::read_to_string(dir.join("owner")).unwrap();
    let (_, outcome) = supervisor.finish();
    assert_eq!(owner, "desired Off\nall 10\n");
    assert_eq!(ended, Some(Ended { code: Some(5), status: Some(5), ..Ended::default() }));
    check(&outcome, "code=5 desired=Off killed=false");
}

#[test]
fn stop_over_the_socket_has_a_deadline() {
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let supervisor = Supervisor::start("stop-deadline", &Setup { script: deaf, policy: "deaf", ..Setup::default() });
    supervisor.await_output("up");
    let mut c = supervisor.connect();
    let start = Instant::now();
    let _: Value = c.call(&Request::Stop(Stop { timeout_ms: Some(400), force: false })).unwrap();
    let status: Status = c.call(&Request::Status).unwrap();
    assert_eq!(status.state, control::State::Stopping);
    let mut buf = [0; control::MAX_PACKET];
    let received = c.receive(&mut buf, Some(Instant::now() + Duration::from_secs(10))).unwrap();
    let Received::Event(Event::Ended(ended)) = received else { panic!("{received:?}") };
    assert!(ended.killed && ended.timed_out && ended.signal == Some(9));
    let ms = start.elapsed().as_millis();
    assert!((400..2400).contains(&ms), "{ms}");
    let (_, outcome) = supervisor.finish();
    check(&outcome, "timed_out=true desired=Off");

    let supervisor = Supervisor::start("stop-force", &Setup { script: deaf, policy: "deaf", ..Setup::default() });
    let _: Value = supervisor.connect().call(&Request::Stop(Stop { timeout_ms: None, force: true })).unwrap();
    check(&supervisor.finish().1, "signal=9 killed=true timed_out=false");
}

#[test]
fn a_replay_begins_with_a_line() {
    let dir = std::env::temp_dir().join(format!("hostel-replay-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let mut log = Log::open(open_dir(&dir).as_fd(), DEFAULT_LIMIT).unwrap();
    log.append(b"first\nsecond\nthird\n$ ");
    for (wanted, shown) in [
        (100, "first\nsecond\nthird\n$ "),
        (21, "first\nsecond\nthird\n$ "),
        (20, "second\nthird\n$ "),
        (15, "second\nthird\n$ "),
        (14, "third\n$ "),
        (2, "$ "),
    ] {
        assert_eq!(String::from_utf8_lossy(&super::requests::replay(&log, wanted)), shown, "{wanted}");
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn visitors_see_and_type() {
    let script = "stty -echo; echo hello; while read line; do case $line in size) stty size;; bye) exit 3;; *) echo \"got $line\";; esac; done";
    let supervisor = Supervisor::start("visit", &Setup { script, ..Setup::default() });
    supervisor.await_output("hello");
    let mut connection = supervisor.connect();
    let (to_visit, from_test) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map(|(r, w)| (r, fs::File::from(w))).unwrap();
    let (out_read, out_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let visitor = std::thread::spawn(move || {
        let options = VisitOptions { replay: 1000, read_only: false };
        visit(&mut connection, to_visit.as_fd(), out_write.as_fd(), options)
    });
    let mut looker = supervisor.connect();
    let _: Value = looker.call(&Request::Console(control::Console { read_only: true, ..Default::default() })).unwrap();
    let mut lines = BufReader::new(fs::File::from(out_read)).lines().map(|l| l.unwrap().trim_end().to_owned());
    assert_eq!(lines.next().unwrap(), "hello", "replayed");
    let mut typing = from_test;
    typing.write_all(b"one\n").unwrap();
    assert_eq!(lines.next().unwrap(), "got one");
    let _: Value = supervisor.connect().call(&Request::Resize(control::Window { rows: 11, cols: 22 })).unwrap();
    assert!(looker.type_in(b"not allowed\n").unwrap());
    typing.write_all(b"size\n").unwrap();
    assert_eq!(lines.next().unwrap(), "11 22");
    typing.write_all(b"bye\n").unwrap();
    let end = visitor.join().unwrap().unwrap();
    assert_eq!(end, VisitEnd::Ended(Some(Ended { code: Some(3), status: Some(3), ..Ended::default() })));
    let (text, outcome) = supervisor.finish();
    check(&outcome, "code=3");
    assert_eq!(text, "hello\ngot one\n11 22\n");
    let mut seen = String::new();
    let mut buf = [0; control::MAX_PACKET];
    while let Ok(Received::Data { bytes, .. }) = looker.receive(&mut buf, Some(Instant::now())) {
        seen.push_str(std::str::from_utf8(bytes).unwrap());
    }
    assert!(seen.replace("\r\n", "\n").ends_with("got one\n11 22\n"), "{seen:?}");
}

#[test]
fn a_person_at_a_terminal() {
    use rustix::termios::{LocalModes, tcgetattr};
    let script = "stty -echo; echo hello; while read line; do case $line in size) stty size;; *) echo \"got $line\";; esac; done";
    let pts = rustix::fs::openat(CWD, "/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    for (keys, expected) in
        [("\x1d\x1d\x1d", "signal=9 killed=true desired=Off"), ("\x1d\x1dr", "signal=1 desired=On"), ("\x1d\x1dp", "signal=15 desired=Off")]
    {
        let person = Pty::open(pts.as_fd()).unwrap();
        person.set_size(WindowSize { rows: 30, cols: 90 }).unwrap();
        let flags = rustix::fs::fcntl_getfl(&person.slave).unwrap();
        let modes = tcgetattr(&person.slave).unwrap().local_modes;
        let terminal = Some(person.slave.try_clone().unwrap());
        let supervisor = Supervisor::start("person", &Setup { script, boot: true, policy: "term-at-2", terminal, ..Setup::default() });
        supervisor.await_output("hello");
        assert!(!tcgetattr(&person.slave).unwrap().local_modes.contains(LocalModes::ICANON));
        let type_in = |text: &str| assert_eq!(rustix::io::write(&person.master, text.as_bytes()), Ok(text.len()));
        type_in("one\r");
        supervisor.await_output("got one");
        type_in("size\r");
        supervisor.await_output("30 90");
        person.set_size(WindowSize { rows: 31, cols: 91 }).unwrap();
        supervisor.signal(rustix::process::Signal::WINCH);
        std::thread::sleep(Duration::from_millis(50));
        type_in("size\r");
        supervisor.await_output("31 91");
        type_in(keys);
        let (_, outcome) = supervisor.finish();
        check(&outcome, expected);
        assert_eq!((tcgetattr(&person.slave).unwrap().local_modes, rustix::fs::fcntl_getfl(&person.slave).unwrap()), (modes, flags));
        let mut seen = [0; 4096];
        let n = rustix::io::read(&person.master, &mut seen).unwrap();
        let seen = String::from_utf8_lossy(&seen[..n]).into_owned();
        assert!(seen.contains("hello\r\n") && seen.contains("got one\r\n"), "{seen:?}");
    }
}

#[test]
fn a_terminal_that_goes_away() {
    let pts = rustix::fs::openat(CWD, "/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let person = Pty::open(pts.as_fd()).unwrap();
    let terminal = Some(person.slave.try_clone().unwrap());
    let supervisor = Supervisor::start("gone", &Setup { script: "echo hello; sleep 100", terminal, ..Setup::default() });
    supervisor.await_output("hello");
    drop(person);
    check(&supervisor.finish().1, "signal=9 killed=true desired=Off");
}

#[test]
fn a_long_paste_waits_for_the_machine() {
    let script = "stty raw -echo; echo up; head -c 300000 | { sleep 0.3; md5sum; }";
    let supervisor = Supervisor::start("paste", &Setup { script, ..Setup::default() });
    supervisor.await_output("up");
    let mut connection = supervisor.connect();
    let text: Vec<u8> = (0..300_000u32).map(|n| b'a' + (n % 26) as u8).collect();
    let path = supervisor.dir.join("text");
    fs::write(&path, &text).unwrap();
    let (input, null) = (fs::File::open(&path).unwrap(), fs::File::options().write(true).open("/dev/null").unwrap());
    assert_eq!(visit(&mut connection, input.as_fd(), null.as_fd(), VisitOptions::default()).unwrap(), VisitEnd::Left);
    let expected = Command::new("md5sum").stdin(fs::File::open(&path).unwrap()).output().unwrap().stdout;
    let (seen, outcome) = supervisor.finish();
    check(&outcome, "code=0");
    assert_eq!(seen, format!("up\n{}", String::from_utf8(expected).unwrap()));
}

#[test]
fn a_visitor_leaves_and_the_machine_runs_on() {
    let script = "echo hello; while read line; do exit 4; done";
    let supervisor = Supervisor::start("leave", &Setup { script, ..Setup::default() });
    let mut connection = supervisor.connect();
    let (r, w) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    rustix::io::write(&w, b"\x1d\x1d\x1d").unwrap();
    let null = fs::File::options().write(true).open("/dev/null").unwrap();
    let end = visit(&mut connection, r.as_fd(), null.as_fd(), VisitOptions::default()).unwrap();
    assert_eq!(end, VisitEnd::Left);
    assert_eq!(supervisor.connect().call::<Status>(&Request::Status).unwrap().state, control::State::Running);
    supervisor.signal(rustix::process::Signal::TERM);
    check(&supervisor.finish().1, "signal=9");
}

#[test]
fn a_stopped_reader_does_not_grow_the_supervisor() {
    let script = "while :; do echo 0123456789012345678901234567890123456789; done";
    let mut supervisor = Supervisor::start("flood", &Setup { script, ..Setup::default() });
    let memory = || {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", supervisor.child.id())).unwrap();
        let kb = |key: &str| -> u64 {
            let line = rollup.lines().find(|l| l.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        // Not the pages of the binary: they count as private when the last other test process has ended.
        kb("Anonymous:")
    };
    std::thread::sleep(Duration::from_millis(200));
    let early = memory();
    let slow = supervisor.connect();
    slow.post(&Request::Console(control::Console::default())).unwrap();
    // Read a little, stop, read a little.
    let mut out = supervisor.out.take().unwrap();
    for _ in 0..30 {
        let mut buf = vec![0; 100_000];
        out.read_exact(&mut buf).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    let late = memory();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", supervisor.child.id())).unwrap();
        let fields: Vec<u64> = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|f| f.parse().unwrap()).collect();
        fields[0] + fields[1]
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(300));
    assert!(ticks() - before <= 3, "it waits without spinning");
    println!("anonymous: {early} kB, then {late} kB");
    assert!(late < early + 100, "{early} kB, then {late} kB");
    supervisor.signal(rustix::process::Signal::TERM);
    std::thread::sleep(Duration::from_millis(200));
    // It is dead; a slow reader is waited for until somebody insists.
    assert!(supervisor.child.try_wait().unwrap().is_none(), "the last words are not shown yet");
    supervisor.signal(rustix::process::Signal::TERM);
    supervisor.out = Some(out);
    check(&supervisor.finish().1, "signal=9 killed=true");
}

#[test]
fn orphans_are_reaped() {
    let script = "(sh -c 'sleep 0.2; exit 9' & sh -c 'exit 8' &) ; sleep 0.5; exit 6";
    let (_, outcome) = Supervisor::start("orphans", &Setup { script, reap: true, ..Setup::default() }).finish();
    check(&outcome, "code=6 orphans=false");
}

/// Not a test of its own: a payload that says it is ready.
#[test]
fn notify_role() {
    let Ok(socket) = std::env::var("HOSTEL_RUN_TEST_NOTIFY") else { return };
    notify::send(&socket, "READY=1\nSTATUS=here \x1b[31mI am").unwrap();
    notify::send(&socket, "ERRNO=5\nX=y").unwrap();
    std::thread::sleep(Duration::from_millis(300));
}

#[test]
fn notifications_are_passed_on() {
    for (name, notify_ready, first) in [("notify-late", true, "STATUS=Machine running."), ("notify-early", false, "READY=1\nSTATUS=Machine running.")]
    {
        let dir = std::env::temp_dir().join(format!("hostel-run-up-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let upstream = std::os::unix::net::UnixDatagram::bind(dir.join("upstream")).unwrap();
        upstream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let script = "HOSTEL_RUN_TEST_NOTIFY=$1 exec $TEST_BINARY --exact supervisor::run::tests::notify_role --test-threads=1";
        let setup = Setup { script, notify_ready, upstream: Some(dir.join("upstream").to_str().unwrap().into()), ..Setup::default() };
        let supervisor = Supervisor::start(name, &setup);
        let state = supervisor.dir.clone();
        let mut listener = supervisor.connect();
        let before: Status = listener.call(&Request::Listen).unwrap();
        let receive = || {
            let mut buf = [0; 1000];
            let n = upstream.recv(&mut buf).unwrap();
            String::from_utf8_lossy(&buf[..n]).into_owned()
        };
        assert!(receive().starts_with(first));
        let ready = if notify_ready { "READY=1\n" } else { "" };
        assert_eq!(receive(), format!("{ready}STATUS=Machine running: here [31mI am\n"));
        assert_eq!(receive(), "ERRNO=5\n");
        let owner = fs::read_to_string(state.join("owner")).unwrap();
        assert_eq!(owner, "ready\n");
        // Who listens is told, if it did not see so at once.
        let mut buf = [0; control::MAX_PACKET];
        let mut news = Vec::new();
        while let Ok(Received::Event(event)) = listener.receive(&mut buf, Some(Instant::now() + Duration::from_secs(10))) {
            news.push(event);
        }
        let ended = Event::Ended(Ended { code: Some(0), status: Some(0), ..Ended::default() });
        assert_eq!(news, if before.ready { vec![ended] } else { vec![Event::Ready, ended] });
        let (_, outcome) = supervisor.finish();
        check(&outcome, "code=0");
        fs::remove_dir_all(dir).unwrap();
    }
}
