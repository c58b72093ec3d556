//! Running the binary under test with a limit on its time, and asserting what came out.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::View;

/// A command line to run.
#[derive(Clone)]
pub struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) dir: Option<PathBuf>,
    input: Option<Vec<u8>>,
    keep_input_open: bool,
    limit: Duration,
}

impl Invocation {
    /// A program with nothing in its environment but PATH, HOME, LC_ALL and TERM.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let env =
            [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("LC_ALL", "C.UTF-8"), ("TERM", "vt220")];
        Invocation {
            program: program.as_ref().into(),
            args: Vec::new(),
            env: env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
            dir: None,
            input: None,
            keep_input_open: false,
            limit: Duration::from_secs(20),
        }
    }
    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }
    /// More arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().into()));
        self
    }
    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(k, _)| k != name.as_ref());
        self.env.push((name.as_ref().into(), value.as_ref().into()));
        self
    }
    /// Removes a variable.
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(k, _)| k != name.as_ref());
        self
    }
    /// The working directory.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().into());
        self
    }
    /// What it reads, then end of file; without this, /dev/null.
    pub fn input(mut self, text: impl AsRef<[u8]>) -> Self {
        self.input = Some(text.as_ref().into());
        self
    }
    /// A pipe on stdin that stays open and silent.
    pub fn open_input(mut self) -> Self {
        self.keep_input_open = true;
        self
    }
    /// How long it may take; 20 s without this.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
    /// The same through `sh -c SCRIPT`, where `"$@"` is this command line: for planted descriptors, ulimits, ignored signals.
    pub fn through_shell(mut self, script: &str) -> Self {
        let program = std::mem::replace(&mut self.program, "/bin/sh".into());
        let rest = std::mem::take(&mut self.args);
        self.args = ["-c", script, "sh"].iter().map(OsString::from).collect();
        self.args.push(program.into());
        self.args.extend(rest);
        self
    }

    /// The program that would be run.
    pub fn program(&self) -> OsString {
        self.program.clone().into()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(k, v)| (k, v)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// Starts it and comes back at once.
    #[track_caller]
    pub fn start(self) -> Running {
        let mut command = self.command();
        let piped = self.input.is_some() || self.keep_input_open;
        command.stdin(if piped { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("run {}: {e}", self.program.display()));
        let pidfd = Pid::from_raw(child.id() as i32).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        let pidfd = pidfd.unwrap_or_else(|| panic!("open pidfd of {}", self.program.display()));
        let mut held = child.stdin.take();
        if let Some(input) = self.input.clone()
            && let Some(mut stdin) = held.take()
        {
            std::thread::spawn(move || {
                let _ = std::io::Write::write_all(&mut stdin, &input);
            });
        }
        let stdout = Stream::read(child.stdout.take());
        let stderr = Stream::read(child.stderr.take());
        Running { shown: self.shown(), child, pidfd, stdout, stderr, input: held, limit: self.limit, started: Instant::now(), done: false }
    }

    /// Runs it to its end, or kills it when its time is over.
    #[track_caller]
    pub fn run(self) -> Outcome {
        let limit = self.limit;
        self.start().finish(limit)
    }

    pub(crate) fn shown(&self) -> String {
        let words: Vec<_> = self.args.iter().map(|a| a.to_string_lossy()).collect();
        format!("{} {}", self.program.file_name().unwrap_or_default().to_string_lossy(), words.join(" "))
    }
}

/// What one stream has given so far.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Stream {
    fn read(from: Option<impl Read + Send + 'static>) -> Stream {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let to = bytes.clone();
        let reader = from.map(|mut from| {
            std::thread::spawn(move || {
                let mut buffer = [0u8; 65536];
                while let Ok(n @ 1..) = from.read(&mut buffer) {
                    to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..n]);
                }
            })
        });
        Stream { bytes, reader }
    }
    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// True when everybody has closed the other end.
    fn closed(&mut self, limit: Duration) -> bool {
        let Some(reader) = &self.reader else { return true };
        crate::eventually(limit, || reader.is_finished())
    }
}

/// A command that runs.
pub struct Running {
    shown: String,
    child: Child,
    pidfd: OwnedFd,
    stdout: Stream,
    stderr: Stream,
    input: Option<std::process::ChildStdin>,
    limit: Duration,
    started: Instant,
    done: bool,
}

impl Running {
    /// The process id; the process is not reaped before it is asked for its end, so the id stays its own.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Sends a signal to the process itself.
    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }
    /// Standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.so_far()).into_owned()
    }
    /// Standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }
    /// Waits until standard output contains `text`.
    #[track_caller]
    pub fn expect(&self, text: &str) -> &Self {
        let seen = crate::eventually(self.limit, || self.stdout().contains(text) || self.has_ended());
        assert!(seen && self.stdout().contains(text), "{}: no {text:?}\nstdout: {}\nstderr: {}", self.shown, self.stdout(), self.stderr());
        self
    }
    /// Whether the process has ended (it is not reaped by this).
    pub fn has_ended(&self) -> bool {
        ended(&self.pidfd, Duration::ZERO)
    }
    /// Writes to standard input (of an invocation with `open_input`).
    pub fn write(&mut self, text: &str) {
        if let Some(input) = &mut self.input {
            let _ = std::io::Write::write_all(input, text.as_bytes()).and_then(|()| std::io::Write::flush(input));
        }
    }
    /// Closes standard input.
    pub fn close_input(&mut self) {
        self.input = None;
    }
    /// Waits for the end; kills when `limit` is over.
    pub fn finish(mut self, limit: Duration) -> Outcome {
        let timed_out = !ended(&self.pidfd, limit);
        if timed_out {
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
        let time = self.started.elapsed();
        let status = self.child.wait();
        self.done = true;
        self.input = None;
        let pipes_held = !(self.stdout.closed(Duration::from_secs(1)) & self.stderr.closed(Duration::from_secs(1)));
        let (code, signal) = status.map_or((None, None), |s| (s.code(), s.signal()));
        Outcome { shown: self.shown.clone(), code, signal, stdout: self.stdout.so_far(), stderr: self.stderr.so_far(), time, timed_out, pipes_held }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.done {
            // a killed supervisor leaves its state to the next start: ask first
            for (signal, patience) in [(Signal::TERM, 5), (Signal::KILL, 5)] {
                let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
                if ended(&self.pidfd, Duration::from_secs(patience)) {
                    break;
                }
            }
            let _ = self.child.wait();
        }
    }
}

/// Waits on a pidfd; true when the process has ended.
pub(crate) fn ended(pidfd: &OwnedFd, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let time = rustix::event::Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        match rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&time)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    shown: String,
    /// Exit status, when it exited.
    pub code: Option<i32>,
    /// The signal, when it was killed.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// From its start to its end.
    pub time: Duration,
    /// It had to be killed.
    pub timed_out: bool,
    /// One second after its end somebody still held its standard output or error open.
    pub pipes_held: bool,
}

impl Outcome {
    /// Standard output as text, with a terminal's CRLF made LF.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).replace("\r\n", "\n")
    }
    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).replace("\r\n", "\n")
    }
    /// Everything, for a failed assertion.
    pub fn describe(&self) -> String {
        let how = match (self.timed_out, self.code, self.signal) {
            (true, ..) => "timed out".to_string(),
            (_, Some(c), _) => format!("exit {c}"),
            (_, _, s) => format!("signal {}", s.unwrap_or(0)),
        };
        format!("`{}`: {how} after {:?}\n--- stdout\n{}\n--- stderr\n{}", self.shown, self.time, clip(&self.text()), clip(&self.errors()))
    }
    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(!self.timed_out && self.code == Some(code), "wanted exit {code}: {}", self.describe());
        self
    }
    /// Asserts an exit status other than 0, in time, with something on standard error that is no panic.
    #[track_caller]
    pub fn fails(self) -> Self {
        let refused = !self.timed_out && self.code.is_some_and(|c| c != 0 && c != 101) && !self.stderr.is_empty();
        assert!(refused && !self.errors().contains("panicked"), "wanted a refusal: {}", self.describe());
        self
    }
    /// Asserts that it ended by itself, without a panic.
    #[track_caller]
    pub fn ends(self) -> Self {
        assert!(!self.timed_out && self.signal.is_none() && self.code != Some(101) && !self.errors().contains("panicked"), "{}", self.describe());
        self
    }
    /// Asserts all of standard output (CRLF as LF, one final newline free).
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.text().trim_end_matches('\n') == text.trim_end_matches('\n'), "wanted {text:?}: {}", self.describe());
        self
    }
    /// Asserts that standard output contains this.
    #[track_caller]
    pub fn prints_with(self, text: &str) -> Self {
        assert!(self.text().contains(text), "wanted {text:?} on stdout: {}", self.describe());
        self
    }
    /// Asserts that standard output does not contain this.
    #[track_caller]
    pub fn prints_without(self, text: &str) -> Self {
        assert!(!self.text().contains(text), "did not want {text:?} on stdout: {}", self.describe());
        self
    }
    /// Asserts that standard error contains this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.errors().contains(text), "wanted {text:?} on stderr: {}", self.describe());
        self
    }
    /// Asserts that standard error is empty.
    #[track_caller]
    pub fn says_nothing(self) -> Self {
        assert!(self.stderr.is_empty(), "wanted nothing on stderr: {}", self.describe());
        self
    }
    /// Asserts a bound on the time.
    #[track_caller]
    pub fn within(self, limit: Duration) -> Self {
        assert!(!self.timed_out && self.time <= limit, "wanted at most {limit:?}: {}", self.describe());
        self
    }
    /// The probe's view, which must be one line of standard output.
    #[track_caller]
    pub fn view(&self) -> View {
        View::new(self.json())
    }
    /// The last line of standard output that is a JSON object or array; else the whole of it.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let text = self.text();
        let line = text.lines().rev().find(|l| l.starts_with('{') || l.starts_with('[')).unwrap_or("");
        serde_json::from_str(line).or_else(|_| serde_json::from_str(&text)).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.describe()))
    }
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(6000) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_string(),
    }
}
