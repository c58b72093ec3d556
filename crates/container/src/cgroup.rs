//! Items of a container's cgroups, by the names of version 1 and version 2.

use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::container::Container;
use crate::error::{Error, On, Result};

/// Where hierarchies are mounted: version 1 by its controllers, version 2 has none.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// Version 1: options of its superblock, controllers among them.
    controllers: Option<String>,
}

fn mounts(table: &str) -> Vec<Mount> {
    let of = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let controllers = match right.next()? {
            "cgroup" => Some(right.nth(1)?.to_owned()),
            "cgroup2" => None,
            _ => return None,
        };
        (root == "/").then(|| Mount { point: point.into(), controllers })
    };
    table.lines().filter_map(of).collect()
}

impl Container {
    /// The directory of a controller's cgroup, of version 1 or else of version 2.
    fn cgroup_of(&self, controller: &str) -> Result<PathBuf> {
        let table = std::fs::read_to_string("/proc/self/mountinfo").on("read", "/proc/self/mountinfo")?;
        let mounts = mounts(&table);
        let has = |mount: &&Mount| mount.controllers.as_ref().is_some_and(|all| all.split(',').any(|one| one == controller));
        let (mount, name) = match mounts.iter().find(has) {
            Some(mount) => (Some(mount), controller),
            None => (mounts.iter().find(|mount| mount.controllers.is_none()), ""),
        };
        let mount = mount.ok_or(Errno::NOENT).on("find cgroups of", controller)?;
        let path = self.cgroup_path(name)?;
        Ok(mount.point.join(path.trim_start_matches('/')))
    }

    /// The path of an item: its controller is what is before the first dot.
    pub(crate) fn cgroup_file(&self, item: &str) -> Result<PathBuf> {
        if item.contains('/') || item.is_empty() || item.starts_with('.') {
            return Err(Error::new("find cgroup item", item, "it is no file's name", Errno::INVAL));
        }
        Ok(self.cgroup_of(item.split('.').next().unwrap_or(""))?.join(item))
    }

    /// What an item of its cgroups is, with the line end that it has.
    ///
    /// ```no_run
    /// let container = hostel_container::Container::new("web", None)?;
    /// println!("{}", container.get_cgroup_item("memory.current")?.trim_end());
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn get_cgroup_item(&self, item: &str) -> Result<String> {
        read(&self.cgroup_file(item)?)
    }

    /// Changes it.
    pub fn set_cgroup_item(&self, item: &str, value: &str) -> Result<()> {
        write(&self.cgroup_file(item)?, value)
    }
}

pub(crate) fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let opened = rustix::fs::open(file, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).on("read", file.display())?;
    std::fs::File::from(opened).read_to_string(&mut text).on("read", file.display())?;
    Ok(text)
}

/// In one write: each is a command.
pub(crate) fn write(file: &Path, value: &str) -> Result<()> {
    let opened = rustix::fs::open(file, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).on("write", file.display())?;
    rustix::io::write(&opened, value.as_bytes()).on("write", file.display()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_by_controller() {
        let table = "30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                     31 25 0:27 /lxc /srv/part rw - cgroup cgroup rw,memory\n\
                     32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                     33 25 0:29 / /proc rw - proc proc rw\n";
        let v1 = Mount { point: "/sys/fs/cgroup/cpu".into(), controllers: Some("rw,cpu,cpuacct".into()) };
        let v2 = Mount { point: "/sys/fs/cgroup/unified".into(), controllers: None };
        assert_eq!(mounts(table), [v1, v2]);
    }

    #[test]
    fn items_are_names() {
        let container = Container::bare("c", Some("/nonexistent")).unwrap();
        for bad in ["", "../x", "a/b", ".procs"] {
            assert_eq!(container.get_cgroup_item(bad).unwrap_err().number, 22, "{bad}");
        }
        assert_eq!(container.get_cgroup_item("memory.max").unwrap_err().number, Errno::CONNREFUSED.raw_os_error());
    }
}
