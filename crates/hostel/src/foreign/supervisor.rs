//! Which processes are believed when they say that they run a machine: root's own, on this host.
//!
//! Anybody can call a process `systemd-nspawn`, give it any arguments and have it start a pid namespace, and so can root in a machine.
//! What a process says of itself counts only when it could be on the host whatever it wants anyway.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use hostel_engine::enter::Leader;
use hostel_engine::registry::identity;
use hostel_spec::{CapName, CapSet};
use rustix::fs::{FileType, Stat};

/// How many supervisors and helpers are between us and PID 1 at most. A loop in what was read must end.
pub(super) const DEPTH: usize = 4;

/// A process as /proc shows it; nothing of it is true just because it stands there.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) name: String,
    pub(super) arguments: Vec<OsString>,
    /// Its number here, then in each pid namespace further in.
    pub(super) numbers: Vec<i32>,
    /// Real, effective, saved, for files; as our user namespace numbers them.
    pub(super) uids: Vec<u32>,
    pub(super) permitted: CapSet,
}

impl Process {
    pub(super) fn read(pid: i32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Some(Self::parse(pid, &status, &arguments))
    }

    pub(super) fn parse(pid: i32, status: &str, arguments: &[u8]) -> Self {
        let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim).unwrap_or_default();
        let text = arguments.strip_suffix(b"\0").unwrap_or(arguments);
        Self {
            pid,
            parent: field("PPid:").parse().unwrap_or(0),
            name: field("Name:").to_owned(),
            arguments: text.split(|b| *b == 0).map(|word| OsString::from_vec(word.to_vec())).collect(),
            numbers: field("NSpid:").split_whitespace().map(|n| n.parse().unwrap_or(0)).collect(),
            uids: field("Uid:").split_whitespace().map(|n| n.parse().unwrap_or(u32::MAX)).collect(),
            permitted: CapSet(u64::from_str_radix(field("CapPrm:"), 16).unwrap_or(0)),
        }
    }

    /// PID 1 of a pid namespace directly below ours: not of one that a machine made.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.numbers[..], [_, 1])
    }

    /// Nobody but root, and with what it takes to make namespaces.
    fn is_roots(&self) -> bool {
        self.uids.len() == 4 && self.uids.iter().all(|uid| *uid == 0) && self.numbers.len() == 1 && self.permitted.has(CapName::SYS_ADMIN)
    }
}

pub(super) fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// A process that is believed, held by descriptor.
#[derive(Debug)]
pub(super) struct Supervisor {
    held: Leader,
    pub(super) process: Process,
    /// Last part of its program's path: what runs, not what it calls itself.
    pub(super) program: OsString,
    is_hostel: bool,
}

impl Supervisor {
    /// Process `pid`, if it is root's alone with CAP_SYS_ADMIN, in our own user and pid namespace, and its program is one that only
    /// root can change and that makes nobody root (sudo and its like take arguments and children from whoever calls them).
    /// Never PID 1: everybody's orphans become its children.
    pub(super) fn hold(pid: i32) -> Option<Self> {
        let held = Leader::from_pid(pid).ok()?;
        let before = image(pid)?;
        let process = Process::read(pid)?;
        let exe = format!("/proc/{pid}/exe");
        let file = rustix::fs::stat(&exe).ok()?;
        let link = std::fs::read_link(&exe).ok()?;
        let trusted = process.is_roots() && is_roots_program(&file) && held.shares("user").ok()? && held.shares("pid").ok()?;
        // Whoever executes one program after the other would have shown us the rights of one with the name of another.
        if !trusted || image(pid)? != before || !held.is_alive() {
            return None;
        }
        let program = program_name(&link);
        let own = rustix::fs::stat("/proc/self/exe").is_ok_and(|own| (own.st_dev, own.st_ino) == (file.st_dev, file.st_ino));
        Some(Self { held, process, is_hostel: own || program == "hostel", program })
    }

    pub(super) fn pid(&self) -> i32 {
        self.process.pid
    }

    fn is_alive(&self) -> bool {
        self.held.is_alive()
    }

    /// Whether one of its descriptors is this socket.
    pub(super) fn has_socket(&self, inode: u64) -> bool {
        let wanted = format!("socket:[{inode}]");
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).into_iter().flatten().flatten();
        descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|to| to.as_os_str() == OsStr::new(&wanted)) && self.is_alive()
    }
}

/// Changes with every exec: start time, and where the kernel put program, stack and arguments (for set-uid programs always at random).
fn image(pid: i32) -> Option<Vec<u64>> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = identity::Stat::fields(&text)?.collect();
    // Fields 22, 26, 28, 48 of proc_pid_stat(5); the first one here is field 3.
    [22, 26, 28, 48].iter().map(|n| fields.get(n - 3)?.parse().ok()).collect()
}

fn is_roots_program(file: &Stat) -> bool {
    let others = if file.st_gid == 0 { 0o002 } else { 0o022 };
    FileType::from_raw_mode(file.st_mode) == FileType::RegularFile && file.st_uid == 0 && file.st_mode & (0o6000 | others) == 0
}

fn program_name(link: &Path) -> OsString {
    let name = link.file_name().unwrap_or_default();
    match name.to_str().and_then(|n| n.strip_suffix(" (deleted)")) {
        Some(name) => name.into(),
        None => name.to_os_string(),
    }
}

/// The PID 1 that is process `pid`, if nobody but supervisors stand above it; `below`: with this one among them. Nobody else can
/// become a child of theirs. Not a machine of hostel's, whose supervisor says more about it than /proc does.
pub(super) fn leader(pid: i32, below: Option<&Supervisor>) -> Option<Leader> {
    let leader = Leader::from_pid(pid).ok()?;
    let process = Process::read(pid)?;
    if !process.is_first() {
        return None;
    }
    let mut line = vec![Supervisor::hold(process.parent)?];
    while let (Some(top), Some(last)) = (below, line.last())
        && last.pid() != top.pid()
    {
        if line.len() >= DEPTH {
            return None;
        }
        line.push(Supervisor::hold(last.process.parent)?);
    }
    if line.first().is_some_and(|parent| parent.is_hostel) || below.is_some_and(|top| !top.is_alive()) {
        return None;
    }
    // What was read is true of these processes if all of them are still there, and parent and child.
    let same = Process::read(pid).is_some_and(|now| now.is_first() && now.parent == process.parent);
    (same && line.iter().all(Supervisor::is_alive) && leader.is_alive()).then_some(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tsystemd-nspawn\nPPid:\t7\nUid:\t0\t0\t0\t0\nNSpid:\t9\nCapPrm:\t000001ffffffffff\n";

    #[test]
    fn who_is_root() {
        let process = |text: &str| Process::parse(9, text, b"systemd-nspawn\0-D\0/x\0");
        let whole = process(STATUS);
        assert_eq!((whole.parent, whole.name.as_str(), whole.arguments.len()), (7, "systemd-nspawn", 3));
        assert!(whole.is_roots() && !whole.is_first());
        for (from, to) in [
            ("Uid:\t0\t0\t0\t0", "Uid:\t65534\t65534\t65534\t65534"),
            // A set-uid program.
            ("Uid:\t0\t0\t0\t0", "Uid:\t1000\t0\t0\t0"),
            ("Uid:\t0\t0\t0\t0", "Uid:\t0"),
            ("Uid:\t0\t0\t0\t0", ""),
            // In a machine.
            ("NSpid:\t9", "NSpid:\t9\t2"),
            ("NSpid:\t9", ""),
            // A container's root, confined in a container that sees the host's processes.
            ("000001ffffffffff", "00000000a80425fb"),
            ("000001ffffffffff", ""),
        ] {
            assert!(!process(&STATUS.replace(from, to)).is_roots(), "{to}");
        }
        let first = |numbers: &str| process(&STATUS.replace("NSpid:\t9", numbers)).is_first();
        assert!(first("NSpid:\t9\t1") && !first("NSpid:\t9\t2") && !first("NSpid:\t1") && !first("NSpid:\t9\t4\t1") && !first(""));
    }

    #[test]
    fn programs() {
        let file = |path: &str| rustix::fs::stat(path).unwrap();
        assert!(!is_roots_program(&file("/dev/null")) && !is_roots_program(&file("/")));
        let mut stat = file("/proc/self/exe");
        stat.st_uid = 0;
        for (mode, gid, want) in
            [(0o100_755, 0, true), (0o100_775, 0, true), (0o100_775, 5, false), (0o100_757, 0, false), (0o104_755, 0, false), (0o102_755, 0, false)]
        {
            (stat.st_mode, stat.st_gid) = (mode, gid);
            assert_eq!(is_roots_program(&stat), want, "{mode:o}");
        }
        stat.st_uid = 1000;
        assert!(!is_roots_program(&stat));
        assert_eq!(program_name(Path::new("/usr/bin/systemd-nspawn (deleted)")), "systemd-nspawn");
        assert_eq!(program_name(Path::new("/usr/bin/lxc-start")), "lxc-start");
    }

    #[test]
    fn an_exec_is_seen() {
        let own = std::process::id() as i32;
        assert_eq!(image(own).unwrap(), image(own).unwrap());
        let mut child = std::process::Command::new("sh").args(["-c", "read x; exec cat"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = child.id() as i32;
        let is = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
        while !is("sh") {
            std::thread::yield_now();
        }
        let before = image(pid);
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b"\n").unwrap();
        while !is("cat") {
            std::thread::yield_now();
        }
        assert_ne!(image(pid), before);
        drop(input);
        child.wait().unwrap();
    }

    #[test]
    fn never_everybodys_parent() {
        assert!(Supervisor::hold(1).is_none() && Supervisor::hold(0).is_none() && Supervisor::hold(-1).is_none());
    }
}
