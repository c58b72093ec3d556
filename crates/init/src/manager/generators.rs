//! Unit files that are made when the manager begins and when files are read again (systemd.generator(7)).
//!
//! /etc/fstab is read here (`fstab.rs`), as SysV scripts are (`sysv.rs`). Programs of packages in `system-generators` are run,
//! all at once and with a limit of time. Those of systemd itself are left out unless they are asked for: what they do is done
//! here, or makes no sense in a machine (disks to decrypt, partitions to look for), and each costs a start of a program.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use hostel_sys::clone::{self, WaitStatus};

use super::context::Context;
use super::{Manager, spawn};
use crate::command::Command;
use crate::fstab;
use crate::load::load_only;
use crate::root::{Entry, Root};

/// Where they write: usual, important, unimportant.
const PLACES: [&str; 3] = ["/run/systemd/generator", "/run/systemd/generator.early", "/run/systemd/generator.late"];
/// How long all of them together may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Which programs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// Those of packages.
    #[default]
    Packages,
    /// systemd's, too, but for those whose work is done here.
    All,
    /// None.
    Nothing,
}

/// Programs with their directories, the most important first; a link to nothing hides one.
fn programs(root: &Root, which: Which) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for top in ["/run", "/etc", "/usr/local/lib", "/usr/lib", "/lib"] {
        let directory = format!("{top}/systemd/system-generators");
        for (name, entry) in root.list(&directory).ok().flatten().unwrap_or_default() {
            if seen.contains(&name) || entry == Entry::Directory {
                continue;
            }
            let path = format!("{directory}/{name}");
            let is_systemds = name.starts_with("systemd-");
            let is_done = matches!(name.as_str(), "systemd-fstab-generator" | "systemd-sysv-generator");
            seen.push(name);
            let wanted = match which {
                Which::Packages => !is_systemds,
                Which::All => !is_done,
                Which::Nothing => false,
            };
            if wanted && !root.is_null_or_empty(&path) && std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0) {
                found.push(path);
            }
        }
    }
    found
}

/// Makes units of the tree's table of file systems; what there is to say of it.
pub fn table(root: &Root) -> Vec<String> {
    let Ok(bytes) = root.read("/etc/fstab") else { return Vec::new() };
    let found = fstab::units(&String::from_utf8_lossy(&bytes), &|path| std::path::Path::new(path).exists());
    let mut notices = found.notices;
    let top = PLACES[0];
    let put = || {
        for (name, text) in &found.units {
            root.make_directories(top)?;
            root.write(&format!("{top}/{name}"), text.as_bytes())?;
        }
        for (by, to) in &found.links {
            root.make_directories(&format!("{top}/{by}"))?;
            root.link(&format!("{top}/{by}/{to}"), &format!("../{to}"), true)?;
        }
        Ok::<(), crate::root::RootError>(())
    };
    if let Err(e) = put() {
        notices.push(format!("make units of /etc/fstab: {e}"));
    }
    notices
}

/// Takes away what was made.
pub fn clear() {
    for place in PLACES {
        let _ = std::fs::remove_dir_all(place);
    }
}

impl Manager {
    /// From now on generators are run when files are read again; with `now`, for the first time. What is in `/etc/fstab` was read before
    /// the catalogue was.
    pub fn generate(&mut self, which: Which, now: bool) -> Result<(), String> {
        self.generators = Some(which);
        if now && self.run_generators(which) {
            self.catalogue = self.fresh_catalogue()?;
        }
        Ok(())
    }

    /// All of it again, before files are read again.
    pub(super) fn generate_again(&mut self) {
        let Some(which) = self.generators else { return };
        clear();
        for notice in table(self.root) {
            self.tell(&notice);
        }
        self.run_generators(which);
    }

    /// Runs them; whether there were any.
    fn run_generators(&mut self, which: Which) -> bool {
        let programs = programs(self.root, which);
        if programs.is_empty() {
            return false;
        }
        for place in PLACES {
            let _ = std::fs::create_dir_all(place);
        }
        let Ok(name) = hostel_unit::UnitName::parse("generators.service") else { return false };
        let context = Context::of(&load_only(&self.catalogue, &name, "[Service]\nStandardError=journal\n"), &mut |_| ());
        let mut environment = self.shared.environment.clone();
        environment.set("SYSTEMD_SCOPE", "system");
        environment.set("SYSTEMD_IN_INITRD", "0");
        if let Some(container) = self.shared.inherited.get("container") {
            environment.set("SYSTEMD_VIRTUALIZATION", format!("container:{container}"));
        }
        let mut running = Vec::new();
        for path in &programs {
            let argv = std::iter::once(path.as_str()).chain(PLACES).map(str::to_owned).collect();
            let command = Command { program: path.clone(), argv, literal: true, ..Command::default() };
            let plan = spawn::Plan {
                command: &command,
                context: &context,
                dynamic: None,
                environment: environment.clone(),
                group: None,
                log: None,
                main: true,
                pass: Vec::new(),
                sockets: 0,
                stream: None,
                runtime: None,
                credentials: None,
            };
            match spawn::spawn(&plan) {
                Ok(made) => running.push((path, made)),
                Err(why) => self.shared.log.own(None, &format!("{path}: {why}")),
            }
        }
        let end = Instant::now() + LIMIT;
        for (path, made) in running {
            let left = end.saturating_duration_since(Instant::now());
            if let Some(text) = ended(&made, left) {
                self.shared.log.own(None, &format!("{path} {text}"));
            }
        }
        true
    }
}

/// Waits for one; what there is to say of its end.
fn ended(made: &spawn::Made, left: Duration) -> Option<String> {
    let mut fds = [rustix::event::PollFd::new(&made.pidfd, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    let late = !matches!(rustix::event::poll(&mut fds, Some(&limit)), Ok(1));
    if late {
        let _ = clone::pidfd_send_signal(made.pidfd.as_fd(), 9);
        // what it has started is in its session; one that does not end at once is reaped when it does
        if let Some(pid) = rustix::process::Pid::from_raw(made.pid) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        return Some(format!("took longer than {} s and was ended", LIMIT.as_secs()));
    }
    match clone::wait_pidfd(made.pidfd.as_fd(), clone::WAIT_EXITED) {
        Ok(Some(WaitStatus::Exited(0))) => None,
        Ok(Some(end)) => Some(format!("failed: {}", super::service::described(end))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn which_are_run() {
        let tree = Tree::new("generators");
        let none = programs(&tree.root, Which::Packages);
        assert_eq!(none, Vec::<String>::new());
        tree.file("/etc/fstab", "tmpfs /srv/x tmpfs\n/dev/no /y ext4\n");
        let notices = table(&tree.root);
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(tree.path.join("run/systemd/generator/srv-x.mount").exists());
        assert!(std::fs::read_link(tree.path.join("run/systemd/generator/local-fs.target.wants/srv-x.mount")).is_ok());
        let unit = tree.load("srv-x.mount");
        assert!(unit.is_loaded(), "{:?}", unit.state);
        assert!(tree.load("local-fs.target").ties.iter().any(|tie| tie.to.as_str() == "srv-x.mount"));
    }
}
