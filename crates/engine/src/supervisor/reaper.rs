//! PID 1 of a subhost: starts its services, reaps, stops them in reverse, and ends when nobody is left.
//!
//! | what happens | what is done |
//! |---|---|
//! | begin | each of START in turn: `service`, `rc-service`, `/etc/init.d/…` or `sv`, a path itself; 60 s each; then READY=1 |
//! | a service does not start | told on the console and in the status; the next one is started |
//! | nobody runs after that | the pipe /run/dummy_service is made and stands in: a line written to it ends the machine |
//! | a process ends | it is reaped; was it the last, the machine ends with status 0 |
//! | SIGTERM, SIGINT, SIGPWR, SIGRTMIN+3, +4 (+5: reboot) | START in reverse is stopped, then all are told to end, and killed after 5 s |
//!
//! It is this program, executed in the machine from a read-only mount (`enter/shield.rs`): nothing of the host is in its memory.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hostel_process::r#become::{self, Failure, Process};
use hostel_sys::clone::{self, CloneArgs};
use hostel_sys::event::{self, SignalFd, SignalMask};
use hostel_sys::proc::{self, Reboot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

use super::payload::announce;
use crate::enter::shield;

/// What it calls itself.
pub(crate) const NAME: &CStr = c"(hostel-reaper)";
/// What a service may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// What processes may take that were told to end.
const GRACE: Duration = Duration::from_secs(5);
/// The pipe that stands in for a service where there is none.
const DUMMY: &str = "/run/dummy_service";
const SHELL: &str = "/bin/sh";
/// SIGINT, SIGTERM, SIGPWR, SIGRTMIN+3, +4, +5; SIGCHLD.
const HEARD: [i32; 7] = [2, 15, 30, 37, 38, REBOOT, CHILD];
const REBOOT: i32 = 39;
const CHILD: i32 = 17;

/// Becomes PID 1 of a subhost; returns only on failure.
pub(super) fn run(process: &Process<'_>, report_to: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Failure {
    let failed = |e: io::Error| Failure::new("start", "reaper", e);
    let until_exec = [report_to, program];
    let confined = Process { controlling: false, new_session: true, until_exec: &until_exec, ..*process };
    if let Err(failure) = r#become::confine(&confined) {
        return failure;
    }
    let text = |bytes: &[u8]| CString::new(bytes).unwrap_or_default();
    let words: Vec<CString> = std::iter::once(NAME.into()).chain(process.spec.argv.iter().map(|w| text(w.as_bytes()))).collect();
    let env: Vec<CString> = process.env.iter().map(|e| text(e.as_bytes())).collect();
    if let Err(e) = proc::cloexec_from(3) {
        return failed(e);
    }
    announce(report_to);
    failed(shield::execute(program, &words, &env))
}

/// The reaper itself: the beginning of a program that has nothing in its memory.
pub(crate) fn main(argv: &[OsString]) -> ! {
    let words: Vec<String> = argv.iter().skip(1).map(|w| w.to_string_lossy().into_owned()).collect();
    // For the eyes only.
    let _ = proc::set_name(NAME);
    let _ = proc::hide_arguments();
    let _ = proc::set_parent_death_signal(9);
    let _ = proc::ignore_broken_pipes();
    let mask = SignalMask::of(&HEARD);
    let signals = event::block_signals(mask).map_err(io::Error::from).and_then(|_| SignalFd::new(mask).map_err(io::Error::from));
    let Ok(signals) = signals else { clone::exit_now(255) };
    let mut reaper = Reaper { signals, order: None, dummy: None, alone: false };
    clone::exit_now(reaper.live(&words))
}

struct Reaper {
    signals: SignalFd,
    /// The end that was asked for.
    order: Option<i32>,
    dummy: Option<OwnedFd>,
    /// There are no children.
    alone: bool,
}

impl Reaper {
    fn live(&mut self, words: &[String]) -> i32 {
        let (services, script) = match words {
            [empty, script] if empty.is_empty() => (&[][..], Some(script.as_str())),
            list => (list, None),
        };
        let mut failed = Vec::new();
        if let Some(Err(why)) = script.map(|script| self.script(script)) {
            failed.push(format!("INIT ({why})"));
        }
        for name in services {
            if self.order.is_some() {
                break;
            }
            if let Err(why) = self.service(name, "start") {
                say(&format!("start {name}: {why}"));
                failed.push(format!("{name} ({why})"));
            }
        }
        self.reap();
        if self.alone && self.order.is_none() {
            self.dummy = stand_in().inspect_err(|e| say(&format!("make {DUMMY}: {}", crate::error::io_text(e)))).ok();
        }
        self.tell(&failed);
        self.watch();
        match self.order {
            Some(signal) => self.end(services, signal),
            None => 0,
        }
    }

    /// Says that everything is started, and what is not.
    fn tell(&self, failed: &[String]) {
        let status = if failed.is_empty() { String::new() } else { format!("\nSTATUS=failed: {}", failed.join(", ")) };
        let told =
            std::env::var("NOTIFY_SOCKET").map_err(io::Error::other).and_then(|s| Ok(hostel_ipc::notify::send(&s, &format!("READY=1{status}"))?));
        if let Err(e) = told {
            say(&format!("tell that it is up: {}", crate::error::io_text(&e)));
        }
    }

    /// Until somebody asks for the end, or nobody is left.
    fn watch(&mut self) {
        loop {
            self.hear();
            self.reap();
            let waits = self.dummy.is_some();
            if self.order.is_some() || (self.alone && !waits) {
                return;
            }
            let mut polled = vec![PollFd::new(&self.signals, PollFlags::IN)];
            polled.extend(self.dummy.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            let _ = poll(&mut polled, None);
            if polled.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
                drop(polled);
                self.dummy = None;
                let _ = rustix::fs::unlink(DUMMY);
            }
        }
    }

    /// Takes the signals that have come.
    fn hear(&mut self) {
        while let Ok(Some(info)) = self.signals.read() {
            if info.signal != CHILD {
                self.order.get_or_insert(info.signal);
            }
        }
    }

    /// Reaps everything that has ended; the status of `of`, if it was among them.
    fn reap_for(&mut self, of: i32) -> Option<i32> {
        let mut found = None;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == of => {
                    found = Some(status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0)));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => {
                    self.alone = false;
                    return found;
                }
                Err(_) => {
                    self.alone = true;
                    return found;
                }
            }
        }
    }

    fn reap(&mut self) {
        self.reap_for(0);
    }

    /// Runs a program to its end, or kills it when its time is over. An order for the end cuts a start short.
    fn program(&mut self, words: &[&str], stdin: Option<BorrowedFd<'_>>, stopping: bool) -> Result<(), String> {
        let pid = spawn(words, stdin).map_err(|e| crate::error::io_text(&e))?;
        let until = Instant::now() + PATIENCE;
        loop {
            // Before reaping: what ends after it makes a signal that ends the sleep.
            self.hear();
            if let Some(status) = self.reap_for(pid) {
                return if status == 0 { Ok(()) } else { Err(format!("status {status}")) };
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || (self.order.is_some() && !stopping) {
                if let Some(group) = Pid::from_raw(pid) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                return Err(if left.is_zero() { format!("it took longer than {} s", PATIENCE.as_secs()) } else { "we were told to end".into() });
            }
            self.sleep(left);
        }
    }

    /// Until a signal comes.
    fn sleep(&self, limit: Duration) {
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], Some(&limit));
    }

    /// Starts or stops a service by what the tree has for it.
    fn service(&mut self, name: &str, verb: &str) -> Result<(), String> {
        let script = format!("/etc/init.d/{name}");
        let stopping = verb == "stop";
        if name.starts_with('/') {
            return self.program(&[name, verb], None, stopping);
        }
        if let Some(tool) = tool("service") {
            return self.program(&[&tool, name, verb], None, stopping);
        }
        if let Some(tool) = tool("rc-service") {
            return self.program(&[&tool, name, verb], None, stopping);
        }
        if is_program(&script) {
            return self.program(&[&script, verb], None, stopping);
        }
        match tool("sv") {
            Some(tool) => self.program(&[&tool, if stopping { "down" } else { "up" }, name], None, stopping),
            None => Err("the tree has none of service, rc-service, sv, and no such script in /etc/init.d".into()),
        }
    }

    /// Runs what INIT printed. The end of overlay-boot's scripts, which is us already, is left out.
    fn script(&mut self, text: &str) -> Result<(), String> {
        let kept: String = text.lines().flat_map(|l| [l.split("exec /.reaper").next().unwrap_or_default(), "\n"]).collect();
        let file = || -> io::Result<OwnedFd> {
            let file = rustix::fs::memfd_create(c"init-script", rustix::fs::MemfdFlags::CLOEXEC)?;
            let mut file = std::fs::File::from(file);
            io::Write::write_all(&mut file, kept.as_bytes())?;
            io::Seek::rewind(&mut file)?;
            Ok(file.into())
        };
        let file = file().map_err(|e| crate::error::io_text(&e))?;
        self.program(&[SHELL], Some(file.as_fd()), false)
    }

    /// Stops what was started, then everybody.
    fn end(&mut self, services: &[String], signal: i32) -> i32 {
        for name in services.iter().rev() {
            if let Err(why) = self.service(name, "stop") {
                say(&format!("stop {name}: {why}"));
            }
        }
        self.reap();
        if !self.alone {
            let _ = proc::signal_all(15);
            let until = Instant::now() + GRACE;
            while !self.alone && Instant::now() < until {
                self.hear();
                self.reap();
                if !self.alone {
                    self.sleep(until.saturating_duration_since(Instant::now()));
                }
            }
            let _ = proc::signal_all(9);
        }
        if signal == REBOOT {
            proc::reboot(Reboot::Restart);
        }
        0
    }
}

/// On the console, which is logged.
fn say(text: &str) {
    use io::Write;
    let _ = writeln!(io::stderr(), "hostel: {text}");
}

fn is_program(path: &str) -> bool {
    let regular = || rustix::fs::stat(path).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
    rustix::fs::access(path, Access::EXEC_OK).is_ok() && regular()
}

/// A program of the tree's.
fn tool(name: &str) -> Option<String> {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().map(|dir| format!("{dir}/{name}")).find(|path| is_program(path))
}

/// The pipe of the service that is none: whatever is written to it is read by us.
fn stand_in() -> io::Result<OwnedFd> {
    match rustix::fs::mknodat(rustix::fs::CWD, DUMMY, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    // For writing, too: it does not hang up when a writer goes.
    let pipe = rustix::fs::open(DUMMY, OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&pipe)?.st_mode);
    if kind == FileType::Fifo { Ok(pipe) } else { Err(io::Error::other("it is no pipe")) }
}

/// A process in a session of its own.
fn spawn(words: &[&str], stdin: Option<BorrowedFd<'_>>) -> io::Result<i32> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let argv = words.iter().map(|w| text(w.as_bytes())).collect::<io::Result<Vec<_>>>()?;
    let own = |(key, _): &(OsString, OsString)| key != "NOTIFY_SOCKET";
    let env = std::env::vars_os().filter(own).map(|(k, v)| text(&[k.as_bytes(), b"=", v.as_bytes()].concat())).collect::<io::Result<Vec<_>>>()?;
    let null;
    let stdin = match stdin {
        Some(fd) => fd,
        None => {
            null = rustix::fs::open(Path::new("/dev/null"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            null.as_fd()
        }
    };
    let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (words, entries) = (pointers(&argv), pointers(&env));
    let program = argv.first().ok_or(Errno::INVAL)?;
    let mut error = None;
    let mut child = || {
        let ready = proc::new_session().and_then(|()| proc::reset_signals()).and_then(|()| proc::place_stream(stdin, 0));
        error = Some(match ready {
            Ok(()) => proc::execve(program, &words, &entries),
            Err(e) => e,
        });
        127
    };
    let (pid, pidfd) = clone::vfork_exec(&CloneArgs::default(), &mut child)?;
    match error {
        None => Ok(pid),
        Some(e) => {
            let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED);
            Err(e)
        }
    }
}
