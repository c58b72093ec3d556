//! Where this host keeps its cgroups: pure v2, v1 with a v2 tree beside it (hybrid), or v1 alone.
//!
//! A machine's groups are made below `<base>/hostel/`. The base is, in each hierarchy, the topmost directory that may
//! be written on the way from the hierarchy's root to our own cgroup: for root the hierarchy's root itself, for an
//! unprivileged user the unit that was delegated to her, in a container the container's own group. Where the host has
//! no mounted cgroup2 at all, a private detached mount of it is used: the v2 hierarchy exists in every kernel, mounted or not.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, Mode, OFlags, StatFs, access, open, statfs};

use hostel_spec::{Resources, unescape_octal};

use super::error::CgroupError;
use super::files;
use super::limits;

/// A kernel resource controller that hostel uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// `memory`
    Memory,
    /// `pids`
    Pids,
    /// `cpu`
    Cpu,
    /// `cpuset`
    Cpuset,
    /// `io` (v2), `blkio` (v1)
    Io,
    /// v1 only: v2 uses a BPF program.
    Devices,
    /// `hugetlb`
    Hugetlb,
    /// `rdma`
    Rdma,
    /// v1 only: `net_cls`
    NetCls,
    /// v1 only: `net_prio`
    NetPrio,
    /// v1 only: v2 has it in every group.
    Freezer,
    /// v1 only: likewise.
    Cpuacct,
}

/// Each with its name on v2 and on v1.
const NAMES: [(Controller, &str, &str); 12] = [
    (Controller::Memory, "memory", "memory"),
    (Controller::Pids, "pids", "pids"),
    (Controller::Cpu, "cpu", "cpu"),
    (Controller::Cpuset, "cpuset", "cpuset"),
    (Controller::Io, "io", "blkio"),
    (Controller::Devices, "devices", "devices"),
    (Controller::Hugetlb, "hugetlb", "hugetlb"),
    (Controller::Rdma, "rdma", "rdma"),
    (Controller::NetCls, "net_cls", "net_cls"),
    (Controller::NetPrio, "net_prio", "net_prio"),
    (Controller::Freezer, "freezer", "freezer"),
    (Controller::Cpuacct, "cpuacct", "cpuacct"),
];

impl Controller {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Controller> {
        NAMES.iter().map(|(controller, ..)| *controller)
    }

    /// Its name in cgroup.controllers and cgroup.subtree_control.
    pub fn v2_name(self) -> &'static str {
        NAMES.iter().find(|(controller, ..)| *controller == self).map_or("", |(_, name, _)| name)
    }
}

/// Where the v2 hierarchy is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum V2 {
    /// Mounted; `hostel/` goes below this directory.
    Mounted(PathBuf),
    /// Not mounted anywhere: we make a detached mount when we need one.
    Private,
}

/// One mounted v1 hierarchy with at least one controller that hostel uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1 {
    /// Its controllers, those that hostel uses.
    pub controllers: Vec<Controller>,
    /// `hostel/` goes below this directory.
    pub base: PathBuf,
}

/// How this host mounts its cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything is cgroup2.
    V2,
    /// v1 controllers, and cgroup2 mounted beside them.
    Hybrid,
    /// v1 only.
    V1,
}

/// Where cgroups are on this host: plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The v2 hierarchy: always there.
    pub v2: V2,
    /// The v1 hierarchies, in mount order.
    pub v1: Vec<V1>,
}

/// One cgroup mount as mountinfo tells it.
struct Mount {
    /// Directory of the hierarchy that is mounted: `/`, or the container's group.
    root: PathBuf,
    point: PathBuf,
    writable: bool,
    v2: bool,
    controllers: Vec<Controller>,
}

const CONVENTIONAL: &str = "/sys/fs/cgroup";
const CONVENTIONAL_HYBRID: &str = "/sys/fs/cgroup/unified";
/// CGROUP2_SUPER_MAGIC
pub(crate) const V2_MAGIC: u64 = 0x6367_7270;
/// CGROUP_SUPER_MAGIC
pub(crate) const V1_MAGIC: u64 = 0x0027_e0eb;

#[allow(clippy::unnecessary_cast)] // f_type is i64, u64 or u32, by architecture and libc
pub(crate) fn magic(fs: &StatFs) -> u64 {
    fs.f_type as u64 & 0xffff_ffff
}

impl Layout {
    /// Reads a layout from the texts of /proc/self/mountinfo and /proc/self/cgroup, taking root's view: every mount
    /// that is not read-only can be written at its top; a read-only one only, perhaps, at our own cgroup.
    pub fn parse(mountinfo: &str, self_cgroup: &str) -> Layout {
        Layout::settle(mountinfo, self_cgroup, |_| true, |mount, dir| mount.writable || dir != mount.point)
    }

    /// Finds out how this host is set up, completely.
    pub fn detect() -> Result<Layout, CgroupError> {
        match conventional(CONVENTIONAL) {
            Some(layout) => Ok(layout),
            None => Layout::detect_anything(|_| true),
        }
    }

    /// As [`Layout::detect`], but without the v1 hierarchies that these limits do not need (5 µs where they need none).
    pub fn detect_for(resources: &Resources) -> Result<Layout, CgroupError> {
        if resources.all_controllers {
            return Layout::detect();
        }
        let needed = limits::controllers(resources);
        let simple = conventional(CONVENTIONAL);
        let simple = if simple.is_none() && needed.is_empty() { conventional(CONVENTIONAL_HYBRID) } else { simple };
        match simple {
            Some(layout) => Ok(layout),
            None => Layout::detect_anything(|controllers| controllers.iter().any(|c| needed.contains(c))),
        }
    }

    fn detect_anything(wanted: impl Fn(&[Controller]) -> bool) -> Result<Layout, CgroupError> {
        let read = |path: &'static str| {
            let fd = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            fd.and_then(|fd| files::read_open(fd.as_fd())).map_err(CgroupError::sys("read", Path::new(path)))
        };
        let may = |path: &Path| access(path, Access::WRITE_OK).is_ok();
        // Moving a process needs the cgroup.procs of the common ancestor, not only the directory (cgroups(7)).
        let may_write = |_: &Mount, dir: &Path| may(dir) && may(&dir.join("cgroup.procs"));
        Ok(Layout::settle(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, wanted, may_write))
    }

    fn settle(mountinfo: &str, self_cgroup: &str, wanted: impl Fn(&[Controller]) -> bool, may_write: impl Fn(&Mount, &Path) -> bool) -> Layout {
        let mounts = cgroup_mounts(mountinfo);
        let base = |mount: &Mount| {
            let mut dir = mount.point.clone();
            let mut own = own_cgroup(mount, self_cgroup).unwrap_or_default().into_iter();
            while !may_write(mount, &dir) {
                match own.next() {
                    Some(part) => dir.push(part),
                    // Whoever tries will be told.
                    None => return mount.point.clone(),
                }
            }
            dir
        };
        let v2 = best(mounts.iter().filter(|m| m.v2)).map_or(V2::Private, |m| V2::Mounted(base(m)));
        let mut v1: Vec<V1> = Vec::new();
        for mount in mounts.iter().filter(|m| !m.v2 && !m.controllers.is_empty() && wanted(&m.controllers)) {
            if v1.iter().any(|entry| entry.controllers == mount.controllers) {
                continue;
            }
            if let Some(mount) = best(mounts.iter().filter(|m| !m.v2 && m.controllers == mount.controllers)) {
                v1.push(V1 { controllers: mount.controllers.clone(), base: base(mount) });
            }
        }
        Layout { v2, v1 }
    }

    /// Which of the three kinds of host this is.
    pub fn kind(&self) -> Kind {
        match (&self.v2, self.v1.is_empty()) {
            (V2::Mounted(_), true) => Kind::V2,
            (V2::Mounted(_), false) => Kind::Hybrid,
            (V2::Private, _) => Kind::V1,
        }
    }

    /// The v1 hierarchy of a controller. `None`: on v2, if anywhere.
    pub fn v1_of(&self, controller: Controller) -> Option<&V1> {
        self.v1.iter().find(|h| h.controllers.contains(&controller))
    }
}

/// The v2 hierarchy where everybody has it, if we may make groups at its top: two calls, no parsing.
fn conventional(path: &str) -> Option<Layout> {
    let v2 = statfs(path).is_ok_and(|fs| magic(&fs) == V2_MAGIC) && access(path, Access::WRITE_OK).is_ok();
    v2.then(|| Layout { v2: V2::Mounted(path.into()), v1: Vec::new() })
}

/// The cgroup mounts of a mountinfo text, without those that another mount hides.
///
/// Line order says nothing: a root switched to late comes after the mounts that were moved into it. Parents do.
fn cgroup_mounts(mountinfo: &str) -> Vec<Mount> {
    let lines: Vec<Line<'_>> = mountinfo.lines().filter_map(Line::parse).collect();
    let hidden = |m: &Line<'_>| {
        lines.iter().any(|c| {
            let on_top = c.parent == m.id && c.point == m.point;
            let over_its_parent = c.parent == m.parent && c.point != m.point && Path::new(m.point).starts_with(c.point);
            on_top || over_its_parent
        })
    };
    let cgroups = lines.iter().filter(|line| matches!(line.kind, "cgroup" | "cgroup2"));
    cgroups.filter(|line| !hidden(line)).map(Line::mount).collect()
}

/// The fields of a line of mountinfo (proc_pid_mountinfo(5)), as written.
struct Line<'a> {
    id: &'a str,
    parent: &'a str,
    root: &'a str,
    point: &'a str,
    options: &'a str,
    kind: &'a str,
    super_options: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Line<'a>> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ');
        let (id, parent, _device) = (left.next()?, left.next()?, left.next()?);
        let (root, point, options) = (left.next()?, left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, _source) = (right.next()?, right.next()?);
        Some(Line { id, parent, root, point, options, kind, super_options: right.next().unwrap_or_default() })
    }

    fn mount(&self) -> Mount {
        let writable = |options: &str| options.split(',').any(|o| o == "rw");
        let named = |word| NAMES.iter().find(|(_, _, name)| *name == word).map(|(controller, ..)| *controller);
        let v2 = self.kind == "cgroup2";
        Mount {
            root: unescape(self.root),
            point: unescape(self.point),
            writable: writable(self.options) && writable(self.super_options),
            v2,
            controllers: if v2 { Vec::new() } else { self.super_options.split(',').filter_map(named).collect() },
        }
    }
}

/// The best of several mounts of one hierarchy: writable, of all of it, where everybody expects it.
fn best<'a>(mounts: impl Iterator<Item = &'a Mount>) -> Option<&'a Mount> {
    let mut found: Option<(&Mount, _)> = None;
    for mount in mounts {
        let rank = (mount.writable, mount.root == Path::new("/"), mount.point.starts_with(CONVENTIONAL));
        if found.as_ref().is_none_or(|(_, best)| rank > *best) {
            found = Some((mount, rank));
        }
    }
    found.map(|(mount, _)| mount)
}

/// The components of our own cgroup below a mount, if the mount shows it.
fn own_cgroup(mount: &Mount, self_cgroup: &str) -> Option<Vec<OsString>> {
    let mut fields = self_cgroup.lines().filter_map(|line| line.splitn(3, ':').collect::<Vec<_>>().try_into().ok());
    let [_, _, path] = fields.find(|[id, controllers, _]: &[&str; 3]| {
        if mount.v2 {
            return *id == "0" && controllers.is_empty();
        }
        controllers.split(',').any(|word| NAMES.iter().any(|(c, _, name)| *name == word && mount.controllers.contains(c)))
    })?;
    let below = Path::new(path).strip_prefix(&mount.root).ok()?;
    let parts = below.components().map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        // "/../x": we live outside of what our cgroup namespace shows.
        _ => None,
    });
    parts.collect()
}

fn unescape(text: &str) -> PathBuf {
    OsString::from_vec(unescape_octal(text.as_bytes())).into()
}
