//! OOMPolicy=: the kernel killed a process of a unit because memory ran out, as `memory.events` of the unit's group counts it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use hostel_process::event::Interest;
use hostel_unit::UnitName;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::config::OomPolicy;
use super::world::{Token, World};
use super::{Manager, resources};
use crate::load::Unit;

/// Which units are watched, by the number of the watch.
#[derive(Debug, Default)]
pub struct Watch {
    fd: Option<OwnedFd>,
    units: Vec<(i32, UnitName)>,
}

impl Watch {
    /// Watches a group; the descriptor when it is new.
    fn add(&mut self, group: BorrowedFd<'_>, unit: &UnitName) -> rustix::io::Result<Option<BorrowedFd<'_>>> {
        let is_new = self.fd.is_none();
        let fd = match self.fd.take() {
            Some(fd) => fd,
            None => inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        };
        let fd: &OwnedFd = self.fd.insert(fd);
        let number = inotify::add_watch(fd, format!("/proc/self/fd/{}/memory.events", group.as_raw_fd()), WatchFlags::MODIFY)?;
        // a group that is there still is watched by the same number
        self.units.retain(|(known, _)| *known != number);
        self.units.push((number, unit.clone()));
        Ok(is_new.then_some(fd.as_fd()))
    }

    /// Units whose counts may be others now.
    fn woke(&mut self) -> Vec<UnitName> {
        let mut found = Vec::new();
        let Some(fd) = &self.fd else { return found };
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(fd, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::IGNORED) {
                self.units.retain(|(number, _)| *number != event.wd());
            } else if let Some((_, unit)) = self.units.iter().find(|(number, unit)| *number == event.wd() && !found.contains(unit)) {
                found.push(unit.clone());
            }
        }
        found
    }
}

/// How often that happened, by the text of `memory.events`.
fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

impl World<'_> {
    /// From now on it is told; why not, if somebody has asked for it.
    pub(super) fn watch_memory(&mut self, group: Option<&OwnedFd>, depth: usize) -> Option<&'static str> {
        let unit = &self.rest.unit;
        if unit.name.kind() != hostel_unit::Kind::Service || OomPolicy::of(unit) == OomPolicy::Continue {
            return None;
        }
        let is_asked = asks(unit);
        let missing = |why| is_asked.then_some(why);
        let Some(group) = group else { return missing(resources::NO_GROUP) };
        let read = |shared: &super::world::Shared| shared.members.text(unit.name.as_str(), "memory.events").as_deref().and_then(kills);
        let mut count = read(self.shared);
        if count.is_none() && is_asked {
            resources::give(group.as_fd(), depth, "memory");
            count = read(self.shared);
        }
        if count.is_none() {
            return missing(resources::NO_CONTROLLER);
        }
        match self.shared.memory.add(group.as_fd(), &unit.name) {
            Ok(Some(fd)) => {
                let _ = self.shared.poller.want(Token::Memory, fd, Interest::READ);
            }
            Ok(None) => {}
            Err(_) => return missing("nothing more can be watched here (fs.inotify): that memory ran out is not noticed"),
        }
        self.rest.oom_kills = count;
        None
    }
}

/// Whether the key is there at all.
fn asks(unit: &Unit) -> bool {
    unit.settings.of("Service", "OOMPolicy").next().is_some()
}

impl Manager {
    /// Counts of groups have changed.
    pub(super) fn memory_woke(&mut self) {
        for unit in self.shared.memory.woke() {
            self.look_at_memory(&unit);
        }
    }

    /// Whether the kernel has killed a process of a unit since the last look.
    pub(super) fn look_at_memory(&mut self, unit: &UnitName) {
        let Some(known) = self.units.get(unit).and_then(|live| live.rest.oom_kills) else { return };
        let now = self.shared.members.text(unit.as_str(), "memory.events").as_deref().and_then(kills).unwrap_or(known);
        if now > known {
            if let Some(live) = self.units.get_mut(unit) {
                live.rest.oom_kills = Some(now);
            }
            self.with(unit, |service, world| service.out_of_memory(world));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn counts_and_policies() {
        assert_eq!(kills("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!((kills("oom_kill x"), kills("")), (None, None));
        let tree = Tree::new("memory");
        let policy = |keys: &str| {
            tree.unit("a.service", &format!("[Service]\nExecStart=/bin/a\n{keys}"));
            OomPolicy::of(&tree.load("a.service"))
        };
        for (keys, expected) in [
            ("", OomPolicy::Stop),
            ("OOMPolicy=kill", OomPolicy::Kill),
            ("OOMPolicy=continue", OomPolicy::Continue),
            ("Delegate=yes", OomPolicy::Continue),
            ("Delegate=yes\nOOMPolicy=stop", OomPolicy::Stop),
            ("Delegate=no", OomPolicy::Stop),
        ] {
            assert_eq!(policy(keys), expected, "{keys}");
        }
    }

    #[test]
    fn a_file_that_is_written_is_told() {
        let top = std::env::temp_dir().join(format!("hostel-memory-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        std::fs::write(top.join("memory.events"), "oom_kill 0\n").unwrap();
        let group: OwnedFd = std::fs::File::open(&top).unwrap().into();
        let name = UnitName::parse("a.service").unwrap();
        let mut watch = Watch::default();
        assert!(watch.add(group.as_fd(), &name).unwrap().is_some());
        assert!(watch.add(group.as_fd(), &name).unwrap().is_none() && watch.woke().is_empty());
        std::fs::write(top.join("memory.events"), "oom_kill 1\n").unwrap();
        assert_eq!(watch.woke(), [name]);
        std::fs::remove_dir_all(&top).unwrap();
        assert!(watch.woke().is_empty() && watch.units.is_empty(), "what is gone is forgotten");
    }
}
