//! Removing the cgroups of a machine whose supervisor was killed, from the paths it had recorded.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use hostel_spec::MachineName;
use rustix::io::Errno;

use super::error::CgroupError;
use super::files::{self, Base, OURS};
use super::layout::V2;
use super::machine::remove_below;

/// Kills what is left in these cgroups and removes them with everything below, the last one first.
///
/// A record may be damaged or forged: only `<cgroup file system>/…/hostel/NAME[/…]` is touched, with a valid machine's
/// name, and always the whole of `NAME`. What does not exist is fine. All paths are tried; the first error is returned.
pub fn remove_paths(paths: &[PathBuf]) -> Result<(), CgroupError> {
    let mut done: Vec<(PathBuf, String)> = Vec::new();
    let mut result = Ok(());
    // v2 groups were recorded before v1 ones, and only there can processes be killed all at once: in this order.
    for path in paths {
        let removed = match split(path) {
            Ok(found) if done.contains(&found) => Ok(()),
            Ok(found) => {
                let removed = remove(&found.0, &found.1, path);
                done.push(found);
                removed
            }
            Err(err) => Err(err),
        };
        result = result.and(removed);
    }
    result
}

/// A recorded path as the directory above `hostel` and the machine's name.
fn split(path: &Path) -> Result<(PathBuf, String), CgroupError> {
    let refuse = |why| CgroupError::NotOurs { path: path.to_owned(), why };
    let parts: Vec<Component<'_>> = path.components().collect();
    let plain = parts.iter().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let rooted = matches!(parts.first(), Some(Component::RootDir)) || parts.first().is_some_and(|p| p.as_os_str() == OsStr::new(files::PRIVATE));
    if !plain || !rooted {
        return Err(refuse("it is not absolute, or not normal"));
    }
    let ours = parts.iter().position(|part| part.as_os_str() == OsStr::new(OURS)).ok_or_else(|| refuse("it has no part `hostel`"))?;
    let name = parts.get(ours + 1).and_then(|part| part.as_os_str().to_str()).and_then(|name| MachineName::new(name).ok());
    let name = name.ok_or_else(|| refuse("it names no machine"))?;
    Ok((parts[..ours].iter().collect(), name.to_string()))
}

fn remove(base: &Path, name: &str, recorded: &Path) -> Result<(), CgroupError> {
    let private = base == Path::new(files::PRIVATE);
    let base = if private { Base::of(&V2::Private)? } else { Base::mounted(base) };
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
