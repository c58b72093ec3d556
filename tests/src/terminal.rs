//! A terminal for a command: a pty whose other end is the test's fingers and eyes.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::Invocation;

/// A command with a terminal of its own as standard input, output, error and controlling terminal.
pub struct Terminal {
    shown: String,
    master: OwnedFd,
    slave: OwnedFd,
    child: Child,
    pidfd: OwnedFd,
    seen: Vec<u8>,
    read_to: usize,
    limit: Duration,
    done: bool,
}

impl Terminal {
    /// Starts it on a terminal of 25 rows and 80 columns.
    #[track_caller]
    pub fn start(invocation: Invocation) -> Terminal {
        Self::start_sized(invocation, 25, 80)
    }

    /// Starts it on a terminal of this size.
    #[track_caller]
    pub fn start_sized(invocation: Invocation, rows: u16, columns: u16) -> Terminal {
        let open = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
            let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            rustix::pty::grantpt(&master)?;
            rustix::pty::unlockpt(&master)?;
            let name = rustix::pty::ptsname(&master, Vec::new())?;
            let slave = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::termios::tcsetwinsize(&master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
            Ok((master, slave))
        };
        let (master, slave) = open().unwrap_or_else(|e| panic!("open a terminal: {e}"));
        let plain = invocation.command();
        // setsid -c takes standard input as controlling terminal and executes in place: the pid is the command's
        let mut command = Command::new("setsid");
        command.arg("-c").arg(plain.get_program()).args(plain.get_args()).env_clear();
        command.envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        if let Some(dir) = plain.get_current_dir() {
            command.current_dir(dir);
        }
        let copy = || Stdio::from(slave.try_clone().unwrap_or_else(|e| panic!("copy the terminal: {e}")));
        let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap_or_else(|e| panic!("run setsid: {e}"));
        let pidfd = Pid::from_raw(child.id() as i32).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        let pidfd = pidfd.unwrap_or_else(|| panic!("open pidfd"));
        Terminal { shown: invocation.shown(), master, slave, child, pidfd, seen: Vec::new(), read_to: 0, limit: Duration::from_secs(20), done: false }
    }

    /// Types.
    pub fn send(&self, keys: &str) {
        let mut left = keys.as_bytes();
        while !left.is_empty() {
            match rustix::io::write(&self.master, left) {
                Ok(n) => left = &left[n..],
                Err(_) => return,
            }
        }
    }

    /// Changes the size; the foreground process group hears SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) {
        let _ = rustix::termios::tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 });
    }

    /// Whether the terminal is as a shell would want it back: canonical input, echo, signals from keys.
    pub fn is_sane(&self) -> bool {
        use rustix::termios::LocalModes;
        rustix::termios::tcgetattr(&self.slave).is_ok_and(|t| t.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG))
    }

    fn read_some(&mut self, limit: Duration) -> bool {
        let time = rustix::event::Timespec { tv_sec: limit.as_secs() as _, tv_nsec: limit.subsec_nanos() as _ };
        let ready = rustix::event::poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&time));
        if !matches!(ready, Ok(1..)) {
            return false;
        }
        let mut buffer = [0u8; 65536];
        match rustix::io::read(&self.master, &mut buffer[..]) {
            Ok(n @ 1..) => {
                self.seen.extend_from_slice(&buffer[..n]);
                true
            }
            _ => false,
        }
    }

    /// Waits for `text` after what was last waited for; gives everything up to it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + self.limit;
        loop {
            let fresh = String::from_utf8_lossy(&self.seen[self.read_to..]).into_owned();
            if let Some(at) = fresh.find(text) {
                let upto = at + text.len();
                // count in the original bytes: lossy text may be longer
                let raw = self.seen[self.read_to..].windows(text.len()).position(|w| w == text.as_bytes()).map_or(upto, |p| p + text.len());
                self.read_to += raw;
                return fresh[..upto].to_string();
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || (!self.read_some(left.min(Duration::from_millis(100))) && self.has_ended() && !self.read_some(Duration::ZERO)) {
                panic!("`{}`: no {text:?} on its terminal; after the last match it showed: {fresh:?}\nall: {:?}", self.shown, self.all());
            }
        }
    }

    /// Whether `text` appears within `limit`.
    pub fn shows(&mut self, text: &str, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            if String::from_utf8_lossy(&self.seen[self.read_to..]).contains(text) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.read_some(left.min(Duration::from_millis(50)));
        }
    }

    /// Everything shown so far.
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// The command's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the command itself.
    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Whether the command has ended.
    pub fn has_ended(&self) -> bool {
        crate::invocation::ended(&self.pidfd, Duration::ZERO)
    }

    /// Closes the terminal, as a window that is closed or a connection that breaks does, and gives the command's exit status.
    #[track_caller]
    pub fn hang_up(mut self, limit: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let nothing = || std::fs::File::open("/dev/null").map(OwnedFd::from).unwrap_or_else(|e| panic!("open /dev/null: {e}"));
        self.slave = nothing();
        self.master = nothing();
        assert!(crate::invocation::ended(&self.pidfd, limit), "`{}` outlived its terminal by {limit:?}", self.shown);
        self.done = true;
        self.child.wait().map_or(-1, |s| s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0)))
    }

    /// Reads on until the command ends, and gives its exit status (128 + signal when killed).
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let end = Instant::now() + limit;
        while !self.has_ended() {
            if Instant::now() > end {
                self.signal(Signal::KILL);
                let _ = self.child.wait();
                self.done = true;
                panic!("`{}` did not end in {limit:?}; it showed: {:?}", self.shown, self.all());
            }
            self.read_some(Duration::from_millis(20));
        }
        while self.read_some(Duration::ZERO) {}
        self.done = true;
        self.child.wait().map_or(-1, |s| s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !self.done {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
