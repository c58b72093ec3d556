//! Which processes belong to a unit.
//!
//! With a cgroup2 hierarchy in which this process may make directories, a unit's processes are those of its directory. Without, a
//! process belongs to the unit whose command leads its session, whose process is its ancestor, or whose invocation id is in its
//! environment: all three outlive a daemon's forking, unless it does everything to hide.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use hostel_sys::clone;
use hostel_unit::{Gather as _, Kind, UnitName};
use rustix::fs::{AtFlags, Mode, OFlags};

/// Most processes of one unit that are looked at.
const PROCESSES_MAX: usize = 65_536;
/// How deep groups of a unit may be in each other.
const DEPTH_MAX: u32 = 8;

/// How a unit's processes are told from others when there are no groups.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// The unit's name.
    pub unit: String,
    /// `INVOCATION_ID` of its processes.
    pub invocation: String,
    /// Numbers of the processes that were made for it: each leads a session.
    pub sessions: Vec<i32>,
}

/// The way in which this is found out.
#[derive(Debug)]
pub struct Members {
    /// The manager's own directory, the one of system.slice in it, and the path of the first as /proc/PID/cgroup says it.
    groups: Option<(OwnedFd, OwnedFd, String)>,
    /// Units that are in another slice: the path of that.
    places: BTreeMap<String, String>,
}

/// The slice of units for which nothing else is said.
const SYSTEM: &str = "system.slice";

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

impl Members {
    /// Looks for a hierarchy that may be written.
    pub fn find() -> Members {
        Members { groups: slice(), places: BTreeMap::new() }
    }

    /// Only sessions, ancestors and marks.
    pub fn without_groups() -> Members {
        Members { groups: None, places: BTreeMap::new() }
    }

    /// In words, for `status`.
    pub fn way(&self) -> &'static str {
        if self.groups.is_some() { "cgroup" } else { "session" }
    }

    /// A unit is in a slice from now on, by the slice's path; where it is already it stays.
    pub fn place(&mut self, unit: &str, slice: &str) {
        if slice == SYSTEM {
            self.places.remove(unit);
        } else if self.groups.is_some() {
            self.places.insert(unit.to_owned(), slice.to_owned());
        }
    }

    /// The slice of a unit that is in another than usual.
    pub fn place_of(&self, unit: &str) -> Option<&str> {
        self.places.get(unit).map(String::as_str)
    }

    /// The path of a unit's slice.
    fn slice_of(&self, unit: &str) -> &str {
        self.places.get(unit).map_or(SYSTEM, String::as_str)
    }

    /// Below how many others of this manager's directories a unit's group is.
    pub fn depth(&self, unit: &str) -> usize {
        1 + self.slice_of(unit).split('/').filter(|part| !part.is_empty()).count()
    }

    /// The path of a unit's group below the hierarchy, if there are groups.
    pub fn path(&self, unit: &str) -> Option<String> {
        let (_, _, top) = self.groups.as_ref()?;
        let slice = self.slice_of(unit);
        Some(if slice.is_empty() { format!("{top}/{unit}") } else { format!("{top}/{slice}/{unit}") })
    }

    /// The same of a slice's.
    pub fn slice_path(&self, slice: &UnitName) -> Option<String> {
        let (_, _, top) = self.groups.as_ref().filter(|_| slice.kind() == Kind::Slice)?;
        Some(format!("{top}/{}", super::resources::slice_path(slice.as_str())).trim_end_matches('/').to_owned())
    }

    /// The path of the group that this manager is in.
    pub fn own_path(&self) -> Option<String> {
        group_of(std::process::id() as i32)
    }

    /// A unit's group, made now if it is not there.
    pub fn group(&self, unit: &str) -> Option<OwnedFd> {
        let (_, system, _) = self.groups.as_ref()?;
        match self.slice_of(unit) {
            SYSTEM => made(system, unit),
            slice => made(&self.slice_group(slice)?, unit),
        }
    }

    /// A slice's group, made now with those above it.
    pub fn slice_group(&self, slice: &str) -> Option<OwnedFd> {
        let (top, _, _) = self.groups.as_ref()?;
        let mut at = top.try_clone().ok()?;
        for part in slice.split('/').filter(|part| !part.is_empty()) {
            at = made(&at, part)?;
        }
        Some(at)
    }

    /// Opens a unit's group as it is.
    fn open(&self, unit: &str) -> Option<OwnedFd> {
        let (top, system, _) = self.groups.as_ref()?;
        let found = match self.slice_of(unit) {
            SYSTEM => rustix::fs::openat(system, unit, DIRECTORY, Mode::empty()),
            "" => rustix::fs::openat(top, unit, DIRECTORY, Mode::empty()),
            slice => rustix::fs::openat(top, format!("{slice}/{unit}"), DIRECTORY, Mode::empty()),
        };
        found.ok()
    }

    /// A unit has no place any more.
    pub fn let_go(&mut self, unit: &str) {
        self.places.remove(unit);
    }

    /// Takes a group away that is empty.
    pub fn forget(&self, unit: &str) {
        if let (Some(group), Some((top, ..))) = (self.open(unit), &self.groups) {
            remove_below(&group, DEPTH_MAX);
            let path = format!("{}/{unit}", self.slice_of(unit));
            let _ = rustix::fs::unlinkat(top, path.trim_start_matches('/'), AtFlags::REMOVEDIR);
        }
    }

    /// Takes a slice's group away, if nothing is in it.
    pub fn forget_slice(&self, slice: &str) {
        if let (Some((top, ..)), false) = (&self.groups, slice.is_empty() || slice == SYSTEM) {
            let _ = rustix::fs::unlinkat(top, slice, AtFlags::REMOVEDIR);
        }
    }

    /// The numbers of a unit's processes now.
    pub fn list(&self, marks: &Marks) -> Vec<i32> {
        match &self.groups {
            Some(_) => {
                let mut found = Vec::new();
                if let Some(group) = self.open(&marks.unit) {
                    processes(&group, DEPTH_MAX, &mut found);
                }
                found
            }
            None => by_marks(marks),
        }
    }

    /// A number that the kernel keeps of a unit's group, such as `memory.current`.
    pub fn number(&self, unit: &str, file: &str) -> Option<u64> {
        self.text(unit, file)?.trim().parse().ok()
    }

    /// A file of a unit's group.
    pub fn text(&self, unit: &str, file: &str) -> Option<String> {
        let file = rustix::fs::openat(self.open(unit)?, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        std::io::read_to_string(std::fs::File::from(file)).ok()
    }

    /// Stops every process of a unit's group where it is, or lets them go on.
    pub fn freeze(&self, unit: &str, frozen: bool) -> std::io::Result<()> {
        let group = self.open(unit).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::Unsupported))?;
        let file = rustix::fs::openat(group, "cgroup.freeze", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        std::io::Write::write_all(&mut std::fs::File::from(file), if frozen { b"1" } else { b"0" })
    }

    /// Whether this process is one of the unit's.
    pub fn has(&self, marks: &Marks, pid: i32) -> bool {
        match &self.groups {
            Some(_) => group_of(pid).is_some_and(|group| self.is_in(&group, &marks.unit)),
            None => by_marks(marks).contains(&pid),
        }
    }

    /// Whether a group is a unit's, or below it.
    fn is_in(&self, group: &str, unit: &str) -> bool {
        let rest = self.path(unit).and_then(|path| group.strip_prefix(path.as_str()).map(str::to_owned));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Where there are no groups: whether a process that has no mark may be of a unit that began so long ago and says it is. Daemons
    /// such as nginx write over the environment that they were given, and lead a session of their own: such a process is our child
    /// since its parent ended, younger than the unit's start, and bears no unit's mark.
    pub fn is_likely(&self, pid: i32, since: Duration) -> bool {
        let own = std::process::id() as i32;
        let Some(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok().filter(|_| self.groups.is_none()) else { return false };
        let is_marked =
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| bytes.split(|b| *b == 0).any(|e| e.starts_with(b"INVOCATION_ID=")));
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let age = born(&text).map(|born| (now.tv_sec as u64 * 100 + now.tv_nsec as u64 / 10_000_000).saturating_sub(born));
        parse_stat(&text).is_some_and(|seen| seen.parent == own && seen.session == pid)
            && !is_marked
            // a tick is a hundredth of a second; one may have begun before the moment was taken
            && age.is_some_and(|ticks| u128::from(ticks) <= since.as_millis() / 10 + 2)
    }

    /// Which of these units this process belongs to.
    pub fn whose<'m>(&self, pid: i32, units: &[&'m Marks]) -> Option<&'m Marks> {
        match &self.groups {
            Some((.., top)) => {
                let group = group_of(pid)?;
                let below = group.strip_prefix(top.as_str())?;
                // cheap first: its name is a part of the path
                units.iter().copied().find(|marks| below.contains(marks.unit.as_str()) && self.is_in(&group, &marks.unit))
            }
            None => units.iter().copied().find(|marks| by_marks(marks).contains(&pid)),
        }
    }

    /// Sends a signal to a unit's processes but these; whether there were any. A number that was listed, and whose process is still
    /// the unit's once it is held by a descriptor, is the right one.
    pub fn signal(&self, marks: &Marks, but: &[i32], signal: i32) -> bool {
        let held: Vec<(i32, OwnedFd)> =
            self.list(marks).into_iter().filter(|pid| !but.contains(pid)).filter_map(|pid| Some((pid, clone::pidfd_open(pid).ok()?))).collect();
        if held.is_empty() {
            return false;
        }
        let still: BTreeSet<i32> = self.list(marks).into_iter().gather();
        let mut any = false;
        for (pid, pidfd) in &held {
            if still.contains(pid) {
                any = true;
                let _ = clone::pidfd_send_signal(pidfd.as_fd(), signal);
            }
        }
        any
    }
}

/// The group of a process in the unified hierarchy.
fn group_of(pid: i32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Makes the directory of all units' groups below our own group.
fn slice() -> Option<(OwnedFd, OwnedFd, String)> {
    let own = group_of(std::process::id() as i32)?;
    // another's name that is no text is not to hide ours
    let mounts = String::from_utf8_lossy(&std::fs::read("/proc/self/mountinfo").ok()?).into_owned();
    // 36 35 98:0 ROOT POINT OPTIONS … - TYPE …
    let (root, point) = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        if after.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    })?;
    let below = own.strip_prefix(root.trim_end_matches('/')).unwrap_or(&own).trim_start_matches('/');
    let mut path = format!("{}/{below}", point.trim_end_matches('/'));
    let mut shown = own.trim_end_matches('/').to_owned();
    // a manager that is executed anew, or was moved, is in init.scope already
    if let Some(above) = path.strip_suffix("/init.scope") {
        path = above.to_owned();
        shown = shown.trim_end_matches("/init.scope").to_owned();
    }
    let base = rustix::fs::open(path.as_str(), DIRECTORY, Mode::empty()).ok()?;
    match rustix::fs::mkdirat(&base, c"system.slice", Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(_) => return None,
    }
    let slice = rustix::fs::openat(&base, c"system.slice", DIRECTORY, Mode::empty()).ok()?;
    // who may make directories may be allowed to put nobody into them
    let probe = rustix::fs::openat(&slice, c"cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    probe.ok().map(|_| (base, slice, shown))
}

/// A directory in a group, made now if it is not there.
fn made(group: &OwnedFd, name: &str) -> Option<OwnedFd> {
    match rustix::fs::mkdirat(group, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => rustix::fs::openat(group, name, DIRECTORY, Mode::empty()).ok(),
        Err(_) => None,
    }
}

fn remove_below(group: &OwnedFd, depth: u32) {
    for name in children(group) {
        if let (true, Ok(child)) = (depth > 0, rustix::fs::openat(group, name.as_str(), DIRECTORY, Mode::empty())) {
            remove_below(&child, depth - 1);
        }
        let _ = rustix::fs::unlinkat(group, name.as_str(), AtFlags::REMOVEDIR);
    }
}

/// Names of the directories in a group.
fn children(group: &OwnedFd) -> Vec<String> {
    let Ok(entries) = rustix::fs::Dir::read_from(group) else { return Vec::new() };
    let names = entries.filter_map(Result::ok).filter(|entry| entry.file_type() == rustix::fs::FileType::Directory);
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name != "." && name != "..").collect()
}

fn processes(group: &OwnedFd, depth: u32, found: &mut Vec<i32>) {
    if let Ok(file) = rustix::fs::openat(group, c"cgroup.procs", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        let mut text = String::new();
        let _ = std::io::Read::read_to_string(&mut std::fs::File::from(file), &mut text);
        // 0 is a process that this namespace cannot see
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1).take(PROCESSES_MAX));
    }
    if depth > 0 && found.len() < PROCESSES_MAX {
        for name in children(group) {
            if let Ok(child) = rustix::fs::openat(group, name.as_str(), DIRECTORY, Mode::empty()) {
                processes(&child, depth - 1, found);
            }
        }
    }
}

/// A process as /proc tells it.
struct Seen {
    pid: i32,
    parent: i32,
    session: i32,
}

/// `PID (NAME) STATE PARENT GROUP SESSION …`; a name may hold anything.
fn parse_stat(text: &str) -> Option<Seen> {
    let pid = text.split(' ').next()?.parse().ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    // a zombie is nobody's any more
    (!matches!(state, "Z" | "X")).then_some(Seen { pid, parent, session })
}

/// When a process began, in ticks since the boot: the twentieth field after the name.
fn born(text: &str) -> Option<u64> {
    text.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

fn by_marks(marks: &Marks) -> Vec<i32> {
    let own = std::process::id() as i32;
    let mut all: Vec<Seen> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).filter(|pid| *pid != own) else { continue };
        if let Some(seen) = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| parse_stat(&text)) {
            all.push(seen);
        }
    }
    let tag = format!("INVOCATION_ID={}", marks.invocation);
    let is_tagged = |pid: i32| {
        !marks.invocation.is_empty()
            && std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| bytes.split(|b| *b == 0).any(|entry| entry == tag.as_bytes()))
    };
    let mut found: BTreeSet<i32> = BTreeSet::new();
    for seen in &all {
        if marks.sessions.contains(&seen.pid) || marks.sessions.contains(&seen.session) || is_tagged(seen.pid) {
            found.insert(seen.pid);
        }
    }
    // children of theirs, and those children's
    loop {
        let more: Vec<i32> = all.iter().filter(|seen| found.contains(&seen.parent) && !found.contains(&seen.pid)).map(|seen| seen.pid).collect();
        if more.is_empty() {
            return found.into_iter().collect();
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat() {
        let seen = parse_stat("7 (a) b (c)) S 1 7 42 0 -1 4").unwrap();
        assert_eq!((seen.pid, seen.parent, seen.session), (7, 1, 42));
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec as u64 * 100;
        assert!(born(&own).is_some_and(|born| born <= now + 100 && born + 360_000 > now), "{own}");
        assert!(parse_stat("7 (a) Z 1 7 42 0").is_none());
        assert!(parse_stat("").is_none() && parse_stat("7 (a) S").is_none());
    }

    #[test]
    fn marks_find_children() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 100 & wait"]).env("INVOCATION_ID", "feed").spawn().unwrap();
        let members = Members::without_groups();
        let marks = Marks { unit: "x".into(), invocation: "feed".into(), sessions: Vec::new() };
        let mut found = Vec::new();
        for _ in 0..200 {
            found = members.list(&marks);
            if found.len() == 2 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(found.len(), 2, "the shell and its child");
        assert!(members.has(&marks, child.id() as i32));
        assert!(members.signal(&marks, &[], 9));
        child.wait().unwrap();
        assert!(!members.has(&Marks { invocation: "other".into(), ..marks }, std::process::id() as i32));
    }
}
