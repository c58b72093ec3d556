//! The place in which an init finds itself: what is missing there and can be made.

use rustix::mount::{MountFlags, mount};

use crate::control::directories;
use crate::manager::{condition_is_mount_point as is_mount_point, sandbox};

/// Mounts what every program expects, if it is not there and may be mounted, and makes the directories by which others know that
/// unit files are run here. Nothing of it is needed: services that need what is missing say so themselves.
pub(super) fn prepare(is_first: bool) {
    if is_first && rustix::process::geteuid().is_root() {
        let usual = MountFlags::NOSUID | MountFlags::NODEV;
        if !std::path::Path::new("/proc/self/stat").exists() {
            let _ = std::fs::create_dir_all("/proc");
            let _ = mount(c"proc", c"/proc", c"proc", usual | MountFlags::NOEXEC, None);
        }
        if !std::path::Path::new("/sys/kernel").exists() {
            let _ = mount(c"sysfs", c"/sys", c"sysfs", usual | MountFlags::NOEXEC | MountFlags::RDONLY, None);
        }
        // what an earlier life left in /run would be believed
        if !is_mount_point("/run") {
            let _ = mount(c"tmpfs", c"/run", c"tmpfs", usual, Some(c"mode=755"));
        }
    }
    // below another init this would say of it what is not so
    if is_first {
        let _ = std::fs::create_dir_all("/run/systemd/system");
        // most units ask for it, and it takes a while
        sandbox::place::begin();
    }
}

/// A directory for the sockets: the first that can be written.
pub(super) fn directory() -> Option<String> {
    directories().into_iter().find(|path| {
        let made = std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o755).create(path);
        // not somebody else's, who could put another socket there
        let own = std::fs::symlink_metadata(path)
            .is_ok_and(|m| m.is_dir() && std::os::unix::fs::MetadataExt::uid(&m) == rustix::process::geteuid().as_raw());
        made.is_ok() && own && rustix::fs::access(path.as_str(), rustix::fs::Access::WRITE_OK).is_ok()
    })
}

/// Where services write: where systemd has it, or beside the control socket. Below another init the first may be that one's own.
pub(super) fn notify_path(directory: &str, is_first: bool) -> String {
    let usual = "/run/systemd";
    if is_first && rustix::fs::access(usual, rustix::fs::Access::WRITE_OK).is_ok() {
        format!("{usual}/notify")
    } else {
        format!("{directory}/notify")
    }
}
