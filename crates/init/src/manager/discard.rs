//! Directories that may be large are taken away by a process of their own: nobody waits for a disk here.

use std::io;
use std::path::Path;

use hostel_sys::{clone, proc};

use super::world::random_id;

/// What is on its way out has a name that begins so; what a killed machine left of it goes with the next.
const GOING: &str = ".#hostel-going-";

/// Takes a file, a link or a directory away. It is gone from its place when this returns; what was in it, soon.
pub(super) fn discard(path: &str) -> io::Result<()> {
    if !std::fs::symlink_metadata(path)?.is_dir() {
        return std::fs::remove_file(path);
    }
    // what is mounted below is somebody else's
    let below = format!("{}/", path.replace('\\', "\\134").replace(' ', "\\040"));
    if std::fs::read_to_string("/proc/self/mountinfo")?.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| at.starts_with(&below))) {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "something is mounted in it"));
    }
    match std::fs::remove_dir(path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => {}
        other => return other,
    }
    let Some((above, _)) = path.rsplit_once('/') else { return std::fs::remove_dir_all(path) };
    let going = format!("{above}/{GOING}{}", random_id());
    // what something is mounted on cannot be moved
    if std::fs::rename(path, &going).is_err() {
        return std::fs::remove_dir_all(path);
    }
    match clone::clone3(&clone::CloneArgs::default()) {
        Ok(clone::Fork::Parent { .. }) => Ok(()),
        Ok(clone::Fork::Child) => {
            let _ = proc::set_name(c"remove");
            let _ = proc::reset_signals();
            // connections that we have end when we end them
            let _ = clone::close_from_but(3, &[]);
            sweep(Path::new(above));
            clone::exit_now(0)
        }
        Err(_) => std::fs::remove_dir_all(&going),
    }
}

/// Removes all that is on its way out in a directory.
fn sweep(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(GOING.as_bytes()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_discarded_is_gone() {
        let top = std::env::temp_dir().join(format!("hostel-discard-{}", std::process::id()));
        let make = |name: &str| {
            std::fs::create_dir_all(top.join(name)).unwrap();
            top.join(name).to_str().unwrap().to_owned()
        };
        let empty = make("empty");
        discard(&empty).unwrap();
        let file = format!("{}/file", top.display());
        std::fs::write(&file, "x").unwrap();
        discard(&file).unwrap();
        assert_eq!(std::fs::read_dir(&top).unwrap().count(), 0);
        assert_eq!(discard(&empty).unwrap_err().kind(), io::ErrorKind::NotFound);
        // another's, that a killed machine left
        std::fs::write(format!("{}/x", make(&format!("{GOING}old"))), "x").unwrap();
        std::fs::write(format!("{}/x", make("other")), "x").unwrap();
        sweep(&top);
        assert_eq!(std::fs::read_dir(&top).unwrap().count(), 1);
        std::fs::remove_dir_all(&top).unwrap();
    }
}
