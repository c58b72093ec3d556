//! A running machine's PID 1, as the host sees it. Nothing here is asked of the machine's own /proc.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use hostel_sys::clone::{self, pidfd_open, pidfd_send_signal};

use crate::error::{Context, Error, Result, io_text};
use crate::registry::ProcessId;

/// PID 1 of a machine, held by descriptor: it cannot become another process under us.
#[derive(Debug)]
pub struct Leader {
    pid: i32,
    pidfd: OwnedFd,
    root: OnceCell<OwnedFd>,
    /// Its root directory may be another than that of its mount namespace: we did not make it.
    foreign: bool,
}

/// What the host's kernel says about a process (/proc/PID/status).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// /proc/PID/comm.
    pub name: Vec<u8>,
    /// Its pid in its own pid namespace.
    pub inner_pid: i32,
    /// Its effective user, as our user namespace numbers it.
    pub uid: u32,
    /// Blocked signals; bit n-1 is signal n.
    pub blocked: u64,
    /// Signals it has handlers for.
    pub caught: u64,
    /// Effective capabilities, in its own user namespace.
    pub effective: u64,
    /// Bounding set.
    pub bounding: u64,
    /// Whether it may not gain privileges by exec.
    pub no_new_privileges: bool,
    /// Whether it has a system call filter.
    pub filtered: bool,
}

impl Facts {
    /// Of the calling thread.
    pub fn own() -> Result<Self> {
        let mut buffer = [0u8; 4096];
        let path = "/proc/thread-self/status";
        crate::registry::identity::read_small(path, &mut buffer).map(Self::parse).context("read", path)
    }

    /// Parses the file's text; what is missing is zero.
    pub fn parse(text: &[u8]) -> Self {
        let mut facts = Self::default();
        for line in text.split(|b| *b == b'\n') {
            let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
            let (key, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let hex = || std::str::from_utf8(value).ok().and_then(|v| u64::from_str_radix(v, 16).ok()).unwrap_or(0);
            match key {
                b"Name" => facts.name = value.to_vec(),
                b"NSpid" => {
                    let last = value.split(|b| b.is_ascii_whitespace()).next_back().unwrap_or_default();
                    facts.inner_pid = std::str::from_utf8(last).ok().and_then(|v| v.parse().ok()).unwrap_or(0);
                }
                b"Uid" => {
                    let effective = value.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty()).nth(1).unwrap_or_default();
                    facts.uid = std::str::from_utf8(effective).ok().and_then(|v| v.parse().ok()).unwrap_or(0);
                }
                b"SigBlk" => facts.blocked = hex(),
                b"SigCgt" => facts.caught = hex(),
                b"CapEff" => facts.effective = hex(),
                b"CapBnd" => facts.bounding = hex(),
                b"NoNewPrivs" => facts.no_new_privileges = value == b"1",
                b"Seccomp" => facts.filtered = value != b"0",
                _ => {}
            }
        }
        facts
    }

    /// Whether signal `n` is caught, or blocked and so, in a PID 1, waited for.
    pub fn takes(&self, signal: i32) -> bool {
        (1..=64).contains(&signal) && (self.caught | self.blocked) >> (signal - 1) & 1 == 1
    }

    /// Whether signal `n` has a handler.
    pub fn catches(&self, signal: i32) -> bool {
        (1..=64).contains(&signal) && self.caught >> (signal - 1) & 1 == 1
    }
}

impl Leader {
    /// The process of this number now, of whatever making: hostel, systemd-nspawn, LXC, unshare(1).
    pub fn from_pid(pid: i32) -> Result<Self> {
        if pid <= 1 {
            return Err(Error::new("open", format!("process {pid}"), "it is not the PID 1 of a machine"));
        }
        let pidfd = pidfd_open(pid).context("open", format!("process {pid}"))?;
        Ok(Self { pid, pidfd, root: OnceCell::new(), foreign: true })
    }

    /// The leader of one of our machines, as it was written down; an error when it has ended.
    pub fn from_identity(process: ProcessId) -> Result<Self> {
        match process.open().context("open", format!("process {}", process.pid))? {
            Some(pidfd) => Ok(Self { pid: process.pid, pidfd, root: OnceCell::new(), foreign: false }),
            None => Err(Error::new("open", format!("process {}", process.pid), "it has ended")),
        }
    }

    /// One that the caller made or holds already.
    pub fn from_parts(pid: i32, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, root: OnceCell::new(), foreign: false }
    }

    /// Whether it may have a root directory below that of its mount namespace.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Its number in our pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal by raw number. `Ok(false)`: it has ended.
    pub fn signal(&self, signal: i32) -> Result<bool> {
        match pidfd_send_signal(self.pidfd(), signal) {
            Ok(()) => Ok(true),
            Err(e) if Errno::from_io_error(&e) == Some(Errno::SRCH) => Ok(false),
            Err(e) => Err(Error::new("send", format!("signal {signal} to process {}", self.pid), io_text(&e))),
        }
    }

    /// Whether it has not ended. A zombie has.
    pub fn is_alive(&self) -> bool {
        let mut fds = [rustix::event::PollFd::new(&self.pidfd, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0))
    }

    /// Waits for its end; `false`: it has not ended in that time.
    pub fn ended_within(&self, limit: std::time::Duration) -> Result<bool> {
        crate::registry::recover::wait_for_end(self.pidfd(), limit).context("wait for", format!("process {}", self.pid))
    }

    /// Path of its file `name` in the host's /proc. What was read there is its own if it is still alive afterwards.
    fn proc_path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid)
    }

    fn still<T>(&self, value: T) -> Result<T> {
        // Not the poll of `is_alive`: a zombie keeps its number, and that is what matters here.
        match self.signal(0)? {
            true => Ok(value),
            false => Err(Error::new("read", format!("process {}", self.pid), "it has ended")),
        }
    }

    /// What the kernel says about it.
    pub fn facts(&self) -> Result<Facts> {
        let mut buffer = [0u8; 4096];
        let path = self.proc_path("status");
        let text = crate::registry::identity::read_small(&path, &mut buffer).context("read", path)?;
        self.still(Facts::parse(text))
    }

    /// Its program: the path as its own mount namespace has it, good for its last part only.
    pub fn program(&self) -> Result<Vec<u8>> {
        let path = self.proc_path("exe");
        let link = rustix::fs::readlink(&path, Vec::new()).context("read", path)?;
        self.still(link.into_bytes())
    }

    /// Its arguments, as far as the first 4 KiB go.
    pub fn arguments(&self) -> Result<Vec<Vec<u8>>> {
        let mut buffer = [0u8; 4096];
        let path = self.proc_path("cmdline");
        let text = crate::registry::identity::read_small(&path, &mut buffer).context("read", path)?;
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        self.still(text.split(|b| *b == 0).map(<[u8]>::to_vec).collect())
    }

    /// Its root directory (`O_PATH`). Paths below it go through openat2 with RESOLVE_IN_ROOT, never through its name.
    pub fn root(&self) -> Result<BorrowedFd<'_>> {
        if let Some(fd) = self.root.get() {
            return Ok(fd.as_fd());
        }
        let path = self.proc_path("root");
        let fd = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).context("open", path)?;
        let fd = self.still(fd)?;
        Ok(self.root.get_or_init(|| fd).as_fd())
    }

    /// Device and inode of its namespace `kind` (`pid`, `user`, …): equal for processes in the same one.
    pub fn namespace(&self, kind: &str) -> Result<(u64, u64)> {
        let path = self.proc_path(&format!("ns/{kind}"));
        let stat = rustix::fs::stat(&path).context("read", path)?;
        self.still((stat.st_dev, stat.st_ino))
    }

    /// Whether it is in our own namespace of this kind.
    pub fn shares(&self, kind: &str) -> Result<bool> {
        let own = format!("/proc/thread-self/ns/{kind}");
        let stat = rustix::fs::stat(&own).context("read", own)?;
        Ok(self.namespace(kind)? == (stat.st_dev, stat.st_ino))
    }

    /// Its living children, by number in our pid namespace (/proc/PID/task/…/children, CONFIG_PROC_CHILDREN).
    pub fn children(&self) -> Result<Vec<i32>> {
        let tasks = self.proc_path("task");
        let mut out = Vec::new();
        for task in std::fs::read_dir(&tasks).context("list", &tasks)?.flatten() {
            let path = task.path().join("children");
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                // A thread that ended meanwhile; not the first one, which is the process.
                Err(_) if task.file_name() != self.pid.to_string().as_str() => continue,
                Err(error) => return Err(error).context("read", path.display().to_string()),
            };
            let living = |pid: &i32| crate::registry::identity::Stat::read(*pid).ok().flatten().is_some_and(|s| !matches!(s.state, b'Z' | b'X'));
            out.extend(text.split_ascii_whitespace().filter_map(|p| p.parse().ok()).filter(living));
        }
        self.still(out)
    }

    /// How it ended, if this can be known: it was our child, or the kernel keeps it (Linux 6.15).
    pub fn end(&self) -> Option<clone::WaitStatus> {
        match clone::wait_pidfd(self.pidfd(), clone::WAIT_EXITED | clone::WAIT_NOHANG) {
            Ok(status) => status,
            Err(_) => clone::pidfd_exit(self.pidfd()).ok().flatten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_text() {
        let text = b"Name:\tsystemd\nUmask:\t0000\nPid:\t812\nUid:\t7\t8\t9\t10\nNSpid:\t812\t40\t1\nSigBlk:\t7fe3c0fe28014a03\nSigIgn:\t0000000000001000\nSigCgt:\t00000000000004ec\nCapEff:\t00000000fdecbfff\nCapBnd:\t00000000fdecbfff\nNoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let facts = Facts::parse(text);
        assert_eq!(facts.uid, 8);
        assert_eq!((&facts.name[..], facts.inner_pid, facts.bounding, facts.filtered), (&b"systemd"[..], 1, 0xfdec_bfff, true));
        assert!(facts.takes(37) && facts.takes(38) && facts.takes(15) && !facts.takes(9) && !facts.takes(0) && !facts.takes(65));
        for junk in [&b""[..], b":", b"Name", b"SigBlk: zz\nNSpid:\n", &[0xff; 64]] {
            let facts = Facts::parse(junk);
            assert_eq!((facts.blocked, facts.inner_pid), (0, 0));
        }
    }

    #[test]
    fn ourselves_and_a_child() {
        assert!(Leader::from_pid(1).is_err() && Leader::from_pid(0).is_err() && Leader::from_pid(-1).is_err());
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let leader = Leader::from_pid(child.id() as i32).unwrap();
        // The kernel has a new program's file in place before its arguments.
        while !leader.program().unwrap().ends_with(b"/sleep") || leader.arguments().unwrap().len() < 2 {
            std::thread::yield_now();
        }
        assert!(leader.is_alive() && leader.shares("pid").unwrap());
        assert_eq!(leader.arguments().unwrap()[1], b"60");
        leader.root().unwrap();
        assert!(leader.signal(9).unwrap());
        while leader.is_alive() {
            std::thread::yield_now();
        }
        assert_eq!(leader.end(), Some(clone::WaitStatus::Signaled { signal: 9, core: false }));
        assert!(!leader.signal(9).unwrap());
        assert!(leader.facts().is_err() && leader.program().is_err());
        let _ = child.wait();
    }
}
