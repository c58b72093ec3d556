//! `linux.cgroupsPath`: the groups between the host's and `hostel/NAME`, made on the way there and removed when nobody needs them.

use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use hostel_spec::Resources;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::create::{enable, fill_cpuset, needed_of, offered, v1_needed};
use super::error::CgroupError;
use super::files::{self, Base, OURS};
use super::layout::{Controller, Layout, V1, V2};
use crate::error::Error;
use hostel_process::devices::CLOSED_MARKER;

const KEY: &str = "linux.cgroupsPath";

/// Makes `path` in every hierarchy that a machine with these limits needs, and in it `hostel`; returns the layout whose base that is.
/// `record` is told of each directory before it is made, the uppermost first.
pub fn descend(layout: &Layout, path: &Path, resources: &Resources, record: &mut dyn FnMut(&Path) -> Result<(), Error>) -> Result<Layout, Error> {
    let V2::Mounted(base) = &layout.v2 else {
        return Err(CgroupError::Unsupported { option: KEY, why: "this host has no mounted cgroup2".to_owned() }.into());
    };
    let needed = needed_of(layout, resources);
    let on_v2: Vec<Controller> = needed.iter().copied().filter(|c| layout.v1_of(*c).is_none()).collect();
    let top = top(base, path);
    if !on_v2.is_empty() {
        offered(&Base::mounted(&top), &on_v2, resources)?;
    }
    let v2 = make(&top, path, &on_v2, false, record)?;
    let mut v1 = Vec::new();
    for hierarchy in v1_needed(layout, &needed) {
        let cpuset = hierarchy.controllers.contains(&Controller::Cpuset);
        let base = make(&self::top(&hierarchy.base, path), path, &[], cpuset, record)?;
        v1.push(V1 { controllers: hierarchy.controllers.clone(), base });
    }
    Ok(Layout { v2: V2::Mounted(v2), v1 })
}

/// Where the path begins: the hierarchy's mount point for an absolute one (config-linux.md, "Cgroups Path").
fn top(base: &Path, path: &Path) -> PathBuf {
    let mut top = base;
    while let Some(above) = top.parent().filter(|above| path.is_absolute() && is_cgroup(above)) {
        top = above;
    }
    top.to_owned()
}

fn is_cgroup(path: &Path) -> bool {
    open(path).is_ok_and(|dir| files::is_cgroup(dir.as_fd()))
}

fn open(path: &Path) -> Result<std::os::fd::OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn make(
    top: &Path,
    path: &Path,
    controllers: &[Controller],
    cpuset: bool,
    record: &mut dyn FnMut(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let mut dir = top.to_owned();
    let ours = [Component::Normal(OURS.as_ref())];
    for part in path.components().chain(ours) {
        let Component::Normal(name) = part else { continue };
        let above = open(&dir).map_err(CgroupError::sys("open cgroup", &dir))?;
        if !controllers.is_empty() {
            enable(above.as_fd(), controllers).map_err(CgroupError::sys("enable controllers in", &dir))?;
        }
        let below = dir.join(name);
        if open(&below).is_err() {
            record(&below)?;
            match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(CgroupError::sys("create cgroup", &below)(errno).into()),
            }
        }
        if cpuset {
            let made = open(&below).map_err(CgroupError::sys("open cgroup", &below))?;
            fill_cpuset(&[above.as_fd(), made.as_fd()]).map_err(CgroupError::sys("fill cpuset of", &below))?;
        }
        dir = below;
    }
    // Without `hostel`, which may well be a part of the path, too.
    dir.pop();
    Ok(dir)
}

/// Removes a group that [`descend`] made, unless somebody needs it: never what is in it.
pub fn leave(path: &Path) -> Result<(), CgroupError> {
    if !path.parent().is_some_and(is_cgroup) {
        return Ok(());
    }
    let remove = |path: &Path| rustix::fs::unlinkat(CWD, path, rustix::fs::AtFlags::REMOVEDIR);
    let _ = remove(&path.join(CLOSED_MARKER));
    match remove(path) {
        Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => Ok(()),
        Err(errno) => Err(CgroupError::sys("remove cgroup", path)(errno)),
    }
}
