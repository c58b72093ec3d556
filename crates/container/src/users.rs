//! Users of a user namespace: maps as `u:0:100000:65536`, and who writes them: root itself, anybody else by newuidmap(1).

use std::path::Path;
use std::process::Command;

use hostel_image::open;
use hostel_process::userdb;
use hostel_spec::{IdMap, UserSelector};
use rustix::io::Errno;

use crate::error::{Error, On, Result};

/// Maps of users and of groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub users: Vec<IdMap>,
    /// Groups.
    pub groups: Vec<IdMap>,
}

impl IdMaps {
    /// Adds `u:INSIDE:HOST:COUNT`; `g` is of groups, `b` of both.
    ///
    /// ```
    /// let mut maps = hostel_container::IdMaps::default();
    /// maps.add("b:0:100000:65536").unwrap();
    /// assert_eq!(maps.users[0].host, 100000);
    /// assert!(maps.add("b:0:100000").is_err());
    /// ```
    pub fn add(&mut self, text: &str) -> Result<()> {
        let bad = || Error::new("read id map", text, "it takes u:INSIDE:HOST:COUNT, g for groups, b for both", Errno::INVAL);
        let (kind, numbers) = text.split_once(':').ok_or_else(bad)?;
        let numbers: Vec<u32> = numbers.split(':').map(|n| n.parse().map_err(|_| bad())).collect::<Result<_>>()?;
        let [inside, host, count] = numbers[..] else { return Err(bad()) };
        let (users, groups) = match kind {
            "u" => (true, false),
            "g" => (false, true),
            "b" => (true, true),
            _ => return Err(bad()),
        };
        let map = IdMap { inside, host, count };
        self.users.extend(users.then_some(map));
        self.groups.extend(groups.then_some(map));
        Ok(())
    }

    /// All that /etc/subuid and /etc/subgid give to who runs this.
    pub fn delegated() -> Result<IdMaps> {
        let uid = rustix::process::geteuid().as_raw();
        let user = open::directory(Path::new("/"))?;
        let user = userdb::lookup(user, &UserSelector::Id(uid)).map_or_else(|_| uid.to_string(), |user| user.name);
        let of = |file: &str| {
            let ranges = ranges(&std::fs::read_to_string(file).unwrap_or_default(), &user, uid);
            let none = || Error::new("map ids of user", &user, format_args!("{file} gives it none"), Errno::NOENT);
            if ranges.is_empty() { Err(none()) } else { Ok(ranges) }
        };
        Ok(IdMaps { users: of("/etc/subuid")?, groups: of("/etc/subgid")? })
    }

    /// Gives a process in a new user namespace these ids. Maps that are empty are left to others.
    pub fn write(&self, pid: i32) -> Result<()> {
        for (file, tool, maps) in [("uid_map", "newuidmap", &self.users), ("gid_map", "newgidmap", &self.groups)] {
            if maps.is_empty() {
                continue;
            }
            if rustix::process::geteuid().is_root() {
                let text: String = maps.iter().map(IdMap::to_string).collect();
                let path = format!("/proc/{pid}/{file}");
                // In one write: the kernel takes a map once.
                std::fs::write(&path, text).on("write", path)?;
                continue;
            }
            let mut words = vec![pid.to_string()];
            words.extend(maps.iter().flat_map(|m| [m.inside, m.host, m.count]).map(|n| n.to_string()));
            let said = Command::new(tool).args(&words).output().on("run", format_args!("{tool} (Debian's package uidmap has it)"))?;
            if !said.status.success() {
                return Err(Error::new("map ids by", tool, String::from_utf8_lossy(&said.stderr).trim(), Errno::PERM));
            }
        }
        Ok(())
    }
}

/// The ranges of a user in a file as /etc/subuid, one after the other from 0.
fn ranges(text: &str, user: &str, uid: u32) -> Vec<IdMap> {
    let mut next = 0;
    let range = |line: &str| {
        let (owner, rest) = line.split_once(':')?;
        let (host, count) = rest.split_once(':')?;
        let own = owner == user || owner.parse() == Ok(uid);
        own.then_some((host.parse::<u32>().ok()?, count.trim().parse::<u32>().ok()?))
    };
    let all = text.lines().filter_map(range).map(|(host, count)| {
        let map = IdMap { inside: next, host, count };
        next = next.saturating_add(count);
        map
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_user() {
        let text = "ann:100000:65536\nbob:1:2\n1000:300000:10\nann:x:1\nann\n";
        let map = |inside, host, count| IdMap { inside, host, count };
        assert_eq!(ranges(text, "ann", 1000), [map(0, 100_000, 65536), map(65536, 300_000, 10)]);
        assert_eq!(ranges(text, "7", 7), []);
    }

    #[test]
    fn maps_by_words() {
        let mut maps = IdMaps::default();
        maps.add("u:0:1:2").unwrap();
        maps.add("g:0:3:4").unwrap();
        assert_eq!((maps.users[0].host, maps.groups[0].host, maps.users.len()), (1, 3, 1));
        for bad in ["", "u", "x:0:1:2", "u:0:1:2:3", "u:0:-1:2", "u:a:1:2"] {
            assert!(maps.add(bad).is_err(), "{bad}");
        }
    }
}
