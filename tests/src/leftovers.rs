//! What a test left on the machine: found by the test's own word, which is in every name it used, and by the names that hostel
//! gave to machines of its state directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};

/// Everything of one test that still exists.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    processes: Vec<(i32, String)>,
    cgroups: Vec<PathBuf>,
    pub(crate) mounts: Vec<PathBuf>,
    links: Vec<String>,
    pub(crate) loops: Vec<PathBuf>,
    state: Vec<PathBuf>,
}

impl Leftovers {
    /// Looks for `id`, below and outside of the scratch directory `dir`.
    pub(crate) fn of(id: &str, dir: &Path) -> Leftovers {
        let mut words = vec![id.to_owned()];
        let machines = list(&dir.join("run/machines"));
        let names = machines.iter().filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
        // Others may be words of anybody's.
        words.extend(names.filter(|name| is_given(name)));
        let ours = |text: &str| words.iter().any(|word| text.contains(word.as_str()));
        let (processes, cgroups, mounts, links) = (processes(&ours), cgroups(&ours), mounts(&ours), links(&ours));
        Leftovers { processes, cgroups, mounts, links, loops: loops(dir), state: state(id, dir) }
    }

    /// One line each.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut out: Vec<String> = self.processes.iter().map(|(pid, what)| format!("process {pid} {what}")).collect();
        out.extend(self.cgroups.iter().map(|p| format!("cgroup {}", p.display())));
        out.extend(self.mounts.iter().map(|p| format!("mount {}", p.display())));
        out.extend(self.links.iter().map(|l| format!("link {l}")));
        out.extend(self.loops.iter().map(|p| format!("loop device {}", p.display())));
        out.extend(self.state.iter().map(|p| format!("state {}", p.display())));
        out
    }

    /// Kills, unmounts and removes it all.
    pub(crate) fn remove(&self) {
        for (pid, _) in &self.processes {
            if let Some(pid) = Pid::from_raw(*pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                crate::eventually(Duration::from_secs(2), || {
                    matches!(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG), Err(_) | Ok(Some(_)))
                });
            }
        }
        for group in self.cgroups.iter().rev() {
            let _ = std::fs::write(group.join("cgroup.kill"), "1");
            let _ = std::fs::write(group.join("freezer.state"), "THAWED");
            for pid in
                std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines().filter_map(|l| l.parse().ok().and_then(Pid::from_raw))
            {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            crate::eventually(Duration::from_secs(2), || std::fs::remove_dir(group).is_ok() || !group.exists());
        }
        for target in self.mounts.iter().rev() {
            let _ = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH);
        }
        for link in &self.links {
            let _ = std::process::Command::new("ip").args(["link", "delete", link]).status();
        }
        for device in &self.loops {
            let _ = std::process::Command::new("losetup").arg("-d").arg(device).status();
        }
        // Elsewhere a name that has our word in it may be somebody's by chance.
        for path in self.state.iter().filter(|path| ["/run/hostel", "/run/netns", "/var/lib/hostel"].iter().any(|ours| path.starts_with(ours))) {
            match path.symlink_metadata() {
                Ok(meta) if meta.is_dir() => crate::bed::remove_tree(path),
                _ => drop(std::fs::remove_file(path)),
            }
        }
    }
}

/// `run-0123abcd`, as hostel names machines that nobody named.
fn is_given(name: &str) -> bool {
    name.strip_prefix("run-").is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Our children that no command of the test owns (a killed supervisor's payload comes to us), and whoever is in a cgroup of ours.
fn processes(ours: &dyn Fn(&str) -> bool) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        if pid == std::process::id() as i32 {
            continue;
        }
        let read = |name: &str| String::from_utf8_lossy(&std::fs::read(entry.path().join(name)).unwrap_or_default()).replace('\0', " ");
        let of_ours = read("cgroup").lines().any(|l| l.rsplit(':').next().is_some_and(ours));
        let command = read("cmdline");
        let stat = read("stat");
        let mut after = stat.rsplit(')').next().unwrap_or("").split_whitespace();
        let (condition, parent) = (after.next().unwrap_or("?").to_string(), after.next().unwrap_or("0").to_string());
        let adopted = parent == std::process::id().to_string();
        if adopted && condition == "Z" {
            // an orphan that came to us and ended: ours to reap, nobody's leftover
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
            }
            continue;
        }
        if of_ours || ours(&command) || (adopted && !command.is_empty()) {
            found.push((pid, format!("({condition}) {}", command.trim())));
        }
    }
    found
}

fn cgroups(ours: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((dir, depth)) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            let path = entry.path();
            if ours(&path.to_string_lossy()) {
                found.push(path.clone());
            }
            if depth < 6 {
                todo.push((path, depth + 1));
            }
        }
    }
    found.sort();
    found
}

/// Links to journals of trees that are gone: they outlive their machines, to be read (`--link-journal=guest`).
pub(crate) fn forget_journals(id: &str) {
    for link in list(Path::new("/var/log/journal")) {
        if std::fs::read_link(&link).is_ok_and(|to| to.components().any(|part| part.as_os_str().to_string_lossy().starts_with(id))) {
            let _ = std::fs::remove_file(link);
        }
    }
}

/// Takes away what hostel keeps between machines, as `hostel clean` does: nobody in use of it loses anything.
pub(crate) fn forget_kept_groups() {
    let hierarchies = list(Path::new("/sys/fs/cgroup"));
    for hierarchy in std::iter::once(PathBuf::from("/sys/fs/cgroup")).chain(hierarchies) {
        for kept in ["hostel/.devices-1", "hostel"] {
            let _ = std::fs::remove_dir(hierarchy.join(kept));
        }
    }
}

fn mounts(ours: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter(|l| ours(l)).filter_map(|l| l.split(' ').nth(4)).map(PathBuf::from).collect()
}

/// Of the test's own network, which /sys does not show.
fn links(ours: &dyn Fn(&str) -> bool) -> Vec<String> {
    let out = std::process::Command::new("ip").args(["-o", "link"]).output().map(|o| o.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&out).into_owned();
    let name = |line: &str| line.split(": ").nth(1).map(|n| n.split('@').next().unwrap_or(n).to_string());
    text.lines().filter(|line| ours(line)).filter_map(name).collect()
}

fn loops(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let backing = |e: &std::fs::DirEntry| std::fs::read_to_string(e.path().join("loop/backing_file")).unwrap_or_default();
    all.filter(|e| backing(e).starts_with(&*dir.to_string_lossy())).map(|e| Path::new("/dev").join(e.file_name())).collect()
}

fn list(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

/// Where things with a machine's name are made.
const PLACES: [&str; 10] = [
    "/run/hostel",
    "/run/hostel/machines",
    "/run/hostel/logs",
    "/var/lib/machines",
    "/var/lib/hostel",
    "/var/lib/hostel/machines",
    "/run/netns",
    "/dev/shm",
    "/tmp",
    "/var/tmp",
];

/// State directories, temporary directories and snapshots. The scratch directory itself is the test's.
fn state(id: &str, dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = list(&dir.join("run/machines"));
    for place in PLACES {
        found.extend(list(Path::new(place)).into_iter().filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().contains(id))));
    }
    found.extend(list(dir).into_iter().filter(|p| {
        p.file_name().is_some_and(|n| {
            let n = n.to_string_lossy();
            n.starts_with(".#snapshot") || n.starts_with(".#machine") || n.starts_with(".partial") || n.starts_with(".trash")
        })
    }));
    found
}
