//! Removing the cgroups of a machine whose supervisor was killed, from the paths it had recorded.

use std::path::{Component, Path, PathBuf};

use hostel_process::devices::CLOSED_MARKER;
use hostel_spec::MachineName;
use rustix::io::Errno;

use super::error::CgroupError;
use super::files::{self, Base, OURS};
use super::layout::Layout;
use super::machine::remove_below;

/// Kills what is left in these cgroups and removes them with everything below.
///
/// A record may be damaged or forged: only `<cgroup file system>/…/hostel/NAME[/payload]` is touched, with a valid machine's
/// name, and always the whole of `NAME`. What does not exist is fine. All paths are tried; the first error is returned.
pub fn remove_paths(paths: &[PathBuf]) -> Result<(), CgroupError> {
    let mut done: Vec<(PathBuf, MachineName)> = Vec::new();
    let mut result = Ok(());
    // v2 groups were recorded before v1 ones, and only there can processes be killed all at once: in this order.
    for path in paths {
        let removed = match split(path) {
            Ok(found) if done.contains(&found) => Ok(()),
            Ok(found) => {
                let removed = remove(&found.0, found.1.as_str(), path);
                done.push(found);
                removed
            }
            Err(err) => Err(err),
        };
        result = result.and(removed);
    }
    result
}

/// Takes away what is kept between machines: the loaded device program, and `hostel` itself if no machine is left.
///
/// Running machines lose nothing; the next start takes 0.3 ms longer.
pub fn forget(layout: &Layout) -> Result<(), CgroupError> {
    let v2 = Base::of(&layout.v2)?;
    let marker = take_away(&v2, &Path::new(OURS).join(CLOSED_MARKER));
    let all = std::iter::once(v2).chain(layout.v1.iter().map(|hierarchy| Base::mounted(&hierarchy.base)));
    all.map(|base| take_away(&base, Path::new(OURS))).fold(marker, Result::and)
}

/// Removes a group unless there is none, or it is in use.
fn take_away(base: &Base, below: &Path) -> Result<(), CgroupError> {
    match base.rmdir(below) {
        Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => Ok(()),
        // Not ours to write: then we made nothing there. The kernel says so before it looks whether there is such a group.
        Err(Errno::ROFS | Errno::PERM | Errno::ACCESS | Errno::NODEV) => Ok(()),
        Err(errno) => Err(CgroupError::sys("remove cgroup", &base.path.join(below))(errno)),
    }
}

/// A recorded path as the directory above `hostel` and the machine's name.
pub(crate) fn split(path: &Path) -> Result<(PathBuf, MachineName), CgroupError> {
    let refuse = |why| CgroupError::NotOurs { path: path.to_owned(), why };
    let rooted = path.is_absolute();
    // A relative path is one of the v2 hierarchy where that is not mounted.
    let names = path.components().skip(usize::from(rooted));
    let names: Option<Vec<&str>> = names.map(|part| if let Component::Normal(name) = part { name.to_str() } else { None }).collect();
    let Some(names) = names else { return Err(refuse("it is not a normal path")) };
    // `hostel/NAME` and `hostel/NAME/payload` end a record; the first that fits: what a machine runs inside may be ours, too.
    let ours = (0..names.len()).find(|at| match &names[*at..] {
        [ours, _] => *ours == OURS,
        [ours, _, leaf] => *ours == OURS && *leaf == "payload",
        _ => false,
    });
    let ours = ours.ok_or_else(|| refuse("it does not end in `hostel/NAME`"))?;
    let name = MachineName::new(names[ours + 1]).map_err(|_| refuse("it names no machine"))?;
    let root = if rooted { "/" } else { files::PRIVATE };
    Ok((std::iter::once(root).chain(names[..ours].iter().copied()).collect(), name))
}

fn remove(base: &Path, name: &str, recorded: &Path) -> Result<(), CgroupError> {
    let base = Base::recorded(base)?;
    let shown = base.path.join(OURS).join(name);
    match base.open(Path::new(OURS)) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(CgroupError::sys("open cgroup", &shown)(errno)),
        Ok(dir) if !files::is_cgroup(std::os::fd::AsFd::as_fd(&dir)) => {
            return Err(CgroupError::NotOurs { path: recorded.to_owned(), why: "it is not in a cgroup file system" });
        }
        Ok(_) => {}
    }
    remove_below(&base, name, &shown)
}
