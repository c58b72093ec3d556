//! Machines that do not run, for tests of the verbs: a claimed name, a state file, a control socket somebody may serve.
#![allow(dead_code, unreachable_pub)] // each test file uses a part of it

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hostel::engine::registry::{Claim, MachineState, Phase, ProcessId, Registry};
use hostel::spec::MachineName;
use hostel_ipc::control::{Incoming, MAX_REQUEST, Request, Server, Status};

/// A runtime directory of our own, removed at the end.
pub struct Place {
    pub path: PathBuf,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hostel-verbs-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub fn registry(&self) -> Registry {
        Registry::open(&self.path.join("run")).unwrap()
    }

    /// `hostel ARGS…` here.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hostel"));
        command.args(args).env("HOSTEL_RUNTIME_DIR", self.path.join("run")).stdin(Stdio::null());
        command
    }

    pub fn hostel<S: AsRef<OsStr>>(&self, args: &[S]) -> Said {
        Said::from(self.command(args).output().unwrap())
    }

    /// A machine whose supervisor and PID 1 are idle processes.
    pub fn machine(&self, name: &str) -> Fake {
        let name = MachineName::new(name).unwrap();
        let claim = self.registry().claim(&name).unwrap();
        // PID 1 is another program by now than the state says it began as.
        let init = self.path.join("dinit");
        if !exists(&init) {
            std::fs::copy("/bin/sleep", &init).unwrap();
        }
        let (supervisor, leader) = (sleeper("sleep".as_ref()), sleeper(&init));
        let id = |child: &Child| ProcessId::of(child.id() as i32).unwrap().unwrap();
        let mut state = MachineState::new(name, id(&supervisor));
        state.leader = Some(id(&leader));
        state.phase = Phase::Running;
        state.init = Some("busybox".into());
        state.tree = Some("/srv/tree".into());
        state.addresses = vec!["10.0.0.2".into()];
        state.stamp().unwrap();
        claim.write_state(&state).unwrap();
        Fake { claim, state, supervisor, leader, service: None }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn sleeper(program: &Path) -> Child {
    Command::new(program).arg("600").stdin(Stdio::null()).spawn().unwrap()
}

/// A machine that somebody could run.
pub struct Fake {
    pub claim: Claim,
    pub state: MachineState,
    pub supervisor: Child,
    pub leader: Child,
    service: Option<Service>,
}

struct Service {
    over: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Request>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    pub fn file(&self, name: &str) -> PathBuf {
        self.claim.path().join(name)
    }

    /// Answers the control socket, and remembers what was asked.
    pub fn serve(&mut self) {
        let mut server = Server::bind(self.claim.directory()).unwrap();
        let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stop, heard) = (over.clone(), asked.clone());
        let status = Status { leader: 7, supervisor: 6, ready: true, status_text: "all\x1b[2J well".into(), ..Status::default() };
        let thread = std::thread::spawn(move || {
            let mut buf = [0u8; MAX_REQUEST];
            while !stop.load(Ordering::Relaxed) {
                while server.accept().unwrap() {}
                for id in server.clients().map(|(id, _)| id).collect::<Vec<_>>() {
                    match server.receive(id, &mut buf) {
                        Incoming::Request(request) => {
                            let taken = match request {
                                Request::Status => server.reply(id, &status),
                                _ => server.reply(id, &serde_json::json!({})),
                            };
                            heard.lock().unwrap().push(request);
                            assert!(taken);
                        }
                        Incoming::Closed => server.close(id),
                        _ => {}
                    }
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        self.service = Some(Service { over, asked, thread: Some(thread) });
    }

    pub fn asked(&self) -> Vec<Request> {
        self.service.as_ref().map(|s| s.asked.lock().unwrap().clone()).unwrap_or_default()
    }

    /// The supervisor dies; its directory stays.
    pub fn die(mut self) {
        self.end_processes();
    }

    fn end_processes(&mut self) {
        for child in [&mut self.supervisor, &mut self.leader] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(service) = &mut self.service {
            service.over.store(true, Ordering::Relaxed);
            if let Some(thread) = service.thread.take() {
                let _ = thread.join();
            }
        }
        self.end_processes();
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Said {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Waits for something that is to happen soon.
pub fn soon(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
