//! Mounts and unmounts, in a process that then ends.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::Path;

use hostel_sys::mount::{self, Attributes, Propagation};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::Config;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Mount,
    Remount,
    Unmount,
}

/// A word of the options that is a flag of mount(2): set or cleared.
fn flag(word: &str) -> Option<(MountFlags, bool)> {
    Some(match word {
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "lazytime" => (MountFlags::LAZYTIME, true),
        "nolazytime" => (MountFlags::LAZYTIME, false),
        "silent" => (MountFlags::SILENT, true),
        _ => return None,
    })
}

fn propagation(word: &str) -> Option<MountPropagationFlags> {
    let (word, all) = word.strip_prefix('r').map_or((word, MountPropagationFlags::empty()), |rest| (rest, MountPropagationFlags::REC));
    Some(
        match word {
            "shared" => MountPropagationFlags::SHARED,
            "slave" => MountPropagationFlags::DOWNSTREAM,
            "private" => MountPropagationFlags::PRIVATE,
            "unbindable" => MountPropagationFlags::UNBINDABLE,
            _ => return None,
        } | all,
    )
}

/// Words that are for programs, not for the kernel (fstab(5), mount(8)).
fn is_comment(word: &str) -> bool {
    matches!(word, "defaults" | "auto" | "noauto" | "user" | "nouser" | "users" | "owner" | "group" | "nofail" | "_netdev" | "loud")
        || ["x-", "X-", "comment=", "uhelper=", "helper="].iter().any(|begin| word.starts_with(begin))
}

/// Options as mount(2) takes them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) flags: MountFlags,
    pub(super) bind: Option<bool>,
    pub(super) propagation: Vec<MountPropagationFlags>,
    pub(super) data: String,
}

pub(super) fn options(words: &[String]) -> Options {
    let mut found = Options { flags: MountFlags::empty(), bind: None, propagation: Vec::new(), data: String::new() };
    for word in words.iter().map(String::as_str).filter(|word| !is_comment(word)) {
        if let Some((flag, on)) = flag(word) {
            found.flags.set(flag, on);
        } else if let Some(how) = propagation(word) {
            found.propagation.push(how);
        } else if let "bind" | "rbind" = word {
            found.bind = Some(word == "rbind");
        } else {
            if !found.data.is_empty() {
                found.data.push(',');
            }
            found.data.push_str(word);
        }
    }
    found
}

impl Config {
    /// Whether only mount(8) of the tree can do it: it knows helpers, loop devices and labels.
    pub(in crate::manager) fn needs_program(&self) -> bool {
        let helper = |directory: &str| Path::new(&format!("{directory}/mount.{}", self.kind)).exists();
        let is_bind = self.options.iter().any(|word| word == "bind" || word == "rbind");
        self.sloppy
            || self.kind.starts_with("fuse.")
            || self.what.split_once('=').is_some_and(|(tag, _)| ["UUID", "LABEL", "PARTUUID", "PARTLABEL", "ID"].contains(&tag))
            || self.options.iter().any(|word| word == "loop" || word.starts_with("loop="))
            || !is_bind && matches!(self.kind.as_str(), "" | "auto")
            || !self.kind.is_empty() && !self.kind.contains('/') && (helper("/sbin") || helper("/usr/sbin"))
    }

    /// The arguments of mount(8), to mount or to mount again.
    pub(super) fn words(&self, act: Act) -> Vec<String> {
        let mut words = vec!["mount".to_owned()];
        if self.sloppy {
            words.push("-s".to_owned());
        }
        if !self.kind.is_empty() {
            words.extend(["-t".to_owned(), self.kind.clone()]);
        }
        let again = (act == Act::Remount).then_some("remount");
        // the loop device is there already
        let is_kept = |word: &&str| !is_comment(word) && (again.is_none() || *word != "loop" && !word.starts_with("loop="));
        let kept: Vec<&str> = again.into_iter().chain(self.options.iter().map(String::as_str).filter(is_kept)).collect();
        if !kept.is_empty() {
            words.extend(["-o".to_owned(), kept.join(",")]);
        }
        words.extend([self.what.clone(), self.place.clone()]);
        words
    }
}

/// What went wrong: an object, and the cause.
type Fault = (String, io::Error);

/// Does it.
pub(super) fn run(act: Act, config: &Config) -> Result<(), Fault> {
    match act {
        Act::Mount => mount(config),
        Act::Remount => remount(config),
        Act::Unmount => {
            let mut flags = UnmountFlags::NOFOLLOW;
            flags.set(UnmountFlags::DETACH, config.lazy);
            flags.set(UnmountFlags::FORCE, config.force);
            rustix::mount::unmount(config.place.as_str(), flags).map_err(|e| (config.place.clone(), e.into()))
        }
    }
}

/// Options anew. Of what is bound only the mount's own change, never those of the file system, which others use, too.
fn remount(config: &Config) -> Result<(), Fault> {
    let how = options(&config.options);
    let failed = |e: io::Error| (config.place.clone(), e);
    let place = open_place(&config.place).map_err(failed)?;
    if how.bind.is_some() {
        let (set, cleared) = attributes(&config.options);
        return mount::change(place.as_fd(), c"", false, set, cleared, Propagation::Keep, None).map_err(failed);
    }
    let data = CString::new(how.data.as_str()).map_err(|e| failed(e.into()))?;
    rustix::mount::mount_remount(number(&place), how.flags, data.as_c_str()).map_err(|e| failed(e.into()))
}

/// What is mounted on, by descriptor: nobody puts a link into its path meanwhile.
fn open_place(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
}

/// A descriptor as a path for calls that know no descriptors.
fn number(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The options that are a mount's own: what is set and what is cleared of what the source has. The last word counts.
fn attributes(words: &[String]) -> (Attributes, Attributes) {
    let (mut set, mut cleared) = (0, 0);
    for word in words {
        let (bits, on) = match word.as_str() {
            "ro" => (Attributes::RDONLY, true),
            "rw" => (Attributes::RDONLY, false),
            "nosuid" => (Attributes::NOSUID, true),
            "suid" => (Attributes::NOSUID, false),
            "nodev" => (Attributes::NODEV, true),
            "dev" => (Attributes::NODEV, false),
            "noexec" => (Attributes::NOEXEC, true),
            "exec" => (Attributes::NOEXEC, false),
            "noatime" => (Attributes::NOATIME, true),
            "strictatime" => (Attributes::STRICTATIME, true),
            "relatime" | "atime" => (Attributes(Attributes::ATIME_MASK), false),
            "nodiratime" => (Attributes::NODIRATIME, true),
            "diratime" => (Attributes::NODIRATIME, false),
            "nosymfollow" => (Attributes::NOSYMFOLLOW, true),
            "symfollow" => (Attributes::NOSYMFOLLOW, false),
            _ => continue,
        };
        // of these one is chosen
        let group = if bits.0 & Attributes::ATIME_MASK != 0 { Attributes::ATIME_MASK } else { bits.0 };
        (set, cleared) = (set & !group, cleared & !group);
        if on { set |= bits.0 } else { cleared |= bits.0 }
    }
    (Attributes(set), Attributes(cleared))
}

/// What is bound, with its options, before anybody sees it. What the source does not allow stays so, unless a word says otherwise.
fn bound(config: &Config, recursive: bool, place: &OwnedFd) -> io::Result<()> {
    let (set, cleared) = attributes(&config.options);
    let what = CString::new(config.what.as_str())?;
    let tree = mount::clone_tree(CWD, &what, recursive)?;
    if set.0 | cleared.0 != 0 {
        mount::change(tree.as_fd(), c"", false, set, cleared, Propagation::Keep, None)?;
    }
    mount::attach(tree.as_fd(), place.as_fd(), c"")
}

/// The directory, or for a bound file the file, that something is mounted on; a path with links in it is refused.
pub(super) fn prepare(config: &Config) -> Result<(), Fault> {
    let place = Path::new(&config.place);
    let failed = |e: io::Error| (config.place.clone(), e);
    if std::fs::symlink_metadata(place).is_err() {
        let is_bind = config.options.iter().any(|word| word == "bind" || word == "rbind");
        if is_bind && std::fs::metadata(&config.what).is_ok_and(|m| !m.is_dir()) {
            std::fs::create_dir_all(place.parent().unwrap_or(place)).map_err(failed)?;
            std::fs::File::create_new(place).map_err(failed)?;
        } else {
            std::fs::DirBuilder::new().recursive(true).mode(config.mode).create(place).map_err(failed)?;
        }
    }
    match std::fs::canonicalize(place) {
        Ok(real) if real == place => Ok(()),
        Ok(real) => Err(failed(io::Error::other(format!("the path leads by a link to {}", real.display())))),
        Err(e) => Err(failed(e)),
    }
}

fn mount(config: &Config) -> Result<(), Fault> {
    prepare(config)?;
    let how = options(&config.options);
    let failed = |e: io::Error| (format!("{} on {}", config.what, config.place), e);
    let place = open_place(&config.place).map_err(failed)?;
    if let Some(recursive) = how.bind {
        bound(config, recursive, &place).map_err(failed)?;
    } else {
        let data = CString::new(how.data.as_str()).map_err(|e| (config.what.clone(), e.into()))?;
        let is_block = std::fs::metadata(&config.what).is_ok_and(|m| m.file_type().is_block_device());
        let once = |flags| rustix::mount::mount(&*config.what, number(&place), &*config.kind, flags, data.as_c_str());
        let done = match once(how.flags) {
            Err(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS)
                if is_block && !config.writable_only && !how.flags.contains(MountFlags::RDONLY) =>
            {
                once(how.flags | MountFlags::RDONLY)
            }
            other => other,
        };
        done.map_err(|e| failed(e.into()))?;
    }
    if how.propagation.is_empty() {
        return Ok(());
    }
    // what was opened before is below it now
    let top = open_place(&config.place).map_err(failed)?;
    for propagation in how.propagation {
        if let Err(e) = rustix::mount::mount_change(number(&top), propagation) {
            // what is not as it was asked for is not left there
            let _ = rustix::mount::unmount(number(&top), UnmountFlags::DETACH);
            return Err(failed(e.into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_flags_and_data() {
        let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let found = options(&words("defaults,nofail,x-systemd.after=a,ro,nosuid,size=1m,rw,mode=755,rshared,noauto"));
        assert_eq!(found.flags, MountFlags::NOSUID);
        assert_eq!((found.data.as_str(), found.bind, found.propagation.len()), ("size=1m,mode=755", None, 1));
        assert_eq!(options(&words("rbind,ro")).bind, Some(true));
        let of = |text: &str| attributes(&words(text));
        assert_eq!(of("bind,ro,nosuid,suid"), (Attributes::RDONLY, Attributes::NOSUID));
        assert_eq!(of("noatime,relatime"), (Attributes::NONE, Attributes(Attributes::ATIME_MASK)));
        assert_eq!(of("bind,noatime,strictatime,rshared"), (Attributes::STRICTATIME, Attributes::NONE));
        let tree = crate::testing::Tree::new("mount");
        let of = |text: &str| {
            tree.unit("srv-x.mount", &format!("[Mount]\nWhere=/srv/x\n{text}\n"));
            Config::of(&tree.load("srv-x.mount"))
        };
        let config = of("What=tmpfs\nType=tmpfs\nOptions=size=1M,nofail\nTimeoutSec=5\nDirectoryMode=0700\nLazyUnmount=yes");
        assert_eq!((config.place.as_str(), config.mode, config.lazy, config.needs_program()), ("/srv/x", 0o700, true, false));
        assert_eq!(config.timeout, Some(std::time::Duration::from_secs(5)));
        assert!(of("What=LABEL=x\nType=ext4").needs_program() && of("What=/dev/x").needs_program() && of("What=h\nType=fuse.sshfs").needs_program());
        assert!(!of("What=/a\nOptions=bind").needs_program());
        assert_eq!(
            of("What=/x.img\nType=ext4\nOptions=loop,ro,nofail").words(Act::Mount),
            ["mount", "-t", "ext4", "-o", "loop,ro", "/x.img", "/srv/x"]
        );
        assert_eq!(
            of("What=/x.img\nType=ext4\nOptions=loop,ro").words(Act::Remount),
            ["mount", "-t", "ext4", "-o", "remount,ro", "/x.img", "/srv/x"]
        );
    }

    /// In mounts of the test's own, which only root can make.
    #[test]
    fn what_is_bound_keeps_what_its_source_forbids() {
        use rustix::fs::StatVfsMountFlags as Has;
        if !rustix::process::geteuid().is_root() || hostel_sys::proc::unshare_mounts().is_err() {
            return eprintln!("passed over: it needs root");
        }
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let tree = crate::testing::Tree::new("bind");
        let path = |name: &str| tree.path.join(name).to_str().unwrap().to_owned();
        let config = |what: &str, place: &str, kind: &str, options: &str| Config {
            what: what.to_owned(),
            place: path(place),
            kind: kind.to_owned(),
            options: options.split(',').map(str::to_owned).collect(),
            mode: 0o755,
            sloppy: false,
            lazy: true,
            force: false,
            writable_only: false,
            timeout: None,
        };
        let flags = |name: &str| rustix::fs::statvfs(path(name)).unwrap().f_flag;
        run(Act::Mount, &config("tmpfs", "a", "tmpfs", "nosuid,nodev,size=1m")).unwrap();
        assert!(flags("a").contains(Has::NOSUID | Has::NODEV));
        run(Act::Mount, &config(&path("a"), "b", "", "bind,ro,shared")).unwrap();
        assert!(flags("b").contains(Has::RDONLY | Has::NOSUID | Has::NODEV) && !flags("a").contains(Has::RDONLY));
        run(Act::Remount, &config(&path("a"), "b", "", "bind,rw,noexec")).unwrap();
        assert!(flags("b").contains(Has::NOSUID | Has::NOEXEC) && !flags("b").contains(Has::RDONLY) && !flags("a").contains(Has::NOEXEC));
        run(Act::Remount, &config("tmpfs", "a", "tmpfs", "ro,size=2m")).unwrap();
        assert!(flags("a").contains(Has::RDONLY));
        run(Act::Unmount, &config(&path("a"), "b", "", "bind")).unwrap();
        std::os::unix::fs::symlink(path("b"), path("link")).unwrap();
        assert!(run(Act::Mount, &config("tmpfs", "link/in", "tmpfs", "size=1m")).is_err());
        assert!(open_place(&path("link")).is_err());
        run(Act::Unmount, &config("tmpfs", "a", "tmpfs", "")).unwrap();
    }
}
